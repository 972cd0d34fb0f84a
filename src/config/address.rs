//! The address of a Sentinel or a node as people write it.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::node::Node;

/// The port of an address without one.
pub(super) const SENTINEL_PORT: u16 = 26379;
pub(super) const NODE_PORT: u16 = 6379;

/// Reads `host`, `host:port`, `[v6]`, `[v6]:port` or `/path/of/unix.sock`.
///
/// The error says what is wrong without repeating any of the text.
pub(super) fn parse(text: &str, default_port: u16) -> Result<Node, &'static str> {
    if text.is_empty() {
        return Err("the address is empty");
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("an address holds no spaces and no control characters");
    }
    if text.contains("://") || text.contains('@') {
        return Err("must be a plain address, not a URL; `Config::from_url` reads URLs");
    }
    if text.starts_with('/') {
        return parse_unix(text);
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest
            .split_once(']')
            .ok_or("the `[` before an IPv6 address lacks its `]`")?;
        return Ok(Node::new(
            parse_ipv6(host)?,
            parse_port_suffix(port, default_port)?,
        ));
    }
    let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
    if port.matches(':').count() > 1 {
        return Err("has more than one `:`; an IPv6 address is written in brackets");
    }
    check_host(host)?;
    Ok(Node::new(host, parse_port_suffix(port, default_port)?))
}

fn parse_unix(path: &str) -> Result<Node, &'static str> {
    if path.ends_with('/') {
        return Err("the path of a Unix socket must not end with `/`");
    }
    if path.len() > MAX_UNIX_PATH_BYTES {
        return Err("the path of a Unix socket has at most 107 bytes");
    }
    Ok(Node::unix(path))
}

/// Writes the address the way Sentinels and nodes announce it. So a configured Sentinel and the same
/// Sentinel learned from another one are one node.
fn parse_ipv6(text: &str) -> Result<String, &'static str> {
    let (address, zone) = match text.split_once('%') {
        Some((address, zone)) => (address, Some(zone)),
        None => (text, None),
    };
    let address: Ipv6Addr = address
        .parse()
        .map_err(|_| "what stands in the brackets is not an IPv6 address")?;
    if address.is_unspecified() {
        return Err(UNSPECIFIED);
    }
    match zone {
        None => Ok(address.to_string()),
        Some(zone) if !zone.is_empty() && zone.chars().all(is_name_char) => {
            Ok(format!("{address}%{zone}"))
        }
        Some(_) => Err("the zone of an IPv6 address is a letter, digit, `.`, `_` or `-`"),
    }
}

fn parse_port_suffix(suffix: &str, default_port: u16) -> Result<u16, &'static str> {
    if suffix.is_empty() {
        return Ok(default_port);
    }
    suffix
        .strip_prefix(':')
        .filter(|port| port.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|port| port.parse().ok())
        .filter(|&port| port != 0)
        .ok_or("the port must be a number from 1 to 65535")
}

fn check_host(host: &str) -> Result<(), &'static str> {
    if host.is_empty() {
        return Err("the host is empty");
    }
    let labels = host.strip_suffix('.').unwrap_or(host);
    let well_formed = |label: &str| {
        (1..=MAX_LABEL_BYTES).contains(&label.len())
            && label.chars().all(|c| is_name_char(c) && c != '.')
    };
    if host.len() > MAX_HOST_BYTES || !labels.split('.').all(well_formed) {
        return Err("the host must be a name of letters, digits, `.`, `_` and `-`, or an address");
    }
    // Resolvers read `10.1` and `12345` as abbreviated addresses, which nobody means.
    if labels.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        let address: Ipv4Addr = host.parse().map_err(|_| "not a whole IPv4 address")?;
        if address.is_unspecified() {
            return Err(UNSPECIFIED);
        }
    }
    Ok(())
}

/// What Sentinel allows in a master name; host names need no more.
pub(super) fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

const MAX_HOST_BYTES: usize = 254;
const MAX_LABEL_BYTES: usize = 63;
const MAX_UNIX_PATH_BYTES: usize = 107;
const UNSPECIFIED: &str = "an unspecified address is for listening, not for dialling";

#[cfg(test)]
mod tests;
