//! Everything that a decision about one promotion is made of, as one value.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;

use crate::broker::cache::{Brokers, farm_of};
use crate::broker::observe::ObjectFacts;
use crate::crd::{
    ManagementPolicy, PromotionPhase, RasBroker, RasBrokerPromotion, RasBrokerPromotionSpec,
    RasBrokerPromotionStatus,
};
use crate::farm::promote::may_be_promoted;
use crate::farm::view::{FarmView, Hold};
use crate::kubernetes::ObjectKey;
use crate::ras::{self, Outcome};

use super::message;

/// The observed world of one promotion.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The object, as last answered or watched.
    pub request: Request,
    /// The broker that it names.
    pub broker: Option<Candidate>,
    /// The farm of the broker, or the one that the promotion was sent to.
    pub farm: FarmView,
    /// Another promotion of the same site that runs, or was asked for before.
    pub rival: Option<String>,
    /// What this process remembers of it.
    pub memory: Memory,
}

/// The object's own facts.
#[derive(Clone, Debug)]
pub struct Request {
    /// Namespace, for messages.
    pub namespace: String,
    /// Name, for messages.
    pub name: String,
    /// Uid.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// What is asked for.
    pub spec: RasBrokerPromotionSpec,
    /// The last status.
    pub status: RasBrokerPromotionStatus,
}

/// The broker that is to be the primary.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The object.
    pub object: ObjectFacts,
    /// Name of its farm.
    pub farm: String,
    /// Whether it is only reported on.
    pub observe_only: bool,
}

/// What this process remembers of one uid; lost with the process, and safe to lose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// When the request was first looked at: what was listed before is not what its author saw.
    pub asked: Option<Duration>,
    /// When the promotion was first seen as sent, on the clock that counts suspend.
    pub seen: Option<Duration>,
    /// What became of the call that this process made; none where it made none.
    pub fate: Option<Fate>,
    /// Why the last try did not come to a call, and until when there is no other.
    pub pause: Option<(Hold, Duration)>,
}

/// What is known of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The farm answered that it is done.
    Answered,
    /// It may have been done.
    Lost,
    /// Certainly nothing reached the farm.
    NotSent(String),
    /// The farm answered that it did not do it.
    Refused(Hold),
}

impl Fate {
    /// What the end of a call means. The broker was listed a moment ago, so that 404 most likely speaks of the path.
    pub fn of(result: Result<(), &ras::Error>, farm: &str) -> Self {
        match result {
            Ok(()) => Self::Answered,
            Err(error) if may_be_promoted(error) => Self::Lost,
            Err(error) if error.outcome() == Outcome::NotSent => Self::NotSent(error.to_string()),
            Err(error) if matches!(error.status(), Some(404 | 405)) => {
                Self::Refused(message::unsupported(farm, error))
            }
            Err(error) => Self::Refused(message::refused(error)),
        }
    }
}

impl Request {
    /// Reads an object.
    pub fn of(object: &RasBrokerPromotion) -> Self {
        Self {
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            uid: object.uid().unwrap_or_default(),
            generation: object.metadata.generation.unwrap_or_default(),
            spec: object.spec.clone(),
            status: object.status.clone().unwrap_or_default(),
        }
    }

    /// The time after which nothing is begun; none where it cannot be read.
    pub fn not_after(&self) -> Option<Timestamp> {
        self.spec.not_after.parse().ok()
    }

    /// Whether it may have been sent.
    pub fn is_sent(&self) -> bool {
        self.status.phase == Some(PromotionPhase::Promoting)
    }
}

impl Candidate {
    /// Reads an object.
    pub fn of(broker: &RasBroker) -> Self {
        Self {
            object: ObjectFacts::of(broker),
            farm: broker.spec.farm_ref.name.clone(),
            observe_only: broker.spec.management_policy == ManagementPolicy::ObserveOnly,
        }
    }
}

impl Memory {
    /// Takes in what the object shows by now.
    pub fn observe(&mut self, request: &Request, boot: Duration) {
        self.asked.get_or_insert(boot);
        if request.is_sent() {
            self.seen.get_or_insert(boot);
            self.pause = None;
        } else {
            self.seen = None;
            self.fate = None;
        }
    }
}

/// Another promotion of the same site that comes first: one that was sent, or else the one that was asked for before.
pub fn rival(
    own: &RasBrokerPromotion,
    all: &[Arc<RasBrokerPromotion>],
    brokers: &Brokers,
) -> Option<Arc<RasBrokerPromotion>> {
    let place = place_of(own, brokers)?;
    let concerns = |other: &&Arc<RasBrokerPromotion>| {
        let phase = other.status.as_ref().and_then(|status| status.phase);
        other.metadata.uid != own.metadata.uid
            && !phase.is_some_and(PromotionPhase::is_final)
            && place_of(other, brokers).as_ref() == Some(&place)
    };
    let mut others: Vec<_> = all.iter().filter(concerns).collect();
    others.sort_by_key(|other| order(other));
    let sent = others.iter().find(|other| is_sent(other));
    let before = others.first().filter(|other| order(other) < order(own));
    sent.or(before).map(|other| Arc::clone(other))
}

fn is_sent(promotion: &RasBrokerPromotion) -> bool {
    promotion.status.as_ref().is_some_and(|status| status.attempt.is_some())
}

/// Whoever was sent first, and then whoever was asked for first.
fn order(promotion: &RasBrokerPromotion) -> (bool, Option<Timestamp>, String) {
    let created = promotion.metadata.creation_timestamp.as_ref().map(|time| time.0);
    (!is_sent(promotion), created, promotion.name_any())
}

/// Farm and site that a promotion concerns, as far as they are known.
fn place_of(promotion: &RasBrokerPromotion, brokers: &Brokers) -> Option<(ObjectKey, i64)> {
    let namespace = promotion.namespace().unwrap_or_default();
    if let Some(attempt) = promotion.status.as_ref().and_then(|status| status.attempt.as_ref()) {
        return Some((ObjectKey::new(namespace, &attempt.farm), attempt.site_id));
    }
    let broker = brokers.get(&ObjectKey::new(namespace, &promotion.spec.broker_ref.name))?;
    Some((farm_of(&broker), broker.status.as_ref()?.site_id?))
}
