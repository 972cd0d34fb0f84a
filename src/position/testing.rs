//! Positions for tests, named by single letters.

use crate::{
    node::Role,
    position::{
        Position,
        report::{Origin, Report},
        timeline::Timeline,
        token::Token,
    },
};

pub(crate) fn timeline(name: char) -> Timeline {
    numbered(u64::from(name))
}

pub(crate) fn numbered(number: u64) -> Timeline {
    let mut bytes = [0xab; 20];
    bytes[12..].copy_from_slice(&number.to_be_bytes());
    Timeline::of(bytes)
}

pub(crate) fn position(name: char, offset: u64) -> Position {
    Position {
        timeline: timeline(name),
        offset,
    }
}

pub(crate) fn token(name: char, offset: u64) -> Token {
    Token::new(position(name, offset), 0)
}

pub(crate) fn replica(name: char, offset: u64) -> Report {
    Report {
        role: Role::Replica,
        position: position(name, offset),
        origin: None,
    }
}

/// A master without a known origin.
pub(crate) fn master(name: char, offset: u64) -> Report {
    Report {
        role: Role::Master,
        ..replica(name, offset)
    }
}

/// A master whose timeline came from this one, and shares everything ahead of the cut.
pub(crate) fn heir(name: char, offset: u64, parent: char, cut: u64) -> Report {
    Report {
        origin: Some(Origin {
            parent: timeline(parent),
            cut,
        }),
        ..master(name, offset)
    }
}
