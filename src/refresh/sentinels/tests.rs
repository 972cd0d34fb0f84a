use super::*;
use crate::sentinel::message::FailureKind;

fn seed(name: &str) -> Node {
    Node::new(name, 1)
}

fn sentinels(seeds: &[&str]) -> SentinelSet {
    let seeds = seeds.iter().map(|name| format!("{name}:1"));
    let config = Config::new(seeds, "mymaster");
    SentinelSet::new(Arc::new(config), mpsc::channel(64).0)
}

fn answer(id: &str) -> Result<Arc<Answer>, SentinelError> {
    let id = Some(id.to_owned());
    Ok(Arc::new(Answer {
        id,
        ..Answer::default()
    }))
}

fn error(cause: FailureKind) -> SentinelError {
    let text = "no".to_owned();
    SentinelError { text, cause }
}

#[tokio::test]
async fn no_sentinel_has_failed_before_the_first_refresh() {
    let mut sentinels = sentinels(&["127.0.0.2"]);
    sentinels.note_unsubscribed(&seed("127.0.0.2"), error(FailureKind::Forbidden));
    assert!(!sentinels.turnout(0).is_complete() && !sentinels.turnout(0).is_enough());
    sentinels.note_answer(&seed("127.0.0.2"), 1, Err(error(FailureKind::Broken)));
    assert!(sentinels.turnout(1).is_complete() && !sentinels.turnout(2).is_complete());
}

#[tokio::test]
async fn a_sentinel_with_two_addresses_has_one_report_the_newest() {
    let (one, two) = (seed("127.0.0.2"), seed("127.0.0.3"));
    let mut sentinels = sentinels(&["127.0.0.2", "127.0.0.3"]);
    assert_eq!(sentinels.reports().len(), 2);
    sentinels.note_answer(&one, 1, answer("a"));
    sentinels.note_answer(&two, 2, answer("a"));
    assert_eq!(sentinels.reports().len(), 1);
    assert_eq!(sentinels.reports()[0].round, 2);
    // A failure by one address says nothing against the answer by the other.
    sentinels.note_answer(&two, 3, Err(error(FailureKind::Broken)));
    let reports = sentinels.reports();
    assert_eq!((reports.len(), reports[0].round), (1, 1));
    assert!(reports[0].answer.is_some());
}

#[tokio::test]
async fn an_event_is_of_the_sentinel_that_gave_it_and_not_of_the_address() {
    let (balanced, other) = (seed("127.0.0.2"), seed("127.0.0.3"));
    let mut sentinels = sentinels(&["127.0.0.2", "127.0.0.3"]);
    sentinels.note_answer(&balanced, 1, answer("a"));
    sentinels.note_answer(&other, 1, answer("b"));
    sentinels.note_subscribed(&balanced, Some("b".to_owned()), None);
    let publisher = sentinels.identify(&balanced, Some("b".to_owned()));
    assert_eq!(publisher.to_string(), other.to_string());
    let counts = sentinels.counts();
    assert_eq!((counts.known, counts.listening), (2, 1));
    // The address moves on: what it says now comes from another Sentinel.
    sentinels.note_answer(&balanced, 2, answer("c"));
    assert_eq!(sentinels.counts().known, 2);
    assert_eq!(sentinels.identify(&balanced, None).id(), Some("c"));
}
