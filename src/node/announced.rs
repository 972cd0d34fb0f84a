//! Which announced addresses may be dialled, and which are the same.
//!
//! The password of the data nodes is sent to the addresses that Sentinels name. So an address that
//! no Redis deployment announces is refused before anything else uses it.

use std::net::IpAddr;

use crate::node::Node;

/// The longest host name DNS allows.
const MAX_HOST: usize = 253;

pub(crate) fn node(host: &[u8], port: &[u8]) -> Option<Node> {
    Some(Node::new(self::host(host)?, self::port(port)?))
}

pub(crate) fn host(host: &[u8]) -> Option<&str> {
    let fit = |b: &u8| b.is_ascii_alphanumeric() || b".-_:%".contains(b);
    if host.is_empty() || host.len() > MAX_HOST || !host.iter().all(fit) {
        return None;
    }
    let host = std::str::from_utf8(host).ok()?;
    match ip(host) {
        Some(ip) => may_be_dialled(ip).then_some(host),
        // A text with a colon that is no IPv6 address is "host:port" in the wrong place.
        None => (!host.contains([':', '%'])).then_some(host),
    }
}

/// Decimal digits only: `str::parse` also takes a plus sign, which no Sentinel writes.
pub(crate) fn port(port: &[u8]) -> Option<u16> {
    if !port.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let port = std::str::from_utf8(port).ok()?.parse().ok()?;
    (port != 0).then_some(port)
}

/// The IP address that is written here; `None` for a host name.
pub(crate) fn ip(host: &str) -> Option<IpAddr> {
    match host.split_once('%') {
        // The scope after the percent sign names a network interface.
        Some((ip, scope)) if !scope.is_empty() => ip.parse().ok().filter(IpAddr::is_ipv6),
        Some(_) => None,
        None => host.parse().ok(),
    }
}

/// Whether an address may be dialled. A node announces an unspecified address when it does not know
/// its own; connecting to it would reach this very host. Clouds keep their metadata services at
/// link-local addresses.
fn may_be_dialled(ip: IpAddr) -> bool {
    let link_local = match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    let ip = ip.to_canonical();
    !(ip.is_unspecified() || ip.is_multicast() || link_local)
}

/// Whether two addresses name the same server; `None` where one is a name and the other an IP
/// address, which only a resolver could compare.
pub(crate) fn same(a: &Node, b: &Node) -> Option<bool> {
    if a.port() != b.port() {
        return Some(false);
    }
    match (ip(a.host()), ip(b.host())) {
        (Some(_), Some(_)) if a.host() == b.host() => Some(true),
        // Two scopes may lead to two servers.
        (Some(one), Some(other)) => {
            Some(one == other && !a.host().contains('%') && !b.host().contains('%'))
        }
        (None, None) => Some(a.host().eq_ignore_ascii_case(b.host())),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
