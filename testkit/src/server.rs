//! One real redis-server or Sentinel process.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::client::{Client, Reply};
use crate::config;
use crate::folder::Folder;
use crate::ports;
use crate::program::program;

const CALL_TIMEOUT: Duration = Duration::from_secs(2);
const START_TIMEOUT: Duration = Duration::from_secs(10);
// Redis waits up to 10 s for its replicas before it goes (`shutdown-timeout`).
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(3);

// The pid is on disk before the server exists, so that the guardian knows about every server.
const LAUNCH: &str = r#"echo $$ >"$1" && shift && exec "$@""#;

/// A redis-server or Sentinel process on a loopback port; killed when it is dropped.
#[derive(Debug)]
pub struct Server {
    name: String,
    port: u16,
    plain_port: u16,
    sentinel: bool,
    password: Option<String>,
    after_start: Vec<Vec<String>>,
    child: Mutex<Option<Child>>,
    // Last, so that the process is gone before its folder.
    folder: Arc<Folder>,
}

/// What a [`Server`] is made of.
#[derive(Debug)]
pub(crate) struct Blueprint {
    pub(crate) name: String,
    pub(crate) port: u16,
    /// Where it speaks plain text; the same unless it speaks TLS.
    pub(crate) plain_port: u16,
    pub(crate) sentinel: bool,
    pub(crate) config: String,
    pub(crate) password: Option<String>,
    /// Commands to send after every start.
    pub(crate) after_start: Vec<Vec<String>>,
}

impl Server {
    /// Starts a Redis of its own with these extra lines of configuration.
    ///
    /// The unix socket [`unix_socket`](Self::unix_socket) is open too. A `requirepass` line is
    /// understood: [`cmd`](Self::cmd) authenticates with it.
    #[must_use]
    pub fn standalone(extra_config_lines: &[&str]) -> Self {
        for _ in 0..3 {
            let folder = Arc::new(Folder::create());
            let port = ports::take(1)[0];
            let name = format!("redis-{port}");
            let mut config = config::node(folder.path(), &name, port);
            config.push_str(&format!(
                "unixsocket {}\n",
                socket_path(&folder, &name).display()
            ));
            for line in extra_config_lines {
                config.push_str(&format!("{line}\n"));
            }
            let password = extra_config_lines
                .iter()
                .find_map(|line| line.strip_prefix("requirepass "))
                .map(|password| password.trim_matches(['"', ' ']).to_owned());
            let server = Self::create(
                &folder,
                Blueprint {
                    name,
                    port,
                    plain_port: port,
                    sentinel: false,
                    config,
                    password,
                    after_start: Vec::new(),
                },
            );
            server.spawn();
            match server.await_ready() {
                Err(failure) if failure.port_taken => {}
                Err(failure) => panic!("{}", failure.text),
                Ok(()) => return server,
            }
        }
        panic!("three ports that looked free were all taken");
    }

    pub(crate) fn create(folder: &Arc<Folder>, blueprint: Blueprint) -> Self {
        let server = Self {
            name: blueprint.name,
            port: blueprint.port,
            plain_port: blueprint.plain_port,
            sentinel: blueprint.sentinel,
            password: blueprint.password,
            after_start: blueprint.after_start,
            child: Mutex::new(None),
            folder: Arc::clone(folder),
        };
        let config_path = server.config_path();
        fs::create_dir_all(server.dir())
            .and_then(|()| fs::write(&config_path, blueprint.config))
            .unwrap_or_else(|error| panic!("cannot write {}: {error}", config_path.display()));
        server
    }

    /// `node-6379` or `sentinel-26379`, as in the names of its files.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The port for plain text: the same, or the one beside it where it speaks TLS.
    #[must_use]
    pub fn plain_port(&self) -> u16 {
        self.plain_port
    }

    /// `127.0.0.1:port`
    #[must_use]
    pub fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its process, when it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.is_running()
            .then(|| self.child.lock().as_ref().map(Child::id))?
    }

    /// Its working folder.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        self.folder.path().join(&self.name)
    }

    /// Its configuration file, which Redis and Sentinel rewrite as they go.
    #[must_use]
    pub fn config_path(&self) -> PathBuf {
        self.folder.path().join(format!("{}.conf", self.name))
    }

    /// Its log.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        config::log_path(self.folder.path(), &self.name)
    }

    /// The unix socket of a [`standalone`](Self::standalone) server.
    #[must_use]
    pub fn unix_socket(&self) -> PathBuf {
        socket_path(&self.folder, &self.name)
    }

    /// Whether the process exists; a paused one does.
    #[must_use]
    pub fn is_running(&self) -> bool {
        match self.child.lock().as_mut() {
            Some(child) => matches!(child.try_wait(), Ok(None)),
            None => false,
        }
    }

    /// SIGKILL: the kernel closes its connections, nothing is said or saved.
    pub fn kill(&self) {
        if let Some(mut child) = self.child.lock().take() {
            let _ = child.kill();
            let _ = child.wait();
            let _ = fs::remove_file(self.pid_path());
        }
    }

    /// SIGSTOP: it keeps its connections and says nothing more, as a frozen machine does.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// SIGCONT: it goes on where [`pause`](Self::pause) stopped it.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// SIGTERM, and waits for the end: a master first lets its replicas catch up.
    pub fn shutdown(&self) {
        self.signal("TERM");
        let deadline = Instant::now() + SHUTDOWN_TIMEOUT;
        while self.is_running() {
            assert!(
                Instant::now() < deadline,
                "{} did not shut down; see {}",
                self.name,
                self.log_path().display()
            );
            thread::sleep(POLL);
        }
        self.kill();
    }

    /// Starts it again, on the same port, with its configuration file as it has been rewritten;
    /// kills it first when it runs. Returns when it answers.
    pub fn restart(&self) {
        self.kill();
        self.spawn();
        if let Err(failure) = self.await_ready() {
            panic!("{}", failure.text);
        }
    }

    /// A connection of its own, authenticated.
    ///
    /// # Errors
    ///
    /// When it does not run, does not answer within two seconds or refuses the password.
    pub fn connect(&self) -> io::Result<Client> {
        let mut client = Client::connect(self.plain_port, CALL_TIMEOUT)?;
        if let Some(password) = &self.password {
            let reply = client.call(&["AUTH", password])?;
            if let Some(error) = reply.error() {
                return Err(io::Error::other(error.to_owned()));
            }
        }
        Ok(client)
    }

    /// Sends one command over a connection of its own; panics when there is no reply.
    pub fn cmd<A: AsRef<[u8]>>(&self, command: &[A]) -> Reply {
        self.try_cmd(command).unwrap_or_else(|error| {
            let words = command
                .iter()
                .map(|word| String::from_utf8_lossy(word.as_ref()));
            panic!(
                "{} gave no reply to {:?}: {error}\n{}",
                self.name,
                words.collect::<Vec<_>>(),
                self.log_tail()
            )
        })
    }

    /// Sends one command over a connection of its own.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect), and when no reply comes within two seconds.
    pub fn try_cmd<A: AsRef<[u8]>>(&self, command: &[A]) -> io::Result<Reply> {
        self.connect()?.call(command)
    }

    /// `CLIENT LIST`, one map of fields for each connection (this call's own included).
    #[must_use]
    pub fn client_list(&self) -> Vec<BTreeMap<String, String>> {
        self.cmd(&["CLIENT", "LIST"])
            .as_str()
            .lines()
            .map(|line| pairs(line, ' ', '='))
            .collect()
    }

    /// How many connections have this `CLIENT SETNAME` name.
    #[must_use]
    pub fn client_count_named(&self, name: &str) -> usize {
        self.client_list()
            .iter()
            .filter(|client| client.get("name").is_some_and(|found| found == name))
            .count()
    }

    /// How often a command was executed since the start or the last `CONFIG RESETSTAT`.
    #[must_use]
    pub fn command_stat(&self, command: &str) -> u64 {
        let key = format!("cmdstat_{}", command.to_ascii_lowercase());
        self.info("commandstats")
            .get(&key)
            .and_then(|stats| pairs(stats, ',', '=').get("calls")?.parse().ok())
            .unwrap_or(0)
    }

    /// One section of `INFO`.
    #[must_use]
    pub fn info(&self, section: &str) -> BTreeMap<String, String> {
        pairs(self.cmd(&["INFO", section]).as_str(), '\n', ':')
    }

    /// The last lines of its log, for a message about it.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let path = self.log_path();
        let log = fs::read_to_string(&path).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(8)..].join("\n  ");
        format!("{} ends with\n  {tail}", path.display())
    }

    pub(crate) fn spawn(&self) {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path())
            .and_then(|file| Ok((file.try_clone()?, file)));
        let (out, err) =
            log.unwrap_or_else(|error| panic!("{}: {error}", self.log_path().display()));
        let child = Command::new("sh")
            .args(["-c", LAUNCH, "sh"])
            .arg(self.pid_path())
            .arg(program().path())
            .arg(self.config_path())
            .args(self.sentinel.then_some("--sentinel"))
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            // Ctrl-C on the terminal is for the test, not for its servers.
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start sh: {error}"));
        *self.child.lock() = Some(child);
    }

    pub(crate) fn await_ready(&self) -> Result<(), StartFailure> {
        self.await_that(|server| server.try_cmd(&["PING"]).is_ok())?;
        if !self.after_start.is_empty() {
            let mut client = self.connect().map_err(|_| StartFailure::new(self))?;
            for command in &self.after_start {
                let reply = client.call(command).map_err(|_| StartFailure::new(self))?;
                assert!(!reply.is_error(), "{}: {command:?}: {reply:?}", self.name);
            }
        }
        // Another server may have answered on the port while ours failed to bind it.
        match self.is_running() {
            true => Ok(()),
            false => Err(StartFailure::new(self)),
        }
    }

    pub(crate) fn await_that(&self, condition: impl Fn(&Self) -> bool) -> Result<(), StartFailure> {
        let deadline = Instant::now() + START_TIMEOUT;
        while !condition(self) {
            if !self.is_running() || Instant::now() > deadline {
                return Err(StartFailure::new(self));
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    fn pid_path(&self) -> PathBuf {
        config::pid_path(self.folder.path(), &self.name)
    }

    // Children are reaped only under the lock, so the number cannot have a new owner meanwhile.
    fn signal(&self, name: &str) {
        let mut slot = self.child.lock();
        let running = match slot.as_mut() {
            Some(child) => child
                .try_wait()
                .is_ok_and(|status| status.is_none())
                .then(|| child.id()),
            None => None,
        };
        let Some(pid) = running else {
            panic!(
                "{} does not run; see {}",
                self.name,
                self.log_path().display()
            );
        };
        let status = Command::new("sh")
            .args(["-c", &format!("kill -{name} {pid}")])
            .status();
        assert!(
            status.as_ref().is_ok_and(std::process::ExitStatus::success),
            "kill -{name} {pid}: {status:?}"
        );
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("testkit: {}", self.log_tail());
        }
        self.kill();
    }
}

/// Why a server does not answer.
#[derive(Debug)]
pub(crate) struct StartFailure {
    pub(crate) text: String,
    pub(crate) port_taken: bool,
}

impl StartFailure {
    fn new(server: &Server) -> Self {
        let tail = server.log_tail();
        Self {
            port_taken: tail.contains("Address already in use"),
            text: format!(
                "{} did not start on port {}; {tail}",
                server.name, server.port
            ),
        }
    }
}

fn socket_path(folder: &Folder, name: &str) -> PathBuf {
    let path: &Path = folder.path();
    path.join(format!("{name}.sock"))
}

fn pairs(text: &str, between: char, within: char) -> BTreeMap<String, String> {
    text.split(between)
        .filter_map(|pair| pair.trim().split_once(within))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}
