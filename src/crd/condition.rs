//! Conditions: the closed lists of their types and reasons, and how a new verdict is laid over
//! what `status` says already. Pure; the time is an argument.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

/// Longest message that the schema accepts, in characters.
pub const MESSAGE_LENGTH: usize = 32_768;
/// How many characters of a message are shown: eight of them, whatever letters they are of, are far below what the API
/// server takes of an object. A refused status would hide everything else that it says.
const SHOWN_MESSAGE: usize = 4_096;

/// Declares a closed list of words that are written to the API exactly as they are named here.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $word:ident,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$doc])* $word,)+
        }

        impl $name {
            /// Every word, in the order of declaration.
            pub const ALL: &[Self] = &[$(Self::$word),+];

            /// The word as it stands in the API.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$word => stringify!($word),)+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// What a condition is about. `status` lists them in this order.
    ConditionType {
        /// The object is as it should be and works.
        Ready,
        /// Every set field is in the farm and applied.
        Synced,
        /// The farm answers.
        Reachable,
        /// The farm takes the credentials.
        Authenticated,
        /// Work goes on, or waits for something that may come by itself.
        Reconciling,
        /// Nothing will change until somebody acts.
        Stalled,
        /// The farm differs from the spec.
        Drifted,
        /// A deletion waits.
        DeletionHeld,
        /// The farm is talked to without a check of its certificate.
        InsecureTransport,
        /// RAS promotes brokers by itself, and the number of a site's brokers is wrong for that.
        AutoPromotionImpaired,
        /// The request has succeeded.
        Complete,
        /// The request has failed.
        Failed,
    }
}

words! {
    /// Whether it is the case.
    Status {
        /// It is.
        True,
        /// It is not.
        False,
        /// That cannot be said.
        Unknown,
    }
}

words! {
    /// Why, in one word. The same word may stand under several types.
    Reason {
        /// Ready: nothing is missing.
        Available,

        /// Synced: every set field is in the farm and applied.
        ReconcileSuccess,
        /// Synced: the farm could not be read or written, or keeps another value.
        ReconcileError,
        /// Synced, DeletionHeld: writing is switched off.
        Suspended,
        /// Synced: the farm has no call for a field that is set.
        Unsupported,

        /// Reconciling: the broker is being created.
        Creating,
        /// Reconciling: the broker is being changed.
        Updating,
        /// Reconciling: the broker is being deleted.
        Deleting,
        /// Reconciling: work goes on.
        Progressing,
        /// Reconciling: changes are written and not applied.
        WaitingForApply,
        /// Reconciling: the farm does not answer or takes no changes now.
        WaitingForFarm,
        /// Reconciling: the broker's agent is missing or not healthy.
        WaitingForAgent,
        /// Reconciling, DeletionHeld: an unanswered call may still take effect.
        Quarantine,

        /// Stalled: the spec cannot be carried out.
        InvalidSpec,
        /// Stalled: the farm has such a broker, and it may not be taken over.
        AlreadyExists,
        /// Stalled: another object claims the same broker.
        ResourceConflict,
        /// Stalled, Ready: the broker, or what the spec names, does not exist.
        NotFound,
        /// Stalled: somebody deleted the broker in the farm.
        ExternallyDeleted,
        /// Stalled: the account may not do what the spec asks for.
        Forbidden,
        /// Stalled: the endpoint belongs to another farm than before.
        FarmMismatch,

        /// Drifted: the farm differs from the spec.
        DriftDetected,

        /// DeletionHeld: too many brokers would go at once.
        MassDeletionBreaker,
        /// DeletionHeld: the site would be left without a broker.
        AvailabilityGuard,
        /// DeletionHeld: the object is marked as protected.
        DeletionProtected,
        /// DeletionHeld: the farm does not answer or takes no changes now.
        FarmUnavailable,

        /// Reachable: the farm answers.
        FarmReachable,
        /// Reachable: no endpoint answers.
        FarmUnreachable,
        /// Reachable: the certificate is not the expected one.
        TLSVerificationFailed,
        /// Reachable: after many failures only a probe is sent now and then.
        CircuitOpen,
        /// Reachable: the farm asks for fewer calls.
        RateLimited,

        /// Authenticated: the farm took the credentials.
        Authenticated,
        /// Authenticated: the farm refused the credentials.
        AuthenticationFailed,
        /// Authenticated: the Secret or one of its keys is missing.
        SecretNotFound,

        /// Reconciling: changes of somebody else are pending in the farm.
        ForeignPendingChanges,
        /// Reconciling: the connected server is not the primary broker.
        NotPrimary,

        /// InsecureTransport: the spec switches the check off.
        InsecureSkipVerify,

        /// AutoPromotionImpaired: with fewer than three active brokers RAS promotes none.
        TooFewActiveBrokers,
        /// AutoPromotionImpaired: RAS advises against automatic promotion among more than three active brokers.
        TooManyActiveBrokers,
        /// Reconciling: the broker is being made the primary.
        Promoting,
        /// Complete: the broker was made the primary.
        Promoted,
        /// Complete: the broker was the primary already, and nothing was sent.
        AlreadyPrimary,
        /// Failed: the broker may not be made the primary as it is.
        NotEligible,
        /// Failed: another broker is the primary than the request expects.
        UnexpectedPrimary,
        /// Failed: the time in which the promotion may start is over.
        Expired,
        /// Failed: the farm refused.
        Refused,
        /// Failed: the promotion was sent, and the broker is not the primary.
        NotPromoted,
    }
}

/// What was found about one type, before it is compared with what `status` says already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What it is about.
    pub type_: ConditionType,
    /// Whether it is the case.
    pub status: Status,
    /// Why, in one word.
    pub reason: Reason,
    /// What is going on and what to do next, as a sentence.
    pub message: String,
}

/// Lays verdicts over the conditions of the last status.
///
/// The answer has one condition for each type among the verdicts (of two of one type the first
/// counts), in the order of [`ConditionType`]; types without a verdict are dropped.
/// `lastTransitionTime` moves to `now`, in whole seconds, only where `status` changes.
pub fn merge(
    previous: &[Condition],
    verdicts: &[Verdict],
    generation: i64,
    now: Timestamp,
) -> Vec<Condition> {
    let verdict_of = |type_: &ConditionType| verdicts.iter().find(|v| v.type_ == *type_);
    let found = ConditionType::ALL.iter().filter_map(verdict_of);
    found.map(|verdict| condition(previous, verdict, generation, now)).collect()
}

fn condition(previous: &[Condition], verdict: &Verdict, generation: i64, now: Timestamp) -> Condition {
    let Verdict { type_, status, reason, message } = verdict;
    Condition {
        last_transition_time: unchanged_since(previous, *type_, *status)
            .unwrap_or_else(|| Time(whole_seconds(now))),
        message: message.chars().take(SHOWN_MESSAGE).collect(),
        observed_generation: Some(generation),
        reason: reason.as_str().to_owned(),
        status: status.as_str().to_owned(),
        type_: type_.as_str().to_owned(),
    }
}

/// Since when the type has had this status, if it has it already.
fn unchanged_since(previous: &[Condition], type_: ConditionType, status: Status) -> Option<Time> {
    let same = |c: &&Condition| c.type_ == type_.as_str() && c.status == status.as_str();
    previous.iter().find(same).map(|c| c.last_transition_time.clone())
}

/// Kubernetes writes times in seconds; a fraction would be lost on the way through some clients
/// and then look like a change.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    fn verdict() -> impl Strategy<Value = Verdict> {
        let words = (select(ConditionType::ALL), select(Status::ALL), select(Reason::ALL), "[a-c]{0,2}");
        words.prop_map(|(type_, status, reason, message)| Verdict { type_, status, reason, message })
    }

    fn verdicts() -> impl Strategy<Value = Vec<Verdict>> {
        vec(verdict(), 0..8)
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
        conditions.iter().find(|condition| condition.type_ == type_)
    }

    fn ready(status: Status, message: &str) -> Verdict {
        Verdict {
            type_: ConditionType::Ready,
            status,
            reason: Reason::Available,
            message: message.to_owned(),
        }
    }

    #[test]
    fn a_new_condition_says_everything_that_the_verdict_says() {
        let conditions = merge(&[], &[ready(Status::True, "All is well.")], 3, at(7));
        assert_eq!(
            conditions,
            [Condition {
                last_transition_time: Time(at(7)),
                message: "All is well.".to_owned(),
                observed_generation: Some(3),
                reason: "Available".to_owned(),
                status: "True".to_owned(),
                type_: "Ready".to_owned(),
            }]
        );
    }

    #[test]
    fn another_message_or_generation_moves_no_transition_time() {
        let before = merge(&[], &[ready(Status::True, "one")], 1, at(7));
        let after = merge(&before, &[ready(Status::True, "two")], 2, at(8));
        assert_eq!(after[0].last_transition_time, Time(at(7)));
        assert_eq!(after[0].message, "two");
        assert_eq!(after[0].observed_generation, Some(2));
    }

    #[test]
    fn of_two_verdicts_on_one_type_the_first_counts() {
        let both = [ready(Status::False, "first"), ready(Status::True, "second")];
        let conditions = merge(&[], &both, 1, at(7));
        assert_eq!(conditions.len(), 1);
        assert_eq!(conditions[0].message, "first");
    }

    #[test]
    fn times_are_whole_seconds() {
        let now = at(7) + std::time::Duration::from_millis(900);
        let conditions = merge(&[], &[ready(Status::True, "")], 1, now);
        assert_eq!(conditions[0].last_transition_time, Time(at(7)));
    }

    #[test]
    fn a_message_longer_than_an_object_has_room_for_is_cut() {
        let conditions = merge(&[], &[ready(Status::True, &"ü".repeat(40_000))], 1, at(7));
        assert_eq!(conditions[0].message.chars().count(), SHOWN_MESSAGE);
    }

    #[test]
    fn words_stand_in_the_api_as_they_are_named() {
        assert_eq!(Reason::TLSVerificationFailed.to_string(), "TLSVerificationFailed");
        assert_eq!(ConditionType::DeletionHeld.as_str(), "DeletionHeld");
        assert_eq!(Status::Unknown.as_str(), "Unknown");
    }

    proptest! {
        #[test]
        fn each_type_with_a_verdict_stands_there_once_and_no_other(before in verdicts(), now in verdicts()) {
            let previous = merge(&[], &before, 1, at(1));
            let merged = merge(&previous, &now, 2, at(2));
            let mut expected: Vec<ConditionType> = now.iter().map(|verdict| verdict.type_).collect();
            expected.sort_unstable();
            expected.dedup();
            let expected: Vec<&str> = expected.into_iter().map(ConditionType::as_str).collect();
            let types: Vec<&str> = merged.iter().map(|condition| condition.type_.as_str()).collect();
            prop_assert_eq!(types, expected);
        }

        #[test]
        fn the_transition_time_moves_exactly_where_the_status_changes(before in verdicts(), now in verdicts()) {
            let previous = merge(&[], &before, 1, at(1));
            for condition in merge(&previous, &now, 2, at(2)) {
                let old = find(&previous, &condition.type_);
                let same = old.is_some_and(|old| old.status == condition.status);
                prop_assert_eq!(condition.last_transition_time, Time(at(if same { 1 } else { 2 })));
            }
        }

        #[test]
        fn the_same_verdicts_again_change_nothing(before in verdicts(), now in verdicts()) {
            let previous = merge(&[], &before, 1, at(1));
            let once = merge(&previous, &now, 2, at(2));
            let twice = merge(&once, &now, 2, at(3));
            prop_assert_eq!(twice, once);
        }
    }
}
