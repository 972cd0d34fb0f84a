//! What the commands that passed over an exclusive connection left behind.
//!
//! A connection goes back to its pool only when it is provably as the handshake left it: the next
//! caller of one left in MULTI or subscribed would read replies that are not its own. Every doubt
//! counts as dirt, since closing a connection is cheap. So what makes a connection dirty counts
//! from the moment the command is written, and what makes it clean again only once the server's
//! reply has proved it: `DISCARD` may be denied by an ACL, and `EXEC` without `MULTI` leaves the
//! watched keys in place.
//!
//! Commands are noted on a copy of the session, which takes its place when their bytes go out. So one
//! that is refused before it is sent has changed nothing.

use redis::{Cmd, PushKind, ServerErrorKind, Value};

use crate::{
    config::Protocol,
    wire::{
        command::{Block, Dirt, Kind, Replies, Topic, arg, block_of},
        value::{signed, text},
    },
};

/// What the wire must read for a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    One,
    /// One reply, to be handed to [`Session::settle`] together with the claim.
    Proof(Claim),
    /// So many confirmations, or one error in place of all of them.
    Confirmations(usize),
    None,
    /// From here on replies could not be counted, so the command must not be written, and the copy
    /// that it was noted on must not be kept: MONITOR and PSYNC begin a stream, SUBSCRIBE in MULTI
    /// puts one element for each channel behind EXEC's array header, CLIENT REPLY OFF in MULTI leaves
    /// that array unfinished, HELLO in MULTI changes the protocol half way.
    Unframed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Noted {
    pub(crate) expect: Expect,
    pub(crate) block: Block,
}

/// That a connection is clean again in one respect, if the reply proves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim {
    what: Claimed,
    // Replies to a pipeline come when later commands are already noted; a claim must not undo what
    // those began.
    at: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claimed {
    /// `MULTI`; whether the connection was in a transaction before.
    Begun {
        queuing: bool,
    },
    Executed,
    /// `DISCARD`; likewise.
    Discarded {
        queuing: bool,
    },
    Unwatched,
    Selected(i64),
    Greeted,
    Reset,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Answers,
    SkipsNext,
    Silent,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Session {
    role_pool: i64,
    // None while a SELECT is unproven.
    db: Option<i64>,
    left: u16,
    // As the commands were written. Whether the server saw it so is what `left` keeps account of.
    queuing: bool,
    framing: Framing,
    protocol: Protocol,
    // How many the server said that it is subscribed to.
    channels: u32,
    patterns: u32,
    shards: u32,
    transactions: u32,
    selects: u32,
}

impl Session {
    /// `db` is the database the handshake selected.
    pub(crate) fn new(db: i64) -> Self {
        Self {
            role_pool: db,
            db: Some(db),
            left: 0,
            queuing: false,
            framing: Framing::Answers,
            protocol: Protocol::Resp2,
            channels: 0,
            patterns: 0,
            shards: 0,
            transactions: 0,
            selects: 0,
        }
    }

    /// To be called for every command, in order, before it is written, on a copy that is kept if it
    /// is written.
    #[inline]
    pub(crate) fn note(&mut self, cmd: &Cmd) -> Noted {
        let kind = Kind::of(cmd);
        if kind == Kind::Plain && self.framing == Framing::Answers {
            return Noted {
                expect: Expect::One,
                block: Block::No,
            };
        }
        let block = if self.queuing {
            Block::No
        } else {
            block_of(kind, cmd)
        };
        Noted {
            expect: self.expect(kind, cmd),
            block,
        }
    }

    /// The `MULTI` that the wire writes itself around an atomic pipeline.
    pub(crate) fn note_multi(&mut self) -> Expect {
        self.framed(Kind::Multi, Self::multi)
    }

    /// The `EXEC` that the wire writes itself around an atomic pipeline.
    pub(crate) fn note_exec(&mut self) -> Expect {
        self.framed(Kind::Exec, Self::exec)
    }

    fn expect(&mut self, kind: Kind, cmd: &Cmd) -> Expect {
        self.framed(kind, |session| session.apply(kind, cmd))
    }

    fn framed(&mut self, kind: Kind, apply: impl FnOnce(&mut Self) -> Expect) -> Expect {
        let before = self.framing;
        if before == Framing::SkipsNext {
            self.framing = Framing::Answers;
        }
        let expect = apply(self);
        if before == Framing::Answers {
            return expect;
        }
        match (kind, expect) {
            // Confirmations come even with replies off, RESET turns them on in 6.2 and later, and
            // SKIP before it swallows its answer in some versions: too many cases to count on any.
            // Without the reply to HELLO nobody knows which protocol is spoken.
            (Kind::Subscribe(_) | Kind::Unsubscribe(_) | Kind::Reset | Kind::Hello, _) => {
                Expect::Unframed
            }
            // The one command that is answered while replies are off.
            (Kind::Replies(Replies::On), expect) => expect,
            (_, Expect::Unframed) => Expect::Unframed,
            _ => Expect::None,
        }
    }

    fn apply(&mut self, kind: Kind, cmd: &Cmd) -> Expect {
        match kind {
            Kind::Empty => return Expect::None,
            Kind::Multi => return self.multi(),
            Kind::Exec => return self.exec(),
            Kind::Discard => {
                let queuing = std::mem::take(&mut self.queuing);
                return self.claim(Claimed::Discarded { queuing }, self.transactions);
            }
            Kind::Watch => self.begin(Dirt::Watch),
            Kind::Unwatch => return self.claim(Claimed::Unwatched, self.transactions),
            Kind::Select => return self.select(cmd),
            Kind::Subscribe(_) => return self.subscribe(cmd),
            Kind::Unsubscribe(topic) => return self.unsubscribe(topic, cmd),
            Kind::Replies(replies) => return self.reply_mode(replies),
            Kind::Leaves(dirt) => self.leave(dirt),
            Kind::Debug => self.leave(Dirt::Mode),
            Kind::Streams => return Expect::Unframed,
            Kind::Hello => return self.greet(Claimed::Greeted),
            Kind::Reset => return self.greet(Claimed::Reset),
            Kind::Plain
            | Kind::Blocks(_)
            | Kind::Walks(_)
            | Kind::OpensCursor
            | Kind::Publishes
            | Kind::Eval
            | Kind::EvalSha
            | Kind::LoadsScript
            | Kind::NodeOwn
            | Kind::Aggregate
            | Kind::Client
            | Kind::Function
            | Kind::Script => {}
        }
        Expect::One
    }

    fn leave(&mut self, dirt: Dirt) {
        self.left |= dirt.bit();
    }

    fn claim(&self, what: Claimed, at: u32) -> Expect {
        Expect::Proof(Claim { what, at })
    }

    fn begin(&mut self, dirt: Dirt) {
        self.leave(dirt);
        self.transactions = self.transactions.wrapping_add(1);
    }

    fn multi(&mut self) -> Expect {
        let queuing = std::mem::replace(&mut self.queuing, true);
        self.begin(Dirt::Transaction);
        self.claim(Claimed::Begun { queuing }, self.transactions)
    }

    fn exec(&mut self) -> Expect {
        self.queuing = false;
        self.claim(Claimed::Executed, self.transactions)
    }

    fn select(&mut self, cmd: &Cmd) -> Expect {
        let wanted = arg(cmd, 1)
            .and_then(|db| std::str::from_utf8(db).ok())
            .and_then(|db| db.parse().ok());
        if !self.queuing && wanted == self.db && self.db == Some(self.role_pool) {
            // Refused or not, it stays where it is.
            return Expect::One;
        }
        self.db = None;
        self.selects = self.selects.wrapping_add(1);
        match wanted {
            Some(db) if !self.queuing => self.claim(Claimed::Selected(db), self.selects),
            // In MULTI it happens at EXEC or not at all.
            _ => Expect::One,
        }
    }

    fn subscribe(&mut self, cmd: &Cmd) -> Expect {
        self.leave(Dirt::Subscribed);
        if self.queuing {
            return Expect::Unframed;
        }
        // Without a channel it is refused: one error.
        Expect::Confirmations((cmd.args_iter().len() - 1).max(1))
    }

    fn unsubscribe(&self, topic: Topic, cmd: &Cmd) -> Expect {
        if self.queuing {
            return Expect::Unframed;
        }
        let subscribed = match topic {
            Topic::Framed => self.channels,
            Topic::Pattern => self.patterns,
            Topic::Shard => self.shards,
        };
        let confirmations = match cmd.args_iter().len() - 1 {
            0 => subscribed as usize,
            named => named,
        };
        // Where there is nothing to end, that is confirmed.
        Expect::Confirmations(confirmations.max(1))
    }

    fn reply_mode(&mut self, replies: Replies) -> Expect {
        if self.queuing {
            return Expect::Unframed;
        }
        if replies != Replies::On {
            self.leave(Dirt::ReplyMode);
        }
        match replies {
            Replies::On => {
                self.framing = Framing::Answers;
                return Expect::One;
            }
            Replies::Skip if self.framing == Framing::Answers => self.framing = Framing::SkipsNext,
            Replies::Skip => {}
            Replies::Off => self.framing = Framing::Silent,
        }
        Expect::None
    }

    /// `HELLO` with arguments, and `RESET`, which also takes the name, the user and the protocol that
    /// the handshake set. Servers before 6.2 do not know it.
    fn greet(&mut self, claimed: Claimed) -> Expect {
        self.leave(Dirt::Identity);
        if self.queuing {
            return Expect::Unframed;
        }
        self.claim(claimed, self.transactions)
    }

    /// What the reply to a command that expected [`Expect::Proof`] says. A server error belongs
    /// here too.
    pub(crate) fn settle(&mut self, claim: Claim, reply: &Value) {
        let done = matches!(reply, Value::Okay);
        let same = claim.at == self.transactions;
        match claim.what {
            Claimed::Executed if same && ended(reply) => {
                self.left &= !(Dirt::Transaction.bit() | Dirt::Watch.bit());
            }
            Claimed::Discarded { .. } if same && done => {
                self.left &= !(Dirt::Transaction.bit() | Dirt::Watch.bit());
            }
            // Refused, as by an ACL, it leaves the connection in MULTI or out of it, as it was.
            Claimed::Begun { queuing } | Claimed::Discarded { queuing }
                if same && matches!(reply, Value::ServerError(_)) =>
            {
                self.queuing = queuing;
            }
            Claimed::Greeted => self.greeted(reply),
            Claimed::Reset if matches!(reply, Value::SimpleString(word) if word == "RESET") => {
                self.protocol = Protocol::Resp2;
                (self.channels, self.patterns, self.shards) = (0, 0, 0);
            }
            Claimed::Unwatched if same && done => self.left &= !Dirt::Watch.bit(),
            Claimed::Selected(db) if claim.at == self.selects && done => self.db = Some(db),
            _ => {}
        }
    }

    /// What makes the connection unfit for another caller; `None` means it is provably clean.
    pub(crate) fn dirt(&self) -> Option<Dirt> {
        let mut left = self.left;
        if self.db != Some(self.role_pool) {
            left |= Dirt::Database.bit();
        }
        if left == 0 {
            return None;
        }
        Dirt::ALL.into_iter().find(|dirt| left & dirt.bit() != 0)
    }

    /// What a fresh connection would lack. The transaction that the wire itself `wrapped` around a
    /// pipeline is nothing its caller counts on.
    pub(crate) fn lacks(&self, wrapped: bool) -> bool {
        let own = if wrapped { Dirt::Transaction.bit() } else { 0 };
        self.db != Some(self.role_pool) || self.left & !own != 0
    }

    /// Whether keys may be watched.
    pub(crate) fn is_watching(&self) -> bool {
        self.left & Dirt::Watch.bit() != 0
    }

    /// Whether a transaction on watched keys is all that a fresh connection would lack.
    pub(crate) fn is_only_watching(&self) -> bool {
        let transaction = Dirt::Watch.bit() | Dirt::Transaction.bit();
        self.is_watching() && self.left & !transaction == 0 && self.db == Some(self.role_pool)
    }

    /// What the reply to a `HELLO` that named a protocol says.
    pub(crate) fn greeted(&mut self, hello: &Value) {
        match hello {
            Value::Map(_) => self.protocol = Protocol::Resp3,
            Value::Array(_) => self.protocol = Protocol::Resp2,
            // It was refused, and all is as before.
            _ => {}
        }
    }

    /// Takes note of what is no reply but the confirmation of a subscription or of its end; whether
    /// it is one.
    ///
    /// The count in it says how many are left. That of channels and patterns is one number, so what
    /// the one kind gained or lost is told by what the other one has.
    pub(crate) fn confirm(&mut self, reply: &Value) -> bool {
        use PushKind::{
            PSubscribe, PUnsubscribe, SSubscribe, SUnsubscribe, Subscribe, Unsubscribe,
        };
        let (topic, count) = match reply {
            Value::Push { kind, data } => {
                let topic = match kind {
                    Subscribe | Unsubscribe => Topic::Framed,
                    PSubscribe | PUnsubscribe => Topic::Pattern,
                    SSubscribe | SUnsubscribe => Topic::Shard,
                    _ => return false,
                };
                (topic, data.last())
            }
            Value::Array(items) => {
                let topic = match items.first().and_then(text) {
                    Some(b"subscribe" | b"unsubscribe") => Topic::Framed,
                    Some(b"psubscribe" | b"punsubscribe") => Topic::Pattern,
                    Some(b"ssubscribe" | b"sunsubscribe") => Topic::Shard,
                    _ => return false,
                };
                (topic, items.last())
            }
            _ => return false,
        };
        let count = count
            .and_then(signed)
            .and_then(|count| count.try_into().ok());
        let count: u32 = count.unwrap_or_default();
        match topic {
            Topic::Framed => self.channels = count.saturating_sub(self.patterns),
            Topic::Pattern => self.patterns = count.saturating_sub(self.channels),
            Topic::Shard => self.shards = count,
        }
        true
    }

    fn is_subscribed(&self) -> bool {
        self.channels > 0 || self.patterns > 0 || self.shards > 0
    }

    /// Whether this is not a reply but what a subscription brings, in the shape of a reply.
    ///
    /// Only RESP2 has such, and only while something is subscribed to. A server then answers nothing
    /// but confirmations, `PING`, `RESET` and errors, so there is no data to be taken for a message.
    /// In RESP3 messages are pushes and an array is always a reply.
    pub(crate) fn is_message(&self, reply: &Value) -> bool {
        self.protocol == Protocol::Resp2
            && self.is_subscribed()
            && matches!(reply, Value::Array(items) if matches!(
                items.first().and_then(text),
                Some(b"message" | b"pmessage" | b"smessage")
            ))
    }

    /// Whether the server may say something that no command asked for.
    pub(crate) fn is_pushed_to(&self) -> bool {
        self.is_subscribed() || self.left & Dirt::Tracking.bit() != 0
    }
}

// EXECABORT closes the transaction as well; any other error, such as EXEC without MULTI, leaves the
// watched keys.
fn ended(reply: &Value) -> bool {
    match reply {
        Value::Array(_) | Value::Nil => true,
        Value::ServerError(error) => error.kind() == Some(ServerErrorKind::ExecAbort),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
