use super::*;

#[test]
fn what_each_reply_says_about_its_node() {
    for (line, doubt) in [
        ("+OK", Doubt::None),
        ("-ERR no such key", Doubt::None),
        ("-WRONGTYPE of key", Doubt::None),
        ("-MISCONF cannot save", Doubt::None),
        ("-OOM command not allowed", Doubt::None),
        ("-NOREPLICAS Not enough good replicas", Doubt::Node),
        ("-UNBLOCKED force unblock", Doubt::Node),
        ("-LOADING Redis is loading", Doubt::Service),
        ("-MASTERDOWN Link with MASTER is down", Doubt::Service),
        ("-READONLY You can't write", Doubt::Role),
        ("-REDIRECT 127.0.0.1:6380", Doubt::Role),
        ("-EXECABORT because of previous errors.", Doubt::None),
        (
            "-EXECABORT Transaction discarded because of: READONLY You can't write",
            Doubt::Role,
        ),
        (
            "-EXECABORT Transaction discarded because of: NOREPLICAS Not enough",
            Doubt::Node,
        ),
    ] {
        let reply = redis::parse_redis_value(format!("{line}\r\n").as_bytes()).unwrap();
        assert_eq!(Doubt::of(&reply), doubt, "{line}");
    }
}

#[test]
fn a_replica_may_refuse_to_write_and_who_is_loading_will_serve_again() {
    for (doubt, role, refuses, condemns) in [
        (Doubt::None, Role::Master, false, false),
        (Doubt::None, Role::Replica, false, false),
        (Doubt::Node, Role::Master, false, false),
        (Doubt::Node, Role::Replica, false, false),
        (Doubt::Service, Role::Master, true, false),
        (Doubt::Service, Role::Replica, true, false),
        (Doubt::Role, Role::Master, true, true),
        (Doubt::Role, Role::Replica, false, false),
    ] {
        let told = (doubt.refuses(role), doubt.condemns(role));
        assert_eq!(told, (refuses, condemns), "{doubt:?} {role:?}");
    }
}
