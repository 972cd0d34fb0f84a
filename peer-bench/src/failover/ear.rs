//! What a subscriber heard.

use std::{collections::BTreeMap, str, sync::Arc, time::Duration};

use parking_lot::Mutex;

use crate::failover::{
    broadcast::{Published, Source},
    stopwatch::Stopwatch,
};

#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// When each message came, by its number.
    messages: BTreeMap<(Source, u64), Duration>,
    pub(crate) notices: Vec<Notice>,
}

/// The client said that messages may be missing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Notice {
    pub(crate) at: Duration,
    /// Those that were published in this last span of time. Without one, all before.
    pub(crate) since: Option<Duration>,
}

impl Notice {
    /// Whether it may have been published in that time.
    pub(crate) fn covers(&self, message: &Published) -> bool {
        let begin = self.since.map(|since| self.at.saturating_sub(since));
        begin.unwrap_or_default() <= message.acknowledged && message.sent <= self.at
    }
}

impl Heard {
    pub(crate) fn has(&self, source: Source, number: u64) -> bool {
        self.messages.contains_key(&(source, number))
    }

    /// When messages of this source came, in the order of their numbers.
    pub(crate) fn times(&self, source: Source) -> impl Iterator<Item = Duration> {
        let all = (source, 0)..=(source, u64::MAX);
        self.messages.range(all).map(|(_, at)| *at)
    }
}

/// Where a subscriber leaves what it hears.
#[derive(Debug, Clone)]
pub(crate) struct Ear {
    stopwatch: Stopwatch,
    heard: Arc<Mutex<Heard>>,
}

impl Ear {
    pub(crate) fn new(stopwatch: Stopwatch) -> Self {
        Self {
            stopwatch,
            heard: Arc::default(),
        }
    }

    pub(crate) fn message(&self, channel: &[u8], payload: &[u8]) {
        let number = str::from_utf8(payload)
            .ok()
            .and_then(|text| text.parse().ok());
        if let Some(source) = Source::of(channel)
            && let Some(number) = number
        {
            let now = self.stopwatch.now();
            let mut heard = self.heard.lock();
            heard.messages.entry((source, number)).or_insert(now);
        }
    }

    pub(crate) fn told(&self, since: Option<Duration>) {
        let at = self.stopwatch.now();
        self.heard.lock().notices.push(Notice { at, since });
    }

    pub(crate) fn take(&self) -> Heard {
        std::mem::take(&mut *self.heard.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_covers_what_was_published_before_it() {
        let ms = Duration::from_millis;
        let at = ms(500);
        for (since, sent, covers) in [
            (None, 10, true),
            (None, 500, true),
            (None, 501, false),
            (Some(ms(100)), 394, false),
            (Some(ms(100)), 395, true),
            (Some(ms(900)), 0, true),
        ] {
            let notice = Notice { at, since };
            let message = Published {
                number: 1,
                sent: ms(sent),
                acknowledged: ms(sent + 5),
            };
            assert_eq!(notice.covers(&message), covers, "{notice:?} {sent}");
        }
    }

    #[test]
    fn only_the_numbers_on_our_channels_are_heard() {
        let ear = Ear::new(Stopwatch::start());
        ear.message(Source::Writer.channel().as_bytes(), b"7");
        ear.message(Source::Writer.channel().as_bytes(), b"seven");
        ear.message(b"another", b"8");
        let heard = ear.take();
        assert!(heard.has(Source::Writer, 7) && !heard.has(Source::Witness, 7));
        assert_eq!(heard.times(Source::Writer).count(), 1);
    }
}
