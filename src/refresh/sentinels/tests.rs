use super::*;
use crate::sentinel::message::Reason;

fn seed(name: &str) -> Node {
    Node::new(name, 1)
}

fn links(seeds: &[&str]) -> Links {
    let seeds = seeds.iter().map(|name| format!("{name}:1"));
    let config = Config::new(seeds, "mymaster");
    Links::new(Arc::new(config), mpsc::channel(64).0)
}

fn answer(id: &str) -> Result<Box<Answer>, Silence> {
    let id = Some(id.to_owned());
    Ok(Box::new(Answer {
        id,
        ..Answer::default()
    }))
}

fn silence(reason: Reason) -> Silence {
    let text = "no".to_owned();
    Silence { text, reason }
}

#[tokio::test]
async fn nobody_has_failed_a_look_before_the_first() {
    let mut links = links(&["127.0.0.2"]);
    links.lost(&seed("127.0.0.2"), silence(Reason::Forbidden));
    assert!(!links.turnout(0).is_complete() && !links.turnout(0).is_enough());
    links.hear(&seed("127.0.0.2"), 1, Err(silence(Reason::Fault)));
    assert!(links.turnout(1).is_complete() && !links.turnout(2).is_complete());
}

#[tokio::test]
async fn a_sentinel_with_two_addresses_has_one_word_and_it_is_the_newest_answer() {
    let (one, two) = (seed("127.0.0.2"), seed("127.0.0.3"));
    let mut links = links(&["127.0.0.2", "127.0.0.3"]);
    assert_eq!(links.words().len(), 2);
    links.hear(&one, 1, answer("a"));
    links.hear(&two, 2, answer("a"));
    assert_eq!(links.words().len(), 1);
    assert_eq!(links.words()[0].look, 2);
    // A failure by one address says nothing against the answer by the other.
    links.hear(&two, 3, Err(silence(Reason::Fault)));
    let words = links.words();
    assert_eq!((words.len(), words[0].look), (1, 1));
    assert!(words[0].answer.is_some());
}

#[tokio::test]
async fn an_event_is_of_the_sentinel_that_gave_it_and_not_of_the_address() {
    let (balanced, other) = (seed("127.0.0.2"), seed("127.0.0.3"));
    let mut links = links(&["127.0.0.2", "127.0.0.3"]);
    links.hear(&balanced, 1, answer("a"));
    links.hear(&other, 1, answer("b"));
    links.listens(&balanced, Some("b".to_owned()), None);
    let publisher = links.identify(&balanced, Some("b".to_owned()));
    assert_eq!(publisher.to_string(), other.to_string());
    let standing = links.standing();
    assert_eq!((standing.known, standing.listening), (2, 1));
    // It moves on: what it says now is another Sentinel's word.
    links.hear(&balanced, 2, answer("c"));
    assert_eq!(links.standing().known, 2);
    assert_eq!(links.identify(&balanced, None).id(), Some("c"));
}
