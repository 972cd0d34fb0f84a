//! Everything that this crate and others write to logs, panics and errors, as text.

use std::{
    error::Error as StdError,
    fmt::{Debug, Write as _},
    panic,
    sync::{Arc, OnceLock},
};

use parking_lot::Mutex;
use redis::RedisResult;
use redis_rw_pool::{Error, redis::RedisError};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use super::assert_hidden;

/// Everything that anybody could have read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    fn text(&self, text: String) {
        self.0.lock().push(text);
    }

    pub(crate) fn debug(&self, what: &dyn Debug) {
        self.text(format!("{what:?} {what:#?}"));
    }

    pub(crate) fn error(&self, error: &(dyn StdError + 'static)) {
        self.text(format!("{error} {error:?} {error:#?}"));
        if let Some(cause) = error.source() {
            self.error(cause);
        }
    }

    /// What a command said that must fail.
    pub(crate) fn failure<T: Debug>(&self, result: RedisResult<T>) {
        self.error(&result.expect_err("it must fail"));
    }

    /// What a pool said that could not be had, or could not lend.
    pub(crate) fn refusal<T: Debug>(&self, result: Result<T, Error>) {
        let error = result.expect_err("it must fail");
        self.error(&error);
        self.error(&RedisError::from(error));
    }

    pub(crate) fn contains(&self, text: &str) -> bool {
        self.count(&[text]) > 0
    }

    /// How many of the texts have all these parts.
    pub(crate) fn count(&self, parts: &[&str]) -> usize {
        let all = self.0.lock();
        let has_all = |text: &&String| parts.iter().all(|part| text.contains(part));
        all.iter().filter(has_all).count()
    }

    pub(crate) fn assert_hidden(&self, secret: &str) {
        // Not under the lock: the panic is read too.
        let seen = self.0.lock().clone();
        for text in seen {
            assert_hidden(&text, secret);
        }
    }
}

/// Reads every span and event of whatever level, this crate's and others'.
struct Reader(Seen);

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, "{field}={value:?} ");
    }
}

impl Subscriber for Reader {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        let mut fields = Fields(span.metadata().name().to_owned());
        span.record(&mut fields);
        self.0.text(fields.0);
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        let mut fields = Fields(String::new());
        values.record(&mut fields);
        self.0.text(fields.0);
    }

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(event.metadata().target().to_owned());
        event.record(&mut fields);
        self.0.text(fields.0);
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// Begins to read the logs of this thread and the panics of all.
pub(crate) fn read_along() -> (Seen, tracing::subscriber::DefaultGuard) {
    let seen = Seen::default();
    let panics = seen.clone();
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        panics.text(panic.to_string());
        usual(panic);
    }));
    // While there is only one subscriber, tracing asks only the thread that meets a callsite first,
    // and where that is another test's nobody reads it any more. With two it asks both.
    static SECOND: OnceLock<tracing::Dispatch> = OnceLock::new();
    SECOND.get_or_init(|| tracing::Dispatch::new(Reader(Seen::default())));
    let guard = tracing::subscriber::set_default(Reader(seen.clone()));
    (seen, guard)
}
