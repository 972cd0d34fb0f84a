use super::*;

#[tokio::test(start_paused = true)]
async fn one_more_is_dialled_while_there_is_room_and_shares_are_uneven() {
    let balance = Balance::new();
    for (shares, is_full, wanted, excess) in [
        (&[][..], false, false, 0),
        (&[3, 3], false, false, 0),
        (&[3, 2], false, true, 0),
        (&[3, 2], true, false, 1),
        (&[5, 0, 2], true, false, 5),
        (&[3, 3], true, false, 0),
    ] {
        let got = balance.wants_connection(shares, is_full);
        assert_eq!(got, wanted, "{shares:?} {is_full}");
        assert_eq!(balance.excess.load(Relaxed), excess, "{shares:?} {is_full}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_returned_connection_makes_room_at_once_only_where_shares_differ_by_two() {
    let balance = Balance::new();
    let even = || unreachable!("the shares are even");
    assert!(!balance.is_overfull(4, even));
    balance.wants_connection(&[4, 2], true);
    assert!(balance.is_overfull(4, || (4, 2)));
    assert!(!balance.is_overfull(4, || (3, 2)));
}

#[tokio::test(start_paused = true)]
async fn the_odd_connection_changes_its_node_after_so_many_returns_and_so_much_time() {
    let balance = Balance::new();
    balance.wants_connection(&[3, 2], true);
    let too_soon = || unreachable!("it is not due");
    let period = RETURNS_PER_TURN * 5;
    for _ in 0..=period {
        assert!(!balance.is_overfull(5, too_soon));
    }
    tokio::time::advance(SHORTEST_TURN).await;
    for _ in 0..period {
        assert!(!balance.is_overfull(5, too_soon), "it counts from 0 again");
    }
    assert!(!balance.is_overfull(5, || (2, 2)), "of the other node");
    assert!(balance.is_overfull(5, || (3, 2)));
    assert!(!balance.is_overfull(5, too_soon), "the next turn begins");
}
