//! Between the operator's processes and the world: whatever is sent takes time and may go wrong, by the run's seed, and
//! goes on by itself once it is on its way, whatever becomes of its sender.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use crate::clock;
use crate::fate::{Barrier, Fate, Weather};
use crate::order::Order;
use crate::trace::Trace;

/// Longer than what was written down may be sent, and shorter than a Lease and a quarantine.
const BLINK: Duration = Duration::from_secs(6);

/// What is sent, as far as faults and oracles look at it.
#[derive(Clone, Debug)]
pub struct Call {
    /// To a farm, by its place; else to the API server.
    pub farm: Option<usize>,
    /// `GET`, `POST`, ...
    pub method: String,
    /// Path and query without secrets.
    pub path: String,
}

impl Call {
    /// Whether it changes something.
    pub fn is_write(&self) -> bool {
        self.method != "GET"
    }

    /// The row that it is about.
    pub fn row(&self) -> Option<i64> {
        self.path.strip_prefix("/api/Broker/")?.split(['/', '?']).next()?.parse().ok()
    }

    /// Whether it only tells of something.
    pub fn is_event(&self) -> bool {
        self.path.contains("/events")
    }

    /// A line of the trace.
    pub fn line(&self) -> String {
        if let Some(farm) = self.farm {
            return format!("farm {farm}: {} {}", self.method, self.path);
        }
        let path = self.path.split('?').next().unwrap_or_default();
        format!("api: {} {}", self.method, path.trim_start_matches("/apis/ras-operator.dev/v1alpha1/"))
    }
}

/// Where in the life of a call a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// It never leaves.
    BeforeSend,
    /// It has taken effect, and the answer finds nobody.
    AfterCommit,
    /// The answer was read.
    AfterAnswer,
}

impl Moment {
    /// All of them, in their order.
    pub const ALL: [Self; 3] = [Self::BeforeSend, Self::AfterCommit, Self::AfterAnswer];
}

/// What is to happen at a point of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strike {
    /// The process is killed, and another one starts.
    Crash,
    /// The machine sleeps for so long; what is on its way arrives meanwhile.
    Sleep(Duration),
    /// The same, and what is on its way arrives once it is awake.
    Freeze(Duration),
    /// The machine sleeps for a moment, right before its clock is read once more after so many readings.
    Blink(usize),
    /// The API server is as it was when its backup was taken.
    Restore,
    /// The same, and the process is killed: it ran in that cluster.
    RestoreAll,
    /// A user deletes this object.
    Delete(&'static str),
    /// A deletion of this object ends that was begun before it had a finalizer, and overlooks it.
    SweepAway(&'static str),
    /// The same, and another object comes under its name.
    Replace(&'static str),
    /// Somebody replaces this object by what it was without the operator.
    Strip(&'static str),
    /// Somebody writes the id of the farm's first broker into its status.
    ForgeId(&'static str),
    /// Its status is lost.
    LoseStatus(&'static str),
}

/// A point of a run: the so-manieth call, and a moment of it.
pub type Point = (usize, Moment);

/// What came of a call.
#[derive(Debug)]
pub enum Passage<T> {
    /// This answer.
    Answered(T),
    /// An answer with this status that is not the receiver's own.
    Refused(u16),
    /// The connection ended.
    Broken,
    /// There never was one.
    NotConnected(Barrier),
}

/// What the receiver did with a call.
#[derive(Debug)]
pub enum Reached<T> {
    /// It answered.
    Answer(T),
    /// It ended the connection.
    Broken,
    /// Nothing, and it never will.
    Silent,
}

/// The network of one run.
pub struct Network {
    inner: Mutex<Inner>,
    /// Whatever is on its way arrives now.
    pub hurry: Notify,
    /// A strike is to be carried out.
    pub struck: Notify,
}

struct Inner {
    random: fastrand::Rng,
    weather: Weather,
    /// Farms that are gone for ever.
    gone: BTreeSet<usize>,
    trace: Trace,
    calls: usize,
    /// Those of them that ask for something to be done.
    commands: BTreeSet<usize>,
    /// How many change something that is to be at rest.
    writes: usize,
    strikes: BTreeMap<Point, Strike>,
    due: Vec<Strike>,
}

impl Network {
    /// A network whose accidents follow from `random`.
    pub fn new(random: fastrand::Rng, strikes: BTreeMap<Point, Strike>) -> Self {
        let (weather, trace) = (Weather::default(), Trace::default());
        let inner = Inner {
            random,
            weather,
            gone: BTreeSet::new(),
            trace,
            calls: 0,
            commands: BTreeSet::new(),
            writes: 0,
            strikes,
            due: Vec::new(),
        };
        Self { inner: Mutex::new(inner), hurry: Notify::new(), struck: Notify::new() }
    }

    /// Changes what may go wrong from now on.
    pub fn set_weather(&self, weather: Weather) {
        self.inner.lock().weather = weather;
    }

    /// What may go wrong now.
    pub fn weather(&self) -> Weather {
        self.inner.lock().weather
    }

    /// A farm goes, and never comes back.
    pub fn lose_farm(&self, farm: usize) {
        self.inner.lock().gone.insert(farm);
    }

    /// Whether a farm is gone for ever.
    pub fn is_gone(&self, farm: usize) -> bool {
        self.inner.lock().gone.contains(&farm)
    }

    /// Enters a line in the trace.
    pub fn say(&self, what: &str) {
        self.inner.lock().trace.say(what);
    }

    /// Enters a fault in the trace.
    pub fn fault(&self, kind: &str, on: &str) {
        self.inner.lock().trace.fault(kind, on);
    }

    /// A number below `end`.
    pub fn below(&self, end: u64) -> u64 {
        self.inner.lock().random.u64(..end.max(1))
    }

    /// How many calls were made.
    pub fn calls(&self) -> usize {
        self.inner.lock().calls
    }

    /// Whether the call with this number asked for something to be done; what is only told is nothing that is done.
    pub fn is_command(&self, number: usize) -> bool {
        self.inner.lock().commands.contains(&number)
    }

    /// How many of them change something; renewals of the Lease aside.
    pub fn writes(&self) -> usize {
        self.inner.lock().writes
    }

    /// The strikes that are to be carried out.
    pub fn take_due(&self) -> Vec<Strike> {
        std::mem::take(&mut self.inner.lock().due)
    }

    /// Looks at the trace.
    pub fn with_trace<T>(&self, look: impl FnOnce(&Trace) -> T) -> T {
        look(&self.inner.lock().trace)
    }

    /// A call leaves: its number, what becomes of it, and how long each way takes.
    fn depart(&self, call: &Call, is_isolated: bool) -> (usize, Fate, [Duration; 2]) {
        let mut inner = self.inner.lock();
        inner.calls += 1;
        // Nobody hears of what is sent to nowhere.
        let is_gone = call.farm.is_some_and(|farm| inner.gone.contains(&farm));
        inner.writes += usize::from(call.is_write() && !call.path.contains("/leases") && !is_gone);
        let number = inner.calls;
        if call.is_write() && !call.is_event() {
            inner.commands.insert(number);
        }
        let weather = inner.weather;
        let mut fate = weather.fate(call, &mut inner.random);
        if is_isolated && call.farm.is_none() {
            fate = Fate::Lost { silent: true };
        }
        if is_gone {
            fate = Fate::NotConnected(Barrier::Refused);
        }
        let ways = weather.ways(call, &mut inner.random);
        inner.trace.say(&format!("#{number} {}", call.line()));
        if let Some(kind) = fate.kind(call) {
            inner.trace.fault(kind, &format!("#{number}"));
        }
        (number, fate, ways)
    }

    fn strike(&self, point: Point) -> Option<Strike> {
        let mut inner = self.inner.lock();
        let strike = inner.strikes.remove(&point)?;
        inner.trace.say(&format!("  {strike:?} at call {} {:?}", point.0, point.1));
        if let Strike::Blink(readings) = strike {
            clock::sleep_after_readings(readings, BLINK);
        }
        inner.due.push(strike);
        drop(inner);
        self.struck.notify_one();
        Some(strike)
    }

    async fn way(&self, length: Duration) {
        tokio::select! {
            biased;
            () = tokio::time::sleep(length) => {}
            () = self.hurry.notified() => {}
        }
    }
}

/// One process's way out. Once it is cut, nothing leaves any more.
pub struct Line {
    network: Arc<Network>,
    open: AtomicBool,
    /// Farms are reached, and the API server is not.
    isolated: AtomicBool,
    /// The namespace whose objects the process sees.
    pub namespace: &'static str,
    pub order: Mutex<Order>,
}

impl Line {
    /// The line of a process that calls itself so into this network.
    pub fn new(network: Arc<Network>, identity: &str, namespace: &'static str) -> Self {
        Self {
            network,
            open: AtomicBool::new(true),
            isolated: AtomicBool::new(false),
            namespace,
            order: Mutex::new(Order::of(identity, namespace)),
        }
    }

    /// The process has ended, although it may not know.
    pub fn cut(&self) {
        self.open.store(false, Ordering::Relaxed);
    }

    /// The API server is out of reach, or in reach again.
    pub fn isolate(&self, isolated: bool) {
        self.isolated.store(isolated, Ordering::Relaxed);
    }

    /// Whether the process is alive.
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// The network.
    pub fn network(&self) -> &Arc<Network> {
        &self.network
    }

    /// Sends a call to its receiver, which answers by `deliver`.
    pub async fn pass<T: Send + 'static>(
        self: Arc<Self>,
        call: Call,
        deliver: impl FnOnce(Fate) -> BoxFuture<'static, Reached<T>> + Send + 'static,
    ) -> Passage<T> {
        if !self.is_open() {
            return std::future::pending().await;
        }
        let (number, fate, ways) = self.network.depart(&call, self.isolated.load(Ordering::Relaxed));
        if self.hit((number, Moment::BeforeSend)) {
            return std::future::pending().await;
        }
        let (answer, answered) = oneshot::channel();
        let line = Arc::clone(&self);
        tokio::spawn(async move {
            if let Some(passage) = line.carry(number, fate, ways, deliver).await
                && line.is_open()
            {
                drop(answer.send(passage));
                line.hit((number, Moment::AfterAnswer));
            }
        });
        match answered.await {
            Ok(passage) => passage,
            // It never comes.
            Err(_) => std::future::pending().await,
        }
    }

    async fn carry<T>(
        &self,
        number: usize,
        fate: Fate,
        [there, back]: [Duration; 2],
        deliver: impl FnOnce(Fate) -> BoxFuture<'static, Reached<T>> + Send + 'static,
    ) -> Option<Passage<T>> {
        let late = if let Fate::Late(by) = &fate { *by } else { Duration::ZERO };
        self.network.way(there + late).await;
        let passage = match &fate {
            Fate::NotConnected(barrier) => Passage::NotConnected(*barrier),
            Fate::Refused(status) => Passage::Refused(*status),
            Fate::Lost { silent: true } => return None,
            Fate::Lost { silent: false } => Passage::Broken,
            Fate::Arrives
            | Fate::Late(_)
            | Fate::AnswerLost { .. }
            | Fate::Played(_)
            | Fate::Shortened
            | Fate::Deformed(_) => {
                let reached = deliver(fate.clone()).await;
                self.hit((number, Moment::AfterCommit));
                match (fate, reached) {
                    (Fate::AnswerLost { silent: true }, _) | (_, Reached::Silent) => return None,
                    (Fate::AnswerLost { silent: false }, _) | (_, Reached::Broken) => Passage::Broken,
                    (_, Reached::Answer(answer)) => Passage::Answered(answer),
                }
            }
        };
        self.network.way(back).await;
        Some(passage)
    }

    /// Whether the process is killed here.
    fn hit(&self, point: Point) -> bool {
        if !self.is_open() {
            return true;
        }
        let strike = self.network.strike(point);
        let crashes = matches!(strike, Some(Strike::Crash | Strike::RestoreAll));
        if crashes {
            self.cut();
        }
        crashes
    }
}
