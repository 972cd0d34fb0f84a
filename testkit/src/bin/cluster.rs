//! `make cluster`: one master, two replicas and three Sentinels on the usual ports, until Ctrl-C.
//!
//! `REDIS_PORT` and `SENTINEL_PORT` move them elsewhere. With `TLS=yes` these ports speak TLS, and each
//! server has a plain one beside it for `redis-cli`.
#![forbid(unsafe_code)]

use std::env;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;

use testkit::{Authority, Deployment, Server, ServerTls};

const NODES: u16 = 3;
const SENTINELS: u16 = 3;

fn main() -> ExitCode {
    match run() {
        Ok(deployment) => wait_for_the_end(&deployment),
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<Deployment, String> {
    let redis_port = port_from("REDIS_PORT", 6379)?;
    let sentinel_port = port_from("SENTINEL_PORT", 26379)?;
    for (variable, first, count) in [
        ("REDIS_PORT", redis_port, NODES),
        ("SENTINEL_PORT", sentinel_port, SENTINELS),
    ] {
        (first..first.saturating_add(count)).try_for_each(|port| ensure_free(port, variable))?;
    }
    let tls = tls_from("TLS")?;
    let mut builder = Deployment::builder()
        .replicas(usize::from(NODES) - 1)
        .sentinels(usize::from(SENTINELS))
        .ports(redis_port, sentinel_port)
        .fast(false)
        .down_after(Duration::from_secs(5))
        .failover_timeout(Duration::from_secs(10));
    if tls {
        let ca = Authority::new("the CA of `make cluster`");
        builder = builder.tls(ServerTls {
            identity: ca.issue(&["127.0.0.1", "localhost"]),
            trusted: ca.pem().to_owned(),
            client_auth: false,
        });
    }
    let deployment = builder.start();
    introduce(&deployment, tls);
    Ok(deployment)
}

fn port_from(variable: &str, default: u16) -> Result<u16, String> {
    match env::var(variable) {
        Err(_) => Ok(default),
        Ok(text) => match text.parse() {
            Ok(port) if port > 0 && port < u16::MAX - NODES.max(SENTINELS) => Ok(port),
            _ => Err(format!("{variable}={text} is not a port")),
        },
    }
}

fn tls_from(variable: &str) -> Result<bool, String> {
    match env::var(variable).as_deref() {
        Err(_) | Ok("" | "no") => Ok(false),
        Ok("yes") => Ok(true),
        Ok(text) => Err(format!("{variable}={text} is neither yes nor no")),
    }
}

fn ensure_free(port: u16, variable: &str) -> Result<(), String> {
    let Err(error) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) else {
        return Ok(());
    };
    let owner = owner_of(port).map_or_else(String::new, |owner| format!(" by {owner}"));
    Err(format!(
        "port {port} is taken{owner} ({error}).\n\
         Stop what listens there, or choose the first of three other ports:\n\n  \
         {variable}={} make cluster\n",
        port.checked_add(1_000).unwrap_or(port - 1_000),
    ))
}

/// Best effort: which of the two tools is there, and what it may see, differs from machine to
/// machine.
fn owner_of(port: u16) -> Option<String> {
    let script = format!(
        "ss -Hltnp 'sport = :{port}' 2>/dev/null | grep -o 'users:.*' || \
         lsof -nP -iTCP:{port} -sTCP:LISTEN -Fpc 2>/dev/null | tr '\\n' ' '"
    );
    let output = Command::new("sh").args(["-c", &script]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

fn introduce(deployment: &Deployment, tls: bool) {
    let master = &deployment.nodes()[0];
    let watched = deployment.sentinels()[0].plain_port();
    let program = testkit::program();
    let server = program.path().display();
    let cli = program.companion("cli");
    let cli = cli.display();
    let name = deployment.master_name();
    println!(
        "{program} behind Sentinel, master name {name}. Ctrl-C stops and removes everything.\n"
    );
    for (index, node) in deployment.nodes().iter().enumerate() {
        list(if index == 0 { "master" } else { "replica" }, node);
    }
    for sentinel in deployment.sentinels() {
        list("sentinel", sentinel);
    }
    println!("\nFor a program that reads REDIS_URL, such as the examples:");
    println!("  export REDIS_URL='{}'", url(deployment, tls));
    println!(
        "\nconfiguration files and logs: {}",
        master.config_path().with_file_name("").display()
    );
    println!("\nWatch what the Sentinels say, in another terminal:");
    println!("  {cli} -p {watched} psubscribe '*'");
    println!("\nWho is the master?");
    println!("  {cli} -p {watched} sentinel get-master-addr-by-name {name}");
    println!("\nLet it hand over, shut it down, or freeze it for 20 seconds:");
    println!("  {cli} -p {watched} sentinel failover {name}");
    println!("  {cli} -p {} shutdown", master.plain_port());
    println!("  {cli} -p {} debug sleep 20", master.plain_port());
    println!("\nStart a server again after it has gone:");
    for node in deployment.nodes() {
        println!(
            "  {server} {} --daemonize yes",
            node.config_path().display()
        );
    }
    for sentinel in deployment.sentinels() {
        let path = sentinel.config_path();
        println!("  {server} {} --sentinel --daemonize yes", path.display());
    }
    println!();
}

/// As `Config::from_url` of redis-rw-pool reads it.
fn url(deployment: &Deployment, tls: bool) -> String {
    let sentinels = deployment.sentinel_addrs().join(",");
    let name = deployment.master_name();
    if !tls {
        return format!("redis-sentinel://{sentinels}#{name}");
    }
    let ca = deployment.nodes()[0].dir().join("ca.crt");
    let ca = ca.display();
    format!("rediss-sentinel://{sentinels}?tls.ca_file={ca}#{name}")
}

fn list(role: &str, server: &Server) {
    let plain = match server.plain_port() {
        port if port == server.port() => String::new(),
        port => format!(" (plain {port})"),
    };
    println!(
        "  {role:<9} {:<16} pid {:<8} {}",
        server.addr() + &plain,
        server
            .pid()
            .map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
        server.log_path().display()
    );
}

/// Never returns: whatever signal ends this process, the guardian of the deployment's folder stops
/// the servers, also those started again by hand.
fn wait_for_the_end(_deployment: &Deployment) -> ! {
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}
