//! Deployments that differ in how the pool reaches its Sentinels and in what it hears from them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use redis_rw_pool::Config;
use testkit::history::{Rules, Unheard};
use testkit::proxy::Proxy;
use testkit::{Deployment, Proxies};

use crate::faults::LIMIT;

/// Silence after which a node counts as down.
const DOWN_AFTER: Duration = Duration::from_millis(1500);
/// May ask the Sentinels everything and subscribe to nothing.
const DEAF: &str = "user deaf on >pw resetchannels -@all +ping +subscribe +sentinel";
/// What a pool without events may lose of a planned failover: a pause of this process that is too
/// short to be taken down, and some milliseconds to see that the promoted replica has closed its
/// connections.
const MAY_BE_LOST: Duration = Duration::from_millis(50);
/// Until a pool without events knows of any failover: `refresh_interval`, and a look.
const UNTIL_SEEN: Duration = Duration::from_secs(2);

/// What is special about a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain,
    /// The Sentinels' user may not subscribe.
    WithoutEvents,
    /// One of the Sentinels calls the master `localhost`.
    TwoSpellings,
    /// The only seed is one address in front of all the Sentinels.
    Balanced,
}

impl Kind {
    const ALL: [Self; 4] = [
        Self::Plain,
        Self::WithoutEvents,
        Self::TwoSpellings,
        Self::Balanced,
    ];

    pub(crate) fn of(seed: u64) -> Self {
        // The lowest bit decides on `adopt`.
        match seed / 2 % 4 {
            0 => Self::Plain,
            1 => Self::WithoutEvents,
            2 => Self::TwoSpellings,
            _ => Self::Balanced,
        }
    }

    pub(crate) fn start(self) -> Deployment {
        let builder = Deployment::builder().down_after(DOWN_AFTER);
        match self {
            Self::WithoutEvents => builder.sentinel_config(DEAF).start(),
            _ => builder.start(),
        }
    }

    /// What stands in front of the Sentinels' own proxies, if anything does.
    pub(crate) fn balancer(self, proxies: &Proxies) -> Option<Proxy> {
        let ports: Vec<u16> = proxies.sentinels().iter().map(Proxy::port).collect();
        (self == Self::Balanced).then(|| Proxy::balancing(&ports))
    }

    pub(crate) fn configure(self, config: &mut Config) {
        if self == Self::WithoutEvents {
            config.sentinel_username = Some("deaf".to_owned());
            config.sentinel_password = Some("pw".into());
        }
    }

    pub(crate) fn rules(self) -> Rules {
        Rules {
            unheard: (self == Self::WithoutEvents).then_some(Unheard {
                until_seen: UNTIL_SEEN,
                may_be_lost: MAY_BE_LOST,
            }),
            ..Rules::default()
        }
    }

    /// Restores before a round what the one before has changed: a new master is known to every
    /// Sentinel by the address that it has for its own master.
    pub(crate) fn prepare(self, deployment: &Deployment) {
        let odd = &deployment.sentinels()[0];
        if self == Self::TwoSpellings && !deployment.is_named_localhost_by(odd) {
            deployment.name_localhost(odd, DOWN_AFTER);
            deployment.wait_healthy(LIMIT);
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain",
            Self::WithoutEvents => "without-events",
            Self::TwoSpellings => "two-spellings",
            Self::Balanced => "balanced",
        })
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|kind| kind.to_string() == text);
        found.ok_or_else(|| {
            format!(
                "DEPLOYMENT is none of {:?}",
                Self::ALL.map(|k| k.to_string())
            )
        })
    }
}

#[test]
fn every_kind_has_its_seeds_and_its_name() {
    for kind in Kind::ALL {
        assert!((0..100).any(|seed| Kind::of(seed) == kind), "{kind}");
        assert_eq!(kind.to_string().parse(), Ok(kind));
    }
    assert!("otherwise".parse::<Kind>().is_err());
}
