//! Credentials that change while the pool runs, and where they come from.

pub(super) mod file;
pub(crate) mod keyring;
pub(crate) mod login;

use std::{error::Error, fmt, future::Future, path::Path, pin::Pin, sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};

use crate::config::Secret;

/// A user name and a password, as a [`CredentialsSource`] gives them.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Credentials {
    /// The ACL user. `None` is the user of the configuration
    /// ([`Config::username`](crate::Config::username)), or the server's default user.
    pub username: Option<String>,
    /// The password or token.
    pub password: Secret,
    lifetime: Option<Lifetime>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lifetime {
    renew_at: Instant,
    ends_at: Instant,
}

/// With a shorter lifetime nearly every dial would find other credentials, and would replace all
/// connections that were made with the ones before.
const SHORTEST_LIFETIME: Duration = Duration::from_secs(5);

impl Credentials {
    /// For this ACL user.
    pub fn new(username: impl Into<String>, password: impl Into<Secret>) -> Self {
        Self {
            username: Some(username.into()),
            ..Self::password_only(password)
        }
    }

    /// For the user of the configuration, or the server's default user (`requirepass`).
    pub fn password_only(password: impl Into<Secret>) -> Self {
        Self {
            username: None,
            password: password.into(),
            lifetime: None,
        }
    }

    /// They are good for this long from now on.
    ///
    /// The source is asked again when a tenth of the time is left, and not before, unless a server
    /// refuses them. Less than 5 seconds counts as not said.
    #[must_use]
    pub fn expires_in(mut self, lifetime: Duration) -> Self {
        let now = Instant::now();
        self.lifetime = (lifetime >= SHORTEST_LIFETIME)
            .then(|| {
                Some(Lifetime {
                    renew_at: now.checked_add(lifetime - lifetime / 10)?,
                    ends_at: now.checked_add(lifetime)?,
                })
            })
            .flatten();
        self
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let username = self.username.as_ref().map(|_| format_args!("***"));
        f.debug_struct("Credentials")
            .field("username", &username)
            .field("password", &self.password)
            .field("lifetime", &self.lifetime)
            .finish()
    }
}

/// Why a [`CredentialsSource`] is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ask {
    /// A server has just refused the last answer. A source with a cache of its own must not answer
    /// from it.
    pub refused: bool,
}

type Answer = Result<Credentials, Box<dyn Error + Send + Sync>>;
type Fetch = dyn Fn(Ask) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync;

/// Where a pool gets its credentials from, asked at every dial.
///
/// For passwords that are rotated and for tokens that expire:
/// [`Config::credentials`](crate::Config::credentials) for the nodes,
/// [`Config::sentinel_credentials`](crate::Config::sentinel_credentials) for the Sentinels.
///
/// # When it is asked
///
/// At every dial; dials that begin together ask once. An answer that says
/// [how long it lasts](Credentials::expires_in) is used until a tenth of that is left. If a server
/// refuses the credentials (`WRONGPASS`, `NOAUTH`), the source is asked once more, and the server with
/// the new answer if that is another one. A file and a channel are also looked at every
/// [`refresh_interval`](crate::Config::refresh_interval), and a token is renewed before it expires
/// whether or not there is a dial.
///
/// # Other credentials than before
///
/// They are tried over a connection of the pool's own. Once a node has accepted them, the connections
/// to it that were made with older ones retire: those that are idle are closed, those that are lent
/// at their return ([`Discard::Credentials`](crate::Discard::Credentials)), and those that are shared
/// when another is open. No command fails. A node that has not accepted the new credentials keeps its
/// connections, so a wrong password in a file does no harm to what is open.
///
/// A source that gives another answer every time, and does not say how long it lasts, is not
/// taken to have new credentials each time. Tokens should say when they expire.
///
/// # When it fails
///
/// An error, a panic and no answer within [`connect_timeout`](crate::Config::connect_timeout) fail
/// the dial, which is tried again like any other. If there was an answer before that has not expired,
/// the dial goes on with that one.
///
/// The closure runs on the pool's runtime, in a task of its own. It must not block the thread.
///
/// ```no_run
/// use std::time::Duration;
///
/// use redis_rw_pool::{Config, Credentials, CredentialsSource};
///
/// // Anything that makes tokens, such as a cloud's SDK.
/// #[derive(Clone)]
/// struct Signer;
/// impl Signer {
///     async fn token(&self, user: &str) -> Result<String, std::io::Error> {
///         Ok(format!("signed for {user}"))
///     }
/// }
///
/// let signer = Signer;
/// let mut config = Config::new(["10.0.0.1"], "mymaster");
/// config.credentials = Some(CredentialsSource::new(move |_ask| {
///     let signer = signer.clone();
///     async move {
///         let token = signer.token("app").await?;
///         // The cloud says 15 minutes. One is left for clocks that differ.
///         Ok(Credentials::new("app", token).expires_in(Duration::from_secs(14 * 60)))
///     }
/// }));
/// ```
#[derive(Clone)]
pub struct CredentialsSource(Kind);

#[derive(Clone)]
enum Kind {
    Fixed(Credentials),
    File(Arc<Path>),
    Watch(watch::Receiver<Credentials>),
    Closure(Arc<Fetch>),
}

impl CredentialsSource {
    /// Asks an async closure.
    pub fn new<F, Fut>(fetch: F) -> Self
    where
        F: Fn(Ask) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Credentials, Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        Self(Kind::Closure(Arc::new(move |ask| Box::pin(fetch(ask)))))
    }

    /// Reads the password from a file, such as a mounted secret of Kubernetes.
    ///
    /// The file holds the password and nothing else; a line break at its end does not count. The user
    /// is that of the configuration. What counts is the content: it does not matter whether the file
    /// is written anew, replaced or behind a symbolic link that changes.
    pub fn file(path: impl AsRef<Path>) -> Self {
        Self(Kind::File(path.as_ref().into()))
    }

    /// Takes what stands in the channel. A new value is tried within
    /// [`refresh_interval`](crate::Config::refresh_interval).
    pub fn watch(receiver: watch::Receiver<Credentials>) -> Self {
        Self(Kind::Watch(receiver))
    }

    /// The same credentials always.
    pub fn fixed(credentials: Credentials) -> Self {
        Self(Kind::Fixed(credentials))
    }

    async fn ask(&self, ask: Ask) -> Answer {
        match &self.0 {
            Kind::Fixed(credentials) => Ok(credentials.clone()),
            Kind::File(path) => file::read(path).await.map(Credentials::password_only),
            Kind::Watch(receiver) => Ok(receiver.borrow().clone()),
            Kind::Closure(fetch) => fetch(ask).await,
        }
    }

    /// What it will always answer.
    pub(super) fn known(&self) -> Option<&Credentials> {
        match &self.0 {
            Kind::Fixed(credentials) => Some(credentials),
            _ => None,
        }
    }

    /// Whether asking costs so little that it may be done without need.
    fn is_cheap(&self) -> bool {
        !matches!(self.0, Kind::Closure(_))
    }
}

impl fmt::Debug for CredentialsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Fixed(_) => f.write_str("fixed"),
            Kind::File(path) => write!(f, "file {path:?}"),
            Kind::Watch(_) => f.write_str("watch"),
            Kind::Closure(_) => f.write_str("closure"),
        }
    }
}
