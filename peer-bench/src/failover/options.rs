//! What is asked for on the command line.

use std::{ffi::OsString, path::PathBuf};

use anyhow::{Result, bail, ensure};
use lexopt::{
    Arg::{Long, Short},
    Parser, ValueExt,
};

use crate::failover::{audience::Listener, candidates, client::Candidate, kind::Kind, subscribers};

pub(crate) const HELP: &str = "\
Shows what callers of redis-rw-pool and of its peers notice of a failover, on servers that it starts
itself: in each round all candidates write and read, and subscribers listen, while one thing goes wrong.

    --quick               a planned failover and a kill -9, once each; under 90 seconds
    --rounds N            how often each kind is played; 20, with --quick 1
    --kinds A,B           some of planned, kill, freeze, replicas
    --candidates A,B      some of the candidates and subscribers, by the names in the tables
    --ours                only ours
    --tls                 over TLS, only ours
    --alone               each candidate in rounds of its own
    --json FILE           the figures of every round
    --write-docs          docs/failover.md and its pictures
    --help                this
";

const ROUNDS: usize = 20;

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) rounds: usize,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) alone: bool,
    pub(crate) tls: bool,
    pub(crate) json: Option<PathBuf>,
    pub(crate) write_docs: bool,
    /// As they were given, to be given again.
    pub(crate) arguments: Vec<String>,
}

impl Options {
    /// Who plays together in the rounds with this number, another one first each time.
    pub(crate) fn casts(&self, round: usize) -> Vec<Vec<Candidate>> {
        let mut all = self.candidates.clone();
        all.rotate_left(round % self.candidates.len().max(1));
        if self.alone {
            all.into_iter().map(|candidate| vec![candidate]).collect()
        } else {
            vec![all]
        }
    }

    /// Who listens: only a new master makes a difference to subscribers.
    pub(crate) fn audience(&self, kind: Kind) -> Vec<Listener> {
        if kind.moves_the_master() {
            self.listeners.clone()
        } else {
            Vec::new()
        }
    }

    fn retain_ours(&mut self) {
        self.candidates.retain(Candidate::is_ours);
        self.listeners.retain(Listener::is_ours);
    }
}

/// `None` asks for help.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Option<Options>> {
    let arguments: Vec<_> = arguments.into_iter().collect();
    let mut parser = Parser::from_args(&arguments);
    let (mut quick, mut rounds, mut kinds) = (false, None, None);
    let mut options = Options {
        rounds: ROUNDS,
        kinds: Kind::ALL.to_vec(),
        candidates: candidates::ALL.to_vec(),
        listeners: subscribers::ALL.to_vec(),
        alone: false,
        tls: false,
        json: None,
        write_docs: false,
        arguments: Vec::new(),
    };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("quick") => quick = true,
            Long("rounds") => rounds = Some(positive(&parser.value()?.string()?)?),
            Long("kinds") => kinds = Some(list(&mut parser, kind)?),
            Long("candidates") => {
                let names: Vec<_> = list(&mut parser, named)?;
                options.candidates.retain(|one| names.contains(&one.name));
                options.listeners.retain(|one| names.contains(&one.name));
            }
            Long("ours") => options.retain_ours(),
            Long("tls") => options.tls = true,
            Long("alone") => options.alone = true,
            Long("json") => options.json = Some(parser.value()?.into()),
            Long("write-docs") => options.write_docs = true,
            Long("help") | Short('h') => return Ok(None),
            _ => return Err(argument.unexpected().into()),
        }
    }
    if options.tls {
        options.retain_ours();
        ensure!(
            !options.candidates.is_empty() || !options.listeners.is_empty(),
            "only ours speak TLS here, and none of them is named"
        );
    }
    ensure!(
        !options.write_docs || !options.tls,
        "--write-docs is for all candidates, and only ours speak TLS here"
    );
    ensure!(
        !options.write_docs || !quick,
        "--write-docs is for what a whole run finds, not for --quick"
    );
    if quick {
        (options.rounds, options.kinds) = (1, vec![Kind::Planned, Kind::Kill]);
    }
    options.rounds = rounds.unwrap_or(options.rounds);
    options.kinds = kinds.unwrap_or(options.kinds);
    let arguments = arguments.iter().map(|argument| argument.to_string_lossy());
    options.arguments = arguments.map(Into::into).collect();
    Ok(Some(options))
}

fn list<T>(parser: &mut Parser, one: impl Fn(&str) -> Result<T>) -> Result<Vec<T>> {
    parser.value()?.string()?.split(',').map(one).collect()
}

fn kind(name: &str) -> Result<Kind> {
    let Some(kind) = Kind::named(name) else {
        bail!("there is no kind {name:?}");
    };
    Ok(kind)
}

/// A candidate, a subscriber, or both.
fn named(name: &str) -> Result<&'static str> {
    let candidates = candidates::ALL.iter().map(|one| one.name);
    let mut all = candidates.chain(subscribers::ALL.iter().map(|one| one.name));
    let Some(name) = all.find(|one| *one == name) else {
        bail!(
            "there is no candidate {name:?}, only {:?} and {:?}",
            candidates::ALL,
            subscribers::ALL
        );
    };
    Ok(name)
}

fn positive(text: &str) -> Result<usize> {
    let number = text.parse()?;
    ensure!(number > 0, "{text} is none at all");
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options> {
        let options = parse(line.split_whitespace().map(OsString::from))?;
        Ok(options.expect("nobody asks for help"))
    }

    fn names(options: &Options) -> Vec<&str> {
        options.candidates.iter().map(|one| one.name).collect()
    }

    #[test]
    fn without_arguments_everything_is_played() {
        let options = parsed("").unwrap();
        assert_eq!((options.rounds, options.kinds.len()), (20, 4));
        assert_eq!(options.candidates.len(), candidates::ALL.len());
    }

    #[test]
    fn quick_is_a_default_that_others_change() {
        let options = parsed("--quick").unwrap();
        assert_eq!(
            (options.rounds, options.kinds),
            (1, vec![Kind::Planned, Kind::Kill])
        );
        let options = parsed("--kinds freeze --rounds 3 --quick").unwrap();
        assert_eq!((options.rounds, options.kinds), (3, vec![Kind::Freeze]));
    }

    #[test]
    fn candidates_are_chosen_by_name_or_ours_alone() {
        assert_eq!(
            names(&parsed("--candidates fred,bb8").unwrap()),
            ["bb8", "fred"]
        );
        let options = parsed("--ours").unwrap();
        assert_eq!(options.candidates.len(), 4);
        assert!(options.candidates.iter().all(Candidate::is_ours));
        assert_eq!(options.listeners.len(), 2);
        assert_eq!(names(&parsed("--tls").unwrap()), names(&options));
    }

    #[test]
    fn subscribers_are_chosen_by_name_too_and_listen_where_the_master_changes() {
        let options = parsed("--candidates fred,ours-subscriber").unwrap();
        assert_eq!(names(&options), ["fred"]);
        let audience = |kind| options.audience(kind).into_iter().map(|one| one.name);
        let listening: Vec<_> = audience(Kind::Kill).collect();
        assert_eq!(listening, ["ours-subscriber", "fred"]);
        assert_eq!(audience(Kind::Replicas).count(), 0);
    }

    #[test]
    fn every_round_begins_with_another_candidate() {
        let options = parsed("--candidates fred,bb8,rustis").unwrap();
        let firsts = [0, 1, 2, 3].map(|round| options.casts(round)[0][0].name);
        assert_eq!(firsts, ["bb8", "fred", "rustis", "bb8"]);
        let options = parsed("--candidates fred,bb8 --alone").unwrap();
        assert_eq!(options.casts(0).len(), 2);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for line in [
            "--kinds crash",
            "--candidates redigo",
            "--rounds 0",
            "--quick --write-docs",
            "--tls --write-docs",
            "--tls --candidates fred",
            "--verbose",
            "planned",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
