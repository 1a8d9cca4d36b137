//! What `src/broker/execute.rs` and the parts of `src/broker/reconcile.rs` and `src/farm/{handle,actor,state}.rs`
//! around it do with a decision, call by call. It corresponds line by line: [`World::reconcile`] to
//! `Context::reconcile`, [`World::begin`] to the first call of each of the executor's methods, [`World::answered`]
//! to what each does with an answer, [`World::unanswered`] to what it does without one; `take_list` and
//! `everything_applied` to the methods of those names. It decides nothing but the order of calls.

use crate::facts::{Decision, Look, admits, decide, is_fresh, may_change};
use crate::scenario::{Rule, Scenario};
use crate::world::{
    Answer, Call, Change, Flow, Gathered, Inheritance, Intended, Known, Lowers, Made, Object, Process,
    Remembered, Row, Sent, Todo, World, Written,
};

impl World {
    pub fn process(&mut self, p: usize) -> &mut Process {
        self.processes[p].as_mut().unwrap_or_else(|| unreachable!("a process that is gone does nothing"))
    }

    /// What a pass over `slot` looks at.
    pub fn look(&self, p: usize, slot: usize) -> Option<Look> {
        let process = self.processes[p].as_ref()?;
        let object = &process.known[slot].as_ref()?.object;
        let remembered = &process.memory[slot];
        let memory = if remembered.uid == object.uid {
            remembered.clone()
        } else {
            Remembered { uid: object.uid, ..Remembered::default() }
        };
        let other = &process.memory[1 - slot];
        let is_other = |known: &Known| known.object.uid == other.uid && other.deleted.is_some();
        Some(Look {
            slot,
            objects: process.known.clone().map(|known| known.map(|known| known.object)),
            listed: process.listed.clone(),
            down: process.down,
            held: process.batch == Gathered::Failed,
            memory,
            unapplied: process.unapplied[slot].or(process.settling[slot]),
            other_deleted: process.known[1 - slot].as_ref().is_some_and(is_other),
            sent: process.sent,
            inherits: process.inheritance != Inheritance::Nothing,
            changes: process.changes.clone(),
            other_memory: other.clone(),
            other_unapplied: process.unapplied[1 - slot].or(process.settling[1 - slot]),
        })
    }

    /// One pass: observe, plan, report, and the first call of the step.
    pub fn reconcile(&mut self, scenario: Scenario, p: usize, slot: usize) -> Option<Decision> {
        let look = self.look(p, slot)?;
        let decision = decide(scenario, &look);
        let shows = look.objects[slot].as_ref().is_some_and(|object| object.status.deleting);
        let process = self.process(p);
        process.memory[slot] = decision.memory.clone();
        process.list_asked |= decision.needs_list;
        match (decision.report, decision.todo.clone()) {
            (Some(status), todo) => {
                self.send(p, slot, Call::Report(status, status.deleting && !shows, todo));
            }
            (None, Some(todo)) => self.begin(scenario, p, slot, todo),
            (None, None) => {}
        }
        Some(decision)
    }

    fn send(&mut self, p: usize, slot: usize, call: Call) {
        let process = self.process(p);
        let Some(known) = &process.known[slot] else { return };
        let flow = Flow { uid: known.object.uid, call, current: known.current, answer: None };
        process.flows[slot] = Some(flow);
    }

    fn begin(&mut self, scenario: Scenario, p: usize, slot: usize, todo: Todo) {
        match todo {
            Todo::Create(intent) => {
                let fresh =
                    self.process(p).listed.as_ref().is_some_and(|listed| is_fresh(scenario, listed.age));
                self.process(p).list_asked |= !fresh;
                if !(self.permit(p, true) && fresh) {
                    return;
                }
                if scenario.breaks(Rule::IntentFirst) {
                    self.post(p, slot, intent);
                } else {
                    self.send(p, slot, Call::Intent(intent));
                }
            }
            Todo::Claim => self.send(p, slot, Call::Claim),
            Todo::Record(row, made) => self.send(p, slot, Call::Identity(row, made)),
            Todo::Update(id, to) => {
                let lowers = if to { Lowers::Enabled } else { Lowers::Disabled };
                let listed = self.process(p).listed.as_ref();
                let row = listed.and_then(|listed| listed.rows.iter().find(|row| row.id == id)).cloned();
                if let Some(row) = row
                    && self.permit_change(scenario, p, slot, id, lowers)
                {
                    self.change(scenario, p, slot, row, Change::Put(to), Rule::ReadBeforePut);
                }
            }
            Todo::Delete(row) => {
                if self.permit_change(scenario, p, slot, row.id, Lowers::Deleted) {
                    self.change(scenario, p, slot, row, Change::Delete, Rule::ReadBeforeDelete);
                }
            }
            Todo::ConfirmGone(id) if self.permit(p, false) => self.send(p, slot, Call::Gone(id)),
            Todo::Release { stays } => self.send(p, slot, Call::Release { stays }),
            Todo::ConfirmGone(_) => {}
        }
    }

    /// `Farm::admit`, where a batch that is wanted is opened at once.
    fn permit(&mut self, p: usize, writes: bool) -> bool {
        let pending = self.pending;
        let process = self.process(p);
        if !process.may_act || process.down || process.listed.is_none() {
            return false;
        }
        if writes && process.batch == Gathered::Closed {
            process.batch = Gathered::Open { dirty: pending, wait: 0 };
            self.pending = true;
        }
        !writes || admits(self.process(p).batch)
    }

    /// `Farm::admit_change`.
    fn permit_change(&mut self, scenario: Scenario, p: usize, slot: usize, id: u8, kind: Lowers) -> bool {
        let Some(look) = self.look(p, slot) else { return false };
        let Some(lowers) = may_change(scenario, &look, id, kind) else { return false };
        if !self.permit(p, true) {
            return false;
        }
        if lowers {
            self.process(p).note(slot, id, kind, true);
        }
        true
    }

    /// Sends the POST; it counts until it is known to be lost or refused.
    fn post(&mut self, p: usize, slot: usize, intent: Intended) {
        self.ghost.surplus[usize::from(intent.uid)] += 1;
        let uid = intent.uid;
        let current = self.process(p).flows[slot].as_ref().is_some_and(|flow| flow.current);
        self.process(p).flows[slot] = Some(Flow { uid, call: Call::Post(intent), current, answer: None });
    }

    /// The read before a change, or the change itself where there is no such rule.
    fn change(&mut self, scenario: Scenario, p: usize, slot: usize, row: Row, change: Change, rule: Rule) {
        if scenario.breaks(rule) {
            self.make(scenario, p, slot, row, change);
        } else {
            self.send(p, slot, Call::Read(row, change));
        }
    }

    fn make(&mut self, scenario: Scenario, p: usize, slot: usize, row: Row, change: Change) {
        match change {
            Change::Delete => self.delete(scenario, p, slot, row),
            Change::Put(to) => {
                let process = self.process(p);
                let may_be_late = process.memory[slot].update_unanswered.is_some();
                let in_doubt = process.inheritance != Inheritance::Nothing || may_be_late;
                self.send(p, slot, Call::Put(row.id, to, in_doubt));
            }
        }
    }

    fn delete(&mut self, scenario: Scenario, p: usize, slot: usize, row: Row) {
        self.send(p, slot, Call::Delete(row));
        let process = self.process(p);
        process.unapplied[slot] = Some(Written::Deleted);
        process.own_deletes = true;
        process.sent += u8::from(scenario.threshold > 0);
    }

    /// Resumed between the intent's answer and its POST.
    pub fn proceed(&mut self, scenario: Scenario, p: usize, slot: usize) {
        let may_act = self.process(p).may_act;
        let Some(flow) = &mut self.process(p).flows[slot] else { return };
        let Call::BeforePost(intent, age) = flow.call.clone() else { return };
        if (may_act && age == 0) || scenario.breaks(Rule::SendDeadline) {
            self.post(p, slot, intent);
        } else {
            flow.call = Call::Refusal(intent);
        }
    }

    /// Another version of an object: watches show it, unless they are silent, and older writes no longer go through.
    pub fn set_object(&mut self, slot: usize, object: Option<Object>) {
        self.store[slot] = object;
        for process in self.processes.iter_mut().flatten() {
            if let Some(known) = &mut process.known[slot] {
                known.current = false;
            }
            if let Some(flow) = &mut process.flows[slot] {
                flow.current = false;
            }
        }
        for late in self.late.iter_mut().filter(|late| usize::from(late.slot) == slot) {
            late.current = false;
        }
        if let Some(Some(known)) = self.old_view.as_mut().map(|view| view[slot].as_mut()) {
            known.current = false;
        }
        self.watch();
    }

    /// Watches show what is stored.
    pub fn watch(&mut self) {
        let view = self.view();
        let in_step = |process: &&mut Process| !process.lagging && !process.stopped;
        for process in self.processes.iter_mut().flatten().filter(in_step) {
            process.known.clone_from(&view);
        }
    }

    /// Reads the object again after a conflict.
    fn refresh(&mut self, p: usize, slot: usize) {
        let object = self.store[slot].clone();
        self.process(p).known[slot] = object.map(|object| Known { object, current: true });
    }

    /// What the executor does with an answer.
    pub fn answered(&mut self, scenario: Scenario, p: usize, slot: usize, answer: Answer) {
        let Some(flow) = self.process(p).flows[slot].take() else { return };
        if let Answer::Written(written) = &answer
            && self.process(p).lagging
        {
            let known = written.clone().map(|object| Known { object, current: flow.current });
            self.process(p).known[slot] = known;
        }
        self.process(p).memory[slot].failure = None;
        if matches!((&flow.call, &answer), (Call::Report(_, true, _), Answer::Written(_))) {
            self.process(p).memory[slot].began_deletion = true;
        }
        let may_act = self.process(p).may_act;
        let uid = flow.uid;
        let next = |call| Some(Flow { uid, call, current: flow.current, answer: None });
        match (flow.call.clone(), answer) {
            (Call::Report(_, _, Some(todo)), Answer::Written(Some(_))) => {
                self.begin(scenario, p, slot, todo);
                // Fenced by the version that the report made.
                if let Some(next) = &mut self.process(p).flows[slot] {
                    next.current = flow.current;
                    next.uid = uid;
                }
            }
            (Call::Intent(intent), Answer::Written(_)) => {
                self.process(p).memory[slot] = Remembered {
                    uid,
                    intent_seen: Some((intent.attempt, 0)),
                    ..self.process(p).memory[slot].clone()
                };
                if may_act || scenario.breaks(Rule::SendDeadline) {
                    self.process(p).flows[slot] = next(Call::Post(intent.clone()));
                    self.post(p, slot, intent);
                } else {
                    self.process(p).flows[slot] = next(Call::Refusal(intent));
                }
            }
            (Call::Post(_), Answer::Row(Some(row))) => {
                let process = self.process(p);
                process.touch();
                process.note(slot, row.id, Lowers::Enabled, false);
                process.put_row(&row);
                process.wrote(slot, Written::Created);
                process.flows[slot] = next(Call::Identity(row.seen(), Made::Created));
            }
            (Call::Post(intent), Answer::Refused) => {
                self.ghost.surplus[usize::from(uid)] -= 1;
                self.process(p).flows[slot] = next(Call::Refusal(intent));
            }
            (Call::Refusal(_), Answer::Written(_)) => self.process(p).memory[slot].failure = Some(1),
            (Call::Identity(row, made), Answer::Conflict) => {
                // Somebody touched the object: the id must not be lost for that.
                self.refresh(p, slot);
                if self.store[slot].as_ref().is_some_and(|object| object.uid == uid) {
                    let call = Call::Identity(row, made);
                    self.process(p).flows[slot] = Some(Flow { uid, call, current: true, answer: None });
                }
            }
            (Call::Put(id, to, in_doubt), Answer::Done) => {
                let process = self.process(p);
                process.touch();
                let row =
                    process.listed.iter().flat_map(|listed| &listed.rows).find(|row| row.id == id).cloned();
                if let Some(row) = row {
                    if to && !row.enabled {
                        process.note(slot, id, Lowers::Enabled, false);
                    }
                    process.put_row(&Row { enabled: to, ..row });
                }
                process.wrote(slot, Written::Updated);
                process.memory[slot].update = Some(Sent { enabled: to, in_doubt, settled: None });
                process.change_is_over(slot, true);
            }
            (Call::Read(wanted, change), Answer::Row(found)) => {
                self.take_read(p, wanted.id, found.as_ref());
                let is_same = |row: &Row| row.server == wanted.server && row.made == wanted.made;
                if found.as_ref().is_some_and(is_same) && (may_act || scenario.breaks(Rule::SendDeadline)) {
                    self.make(scenario, p, slot, wanted, change);
                } else {
                    self.process(p).change_is_over(slot, false);
                }
            }
            (Call::Delete(row), Answer::Done) => {
                self.process(p).touch();
                self.process(p).change_is_over(slot, true);
                self.process(p).memory[slot].deleted = Some(row.id);
            }
            (Call::Gone(id), Answer::Row(found)) => {
                self.take_read(p, id, found.as_ref());
                let is_other = found.is_none_or(|row| row.server != scenario.servers[slot]);
                self.process(p).memory[slot].confirmed_gone = is_other.then_some(id);
            }
            (Call::Delete(_), Answer::NotFound | Answer::Refused) => {
                let process = self.process(p);
                process.unapplied[slot] = None;
                process.own_deletes = false;
                process.change_is_over(slot, false);
                process.sent = process.sent.saturating_sub(1);
                process.memory[slot].failure = Some(1);
            }
            (Call::Put(..), Answer::NotFound | Answer::Refused) => {
                self.process(p).change_is_over(slot, false);
                self.process(p).memory[slot].failure = Some(1);
            }
            (Call::Identity(..), Answer::Written(_)) if self.process(p).unsure[slot] => {
                // `Farm::found`: the POST without an answer has taken effect, and the next Apply commits it.
                let process = self.process(p);
                process.unsure[slot] = false;
                process.wrote(slot, Written::Created);
                process.touch();
            }
            (_, Answer::Conflict) => self.refresh(p, slot),
            (
                Call::Report(..)
                | Call::Identity(..)
                | Call::Claim
                | Call::Release { .. }
                | Call::BeforePost(..),
                Answer::Written(_) | Answer::Done,
            ) => {}
            (call, answer) => unreachable!("{call:?} is not answered with {answer:?}"),
        }
    }

    fn take_read(&mut self, p: usize, id: u8, found: Option<&Row>) {
        match found {
            Some(row) => {
                let pending = self.pending;
                let process = self.process(p);
                if pending {
                    process.see(std::slice::from_ref(row));
                }
                process.put_row(row);
            }
            None => self.process(p).remove_row(id),
        }
    }

    /// What the executor does without an answer.
    pub fn unanswered(&mut self, p: usize, slot: usize) {
        let Some(flow) = self.process(p).flows[slot].take() else { return };
        self.ghost.lost_delete |= matches!(flow.call, Call::Delete(_));
        let wrote = match flow.call {
            Call::Report(..)
            | Call::Intent(_)
            | Call::Identity(..)
            | Call::Refusal(_)
            | Call::Claim
            | Call::Release { .. }
            | Call::BeforePost(..) => return,
            Call::Post(_) => {
                self.ghost.surplus[usize::from(flow.uid)] -= 1;
                Some(Written::Created)
            }
            Call::Delete(_) => {
                self.process(p).memory[slot].delete_unanswered = Some(0);
                Some(Written::Deleted)
            }
            Call::Put(..) => {
                self.process(p).memory[slot].update_unanswered = Some(0);
                Some(Written::Updated)
            }
            Call::Read(..) | Call::Gone(_) => None,
        };
        let process = self.process(p);
        process.list_asked = true;
        process.memory[slot].failure = Some(1);
        process.change_is_over(slot, wrote.is_some());
        if let Some(wrote) = wrote {
            process.touch();
            process.wrote(slot, wrote);
            process.unsure[slot] = true;
            process.unanswered = Some(0);
        }
    }
}
