//! What keeps a site served: each site keeps a broker that is enabled and not in standby, and what lowers the service
//! of a site goes one at a time. Pure; asked twice, by the plan and, under the farm's lock, when the call is let go.
//!
//! Nothing here waits for ever. What raises a site's service waits for nothing here. What lowers it waits for raises
//! that are possible now, which go, fail or cease to be possible; and for the change before it, which waits for an
//! Apply alone. Whoever waits is in no queue, so no Apply waits for it. A last broker waits for a person, and says so.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::snapshot::Snapshot;
use crate::kubernetes::ObjectKey;
use crate::ras;

/// How much a broker serves its site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// Disabled, marked for deletion, or not there.
    #[default]
    Off,
    /// Enabled, and idle until another goes offline.
    Standby,
    /// Enabled and in use.
    Active,
}

impl Service {
    /// What a row shows.
    pub fn of(row: &ras::Broker) -> Self {
        let is_marked = row.marked_for_deletion == Some(true);
        if is_marked { Self::Off } else { Self::with(row.enabled, row.standby) }
    }

    /// What these settings make of a broker; what is left out is as it is by default.
    pub fn with(enabled: Option<bool>, standby: Option<bool>) -> Self {
        match (enabled, standby) {
            (Some(false), _) => Self::Off,
            (Some(true) | None, Some(true)) => Self::Standby,
            (Some(true) | None, Some(false) | None) => Self::Active,
        }
    }
}

/// In which way a site changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A broker was created, enabled or taken out of standby.
    Raise,
    /// A broker's settings are changed.
    Update,
    /// A broker is deleted: those of one batch go together.
    Delete,
    /// A broker was made the primary.
    Promote,
}

/// A change of what one broker does for its site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The site.
    pub site_id: i64,
    /// The row's id.
    pub id: i64,
    /// In which way.
    pub kind: Kind,
    /// What the broker serves afterwards.
    pub to: Service,
    /// Whether a person wants it also for the last broker of the site.
    pub insists: bool,
}

/// Why a change must not be made now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Others of the site are about to be raised, or were and it is not applied: that comes first.
    Raise,
    /// Another change of the site is not applied.
    Turn,
    /// No other broker of the site would serve it.
    Last,
}

/// A change that was let go, or seen, until a list from after its Apply.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Written {
    /// Whose change it is, where that is known.
    broker: Option<ObjectKey>,
    change: Change,
    /// The least that the broker serves, whether or not the change takes effect.
    least: Service,
    /// Whether its call is on its way: an Apply of that time may or may not commit it.
    is_on_its_way: bool,
    applied_at: Option<Duration>,
}

/// What of a farm's sites is changed and not applied: what the decision looks at beside the rows.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    written: Arc<Vec<Written>>,
    /// Whether an earlier process wrote something, nobody knows what, that is not applied or may still arrive.
    inherited: bool,
    /// Counts what those who wait look at, so that nothing that happens while they look is missed.
    pub moves: u64,
}

impl Changes {
    /// What a broker serves for certain: by the list as well as by what is written and not applied. What is only seen
    /// to serve more may long have done so, as where a list before it was short.
    pub fn certain(&self, row: &ras::Broker) -> Service {
        let is_own = |written: &&Written| written.change.id == row.id && written.broker.is_some();
        let own = self.written.iter().filter(is_own);
        own.map(|written| written.least).fold(Service::of(row), Service::min)
    }

    /// Whether what an earlier process wrote may still arrive.
    pub fn may_inherit(&self) -> bool {
        self.inherited
    }

    /// Whether the site was raised and that is not applied.
    pub fn is_raised(&self, site_id: i64) -> bool {
        let is_raise =
            |written: &Written| written.change.site_id == site_id && written.change.kind == Kind::Raise;
        self.written.iter().any(is_raise)
    }

    /// Whether that the broker with this id was made the primary may not be applied.
    pub fn is_promoted(&self, id: i64) -> bool {
        let is_it = |written: &Written| written.change.id == id && written.change.kind == Kind::Promote;
        self.inherited || self.written.iter().any(is_it)
    }

    /// Whether `change` takes service away.
    pub fn lowers(&self, snapshot: &Snapshot, change: &Change) -> bool {
        change.to < self.certain_of(snapshot, change.id)
    }

    fn certain_of(&self, snapshot: &Snapshot, id: i64) -> Service {
        snapshot.row(id).map_or(Service::Off, |row| self.certain(row))
    }

    /// Why `change` must not be made now, if so.
    pub fn wait(&self, snapshot: &Snapshot, change: &Change) -> Option<Wait> {
        let own = self.certain_of(snapshot, change.id);
        if own <= change.to {
            return None;
        }
        if !change.insists {
            let others = self.best_of_others(snapshot, change, |_| true);
            if others < own {
                let hoped = self.best_of_others(snapshot, change, |kind| kind != Kind::Raise);
                return Some(if hoped < own { Wait::Last } else { Wait::Raise });
            }
        }
        (self.inherited || self.written.iter().any(|written| written.is_before(change))).then_some(Wait::Turn)
    }

    /// The most that any other broker of the site serves, by its row and those written changes that count.
    fn best_of_others(&self, snapshot: &Snapshot, change: &Change, counts: impl Fn(Kind) -> bool) -> Service {
        let mut least: HashMap<i64, Service> = HashMap::new();
        for written in self.written.iter().filter(|written| counts(written.change.kind)) {
            let known = least.entry(written.change.id).or_insert(Service::Active);
            *known = written.least.min(*known);
        }
        let others = snapshot.rows().filter(|row| row.site_id == change.site_id && row.id != change.id);
        let serves = |row: &Arc<ras::Broker>| {
            let written = least.get(&row.id).copied().unwrap_or(Service::Active);
            written.min(Service::of(row))
        };
        others.map(serves).max().unwrap_or_default()
    }
}

impl Written {
    /// Whether `next` has its turn only after this one.
    fn is_before(&self, next: &Change) -> bool {
        let goes_along = match (self.change.kind, next.kind) {
            (Kind::Raise, _) | (Kind::Delete, Kind::Delete) => true,
            (Kind::Update | Kind::Delete | Kind::Promote, _) => self.change.id == next.id,
        };
        self.change.site_id == next.site_id && !goes_along
    }
}

/// A farm's changes as its state keeps them, and who waits for them.
#[derive(Debug, Default)]
pub struct Sites {
    changes: Changes,
    /// The Apply after which nothing of an earlier process can arrive any more.
    inheritance_applied_at: Option<Duration>,
    waiting: BTreeSet<ObjectKey>,
    called: BTreeSet<ObjectKey>,
}

impl Sites {
    /// At a process's start; `inherited` says that an earlier one left something that is not applied.
    pub fn new(inherited: bool) -> Self {
        Self { changes: Changes { inherited, ..Changes::default() }, ..Self::default() }
    }

    /// What decisions look at.
    pub fn changes(&self) -> Changes {
        self.changes.clone()
    }

    /// Whether something that an earlier process has sent may still arrive.
    pub fn may_inherit(&self) -> bool {
        self.changes.may_inherit()
    }

    /// A change is let go; whether it is one that others wait for. One that undoes a raise which is not seen yet takes
    /// nothing away that counted, but a list that is on its way may still show the raise.
    pub fn begin(&mut self, broker: &ObjectKey, snapshot: &Snapshot, change: Change) -> bool {
        let shown = snapshot.row(change.id).map(|row| Service::of(row)).unwrap_or_default();
        let lowers = change.to < shown;
        if lowers {
            self.note(Some(broker), change, change.to, true);
        }
        lowers
    }

    /// The broker of `row` was, or may have been, made the primary. What lowers the site waits until that is applied;
    /// the promotion itself has waited for everything before it was sent.
    pub fn promoted(&mut self, broker: &ObjectKey, row: &ras::Broker) {
        let to = Service::of(row);
        let change = Change { site_id: row.site_id, id: row.id, kind: Kind::Promote, to, insists: false };
        self.note(Some(broker), change, to, false);
    }

    /// A broker is written to be `row`. That it serves more counts only once it is applied and seen.
    pub fn raised(&mut self, broker: &ObjectKey, snapshot: &Snapshot, row: &ras::Broker) {
        self.note_raise(Some(broker), snapshot, row);
    }

    /// The farm shows `row` while something of ours is not applied. If it serves more than before, that may be a change
    /// of ours which was not answered, or never will be: it counts as one that was.
    pub fn seen(&mut self, snapshot: &Snapshot, row: &ras::Broker) {
        self.note_raise(None, snapshot, row);
    }

    fn note_raise(&mut self, broker: Option<&ObjectKey>, snapshot: &Snapshot, row: &ras::Broker) {
        let before = snapshot.row(row.id).map(|row| Service::of(row)).unwrap_or_default();
        let to = Service::of(row);
        if before < to {
            let change = Change { site_id: row.site_id, id: row.id, kind: Kind::Raise, to, insists: false };
            self.note(broker, change, before, false);
        }
    }

    fn note(&mut self, broker: Option<&ObjectKey>, change: Change, least: Service, is_on_its_way: bool) {
        let written = Written { broker: broker.cloned(), change, least, is_on_its_way, applied_at: None };
        self.keep_once(written);
    }

    /// Until an Apply comes, which may be long, the same change may be seen or made any number of times.
    fn keep_once(&mut self, new: Written) {
        let all = Arc::make_mut(&mut self.changes.written);
        let is_it = |written: &&mut Written| {
            (&written.broker, &written.change) == (&new.broker, &new.change)
                && (written.is_on_its_way, written.applied_at) == (new.is_on_its_way, new.applied_at)
        };
        match all.iter_mut().find(is_it) {
            Some(written) => written.least = written.least.min(new.least),
            None => all.push(new),
        }
    }

    /// The call of a change is over; `is_written` says that it may have reached the farm.
    pub fn end(&mut self, broker: &ObjectKey, change: &Change, is_written: bool) {
        let written = Arc::make_mut(&mut self.changes.written);
        let is_it = |written: &Written| written.broker.as_ref() == Some(broker) && written.change == *change;
        let Some(index) = written.iter().rposition(is_it) else { return };
        let ended = written.remove(index);
        if is_written {
            self.keep_once(Written { is_on_its_way: false, ..ended });
        } else {
            self.moved();
        }
    }

    /// An Apply was answered, for all but those brokers whose writes may arrive `late`; `is_last` says that nothing can
    /// arrive any more, of an earlier process either.
    pub fn applied(&mut self, now: Duration, is_last: bool, late: impl Fn(&ObjectKey) -> bool) {
        if is_last {
            self.inheritance_applied_at.get_or_insert(now);
        }
        for written in Arc::make_mut(&mut self.changes.written) {
            if !written.is_on_its_way && !written.broker.as_ref().is_some_and(&late) {
                written.applied_at.get_or_insert(now);
            }
        }
    }

    /// The farm was listed at `asked`: what was applied before is seen now.
    pub fn listed(&mut self, asked: Duration) {
        if self.changes.inherited && self.inheritance_applied_at.is_some_and(|at| at <= asked) {
            self.changes.inherited = false;
            self.moved();
        }
        self.keep(|written| written.applied_at.is_none_or(|at| asked < at));
    }

    /// Nothing of ours reached the farm after all: there is no Apply to come for what was seen meanwhile.
    pub fn nothing_written(&mut self) {
        self.keep(|written| written.broker.is_some());
    }

    fn keep(&mut self, is_open: impl Fn(&Written) -> bool) {
        if !self.changes.written.iter().all(&is_open) {
            Arc::make_mut(&mut self.changes.written).retain(is_open);
            self.moved();
        }
    }

    /// The farm is another one: nothing of this is known of it.
    pub fn forget(&mut self) {
        self.changes.written = Arc::default();
        self.changes.inherited = false;
        self.moved();
    }

    /// Something that may be waited for has happened: whoever waits looks again.
    pub fn moved(&mut self) {
        self.changes.moves += 1;
        self.called.append(&mut self.waiting);
    }

    /// `broker` waits since it looked at the farm as of `moves`.
    pub fn join(&mut self, broker: &ObjectKey, moves: u64) {
        if self.changes.moves == moves {
            self.waiting.insert(broker.clone());
        } else {
            self.called.insert(broker.clone());
        }
    }

    /// `broker` is gone.
    pub fn leave(&mut self, broker: &ObjectKey) {
        self.waiting.remove(broker);
        self.called.remove(broker);
    }

    /// Who is to look again.
    pub fn call(&mut self) -> BTreeSet<ObjectKey> {
        std::mem::take(&mut self.called)
    }
}

#[cfg(test)]
mod tests;
