//! "Settles once faults stop": from a state, one fair schedule without faults must come to rest within a bounded
//! number of steps, and rest on something that is an end. What was shown of a state is remembered, so that the
//! schedule is followed only up to a state that is known.

use crate::ends::{Past, is_end};
use crate::explore::{Action, Exploration, rest};
use crate::memo::{Memo, fingerprint};
use crate::world::{Fault, SLOTS, World};

/// The property's name.
pub const NAME: &str = "settles once faults stop";
/// More steps than any schedule needs; the longest that was met is printed.
pub const MOST: u16 = 250;

/// Steps to rest, by the fingerprints of scenario, past and world.
static KNOWN: Memo<u64, u16> = Memo::new();
pub static LONGEST: std::sync::atomic::AtomicU16 = std::sync::atomic::AtomicU16::new(0);

/// Whether `world` settles.
pub fn settles(model: &Exploration, world: &World) -> bool {
    steps_to_rest(model, world).is_some()
}

/// The world as it goes on where nothing goes wrong any more.
fn undisturbed(world: &World) -> World {
    World { budget: [0; Fault::COUNT], edits: 0, old_view: None, ghost: Default::default(), ..world.clone() }
}

fn steps_to_rest(model: &Exploration, world: &World) -> Option<u16> {
    let (scenario, past) = (model.scenario, Past::of(model, world));
    let mut world = undisturbed(world);
    let mut path = Vec::new();
    let rest = loop {
        let print = fingerprint(&(scenario, past, &world));
        if let Some(known) = KNOWN.get(&print) {
            break Some(known);
        }
        if path.len() >= usize::from(MOST) {
            break None;
        }
        path.push(print);
        match next(model, &world) {
            Some(after) => world = after,
            None => break is_end(scenario, past, &world).then_some(0),
        }
    }?;
    let mut steps = rest;
    for print in path.into_iter().rev() {
        steps += 1;
        KNOWN.insert(print, steps);
    }
    LONGEST.fetch_max(steps, std::sync::atomic::Ordering::Relaxed);
    Some(steps)
}

/// The next state of the fair schedule: whatever can go on goes on, and time passes only where nothing can.
pub fn next(model: &Exploration, world: &World) -> Option<World> {
    let mut actions = Vec::new();
    model.natural(world, &mut actions);
    actions.retain(|action| !matches!(action, Action::Exit(_)));
    actions.sort_by_key(|action| rank(world, action));
    let mut at_once = actions.iter().filter(|action| rank(world, action) < 9);
    if let Some(next) = at_once.find_map(|action| model.step(world, *action)) {
        return Some(next);
    }
    // A period passes: time, a list, and a look at each object.
    let mut next = world.clone();
    if next.may_tick() {
        next = model.step(&next, Action::Tick).unwrap_or(next);
    }
    next = model.step(&next, Action::List(0)).unwrap_or(next);
    (next != *world).then_some(next)
}

fn rank(world: &World, action: &Action) -> u8 {
    match action {
        Action::Resume(_) | Action::CatchUp(_) => 0,
        Action::Call(..) | Action::Do(..) | Action::Read(..) | Action::ReadList(_) | Action::ReadApply(_) => {
            1
        }
        Action::Reconcile(..) => 2,
        Action::Apply(_) => 3,
        Action::List(p) => {
            let process = world.processes[*p].as_ref();
            let wanted = |process: &crate::world::Process| {
                process.down
                    || process.confirming > 0
                    || process.listed.as_ref().is_none_or(|listed| listed.age > 0 || listed.lists < 2)
            };
            if process.is_some_and(wanted) { 4 } else { 9 }
        }
        _ => 9,
    }
}

/// Prints where the schedule leads.
pub fn tell(model: &Exploration, world: &World) {
    let mut world = undisturbed(world);
    let mut count = 0;
    println!("{world:?}");
    while let Some(after) = next(model, &world) {
        world = after;
        count += 1;
        if count > MOST {
            break;
        }
    }
    println!("after {count}: {world:?}");
    for slot in 0..SLOTS {
        println!("{:?}", rest(model.scenario, &world, slot));
    }
}
