use std::pin::pin;

use redis::cmd;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    task::coop,
};

use super::*;
use crate::node::Role;

fn pair() -> (WireConnection, DuplexStream) {
    let (ours, server) = tokio::io::duplex(1024);
    let wire = WireConnection::new(
        Stream::Memory(Box::new(ours)),
        Node::new("127.0.0.1", 6379),
        Peer::Node(Role::Master),
        0,
        ReplyLimits::default(),
        None,
    );
    (wire, server)
}

#[tokio::test]
async fn what_a_server_says_and_closes_answers_a_handshake_and_no_command_of_a_caller() {
    const LINE: &str = "-ERR too many connections\r\n";
    let said = redis::parse_redis_value(LINE.as_bytes()).unwrap();
    let ping = cmd("PING");
    let (mut own, mut server) = pair();
    server.write_all(LINE.as_bytes()).await.unwrap();
    drop(server);
    let deadline = Instant::now() + Duration::from_secs(20);
    let replies = own.exchange(&[ping.clone(), ping.clone()], deadline).await;
    assert_eq!(replies.unwrap(), [said.clone(), said]);
    assert!(!own.is_open());

    let (own, mut server) = pair();
    let mut lent = own.lend();
    server.write_all(LINE.as_bytes()).await.unwrap();
    drop(server);
    let error = lent.command(&ping).await.expect_err("it was not written");
    let failure = Failure::of(&error).expect("the connection failed");
    assert_eq!(failure.fate, Fate::NotExecuted);
    assert!(failure.cause.is_hangup(), "{error}");
}

#[tokio::test]
async fn a_command_goes_out_with_the_poll_that_found_its_node_fit_for_it() {
    let (mut wire, mut server) = pair();
    let ping = cmd("PING");
    let mut command = pin!(wire.command(&ping));
    poll_fn(|cx| {
        // What a task does that has taken many messages from a channel before.
        while coop::has_budget_remaining() {
            let _ = pin!(coop::consume_budget()).poll(cx);
        }
        assert!(command.as_mut().poll(cx).is_pending(), "nobody answers");
        Poll::Ready(())
    })
    .await;
    tokio::task::yield_now().await;
    let mut sent = [0; 64];
    let mut read = pin!(server.read(&mut sent));
    let read = poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx)))
        .await
        .map(Result::unwrap);
    assert_eq!(read, Poll::Ready(14), "all of it is written");
}
