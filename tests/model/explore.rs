//! The model: what may happen next, and what must always hold.

use ras_operator::farm::batch::Due;
use stateright::{Model, Property};

use crate::facts::{decide, due};
use crate::faults::{of_apply, of_list, of_process, of_row, spend};
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
    /// A server's cache stays as it is.
    KeepView,
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
}

/// A list costs nothing and is taken when asked for, and once per tick. The actor does one thing at a time.
pub fn may_list(process: &Process) -> bool {
    let old = process.listed.as_ref().is_none_or(|listed| listed.age > 0);
    process.may_act
        && !process.stopped
        && process.listing.is_none()
        && process.batch != Gathered::Applying
        && (process.list_asked || process.down || process.confirming > 0 || old)
}

pub fn may_apply(process: &Process) -> bool {
    process.may_act
        && !process.stopped
        && !process.down
        && process.listed.is_some()
        && process.listing.is_none()
        && process.confirming == 0
        && due(process.batch, process.in_flight()) == Due::Apply
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
                world.take_list(scenario, p, listing);
            }
            Action::ReadList(p) => {
                if let Some(listing) = world.process_at(p).listing.take() {
                    world.take_list(scenario, p, listing);
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
            Action::KeepView => {
                spend(world, Fault::Lag);
                world.old_view = Some(world.view());
            }
            Action::OfList(fault, p) => {
                spend(world, fault);
                of_list(world, scenario, fault, p);
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

    pub fn carry_out(&self, world: &mut World, p: usize, slot: usize) {
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
}

impl World {
    /// A process that must be there.
    pub fn process_at(&mut self, p: usize) -> &mut Process {
        self.processes[p].as_mut().unwrap_or_else(|| unreachable!("a process that is gone does nothing"))
    }

    pub fn flow(&self, p: usize, slot: usize) -> Flow {
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
            old_view: None,
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
        world.start_process(0);
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
