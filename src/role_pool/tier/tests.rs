use super::*;
use crate::node::Role;

fn nodes(ports: &[u16]) -> Vec<Node> {
    ports
        .iter()
        .map(|port| Node::new("10.0.0.1", *port))
        .collect()
}

fn targets(ports: &[u16]) -> Vec<Target> {
    let target = |node| Target {
        node,
        role: Role::Replica,
        since: 1,
    };
    nodes(ports).into_iter().map(target).collect()
}

#[test]
fn connections_go_to_the_preferred_nodes_while_one_of_them_is_well_and_else_to_all() {
    for (allowed, preferred, troubled, expected, is_narrow) in [
        (&[1, 2, 3][..], &[][..], &[][..], &[1, 2, 3][..], false),
        (&[1, 2, 3], &[2], &[], &[2], true),
        (&[1, 2, 3], &[3, 1], &[], &[1, 3], true),
        // The one in trouble is tried again by those that even the shares out.
        (&[1, 2, 3], &[1, 2], &[1], &[1, 2], true),
        (&[1, 2, 3], &[1, 2], &[1, 2], &[1, 2, 3], false),
        (&[1, 2, 3], &[1], &[2, 3], &[1], true),
        // It is preferred, and reads may not go to it.
        (&[1, 2], &[7], &[], &[1, 2], false),
        (&[1, 2], &[1, 2], &[], &[1, 2], false),
        (&[1, 2], &[1, 2], &[1], &[1, 2], false),
        (&[], &[1], &[], &[], false),
        (&[1], &[1], &[1], &[1], false),
    ] {
        let troubled = nodes(troubled);
        let tier = Tier::of(targets(allowed), &nodes(preferred), |node| {
            troubled.contains(node)
        });
        let expected = Tier {
            targets: targets(expected),
            is_narrow,
        };
        assert_eq!(tier, expected, "{allowed:?} {preferred:?} {troubled:?}");
    }
}
