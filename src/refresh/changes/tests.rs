use std::time::Duration;

use super::*;

fn topology(excluded: Option<Excluded>) -> Topology {
    let replica = |port, excluded| Replica {
        node: Node::new("10.0.0.1", port),
        excluded,
        since: 1,
        synced: true,
        orphaned: false,
        unlisted: None,
    };
    Topology {
        replicas: vec![replica(1, None), replica(2, excluded)],
        ..Topology::default()
    }
}

#[test]
fn a_replica_changes_with_its_reason_and_not_with_the_details() {
    let down = |seconds| {
        let since = Some(Duration::from_secs(seconds));
        topology(Some(Excluded::LinkDown { since }))
    };
    assert!(states(&down(1)).eq(states(&down(2))));
    for other in [topology(None), topology(Some(Excluded::NotProven))] {
        assert!(!states(&down(1)).eq(states(&other)));
    }
    let text = "10.0.0.1:1 readable, 10.0.0.1:2 link_down";
    assert_eq!(describe(&down(1)), text);
    assert_eq!(describe(&Topology::default()), "");
}
