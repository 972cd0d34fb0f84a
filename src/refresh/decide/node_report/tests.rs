use super::*;
use crate::refresh::decide::testing::*;

#[test]
fn a_name_that_cannot_be_compared_is_no_reason_against_a_replica() {
    let follows = |unclear| NodeReport::Replica {
        master: Node::new("redis-0", PORT),
        link: None,
        unclear,
    };
    assert_eq!(exclusion(&follows(true), &node(1)), None);
    let excluded = exclusion(&follows(false), &node(1));
    assert!(matches!(excluded, Some(Excluded::WrongMaster { .. })));
}
