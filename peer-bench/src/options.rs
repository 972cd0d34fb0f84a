//! What is asked for on the command line.

use std::{ffi::OsString, num::NonZeroUsize, path::PathBuf, time::Duration};

use anyhow::{Result, bail, ensure};
use lexopt::{
    Arg::{Long, Short},
    Parser, ValueExt,
};

use crate::{
    candidate::Candidate,
    candidates,
    cell::{Cell, TASKS, Workload},
    driver::Timing,
    workers::Workers,
};

pub(crate) const HELP: &str = "\
Measures redis-rw-pool and its peers side by side, on servers that it starts itself.

    --quick             GET at every number of tasks, the others at 64; about a minute
    --only GET,SET      some of GET, SET, MIXED, MGET, LRANGE, PIPELINE
    --tasks 64,256      other numbers of tasks than 1, 16, 64, 256, 1024
    --workers 1,tokio   other numbers of worker threads; without this, GET is measured with one
                        (with --quick at 64 and 256) and with tokio's own number, which is one
                        for each core, the others with tokio's
    --candidates A,B    some of the candidates, by the names in the table
    --tls               over TLS, with those who can, and with ours without TLS beside them
    --handles           only what a handle costs by itself; a few seconds
    --rounds N          how often everything is measured; 5, with --quick 2
    --window MS         how long one candidate is measured; 500, with --quick 150
    --json FILE         every sample of every round
    --write-docs        docs/benchmarks/<processor>.md, or <processor>-tls.md, and its charts
    --help              this
";

/// At how many tasks a quick run measures GET with one worker too.
const ONE_WORKER_QUICK: [usize; 2] = [64, 256];

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) cells: Vec<Cell>,
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) rounds: usize,
    pub(crate) timing: Timing,
    pub(crate) json: Option<PathBuf>,
    pub(crate) write_docs: bool,
    pub(crate) tls: bool,
    /// As they were given, to be given again.
    pub(crate) arguments: Vec<String>,
}

#[derive(Debug, Default)]
struct Given {
    quick: bool,
    handles: bool,
    workloads: Option<Vec<Workload>>,
    tasks: Option<Vec<usize>>,
    workers: Option<Vec<Workers>>,
    candidates: Option<Vec<Candidate>>,
    rounds: Option<usize>,
    window: Option<u64>,
    json: Option<PathBuf>,
    write_docs: bool,
    tls: bool,
}

/// `None` asks for help.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Option<Options>> {
    let arguments: Vec<_> = arguments.into_iter().collect();
    let mut parser = Parser::from_args(&arguments);
    let mut given = Given::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("quick") => given.quick = true,
            Long("only") => given.workloads = Some(list(&mut parser, workload)?),
            Long("tasks") => given.tasks = Some(list(&mut parser, positive)?),
            Long("workers") => given.workers = Some(list(&mut parser, workers)?),
            Long("candidates") => given.candidates = Some(list(&mut parser, candidate)?),
            Long("handles") => given.handles = true,
            Long("rounds") => given.rounds = Some(positive(&parser.value()?.string()?)?),
            Long("window") => given.window = Some(parser.value()?.parse()?),
            Long("json") => given.json = Some(parser.value()?.into()),
            Long("write-docs") => given.write_docs = true,
            Long("tls") => given.tls = true,
            Long("help") | Short('h') => return Ok(None),
            _ => return Err(argument.unexpected().into()),
        }
    }
    let arguments = arguments.iter().map(|argument| argument.to_string_lossy());
    let arguments = arguments.map(Into::into).collect();
    Ok(Some(given.complete(arguments)?))
}

impl Given {
    fn complete(self, arguments: Vec<String>) -> Result<Options> {
        let cells = self.cells();
        let (rounds, window, warm_up) = if self.quick {
            (2, 150, 50)
        } else {
            (5, 500, 120)
        };
        let candidates = self.candidates()?;
        ensure!(
            !self.write_docs || !self.quick,
            "--write-docs is for what a whole run finds, not for --quick"
        );
        ensure!(
            !self.write_docs || !self.handles,
            "--write-docs is for what a whole run finds, not for --handles"
        );
        ensure!(
            !self.handles || !self.tls,
            "nothing is sent with --handles, so --tls changes nothing"
        );
        Ok(Options {
            cells,
            candidates,
            rounds: self.rounds.unwrap_or(rounds),
            timing: Timing {
                warm_up: Duration::from_millis(warm_up),
                window: Duration::from_millis(self.window.unwrap_or(window)),
            },
            json: self.json,
            write_docs: self.write_docs,
            tls: self.tls,
            arguments,
        })
    }

    fn candidates(&self) -> Result<Vec<Candidate>> {
        let tls = self.tls;
        let Some(named) = &self.candidates else {
            let all = candidates::ALL.into_iter();
            return Ok(all.filter(|one| one.transport.is_in(tls)).collect());
        };
        for one in named {
            let but = if tls {
                "does not speak TLS here"
            } else {
                "is for --tls"
            };
            ensure!(one.transport.is_in(tls), "{} {but}", one.name);
        }
        Ok(named.clone())
    }

    fn cells(&self) -> Vec<Cell> {
        if self.handles {
            return Vec::new();
        }
        let workloads = self.workloads.as_deref().unwrap_or(&Workload::ALL);
        let mut cells = Vec::new();
        for &workload in workloads {
            let tasks = match &self.tasks {
                Some(tasks) => tasks,
                None if self.quick && workload != Workload::Get => &[64][..],
                None => &TASKS,
            };
            for &tasks in tasks {
                // Neighbours in time differ in workers only, and can be compared.
                cells.extend(self.workers(workload, tasks).iter().map(|&workers| Cell {
                    workload,
                    tasks,
                    workers,
                }));
            }
        }
        cells
    }

    fn workers(&self, workload: Workload, tasks: usize) -> &[Workers] {
        match &self.workers {
            Some(workers) => workers,
            None if workload != Workload::Get => &[Workers::Tokio],
            None if self.quick && self.tasks.is_none() && !ONE_WORKER_QUICK.contains(&tasks) => {
                &[Workers::Tokio]
            }
            None => &[Workers::Tokio, Workers::ONE],
        }
    }
}

fn list<T>(parser: &mut Parser, one: impl Fn(&str) -> Result<T>) -> Result<Vec<T>> {
    parser.value()?.string()?.split(',').map(one).collect()
}

fn workload(name: &str) -> Result<Workload> {
    let Some(workload) = Workload::named(name) else {
        bail!("there is no workload {name:?}");
    };
    Ok(workload)
}

fn candidate(name: &str) -> Result<Candidate> {
    let Some(candidate) = candidates::ALL.iter().find(|one| one.name == name) else {
        let names: Vec<_> = candidates::ALL.iter().map(|one| one.name).collect();
        bail!("there is no candidate {name:?}, only {}", names.join(", "));
    };
    Ok(*candidate)
}

fn workers(text: &str) -> Result<Workers> {
    if text == "tokio" {
        return Ok(Workers::Tokio);
    }
    let Ok(number) = text.parse::<NonZeroUsize>() else {
        bail!("{text:?} is no number of workers, and not \"tokio\"");
    };
    Ok(Workers::Exactly(number))
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

    #[test]
    fn without_arguments_everything_is_measured() {
        let options = parsed("").unwrap();
        let one_worker = TASKS.len();
        assert_eq!(
            options.cells.len(),
            Workload::ALL.len() * TASKS.len() + one_worker
        );
        let plain = candidates::ALL
            .iter()
            .filter(|one| one.transport.is_in(false));
        assert_eq!(options.candidates.len(), plain.count());
        assert_eq!(options.rounds, 5);
    }

    #[test]
    fn a_run_over_tls_has_those_who_speak_it_and_ours_without() {
        let options = parsed("--tls").unwrap();
        let names: Vec<_> = options.candidates.iter().map(|one| one.name).collect();
        for name in ["ours-exclusive", "ours-multiplexed"] {
            assert!(names.contains(&name), "{name}");
            assert!(names.contains(&&*format!("{name}-plain")), "{name}");
        }
        for name in ["deadpool-redis", "redis-rs-manager", "fred"] {
            assert!(names.contains(&name), "{name}");
        }
        assert!(!names.contains(&"raw-socket-loop"));
        assert!(options.tls);
    }

    #[test]
    fn quick_keeps_every_workload_and_every_number_of_tasks() {
        let cells = parsed("--quick").unwrap().cells;
        for workload in Workload::ALL {
            assert!(cells.iter().any(|cell| cell.workload == workload));
        }
        for tasks in TASKS {
            assert!(cells.iter().any(|cell| cell.tasks == tasks));
        }
        let on_one = cells.iter().filter(|cell| cell.workers == Workers::ONE);
        let on_one: Vec<_> = on_one.map(|cell| (cell.workload, cell.tasks)).collect();
        assert_eq!(on_one, [(Workload::Get, 64), (Workload::Get, 256)]);
        assert_eq!(
            cells.len(),
            TASKS.len() + Workload::ALL.len() - 1 + on_one.len()
        );
    }

    #[test]
    fn only_get_is_measured_with_one_worker_unless_workers_are_named() {
        let workers = |line| -> Vec<_> {
            let cells = parsed(line).unwrap().cells.into_iter();
            cells.map(|cell| (cell.workload, cell.workers)).collect()
        };
        let (get, set) = (Workload::Get, Workload::Set);
        let (tokio, one) = (Workers::Tokio, Workers::ONE);
        assert_eq!(
            workers("--only GET,SET --tasks 5"),
            [(get, tokio), (get, one), (set, tokio)]
        );
        assert_eq!(
            workers("--only GET,SET --tasks 5 --workers 1,tokio"),
            [(get, one), (get, tokio), (set, one), (set, tokio)]
        );
        assert_eq!(
            workers("--only GET --tasks 5 --quick --workers 1"),
            [(get, one)]
        );
    }

    #[test]
    fn filters_leave_what_they_name() {
        let line = "--only get,LRANGE --tasks 3 --workers 2 --candidates fred,rustis --rounds 1 \
                    --window 20";
        let options = parsed(line).unwrap();
        let workers = Workers::Exactly(NonZeroUsize::new(2).unwrap());
        assert_eq!(
            options.cells,
            [Workload::Get, Workload::Lrange].map(|workload| Cell {
                workload,
                tasks: 3,
                workers,
            })
        );
        let names: Vec<_> = options.candidates.iter().map(|one| one.name).collect();
        assert_eq!(names, ["fred", "rustis"]);
        assert_eq!(options.timing.window, Duration::from_millis(20));
    }

    #[test]
    fn handles_alone_have_no_cells() {
        assert_eq!(parsed("--handles").unwrap().cells, []);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for line in [
            "--only HGET",
            "--tasks 0",
            "--tasks 1,,2",
            "--workers 0",
            "--workers 1,many",
            "--candidates redigo",
            "--rounds 0",
            "--quick --write-docs",
            "--handles --write-docs",
            "--handles --tls",
            "--tls --candidates raw-socket-pool",
            "--candidates ours-exclusive-plain",
            "--verbose",
            "GET",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
