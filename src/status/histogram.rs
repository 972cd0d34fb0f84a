//! How long something took, in fixed buckets.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// The upper bounds of the buckets but the last, in nanoseconds: 10 us to 60 s in steps of 1, 2, 5. Those
/// that OpenTelemetry advises for `db.client.operation.duration` are among them.
const BOUNDS: [u64; 21] = [
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
    2_000_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
    60_000_000_000,
];
/// One more: what took longer than a minute.
const BUCKETS: usize = BOUNDS.len() + 1;
const LAST: usize = BUCKETS - 1;

/// The shortest time that falls into this bucket.
fn shortest(at: usize) -> Duration {
    let below = at.checked_sub(1).map(|below| BOUNDS[below] + 1);
    Duration::from_nanos(below.unwrap_or(0))
}

/// The longest time that falls into this bucket; of the last one twice its beginning.
fn longest(at: usize) -> Duration {
    let end = BOUNDS.get(at).copied();
    Duration::from_nanos(end.unwrap_or(2 * BOUNDS[LAST - 1]))
}

/// How often something took how long, since the pool was made.
///
/// There are 22 buckets, with the upper bounds 10, 20, 50, 100, 200, 500 us, 1, 2, 5, 10, 20, 50, 100, 200,
/// 500 ms, 1, 2, 5, 10, 30, 60 s, and one for everything above. They are the same in every histogram and in
/// every release.
///
/// ```no_run
/// # fn example(pool: redis_rw_pool::Pool) {
/// let wait = pool.status().write.wait;
/// println!("{} checkouts, 99 % of them within {:?}", wait.count(), wait.quantile(0.99));
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Histogram {
    counts: [u64; BUCKETS],
    sum: Duration,
}

impl Histogram {
    /// How often it happened.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The time of all together.
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// Each bucket: its upper bound, and how often it took that long or less, with the shorter ones
    /// included. The last bound is `None`: it has all of them.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<Duration>, u64)> {
        let bounds = BOUNDS.iter().map(|nanos| Duration::from_nanos(*nanos));
        let bounds = bounds.map(Some).chain([None]);
        let counts = self.counts.iter().scan(0, |total, count| {
            *total += count;
            Some(*total)
        });
        bounds.zip(counts)
    }

    /// The time within which this share of all was done, as far as the buckets tell: the upper bound of
    /// the bucket that it falls into, or 60 s for the last. `0.5` asks for the median, `0.99` for the time
    /// that one of a hundred exceeds. A share below 0 counts as 0, one above 1 as 1.
    ///
    /// `None` if nothing happened yet.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let count = self.count();
        let share = if share.is_nan() {
            1.0
        } else {
            share.clamp(0.0, 1.0)
        };
        let longest = Duration::from_nanos(BOUNDS[BOUNDS.len() - 1]);
        let mut reached = self
            .buckets()
            .filter(|(_, within)| *within > 0 && *within as f64 >= share * count as f64);
        reached.next().map(|(bound, _)| bound.unwrap_or(longest))
    }

    /// What came after `before`, an earlier state of the same histogram: times, and how often to record each.
    /// This is for those who hand the numbers on to a histogram of some other library.
    ///
    /// Only the bucket of each time is known. There is one time for each bucket that has grown, and it lies
    /// within that bucket. All together they last as long as [`sum`](Self::sum) has grown, but for a nanosecond
    /// each. So a histogram with the bounds of [`buckets`](Self::buckets) gets the same counts and the same sum.
    ///
    /// ```no_run
    /// use redis_rw_pool::{Histogram, Pool};
    ///
    /// /// Call it every so often.
    /// fn hand_on(pool: &Pool, before: &mut Histogram, mut record: impl FnMut(f64)) {
    ///     let wait = pool.status().write.wait;
    ///     for (time, count) in wait.since(before) {
    ///         (0..count).for_each(|_| record(time.as_secs_f64()));
    ///     }
    ///     *before = wait;
    /// }
    /// ```
    pub fn since(&self, before: &Self) -> impl Iterator<Item = (Duration, u64)> + use<> {
        let counts: [u64; BUCKETS] =
            std::array::from_fn(|at| self.counts[at].saturating_sub(before.counts[at]));
        let sum = self.sum.saturating_sub(before.sum).as_secs_f64();
        let all = |time: fn(usize) -> Duration| -> f64 {
            let times = counts.iter().enumerate();
            times
                .map(|(at, count)| *count as f64 * time(at).as_secs_f64())
                .sum()
        };
        let (least, most) = (all(shortest), all(longest));
        // How far into its bucket each time lies. Counts and sum are not read at the same moment.
        let share = ((sum - least) / (most - least)).clamp(0.0, 1.0);
        // The last bucket has no end, and gets what the others cannot hold.
        let beyond = (sum - most).max(0.0) / counts[LAST] as f64;
        let beyond = Duration::try_from_secs_f64(beyond).unwrap_or_default();
        let grown = counts.into_iter().enumerate();
        let grown = grown.filter(|(_, count)| *count > 0);
        grown.map(move |(at, count)| {
            let time = shortest(at) + (longest(at) - shortest(at)).mul_f64(share);
            let time = if at == LAST { time + beyond } else { time };
            (time, count)
        })
    }

    /// So many more that took no time.
    pub(crate) fn with_instant(mut self, count: u64) -> Self {
        self.counts[0] += count;
        self
    }

    /// With so much more time in its sum.
    pub(crate) fn with_time(mut self, nanos: u64) -> Self {
        self.sum = self.sum.saturating_add(Duration::from_nanos(nanos));
        self
    }
}

impl fmt::Debug for Histogram {
    /// The buckets that are not empty, by their upper bounds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bounds = self.buckets().map(|(bound, _)| bound);
        let filled = bounds.zip(self.counts).filter(|(_, count)| *count > 0);
        let mut shown = f.debug_map();
        for (bound, count) in filled {
            match bound {
                Some(bound) => shown.entry(&format_args!("<={bound:?}"), &count),
                None => shown.entry(&format_args!("longer"), &count),
            };
        }
        shown.finish()
    }
}

/// `{"count": 3, "sum": 0.25, "buckets": [[0.00001, 0], …, [null, 3]]}`: times in seconds, and with each upper
/// bound how many took that long or less.
#[cfg(feature = "serde")]
impl serde::Serialize for Histogram {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;

        let seconds = |time: Duration| time.as_secs_f64();
        let buckets = self.buckets();
        let buckets: Vec<_> = buckets
            .map(|(bound, count)| (bound.map(seconds), count))
            .collect();
        let mut histogram = to.serialize_struct("Histogram", 3)?;
        histogram.serialize_field("count", &self.count())?;
        histogram.serialize_field("sum", &seconds(self.sum))?;
        histogram.serialize_field("buckets", &buckets)?;
        histogram.end()
    }
}

/// Written by many at once, without a lock. It shares no pair of cache lines (which processors fetch
/// together) with anything else.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct HistogramCounter {
    counts: [AtomicU64; BUCKETS],
    nanos: AtomicU64,
}

impl Default for HistogramCounter {
    fn default() -> Self {
        Self {
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            nanos: AtomicU64::new(0),
        }
    }
}

impl HistogramCounter {
    pub(crate) fn record(&self, time: Duration) {
        let nanos = nanos(time);
        self.count(nanos);
        self.add_time(nanos);
    }

    /// Counts it in its bucket, without its time.
    pub(crate) fn count(&self, nanos: u64) {
        let bucket = BOUNDS.partition_point(|bound| *bound < nanos);
        self.counts[bucket].fetch_add(1, Relaxed);
    }

    pub(crate) fn add_time(&self, nanos: u64) {
        self.nanos.fetch_add(nanos, Relaxed);
    }

    pub(crate) fn snapshot(&self) -> Histogram {
        Histogram {
            counts: std::array::from_fn(|bucket| self.counts[bucket].load(Relaxed)),
            sum: Duration::from_nanos(self.nanos.load(Relaxed)),
        }
    }
}

/// Whole nanoseconds, as far as they can be counted: 584 years.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
