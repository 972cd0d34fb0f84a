//! What the pool takes the time of.

/// What the pool takes the time of, besides what it always counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Measure {
    /// Connections: how long callers waited for one, how long it took to make one, how long one was lent.
    /// The default. A command costs nothing for it.
    #[default]
    Connections,

    /// Each call as well: one command, or one pipeline, over whatever connection.
    ///
    /// [`Status::durations`](crate::Status::durations) has the times by role, and metrics have them as
    /// OpenTelemetry's `db_client_operation_duration_seconds`. The time of a call is what its caller sees:
    /// the waits for a connection, for room and for the next master are in it, and so is what was sent
    /// again. Calls that failed count; calls that were dropped before their end do not.
    ///
    /// It costs two readings of the clock and two atomic additions a call, and an allocation for the future
    /// of the call. That is 5 % more instructions for a `GET` over [`Pool::writer`](crate::Pool::writer), and
    /// 24 % over a lent connection.
    Commands,
}
