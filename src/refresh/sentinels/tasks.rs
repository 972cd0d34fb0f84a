//! The task that talks to a Sentinel at one address, and what came of it last.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::{
    config::Config,
    node::Node,
    sentinel::{
        answer::Answer,
        client::{self, Asked, Contact},
        id::SentinelId,
        listener,
        message::{Message, SentinelError},
        refused::Refused,
    },
    util::abort_on_drop::AbortOnDrop,
};

#[derive(Debug)]
pub(super) struct SentinelTasks {
    /// A configured address is never forgotten.
    pub(super) configured: bool,
    /// The Sentinel that answered there last.
    pub(super) sentinel: SentinelId,
    pub(super) last: Option<Result<Arc<Answer>, SentinelError>>,
    /// The newest refresh it has answered, or failed to answer.
    pub(super) round: u64,
    pub(super) events: Events,
    _task: AbortOnDrop,
}

/// Whose events arrive by this address.
#[derive(Debug)]
pub(super) enum Events {
    NotYet,
    Of {
        /// A Sentinel that does not tell its id is the one that answers at this address.
        id: Option<String>,
        refused: Option<Refused>,
    },
    Nobodys(SentinelError),
}

impl SentinelTasks {
    pub(super) fn spawn(
        contact: Contact,
        config: &Arc<Config>,
        sentinel: SentinelId,
        configured: bool,
        refreshes: watch::Receiver<Asked>,
        messages: mpsc::Sender<Message>,
    ) -> Self {
        let (listening, listened) = watch::channel(None);
        let asks = client::run(
            contact.clone(),
            Arc::clone(config),
            refreshes.clone(),
            listened,
            messages.clone(),
        );
        let listens = listener::run(contact, Arc::clone(config), refreshes, listening, messages);
        Self {
            configured,
            sentinel,
            last: None,
            round: 0,
            events: Events::NotYet,
            _task: AbortOnDrop::spawn(async move {
                tokio::join!(asks, listens);
            }),
        }
    }

    /// Records an answer, and tells the operator when the Sentinel stops or begins to answer. A
    /// refusal is warned of once for each command, by the caller. Says whether it answered something else
    /// before, or could not be asked.
    pub(super) fn note_answer(
        &mut self,
        name: &Node,
        round: u64,
        answer: Result<Arc<Answer>, SentinelError>,
    ) -> bool {
        let failed = matches!(self.last, Some(Err(_)));
        let dropped = answer.as_ref().map_or(0, |answer| answer.dropped);
        if dropped > self.answer().map_or(0, |last| last.dropped) {
            tracing::warn!(sentinel = %name, dropped, "a Sentinel lists replicas with unusable addresses");
        }
        match &answer {
            Ok(_) if failed => tracing::info!(sentinel = %name, "a Sentinel answers again"),
            Err(error) if !failed && !error.is_refusal() => {
                let error = &error.text;
                tracing::warn!(sentinel = %name, error, "a Sentinel does not answer");
            }
            _ => {}
        }
        let is_news = !matches!((&self.last, &answer), (Some(Ok(last)), Ok(now)) if last == now);
        self.round = self.round.max(round);
        self.last = Some(answer);
        is_news
    }

    /// Records whose events arrive, and tells the operator when they stop or begin to arrive.
    pub(super) fn note_events(&mut self, name: &Node, events: Events) {
        let unheard = matches!(self.events, Events::Nobodys(_));
        match &events {
            Events::Of { .. } if unheard => {
                tracing::info!(sentinel = %name, "a Sentinel is listened to again");
            }
            Events::Nobodys(why) if !unheard && !why.is_refusal() => {
                let error = &why.text;
                tracing::warn!(sentinel = %name, error, "a Sentinel is not listened to");
            }
            _ => {}
        }
        self.events = events;
    }

    /// Whether the Sentinel confirms what it answered last.
    pub(super) fn is_repeated(&self, answer: &Arc<Answer>) -> bool {
        matches!(&self.last, Some(Ok(last)) if Arc::ptr_eq(last, answer))
    }

    pub(super) fn answer(&self) -> Option<&Answer> {
        Some(self.last.as_ref()?.as_ref().ok()?)
    }

    /// The Sentinel whose events arrive by this address.
    pub(super) fn listened_to(&self) -> Option<SentinelId> {
        match &self.events {
            Events::Of { id: Some(id), .. } => {
                let address = self.sentinel.address().clone();
                Some(SentinelId::new(Some(id.clone()), address))
            }
            Events::Of { id: None, .. } => Some(self.sentinel.clone()),
            _ => None,
        }
    }

    /// Whether this Sentinel is asked at this address and, as far as is known, is or will be
    /// listened to as well.
    pub(super) fn may_reach(&self, sentinel: &SentinelId) -> bool {
        let fails = matches!(self.last, Some(Err(_)));
        let elsewhere = self.listened_to().is_some_and(|other| other != *sentinel);
        self.sentinel == *sentinel && !fails && !elsewhere
    }

    /// Whether its Sentinel answered when it was asked last, and all its events arrive.
    pub(super) fn is_well(&self) -> bool {
        let hears_all = matches!(self.events, Events::Of { refused: None, .. });
        hears_all && self.reaches()
    }

    /// Whether its Sentinel is both asked and listened to at this address, as far as it lets us.
    pub(super) fn reaches(&self) -> bool {
        let listens = match &self.events {
            Events::NotYet => false,
            Events::Of { .. } => self.listened_to().as_ref() == Some(&self.sentinel),
            Events::Nobodys(why) => why.is_refusal(),
        };
        self.answer().is_some() && listens
    }

    /// What it said last, for a human reader.
    pub(super) fn describe(&self) -> String {
        let answer = match &self.last {
            None => return "has not answered yet".to_owned(),
            Some(Err(error)) => return error.text.clone(),
            Some(Ok(answer)) => answer,
        };
        match &answer.view {
            None => "does not monitor this master name".to_owned(),
            Some(view) if answer.tells_epoch() => {
                let flag = answer.failover_flag.as_ref();
                let flag = flag
                    .map(|(_, flag)| format!(", {flag}"))
                    .unwrap_or_default();
                format!("master is {} (epoch {}{flag})", view.master, view.epoch)
            }
            Some(view) => format!("master is {} (epoch unknown)", view.master),
        }
    }
}

impl Events {
    pub(super) fn describe(&self) -> String {
        match self {
            Self::NotYet => "not subscribed yet".to_owned(),
            Self::Of { .. } => {
                "this address leads to several Sentinels, and its events are another one's"
                    .to_owned()
            }
            Self::Nobodys(why) => why.text.clone(),
        }
    }

    pub(super) fn refused(&self) -> Option<Refused> {
        match self {
            Self::NotYet => None,
            Self::Of { refused, .. } => refused.clone(),
            Self::Nobodys(why) => why.refused("SUBSCRIBE"),
        }
    }
}
