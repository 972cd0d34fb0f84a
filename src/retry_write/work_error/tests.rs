use std::{error::Error as StdError, io};

use redis::{ErrorKind, RedisError, Value};

use super::*;
use crate::{
    error::failure::{Cause, Failure, Fate, Peer},
    node::{Node, Role},
};

#[derive(Debug, thiserror::Error)]
enum Kept {
    #[error("no connection")]
    Pool(#[from] Error),
    #[error("Redis failed")]
    Redis(#[from] RedisError),
    #[error("of the caller")]
    Own,
}

#[derive(Debug, thiserror::Error)]
enum Transparent {
    #[error(transparent)]
    Pool(#[from] Error),
    #[error(transparent)]
    Redis(#[from] RedisError),
}

#[derive(Debug, thiserror::Error)]
#[error("deeper")]
struct Outer(#[source] Kept);

impl<E: Into<Kept>> From<E> for Outer {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

fn of<View: ?Sized, E: WorkError<View>>(error: E) -> Option<Verdict> {
    verdict(error.view())
}

fn failed(fate: Fate) -> RedisError {
    let failure = Failure {
        peer: Peer::Node(Role::Master),
        node: Node::new("h", 1),
        cause: Cause::Closed,
        fate,
    };
    failure.into()
}

fn replied(line: &str) -> RedisError {
    let reply = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
    let Value::ServerError(reply) = reply else {
        panic!("{line}")
    };
    reply.into()
}

/// The same in every type that can hold it, however deep.
#[test]
fn an_error_says_the_same_inside_of_every_type() {
    let table = [
        (failed(Fate::NotExecuted), Verdict::Hindered),
        (failed(Fate::Unknown), Verdict::Lost),
        (replied("READONLY no"), Verdict::Hindered),
        (replied("NOPERM no"), Verdict::Refused),
        (replied("WRONGTYPE no"), Verdict::Answered),
        (Error::Closed.into(), Verdict::Refused),
        (io::Error::other("of somebody").into(), Verdict::Lost),
    ];
    for (error, expected) in table {
        let case = error.to_string();
        let expected = Some(expected);
        assert_eq!(of(error.clone()), expected, "{case}");
        assert_eq!(of(Kept::from(error.clone())), expected, "{case}");
        assert_eq!(of(Transparent::from(error.clone())), expected, "{case}");
        assert_eq!(of(Outer::from(error.clone())), expected, "{case}");
        let boxed: Box<dyn StdError + Send + Sync> = Kept::from(error.clone()).into();
        assert_eq!(of(boxed), expected, "{case}");
        let boxed: Box<dyn StdError> = error.into();
        assert_eq!(of(boxed), expected, "{case}");
    }
}

#[test]
fn an_error_of_the_pool_is_found_in_a_type_of_the_callers_own() {
    assert_eq!(of(Kept::from(Error::Closed)), Some(Verdict::Refused));
    let no_replica = Error::NoReplica {
        reports: [].into_iter().collect(),
    };
    assert_eq!(of(Outer::from(no_replica)), Some(Verdict::Hindered));
}

#[test]
fn an_error_that_has_nothing_to_do_with_redis_says_nothing() {
    assert_eq!(of(Kept::Own), None);
    assert_eq!(of(Outer(Kept::Own)), None);
    assert_eq!(of(Box::<dyn StdError + Send + Sync>::from("own")), None);
    // Hidden by its own text: what is refused before it is sent has no source.
    let refused = RedisError::from((ErrorKind::Client, "refused"));
    assert_eq!(of(Transparent::from(refused)), None);
}
