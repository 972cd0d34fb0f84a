//! The fake servers, judged by the client that the real ones are judged by, and against a real one.
#![allow(
    clippy::disallowed_types,
    reason = "real sockets live by the real clock"
)]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use testkit::fake::{self, Action, FakeServer, NodeRole, SentinelView};
use testkit::{Client, Deployment, Reply, program, redis_version};

const TIMEOUT: Duration = Duration::from_millis(500);

fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.into())
}

fn connect(port: u16) -> Client {
    Client::connect(port, TIMEOUT).expect("the fake listens")
}

#[test]
fn actions_do_to_the_connection_what_they_say() {
    let server = FakeServer::start(|_, words| match words[0].as_slice() {
        b"CLOSE" => Action::Close,
        b"RESET" => Action::Reset,
        b"BYE" => Action::ReplyThenClose(b"+BYE\r\n".to_vec()),
        b"HUSH" => Action::Silence,
        b"SLOW" => Action::Trickle {
            bytes: b"+SLOW\r\n".to_vec(),
            every: Duration::from_millis(10),
        },
        _ => Action::reply("+OK\r\n"),
    });
    let port = server.port();
    let kind = |command| connect(port).call(&[command]).unwrap_err().kind();
    assert_eq!(kind("CLOSE"), ErrorKind::UnexpectedEof);
    assert_eq!(kind("RESET"), ErrorKind::ConnectionReset);
    assert_eq!(kind("HUSH"), ErrorKind::WouldBlock);

    let mut client = connect(port);
    let begun = Instant::now();
    assert_eq!(client.call(&["SLOW"]).unwrap().as_str(), "SLOW");
    assert!(begun.elapsed() >= Duration::from_millis(60));
    assert_eq!(client.call(&["BYE"]).unwrap().as_str(), "BYE");
    assert!(client.read().is_err());

    assert_eq!(server.connections().len(), 4);
    assert_eq!(server.count("slow"), 1);
    assert_eq!(server.connections()[3].commands(), [["SLOW"], ["BYE"]]);
}

#[test]
fn a_dropped_server_closes_its_connections_and_refuses_new_ones() {
    let server = fake::hung();
    let port = server.port();
    let mut stream = TcpStream::connect(server.addr()).unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    server.wait_for_command("PING", 1, TIMEOUT);
    assert_eq!(server.open_connections(), 1);
    drop(server);
    assert_eq!(stream.read(&mut [0; 16]).unwrap(), 0);
    assert!(Client::connect(port, TIMEOUT).is_err());
    let again = FakeServer::start_on(port, |_, _| Action::reply("+OK\r\n"));
    assert_eq!(connect(again.port()).call(&["X"]).unwrap().as_str(), "OK");
}

#[test]
fn a_web_server_is_not_redis() {
    let error = connect(fake::not_redis().port())
        .call(&["PING"])
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
}

#[test]
fn a_sentinel_answers_what_it_was_told_to_see() {
    let sentinel = fake::sentinel(SentinelView::of_master(7000).with_replica(7001));
    let ask = |words: &[&str]| connect(sentinel.port()).call(words).unwrap();
    let get_master = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster"];
    assert_eq!(
        ask(&get_master),
        Reply::Array(vec![bulk("127.0.0.1"), bulk("7000")])
    );

    sentinel.update(|view| {
        view.master = ("127.0.0.1".to_owned(), 7001);
        view.master_before = Some(("127.0.0.1".to_owned(), 7000));
        view.epoch = 4;
    });
    assert_eq!(ask(&get_master).array()[1], bulk("7001"));
    let master = ask(&["SENTINEL", "MASTER", "mymaster"]).fields();
    assert_eq!(master["port"], "7000");
    assert_eq!(master["config-epoch"], "4");

    sentinel.update(|view| view.known = false);
    assert!(ask(&get_master).is_nil());
    let unknown = ask(&["SENTINEL", "REPLICAS", "mymaster"]);
    assert_eq!(unknown.error(), Some("ERR No such master with that name"));

    sentinel.set(
        SentinelView::of_master(7000)
            .with_override("sentinel get-master-addr-by-name", Action::reply("*0\r\n")),
    );
    assert_eq!(ask(&get_master), Reply::Array(Vec::new()));
}

#[test]
fn a_sentinel_tells_its_subscribers() {
    let sentinel = fake::sentinel(SentinelView::of_master(7000));
    let mut client = connect(sentinel.port());
    client.send(&["SUBSCRIBE", "+sdown", "+odown"]).unwrap();
    for (channel, count) in [("+sdown", 1), ("+odown", 2)] {
        let expected = [bulk("subscribe"), bulk(channel), Reply::Int(count)];
        assert_eq!(client.read().unwrap().array(), expected);
    }
    client.call(&["PSUBSCRIBE", "*"]).unwrap();
    assert_eq!(sentinel.subscribers(), 1);
    sentinel.publish("+sdown", "master mymaster 127.0.0.1 7000");
    let payload = bulk("master mymaster 127.0.0.1 7000");
    let message = [bulk("message"), bulk("+sdown"), payload.clone()];
    assert_eq!(client.read().unwrap().array(), message);
    let message = [bulk("pmessage"), bulk("*"), bulk("+sdown"), payload];
    assert_eq!(client.read().unwrap().array(), message);
    let pong = [bulk("pong"), bulk("")];
    assert_eq!(client.call(&["PING"]).unwrap().array(), pong);
}

#[test]
fn a_fake_sentinel_and_a_fake_node_answer_in_the_form_of_real_ones() {
    let deployment = Deployment::start();
    let real_sentinel = &deployment.sentinels()[0];
    let [master, replica] = [0, 1].map(|index| deployment.nodes()[index].port());
    let peer = deployment.sentinels()[1].port();
    let view = SentinelView::of_master(master)
        .with_replica(replica)
        .with_sentinel(peer);
    let sentinel = fake::sentinel(view);
    let commands = [
        "SENTINEL GET-MASTER-ADDR-BY-NAME mymaster",
        "SENTINEL GET-MASTER-ADDR-BY-NAME other",
        "SENTINEL MASTER mymaster",
        "SENTINEL REPLICAS mymaster",
        "SENTINEL SENTINELS mymaster",
        "SENTINEL MASTER other",
        "SENTINEL FOO",
        "SENTINEL MYID",
        "SENTINEL CKQUORUM mymaster",
        "PING",
        "ROLE",
        "HELLO",
        "HELLO 4",
        "SELECT 1",
        "AUTH secret",
        "AUTH user secret",
        "CLIENT SETINFO LIB-NAME x",
        "SUBSCRIBE +switch-master",
    ];
    for command in commands {
        if command.starts_with("CLIENT SETINFO") && redis_version() >= (7, 2) {
            eprintln!(
                "left out: {command}; the fake is of 7.0 and {} knows it",
                program()
            );
            continue;
        }
        let words: Vec<&str> = command.split(' ').collect();
        let fake = connect(sentinel.port()).call(&words).unwrap();
        assert_eq!(shape(&fake), shape(&real_sentinel.cmd(&words)), "{command}");
    }

    let nodes = [
        (fake::node(NodeRole::Master), deployment.master()),
        (
            fake::node(NodeRole::replica_of(master)),
            &deployment.nodes()[1],
        ),
    ];
    for (fake, real) in nodes {
        for command in [
            "HELLO 2",
            "SELECT 1",
            "SET k v",
            "GET nothing",
            "FOO bar",
            "CLIENT GETNAME",
        ] {
            let words: Vec<&str> = command.split(' ').collect();
            let reply = connect(fake.port()).call(&words).unwrap();
            assert_eq!(shape(&reply), shape(&real.cmd(&words)), "{command}");
        }
        let role = connect(fake.port()).call(&["ROLE"]).unwrap();
        assert_eq!(role.array()[0], real.cmd(&["ROLE"]).array()[0]);
        assert_eq!(role.array().len(), real.cmd(&["ROLE"]).array().len());
    }
}

/// A reply without what differs from run to run: values of fields, numbers, lists' lengths.
fn shape(reply: &Reply) -> Vec<String> {
    match reply {
        Reply::Array(items) if items.len() >= 12 => items
            .chunks(2)
            .map(|pair| pair[0].as_str().to_owned())
            .collect(),
        Reply::Array(items)
            if items
                .first()
                .is_some_and(|item| matches!(item, Reply::Array(_))) =>
        {
            shape(&items[0])
        }
        Reply::Array(items) => items.iter().flat_map(shape).collect(),
        Reply::Status(text) => vec![format!(
            "+{}",
            text.split_once(' ')
                .map_or(text.as_str(), |(first, _)| first)
        )],
        // The fakes are of 7.0; before, servers refused in other words.
        Reply::Error(text) if redis_version() < (7, 0) => {
            vec![format!("-{}", text.split(' ').next().unwrap_or_default())]
        }
        Reply::Error(text) => vec![format!("-{text}")],
        Reply::Bulk(_) => vec!["$".to_owned()],
        Reply::Int(_) => vec![":".to_owned()],
        Reply::Nil => vec!["nil".to_owned()],
    }
}

#[test]
fn a_node_can_change_its_role_and_its_mood() {
    let node = fake::node(NodeRole::replica_of(7000));
    let mut client = connect(node.port());
    assert!(client.call(&["SET", "k", "v"]).unwrap().is_error());
    node.set_role(NodeRole::Master);
    assert_eq!(client.call(&["SET", "k", "v"]).unwrap().as_str(), "OK");
    assert_eq!(client.call(&["GET", "k"]).unwrap(), bulk("v"));
    node.set_override(Some(Action::reply(
        "-LOADING Redis is loading the dataset in memory\r\n",
    )));
    assert!(client.call(&["GET", "k"]).unwrap().is_error());
    node.set_override(None);
    node.set_password(Some("secret"));
    assert!(client.call(&["GET", "k"]).unwrap().is_error());
    assert_eq!(client.call(&["AUTH", "secret"]).unwrap().as_str(), "OK");
    assert_eq!(client.call(&["GET", "k"]).unwrap(), bulk("v"));
}
