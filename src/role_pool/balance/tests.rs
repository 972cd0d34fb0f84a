use super::*;

fn share(own: usize, fewest: usize) -> Share {
    Share {
        own,
        fewest,
        is_astray: false,
    }
}

#[tokio::test(start_paused = true)]
async fn one_more_is_dialled_while_there_is_room_and_shares_are_uneven() {
    let balance = Balance::new();
    for (shares, astray, is_full, wanted, excess) in [
        (&[][..], 0, false, false, 0),
        (&[3, 3], 0, false, false, 0),
        (&[3, 2], 0, false, true, 0),
        (&[3, 2], 0, true, false, 1),
        (&[5, 0, 2], 0, true, false, 5),
        (&[3, 3], 0, true, false, 0),
        (&[0], 3, false, true, ASTRAY),
        (&[1, 1], 3, false, true, ASTRAY),
        (&[2, 1], 1, false, true, ASTRAY),
        (&[2, 2], 4, false, false, ASTRAY),
        (&[0], 3, true, false, ASTRAY),
        (&[3], 0, false, false, 0),
    ] {
        let got = balance.wants_connection(shares, astray, is_full);
        assert_eq!(got, wanted, "{shares:?} {astray} {is_full}");
        let noted = balance.excess.load(Relaxed);
        assert_eq!(noted, excess, "{shares:?} {astray} {is_full}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_returned_connection_makes_room_at_once_only_where_shares_differ_by_two() {
    let balance = Balance::new();
    let even = || unreachable!("the shares are even");
    assert!(!balance.is_overfull(4, even));
    balance.wants_connection(&[4, 2], 0, true);
    assert!(balance.is_overfull(4, || share(4, 2)));
    assert!(!balance.is_overfull(4, || share(3, 2)));
}

#[tokio::test(start_paused = true)]
async fn the_odd_connection_changes_its_node_after_so_many_returns_and_so_much_time() {
    let balance = Balance::new();
    balance.wants_connection(&[3, 2], 0, true);
    let too_soon = || unreachable!("it is not due");
    let period = RETURNS_PER_TURN * 5;
    for _ in 0..=period {
        assert!(!balance.is_overfull(5, too_soon));
    }
    tokio::time::advance(SHORTEST_TURN).await;
    for _ in 0..period {
        assert!(!balance.is_overfull(5, too_soon), "it counts from 0 again");
    }
    assert!(!balance.is_overfull(5, || share(2, 2)), "of the other node");
    assert!(balance.is_overfull(5, || share(3, 2)));
    assert!(!balance.is_overfull(5, too_soon), "the next turn begins");
}

#[tokio::test(start_paused = true)]
async fn connections_that_are_astray_leave_one_after_the_other() {
    for (max_active, pause) in [(1, 100), (16, 100), (40, 50), (1000, 2)] {
        let balance = Balance::new();
        let (pause, step) = (Duration::from_millis(pause), Duration::from_millis(1));
        let astray = |is_astray| Share {
            is_astray,
            ..share(9, 0)
        };
        balance.wants_connection(&[1], 9, false);
        assert!(balance.has_astray());
        for _ in 0..3 {
            let too_soon = || unreachable!("it is not due");
            assert!(!balance.is_overfull(max_active, too_soon), "{max_active}");
            tokio::time::advance(pause - step).await;
            assert!(!balance.is_overfull(max_active, too_soon), "{max_active}");
            tokio::time::advance(step).await;
            assert!(
                !balance.is_overfull(max_active, || astray(false)),
                "it stays"
            );
            assert!(
                balance.is_overfull(max_active, || astray(true)),
                "{max_active}"
            );
        }
        balance.wants_connection(&[3], 0, false);
        assert!(!balance.has_astray());
    }
}
