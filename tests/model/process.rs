//! What one process keeps of its farm: `FarmState`, `Sites` and the batch, as lists, writes and Applies change them.

use crate::scenario::{Rule, Scenario};
use crate::world::{
    Call, Changed, Flow, Gathered, Inheritance, Known, Listed, Listing, Lowers, Process, Row, SLOTS, View,
    World, Written,
};

/// Quarantine in ticks: 18 s.
pub const QUARANTINE: u8 = 3;

impl Process {
    /// A process that has just started, to which its watch shows this, and which remembers nothing.
    fn started(known: View, pending: bool) -> Self {
        Self {
            may_act: true,
            stopped: false,
            lagging: false,
            known,
            memory: Default::default(),
            listed: None,
            listing: None,
            list_asked: false,
            down: false,
            batch: Gathered::Closed,
            unapplied: [None; SLOTS],
            settling: [None; SLOTS],
            unanswered: None,
            unsure: [false; SLOTS],
            inheritance: if pending { Inheritance::Open } else { Inheritance::Nothing },
            changes: Vec::new(),
            own_deletes: false,
            confirming: 0,
            sent: 0,
            flows: Default::default(),
        }
    }

    /// `Sites::seen`: what serves more than was known while something of ours is not applied.
    pub fn see(&mut self, rows: &[Row]) {
        let known = self.listed.iter().flat_map(|listed| &listed.rows);
        let served: Vec<u8> = known.filter(|row| serves(row)).map(|row| row.id).collect();
        for row in rows.iter().filter(|row| serves(row) && !served.contains(&row.id)) {
            self.note(0, row.id, Lowers::Seen, false);
        }
    }

    pub fn put_row(&mut self, row: &Row) {
        let row = row.seen();
        if let Some(listing) = &mut self.listing {
            listing.written.retain(|other| other.id != row.id);
            listing.written.push(row.clone());
        }
        if let Some(listed) = &mut self.listed {
            overlay(&mut listed.rows, row);
        }
    }

    pub fn remove_row(&mut self, id: u8) {
        if let Some(listed) = &mut self.listed {
            listed.rows.retain(|row| row.id != id);
        }
    }

    /// `FarmState::wrote`.
    pub fn wrote(&mut self, slot: usize, written: Written) {
        self.unapplied[slot] = self.unapplied[slot].max(Some(written));
    }

    /// A write may have reached the farm.
    pub fn touch(&mut self) {
        if let Gathered::Open { dirty, .. } = &mut self.batch {
            *dirty = true;
        }
    }

    /// `Sites::note`.
    pub fn note(&mut self, slot: usize, id: u8, kind: Lowers, is_on_its_way: bool) {
        let slot = u8::try_from(slot).unwrap_or_default();
        let change = Changed { slot, id, kind, is_on_its_way, applied: false };
        // Twice the same says nothing more.
        if is_on_its_way || !self.changes.contains(&change) {
            self.changes.push(change);
        }
    }

    /// `Sites::end`, as the permit of a step is given back.
    pub fn change_is_over(&mut self, slot: usize, is_written: bool) {
        let own = |change: &Changed| usize::from(change.slot) == slot && change.is_on_its_way;
        if is_written {
            self.changes
                .iter_mut()
                .filter(|change| own(change))
                .for_each(|change| change.is_on_its_way = false);
        } else {
            self.changes.retain(|change| !own(change));
        }
    }

    /// Calls that hold a permit.
    pub fn in_flight(&self) -> usize {
        let holds = |flow: &&Flow| match flow.call {
            Call::Report(..) | Call::Claim | Call::Release { .. } => false,
            Call::Intent(_)
            | Call::BeforePost(..)
            | Call::Post(_)
            | Call::Identity(..)
            | Call::Refusal(_)
            | Call::Put(..)
            | Call::Read(..)
            | Call::Delete(_)
            | Call::Gone(_) => true,
        };
        self.flows.iter().flatten().filter(holds).count()
    }
}

pub fn serves(row: &Row) -> bool {
    row.enabled && !row.marked
}

pub fn overlay(rows: &mut Vec<Row>, row: Row) {
    rows.retain(|other| other.id != row.id);
    rows.push(row);
    rows.sort();
}

impl World {
    /// Another process begins: with the world as it is, or with an old view of it until its watch catches up.
    pub fn start_process(&mut self, p: usize) {
        let old_view = self.old_view.take();
        let lagging = old_view.is_some();
        let known = old_view.unwrap_or_else(|| self.view());
        self.processes[p] = Some(Process { lagging, ..Process::started(known, self.pending) });
    }

    /// What a watch that is in step shows.
    pub fn view(&self) -> View {
        self.store.clone().map(|object| object.map(|object| Known { object, current: true }))
    }

    /// `FarmState::take_list`, and what a first list sets going.
    pub fn take_list(&mut self, scenario: Scenario, p: usize, listing: Listing) {
        let pending = self.pending;
        let process = self.process(p);
        let Listing { rows, written, age, overtaken } = listing;
        let mut rows: Vec<Row> = rows.iter().map(Row::seen).collect();
        for row in written {
            overlay(&mut rows, row);
        }
        rows.sort();
        if !overtaken {
            process.changes.retain(|change| !change.applied);
            if process.inheritance == Inheritance::Applied {
                process.inheritance = Inheritance::Nothing;
            }
        }
        if pending && process.listed.is_some() {
            process.see(&rows);
        }
        let old = process.listed.take();
        let mut previous = [false; SLOTS];
        for row in old.iter().flat_map(|old| &old.rows) {
            previous[usize::from(row.server)] = true;
        }
        let previous_age = old.as_ref().map_or(0, |old| old.age);
        let lists = old.as_ref().map_or(1, |_| 2);
        if old.is_none()
            && !scenario.breaks(Rule::ApplyAfterRestart)
            && (pending || process.inheritance != Inheritance::Nothing)
            && process.batch == Gathered::Closed
        {
            // Written before a restart and not applied yet: it is ours.
            process.batch = Gathered::Open { dirty: true, wait: 0 };
            process.unanswered = Some(0);
        }
        process.listed = Some(Listed { rows, previous, previous_age, lists, age });
        process.list_asked = false;
        process.down = false;
        if process.confirming > 0 {
            process.confirming -= 1;
            if process.confirming == 0 {
                process.settling = [None; SLOTS];
            }
        }
    }

    /// `Actor::everything_applied`.
    pub fn everything_applied(&mut self, p: usize) {
        let process = self.process(p);
        match process.unanswered.take() {
            // A write without an answer may still arrive: another Apply follows when it no longer can.
            Some(age) if age < QUARANTINE => {
                process.batch = Gathered::Open { dirty: true, wait: QUARANTINE - age };
            }
            Some(_) | None => {
                process.batch = Gathered::Closed;
                process.unsure = [false; SLOTS];
                if process.inheritance == Inheritance::Open {
                    process.inheritance = Inheritance::Applied;
                }
                self.pending = false;
            }
        }
        let process = self.process(p);
        for slot in (0..SLOTS).filter(|slot| !process.unsure[*slot]) {
            process.settling[slot] = process.unapplied[slot].take().or(process.settling[slot]);
        }
        for change in &mut process.changes {
            let slot = usize::from(change.slot);
            let is_late = process.unsure[slot] || process.unapplied[slot].is_some();
            change.applied |= change.kind == Lowers::Seen || !(change.is_on_its_way || is_late);
        }
        process.listing.iter_mut().for_each(|listing| listing.overtaken = true);
        process.confirming = if process.own_deletes { 2 } else { 1 };
        process.own_deletes = false;
        process.list_asked = true;
    }
}
