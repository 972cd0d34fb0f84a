//! Settings that are given one by one with their names: in a file, or in the environment.

use crate::config::{
    Config, ConfigError,
    settings::{self, Draft, Kind, Refusal, Value},
    url,
};

/// One setting. What is shown of it is its name, never its value, which may be a secret in the wrong
/// place.
pub(super) struct Given {
    /// As in [`settings`], or `url`.
    pub(super) name: String,
    pub(super) text: String,
    pub(super) kind: Kind,
}

/// Settings that say where the servers are, as a URL does.
const OF_A_URL: [&str; 3] = ["sentinels", "master_name", "nodes"];

/// Makes a valid configuration of them. Those that are given by themselves override those of the URL.
/// `shown` makes of a setting's name what its user calls it.
pub(super) fn assemble(
    given: &[Given],
    shown: impl Fn(&str) -> String,
) -> Result<Config, ConfigError> {
    let is_url = |given: &&Given| given.name == "url" && !given.kind.is_null();
    let url = given.iter().find(is_url);
    let mut draft = match url {
        Some(url) => url::parse_part(&url.text).map_err(|error| renamed(error, &shown))?,
        None => Draft::of(Config::new(Vec::<String>::new(), "")),
    };
    let mut seen = Vec::new();
    for setting in given.iter().filter(|given| given.name != "url") {
        let name = setting.name.as_str();
        if url.is_some() && OF_A_URL.contains(&name) {
            let reason = format!("is also given by `{}`", shown("url"));
            return Err(ConfigError::new(shown(name), reason));
        }
        let config = &mut draft.config;
        // A password takes the place of the URL's, from wherever it comes.
        match name {
            _ if setting.kind.is_null() => {}
            "password" | "password_file" => (config.password, config.credentials) = (None, None),
            "sentinel_password" | "sentinel_password_file" => {
                (config.sentinel_password, config.sentinel_credentials) = (None, None);
            }
            _ => {}
        }
        match settings::set(&mut draft, name, Value::of(&setting.text, setting.kind)) {
            Ok(()) => {}
            // Templates write a null for what is not to be set.
            Err(Refusal::Invalid(_)) if setting.kind.is_null() => continue,
            Err(Refusal::Invalid(reason)) => return Err(ConfigError::new(shown(name), reason)),
            Err(Refusal::Unknown) => return Err(ConfigError::new(shown(name), "is not known")),
        }
        settings::check_conflicts(&seen, name).map_err(|error| renamed(error, &shown))?;
        seen.push(name);
    }
    draft.finish().map_err(|error| {
        let field = error.field().split('[').next().unwrap_or_default();
        // It may have been given for both pools.
        let limit = field.split_once('.').map_or(field, |(_, limit)| limit);
        let name = [field, limit].into_iter().find(|name| seen.contains(name));
        let name = shown(name.unwrap_or(field));
        error.named(name).without_text()
    })
}

fn renamed(error: ConfigError, shown: impl Fn(&str) -> String) -> ConfigError {
    let name = shown(error.field());
    error.named(name).without_text()
}
