use std::cell::Cell;

use super::*;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn families_take_turns_and_the_resolver_s_order_holds_within_each() {
    const A: &str = "10.0.0.1:1";
    const B: &str = "10.0.0.2:1";
    const C: &str = "10.0.0.3:1";
    const X: &str = "[fd00::1]:1";
    const Y: &str = "[fd00::2]:1";
    let table: [(&[&str], &[&str]); 7] = [
        (&[], &[]),
        (&[A], &[A]),
        (&[A, B, C], &[A, B, C]),
        (&[X, Y, A, B], &[X, A, Y, B]),
        (&[A, B, C, X], &[A, X, B, C]),
        (&[X, A, B, C], &[X, A, B, C]),
        (&[B, X, B, A, X, Y], &[B, X, A, Y]),
    ];
    for (resolved, expected) in table {
        let order = in_turns(addresses(resolved));
        assert_eq!(order, addresses(expected), "{resolved:?}");
    }
}

#[test]
fn the_last_address_has_its_share_of_the_time() {
    let table = [
        // the time, the addresses, and how long each attempt goes on alone
        (5000, 1, 250),
        (5000, 2, 250),
        (5000, 40, 121),
        (500, 2, 166),
        (500, 4, 100),
        (100, 3, 25),
        (20, 8, 10),
        (0, 2, 10),
    ];
    for (within, count, expected) in table {
        assert_eq!(
            delay(ms(within), count).as_millis(),
            expected,
            "{within} {count}"
        );
    }
    assert_eq!(delay(Duration::MAX, usize::MAX), LONGEST_DELAY);
}

#[test]
fn the_next_address_is_tried_after_a_delay_or_a_failure() {
    let delay = ms(100);
    let table = [
        // untried, under way, since the last began, expected
        (2, 0, None, Step::TryNext),
        (1, 1, Some(0), Step::Wait(ms(100))),
        (1, 1, Some(99), Step::Wait(ms(1))),
        (1, 1, Some(100), Step::TryNext),
        (1, 1, None, Step::TryNext),
        (1, 0, Some(0), Step::TryNext),
        (0, 2, Some(500), Step::WaitForThem),
        (0, 1, None, Step::WaitForThem),
        (0, 0, None, Step::GiveUp),
    ];
    for (untried, under_way, since, expected) in table {
        let got = step(untried, under_way, since.map(ms), delay);
        assert_eq!(got, expected, "{untried} {under_way} {since:?}");
    }
}

/// How an address answers.
#[derive(Debug, Clone, Copy)]
enum Answers {
    After(u64),
    RefusesAfter(u64),
    Never,
}

#[tokio::test(start_paused = true)]
async fn the_first_address_that_answers_wins() {
    use Answers::{After, Never, RefusesAfter};
    let table: [(&[Answers], Option<usize>, u64, usize); 10] = [
        // how each answers, who wins, after so many ms, attempts made
        (&[After(5)], Some(0), 5, 1),
        (&[After(200), After(5)], Some(0), 200, 1),
        (&[Never, After(5)], Some(1), 255, 2),
        (&[RefusesAfter(5), After(5)], Some(1), 10, 2),
        (&[RefusesAfter(5), Never, After(5)], Some(2), 260, 3),
        // The first goes on meanwhile, and may still win.
        (&[After(300), After(100)], Some(0), 300, 2),
        (&[Never, RefusesAfter(20), After(0)], Some(2), 270, 3),
        (&[Never, Never, Never, After(5)], Some(3), 755, 4),
        (&[RefusesAfter(1), RefusesAfter(2)], None, 3, 2),
        (&[Never, RefusesAfter(1)], None, 2000, 2),
    ];
    for (answers, winner, after, expected) in table {
        let port = |place: usize| u16::try_from(place).unwrap();
        let all = (0..answers.len()).map(|place| SocketAddr::from(([10, 0, 0, 1], port(place))));
        let attempts = Cell::new(0);
        let began = Instant::now();
        let dial = |address: SocketAddr| {
            attempts.set(attempts.get() + 1);
            let how = answers[usize::from(address.port())];
            async move {
                match how {
                    After(millis) => tokio::time::sleep(ms(millis)).await,
                    RefusesAfter(millis) => {
                        tokio::time::sleep(ms(millis)).await;
                        return Err(io::ErrorKind::ConnectionRefused.into());
                    }
                    Never => std::future::pending().await,
                }
                Ok(usize::from(address.port()))
            }
        };
        let won = connect(all.collect(), began + ms(2000), dial).await;
        assert_eq!(won.ok(), winner, "{answers:?}");
        assert_eq!(began.elapsed(), ms(after), "{answers:?}");
        assert_eq!(attempts.get(), expected, "{answers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_error_has_what_became_of_each_address() {
    let all = addresses(&["10.0.0.1:1", "[fd00::1]:1", "10.0.0.2:1"]);
    let refused = |_| async { Err::<(), _>(io::Error::from(io::ErrorKind::ConnectionRefused)) };
    let deadline = || Instant::now() + ms(1000);
    let error = connect(all.clone(), deadline(), refused).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(
        error.to_string(),
        "10.0.0.1:1: connection refused; [fd00::1]:1: connection refused; \
         10.0.0.2:1: connection refused"
    );
    let silent = |address: SocketAddr| async move {
        if address.is_ipv6() {
            return Err(io::Error::from(io::ErrorKind::NetworkUnreachable));
        }
        std::future::pending::<io::Result<()>>().await
    };
    let error = connect(all, deadline(), silent).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(
        error.to_string(),
        "no TCP connection within the deadline ([fd00::1]:1: network unreachable; \
         10.0.0.1:1: no answer; 10.0.0.2:1: no answer)"
    );
    let one = addresses(&["10.0.0.1:1"]);
    let error = connect(one.clone(), deadline(), silent).await.unwrap_err();
    assert_eq!(error.to_string(), "no TCP connection within the deadline");
    let error = connect(one, deadline(), refused).await.unwrap_err();
    assert_eq!(error.to_string(), "connection refused");
    let error = connect(Vec::new(), deadline(), refused).await.unwrap_err();
    assert_eq!(error.to_string(), "the name has no address");
}
