use super::*;

#[test]
fn a_table_changes_only_the_nodes_in_it() {
    let inside = Node::new("172.17.0.2", 6379);
    let outside = Node::new("127.0.0.1", 16379);
    let other = Node::new("172.17.0.3", 6379);
    let map: AddressMap = [(inside.clone(), outside.clone())].into_iter().collect();

    assert_eq!(map.apply(&inside), outside);
    assert_eq!(map.apply(&other), other);
    assert_eq!(format!("{map:?}"), "AddressMap { .. }");
}

#[test]
fn a_panic_goes_no_further() {
    let node = Node::new("172.17.0.2", 6379);
    let map = AddressMap::new(|_| std::panic::resume_unwind(Box::new("on purpose")));
    assert_eq!(map.try_apply(&node), None);
}
