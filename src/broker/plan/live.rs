//! Objects that are to exist.

use std::time::Duration;

use super::ownership::{Ownership, elsewhere, find};
use super::settled::{ailing_agent, waiting_failure};
use super::{Draft, Plan, Released, Step, is_fresh, message, settled, usable};
use crate::broker::canonical::canonical_address;
use crate::broker::desired::{Desired, Field, Value};
use crate::broker::findings::{Findings, Readiness};
use crate::broker::intent::Intent;
use crate::broker::observe::{Observed, Rival, may_be_same_machine};
use crate::clock::Now;
use crate::crd::condition::{ConditionType, Reason};
use crate::crd::{AdoptionPolicy, ManagementPolicy, Origin};
use crate::farm::sites::Whose;
use crate::farm::snapshot::RowKey;
use crate::farm::view::{FarmFacts, Hold};
use crate::ras;

/// A broker of ours that vanishes a second time within this is not created again without being asked.
const RECREATE_PAUSE: jiff::SignedDuration = jiff::SignedDuration::from_hours(1);

/// One broker in one farm that answers: what all decisions below look at.
struct Case<'a> {
    observed: &'a Observed,
    desired: &'a Desired,
    facts: &'a FarmFacts,
    key: RowKey,
    now: Now,
}

/// The plan for an object that is not being deleted.
pub(super) fn plan(observed: &Observed, now: Now) -> Plan {
    let object = &observed.object;
    let desired = &object.desired;
    if let Some(invalid) = &desired.invalid {
        let hold = Hold::new(Reason::InvalidSpec, format!("{invalid}."));
        return Draft::of(object).shows(Findings::stalled(hold), now);
    }
    if desired.management == ManagementPolicy::ObserveOnly && object.finalizer {
        return let_go(observed, now);
    }
    let facts = match usable(observed, now) {
        Ok(facts) => facts,
        Err(plan) => return *plan,
    };
    match site(observed, desired, facts) {
        Ok(site_id) => {
            let key = RowKey { site_id, name: desired.name.clone() };
            Case { observed, desired, facts, key, now }.plan()
        }
        Err(hold) => Draft::of(object).shows(no_site(hold), now),
    }
}

/// An object switched to `ObserveOnly` lets go as `Orphan` does, after what may still be on its way has arrived.
fn let_go(observed: &Observed, now: Now) -> Plan {
    match super::deletion::quarantine_left(observed, now) {
        Some(left) => {
            Draft::of(&observed.object).shows(Findings::reconciling(message::quarantine()), now).after(left)
        }
        None if super::deletion::is_never_created(&observed.object) => {
            Plan::silent().then(Step::Release { outcome: Released::NeverCreated })
        }
        None => Plan::silent().then(Step::Release { outcome: Released::Orphaned }),
    }
}

/// A step that failed waits for its time to be tried again.
pub(super) fn after_failure(observed: &Observed, now: Now) -> Option<Plan> {
    let (findings, left) = waiting_failure(&observed.object, &observed.memory, now)?;
    Some(Draft::of(&observed.object).shows(findings, now).after(left))
}

/// The site is resolved once; what was recorded wins from then on.
pub(super) fn site(observed: &Observed, desired: &Desired, facts: &FarmFacts) -> Result<i64, Hold> {
    let own = desired.site.as_ref().map(|choice| choice.resolve(&facts.sites));
    match (observed.object.recorded_site(), own) {
        (Some(recorded), Some(Ok(wanted))) if wanted != recorded => {
            Err(message::other_site(desired, wanted, recorded))
        }
        // A name that is unknown by now may be one that the site had.
        (Some(recorded), _) => Ok(recorded),
        (None, Some(own)) => own.map_err(|why| why.hold(Whose::Own, &facts.sites)),
        (None, None) => {
            let farm = Whose::Farm(&desired.farm);
            facts.default_site.clone().map_err(|why| why.hold(farm, &facts.sites))
        }
    }
}

/// Sites that cannot be read may be read later; a site that does not exist needs a person.
fn no_site(hold: Hold) -> Findings {
    if hold.reason == Reason::InvalidSpec { Findings::stalled(hold) } else { Findings::reconciling(hold) }
}

impl Case<'_> {
    fn plan(&self) -> Plan {
        let plan = self.decide();
        if self.observed.object.request().is_some() && !is_fresh(&self.observed.memory, self.facts) {
            // Asked for on a view from before: what is decided on it stands, and a newer one follows at once.
            return plan.on_newer_list();
        }
        plan
    }

    fn decide(&self) -> Plan {
        let ownership = find(&self.observed.object, self.facts, &self.key);
        if self.desired.management == ManagementPolicy::ObserveOnly {
            return self.only_observe(&ownership);
        }
        // Two spellings may be two machines: they keep nobody from a row that is there, only from making another.
        let is_there = !matches!(ownership, Ownership::Absent | Ownership::Vanished { .. });
        let keeps_off = |rival: &&Rival| rival.precedes && (rival.same_key || !is_there);
        // Others may wait as well: who has the best claim is who acts.
        if let Some(rival) = self.observed.rivals.iter().filter(keeps_off).min_by_key(|rival| rival.claim) {
            return self.stalled(message::rival(rival));
        }
        match ownership {
            Ownership::Ours(row) => self.keep(&row),
            Ownership::Marked(row) => self.record(&row, Origin::Created),
            Ownership::Foreign(row) => self.meet(&row),
            Ownership::Ambiguous(count) => self.stalled(message::ambiguous(self.desired, count)),
            Ownership::Vanished { id } => self.vanished(id),
            Ownership::Absent => self.absent(),
        }
    }

    fn only_observe(&self, ownership: &Ownership) -> Plan {
        let draft = Draft::of(&self.observed.object).origin(None);
        match ownership {
            Ownership::Ours(row) | Ownership::Marked(row) | Ownership::Foreign(row) => {
                let reconciling = ailing_agent(self.facts, row)
                    .map(|(state, health)| message::agent_observed(&state, health));
                let draft = draft.seen(self.facts, row).drift(Vec::new());
                self.observes(draft, Findings { reconciling, ..Findings::default() })
            }
            Ownership::Ambiguous(count) => {
                self.observes(draft, Findings::stalled(message::ambiguous(self.desired, *count)))
            }
            Ownership::Vanished { .. } | Ownership::Absent => {
                self.observes(draft.unseen(), Findings::stalled(message::not_found(self.desired)))
            }
        }
    }

    /// The farm was read: an object that only observes is synced whatever was found.
    fn observes(&self, draft: Draft<'_>, findings: Findings) -> Plan {
        let findings = Findings { synced_anyway: true, ..findings };
        draft.handled(&self.observed.memory, self.facts).shows(findings, self.now)
    }

    fn keep(&self, row: &ras::Broker) -> Plan {
        if self.observed.object.finalizer {
            settled::plan(self.observed, self.desired, self.facts, row, self.now)
        } else {
            // The finalizer was taken off by somebody while the row is ours: it goes back before anything else.
            Plan::silent().then(Step::Claim)
        }
    }

    /// A row becomes ours: finalizer first, then id and origin.
    fn record(&self, row: &ras::Broker, origin: Origin) -> Plan {
        if !self.observed.object.finalizer {
            return self.unless_held(|| Plan::silent().then(Step::Claim));
        }
        Plan::silent().then(Step::Record { row: row.clone(), origin })
    }

    /// Somebody's broker stands where ours is to be.
    fn meet(&self, row: &ras::Broker) -> Plan {
        if row.marked_for_deletion == Some(true) {
            return self.reconciling(message::awaiting_removal(row, self.desired.adoption));
        }
        if self.quarantine().is_some() {
            return self.in_quarantine();
        }
        match self.desired.adoption {
            AdoptionPolicy::Never => self.stalled(message::already_exists(&self.observed.object, row)),
            AdoptionPolicy::IfExists | AdoptionPolicy::Required => {
                self.unless_held(|| self.record(row, Origin::Adopted))
            }
        }
    }

    /// Rule 5: absent from two lists and by id, then created again once, or left for a person to decide.
    fn vanished(&self, id: i64) -> Plan {
        if self.quarantine().is_some() {
            return self.in_quarantine();
        }
        if !self.facts.snapshot.is_absent(&self.key) {
            return Plan::silent().with_list();
        }
        if let Some(row) = elsewhere(self.facts, &self.key, id) {
            return self.stalled(message::elsewhere(row, self.key.site_id));
        }
        if let Some(row) = self.similar_row() {
            return self.stalled(message::similar_row(row, self.desired));
        }
        if let Some(plan) = after_failure(self.observed, self.now) {
            return plan;
        }
        if self.observed.memory.confirmed_gone != Some(id) {
            return Plan::silent().then(Step::ConfirmGone { id });
        }
        if self.desired.adoption == AdoptionPolicy::Required {
            return self.stalled(message::not_found(self.desired));
        }
        match self.no_recreation() {
            Some(hold) if self.observed.object.request().is_none() => {
                Draft::of(&self.observed.object).shows(Findings::stalled(hold), self.now)
            }
            Some(_) | None => self.create(Some(id)),
        }
    }

    /// Why the broker is left to a person. What was said once stands until it is asked for: others that were created
    /// again meanwhile, or an hour that went by, change nothing.
    fn no_recreation(&self) -> Option<Hold> {
        let object = &self.observed.object;
        let said = object.shown(ConditionType::Stalled, Reason::ExternallyDeleted);
        said.map(|said| Hold::new(Reason::ExternallyDeleted, said))
            .or_else(|| self.why_not_again().map(|why| message::externally_deleted(object, why)))
    }

    fn why_not_again(&self) -> Option<&'static str> {
        let object = &self.observed.object;
        let limit = self.facts.deletions.threshold;
        // An attempt that brought no row yet is still the first one.
        let brought = |intent: &&Intent| intent.replaces.is_none() || intent.replaces != object.owned_id();
        let again = object.intent.as_ref().filter(brought).and_then(|intent| intent.recreated);
        if object.status.origin == Some(Origin::Adopted) {
            Some("this object did not create it")
        } else if limit > 0 && self.observed.vanished > limit {
            Some("more brokers of this farm vanished at once than spec.deletionProtection.threshold allows")
        } else if again.is_some_and(|when| self.facts.farm_time.duration_since(when) < RECREATE_PAUSE) {
            Some("it was created again less than an hour ago")
        } else {
            None
        }
    }

    fn absent(&self) -> Plan {
        if self.quarantine().is_some() {
            return self.in_quarantine();
        }
        // After a lost answer one list that lacks the row is not enough, as for a broker that vanished.
        let is_repeated = self.observed.object.unresolved_intent().is_some();
        if is_repeated && !self.facts.snapshot.is_absent(&self.key) {
            return Plan::silent().with_list();
        }
        if self.desired.adoption == AdoptionPolicy::Required {
            return self.stalled(message::not_found(self.desired));
        }
        if let Some(row) = self.similar_row() {
            return self.stalled(message::similar_row(row, self.desired));
        }
        self.create(None)
    }

    /// A row of the site that may be the same machine in another spelling.
    fn similar_row(&self) -> Option<&std::sync::Arc<ras::Broker>> {
        let addresses = self.addresses();
        let mut of_site = self.facts.snapshot.rows().filter(|row| row.site_id == self.key.site_id);
        of_site.find(|row| may_be_same_machine(row, &self.key.name, &addresses))
    }

    /// The address that the spec gives for this machine.
    fn addresses(&self) -> Vec<String> {
        match self.desired.fields.get(&Field::Ip) {
            Some(Value::Text(ip)) => vec![canonical_address(ip)],
            Some(Value::Flag(_) | Value::Addresses(_)) | None => Vec::new(),
        }
    }

    /// A POST; `replaces` is the id of the row that vanished, if there was one.
    fn create(&self, replaces: Option<i64>) -> Plan {
        if let Some(plan) = after_failure(self.observed, self.now) {
            return plan;
        }
        self.unless_held(|| {
            let step = Step::Create { intent: self.next_intent(replaces) };
            if self.desired.install.agent && !self.was_refused() {
                let hold = message::installing(self.desired, self.facts);
                return self.reconciling(hold).then(step);
            }
            // The intent's write shows that something begins; a list that is too old is renewed by the farm's queue.
            Plan::silent().then(step)
        })
    }

    /// Whether the last try certainly did nothing. What is said of it stands until one succeeds: told before each try
    /// and after it, the two would take turns for ever.
    fn was_refused(&self) -> bool {
        let Observed { object, memory, .. } = self.observed;
        memory.has_failed(object.generation) && object.unresolved_intent().is_none()
    }

    fn next_intent(&self, replaces: Option<i64>) -> Intent {
        let object = &self.observed.object;
        let owned = object.owned_id();
        let last = object.intent.as_ref().filter(|intent| owned.is_none() || owned == intent.replaces);
        let recreated = replaces.map(|_| self.facts.farm_time);
        let attempt = object.intent.as_ref().map_or(1, |intent| intent.attempt.saturating_add(1));
        Intent {
            uid: object.uid.clone(),
            attempt,
            farm_guid: self.facts.identity.clone(),
            site_id: self.key.site_id,
            server: self.desired.server.clone(),
            account: self.facts.account.clone(),
            farm_time: self.facts.farm_time,
            quarantine_seconds: self.facts.limits.quarantine(self.desired.install.agent).as_secs(),
            lost_since: last.and_then(Intent::carried_loss),
            refused: None,
            recreated: recreated.or_else(|| object.intent.as_ref().and_then(|intent| intent.recreated)),
            replaces,
        }
    }

    fn quarantine(&self) -> Option<Duration> {
        super::deletion::in_doubt(self.observed, self.facts, self.now)
    }

    /// A lost answer: the list decides meanwhile, and is taken once more when the time is over.
    fn in_quarantine(&self) -> Plan {
        let left = self.quarantine().unwrap_or_default();
        self.reconciling(message::quarantine()).after(left).with_list()
    }

    /// Whatever may hold a write back, asked in one place.
    fn unless_held(&self, plan: impl FnOnce() -> Plan) -> Plan {
        if self.desired.suspend {
            return self.resting(message::suspended());
        }
        if self.facts.terminating {
            let text =
                format!("RasFarm {:?} is being deleted: no broker is created in it.", self.desired.farm);
            return self.reconciling(Hold::new(Reason::WaitingForFarm, text));
        }
        match &self.facts.hold {
            Some(hold) if hold.reason == Reason::Suspended => self.resting(hold.clone()),
            Some(hold) => self.reconciling(hold.waiting()),
            None => plan(),
        }
    }

    fn resting(&self, hold: Hold) -> Plan {
        let findings = Findings { readiness: Readiness::Kept, ..Findings::unsynced(hold) };
        Draft::of(&self.observed.object).shows(findings, self.now)
    }

    fn reconciling(&self, hold: Hold) -> Plan {
        Draft::of(&self.observed.object).shows(Findings::reconciling(hold), self.now)
    }

    fn stalled(&self, hold: Hold) -> Plan {
        Draft::of(&self.observed.object)
            .handled(&self.observed.memory, self.facts)
            .shows(Findings::stalled(hold), self.now)
    }
}
