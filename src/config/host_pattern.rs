//! Which hosts are meant by a pattern or a network.

use std::{fmt, net::IpAddr, str::FromStr};

use crate::{
    config::{ConfigError, address, settings::digits},
    node::{Node, announced},
};

/// Some hosts, as a pattern of their names or as a network.
///
/// | written as | stands for |
/// |---|---|
/// | `10.1.0.0/16`, `fd00:1::/32` | every address in this network |
/// | `10.2.0.7`, `10.2.0.7:6380`, `[fd00::7]:6380` | this address, at any port or at this one |
/// | `redis-a*.internal`, `redis-a?.internal:6380` | names. `*` stands for any number of characters, `?` for one |
/// | `/run/redis*.sock` | paths of Unix sockets |
///
/// A name is compared with the one under which a node is announced, or configured, and with the one under
/// which it is dialled. Upper and lower case are the same. An address or a network also fits a node with a
/// name that resolves to such an address.
///
/// ```
/// use redis_rw_pool::HostPattern;
///
/// let zone_a: HostPattern = "10.1.0.0/16".parse()?;
/// assert_eq!(zone_a.to_string(), "10.1.0.0/16");
/// assert!("10.1.0.7/16".parse::<HostPattern>().is_err());
/// # Ok::<(), redis_rw_pool::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPattern {
    hosts: Hosts,
    /// `None` for any.
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Hosts {
    /// In lower case.
    Named(String),
    At(IpAddr),
    Within(Network),
}

/// The first bits of an address, and how many they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    fn parse(address: &str, bits: &str) -> Result<Self, &'static str> {
        let reason = "a network is an address and the number of its leading bits, `10.1.0.0/16`";
        let address = address
            .strip_prefix('[')
            .and_then(|address| address.strip_suffix(']'))
            .unwrap_or(address);
        let address: IpAddr = address.parse().map_err(|_| reason)?;
        let bits: u32 = digits(bits).ok_or(reason)?;
        if bits > width(address) {
            return Err("an IPv4 network has at most 32 leading bits, an IPv6 network 128");
        }
        let network = Self { address, bits };
        if network.rest(address) != 0 {
            return Err("the bits of a network after its leading ones must be zero");
        }
        Ok(network)
    }

    fn contains(self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4()
            && number(self.address) ^ number(address) == self.rest(address)
    }

    /// The bits of the address after as many as this has.
    fn rest(self, address: IpAddr) -> u128 {
        let after = width(self.address) - self.bits;
        let mask = 1_u128.checked_shl(after).map_or(u128::MAX, |bit| bit - 1);
        number(address) & mask
    }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl HostPattern {
    /// Whether it fits this node, whose name resolves to these addresses.
    pub(crate) fn fits(&self, node: &Node, resolved: &[IpAddr]) -> bool {
        if self.port.is_some_and(|port| port != node.port()) {
            return false;
        }
        let host = node.host();
        let own = announced::ip(host);
        let mut addresses = own.iter().chain(resolved).map(IpAddr::to_canonical);
        match &self.hosts {
            Hosts::Named(pattern) if node.is_unix() => is_like(pattern.as_bytes(), host.as_bytes()),
            Hosts::Named(pattern) => {
                let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
                is_like(pattern.as_bytes(), host.as_bytes())
            }
            Hosts::At(address) => addresses.any(|other| other == *address),
            Hosts::Within(network) => addresses.any(|address| network.contains(address)),
        }
    }
}

/// Whether the text is what the pattern stands for. Takes no more than the product of their lengths.
fn is_like(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut read) = (0, 0);
    // The last `*`, and how much of the text has been tried for it.
    let mut star: Option<(usize, usize)> = None;
    while read < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(&wanted) if wanted == b'?' || wanted == text[read] => {
                at += 1;
                read += 1;
            }
            _ => {
                let Some((place, tried)) = star else {
                    return false;
                };
                star = Some((place, tried + 1));
                at = place + 1;
                read = tried + 1;
            }
        }
    }
    pattern[at..].iter().all(|left| *left == b'*')
}

impl FromStr for HostPattern {
    type Err = ConfigError;

    /// # Errors
    ///
    /// Says what is wrong, and does not repeat the text.
    fn from_str(text: &str) -> Result<Self, ConfigError> {
        parse(text).map_err(|reason| ConfigError::new("host pattern", reason))
    }
}

pub(super) fn parse(text: &str) -> Result<HostPattern, &'static str> {
    if text.is_empty() {
        return Err("a host pattern is empty");
    }
    if text.starts_with('/') {
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err("a host pattern holds no spaces and no control characters");
        }
        let hosts = Hosts::Named(text.to_owned());
        return Ok(HostPattern { hosts, port: None });
    }
    if let Some((address, bits)) = text.split_once('/') {
        let hosts = Hosts::Within(Network::parse(address, bits)?);
        return Ok(HostPattern { hosts, port: None });
    }
    if text.contains(['*', '?']) {
        return parse_names(text);
    }
    // Addresses must be written as everywhere else. The port is a part of them only if it is there.
    let node = address::parse(text, 0)?;
    let port = Some(node.port()).filter(|port| *port != 0);
    let hosts = match announced::ip(node.host()) {
        Some(address) => Hosts::At(address.to_canonical()),
        None => Hosts::Named(name(node.host())),
    };
    Ok(HostPattern { hosts, port })
}

fn parse_names(text: &str) -> Result<HostPattern, &'static str> {
    let (pattern, port) = match text.split_once(':') {
        Some((pattern, port)) => (pattern, Some(port)),
        None => (text, None),
    };
    let fits = |c| address::is_name_char(c) || matches!(c, '*' | '?');
    if pattern.is_empty() || !pattern.chars().all(fits) {
        return Err("a pattern of names has letters, digits, `.`, `_`, `-`, `*` and `?`");
    }
    let port = match port {
        None => None,
        Some(port) => Some(
            digits(port)
                .filter(|port| *port != 0)
                .ok_or("the port after a host pattern must be a number from 1 to 65535")?,
        ),
    };
    let hosts = Hosts::Named(name(pattern));
    Ok(HostPattern { hosts, port })
}

fn name(text: &str) -> String {
    let name = text.strip_suffix('.').unwrap_or(text);
    name.to_ascii_lowercase()
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.hosts {
            Hosts::Named(pattern) => f.write_str(pattern)?,
            Hosts::At(IpAddr::V6(address)) => write!(f, "[{address}]")?,
            Hosts::At(address) => write!(f, "{address}")?,
            Hosts::Within(Network { address, bits }) => write!(f, "{address}/{bits}")?,
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
