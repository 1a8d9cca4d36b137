//! What holds in every scenario, read from the farm's journal and its rows.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ras_operator::simulator::JournalEntry;

use super::{BROKERS, LATER};
use crate::support::{eventually, stays};
use crate::world::World;

/// The rows that are not the operator's, and what a person took from the farm.
#[derive(Debug)]
pub(crate) struct Watch {
    foreign: BTreeSet<i64>,
    removed: BTreeMap<String, usize>,
}

impl Watch {
    /// What is in the farm now is somebody else's.
    pub(crate) fn over(world: &World) -> Self {
        let foreign = world.farm().brokers().into_iter().map(|row| row.id).collect();
        Self { foreign, removed: BTreeMap::new() }
    }

    /// A person made this row.
    pub(crate) fn stranger(&mut self, id: i64) {
        self.foreign.insert(id);
    }

    /// A person removed the row of this server, so that it may be created once more.
    pub(crate) fn removed(&mut self, server: &str) {
        *self.removed.entry(server.to_owned()).or_default() += 1;
    }

    /// There is another object for this server than before, which may be created in its own right.
    pub(crate) fn another_object(&mut self, server: &str) {
        self.removed(server);
    }

    /// Waits until nothing is pending and nothing is written any more, and checks the rules.
    pub(crate) async fn settled(&self, world: &World) {
        eventually("the farm has nothing pending", LATER, async || {
            if world.farm().is_pending() { Err(world.writes()) } else { Ok(()) }
        })
        .await;
        // An Apply follows each lost answer once it can no longer take effect; nothing else may.
        let writes = || world.writes().into_iter().filter(|write| !write.contains("apply")).count();
        let before = writes();
        stays("no broker is written", Duration::from_secs(3), async || {
            if writes() == before { Ok(()) } else { Err(world.writes()) }
        })
        .await;
        self.holds(world);
    }

    /// The rules.
    pub(crate) fn holds(&self, world: &World) {
        let journal = world.farm().journal();
        self.one_row_each(world);
        self.one_post_per_reason(&journal);
        self.nothing_foreign_is_touched(&journal);
    }

    fn one_row_each(&self, world: &World) {
        let mut rows = BTreeMap::<(i64, String), usize>::new();
        for row in world.farm().brokers() {
            *rows.entry((row.site_id, row.server.to_lowercase())).or_default() += 1;
        }
        assert!(rows.values().all(|count| *count == 1), "{rows:?}");
        for id in &self.foreign {
            let row = world.farm().broker(*id);
            assert!(row.is_some_and(|row| !row.marked_for_deletion), "row {id} was somebody else's");
        }
    }

    /// POSTs <= 1 + attempts that were lost or refused + removals by a person. One that was carried out was not lost,
    /// whatever became of its answer: its row is found.
    fn one_post_per_reason(&self, journal: &[JournalEntry]) {
        let mut posts = BTreeMap::<String, (usize, usize)>::new();
        for entry in journal.iter().filter(|entry| entry.method == "POST" && entry.route == BROKERS) {
            let (all, failed) = posts.entry(server_of(entry).unwrap_or_default()).or_default();
            *all += 1;
            *failed += usize::from(entry.commit.is_none());
        }
        for (server, (all, failed)) in posts {
            let removed = self.removed.get(&server).copied().unwrap_or_default();
            assert!(all <= 1 + failed + removed, "{server}: {all} POSTs, {failed} failed, {removed} removed");
        }
    }

    fn nothing_foreign_is_touched(&self, journal: &[JournalEntry]) {
        for entry in journal.iter().filter(|entry| entry.method == "PUT" || entry.method == "DELETE") {
            let id = entry.path.split(['/', '?']).nth(3).and_then(|id| id.parse::<i64>().ok());
            assert!(!id.is_some_and(|id| self.foreign.contains(&id)), "not ours: {entry:#?}");
        }
    }
}

/// The server that a POST names.
pub(crate) fn server_of(entry: &JournalEntry) -> Option<String> {
    entry.body.as_ref()?.get("server")?.as_str().map(str::to_owned)
}
