//! A pipeline's bytes, and what its replies mean.

pub(crate) mod abort_error;

use redis::{Pipeline, RedisResult, ServerError, Value};

/// How many replies a pipeline will have, those to `MULTI` and `EXEC` included.
pub(crate) fn replies(pipeline: &Pipeline) -> usize {
    pipeline.len() + if pipeline.is_transaction() { 2 } else { 0 }
}

/// Appends the bytes of a pipeline to `out`.
pub(super) fn encode(pipeline: &Pipeline, out: &mut Vec<u8>) {
    let atomic = pipeline.is_transaction();
    if atomic {
        out.extend_from_slice(b"*1\r\n$5\r\nMULTI\r\n");
    }
    for cmd in pipeline.cmd_iter() {
        cmd.write_packed_command(out);
    }
    if atomic {
        out.extend_from_slice(b"*1\r\n$4\r\nEXEC\r\n");
    }
}

/// The error that stands for all later commands, where the server has closed the connection after
/// these replies.
///
/// After a protocol error, such as that of an argument longer than `proto-max-bulk-len`, a server reads
/// nothing more: the rest was not executed.
pub(super) fn final_error(replies: &[Value]) -> Option<&Value> {
    replies.last().filter(|reply| is_protocol_error(reply))
}

fn is_protocol_error(reply: &Value) -> bool {
    let is_one = |error: &ServerError| {
        let details = error.details().unwrap_or_default();
        error.code() == "ERR" && details.starts_with("Protocol error")
    };
    matches!(reply, Value::ServerError(error) if is_one(error))
}

/// Returns `count` of the replies from `offset` on.
///
/// Fails as the redis crate does when the server refuses to queue a command of an atomic pipeline:
/// with every refusal and its index. When the server refuses the `EXEC` itself, that refusal is the
/// error. So is a protocol error because of which nothing was executed at all.
pub(crate) async fn conclude(
    pipeline: &Pipeline,
    replies: Vec<Value>,
    offset: usize,
    count: usize,
) -> RedisResult<Vec<Value>> {
    let last = replies.len().saturating_sub(1);
    let refused = |reply: &Value| matches!(reply, Value::ServerError(_));
    // Of a transaction nothing is executed without its EXEC.
    let decisive = if pipeline.is_transaction() {
        &replies[last..]
    } else {
        &replies[..]
    };
    if let Some(Value::ServerError(error)) = decisive.first()
        && decisive.iter().all(is_protocol_error)
    {
        return Err(error.clone().into());
    }
    if pipeline.is_transaction() && replies[..last].iter().any(refused) {
        return Err(abort_error::error(pipeline, replies).await);
    }
    if pipeline.is_transaction()
        && let Some(Value::ServerError(refusal)) = replies.last()
    {
        return Err(refusal.clone().into());
    }
    if offset == 0 && count == replies.len() {
        return Ok(replies);
    }
    Ok(replies.into_iter().skip(offset).take(count).collect())
}
