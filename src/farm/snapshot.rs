//! What a farm holds, as last listed and as changed by our own writes since.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;

use crate::broker::canonical::ServerName;
use crate::broker::order::moved;
use crate::ras;

/// The natural key of a broker in its farm.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowKey {
    /// Site id.
    pub site_id: i64,
    /// Canonical server name.
    pub name: ServerName,
}

impl RowKey {
    /// The key of a row.
    pub fn of(row: &ras::Broker) -> Self {
        Self { site_id: row.site_id, name: ServerName::new(&row.server) }
    }
}

/// One view of a farm's brokers and agents. Cheap to clone through its `Arc`; a change makes a new one.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    rows: BTreeMap<i64, Arc<ras::Broker>>,
    by_key: HashMap<RowKey, Vec<i64>>,
    /// Keys that the list before this one held: absent means absent from both.
    previous: HashSet<RowKey>,
    agents: HashMap<ServerName, Arc<ras::Agent>>,
    /// The secondaries of each site in their order, once somebody has asked for one: most never do.
    orders: OnceLock<HashMap<i64, Arc<[i64]>>>,
    lists: u32,
    /// When the list was asked for, on the clock that counts suspend.
    pub listed_at: Duration,
    /// When the list before it was asked for.
    pub listed_before: Duration,
    /// The farm's own clock when it answered, where it said.
    pub farm_time: Option<Timestamp>,
}

impl Snapshot {
    /// The view after another list.
    #[must_use]
    pub fn next(&self, rows: Vec<ras::Broker>, listed_at: Duration, farm_time: Option<Timestamp>) -> Self {
        let mut next = Self {
            previous: self.by_key.keys().cloned().collect(),
            agents: self.agents.clone(),
            lists: self.lists.saturating_add(1),
            listed_at,
            listed_before: self.listed_at,
            farm_time,
            ..Self::default()
        };
        for row in rows {
            next.insert(Arc::new(row));
        }
        next
    }

    /// The view with another list of agents. Agents are matched by server name: whether an agent's id is the
    /// broker's id is not documented.
    #[must_use]
    pub fn with_agents(&self, agents: Vec<ras::Agent>) -> Self {
        let agents = agents
            .into_iter()
            .filter_map(|agent| Some((ServerName::new(agent.server.as_deref()?), Arc::new(agent))))
            .collect();
        Self { agents, ..self.clone() }
    }

    /// Takes over a row that was written, or read by itself. A place that it does not tell stays as it was.
    pub fn put(&mut self, row: ras::Broker) {
        let before = self.rows.get(&row.id).filter(|before| RowKey::of(before) == RowKey::of(&row));
        let priority = row.priority.or_else(|| before?.priority);
        self.take_out(row.id);
        self.insert(Arc::new(ras::Broker { priority, ..row }));
    }

    /// The row without its place, where it stands among the secondaries as it did: such a place says something only
    /// beside those of the others, which a list tells.
    pub(super) fn by_itself(&self, row: ras::Broker) -> ras::Broker {
        let is_secondary = |row: &ras::Broker| row.priority.is_some_and(|place| place != 0);
        let is_same = |before: &ras::Broker| is_secondary(before) && RowKey::of(before) == RowKey::of(&row);
        let stays = is_secondary(&row) && self.rows.get(&row.id).is_some_and(|before| is_same(before));
        ras::Broker { priority: row.priority.filter(|_| !stays), ..row }
    }

    /// Drops a row that a read by id found gone. Absent it is only once a list lacks it, too: a farm may hide a row that
    /// is marked for deletion from reads by id, and show it in lists until that is applied.
    pub fn remove(&mut self, id: i64) {
        let key = self.take_out(id);
        self.previous.extend(key);
    }

    fn take_out(&mut self, id: i64) -> Option<RowKey> {
        self.orders.take();
        let key = RowKey::of(&*self.rows.remove(&id)?);
        if let Some(ids) = self.by_key.get_mut(&key) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_key.remove(&key);
            }
        }
        Some(key)
    }

    /// Takes over a move, as the farm is expected to carry it out: the same priorities in the new order. Answers the
    /// rows that changed theirs.
    pub fn move_row(&mut self, site_id: i64, id: i64, to: ras::Move) -> Vec<ras::Broker> {
        let order = self.order(site_id);
        let rows: Vec<_> =
            moved(&order, id, to).iter().filter_map(|id| self.rows.get(id).map(Arc::clone)).collect();
        let places = order.iter().filter_map(|id| self.rows.get(id)?.priority);
        let shifted: Vec<_> = rows
            .iter()
            .zip(places)
            .filter(|(row, place)| row.priority != Some(*place))
            .map(|(row, place)| ras::Broker { priority: Some(place), ..row.as_ref().clone() })
            .collect();
        for row in &shifted {
            self.put(row.clone());
        }
        shifted
    }

    /// The ids of a site's secondaries in the order of their priority; none where two show the same.
    pub fn order(&self, site_id: i64) -> Arc<[i64]> {
        let orders = self.orders.get_or_init(|| self.orders());
        orders.get(&site_id).map(Arc::clone).unwrap_or_default()
    }

    fn orders(&self) -> HashMap<i64, Arc<[i64]>> {
        let mut sites = HashMap::<i64, Vec<(i64, i64)>>::new();
        for row in self.rows.values() {
            if let Some(priority) = row.priority.filter(|priority| *priority != 0) {
                sites.entry(row.site_id).or_default().push((priority, row.id));
            }
        }
        let ids = |mut rows: Vec<(i64, i64)>| {
            rows.sort_unstable();
            let is_order = rows.is_sorted_by(|(one, _), (next, _)| one < next);
            rows.into_iter().filter(|_| is_order).map(|(_, id)| id).collect()
        };
        sites.into_iter().map(|(site, rows)| (site, ids(rows))).collect()
    }

    /// Whether the list of agents was read and names servers.
    pub fn has_agents(&self) -> bool {
        !self.agents.is_empty()
    }

    fn insert(&mut self, row: Arc<ras::Broker>) {
        self.orders.take();
        self.by_key.entry(RowKey::of(&row)).or_default().push(row.id);
        self.rows.insert(row.id, row);
    }

    /// All rows, by id.
    pub fn rows(&self) -> impl Iterator<Item = &Arc<ras::Broker>> {
        self.rows.values()
    }

    /// How many rows there are, whoever made them.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether the list was empty.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The row with this id.
    pub fn row(&self, id: i64) -> Option<&Arc<ras::Broker>> {
        self.rows.get(&id)
    }

    /// The rows with this key; more than one only where a farm breaks its own rule.
    pub fn with_key(&self, key: &RowKey) -> Vec<&Arc<ras::Broker>> {
        self.by_key.get(key).into_iter().flatten().filter_map(|id| self.rows.get(id)).collect()
    }

    /// Whether two consecutive lists had no row with this key.
    pub fn is_absent(&self, key: &RowKey) -> bool {
        self.lists > 1 && self.with_key(key).is_empty() && !self.previous.contains(key)
    }

    /// The agent of this server, where the agent list has it.
    pub fn agent(&self, name: &ServerName) -> Option<&Arc<ras::Agent>> {
        self.agents.get(name)
    }

    /// The keys whose row, or whose agent, is not the same in `other`.
    pub fn changed_keys(&self, other: &Self) -> HashSet<RowKey> {
        let keys = self.by_key.keys().chain(other.by_key.keys()).chain(&self.previous).chain(&other.previous);
        keys.filter(|key| !self.agrees_on(other, key)).cloned().collect()
    }

    fn agrees_on(&self, other: &Self, key: &RowKey) -> bool {
        self.with_key(key) == other.with_key(key)
            && self.is_absent(key) == other.is_absent(key)
            && self.agent(&key.name) == other.agent(&key.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: i64, server: &str) -> ras::Broker {
        ras::Broker { id, server: server.into(), site_id: 1, ..ras::Broker::default() }
    }

    fn key(server: &str) -> RowKey {
        RowKey { site_id: 1, name: ServerName::new(server) }
    }

    fn list(previous: &Snapshot, rows: Vec<ras::Broker>) -> Snapshot {
        previous.next(rows, Duration::ZERO, None)
    }

    #[test]
    fn a_row_that_is_gone_by_id_is_absent_once_a_list_lacks_it() {
        let row = ras::Broker { id: 7, server: "cb1".into(), site_id: 1, ..ras::Broker::default() };
        let key = RowKey::of(&row);
        let mut shown = list(&Snapshot::default(), vec![row.clone()]);
        for _ in 0..2 {
            shown.remove(7);
            assert!(shown.with_key(&key).is_empty() && !shown.is_absent(&key));
            // It was only hidden from reads by id.
            shown = list(&shown, vec![row.clone()]);
            assert!(!shown.is_absent(&key));
        }
        shown.remove(7);
        assert!(list(&shown, Vec::new()).is_absent(&key));
    }

    #[test]
    fn absent_takes_two_lists() {
        let first = list(&Snapshot::default(), vec![row(1, "a")]);
        let second = list(&first, vec![]);
        let third = list(&second, vec![]);
        assert!(!first.is_absent(&key("a")) && !second.is_absent(&key("a")) && third.is_absent(&key("a")));
    }

    #[test]
    fn a_written_row_replaces_the_listed_one() {
        let listed = list(&Snapshot::default(), vec![row(1, "a")]);
        let mut written = listed.clone();
        written.put(ras::Broker { enabled: Some(false), ..row(1, "A.") });
        assert_eq!(written.with_key(&key("a")).len(), 1);
        assert_eq!(written.row(1).unwrap().enabled, Some(false));
        written.remove(1);
        assert!(written.is_empty() && written.with_key(&key("a")).is_empty());
    }

    #[test]
    fn a_move_hands_out_the_same_priorities_in_another_order() {
        let place = |id, server, priority| ras::Broker { priority: Some(priority), ..row(id, server) };
        let rows = vec![place(1, "a", 0), place(2, "b", 1), place(3, "c", 4), place(4, "d", 6)];
        let mut snapshot = list(&Snapshot::default(), rows);
        assert_eq!(*snapshot.order(1), [2, 3, 4]);
        let shifted = snapshot.move_row(1, 4, ras::Move::To(1));
        let shown: Vec<_> = shifted.iter().map(|row| (row.id, row.priority)).collect();
        assert_eq!(shown, [(4, Some(1)), (2, Some(4)), (3, Some(6))]);
        assert_eq!(*snapshot.order(1), [4, 2, 3]);
        assert_eq!(snapshot.move_row(1, 3, ras::Move::Up).len(), 2);
        assert_eq!(*snapshot.order(1), [4, 3, 2]);
        assert_eq!(*snapshot.order(2), [0; 0], "another site has none");
        snapshot.put(place(5, "e", 6));
        assert_eq!(*snapshot.order(1), [0; 0], "two in one place are in no order");
    }

    #[test]
    fn only_what_changed_is_named() {
        let before = list(&Snapshot::default(), vec![row(1, "a"), row(2, "b")]);
        let same = list(&before, vec![row(1, "a"), row(2, "b")]);
        assert!(same.changed_keys(&list(&same, vec![row(2, "b"), row(1, "a")])).is_empty());
        let edited = list(&same, vec![row(1, "a"), ras::Broker { standby: Some(true), ..row(2, "b") }]);
        assert_eq!(same.changed_keys(&edited), HashSet::from([key("b")]));
    }
}
