use super::*;

#[test]
fn it_is_its_id_and_only_without_one_its_address() {
    let at = |id: Option<&str>, port| {
        SentinelId::new(id.map(str::to_owned), Node::new("10.0.0.1", port))
    };
    assert_eq!(at(Some("a"), 1), at(Some("a"), 2));
    assert_ne!(at(Some("a"), 1), at(Some("b"), 1));
    assert_eq!(at(None, 1), at(None, 1));
    assert_ne!(at(None, 1), at(None, 2));
    assert_ne!(at(None, 1), at(Some("a"), 1));
    assert_eq!(at(Some("a"), 1).to_string(), "10.0.0.1:1");
}
