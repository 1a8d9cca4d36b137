//! The order of a site's secondaries: who states a priority, what order that asks for, and the next move towards it.
//! Pure.
//!
//! Brokers that state a priority come first, the lowest first and equal ones by server; then the others as they are.
//! Only rows of objects that state a priority are ever moved. Where all do, that takes the fewest moves that there
//! are; where a stranger stands before several of them, one move of the stranger might do, and is not made.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::canonical::ServerName;
use super::observe::ObjectFacts;
use crate::crd::{ManagementPolicy, MoveForm, NEVER_OBSERVED, RasBroker};
use crate::farm::snapshot::{RowKey, Snapshot};
use crate::kubernetes::ObjectKey;
use crate::ras;

/// A site of one farm, whichever `RasFarm` leads to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SiteKey {
    /// The farm's identity.
    pub identity: String,
    /// The site.
    pub site_id: i64,
}

/// A broker of ours that states a priority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stated {
    /// Its object.
    pub key: ObjectKey,
    /// Its row.
    pub id: i64,
    /// Its server.
    pub name: ServerName,
    /// What its spec says.
    pub priority: i64,
    /// Whether it is suspended or being deleted: such a row is left out of account, as if it were not there.
    pub rests: bool,
}

/// Where a broker that states a priority belongs, and what is to be moved next in its site.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// The priority that its row would show if the site were in order.
    pub wanted: i64,
    /// The next move in the site; none where it is in order.
    pub turn: Option<Turn>,
    /// The objects whose brokers are out of their place, or change it with that move.
    pub concerned: Vec<ObjectKey>,
    /// Whether an object of the farm that states a priority has not been looked at yet: where brokers come in a crowd,
    /// the order is made of all of them.
    pub gathers: bool,
    /// The secondaries' ids in the order on which this was decided.
    pub order: Arc<[i64]>,
}

/// Whose turn it is to be moved, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The object.
    pub key: ObjectKey,
    /// The move of its row.
    pub to: ras::Move,
}

/// What an object says about the order of its site, if it says anything: an object that only observes, that owns no
/// row, or whose spec cannot be acted on, does not.
pub fn stated(broker: &RasBroker) -> Option<(SiteKey, Stated)> {
    let priority = broker.spec.priority?;
    let object = ObjectFacts::of(broker);
    let is_managed = object.desired.management == ManagementPolicy::Managed;
    let id =
        object.owned_id().filter(|_| is_managed && object.finalizer && object.desired.invalid.is_none())?;
    let site = SiteKey { identity: object.status.farm_guid?, site_id: object.status.site_id? };
    let rests = object.desired.suspend || object.deleted.is_some();
    Some((site, Stated { key: ObjectKey::of(broker), id, name: object.desired.name, priority, rests }))
}

/// Whether an object states a priority and nothing has been said of it yet.
pub fn is_new(broker: &RasBroker) -> bool {
    let is_seen = broker.status.as_ref().is_some_and(|status| status.observed_generation != NEVER_OBSERVED);
    broker.spec.priority.is_some() && broker.metadata.deletion_timestamp.is_none() && !is_seen
}

/// Where the row `id` belongs among the secondaries of its site; `None` where it has no place to be judged by.
pub fn place(snapshot: &Snapshot, site_id: i64, id: i64, stated: &[Stated], form: MoveForm) -> Option<Place> {
    let order = snapshot.order(site_id);
    let site = Site::new(snapshot, &order, stated);
    let at = site.wanted.iter().position(|wanted| *wanted == id)?;
    let wanted = site.counted.get(at).and_then(|shown| snapshot.row(*shown)?.priority)?;
    let next = site.next(&order, form);
    let concerned = next.map(|(id, to)| site.concerned(&moved(&order, id, to))).unwrap_or_default();
    let turn = next.and_then(|next| site.turn(next));
    Some(Place { wanted, turn, concerned, gathers: false, order })
}

/// The objects that have to look at their place: those that are out of it, and the one that is moved next. None in a
/// site that is in order.
pub fn concerned(snapshot: &Snapshot, site_id: i64, stated: &[Stated], form: MoveForm) -> Vec<ObjectKey> {
    let order = snapshot.order(site_id);
    let site = Site::new(snapshot, &order, stated);
    site.next(&order, form).map(|(id, to)| site.concerned(&moved(&order, id, to))).unwrap_or_default()
}

/// The secondaries of a site that count, as they are and as they should be.
struct Site<'a> {
    counted: Vec<i64>,
    wanted: Vec<i64>,
    /// The objects whose rows may be moved: those of the first rows of `wanted`.
    keys: HashMap<i64, &'a ObjectKey>,
}

impl<'a> Site<'a> {
    fn new(snapshot: &Snapshot, order: &[i64], stated: &'a [Stated]) -> Self {
        let is_its =
            |stated: &&Stated| snapshot.row(stated.id).is_some_and(|row| RowKey::of(row).name == stated.name);
        let stated: HashMap<i64, &Stated> =
            stated.iter().filter(is_its).map(|stated| (stated.id, stated)).collect();
        let counts = |id: &&i64| {
            let is_going = snapshot.row(**id).is_some_and(|row| row.marked_for_deletion == Some(true));
            !is_going && stated.get(*id).is_none_or(|stated| !stated.rests)
        };
        let counted: Vec<i64> = order.iter().filter(counts).copied().collect();
        let wanted = wanted(&counted, |id| stated.get(&id).map(|stated| (stated.priority, &stated.name)));
        let keys = counted.iter().filter_map(|id| Some((*id, &stated.get(id)?.key))).collect();
        Self { counted, wanted, keys }
    }

    fn next(&self, order: &[i64], form: MoveForm) -> Option<(i64, ras::Move)> {
        next_move(order, &self.counted, &self.wanted, self.keys.len(), form)
    }

    fn turn(&self, (id, to): (i64, ras::Move)) -> Option<Turn> {
        let key = (*self.keys.get(&id)?).clone();
        Some(Turn { key, to })
    }

    /// Whose brokers are out of their place, or change it on the way to this order.
    fn concerned(&self, next: &[i64]) -> Vec<ObjectKey> {
        let next = next.iter().filter(|id| self.counted.contains(id));
        let places = self.counted.iter().zip(&self.wanted).zip(next);
        let concerned = places.filter(|((now, wanted), next)| now != wanted || now != next);
        concerned.filter_map(|((now, _), _)| self.keys.get(now).map(|key| (*key).clone())).collect()
    }
}

/// The order that is asked for: rows with a rank by their rank, then the others as they are.
pub fn wanted<R: Ord>(present: &[i64], rank: impl Fn(i64) -> Option<R>) -> Vec<i64> {
    let (mut ranked, others): (Vec<i64>, Vec<i64>) = present.iter().partition(|id| rank(**id).is_some());
    ranked.sort_by_key(|id| rank(*id));
    ranked.into_iter().chain(others).collect()
}

/// The next of the fewest moves from `present`, a part of `order`, to `wanted`, whose first `movable` rows may be
/// moved; the rest of it is in the order of `present`. Made again and again, it ends.
pub fn next_move(
    order: &[i64],
    present: &[i64],
    wanted: &[i64],
    movable: usize,
    form: MoveForm,
) -> Option<(i64, ras::Move)> {
    match form {
        // Each step up undoes one of the pairs that stand the wrong way round, and no step undoes more.
        MoveForm::Step => {
            let misplaced = wanted.iter().zip(present).find(|(wanted, present)| wanted != present);
            misplaced.map(|(id, _)| (*id, ras::Move::Up))
        }
        MoveForm::Number => {
            let kept = kept(present, wanted, movable);
            let at = wanted.iter().position(|id| !kept.contains(id))?;
            let id = wanted[at];
            let others: Vec<i64> = order.iter().copied().filter(|other| *other != id).collect();
            let place_of =
                |wanted: &i64| others.iter().position(|other| other == wanted).map(|index| index + 1);
            // Right behind the one before it; the first of all right before whoever is first.
            let place = match at.checked_sub(1).and_then(|before| place_of(&wanted[before])) {
                Some(before) => before + 1,
                None => present.iter().find(|other| **other != id).and_then(place_of).unwrap_or(1),
            };
            i64::try_from(place).ok().map(|place| (id, ras::Move::To(place)))
        }
    }
}

/// The most rows that can stay where they are while the others are moved: among them all that may not be moved.
fn kept(present: &[i64], wanted: &[i64], movable: usize) -> HashSet<i64> {
    let rank: HashMap<i64, usize> = wanted.iter().enumerate().map(|(rank, id)| (*id, rank)).collect();
    let is_movable = |id: &&i64| rank.get(*id).is_some_and(|rank| *rank < movable);
    // What belongs before all that stays must not stand behind any of it.
    let before: Vec<i64> = present.iter().take_while(is_movable).copied().collect();
    let ranks: Vec<usize> = before.iter().filter_map(|id| rank.get(id).copied()).collect();
    longest_run(&ranks).into_iter().chain(movable..wanted.len()).map(|rank| wanted[rank]).collect()
}

/// A longest increasing part of `ranks`.
fn longest_run(ranks: &[usize]) -> Vec<usize> {
    // For each length the position of the lowest rank that such a run can end with.
    let mut ends: Vec<usize> = Vec::new();
    let mut before = Vec::with_capacity(ranks.len());
    for (position, rank) in ranks.iter().enumerate() {
        let length = ends.partition_point(|end| ranks[*end] < *rank);
        before.push(length.checked_sub(1).map(|shorter| ends[shorter]));
        match ends.get_mut(length) {
            Some(end) => *end = position,
            None => ends.push(position),
        }
    }
    std::iter::successors(ends.last().copied(), |position| before[*position])
        .map(|position| ranks[position])
        .collect()
}

/// The order after a move, as the farm is expected to carry it out.
pub fn moved(order: &[i64], id: i64, to: ras::Move) -> Vec<i64> {
    let Some(at) = order.iter().position(|other| *other == id) else { return order.to_vec() };
    let mut order = order.to_vec();
    order.remove(at);
    let place = match to {
        ras::Move::Up => at.saturating_sub(1),
        ras::Move::To(place) => usize::try_from(place.max(1) - 1).unwrap_or(0),
    };
    order.insert(place.min(order.len()), id);
    order
}

#[cfg(test)]
mod tests;
