//! Connects to a name that has several addresses, as RFC 8305 ("Happy Eyeballs") describes it. A dead
//! address must not delay the others for long.

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

/// How long an attempt goes on before the next address is tried beside it: the "Connection Attempt
/// Delay" that RFC 8305 recommends, and the least that it allows.
const LONGEST_DELAY: Duration = Duration::from_millis(250);
const SHORTEST_DELAY: Duration = Duration::from_millis(10);

/// The order in which addresses are tried: as the resolver gave them, with IPv6 and IPv4 in turns, and
/// without duplicates.
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

/// How long an attempt goes on alone: short enough to leave the last address a fair share of the time.
fn delay(within: Duration, addresses: usize) -> Duration {
    let shares = u32::try_from(addresses.saturating_add(1)).unwrap_or(u32::MAX);
    (within / shares).clamp(SHORTEST_DELAY, LONGEST_DELAY)
}

/// What to do while no attempt has succeeded.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    TryNext,
    /// The next address is tried after this long, or as soon as an attempt fails.
    Wait(Duration),
    /// All addresses are being tried.
    WaitForThem,
    GiveUp,
}

/// `since` is the time since the last attempt began; `None` if an attempt has failed after that.
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

/// Connects to the first of these addresses that answers. The error says what became of each.
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

    /// Ready when an attempt has succeeded, or with `None` when one has failed.
    fn poll_attempts(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        for index in 0..self.under_way.len() {
            if let Poll::Ready(result) = self.under_way[index].1.as_mut().poll(cx) {
                let (address, _) = self.under_way.remove(index);
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
            // The caller knows the only address.
            Some((_, error)) if self.failed.is_empty() => error,
            Some((address, error)) => {
                let kind = error.kind();
                self.failed.push((address, error));
                io::Error::new(kind, self.summary())
            }
            None => io::Error::new(io::ErrorKind::NotFound, "the name has no address"),
        }
    }

    fn out_of_time(&self) -> io::Error {
        let mut text = "no TCP connection within the deadline".to_owned();
        if self.failed.len() + self.under_way.len() + self.untried.len() > 1 {
            text = format!("{text} ({})", self.summary());
        }
        io::Error::new(io::ErrorKind::TimedOut, text)
    }

    /// What became of each address.
    fn summary(&self) -> String {
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
mod tests;
