//! Once nothing goes wrong any more everything comes to rest, in a state that is right, and stays silent.

use std::time::Duration;

use serde_json::Value;

use crate::clock;
use crate::life::matches;
use crate::objects::{
    condition, farm_of, has_finalizer, is_current, is_going, is_observer, is_true, name, number_of, owned_id,
    summary, text, uid, words,
};
use crate::run::Run;
use crate::step::make_reachable;
use crate::users::{delete, force_orphan, permit_deletions, release_holds};
use crate::world::{World, home};

/// Longer than any pause that ends by itself: the logon limit has the longest.
const BOUND: Duration = Duration::from_mins(20);
/// Nothing was written for so long: longer than a quarantine, and than any pause of a breaker.
const QUIET: Duration = Duration::from_secs(130);

/// Waits until everything is as it should be, and then that nothing is written; answers what is wrong.
pub async fn settle(run: &mut Run) -> Vec<String> {
    if any_gone(&run.world) {
        // What was on its way may say of a farm that is gone what it was like.
        run.rest(QUIET).await;
    }
    // What ends by itself must have ended before it is listened for silence, or long after that.
    let until = clock::elapsed() + BOUND + QUIET + listening(run);
    loop {
        make_reachable(&run.world);
        apply_what_came_late(&run.world);
        let wrong = unsettled(&run.world, until.saturating_sub(clock::elapsed()));
        if wrong.is_empty() {
            break;
        }
        if clock::elapsed() > until {
            return wrong.into_iter().map(|what| format!("it does not settle: {what}")).collect();
        }
        run.rest(Duration::from_secs(5)).await;
    }
    silence(run).await
}

/// A person does what the farm's object says where its broker came later than any answer is waited for, and others'
/// changes may be pending beside it.
fn apply_what_came_late(world: &World) {
    let farms = world.api.list("RasFarm");
    for object in
        farms.iter().filter(|object| words(object).contains("has created a broker for this operator"))
    {
        let place = number_of(name(object));
        if !world.network.is_gone(place) {
            world.network.say(&format!("person: applies farm {place}, as its object says"));
            world.farms[place].apply_as_person("console");
        }
    }
}

fn any_gone(world: &World) -> bool {
    (0..world.setting.farms).any(|farm| world.network.is_gone(farm))
}

/// For how long nothing may be written.
fn listening(run: &Run) -> Duration {
    run.world.setting.period * 2 + Duration::from_secs(5)
}

async fn silence(run: &mut Run) -> Vec<String> {
    // What was on its way may still arrive, and is told.
    run.rest(QUIET).await;
    let before = run.world.network.writes();
    run.rest(listening(run)).await;
    let after = run.world.network.writes();
    let mut wrong: Vec<String> = unsettled(&run.world, Duration::ZERO)
        .into_iter()
        .map(|what| format!("it settled and unsettled: {what}"))
        .collect();
    // What is said of a farm that is gone changes with the time.
    if before != after && !any_gone(&run.world) {
        wrong.push(format!("{} writes while everything was at rest", after - before));
    }
    wrong
}

/// Deletes everything, permits it, and waits until it is gone.
pub async fn clean(run: &mut Run) -> Vec<String> {
    run.world.network.say("clean");
    for object in run.world.brokers() {
        delete(&run.world, name(&object));
    }
    let until = clock::elapsed() + BOUND;
    loop {
        release_holds(&run.world);
        let world = &run.world;
        let brokers = world.brokers();
        let of_gone = brokers.iter().filter(|object| world.network.is_gone(farm_of(object)));
        of_gone.for_each(|object| force_orphan(world, name(object)));
        permit_deletions(&run.world);
        let left: Vec<String> = run
            .world
            .brokers()
            .iter()
            .filter(|object| !is_held(&run.world, object))
            .map(|object| format!("{}: {}", summary(object), words(object)))
            .collect();
        if left.is_empty() {
            run.rest(Duration::from_secs(40)).await;
            return Vec::new();
        }
        if clock::elapsed() > until {
            return left.into_iter().map(|what| format!("its deletion does not end: {what}")).collect();
        }
        run.rest(Duration::from_secs(20)).await;
    }
}

/// Whether a deletion waits for a person, and rightly.
pub fn is_held(world: &World, object: &Value) -> bool {
    let Some(("True", "AvailabilityGuard")) = condition(object, "DeletionHeld") else { return false };
    let rows = world.farms[farm_of(object)].brokers();
    let row = rows.iter().find(|row| Some(row.id) == owned_id(object));
    row.is_some_and(|row| {
        let mut others = rows.iter().filter(|other| other.id != row.id && other.site_id == row.site_id);
        row.is_primary() || !others.any(|other| other.enabled && !other.marked_for_deletion)
    })
}

/// What is not at rest, or rests wrongly; a promotion rests that is not over for so long.
fn unsettled(world: &World, longest: Duration) -> Vec<String> {
    let objects = world.brokers();
    let mut wrong: Vec<String> = objects
        .iter()
        .filter_map(|object| {
            let verdict = verdict(world, &objects, object)?;
            Some(format!("{verdict}: {}: {}", summary(object), words(object)))
        })
        .collect();
    for (place, farm) in world.farms.iter().enumerate() {
        if farm.is_pending() && !world.network.is_gone(place) {
            wrong.push(format!("farm {place} has pending changes"));
        }
    }
    let is_misreported = |farm: &&Value| {
        let is_gone = world.network.is_gone(number_of(name(farm)));
        if is_gone { is_true(farm, "Ready") } else { !is_well_reported(farm) }
    };
    wrong.extend(world.api.list("RasFarm").iter().filter(is_misreported).map(|farm| {
        format!("a farm that is well is told otherwise: {} {}", summary(farm), farm["status"]["pendingApply"])
    }));
    wrong.extend(disordered(world, &objects));
    let promotions = world.api.list("RasBrokerPromotion");
    wrong.extend(promotions.iter().filter_map(|promotion| misjudged(world, &promotions, promotion, longest)));
    wrong
}

/// Whether a farm's object says of its present spec that all is well.
fn is_well_reported(farm: &Value) -> bool {
    is_current(farm) && is_true(farm, "Ready") && farm["status"]["pendingApply"].is_null()
}

/// Which two objects that are ready stand in another order than the one that they state.
fn disordered(world: &World, objects: &[Value]) -> Option<String> {
    let placed = |object: &Value| {
        let row = world.farms[farm_of(object)].broker_named(text(object, "/spec/server"))?;
        let is_placed = is_true(object, "Ready") && !is_observer(object) && !row.is_primary();
        is_placed.then_some((
            farm_of(object),
            row.site_id,
            object["spec"]["priority"].as_i64()?,
            row.priority,
        ))
    };
    let placed: Vec<_> = objects.iter().filter_map(placed).collect();
    placed.iter().find_map(|one| {
        let is_before = |other: &&(usize, i64, i64, i64)| {
            (one.0, one.1) == (other.0, other.1) && one.2 < other.2 && one.3 > other.3
        };
        let other = placed.iter().find(is_before)?;
        Some(format!("ready and out of order: {one:?}, {other:?}"))
    })
}

/// What is wrong with a promotion: it is sent at most once, ends, and says what is the case, unless others made another
/// primary since.
fn misjudged(world: &World, all: &[Value], promotion: &Value, longest: Duration) -> Option<String> {
    let not_after: jiff::Timestamp = text(promotion, "/spec/notAfter").parse().ok()?;
    // By the operator's clock it is not over for long.
    let may_wait = clock::operators().wall + longest < not_after;
    let phase = text(promotion, "/status/phase");
    let Some(object) = world.brokers().into_iter().find(|object| name(object) == name(promotion)) else {
        let is_over = matches!(phase, "Succeeded" | "Failed");
        return (!is_over && !may_wait).then(|| {
            format!("a promotion of nothing that may be sent until {not_after}: {}", promotion["status"])
        });
    };
    if world.network.is_gone(farm_of(&object)) {
        return None;
    }
    let farm = &world.farms[farm_of(&object)];
    let sent = farm.counters().requests("POST", "/api/Broker/{id}/promote");
    let is_primary = farm.broker_named(text(&object, "/spec/server")).is_some_and(|row| row.is_primary());
    let moves_on = all.len() > 1 || world.oracle.lock().has_moved_primary(farm_of(&object));
    let is_right = match phase {
        "Succeeded" => is_primary || moves_on,
        "Failed" => !is_primary || moves_on,
        _ => !is_true(&object, "Ready") && may_wait,
    };
    let is_repeated = sent > all.len() as u64 && !world.was_restored();
    (is_repeated || !is_right).then(|| {
        format!("a promotion sent {sent} times is {phase:?}, primary: {is_primary}: {}", promotion["status"])
    })
}

/// Whether two objects may mean one machine.
fn may_be_same_machine(one: &Value, other: &Value) -> bool {
    let same =
        |path: &str| !text(one, path).is_empty() && text(one, path).eq_ignore_ascii_case(text(other, path));
    same("/spec/server") || same("/spec/ip")
}

/// Whether another object of the same farm and cluster may mean the same machine.
fn means_the_same(other: &Value, object: &Value) -> bool {
    let is_near = farm_of(other) == farm_of(object) && home(name(other)) == home(name(object));
    uid(other) != uid(object) && is_near && may_be_same_machine(object, other)
}

/// What is wrong with an object.
fn verdict(world: &World, objects: &[Value], object: &Value) -> Option<&'static str> {
    if is_going(object) && !has_finalizer(object) {
        // What is left is for others to do.
        return None;
    }
    if world.network.is_gone(farm_of(object)) && !is_observer(object) {
        // What it was like is told until it is known to be of long ago.
        return is_true(object, "Ready").then_some("ready in a farm that is gone");
    }
    if is_going(object) {
        let is_breaker = matches!(condition(object, "DeletionHeld"), Some(("True", "MassDeletionBreaker")));
        return (!is_breaker && !is_held(world, object)).then_some("its deletion has not ended");
    }
    if !is_current(object) {
        return Some("its status is not about its spec");
    }
    if is_observer(object) {
        return has_finalizer(object).then_some("an observer with a finalizer");
    }
    let farm = farm_of(object);
    let server = text(object, "/spec/server");
    let row = world.farms[farm].broker_named(server);
    if is_true(object, "Ready") {
        let row = row.filter(|row| Some(row.id) == owned_id(object));
        return (!row.is_some_and(|row| matches(object, &row))).then_some("ready and not as the farm has it");
    }
    let oracle = world.oracle.lock();
    let is_undone = condition(object, "Synced") == Some(("False", "ReconcileError"));
    let rests = object["spec"]["standby"] == true || object["spec"]["enabled"] == false;
    if is_undone && rests && row.as_ref().is_some_and(ras_operator::simulator::Row::is_primary) {
        // RAS neither disables a primary nor puts it in standby.
        return None;
    }
    if is_undone && row.as_ref().is_some_and(|row| oracle.was_edited(farm, row.id)) {
        // An edit between our PUT and the list after its Apply looks like a farm that takes the value for another.
        return None;
    }
    let is_behind_it = |other: &Value| {
        let is_stuck = condition(other, "Synced") == Some(("False", "ReconcileError"));
        is_stuck && !other["spec"]["priority"].is_null() && farm_of(other) == farm
    };
    let waits = condition(object, "Synced") == Some(("False", "Updating"));
    if waits && !object["spec"]["priority"].is_null() && objects.iter().any(is_behind_it) {
        // A farm that takes a move and does not make it keeps those back that are to be moved after it.
        return None;
    }
    let Some(("True", reason)) = condition(object, "Stalled") else {
        return Some("neither ready nor stalled");
    };
    let is_right = match reason {
        "AlreadyExists" => row.is_some_and(|row| !oracle.must_know(uid(object), farm, row.id)),
        "ResourceConflict" => {
            let waits = |other: &Value| condition(other, "Stalled") == Some(("True", "ResourceConflict"));
            let is_before = |third: &Value, other: &Value| {
                uid(third) != uid(object) && means_the_same(third, other) && !waits(third)
            };
            // Or it waits for a third one.
            let is_first =
                |other: &Value| !waits(other) || objects.iter().any(|third| is_before(third, other));
            objects.iter().any(|other| means_the_same(other, object) && is_first(other))
                || world.farms[farm].brokers().iter().any(|row| row.ip == text(object, "/spec/ip"))
        }
        "ExternallyDeleted" => oracle.was_removed(farm, object),
        "NotFound" => row.is_none() && text(object, "/spec/adoptionPolicy") == "Required",
        _ => false,
    };
    (!is_right).then_some("stalled without a reason")
}
