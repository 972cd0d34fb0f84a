//! A name that has several addresses, of which some are dead.
//!
//! The resolver reads `/etc/hosts`, so each test runs itself once more with a hosts file of its own,
//! in a mount namespace. That takes root, as in CI; elsewhere these tests do nothing.

use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, ToSocketAddrs},
    process::Command,
    time::Duration,
};

use redis_rw_pool::{AddressMap, Config, Node, Pool};
use testkit::{
    Server,
    fake::{self, SentinelView},
};
use tokio::{net::TcpStream, time::Instant};

pub(super) const NAME: &str = "several.test";
/// The one that the resolver gives first.
pub(super) const DEAD: Ipv4Addr = Ipv4Addr::LOCALHOST;
pub(super) const ALIVE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Whether this process has the hosts file; otherwise runs the test in one that has.
pub(super) fn has_hosts(test: &str) -> bool {
    if env::var_os("IT_HOSTS").is_some() {
        return true;
    }
    let hosts = env::temp_dir().join(format!("hosts-{}", std::process::id()));
    fs::write(
        &hosts,
        format!("127.0.0.1 localhost\n{DEAD} {NAME}\n{ALIVE} {NAME}\n"),
    )
    .unwrap();
    let bind = r#"mount --bind "$0" /etc/hosts && exec "$@""#;
    let unshared = |args: &[&str]| {
        let mut command = Command::new("unshare");
        command
            .args(["-m", "sh", "-c", bind])
            .arg(&hosts)
            .args(args);
        command.env("IT_HOSTS", "1");
        command
    };
    if !unshared(&["true"])
        .status()
        .is_ok_and(|status| status.success())
    {
        eprintln!("no mount namespace to be had, so {test} was not run");
        return false;
    }
    let this = env::current_exe().unwrap();
    let this = this.to_str().unwrap();
    let status = unshared(&[this, "--exact", test, "--nocapture"]).status();
    assert!(status.unwrap().success(), "{test} has failed");
    false
}

/// Takes no connection and refuses none, as a host that is gone behind a firewall.
pub(super) struct BlackHole {
    pub(super) _listener: TcpListener,
    pub(super) _fill: Vec<socket2::Socket>,
}

impl BlackHole {
    pub(super) fn on(port: u16) -> Self {
        let listener = TcpListener::bind((DEAD, port)).unwrap();
        let socket = socket2::SockRef::from(&listener);
        socket.listen(0).unwrap();
        let address = SocketAddr::from((DEAD, port)).into();
        let fill = (0..4).map(|_| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
            let socket = socket.unwrap();
            socket.set_nonblocking(true).unwrap();
            let _ = socket.connect(&address);
            socket
        });
        let fill = fill.collect();
        std::thread::sleep(Duration::from_millis(100));
        let probe =
            std::net::TcpStream::connect_timeout(&(DEAD, port).into(), Duration::from_millis(200));
        assert!(probe.is_err(), "it must be a black hole");
        Self {
            _listener: listener,
            _fill: fill,
        }
    }
}

/// Of a server that has gone: not one that the system gives to a client's end meanwhile.
pub(super) fn unused_port() -> u16 {
    fake::hung().port()
}

/// At the address that works, what a server says at another; gives the port.
async fn answers_for(server: u16) -> u16 {
    let port = unused_port();
    let listener = tokio::net::TcpListener::bind((ALIVE, port)).await.unwrap();
    let resolved: Vec<_> = (NAME, port).to_socket_addrs().unwrap().collect();
    assert_eq!(resolved[0], SocketAddr::from((DEAD, port)), "{resolved:?}");
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut upstream = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await?;
                tokio::io::copy_bidirectional(&mut client, &mut upstream).await
            });
        }
    });
    port
}

/// How long it takes to connect and to be served, with `port` at the name of both addresses: one
/// refuses, and then one swallows packets.
async fn both_ways(port: u16, config: impl Fn() -> Config) -> [Duration; 2] {
    let refused = time_to_serve(config()).await;
    let _black_hole = BlackHole::on(port);
    [refused, time_to_serve(config()).await]
}

async fn time_to_serve(config: Config) -> Duration {
    let began = Instant::now();
    let pool = Pool::connect(config).await.unwrap();
    let mut conn = pool.write().await.unwrap();
    redis::cmd("PING").exec_async(&mut conn).await.unwrap();
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sentinel_answers_at_its_second_address() {
    if !has_hosts("topology::addresses::a_sentinel_answers_at_its_second_address") {
        return;
    }
    let server = Server::standalone(&[]);
    let sentinel = fake::sentinel(SentinelView::of_master(server.port()));
    for (sentinel_timeout, connect_timeout) in [(1000, 5000), (300, 1000), (5000, 8000)] {
        let port = answers_for(sentinel.port()).await;
        let took = both_ways(port, || {
            let mut config = Config::new([format!("{NAME}:{port}")], "mymaster");
            config.sentinel_timeout = Duration::from_millis(sentinel_timeout);
            config.connect_timeout = Duration::from_millis(connect_timeout);
            config
        });
        let took = took.await;
        assert!(
            took.iter().all(|took| *took < Duration::from_millis(1500)),
            "{took:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_answers_at_its_second_address() {
    if !has_hosts("topology::addresses::a_node_answers_at_its_second_address") {
        return;
    }
    let server = Server::standalone(&[]);
    let sentinel = fake::sentinel(SentinelView::of_master(server.port()));
    let port = answers_for(server.port()).await;
    let took = both_ways(port, || {
        let mut config = Config::new([sentinel.addr()], "mymaster");
        let map = [(Node::new("127.0.0.1", server.port()), Node::new(NAME, port))];
        config.address_map = Some(map.into_iter().collect::<AddressMap>());
        config
    });
    let took = took.await;
    assert!(
        took.iter().all(|took| *took < Duration::from_secs(2)),
        "{took:?}"
    );
}
