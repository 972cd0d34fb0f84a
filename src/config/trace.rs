//! What the pool tells `tracing` of calls.

/// What the pool tells [`tracing`](https://docs.rs/tracing) of each call. A call is one command, or one
/// pipeline.
///
/// All of it has the target `redis_rw_pool::command` and the level DEBUG. Nothing ever has a key, a value or
/// the text of an error in it. What happens to the pool as a whole is logged with each of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Trace {
    /// Nothing.
    Off,

    /// An event for each call whose outcome is unknown: the command may have been executed, and nobody will
    /// ever know. The default. A call that goes well costs nothing for it.
    #[default]
    Errors,

    /// Besides these events a span for each call, with OpenTelemetry's names. `tracing-opentelemetry` makes
    /// a client span of it, and calls it by the command.
    ///
    /// | field | value |
    /// |---|---|
    /// | `otel.name`, `db.operation.name` | the command, `GET`; `PIPELINE GET` or `PIPELINE`; `MULTI` for an atomic pipeline; `_OTHER` for what cannot be a command's name |
    /// | `otel.kind`, `db.system.name` | `client`, `redis` |
    /// | `db.namespace` | the database that the pool selects |
    /// | `db.operation.batch.size` | how many commands a pipeline has, from 2 on |
    /// | `db.stored_procedure.name` | what `EVALSHA` or `FCALL` calls: the digest of a script, or the name of a function |
    /// | `server.address`, `server.port` | the node that it was sent to last, as the Sentinels announce it |
    /// | `network.peer.address`, `network.peer.port` | the address that this node was reached at; not of a Unix socket |
    /// | `db.response.status_code` | the code of an error reply that is known, such as `WRONGTYPE`, or `_OTHER`. For a pipeline the first one |
    /// | `error.type` | the same; of what is no reply `timeout`, `connection_lost`, `no_master`, `refused`, `cancelled` and the like |
    /// | `otel.status_code` | `ERROR` where the call failed |
    /// | `redis_rw_pool.role` | `write` or `read` |
    /// | `redis_rw_pool.attempts` | how often it was sent, or tried to be |
    ///
    /// What the pool sends again is in the same span, and so are the events that tell of that.
    ///
    /// While nobody listens at that level, a call costs an allocation and a few branches for it: 3 % more
    /// instructions for a `GET` over [`Pool::writer`](crate::Pool::writer), and 22 % over a lent connection.
    Commands,
}
