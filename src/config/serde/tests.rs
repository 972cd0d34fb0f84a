use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
    time::Duration,
};

use testkit::{Authority, Folder};

use super::*;

/// Settings as pairs of name and value.
type Settings<'a> = &'a [(&'a str, &'a str)];
type Way = fn(Settings<'_>) -> Result<Config, String>;

/// Each setting with a value that is not its default.
const SETTINGS: &[(&str, &str)] = &[
    ("sentinels", "a,b:1,[::1]:2"),
    ("master_name", "another"),
    ("nodes", "a,b:1,[::1]:2"),
    ("sentinel_username", "watcher"),
    ("sentinel_password", "0123"),
    ("sentinel_password", "p w=#&ü%\"'\\$,"),
    ("sentinel_password_file", "/run/secrets/sentinel"),
    ("username", "app"),
    ("password", "p@:/?#w"),
    ("password", "-"),
    ("password", "none"),
    ("password_file", "/run/secrets/redis"),
    ("db", "15"),
    ("client_name", "web-1"),
    ("name", "sessions of the shop"),
    ("name", "17"),
    ("client_name", "17"),
    ("client_name", "none"),
    ("measure", "commands"),
    ("trace", "off"),
    ("trace", "commands"),
    ("read_from", "replica"),
    ("read_from", "master"),
    ("read_from", "master_preferred"),
    ("read_from", "any"),
    ("prefer", "hosts:10.1.0.0/16,redis-a*:6380,[fd00::7]"),
    ("prefer", "zone:eu-central-1a"),
    ("prefer", "nearest:2ms"),
    ("max_staleness", "5s"),
    ("protocol", "resp2"),
    ("connect_timeout", "250ms"),
    ("command_timeout", "2s"),
    ("command_timeout", "none"),
    ("sentinel_timeout", "1s"),
    ("refresh_interval", "1m"),
    ("failover_timeout", "0s"),
    ("adopt", "promoted"),
    ("address_map", "a:1=b:2"),
    ("address_map", "x:9=y:9,a:1=/run/redis.sock"),
    ("max_active", "17"),
    ("max_idle", "4"),
    ("max_idle", "0"),
    ("min_idle", "3"),
    ("wait_timeout", "none"),
    ("wait_timeout", "0ms"),
    ("idle_timeout", "2h"),
    ("max_lifetime", "none"),
    ("test_idle_after", "0ms"),
    ("write.max_active", "18"),
    ("write.max_idle", "5"),
    ("write.min_idle", "4"),
    ("write.wait_timeout", "1s"),
    ("write.idle_timeout", "none"),
    ("write.max_lifetime", "1h"),
    ("write.test_idle_after", "none"),
    ("read.max_active", "65535"),
    ("read.max_idle", "6"),
    ("read.min_idle", "5"),
    ("read.wait_timeout", "2s"),
    ("read.idle_timeout", "1s"),
    ("read.max_lifetime", "2h"),
    ("read.test_idle_after", "1ms"),
    ("multiplexed.connections", "3"),
    ("multiplexed.max_in_flight", "100"),
    ("multiplexed.max_pending_bytes", "65536"),
    ("freshness.patience", "20ms"),
    ("freshness.otherwise", "fail"),
    ("freshness.otherwise", "stale"),
    ("freshness.lost", "fail"),
    ("reply_limits.max_depth", "7"),
    ("reply_limits.max_bulk_bytes", "1000"),
    ("reply_limits.max_elements", "1001"),
    ("reply_limits.max_reply_bytes", "1002"),
    ("tls", "true"),
    ("tls.ca_file", CA),
    ("tls.client_cert", CERT),
    ("tls.client_key", KEY),
    ("tls.server_name", "redis.internal"),
    ("tls.verify", "ca"),
    ("tls.reload_every", "1m"),
    ("sentinel_tls", "off"),
];

// Files, which `on_disk` writes.
const CA: &str = "ca.crt";
const CERT: &str = "app.crt";
const KEY: &str = "app.key";

/// The value, or the path of the file that it stands for.
fn on_disk(value: &'static str) -> &'static str {
    static FOLDER: LazyLock<Folder> = LazyLock::new(Folder::create);
    static PATHS: LazyLock<BTreeMap<&str, String>> = LazyLock::new(|| {
        let ca = Authority::new("a CA");
        let own = ca.issue(&["app"]);
        let files = [(CA, ca.pem()), (CERT, &own.cert), (KEY, &own.key)];
        let written =
            files.map(|(name, text)| (name, FOLDER.write(name, text).display().to_string()));
        written.into()
    });
    PATHS.get(value).map_or(value, String::as_str)
}

/// All that a configuration says, its secrets too.
fn all(config: &Config) -> String {
    // The compiler asks for each new field: give it a setting, and a row above.
    let Config {
        sentinels: _,
        master_name: _,
        nodes: _,
        sentinel_username,
        sentinel_password,
        username,
        password,
        credentials: _,
        sentinel_credentials: _,
        db: _,
        client_name: _,
        name: _,
        measure: _,
        trace: _,
        write: _,
        read: _,
        multiplexed: _,
        read_from: _,
        prefer: _,
        max_staleness: _,
        freshness: _,
        protocol: _,
        connect_timeout: _,
        command_timeout: _,
        sentinel_timeout: _,
        refresh_interval: _,
        failover_timeout: _,
        adopt: _,
        address_map,
        reply_limits: _,
        tls: _,
        sentinel_tls: _,
        keyrings: _,
    } = config;
    let secrets = [sentinel_password, password].map(|secret| secret.as_ref().map(Secret::expose));
    let names = [sentinel_username, username];
    let dialled = address_map
        .as_ref()
        .map(|map| map.apply(&Node::new("a", 1)));
    format!("{config:?} {names:?} {secrets:?} {dialled:?}")
}

fn text<E: fmt::Display + fmt::Debug>(error: E) -> String {
    format!("{error} | {error:?}")
}

fn encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

fn by_url(settings: Settings<'_>) -> Result<Config, String> {
    let get = |name| {
        settings
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| *value)
    };
    let user = get("username").map(encode).unwrap_or_default();
    let password = get("password").map(encode);
    let login = password
        .map(|password| format!("{user}:{password}@"))
        .unwrap_or_default();
    let (kind, hosts) = match get("nodes") {
        Some(nodes) => ("", nodes),
        None => ("-sentinel", get("sentinels").unwrap_or_default()),
    };
    let tls = tls_of_scheme(settings);
    let db = get("db").map(|db| format!("/{db}")).unwrap_or_default();
    let elsewhere = [
        "username",
        "password",
        "sentinels",
        "nodes",
        "db",
        "master_name",
        "tls",
    ];
    let options = settings
        .iter()
        .filter(|(name, _)| !elsewhere.contains(name));
    let options: Vec<_> = options
        .map(|(name, value)| format!("{name}={}", encode(value)))
        .collect();
    let query = if options.is_empty() { "" } else { "?" };
    let name = get("master_name").map(|name| format!("#{name}"));
    let url = format!(
        "redis{tls}{kind}://{login}{hosts}{db}{query}{}{}",
        options.join("&"),
        name.unwrap_or_default()
    );
    Config::from_url(&url).map_err(text)
}

fn tls_of_scheme(settings: Settings<'_>) -> &'static str {
    let is_about_tls = |name: &str| name.starts_with("tls") || name == "sentinel_tls";
    let asked_for = settings.iter().any(|(name, _)| is_about_tls(name));
    if asked_for { "s" } else { "" }
}

fn vars(settings: Settings<'_>) -> Vec<(String, String)> {
    let var = |(name, value): &(&str, &str)| {
        let name = name.to_uppercase().replace('.', "__");
        (format!("APP_REDIS_{name}"), (*value).to_owned())
    };
    settings.iter().map(var).collect()
}

fn by_vars(settings: Settings<'_>) -> Result<Config, String> {
    Config::from_vars("APP_REDIS", vars(settings)).map_err(text)
}

/// As somebody would write it who knows JSON: numbers as numbers, lists as lists.
fn tree(settings: Settings<'_>) -> serde_json::Value {
    let mut tree = serde_json::Map::new();
    for (name, value) in settings {
        let (table, name) = match name.split_once('.') {
            Some((table, name)) => {
                let table = tree.entry(table).or_insert_with(|| serde_json::json!({}));
                (table.as_object_mut().unwrap(), name)
            }
            None => (&mut tree, *name),
        };
        let is_text = name.contains("password") || ["client_name", "name"].contains(&name);
        let value = match value.parse::<u32>() {
            Ok(number) if !is_text => number.into(),
            _ if name == "tls" => (value == &"true").into(),
            _ if name == "sentinels" || name == "nodes" => {
                value.split(',').collect::<Vec<_>>().into()
            }
            _ if name == "address_map" => {
                let pairs = value
                    .split(',')
                    .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
                pairs
                    .map(|(from, to)| (from.to_owned(), to.into()))
                    .collect::<serde_json::Map<_, _>>()
                    .into()
            }
            _ => (*value).into(),
        };
        table.insert(name.to_owned(), value);
    }
    tree.into()
}

fn by_json(settings: Settings<'_>) -> Result<Config, String> {
    serde_json::from_str(&tree(settings).to_string()).map_err(text)
}

fn by_json_text(settings: Settings<'_>) -> Result<Config, String> {
    let flat: BTreeMap<_, _> = settings.iter().copied().collect();
    serde_json::from_value(serde_json::to_value(flat).unwrap()).map_err(text)
}

#[derive(Debug, serde::Deserialize)]
struct Service {
    redis: Config,
}

/// In a section of a larger file.
// Only what it displays is of interest: its `Debug` has the whole file.
fn by_toml(settings: Settings<'_>) -> Result<Config, String> {
    let file = serde_json::json!({ "name": "service", "redis": tree(settings) });
    let file = toml::to_string(&file).unwrap();
    toml::from_str::<Service>(&file)
        .map(|service| service.redis)
        .map_err(|error| error.to_string())
}

fn by_config(settings: Settings<'_>, parse: bool) -> Result<Config, String> {
    let source = config_rs::Environment::with_prefix("APP_REDIS")
        .prefix_separator("_")
        .separator("__")
        .try_parsing(parse)
        .source(Some(vars(settings).into_iter().collect()));
    let read = config_rs::Config::builder().add_source(source).build();
    read.map_err(text)?.try_deserialize().map_err(text)
}

fn by_figment(settings: Settings<'_>) -> Result<Config, String> {
    use figment::{Figment, providers::Serialized, util::nest, value::Value};
    let mut figment = Figment::new();
    // As its `Env` does with `split("__")`, whose variables are those of the process.
    for (name, value) in settings {
        let value: Value = value.parse().unwrap();
        figment = figment.merge(Serialized::defaults(nest(name, value)));
    }
    figment.extract().map_err(text)
}

fn by_envy(settings: Settings<'_>) -> Result<Config, String> {
    envy::prefixed("APP_REDIS_")
        .from_iter(vars(settings))
        .map_err(text)
}

const WAYS: [(&str, Way); 10] = [
    ("URL", by_url),
    ("variables", by_vars),
    ("JSON", by_json),
    ("JSON of text", by_json_text),
    ("TOML", by_toml),
    ("config", |settings| by_config(settings, false)),
    ("config that parses", |settings| by_config(settings, true)),
    ("figment", by_figment),
    ("envy", by_envy),
    ("TOML with a URL", |settings| {
        let mut file = tree(settings);
        let table = file.as_object_mut().unwrap();
        let hosts = ["sentinels", "nodes"].map(|name| table.remove(name));
        let hosts = hosts.into_iter().flatten().next().unwrap();
        let hosts = hosts.as_array().unwrap().iter();
        let hosts: Vec<_> = hosts.map(|host| host.as_str().unwrap()).collect();
        let (hosts, tls) = (hosts.join(","), tls_of_scheme(settings));
        let url = match table.remove("master_name") {
            Some(name) => format!("redis{tls}-sentinel://{hosts}#{}", name.as_str().unwrap()),
            None => format!("redis{tls}://{hosts}"),
        };
        table.insert("url".to_owned(), url.into());
        toml::from_str(&toml::to_string(&file).unwrap()).map_err(text)
    }),
];

/// What a row needs beside it.
fn beside(name: &str, value: &'static str) -> Vec<(&'static str, &'static str)> {
    let mut settings = vec![("sentinels", "h"), ("master_name", "m")];
    match name {
        "nodes" => settings.clear(),
        "sentinel_username" => settings.push(("sentinel_password", "s")),
        "username" => settings.push(("password", "s")),
        "tls" => {}
        _ if name.starts_with("tls.client") => settings.extend([
            ("tls.ca_file", on_disk(CA)),
            ("tls.client_cert", on_disk(CERT)),
            ("tls.client_key", on_disk(KEY)),
        ]),
        _ if name.contains("tls") => settings.push(("tls.ca_file", on_disk(CA))),
        _ => {}
    }
    settings.retain(|(given, _)| *given != name);
    let (name, _) = SETTINGS.iter().find(|(known, _)| *known == name).unwrap();
    settings.push((name, on_disk(value)));
    settings
}

#[test]
fn every_setting_means_the_same_in_every_way_to_give_it() {
    let base = by_url(&[("sentinels", "h"), ("master_name", "m")]).unwrap();
    for (name, value) in SETTINGS {
        let settings = beside(name, value);
        let expected = all(&by_url(&settings).unwrap());
        assert_ne!(expected, all(&base), "{name}={value} changes nothing");
        for (way, read) in WAYS {
            // It makes a number of it before anybody can see the zero.
            if *value == "0123" && ["config that parses", "figment"].contains(&way) {
                continue;
            }
            let read = read(&settings).unwrap_or_else(|error| panic!("{way}: {name}: {error}"));
            assert_eq!(all(&read), expected, "{way}: {name}");
        }
    }
    // All at once, each once. There are Sentinels or nodes.
    let mut settings: Vec<(&str, &str)> = Vec::new();
    for (name, value) in SETTINGS {
        let twice = settings.iter().any(|(given, _)| given == name);
        let both = name.split_once('.').is_none() && PoolLimits::default_names().contains(name);
        let other = ["nodes", "tls"].contains(name);
        if !other && !twice && !both && !name.ends_with("_file") && *value != "0123" {
            settings.push((name, on_disk(value)));
        }
    }
    let expected = all(&by_url(&settings).unwrap());
    for (way, read) in WAYS {
        let read = read(&settings).unwrap_or_else(|error| panic!("{way}: {error}"));
        assert_eq!(all(&read), expected, "{way}");
    }
}

impl PoolLimits {
    fn default_names() -> [&'static str; 7] {
        [
            "max_active",
            "max_idle",
            "min_idle",
            "wait_timeout",
            "idle_timeout",
            "max_lifetime",
            "test_idle_after",
        ]
    }
}

#[test]
fn every_name_is_known_and_tried() {
    let tried: BTreeSet<_> = SETTINGS.iter().map(|(name, _)| *name).collect();
    for name in NAMES {
        assert!(settings::knows(name), "{name}");
        assert!(tried.contains(name), "{name} has no row");
    }
    for name in tried {
        let known = name
            .strip_prefix("write.")
            .or_else(|| name.strip_prefix("read."))
            .unwrap_or(name);
        assert!(NAMES.contains(&known), "{name} is not listed");
    }
}

#[test]
fn numeric_passwords_survive() {
    for password in ["123456", "18446744073709551615", "7", "true"] {
        for (way, read) in WAYS {
            let settings = [
                ("sentinels", "h"),
                ("master_name", "m"),
                ("password", password),
            ];
            // It makes a float of what is no i64, and the digits are lost.
            if way == "config that parses" && password.len() > 19 {
                let error = read(&settings).unwrap_err();
                assert!(error.contains("write it in quotes"), "{error}");
                continue;
            }
            let config = read(&settings).unwrap_or_else(|error| panic!("{way}: {error}"));
            let read = config.password.as_ref().map(Secret::expose);
            assert_eq!(read, Some(password), "{way}");
        }
    }
    let number: Config =
        serde_json::from_str(r#"{"sentinels":"h","master_name":"m","password":123}"#).unwrap();
    assert_eq!(number.password.unwrap().expose(), "123");
    let error = serde_json::from_str::<Config>(r#"{"sentinels":"h","password":1.50}"#);
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("`password`: must be text: write it in quotes"),
        "{error}"
    );
    assert!(!error.contains("1.5"), "{error}");
}

/// What is wrong, and what the error says of it.
const WRONG: &[(&str, &str, &str)] = &[
    ("write.max_activ", "1", "did you mean `write.max_active`?"),
    ("conect_timeout", "1s", "did you mean `connect_timeout`?"),
    (
        "somethingelse",
        "1",
        "invalid `somethingelse`: is not known",
    ),
    ("insecure", "true", "invalid `insecure`: is not known"),
    (
        "connect_timeout",
        "5",
        "invalid `connect_timeout`: must be a whole number with one of the units",
    ),
    ("connect_timeout", "canary", "`connect_timeout`"),
    ("client_name", "canary name", "`client_name`"),
    ("master_name", "canary name", "`master_name`"),
    ("sentinels", "canary:x", "`sentinels"),
    ("username", "canary name", "`username`"),
    ("db", "canary", "`db`"),
    ("address_map", "canary", "`address_map`"),
    ("read_from", "canary", "`read_from`"),
    ("read.max_active", "canary", "`read.max_active`"),
    (
        "write.max_active",
        "0",
        "`write.max_active` (0): must be from 1 to 65535",
    ),
    ("max_active", "0", "`max_active` (0)"),
    ("url", "redis-sentinel://:canary@h", "`master_name`"),
    (
        "url",
        "redis-sentinel://:canary@h#m",
        "is also given by `url`",
    ),
    ("password_file", "/run/secrets/redis", "is also given as"),
];

#[test]
fn what_is_wrong_is_named_and_no_value_is_shown() {
    for (name, value, expected) in WRONG {
        let mut settings = vec![
            ("sentinels", "h"),
            ("master_name", "m"),
            ("password", "canary"),
        ];
        settings.retain(|(given, _)| given != name);
        settings.push((name, value));
        for (way, read) in WAYS {
            let url = way == "URL" || way == "TOML with a URL";
            // It ignores what it does not know, and calls the others by their variables.
            let vars = way == "variables";
            if url || vars && expected.contains("know") || vars && expected.contains("did you") {
                continue;
            }
            let error = read(&settings).expect_err(&format!("{way}: {name}={value}"));
            assert!(!error.contains("canary"), "{way}: {name}: {error}");
            let named = expected.trim_start_matches("invalid ");
            assert!(vars || error.contains(named), "{way}: {name}: {error}");
            let variable = format!("APP_REDIS_{}", name.to_uppercase().replace('.', "__"));
            let other = expected.starts_with("is also");
            assert!(
                !vars || other || *name == "url" || error.contains(&variable),
                "{way}: {name}: {error}"
            );
        }
    }
}

#[test]
fn a_plain_text_is_a_url_and_a_null_is_not_given() {
    let json = r#"{"redis": "redis-sentinel://:canary@h?write.max_active=3#m"}"#;
    let service: Service = serde_json::from_str(json).unwrap();
    assert_eq!(service.redis.write.max_active, 3);
    let toml = "redis = \"redis-sentinel://h?read.max_idle=3#m\"";
    assert_eq!(
        toml::from_str::<Service>(toml).unwrap().redis.read.max_idle,
        Some(3)
    );
    let vars = [("REDIS".to_owned(), "redis-sentinel://h#m".to_owned())];
    let service: Service = envy::from_iter(vars).unwrap();
    assert_eq!(service.redis.master_name, "m");
    let json = r#"{"url": "redis-sentinel://:old@h?max_active=3&max_idle=2#m", "password": "new",
        "write": {"max_active": 4, "idle_timeout": null}, "username": null, "client_name": null, "name": null,
        "read": {"max_idle": null}, "read_from": null, "password_file": null}"#;
    let config: Config = serde_json::from_str(json).unwrap();
    assert_eq!(config.password.as_ref().map(Secret::expose), Some("new"));
    assert_eq!((config.write.max_active, config.read.max_active), (4, 3));
    assert_eq!(
        (config.write.max_idle, config.read.max_idle),
        (Some(2), None)
    );
    assert_eq!(
        (
            config.write.idle_timeout,
            config.username,
            config.client_name
        ),
        (None, None, None)
    );
    for wrong in [
        "3",
        "true",
        "[]",
        "null",
        "\"\"",
        "{}",
        "{\"write\": 3}",
        "{\"write\": [3]}",
    ] {
        serde_json::from_str::<Config>(wrong).expect_err(wrong);
    }
}

#[test]
fn tls_is_on_where_any_setting_of_it_is_given_and_never_against_the_scheme() {
    let ca = on_disk(CA);
    let read = |json: serde_json::Value| serde_json::from_value::<Config>(json);
    let nodes = |tls: serde_json::Value| read(serde_json::json!({ "nodes": ["h"], "tls": tls }));
    let on = |config: Config| config.tls.is_some();
    for (tls, expected) in [
        (serde_json::json!(true), true),
        (serde_json::json!({}), true),
        (serde_json::json!({ "ca_file": ca }), true),
        (serde_json::json!({ "verify": "none" }), true),
        (serde_json::json!(false), false),
        (serde_json::Value::Null, false),
    ] {
        assert_eq!(on(nodes(tls.clone()).unwrap()), expected, "{tls}");
    }
    for (url, tls, expected) in [
        ("rediss://h", serde_json::json!({ "ca_file": ca }), Ok(true)),
        ("rediss://h", serde_json::json!(true), Ok(true)),
        ("redis://h", serde_json::json!(false), Ok(false)),
        ("redis://h", serde_json::json!({}), Err("`tls`")),
        ("redis://h", serde_json::json!(true), Err("`tls`")),
        ("rediss://h", serde_json::json!(false), Err("`tls`")),
    ] {
        let read = read(serde_json::json!({ "url": url, "tls": tls }));
        match expected {
            Ok(expected) => assert_eq!(on(read.unwrap()), expected, "{url} {tls}"),
            Err(named) => {
                let error = read.unwrap_err().to_string();
                assert!(error.contains(named), "{url} {tls}: {error}");
            }
        }
    }
    for (settings, expected) in [
        (
            [("tls", "false"), ("tls.ca_file", ca)],
            "`tls.ca_file`: is about TLS, which is off",
        ),
        (
            [("sentinel_tls", "off"), ("db", "0")],
            "`sentinel_tls`: is about TLS, which is off",
        ),
        (
            [("tls.client_cert", ca), ("tls.ca_file", ca)],
            "`tls.client_key`: must be set when `tls.client_cert` is",
        ),
        ([("tls", "yes"), ("db", "0")], "`tls`: must be `true` or"),
        ([("tls.ca_file", "/canary"), ("db", "0")], "`tls.ca_file`"),
    ] {
        let mut settings = settings.to_vec();
        settings.extend([("sentinels", "h"), ("master_name", "m")]);
        let error = by_json_text(&settings).unwrap_err();
        assert!(error.contains(expected), "{settings:?}: {error}");
        assert!(!error.contains("canary"), "{error}");
    }
}

#[test]
fn parts_of_a_configuration_can_be_read_by_themselves() {
    let limits: PoolLimits = toml::from_str("max_active = 3\nwait_timeout = \"none\"").unwrap();
    assert_eq!((limits.max_active, limits.wait_timeout), (3, None));
    let error = toml::from_str::<PoolLimits>("max_activ = 3").unwrap_err();
    assert!(
        error.to_string().contains("did you mean `max_active`?"),
        "{error}"
    );
    let limits: MultiplexedLimits = serde_json::from_str(r#"{"connections": "2"}"#).unwrap();
    assert_eq!(limits.connections, 2);
    let limits: ReplyLimits = serde_json::from_str(r#"{"max_depth": 9}"#).unwrap();
    assert_eq!(limits.max_depth, 9);
    let values = r#"["any", "resp2", "promoted", "10.0.0.7:6379", "/run/redis.sock", "[::1]:1"]"#;
    let values: (ReadFrom, Protocol, Adopt, Node, Node, Node) =
        serde_json::from_str(values).unwrap();
    assert_eq!(
        values,
        (
            ReadFrom::Any,
            Protocol::Resp2,
            Adopt::Promoted,
            Node::new("10.0.0.7", 6379),
            Node::unix("/run/redis.sock"),
            Node::new("::1", 1),
        )
    );
    for node in [
        "\"10.0.0.7\"",
        "\"[::1]\"",
        "\"::1\"",
        "\"\"",
        "7",
        "\"h:0\"",
    ] {
        serde_json::from_str::<Node>(node).expect_err(node);
    }
    let secret: Secret = serde_json::from_str("\"canary\"").unwrap();
    assert_eq!(secret.expose(), "canary");
}

#[test]
fn a_configuration_need_not_be_a_whole_program() {
    let config: Config = toml::from_str("sentinels = [\"h\"]\nmaster_name = \"m\"").unwrap();
    assert_eq!(config.connect_timeout, Duration::from_secs(2));
}
