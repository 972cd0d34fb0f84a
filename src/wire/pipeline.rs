//! A pipeline's bytes, and what its replies mean.

use redis::{Pipeline, RedisResult, Value};

use super::aborted;

/// How many replies it will have, those to `MULTI` and `EXEC` included.
pub(crate) fn replies(pipeline: &Pipeline) -> usize {
    pipeline.len() + if pipeline.is_transaction() { 2 } else { 0 }
}

/// Appends it as it goes over the wire.
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

/// Returns `count` of the replies from `offset` on.
///
/// Fails as the redis crate does when the server refuses to queue a command of an atomic pipeline:
/// with every refusal and its place. When it refuses the `EXEC` itself, that refusal is the error.
pub(crate) async fn conclude(
    pipeline: &Pipeline,
    replies: Vec<Value>,
    offset: usize,
    count: usize,
) -> RedisResult<Vec<Value>> {
    let last = replies.len().saturating_sub(1);
    let refused = |reply: &Value| matches!(reply, Value::ServerError(_));
    if pipeline.is_transaction() && replies[..last].iter().any(refused) {
        return Err(aborted::error(pipeline, replies).await);
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
