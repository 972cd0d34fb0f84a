//! Subscribers: messages, and what is told where some may be missing.

mod failover;
mod moved;
mod permissions;
mod plain;
mod trouble;

use std::time::Duration;

use redis_rw_pool::{Config, Gap, Message, Notice, Pool, Subscriber, redis::AsyncCommands};
use testkit::Server;
use tokio::task::block_in_place;

use crate::support::LONG;

async fn next(updates: &mut Subscriber) -> Notice {
    let notice = tokio::time::timeout(LONG, updates.next()).await;
    notice.expect("a notice comes").expect("the pool is open")
}

async fn message(updates: &mut Subscriber) -> Message {
    match next(updates).await {
        Notice::Message(message) => message,
        other => panic!("{other:?}"),
    }
}

async fn gap(updates: &mut Subscriber) -> Gap {
    match next(updates).await {
        Notice::Gap(gap) => gap,
        other => panic!("{other:?}"),
    }
}

/// The channel and the payload of the next message.
async fn text(updates: &mut Subscriber) -> (String, String) {
    let message = message(updates).await;
    let channel = message.channel().escape_ascii().to_string();
    (channel, message.payload().escape_ascii().to_string())
}

/// Nothing comes for a while.
async fn nothing(updates: &mut Subscriber) {
    let notice = tokio::time::timeout(Duration::from_millis(50), updates.next()).await;
    assert!(notice.is_err(), "{notice:?}");
}

async fn publish(pool: &Pool, channel: &[u8], payload: impl ToString) {
    let () = pool
        .writer()
        .publish(channel, payload.to_string())
        .await
        .unwrap();
}

/// A pool on one server.
async fn pool_on(server: &Server, change: impl FnOnce(&mut Config)) -> Pool {
    let mut config = Config::standalone(server.addr());
    config.refresh_interval = Duration::from_millis(500);
    change(&mut config);
    Pool::connect(config).await.unwrap()
}

fn server(lines: &[&str]) -> Server {
    block_in_place(|| Server::standalone(lines))
}

fn pair(channel: &str, payload: &str) -> (String, String) {
    (channel.to_owned(), payload.to_owned())
}
