//! Two processes, the API server and the farm, as a state and what may happen to it.

use crate::decision::{Fate, Known, OLD, Step, decide};

/// How many ticks after it was sent a call may still take effect: request timeout and slack, 13 s.
const LATEST: u8 = 2;
/// More turns than any world needs to come to its end.
const MOST_TURNS: usize = 20;

/// A rule that can be switched off, to see that the exploration notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Rule {
    /// The status is written before the call.
    MarkFirst,
    /// Writes are fenced by the version on which they were decided.
    Fence,
    /// A call is made within the send deadline of the answer to the write, by who may act.
    SendDeadline,
    /// What stands there as sent is not sent again.
    NeverAgain,
    /// A failure is told only after the quarantine.
    Quarantine,
    /// A lost answer is not taken for a refusal.
    LostIsNotRefused,
}

impl Rule {
    pub(crate) const ALL: [Self; 6] = [
        Self::MarkFirst,
        Self::Fence,
        Self::SendDeadline,
        Self::NeverAgain,
        Self::Quarantine,
        Self::LostIsNotRefused,
    ];
}

/// What may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fault {
    /// The process dies, and starts anew knowing nothing.
    Crash,
    /// Another process takes over; the old one goes on with what it was at, and may not act.
    FailOver,
    /// A write to the API server is stored, and its answer lost.
    WriteAnswerLost,
    /// A write to the API server is lost.
    WriteLost,
    /// There is no connection to the farm.
    NoConnection,
    /// The farm refuses.
    Refused,
    /// The call does its work, and its answer is lost.
    AnswerLost,
    /// The call is lost on its way.
    CallLost,
    /// The call is given up on and arrives later, or not at all.
    Late,
    /// The process loses time between the answer to its write and its call.
    Slow,
    /// Somebody else changes the object.
    Touched,
}

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    Tick,
    List(usize),
    /// The watch delivers the object as it is stored.
    CatchUp(usize),
    Reconcile(usize),
    /// The call that was written down is made.
    Send(usize),
    /// The farm does what a call asks for, and answers.
    Answer(usize),
    /// A call that nobody waits for takes effect.
    Arrive,
    /// Such a call is lost.
    Vanish,
    Fault(Fault, usize),
}

/// A process between two decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Flow {
    /// That it is about to be sent was stored; whether a tick ago or more.
    Written { late: bool },
    /// The call is on its way.
    Waiting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Process {
    may_act: bool,
    /// The object as it knows it, and whether that is the version that is stored.
    cached: Step,
    is_current: bool,
    known: Known,
    flow: Option<Flow>,
}

impl Process {
    fn new(stored: Step) -> Self {
        Self { may_act: true, cached: stored, is_current: true, known: Known::default(), flow: None }
    }
}

/// A call on its way to the farm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Call {
    /// Who waits for its answer.
    by: Option<usize>,
    /// Ticks since it was sent.
    age: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) stored: Step,
    processes: [Option<Process>; 2],
    pub(crate) calls: Vec<Call>,
    pub(crate) is_promoted: bool,
    faults: u8,
    broken: Option<Rule>,
    pub(crate) sent: u8,
    pub(crate) sent_unmarked: bool,
    pub(crate) was_not_sent: bool,
}

impl World {
    pub(crate) fn new(faults: u8, broken: Option<Rule>) -> Self {
        let stored = Step::New;
        Self {
            stored,
            processes: [Some(Process::new(stored)), None],
            calls: Vec::new(),
            is_promoted: false,
            faults,
            broken,
            sent: 0,
            sent_unmarked: false,
            was_not_sent: false,
        }
    }

    fn breaks(&self, rule: Rule) -> bool {
        self.broken == Some(rule)
    }

    pub(crate) fn actions(&self, actions: &mut Vec<Action>) {
        let is_sending =
            |process: &Process| process.may_act && process.flow == Some(Flow::Written { late: false });
        // Whoever is about to send does so at once, but for a fault.
        let sends = self.processes.iter().flatten().any(is_sending);
        if !sends && self.calls.iter().all(|call| call.age < LATEST) {
            actions.push(Action::Tick);
        }
        for (p, process) in self.processes.iter().enumerate() {
            let Some(process) = process else { continue };
            self.actions_of(p, process, actions);
        }
        if self.calls.iter().any(|call| call.by.is_none()) {
            actions.extend([Action::Arrive, Action::Vanish]);
        }
        if self.faults > 0 {
            actions.push(Action::Fault(Fault::Touched, 0));
        }
    }

    fn actions_of(&self, p: usize, process: &Process, actions: &mut Vec<Action>) {
        let mut faults = vec![Fault::Crash];
        if !process.is_current {
            actions.push(Action::CatchUp(p));
        }
        match process.flow {
            None if process.may_act => {
                actions.push(Action::Reconcile(p));
                faults.extend([Fault::WriteAnswerLost, Fault::WriteLost]);
                if process.known.listed != Some((0, self.is_promoted)) {
                    actions.push(Action::List(p));
                }
            }
            None => {}
            Some(Flow::Written { .. }) => {
                actions.push(Action::Send(p));
                faults.extend([Fault::NoConnection, Fault::Refused, Fault::Slow]);
            }
            Some(Flow::Waiting) => {
                actions.push(Action::Answer(p));
                faults.extend([Fault::AnswerLost, Fault::CallLost, Fault::Late]);
            }
        }
        if p == 0 && self.processes[1].is_none() {
            faults.push(Fault::FailOver);
        }
        if self.faults > 0 {
            actions.extend(faults.into_iter().map(|fault| Action::Fault(fault, p)));
        }
    }

    pub(crate) fn act(&mut self, action: Action) {
        match action {
            Action::Tick => self.tick(),
            Action::List(p) => {
                let listed = Some((0, self.is_promoted));
                self.process(p).known.listed = listed;
            }
            Action::CatchUp(p) => self.catch_up(p),
            Action::Reconcile(p) => self.reconcile(p, None),
            Action::Send(p) => self.send(p, None),
            Action::Answer(p) => self.answer(p, true, Fate::Answered),
            Action::Arrive => {
                self.calls.retain(|call| call.by.is_some());
                self.is_promoted = true;
            }
            Action::Vanish => self.calls.retain(|call| call.by.is_some()),
            Action::Fault(fault, p) => {
                self.faults -= 1;
                self.fail(fault, p);
            }
        }
    }

    fn tick(&mut self) {
        let older = |age: &mut u8| *age = (*age + 1).min(OLD);
        for process in self.processes.iter_mut().flatten() {
            let Known { asked, seen, fate: _, listed } = &mut process.known;
            asked.iter_mut().chain(seen).for_each(older);
            if let Some((age, _)) = listed {
                older(age);
            }
        }
        self.calls.iter_mut().for_each(|call| older(&mut call.age));
    }

    fn catch_up(&mut self, p: usize) {
        let stored = self.stored;
        let process = self.process(p);
        (process.cached, process.is_current) = (stored, true);
    }

    fn process(&mut self, p: usize) -> &mut Process {
        self.processes[p].as_mut().unwrap()
    }

    fn fail(&mut self, fault: Fault, p: usize) {
        let lost = if self.breaks(Rule::LostIsNotRefused) { Fate::Refused } else { Fate::Lost };
        match fault {
            Fault::Crash => {
                self.abandon(p);
                let may_act = self.process(p).may_act;
                self.processes[p] = Some(Process { may_act, ..Process::new(self.stored) });
            }
            Fault::FailOver => {
                self.process(0).may_act = false;
                // It stood by, and its watch may have delivered nothing yet of what the other one wrote.
                let is_current = self.stored == Step::New;
                self.processes[1] = Some(Process { is_current, ..Process::new(Step::New) });
            }
            Fault::WriteAnswerLost | Fault::WriteLost => self.reconcile(p, Some(fault)),
            Fault::NoConnection | Fault::Refused => self.send(p, Some(fault)),
            Fault::AnswerLost => self.answer(p, true, lost),
            Fault::CallLost => self.answer(p, false, lost),
            Fault::Late => {
                self.abandon(p);
                self.process(p).flow = None;
                self.process(p).known.fate = Some(lost);
            }
            Fault::Slow => {
                self.process(p).flow = Some(Flow::Written { late: true });
                self.tick();
            }
            Fault::Touched => {
                self.processes.iter_mut().flatten().for_each(|process| process.is_current = false);
            }
        }
    }

    fn abandon(&mut self, p: usize) {
        self.calls.iter_mut().filter(|call| call.by == Some(p)).for_each(|call| call.by = None);
    }

    fn reconcile(&mut self, p: usize, fault: Option<Fault>) {
        let mut step = self.process(p).cached;
        if self.breaks(Rule::NeverAgain) && matches!(step, Step::Promoting | Step::Quarantine) {
            step = Step::Pending;
        }
        let mut decision = decide(step, self.process(p).known);
        if self.breaks(Rule::Quarantine) && step == Step::Quarantine && decision.shows == Some(step) {
            decision.shows = Some(Step::Failed(crate::decision::Reason::NotPromoted));
        }
        self.process(p).known = decision.known;
        self.was_not_sent |= decision.shows == Some(Step::Pending) && step == Step::Promoting;
        let wanted = if decision.sends { Some(Step::Promoting) } else { decision.shows };
        let Process { cached, is_current, .. } = *self.process(p);
        let Some(wanted) = wanted.filter(|wanted| *wanted != cached || decision.sends) else { return };
        if decision.sends && self.breaks(Rule::MarkFirst) {
            self.process(p).flow = Some(Flow::Written { late: false });
            return;
        }
        if fault == Some(Fault::WriteLost) {
            return;
        }
        if !is_current && !self.breaks(Rule::Fence) {
            return self.catch_up(p);
        }
        self.stored = wanted;
        self.processes.iter_mut().flatten().for_each(|process| process.is_current = false);
        if fault.is_some() {
            return;
        }
        self.catch_up(p);
        if decision.sends {
            let process = self.process(p);
            process.flow = Some(Flow::Written { late: false });
            process.known.seen = Some(0);
        }
    }

    fn send(&mut self, p: usize, fault: Option<Fault>) {
        let ignores_deadline = self.breaks(Rule::SendDeadline);
        let marked = matches!(self.stored, Step::Promoting | Step::Quarantine);
        let process = self.process(p);
        let in_time = process.flow == Some(Flow::Written { late: false }) && process.may_act;
        process.flow = None;
        if !in_time && !ignores_deadline || fault == Some(Fault::NoConnection) {
            process.known.fate = Some(Fate::NotSent);
            return;
        }
        if fault == Some(Fault::Refused) {
            process.known.fate = Some(Fate::Refused);
        } else {
            process.flow = Some(Flow::Waiting);
            self.calls.push(Call { by: Some(p), age: 0 });
        }
        self.sent += 1;
        self.sent_unmarked |= !marked;
    }

    fn answer(&mut self, p: usize, takes_effect: bool, fate: Fate) {
        self.calls.retain(|call| call.by != Some(p));
        self.is_promoted |= takes_effect;
        let process = self.process(p);
        process.flow = None;
        process.known.fate = Some(fate);
    }

    /// Without further faults, and everybody having their turn, the request comes to its end.
    pub(crate) fn comes_to_its_end(&self) -> bool {
        let mut world = Self { faults: 0, ..self.clone() };
        for _ in 0..MOST_TURNS {
            if matches!(world.stored, Step::Succeeded | Step::Failed(_)) {
                return true;
            }
            world.turn();
        }
        false
    }

    fn turn(&mut self) {
        for p in 0..2 {
            let Some(process) = self.processes[p] else { continue };
            match process.flow {
                Some(Flow::Written { .. }) => self.act(Action::Send(p)),
                Some(Flow::Waiting) => self.act(Action::Answer(p)),
                None if process.may_act => {
                    for action in [Action::CatchUp(p), Action::List(p), Action::Reconcile(p)] {
                        self.act(action);
                    }
                }
                None => {}
            }
        }
        if self.calls.iter().any(|call| call.by.is_none()) {
            self.act(Action::Vanish);
        }
        self.act(Action::Tick);
    }
}
