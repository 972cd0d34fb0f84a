use std::collections::{HashSet, VecDeque};

use proptest::prelude::*;

use super::*;

const TIMEOUT: Duration = Duration::from_secs(1);

fn state(max_in_flight: usize, max_pending_bytes: usize) -> MuxState {
    let limits = MultiplexedLimits {
        connections: 1,
        max_in_flight,
        max_pending_bytes,
    };
    MuxState::new(limits, Some(TIMEOUT))
}

fn roomy() -> MuxState {
    state(100, 1 << 20)
}

fn enter(state: &mut MuxState, wanted: usize) -> usize {
    state.enter(wanted, None, Waker::noop()).unwrap()
}

/// A single call that hands in ten bytes at once.
fn call(state: &mut MuxState) -> usize {
    let key = enter(state, 1);
    hand_in(state, key);
    key
}

fn hand_in(state: &mut MuxState, key: usize) {
    state.hand_in(key, |out| out.extend([b'x'; 10]));
}

/// The driver has taken all that was handed in, and `bytes` of it have reached the socket.
fn wrote(state: &mut MuxState, bytes: usize) {
    while state.has_out() {
        state.take_out(&mut Vec::new());
    }
    state.wrote(bytes, &mut Vec::new());
}

fn deliver(state: &mut MuxState, ids: impl IntoIterator<Item = i64>) -> bool {
    let mut replies: Vec<_> = ids.into_iter().map(Value::Int).collect();
    state.deliver(&mut replies, &mut Vec::new())
}

fn abandon(state: &mut MuxState, key: usize) {
    state.abandon(key, &mut Vec::new());
}

fn progress(state: &mut MuxState, key: usize) -> Progress {
    state.progress(key, Waker::noop())
}

fn reply(state: &mut MuxState, key: usize) -> Option<i64> {
    match progress(state, key) {
        Progress::Done(Completion::One(Value::Int(id))) => Some(id),
        _ => None,
    }
}

fn error_of(state: &mut MuxState, key: usize) -> Option<MuxError> {
    match progress(state, key) {
        Progress::Done(Completion::Error(error)) => Some(error),
        _ => None,
    }
}

fn withdrawn() -> MuxError {
    MuxError::Failed(Cause::Withdrawn, Fate::Unknown)
}

#[test]
fn replies_go_to_calls_in_the_order_in_which_they_handed_in() {
    let mut state = roomy();
    let keys = [0; 3].map(|_| call(&mut state));
    wrote(&mut state, 30);
    assert!(deliver(&mut state, [7, 8, 9]));
    assert_eq!(
        keys.map(|key| reply(&mut state, key)),
        [Some(7), Some(8), Some(9)]
    );
    assert!(state.is_empty());
}

#[test]
fn a_reply_to_a_command_of_which_nothing_was_written_is_refused() {
    let mut state = roomy();
    call(&mut state);
    let second = call(&mut state);
    wrote(&mut state, 10);
    assert!(!deliver(&mut state, [1, 2]));
    assert_eq!(reply(&mut state, second), None);
}

#[test]
fn a_reply_is_refused_when_nothing_is_owed() {
    assert!(!deliver(&mut roomy(), [1]));
}

#[test]
fn values_that_nobody_waits_for_are_left_to_be_dropped_without_the_lock() {
    let mut state = roomy();
    let gone = call(&mut state);
    let kept = call(&mut state);
    wrote(&mut state, 20);
    abandon(&mut state, gone);
    let mut replies = [1, 2].map(Value::Int);
    assert!(state.deliver(&mut replies, &mut Vec::new()));
    assert_eq!(replies, [Value::Int(1), Value::Nil]);
    assert_eq!(reply(&mut state, kept), Some(2));
    assert!(state.is_empty());
}

#[test]
fn a_dropped_call_gives_back_what_it_had_received() {
    let mut state = roomy();
    let key = state.enter(2, Some(2), Waker::noop()).unwrap();
    hand_in(&mut state, key);
    wrote(&mut state, 10);
    deliver(&mut state, [1]);
    let (completion, replies) = state.abandon(key, &mut Vec::new());
    assert!(completion.is_none());
    assert_eq!(replies, [Value::Int(1)]);
    deliver(&mut state, [2]);
    assert!(state.is_empty());
}

#[test]
fn nobody_overtakes_one_that_wants_much() {
    let mut state = state(4, 100);
    let first = enter(&mut state, 3);
    let much = enter(&mut state, 4);
    let little = enter(&mut state, 1);
    assert!(!state.is_admitted(much) && !state.is_admitted(little));
    abandon(&mut state, first);
    assert!(state.is_admitted(much) && !state.is_admitted(little));
    abandon(&mut state, much);
    assert!(state.is_admitted(little));
}

#[test]
fn what_is_larger_than_the_limit_goes_alone() {
    let mut state = state(4, 100);
    let first = enter(&mut state, 1);
    let huge = enter(&mut state, 50);
    assert!(!state.is_admitted(huge));
    abandon(&mut state, first);
    assert!(state.is_admitted(huge));
    assert_eq!(state.in_flight(), 50);
}

#[test]
fn bytes_not_yet_written_keep_others_waiting() {
    let mut state = state(100, 10);
    call(&mut state);
    let next = enter(&mut state, 1);
    assert!(!state.is_admitted(next));
    wrote(&mut state, 1);
    assert!(state.is_admitted(next));
}

#[test]
fn those_who_give_up_waiting_leave_nothing_behind() {
    let mut state = state(1, 100);
    enter(&mut state, 1);
    let last = [(); 1000].map(|()| {
        let key = enter(&mut state, 1);
        let next = enter(&mut state, 1);
        abandon(&mut state, key);
        abandon(&mut state, next);
        state.calls.len() + state.queue.len()
    });
    assert!(last[999] < 10, "{} are left", last[999]);
    assert_eq!(state.waiting(), 0);
}

#[test]
fn draining_says_of_each_call_whether_anything_was_written() {
    let mut state = state(4, 100);
    let keys = [0; 3].map(|_| call(&mut state));
    let granted = enter(&mut state, 1);
    let waiting = enter(&mut state, 1);
    wrote(&mut state, 11);
    state.drain(&Cause::Withdrawn, &mut Vec::new());
    assert!(state.enter(1, None, Waker::noop()).is_none());
    assert!(!state.has_out());
    assert!(deliver(&mut state, [1]));
    assert!(!state.is_owed());
    let [written, partly, unwritten] = keys;
    assert_eq!(reply(&mut state, written), Some(1));
    assert_eq!(error_of(&mut state, partly), Some(withdrawn()));
    for key in [unwritten, granted, waiting] {
        assert_eq!(error_of(&mut state, key), Some(MuxError::NotWritten));
    }
    assert!(state.is_empty());
}

#[test]
fn a_draining_connection_cannot_be_paused_and_opened_again() {
    let mut state = roomy();
    let key = call(&mut state);
    wrote(&mut state, 10);
    state.drain(&Cause::Withdrawn, &mut Vec::new());
    assert!(!state.pause(&Cause::Withdrawn, &mut Vec::new()));
    assert!(!state.reopen());
    assert!(state.enter(1, None, Waker::noop()).is_none());
    assert!(deliver(&mut state, [1]));
    assert_eq!(reply(&mut state, key), Some(1));
}

/// A pipeline of which one portion of two is written and the other not.
fn half_written(state: &mut MuxState) -> usize {
    let key = state.enter(2, Some(4), Waker::noop()).unwrap();
    hand_in(state, key);
    state.ask(key, 2);
    wrote(state, 10);
    key
}

#[test]
fn a_pipeline_drained_between_two_portions_gets_the_replies_to_what_was_written() {
    // The second portion waits for room, is admitted, and is handed in.
    for stage in 0..3 {
        let mut state = state(if stage == 0 { 2 } else { 4 }, 100);
        let key = half_written(&mut state);
        if stage == 2 {
            hand_in(&mut state, key);
        }
        deliver(&mut state, [1]);
        state.drain(&Cause::Withdrawn, &mut Vec::new());
        assert!(matches!(progress(&mut state, key), Progress::Waiting));
        assert!(deliver(&mut state, [2]));
        let Progress::Done(Completion::Many(replies)) = progress(&mut state, key) else {
            panic!("it has all that will come");
        };
        assert_eq!(replies, [1, 2].map(Value::Int));
        assert!(state.is_empty());
    }
}

#[test]
fn draining_answers_a_pipeline_that_has_all_replies_to_what_was_written() {
    let mut state = state(2, 100);
    let key = half_written(&mut state);
    deliver(&mut state, [1, 2]);
    state.drain(&Cause::Withdrawn, &mut Vec::new());
    let progress = progress(&mut state, key);
    assert!(matches!(progress, Progress::Done(Completion::Many(replies)) if replies.len() == 2));
    assert!(state.is_empty());
}

#[test]
fn a_pipeline_drained_within_a_portion_is_unknown() {
    let mut state = state(4, 100);
    let key = half_written(&mut state);
    hand_in(&mut state, key);
    wrote(&mut state, 1);
    state.drain(&Cause::Withdrawn, &mut Vec::new());
    assert_eq!(error_of(&mut state, key), Some(withdrawn()));
    assert!(deliver(&mut state, [1, 2]));
    assert!(state.is_empty());
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
        let mut state = roomy();
        let key = state.enter(3, Some(3), Waker::noop()).unwrap();
        hand_in(&mut state, key);
        wrote(&mut state, 5);
        let mut replies = [Value::Int(1), second];
        assert!(state.deliver(&mut replies, &mut Vec::new()));
        state.fail(&cause, &mut Vec::new());
        match progress(&mut state, key) {
            Progress::Done(Completion::Many(replies)) if answered => {
                assert_eq!(replies, [Value::Int(1), protocol.clone(), protocol.clone()]);
            }
            Progress::Done(Completion::Error(MuxError::Failed(_, Fate::Unknown))) if !answered => {}
            other => panic!("{cause}: {other:?}"),
        }
        assert!(state.is_empty());
    }
}

#[test]
fn a_call_that_fails_at_its_deadline_says_whether_it_was_handed_in() {
    let mut state = state(1, 100);
    let handed_in = call(&mut state);
    let waiting = enter(&mut state, 1);
    wrote(&mut state, 10);
    let began = Instant::now();
    for quarter in 1..=5 {
        state.heard();
        assert!(matches!(progress(&mut state, waiting), Progress::Waiting));
        let now = began + TIMEOUT / 4 * quarter;
        assert_eq!(state.tick(now, &mut Vec::new()), Ticked::Busy);
    }
    let limit = Cause::Timeout(TIMEOUT);
    let unknown = MuxError::Failed(limit.clone(), Fate::Unknown);
    let not_executed = MuxError::Failed(limit, Fate::NotExecuted);
    assert_eq!(error_of(&mut state, handed_in), Some(unknown));
    assert_eq!(error_of(&mut state, waiting), Some(not_executed));
    assert!(deliver(&mut state, [1]));
    assert!(state.is_empty());
}

#[test]
fn a_connection_is_idle_after_a_whole_tick_without_use() {
    let mut state = roomy();
    let key = call(&mut state);
    wrote(&mut state, 10);
    deliver(&mut state, [1]);
    reply(&mut state, key);
    let ticks = [1, 2].map(|second| {
        let now = Instant::now() + TIMEOUT * second;
        state.tick(now, &mut Vec::new())
    });
    assert_eq!(ticks, [Ticked::Busy, Ticked::Idle]);
}

#[derive(Debug, Clone)]
enum Step {
    /// Portions of a pipeline, or one command.
    Enter(Vec<usize>),
    Progress(prop::sample::Index),
    Abandon(prop::sample::Index),
    Write(usize),
    Answer(usize),
    Tick,
    Pause,
    Reopen,
    Drain,
    Fail,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => prop::collection::vec(1..4_usize, 0..4).prop_map(Step::Enter),
        8 => any::<prop::sample::Index>().prop_map(Step::Progress),
        2 => any::<prop::sample::Index>().prop_map(Step::Abandon),
        5 => (0..60_usize).prop_map(Step::Write),
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
    key: usize,
    came: Instant,
    /// Portions not handed in.
    portions: VecDeque<usize>,
    single: bool,
    commands: Vec<i64>,
    /// Where each portion ends in the stream, and how many commands it has.
    ends: Vec<(usize, usize)>,
    start: Option<usize>,
    granted: usize,
    /// A part of it was given back without being written.
    shortened: bool,
}

/// Commands handed in together.
struct Portion {
    left: usize,
    start: usize,
    end: usize,
}

struct Model {
    state: MuxState,
    callers: Vec<Caller>,
    /// Keys that asked for room, in that order.
    waiting: VecDeque<usize>,
    owed: VecDeque<Portion>,
    /// The commands in the order of the stream, with the offset of their ends.
    stream: VecDeque<(i64, usize)>,
    /// What the driver took, and of that what the socket took.
    taken: usize,
    sent: usize,
    handed_in: usize,
    now: Instant,
    next: i64,
    paused: bool,
    draining: bool,
    over: bool,
}

const MAX_IN_FLIGHT: usize = 4;
const MAX_PENDING: usize = 40;

impl Model {
    fn new() -> Self {
        Self {
            state: state(MAX_IN_FLIGHT, MAX_PENDING),
            callers: Vec::new(),
            waiting: VecDeque::new(),
            owed: VecDeque::new(),
            stream: VecDeque::new(),
            taken: 0,
            sent: 0,
            handed_in: 0,
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
            Step::Enter(portions) => self.enter(portions),
            Step::Progress(index) => any(index, callers).into_iter().for_each(|place| {
                self.progress(place);
            }),
            Step::Abandon(index) => any(index, callers).into_iter().for_each(|place| {
                let caller = self.callers.swap_remove(place);
                self.waiting.retain(|key| *key != caller.key);
                abandon(&mut self.state, caller.key);
            }),
            Step::Write(bytes) => self.write(bytes),
            Step::Answer(count) => self.answer(count),
            Step::Tick => self.tick(),
            Step::Pause => self.pause(),
            Step::Reopen => self.reopen(),
            Step::Drain => self.drain(),
            Step::Fail => self.fail(&Cause::Closed),
        }
        self.check();
    }

    fn enter(&mut self, mut portions: Vec<usize>) {
        let single = portions.is_empty();
        if single {
            portions.push(1);
        }
        let total = (!single).then(|| portions.iter().sum());
        let Some(key) = self.state.enter(portions[0], total, Waker::noop()) else {
            assert!(self.paused || self.draining || self.over);
            return;
        };
        self.waiting.push_back(key);
        self.callers.push(Caller {
            key,
            came: self.now,
            portions: portions.into(),
            single,
            commands: Vec::new(),
            ends: Vec::new(),
            start: None,
            granted: 0,
            shortened: false,
        });
    }

    /// Does as a call does when it is polled; says whether it has left.
    fn progress(&mut self, place: usize) -> bool {
        match progress(&mut self.state, self.callers[place].key) {
            Progress::Waiting => false,
            Progress::Admitted => {
                self.hand_in(place);
                false
            }
            Progress::Done(completion) => {
                let caller = self.callers.swap_remove(place);
                self.waiting.retain(|key| *key != caller.key);
                self.judge(&caller, completion);
                true
            }
        }
    }

    fn hand_in(&mut self, place: usize) {
        let caller = &mut self.callers[place];
        let count = caller.portions.pop_front().unwrap();
        assert_eq!(caller.granted, count);
        caller.granted = 0;
        caller.start.get_or_insert(self.handed_in);
        let before = self.handed_in;
        for id in (self.next..).take(count) {
            self.handed_in += 5 + usize::try_from(id % 7).unwrap();
            self.stream.push_back((id, self.handed_in));
            caller.commands.push(id);
            self.next = id + 1;
        }
        caller.ends.push((self.handed_in, count));
        let bytes = vec![b'x'; self.handed_in - before];
        if bytes.len().is_multiple_of(2) {
            self.state.hand_in_big(caller.key, bytes);
        } else {
            self.state.hand_in(caller.key, |out| out.extend(&bytes));
        }
        self.owed.push_back(Portion {
            left: count,
            start: before,
            end: self.handed_in,
        });
        if let Some(more) = caller.portions.front() {
            self.state.ask(caller.key, *more);
            self.waiting.push_back(caller.key);
        }
    }

    fn judge(&self, caller: &Caller, completion: Completion) {
        let untouched = caller.start.is_none_or(|start| start >= self.sent);
        match completion {
            Completion::One(value) => {
                assert!(caller.single);
                assert_eq!(value, Value::Int(caller.commands[0]));
            }
            Completion::Many(values) => {
                assert!(!caller.single);
                let whole = caller.portions.is_empty() && values.len() == caller.commands.len();
                // The rest was not written, and there is some of what was.
                assert!(whole || caller.shortened && !values.is_empty());
                let written = caller.ends.iter().filter(|(end, _)| *end <= self.sent);
                let written = written.map(|(_, count)| count).sum();
                let own: Vec<_> = caller.commands.iter().copied().map(Value::Int).collect();
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

    fn write(&mut self, bytes: usize) {
        let mut buffer = Vec::new();
        while self.taken < self.sent + bytes && self.state.has_out() {
            self.state.take_out(&mut buffer);
            self.taken += buffer.len();
        }
        let bytes = bytes.min(self.taken - self.sent);
        self.sent += bytes;
        self.state.wrote(bytes, &mut Vec::new());
    }

    /// The server answers, of what it has been sent whole.
    fn answer(&mut self, count: usize) {
        let whole = self.stream.iter().take_while(|(_, end)| *end <= self.sent);
        let count = whole.count().min(count);
        if self.over || count == 0 {
            return;
        }
        let ids: Vec<_> = self.stream.drain(..count).map(|(id, _)| id).collect();
        for _ in &ids {
            // Where there is none it was cut together with others.
            if let Some(portion) = self.owed.front_mut() {
                portion.left -= 1;
                if portion.left == 0 {
                    self.owed.pop_front();
                }
            }
        }
        self.state.heard();
        assert!(deliver(&mut self.state, ids));
    }

    fn tick(&mut self) {
        self.now += TIMEOUT / 4;
        if self.state.tick(self.now, &mut Vec::new()) == Ticked::Stalled {
            assert!(!self.owed.is_empty());
            self.fail(&Cause::Timeout(TIMEOUT));
        }
    }

    fn pause(&mut self) {
        let partly = |portion: &Portion| portion.start < self.sent && self.sent < portion.end;
        let stops = !self.paused && !self.draining && !self.over && !self.owed.iter().any(partly);
        assert_eq!(self.state.pause(&Cause::Withdrawn, &mut Vec::new()), stops);
        self.paused |= stops;
        assert_eq!(self.state.is_paused(), self.paused);
        if stops {
            self.take_back();
            self.forget_unwritten();
        }
    }

    /// Its place in the stream goes to others.
    fn forget_unwritten(&mut self) {
        let sent = self.sent;
        self.handed_in = sent;
        for caller in &mut self.callers {
            caller.ends.retain(|(end, _)| *end <= sent);
            if caller.start.is_some_and(|start| start >= sent) {
                caller.start = Some(usize::MAX);
            }
        }
    }

    fn reopen(&mut self) {
        self.paused = false;
        assert_eq!(self.state.reopen(), !self.draining && !self.over);
    }

    fn drain(&mut self) {
        self.state.drain(&Cause::Withdrawn, &mut Vec::new());
        (self.paused, self.draining) = (false, true);
        self.take_back();
    }

    /// What was not written is given back to those who have no answer yet.
    fn take_back(&mut self) {
        let sent = self.sent;
        self.taken = sent;
        self.owed.retain(|portion| portion.end <= sent);
        self.stream.retain(|(_, end)| *end <= sent);
        for caller in &mut self.callers {
            let unwritten = caller.ends.iter().any(|(end, _)| *end > sent);
            caller.shortened |= unwritten || !caller.portions.is_empty();
        }
        self.settle();
    }

    fn fail(&mut self, cause: &Cause) {
        self.state.fail(cause, &mut Vec::new());
        (self.paused, self.over) = (false, true);
        // The driver has ended: what it had taken is never written.
        self.taken = self.sent;
        self.owed.clear();
        self.stream.clear();
        self.settle();
    }

    /// No call is admitted any more.
    fn settle(&mut self) {
        self.waiting.clear();
        self.callers
            .iter_mut()
            .for_each(|caller| caller.granted = 0);
    }

    fn check(&mut self) {
        // A call that was told that it failed has left the queue and given its room back.
        for caller in &mut self.callers {
            if self.state.calls[caller.key].completion.is_some() {
                caller.granted = 0;
                self.waiting.retain(|key| *key != caller.key);
            }
        }
        while let Some(&key) = self.waiting.front()
            && self.state.is_admitted(key)
        {
            self.waiting.pop_front();
            let mut callers = self.callers.iter_mut();
            let caller = callers.find(|caller| caller.key == key).unwrap();
            caller.granted = caller.portions[0];
        }
        let overtakes = |key: &&usize| self.state.is_admitted(**key);
        assert_eq!(self.waiting.iter().find(overtakes), None, "out of turn");
        let granted: usize = self.callers.iter().map(|caller| caller.granted).sum();
        let owed: usize = self.owed.iter().map(|portion| portion.left).sum();
        assert_eq!(self.state.in_flight(), granted + owed);
        assert_eq!(self.state.waiting(), self.waiting.len());
        if let Some(key) = self.waiting.front() {
            let mut callers = self.callers.iter();
            let first = callers.find(|caller| caller.key == *key).unwrap();
            let fits = granted + owed == 0 || granted + owed + first.portions[0] <= MAX_IN_FLIGHT;
            let room = fits && self.handed_in - self.sent < MAX_PENDING;
            assert!(
                !room,
                "there is room, and the first who waits was not let in"
            );
        }
        let keys: HashSet<_> = self.callers.iter().map(|caller| caller.key).collect();
        assert_eq!(keys.len(), self.callers.len(), "two calls have one key");
    }

    /// Everybody goes on until all have left.
    fn finish(&mut self) {
        for _ in 0..1000 {
            let mut place = 0;
            while place < self.callers.len() {
                if !self.progress(place) {
                    place += 1;
                }
                self.check();
            }
            self.take(Step::Write(1000));
            self.take(Step::Answer(1000));
            if self.callers.is_empty() && self.owed.is_empty() {
                break;
            }
        }
        assert!(self.callers.is_empty(), "a call was lost");
        assert!(self.state.is_empty(), "{:?}", self.state);
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
