use super::*;

#[test]
fn what_each_reply_says_about_its_node() {
    for (line, class) in [
        ("+OK", ReplyClass::None),
        ("-ERR no such key", ReplyClass::None),
        ("-WRONGTYPE of key", ReplyClass::None),
        ("-MISCONF cannot save", ReplyClass::None),
        ("-OOM command not allowed", ReplyClass::None),
        ("-NOREPLICAS Not enough good replicas", ReplyClass::Node),
        ("-UNBLOCKED force unblock", ReplyClass::Node),
        ("-LOADING Redis is loading", ReplyClass::Service),
        ("-MASTERDOWN Link with MASTER is down", ReplyClass::Service),
        ("-READONLY You can't write", ReplyClass::Role),
        ("-REDIRECT 127.0.0.1:6380", ReplyClass::Role),
        ("-EXECABORT because of previous errors.", ReplyClass::None),
        (
            "-EXECABORT Transaction discarded because of: READONLY You can't write",
            ReplyClass::Role,
        ),
        (
            "-EXECABORT Transaction discarded because of: NOREPLICAS Not enough",
            ReplyClass::Node,
        ),
    ] {
        let reply = redis::parse_redis_value(format!("{line}\r\n").as_bytes()).unwrap();
        assert_eq!(ReplyClass::of(&reply), class, "{line}");
    }
}

#[test]
fn a_replica_may_refuse_to_write_and_who_is_loading_will_serve_again() {
    for (class, role, refuses, condemns) in [
        (ReplyClass::None, Role::Master, false, false),
        (ReplyClass::None, Role::Replica, false, false),
        (ReplyClass::Node, Role::Master, false, false),
        (ReplyClass::Node, Role::Replica, false, false),
        (ReplyClass::Service, Role::Master, true, false),
        (ReplyClass::Service, Role::Replica, true, false),
        (ReplyClass::Role, Role::Master, true, true),
        (ReplyClass::Role, Role::Replica, false, false),
    ] {
        let told = (class.refuses(role), class.condemns(role));
        assert_eq!(told, (refuses, condemns), "{class:?} {role:?}");
    }
}
