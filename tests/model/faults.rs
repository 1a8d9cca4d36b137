//! What may go wrong or be done by people, and what it does to the world.

use crate::explore::{Action, Exploration, may_apply, may_list};
use crate::scenario::Scenario;
use crate::world::{Call, Fault, Flow, Gathered, Late, LateCall, Listing, Object, SLOTS, World};

impl Exploration {
    pub fn faults(&self, world: &World, actions: &mut Vec<Action>) {
        let left = |fault: Fault| world.budget[fault as usize] > 0;
        if may_stay_behind(world) {
            actions.push(Action::KeepView);
        }
        for (p, process) in world.processes.iter().enumerate() {
            let Some(process) = process else { continue };
            let alone = world.processes.iter().flatten().count() == 1;
            if process.stopped {
                if process.may_act && alone && left(Fault::FailOver) {
                    actions.push(Action::OfProcess(Fault::FailOver, p));
                }
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

    pub fn may_edit(&self, world: &World) -> bool {
        !self.scenario.established || world.edits > 0
    }

    pub fn people(&self, world: &World, actions: &mut Vec<Action>) {
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

    pub fn disturb(&self, world: &mut World, fault: Fault, p: usize, slot: usize) {
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

/// A server's cache can stay behind, and another process is still to read it.
fn may_stay_behind(world: &World) -> bool {
    let left = |fault: Fault| world.budget[fault as usize] > 0;
    left(Fault::Lag) && (left(Fault::Crash) || left(Fault::FailOver))
}

/// Which faults a call can meet.
fn fits(fault: Fault, call: &Call) -> bool {
    let reads = matches!(call, Call::Read(..) | Call::Gone(_));
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
        Call::Put(other, ..) => *other == id,
        Call::Delete(row) => row.id == id,
        _ => false,
    };
    let flows = world.processes.iter().flatten().flat_map(|process| process.flows.iter().flatten());
    let late = world.late.iter().any(|late| matches!(&late.call, LateCall::One(call) if writes(call)));
    // Between the check and the call, too.
    let is_checked =
        |flow: &Flow| matches!(&flow.call, Call::Read(row, _) if row.id == id && flow.answer.is_some());
    late || flows.into_iter().any(|flow| writes(&flow.call) || is_checked(flow))
}

pub fn spend(world: &mut World, fault: Fault) {
    world.budget[fault as usize] -= 1;
}

pub fn of_process(world: &mut World, fault: Fault, p: usize) {
    match fault {
        Fault::Crash => {
            world.end(p);
            world.start_process(p);
        }
        Fault::FailOver => {
            world.process_at(p).may_act = false;
            world.start_process(1 - p);
        }
        Fault::Stop => world.process_at(p).stopped = true,
        Fault::Lag => world.process_at(p).lagging = true,
        _ => unreachable!("{fault:?} does not happen to a process"),
    }
}

pub fn of_list(world: &mut World, scenario: Scenario, fault: Fault, p: usize) {
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
        Fault::ShortList => world.take_list(scenario, p, Listing::of(&[])),
        _ => unreachable!("{fault:?} does not happen to a list"),
    }
}

pub fn of_apply(world: &mut World, fault: Fault, p: usize) {
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

pub fn of_row(world: &mut World, fault: Fault, id: u8) {
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
