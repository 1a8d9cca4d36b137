//! From what was found to the conditions that are shown: one place for the rules of kstatus.

use crate::crd::condition::{ConditionType, Reason, Status, Verdict};
use crate::farm::view::Hold;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// What `Ready` rests on beside the other findings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Readiness {
    /// Follows from the other findings.
    #[default]
    Derived,
    /// Keeps its last value: a suspended object is as ready as it was.
    Kept,
    /// Cannot be known.
    Unknown,
}

/// What a pass found out about a broker, in terms of conditions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Why it is not synced, where nothing stronger says so; `None` and nothing else set means it is.
    pub unsynced: Option<Hold>,
    /// Work is on its way.
    pub reconciling: Option<Hold>,
    /// Work cannot go on until something outside changes.
    pub stalled: Option<Hold>,
    /// The farm differs from the spec.
    pub drifted: Option<String>,
    /// A deletion waits.
    pub held: Option<Hold>,
    /// Whether the settings are all in the farm although something else keeps `Ready` down (an agent).
    pub synced_anyway: bool,
    /// What else is to be known where everything is in the farm.
    pub remark: Option<&'static str>,
    /// `Ready`.
    pub readiness: Readiness,
}

impl Findings {
    /// Work is on its way.
    pub fn reconciling(hold: Hold) -> Self {
        Self { reconciling: Some(hold), ..Self::default() }
    }

    /// Work cannot go on.
    pub fn stalled(hold: Hold) -> Self {
        Self { stalled: Some(hold), ..Self::default() }
    }

    /// A deletion waits.
    pub fn held(hold: Hold) -> Self {
        Self { held: Some(hold), ..Self::default() }
    }

    /// Not synced, without work on its way.
    pub fn unsynced(hold: Hold) -> Self {
        Self { unsynced: Some(hold), ..Self::default() }
    }

    /// The conditions to show; those of the kind that is present only while true are absent otherwise.
    pub fn verdicts(&self, previous: &[Condition]) -> Vec<Verdict> {
        let present = [
            (ConditionType::Reconciling, self.reconciling.clone()),
            (ConditionType::Stalled, self.stalled.clone()),
            (ConditionType::Drifted, self.drifted.clone().map(|text| Hold::new(Reason::DriftDetected, text))),
            (ConditionType::DeletionHeld, self.held.clone()),
        ];
        let mut verdicts = vec![self.ready(previous), self.synced()];
        verdicts.extend(
            present.into_iter().filter_map(|(type_, hold)| Some(verdict(type_, Status::True, hold?))),
        );
        verdicts
    }

    fn synced(&self) -> Verdict {
        let cause = self.unsynced.as_ref().or_else(|| {
            let cause = self.held.as_ref().or(self.stalled.as_ref()).or(self.reconciling.as_ref());
            cause.filter(|_| !self.synced_anyway)
        });
        if let Some(hold) = cause {
            return verdict(ConditionType::Synced, Status::False, hold.clone());
        }
        let remark = self.remark.map(|remark| format!(" {remark}")).unwrap_or_default();
        let text = format!("Every set field is in the farm and applied.{remark}");
        verdict(ConditionType::Synced, Status::True, Hold::new(Reason::ReconcileSuccess, text))
    }

    /// The strongest cause, so that one column shows it.
    fn cause(&self) -> Option<Hold> {
        let strongest = self.held.as_ref().or(self.stalled.as_ref()).or(self.reconciling.as_ref());
        let drifted = || self.drifted.clone().map(|text| Hold::new(Reason::DriftDetected, text));
        strongest.or(self.unsynced.as_ref()).cloned().or_else(drifted)
    }

    fn ready(&self, previous: &[Condition]) -> Verdict {
        let Some(cause) = self.cause() else {
            let hold = Hold::new(Reason::Available, "The broker is in the farm, applied and healthy.");
            return verdict(ConditionType::Ready, Status::True, hold);
        };
        let status = match self.readiness {
            Readiness::Derived => Status::False,
            Readiness::Unknown => Status::Unknown,
            Readiness::Kept => last_ready(previous),
        };
        verdict(ConditionType::Ready, status, cause)
    }
}

fn last_ready(previous: &[Condition]) -> Status {
    let ready = previous.iter().find(|condition| condition.type_ == ConditionType::Ready.as_str());
    match ready.map(|condition| condition.status.as_str()) {
        Some("True") => Status::True,
        Some("False") => Status::False,
        Some(_) | None => Status::Unknown,
    }
}

fn verdict(type_: ConditionType, status: Status, hold: Hold) -> Verdict {
    Verdict { type_, status, reason: hold.reason, message: hold.message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(reason: Reason) -> Hold {
        Hold::new(reason, "why")
    }

    fn shown(findings: &Findings) -> Vec<(ConditionType, Status, Reason)> {
        findings
            .verdicts(&[])
            .into_iter()
            .map(|verdict| (verdict.type_, verdict.status, verdict.reason))
            .collect()
    }

    #[test]
    fn nothing_found_is_ready_and_synced_and_nothing_else() {
        assert_eq!(
            shown(&Findings::default()),
            [
                (ConditionType::Ready, Status::True, Reason::Available),
                (ConditionType::Synced, Status::True, Reason::ReconcileSuccess),
            ]
        );
    }

    #[test]
    fn ready_shows_the_strongest_cause() {
        let findings = Findings {
            held: Some(hold(Reason::DeletionProtected)),
            stalled: Some(hold(Reason::Forbidden)),
            reconciling: Some(hold(Reason::Creating)),
            ..Findings::default()
        };
        assert_eq!(shown(&findings)[0], (ConditionType::Ready, Status::False, Reason::DeletionProtected));
    }

    #[test]
    fn a_broken_agent_lowers_ready_and_not_synced() {
        let findings =
            Findings { synced_anyway: true, ..Findings::reconciling(hold(Reason::WaitingForAgent)) };
        assert_eq!(shown(&findings)[0].1, Status::False);
        assert_eq!(shown(&findings)[1].1, Status::True);
    }

    #[test]
    fn an_outage_makes_ready_unknown() {
        let findings =
            Findings { readiness: Readiness::Unknown, ..Findings::reconciling(hold(Reason::WaitingForFarm)) };
        assert_eq!(shown(&findings)[0], (ConditionType::Ready, Status::Unknown, Reason::WaitingForFarm));
    }
}
