//! The model: what may happen next, and what must always hold.

use ras_operator::farm::batch::Due;
use stateright::{Model, Property};

use crate::facts::{decide, due};
use crate::reached::reached;
use crate::scenario::Scenario;
use crate::settling;
use crate::world::{
    Broken, Call, Fault, Flow, Gathered, Ghost, Intended, Late, LateCall, Listing, Made, Object, Process,
    Recorded, Row, SLOTS, World,
};

/// A scenario with its budget of faults.
#[derive(Clone, Copy, Debug)]
pub struct Exploration {
    pub scenario: Scenario,
    pub budget: [u8; Fault::COUNT],
}

/// What may happen. Calls are done and answered in one go, unless a fault pulls the two apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Tick,
    Reconcile(usize, usize),
    /// A call is done and answered.
    Call(usize, usize),
    /// A call of a stopped process is done; the answer waits.
    Do(usize, usize),
    /// An answer that waited is read.
    Read(usize, usize),
    List(usize),
    ReadList(usize),
    Apply(usize),
    ReadApply(usize),
    /// A call that was given up on is done.
    DoLate(usize),
    Resume(usize),
    CatchUp(usize),
    /// A process that lost its Lease ends.
    Exit(usize),
    DeleteObject(usize),
    DisableObject(usize),
    /// A fault of one process, at one of its calls.
    Call_(Fault, usize, usize),
    OfProcess(Fault, usize),
    OfList(Fault, usize),
    OfApply(Fault, usize),
    OfRow(Fault, u8),
    Replace(u8, bool),
    Add(u8),
    Recreate(usize),
    Orphan(usize),
}

impl Exploration {
    /// `scenario` with the given faults.
    pub fn new(scenario: Scenario, faults: &[(Fault, u8)]) -> Self {
        let mut budget = [0; Fault::COUNT];
        for (fault, times) in faults {
            budget[*fault as usize] = *times;
        }
        Self { scenario, budget }
    }

    /// The actions that need no fault and no person.
    pub fn natural(&self, world: &World, actions: &mut Vec<Action>) {
        for (p, process) in world.processes.iter().enumerate() {
            let Some(process) = process else { continue };
            if process.stopped {
                actions.push(Action::Resume(p));
                let undone =
                    |flow: &Flow| flow.answer.is_none() && !matches!(flow.call, Call::BeforePost(..));
                actions.extend(
                    (0..SLOTS)
                        .filter(|slot| process.flows[*slot].as_ref().is_some_and(undone))
                        .map(|slot| Action::Do(p, slot)),
                );
                continue;
            }
            if process.lagging {
                actions.push(Action::CatchUp(p));
            }
            for slot in 0..SLOTS {
                match &process.flows[slot] {
                    Some(Flow { answer: Some(_), .. }) => actions.push(Action::Read(p, slot)),
                    Some(Flow { answer: None, .. }) => actions.push(Action::Call(p, slot)),
                    None if process.may_act && process.known[slot].is_some() => {
                        actions.push(Action::Reconcile(p, slot));
                    }
                    None => {}
                }
            }
            if !process.may_act {
                actions.push(Action::Exit(p));
            }
            if may_list(process) {
                actions.push(Action::List(p));
            }
            if process.listing.is_some() {
                actions.push(Action::ReadList(p));
            }
            if may_apply(process) {
                actions.push(Action::Apply(p));
            }
            if process.batch == Gathered::Applying {
                actions.push(Action::ReadApply(p));
            }
        }
        if world.may_tick() {
            actions.push(Action::Tick);
        }
    }

    fn faults(&self, world: &World, actions: &mut Vec<Action>) {
        let left = |fault: Fault| world.budget[fault as usize] > 0;
        for (p, process) in world.processes.iter().enumerate() {
            let Some(process) = process else { continue };
            if process.stopped {
                continue;
            }
            for slot in 0..SLOTS {
                if let Some(Flow { answer: None, call, .. }) = &process.flows[slot] {
                    let all = [
                        Fault::LoseRequest,
                        Fault::LoseAnswer,
                        Fault::Late,
                        Fault::Slow,
                        Fault::Refuse,
                        Fault::Stop,
                    ];
                    let fits = |fault: &Fault| left(*fault) && fits(*fault, call);
                    actions.extend(all.into_iter().filter(fits).map(|fault| Action::Call_(fault, p, slot)));
                }
            }
            let alone = world.processes.iter().flatten().count() == 1;
            let of_process = [
                (Fault::Crash, process.may_act),
                (Fault::FailOver, process.may_act && alone),
                (Fault::Stop, process.may_act),
                (Fault::Lag, !process.lagging),
            ];
            let possible = of_process.into_iter().filter(|(fault, possible)| *possible && left(*fault));
            actions.extend(possible.map(|(fault, _)| Action::OfProcess(fault, p)));
            if may_list(process) {
                let all = [Fault::LoseAnswer, Fault::Slow, Fault::ShortList];
                actions.extend(
                    all.into_iter().filter(|fault| left(*fault)).map(|fault| Action::OfList(fault, p)),
                );
            }
            if may_apply(process) {
                let all = [Fault::LoseRequest, Fault::LoseAnswer, Fault::Late, Fault::Slow];
                actions.extend(
                    all.into_iter().filter(|fault| left(*fault)).map(|fault| Action::OfApply(fault, p)),
                );
            }
        }
    }

    fn may_edit(&self, world: &World) -> bool {
        !self.scenario.established || world.edits > 0
    }

    fn people(&self, world: &World, actions: &mut Vec<Action>) {
        let left = |fault: Fault| world.budget[fault as usize] > 0;
        for slot in 0..SLOTS {
            match &world.store[slot] {
                Some(object) if object.deleted.is_none() && self.may_edit(world) => {
                    actions.push(Action::DeleteObject(slot));
                }
                Some(_) => {}
                None if slot < self.scenario.objects && left(Fault::Recreate) => {
                    actions.push(Action::Recreate(slot));
                }
                None => {}
            }
        }
        if self.scenario.established && self.may_edit(world) {
            let may_be = |object: &Object| !object.disabled && object.deleted.is_none();
            let enabled = (0..SLOTS).filter(|slot| world.store[*slot].as_ref().is_some_and(may_be));
            actions.extend(enabled.map(Action::DisableObject));
        }
        for slot in 0..SLOTS {
            let asks = world.store[slot].as_ref().is_some_and(|object| !object.orphan);
            if left(Fault::Orphan) && asks {
                actions.push(Action::Orphan(slot));
            }
        }
        for row in &world.rows {
            for fault in [Fault::PersonDeletes, Fault::PersonEdits] {
                if left(fault) && !row.marked {
                    actions.push(Action::OfRow(fault, row.id));
                }
            }
            if left(Fault::PersonReplaces) && !row.marked && !is_written(world, row.id) {
                actions.push(Action::Replace(row.id, true));
                actions.push(Action::Replace(row.id, false));
            }
        }
        let is_taken = world.rows.iter().any(|row| row.server == self.scenario.servers[0]);
        if left(Fault::PersonAdds) && !(self.scenario.unique && is_taken) {
            actions.push(Action::Add(self.scenario.servers[0]));
        }
    }
}

/// A list costs nothing and is taken when asked for, and once per tick.
fn may_list(process: &Process) -> bool {
    let old = process.listed.as_ref().is_none_or(|listed| listed.age > 0);
    process.may_act
        && !process.stopped
        && process.listing.is_none()
        && (process.list_asked || process.down || process.confirming > 0 || old)
}

fn may_apply(process: &Process) -> bool {
    process.may_act
        && !process.stopped
        && !process.down
        && process.listed.is_some()
        && process.confirming == 0
        && due(process.batch, process.in_flight()) == Due::Apply
}

/// Which faults a call can meet.
fn fits(fault: Fault, call: &Call) -> bool {
    let reads = matches!(call, Call::Read(_) | Call::Gone(_));
    let changes = matches!(call, Call::Post(_) | Call::Put(..) | Call::Delete(_));
    match fault {
        Fault::LoseRequest | Fault::Late => !reads,
        Fault::LoseAnswer | Fault::Slow => true,
        Fault::Refuse => changes,
        // Between the intent's answer and its POST.
        Fault::Stop => matches!(call, Call::Intent(_)),
        _ => false,
    }
}

/// A change by a bare id that is on its way hits whatever has the id by then: the size of that gap is documented.
fn is_written(world: &World, id: u8) -> bool {
    let writes = |call: &Call| match call {
        Call::Put(other, _) => *other == id,
        Call::Delete(row) => row.id == id,
        _ => false,
    };
    let flows = world.processes.iter().flatten().flat_map(|process| process.flows.iter().flatten());
    let late = world.late.iter().any(|late| matches!(&late.call, LateCall::One(call) if writes(call)));
    // Between the check and the call, too.
    let is_checked =
        |flow: &Flow| matches!(&flow.call, Call::Read(row) if row.id == id && flow.answer.is_some());
    late || flows.into_iter().any(|flow| writes(&flow.call) || is_checked(flow))
}

impl Exploration {
    /// What `action` makes of `world`.
    pub fn step(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        self.act(&mut next, action);
        next.tidy(self.scenario);
        (next != *world).then_some(next)
    }

    fn act(&self, world: &mut World, action: Action) {
        let scenario = self.scenario;
        match action {
            Action::Tick => world.tick(),
            Action::Reconcile(p, slot) => {
                world.reconcile(scenario, p, slot);
            }
            Action::Call(p, slot) => {
                if matches!(world.flow(p, slot).call, Call::BeforePost(..)) {
                    world.proceed(scenario, p, slot);
                } else {
                    self.carry_out(world, p, slot);
                    self.read(world, p, slot);
                }
            }
            Action::Do(p, slot) => self.carry_out(world, p, slot),
            Action::Read(p, slot) => self.read(world, p, slot),
            Action::List(p) => {
                let listing = Listing::of(&world.rows);
                world.take_list(p, listing);
            }
            Action::ReadList(p) => {
                if let Some(listing) = world.process_at(p).listing.take() {
                    world.take_list(p, listing);
                }
            }
            Action::Apply(p) => {
                world.apply_in_farm();
                world.everything_applied(p);
            }
            Action::ReadApply(p) => world.everything_applied(p),
            Action::DoLate(index) => {
                let Late { slot, uid, call, current, age: _ } = world.late.remove(index);
                match call {
                    LateCall::Apply => world.apply_in_farm(),
                    LateCall::One(call) => {
                        world.execute(scenario, slot.into(), uid, &call, current);
                    }
                }
            }
            Action::Resume(p) => {
                world.process_at(p).stopped = false;
                world.watch();
            }
            Action::CatchUp(p) => {
                world.process_at(p).lagging = false;
                world.watch();
            }
            Action::Exit(p) => world.end(p),
            Action::DeleteObject(slot) => {
                world.edits = world.edits.saturating_sub(1);
                let object = world.store[slot].clone().filter(|object| object.finalizer);
                world.set_object(slot, object.map(|object| Object { deleted: Some(0), ..object }));
            }
            Action::DisableObject(slot) => {
                world.edits = world.edits.saturating_sub(1);
                let object = world.store[slot].clone();
                world.set_object(slot, object.map(|object| Object { disabled: true, ..object }));
            }
            Action::Call_(fault, p, slot) => {
                spend(world, fault);
                self.disturb(world, fault, p, slot);
            }
            Action::OfProcess(fault, p) => {
                spend(world, fault);
                of_process(world, fault, p);
            }
            Action::OfList(fault, p) => {
                spend(world, fault);
                of_list(world, fault, p);
            }
            Action::OfApply(fault, p) => {
                spend(world, fault);
                of_apply(world, fault, p);
            }
            Action::OfRow(fault, id) => {
                spend(world, fault);
                of_row(world, fault, id);
            }
            Action::Replace(id, same) => {
                spend(world, Fault::PersonReplaces);
                let Some(old) = world.rows.iter().find(|row| row.id == id).cloned() else { return };
                of_row(world, Fault::PersonDeletes, id);
                let server = if same { old.server } else { 1 - old.server };
                let row = world.new_row(server, None);
                // Whoever adds a broker by hand applies it.
                world.rows.push(Row { id, serves: true, ..row });
            }
            Action::Add(server) => {
                spend(world, Fault::PersonAdds);
                let row = world.new_row(server, None);
                world.rows.push(Row { serves: true, ..row });
            }
            Action::Orphan(slot) => {
                spend(world, Fault::Orphan);
                let object = world.store[slot].clone();
                world.set_object(slot, object.map(|object| Object { orphan: true, ..object }));
            }
            Action::Recreate(slot) => {
                spend(world, Fault::Recreate);
                let object = world.new_object();
                world.set_object(slot, Some(object));
            }
        }
    }

    fn carry_out(&self, world: &mut World, p: usize, slot: usize) {
        let flow = world.flow(p, slot);
        let answer = world.execute(self.scenario, slot, flow.uid, &flow.call, flow.current);
        if let Some(flow) = &mut world.process_at(p).flows[slot] {
            // The version that its own write made is the one that its next write is based on.
            flow.current |= matches!(answer, crate::world::Answer::Written(_));
            flow.answer = Some(answer);
        }
    }

    fn read(&self, world: &mut World, p: usize, slot: usize) {
        if let Some(answer) = world.flow(p, slot).answer {
            world.answered(self.scenario, p, slot, answer);
        }
    }

    fn disturb(&self, world: &mut World, fault: Fault, p: usize, slot: usize) {
        match fault {
            Fault::LoseRequest => world.unanswered(p, slot),
            Fault::LoseAnswer => {
                self.carry_out(world, p, slot);
                world.unanswered(p, slot);
            }
            Fault::Late => {
                let flow = world.flow(p, slot);
                world.unanswered(p, slot);
                world.leave(slot, flow);
            }
            Fault::Slow => self.carry_out(world, p, slot),
            Fault::Refuse => world.answered(self.scenario, p, slot, crate::world::Answer::Refused),
            Fault::Stop => {
                let Call::Intent(intent) = world.flow(p, slot).call else { return };
                self.carry_out(world, p, slot);
                let is_written = matches!(world.flow(p, slot).answer, Some(crate::world::Answer::Written(_)));
                let process = world.process_at(p);
                process.stopped = true;
                if let (Some(flow), true) = (&mut process.flows[slot], is_written) {
                    process.memory[slot].uid = flow.uid;
                    process.memory[slot].intent_seen = Some((intent.attempt, 0));
                    flow.answer = None;
                    flow.call = Call::BeforePost(intent, 0);
                }
            }
            _ => unreachable!("{fault:?} does not happen to a call"),
        }
    }
}

fn spend(world: &mut World, fault: Fault) {
    world.budget[fault as usize] -= 1;
}

fn of_process(world: &mut World, fault: Fault, p: usize) {
    match fault {
        Fault::Crash => {
            world.end(p);
            world.processes[p] = Some(Process::started(&world.store, world.pending));
        }
        Fault::FailOver => {
            world.process_at(p).may_act = false;
            world.processes[1 - p] = Some(Process::started(&world.store, world.pending));
        }
        Fault::Stop => world.process_at(p).stopped = true,
        Fault::Lag => world.process_at(p).lagging = true,
        _ => unreachable!("{fault:?} does not happen to a process"),
    }
}

fn of_list(world: &mut World, fault: Fault, p: usize) {
    match fault {
        Fault::LoseAnswer => {
            let process = world.process_at(p);
            process.down = true;
            process.confirming = 0;
            process.settling = [None; SLOTS];
        }
        Fault::Slow => {
            world.process_at(p).listing = Some(Listing::of(&world.rows));
        }
        Fault::ShortList => world.take_list(p, Listing::of(&[])),
        _ => unreachable!("{fault:?} does not happen to a list"),
    }
}

fn of_apply(world: &mut World, fault: Fault, p: usize) {
    match fault {
        Fault::LoseRequest => world.process_at(p).batch = Gathered::Failed,
        Fault::LoseAnswer => {
            world.apply_in_farm();
            world.process_at(p).batch = Gathered::Failed;
        }
        Fault::Late => {
            world.process_at(p).batch = Gathered::Failed;
            world.late.push(Late { slot: 0, uid: 0, call: LateCall::Apply, current: false, age: 0 });
        }
        Fault::Slow => {
            world.apply_in_farm();
            world.process_at(p).batch = Gathered::Applying;
        }
        _ => unreachable!("{fault:?} does not happen to an Apply"),
    }
}

fn of_row(world: &mut World, fault: Fault, id: u8) {
    let Some(index) = world.rows.iter().position(|row| row.id == id) else { return };
    match fault {
        Fault::PersonDeletes => {
            let row = world.rows.remove(index);
            if let Some(owner) = row.owner {
                world.ghost.surplus[usize::from(owner)] -= 1;
            }
        }
        Fault::PersonEdits => world.rows[index].enabled = false,
        _ => unreachable!("{fault:?} does not happen to a row"),
    }
}

impl World {
    /// A process that must be there.
    pub fn process_at(&mut self, p: usize) -> &mut Process {
        self.processes[p].as_mut().unwrap_or_else(|| unreachable!("a process that is gone does nothing"))
    }

    fn flow(&self, p: usize, slot: usize) -> Flow {
        let flow = self.processes[p].as_ref().and_then(|process| process.flows[slot].clone());
        flow.unwrap_or_else(|| unreachable!("there is a call to answer"))
    }

    fn new_object(&mut self) -> Object {
        self.next_uid += 1;
        Object {
            uid: self.next_uid,
            deleted: None,
            finalizer: false,
            orphan: false,
            disabled: false,
            intent: None,
            status: Recorded::default(),
        }
    }

    /// A world before anything happened.
    pub fn start(scenario: Scenario, budget: [u8; Fault::COUNT]) -> Self {
        let mut world = Self {
            store: [None, None],
            rows: Vec::new(),
            pending: false,
            processes: [None, None],
            late: Vec::new(),
            budget,
            edits: scenario.edits,
            ghost: Ghost::default(),
            next_made: 0,
            next_uid: 0,
        };
        for slot in 0..scenario.objects {
            world.store[slot] = Some(world.new_object());
        }
        if scenario.adopts {
            let row = world.new_row(scenario.servers[0], None);
            world.rows.push(row);
        }
        if scenario.established {
            (0..scenario.objects).for_each(|slot| world.establish(scenario, slot));
        }
        world.processes[0] = Some(Process::started(&world.store, false));
        world
    }

    /// An object has long had its broker; the first one's is disabled.
    fn establish(&mut self, scenario: Scenario, slot: usize) {
        let Some(mut object) = self.store[slot].clone() else { return };
        let row = self.new_row(scenario.servers[slot], Some(object.uid));
        let row = Row { enabled: slot > 0, serves: slot > 0, ..row };
        let (lost, refused, recreated, replaces) = (false, false, false, None);
        object.intent = Some(Intended { uid: object.uid, attempt: 1, lost, refused, recreated, replaces });
        object.finalizer = true;
        object.status = Recorded {
            id: Some(row.id),
            made: Some(row.made),
            origin: Some(Made::Created),
            site: true,
            deleting: false,
        };
        self.ghost.surplus[usize::from(object.uid)] = 1;
        self.rows.push(row);
        self.store[slot] = Some(object);
    }

    /// Rows of a uid.
    fn rows_of(&self, uid: u8) -> usize {
        self.rows.iter().filter(|row| row.owner == Some(uid)).count()
    }

    fn is_there(&self, uid: u8) -> bool {
        self.store.iter().flatten().any(|object| object.uid == uid)
    }
}

impl Model for Exploration {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::start(self.scenario, self.budget)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        self.natural(world, actions);
        actions.extend((0..world.late.len()).map(Action::DoLate));
        self.faults(world, actions);
        self.people(world, actions);
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        self.step(world, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let all = [
            Property::always("at most one row per uid", |_, world: &World| {
                (1..=world.next_uid).all(|uid| world.rows_of(uid) <= 1)
            }),
            Property::always(
                "a POST more only for one lost, refused, or undone by a person",
                |_, world: &World| world.ghost.surplus.iter().all(|surplus| *surplus <= 1),
            ),
            Property::always(
                "no write to a row that is not ours, and no finalizer off too early",
                |_, world: &World| world.ghost.broken.is_none_or(|broken| broken == Broken::TookServiceAway),
            ),
            Property::always("a site that is served stays served", stays_served),
            Property::always("an object that is gone left no row", |_, world: &World| {
                world.rows.iter().filter_map(|row| row.owner).all(|uid| world.is_there(uid))
            }),
            Property::always("of two objects on one key one acts", one_acts),
            Property::always(settling::NAME, settling::settles),
        ];
        all.into_iter().chain(reached(self)).collect()
    }
}

fn one_acts(model: &Exploration, world: &World) -> bool {
    let [first, second] = model.scenario.servers;
    let owned = world.rows.iter().filter(|row| row.owner.is_some());
    first != second || owned.count() <= 1
}

/// What a person does at the same moment is seen with the next list only.
fn stays_served(model: &Exploration, world: &World) -> bool {
    let by_person = [Fault::PersonDeletes, Fault::PersonEdits, Fault::PersonReplaces];
    let may_be = by_person.iter().any(|fault| model.budget[*fault as usize] > 0);
    may_be || world.ghost.broken != Some(Broken::TookServiceAway)
}

/// Whether a process would rest on the object in this state, and on what.
pub fn rest(scenario: Scenario, world: &World, slot: usize) -> Option<crate::facts::Decision> {
    world.look(0, slot).map(|look| decide(scenario, &look))
}
