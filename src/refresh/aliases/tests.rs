use super::*;
use crate::{
    refresh::decide::node_report::{exclusion, names_as_master},
    sentinel::{event::EventKind, flags::Flags},
    topology::excluded::Excluded,
};

const PORT: u16 = 6379;
const LONG: &str = "redis-0.hl.ns.svc.cluster.local";
const SHORT: &str = "redis-0.hl";

fn node(host: &str) -> Node {
    Node::new(host, PORT)
}

fn listed(host: &str, run_id: Option<&str>) -> ReplicaInfo {
    ReplicaInfo {
        node: node(host),
        flags: Flags::parse(b"slave"),
        link_ok: Some(true),
        link_down_for: None,
        master: None,
        reports_master: false,
        run_id: run_id.map(str::to_owned),
    }
}

/// What a Sentinel says that names this master and these replicas, each with its run id.
fn answer(master: (&str, Option<&str>), replicas: &[(&str, Option<&str>)]) -> Answer {
    Answer {
        view: Some(View {
            master: node(master.0),
            epoch: 1,
            replicas: replicas
                .iter()
                .map(|(host, id)| listed(host, *id))
                .collect(),
            informed: true,
            master_down: false,
        }),
        master_run_id: master.1.map(|id| (node(master.0), id.to_owned())),
        ..Answer::default()
    }
}

fn follower_of(host: &str) -> NodeReport {
    NodeReport::Replica {
        master: node(host),
        link: None,
        unclear: false,
    }
}

#[derive(Default)]
struct Known {
    current: Topology,
    configured: Vec<Node>,
    answers: Vec<Answer>,
    node_reports: NodeReports,
    identities: HashMap<Node, Identity>,
    addresses: Addresses,
}

impl Known {
    fn master(mut self, host: &str) -> Self {
        self.current.master = Some(node(host));
        self
    }

    fn lists(mut self, host: &str) -> Self {
        self.configured.push(node(host));
        self
    }

    fn hears(mut self, answer: Answer) -> Self {
        self.answers.push(answer);
        self
    }

    fn proves(mut self, host: &str, node_report: NodeReport) -> Self {
        self.node_reports.insert(node(host), node_report);
        self
    }

    fn identifies(mut self, host: &str, run_id: &str, timeline: &str) -> Self {
        let identity = Identity {
            run_id: Some(run_id.to_owned()),
            timeline: Some(timeline.to_owned()),
            zone: None,
        };
        self.identities.insert(node(host), identity);
        self
    }

    fn resolves(mut self, host: &str, addresses: &[&str]) -> Self {
        let addresses = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
        self.addresses.insert(host.to_owned(), addresses);
        self
    }

    fn learn(&self) -> Aliases {
        Aliases::learn(&Clues {
            current: &self.current,
            listed: &self.configured,
            answers: &self.answers.iter().collect::<Vec<_>>(),
            node_reports: &self.node_reports,
            identities: &self.identities,
            addresses: &self.addresses,
        })
    }

    fn one(&self, a: &str, b: &str) -> bool {
        let aliases = self.learn();
        aliases.node(&node(a)) == aliases.node(&node(b))
    }
}

#[test]
fn a_configured_second_name_stays_one_while_its_server_is_asked_again() {
    let known = Known::default()
        .master("a")
        .proves("a", NodeReport::Master)
        .identifies("a", "id", "timeline")
        .identifies("b", "id", "timeline");
    assert!(!known.one("a", "b"), "nothing says that it is a node");
    assert!(known.lists("a").lists("b").one("a", "b"));
}

#[test]
fn what_makes_two_addresses_one_server() {
    let two = |a: &str, b: &str| {
        Known::default()
            .hears(answer((a, None), &[]))
            .hears(answer((b, None), &[]))
    };
    let cases = [
        ("nothing", two(LONG, "10.0.0.1"), false),
        ("nothing but text", two("10.0.0.1", "10.0.0.2"), false),
        ("case and a last dot", two("Redis-0.HL.", SHORT), true),
        (
            "another spelling of the IP",
            two("::1", "0:0:0:0:0:0:0:1"),
            true,
        ),
        ("IPv4 within IPv6", two("::ffff:10.0.0.1", "10.0.0.1"), true),
        (
            "the name resolves to the IP",
            two(LONG, "10.0.0.1").resolves(LONG, &["10.0.0.1"]),
            true,
        ),
        (
            "one of two families does",
            two(LONG, "10.0.0.1").resolves(LONG, &["2001:db8::1", "10.0.0.1"]),
            true,
        ),
        (
            "both names resolve to one IP",
            two(LONG, SHORT)
                .resolves(LONG, &["10.0.0.1"])
                .resolves(SHORT, &["10.0.0.1"]),
            true,
        ),
        (
            "they resolve to two",
            two(LONG, SHORT)
                .resolves(LONG, &["10.0.0.1"])
                .resolves(SHORT, &["10.0.0.2"]),
            false,
        ),
        (
            "a headless service stands for several servers",
            two("hl", "10.0.0.1").resolves("hl", &["10.0.0.1", "10.0.0.2"]),
            false,
        ),
        (
            "the Sentinels know one run id",
            Known::default()
                .hears(answer(("10.0.0.1", Some("a")), &[]))
                .hears(answer(("127.0.1.1", Some("a")), &[])),
            true,
        ),
        (
            "they know two",
            Known::default()
                .hears(answer(("10.0.0.1", Some("a")), &[]))
                .hears(answer(("127.0.1.1", Some("b")), &[])),
            false,
        ),
        (
            "the nodes themselves tell",
            two(LONG, "10.0.0.1")
                .identifies(LONG, "a", "t")
                .identifies("10.0.0.1", "a", "t"),
            true,
        ),
    ];
    for (why, known, expected) in cases {
        let hosts: Vec<_> = known
            .answers
            .iter()
            .map(|a| a.view.as_ref().unwrap().master.host())
            .collect();
        assert_eq!(known.one(hosts[0], hosts[1]), expected, "{why}");
    }
}

#[test]
fn ports_tell_servers_apart() {
    let known = Known {
        answers: vec![Answer {
            view: Some(View {
                master: Node::new("10.0.0.1", 1),
                epoch: 1,
                replicas: vec![ReplicaInfo {
                    node: Node::new("10.0.0.1", 2),
                    ..listed("", None)
                }],
                informed: true,
                master_down: false,
            }),
            ..Answer::default()
        }],
        ..Known::default()
    };
    let aliases = known.learn();
    assert_ne!(
        aliases.node(&Node::new("10.0.0.1", 1)),
        aliases.node(&Node::new("10.0.0.1", 2))
    );
}

#[test]
fn a_replica_that_knows_its_master_by_another_name_follows_it() {
    let stage = || {
        Known::default()
            .master(LONG)
            .hears(answer((LONG, None), &[("redis-1", None)]))
            .proves(LONG, NodeReport::Master)
            .proves("redis-1", follower_of(SHORT))
    };
    let follows = |known: &Known| {
        let node_reports = known.learn().node_reports(&known.node_reports);
        let node_report = node_reports.get(&node("redis-1"));
        (
            names_as_master(node_report, &node(LONG)),
            exclusion(node_report.unwrap(), &node(LONG)),
        )
    };
    let resolved = stage()
        .resolves(LONG, &["10.0.0.1"])
        .resolves(SHORT, &["10.0.0.1"]);
    assert_eq!(follows(&resolved), (true, None));
    // No name need resolve where both may say INFO.
    let timeline = stage()
        .identifies(LONG, "a", "history")
        .identifies("redis-1", "b", "history");
    assert_eq!(follows(&timeline), (true, None));
    // Where nothing tells, what the Sentinels say is not contradicted.
    assert_eq!(follows(&stage()), (false, None));
    let elsewhere = stage()
        .resolves(LONG, &["10.0.0.1"])
        .resolves(SHORT, &["10.0.0.9"]);
    let (follows, excluded) = follows(&elsewhere);
    assert!(!follows);
    assert!(matches!(excluded, Some(Excluded::WrongMaster { .. })));
}

#[test]
fn a_replica_of_a_replica_does_not_follow_the_master_although_it_has_its_history() {
    let known = Known::default()
        .master("m")
        .hears(answer(("m", None), &[("r", None), ("s", None)]))
        .proves("m", NodeReport::Master)
        .proves("r", follower_of("m"))
        .proves("s", follower_of("r"))
        .identifies("m", "1", "t")
        .identifies("r", "2", "t")
        .identifies("s", "3", "t");
    let node_reports = known.learn().node_reports(&known.node_reports);
    assert!(names_as_master(node_reports.get(&node("s")), &node("r")));
    assert!(names_as_master(node_reports.get(&node("r")), &node("m")));
}

#[test]
fn a_server_goes_by_the_address_it_has_as_long_as_it_is_reached_by_it() {
    let stage = || {
        Known::default()
            .hears(answer(("127.0.1.1", Some("a")), &[]))
            .hears(answer(("10.0.0.1", Some("a")), &[]))
            .hears(answer(("10.0.0.1", Some("a")), &[]))
    };
    let failed = || NodeReport::Failed("refused".into());
    for (why, known, expected) in [
        ("most announce it", stage(), "10.0.0.1"),
        ("it has that one", stage().master("127.0.1.1"), "127.0.1.1"),
        (
            "at first, what is reached",
            stage().proves("127.0.1.1", NodeReport::Master),
            "127.0.1.1",
        ),
        (
            "not reached, and the other not tried",
            stage().master("127.0.1.1").proves("127.0.1.1", failed()),
            "127.0.1.1",
        ),
        (
            "not reached, and the other is",
            stage()
                .master("127.0.1.1")
                .proves("127.0.1.1", failed())
                .proves("10.0.0.1", NodeReport::Master),
            "10.0.0.1",
        ),
    ] {
        let aliases = known.learn();
        for host in ["127.0.1.1", "10.0.0.1"] {
            assert_eq!(aliases.node(&node(host)), node(expected), "{why}");
        }
    }
    let lost = stage().master("127.0.1.1").proves("127.0.1.1", failed());
    assert_eq!(
        lost.learn().alternatives(&lost.node_reports),
        [node("10.0.0.1")],
        "it is tried by its other address"
    );
    assert!(stage().learn().alternatives(&NodeReports::new()).is_empty());
}

#[test]
fn a_replica_under_two_addresses_is_one_replica() {
    let mut known = Known::default()
        .master("m")
        .hears(answer(("m", None), &[("10.0.0.2", Some("r"))]))
        .hears(answer(("m", None), &[("redis-1", Some("r"))]));
    for host in ["10.0.0.2", "redis-1"] {
        known.current.replicas.push(Replica {
            node: node(host),
            excluded: (host == "redis-1").then_some(Excluded::NotProven),
            since: 1,
            synced: true,
            orphaned: false,
            unlisted: None,
        });
    }
    let aliases = known.learn();
    let topology = aliases.topology(&known.current);
    let nodes: Vec<_> = topology.replicas.iter().map(|r| r.node.host()).collect();
    assert_eq!(nodes, ["10.0.0.2"]);
    assert!(topology.replicas[0].is_readable());
    for answer in &known.answers {
        let view = aliases.answer(answer).view.unwrap();
        assert_eq!(view.replicas[0].node, node("10.0.0.2"));
    }
}

#[test]
fn of_two_entries_for_one_server_the_one_that_tells_more_counts() {
    let mut both = answer(
        ("m", None),
        &[("10.0.0.2", Some("r")), ("redis-1", Some("r"))],
    );
    let view = both.view.as_mut().unwrap();
    view.replicas[0].flags = Flags::parse(b"s_down,slave,disconnected");
    let known = Known::default().master("m").hears(both.clone());
    let view = known.learn().answer(&both).view.unwrap();
    assert_eq!(view.replicas.len(), 1);
    assert!(!view.replicas[0].flags.has(Flag::SubjectivelyDown));
}

#[test]
fn a_sentinel_publishes_about_its_master_whatever_it_calls_it() {
    let known = Known::default()
        .master("m")
        .hears(answer(("m", Some("a")), &[("r", Some("b"))]))
        .hears(answer(("127.0.1.1", Some("a")), &[]))
        .hears(answer(("other", Some("c")), &[]));
    let aliases = known.learn();
    for (called, expected) in [
        ("m", "m"),
        ("127.0.1.1", "m"),
        ("never-heard", "m"),
        ("r", "r"),
        ("other", "other"),
    ] {
        let event = Event {
            kind: EventKind::TryFailover,
            node: Some(node(called)),
            master: Some(node(called)),
        };
        let event = aliases.event(&event, Some(&node("m")));
        assert_eq!(event.master, Some(node(expected)), "{called}");
    }
}
