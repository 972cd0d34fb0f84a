use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use super::*;

const WITHIN: Duration = Duration::from_secs(2);

fn keyring(source: CredentialsSource) -> Arc<Keyring> {
    let runtime = Runtime::current();
    Arc::new(Keyring::new(
        source,
        Some("app".to_owned()),
        WITHIN,
        runtime,
    ))
}

/// Counts how often it is asked, and answers with what `answer` makes of the count.
fn counted(
    answer: impl Fn(usize, Ask) -> Answer + Send + Sync + 'static,
) -> (Arc<AtomicUsize>, CredentialsSource) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let source = CredentialsSource::new(move |ask| {
        let answer = answer(count.fetch_add(1, Relaxed) + 1, ask);
        async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            answer
        }
    });
    (asked, source)
}

fn soon() -> Instant {
    Instant::now() + WITHIN
}

fn node() -> Node {
    Node::new("h", 1)
}

async fn password(keyring: &Arc<Keyring>) -> String {
    let login = keyring.login(soon()).await.unwrap();
    login.secret().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn dials_that_begin_together_ask_once_and_later_ones_ask_again() {
    let (asked, source) = counted(|n, _| Ok(Credentials::password_only(format!("p{n}"))));
    let keyring = keyring(source);
    let together = (0..10).map(|_| {
        let keyring = Arc::clone(&keyring);
        tokio::spawn(async move { keyring.login(soon()).await.unwrap() })
    });
    for login in together.collect::<Vec<_>>() {
        let login = login.await.unwrap();
        assert_eq!(login.username.as_deref(), Some("app"));
        assert_eq!(login.secret(), Some("p1"));
    }
    assert_eq!(asked.load(Relaxed), 1);
    assert_eq!(password(&keyring).await, "p2");
}

#[tokio::test(start_paused = true)]
async fn a_token_is_used_until_a_tenth_of_its_time_is_left() {
    let (asked, source) = counted(|n, _| {
        Ok(Credentials::new("iam", format!("t{n}")).expires_in(Duration::from_secs(100)))
    });
    let keyring = keyring(source);
    assert_eq!(password(&keyring).await, "t1");
    tokio::time::advance(Duration::from_secs(89)).await;
    assert_eq!(password(&keyring).await, "t1");
    assert_eq!(asked.load(Relaxed), 1);
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(password(&keyring).await, "t2");
    // Without a dial too, but then nobody waits for it.
    tokio::time::advance(Duration::from_secs(95)).await;
    assert_eq!(keyring.newest().unwrap().secret(), Some("t2"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(keyring.newest().unwrap().secret(), Some("t3"));
    assert_eq!(keyring.newest().unwrap().username.as_deref(), Some("iam"));
}

#[tokio::test(start_paused = true)]
async fn what_a_source_does_wrong_is_said_and_the_next_question_is_put_all_the_same() {
    let (_, source) = counted(|n, _| match n {
        1 => Err("the service is down".into()),
        2 => panic!("canary"),
        3 => Ok(Credentials::password_only("")),
        4 => Ok(Credentials::new("a b", "p")),
        5 => Err("two\nlines".into()),
        _ => Ok(Credentials::password_only("good")),
    });
    let keyring = keyring(source);
    for expected in [
        "the credentials source failed: the service is down",
        "the credentials source panicked",
        "the credentials source gave an answer that cannot be used: invalid `password`: must not be empty",
        "the credentials source gave an answer that cannot be used: invalid `username`",
        "the credentials source failed: two\\nlines",
    ] {
        let error = keyring.login(soon()).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains("canary") && !error.is_timeout(), "{text}");
    }
    assert_eq!(password(&keyring).await, "good");
}

#[tokio::test(start_paused = true)]
async fn a_panic_before_the_future_is_made_is_no_different() {
    let keyring = keyring(CredentialsSource::new(|_| -> std::future::Ready<Answer> {
        panic!("canary")
    }));
    let text = keyring.login(soon()).await.unwrap_err().to_string();
    assert!(text.contains("the credentials source panicked"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_hangs_costs_the_time_of_the_dial_and_only_half_where_an_answer_is_known() {
    let calls = AtomicUsize::new(0);
    let keyring = keyring(CredentialsSource::new(move |_| {
        let first = calls.fetch_add(1, Relaxed) == 1;
        async move {
            if !first {
                std::future::pending::<()>().await;
            }
            Ok(Credentials::password_only("known"))
        }
    }));
    let began = Instant::now();
    let error = keyring.login(soon()).await.unwrap_err();
    assert_eq!(began.elapsed(), WITHIN * 3 / 4);
    // A node must not be blamed for it.
    assert!(!error.is_timeout(), "{error}");
    let text = error.to_string();
    assert!(text.contains("did not answer within 1.5s"), "{text}");
    tokio::time::sleep(WITHIN).await;
    assert_eq!(password(&keyring).await, "known");
    let began = Instant::now();
    assert_eq!(password(&keyring).await, "known");
    assert_eq!(began.elapsed(), WITHIN / 2);
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_is_not_used_when_the_source_fails() {
    let (_, source) = counted(|n, _| match n {
        1 => Ok(Credentials::password_only("t1").expires_in(Duration::from_secs(100))),
        _ => Err("down".into()),
    });
    let keyring = keyring(source);
    assert_eq!(password(&keyring).await, "t1");
    tokio::time::advance(Duration::from_secs(95)).await;
    assert_eq!(password(&keyring).await, "t1");
    tokio::time::advance(Duration::from_secs(6)).await;
    let text = keyring.login(soon()).await.unwrap_err().to_string();
    assert!(text.contains("failed: down"), "{text}");
    // Who is signed in stays so, and does not show it again.
    let login = keyring.newest().unwrap();
    assert_eq!(login.clone().again(login.generation).secret(), None);
    assert_eq!(login.clone().again(0).secret(), Some("t1"));
}

#[tokio::test(start_paused = true)]
async fn after_a_refusal_the_source_is_asked_once_more() {
    let (asked, source) = counted(|n, ask| {
        assert_eq!(ask.refused, n > 1);
        Ok(Credentials::password_only(if n < 3 {
            "old"
        } else {
            "new"
        }))
    });
    let keyring = keyring(source);
    let old = keyring.login(soon()).await.unwrap();
    assert!(keyring.login_after(&old, &node(), soon()).await.is_none());
    assert_eq!(asked.load(Relaxed), 2);
    let new = keyring.login_after(&old, &node(), soon()).await.unwrap();
    assert_eq!((new.secret(), new.generation), (Some("new"), 2));
    // A server that has not heard of the new one, and has accepted the old one before.
    keyring.accepted(&node(), &old);
    let accepted = keyring.login_after(&new, &node(), soon()).await.unwrap();
    assert!(accepted.is_same(&old));
    // Others that were refused with the old one need not ask.
    let same = keyring.login_after(&old, &node(), soon()).await.unwrap();
    assert_eq!((same.secret(), asked.load(Relaxed)), (Some("new"), 4));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_never_answers_the_same_does_not_make_every_connection_old() {
    let (_, source) = counted(|n, _| Ok(Credentials::password_only(format!("t{n}"))));
    let keyring = keyring(source);
    let mut generations = Vec::new();
    for _ in 0..8 {
        generations.push(keyring.login(soon()).await.unwrap().generation);
    }
    assert_eq!(generations, [1, 2, 3, 4, 4, 4, 4, 4]);
    // A refusal is a reason.
    let latest = keyring.newest().unwrap();
    let next = keyring.login_after(&latest, &node(), soon()).await.unwrap();
    assert_eq!(next.generation, 5);
}

#[tokio::test(start_paused = true)]
async fn changes_that_say_how_long_they_last_all_count() {
    let (sent, received) = watch::channel(Credentials::password_only("p0"));
    let channel = keyring(CredentialsSource::watch(received));
    let count = AtomicU64::new(0);
    let tokens = keyring(CredentialsSource::new(move |_| {
        let n = count.fetch_add(1, Relaxed);
        let token = Credentials::password_only(format!("t{n}"));
        std::future::ready(Ok(token.expires_in(Duration::from_secs(10))))
    }));
    for n in 1..=10 {
        sent.send_replace(Credentials::password_only(format!("p{n}")));
        assert_eq!(channel.login(soon()).await.unwrap().generation, n);
        assert_eq!(tokens.login(soon()).await.unwrap().generation, n);
        tokio::time::advance(Duration::from_secs(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_outdated_where_its_node_has_accepted_newer_credentials() {
    let keyring = keyring(CredentialsSource::fixed(Credentials::password_only("p")));
    let (a, b) = (Node::new("a", 1), Node::new("b", 1));
    let login = |generation| Login {
        generation,
        ..Login::default()
    };
    keyring.accepted(&a, &login(1));
    assert!(!keyring.has_accepted_newer(&a, 1));
    assert_eq!(keyring.state.lock().news, News::default());
    keyring.accepted(&a, &login(2));
    assert!(keyring.has_accepted_newer(&a, 1) && !keyring.has_accepted_newer(&b, 1));
    assert!(keyring.news().await.accepted);
    // A dial that was slow brings no old news.
    keyring.accepted(&a, &login(1));
    assert!(keyring.has_accepted_newer(&a, 1) && !keyring.has_accepted_newer(&a, 2));
    assert_eq!(keyring.state.lock().news, News::default());
}

#[tokio::test]
async fn a_file_counts_by_its_content() {
    let folder = std::env::temp_dir().join(format!("redis-rw-pool-keyring-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("password");
    let keyring = keyring(CredentialsSource::file(&path));
    let text = keyring.login(soon()).await.unwrap_err().to_string();
    assert!(text.contains("password\" cannot be read"), "{text}");
    for (content, expected) in [
        ("first\n", "first"),
        ("first", "first"),
        ("second\r\n", "second"),
        (" third \n\n", " third \n"),
    ] {
        std::fs::write(&path, content).unwrap();
        assert_eq!(password(&keyring).await, expected);
    }
    assert_eq!(keyring.newest().unwrap().generation, 3);
    // What cannot be used changes nothing.
    let broken: [&[u8]; 4] = [b"", b"\n", b"canary\xff", &[b'x'; 70_000]];
    for content in broken {
        std::fs::write(&path, content).unwrap();
        assert_eq!(password(&keyring).await, " third \n");
        let error = file_error(&path);
        assert!(
            !error.contains("canary") && error.contains("the file"),
            "{error}"
        );
    }
    assert!(file_error(&folder).contains("is not a regular file"));
    std::fs::remove_dir_all(&folder).unwrap();
}

fn file_error(path: &std::path::Path) -> String {
    super::super::file::read_now(path).unwrap_err()
}

#[test]
fn nothing_here_shows_a_user_or_a_password() {
    let credentials = Credentials::new("canary", "canary").expires_in(Duration::from_secs(60));
    for text in [
        format!("{credentials:?}"),
        format!("{:?}", CredentialsSource::fixed(credentials.clone())),
        format!(
            "{:?}",
            CredentialsSource::watch(watch::channel(credentials).1)
        ),
    ] {
        assert!(!text.contains("canary"), "{text}");
    }
}
