//! What a shared connection carries at most, and who waits beyond that.

use redis::pipe;

use crate::support::{SOON, Side, Stage, ask, eventually, side_by_side, value_of};

#[tokio::test]
async fn a_transaction_larger_than_the_limit_goes_in_one_piece() {
    for max_in_flight in [1, 5] {
        let stage = Stage::own(Side::Write, |config| {
            config.multiplexed.max_in_flight = max_in_flight;
        })
        .await;
        let writer = stage.pool.writer();
        let all = (0..12).map(|caller| {
            let mut writer = writer.clone();
            async move {
                for round in 0..10 {
                    let mut transaction = pipe();
                    transaction.atomic();
                    for n in 0..20 {
                        transaction.cmd("ECHO").arg(format!("{caller} {round} {n}"));
                    }
                    let echoes: Vec<String> = transaction.query_async(&mut writer).await.unwrap();
                    let expected = (0..20).map(|n| format!("{caller} {round} {n}"));
                    assert!(echoes.into_iter().eq(expected));
                    let echo: String = ask(&mut writer, &format!("ECHO {round}")).await;
                    assert_eq!(echo, round.to_string());
                }
            }
        });
        tokio::time::timeout(SOON, side_by_side(all)).await.unwrap();
        let status = stage.pool.status().writer;
        assert_eq!((status.in_flight, status.waiting), (0, 0), "{status:?}");
    }
}

#[tokio::test]
async fn callers_wait_in_line_while_too_many_bytes_are_pending() {
    const CALLERS: usize = 32;
    let stage = Stage::own(Side::Write, |config| {
        config.multiplexed.max_pending_bytes = 64 * 1024;
        config.command_timeout = Some(SOON);
    })
    .await;
    let mut writer = stage.pool.writer();
    let _: String = ask(&mut writer, "PING").await;
    // What the sockets take without anybody reading is far less than what is sent.
    stage.server().pause();
    let mut callers = Vec::new();
    for n in 0..CALLERS {
        let mut writer = writer.clone();
        callers.push(tokio::spawn(async move {
            let key = format!("pending:{n}");
            let mut set = pipe();
            set.set(&key, value_of(&key, 1 << 20)).ignore();
            set.cmd("GETRANGE").arg(&key).arg(0).arg(key.len() + 8);
            let (begin,): (String,) = set.query_async(&mut writer).await.unwrap();
            assert_eq!(begin, format!("value of {key}"));
        }));
    }
    eventually("some wait", SOON, || async {
        let status = stage.pool.status().writer;
        status.waiting > 0 && status.waiting + status.in_flight / 2 >= CALLERS
    })
    .await;
    stage.server().resume();
    for caller in callers {
        caller.await.unwrap();
    }
    let status = stage.pool.status().writer;
    assert_eq!(
        (status.in_flight, status.waiting, status.created),
        (0, 0, 1)
    );
}
