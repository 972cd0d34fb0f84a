use super::*;
use crate::node::Role;

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

#[tokio::test(start_paused = true)]
async fn connections_with_old_certificates_are_closed_one_by_one_and_all_of_them_within_minutes() {
    for slots in [1, 10, 1000] {
        let node_table = NodeTable::default();
        let node = Node::new("10.0.0.1", 6379);
        for _ in 0..slots {
            node_table.join(vec![Target {
                node: node.clone(),
                role: Role::Master,
                since: 0,
            }]);
        }
        let began = Instant::now();
        let mut closed = 0;
        while closed < slots {
            let mut now = 0;
            while node_table.may_retire(&node) {
                now += 1;
            }
            assert!(now <= 1, "{now} at once");
            closed += now;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let took = began.elapsed();
        assert!(took <= RETIREMENT_OF_ALL * 2, "{slots}: {took:?}");
        assert!(
            took >= (RETIREMENT / 2 * (slots - 1)).min(RETIREMENT_OF_ALL / 2),
            "{slots}: {took:?}"
        );
    }
    assert!(
        NodeTable::default().may_retire(&Node::new("10.0.0.1", 6379)),
        "it is gone"
    );
}
