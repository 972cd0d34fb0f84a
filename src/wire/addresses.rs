//! The addresses of one name, tried side by side as RFC 8305 ("Happy Eyeballs") describes it: one that
//! is dead must not hide the others.

use std::{
    collections::VecDeque,
    fmt::Write,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, sleep_until, timeout_at};

/// An attempt goes on alone for this long, and then the next address is tried beside it: the
/// "Connection Attempt Delay" that RFC 8305 recommends, and the least that it allows.
const LONGEST_DELAY: Duration = Duration::from_millis(250);
const SHORTEST_DELAY: Duration = Duration::from_millis(10);

/// The order in which they are tried: as the resolver gave them, with IPv6 and IPv4 in turns, each
/// once.
pub(super) fn in_turns(resolved: impl IntoIterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut families = [VecDeque::new(), VecDeque::new()];
    let mut resolved = resolved.into_iter().peekable();
    let first_is_v6 = resolved.peek().is_some_and(SocketAddr::is_ipv6);
    for address in resolved {
        let family = &mut families[usize::from(address.is_ipv6() != first_is_v6)];
        if !family.contains(&address) {
            family.push_back(address);
        }
    }
    let [mut first, mut second] = families;
    let mut order = Vec::with_capacity(first.len() + second.len());
    while !(first.is_empty() && second.is_empty()) {
        order.extend(first.pop_front());
        order.extend(second.pop_front());
    }
    order
}

/// How long an attempt goes on alone: short enough for the last address to have as much time as a
/// fair share of all there is.
fn delay(within: Duration, addresses: usize) -> Duration {
    let shares = u32::try_from(addresses.saturating_add(1)).unwrap_or(u32::MAX);
    (within / shares).clamp(SHORTEST_DELAY, LONGEST_DELAY)
}

/// What is to be done while no attempt has succeeded.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    TryNext,
    /// The next address is tried after this long, or as soon as an attempt fails.
    Wait(Duration),
    /// All are under way.
    WaitForThem,
    GiveUp,
}

/// `since` is when the last attempt began, unless it or another has failed after that.
fn step(untried: usize, under_way: usize, since: Option<Duration>, delay: Duration) -> Step {
    let left = since.map_or(Duration::ZERO, |since| delay.saturating_sub(since));
    match (untried, under_way) {
        (0, 0) => Step::GiveUp,
        (0, _) => Step::WaitForThem,
        (_, 0) => Step::TryNext,
        _ if left.is_zero() => Step::TryNext,
        _ => Step::Wait(left),
    }
}

/// Connects to the first of these addresses that answers. The error has what became of each.
pub(super) async fn connect<T, F>(
    addresses: Vec<SocketAddr>,
    deadline: Instant,
    dial: impl Fn(SocketAddr) -> F,
) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let within = deadline.saturating_duration_since(Instant::now());
    let mut race = Race {
        delay: delay(within, addresses.len()),
        untried: addresses.into(),
        under_way: Vec::new(),
        failed: Vec::new(),
        last: None,
        dial,
    };
    match timeout_at(deadline, race.run()).await {
        Ok(Some(connected)) => Ok(connected),
        Ok(None) => Err(race.all_failed()),
        Err(_) => Err(race.out_of_time()),
    }
}

struct Race<D, F> {
    delay: Duration,
    untried: VecDeque<SocketAddr>,
    under_way: Vec<(SocketAddr, Pin<Box<F>>)>,
    failed: Vec<(SocketAddr, io::Error)>,
    /// When the last attempt began, unless one has failed since.
    last: Option<Instant>,
    dial: D,
}

impl<T, F, D> Race<D, F>
where
    F: Future<Output = io::Result<T>>,
    D: Fn(SocketAddr) -> F,
{
    /// `None` when every attempt has failed.
    async fn run(&mut self) -> Option<T> {
        loop {
            let since = self.last.map(|last| last.elapsed());
            let (untried, under_way) = (self.untried.len(), self.under_way.len());
            let pause = match step(untried, under_way, since, self.delay) {
                Step::GiveUp => return None,
                Step::WaitForThem => None,
                Step::Wait(pause) => Some(pause),
                Step::TryNext => {
                    if let Some(address) = self.untried.pop_front() {
                        let attempt = Box::pin((self.dial)(address));
                        self.under_way.push((address, attempt));
                        self.last = Some(Instant::now());
                    }
                    continue;
                }
            };
            let mut timer = pin!(pause.map(|pause| sleep_until(Instant::now() + pause)));
            let ended = poll_fn(|cx| match self.poll_attempts(cx) {
                Poll::Pending => match timer.as_mut().as_pin_mut() {
                    Some(timer) => timer.poll(cx).map(|()| None),
                    None => Poll::Pending,
                },
                ended => ended,
            });
            if let Some(connected) = ended.await {
                return Some(connected);
            }
        }
    }

    /// Ready when an attempt has succeeded, or, with nothing, when one has failed.
    fn poll_attempts(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        for place in 0..self.under_way.len() {
            if let Poll::Ready(result) = self.under_way[place].1.as_mut().poll(cx) {
                let (address, _) = self.under_way.remove(place);
                return Poll::Ready(match result {
                    Ok(connected) => Some(connected),
                    Err(error) => {
                        self.failed.push((address, error));
                        self.last = None;
                        None
                    }
                });
            }
        }
        Poll::Pending
    }

    fn all_failed(mut self) -> io::Error {
        match self.failed.pop() {
            // Its address is known to whoever asked.
            Some((_, error)) if self.failed.is_empty() => error,
            Some((address, error)) => {
                let kind = error.kind();
                self.failed.push((address, error));
                io::Error::new(kind, self.told())
            }
            None => io::Error::new(io::ErrorKind::NotFound, "the name has no address"),
        }
    }

    fn out_of_time(&self) -> io::Error {
        let mut text = "no TCP connection within the deadline".to_owned();
        if self.failed.len() + self.under_way.len() + self.untried.len() > 1 {
            text = format!("{text} ({})", self.told());
        }
        io::Error::new(io::ErrorKind::TimedOut, text)
    }

    /// What became of each address.
    fn told(&self) -> String {
        let mut text = String::new();
        let failed = self
            .failed
            .iter()
            .map(|(address, error)| (address, error.to_string()));
        let silent = self
            .under_way
            .iter()
            .map(|(address, _)| (address, "no answer".to_owned()));
        let untried = self
            .untried
            .iter()
            .map(|address| (address, "not tried".to_owned()));
        for (address, what) in failed.chain(silent).chain(untried) {
            let separator = if text.is_empty() { "" } else { "; " };
            // Writing to a string does not fail.
            let _ = write!(text, "{separator}{address}: {what}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
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
            let all =
                (0..answers.len()).map(|place| SocketAddr::from(([10, 0, 0, 1], port(place))));
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
}
