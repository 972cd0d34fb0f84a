//! This crate's table of commands beside what servers say of theirs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use testkit::{Reply, Server};

use crate::wire::command::{
    Kind, NAMES,
    read_only::{READS, SUBCOMMANDS, is_read},
    tests::cmd,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Disagreement {
    /// It would be sent a second time.
    WriteTakenForRead,
    /// It would run into a deadline while it waits on purpose.
    BlocksUnknown,
    /// A deadline would be longer than it need be.
    SaidToBlock,
    /// It fails as unknown where it could be sent again.
    ReadNotKnown,
    ReadUnflagged,
    /// Its replies would be counted as if it were any command.
    PubSubTakenForPlain,
    /// Its cursor would be taken to another node.
    CursorElsewhere,
}

use Disagreement::{
    BlocksUnknown, CursorElsewhere, PubSubTakenForPlain, ReadNotKnown, ReadUnflagged, SaidToBlock,
    WriteTakenForRead,
};

/// Every disagreement there is, and why it does no harm.
const HARMLESS: &[(Disagreement, &[&str], &str)] = &[
    (
        ReadUnflagged,
        &["ECHO", "PING", "TIME", "SCRIPT EXISTS", "SCRIPT LOAD"],
        "they touch no key, and twice does what once does",
    ),
    (
        ReadNotKnown,
        &["MEMORY", "OBJECT", "XINFO"],
        "before 7.0 the container bears the flag; here it is the subcommand that decides",
    ),
    (
        ReadNotKnown,
        &["STRALGO", "HOST:", "POST"],
        "6.2 only: gone since, and two traps for HTTP requests, which close the connection",
    ),
    (
        ReadNotKnown,
        FROM_MODULES,
        "a module's flags are its own affair, and this one flags what writes as a read",
    ),
    (
        SaidToBlock,
        &[
            "BLMOVE",
            "BLPOP",
            "BRPOP",
            "BRPOPLPUSH",
            "BZPOPMAX",
            "BZPOPMIN",
            "WAIT",
            "WAITAOF",
            "XREAD",
            "XREADGROUP",
        ],
        "they do block: 6.2 has no such flag, and WAIT has it only since 7.4 and in Valkey",
    ),
    (
        PubSubTakenForPlain,
        &[
            "PUBSUB",
            "PUBSUB CHANNELS",
            "PUBSUB NUMPAT",
            "PUBSUB NUMSUB",
            "PUBSUB SHARDCHANNELS",
            "PUBSUB SHARDNUMSUB",
        ],
        "they only report, in one reply",
    ),
    (
        CursorElsewhere,
        &["CLUSTERSCAN"],
        "its cursor names its slot, so it stands in the place of the first key",
    ),
];

const FROM_MODULES: &[&str] = &[
    "FT.AGGREGATE",
    "FT.ALIASADD",
    "FT.ALIASDEL",
    "FT.ALIASUPDATE",
    "FT.CONFIG",
    "FT.CURSOR",
    "FT.DICTADD",
    "FT.DICTDEL",
    "FT.DICTDUMP",
    "FT.EXPLAIN",
    "FT.EXPLAINCLI",
    "FT.GET",
    "FT.INFO",
    "FT.MGET",
    "FT.PROFILE",
    "FT.SEARCH",
    "FT.SPELLCHECK",
    "FT.SUGGET",
    "FT.SUGLEN",
    "FT.SYNDUMP",
    "FT.TAGVALS",
    "FT._ALIASADDIFNX",
    "FT._ALIASDELIFX",
    "FT._LIST",
];

fn is_harmless(what: Disagreement, name: &str) -> bool {
    let mut entries = HARMLESS.iter();
    entries.any(|(kind, names, _)| *kind == what && names.contains(&name))
}

struct Command {
    name: String,
    flags: BTreeSet<String>,
    first_key: usize,
}

impl Command {
    fn has(&self, flag: &str) -> bool {
        self.flags.contains(flag)
    }

    fn disagreements(&self) -> Vec<Disagreement> {
        let line = cmd(&self.name);
        let kind = Kind::of(&line);
        let (reads, blocks) = (is_read(&line), matches!(kind, Kind::Blocks(_)));
        let pubsub = matches!(kind, Kind::Subscribe | Kind::Unsubscribe | Kind::Publishes);
        let cursor = match kind {
            Kind::Walks(cursor) => cursor == self.first_key + 1,
            _ => !self.name.ends_with("SCAN") && !self.name.ends_with("CURSOR"),
        };
        let found = [
            (reads && self.has("write"), WriteTakenForRead),
            (self.has("blocking") && !blocks, BlocksUnknown),
            (blocks && !self.has("blocking"), SaidToBlock),
            (self.has("readonly") && !reads, ReadNotKnown),
            (reads && !self.has("readonly"), ReadUnflagged),
            (self.has("pubsub") && !pubsub, PubSubTakenForPlain),
            (!cursor, CursorElsewhere),
        ];
        let found = found.into_iter().filter(|(is, _)| *is);
        found.map(|(_, disagreement)| disagreement).collect()
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/commands")
}

/// The commands of each server version.
fn committed() -> BTreeMap<String, Vec<Command>> {
    let files = fs::read_dir(folder()).unwrap();
    let files = files.map(|file| file.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|end| end == "txt"))
        .map(|path| {
            let version = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let text = fs::read_to_string(&path).unwrap();
            (version, text.lines().map(parse).collect())
        })
        .collect()
}

fn parse(line: &str) -> Command {
    let words: Vec<_> = line.split(' ').collect();
    let [name, flags, first_key] = words[..] else {
        panic!("{line}");
    };
    Command {
        name: name.to_ascii_uppercase().replace('|', " "),
        flags: flags.split(',').map(str::to_owned).collect(),
        first_key: first_key.parse().unwrap(),
    }
}

/// The commands of a running server, as the files have them.
fn lines(server: &Server) -> Vec<String> {
    fn add(entry: &[Reply], lines: &mut Vec<String>) {
        let flags = entry[2].array().iter().map(Reply::as_str);
        let flags: BTreeSet<_> = flags.collect();
        let flags = match flags.len() {
            0 => "-".to_owned(),
            _ => flags.into_iter().collect::<Vec<_>>().join(","),
        };
        let name = entry[0].as_str().to_ascii_lowercase();
        lines.push(format!("{name} {flags} {}", entry[3].as_int()));
        for sub in entry.get(9).map_or(&[][..], Reply::array) {
            add(sub.array(), lines);
        }
    }
    let mut lines = Vec::new();
    for entry in server.cmd(&["COMMAND"]).array() {
        add(entry.array(), &mut lines);
    }
    lines.sort();
    lines
}

#[test]
fn every_disagreement_with_a_server_is_explained() {
    let versions = committed();
    assert!(versions.len() >= 10, "{:?}", versions.keys());
    let mut unexplained: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let mut explained = BTreeSet::new();
    for (version, commands) in &versions {
        for command in commands {
            for what in command.disagreements() {
                let name = command.name.as_str();
                if is_harmless(what, name) {
                    explained.insert((what, name));
                } else {
                    let key = format!("{what:?} {name}");
                    unexplained.entry(key).or_default().push(version.as_str());
                }
            }
        }
    }
    assert!(unexplained.is_empty(), "{unexplained:#?}");
    for (what, names, _) in HARMLESS {
        for name in *names {
            assert!(
                explained.contains(&(*what, name)),
                "{what:?} {name} is none"
            );
        }
    }
}

/// Names of ours that none of the versions has.
const ELSEWHERE: &[(&str, &str)] = &[("FT.HYBRID", "the search module of Redis 8.4 and later")];

#[test]
fn every_name_is_that_of_a_command() {
    let versions = committed();
    let known: BTreeSet<_> = versions
        .values()
        .flatten()
        .map(|command| &*command.name)
        .collect();
    let subcommands = SUBCOMMANDS
        .iter()
        .map(|(name, sub)| format!("{name} {sub}"));
    let names = NAMES
        .iter()
        .map(|(name, _)| *name)
        .chain(READS.iter().copied());
    let names = names.map(str::to_owned).chain(subcommands);
    let unknown: BTreeSet<_> = names.filter(|name| !known.contains(&**name)).collect();
    let elsewhere = ELSEWHERE.iter().map(|(name, _)| (*name).to_owned());
    assert_eq!(unknown, elsewhere.collect());
}

/// It may be newer than the files; what it adds is no harm unless it is misunderstood.
#[test]
fn the_server_at_hand_agrees() {
    let lines = lines(&Server::standalone(&[]));
    let commands: Vec<_> = lines.iter().map(|line| parse(line)).collect();
    assert!(
        commands
            .iter()
            .filter(|command| command.has("readonly"))
            .count()
            > 50
    );
    for command in commands {
        let harmful = [WriteTakenForRead, BlocksUnknown, CursorElsewhere];
        for what in command.disagreements() {
            let harms = harmful.contains(&what) && !is_harmless(what, &command.name);
            assert!(!harms, "{what:?} {}", command.name);
        }
    }
}

#[test]
#[ignore = "writes a file: what the server named by REDIS_SERVER says of its commands"]
fn write_the_commands_of_this_server() {
    let server = Server::standalone(&[]);
    let info = server.cmd(&["INFO", "server"]);
    let field = |name: &str| {
        let mut lines = info.as_str().lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
    };
    let version = match (field("valkey_version"), field("redis_version")) {
        (Some(version), _) => format!("valkey-{version}"),
        (None, version) => format!("redis-{}", version.unwrap()),
    };
    let text = lines(&server).join("\n") + "\n";
    fs::write(folder().join(version).with_extension("txt"), text).unwrap();
}
