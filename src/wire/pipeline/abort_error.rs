//! The error of an atomic pipeline when the server refused to queue one of its commands.

use redis::{
    ErrorKind, Pipeline, RedisConnectionInfo, RedisError, Value,
    aio::{ConnectionLike, MultiplexedConnection},
};
use tokio::io::AsyncWriteExt;

/// Builds the error that the redis crate gives for these replies to an atomic pipeline.
///
/// Callers take the error apart with [`RedisError::into_server_errors`], and the redis crate has no
/// public constructor for it. So the redis crate reads the same replies again, over a pipe in memory.
/// That is slow, but happens only where a transaction was refused.
pub(crate) async fn error(pipeline: &Pipeline, replies: Vec<Value>) -> RedisError {
    let mut bytes = Vec::new();
    for reply in &replies {
        match reply {
            Value::ServerError(error) => {
                let detail = error
                    .details()
                    .unwrap_or_default()
                    .replace(['\r', '\n'], " ");
                let line = format!("-{} {detail}\r\n", error.code());
                bytes.extend_from_slice(line.as_bytes());
            }
            _ => bytes.extend_from_slice(b"+QUEUED\r\n"),
        }
    }
    let refused = replies.into_iter().find_map(|reply| match reply {
        Value::ServerError(error) => Some(RedisError::from(error)),
        _ => None,
    });
    replay(pipeline, &bytes)
        .await
        .err()
        .or(refused)
        .unwrap_or_else(|| (ErrorKind::Client, "the server refused the transaction").into())
}

async fn replay(pipeline: &Pipeline, replies: &[u8]) -> Result<Vec<Value>, RedisError> {
    // Room for all bytes, so that neither side ever waits for the other.
    let room = replies.len() + pipeline.get_packed_pipeline().len() + 1024;
    let (ours, theirs) = tokio::io::duplex(room);
    let plain = RedisConnectionInfo::default().set_skip_set_lib_name();
    let (mut connection, driver) = MultiplexedConnection::new(&plain, theirs).await?;
    let (_commands, mut server) = tokio::io::split(ours);
    let exchange = async {
        // Written only once the request is queued: replies that nobody asked for are dropped.
        let request = connection.req_packed_commands(pipeline, pipeline.len() + 1, 1);
        let answer = async {
            tokio::task::yield_now().await;
            server.write_all(replies).await
        };
        let (result, _) = tokio::join!(request, answer);
        result
    };
    tokio::select! {
        biased;
        result = exchange => result,
        () = driver => Err((ErrorKind::Client, "the server refused the transaction").into()),
    }
}
