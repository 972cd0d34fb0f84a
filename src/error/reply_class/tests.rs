use super::*;

#[test]
fn what_each_reply_says_about_its_node() {
    for (line, class) in [
        ("+OK", ReplyClass::NoSignal),
        ("-ERR no such key", ReplyClass::NoSignal),
        ("-WRONGTYPE of key", ReplyClass::NoSignal),
        ("-MISCONF cannot save", ReplyClass::NoSignal),
        ("-OOM command not allowed", ReplyClass::NoSignal),
        (
            "-NOREPLICAS Not enough good replicas",
            ReplyClass::CheckNode,
        ),
        ("-UNBLOCKED force unblock", ReplyClass::CheckNode),
        ("-LOADING Redis is loading", ReplyClass::NotServing),
        (
            "-MASTERDOWN Link with MASTER is down",
            ReplyClass::NotServing,
        ),
        ("-READONLY You can't write", ReplyClass::ReadOnly),
        ("-REDIRECT 127.0.0.1:6380", ReplyClass::ReadOnly),
        (
            "-EXECABORT because of previous errors.",
            ReplyClass::NoSignal,
        ),
        (
            "-EXECABORT Transaction discarded because of: READONLY You can't write",
            ReplyClass::ReadOnly,
        ),
        (
            "-EXECABORT Transaction discarded because of: NOREPLICAS Not enough",
            ReplyClass::CheckNode,
        ),
    ] {
        let reply = redis::parse_redis_value(format!("{line}\r\n").as_bytes()).unwrap();
        assert_eq!(ReplyClass::of(&reply), class, "{line}");
    }
}

#[test]
fn a_replica_may_refuse_to_write_and_a_node_that_is_loading_will_serve_again() {
    for (class, role, refuses, retires) in [
        (ReplyClass::NoSignal, Role::Master, false, false),
        (ReplyClass::NoSignal, Role::Replica, false, false),
        (ReplyClass::CheckNode, Role::Master, false, false),
        (ReplyClass::CheckNode, Role::Replica, false, false),
        (ReplyClass::NotServing, Role::Master, true, false),
        (ReplyClass::NotServing, Role::Replica, true, false),
        (ReplyClass::ReadOnly, Role::Master, true, true),
        (ReplyClass::ReadOnly, Role::Replica, false, false),
    ] {
        let told = (class.refuses(role), class.retires(role));
        assert_eq!(told, (refuses, retires), "{class:?} {role:?}");
    }
}
