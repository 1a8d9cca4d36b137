//! Each thing of the compact state in the form in which the product has it, and back.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::ObjectMeta;
use ras_operator::broker::desired::{Field, Fields, Value};
use ras_operator::broker::intent::{Intent, quarantine_of};
use ras_operator::broker::observe::{Failure, Memory, ObjectFacts, SentUpdate};
use ras_operator::crd::condition::{ConditionType, Reason};
use ras_operator::crd::{
    AdoptionPolicy, DeletionPolicy, ObservedBroker, Origin, RasBroker, RasBrokerSpec, RasBrokerStatus,
    annotation, finalizer,
};
use ras_operator::farm::snapshot::Snapshot;
use ras_operator::farm::view::{Hold, Unapplied};
use ras_operator::ras;

use crate::facts::{ACCOUNT, FARM, REQUEST_TIMEOUT, SITE, TICK, age_of, ago, now};
use crate::scenario::{Rule, Scenario};
use crate::world::{Id, Intended, Listed, Made, Object, Recorded, Remembered, Row, Sent, Written};

pub fn made(origin: Origin) -> Made {
    match origin {
        Origin::Created => Made::Created,
        Origin::Adopted => Made::Adopted,
    }
}

pub fn recorded(facts: &ObjectFacts, status: RasBrokerStatus) -> Recorded {
    let facts = ObjectFacts { status, ..facts.clone() };
    let status = &facts.status;
    let time = status.observed.as_ref().and_then(|observed| observed.time_create.as_deref());
    Recorded {
        id: status.id.map(|id| Id::try_from(id).unwrap_or_default()),
        made: time.and_then(|time| time.parse::<Timestamp>().ok()).map(made_at),
        origin: status.origin.map(made),
        site: status.site_id.is_some(),
        deleting: facts.shows_deletion(),
    }
}

pub fn time_of(made: u8) -> Timestamp {
    Timestamp::constant(1_800_000_000 + made as i64, 0)
}

pub fn made_at(time: Timestamp) -> u8 {
    u8::try_from(time.as_second() - 1_800_000_000).unwrap_or_default()
}

pub fn server(server: u8) -> String {
    format!("s{server}.example")
}

pub fn intent(scenario: Scenario, slot: usize, intent: &Intended) -> Intent {
    Intent {
        uid: intent.uid.to_string(),
        attempt: intent.attempt.into(),
        farm_guid: FARM.into(),
        site_id: SITE,
        server: server(scenario.servers[slot]),
        account: ACCOUNT.into(),
        farm_time: now().wall,
        quarantine_seconds: quarantine_of(REQUEST_TIMEOUT).as_secs(),
        lost_since: intent.lost.then_some(now().wall),
        refused: intent.refused.then(|| "409".into()),
        recreated: intent.recreated.then_some(now().wall),
        replaces: intent.replaces.map(Into::into),
    }
}

pub fn broker(scenario: Scenario, slot: usize, object: &Object) -> RasBroker {
    let spec: RasBrokerSpec = serde_json::from_value(serde_json::json!({
        "farmRef": {"name": FARM},
        "server": server(scenario.servers[slot]),
        "enabled": !object.disabled,
    }))
    .unwrap_or_else(|_| unreachable!("this spec is valid"));
    let spec = RasBrokerSpec {
        adoption_policy: if scenario.adopts { AdoptionPolicy::IfExists } else { AdoptionPolicy::Never },
        deletion_policy: scenario.adopts.then_some(DeletionPolicy::Delete),
        ..spec
    };
    let note = object.intent.as_ref().map(|noted| intent(scenario, slot, noted));
    let note = note.and_then(|intent| serde_json::to_string(&intent).ok());
    let orphan = object.orphan.then(|| (annotation::FORCE_ORPHAN.to_owned(), "true".to_owned()));
    let insists = scenario.breaks(Rule::Served);
    let insists = insists.then(|| (annotation::SKIP_AVAILABILITY_CHECK.to_owned(), "true".to_owned()));
    let status = &object.status;
    RasBroker {
        metadata: ObjectMeta {
            name: Some(format!("b{slot}")),
            namespace: Some("default".into()),
            uid: Some(object.uid.to_string()),
            generation: Some(generation(object.disabled)),
            creation_timestamp: Some(Time(time_of(object.uid))),
            deletion_timestamp: object.deleted.map(|age| {
                Time(now().wall - jiff::SignedDuration::try_from(TICK * u32::from(age)).unwrap_or_default())
            }),
            finalizers: object.finalizer.then(|| vec![finalizer::BROKER.into()]),
            annotations: Some(
                note.map(|note| (annotation::CREATE_INTENT.to_owned(), note))
                    .into_iter()
                    .chain(orphan)
                    .chain(insists)
                    .collect(),
            ),
            ..ObjectMeta::default()
        },
        spec,
        status: Some(RasBrokerStatus {
            id: status.id.map(Into::into),
            origin: status.origin.map(|made| match made {
                Made::Created => Origin::Created,
                Made::Adopted => Origin::Adopted,
            }),
            site_id: status.site.then_some(SITE),
            farm_guid: status.site.then(|| FARM.into()),
            observed: status.made.map(|made| ObservedBroker {
                server: server(scenario.servers[slot]),
                site_id: SITE,
                enabled: Some(true),
                standby: None,
                description: None,
                ip: None,
                alternative_ips: None,
                time_create: Some(time_of(made).to_string()),
                admin_create: Some(ACCOUNT.into()),
                time_last_mod: None,
                admin_last_mod: None,
            }),
            observed_generation: 1,
            conditions: status
                .deleting
                .then(|| reconciling(generation(object.disabled)))
                .into_iter()
                .collect(),
            ..RasBrokerStatus::default()
        }),
    }
}

/// How a status shows that the object's deletion was begun.
pub fn reconciling(generation: i64) -> Condition {
    Condition {
        type_: ConditionType::Reconciling.as_str().into(),
        status: "True".into(),
        reason: Reason::Deleting.as_str().into(),
        message: String::new(),
        observed_generation: Some(generation),
        last_transition_time: Time(now().wall),
    }
}

pub fn unapplied(written: Written) -> Unapplied {
    match written {
        Written::Updated => Unapplied::Updated,
        Written::Created => Unapplied::Created,
        Written::Deleted => Unapplied::Deleted,
    }
}

pub fn generation(disabled: bool) -> i64 {
    1 + i64::from(disabled)
}

pub fn memory(known: &Remembered, current: i64) -> Memory {
    let enabled = |enabled: bool| [(Field::Enabled, Value::Flag(enabled))].into();
    Memory {
        known_since: known.known.map(ago),
        began_deletion: known.began_deletion,
        // Only an annotation that is taken off is remembered by it, and nobody takes one off here.
        intent: None,
        intent_seen: known.intent_seen.map(|(attempt, age)| (attempt.into(), ago(age))),
        delete_unanswered: known.delete_unanswered.map(|age| ago(age) + quarantine_of(REQUEST_TIMEOUT)),
        update_unanswered: known.update_unanswered.map(|age| ago(age) + quarantine_of(REQUEST_TIMEOUT)),
        // By the mark's age: whoever sees it later waits longer, which is another order of the same steps.
        deletion_seen: None,
        deleted: known.deleted.map(Into::into),
        // No decision looks at it: what is counted is counted in `facts.rs`.
        delete_sent: false,
        update: known.update.map(|sent| SentUpdate {
            generation: generation(!sent.enabled),
            fields: enabled(sent.enabled),
            in_doubt: sent.in_doubt,
            settled: sent.settled.map(enabled),
        }),
        moved: None,
        failure: known.failure.map(|left| Failure {
            generation: current,
            hold: Hold::new(Reason::WaitingForFarm, "It failed."),
            retry_at: now().boot + TICK * u32::from(left),
            count: 1,
            is_denial: false,
        }),
        unapplied: None,
        asked: None,
        confirmed_gone: known.confirmed_gone.map(Into::into),
        lowering_since: known.lowering.map(ago),
        failures: 0,
    }
}

pub fn remembered(object: &Object, memory: &Memory) -> Remembered {
    let Memory {
        known_since,
        began_deletion,
        intent: _,
        intent_seen,
        delete_unanswered,
        update_unanswered,
        deletion_seen: _,
        deleted,
        delete_sent: _,
        update,
        moved: _,
        failure,
        unapplied: _,
        asked: _,
        confirmed_gone,
        lowering_since,
        failures: _,
    } = memory;
    let id = |id: i64| Id::try_from(id).unwrap_or_default();
    let settled = |sent: &SentUpdate| {
        let is_on = |fields: &Fields| fields.get(&Field::Enabled) == Some(&Value::Flag(true));
        let (enabled, settled) = (is_on(&sent.fields), sent.settled.as_ref().map(is_on));
        Sent { enabled, in_doubt: sent.in_doubt, settled }
    };
    Remembered {
        uid: object.uid,
        known: known_since.map(age_of),
        began_deletion: *began_deletion,
        intent_seen: intent_seen.map(|(attempt, at)| (u8::try_from(attempt).unwrap_or(u8::MAX), age_of(at))),
        delete_unanswered: delete_unanswered
            .map(|until| age_of(until.saturating_sub(quarantine_of(REQUEST_TIMEOUT)))),
        update_unanswered: update_unanswered
            .map(|until| age_of(until.saturating_sub(quarantine_of(REQUEST_TIMEOUT)))),
        deleted: deleted.map(id),
        confirmed_gone: confirmed_gone.map(id),
        // A pause of a minute is cut to two ticks: nothing else in the model lasts so long.
        failure: failure.as_ref().map(|failure| {
            let left = failure.retry_at.saturating_sub(now().boot).as_secs().div_ceil(TICK.as_secs());
            u8::try_from(left).unwrap_or(2).min(2)
        }),
        update: update.as_ref().map(settled),
        // Only a change of `enabled` waits for what was applied together with it.
        lowering: lowering_since.filter(|_| object.deleted.is_none()).map(|at| age_of(at).min(1)),
    }
}

pub fn row(scenario: Scenario, row: &Row) -> ras::Broker {
    let by_us = row.by_us || scenario.breaks(Rule::Mark);
    ras::Broker {
        id: row.id.into(),
        server: server(row.server),
        site_id: SITE,
        enabled: Some(row.enabled),
        marked_for_deletion: Some(row.marked),
        priority: Some(1),
        admin_create: Some(if by_us { ACCOUNT } else { "alice" }.into()),
        time_create: Some(time_of(row.made).to_string()),
        ..ras::Broker::default()
    }
}

/// The primary, which is always there and nobody's concern; it is of another site where those matter that serve one.
pub fn primary(scenario: Scenario) -> ras::Broker {
    ras::Broker {
        id: 99,
        server: "primary.example".into(),
        site_id: if scenario.established { SITE + 1 } else { SITE },
        enabled: Some(true),
        priority: Some(0),
        ..ras::Broker::default()
    }
}

pub fn snapshot(scenario: Scenario, listed: &Listed) -> Snapshot {
    let believed = |age: u8| if scenario.breaks(Rule::FreshList) { 0 } else { age };
    let previous_age = believed(listed.previous_age);
    let with_primary = |rows: Vec<ras::Broker>| rows.into_iter().chain([primary(scenario)]).collect();
    let mut before = Snapshot::default();
    if listed.lists > 1 {
        let stand_ins = listed.previous.iter().enumerate().filter(|(_, there)| **there).map(|(server, _)| {
            let server = u8::try_from(server).unwrap_or_default();
            let row = Row {
                id: server + 1,
                made: 0,
                server,
                by_us: false,
                enabled: true,
                marked: false,
                serves: false,
                owner: None,
            };
            self::row(scenario, &row)
        });
        before = before.next(with_primary(stand_ins.collect()), ago(previous_age), None);
    }
    let rows = listed.rows.iter().map(|row| self::row(scenario, row)).collect();
    let age = believed(listed.age);
    let mut next = before.next(with_primary(rows), ago(age), None);
    if scenario.breaks(Rule::TwoLists) {
        let rows = listed.rows.iter().map(|row| self::row(scenario, row)).collect();
        next = next.next(with_primary(rows), ago(age), None);
    }
    next
}
