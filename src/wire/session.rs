//! What the commands that passed over an exclusive connection left behind.
//!
//! A connection goes back to its pool only when it is provably as the handshake left it: the next
//! caller of a connection in `MULTI` or with a subscription would read replies that are not its own.
//! When in doubt a connection is dirty, since closing it is cheap. So it counts as dirty from the
//! moment the command is written, and as clean again only once the server's reply has proved it:
//! `DISCARD` may be denied by an ACL, and `EXEC` without `MULTI` leaves the watched keys in place.
//!
//! Commands are noted on a copy of the session, which takes its place when their bytes go out. So a
//! command that is refused before it is sent has changed nothing.

pub(crate) mod dirt;

use redis::{Cmd, ServerErrorKind, Value};

use crate::wire::{
    command::{
        Kind, Replies, arg,
        blocking::{Block, block_of},
    },
    session::dirt::Dirt,
};

/// What the connection must read for a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    One,
    /// One reply, to be handed to [`Session::settle`] together with the change.
    Change(Change),
    /// This number of confirmations, or one error in place of all of them.
    Confirmations(usize),
    None,
    /// Replies could not be counted after this command. So it must not be written, and the copy of the
    /// session on which it was noted must not be kept. `MONITOR`, `PSYNC` and `SUBSCRIBE` begin a stream.
    /// In `MULTI`, `UNSUBSCRIBE` puts one element for each channel behind the array header of `EXEC`,
    /// `CLIENT REPLY OFF` leaves that array unfinished, and `HELLO` changes the protocol half way.
    Uncountable,
}

pub(crate) struct Noted {
    pub(crate) expect: Expect,
    pub(crate) block: Block,
}

/// A change of the connection's state that counts once the reply proves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    what: Changed,
    // The count of transactions or `SELECT`s when the command was noted. Replies to a pipeline come
    // when later commands are already noted, and must not undo what those began.
    at: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Changed {
    /// `MULTI`, and whether the connection was in a transaction before.
    Begun {
        queuing: bool,
    },
    Executed,
    /// `DISCARD`, and whether the connection was in a transaction before.
    Discarded {
        queuing: bool,
    },
    Unwatched,
    Selected(i64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReplyMode {
    On,
    /// The next command has no reply.
    SkipsNext,
    Off,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Session {
    initial_db: i64,
    // None while a SELECT is unproven.
    db: Option<i64>,
    // The bits of `Dirt` that were left and not proved clean again.
    left: u16,
    // Whether the commands that were written leave the connection in MULTI. The server may have
    // refused some of them; that is what `left` is for.
    queuing: bool,
    reply_mode: ReplyMode,
    transactions: u32,
    selects: u32,
}

impl Session {
    /// `db` is the database the handshake selected.
    pub(crate) fn new(db: i64) -> Self {
        Self {
            initial_db: db,
            db: Some(db),
            left: 0,
            queuing: false,
            reply_mode: ReplyMode::On,
            transactions: 0,
            selects: 0,
        }
    }

    /// To be called for every command, in order, before it is written, on a copy of the session that
    /// is kept if the command is written.
    #[inline]
    pub(crate) fn note(&mut self, cmd: &Cmd) -> Noted {
        let kind = Kind::of(cmd);
        if kind == Kind::Plain && self.reply_mode == ReplyMode::On {
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

    /// The `MULTI` that the pool writes itself around an atomic pipeline.
    pub(crate) fn note_multi(&mut self) -> Expect {
        self.counted(Kind::Multi, Self::multi)
    }

    /// The `EXEC` that the pool writes itself around an atomic pipeline.
    pub(crate) fn note_exec(&mut self) -> Expect {
        self.counted(Kind::Exec, Self::exec)
    }

    fn expect(&mut self, kind: Kind, cmd: &Cmd) -> Expect {
        self.counted(kind, |session| session.apply(kind, cmd))
    }

    fn counted(&mut self, kind: Kind, apply: impl FnOnce(&mut Self) -> Expect) -> Expect {
        let before = self.reply_mode;
        if before == ReplyMode::SkipsNext {
            self.reply_mode = ReplyMode::On;
        }
        let expect = apply(self);
        if before == ReplyMode::On {
            return expect;
        }
        match (kind, expect) {
            // Confirmations come even with replies off. RESET turns replies on in 6.2 and later, and
            // SKIP before it swallows its reply in some versions: too many cases to count on any.
            // Without the reply to HELLO nobody knows which protocol is spoken.
            (Kind::Unsubscribe | Kind::Reset | Kind::Hello, _) => Expect::Uncountable,
            // The only command that has a reply while replies are off.
            (Kind::Replies(Replies::On), expect) => expect,
            (_, Expect::Uncountable) => Expect::Uncountable,
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
                return self.change(Changed::Discarded { queuing }, self.transactions);
            }
            Kind::Watch => self.begin(Dirt::Watch),
            Kind::Unwatch => return self.change(Changed::Unwatched, self.transactions),
            Kind::Select => return self.select(cmd),
            Kind::Unsubscribe => return self.unsubscribe(cmd),
            Kind::Replies(replies) => return self.set_reply_mode(replies),
            Kind::Leaves(dirt) => self.leave(dirt),
            Kind::Debug => self.leave(Dirt::Mode),
            Kind::Streams | Kind::Subscribe => return Expect::Uncountable,
            Kind::Hello | Kind::Reset => return self.greet(),
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

    fn change(&self, what: Changed, at: u32) -> Expect {
        Expect::Change(Change { what, at })
    }

    fn begin(&mut self, dirt: Dirt) {
        self.leave(dirt);
        self.transactions = self.transactions.wrapping_add(1);
    }

    fn multi(&mut self) -> Expect {
        let queuing = std::mem::replace(&mut self.queuing, true);
        self.begin(Dirt::Transaction);
        self.change(Changed::Begun { queuing }, self.transactions)
    }

    fn exec(&mut self) -> Expect {
        self.queuing = false;
        self.change(Changed::Executed, self.transactions)
    }

    fn select(&mut self, cmd: &Cmd) -> Expect {
        let wanted = arg(cmd, 1)
            .and_then(|db| std::str::from_utf8(db).ok())
            .and_then(|db| db.parse().ok());
        if !self.queuing && wanted == self.db && self.db == Some(self.initial_db) {
            // Refused or not, the database stays the same.
            return Expect::One;
        }
        self.db = None;
        self.selects = self.selects.wrapping_add(1);
        match wanted {
            Some(db) if !self.queuing => self.change(Changed::Selected(db), self.selects),
            // In MULTI it happens at EXEC or not at all.
            _ => Expect::One,
        }
    }

    fn unsubscribe(&self, cmd: &Cmd) -> Expect {
        if self.queuing {
            return Expect::Uncountable;
        }
        // One comes even where none is named: nothing is subscribed to.
        Expect::Confirmations((cmd.args_iter().len() - 1).max(1))
    }

    fn set_reply_mode(&mut self, replies: Replies) -> Expect {
        if self.queuing {
            return Expect::Uncountable;
        }
        if replies != Replies::On {
            self.leave(Dirt::ReplyMode);
        }
        match replies {
            Replies::On => {
                self.reply_mode = ReplyMode::On;
                return Expect::One;
            }
            Replies::Skip if self.reply_mode == ReplyMode::On => {
                self.reply_mode = ReplyMode::SkipsNext
            }
            Replies::Skip => {}
            Replies::Off => self.reply_mode = ReplyMode::Off,
        }
        Expect::None
    }

    /// `HELLO` with arguments, and `RESET`, which undoes the name, the user and the protocol that the
    /// handshake set. Servers before 6.2 do not know `RESET`.
    fn greet(&mut self) -> Expect {
        self.leave(Dirt::Identity);
        if self.queuing {
            Expect::Uncountable
        } else {
            Expect::One
        }
    }

    /// Takes note of the reply to a command that expected [`Expect::Change`]. It may be an error.
    pub(crate) fn settle(&mut self, change: Change, reply: &Value) {
        let done = matches!(reply, Value::Okay);
        let same = change.at == self.transactions;
        match change.what {
            Changed::Executed if same && ended(reply) => {
                self.left &= !(Dirt::Transaction.bit() | Dirt::Watch.bit());
            }
            Changed::Discarded { .. } if same && done => {
                self.left &= !(Dirt::Transaction.bit() | Dirt::Watch.bit());
            }
            // Refused, as by an ACL: the connection is in MULTI, or not, as it was before.
            Changed::Begun { queuing } | Changed::Discarded { queuing }
                if same && matches!(reply, Value::ServerError(_)) =>
            {
                self.queuing = queuing;
            }
            Changed::Unwatched if same && done => self.left &= !Dirt::Watch.bit(),
            Changed::Selected(db) if change.at == self.selects && done => self.db = Some(db),
            _ => {}
        }
    }

    /// All that is left, as bits of [`Dirt`].
    #[inline]
    fn dirt(&self) -> u16 {
        if self.db == Some(self.initial_db) {
            self.left
        } else {
            self.left | Dirt::Database.bit()
        }
    }

    /// Whether the connection is provably as the handshake left it.
    #[inline]
    pub(crate) fn is_clean(&self) -> bool {
        self.dirt() == 0
    }

    /// As [`is_clean`](Self::is_clean), except for the transaction that the pool itself `wrapped`
    /// around a pipeline, which its caller does not count on.
    #[inline]
    pub(crate) fn is_clean_but_for(&self, wrapped: bool) -> bool {
        let own = if wrapped { Dirt::Transaction.bit() } else { 0 };
        self.dirt() & !own == 0
    }

    /// Whether keys may be watched.
    pub(crate) fn is_watching(&self) -> bool {
        self.left & Dirt::Watch.bit() != 0
    }

    /// Whether a transaction on watched keys is all that is left.
    pub(crate) fn is_only_watching(&self) -> bool {
        let transaction = Dirt::Watch.bit() | Dirt::Transaction.bit();
        self.is_watching() && self.dirt() & !transaction == 0
    }

    /// Whether the pool may ask something of its own now, in a command that has exactly one reply. In `MULTI`
    /// it would be queued. While the server tracks keys, `CLIENT CACHING` may have been about the very next
    /// command.
    pub(crate) fn can_be_asked(&self) -> bool {
        let is_tracked = self.left & Dirt::Tracking.bit() != 0;
        !self.queuing && !is_tracked && self.reply_mode == ReplyMode::On
    }

    /// Whether commands wait for an `EXEC`.
    pub(crate) fn is_queuing(&self) -> bool {
        self.queuing
    }

    /// Whether the server may send something that no command asked for.
    pub(crate) fn is_pushed_to(&self) -> bool {
        self.left & Dirt::Tracking.bit() != 0
    }
}

/// Whether the reply to `EXEC` proves that the transaction has ended. `EXECABORT` does; after another
/// error, such as that of `EXEC` without `MULTI`, the watched keys stay.
fn ended(reply: &Value) -> bool {
    match reply {
        Value::Array(_) | Value::Nil => true,
        Value::ServerError(error) => error.kind() == Some(ServerErrorKind::ExecAbort),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
