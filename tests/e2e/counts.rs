//! What the operator costs, counted exactly: its calls in the API server's audit log and in the farms' journals.
//!
//! Every figure follows from the number of brokers, of farms and of batches seen; none is taken from a run. Events,
//! Lease renewals and the status of farms are counted apart, as is time. `docs/performance.md` has the table.

mod fleet;
mod ledger;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use self::fleet::{BROKERS, EACH, FARMS, Fleet, broker_name, farm_name, server};
use self::ledger::{FarmSpan, Span};
use crate::support::objects;

const LIST: &str = "GET /api/Broker";
const AGENTS: &str = "GET /api/Agent";
const SITES: &str = "GET /api/Site";
const GET: &str = "GET /api/Broker/{id}";
const POST: &str = "POST /api/Broker";
const PUT: &str = "PUT /api/Broker/{id}";
const DELETE: &str = "DELETE /api/Broker/{id}";
const LOGON: &str = "POST /api/Session/logon";
const LOGOFF: &str = "POST /api/Session/logoff";

/// Writes to a broker's object.
const METADATA: &str = "patch rasbrokers 200";
const STATUS: &str = "patch rasbrokers/status 200";

/// Periods that the operator is watched at rest.
const PERIODS: usize = 10;
/// In the farm since before the operator.
const FOUND: &str = "found";
/// Made by the operator.
const MADE: &str = "made";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_cost_is_what_the_design_allows() {
    let mut fleet = Fleet::new().await;
    adoption_writes_nothing_to_the_farm(&mut fleet).await;
    letting_go_asks_the_farm_for_nothing(&mut fleet).await;
    creation_takes_one_post_and_three_object_writes_each(&mut fleet).await;
    an_edited_field_takes_one_put_and_two_status_writes(&fleet).await;
    at_rest_there_are_two_lists_and_a_secret_per_farm_and_period(&fleet).await;
    a_restart_writes_nothing(&mut fleet).await;
    deletion_takes_one_delete_and_two_reads_each(&mut fleet).await;
    fleet.stop_operator().await;
    for farm in fleet.simulator.farms() {
        assert_eq!(farm.sessions(), [], "every session was given back");
        assert!(!farm.is_pending(), "nothing is left to apply");
    }
}

async fn adoption_writes_nothing_to_the_farm(fleet: &mut Fleet) {
    let begin = fleet.now().await;
    fleet.create_brokers(FOUND, |_| json!({"adoptionPolicy": "IfExists"})).await;
    fleet.all_ready(BROKERS).await;
    let span = fleet.since(&begin).await;
    println!("adopt\n{span}");

    assert_eq!(span.farm_writes(), 0, "no write and no Apply");
    for farm in &span.farms {
        assert!(farm.count(LIST) <= 2 && farm.count(GET) == 0, "{:?}", farm.lines());
        // One batch, and so one logon, puts the finalizer on the farm's object, and closes without an Apply.
        assert!(farm.count(LOGON) <= 1, "{:?}", farm.lines());
        assert_eq!(farm.count(LOGON), farm.count(LOGOFF), "each logon replaces a session");
    }
    each_object_is_written(&span, &[METADATA, STATUS, STATUS]);
    nothing_else_is_asked_of_kubernetes(&span);
    rows_are(fleet, &[FOUND]);
}

async fn letting_go_asks_the_farm_for_nothing(fleet: &mut Fleet) {
    let begin = fleet.now().await;
    fleet.delete_brokers(FOUND).await;
    fleet.all_gone().await;
    let span = fleet.since(&begin).await;
    println!("let go\n{span}");

    for farm in &span.farms {
        assert_eq!(farm.lines(), [""; 0]);
    }
    each_object_is_written(&span, &[METADATA]);
    nothing_else_is_asked_of_kubernetes(&span);
    rows_are(fleet, &[FOUND]);
}

async fn creation_takes_one_post_and_three_object_writes_each(fleet: &mut Fleet) {
    let begin = fleet.now().await;
    fleet.create_brokers(MADE, more_fields).await;
    fleet.all_ready(BROKERS).await;
    let span = fleet.since(&begin).await;
    println!("create\n{span}");

    let with_more_fields = (0..EACH).filter(|number| more_fields(*number) != json!({})).count();
    for farm in &span.farms {
        assert_eq!((farm.count(POST), farm.count(PUT)), (EACH, with_more_fields));
        assert_eq!(farm.writes(), EACH + with_more_fields + farm.batches());
        assert_eq!(farm.count(GET), with_more_fields, "one read by id before each PUT");
        // The first Apply of a process is followed by a logon that tells whether the guard works.
        batches_cost_what_they_may(farm, 1);
    }
    each_object_is_written(&span, &[METADATA, STATUS, STATUS]);
    nothing_else_is_asked_of_kubernetes(&span);
    rows_are(fleet, &[FOUND, MADE]);
}

/// What is set beside farm and server, and so needs a PUT: for every third broker.
fn more_fields(number: usize) -> Value {
    if number.is_multiple_of(3) {
        json!({"description": "front door", "alternativeIPs": ["10.0.0.8", "10.0.0.9"]})
    } else {
        json!({})
    }
}

async fn an_edited_field_takes_one_put_and_two_status_writes(fleet: &Fleet) {
    let begin = fleet.now().await;
    let name = broker_name(MADE, 0, 0);
    fleet.edit_broker(&name, json!({"description": "side door"})).await;
    fleet.all_ready(BROKERS).await;
    let span = fleet.since(&begin).await;
    println!("edit\n{span}");

    let (edited, others) = span.farms.split_first().expect("a farm");
    let bodies: Vec<_> = edited.of(PUT).map(|entry| entry.body.clone()).collect();
    assert_eq!(bodies, [Some(json!({"description": "side door"}))], "one PUT with that field");
    assert_eq!((edited.batches(), edited.writes(), edited.count(GET)), (1, 2, 1));
    batches_cost_what_they_may(edited, 0);
    for other in others {
        assert_eq!(other.lines(), [""; 0]);
    }
    let writes = span.broker_writes();
    assert_eq!(writes.into_iter().collect::<Vec<_>>(), [(name.as_str(), vec![STATUS.to_owned(); 2])]);
    nothing_else_is_asked_of_kubernetes(&span);
}

async fn at_rest_there_are_two_lists_and_a_secret_per_farm_and_period(fleet: &Fleet) {
    fleet.set_resync("1s").await;
    fleet.no_reconciles().await;
    let begin = fleet.now().await;
    // The first period may have begun before, and the last may be cut off.
    fleet.listed(&begin, PERIODS + 2).await;
    assert_eq!(fleet.now().await.reconciles_since(&begin), 0);
    fleet.set_resync("1h").await;
    let span = fleet.since(&begin).await;
    println!("rest\n{span}");

    for (place, farm) in span.farms.iter().enumerate() {
        let lists: Vec<usize> = farm
            .lines()
            .iter()
            .enumerate()
            .filter(|(_, line)| *line == LIST)
            .map(|(index, _)| index)
            .collect();
        let watched = &farm.0[lists[1]..lists[1 + PERIODS]];
        let lines = FarmSpan(watched.to_vec()).lines();
        assert_eq!(lines, [LIST, AGENTS].repeat(PERIODS), "two lists per period, no logon, nothing else");
        let (from, to) = (watched[0].farm_time, farm.0[lists[1 + PERIODS]].farm_time);
        let secret = objects::credentials_name(&farm_name(place));
        assert_eq!(span.reads_of_secret(&secret, from, to), PERIODS);
    }
    assert_eq!(span.broker_writes().len(), 0);
    assert_eq!(span.other_writes(), [""; 0]);
}

async fn a_restart_writes_nothing(fleet: &mut Fleet) {
    fleet.stop_operator().await;
    let begin = fleet.now().await;
    fleet.start_operator().await;
    fleet.listed(&begin, 1).await;
    let span = fleet.since(&begin).await;
    println!("restart\n{span}");

    for farm in &span.farms {
        assert_eq!(farm.lines(), [LOGON, SITES, LIST, AGENTS]);
    }
    assert_eq!((span.calls("get", "secrets"), span.calls("get", "rasfarms")), (FARMS, FARMS));
    assert_eq!(span.broker_writes().len(), 0);
    assert_eq!(span.other_writes(), [""; 0]);
    one_session_per_farm(fleet);
}

async fn deletion_takes_one_delete_and_two_reads_each(fleet: &mut Fleet) {
    let begin = fleet.now().await;
    fleet.delete_brokers(MADE).await;
    fleet.all_gone().await;
    let span = fleet.since(&begin).await;
    println!("delete\n{span}");

    for farm in &span.farms {
        assert_eq!(farm.count(DELETE), EACH);
        assert_eq!(farm.writes(), EACH + farm.batches());
        assert!(farm.count(GET) <= 2 * EACH, "{} reads by id", farm.count(GET));
        batches_cost_what_they_may(farm, 1);
    }
    each_object_is_written(&span, &[STATUS, METADATA]);
    nothing_else_is_asked_of_kubernetes(&span);
    one_session_per_farm(fleet);
    rows_are(fleet, &[FOUND]);
}

/// At most two lists and one per 10 s, at most one list of agents, and one logon for each batch; `logons` more.
fn batches_cost_what_they_may(farm: &FarmSpan, logons: usize) {
    let batches = farm.batches();
    assert!(batches >= 1, "{:?}", farm.lines());
    assert!(farm.count(LIST) <= 2 * batches + farm.tens_of_seconds(), "{:?}", farm.lines());
    assert!(farm.count(AGENTS) <= batches, "{:?}", farm.lines());
    assert!(farm.count(LOGON) <= batches + logons, "{:?}", farm.lines());
    assert_eq!(farm.count(LOGON), farm.count(LOGOFF), "each logon replaces a session");
    let refused = farm.0.iter().filter(|entry| entry.status.is_none_or(|status| status >= 300));
    // A read by id that finds nothing is how the end of a deletion is confirmed.
    let refused: Vec<_> = refused.filter(|entry| entry.status != Some(404)).collect();
    assert!(refused.is_empty(), "{refused:?}");
}

/// There are as many objects as there should be, and each was written so, in this order, and not once more.
fn each_object_is_written(span: &Span, lines: &[&str]) {
    let writes = span.broker_writes();
    assert_eq!(writes.len(), BROKERS);
    for (name, seen) in writes {
        assert_eq!(seen, lines, "{name}");
    }
}

/// Neither writes to other kinds, nor Secrets out of turn, nor reads of objects that are watched, but for one of the
/// object before each change of its row.
fn nothing_else_is_asked_of_kubernetes(span: &Span) {
    assert_eq!(span.other_writes(), [""; 0]);
    let changes: usize = span.farms.iter().map(|farm| farm.count(PUT) + farm.count(DELETE)).sum();
    let reads = ["rasbrokers", "rasfarms"].map(|kind| (span.calls("get", kind), span.calls("list", kind)));
    assert_eq!(reads, [(changes, 0), (0, 0)]);
    assert_eq!(span.calls("get", "secrets"), 0);
    // Only where objects are deleted, and good for 5 s each.
    let readings = span.calls("get", "customresourcedefinitions");
    let most = 1 + span.length.as_secs() / 5;
    assert!(u64::try_from(readings).is_ok_and(|readings| readings <= most), "{readings} readings of the CRD");
}

fn one_session_per_farm(fleet: &Fleet) {
    for farm in fleet.simulator.farms() {
        assert_eq!(farm.sessions().len(), 1, "{:?}", farm.sessions());
    }
}

/// The farms hold their primary and the brokers of these stems, each once.
fn rows_are(fleet: &Fleet, stems: &[&str]) {
    for (place, farm) in fleet.simulator.farms().iter().enumerate() {
        let rows = farm.brokers();
        let seen: BTreeSet<&str> = rows.iter().map(|row| row.server.as_str()).collect();
        let numbers = |stem| (0..EACH).map(move |number| server(stem, place, number));
        let mut wanted: BTreeSet<String> = stems.iter().flat_map(|stem| numbers(*stem)).collect();
        wanted.insert(fleet::PRIMARY.to_owned());
        assert_eq!(seen, wanted.iter().map(String::as_str).collect());
        assert_eq!(rows.len(), wanted.len(), "no row twice");
    }
}
