//! Starts real Redis and Sentinel processes for the tests, the demo and the benches, and fake ones
//! that misbehave as no real one can be made to.
//!
//! ```
//! let deployment = testkit::Deployment::start();
//! deployment.master().cmd(&["SET", "k", "v"]);
//! let old = deployment.master().port();
//! deployment.failover();
//! let new = deployment.wait_for_master_other_than(old, std::time::Duration::from_secs(10));
//! assert_ne!(new.port(), old);
//! ```
//!
//! `TESTKIT_KEEP=1` keeps configuration files and logs, `REDIS_SERVER` names another redis-server
//! or a valkey-server.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_types,
    reason = "real processes live by the real clock, even in a test that pauses tokio's"
)]
#![allow(
    clippy::exhaustive_enums,
    clippy::missing_panics_doc,
    reason = "never published; whatever fails here must fail the test, loudly"
)]

mod builder;
mod client;
mod config;
mod deployment;
pub mod fake;
mod folder;
pub mod history;
pub mod machine;
mod observer;
pub mod ports;
mod program;
mod proxies;
pub mod proxy;
mod server;
mod spread;
mod tls;

pub use builder::Builder;
pub use client::{Client, Reply};
pub use deployment::Deployment;
pub use folder::Folder;
pub use observer::Observer;
pub use program::{Program, program, provides, redis_version};
pub use proxies::Proxies;
pub use proxy::Proxy;
pub use server::Server;
pub use spread::Spread;
pub use tls::{Authority, Identity, ServerTls};
