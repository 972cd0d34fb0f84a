//! What one subscriber missed in one round.

use serde::Serialize;

use crate::failover::{
    broadcast::{Published, Source},
    ear::Heard,
    landmarks::Landmarks,
    stopwatch::{between, millis},
};

/// What was published, by source.
pub(crate) type Messages = [(Source, Vec<Published>); 2];

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Missed {
    pub(crate) published_by_witness: usize,
    pub(crate) lost_of_witness: usize,
    pub(crate) published_by_writer: usize,
    pub(crate) lost_of_writer: usize,
    /// Lost, and no notice covers it. Without those that the witness sent while it was changing over: they may
    /// have gone to the old master, when the subscriber had left it.
    pub(crate) untold: usize,
    /// The longest that it heard nothing of the witness after the fault, in milliseconds.
    pub(crate) silence: f64,
    /// When it was first told after the fault, in milliseconds after that.
    pub(crate) told: Option<f64>,
}

impl Missed {
    pub(crate) fn of(heard: &Heard, messages: &Messages, landmarks: &Landmarks) -> Self {
        let [witness, writer] = messages;
        let lost = |(source, published): &(Source, Vec<Published>)| -> Vec<Published> {
            let lost = published.iter().copied();
            lost.filter(|message| !heard.has(*source, message.number))
                .collect()
        };
        let (of_witness, of_writer) = (lost(witness), lost(writer));
        let of_the_master = of_witness.iter();
        let of_the_master = of_the_master.filter(|lost| !landmarks.is_changing_over(lost.sent));
        let untold = of_the_master.chain(&of_writer);
        let untold = untold.filter(|lost| !heard.notices.iter().any(|notice| notice.covers(lost)));
        let notices = heard.notices.iter().map(|notice| notice.at);
        let told = notices.filter(|at| *at >= landmarks.fault).min();
        Self {
            published_by_witness: witness.1.len(),
            lost_of_witness: of_witness.len(),
            published_by_writer: writer.1.len(),
            lost_of_writer: of_writer.len(),
            untold: untold.count(),
            silence: silence(heard, landmarks),
            told: told.map(|at| between(landmarks.fault, at)),
        }
    }
}

/// From the fault to the end of the round.
fn silence(heard: &Heard, landmarks: &Landmarks) -> f64 {
    let (fault, end) = (landmarks.fault, landmarks.end);
    let mut times: Vec<_> = heard
        .times(Source::Witness)
        .filter(|at| (fault..=end).contains(at))
        .chain([fault, end])
        .collect();
    times.sort();
    let pauses = times.windows(2).map(|pair| pair[1] - pair[0]);
    millis(pauses.max().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::failover::{
        ear::{Ear, Notice},
        stopwatch::Stopwatch,
    };

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn what_was_not_heard_is_lost_and_told_only_by_a_notice_after_it() {
        let ear = Ear::new(Stopwatch::start());
        for number in [1, 3] {
            let number = u64::to_string(&number);
            ear.message(b"by-witness", number.as_bytes());
        }
        let mut heard = ear.take();
        let published = |number, at| Published {
            number,
            sent: ms(at),
            acknowledged: ms(at),
        };
        let by_witness = (1..).zip([10, 20, 30, 40]);
        let messages = [
            (
                Source::Witness,
                by_witness.map(|(n, at)| published(n, at)).collect(),
            ),
            (Source::Writer, vec![published(1, 50)]),
        ];
        let landmarks = Landmarks {
            fault: ms(5),
            end: ms(100),
            ..Landmarks::default()
        };
        let missed = Missed::of(&heard, &messages, &landmarks);
        assert_eq!((missed.lost_of_witness, missed.lost_of_writer), (2, 1));
        assert_eq!((missed.untold, missed.told), (3, None));
        // Both came in the first milliseconds, before the fault.
        assert!(missed.silence > 90.0, "{missed:?}");

        heard.notices.push(Notice {
            at: ms(45),
            since: None,
        });
        let missed = Missed::of(&heard, &messages, &landmarks);
        assert_eq!((missed.untold, missed.told), (1, Some(40.0)));

        let one = [
            (Source::Witness, vec![published(5, 50)]),
            (Source::Writer, Vec::new()),
        ];
        assert_eq!(Missed::of(&heard, &one, &landmarks).untold, 1);
        let changing_over = Landmarks {
            still_replica: Some(ms(46)),
            writable: Some(ms(60)),
            ..landmarks
        };
        let missed = Missed::of(&heard, &one, &changing_over);
        assert_eq!((missed.lost_of_witness, missed.untold), (1, 0));
    }
}
