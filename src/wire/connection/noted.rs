//! What a command or a pipeline will do to the connection, found out before a byte is written.

use redis::{Cmd, Pipeline, RedisResult};

use crate::wire::{
    command::{self, Kind, blocking::Block},
    session::{Change, Expect, Session},
};

#[derive(Debug, Clone, Copy)]
pub(super) enum Sent {
    Alone,
    InPipeline,
}

/// The error of a command that is refused before it is written, because replies could not be counted
/// after it.
#[cold]
pub(super) fn uncountable(cmd: &Cmd, sent: Sent) -> redis::RedisError {
    let way = match (Kind::of(cmd), sent) {
        (Kind::Empty, _) => return command::empty(),
        (Kind::Subscribe, _) => return command::cannot_receive(cmd),
        (Kind::Streams, _) => "over a connection outside the pool",
        (_, Sent::InPipeline) => "by itself, not in a pipeline",
        (_, Sent::Alone) => "outside of MULTI, and while replies are on",
    };
    let name = command::name(cmd);
    (
        redis::ErrorKind::Client,
        "replies could not be told apart after this command",
        format!("send {name} {way}; nothing was executed"),
    )
        .into()
}

/// What is known of a pipeline before it is written.
pub(super) struct NotedPipeline {
    /// The session after all of its commands.
    pub(super) session: Session,
    /// What replies may prove, by their indices.
    pub(super) changes: Vec<(usize, Change)>,
    /// How long the server may keep all of it waiting.
    pub(super) block: Block,
}

/// Notes all commands of a pipeline.
pub(super) fn note_pipeline(
    mut session: Session,
    pipeline: &Pipeline,
) -> RedisResult<NotedPipeline> {
    let mut changes = Vec::new();
    let mut block = Block::No;
    let mut replies = 0;
    let mut count = |expect| {
        if let Expect::Change(change) = expect {
            changes.push((replies, change));
        }
        replies += 1;
        matches!(expect, Expect::One | Expect::Change(_))
    };
    if pipeline.is_transaction() && !count(session.note_multi()) {
        return Err(uncountable(&redis::cmd("MULTI"), Sent::InPipeline));
    }
    for cmd in pipeline.cmd_iter() {
        let noted = session.note(cmd);
        if !count(noted.expect) {
            return Err(uncountable(cmd, Sent::InPipeline));
        }
        block = block.and(noted.block);
    }
    if pipeline.is_transaction() {
        count(session.note_exec());
    }
    Ok(NotedPipeline {
        session,
        changes,
        block,
    })
}
