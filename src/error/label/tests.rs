use std::{io, time::Duration};

use redis::Value;

use super::*;
use crate::{
    error::failure::{Fate, Peer, partly},
    node::{Node, Role},
};

fn reply(line: &str) -> ServerError {
    match redis::parse_redis_value(format!("-{line}\r\n").as_bytes()) {
        Ok(Value::ServerError(error)) => error,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn an_error_reply_shows_its_code_only_if_it_is_one_of_a_server() {
    for (line, shown) in [
        ("ERR unknown command 'x'", "ERR"),
        ("WRONGTYPE Operation against a key", "WRONGTYPE"),
        ("READONLY You can't write", "READONLY"),
        ("EXECABORT Transaction discarded", "EXECABORT"),
        ("NOSCRIPT No matching script", "NOSCRIPT"),
        ("secret-of-a-script is 17", OTHER),
        ("SECRET", OTHER),
    ] {
        assert_eq!(of_reply(&reply(line)), shown, "{line}");
        assert_eq!(of(&RedisError::from(reply(line))), shown, "{line}");
    }
}

#[test]
fn what_is_no_reply_is_named_by_what_happened() {
    let failed = |cause| -> RedisError {
        Failure {
            peer: Peer::Node(Role::Master),
            node: Node::new("a", 1),
            cause,
            fate: Fate::Unknown,
        }
        .into()
    };
    assert_eq!(of(&failed(Cause::Closed)), "connection_lost");
    let late = || failed(Cause::Timeout(Duration::from_secs(1)));
    assert_eq!(of(&late()), "timeout");
    assert_eq!(of(&partly(late())), "timeout");
    assert_eq!(of(&Error::Closed.into()), "closed");
    assert_eq!(of(&(ErrorKind::Client, "no").into()), "refused");
    let foreign = io::Error::other("secret");
    assert_eq!(of(&foreign.into()), "connection_lost");
}
