//! The comma list of flags in a Sentinel's entry for a node.

use std::fmt;

/// A flag of Sentinel. These are all of them as of Redis 8.6 and Valkey 9.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flag {
    SubjectivelyDown,
    ObjectivelyDown,
    Master,
    Replica,
    Sentinel,
    Disconnected,
    MasterDown,
    FailoverInProgress,
    Promoted,
    ReconfSent,
    ReconfInProgress,
    ReconfDone,
    ForceFailover,
    ScriptKillSent,
    MasterReboot,
    /// Valkey 9.
    CoordinatedFailover,
}

const TOKENS: [(&str, Flag); 16] = [
    ("s_down", Flag::SubjectivelyDown),
    ("o_down", Flag::ObjectivelyDown),
    ("master", Flag::Master),
    ("slave", Flag::Replica),
    ("sentinel", Flag::Sentinel),
    ("disconnected", Flag::Disconnected),
    ("master_down", Flag::MasterDown),
    ("failover_in_progress", Flag::FailoverInProgress),
    ("promoted", Flag::Promoted),
    ("reconf_sent", Flag::ReconfSent),
    ("reconf_inprog", Flag::ReconfInProgress),
    ("reconf_done", Flag::ReconfDone),
    ("force_failover", Flag::ForceFailover),
    ("script_kill_sent", Flag::ScriptKillSent),
    ("master_reboot", Flag::MasterReboot),
    ("coordinated_failover", Flag::CoordinatedFailover),
];

/// A set of flags. Unknown ones are left out: a newer Sentinel may have more.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Flags(u16);

impl Flags {
    /// Whole tokens only: `master` is also the beginning of `master_down`.
    pub(crate) fn parse(list: &[u8]) -> Self {
        let mut flags = Self::default();
        for token in list.split(|b| *b == b',') {
            let known = TOKENS.iter().find(|(name, _)| name.as_bytes() == token);
            if let Some((_, flag)) = known {
                flags.0 |= 1 << *flag as u16;
            }
        }
        flags
    }

    pub(crate) fn has(self, flag: Flag) -> bool {
        self.0 & (1 << flag as u16) != 0
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = TOKENS.iter().filter(|(_, flag)| self.has(*flag));
        f.debug_set().entries(set.map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests;
