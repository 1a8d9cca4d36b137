//! Refused logons, counted at the farm: a process that starts anew must not lock the account out, whenever the one before
//! it ended.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;

use crate::network::{Moment, Point, Strike};
use crate::run::Run;
use crate::seeds::{in_parallel, in_runtime};
use crate::step::{Stage, Step};
use crate::world::Setting;

/// Refused logons with one password that are free.
const FREE: usize = 2;

/// The password is wrong, and processes end: at the strike, and thrice more while nothing is on its way. Answers how many
/// logons the farm has refused, what was wrong, and the calls from the wrong password to the first of these three.
fn play(strikes: BTreeMap<Point, Strike>) -> (usize, Vec<String>, std::ops::Range<usize>) {
    in_runtime(async {
        let mut run = Run::begin(Setting::PLAIN, fastrand::Rng::with_seed(7), strikes);
        let mut stage = Stage::new(Vec::new(), &run.world);
        run.rest(Duration::from_secs(20)).await;
        let first = run.world.network.calls() + 1;
        stage.play(&mut run, &Step::WrongSecret(0)).await;
        stage.play(&mut run, &Step::EndSessions(0)).await;
        run.rest(Duration::from_mins(2)).await;
        let last = run.world.network.calls();
        for _ in 0..3 {
            stage.play(&mut run, &Step::Crash).await;
            run.rest(Duration::from_mins(2)).await;
        }
        let journal = run.world.farms[0].journal();
        let logons = journal.iter().filter(|entry| entry.route == "/api/Session/logon");
        let refused = logons.filter(|entry| entry.status.is_some_and(|status| status >= 400)).count();
        (refused, run.end(Vec::new()).wrong, first..last + 1)
    })
}

#[test]
fn whenever_a_process_ends_its_refused_logons_count_for_the_next_one() {
    let (refused, wrong, calls) = play(BTreeMap::new());
    assert_eq!((refused, wrong), (FREE, Vec::new()), "in a quarter of an hour, with four processes");
    let points: Vec<Point> = calls.flat_map(|call| Moment::ALL.map(|moment| (call, moment))).collect();
    let failures = Mutex::new(Vec::new());
    in_parallel(&points, |point| {
        let (refused, wrong, _) = play([(*point, Strike::Crash)].into());
        // One that is refused, and not written down before the process ends, nobody knows of.
        let is_well = refused <= FREE + 1 && wrong.is_empty();
        if !is_well {
            failures.lock().push((*point, refused, wrong));
        }
        is_well
    });
    println!("{} ends of a process that was refused", points.len());
    assert_eq!(failures.into_inner(), []);
}
