//! What must hold at every moment, said once more and independently of the operator: who owns which row, what may be
//! sent, and what may be claimed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use ras_operator::simulator::Row;
use serde_json::Value;

use crate::clock;
use crate::life::{Leave, Life, ON_ITS_WAY, matches, may};
use crate::objects::{
    FORCE_ORPHAN, INTENT, annotation, condition, farm_of, has_finalizer, is_current, is_going, is_observer,
    is_true, name, owned_id, summary, takes_broker_along, text, uid,
};
use crate::order::is_of_attempt;
use crate::world::{CLUSTERS, home, is_operators};

/// One farm as it was seen.
#[derive(Default)]
pub struct Seen {
    rows: BTreeMap<i64, Row>,
    history: VecDeque<(Duration, Vec<Row>)>,
    /// Whose POST made a row.
    made: BTreeMap<i64, String>,
    /// Rows that a restored backup brought back: nobody has to take them along.
    back: BTreeSet<i64>,
    /// Rows that somebody took out: another object that has let them go since may have begun that.
    removed: BTreeSet<i64>,
    /// Rows that somebody else changed, and those that the farm left as they were when it was to change them.
    edited: BTreeSet<i64>,
    /// Rows that a person made for a server that had one.
    doubles: BTreeSet<i64>,
    /// Whether a person made another broker the primary.
    has_other_primary: bool,
    /// Whether it was restored from a backup: who made what is not known for certain since.
    was_restored: bool,
    /// The last POST for a server, by the account that sent it.
    posting: BTreeMap<(String, String), String>,
}

/// Everything that was seen, and what was wrong with it.
pub struct Oracle {
    lives: BTreeMap<String, Life>,
    farms: Vec<Seen>,
    /// `resyncPeriod` of the farms.
    period: Duration,
    /// How long after it was sent a call may take effect.
    lateness: Duration,
    pub was_restored: bool,
    pub wrong: Vec<String>,
}

impl Oracle {
    /// An oracle that has seen nothing.
    pub fn new(farms: usize, period: Duration, timeout: Duration) -> Self {
        let farms = (0..farms).map(|_| Seen::default()).collect();
        // As the protocol has it: the request's time limit, and ten seconds for a farm that is slow.
        let lateness = timeout + Duration::from_secs(10);
        Self { lives: BTreeMap::new(), farms, period, lateness, was_restored: false, wrong: Vec::new() }
    }

    /// Something was wrong.
    pub fn accuse(&mut self, what: &str) {
        let at = clock::elapsed();
        self.wrong.push(format!("at {:.3}: {what}", at.as_secs_f64()));
    }

    /// A version of a broker was written by the operator, or by somebody else.
    pub fn saw(&mut self, object: &Value, by_operator: bool) {
        let key = uid(object).to_owned();
        let life = self.lives.entry(key.clone()).or_default();
        let before = life.versions.last().map(|(_, before)| before.clone());
        if before.as_ref() == Some(object) {
            return;
        }
        let intent = |object: &Value| annotation(object, INTENT).map(str::to_owned);
        let had = before.as_ref().and_then(intent);
        if let Some(text) = intent(object).filter(|text| by_operator && Some(text) != had.as_ref()) {
            // A refusal is written over the intent that it refuses; what else is said of an attempt asks for no POST.
            if text.contains("\"refused\"") {
                life.unsent = None;
            } else if !before.as_ref().is_some_and(|before| is_of_attempt(&text, before)) {
                life.unsent = Some(clock::elapsed());
            }
        }
        life.versions.push((clock::awake(), object.clone()));
        let released = before.as_ref().is_some_and(has_finalizer) && !has_finalizer(object);
        life.stripped |= released && !by_operator;
        // What is said of it afterwards, where others hold it still, brings nothing back.
        if released && by_operator && (!is_going(object) || !takes_broker_along(object)) {
            life.leave.get_or_insert(Leave::LetGo);
        }
        life.leave.take_if(|leave| *leave == Leave::LetGo && has_finalizer(object));
        life.gone |= is_going(object) && !has_finalizer(object);
        if by_operator {
            if released && is_going(object) {
                self.check_release(&key, object);
            }
            self.check_origin(before.as_ref(), object);
            if before.is_none_or(|before| before["status"] != object["status"]) {
                self.check_ready(object);
            }
        }
    }

    /// What is said to have made its row has written an intent.
    fn check_origin(&mut self, before: Option<&Value>, object: &Value) {
        let is_maker = |object: &Value| text(object, "/status/origin") == "Created";
        let is_known = before.is_some_and(is_maker) || self.was_restored || self.lives[uid(object)].stripped;
        let has_intent = annotation(object, INTENT).is_some_and(|intent| intent.contains(uid(object)));
        if is_maker(object) && !is_known && !has_intent {
            self.accuse(&format!("{} is said to have made a row for which it sent nothing", name(object)));
        }
    }

    /// An object is not there any more.
    pub fn lost(&mut self, uid: &str) {
        if let Some(life) = self.lives.get_mut(uid) {
            life.gone = true;
        }
    }

    /// Somebody wrote another id into an object's status while lists may lack its row.
    pub fn forged(&mut self, uid: &str) {
        if let Some(life) = self.lives.get_mut(uid) {
            life.forged = true;
            life.leave = Some(Leave::Excused);
        }
    }

    /// Where an object ends its row may stay.
    pub fn may_leave_row(&mut self, uid: &str) {
        if let Some(life) = self.lives.get_mut(uid) {
            life.leave = Some(Leave::Excused);
        }
    }

    /// The API server was restored: objects made since are gone, and the others are as they were.
    pub fn restored(&mut self, lost: &[&str], there: &[Value], with_operator: bool) {
        self.was_restored = true;
        for uid in lost {
            let life = self.lives.entry((*uid).to_owned()).or_default();
            life.gone = true;
            life.stripped = true;
        }
        for object in there {
            let life = self.lives.entry(uid(object).to_owned()).or_default();
            // Deleted before the operator sees it, it goes without a finalizer.
            let had_finalizer = life.versions.last().is_some_and(|(_, before)| has_finalizer(before));
            life.stripped |= had_finalizer && !has_finalizer(object);
            let known = life.versions.last().and_then(|(_, before)| annotation(before, INTENT));
            if with_operator && known != annotation(object, INTENT) {
                // Nobody knows any more that a POST is on its way.
                life.in_doubt = None;
            }
            // What was refused last may have been made since, which is forgotten.
            let intent = annotation(object, INTENT).unwrap_or_default();
            let is_refused = intent.contains("\"refused\":\"") && !intent.contains("\"lostSince\":\"");
            if owned_id(object).is_none() && (intent.is_empty() || is_refused) {
                life.forged = true;
                life.leave = Some(Leave::Excused);
            }
            // Its row may have gone in the time that is forgotten.
            life.gone = false;
            life.removed += 1;
            life.versions.push((clock::awake(), object.clone()));
        }
    }

    fn check_release(&mut self, uid: &str, object: &Value) {
        let life = self.lives.get(uid).filter(|life| !life.stripped);
        if life.and_then(|life| life.in_doubt).is_some_and(|sent| clock::elapsed() < sent + self.lateness) {
            self.accuse(&format!("released while a POST may still arrive: {}", summary(object)));
        }
        if !takes_broker_along(object) || self.lives.get(uid).is_some_and(|life| life.leave.is_some()) {
            return;
        }
        let left: Vec<i64> = self.rows_of(uid).map(|(_, id)| id).collect();
        if !left.is_empty() {
            self.accuse(&format!("released while rows {left:?} of it are in the farm: {}", summary(object)));
        }
    }

    /// Rows that POSTs of this uid have made and that are still there.
    fn rows_of(&self, uid: &str) -> impl Iterator<Item = (usize, i64)> {
        self.farms.iter().enumerate().flat_map(move |(place, farm)| {
            let made = farm.made.iter().filter(move |(_, maker)| *maker == uid).map(|(id, _)| *id);
            let left = made.filter(|id| farm.rows.contains_key(id) && !farm.back.contains(id));
            left.map(move |id| (place, id))
        })
    }

    fn check_ready(&mut self, object: &Value) {
        if !is_true(object, "Ready") || !is_current(object) || is_going(object) {
            return;
        }
        // What is suspended is called ready, and says that nothing is done.
        if condition(object, "Ready") == Some(("True", "Suspended")) || is_observer(object) {
            return;
        }
        let farm = farm_of(object);
        let Some(id) = object["status"]["id"].as_i64() else {
            return self.accuse(&format!("ready without a row: {}", summary(object)));
        };
        let since = clock::elapsed().saturating_sub(self.period + ON_ITS_WAY / 3);
        let history = &self.farms[farm].history;
        let first = history.iter().rposition(|(at, _)| *at <= since).unwrap_or_default();
        let matched = history.range(first..).any(|(_, rows)| {
            rows.iter().any(|row| row.id == id && !row.marked_for_deletion && matches(object, row))
        });
        if !matched {
            let row = self.farms[farm].rows.get(&id).cloned();
            self.accuse(&format!("ready, and the farm never matched: {}; {row:?}", summary(object)));
        }
    }

    /// The rows of a farm after something may have changed them.
    pub fn look(&mut self, farm: usize, rows: Vec<Row>) {
        let seen = &mut self.farms[farm];
        if seen.history.back().is_some_and(|(_, last)| *last == rows) {
            return;
        }
        let is_ours = |row: &&Row| {
            let before = seen.rows.get(&row.id);
            // One that was marked and is not any more is made again by whoever asked for it.
            let is_revived =
                before.is_some_and(|before| before.marked_for_deletion && !row.marked_for_deletion);
            is_revived || before.is_none() && is_operators(&row.admin_create)
        };
        for row in rows.iter().filter(is_ours) {
            let by = if is_operators(&row.admin_last_mod) { &row.admin_last_mod } else { &row.admin_create };
            if let Some(maker) = seen.posting.get(&(by.clone(), row.server.to_lowercase())) {
                seen.made.insert(row.id, maker.clone());
                // It has arrived.
                if let Some(life) = self.lives.get_mut(maker) {
                    life.in_doubt = None;
                }
            }
        }
        seen.rows = rows.iter().map(|row| (row.id, row.clone())).collect();
        seen.history.push_back((clock::elapsed(), rows));
        let mut keys = BTreeSet::new();
        let twice: Vec<String> = seen
            .rows
            .values()
            // What a person makes twice is theirs to sort out.
            .filter(|row| !row.marked_for_deletion && !seen.doubles.contains(&row.id))
            .filter(|row| !keys.insert((row.site_id, row.server.to_lowercase())))
            .map(|row| row.server.clone())
            .collect();
        if !twice.is_empty() {
            self.accuse(&format!("two rows for {twice:?}"));
        }
    }

    /// A person made a second row for a server.
    pub fn doubled(&mut self, farm: usize, id: i64, server: &str) {
        self.farms[farm].doubles.insert(id);
        // With an answer that was lost nothing tells any more which row is whose.
        let is_unknown = |life: &&mut Life| {
            let is_its = life.ever(|object| text(object, "/spec/server").eq_ignore_ascii_case(server));
            let owns = life.ever(|object| owned_id(object).is_some());
            is_its && (life.in_doubt.is_some() || !owns)
        };
        self.lives.values_mut().filter(is_unknown).for_each(|life| life.leave = Some(Leave::Excused));
    }

    /// Whether a row of this farm may be another than it seems by id and server.
    pub fn is_unclear(&self, farm: usize) -> bool {
        !self.farms[farm].doubles.is_empty() || self.farms[farm].was_restored
    }

    /// Whether this is such a row.
    pub fn is_double(&self, farm: usize, id: i64) -> bool {
        self.farms[farm].doubles.contains(&id)
    }

    /// A farm was restored from a backup, and has these rows now.
    pub fn farm_restored(&mut self, farm: usize, rows: Vec<Row>) {
        let is_as_before = |id: &i64, before: &Row| {
            rows.iter().any(|row| row.id == *id && row.time_create == before.time_create)
        };
        let lost: Vec<i64> = self.farms[farm]
            .rows
            .iter()
            .filter(|(id, before)| !is_as_before(id, before))
            .map(|(id, _)| *id)
            .collect();
        for id in &lost {
            self.removed(farm, *id);
        }
        let seen = &mut self.farms[farm];
        let is_back = |row: &&Row| !seen.rows.contains_key(&row.id) || lost.contains(&row.id);
        seen.back.extend(rows.iter().filter(is_back).map(|row| row.id));
        // Their ids may be given to others.
        seen.made.retain(|id, _| !lost.contains(id));
        seen.rows = rows.iter().map(|row| (row.id, row.clone())).collect();
        seen.history.push_back((clock::elapsed(), rows));
        seen.edited.extend(seen.rows.keys());
        (seen.has_other_primary, seen.was_restored) = (true, true);
    }

    /// A POST leaves; answers for which object.
    pub fn sending(&mut self, namespace: &str, farm: usize, server: &str) -> Option<String> {
        let (now, server) = (clock::elapsed(), server.to_lowercase());
        let fits = |life: &Life| {
            life.versions.last().is_some_and(|(_, object)| {
                text(object, "/spec/server").to_lowercase() == server
                    && text(object, "/spec/farmRef/name") == format!("farm-{farm}")
                    && home(name(object)) == namespace
            })
        };
        // One that was written and never sent may be there too, of an object that is gone.
        let unsent = self.lives.iter_mut().filter(|(_, life)| life.unsent.is_some() && fits(life));
        let Some((maker, life)) = unsent.max_by_key(|(_, life)| life.unsent) else {
            self.accuse(&format!("a POST of {server} without an intent that was not sent yet"));
            return None;
        };
        life.unsent = None;
        let maker = maker.clone();
        let is_under_way = |life: &Life| {
            let may_arrive = life.in_doubt.is_some_and(|sent| now < sent + self.lateness);
            may_arrive && !life.gone && !life.stripped && fits(life)
        };
        if self.lives.iter().any(|(uid, life)| *uid != maker && is_under_way(life)) {
            self.accuse(&format!("a POST of {server} while that of another object may still arrive"));
        }
        let life = self.lives.get_mut(&maker)?;
        let may_arrive = life.in_doubt.replace(now).map(|sent| sent + self.lateness);
        if may_arrive.is_some_and(|until| now < until) {
            self.accuse(&format!("a POST of {server} while the one before it may still arrive"));
        }
        Some(maker)
    }

    /// What became of a POST is known.
    pub fn certain(&mut self, maker: &str) {
        if let Some(life) = self.lives.get_mut(maker) {
            life.in_doubt = None;
        }
    }

    fn account_of(&self, uid: &str) -> String {
        let name =
            self.lives.get(uid).and_then(|life| life.versions.last()).map(|(_, object)| home(name(object)));
        let cluster = CLUSTERS.iter().find(|(namespace, _)| Some(*namespace) == name);
        cluster.map(|(_, account)| (*account).to_owned()).unwrap_or_default()
    }

    /// A POST arrives at a farm.
    pub fn posted(&mut self, farm: usize, server: &str, maker: &str) {
        let key = (self.account_of(maker), server.to_lowercase());
        self.farms[farm].posting.insert(key, maker.to_owned());
    }

    /// A POST was answered with 201, and the answer was read.
    pub fn created(&mut self, maker: &str, server: &str) {
        let Some(life) = self.lives.get_mut(maker) else { return };
        life.clean += 1;
        if life.clean > 1 + life.removed {
            let what = format!("{} POSTs for {server} were answered, {} removed", life.clean, life.removed);
            self.accuse(&what);
        }
    }

    /// Somebody else takes a row out of the farm.
    pub fn removed(&mut self, farm: usize, id: i64) {
        self.farms[farm].removed.insert(id);
        let maker = self.farms[farm].made.get(&id);
        let had_it = self.lives.iter_mut().filter(|(uid, life)| maker == Some(*uid) || life.owns(farm, id));
        had_it.for_each(|(_, life)| life.removed += 1);
    }

    /// Somebody else changes a row, or a change of ours is taken and not done.
    pub fn edited(&mut self, farm: usize, id: i64) {
        self.farms[farm].edited.insert(id);
    }

    /// Whether a row may be another than we have made it.
    pub fn was_edited(&self, farm: usize, id: i64) -> bool {
        self.farms[farm].edited.contains(&id)
    }

    /// Somebody else makes another broker the primary.
    pub fn moved_primary(&mut self, farm: usize) {
        self.farms[farm].has_other_primary = true;
    }

    /// Whether somebody else made another broker the primary.
    pub fn has_moved_primary(&self, farm: usize) -> bool {
        self.farms[farm].has_other_primary
    }

    /// A PUT or DELETE arrives at a farm.
    pub fn written(&mut self, farm: usize, method: &str, id: i64) {
        let now = clock::awake();
        if method == "DELETE" {
            self.farms[farm].removed.insert(id);
        }
        let made_by = self.farms[farm].made.get(&id);
        // It may carry the mark of a POST whose answer was lost, where no list showed it meanwhile.
        let is_nobodys = made_by.and_then(|maker| self.lives.get(maker)).is_some_and(|maker| maker.gone);
        // What has gone meanwhile nothing is done to.
        let is_there = self.farms[farm].rows.contains_key(&id);
        let entitled = self.lives.iter().any(|(uid, life)| {
            let may_own = !is_there
                || made_by == Some(uid)
                || is_nobodys && life.in_doubt.is_some()
                || life.ever(|object| text(object, "/spec/adoptionPolicy") != "Never");
            // Of an object that was going, or went past its finalizer, before its row's id was written down.
            let is_let_go = || life.is_swept_away(now) || life.lately(now, |object| may(method, object));
            let is_its = made_by == Some(uid) || may_own && life.owns(farm, id);
            let is_left = method == "DELETE" && is_its && is_let_go();
            is_left || may_own && life.owns(farm, id) && life.lately(now, |object| may(method, object))
        });
        if !entitled {
            let row = self.farms[farm].rows.get(&id).map(|row| row.server.clone());
            self.accuse(&format!("{method} of row {id} ({row:?}) that nobody is entitled to change"));
        }
    }

    /// What must hold when everything has come to rest: no row is left of what is gone.
    pub fn rest(&mut self) {
        let gone: Vec<(String, String)> = self
            .lives
            .iter()
            .filter(|(_, life)| life.gone && !life.stripped && life.leave.is_none())
            .filter_map(|(uid, life)| Some((uid.clone(), &life.versions.last()?.1)))
            .filter(|(_, object)| takes_broker_along(object) && annotation(object, FORCE_ORPHAN).is_none())
            .map(|(uid, object)| (uid, name(object).to_owned()))
            .collect();
        for (uid, name) in gone {
            let left: Vec<(usize, i64)> = self.rows_of(&uid).collect();
            if !left.is_empty() {
                self.accuse(&format!("{name} is gone and its rows {left:?} are not"));
            }
        }
    }

    /// Whether an object must know that this row is its own.
    pub fn must_know(&self, uid: &str, farm: usize, id: i64) -> bool {
        let seen = &self.farms[farm];
        let is_maker = !seen.was_restored && seen.made.get(&id).is_some_and(|maker| maker == uid);
        is_maker && self.lives.get(uid).is_some_and(|life| !life.stripped && !life.forged)
    }

    /// Whether somebody else took the row that an object names out of the farm, or whatever else it had.
    pub fn was_removed(&self, farm: usize, object: &Value) -> bool {
        let life = self.lives.get(uid(object));
        life.is_some_and(|life| {
            life.removed > 0 || self.farms[farm].removed.iter().any(|id| life.owns(farm, *id))
        })
    }
}
