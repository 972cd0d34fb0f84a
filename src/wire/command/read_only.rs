//! Which commands only read: it does no harm to send them twice.

use redis::Cmd;

use crate::wire::command::{
    Kind, arg,
    blocking::{Block, block_of},
};

/// The commands that Redis and Valkey flag `readonly`, and three that touch no key at all. A command
/// that is not here may write: every script, `SORT`, which may store, `GETEX`, and every module's
/// commands. A module's flags prove nothing: the search module flags `FT.ALIASADD` and `FT.DICTADD` as
/// `readonly`.
pub(crate) const READS: &[&str] = &[
    "BITCOUNT",
    "BITFIELD_RO",
    "BITPOS",
    "CLUSTERSCAN",
    "DBSIZE",
    "DIGEST",
    "DUMP",
    "ECHO",
    "EVALSHA_RO",
    "EVAL_RO",
    "EXISTS",
    "EXPIRETIME",
    "FCALL_RO",
    "GEODIST",
    "GEOHASH",
    "GEOPOS",
    "GEORADIUSBYMEMBER_RO",
    "GEORADIUS_RO",
    "GEOSEARCH",
    "GET",
    "GETBIT",
    "GETRANGE",
    "HEXISTS",
    "HEXPIRETIME",
    "HGET",
    "HGETALL",
    "HKEYS",
    "HLEN",
    "HMGET",
    "HPEXPIRETIME",
    "HPTTL",
    "HRANDFIELD",
    "HSCAN",
    "HSTRLEN",
    "HTTL",
    "HVALS",
    "KEYS",
    "LCS",
    "LINDEX",
    "LLEN",
    "LOLWUT",
    "LPOS",
    "LRANGE",
    "MGET",
    "PEXPIRETIME",
    "PFCOUNT",
    "PING",
    "PTTL",
    "RANDOMKEY",
    "SCAN",
    "SCARD",
    "SDIFF",
    "SINTER",
    "SINTERCARD",
    "SISMEMBER",
    "SMEMBERS",
    "SMISMEMBER",
    "SORT_RO",
    "SRANDMEMBER",
    "SSCAN",
    "STRLEN",
    "SUBSTR",
    "SUNION",
    "TIME",
    "TOUCH",
    "TTL",
    "TYPE",
    "VCARD",
    "VDIM",
    "VEMB",
    "VGETATTR",
    "VINFO",
    "VISMEMBER",
    "VLINKS",
    "VRANDMEMBER",
    "VRANGE",
    "VSIM",
    "XLEN",
    "XPENDING",
    "XRANGE",
    "XREAD",
    "XREVRANGE",
    "ZCARD",
    "ZCOUNT",
    "ZDIFF",
    "ZINTER",
    "ZINTERCARD",
    "ZLEXCOUNT",
    "ZMSCORE",
    "ZRANDMEMBER",
    "ZRANGE",
    "ZRANGEBYLEX",
    "ZRANGEBYSCORE",
    "ZRANK",
    "ZREVRANGE",
    "ZREVRANGEBYLEX",
    "ZREVRANGEBYSCORE",
    "ZREVRANK",
    "ZSCAN",
    "ZSCORE",
    "ZUNION",
];

/// The same for subcommands. Those of `SCRIPT` touch no key.
pub(crate) const SUBCOMMANDS: &[(&str, &str)] = &[
    ("MEMORY", "USAGE"),
    ("OBJECT", "ENCODING"),
    ("OBJECT", "FREQ"),
    ("OBJECT", "IDLETIME"),
    ("OBJECT", "REFCOUNT"),
    ("SCRIPT", "EXISTS"),
    ("SCRIPT", "LOAD"),
    ("XINFO", "CONSUMERS"),
    ("XINFO", "GROUPS"),
    ("XINFO", "STREAM"),
];

/// No name in [`READS`] is longer.
const LONGEST: usize = "GEORADIUSBYMEMBER_RO".len();

/// Whether a command is known to read only, and to be answered at once.
pub(crate) fn is_read(cmd: &Cmd) -> bool {
    let name = arg(cmd, 0).unwrap_or_default();
    (is_listed(name) || is_listed_with_subcommand(name, cmd))
        && block_of(Kind::of(cmd), cmd) == Block::No
}

/// A caller who asks for freshness pays for this with every command.
fn is_listed(name: &[u8]) -> bool {
    let mut upper = [0; LONGEST];
    let Some(upper) = upper.get_mut(..name.len()) else {
        return false;
    };
    upper.copy_from_slice(name);
    upper.make_ascii_uppercase();
    let found = READS.binary_search_by(|read| read.as_bytes().cmp(upper));
    found.is_ok()
}

fn is_listed_with_subcommand(name: &[u8], cmd: &Cmd) -> bool {
    let is = |arg: &[u8], word: &str| arg.eq_ignore_ascii_case(word.as_bytes());
    SUBCOMMANDS.iter().any(|(container, read)| {
        is(name, container) && arg(cmd, 1).is_some_and(|sub| is(sub, read))
    })
}

/// Whether a command runs the caller's own code, which may do anything and then reply with anything.
#[cold]
pub(crate) fn is_script(cmd: &Cmd) -> bool {
    let name = arg(cmd, 0).unwrap_or_default();
    let scripts = ["EVAL", "EVALSHA", "FCALL"];
    scripts
        .iter()
        .any(|script| name.eq_ignore_ascii_case(script.as_bytes()))
}

#[cfg(test)]
mod tests;
