use std::{thread, time::Duration};

use tokio::runtime::Builder;

use super::*;

/// As the pool's own watch does it.
struct EndsWithTask(Arc<Runtime>);

impl Drop for EndsWithTask {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[test]
fn a_timer_that_others_poll_while_its_runtime_ends_makes_nobody_panic() {
    for _ in 0..50 {
        let role_pool = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let runtime = role_pool.block_on(async { Runtime::current() });
        let watch = EndsWithTask(Arc::clone(&runtime));
        role_pool.spawn(async move {
            let _watch = watch;
            std::future::pending::<()>().await;
        });
        let pollers: Vec<_> = (0..2)
            .map(|_| {
                let runtime = Arc::clone(&runtime);
                thread::spawn(move || {
                    let hour = Instant::now() + Duration::from_secs(3600);
                    let mut timer = runtime.with_timers(|runtime| runtime.timer(hour));
                    let mut cx = Context::from_waker(std::task::Waker::noop());
                    while let Some(timer) = &mut timer {
                        let polled = runtime.with_timers(|_| timer.as_mut().poll(&mut cx));
                        match polled {
                            Some(polled) => assert!(polled.is_pending()),
                            None => return,
                        }
                    }
                })
            })
            .collect();
        drop(role_pool);
        for poller in pollers {
            poller.join().expect("it did not panic");
        }
        assert!(runtime.has_ended());
    }
}

#[tokio::test(start_paused = true)]
async fn all_waiters_hear_that_the_last_one_has_left() {
    let runtime = Runtime::current();
    let (task, socket) = (
        runtime.spawn(std::future::pending::<()>()),
        runtime.presence(),
    );
    let waiters: Vec<_> = (0..3)
        .map(|_| {
            let runtime = Arc::clone(&runtime);
            tokio::spawn(async move { runtime.vacated().await })
        })
        .collect();
    drop(socket);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
    task.abort();
    for waiter in waiters {
        waiter.await.unwrap();
    }
    runtime.vacated().await;
}
