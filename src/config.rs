//! The settings of a pool.

mod address;
mod address_map;
mod adopt;
mod credentials;
pub(crate) mod edition;
mod env;
mod error;
mod freshness_limits;
mod given;
mod host_pattern;
mod limits;
mod measure;
mod multiplexed_limits;
mod prefer;
mod reply_limits;
mod secret;
#[cfg(feature = "serde")]
mod serde;
mod settings;
#[cfg(feature = "tls")]
pub(crate) mod tls;
mod tls_settings;
mod trace;
mod url;
mod validate;

use std::{collections::HashSet, fmt, time::Duration};

#[cfg(feature = "tls")]
use crate::config::tls::{SentinelTls, Tls};
use crate::{
    config::{credentials::login::Keyrings, edition::NewEditions},
    node::Node,
};

pub(crate) use crate::config::credentials::{keyring::News, login::Login};
pub use crate::config::{
    address_map::AddressMap,
    adopt::Adopt,
    credentials::{Ask, Credentials, CredentialsSource},
    error::ConfigError,
    freshness_limits::{FreshnessLimits, OnLost, Otherwise},
    host_pattern::HostPattern,
    limits::PoolLimits,
    measure::Measure,
    multiplexed_limits::MultiplexedLimits,
    prefer::Prefer,
    reply_limits::ReplyLimits,
    secret::Secret,
    trace::Trace,
};

/// Where the Sentinels are, which master they watch, and how the pool behaves.
///
/// Start from [`Config::new`] or [`Config::from_url`] and set the fields that should differ from
/// their defaults. Without Sentinels start from [`Config::standalone`] or [`Config::nodes`].
///
/// ```
/// use std::time::Duration;
///
/// use redis_rw_pool::{Config, ReadFrom};
///
/// let mut config = Config::new(["10.0.0.1", "10.0.0.2", "10.0.0.3"], "mymaster");
/// config.username = Some("app".into());
/// config.password = Some("secret".into());
/// config.write.max_active = 32;
/// config.read.idle_timeout = Some(Duration::from_secs(240));
/// config.read_from = ReadFrom::Any;
/// config.validate()?;
/// assert!(!format!("{config:?}").contains("secret"));
/// # Ok::<(), redis_rw_pool::ConfigError>(())
/// ```
///
/// # What is checked, and when
///
/// [`Config::validate`] has the rules. [`Config::from_url`] applies them, and the pool does when it
/// connects, never later. A value is used as it is or refused.
///
/// # Secrets
///
/// `Debug` shows whether user names and passwords are set, not what they are, and a
/// [`ConfigError`] never repeats them.
#[derive(Clone)]
#[non_exhaustive]
pub struct Config {
    /// The Sentinels to ask first; the others are learned from them.
    ///
    /// Each is `host`, `host:port`, `[ipv6]`, `[ipv6]:port` or the absolute path of a Unix socket.
    /// The port defaults to 26379. Empty where `nodes` are given.
    pub sentinels: Vec<String>,

    /// The name under which the Sentinels watch the master (`sentinel monitor <name> …`).
    ///
    /// Letters, digits, `.`, `_` and `-`, as Sentinel itself demands. Empty where `nodes` are given.
    pub master_name: String,

    /// The master and its replicas, in any order, for a deployment without Sentinels. Otherwise empty.
    ///
    /// Written as `sentinels` are; the port defaults to 6379. [`Config::nodes`] says how they are used.
    pub nodes: Vec<String>,

    /// The ACL user to authenticate as at the Sentinels; needs `sentinel_password` or
    /// `sentinel_credentials`.
    ///
    /// Defaults to `None`, the Sentinel's default user.
    pub sentinel_username: Option<String>,

    /// The password for the Sentinels. The one for data nodes is never sent to them.
    ///
    /// Defaults to `None`, no authentication.
    pub sentinel_password: Option<Secret>,

    /// The ACL user to authenticate as at the master and its replicas; needs `password` or
    /// `credentials`.
    ///
    /// Defaults to `None`, the server's default user.
    pub username: Option<String>,

    /// The password for the master and its replicas.
    ///
    /// It is sent to every address that the Sentinels announce, or to all `nodes`. Defaults to `None`,
    /// no authentication.
    pub password: Option<Secret>,

    /// Where to get the credentials for the master and its replicas from, in place of `password`: for
    /// passwords that are rotated and tokens that expire.
    ///
    /// `username` is used where the source names no user. Defaults to `None`.
    pub credentials: Option<CredentialsSource>,

    /// As [`credentials`](Self::credentials), for the Sentinels, in place of `sentinel_password`.
    pub sentinel_credentials: Option<CredentialsSource>,

    /// The database that every connection selects.
    ///
    /// From 0 to 2147483647; how many there are is the server's `databases` setting. Defaults to 0.
    pub db: i64,

    /// The name that connections give themselves in `CLIENT LIST`.
    ///
    /// The pool's own connection to each node, over which it asks for the role, adds `-probe` to it.
    /// Printable ASCII without spaces. Defaults to `None`, no name.
    pub client_name: Option<String>,

    /// What the pool is called in metrics, to tell several pools of one service apart. The servers do not
    /// see it.
    ///
    /// At most 128 bytes, without control characters. Defaults to `None`: the master name, or without
    /// Sentinels the first of the [`nodes`](Self::nodes).
    pub name: Option<String>,

    /// What the pool takes the time of. Defaults to [`Measure::Connections`].
    pub measure: Measure,

    /// What the pool tells `tracing` of each call. Defaults to [`Trace::Errors`].
    pub trace: Trace,

    /// Limits of the pool of connections to the master. Defaults to [`PoolLimits::default`].
    pub write: PoolLimits,

    /// Limits of the pool of connections to read from. Defaults to [`PoolLimits::default`].
    pub read: PoolLimits,

    /// Limits of the connections behind [`Pool::writer`](crate::Pool::writer) and
    /// [`Pool::reader`](crate::Pool::reader). Defaults to [`MultiplexedLimits::default`].
    pub multiplexed: MultiplexedLimits,

    /// Which nodes reads go to. Defaults to [`ReadFrom::ReplicaPreferred`].
    pub read_from: ReadFrom,

    /// Which of the nodes that `read_from` admits reads go to first, such as those in the same zone. Defaults
    /// to [`Prefer::Nobody`].
    pub prefer: Prefer,

    /// How old what reads see may be: every read that asks for nothing else is one of
    /// [`Freshness::Within`](crate::Freshness::Within) this time, which says what that means and costs.
    ///
    /// It is for [`Pool::read`](crate::Pool::read), [`Pool::reader`](crate::Pool::reader) and the reads of
    /// sessions. A session that has written, or goes on with a token, asks for both: its reads see its
    /// writes, and nothing older than this. Reads with a requirement of their own
    /// ([`Multiplexed::after`](crate::Multiplexed::after), [`within`](crate::Multiplexed::within),
    /// [`with`](crate::Multiplexed::with), [`Pool::read_with`](crate::Pool::read_with)) have that instead;
    /// [`Freshness::Any`](crate::Freshness::Any) asks for nothing.
    ///
    /// What happens where no replica has enough is up to
    /// [`freshness.otherwise`](FreshnessLimits::otherwise): by default the master serves such a read. While
    /// there is no master nothing can be proven, so reads wait for it and then fail, or with
    /// [`Otherwise::Stale`] see what there is. Without effect where `read_from` is [`ReadFrom::Master`].
    /// The user needs the permission `+info`.
    ///
    /// At least 1 second: replicas are a few milliseconds behind as a rule, and less would send reads to the
    /// master at every hiccup. Defaults to `None`: replicas may be as old as they are.
    pub max_staleness: Option<Duration>,

    /// What a read may cost that must have seen a certain write. Defaults to
    /// [`FreshnessLimits::default`].
    pub freshness: FreshnessLimits,

    /// The version of the Redis protocol to speak. Defaults to [`Protocol::Resp3`].
    pub protocol: Protocol,

    /// How long it may take to dial a node and finish the handshake.
    ///
    /// [`Pool::connect`](crate::Pool::connect) as a whole is bounded by this or by `failover_timeout`,
    /// whichever is longer. Greater than zero. Defaults to 2 seconds.
    pub connect_timeout: Duration,

    /// How long a command may take until its whole reply has arrived.
    ///
    /// Commands that block on the server, such as `BLPOP`, get the time they ask for on top.
    /// `None` waits for ever, even for a node that is frozen; zero is refused. Defaults to
    /// 3 seconds.
    pub command_timeout: Option<Duration>,

    /// How long one exchange with one Sentinel may take, dialling included.
    ///
    /// Sentinels are asked in parallel, so a slow one delays nothing while others answer. Only
    /// [`Pool::connect`](crate::Pool::connect) waits this long for most of them to answer. Where
    /// `nodes` are given, it waits this long for all of them. Greater than zero. Defaults to
    /// 500 milliseconds.
    pub sentinel_timeout: Duration,

    /// How often the Sentinels, or the `nodes`, are asked while nothing seems to happen.
    ///
    /// Each interval is drawn from within ±20 % of this. After a Sentinel's event, or an error that
    /// hints at a failover, they are asked at once. While all Sentinels answer and their events arrive,
    /// they are asked each time who is master, and every fourth time which replicas and Sentinels they
    /// list. Greater than zero. Defaults to 5 seconds.
    pub refresh_interval: Duration,

    /// How long a call may wait for a new master while the old one is being replaced.
    ///
    /// It begins when the call has its turn. The wait in line behind `max_active` others has a limit of
    /// its own, `wait_timeout`, which is shorter by default. A call for a replica is bounded in the same
    /// way. A dial under way gets its `connect_timeout` even if that is longer. Zero does not wait: the
    /// first dial that fails is the call's error. [`Pool::connect`](crate::Pool::connect) waits for the
    /// first master as long. Defaults to 10 seconds.
    pub failover_timeout: Duration,

    /// When a new master is accepted. Without effect on `nodes`, which announce nothing. Defaults to
    /// [`Adopt::Announced`].
    pub adopt: Adopt,

    /// Addresses to dial instead of those the Sentinels announce, or instead of `nodes`. Defaults to
    /// `None`.
    pub address_map: Option<AddressMap>,

    /// How large a reply may be. Defaults to [`ReplyLimits::default`].
    pub reply_limits: ReplyLimits,

    /// How connections to the nodes are encrypted. Defaults to `None`, plain text.
    ///
    /// Needs the feature `tls`, and one of `tls-ring` and `tls-aws-lc-rs` unless the application brings
    /// a provider of its own.
    #[cfg(feature = "tls")]
    pub tls: Option<Tls>,

    /// How connections to the Sentinels are encrypted. Defaults to [`SentinelTls::AsNodes`].
    #[cfg(feature = "tls")]
    pub sentinel_tls: SentinelTls,

    /// What was learned from the sources. Only the pool that uses this configuration has it.
    pub(crate) keyrings: Keyrings,
}

impl Config {
    /// A configuration with defaults for everything but the Sentinels and the master's name.
    ///
    /// Nothing is checked yet; see [`Config::validate`].
    pub fn new(
        sentinels: impl IntoIterator<Item = impl Into<String>>,
        master_name: impl Into<String>,
    ) -> Self {
        Self {
            sentinels: sentinels.into_iter().map(Into::into).collect(),
            master_name: master_name.into(),
            nodes: Vec::new(),
            sentinel_username: None,
            sentinel_password: None,
            username: None,
            password: None,
            credentials: None,
            sentinel_credentials: None,
            db: 0,
            client_name: None,
            name: None,
            measure: Measure::default(),
            trace: Trace::default(),
            write: PoolLimits::default(),
            read: PoolLimits::default(),
            multiplexed: MultiplexedLimits::default(),
            read_from: ReadFrom::default(),
            prefer: Prefer::default(),
            max_staleness: None,
            freshness: FreshnessLimits::default(),
            protocol: Protocol::default(),
            connect_timeout: Duration::from_secs(2),
            command_timeout: Some(Duration::from_secs(3)),
            sentinel_timeout: Duration::from_millis(500),
            refresh_interval: Duration::from_secs(5),
            failover_timeout: Duration::from_secs(10),
            adopt: Adopt::default(),
            address_map: None,
            reply_limits: ReplyLimits::default(),
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(feature = "tls")]
            sentinel_tls: SentinelTls::default(),
            keyrings: Keyrings::default(),
        }
    }

    /// A configuration for one Redis without Sentinel: on a developer's laptop, in CI, or where somebody
    /// else replaces the server behind a name when it fails.
    ///
    /// As [`Config::nodes`] with one node. By default reads go to it as well as writes.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use redis_rw_pool::{Config, Pool, redis::AsyncCommands};
    ///
    /// let pool = Pool::connect(Config::standalone("127.0.0.1:6379")).await?;
    /// let () = pool.writer().set("greeting", "hello").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn standalone(node: impl Into<String>) -> Self {
        Self::nodes([node])
    }

    /// A configuration for a master and its replicas without Sentinels, with defaults for everything
    /// else.
    ///
    /// The nodes themselves are asked for their roles (`HELLO`, `ROLE`): every
    /// [`refresh_interval`](Self::refresh_interval), at every sign of trouble and when one of them closes
    /// the connection. Their order says nothing, except where two masters have equal claims at the
    /// start. A replica is read from if it follows the master directly. A host name is resolved again for
    /// every new connection. So it may be an endpoint that leads to another server after a failover, or
    /// to several replicas. Nodes that are not listed are not used.
    ///
    /// **Who is master.** The node that says so. If two do, it is the one that more of the others
    /// follow; if that does not decide it, the one that was the master before, and
    /// [`Topology::unproven`](crate::Topology::unproven) says so. A promotion by hand (`FAILOVER`, or
    /// `REPLICAOF NO ONE` on one node and `REPLICAOF` on the others) is followed.
    ///
    /// **What cannot be promised.** Nobody announces a promotion before it happens, so there is no
    /// fence before it. What the old master acknowledges after the promotion, until it becomes a
    /// replica, is lost. `FAILOVER` loses nothing, since the master itself stops taking writes. When the
    /// pool sees two masters, it holds writes back for up to three seconds, until it is clear which of
    /// them stays. And nobody replaces a master that dies: calls wait up to
    /// [`failover_timeout`](Self::failover_timeout) for it, or for a promotion by hand.
    ///
    /// ```
    /// use redis_rw_pool::Config;
    ///
    /// let mut config = Config::nodes(["primary.example.com", "reader.example.com:6380"]);
    /// config.password = Some("secret".into());
    /// config.validate()?;
    /// # Ok::<(), redis_rw_pool::ConfigError>(())
    /// ```
    pub fn nodes(nodes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            nodes: nodes.into_iter().map(Into::into).collect(),
            ..Self::new([""; 0], "")
        }
    }

    /// Changes fields in a chain of calls.
    ///
    /// ```
    /// use redis_rw_pool::{Config, ReadFrom};
    ///
    /// let config = Config::new(["10.0.0.1"], "mymaster").with(|c| {
    ///     c.write.max_active = 32;
    ///     c.read_from = ReadFrom::Any;
    /// });
    /// assert_eq!(config.write.max_active, 32);
    /// ```
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// The configured Sentinels, each once, in the order in which they were given.
    pub(crate) fn sentinel_addresses(&self) -> Vec<Node> {
        addresses(&self.sentinels, address::SENTINEL_PORT)
    }

    /// The nodes of a deployment without Sentinels, each once, in the order in which they were given.
    pub(crate) fn node_addresses(&self) -> Vec<Node> {
        addresses(&self.nodes, address::NODE_PORT)
    }

    /// What the pool is called in metrics.
    pub(crate) fn name_in_metrics(&self) -> String {
        match (&self.name, &self.nodes[..]) {
            (Some(name), _) => name.clone(),
            (None, []) => self.master_name.clone(),
            (None, [first, ..]) => first.clone(),
        }
    }

    /// How old what a read sees may be that asks for nothing else. What the master has is never too old.
    pub(crate) fn staleness_of_reads(&self) -> Option<Duration> {
        self.max_staleness
            .filter(|_| self.read_from != ReadFrom::Master)
    }

    /// The address to dial for a node; `None` if the address map panics.
    pub(crate) fn address_of(&self, announced: &Node) -> Option<Node> {
        match &self.address_map {
            Some(map) => map.try_apply(announced),
            None => Some(announced.clone()),
        }
    }

    /// Tells when connections to the nodes are made with newer certificates.
    pub(crate) fn new_editions(&self) -> NewEditions {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return tls.new_editions();
        }
        NewEditions::default()
    }

    /// Whether connections to the nodes are encrypted.
    #[cfg_attr(
        not(feature = "tls"),
        expect(clippy::unused_self, reason = "a build without TLS encrypts nothing")
    )]
    pub(crate) fn encrypts(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        false
    }

    /// `None` for plain text.
    #[cfg(feature = "tls")]
    pub(crate) fn tls_of_sentinels(&self) -> Option<&Tls> {
        match &self.sentinel_tls {
            SentinelTls::AsNodes => self.tls.as_ref(),
            SentinelTls::Off => None,
            SentinelTls::Own(tls) => Some(tls),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Naming every field here makes the compiler ask whether a new one is a secret.
        let Self {
            sentinels,
            master_name,
            nodes,
            sentinel_username,
            sentinel_password,
            username,
            password,
            credentials,
            sentinel_credentials,
            db,
            client_name,
            name,
            measure,
            trace,
            write,
            read,
            multiplexed,
            read_from,
            prefer,
            max_staleness,
            freshness,
            protocol,
            connect_timeout,
            command_timeout,
            sentinel_timeout,
            refresh_interval,
            failover_timeout,
            adopt,
            address_map,
            reply_limits,
            #[cfg(feature = "tls")]
            tls,
            #[cfg(feature = "tls")]
            sentinel_tls,
            keyrings: _,
        } = self;
        let mut shown = f.debug_struct("Config");
        shown
            .field("sentinels", &Addresses(sentinels))
            .field("master_name", master_name)
            .field("nodes", &Addresses(nodes))
            .field("sentinel_username", &redacted(sentinel_username.as_ref()))
            .field("sentinel_password", sentinel_password)
            .field("username", &redacted(username.as_ref()))
            .field("password", password)
            .field("credentials", credentials)
            .field("sentinel_credentials", sentinel_credentials)
            .field("db", db)
            .field("client_name", client_name)
            .field("name", name)
            .field("measure", measure)
            .field("trace", trace)
            .field("write", write)
            .field("read", read)
            .field("multiplexed", multiplexed)
            .field("read_from", read_from)
            .field("prefer", prefer)
            .field("max_staleness", max_staleness)
            .field("freshness", freshness)
            .field("protocol", protocol)
            .field("connect_timeout", connect_timeout)
            .field("command_timeout", command_timeout)
            .field("sentinel_timeout", sentinel_timeout)
            .field("refresh_interval", refresh_interval)
            .field("failover_timeout", failover_timeout)
            .field("adopt", adopt)
            .field("address_map", address_map)
            .field("reply_limits", reply_limits);
        #[cfg(feature = "tls")]
        shown.field("tls", tls).field("sentinel_tls", sentinel_tls);
        shown.finish()
    }
}

fn addresses(texts: &[String], default_port: u16) -> Vec<Node> {
    let mut seen = HashSet::new();
    texts
        .iter()
        // Validation has refused malformed addresses before this is called.
        .filter_map(|text| address::parse(text, default_port).ok())
        .filter(|node| seen.insert(node.clone()))
        .collect()
}

/// Which nodes [`Config::read`] connections go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ReadFrom {
    /// A replica; the master when no replica is readable. The default. What
    /// [`Master`](Self::Master) says of writes holds while reads go to the master.
    #[default]
    ReplicaPreferred,
    /// Only replicas; reads fail while no replica is readable.
    ///
    /// Where the only replica has missed a deadline, it is still tried until it is known whether it
    /// answers.
    Replica,
    /// Only the master, still over the connections and limits of the read pool. Writes sent this
    /// way are not held back during a failover, see [`Pool::read`](crate::Pool::read).
    Master,
    /// The master; the replicas that are readable while the master cannot be reached. What
    /// [`Master`](Self::Master) says of writes holds while reads go to the master.
    ///
    /// So reads are as new as they can be, and go on while a failover is under way. The master counts as
    /// unreachable while [`Topology::master_error`](crate::Topology::master_error) says why. The replicas
    /// are left again as soon as there is a master.
    MasterPreferred,
    /// Replicas and master alike, each with its share; the master not while it cannot be reached, if there is a
    /// replica. What [`Master`](Self::Master) says of writes holds here, too.
    Any,
}

/// A version of the Redis protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Protocol {
    /// The protocol of Redis before 6.
    Resp2,
    /// The protocol with maps, sets and out-of-band pushes. The default.
    #[default]
    Resp3,
}

/// Stands in for a value that must not be shown.
struct Redacted;

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

fn redacted(secret: Option<&String>) -> Option<Redacted> {
    secret.map(|_| Redacted)
}

/// An address with an `@` is a URL in the wrong place, perhaps with a password in it.
struct Addresses<'a>(&'a [String]);

impl fmt::Debug for Addresses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        for address in self.0 {
            if address.contains('@') {
                list.entry(&Redacted);
            } else {
                list.entry(address);
            }
        }
        list.finish()
    }
}

#[cfg(test)]
mod tests;
