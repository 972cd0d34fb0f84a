//! The subscribers of a round.

use std::{fmt, pin::Pin, thread, time::Duration};

use anyhow::{Context, Result};
use tokio::{runtime::Runtime, time::timeout};

use crate::failover::{
    client::Place,
    ear::{Ear, Heard},
    stopwatch::Stopwatch,
};

/// For messages that are on their way when the round ends.
const DRAIN: Duration = Duration::from_millis(300);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) type Listening = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// One client library as a subscriber.
#[derive(Clone, Copy)]
pub(crate) struct Listener {
    pub(crate) name: &'static str,
    /// Returns when it is subscribed to both channels. Tasks of its own then hear what comes.
    pub(crate) listen: fn(Place, Ear) -> Listening,
}

impl Listener {
    pub(crate) fn is_ours(&self) -> bool {
        self.name.starts_with("ours")
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// One subscriber at work, with a runtime of its own.
struct Seat {
    name: &'static str,
    runtime: Runtime,
    ear: Ear,
}

pub(crate) struct Audience(Vec<Seat>);

impl Audience {
    pub(crate) fn gather(
        listeners: &[Listener],
        place: &Place,
        stopwatch: Stopwatch,
    ) -> Result<Self> {
        let seats = listeners
            .iter()
            .map(|listener| Seat::take(listener, place, stopwatch));
        Ok(Self(seats.collect::<Result<_>>()?))
    }

    pub(crate) fn leave(self) -> Vec<(&'static str, Heard)> {
        if !self.0.is_empty() {
            thread::sleep(DRAIN);
        }
        let seats = self.0.into_iter();
        let heard = seats.map(|seat| {
            let heard = seat.ear.take();
            seat.runtime.shutdown_background();
            (seat.name, heard)
        });
        heard.collect()
    }
}

impl Seat {
    fn take(listener: &Listener, place: &Place, stopwatch: Stopwatch) -> Result<Self> {
        let name = listener.name;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let ear = Ear::new(stopwatch);
        runtime
            .block_on(async {
                let listening = (listener.listen)(place.clone(), ear.clone());
                timeout(CONNECT_TIMEOUT, listening).await?
            })
            .with_context(|| format!("{name} does not subscribe before anything has happened"))?;
        Ok(Self { name, runtime, ear })
    }
}
