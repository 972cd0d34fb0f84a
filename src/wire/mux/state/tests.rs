mod questions;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use proptest::prelude::*;
use redis::cmd;

use super::*;
use crate::{
    error::failure::Fate,
    wire::{
        mux::{
            call::{Completion, Progress, Slot},
            encoder::Encoder,
            intake::{Intake, Phase},
        },
        position_question::{Answers, QUESTION},
    },
};

const TIMEOUT: Duration = Duration::from_secs(1);

impl Delivered {
    fn was_asked(self) -> bool {
        self != Self::Unasked
    }
}

/// A connection without a socket: both sides of the intake.
struct Fixture {
    intake: Intake,
    state: MuxState,
}

impl Fixture {
    fn new(max_in_flight: usize, max_pending_bytes: usize) -> Self {
        let limits = MultiplexedLimits {
            connections: 1,
            max_in_flight,
            max_pending_bytes,
        };
        Self {
            intake: Intake::new(),
            state: MuxState::new(limits, Some(TIMEOUT)),
        }
    }

    fn roomy() -> Self {
        Self::new(100, 1 << 20)
    }

    /// Leaves the next portion; whether it was taken in.
    fn leave(&mut self, slot: &Slot, count: usize) -> bool {
        self.leave_wanting(slot, count, Want::NOTHING)
    }

    fn leave_wanting(&mut self, slot: &Slot, count: usize, want: Want) -> bool {
        let call = Arc::clone(slot.call());
        self.intake.leave(call, count, want, None).is_ok()
    }

    /// A single command, that is at the intake.
    fn left(&mut self, bytes: &[u8], silent: bool) -> Slot {
        let mut slot = Slot::default();
        self.leave_again(&mut slot, bytes, silent);
        slot
    }

    /// The next single command of this slot, that is at the intake.
    fn leave_again(&mut self, slot: &mut Slot, bytes: &[u8], silent: bool) {
        let call = slot.renew();
        call.begin(Waker::noop(), silent);
        call.long().extend(bytes);
        call.hand_in(false);
        assert!(self.leave(slot, 1));
    }

    /// A single command of ten bytes, that the driver has seen.
    fn call(&mut self) -> Slot {
        self.pipeline(None, 1)
    }

    /// A portion of ten bytes of a call, that the driver has seen.
    fn pipeline(&mut self, total: Option<usize>, count: usize) -> Slot {
        let mut slot = Slot::default();
        let call = slot.renew();
        match total {
            None => call.begin(Waker::noop(), false),
            Some(total) => call.begin_pipeline(Waker::noop(), total),
        }
        call.long().extend([b'x'; 10]);
        call.hand_in(total.is_some_and(|total| count < total));
        self.leave(&slot, count);
        self.turn();
        slot
    }

    /// The last portion of ten bytes.
    fn next_portion(&mut self, slot: &Slot, count: usize) {
        let mut call = slot.call().lock();
        call.long().extend([b'x'; 10]);
        call.hand_in(false);
        drop(call);
        self.leave(slot, count);
        self.turn();
    }

    fn turn(&mut self) {
        let mut arrived = Vec::new();
        let orders = self.intake.take(Waker::noop(), &mut arrived);
        self.state.abandoned(orders.abandoned);
        self.state.admit(&mut arrived, &mut Vec::new());
    }

    /// The driver has taken all that was handed in, and `bytes` of it have reached the socket.
    fn wrote(&mut self, bytes: usize) {
        while self.state.has_out() {
            self.state.take_out(&mut Vec::new());
        }
        self.state.wrote(bytes);
        self.turn();
    }

    fn deliver(&mut self, ids: impl IntoIterator<Item = i64>) -> bool {
        let mut ids = ids.into_iter().map(Value::Int);
        let asked = ids.all(|reply| self.reply(reply));
        self.turn();
        asked
    }

    /// Delivers a reply; whether anybody asked for it.
    fn reply(&mut self, reply: Value) -> bool {
        self.state.deliver(reply, &mut Vec::new()).was_asked()
    }

    fn abandon(&mut self, slot: &Slot) {
        if slot.call().lock().abandon().untaken {
            self.intake.abandoned();
        }
        self.turn();
    }

    fn drain(&mut self) {
        let arrived = self.intake.stop(Phase::Closed);
        let withdrawn = Cause::Withdrawn;
        self.state.drain(arrived, &withdrawn, &mut Vec::new());
    }

    fn fail(&mut self, cause: &Cause) {
        let arrived = self.intake.stop(Phase::Closed);
        self.state.fail(arrived, cause, &mut Vec::new());
    }

    fn tick(&mut self, now: Instant) -> Ticked {
        let mut arrived = Vec::new();
        self.intake.tick(self.state.advance(now), &mut arrived);
        self.state.admit(&mut arrived, &mut Vec::new());
        self.state.expire(&mut Vec::new())
    }

    fn is_empty(&self) -> bool {
        self.state.is_empty() && self.intake.len() == 0
    }
}

fn progress(slot: &Slot) -> Progress {
    slot.call().lock().progress(Waker::noop())
}

fn reply(slot: &Slot) -> Option<i64> {
    match progress(slot) {
        Progress::Done(Completion::One(Value::Int(id))) => Some(id),
        _ => None,
    }
}

fn error_of(slot: &Slot) -> Option<MuxError> {
    match progress(slot) {
        Progress::Done(Completion::Error(error)) => Some(error),
        _ => None,
    }
}

fn withdrawn() -> MuxError {
    MuxError::Failed(Cause::Withdrawn, Fate::Unknown)
}

/// Whether the driver has let it in.
fn is_in(slot: &Slot) -> bool {
    slot.call().lock().fate() == Fate::Unknown
}

#[test]
fn replies_go_to_calls_in_the_order_in_which_they_handed_in() {
    let mut fixture = Fixture::roomy();
    let calls = [0; 3].map(|_| fixture.call());
    fixture.wrote(30);
    assert!(fixture.deliver([7, 8, 9]));
    assert_eq!(calls.map(|call| reply(&call)), [Some(7), Some(8), Some(9)]);
    assert!(fixture.is_empty());
}

#[test]
fn a_reply_to_a_command_of_which_nothing_was_written_is_refused() {
    let mut fixture = Fixture::roomy();
    fixture.call();
    let second = fixture.call();
    fixture.wrote(10);
    assert!(!fixture.deliver([1, 2]));
    assert_eq!(reply(&second), None);
}

#[test]
fn a_reply_is_refused_when_nothing_is_owed() {
    assert!(!Fixture::roomy().deliver([1]));
}

#[test]
fn a_short_reply_is_the_value_that_a_long_one_would_be() {
    for length in [0, 1, 64, 136, 137, 5000] {
        let mut fixture = Fixture::roomy();
        let call = fixture.call();
        let pipeline = fixture.pipeline(Some(1), 1);
        fixture.wrote(20);
        let text = vec![b'y'; length];
        for _ in 0..2 {
            let delivered = fixture.state.deliver_short(&text, &mut Vec::new());
            assert_eq!(delivered, Delivered::To(1));
        }
        let value = Value::BulkString(text);
        assert!(matches!(progress(&call), Progress::Done(Completion::One(one)) if one == value));
        let Progress::Done(Completion::Many(values)) = progress(&pipeline) else {
            panic!("it has its reply");
        };
        assert_eq!(values, [value]);
    }
}

#[test]
fn a_late_reply_does_not_reach_the_next_command_of_the_same_slot() {
    let mut fixture = Fixture::roomy();
    let mut slot = fixture.call();
    fixture.wrote(10);
    let late = Arc::clone(slot.call());
    fixture.abandon(&slot);
    fixture.leave_again(&mut slot, &[b'z'; 10], false);
    fixture.turn();
    fixture.wrote(10);
    assert!(fixture.deliver([1]));
    assert!(matches!(progress(&slot), Progress::Waiting));
    assert!(fixture.deliver([2]));
    assert_eq!(reply(&slot), Some(2));
    assert!(late.lock().is_over());
    assert!(fixture.is_empty());
}

#[test]
fn a_slot_is_used_again_once_its_reply_was_delivered() {
    let mut fixture = Fixture::roomy();
    let mut slot = fixture.call();
    let before = Arc::as_ptr(slot.call());
    fixture.wrote(10);
    fixture.deliver([1]);
    assert_eq!(reply(&slot), Some(1));
    slot.renew();
    assert_eq!(Arc::as_ptr(slot.call()), before);
    assert!(matches!(progress(&slot), Progress::Waiting));
}

#[test]
fn what_a_dropped_call_had_received_is_dropped_with_it() {
    let mut fixture = Fixture::roomy();
    let call = fixture.pipeline(Some(2), 2);
    fixture.wrote(10);
    fixture.deliver([1]);
    fixture.abandon(&call);
    assert!(fixture.deliver([2]));
    assert!(fixture.is_empty());
    assert_eq!(Arc::strong_count(call.call()), 1);
}

#[test]
fn a_call_that_was_dropped_before_the_driver_took_it_is_not_sent() {
    let mut fixture = Fixture::roomy();
    let slot = fixture.left(b"never", false);
    fixture.abandon(&slot);
    assert!(fixture.is_empty());
}

#[test]
fn a_silent_command_ends_when_it_has_its_place_and_its_reply_goes_to_nobody() {
    let mut fixture = Fixture::new(1, 100);
    let first = fixture.call();
    let silent = fixture.left(b"silent", true);
    fixture.turn();
    assert!(matches!(progress(&silent), Progress::Waiting));
    fixture.wrote(10);
    fixture.deliver([1]);
    assert_eq!(reply(&first), Some(1));
    let ended = progress(&silent);
    assert!(matches!(ended, Progress::Done(Completion::One(Value::Nil))));
    fixture.wrote(6);
    assert!(fixture.deliver([2]));
    assert!(fixture.is_empty());
}

#[test]
fn nobody_overtakes_one_that_wants_much() {
    let mut fixture = Fixture::new(4, 100);
    let first = fixture.pipeline(Some(3), 3);
    let much = fixture.pipeline(Some(4), 4);
    let little = fixture.call();
    assert!(is_in(&first) && !is_in(&much) && !is_in(&little));
    fixture.wrote(10);
    fixture.deliver([1, 2, 3]);
    assert!(is_in(&much) && !is_in(&little));
}

#[test]
fn one_that_wants_much_and_gives_up_is_not_in_the_way() {
    let mut fixture = Fixture::new(4, 100);
    fixture.pipeline(Some(3), 3);
    let much = fixture.pipeline(Some(4), 4);
    let little = fixture.call();
    fixture.abandon(&much);
    assert!(is_in(&little));
}

#[test]
fn what_is_larger_than_the_limit_goes_alone() {
    let mut fixture = Fixture::new(4, 100);
    fixture.call();
    let huge = fixture.pipeline(Some(50), 50);
    assert!(!is_in(&huge));
    fixture.wrote(10);
    fixture.deliver([1]);
    assert!(is_in(&huge));
    assert_eq!(fixture.state.in_flight(), 50);
}

#[test]
fn bytes_not_yet_written_keep_others_waiting() {
    let mut fixture = Fixture::new(100, 10);
    fixture.call();
    let next = fixture.call();
    assert!(!is_in(&next));
    fixture.wrote(1);
    assert!(is_in(&next));
}

#[test]
fn those_who_give_up_waiting_leave_nothing_behind() {
    let mut fixture = Fixture::new(1, 100);
    fixture.call();
    let most = (0..1000).map(|_| {
        let calls = [(); 2].map(|()| fixture.call());
        calls.iter().for_each(|call| fixture.abandon(call));
        fixture.state.waiting()
    });
    let most = most.max();
    assert!(most < Some(10), "{most:?} are left");
}

#[test]
fn draining_says_of_each_call_whether_anything_was_written() {
    let mut fixture = Fixture::new(3, 100);
    let [written, partly, unwritten] = [0; 3].map(|_| fixture.call());
    let waiting = fixture.call();
    fixture.wrote(11);
    fixture.drain();
    assert!(!fixture.leave(&waiting, 1));
    assert!(!fixture.state.has_out());
    assert!(fixture.deliver([1]));
    assert!(!fixture.state.is_owed());
    assert_eq!(reply(&written), Some(1));
    assert_eq!(error_of(&partly), Some(withdrawn()));
    for call in [unwritten, waiting] {
        assert_eq!(error_of(&call), Some(MuxError::NotWritten));
    }
    assert!(fixture.is_empty());
}

/// A pipeline of which one portion of two is written and the other not.
fn half_written(fixture: &mut Fixture) -> Slot {
    let call = fixture.pipeline(Some(4), 2);
    fixture.wrote(10);
    assert!(matches!(progress(&call), Progress::More));
    call
}

#[test]
fn a_pipeline_drained_between_two_portions_gets_the_replies_to_what_was_written() {
    // The second portion waits for room, or was let in.
    for room in [2, 4] {
        let mut fixture = Fixture::new(room, 100);
        let call = half_written(&mut fixture);
        fixture.next_portion(&call, 2);
        fixture.deliver([1]);
        fixture.drain();
        assert!(matches!(progress(&call), Progress::Waiting));
        assert!(fixture.deliver([2]));
        let Progress::Done(Completion::Many(replies)) = progress(&call) else {
            panic!("it has all that will come");
        };
        assert_eq!(replies, [1, 2].map(Value::Int));
        assert!(fixture.is_empty());
    }
}

#[test]
fn draining_answers_a_pipeline_that_has_all_replies_to_what_was_written() {
    let mut fixture = Fixture::new(3, 100);
    let call = half_written(&mut fixture);
    fixture.deliver([1]);
    fixture.call();
    fixture.call();
    fixture.next_portion(&call, 2);
    fixture.deliver([2]);
    fixture.drain();
    let progress = progress(&call);
    assert!(matches!(progress, Progress::Done(Completion::Many(replies)) if replies.len() == 2));
    assert!(fixture.is_empty());
}

#[test]
fn a_pipeline_drained_within_a_portion_is_unknown() {
    let mut fixture = Fixture::new(4, 100);
    let call = half_written(&mut fixture);
    fixture.next_portion(&call, 2);
    fixture.wrote(1);
    fixture.drain();
    assert_eq!(error_of(&call), Some(withdrawn()));
    assert!(fixture.deliver([1, 2]));
    assert!(fixture.is_empty());
}

#[test]
fn a_pipeline_whose_next_portion_waits_when_the_connection_is_lost_has_the_replies_to_the_others() {
    let mut fixture = Fixture::new(3, 100);
    let call = half_written(&mut fixture);
    fixture.deliver([1]);
    let others = [(); 2].map(|()| fixture.call());
    fixture.next_portion(&call, 2);
    fixture.deliver([2]);
    fixture.fail(&Cause::Closed);
    let progress = progress(&call);
    let Progress::Done(Completion::Many(replies)) = progress else {
        panic!("nothing of it is unknown: {progress:?}");
    };
    assert_eq!(replies, [1, 2].map(Value::Int));
    for other in others {
        assert_eq!(error_of(&other), Some(MuxError::NotWritten));
    }
    assert!(fixture.is_empty());
}

#[test]
fn a_handle_does_not_keep_the_room_of_a_long_command() {
    let mut fixture = Fixture::roomy();
    let slot = fixture.left(&[b'x'; 10_000], false);
    fixture.turn();
    fixture.wrote(10_000);
    fixture.deliver([1]);
    assert_eq!(reply(&slot), Some(1));
    assert!(slot.call().lock().long().capacity() <= 1024);
}

#[test]
fn what_follows_a_protocol_error_in_a_pipeline_has_the_same_answer_once_the_server_has_closed() {
    let error = |line: &str| redis::parse_redis_value(line.as_bytes()).unwrap();
    let protocol = error("-ERR Protocol error: invalid bulk length\r\n");
    let reset = Cause::Io(String::new(), std::io::ErrorKind::ConnectionReset);
    let late = Cause::Timeout(TIMEOUT);
    for (second, cause, answered) in [
        (protocol.clone(), Cause::Closed, true),
        (protocol.clone(), reset, true),
        (protocol.clone(), late, false),
        (protocol.clone(), Cause::Withdrawn, false),
        (error("-ERR syntax error\r\n"), Cause::Closed, false),
    ] {
        let mut fixture = Fixture::roomy();
        let call = fixture.pipeline(Some(3), 3);
        fixture.wrote(5);
        for reply in [Value::Int(1), second] {
            assert!(fixture.reply(reply));
        }
        fixture.fail(&cause);
        match progress(&call) {
            Progress::Done(Completion::Many(replies)) if answered => {
                assert_eq!(replies, [Value::Int(1), protocol.clone(), protocol.clone()]);
            }
            Progress::Done(Completion::Error(MuxError::Failed(_, Fate::Unknown))) if !answered => {}
            other => panic!("{cause}: {other:?}"),
        }
        assert!(fixture.is_empty());
    }
}

#[test]
fn what_follows_a_protocol_error_is_not_sent_elsewhere_though_nothing_of_it_was_written() {
    let line = b"-ERR Protocol error: invalid bulk length\r\n";
    let protocol = redis::parse_redis_value(line).unwrap();
    // The second portion waits for room, or is not handed in when the connection is lost.
    for handed_in in [true, false] {
        let mut fixture = Fixture::new(2, 100);
        let call = half_written(&mut fixture);
        let others = [(); 2].map(|()| fixture.call());
        if handed_in {
            fixture.next_portion(&call, 2);
        }
        for reply in [Value::Int(1), protocol.clone()] {
            assert!(fixture.reply(reply));
        }
        fixture.fail(&Cause::Closed);
        if !handed_in {
            assert!(!fixture.leave(&call, 2));
            call.call().lock().shorten();
        }
        let Progress::Done(Completion::Many(replies)) = progress(&call) else {
            panic!("it has all that will come");
        };
        let [first, rest @ ..] = &replies[..] else {
            panic!("it has replies");
        };
        assert_eq!(
            (first, rest),
            (&Value::Int(1), &[(); 3].map(|()| protocol.clone())[..])
        );
        assert!(
            others
                .iter()
                .all(|other| error_of(other) == Some(MuxError::NotWritten))
        );
    }
}

#[test]
fn a_call_that_fails_at_its_deadline_says_whether_it_may_have_been_written() {
    let mut fixture = Fixture::new(1, 100);
    let sent = fixture.call();
    let waiting = fixture.call();
    fixture.wrote(10);
    let began = Instant::now();
    for quarter in 1..=5 {
        fixture.state.heard();
        assert!(matches!(progress(&waiting), Progress::Waiting));
        let now = began + TIMEOUT / 4 * quarter;
        assert_eq!(fixture.tick(now), Ticked::Busy);
    }
    let limit = Cause::Timeout(TIMEOUT);
    let unknown = MuxError::Failed(limit.clone(), Fate::Unknown);
    let not_executed = MuxError::Failed(limit, Fate::NotExecuted);
    assert_eq!(error_of(&sent), Some(unknown));
    assert_eq!(error_of(&waiting), Some(not_executed));
    assert_eq!(fixture.state.waiting(), 0);
    assert!(fixture.deliver([1]));
    assert!(fixture.is_empty());
}

#[test]
fn a_connection_is_idle_after_a_whole_tick_without_use() {
    let mut fixture = Fixture::roomy();
    let call = fixture.call();
    fixture.wrote(10);
    fixture.deliver([1]);
    reply(&call);
    let ticks = [1, 2].map(|second| fixture.tick(Instant::now() + TIMEOUT * second));
    assert_eq!(ticks, [Ticked::Busy, Ticked::Idle]);
}

#[derive(Debug, Clone)]
enum Step {
    /// Portions of a pipeline, or one command.
    Enter(Vec<usize>, Want),
    Progress(prop::sample::Index),
    Abandon(prop::sample::Index),
    /// The driver's turn: it takes what was handed in.
    Turn,
    Write(usize),
    Answer(usize),
    Tick,
    Pause,
    Reopen,
    Drain,
    Fail,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let want = prop_oneof![
        3 => Just(Want::NOTHING),
        2 => Just(Want::AHEAD),
        2 => Just(Want::BEHIND),
        1 => Just(Want::BOTH),
    ];
    let portions = prop::collection::vec(1..4_usize, 0..4);
    let step = prop_oneof![
        6 => (portions, want).prop_map(|(portions, want)| Step::Enter(portions, want)),
        6 => any::<prop::sample::Index>().prop_map(Step::Progress),
        2 => any::<prop::sample::Index>().prop_map(Step::Abandon),
        6 => Just(Step::Turn),
        5 => (0..100_usize).prop_map(Step::Write),
        5 => (1..6_usize).prop_map(Step::Answer),
        2 => Just(Step::Tick),
        1 => Just(Step::Pause),
        2 => Just(Step::Reopen),
    ];
    let end =
        prop_oneof![3 => Just(None), 1 => Just(Some(Step::Drain)), 1 => Just(Some(Step::Fail))];
    (prop::collection::vec(step, 0..80), end, 0..80_usize).prop_map(|(mut steps, end, place)| {
        if let Some(end) = end {
            steps.insert(place.min(steps.len()), end);
        }
        steps
    })
}

/// A caller, as the model sees it.
struct Caller {
    slot: Slot,
    name: usize,
    want: Want,
    came: Instant,
    since: u32,
    /// Portions not handed in.
    portions: VecDeque<usize>,
    single: bool,
    /// How many commands it has in all, and in how many portions.
    total: usize,
    all_portions: usize,
    /// How many were answered before it was over.
    answered: usize,
    commands: Vec<i64>,
    /// The question ahead of each portion, in the same buffer.
    proofs: Vec<usize>,
    /// Where each portion ends in the stream, and how many commands it has.
    ends: Vec<(usize, usize)>,
    start: Option<usize>,
    /// A part of it may have been given back without being written.
    shortened: bool,
    /// The question behind it may never be answered.
    excused: bool,
}

/// Commands handed in together: whose, and the length of each.
struct Waiting {
    caller: usize,
    lengths: Vec<usize>,
}

/// Commands let in together, or a question.
struct Entered {
    left: usize,
    start: usize,
    end: usize,
    is_question: bool,
}

#[derive(Clone, Copy)]
enum Sent {
    Command(i64),
    Question(usize),
}

struct Model {
    fixture: Fixture,
    callers: Vec<Caller>,
    /// What was handed in and not let in, in that order.
    waiting: VecDeque<Waiting>,
    owed: VecDeque<Entered>,
    /// The commands and questions in the order of the stream, with the offset of their ends.
    stream: VecDeque<(Sent, usize)>,
    /// The bytes that the driver has not taken, as they should be.
    buffer: Vec<u8>,
    /// The question in that buffer, and how many there are.
    heading: Option<usize>,
    headings: usize,
    /// A question is to be put behind that buffer.
    is_due: bool,
    /// How many commands the server has executed, and how many it had when it executed each.
    executed: usize,
    places: HashMap<i64, usize>,
    /// What it had executed when it was asked.
    positions: HashMap<usize, usize>,
    /// What the driver took, and of that what the socket took.
    taken: usize,
    sent: usize,
    /// Where the stream ends.
    end: usize,
    now: Instant,
    /// Names of callers and commands.
    next: usize,
    paused: bool,
    draining: bool,
    over: bool,
}

const MAX_IN_FLIGHT: usize = 4;
const MAX_PENDING: usize = 70;

/// The reply to a command, as one kind or the other.
fn answer_to(id: i64) -> Value {
    if id % 2 == 0 {
        Value::Int(id)
    } else {
        Value::BulkString(id.to_string().into_bytes())
    }
}

/// What the server answers that has executed so many commands.
fn position(executed: usize) -> Value {
    let timeline = "0123456789abcdef0123456789abcdef01234567";
    let text =
        format!("role:master\r\nmaster_replid:{timeline}\r\nmaster_repl_offset:{executed}\r\n");
    if executed.is_multiple_of(2) {
        return Value::BulkString(text.into_bytes());
    }
    let format = redis::VerbatimFormat::Text;
    Value::VerbatimString { format, text }
}

/// How many commands had been executed.
fn offset(answer: &Answer) -> usize {
    let report = answer.as_ref().expect("it is a position");
    usize::try_from(report.position.offset).unwrap()
}

impl Model {
    fn new() -> Self {
        Self {
            fixture: Fixture::new(MAX_IN_FLIGHT, MAX_PENDING),
            callers: Vec::new(),
            waiting: VecDeque::new(),
            owed: VecDeque::new(),
            stream: VecDeque::new(),
            buffer: Vec::new(),
            heading: None,
            headings: 0,
            is_due: false,
            executed: 0,
            places: HashMap::new(),
            positions: HashMap::new(),
            taken: 0,
            sent: 0,
            end: 0,
            now: Instant::now(),
            next: 0,
            paused: false,
            draining: false,
            over: false,
        }
    }

    fn take(&mut self, step: Step) {
        let any = |index: prop::sample::Index, count| (count > 0).then(|| index.index(count));
        let callers = self.callers.len();
        match step {
            Step::Enter(portions, want) => self.enter(portions, want),
            Step::Progress(index) => any(index, callers).into_iter().for_each(|place| {
                self.progress(place);
            }),
            Step::Abandon(index) => any(index, callers).into_iter().for_each(|place| {
                let caller = self.callers.swap_remove(place);
                self.waiting.retain(|waiting| waiting.caller != caller.name);
                if caller.slot.call().lock().abandon().untaken {
                    self.fixture.intake.abandoned();
                }
            }),
            Step::Turn => self.turn(),
            Step::Write(bytes) => self.write(bytes),
            Step::Answer(count) => self.answer(count),
            Step::Tick => self.tick(),
            Step::Pause => self.pause(),
            Step::Reopen => self.reopen(),
            Step::Drain => self.drain(),
            Step::Fail => self.fail(&Cause::Closed),
        }
    }

    fn is_stopped(&self) -> bool {
        self.paused || self.draining || self.over
    }

    fn enter(&mut self, mut portions: Vec<usize>, want: Want) {
        let single = portions.is_empty();
        if single {
            portions.push(1);
        }
        let mut slot = Slot::default();
        let all_portions = portions.len();
        let call = slot.renew();
        if single {
            call.begin(Waker::noop(), false);
        } else {
            call.begin_pipeline(Waker::noop(), portions.iter().sum());
        }
        self.next += 1;
        let mut caller = Caller {
            slot,
            name: self.next,
            want,
            came: self.now,
            since: 0,
            total: portions.iter().sum(),
            all_portions,
            answered: 0,
            portions: portions.into(),
            single,
            commands: Vec::new(),
            proofs: Vec::new(),
            ends: Vec::new(),
            start: None,
            shortened: false,
            excused: false,
        };
        if self.hand_in(&mut caller, None) {
            self.callers.push(caller);
        }
    }

    /// Hands in the next portion; false when nothing is taken in.
    fn hand_in(&mut self, caller: &mut Caller, since: Option<u32>) -> bool {
        let count = caller.portions.pop_front().unwrap();
        self.next += 1;
        let lengths: Vec<_> = (0..count).map(|nth| 5 + (self.next + nth) % 7).collect();
        let mut call = caller.slot.call().lock();
        let bytes = vec![b'x'; lengths.iter().sum()];
        if bytes.len().is_multiple_of(2) {
            call.long().extend(&bytes);
        } else {
            assert!(call.room.set(&bytes));
        }
        call.hand_in(!caller.portions.is_empty());
        drop(call);
        let call = Arc::clone(caller.slot.call());
        let left = self.fixture.intake.leave(call, count, caller.want, since);
        assert_eq!(left.is_err(), self.is_stopped());
        let Ok((since, _)) = left else {
            return false;
        };
        caller.since = since;
        self.waiting.push_back(Waiting {
            caller: caller.name,
            lengths,
        });
        true
    }

    /// Does as a caller does when it is polled; says whether it has left.
    fn progress(&mut self, place: usize) -> bool {
        let progressed = progress(&self.callers[place].slot);
        match progressed {
            Progress::Waiting => false,
            Progress::More => {
                let mut caller = self.callers.swap_remove(place);
                let since = Some(caller.since);
                if !self.hand_in(&mut caller, since) {
                    caller.shortened = true;
                    caller.slot.call().lock().shorten();
                }
                self.callers.push(caller);
                false
            }
            Progress::Done(completion) => {
                let caller = self.callers.swap_remove(place);
                self.waiting.retain(|waiting| waiting.caller != caller.name);
                self.judge_positions(&caller, &completion);
                self.judge(&caller, completion);
                true
            }
        }
    }

    fn judge(&self, caller: &Caller, completion: Completion) {
        let untouched = caller.start.is_none_or(|start| start >= self.sent);
        match completion {
            Completion::Short => panic!("it becomes a value"),
            Completion::One(value) => {
                assert!(caller.single);
                assert_eq!(value, answer_to(caller.commands[0]));
            }
            Completion::Many(values) => {
                assert!(!caller.single);
                let whole = caller.portions.is_empty() && values.len() == caller.commands.len();
                // The rest was not written, and there is some of what was.
                assert!(whole || caller.shortened && !values.is_empty());
                let written = caller.ends.iter().filter(|(end, _)| *end <= self.sent);
                let written = written.map(|(_, count)| count).sum();
                let own: Vec<_> = caller.commands.iter().copied().map(answer_to).collect();
                assert_eq!(values, own[..written]);
            }
            Completion::Error(MuxError::NotWritten) => {
                assert!(untouched && (caller.shortened || self.over));
            }
            Completion::Error(MuxError::Failed(Cause::Timeout(_), fate)) => {
                assert!(self.over || self.now - caller.came >= TIMEOUT);
                assert_eq!(fate == Fate::NotExecuted, caller.start.is_none());
            }
            Completion::Error(MuxError::Failed(..)) => {
                let ends = caller.ends.iter().map(|(end, _)| *end);
                let partly = ends.clone().all(|end| end != self.sent)
                    && ends.max().is_some_and(|end| end > self.sent);
                assert!(!untouched && (self.over || self.draining && partly));
            }
        }
    }

    fn judge_positions(&self, caller: &Caller, completion: &Completion) {
        let answers = caller.slot.take_answers();
        if let Completion::Error(_) = completion {
            assert!(caller.answered < caller.total, "all its replies were here");
            return;
        }
        assert_eq!(answers.ahead.is_some(), caller.want.ahead());
        let places = caller.commands.iter().filter_map(|id| self.places.get(id));
        let (first, last) = (places.clone().min(), places.max());
        if let Some(ahead) = answers.ahead {
            assert!(offset(&ahead) < *first.unwrap());
            let of_proof = |proof| self.positions.get(proof).copied();
            let proven = caller.proofs.iter().filter_map(of_proof).min();
            assert!(caller.shortened || Some(offset(&ahead)) == proven);
        }
        let is_late = self.now - caller.came >= TIMEOUT;
        let excused = caller.excused || caller.shortened || is_late;
        match answers.behind {
            Some(behind) => assert!(caller.want.behind() && offset(&behind) >= *last.unwrap()),
            None => assert!(!caller.want.behind() || excused),
        }
    }

    fn turn(&mut self) {
        self.fixture.turn();
        self.forget_failed();
        self.let_in();
        let (live, all) = (self.waiting.len(), self.fixture.state.waiting());
        assert!(
            live <= all && all <= live * 2,
            "{live} wait, and {all} are kept"
        );
    }

    /// A call that was told that it failed has left the line.
    fn forget_failed(&mut self) {
        let callers = &self.callers;
        self.waiting.retain(|waiting| {
            let mut callers = callers.iter();
            let caller = callers.find(|caller| caller.name == waiting.caller);
            caller.is_some_and(|caller| !caller.slot.call().lock().is_over())
        });
    }

    /// First come, first served, as far as there is room.
    fn let_in(&mut self) {
        while let Some(first) = self.waiting.front() {
            let count = first.lengths.len();
            let owed = self.owed_commands();
            let fits = owed == 0 || owed + count <= MAX_IN_FLIGHT;
            if !fits || self.end - self.sent >= MAX_PENDING {
                break;
            }
            let Waiting { caller, lengths } = self.waiting.pop_front().unwrap();
            let named = |known: &Caller| known.name == caller;
            let place = self.callers.iter().position(named).unwrap();
            let wants_proof = self.callers[place].want.ahead();
            if wants_proof && self.heading.is_none() {
                self.ask();
            }
            let caller = &mut self.callers[place];
            caller.proofs.extend(self.heading.filter(|_| wants_proof));
            self.is_due |= caller.want.behind() && caller.ends.len() + 1 == caller.all_portions;
            caller.start.get_or_insert(self.end);
            let start = self.end;
            for length in lengths {
                self.end += length;
                self.next += 1;
                let id = i64::try_from(self.next).unwrap();
                self.stream.push_back((Sent::Command(id), self.end));
                caller.commands.push(id);
            }
            self.buffer
                .resize(self.buffer.len() + self.end - start, b'x');
            caller.ends.push((self.end, count));
            self.owed.push_back(Entered {
                left: count,
                start,
                end: self.end,
                is_question: false,
            });
        }
        assert_eq!(self.fixture.state.in_flight(), self.owed_commands());
    }

    fn owed_commands(&self) -> usize {
        let commands = self.owed.iter().filter(|entered| !entered.is_question);
        commands.map(|entered| entered.left).sum()
    }

    /// A question is put into the stream.
    fn ask(&mut self) {
        self.next += 1;
        let start = self.end;
        self.end += QUESTION.len();
        self.buffer.extend(QUESTION);
        self.stream.push_back((Sent::Question(self.next), self.end));
        self.owed.push_back(Entered {
            left: 1,
            start,
            end: self.end,
            is_question: true,
        });
        (self.heading, self.is_due) = (Some(self.next), false);
        self.headings += 1;
        assert!(self.headings <= 2, "one ahead and one behind are enough");
    }

    /// What was not taken is gone, to the socket or altogether.
    fn forget_buffer(&mut self) {
        self.buffer.clear();
        (self.heading, self.headings, self.is_due) = (None, 0, false);
    }

    fn write(&mut self, bytes: usize) {
        let mut buffer = Vec::new();
        while self.taken < self.sent + bytes && self.fixture.state.has_out() {
            if self.is_due {
                self.ask();
            }
            self.fixture.state.take_out(&mut buffer);
            assert_eq!(buffer, self.buffer);
            self.forget_buffer();
            self.taken += buffer.len();
        }
        let bytes = bytes.min(self.taken - self.sent);
        self.sent += bytes;
        self.fixture.state.wrote(bytes);
    }

    /// The server answers, of what it has been sent whole.
    fn answer(&mut self, count: usize) {
        let whole = self.stream.iter().take_while(|(_, end)| *end <= self.sent);
        let count = whole.count().min(count);
        if self.over || count == 0 {
            return;
        }
        let sent: Vec<_> = self.stream.drain(..count).map(|(sent, _)| sent).collect();
        self.fixture.state.heard();
        for sent in sent {
            // Where there is none it was cut together with others.
            if let Some(entered) = self.owed.front_mut() {
                entered.left -= 1;
                if entered.left == 0 {
                    self.owed.pop_front();
                }
            }
            let reply = match sent {
                Sent::Command(id) => {
                    self.executed += 1;
                    self.places.insert(id, self.executed);
                    let mut callers = self.callers.iter_mut();
                    if let Some(caller) = callers.find(|caller| caller.commands.contains(&id)) {
                        let is_over = caller.slot.call().lock().is_over();
                        caller.answered += usize::from(!is_over);
                    }
                    answer_to(id)
                }
                Sent::Question(name) => {
                    self.positions.insert(name, self.executed);
                    position(self.executed)
                }
            };
            let state = &mut self.fixture.state;
            let delivered = match reply {
                Value::BulkString(text) => state.deliver_short(&text, &mut Vec::new()),
                value => state.deliver(value, &mut Vec::new()),
            };
            assert!(delivered.was_asked());
        }
    }

    fn tick(&mut self) {
        if self.over {
            return;
        }
        self.now += TIMEOUT / 4;
        // What came before this tick is let in before anybody is told that it is too late.
        self.turn();
        let ticked = self.fixture.tick(self.now);
        if ticked == Ticked::Stalled {
            assert!(!self.owed.is_empty());
            self.fail(&Cause::Timeout(TIMEOUT));
            return;
        }
        self.forget_failed();
        self.let_in();
    }

    fn pause(&mut self) {
        let partly = |entered: &Entered| entered.start < self.sent && self.sent < entered.end;
        let between = !self.owed.iter().any(partly);
        if !self.draining && !self.over {
            assert_eq!(self.fixture.state.is_between_commands(), between);
        }
        if self.is_stopped() || !between {
            return;
        }
        let arrived = self.fixture.intake.stop(Phase::Paused);
        let state = &mut self.fixture.state;
        state.hand_back(arrived, &Cause::Withdrawn, &mut Vec::new());
        self.paused = true;
        self.take_back();
        self.forget_unwritten();
    }

    /// Its place in the stream goes to others.
    fn forget_unwritten(&mut self) {
        let sent = self.sent;
        self.end = sent;
        for caller in &mut self.callers {
            caller.ends.retain(|(end, _)| *end <= sent);
            if caller.start.is_some_and(|start| start >= sent) {
                caller.start = Some(usize::MAX);
            }
        }
    }

    fn reopen(&mut self) {
        self.paused = false;
        let open = self.fixture.intake.reopen();
        assert_eq!(open, !self.draining && !self.over);
    }

    fn drain(&mut self) {
        self.fixture.drain();
        (self.paused, self.draining) = (false, true);
        self.take_back();
    }

    /// What was not written is given back to those who have no answer yet.
    fn take_back(&mut self) {
        let sent = self.sent;
        self.taken = sent;
        self.forget_buffer();
        self.owed.retain(|entered| entered.end <= sent);
        self.stream.retain(|(_, end)| *end <= sent);
        for caller in &mut self.callers {
            let unwritten = caller.ends.iter().any(|(end, _)| *end > sent);
            let waits = self.waiting.iter().any(|one| one.caller == caller.name);
            caller.shortened |= unwritten || waits || !caller.portions.is_empty();
            caller.excused = true;
        }
        self.waiting.clear();
    }

    fn fail(&mut self, cause: &Cause) {
        self.fixture.fail(cause);
        (self.paused, self.over) = (false, true);
        // The driver has ended: what it had taken is never written.
        self.taken = self.sent;
        for caller in &mut self.callers {
            caller.shortened |= self.waiting.iter().any(|one| one.caller == caller.name);
            caller.shortened |= !caller.portions.is_empty();
            caller.excused = true;
        }
        self.waiting.clear();
        self.owed.clear();
        self.stream.clear();
    }

    /// Everybody goes on until all have left.
    fn finish(&mut self) {
        for _ in 0..1000 {
            let mut place = 0;
            while place < self.callers.len() {
                if !self.progress(place) {
                    place += 1;
                }
            }
            self.reopen();
            self.turn();
            self.write(1000);
            self.answer(1000);
            self.turn();
            if self.callers.is_empty() && self.owed.is_empty() {
                break;
            }
        }
        assert!(self.callers.is_empty(), "a call was lost");
        assert!(self.fixture.is_empty(), "{:?}", self.fixture.state);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_call_ends_with_its_own_replies_or_the_truth_about_them(steps in steps()) {
        let mut model = Model::new();
        for step in steps {
            model.take(step);
        }
        model.finish();
    }
}

/// A handle uses its slot again for the next command, which may go over another connection.
#[test]
fn a_command_that_was_not_taken_is_not_sent_in_place_of_the_next_one_of_its_handle() {
    let set = cmd("SET").arg("k").arg("v".repeat(500)).take();
    let get = cmd("GET").arg("k").take();
    type End = fn(&mut Fixture);
    let ends: [(&str, End); 3] = [
        ("handed back at the intake", |lost| lost.drain()),
        ("handed back in line", |lost| {
            lost.turn();
            lost.drain();
        }),
        ("the connection is lost", |lost| lost.fail(&Cause::Closed)),
    ];
    for (how, end) in ends {
        let mut lost = Fixture::new(1, 1 << 20);
        let _first = lost.call();
        let mut slot = Slot::default();
        Encoder::One(&set).begin(slot.renew(), Waker::noop());
        assert!(lost.leave(&slot, 1));
        end(&mut lost);
        assert_eq!(error_of(&slot), Some(MuxError::NotWritten), "{how}");

        let mut next = Fixture::roomy();
        Encoder::One(&get).begin(slot.renew(), Waker::noop());
        assert!(next.leave(&slot, 1));
        next.turn();
        let mut sent = Vec::new();
        next.state.take_out(&mut sent);
        let (sent, expected) = (sent.escape_ascii(), get.get_packed_command());
        assert_eq!(
            sent.to_string(),
            expected.escape_ascii().to_string(),
            "{how}"
        );
    }
}
