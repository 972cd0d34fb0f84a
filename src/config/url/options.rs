//! The options of the URL form: `name=value`, each named like its field.

use std::{str::FromStr, time::Duration};

use crate::config::{
    Adopt, Config, ConfigError, MultiplexedLimits, PoolLimits, Protocol, ReadFrom, ReplyLimits,
    url::percent::decode,
};

pub(super) enum Refusal {
    Unknown,
    /// The option is a known one, so the error may show its name. The reason shows no text of the
    /// URL.
    Invalid(&'static str),
}

impl From<&'static str> for Refusal {
    fn from(reason: &'static str) -> Self {
        Self::Invalid(reason)
    }
}

pub(super) fn set(config: &mut Config, name: &str, value: Value<'_>) -> Result<(), Refusal> {
    match name {
        "sentinel_username" => config.sentinel_username = Some(value.text()?),
        "sentinel_password" => config.sentinel_password = Some(value.text()?.into()),
        "client_name" => config.client_name = Some(value.text()?),
        "read_from" => config.read_from = value.read_from()?,
        "protocol" => config.protocol = value.protocol()?,
        "connect_timeout" => config.connect_timeout = value.duration()?,
        "command_timeout" => config.command_timeout = value.optional(Value::duration)?,
        "sentinel_timeout" => config.sentinel_timeout = value.duration()?,
        "refresh_interval" => config.refresh_interval = value.duration()?,
        "failover_timeout" => config.failover_timeout = value.duration()?,
        "adopt" => config.adopt = value.adopt()?,
        "username" | "password" => return Err(Refusal::Invalid("belongs before the hosts")),
        "db" => return Err(Refusal::Invalid("belongs after the hosts, as in `host/3`")),
        "master_name" => return Err(Refusal::Invalid("belongs at the end, as in `#mymaster`")),
        "sentinels" | "nodes" => return Err(Refusal::Invalid("are the hosts of the URL")),
        _ => match name.split_once('.') {
            None => {
                set_limit(&mut config.write, name, value)?;
                set_limit(&mut config.read, name, value)?;
            }
            Some(("write", limit)) => set_limit(&mut config.write, limit, value)?,
            Some(("read", limit)) => set_limit(&mut config.read, limit, value)?,
            Some(("multiplexed", limit)) => {
                set_multiplexed_limit(&mut config.multiplexed, limit, value)?;
            }
            Some(("reply_limits", limit)) => {
                set_reply_limit(&mut config.reply_limits, limit, value)?;
            }
            Some(_) => return Err(Refusal::Unknown),
        },
    }
    Ok(())
}

fn set_limit(limits: &mut PoolLimits, name: &str, value: Value<'_>) -> Result<(), Refusal> {
    match name {
        "max_active" => limits.max_active = value.number()?,
        "max_idle" => limits.max_idle = value.optional(Value::number)?,
        "min_idle" => limits.min_idle = value.number()?,
        "wait_timeout" => limits.wait_timeout = value.optional(Value::duration)?,
        "idle_timeout" => limits.idle_timeout = value.optional(Value::duration)?,
        "max_lifetime" => limits.max_lifetime = value.optional(Value::duration)?,
        "test_idle_after" => limits.test_idle_after = value.optional(Value::duration)?,
        _ => return Err(Refusal::Unknown),
    }
    Ok(())
}

fn set_multiplexed_limit(
    limits: &mut MultiplexedLimits,
    name: &str,
    value: Value<'_>,
) -> Result<(), Refusal> {
    match name {
        "connections" => limits.connections = value.number()?,
        "max_in_flight" => limits.max_in_flight = value.number()?,
        "max_pending_bytes" => limits.max_pending_bytes = value.number()?,
        _ => return Err(Refusal::Unknown),
    }
    Ok(())
}

fn set_reply_limit(limits: &mut ReplyLimits, name: &str, value: Value<'_>) -> Result<(), Refusal> {
    match name {
        "max_depth" => limits.max_depth = value.number()?,
        "max_bulk_bytes" => limits.max_bulk_bytes = value.number()?,
        "max_elements" => limits.max_elements = value.number()?,
        "max_reply_bytes" => limits.max_reply_bytes = value.number()?,
        _ => return Err(Refusal::Unknown),
    }
    Ok(())
}

/// `seen` and `name` are known options.
///
/// An option for one pool and the same option for both are refused together: different readers of the
/// URL would expect different ones to win.
pub(super) fn check_conflicts(seen: &[&str], name: &str) -> Result<(), ConfigError> {
    if seen.contains(&name) {
        return Err(ConfigError::new(name.to_owned(), "is given twice"));
    }
    let limit_for_one_pool = |name: &str| {
        let (pool, limit) = name.split_once('.')?;
        (pool == "write" || pool == "read").then(|| limit.to_owned())
    };
    for other in seen {
        for (one, both) in [(name, *other), (*other, name)] {
            if limit_for_one_pool(one).is_some_and(|limit| limit == both) {
                let reason = format!("is also given for both pools, as `{both}`");
                return Err(ConfigError::new(one.to_owned(), reason));
            }
        }
    }
    Ok(())
}

/// The text after the `=`, not yet decoded.
#[derive(Clone, Copy)]
pub(super) struct Value<'a>(pub(super) &'a str);

impl Value<'_> {
    fn text(self) -> Result<String, &'static str> {
        decode(self.0)
    }

    fn number(self) -> Result<usize, &'static str> {
        digits(&self.text()?).ok_or("must be a whole number")
    }

    fn duration(self) -> Result<Duration, &'static str> {
        let text = self.text()?;
        let end = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let reason = "must be a whole number with one of the units `ms`, `s`, `m` and `h`";
        let number: u64 = digits(number).ok_or(reason)?;
        let seconds = |factor| number.checked_mul(factor).map(Duration::from_secs);
        match unit {
            "ms" => Ok(Duration::from_millis(number)),
            "s" => Ok(Duration::from_secs(number)),
            "m" => seconds(60).ok_or(reason),
            "h" => seconds(60 * 60).ok_or(reason),
            _ => Err(reason),
        }
    }

    fn optional<T>(
        self,
        parse: impl FnOnce(Self) -> Result<T, &'static str>,
    ) -> Result<Option<T>, &'static str> {
        if self.0 == "none" {
            return Ok(None);
        }
        parse(self).map(Some)
    }

    fn read_from(self) -> Result<ReadFrom, &'static str> {
        match self.0 {
            "replica_preferred" => Ok(ReadFrom::ReplicaPreferred),
            "replica" => Ok(ReadFrom::Replica),
            "master" => Ok(ReadFrom::Master),
            "any" => Ok(ReadFrom::Any),
            _ => Err("must be `replica_preferred`, `replica`, `master` or `any`"),
        }
    }

    fn adopt(self) -> Result<Adopt, &'static str> {
        match self.0 {
            "announced" => Ok(Adopt::Announced),
            "promoted" => Ok(Adopt::Promoted),
            _ => Err("must be `announced` or `promoted`"),
        }
    }

    fn protocol(self) -> Result<Protocol, &'static str> {
        match self.0 {
            "resp2" => Ok(Protocol::Resp2),
            "resp3" => Ok(Protocol::Resp3),
            _ => Err("must be `resp2` or `resp3`"),
        }
    }
}

/// Digits only: `parse` would also accept a `+`.
pub(super) fn digits<T: FromStr>(text: &str) -> Option<T> {
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}
