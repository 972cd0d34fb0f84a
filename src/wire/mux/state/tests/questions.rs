//! Where questions are put, and who gets what is answered.

use super::*;
use crate::wire::{
    mux::{in_flight::Due, outbox::BIG},
    position_question::NoAnswer,
};

/// Which calls were woken.
#[derive(Default)]
struct Woken(std::sync::atomic::AtomicUsize);

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

impl Fixture {
    /// A single command that the driver has seen.
    fn wanting(&mut self, want: Want, bytes: &[u8]) -> Slot {
        let mut slot = Slot::default();
        self.want_again(&mut slot, want, bytes, Waker::noop());
        slot
    }

    fn want_again(&mut self, slot: &mut Slot, want: Want, bytes: &[u8], waker: &Waker) {
        let call = slot.renew();
        call.begin(waker, false);
        call.long().extend(bytes);
        call.hand_in(false);
        assert!(self.leave_wanting(slot, 1, want));
        self.turn();
    }

    /// What goes out with the next write, with `?` for a question.
    fn take(&mut self) -> String {
        let mut buffer = Vec::new();
        self.state.take_out(&mut buffer);
        self.state.wrote(buffer.len());
        let text = String::from_utf8(buffer).unwrap();
        text.replace(std::str::from_utf8(QUESTION).unwrap(), "?")
    }

    /// How many callers may go on after this reply.
    fn say(&mut self, reply: Value) -> usize {
        match self.state.deliver(reply, &mut Vec::new()) {
            Delivered::To(count) => count,
            Delivered::Unasked => panic!("somebody asked"),
        }
    }

    /// The node's answer to a question, in a call that is over.
    fn at(&mut self, offset: usize) -> usize {
        self.say(position(offset))
    }
}

/// The offsets ahead and behind, of a call that has this reply.
fn placed(slot: &Slot, id: i64) -> (Option<usize>, Option<usize>) {
    assert_eq!(reply(slot), Some(id));
    let answers = slot.take_answers();
    let offset = |answer: Option<Answer>| answer.as_ref().map(offset);
    (offset(answers.ahead), offset(answers.behind))
}

fn is_waiting(slot: &Slot) -> bool {
    matches!(progress(slot), Progress::Waiting)
}

#[test]
fn nothing_is_asked_where_nobody_wants_to_know() {
    let mut fixture = Fixture::roomy();
    let slots = [b"a", b"b"].map(|word| fixture.wanting(Want::NOTHING, word));
    assert_eq!(fixture.take(), "ab");
    assert_eq!([1, 2].map(|id| fixture.say(Value::Int(id))), [1, 1]);
    assert_eq!(
        [placed(&slots[0], 1), placed(&slots[1], 2)],
        [(None, None); 2]
    );
    assert!(fixture.is_empty());
}

#[test]
fn one_question_behind_a_batch_serves_all_of_its_writes() {
    let mut fixture = Fixture::roomy();
    let writes = [b"a", b"b", b"c"].map(|word| fixture.wanting(Want::BEHIND, word));
    assert_eq!(fixture.take(), "abc?");
    assert_eq!([1, 2, 3].map(|id| fixture.say(Value::Int(id))), [0, 0, 0]);
    assert!(writes.iter().all(is_waiting));
    assert_eq!(fixture.state.in_flight(), 0, "a question is no command");
    assert_eq!(fixture.at(7), 3);
    for (write, id) in writes.iter().zip(1..) {
        assert_eq!(placed(write, id), (None, Some(7)));
    }
    assert!(fixture.is_empty());
}

#[test]
fn one_question_ahead_serves_all_reads_behind_it_in_the_same_write() {
    let mut fixture = Fixture::roomy();
    let plain = fixture.wanting(Want::NOTHING, b"a");
    let reads = [b"b", b"c"].map(|word| fixture.wanting(Want::AHEAD, word));
    assert_eq!(fixture.take(), "a?bc");
    let later = fixture.wanting(Want::AHEAD, b"d");
    assert_eq!(
        fixture.take(),
        "?d",
        "what was asked before proves nothing now"
    );
    assert_eq!(fixture.say(Value::Int(1)), 1);
    assert_eq!(fixture.at(5), 0, "nobody waits for it");
    assert_eq!([2, 3].map(|id| fixture.say(Value::Int(id))), [1, 1]);
    fixture.at(4);
    fixture.say(Value::Int(4));
    assert_eq!(placed(&plain, 1), (None, None));
    assert_eq!(placed(&reads[0], 2), (Some(5), None));
    assert_eq!(placed(&reads[1], 3), (Some(5), None));
    assert_eq!(placed(&later, 4), (Some(4), None));
    assert!(fixture.is_empty());
}

#[test]
fn a_question_ahead_of_a_read_serves_the_writes_before_it() {
    let mut fixture = Fixture::roomy();
    let write = fixture.wanting(Want::BEHIND, b"a");
    let read = fixture.wanting(Want::AHEAD, b"b");
    assert_eq!(fixture.take(), "a?b");
    fixture.say(Value::Int(1));
    assert_eq!(fixture.at(5), 1);
    fixture.say(Value::Int(2));
    assert_eq!(placed(&write, 1), (None, Some(5)));
    assert_eq!(placed(&read, 2), (Some(5), None));
}

#[test]
fn reads_and_writes_that_take_turns_cost_two_questions() {
    let mut fixture = Fixture::roomy();
    let both = fixture.wanting(Want::BOTH, b"a");
    let slots = [Want::BEHIND, Want::AHEAD, Want::BEHIND, Want::BOTH]
        .map(|want| fixture.wanting(want, b"b"));
    assert_eq!(fixture.take(), "?abbbb?");
    fixture.at(1);
    let goes_on = [1, 2, 3, 4, 5].map(|id| fixture.say(Value::Int(id)));
    assert_eq!(goes_on, [0, 0, 1, 0, 0]);
    assert_eq!(fixture.at(9), 4);
    assert_eq!(placed(&both, 1), (Some(1), Some(9)));
    let expected = [
        (None, Some(9)),
        (Some(1), None),
        (None, Some(9)),
        (Some(1), Some(9)),
    ];
    for ((slot, expected), id) in slots.iter().zip(expected).zip(2..) {
        assert_eq!(placed(slot, id), expected);
    }
    assert!(fixture.is_empty());
}

#[test]
fn a_large_read_stays_together_with_its_question_and_a_large_write_gets_one_behind_it() {
    let large = "r".repeat(BIG + 1);
    let mut fixture = Fixture::roomy();
    fixture.wanting(Want::NOTHING, b"a");
    fixture.wanting(Want::AHEAD, large.as_bytes());
    assert_eq!(fixture.take(), format!("a?{large}"));
    fixture.wanting(Want::NOTHING, b"a");
    fixture.wanting(Want::BEHIND, large.as_bytes());
    assert_eq!(fixture.take(), "a");
    assert_eq!(fixture.take(), large);
    assert_eq!(fixture.take(), "?");
    fixture.wanting(Want::BEHIND, large.as_bytes());
    fixture.wanting(Want::NOTHING, b"b");
    assert_eq!(fixture.take(), large);
    assert_eq!(fixture.take(), "b?");
    fixture.wanting(Want::AHEAD, b"r");
    fixture.wanting(Want::NOTHING, large.as_bytes());
    fixture.wanting(Want::AHEAD, b"r");
    assert_eq!(fixture.take(), "?r");
    assert_eq!(fixture.take(), large);
    assert_eq!(fixture.take(), "?r");
    assert!(!fixture.state.has_out());
}

#[test]
fn a_write_is_answered_though_the_server_may_not_say_its_position() {
    let mut fixture = Fixture::roomy();
    let write = fixture.wanting(Want::BOTH, b"a");
    fixture.take();
    let refusal = redis::parse_redis_value(b"-NOPERM not you\r\n").unwrap();
    assert_eq!(fixture.say(refusal.clone()), 0);
    assert_eq!(fixture.say(Value::Int(1)), 0);
    assert_eq!(fixture.say(refusal), 1);
    assert_eq!(reply(&write), Some(1));
    let answers = write.take_answers();
    for answer in [answers.ahead, answers.behind] {
        assert!(matches!(&*answer.unwrap(), Err(NoAnswer::Refused(_))));
    }
    assert_eq!(write.take_answers(), Answers::default());
}

#[test]
fn a_call_that_waits_for_a_position_is_woken_once_and_its_slot_used_again() {
    let mut fixture = Fixture::roomy();
    let count = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&count));
    let times = || count.0.load(std::sync::atomic::Ordering::Relaxed);
    let mut slot = Slot::default();
    fixture.want_again(&mut slot, Want::BEHIND, b"a", &waker);
    let before = Arc::as_ptr(slot.call());
    fixture.take();
    let mut woken = Vec::new();
    fixture.state.deliver(Value::Int(1), &mut woken);
    assert!(woken.is_empty());
    assert!(matches!(
        slot.call().lock().progress(&waker),
        Progress::Waiting
    ));
    fixture.state.deliver(position(3), &mut woken);
    wake_all(woken);
    assert_eq!(times(), 1);
    assert_eq!(reply(&slot), Some(1));
    fixture.want_again(&mut slot, Want::NOTHING, b"b", &waker);
    assert_eq!(Arc::as_ptr(slot.call()), before);
    fixture.take();
    fixture.say(Value::Int(2));
    assert_eq!(
        placed(&slot, 2),
        (None, None),
        "it has nothing of the one before"
    );
}

fn wake_all(woken: Vec<Waker>) {
    woken.into_iter().for_each(Waker::wake);
}

#[test]
fn a_call_that_is_dropped_while_it_waits_for_a_position_leaves_nothing_to_the_next() {
    let mut fixture = Fixture::roomy();
    let mut slot = fixture.wanting(Want::BEHIND, b"a");
    fixture.take();
    fixture.say(Value::Int(1));
    fixture.abandon(&slot);
    fixture.want_again(&mut slot, Want::BEHIND, b"b", Waker::noop());
    assert_eq!(fixture.take(), "b?");
    assert_eq!(fixture.at(5), 0);
    assert!(is_waiting(&slot));
    fixture.say(Value::Int(2));
    assert_eq!(fixture.at(6), 1);
    assert_eq!(placed(&slot, 2), (None, Some(6)));
    assert!(fixture.is_empty());
}

#[test]
fn a_call_that_is_dropped_before_the_driver_took_it_has_nothing_asked() {
    for want in [Want::AHEAD, Want::BEHIND, Want::BOTH] {
        let mut fixture = Fixture::roomy();
        let mut slot = Slot::default();
        let call = slot.renew();
        call.begin(Waker::noop(), false);
        call.long().extend(b"never");
        call.hand_in(false);
        fixture.leave_wanting(&slot, 1, want);
        fixture.abandon(&slot);
        assert!(fixture.is_empty());
    }
}

#[test]
fn nothing_is_asked_behind_a_command_whose_caller_wants_no_reply() {
    let mut fixture = Fixture::roomy();
    let mut slot = Slot::default();
    let call = slot.renew();
    call.begin(Waker::noop(), true);
    call.long().extend(b"silent");
    call.hand_in(false);
    fixture.leave_wanting(&slot, 1, Want::BEHIND);
    fixture.turn();
    assert_eq!(fixture.take(), "silent");
    // Nor is it held by a question that is there for others.
    fixture.wanting(Want::AHEAD, b"a");
    fixture.take();
    assert_eq!(fixture.say(Value::Okay), 1);
}

#[test]
fn only_the_last_portion_of_a_pipeline_has_a_question_behind_it() {
    let mut fixture = Fixture::roomy();
    let mut slot = Slot::default();
    let call = slot.renew();
    call.begin_pipeline(Waker::noop(), 2);
    call.long().extend(b"a");
    call.hand_in(true);
    fixture.leave_wanting(&slot, 1, Want::BEHIND);
    fixture.turn();
    assert_eq!(fixture.take(), "a");
    assert_eq!(fixture.say(Value::Int(1)), 1);
    assert!(matches!(progress(&slot), Progress::More));
    let mut call = slot.call().lock();
    call.long().extend(b"b");
    call.hand_in(false);
    drop(call);
    fixture.leave_wanting(&slot, 1, Want::BEHIND);
    fixture.turn();
    assert_eq!(fixture.take(), "b?");
    assert_eq!(fixture.say(Value::Int(2)), 0);
    assert_eq!(fixture.at(8), 1);
    let Progress::Done(Completion::Many(replies)) = progress(&slot) else {
        panic!("it has its replies");
    };
    assert_eq!(replies, [1, 2].map(Value::Int));
    assert_eq!(slot.take_answers().behind.as_ref().map(offset), Some(8));
    assert!(fixture.is_empty());
}

#[test]
fn a_pipeline_in_portions_is_proven_as_far_as_the_least_proven_of_them() {
    let other = "role:master\r\nmaster_replid:89abcdef0123456789abcdef0123456701234567\r\n\
        master_repl_offset:9\r\n";
    let other = Value::BulkString(other.into());
    for (first, second, expected) in [
        (position(5), position(6), Some(5)),
        (position(6), position(5), Some(5)),
        (position(5), other, None),
    ] {
        let mut fixture = Fixture::roomy();
        let mut slot = Slot::default();
        let call = slot.renew();
        call.begin_pipeline(Waker::noop(), 2);
        call.long().extend(b"a");
        call.hand_in(true);
        fixture.leave_wanting(&slot, 1, Want::AHEAD);
        fixture.turn();
        assert_eq!(fixture.take(), "?a");
        let mut call = slot.call().lock();
        call.long().extend(b"b");
        call.hand_in(false);
        drop(call);
        fixture.leave_wanting(&slot, 1, Want::AHEAD);
        fixture.turn();
        assert_eq!(fixture.take(), "?b");
        for reply in [first, Value::Int(1), second, Value::Int(2)] {
            fixture.say(reply);
        }
        assert!(matches!(
            progress(&slot),
            Progress::Done(Completion::Many(_))
        ));
        let ahead = slot.take_answers().ahead.unwrap();
        match expected {
            Some(expected) => assert_eq!(offset(&ahead), expected),
            None => assert!(matches!(&*ahead, Err(NoAnswer::Mixed))),
        }
    }
}

#[test]
fn a_fence_takes_back_a_question_and_leaves_the_replies_to_those_that_have_them() {
    let mut fixture = Fixture::roomy();
    let answered = fixture.wanting(Want::BEHIND, b"a");
    let written = fixture.wanting(Want::BEHIND, b"b");
    let unwritten = fixture.wanting(Want::BEHIND, b"c");
    let mut buffer = Vec::new();
    fixture.state.take_out(&mut buffer);
    assert_eq!(buffer.len(), 3 + QUESTION.len());
    fixture.state.wrote(2);
    fixture.say(Value::Int(1));
    assert!(fixture.state.is_between_commands());
    let arrived = fixture.intake.stop(Phase::Paused);
    let mut woken = Vec::new();
    fixture
        .state
        .hand_back(arrived, &Cause::Withdrawn, &mut woken);
    assert_eq!(woken.len(), 2);
    assert_eq!(placed(&answered, 1), (None, None));
    assert_eq!(error_of(&unwritten), Some(MuxError::NotWritten));
    assert_eq!(fixture.say(Value::Int(2)), 1, "no answer will come");
    assert_eq!(placed(&written, 2), (None, None));
    assert!(fixture.is_empty());
    // The fence was lifted again.
    fixture.intake.reopen();
    let next = fixture.wanting(Want::BOTH, b"d");
    assert_eq!(fixture.take(), "?d?");
    fixture.at(3);
    fixture.say(Value::Int(3));
    fixture.at(4);
    assert_eq!(placed(&next, 3), (Some(3), Some(4)));
}

#[test]
fn a_fence_waits_for_the_answer_to_a_question_that_was_written() {
    let mut fixture = Fixture::roomy();
    let write = fixture.wanting(Want::BEHIND, b"a");
    fixture.take();
    fixture.say(Value::Int(1));
    let behind = fixture.wanting(Want::AHEAD, b"b");
    let arrived = fixture.intake.stop(Phase::Paused);
    let mut woken = Vec::new();
    fixture
        .state
        .hand_back(arrived, &Cause::Withdrawn, &mut woken);
    assert_eq!(error_of(&behind), Some(MuxError::NotWritten));
    assert!(is_waiting(&write));
    assert!(fixture.state.is_owed(), "the connection must not end yet");
    assert_eq!(fixture.at(5), 1);
    assert_eq!(placed(&write, 1), (None, Some(5)));
    assert!(fixture.is_empty());
}

#[test]
fn a_question_written_in_part_is_no_place_to_stop_at() {
    for (written, is_between) in [
        (0, true),
        (5, false),
        (32, true),
        (33, true),
        (40, false),
        (65, true),
    ] {
        let mut fixture = Fixture::roomy();
        fixture.wanting(Want::BOTH, b"a");
        fixture.state.take_out(&mut Vec::new());
        fixture.state.wrote(written);
        assert_eq!(fixture.state.is_between_commands(), is_between, "{written}");
    }
}

#[test]
fn a_write_that_was_answered_is_not_unknown_when_the_connection_is_lost() {
    let mut fixture = Fixture::roomy();
    let answered = fixture.wanting(Want::BEHIND, b"a");
    let unanswered = fixture.wanting(Want::BEHIND, b"b");
    fixture.take();
    fixture.say(Value::Int(1));
    fixture.fail(&Cause::Closed);
    assert_eq!(placed(&answered, 1), (None, None));
    let unknown = MuxError::Failed(Cause::Closed, Fate::Unknown);
    assert_eq!(error_of(&unanswered), Some(unknown));
    assert!(fixture.is_empty());
}

#[test]
fn a_write_that_was_answered_is_not_unknown_at_its_deadline() {
    let mut fixture = Fixture::roomy();
    let answered = fixture.wanting(Want::BEHIND, b"a");
    fixture.take();
    fixture.say(Value::Int(1));
    let began = Instant::now();
    for quarter in 1..=5 {
        // The server is at work, and says something now and then.
        fixture.state.heard();
        assert!(is_waiting(&answered));
        assert_eq!(fixture.tick(began + TIMEOUT / 4 * quarter), Ticked::Busy);
    }
    assert_eq!(placed(&answered, 1), (None, None));
    assert_eq!(fixture.at(5), 0, "it has gone on");
    assert!(fixture.is_empty());
}

#[test]
fn a_server_that_does_not_answer_a_question_has_stalled() {
    let mut fixture = Fixture::roomy();
    let answered = fixture.wanting(Want::BEHIND, b"a");
    fixture.take();
    fixture.say(Value::Int(1));
    let began = Instant::now();
    let mut ticks = (1..=5).map(|quarter| fixture.tick(began + TIMEOUT / 4 * quarter));
    assert!(ticks.any(|ticked| ticked == Ticked::Stalled));
    fixture.fail(&Cause::Timeout(TIMEOUT));
    assert_eq!(placed(&answered, 1), (None, None));
}

#[test]
fn a_question_is_nothing_to_be_busy_with() {
    let mut fixture = Fixture::roomy();
    let write = fixture.wanting(Want::BEHIND, b"a");
    fixture.take();
    assert!(fixture.state.is_busy());
    fixture.say(Value::Int(1));
    assert!(!fixture.state.is_busy());
    fixture.at(1);
    assert_eq!(placed(&write, 1), (None, Some(1)));
    fixture.wanting(Want::AHEAD, b"b");
    fixture.take();
    assert!(
        fixture.state.is_busy(),
        "behind the question there is a command"
    );
}

#[test]
fn an_answer_of_which_nothing_was_asked_yet_is_refused() {
    let mut fixture = Fixture::roomy();
    fixture.wanting(Want::AHEAD, b"a");
    assert!(!fixture.reply(position(1)));
}

#[test]
fn what_is_kept_of_a_call_is_no_larger_for_what_it_wants() {
    assert_eq!(size_of::<Arrival>(), 24);
    assert_eq!(size_of::<Portion>(), 32);
    assert_eq!(size_of::<Due>(), 32);
}
