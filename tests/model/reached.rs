//! What must happen somewhere in a space, lest the rest holds only because nothing happens: each fault that may happen
//! does, and what it is there to provoke follows.

use stateright::Property;

use crate::explore::Exploration;
use crate::world::{Answer, Call, Fault, Flow, Made, Object, Process, World, Written};

/// More ticks than any late call takes.
const WAITED_OUT: u8 = 3;

/// What this exploration must come by.
pub fn reached(model: &Exploration) -> Vec<Property<Exploration>> {
    let may = |fault: Fault| model.budget[fault as usize] > 0;
    let loses = may(Fault::LoseRequest) || may(Fault::LoseAnswer) || may(Fault::Late);
    let creates = !model.scenario.established && !model.scenario.adopts;
    let marks = may(Fault::LoseAnswer) || may(Fault::Late) || may(Fault::Crash);
    let repeats = may(Fault::LoseRequest) || may(Fault::Late) || may(Fault::Crash);
    let all = [
        (true, Property::sometimes("a broker is there", is_there)),
        (!model.scenario.established, Property::sometimes("everything is gone again", is_gone)),
        (
            model.scenario.edits > 1,
            Property::sometimes("the last broker serves although its object goes", is_last),
        ),
        (
            true,
            Property::sometimes("every fault has happened", |_, world: &World| {
                world.budget.iter().all(|left| *left == 0)
            }),
        ),
        (
            may(Fault::Lag) && (may(Fault::Crash) || may(Fault::FailOver)),
            Property::sometimes("a process may begin with an old view", may_begin_behind),
        ),
        (creates && marks, Property::sometimes("a row is recognised by its mark", is_recognised)),
        (creates && repeats, Property::sometimes("a POST follows a lost one", is_repeated)),
        (
            creates && repeats,
            Property::sometimes("an object goes after its POST's quarantine", is_waited_out),
        ),
        (loses, Property::sometimes("a deletion ends after a lost DELETE", is_over)),
        (
            !model.scenario.adopts && may(Fault::PersonDeletes),
            Property::sometimes("a broker that was removed is created again", is_made_again),
        ),
        (
            creates && may(Fault::FailOver),
            Property::sometimes("a fail-over between intent and POST", is_overtaken),
        ),
    ];
    all.into_iter().filter_map(|(is_expected, property)| is_expected.then_some(property)).collect()
}

fn is_there(_: &Exploration, world: &World) -> bool {
    world.rows.iter().any(|row| row.owner.is_some())
}

fn is_gone(_: &Exploration, world: &World) -> bool {
    world.rows.iter().all(|row| row.owner.is_none())
        && world.store.iter().all(Option::is_none)
        && world.next_made > 0
}

fn is_last(_: &Exploration, world: &World) -> bool {
    let goes = |object: &Object| object.deleted.is_some();
    let idle = |process: &Process| process.flows.iter().all(Option::is_none);
    world.rows.len() == 1
        && world.store.iter().flatten().all(goes)
        && world.processes.iter().flatten().all(idle)
}

/// Whoever starts now acts on what is not stored any more.
fn may_begin_behind(_: &Exploration, world: &World) -> bool {
    world.old_view.as_ref().is_some_and(|view| *view != world.view())
}

/// Any call that is on its way.
fn on_its_way(world: &World, is_it: impl Fn(usize, &Process, &Flow) -> bool) -> bool {
    world.processes.iter().flatten().any(|process| {
        let flows = process.flows.iter().enumerate();
        flows
            .filter_map(|(slot, flow)| Some((slot, flow.as_ref()?)))
            .any(|(slot, flow)| is_it(slot, process, flow))
    })
}

/// The id is on its way to the status, and not from a POST's answer.
fn is_recognised(_: &Exploration, world: &World) -> bool {
    on_its_way(world, |slot, process, flow| {
        let from_post = process.unapplied[slot] == Some(Written::Created) && !process.unsure[slot];
        matches!(flow.call, Call::Identity(_, Made::Created)) && !from_post
    })
}

/// The object is not there any more, nor any row of one that is not there.
fn is_over(model: &Exploration, world: &World) -> bool {
    let is_there = |uid: u8| world.store.iter().flatten().any(|object| object.uid == uid);
    let ended = world.store[..model.scenario.objects].iter().any(Option::is_none);
    world.ghost.lost_delete && ended && world.rows.iter().filter_map(|row| row.owner).all(is_there)
}

fn is_made_again(_: &Exploration, world: &World) -> bool {
    on_its_way(world, |_, _, flow| matches!(&flow.call, Call::Post(intent) if intent.replaces.is_some()))
}

fn is_repeated(_: &Exploration, world: &World) -> bool {
    on_its_way(world, |_, _, flow| matches!(&flow.call, Call::Post(intent) if intent.lost))
}

fn is_waited_out(_: &Exploration, world: &World) -> bool {
    on_its_way(world, |slot, process, flow| {
        let seen = process.memory[slot].intent_seen;
        let unresolved = world.store[slot].as_ref().is_some_and(|object| {
            object.status.id.is_none() && object.intent.as_ref().is_some_and(|intent| !intent.refused)
        });
        let waited = seen.is_some_and(|(_, age)| age >= WAITED_OUT);
        matches!(flow.call, Call::Release { .. }) && unresolved && waited
    })
}

/// Its POST is still to be sent when another process has taken over.
fn is_overtaken(_: &Exploration, world: &World) -> bool {
    let is_before_post = |flow: &Flow| match flow.call {
        Call::Post(_) => flow.answer.is_none(),
        Call::Intent(_) => matches!(flow.answer, Some(Answer::Written(_))),
        _ => false,
    };
    on_its_way(world, |_, process, flow| !process.may_act && is_before_post(flow))
}
