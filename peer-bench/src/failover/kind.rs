//! What is done to a deployment.

use std::fmt;

use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Planned,
    Kill,
    Freeze,
    Replicas,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Planned, Self::Kill, Self::Freeze, Self::Replicas];

    /// As `--kinds` takes it, and as files are named.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Kill => "kill",
            Self::Freeze => "freeze",
            Self::Replicas => "replicas",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether it ends with another master.
    pub(crate) fn moves_the_master(self) -> bool {
        self != Self::Replicas
    }

    pub(crate) fn story(self) -> &'static str {
        match self {
            Self::Planned => {
                "`SENTINEL FAILOVER`: the master is healthy and hands over. It stays writable for \
                 some ten seconds more, and throws away what it takes in that time."
            }
            Self::Kill => "`kill -9` of the master.",
            Self::Freeze => {
                "`SIGSTOP` of the master, as when a machine freezes: its connections stay open and \
                 nobody answers. It goes on two seconds after its successor was announced."
            }
            Self::Replicas => {
                "`kill -9` of both replicas; they are started again two seconds later, empty."
            }
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Planned => "planned failover",
            Self::Kill => "kill -9 of the master",
            Self::Freeze => "frozen master",
            Self::Replicas => "all replicas killed",
        })
    }
}
