//! Commands with the node's position asked around them, in the same write.

use redis::{Cmd, Pipeline, RedisResult, Value};

use crate::wire::{
    command::Kind,
    connection::{State, WireConnection, noted::note_pipeline},
    pipeline,
    position_question::{Answers, Placed, QUESTION, Want, answer},
    session::{Expect, Session},
};

impl WireConnection {
    /// As [`command`](Self::command), with the positions that are wanted, where they may be asked for. The
    /// reply comes also where the connection ends, or time is up, before the position behind it is here.
    pub(crate) async fn command_placed(
        &mut self,
        cmd: &Cmd,
        want: Want,
    ) -> RedisResult<Placed<Value>> {
        let want = self.unless_owed(allowed(want, self.session, cmd));
        if want == Want::NOTHING {
            return self.command(cmd).await.map(Placed::nowhere);
        }
        self.ensure_usable()?;
        let mut session = self.session;
        let noted = session.note(cmd);
        let out = self.begin(session);
        surround(out, want, |out| cmd.write_packed_command(out));
        let deadline = self.begin_time(noted.block);
        let at = usize::from(want.ahead());
        let changes = match noted.expect {
            Expect::Change(change) => vec![(at, change)],
            _ => Vec::new(),
        };
        let total = want.count() + 1;
        let replies = self
            .receive_some(total, at + 1, deadline, changes, |_| None)
            .await?;
        let Placed { mut reply, answers } = self.placed(replies, want, 1);
        let reply = reply.pop();
        Ok(Placed {
            reply: reply.expect("BUG: what is needed was received"),
            answers,
        })
    }

    /// As [`pipeline`](Self::pipeline), with the positions ahead of all of it and behind all of it, as in
    /// [`command_placed`](Self::command_placed).
    pub(crate) async fn pipeline_placed(
        &mut self,
        pipeline: &Pipeline,
        want: Want,
    ) -> RedisResult<Placed<Vec<Value>>> {
        let want = self.unless_owed(allowed_around(want, self.session, pipeline));
        if want == Want::NOTHING {
            return self.pipeline(pipeline).await.map(Placed::nowhere);
        }
        self.ensure_usable()?;
        self.wrapped = pipeline.is_transaction();
        let mut noted = note_pipeline(self.session, pipeline)?;
        let out = self.begin(noted.session);
        surround(out, want, |out| pipeline::encode(pipeline, out));
        let count = pipeline::replies(pipeline);
        let deadline = self.begin_time(noted.block);
        let at = usize::from(want.ahead());
        for (index, _) in &mut noted.changes {
            *index += at;
        }
        let (total, needed) = (want.count() + count, at + count);
        let replies = self
            .receive_some(
                total,
                needed,
                deadline,
                noted.changes,
                pipeline::final_error,
            )
            .await?;
        Ok(self.placed(replies, want, count))
    }

    /// As [`Session::can_be_asked`].
    pub(crate) fn can_be_asked(&self) -> bool {
        self.session.can_be_asked()
    }

    /// As [`Session::is_queuing`].
    pub(crate) fn is_queuing(&self) -> bool {
        self.session.is_queuing()
    }

    /// Replies that are still to come to earlier commands could not be told from answers.
    fn unless_owed(&self, want: Want) -> Want {
        if self.owed > 0 { Want::NOTHING } else { want }
    }

    /// Takes the answers from around the `count` replies to what the caller has sent.
    fn placed(&self, replies: Vec<Value>, want: Want, count: usize) -> Placed<Vec<Value>> {
        let mut replies = replies.into_iter();
        let ahead = if want.ahead() { replies.next() } else { None };
        let reply = replies.by_ref().take(count).collect();
        // Where the server has closed the connection, its last error stands for all that did not come.
        let behind = replies.next().filter(|_| self.state == State::Ready);
        Placed {
            reply,
            answers: Answers {
                ahead: ahead.map(answer),
                behind: behind.map(answer),
            },
        }
    }
}

/// Puts the wanted questions around what `encode` appends.
fn surround(out: &mut Vec<u8>, want: Want, encode: impl FnOnce(&mut Vec<u8>)) {
    if want.ahead() {
        out.extend_from_slice(QUESTION);
    }
    encode(out);
    if want.behind() {
        out.extend_from_slice(QUESTION);
    }
}

/// Which of the wanted positions may be asked around this command, over a connection in this session.
///
/// None around a command that changes the connection itself, or has no reply or several. `CLIENT CACHING`
/// and `ASKING` are about the next command, which is to be the caller's.
fn allowed(want: Want, before: Session, cmd: &Cmd) -> Want {
    let mut after = before;
    let noted = after.note(cmd);
    let has_one_reply = matches!(noted.expect, Expect::One | Expect::Change(_));
    let changes_connection = matches!(
        Kind::of(cmd),
        Kind::Leaves(_) | Kind::Debug | Kind::Hello | Kind::Reset | Kind::Replies(_)
    );
    if !has_one_reply || changes_connection || cmd.is_no_response() {
        return Want::NOTHING;
    }
    want.narrowed(before.can_be_asked(), after.can_be_asked())
}

/// As [`allowed`], for a pipeline.
fn allowed_around(want: Want, before: Session, pipeline: &Pipeline) -> Want {
    if pipeline.is_empty() && !pipeline.is_transaction() {
        return Want::NOTHING;
    }
    match note_pipeline(before, pipeline) {
        Ok(noted) => want.narrowed(before.can_be_asked(), noted.session.can_be_asked()),
        // It is refused.
        Err(_) => Want::NOTHING,
    }
}

#[cfg(test)]
mod tests;
