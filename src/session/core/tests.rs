use super::*;
use crate::{
    config::Config,
    position::{
        report::Report,
        testing::{master, replica, token},
    },
    topology::Handle,
    util::runtime::Runtime,
    wire::position_question::Answer,
};

fn core() -> Core {
    let config = Arc::new(Config::new(["s"], "mymaster"));
    let shared = Shared::new(config, Arc::new(Handle::new()), Runtime::current());
    Core::new(Arc::new(shared))
}

fn behind(report: Report) -> Answers {
    let behind = Answer::new(Ok(report));
    Answers {
        ahead: None,
        behind: Some(behind),
    }
}

const REPLICA: Role = Role::Replica;

#[tokio::test]
async fn nothing_is_asked_until_there_is_something_to_see() {
    let core = core();
    assert_eq!(core.want(true, REPLICA), Want::NOTHING);
    assert_eq!(core.want(true, Role::Master), Want::NOTHING);
    assert_eq!(core.want(false, Role::Master), Want::BEHIND);
    core.settled(&behind(master('a', 10)), false);
    assert_eq!(core.need(), Need::After(token('a', 10)));
    assert_eq!(core.want(true, REPLICA), Want::AHEAD);
    assert_eq!(core.want(true, Role::Master), Want::NOTHING);
    core.settled(&behind(replica('a', 99)), true);
    assert_eq!(core.token(), Some(token('a', 10)));
}

#[tokio::test]
async fn with_a_max_staleness_reads_need_what_was_written_and_nothing_older() {
    let age = Duration::from_secs(5);
    let core = Core {
        max_staleness: Some(age),
        ..core()
    };
    assert_eq!(core.need(), Need::Within(age));
    assert_eq!(core.want(true, REPLICA), Want::AHEAD);
    core.settled(&behind(master('a', 10)), false);
    assert_eq!(core.need(), Need::AfterAndWithin(token('a', 10), age));
    core.unknown();
    assert!(matches!(core.need(), Need::MasterNow { .. }), "{core:?}");
}

#[tokio::test]
async fn a_monotonic_session_asks_behind_its_reads() {
    let core = core();
    core.set_monotonic(true);
    assert_eq!(core.want(true, REPLICA), Want::BEHIND);
    assert_eq!(core.want(true, Role::Master), Want::BEHIND);
    core.settled(&behind(replica('a', 10)), true);
    assert_eq!(core.token(), Some(token('a', 10)));
    assert_eq!(core.want(true, REPLICA), Want::BOTH);
    // Where the answer did not come.
    core.settled(&Answers::default(), true);
    assert!(matches!(core.need(), Need::MasterNow { .. }));
}

#[tokio::test]
async fn a_write_without_a_masters_position_leaves_the_session_in_doubt() {
    for answers in [Answers::default(), behind(replica('a', 10))] {
        let core = core();
        core.settled(&answers, false);
        let Need::MasterNow { doubts, .. } = core.need() else {
            panic!("{core:?}");
        };
        assert_eq!(core.want(true, REPLICA), Want::AHEAD);
        core.asked(&token('a', 12), doubts);
        assert_eq!(core.need(), Need::After(token('a', 12)));
    }
}

#[tokio::test]
async fn what_reads_tell_is_the_state() {
    let core = core();
    core.told(SessionState::Consistent);
    assert_eq!(core.state(), SessionState::Consistent);
    core.told(SessionState::Unknown);
    assert_eq!(core.state(), SessionState::Unknown);
}
