//! The proof that the replicas have what was acknowledged.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{Event, History};
use crate::client::Reply;
use crate::deployment::Deployment;
use crate::server::Server;

const ATTEMPT: &str = "1500";

/// Replicas confirm within a millisecond where nothing else is going on.
const IN_TIME: Duration = Duration::from_millis(50);

/// Takes down whether replicas keep in step, until it is dropped or the master is none any more.
#[derive(Debug)]
pub struct Watch {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl History {
    /// Waits until the replicas hold everything that was acknowledged before this call, takes that
    /// down and returns the master. Blocks.
    ///
    /// A replica that has just copied everything gets no more before its first report, up to a
    /// second later, and what is written meanwhile is its master's alone; a failover at that moment
    /// loses what no client could save.
    pub fn in_step<'a>(&self, deployment: &'a Deployment, timeout: Duration) -> &'a Server {
        let server = deployment.master();
        let replicas = i64::try_from(deployment.replicas().len()).unwrap_or(i64::MAX);
        let deadline = Instant::now() + timeout;
        loop {
            let at = self.now();
            // Only a connection that has written something waits for it.
            let answer = server.connect().and_then(|mut client| {
                client.call(&["SET", "in-step", "?"])?;
                client.call(&["WAIT", &replicas.to_string(), ATTEMPT])
            });
            if matches!(answer, Ok(Reply::Int(count)) if count >= replicas) {
                let master = server.port();
                self.note_at(at, Event::InStep { master });
                return server;
            }
            assert!(
                Instant::now() < deadline,
                "the replicas are not in step: {answer:?}\n{}",
                deployment.describe()
            );
        }
    }
    /// Takes down each time that the replicas of this master are not in step, as
    /// [`Event::Lagged`]. Under load a replica may be behind by more than the time between the first
    /// sign of a failover and the promotion.
    ///
    /// # Errors
    ///
    /// When the master does not take a connection.
    pub fn watch_step(&self, server: &Server, replicas: i64) -> io::Result<Watch> {
        let (history, master) = (self.clone(), server.port());
        let mut client = server.connect()?;
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&over);
        let watch = move || {
            let mut behind = None;
            while !ended.load(Relaxed) {
                let began = history.now();
                let step = client
                    .call(&["SET", "in-step", "?"])
                    .and_then(|_| client.call(&["WAIT", &replicas.to_string(), "100"]));
                let since = *behind.get_or_insert(began);
                let lasted = history.now() - since;
                if lasted > IN_TIME {
                    history.note_at(since, Event::Lagged { master, lasted });
                }
                match step {
                    Ok(Reply::Int(count)) if count >= replicas => behind = None,
                    Ok(_) => {}
                    Err(_) => return,
                }
                thread::sleep(IN_TIME / 5);
            }
        };
        let thread = Some(thread::spawn(watch));
        Ok(Watch { over, thread })
    }
}
