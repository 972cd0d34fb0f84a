//! The tests of `checkout::contract` that need no redis-server.

use std::time::Duration;

use redis_rw_pool::{
    AddressMap, Config, Connection, Error, Node, Pool, PoolLimits, Protocol, ReadFrom, ReplyLimits,
    Status, Topology,
};

use super::super::contract::is;

#[test]
fn public_types_can_be_shared_and_shown() {
    is::<Pool>();
    is::<Connection>();
    is::<Config>();
    is::<Error>();
    is::<Topology>();
    is::<Status>();
    fn clones<T: Clone>() {}
    clones::<Pool>();
    clones::<Config>();
    clones::<Error>();
    clones::<Status>();
    fn error<T: std::error::Error>() {}
    error::<Error>();
}

#[test]
fn every_field_can_be_set() {
    let mut config = Config::new(vec![String::from("127.0.0.1:26379")], "mymaster");
    config.sentinels.push("127.0.0.1:26380".into());
    config.master_name = "other".into();
    config.sentinel_username = Some("sentinel".into());
    config.sentinel_password = Some("secret".into());
    config.username = Some("app".into());
    config.password = Some("secret".into());
    config.db = 3;
    config.client_name = Some("app".into());
    config.write.max_active = 32;
    config.write.max_idle = None;
    config.write.min_idle = 1;
    config.write.wait_timeout = Some(Duration::ZERO);
    config.read = PoolLimits::default();
    config.read.idle_timeout = Some(Duration::from_secs(240));
    config.read.max_lifetime = None;
    config.read.test_idle_after = Some(Duration::from_secs(10));
    config.read_from = ReadFrom::Any;
    config.protocol = Protocol::Resp2;
    config.connect_timeout = Duration::from_secs(1);
    config.command_timeout = None;
    config.sentinel_timeout = Duration::from_millis(300);
    config.refresh_interval = Duration::from_secs(10);
    config.failover_timeout = Duration::from_secs(30);
    config.address_map = Some(AddressMap::new(|node| Node::new("localhost", node.port())));
    config.reply_limits = ReplyLimits::default();
    config.validate().expect("nothing contradicts");
    let url = "redis-sentinel://app:secret@127.0.0.1/3?max_active=8#mymaster";
    let from_url = Config::from_url(url).expect("well-formed");
    assert_eq!((from_url.write.max_active, from_url.db), (8, 3));
}
