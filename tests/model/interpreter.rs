//! What `src/broker/execute.rs` and the parts of `src/broker/reconcile.rs` and `src/farm/{handle,actor,state}.rs`
//! around it do with a decision, call by call. It corresponds line by line: [`World::reconcile`] to
//! `Context::reconcile`, [`World::begin`] to the first call of each of the executor's methods, [`World::answered`]
//! to what each does with an answer, [`World::unanswered`] to what it does without one; `take_list` and
//! `everything_applied` to the methods of those names. It decides nothing but the order of calls.

use crate::facts::{Decision, LATEST, Look, OLD, admits, decide, is_fresh, may_change};
use crate::scenario::{Rule, Scenario};
use crate::world::{
    Answer, Broken, Call, Changed, Fault, Flow, Gathered, Inheritance, Intended, Known, Late, LateCall,
    Listed, Listing, Lowers, Made, Object, Process, Recorded, Remembered, Row, SLOTS, Sent, Todo, Uid, World,
    Written,
};

/// Quarantine in ticks: 18 s.
const QUARANTINE: u8 = 3;

impl Process {
    /// A process that has just started: its caches are in step, and it remembers nothing.
    pub fn started(store: &[Option<Object>; SLOTS], pending: bool) -> Self {
        Self {
            may_act: true,
            stopped: false,
            lagging: false,
            known: store.clone().map(|object| object.map(|object| Known { object, current: true })),
            memory: Default::default(),
            listed: None,
            listing: None,
            list_asked: false,
            down: false,
            batch: Gathered::Closed,
            unapplied: [None; SLOTS],
            settling: [None; SLOTS],
            unanswered: None,
            unsure: [false; SLOTS],
            inheritance: if pending { Inheritance::Open } else { Inheritance::Nothing },
            changes: Vec::new(),
            own_deletes: false,
            confirming: 0,
            sent: 0,
            flows: Default::default(),
        }
    }

    /// `Sites::seen`: what serves more than was known while something of ours is not applied.
    fn see(&mut self, rows: &[Row]) {
        let known = self.listed.iter().flat_map(|listed| &listed.rows);
        let served: Vec<u8> = known.filter(|row| serves(row)).map(|row| row.id).collect();
        for row in rows.iter().filter(|row| serves(row) && !served.contains(&row.id)) {
            self.note(0, row.id, Lowers::Seen, false);
        }
    }

    fn put_row(&mut self, row: &Row) {
        let row = row.seen();
        if let Some(listing) = &mut self.listing {
            listing.written.retain(|other| other.id != row.id);
            listing.written.push(row.clone());
        }
        if let Some(listed) = &mut self.listed {
            overlay(&mut listed.rows, row);
        }
    }

    fn remove_row(&mut self, id: u8) {
        if let Some(listed) = &mut self.listed {
            listed.rows.retain(|row| row.id != id);
        }
    }

    /// `FarmState::wrote`.
    fn wrote(&mut self, slot: usize, written: Written) {
        self.unapplied[slot] = self.unapplied[slot].max(Some(written));
    }

    /// A write may have reached the farm.
    fn touch(&mut self) {
        if let Gathered::Open { dirty, .. } = &mut self.batch {
            *dirty = true;
        }
    }

    /// `Sites::note`.
    fn note(&mut self, slot: usize, id: u8, kind: Lowers, is_on_its_way: bool) {
        let slot = u8::try_from(slot).unwrap_or_default();
        let change = Changed { slot, id, kind, is_on_its_way, applied: false };
        // Twice the same says nothing more.
        if is_on_its_way || !self.changes.contains(&change) {
            self.changes.push(change);
        }
    }

    /// `Sites::end`, as the permit of a step is given back.
    fn change_is_over(&mut self, slot: usize, is_written: bool) {
        let own = |change: &Changed| usize::from(change.slot) == slot && change.is_on_its_way;
        if is_written {
            self.changes
                .iter_mut()
                .filter(|change| own(change))
                .for_each(|change| change.is_on_its_way = false);
        } else {
            self.changes.retain(|change| !own(change));
        }
    }

    /// Calls that hold a permit.
    pub fn in_flight(&self) -> usize {
        let holds = |flow: &&Flow| match flow.call {
            Call::Report(..) | Call::Claim | Call::Release { .. } => false,
            Call::Intent(_)
            | Call::BeforePost(..)
            | Call::Post(_)
            | Call::Identity(..)
            | Call::Refusal(_)
            | Call::Put(..)
            | Call::Read(_)
            | Call::Delete(_)
            | Call::Gone(_) => true,
        };
        self.flows.iter().flatten().filter(holds).count()
    }
}

fn serves(row: &Row) -> bool {
    row.enabled && !row.marked
}

fn overlay(rows: &mut Vec<Row>, row: Row) {
    rows.retain(|other| other.id != row.id);
    rows.push(row);
    rows.sort();
}

impl Object {
    /// Whether no POST of it is in doubt.
    fn has_settled_intent(&self) -> bool {
        let Recorded { id, origin, .. } = self.status;
        let resolves =
            |intent: &Intended| intent.refused || (id.is_some() && origin.is_some() && id != intent.replaces);
        self.intent.as_ref().is_none_or(resolves)
    }
}

impl World {
    fn process(&mut self, p: usize) -> &mut Process {
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
                if self.permit_change(scenario, p, slot, id, lowers) {
                    self.send(p, slot, Call::Put(id, to));
                }
            }
            Todo::Delete(row) => {
                if !self.permit_change(scenario, p, slot, row.id, Lowers::Deleted) {
                    return;
                }
                if scenario.breaks(Rule::ReadBeforeDelete) {
                    self.delete(scenario, p, slot, row);
                } else {
                    self.send(p, slot, Call::Read(row));
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

    /// The API server or the farm does what it is asked for.
    pub fn execute(
        &mut self,
        scenario: Scenario,
        slot: usize,
        uid: Uid,
        call: &Call,
        current: bool,
    ) -> Answer {
        let was_served = self.is_served();
        let answer = self.carry_out(scenario, slot, uid, call, current);
        if scenario.established && was_served && !self.is_served() {
            self.ghost.broken = Some(Broken::TookServiceAway);
        }
        answer
    }

    /// Whether anything serves the site by its settings and serves it in the farm.
    fn is_served(&self) -> bool {
        self.rows.iter().any(|row| row.serves && serves(row))
    }

    fn carry_out(&mut self, scenario: Scenario, slot: usize, uid: Uid, call: &Call, current: bool) -> Answer {
        match call {
            Call::Report(..)
            | Call::Intent(_)
            | Call::Identity(..)
            | Call::Refusal(_)
            | Call::Claim
            | Call::Release { .. } => self.write(scenario, slot, uid, call, current),
            Call::Post(intent) => self.create_row(scenario, slot, intent),
            Call::Put(id, to) => match self.rows.iter_mut().find(|row| row.id == *id) {
                Some(row) => {
                    row.enabled = *to;
                    if row.owner != Some(uid) {
                        self.ghost.broken = Some(Broken::ChangedForeign);
                    }
                    Answer::Done
                }
                None => Answer::NotFound,
            },
            Call::Delete(wanted) => match self.rows.iter_mut().find(|row| row.id == wanted.id) {
                Some(row) => {
                    row.marked = true;
                    if row.owner != Some(uid) {
                        self.ghost.broken = Some(Broken::DeletedForeign);
                    }
                    Answer::Done
                }
                None => Answer::NotFound,
            },
            Call::Read(Row { id, .. }) | Call::Gone(id) => {
                Answer::Row(self.rows.iter().find(|row| row.id == *id).cloned())
            }
            Call::BeforePost(..) => Answer::Done,
        }
    }

    fn create_row(&mut self, scenario: Scenario, slot: usize, intent: &Intended) -> Answer {
        let server = scenario.servers[slot];
        if scenario.unique && self.rows.iter().any(|row| row.server == server) {
            return Answer::Refused;
        }
        let row = self.new_row(server, Some(intent.uid));
        self.rows.push(row.clone());
        Answer::Row(Some(row))
    }

    /// A row with the next number.
    pub fn new_row(&mut self, server: u8, owner: Option<Uid>) -> Row {
        self.next_made += 1;
        let made = self.next_made;
        let by_us = owner.is_some();
        Row { id: made, made, server, by_us, enabled: true, marked: false, serves: false, owner }
    }

    fn write(&mut self, scenario: Scenario, slot: usize, uid: Uid, call: &Call, current: bool) -> Answer {
        let fenced = current || scenario.breaks(Rule::Fence);
        let Some(mut object) = self.store[slot].clone().filter(|_| fenced) else { return Answer::Conflict };
        match call {
            Call::Report(status, ..) => object.status = *status,
            Call::Intent(intent) => {
                object.intent = Some(intent.clone());
                object.finalizer |= !scenario.breaks(Rule::FinalizerFirst);
            }
            Call::Identity(row, made) => {
                let Recorded { deleting, .. } = object.status;
                let (id, origin) = (Some(row.id), Some(*made));
                object.status = Recorded { id, made: Some(row.made), origin, site: true, deleting };
                self.claim_row(object.uid, row, *made);
                object.finalizer |= scenario.breaks(Rule::FinalizerFirst);
            }
            Call::Refusal(intent) => {
                object.intent = Some(Intended { refused: true, ..intent.clone() });
                object.finalizer = true;
            }
            Call::Claim => object.finalizer = true,
            Call::Release { stays } => {
                object.finalizer = false;
                if *stays {
                    // Whoever lets go owns nothing: a call that still changes it changes a stranger's.
                    self.rows
                        .iter_mut()
                        .filter(|row| row.owner == Some(uid))
                        .for_each(|row| row.owner = None);
                } else if self.rows.iter().any(|row| row.owner == Some(uid)) {
                    self.ghost.broken = Some(Broken::ReleasedTooEarly);
                }
            }
            Call::BeforePost(..)
            | Call::Post(_)
            | Call::Put(..)
            | Call::Read(_)
            | Call::Delete(_)
            | Call::Gone(_) => unreachable!("this is no write to the API server"),
        }
        let gone = object.deleted.is_some() && !object.finalizer;
        self.set_object(slot, Some(object).filter(|_| !gone));
        Answer::Written(self.store[slot].clone())
    }

    /// Keeps the book of whose a row is; a row that is claimed wrongly is noted.
    fn claim_row(&mut self, uid: Uid, claimed: &Row, made: Made) {
        let found = self.rows.iter_mut().find(|row| row.id == claimed.id && row.made == claimed.made);
        let Some(row) = found else { return };
        match made {
            Made::Created if row.owner == Some(uid) => {}
            Made::Adopted if row.owner.is_none_or(|owner| owner == uid) => row.owner = Some(uid),
            Made::Created | Made::Adopted => self.ghost.broken = Some(Broken::ClaimedForeign),
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
        self.watch();
    }

    /// Watches show what is stored.
    pub fn watch(&mut self) {
        let store = self.store.clone();
        for process in
            self.processes.iter_mut().flatten().filter(|process| !process.lagging && !process.stopped)
        {
            process.known = store.clone().map(|object| object.map(|object| Known { object, current: true }));
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
            (Call::Put(id, to), Answer::Done) => {
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
                let written = process.unapplied[slot].or(process.settling[slot]);
                let in_doubt =
                    process.inheritance != Inheritance::Nothing || written == Some(Written::Updated);
                process.wrote(slot, Written::Updated);
                process.memory[slot].update = Some(Sent { enabled: to, in_doubt, settled: None });
                process.change_is_over(slot, true);
            }
            (Call::Read(wanted), Answer::Row(found)) => {
                self.take_read(p, wanted.id, found.as_ref());
                let is_same = |row: &Row| row.server == wanted.server && row.made == wanted.made;
                if found.as_ref().is_some_and(is_same) {
                    self.delete(scenario, p, slot, wanted);
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
            Call::Put(..) => Some(Written::Updated),
            Call::Read(_) | Call::Gone(_) => None,
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

    /// `FarmState::take_list`, and what a first list sets going.
    pub fn take_list(&mut self, p: usize, listing: Listing) {
        let pending = self.pending;
        let process = self.process(p);
        let Listing { rows, written, age, overtaken } = listing;
        let mut rows: Vec<Row> = rows.iter().map(Row::seen).collect();
        for row in written {
            overlay(&mut rows, row);
        }
        rows.sort();
        if !overtaken {
            process.changes.retain(|change| !change.applied);
            if process.inheritance == Inheritance::Applied {
                process.inheritance = Inheritance::Nothing;
            }
        }
        if pending && process.listed.is_some() {
            process.see(&rows);
        }
        let old = process.listed.take();
        let mut previous = [false; SLOTS];
        for row in old.iter().flat_map(|old| &old.rows) {
            previous[usize::from(row.server)] = true;
        }
        let previous_age = old.as_ref().map_or(0, |old| old.age);
        let lists = old.as_ref().map_or(1, |_| 2);
        if old.is_none()
            && (pending || process.inheritance != Inheritance::Nothing)
            && process.batch == Gathered::Closed
        {
            // Written before a restart and not applied yet: it is ours.
            process.batch = Gathered::Open { dirty: true, wait: 0 };
            process.unanswered = Some(0);
        }
        process.listed = Some(Listed { rows, previous, previous_age, lists, age });
        process.list_asked = false;
        process.down = false;
        if process.confirming > 0 {
            process.confirming -= 1;
            if process.confirming == 0 {
                process.settling = [None; SLOTS];
            }
        }
    }

    /// The farm applies: what is marked goes.
    pub fn apply_in_farm(&mut self) {
        self.rows.retain(|row| !row.marked);
        self.rows.iter_mut().for_each(|row| row.serves = row.enabled);
    }

    /// `Actor::everything_applied`.
    pub fn everything_applied(&mut self, p: usize) {
        let process = self.process(p);
        match process.unanswered.take() {
            // A write without an answer may still arrive: another Apply follows when it no longer can.
            Some(age) if age < QUARANTINE => {
                process.batch = Gathered::Open { dirty: true, wait: QUARANTINE - age };
            }
            Some(_) | None => {
                process.batch = Gathered::Closed;
                process.unsure = [false; SLOTS];
                if process.inheritance == Inheritance::Open {
                    process.inheritance = Inheritance::Applied;
                }
                self.pending = false;
            }
        }
        let process = self.process(p);
        for slot in (0..SLOTS).filter(|slot| !process.unsure[*slot]) {
            process.settling[slot] = process.unapplied[slot].take().or(process.settling[slot]);
        }
        for change in &mut process.changes {
            let slot = usize::from(change.slot);
            let is_late = process.unsure[slot] || process.unapplied[slot].is_some();
            change.applied |= change.kind == Lowers::Seen || !(change.is_on_its_way || is_late);
        }
        process.listing.iter_mut().for_each(|listing| listing.overtaken = true);
        process.confirming = if process.own_deletes { 2 } else { 1 };
        process.own_deletes = false;
        process.list_asked = true;
    }

    /// The process is gone: what it sent and was not done may still be, and no answer is read.
    pub fn end(&mut self, p: usize) {
        let Some(process) = self.processes[p].take() else { return };
        for (slot, flow) in process.flows.into_iter().enumerate() {
            let Some(flow) = flow else { continue };
            if matches!(flow.call, Call::Post(_)) {
                self.ghost.surplus[usize::from(flow.uid)] -= 1;
            }
            if flow.answer.is_none() {
                self.leave(slot, flow);
            }
        }
    }

    /// A call that nobody waits for any more.
    pub fn leave(&mut self, slot: usize, flow: Flow) {
        let Flow { uid, call, current, answer: _ } = flow;
        let slot = u8::try_from(slot).unwrap_or_default();
        self.late.push(Late { slot, uid, call: LateCall::One(call), current, age: 0 });
    }

    /// Brings equal worlds into one form.
    pub fn tidy(&mut self, scenario: Scenario) {
        let matters = |late: &Late| match &late.call {
            LateCall::Apply => true,
            LateCall::One(Call::Post(_) | Call::Put(..) | Call::Delete(_)) => true,
            LateCall::One(Call::Read(_) | Call::Gone(_) | Call::BeforePost(..)) => false,
            LateCall::One(_) => late.current || scenario.breaks(Rule::Fence),
        };
        if !scenario.established {
            // The site's primary serves it in any case.
            self.rows.iter_mut().for_each(|row| row.serves = false);
            for process in self.processes.iter_mut().flatten() {
                process.changes.clear();
                if process.listed.is_some() {
                    process.inheritance = Inheritance::Nothing;
                }
            }
        }
        self.forget_what_does_not_matter();
        self.late.retain(matters);
        self.late.sort();
        self.rows.sort();
        for process in &mut self.processes {
            let over = process.as_ref().is_some_and(|process| {
                !process.may_act
                    && process.flows.iter().all(Option::is_none)
                    && process.batch != Gathered::Applying
            });
            if over {
                *process = None;
            }
        }
        if self.processes[0].is_none() {
            self.processes.swap(0, 1);
        }
    }

    /// What no decision looks at any more: how old an intent is that is settled, for how long an object is known that
    /// nobody lets go, which list was before the last where nothing is in doubt, whether a change that is settled was.
    fn forget_what_does_not_matter(&mut self) {
        let may_be_orphaned = self.budget[Fault::Orphan as usize] > 0;
        let lets_go = may_be_orphaned || self.store.iter().flatten().any(|object| object.orphan);
        for process in self.processes.iter_mut().flatten() {
            let mut is_in_doubt = false;
            for (known, memory) in process.known.iter().zip(&mut process.memory) {
                if !lets_go {
                    memory.known = None;
                    memory.began_deletion = false;
                }
                if known.as_ref().is_none_or(|known| known.object.has_settled_intent()) {
                    memory.intent_seen.iter_mut().for_each(|(_, age)| *age = OLD);
                } else {
                    is_in_doubt = true;
                }
                is_in_doubt |= memory.delete_unanswered.is_some();
                let settled = memory.update.iter_mut().filter(|sent| sent.settled.is_some());
                settled.for_each(|sent| sent.in_doubt = false);
            }
            if !is_in_doubt && let Some(listed) = &mut process.listed {
                listed.previous_age = OLD;
            }
        }
    }

    /// Whether nothing is on its way that takes less than a tick.
    pub fn may_tick(&self) -> bool {
        self.processes.iter().flatten().all(|process| {
            let settled = |flow: &Flow| {
                process.stopped && (flow.answer.is_some() || matches!(flow.call, Call::BeforePost(..)))
            };
            process.flows.iter().flatten().all(settled)
                && (process.stopped || (process.listing.is_none() && process.batch != Gathered::Applying))
        })
    }

    /// Time goes by.
    pub fn tick(&mut self) {
        let older = |age: &mut u8, most: u8| *age = (*age + 1).min(most);
        for object in self.store.iter_mut().flatten() {
            object.deleted.iter_mut().for_each(|age| older(age, 2));
        }
        for late in &mut self.late {
            late.age += 1;
        }
        self.late.retain(|late| late.age <= LATEST);
        let mut closes = false;
        for process in self.processes.iter_mut().flatten() {
            for known in process.known.iter_mut().flatten() {
                known.object.deleted.iter_mut().for_each(|age| older(age, 2));
            }
            for memory in &mut process.memory {
                memory.known.iter_mut().for_each(|age| older(age, OLD));
                memory.intent_seen.iter_mut().for_each(|(_, age)| older(age, OLD));
                memory.delete_unanswered.iter_mut().for_each(|age| older(age, OLD));
                memory.delete_unanswered = memory.delete_unanswered.filter(|age| *age < OLD);
                memory.lowering.iter_mut().for_each(|age| older(age, 1));
                memory.failure = memory.failure.map(|left| left.saturating_sub(1));
            }
            if let Some(listed) = &mut process.listed {
                older(&mut listed.age, 2);
                older(&mut listed.previous_age, OLD);
            }
            process.listing.iter_mut().for_each(|listing| older(&mut listing.age, 2));
            process.unanswered.iter_mut().for_each(|age| older(age, OLD));
            for flow in process.flows.iter_mut().flatten() {
                if let Call::BeforePost(_, age) = &mut flow.call {
                    older(age, 1);
                }
                if let Some(Answer::Written(Some(object))) = &mut flow.answer {
                    object.deleted.iter_mut().for_each(|age| older(age, 2));
                }
            }
            let idle = process.flows.iter().all(Option::is_none);
            match &mut process.batch {
                // Nothing reached the farm: there is nothing to apply.
                Gathered::Open { dirty: false, .. } if idle => {
                    process.batch = Gathered::Closed;
                    // `Sites::nothing_written`.
                    process.changes.retain(|change| change.kind != Lowers::Seen);
                    closes = true;
                }
                Gathered::Open { wait, .. } => *wait = wait.saturating_sub(1),
                Gathered::Closed | Gathered::Applying | Gathered::Failed => {}
            }
        }
        if closes {
            self.pending = false;
        }
    }
}
