use super::*;
use crate::{
    config::ReadFrom,
    topology::{Replica, excluded::Excluded},
};

fn node(host: &str) -> Node {
    Node::new(host, 6379)
}

fn topology(master: &str, replicas: &[&str]) -> Topology {
    let replica = |host: &&str| Replica {
        node: node(host),
        excluded: None,
        since: 1,
        synced: true,
        orphaned: false,
        unlisted: None,
    };
    Topology {
        master: Some(node(master)),
        replicas: replicas.iter().map(replica).collect(),
        ..Topology::default()
    }
}

/// What is known of the nodes in a test.
#[derive(Default)]
struct Known {
    aliases: Aliases,
    addresses: Addresses,
    identities: HashMap<Node, Identity>,
    round_trips: HashMap<Node, RoundTrips>,
}

impl Known {
    fn preferred(&self, config: &Config, topology: &Topology, before: &[Node]) -> Vec<String> {
        let facts = Facts {
            config,
            aliases: &self.aliases,
            addresses: &self.addresses,
            identities: &self.identities,
            round_trips: &self.round_trips,
        };
        let preferred = facts.preferred(topology, before);
        preferred
            .iter()
            .map(|node| node.host().to_owned())
            .collect()
    }
}

fn preferring(prefer: &str) -> Config {
    let prefer: Prefer = prefer.parse().unwrap();
    Config::new(["10.0.0.9"], "mymaster").with(|c| c.prefer = prefer)
}

#[test]
fn hosts_are_known_by_their_names_by_what_these_resolve_to_and_by_what_is_dialled() {
    let mut known = Known::default();
    let addresses = vec!["10.1.0.9".parse().unwrap()];
    known.addresses.insert("redis-c".to_owned(), addresses);
    let deployment = topology("10.1.0.1", &["redis-c", "10.2.0.1", "redis-a"]);
    for (prefer, expected) in [
        ("nobody", &[][..]),
        ("hosts:10.1.0.0/16", &["10.1.0.1", "redis-c"]),
        ("hosts:redis-?", &["redis-a", "redis-c"]),
        ("hosts:REDIS-A.,10.2.0.1:6379", &["10.2.0.1", "redis-a"]),
        ("hosts:10.2.0.1:6380", &[]),
        (
            "hosts:*,10.1.0.0/16",
            &["10.1.0.1", "10.2.0.1", "redis-a", "redis-c"],
        ),
        ("hosts:10.9.0.0/16", &[]),
    ] {
        let preferred = known.preferred(&preferring(prefer), &deployment, &[]);
        assert_eq!(preferred, expected, "{prefer}");
    }

    let map = [(node("redis-a"), Node::new("10.9.0.7", 16379))];
    let config =
        preferring("hosts:10.9.0.0/16").with(|c| c.address_map = Some(map.into_iter().collect()));
    assert_eq!(known.preferred(&config, &deployment, &[]), ["redis-a"]);
}

#[test]
fn a_zone_has_those_that_say_so() {
    let mut known = Known::default();
    for (host, zone) in [
        ("a", Some("one")),
        ("b", Some("two")),
        ("c", None),
        ("m", Some("one")),
    ] {
        let identity = Identity {
            zone: zone.map(str::to_owned),
            ..Identity::default()
        };
        known.identities.insert(node(host), identity);
    }
    let deployment = topology("m", &["a", "b", "c", "d"]);
    for (zone, expected) in [
        ("zone:one", &["a", "m"][..]),
        ("zone:two", &["b"]),
        ("zone:One", &[]),
        ("zone:three", &[]),
    ] {
        let preferred = known.preferred(&preferring(zone), &deployment, &[]);
        assert_eq!(preferred, expected, "{zone}");
    }
}

#[test]
fn the_nearest_are_all_within_the_window_and_leave_it_later_than_they_enter() {
    let mut known = Known::default();
    for (host, micros) in [
        ("m", 100),
        ("a", 1000),
        ("b", 2900),
        ("c", 3500),
        ("d", 4100),
    ] {
        let mut round_trips = RoundTrips::default();
        round_trips.note(Duration::from_micros(micros));
        known.round_trips.insert(node(host), round_trips);
    }
    let mut deployment = topology("m", &["a", "b", "c", "d", "unheard"]);
    let mut config = preferring("nearest:2ms");
    let all = ["a", "b", "c", "d", "m"].map(node);
    // Reads do not go to the master, so it is not the fastest of those that they go to.
    assert_eq!(known.preferred(&config, &deployment, &[]), ["a", "b"]);
    assert_eq!(known.preferred(&config, &deployment, &all), ["a", "b", "c"]);
    config.read_from = ReadFrom::Any;
    assert_eq!(known.preferred(&config, &deployment, &[]), ["a", "m"]);
    assert_eq!(known.preferred(&config, &deployment, &all), ["a", "b", "m"]);

    // One that is left out is no measure for the others.
    config.read_from = ReadFrom::Replica;
    deployment.replicas[0].excluded = Some(Excluded::SubjectivelyDown);
    assert_eq!(known.preferred(&config, &deployment, &[]), ["b", "c", "d"]);
    assert!(
        Known::default()
            .preferred(&config, &deployment, &[])
            .is_empty()
    );
}
