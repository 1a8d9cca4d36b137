//! Tables over single passes; what several passes, crashes and lost answers lead to is in `tests/promotion_model`.

use serde_json::json;

use super::*;
use crate::crd::{ApplyMode, RasBroker, RasBrokerPromotion};
use crate::farm::service::Sites;
use crate::farm::snapshot::Snapshot;
use crate::farm::view::{Outage, TimeLimits};
use crate::kubernetes::ObjectKey;
use crate::promotion::observe::Memory;
use crate::ras::{AgentState, Error, ErrorKind, Refusal, Route};

const BOOT: Duration = Duration::from_secs(1_000_000);
const QUARANTINE: Duration = Duration::from_secs(45);

fn now() -> Now {
    Now { wall: Timestamp::constant(1_800_000_000, 0), boot: BOOT }
}

fn ago(age: Duration) -> Duration {
    BOOT.saturating_sub(age)
}

fn row(id: i64, server: &str, priority: i64) -> ras::Broker {
    ras::Broker {
        id,
        server: server.into(),
        site_id: 1,
        priority: Some(priority),
        enabled: Some(true),
        standby: Some(false),
        ..ras::Broker::default()
    }
}

fn agent(server: &str, state: i64) -> ras::Agent {
    let (id, site_id, version) = (None, None, None);
    ras::Agent { server: Some(server.into()), id, site_id, state: AgentState(state), version }
}

/// A farm of a primary and a secondary, listed now.
fn facts() -> FarmFacts {
    FarmFacts {
        identity: "farm".into(),
        default_site: Ok(1),
        snapshot: listed(vec![row(1, "cb1", 0), row(2, "cb2", 1)], BOOT),
        account: "svc".into(),
        farm_time: now().wall,
        mode: ApplyMode::Auto,
        ..FarmFacts::default()
    }
}

fn listed(rows: Vec<ras::Broker>, at: Duration) -> Arc<Snapshot> {
    let snapshot = Snapshot::default().next(rows, at, None);
    Arc::new(snapshot.with_agents(vec![agent("cb1", 0), agent("cb2", 0)]))
}

fn broker(spec: &serde_json::Value) -> Candidate {
    let mut object = json!({
        "apiVersion": "ras-operator.dev/v1alpha1", "kind": "RasBroker",
        "metadata": {"name": "two", "namespace": "ns", "uid": "b2", "generation": 1},
        "spec": {"farmRef": {"name": "north"}, "server": "cb2"},
        "status": {"id": 2, "origin": "Adopted", "siteId": 1, "farmGUID": "farm", "observedGeneration": 1},
    });
    for (key, value) in spec.as_object().into_iter().flatten() {
        object["spec"][key] = value.clone();
    }
    Candidate::of(&serde_json::from_value::<RasBroker>(object).unwrap())
}

/// A request for which nothing stands in the way.
fn observed() -> Observed {
    let object: RasBrokerPromotion = serde_json::from_value(json!({
        "apiVersion": "ras-operator.dev/v1alpha1", "kind": "RasBrokerPromotion",
        "metadata": {"name": "go", "namespace": "ns", "uid": "u1", "generation": 1},
        "spec": {
            "brokerRef": {"name": "two"}, "accountSecretRef": {"name": "my-account"},
            "expectedPrimary": "CB1.", "notAfter": "2100-01-01T00:00:00Z",
        },
    }))
    .unwrap();
    Observed {
        request: Request::of(&object),
        broker: Some(broker(&json!({}))),
        farm: FarmView::Up(Arc::new(facts())),
        rival: None,
        memory: Memory::default(),
    }
}

fn with_farm(change: impl FnOnce(&mut FarmFacts)) -> Observed {
    let mut facts = facts();
    change(&mut facts);
    Observed { farm: FarmView::Up(Arc::new(facts)), ..observed() }
}

fn with_rows(rows: Vec<ras::Broker>) -> Observed {
    with_farm(|facts| facts.snapshot = listed(rows, BOOT))
}

fn shown(plan: &Plan) -> Option<(PromotionPhase, String)> {
    let status = plan.status.as_ref()?;
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready")?;
    Some((status.phase?, ready.reason.clone()))
}

fn held(reason: Reason) -> Observed {
    with_farm(|facts| facts.hold = Some(Hold::new(reason, "Why.")))
}

fn late() -> Observed {
    let mut observed = observed();
    observed.request.spec.not_after = "2020-01-01T00:00:00Z".into();
    observed
}

#[test]
fn where_nothing_stands_in_the_way_what_is_sent_is_in_the_status_that_goes_before() {
    let plan = plan(&observed(), now());
    let send = plan.send.expect("it is sent");
    assert_eq!((plan.status, plan.needs_list), (None, false));
    assert_eq!((send.attempt.id, send.attempt.site_id, send.attempt.server.as_str()), (2, 1, "cb2"));
    assert_eq!(send.listed_at, BOOT);
    let status = &send.status;
    assert_eq!(status.phase, Some(PromotionPhase::Promoting));
    assert_eq!(
        (status.attempt.as_ref(), status.previous_primary.as_deref()),
        (Some(&send.attempt), Some("cb1"))
    );
    assert!(status.start_time.is_some() && status.completion_time.is_none());
}

/// Holds that each of these worlds has its phase and reason, and that nothing is sent.
fn stands_in_the_way(table: Vec<(&str, Observed, PromotionPhase, &str)>) {
    for (what, observed, phase, reason) in table {
        let plan = plan(&observed, now());
        assert_eq!(shown(&plan), Some((phase, reason.to_owned())), "{what}");
        assert!(plan.send.is_none() && plan.running.is_none(), "{what}");
        assert_eq!(plan.requeue.is_none(), phase.is_final(), "{what}: final means that nothing follows");
    }
}

#[test]
fn what_the_objects_say_may_stand_in_the_way() {
    use PromotionPhase::{Failed, Pending};
    let candidate = |spec| Observed { broker: Some(broker(&spec)), ..observed() };
    let mut unreadable = observed();
    unreadable.request.spec.not_after = "soon".into();
    let mut deleted = observed();
    deleted.broker.as_mut().unwrap().object.deleted = Some(now().wall);
    let mut paused = observed();
    paused.memory.pause =
        Some((Hold::new(Reason::SecretNotFound, "Missing."), BOOT + Duration::from_secs(1)));
    stands_in_the_way(vec![
        ("no such time", unreadable, Failed, "InvalidSpec"),
        ("too late", late(), Failed, "Expired"),
        ("no such broker", Observed { broker: None, ..observed() }, Pending, "NotFound"),
        ("no such broker, too late", Observed { broker: None, ..late() }, Failed, "Expired"),
        ("broker deleted", deleted, Failed, "NotEligible"),
        ("only observed", candidate(json!({"managementPolicy": "ObserveOnly"})), Failed, "NotEligible"),
        ("broker suspended", candidate(json!({"suspend": true})), Pending, "Suspended"),
        ("a rival", Observed { rival: Some("older".into()), ..observed() }, Failed, "ResourceConflict"),
        ("no account", paused, Pending, "SecretNotFound"),
    ]);
}

#[test]
fn what_the_farm_shows_may_stand_in_the_way() {
    use PromotionPhase::{Failed, Pending, Succeeded};
    let outage = Outage {
        hold: Hold::new(Reason::FarmUnreachable, "Down."),
        overdue: false,
        limits: TimeLimits::default(),
    };
    let down = FarmView::Down(outage);
    let disabled = ras::Broker { enabled: Some(false), ..row(2, "cb2", 1) };
    let marked = ras::Broker { marked_for_deletion: Some(true), ..row(2, "cb2", 1) };
    let agents = |agents: Vec<ras::Agent>| {
        with_farm(|facts| facts.snapshot = Arc::new(facts.snapshot.with_agents(agents)))
    };
    let other = vec![row(1, "cb1", 1), row(2, "cb2", 2), row(3, "cb3", 0)];
    stands_in_the_way(vec![
        ("farm missing", Observed { farm: FarmView::Missing, ..observed() }, Pending, "WaitingForFarm"),
        ("farm down", Observed { farm: down.clone(), ..observed() }, Pending, "WaitingForFarm"),
        ("farm down, too late", Observed { farm: down, ..late() }, Failed, "Expired"),
        ("another farm", with_farm(|facts| facts.identity = "other".into()), Pending, "NotFound"),
        (
            "another server under the id",
            with_rows(vec![row(1, "cb1", 0), row(2, "x", 1)]),
            Pending,
            "NotFound",
        ),
        ("the row is gone", with_rows(vec![row(1, "cb1", 0)]), Pending, "NotFound"),
        ("primary already", with_rows(vec![row(1, "cb1", 1), row(2, "cb2", 0)]), Succeeded, "AlreadyPrimary"),
        ("no primary", with_rows(vec![row(1, "cb1", 2), row(2, "cb2", 1)]), Pending, "WaitingForFarm"),
        ("another primary", with_rows(other), Failed, "UnexpectedPrimary"),
        ("disabled", with_rows(vec![row(1, "cb1", 0), disabled]), Failed, "NotEligible"),
        ("marked for deletion", with_rows(vec![row(1, "cb1", 0), marked]), Failed, "NotEligible"),
        ("agent disconnected", agents(vec![agent("cb2", -1)]), Failed, "NotEligible"),
        ("agent synchronising", agents(vec![agent("cb2", 10)]), Pending, "WaitingForAgent"),
        ("agent not listed", agents(vec![agent("cb1", 0)]), Pending, "WaitingForAgent"),
        ("farm suspended", held(Reason::Suspended), Pending, "Suspended"),
        ("foreign changes", held(Reason::ForeignPendingChanges), Pending, "WaitingForFarm"),
        ("unapplied", with_farm(|facts| facts.unapplied = true), Pending, "WaitingForApply"),
        ("farm being deleted", with_farm(|facts| facts.terminating = true), Pending, "WaitingForFarm"),
    ]);
}

#[test]
fn a_dead_primary_holds_nothing_up() {
    let world = with_farm(|facts| {
        facts.hold = Some(Hold::new(Reason::NotPrimary, "Why."));
        facts.primary = Some(false);
        facts.unapplied = true;
    });
    assert!(plan(&world, now()).send.is_some());
}

#[test]
fn an_agent_list_that_cannot_be_read_and_a_broker_in_standby_stand_in_nobodys_way() {
    let standby = ras::Broker { standby: Some(true), ..row(2, "cb2", 1) };
    for rows in [vec![row(1, "cb1", 0), row(2, "cb2", 1)], vec![row(1, "cb1", 0), standby]] {
        let snapshot = Arc::new(Snapshot::default().next(rows, BOOT, None));
        assert!(plan(&with_farm(|facts| facts.snapshot = snapshot), now()).send.is_some());
    }
}

#[test]
fn nothing_is_decided_on_an_old_list_and_none_is_asked_for_while_something_else_is_waited_for() {
    let old = |facts: &mut FarmFacts| {
        facts.snapshot = listed(vec![row(1, "cb1", 1), row(2, "cb2", 0)], ago(FRESH + LOOK));
    };
    let stale = plan(&with_farm(old), now());
    assert_eq!((stale.status, stale.send, stale.needs_list), (None, None, true));
    let mut before = observed();
    before.memory.asked = Some(BOOT + Duration::from_millis(1));
    let before = plan(&before, now());
    assert_eq!(
        (before.send, before.needs_list),
        (None, true),
        "a list from before the request is none of now"
    );
    let held = with_farm(|facts| {
        old(facts);
        facts.hold = Some(Hold::new(Reason::Suspended, "Why."));
    });
    let plan = plan(&held, now());
    assert_eq!((shown(&plan), plan.needs_list), (Some((PromotionPhase::Pending, "Suspended".into())), false));
}

/// The same request after it was sent; `seen` is when this process first saw that.
fn sent(seen: Duration, fate: Option<Fate>) -> Observed {
    let mut world = observed();
    world.request.status = plan(&world, now()).send.unwrap().status;
    world.memory = Memory { seen: Some(seen), fate, ..Memory::default() };
    world
}

#[test]
fn what_may_have_been_sent_is_never_sent_again_and_its_outcome_is_read() {
    use PromotionPhase::{Applying, Failed, Pending, Promoting};
    let promoted = FarmView::Up(Arc::new(FarmFacts {
        snapshot: listed(vec![row(1, "cb1", 1), row(2, "cb2", 0)], BOOT),
        ..facts()
    }));
    let refusal = Fate::Refused(Hold::new(Reason::Refused, "No."));
    let just_over = ago(QUARANTINE + Duration::from_millis(1));
    let long_over = ago(QUARANTINE + SHOWN_WITHIN + Duration::from_millis(1));
    let table = vec![
        ("answered", sent(BOOT, Some(Fate::Answered)), Promoting, "Promoting"),
        ("lost", sent(BOOT, Some(Fate::Lost)), Promoting, "Quarantine"),
        ("found by another process", sent(BOOT, None), Promoting, "Quarantine"),
        ("lost, at the edge", sent(ago(QUARANTINE), Some(Fate::Lost)), Promoting, "Quarantine"),
        ("lost and over", sent(just_over, Some(Fate::Lost)), Failed, "NotPromoted"),
        ("found and over", sent(just_over, None), Failed, "NotPromoted"),
        ("answered, slow", sent(just_over, Some(Fate::Answered)), Promoting, "Promoting"),
        ("answered in vain", sent(long_over, Some(Fate::Answered)), Failed, "NotPromoted"),
        ("not sent", sent(BOOT, Some(Fate::NotSent("no connection".into()))), Pending, "WaitingForFarm"),
        ("refused", sent(BOOT, Some(refusal)), Failed, "Refused"),
        ("done", Observed { farm: promoted.clone(), ..sent(BOOT, None) }, Applying, "WaitingForApply"),
        (
            "done long ago",
            Observed { farm: promoted, ..sent(long_over, Some(Fate::Lost)) },
            Applying,
            "WaitingForApply",
        ),
        (
            "no farm",
            Observed { farm: FarmView::Missing, ..sent(long_over, None) },
            Promoting,
            "WaitingForFarm",
        ),
    ];
    for (what, observed, phase, reason) in table {
        let plan = plan(&observed, now());
        assert_eq!(shown(&plan), Some((phase, reason.to_owned())), "{what}");
        assert!(plan.send.is_none(), "{what}");
        assert_eq!(
            plan.running.is_some(),
            phase == Promoting,
            "{what}: the farm knows as long as it is open"
        );
    }
}

#[test]
fn an_unread_list_and_another_farm_decide_nothing() {
    let over = ago(QUARANTINE + SHOWN_WITHIN + LOOK);
    let stale =
        |facts: &mut FarmFacts| facts.snapshot = listed(vec![row(1, "cb1", 0), row(2, "cb2", 1)], over);
    for farm in [with_farm(stale).farm, with_farm(|facts| facts.identity = "other".into()).farm] {
        let plan = plan(&Observed { farm, ..sent(over, None) }, now());
        assert_eq!(shown(&plan).unwrap().0, PromotionPhase::Promoting);
    }
    let starting = plan(&Observed { farm: FarmView::Starting, ..sent(over, None) }, now());
    assert!(starting.status.is_none() && starting.running.is_some());
}

#[test]
fn it_has_succeeded_once_it_is_applied_whatever_else_is_not() {
    let mut world = sent(BOOT, Some(Fate::Answered));
    world.request.status.phase = Some(PromotionPhase::Applying);
    let with = |change: &dyn Fn(&mut FarmFacts)| Observed { farm: with_farm(change).farm, ..world.clone() };
    let unapplied = |facts: &mut FarmFacts| {
        facts.unapplied = true;
        let mut sites = Sites::default();
        sites.promoted(&ObjectKey::new("ns", "cb2"), facts.snapshot.row(2).unwrap());
        facts.service = sites.changes();
    };
    let waits = plan(&with(&unapplied), now());
    assert_eq!(shown(&waits), Some((PromotionPhase::Applying, "WaitingForApply".into())));
    let manual = |facts: &mut FarmFacts| {
        unapplied(facts);
        facts.mode = ApplyMode::Manual;
    };
    let manual = plan(&with(&manual), now());
    assert!(manual.status.unwrap().conditions[0].message.contains("kubectl annotate"));
    let after_a_crash = |facts: &mut FarmFacts| {
        facts.unapplied = true;
        facts.service = Sites::new(true).changes();
    };
    assert_eq!(shown(&plan(&with(&after_a_crash), now())).unwrap().0, PromotionPhase::Applying);
    let others = plan(&with(&|facts| facts.unapplied = true), now());
    assert_eq!(shown(&others).unwrap().0, PromotionPhase::Succeeded, "what came after it is not waited for");
    let done = plan(&with(&|_| ()), now()).status.unwrap();
    assert_eq!(done.phase, Some(PromotionPhase::Succeeded));
    assert_eq!((done.previous_primary.as_deref(), done.new_primary.as_deref()), (Some("cb1"), Some("cb2")));
    let types: Vec<&str> = done.conditions.iter().map(|condition| condition.type_.as_str()).collect();
    assert_eq!(types, ["Ready", "Complete"]);
}

#[test]
fn what_is_final_stays() {
    for phase in [PromotionPhase::Succeeded, PromotionPhase::Failed] {
        let mut world = observed();
        world.request.status.phase = Some(phase);
        assert_eq!(plan(&world, now()), Plan::default());
    }
}

#[test]
fn the_same_world_again_says_the_same() {
    for mut world in [held(Reason::Suspended), sent(BOOT, Some(Fate::Lost)), sent(BOOT, Some(Fate::Answered))]
    {
        let first = plan(&world, now()).status.unwrap();
        world.request.status = first.clone();
        let later = Now { wall: now().wall + Duration::from_secs(9), ..now() };
        assert_eq!(plan(&world, later).status, Some(first));
    }
}

#[test]
fn a_401_may_be_the_answer_to_a_promotion_that_ended_its_own_session() {
    let answered = |status| {
        let refusal = Refusal { status, retry_after: None, code: None, detail: Some("words".into()) };
        Error::new(Route::PromoteBroker, ErrorKind::Status(refusal))
    };
    let fate = |error: &Error| Fate::of(Err(error), "north");
    assert_eq!(Fate::of(Ok(()), "north"), Fate::Answered);
    for status in [401, 408, 500, 503] {
        assert_eq!(fate(&answered(status)), Fate::Lost, "{status}");
    }
    for kind in [ErrorKind::Timeout, ErrorKind::Interrupted] {
        assert_eq!(fate(&Error::new(Route::PromoteBroker, kind)), Fate::Lost);
    }
    assert!(matches!(fate(&Error::new(Route::PromoteBroker, ErrorKind::Connect)), Fate::NotSent(_)));
    for (status, reason) in [(404, Reason::Unsupported), (405, Reason::Unsupported), (400, Reason::Refused)] {
        let Fate::Refused(hold) = fate(&answered(status)) else { panic!("{status}") };
        assert_eq!(hold.reason, reason);
        assert_eq!(hold.message.contains("broker was removed"), status == 404, "{}", hold.message);
        assert!(hold.message.contains("words"), "{}", hold.message);
    }
}
