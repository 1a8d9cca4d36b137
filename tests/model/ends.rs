//! On what a world may rest: a broker that is as its object wants it, or a word that this very world gives a reason for.

use ras_operator::crd::condition::Reason;

use crate::explore::{Exploration, rest};
use crate::scenario::Scenario;
use crate::world::{Fault, Object, Row, SLOTS, World};

/// What people have done by now that a world does not show any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Past {
    removals: u8,
    edited: bool,
}

impl Past {
    /// What of the budget is spent.
    pub fn of(model: &Exploration, world: &World) -> Self {
        let spent = |fault: Fault| model.budget[fault as usize] - world.budget[fault as usize];
        Self {
            removals: spent(Fault::PersonDeletes) + spent(Fault::PersonReplaces),
            edited: spent(Fault::PersonEdits) > 0,
        }
    }
}

/// Whether nothing is left to do, everything is applied, and each object waits for nothing, or for a person who has a
/// reason to come.
pub fn is_end(scenario: Scenario, past: Past, world: &World) -> bool {
    !world.pending
        && (0..SLOTS).all(|slot| match (&world.store[slot], rest(scenario, world, slot)) {
            (None, None) => true,
            (Some(object), Some(decision)) => {
                let case = Case { scenario, past, world, slot, object };
                decision.todo.is_none() && case.has_cause(decision.rests_on)
            }
            (Some(_), None) | (None, Some(_)) => false,
        })
}

/// One object that rests.
struct Case<'a> {
    scenario: Scenario,
    past: Past,
    world: &'a World,
    slot: usize,
    object: &'a Object,
}

impl Case<'_> {
    fn has_cause(&self, rests_on: Option<Reason>) -> bool {
        let Some(reason) = rests_on else { return self.is_well() };
        let (own, others) = (self.rows(true).count(), self.rows(false).count());
        match reason {
            Reason::AlreadyExists => own == 0 && others > 0,
            Reason::ResourceConflict => self.is_second() || own + others > 1,
            Reason::ExternallyDeleted => self.is_left_alone() && own + others == 0,
            Reason::MassDeletionBreaker => self.deletions() > usize::from(self.scenario.threshold),
            // A person's edit between a PUT and the list after its Apply is taken for what the farm made of it.
            Reason::ReconcileError if self.past.edited => true,
            Reason::ReconcileError => self.is_last() && self.object.disabled,
            Reason::AvailabilityGuard => self.is_last() && self.object.deleted.is_some(),
            _ => false,
        }
    }

    /// What was removed once is made again, unless it was adopted.
    fn is_left_alone(&self) -> bool {
        let enough = if self.scenario.adopts { 1 } else { 2 };
        self.past.removals >= enough
    }

    /// Its broker is there, and as it is to be; where it matters what the farm applied, that is this as well.
    fn is_well(&self) -> bool {
        let is_applied =
            |row: &Row| !self.scenario.established || self.past.edited || row.serves == row.enabled;
        let is_right = |row: &Row| row.enabled != self.object.disabled && !row.marked && is_applied(row);
        self.object.deleted.is_none() && self.rows(true).any(is_right)
    }

    /// The rows for its server: its own, or those of anybody else.
    fn rows(&self, own: bool) -> impl Iterator<Item = &Row> {
        let (server, uid) = (self.scenario.servers[self.slot], self.object.uid);
        let is_it = move |row: &&Row| row.server == server && (row.owner == Some(uid)) == own;
        self.world.rows.iter().filter(is_it)
    }

    /// Whether another object for its server comes first, which then does not wait for this one.
    fn is_second(&self) -> bool {
        let [first, second] = self.scenario.servers;
        let rival = rest(self.scenario, self.world, 1 - self.slot);
        first == second && rival.is_some_and(|rival| rival.rests_on != Some(Reason::ResourceConflict))
    }

    /// Those of all objects that a threshold counts.
    fn deletions(&self) -> usize {
        let going = self.world.store.iter().flatten().filter(|object| object.deleted.is_some()).count();
        let sent = self.world.processes.iter().flatten().map(|process| usize::from(process.sent)).max();
        // Without a threshold there is no limit.
        if self.scenario.threshold == 0 { 0 } else { going + sent.unwrap_or_default() }
    }

    /// The last broker that serves its site waits for a person.
    fn is_last(&self) -> bool {
        let server = self.scenario.servers[self.slot];
        let is_other = |row: &Row| row.enabled && !row.marked && row.server != server;
        self.scenario.established && !self.world.rows.iter().any(is_other)
    }
}
