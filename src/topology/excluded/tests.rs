use super::*;

#[test]
fn reads_as_a_reason() {
    for (excluded, text) in [
        (Excluded::IsMaster, "is the master"),
        (Excluded::Promoted, "is being promoted"),
        (Excluded::ReportsMaster, "reports the role master"),
        (Excluded::SubjectivelyDown, "is down according to sentinel"),
        (Excluded::LinkDown { since: None }, "has lost its master"),
        (
            Excluded::LinkDown {
                since: Some(Duration::from_millis(1500)),
            },
            "has lost its master for 1.5s",
        ),
        (
            Excluded::WrongMaster {
                follows: "a:1".into(),
            },
            "follows another master, a:1",
        ),
        (
            Excluded::Syncing {
                state: "sync".into(),
            },
            "is not in sync with its master: sync",
        ),
        (
            Excluded::CatchingUp,
            "has yet to apply what its master had before",
        ),
        (
            Excluded::Silent {
                within: Duration::from_millis(300),
            },
            "did not answer within 300ms",
        ),
        (
            Excluded::Unreachable {
                error: "timed out".into(),
            },
            "is unreachable: timed out",
        ),
        (Excluded::NotProven, "has not yet proved its role"),
    ] {
        assert_eq!(excluded.to_string(), text);
    }
}
