//! What this process uses: CPU, memory, descriptors.

use std::{alloc::System, fs, time::Duration};

use cap::Cap;
use nix::sys::{
    resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit},
    time::TimeValLike as _,
};

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

/// CPU this process has used so far, all its threads together.
pub(crate) fn cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("a process may ask for its own usage");
    let micros = (usage.user_time() + usage.system_time()).num_microseconds();
    Duration::from_micros(u64::try_from(micros).expect("time does not run backwards"))
}

/// Bytes allocated and not freed.
pub(crate) fn heap() -> f64 {
    HEAP.allocated() as f64
}

/// Watches for the most bytes allocated at once, beyond those there are now.
#[derive(Debug)]
pub(crate) struct Peak {
    before: usize,
    _ballast: Vec<u8>,
}

/// The highest mark so far cannot be lowered, so what is allocated now is raised to it.
pub(crate) fn peak() -> Peak {
    let below = HEAP.max_allocated().saturating_sub(HEAP.allocated());
    Peak {
        _ballast: Vec::with_capacity(below),
        before: HEAP.max_allocated(),
    }
}

impl Peak {
    pub(crate) fn reached(self) -> f64 {
        (HEAP.max_allocated() - self.before) as f64
    }
}

/// Bytes of memory that the system has given this process.
pub(crate) fn resident() -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.expect("every process has a VmRSS") * 1024.0
}

/// Files and sockets that are open.
pub(crate) fn descriptors() -> f64 {
    fs::read_dir("/proc/self/fd").expect("Linux").count() as f64
}

/// Allows this process and those it starts as many descriptors as the system lets it, and says how
/// many.
pub(crate) fn raise_descriptor_limit() -> u64 {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("a process may ask for its limits");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("up to the hard limit anybody may");
    most
}
