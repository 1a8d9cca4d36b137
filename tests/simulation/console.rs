//! What a person does to brokers in the RAS Console.

use ras_operator::simulator::NewRow;

use crate::step::{Planned, Step};
use crate::world::World;

/// Plays one such step on the broker that an object is for.
pub fn play(world: &World, step: &Step, planned: &Planned) {
    let farm = &world.farms[planned.farm];
    let row = farm.broker_named(&planned.server);
    // One whose installation goes on may be there already.
    world.oracle.lock().look(planned.farm, farm.brokers());
    match (step, row) {
        (Step::PersonAdds(_), None) => {
            let site_id = planned.spec["siteId"].as_i64();
            let row = NewRow { server: planned.server.clone(), site_id, ..NewRow::default() };
            drop(farm.add_broker(&row));
        }
        (Step::PersonDeletes(_) | Step::PersonMarks(_), Some(row))
            if !row.marked_for_deletion && farm.remove_broker(row.id).is_ok() =>
        {
            if matches!(step, Step::PersonDeletes(_)) {
                farm.apply_as_person("console");
            }
            world.oracle.lock().removed(planned.farm, row.id);
        }
        (Step::PersonDoubles(_), Some(row)) => {
            let double = farm.double("console", row.id);
            world.oracle.lock().doubled(planned.farm, double.unwrap_or_default(), &planned.server);
        }
        (Step::PersonLocks(_), Some(row)) => farm.lock_broker("console", row.id),
        _ => {}
    }
    world.look(planned.farm);
}
