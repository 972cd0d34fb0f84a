use super::*;

#[test]
fn pauses_grow_to_a_limit_and_no_two_clients_keep_step() {
    let mut clients: Vec<Vec<Duration>> = vec![Vec::new(); 100];
    for client in &mut clients {
        for _ in 0..30 {
            let before = client.last().copied();
            let pause = backoff(before);
            let most = before.map_or(DIAL.first, |before| before) * 3;
            assert!((DIAL.first..=most.min(DIAL.longest)).contains(&pause));
            client.push(pause);
        }
    }
    for round in 0..30 {
        let mut pauses: Vec<_> = clients.iter().map(|client| client[round]).collect();
        pauses.sort();
        pauses.dedup();
        assert!(pauses.len() > 90, "many go in step");
    }
    let late = clients.iter().flat_map(|client| &client[20..]);
    assert!(late.max().is_some_and(|pause| *pause > DIAL.longest / 2));
}

#[tokio::test(start_paused = true)]
async fn dials_that_fail_together_are_one_failure() {
    let node_table = NodeTable::default();
    let node = Node::new("10.0.0.1", 6379);
    node_table.failed(&node);
    let until = node_table.paused_until(&node);
    assert!(until.is_some_and(|until| until <= Instant::now() + DIAL.first * 3));
    for _ in 0..10 {
        node_table.failed(&node);
    }
    assert_eq!(node_table.paused_until(&node), until);
    tokio::time::sleep(DIAL.first * 3).await;
    node_table.failed(&node);
    assert!(node_table.paused_until(&node) > until);
}
