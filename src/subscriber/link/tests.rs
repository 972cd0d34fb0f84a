use super::*;
use crate::node::{Node, Role};

fn channel(name: &str) -> Subject {
    Subject::Channel(name.to_owned().into())
}

fn link() -> Link<u32> {
    let target = Target {
        node: Node::new("a", 1),
        role: Role::Master,
        since: 1,
    };
    Link::new(LinkId(1), target, 1, Instant::now())
}

#[test]
fn many_names_go_in_several_commands_of_one_kind() {
    let mut link = link();
    let mut names: Vec<Subject> = (0..2500).map(|n| channel(&n.to_string())).collect();
    names.push(Subject::Pattern("p*".into()));
    let now = Instant::now();
    let sizes = |orders: Vec<Order>| -> Vec<usize> {
        let size = |order: &Order| match order {
            Order::Subscribe(subjects) | Order::Unsubscribe(subjects) => subjects.len(),
            Order::Ping => 0,
        };
        orders.iter().map(size).collect()
    };
    assert_eq!(sizes(link.subscribe(&names, now)), [1000, 1000, 500, 1]);
    assert_eq!(
        sizes(link.subscribe(&names, now)),
        [0; 0],
        "they are asked for"
    );
    for name in &names {
        assert!(!link.is_settled());
        let heard = link.reply(Reply::Subscribed(name.clone()), now).unwrap();
        assert_eq!(heard.settled.len(), 1);
    }
    assert!(link.is_settled());
    assert_eq!(sizes(link.unsubscribe(&names, now)), [1000, 1000, 500, 1]);
}

#[test]
fn of_several_orders_about_one_name_the_last_counts() {
    // What is refused, in the order of the replies; whether it has the channel in the end.
    type Step = fn(&mut Link<u32>, Instant) -> Vec<Order>;
    let on: Step = |link, now| link.subscribe(&[channel("x")], now);
    let off: Step = |link, now| link.unsubscribe(&[channel("x")], now);
    let cases: [(&[Step], &[bool], bool); 6] = [
        (&[on], &[false], true),
        (&[on], &[true], false),
        (&[on, off], &[false, false], false),
        (&[on, off], &[true, false], false),
        (&[on, off, on], &[false, false, false], true),
        (&[on, off, on], &[true, false, true], false),
    ];
    for (number, (steps, refusals, has)) in cases.into_iter().enumerate() {
        let (mut link, now) = (link(), Instant::now());
        let orders: Vec<Order> = steps.iter().flat_map(|step| step(&mut link, now)).collect();
        assert_eq!(orders.len(), steps.len());
        let mut settled = 0;
        for (order, refused) in orders.into_iter().zip(refusals) {
            assert!(!link.has(&channel("x")));
            assert!(link.is_pending(&channel("x")));
            let reply = match order {
                _ if *refused => Reply::Error {
                    error: crate::subscriber::course::noperm(),
                    denied: true,
                },
                Order::Subscribe(_) => Reply::Subscribed(channel("x")),
                _ => Reply::Unsubscribed(channel("x")),
            };
            settled += link.reply(reply, now).unwrap().settled.len();
        }
        assert_eq!(
            (link.has(&channel("x")), settled),
            (has, 1),
            "case {number}"
        );
        assert_eq!(
            link.refused().len(),
            usize::from(!has && *refusals.last().unwrap())
        );
    }
}

#[test]
fn of_a_refused_command_only_what_is_still_wanted_is_asked_for_again() {
    let (mut link, now) = (link(), Instant::now());
    let names = ["x", "y", "z"].map(channel);
    assert_eq!(link.subscribe(&names, now).len(), 1);
    assert_eq!(link.unsubscribe(&names[1..2], now).len(), 1);
    let error = crate::subscriber::course::noperm();
    let heard = link
        .reply(
            Reply::Error {
                error,
                denied: true,
            },
            now,
        )
        .unwrap();
    let again = [&names[0], &names[2]].map(|name| Order::Subscribe(vec![name.clone()]));
    assert_eq!(heard.orders, again);
    assert!(heard.settled.is_empty());
    for reply in [
        Reply::Unsubscribed(names[1].clone()),
        Reply::Subscribed(names[0].clone()),
        Reply::Subscribed(names[2].clone()),
    ] {
        assert_eq!(link.reply(reply, now).unwrap().settled.len(), 1);
    }
    assert!(link.is_settled());
}

#[test]
fn a_ping_that_is_refused_shows_that_the_server_is_alive() {
    let (mut link, now) = (link(), Instant::now());
    assert_eq!(link.ping(Ping::Alive, now), Order::Ping);
    let error = crate::subscriber::course::noperm();
    let heard = link
        .reply(
            Reply::Error {
                error,
                denied: true,
            },
            now,
        )
        .unwrap();
    assert_eq!(heard.pong, Some(Ping::Alive));
}

#[test]
fn it_has_caught_up_when_nothing_was_kept_since_it_was_asked_last() {
    let (mut link, now) = (link(), Instant::now());
    assert_eq!(link.stop(true, now), None);
    assert_eq!(link.stop(false, now), Some(Order::Ping));
    assert_eq!(link.stop(false, now), None);
    for _ in 0..3 {
        assert_eq!(link.stop(true, now), None);
        assert_eq!(link.stop(false, now), None, "one PING is on its way");
    }
    assert!(link.is_behind());
    let heard = link.reply(Reply::Pong, now).unwrap();
    assert_eq!(heard.orders, [Order::Ping]);
    assert!(link.is_behind());
    let heard = link.reply(Reply::Pong, now).unwrap();
    assert_eq!((heard.orders.len(), link.is_behind()), (0, false));
}
