//! The proxy, in front of a server that echoes.
#![allow(
    clippy::disallowed_types,
    reason = "real sockets live by the real clock"
)]
#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in test functions only, not in what they share"
)]

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use testkit::proxy::{Door, Ending, Flow, Toward};
use testkit::{Deployment, Proxies, Proxy, ports};

const PATIENCE: Duration = Duration::from_secs(10);
/// Long enough for what is to be seen not to happen.
const WHILE: Duration = Duration::from_millis(60);

/// Echoes, upper-case or not, until the client has closed its half; then says `bye`.
fn echo(shout: bool) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, ports::unused())).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || {
                let mut stream = stream.unwrap();
                let mut chunk = [0; 4096];
                while let Ok(count) = stream.read(&mut chunk) {
                    if count == 0 {
                        let _ = stream.write_all(b"bye");
                        return;
                    }
                    if shout {
                        chunk.make_ascii_uppercase();
                    }
                    if stream.write_all(&chunk[..count]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.addr()).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn says(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).unwrap();
}

fn hears(stream: &mut TcpStream, text: &str) {
    let mut bytes = vec![0; text.len()];
    stream
        .read_exact(&mut bytes)
        .unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(String::from_utf8_lossy(&bytes), text);
}

fn hears_nothing(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(WHILE)).unwrap();
    let error = stream.read(&mut [0; 64]).expect_err("nothing comes");
    let silence = [ErrorKind::WouldBlock, ErrorKind::TimedOut];
    assert!(silence.contains(&error.kind()), "{error}");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
}

fn is_over(stream: &mut TcpStream, ending: Ending) {
    let outcome = stream.read(&mut [0; 64]).map_err(|error| error.kind());
    match ending {
        Ending::Reset => assert_eq!(outcome, Err(ErrorKind::ConnectionReset)),
        Ending::Fin | Ending::HalfClose => assert_eq!(outcome, Ok(0)),
    }
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn passes_both_ways_and_counts() {
    let proxy = Proxy::to(echo(false));
    let (mut one, mut other) = (connect(&proxy), connect(&proxy));
    for stream in [&mut one, &mut other] {
        says(stream, "hello");
        hears(stream, "hello");
    }
    assert_eq!((proxy.accepted(), proxy.links().len()), (2, 2));
    for toward in Toward::BOTH {
        assert_eq!(proxy.bytes(toward), 10);
    }
    assert!(proxy.links()[0].has_said(b"HELLO"));
    assert!(!proxy.links()[0].has_said(b"HELLOO"));
    one.shutdown(Shutdown::Write).unwrap();
    hears(&mut one, "bye");
    is_over(&mut one, Ending::Fin);
    eventually("it knows that one is over", || proxy.links().len() == 1);
}

#[test]
fn carries_more_than_the_sockets_hold() {
    let proxy = Proxy::to(echo(false));
    let mut stream = connect(&proxy);
    let text: Vec<u8> = (0..8 << 20)
        .map(|i: u32| u8::try_from(i % 251).unwrap())
        .collect();
    let mut writer = stream.try_clone().unwrap();
    let sent = text.clone();
    let writing = thread::spawn(move || writer.write_all(&sent).unwrap());
    let mut heard = vec![0; text.len()];
    stream.read_exact(&mut heard).unwrap();
    writing.join().unwrap();
    assert!(heard == text);
}

#[test]
fn each_door_does_what_it_says_and_opens_again() {
    let proxy = Proxy::to(echo(false));
    proxy.set_door(Door::Refuse);
    let refused = TcpStream::connect(proxy.addr()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);

    proxy.set_door(Door::Reset);
    // The reset may come before the connection is seen to be there.
    match TcpStream::connect(proxy.addr()) {
        Ok(mut stream) => is_over(&mut stream, Ending::Reset),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }

    proxy.set_door(Door::Silent);
    let mut unheard = connect(&proxy);
    says(&mut unheard, "hello");
    hears_nothing(&mut unheard);

    proxy.heal();
    let mut stream = connect(&proxy);
    says(&mut stream, "hello");
    hears(&mut stream, "hello");
    hears_nothing(&mut unheard);
    proxy.end_connections(Ending::Reset);
    is_over(&mut unheard, Ending::Reset);
    is_over(&mut stream, Ending::Reset);
}

#[test]
fn an_upstream_that_is_gone_resets_and_another_one_can_take_its_place() {
    let proxy = Proxy::to(echo(false));
    let mut before = connect(&proxy);
    says(&mut before, "hello");
    hears(&mut before, "hello");
    proxy.set_upstream(ports::unused());
    if let Ok(mut stream) = TcpStream::connect(proxy.addr()) {
        is_over(&mut stream, Ending::Reset);
    }
    proxy.set_upstream(echo(true));
    let mut after = connect(&proxy);
    says(&mut after, "hello");
    hears(&mut after, "HELLO");
    says(&mut before, "hello");
    hears(&mut before, "hello");
}

#[test]
fn what_is_held_comes_later_and_what_is_dropped_never() {
    for toward in Toward::BOTH {
        let proxy = Proxy::to(echo(false));
        let mut stream = connect(&proxy);
        proxy.set(toward, Flow::Hold);
        says(&mut stream, "held");
        hears_nothing(&mut stream);
        proxy.set(toward, Flow::Pass);
        hears(&mut stream, "held");

        proxy.set(toward, Flow::Drop);
        says(&mut stream, "dropped");
        hears_nothing(&mut stream);
        proxy.set(toward, Flow::Pass);
        says(&mut stream, "passed");
        hears(&mut stream, "passed");
    }
}

#[test]
fn an_end_is_held_too() {
    for flow in [Flow::Hold, Flow::Drop] {
        let proxy = Proxy::to(echo(false));
        let mut stream = connect(&proxy);
        says(&mut stream, "hello");
        hears(&mut stream, "hello");
        proxy.set(Toward::Client, flow);
        stream.shutdown(Shutdown::Write).unwrap();
        hears_nothing(&mut stream);
        proxy.heal();
        if matches!(flow, Flow::Hold) {
            hears(&mut stream, "bye");
        }
        is_over(&mut stream, Ending::Fin);
    }
}

#[test]
fn a_flow_can_be_for_one_connection_or_for_those_to_come() {
    let proxy = Proxy::to(echo(false));
    let mut first = connect(&proxy);
    says(&mut first, "subscribe");
    hears(&mut first, "subscribe");
    proxy.set_for_new(Toward::Client, Flow::Hold);
    let mut second = connect(&proxy);
    says(&mut second, "hello");
    hears_nothing(&mut second);
    says(&mut first, "again");
    hears(&mut first, "again");

    proxy.heal();
    hears(&mut second, "hello");
    let links = proxy.links();
    let subscriber = links.iter().find(|link| link.has_said(b"SUBSCRIBE"));
    subscriber.unwrap().set_both(Flow::Drop);
    says(&mut first, "lost");
    hears_nothing(&mut first);
    says(&mut second, "found");
    hears(&mut second, "found");
}

#[test]
fn a_delay_is_for_each_chunk_and_a_trickle_for_each_piece() {
    let proxy = Proxy::to(echo(false));
    let mut stream = connect(&proxy);
    proxy.set(Toward::Client, Flow::Delay(WHILE));
    let begun = Instant::now();
    says(&mut stream, "late");
    hears(&mut stream, "late");
    assert!(begun.elapsed() >= WHILE);

    let every = Duration::from_millis(5);
    proxy.set(Toward::Client, Flow::Trickle { piece: 3, every });
    let begun = Instant::now();
    says(&mut stream, "trickles down");
    hears(&mut stream, "trickles down");
    assert!(begun.elapsed() >= every * 5);

    // One that would take for ever gives way to another flow at once.
    proxy.set(Toward::Client, Flow::Delay(Duration::from_secs(3600)));
    says(&mut stream, "never");
    hears_nothing(&mut stream);
    proxy.heal();
    hears(&mut stream, "never");
}

#[test]
fn a_cut_comes_after_exactly_so_many_bytes() {
    for ending in [Ending::Fin, Ending::Reset] {
        for after in 0..=5 {
            let proxy = Proxy::to(echo(false));
            let mut stream = connect(&proxy);
            says(&mut stream, "before");
            hears(&mut stream, "before");
            proxy.set(Toward::Client, Flow::Cut { after, ending });
            says(&mut stream, "hello");
            hears(&mut stream, &"hello"[..after]);
            is_over(&mut stream, ending);
            assert_eq!(proxy.bytes(Toward::Client), 6 + after as u64);
            assert_eq!(proxy.links().len(), 0);

            // Of a connection to come, the first bytes count.
            proxy.set(Toward::Client, Flow::Pass);
            proxy.set_for_new(Toward::Server, Flow::Cut { after, ending });
            let mut stream = connect(&proxy);
            says(&mut stream, "hello");
            let mut heard = Vec::new();
            let outcome = stream.read_to_end(&mut heard);
            assert!("hellobye".as_bytes().starts_with(&heard));
            match ending {
                Ending::Reset => assert!(outcome.is_err()),
                _ => drop(outcome.unwrap()),
            }
            assert_eq!(proxy.bytes(Toward::Server), 11 + after as u64);
        }
    }
}

#[test]
fn a_half_close_leaves_the_other_direction_open() {
    let proxy = Proxy::to(echo(false));
    let mut stream = connect(&proxy);
    let cut = Flow::Cut {
        after: 2,
        ending: Ending::HalfClose,
    };
    proxy.set(Toward::Client, cut);
    says(&mut stream, "hello");
    hears(&mut stream, "he");
    is_over(&mut stream, Ending::HalfClose);
    let before = proxy.bytes(Toward::Server);
    says(&mut stream, "more");
    eventually("what the client says arrives", || {
        proxy.bytes(Toward::Server) == before + 4
    });

    let mut stream = {
        proxy.heal();
        connect(&proxy)
    };
    says(&mut stream, "hello");
    hears(&mut stream, "hello");
    let links = proxy.links();
    let last = links.last().unwrap();
    last.end(Toward::Server, Ending::HalfClose);
    hears(&mut stream, "bye");
    is_over(&mut stream, Ending::Fin);
}

#[test]
fn injected_bytes_reach_one_side() {
    let proxy = Proxy::to(echo(true));
    let mut stream = connect(&proxy);
    says(&mut stream, "a");
    hears(&mut stream, "A");
    proxy.inject(Toward::Client, b"unasked");
    hears(&mut stream, "unasked");
    proxy.inject(Toward::Server, b"asked");
    hears(&mut stream, "ASKED");
}

#[test]
fn a_frozen_client_does_not_hold_up_the_end() {
    let proxy = Proxy::to(echo(false));
    let mut stream = connect(&proxy);
    // More than both sockets hold, and nobody reads.
    let mut writer = stream.try_clone().unwrap();
    let writing = thread::spawn(move || writer.write_all(&vec![b'x'; 64 << 20]));
    eventually("it is full", || {
        let before = proxy.bytes(Toward::Client);
        thread::sleep(WHILE);
        before > 0 && proxy.bytes(Toward::Client) == before
    });
    proxy.end_connections(Ending::Reset);
    writing.join().unwrap().expect_err("it is over");
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.len() < 64 << 20);
}

#[test]
fn a_proxy_that_is_dropped_leaves_nothing() {
    let proxy = Proxy::to(echo(false));
    let mut stream = connect(&proxy);
    says(&mut stream, "hello");
    hears(&mut stream, "hello");
    let addr = proxy.addr();
    drop(proxy);
    is_over(&mut stream, Ending::Fin);
    let refused = TcpStream::connect(addr).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_deployment_has_one_in_front_of_every_server() {
    let deployment = Deployment::builder().replicas(1).sentinels(1).start();
    let proxies = Proxies::before(&deployment);
    let master = deployment.master();
    let mut client = testkit::Client::connect(proxies.of(master).port(), PATIENCE).unwrap();
    let role = client.call(&["ROLE"]).unwrap();
    assert_eq!(role.array()[0].as_str(), "master");
    assert_eq!(proxies.of(master).accepted(), 1);
    assert_eq!((proxies.nodes().len(), proxies.sentinels().len()), (2, 1));
    assert_eq!(proxies.sentinel_addrs(), [proxies.sentinels()[0].addr()]);
    for (announced, dialled) in proxies.dial() {
        assert_ne!(announced, dialled);
    }
    proxies.nodes()[0].set_both(Flow::Hold);
    let mut client = testkit::Client::connect(proxies.of(master).port(), WHILE).unwrap();
    assert!(client.call(&["PING"]).is_err());
    proxies.heal();
    let mut client = testkit::Client::connect(proxies.of(master).port(), PATIENCE).unwrap();
    assert_eq!(client.call(&["PING"]).unwrap().as_str(), "PONG");
}
