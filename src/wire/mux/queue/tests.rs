use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

const TIMEOUT: Duration = Duration::from_secs(1);

fn queue(max_in_flight: usize, max_pending_bytes: usize) -> RequestQueue {
    let limits = MultiplexedLimits {
        connections: 1,
        max_in_flight,
        max_pending_bytes,
    };
    RequestQueue::new(limits, Some(TIMEOUT))
}

fn roomy() -> RequestQueue {
    queue(100, 1 << 20)
}

fn enter(queue: &mut RequestQueue, wanted: usize) -> usize {
    queue.enter(wanted, None, Waker::noop()).unwrap()
}

/// A single call that hands in ten bytes at once.
fn call(queue: &mut RequestQueue) -> usize {
    let key = enter(queue, 1);
    hand_in(queue, key);
    key
}

fn hand_in(queue: &mut RequestQueue, key: usize) {
    queue.hand_in(key, |out| out.extend([b'x'; 10]));
}

/// All that was handed in is on its way, and so many bytes have reached the socket.
fn wrote(queue: &mut RequestQueue, bytes: usize) {
    while queue.has_out() {
        queue.take_out(&mut Vec::new());
    }
    queue.wrote(bytes, &mut Vec::new());
}

fn deliver(queue: &mut RequestQueue, ids: impl IntoIterator<Item = i64>) -> bool {
    let mut replies: Vec<_> = ids.into_iter().map(Value::Int).collect();
    queue.deliver(&mut replies, &mut Vec::new())
}

fn abandon(queue: &mut RequestQueue, key: usize) {
    queue.abandon(key, &mut Vec::new());
}

fn progress(queue: &mut RequestQueue, key: usize) -> Progress {
    queue.progress(key, Waker::noop())
}

fn reply(queue: &mut RequestQueue, key: usize) -> Option<i64> {
    match progress(queue, key) {
        Progress::Done(Answer::One(Value::Int(id))) => Some(id),
        _ => None,
    }
}

fn fault(queue: &mut RequestQueue, key: usize) -> Option<MuxError> {
    match progress(queue, key) {
        Progress::Done(Answer::Lost(fault)) => Some(fault),
        _ => None,
    }
}

fn withdrawn() -> MuxError {
    MuxError::Failed(Cause::Withdrawn, Fate::Unknown)
}

#[test]
fn replies_go_to_calls_in_the_order_in_which_they_handed_in() {
    let mut queue = roomy();
    let keys = [0; 3].map(|_| call(&mut queue));
    wrote(&mut queue, 30);
    assert!(deliver(&mut queue, [7, 8, 9]));
    assert_eq!(
        keys.map(|key| reply(&mut queue, key)),
        [Some(7), Some(8), Some(9)]
    );
    assert!(queue.is_empty());
}

#[test]
fn a_reply_to_a_command_of_which_nothing_was_written_is_refused() {
    let mut queue = roomy();
    call(&mut queue);
    let second = call(&mut queue);
    wrote(&mut queue, 10);
    assert!(!deliver(&mut queue, [1, 2]));
    assert_eq!(reply(&mut queue, second), None);
}

#[test]
fn a_reply_is_refused_when_nothing_is_owed() {
    assert!(!deliver(&mut roomy(), [1]));
}

#[test]
fn values_that_nobody_waits_for_are_left_to_be_dropped_without_the_lock() {
    let mut queue = roomy();
    let gone = call(&mut queue);
    let kept = call(&mut queue);
    wrote(&mut queue, 20);
    abandon(&mut queue, gone);
    let mut replies = [1, 2].map(Value::Int);
    assert!(queue.deliver(&mut replies, &mut Vec::new()));
    assert_eq!(replies, [Value::Int(1), Value::Nil]);
    assert_eq!(reply(&mut queue, kept), Some(2));
    assert!(queue.is_empty());
}

#[test]
fn a_dropped_call_gives_back_what_it_had_received() {
    let mut queue = roomy();
    let key = queue.enter(2, Some(2), Waker::noop()).unwrap();
    hand_in(&mut queue, key);
    wrote(&mut queue, 10);
    deliver(&mut queue, [1]);
    let (answer, replies) = queue.abandon(key, &mut Vec::new());
    assert!(answer.is_none());
    assert_eq!(replies, [Value::Int(1)]);
    deliver(&mut queue, [2]);
    assert!(queue.is_empty());
}

#[test]
fn nobody_overtakes_one_that_wants_much() {
    let mut queue = queue(4, 100);
    let first = enter(&mut queue, 3);
    let much = enter(&mut queue, 4);
    let little = enter(&mut queue, 1);
    assert!(!queue.is_admitted(much) && !queue.is_admitted(little));
    abandon(&mut queue, first);
    assert!(queue.is_admitted(much) && !queue.is_admitted(little));
    abandon(&mut queue, much);
    assert!(queue.is_admitted(little));
}

#[test]
fn what_is_larger_than_the_limit_goes_alone() {
    let mut queue = queue(4, 100);
    let first = enter(&mut queue, 1);
    let huge = enter(&mut queue, 50);
    assert!(!queue.is_admitted(huge));
    abandon(&mut queue, first);
    assert!(queue.is_admitted(huge));
    assert_eq!(queue.in_flight(), 50);
}

#[test]
fn bytes_not_yet_written_keep_others_in_line() {
    let mut queue = queue(100, 10);
    call(&mut queue);
    let next = enter(&mut queue, 1);
    assert!(!queue.is_admitted(next));
    wrote(&mut queue, 1);
    assert!(queue.is_admitted(next));
}

#[test]
fn those_who_give_up_in_line_leave_nothing_behind() {
    let mut queue = queue(1, 100);
    enter(&mut queue, 1);
    let last = [(); 1000].map(|()| {
        let key = enter(&mut queue, 1);
        let next = enter(&mut queue, 1);
        abandon(&mut queue, key);
        abandon(&mut queue, next);
        queue.calls.len() + queue.line.len()
    });
    assert!(last[999] < 10, "{} are left", last[999]);
    assert_eq!(queue.waiting(), 0);
}

#[test]
fn a_cut_says_of_each_call_whether_anything_was_written() {
    let mut queue = queue(4, 100);
    let keys = [0; 3].map(|_| call(&mut queue));
    let granted = enter(&mut queue, 1);
    let in_line = enter(&mut queue, 1);
    wrote(&mut queue, 11);
    queue.cut(&Cause::Withdrawn, &mut Vec::new());
    assert!(queue.enter(1, None, Waker::noop()).is_none());
    assert!(!queue.has_out());
    assert!(deliver(&mut queue, [1]));
    assert!(!queue.is_owed());
    let [written, partly, unwritten] = keys;
    assert_eq!(reply(&mut queue, written), Some(1));
    assert_eq!(fault(&mut queue, partly), Some(withdrawn()));
    for key in [unwritten, granted, in_line] {
        assert_eq!(fault(&mut queue, key), Some(MuxError::NotWritten));
    }
    assert!(queue.is_empty());
}

#[test]
fn a_desk_that_takes_nothing_more_cannot_be_held_and_opened_again() {
    let mut queue = roomy();
    let key = call(&mut queue);
    wrote(&mut queue, 10);
    queue.cut(&Cause::Withdrawn, &mut Vec::new());
    assert!(!queue.hold(&Cause::Withdrawn, &mut Vec::new()));
    assert!(!queue.reopen());
    assert!(queue.enter(1, None, Waker::noop()).is_none());
    assert!(deliver(&mut queue, [1]));
    assert_eq!(reply(&mut queue, key), Some(1));
}

/// A pipeline of which one portion of two is written and the other not.
fn half_written(queue: &mut RequestQueue) -> usize {
    let key = queue.enter(2, Some(4), Waker::noop()).unwrap();
    hand_in(queue, key);
    queue.ask(key, 2);
    wrote(queue, 10);
    key
}

#[test]
fn a_pipeline_cut_between_two_portions_gets_the_replies_to_what_was_written() {
    // The second in line, admitted, and handed in.
    for stage in 0..3 {
        let mut queue = queue(if stage == 0 { 2 } else { 4 }, 100);
        let key = half_written(&mut queue);
        if stage == 2 {
            hand_in(&mut queue, key);
        }
        deliver(&mut queue, [1]);
        queue.cut(&Cause::Withdrawn, &mut Vec::new());
        assert!(matches!(progress(&mut queue, key), Progress::Waiting));
        assert!(deliver(&mut queue, [2]));
        let Progress::Done(Answer::Many(replies)) = progress(&mut queue, key) else {
            panic!("it has all that will come");
        };
        assert_eq!(replies, [1, 2].map(Value::Int));
        assert!(queue.is_empty());
    }
}

#[test]
fn a_pipeline_with_all_replies_to_what_was_written_is_answered_by_the_cut() {
    let mut queue = queue(2, 100);
    let key = half_written(&mut queue);
    deliver(&mut queue, [1, 2]);
    queue.cut(&Cause::Withdrawn, &mut Vec::new());
    let answer = progress(&mut queue, key);
    assert!(matches!(answer, Progress::Done(Answer::Many(replies)) if replies.len() == 2));
    assert!(queue.is_empty());
}

#[test]
fn a_pipeline_cut_within_a_portion_is_unknown() {
    let mut queue = queue(4, 100);
    let key = half_written(&mut queue);
    hand_in(&mut queue, key);
    wrote(&mut queue, 1);
    queue.cut(&Cause::Withdrawn, &mut Vec::new());
    assert_eq!(fault(&mut queue, key), Some(withdrawn()));
    assert!(deliver(&mut queue, [1, 2]));
    assert!(queue.is_empty());
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
        let mut queue = roomy();
        let key = queue.enter(3, Some(3), Waker::noop()).unwrap();
        hand_in(&mut queue, key);
        wrote(&mut queue, 5);
        let mut replies = [Value::Int(1), second];
        assert!(queue.deliver(&mut replies, &mut Vec::new()));
        queue.fail(&cause, &mut Vec::new());
        match progress(&mut queue, key) {
            Progress::Done(Answer::Many(replies)) if answered => {
                assert_eq!(replies, [Value::Int(1), protocol.clone(), protocol.clone()]);
            }
            Progress::Done(Answer::Lost(MuxError::Failed(_, Fate::Unknown))) if !answered => {}
            other => panic!("{cause}: {other:?}"),
        }
        assert!(queue.is_empty());
    }
}

#[test]
fn a_call_that_fails_at_its_deadline_says_whether_it_was_handed_in() {
    let mut queue = queue(1, 100);
    let handed_in = call(&mut queue);
    let in_line = enter(&mut queue, 1);
    wrote(&mut queue, 10);
    let began = Instant::now();
    for quarter in 1..=5 {
        queue.heard();
        assert!(matches!(progress(&mut queue, in_line), Progress::Waiting));
        let now = began + TIMEOUT / 4 * quarter;
        assert_eq!(queue.tick(now, &mut Vec::new()), Ticked::Busy);
    }
    let limit = Cause::Timeout(TIMEOUT);
    let unknown = MuxError::Failed(limit.clone(), Fate::Unknown);
    let not_executed = MuxError::Failed(limit, Fate::NotExecuted);
    assert_eq!(fault(&mut queue, handed_in), Some(unknown));
    assert_eq!(fault(&mut queue, in_line), Some(not_executed));
    assert!(deliver(&mut queue, [1]));
    assert!(queue.is_empty());
}

#[test]
fn a_desk_is_idle_after_a_whole_tick_without_use() {
    let mut queue = roomy();
    let key = call(&mut queue);
    wrote(&mut queue, 10);
    deliver(&mut queue, [1]);
    reply(&mut queue, key);
    let ticks = [1, 2].map(|second| {
        let now = Instant::now() + TIMEOUT * second;
        queue.tick(now, &mut Vec::new())
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
    Hold,
    Reopen,
    Cut,
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
        1 => Just(Step::Hold),
        2 => Just(Step::Reopen),
    ];
    let end = prop_oneof![3 => Just(None), 1 => Just(Some(Step::Cut)), 1 => Just(Some(Step::Fail))];
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
    /// Something of it was given back without being written.
    shortened: bool,
}

/// Commands handed in together.
struct Portion {
    left: usize,
    start: usize,
    end: usize,
}

struct Model {
    queue: RequestQueue,
    callers: Vec<Caller>,
    /// Keys that asked for room, in that order.
    line: VecDeque<usize>,
    owed: VecDeque<Portion>,
    /// The commands in the order of the stream, with the offset of their ends.
    stream: VecDeque<(i64, usize)>,
    /// What the driver took, and of that what the socket took.
    taken: usize,
    sent: usize,
    handed_in: usize,
    now: Instant,
    next: i64,
    held: bool,
    cut: bool,
    over: bool,
}

const MAX_IN_FLIGHT: usize = 4;
const MAX_PENDING: usize = 40;

impl Model {
    fn new() -> Self {
        Self {
            queue: queue(MAX_IN_FLIGHT, MAX_PENDING),
            callers: Vec::new(),
            line: VecDeque::new(),
            owed: VecDeque::new(),
            stream: VecDeque::new(),
            taken: 0,
            sent: 0,
            handed_in: 0,
            now: Instant::now(),
            next: 0,
            held: false,
            cut: false,
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
                self.line.retain(|key| *key != caller.key);
                abandon(&mut self.queue, caller.key);
            }),
            Step::Write(bytes) => self.write(bytes),
            Step::Answer(count) => self.answer(count),
            Step::Tick => self.tick(),
            Step::Hold => self.hold(),
            Step::Reopen => self.reopen(),
            Step::Cut => self.cut(),
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
        let Some(key) = self.queue.enter(portions[0], total, Waker::noop()) else {
            assert!(self.held || self.cut || self.over);
            return;
        };
        self.line.push_back(key);
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
        match progress(&mut self.queue, self.callers[place].key) {
            Progress::Waiting => false,
            Progress::Admitted => {
                self.hand_in(place);
                false
            }
            Progress::Done(answer) => {
                let caller = self.callers.swap_remove(place);
                self.line.retain(|key| *key != caller.key);
                self.judge(&caller, answer);
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
            self.queue.hand_in_big(caller.key, bytes);
        } else {
            self.queue.hand_in(caller.key, |out| out.extend(&bytes));
        }
        self.owed.push_back(Portion {
            left: count,
            start: before,
            end: self.handed_in,
        });
        if let Some(more) = caller.portions.front() {
            self.queue.ask(caller.key, *more);
            self.line.push_back(caller.key);
        }
    }

    fn judge(&self, caller: &Caller, answer: Answer) {
        let untouched = caller.start.is_none_or(|start| start >= self.sent);
        match answer {
            Answer::One(value) => {
                assert!(caller.single);
                assert_eq!(value, Value::Int(caller.commands[0]));
            }
            Answer::Many(values) => {
                assert!(!caller.single);
                let whole = caller.portions.is_empty() && values.len() == caller.commands.len();
                // The rest was not written, and there is some of what was.
                assert!(whole || caller.shortened && !values.is_empty());
                let written = caller.ends.iter().filter(|(end, _)| *end <= self.sent);
                let written = written.map(|(_, count)| count).sum();
                let own: Vec<_> = caller.commands.iter().copied().map(Value::Int).collect();
                assert_eq!(values, own[..written]);
            }
            Answer::Lost(MuxError::NotWritten) => {
                assert!(untouched && (caller.shortened || self.over));
            }
            Answer::Lost(MuxError::Failed(Cause::Timeout(_), fate)) => {
                assert!(self.over || self.now - caller.came >= TIMEOUT);
                assert_eq!(fate == Fate::NotExecuted, caller.start.is_none());
            }
            Answer::Lost(MuxError::Failed(..)) => {
                let ends = caller.ends.iter().map(|(end, _)| *end);
                let partly = ends.clone().all(|end| end != self.sent)
                    && ends.max().is_some_and(|end| end > self.sent);
                assert!(!untouched && (self.over || self.cut && partly));
            }
        }
    }

    fn write(&mut self, bytes: usize) {
        let mut buffer = Vec::new();
        while self.taken < self.sent + bytes && self.queue.has_out() {
            self.queue.take_out(&mut buffer);
            self.taken += buffer.len();
        }
        let bytes = bytes.min(self.taken - self.sent);
        self.sent += bytes;
        self.queue.wrote(bytes, &mut Vec::new());
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
        self.queue.heard();
        assert!(deliver(&mut self.queue, ids));
    }

    fn tick(&mut self) {
        self.now += TIMEOUT / 4;
        if self.queue.tick(self.now, &mut Vec::new()) == Ticked::Stalled {
            assert!(!self.owed.is_empty());
            self.fail(&Cause::Timeout(TIMEOUT));
        }
    }

    fn hold(&mut self) {
        let partly = |portion: &Portion| portion.start < self.sent && self.sent < portion.end;
        let stops = !self.held && !self.cut && !self.over && !self.owed.iter().any(partly);
        assert_eq!(self.queue.hold(&Cause::Withdrawn, &mut Vec::new()), stops);
        self.held |= stops;
        assert_eq!(self.queue.is_held(), self.held);
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
        self.held = false;
        assert_eq!(self.queue.reopen(), !self.cut && !self.over);
    }

    fn cut(&mut self) {
        self.queue.cut(&Cause::Withdrawn, &mut Vec::new());
        (self.held, self.cut) = (false, true);
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
        self.queue.fail(cause, &mut Vec::new());
        (self.held, self.over) = (false, true);
        // The driver has ended: what it had taken is never written.
        self.taken = self.sent;
        self.owed.clear();
        self.stream.clear();
        self.settle();
    }

    /// Nobody is let in any more.
    fn settle(&mut self) {
        self.line.clear();
        self.callers
            .iter_mut()
            .for_each(|caller| caller.granted = 0);
    }

    fn check(&mut self) {
        // Whoever was told that it failed has left the line and given its room back.
        for caller in &mut self.callers {
            if self.queue.calls[caller.key].answer.is_some() {
                caller.granted = 0;
                self.line.retain(|key| *key != caller.key);
            }
        }
        while let Some(&key) = self.line.front()
            && self.queue.is_admitted(key)
        {
            self.line.pop_front();
            let mut callers = self.callers.iter_mut();
            let caller = callers.find(|caller| caller.key == key).unwrap();
            caller.granted = caller.portions[0];
        }
        let overtakes = |key: &&usize| self.queue.is_admitted(**key);
        assert_eq!(self.line.iter().find(overtakes), None, "out of turn");
        let granted: usize = self.callers.iter().map(|caller| caller.granted).sum();
        let owed: usize = self.owed.iter().map(|portion| portion.left).sum();
        assert_eq!(self.queue.in_flight(), granted + owed);
        assert_eq!(self.queue.waiting(), self.line.len());
        if let Some(key) = self.line.front() {
            let mut callers = self.callers.iter();
            let first = callers.find(|caller| caller.key == *key).unwrap();
            let fits = granted + owed == 0 || granted + owed + first.portions[0] <= MAX_IN_FLIGHT;
            let room = fits && self.handed_in - self.sent < MAX_PENDING;
            assert!(!room, "there is room, and the first in line was not let in");
        }
        let keys: HashSet<_> = self.callers.iter().map(|caller| caller.key).collect();
        assert_eq!(keys.len(), self.callers.len(), "two calls have one key");
    }

    /// Everybody goes on until all have left.
    fn drain(&mut self) {
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
        assert!(self.queue.is_empty(), "{:?}", self.queue);
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
        model.drain();
    }
}
