//! What may become of a call, and how likely it is.

use std::collections::BTreeMap;
use std::time::Duration;

use httpdate::fmt_http_date;
use ras_operator::simulator::{Effect, Fault};

use crate::clock;
use crate::network::Call;

/// The names of all accidents of calls and watches.
pub const KINDS: [&str; 47] = [
    "api: 403",
    "api: 409",
    "api: 422",
    "api: 429",
    "api: 5xx",
    "api: answer lost, hangs",
    "api: answer lost, reset",
    "api: call late",
    "api: call lost, hangs",
    "api: call lost, reset",
    "api: not reached",
    "api: event refused",
    "farm: 302",
    "farm: 400",
    "farm: 401",
    "farm: 403",
    "farm: 404",
    "farm: 408",
    "farm: 409",
    "farm: 423",
    "farm: 429",
    "farm: 500 after the commit",
    "farm: 5xx",
    "farm: a pause asked for",
    "farm: answer cut short",
    "farm: answer lost, hangs",
    "farm: answer lost, reset",
    "farm: answer of more than is read",
    "farm: answer packed",
    "farm: answer too deep",
    "farm: answer without what matters",
    "farm: call late",
    "farm: call lost, hangs",
    "farm: call lost, reset",
    "farm: empty list",
    "farm: garbage",
    "farm: list without a row",
    "farm: no such name",
    "farm: not reached",
    "farm: taken and not done",
    "farm: TLS, expired",
    "farm: TLS, other authority",
    "farm: TLS, wrong name",
    "watch: cut",
    "watch: late",
    "watch: silent, then cut",
    "watch: told twice",
];

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Barrier {
    /// The name leads nowhere.
    NoSuchName,
    /// Nobody listens.
    Refused,
    /// A certificate that is not good any more.
    Expired,
    /// A certificate for another name.
    WrongName,
    /// A certificate of nobody who is trusted.
    OtherAuthority,
}

/// What an answer of the farm has become when it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// What it was.
    Whole,
    /// Its first half, and then the end of the connection.
    Cut,
    /// Said to be packed with gzip.
    Packed,
    /// As many brackets as fit, one in another.
    Deep,
    /// More than anybody reads.
    Endless,
}

/// What becomes of one call.
#[derive(Clone, Debug)]
pub enum Fate {
    /// It arrives, and so does its answer.
    Arrives,
    /// No connection.
    NotConnected(Barrier),
    /// Somebody in between refuses it.
    Refused(u16),
    /// It never arrives; the sender is told by a broken connection, or never.
    Lost { silent: bool },
    /// It arrives, and its answer does not.
    AnswerLost { silent: bool },
    /// It arrives so much later.
    Late(Duration),
    /// The farm does this with it.
    Played(Fault),
    /// A list lacks its last row.
    Shortened,
    /// It arrives, and its answer cannot be read.
    Deformed(Shape),
}

/// What fails altogether for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// No farm can be reached.
    Farms,
    /// No farm knows the sessions that it has given out.
    Sessions,
    /// Every write to the API server is forbidden.
    Writes,
    /// Nobody takes events.
    Events,
}

/// What may go wrong at present, in calls of a thousand.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// Calls to the API server that go wrong.
    pub kubernetes: u64,
    /// Calls to farms that go wrong.
    pub farm: u64,
    /// Events of a watch that something happens to.
    pub watch: u64,
    /// Calls that take long.
    pub slow: u64,
    /// What fails altogether.
    pub outage: Option<Outage>,
    /// How long a list takes to show that a row is new, or that it is gone.
    pub lag: Duration,
    /// How many times as likely writes to farms go wrong: they are few.
    pub writes: u64,
    /// What does not happen to calls, a bit for each kind.
    pub left_out: u32,
    /// The farms' `requestTimeout`: no farm executes a call later than the quarantine allows for.
    pub timeout: Duration,
}

impl Weather {
    /// Draws what becomes of a call.
    pub fn fate(&self, call: &Call, random: &mut fastrand::Rng) -> Fate {
        let is_farms = !matches!(call.path.as_str(), "/api/Session/logon" | "/api/Session/logoff");
        match (call.farm, self.outage) {
            (Some(_), Some(Outage::Farms)) => return Fate::NotConnected(Barrier::Refused),
            (Some(_), Some(Outage::Sessions)) if is_farms => {
                return Fate::Played(Fault::new(Effect::Unauthorized));
            }
            (None, Some(Outage::Writes)) if call.is_write() && !call.path.contains("/leases") => {
                return Fate::Refused(403);
            }
            (None, Some(Outage::Events)) if call.is_event() => return Fate::Refused(403),
            _ => {}
        }
        if call.farm.is_some() {
            let times = if call.is_write() && is_farms { self.writes } else { 1 };
            return if random.u64(..1_000) < self.farm * times {
                self.of_farm(call, random)
            } else {
                Fate::Arrives
            };
        }
        if random.u64(..1_000) < self.kubernetes { self.of_kubernetes(call, random) } else { Fate::Arrives }
    }

    fn of_farm(&self, call: &Call, random: &mut fastrand::Rng) -> Fate {
        let is_list = call.method == "GET" && call.path == "/api/Broker";
        let late = self.timeout + Duration::from_millis(random.u64(..9_000));
        match self.kind(if is_list { 20 } else { 17 }, random) {
            1 | 2 => Fate::Lost { silent: random.bool() },
            3 | 4 => Fate::AnswerLost { silent: random.bool() },
            5 | 6 if call.is_write() => Fate::Late(late),
            5 => Fate::Refused(*random.choice([500, 502, 503].iter()).unwrap_or(&500)),
            // A 404 for an id would be a statement about the broker, which no farm makes falsely.
            6 => Fate::Refused(if is_list { 404 } else { 423 }),
            7 => Fate::Refused(*random.choice([400, 403, 408, 429, 409].iter()).unwrap_or(&429)),
            8 => Fate::Played(Fault::new(Effect::Unauthorized)),
            9 => Fate::Played(Fault::new(Effect::Garbage)),
            10 => Fate::Played(Fault::new(Effect::Garbage).after_commit()),
            11 => Fate::Played(Fault::new(Effect::Truncate).after_commit()),
            12 | 16 if is_change_of_row(call) => Fate::Played(Fault::status(204)),
            // An empty 200 says that an Apply was done, which no farm says of one that it has refused.
            13 if !is_answered_empty(call) => {
                Fate::Played(answer(if call.method == "POST" { 201 } else { 200 }, "{}"))
            }
            12 | 13 => Fate::Played(Fault::status(500).after_commit()),
            14 => Fate::Refused(302),
            15 => Fate::Played(pause(random)),
            16 if !is_answered_empty(call) => Fate::Deformed(deformed(random)),
            0 | 16 => Fate::NotConnected(barrier(random)),
            17 => Fate::Played(answer(200, "[]")),
            18 => Fate::Played(answer(200, r#"[{"id":"x"}]"#)),
            _ => Fate::Shortened,
        }
    }

    fn of_kubernetes(&self, call: &Call, random: &mut fastrand::Rng) -> Fate {
        let late = Duration::from_millis(random.u64(15_000..40_000));
        match self.kind(13, random) {
            0 | 1 if call.is_write() => Fate::Refused(409),
            0 | 3 => Fate::Refused(429),
            1 => Fate::Refused(500),
            2 => Fate::Refused(503),
            4 => Fate::NotConnected(Barrier::Refused),
            5 | 6 => Fate::Lost { silent: random.bool() },
            7 | 8 if call.is_write() => Fate::Late(late),
            9 if call.is_write() => Fate::Refused(422),
            _ => Fate::AnswerLost { silent: random.bool() },
        }
    }

    /// One of so many kinds of accidents, of those that are not left out if there are any.
    fn kind(&self, kinds: u64, random: &mut fastrand::Rng) -> u64 {
        let kind = random.u64(..kinds);
        let is_left_out = |kind: u64| self.left_out >> kind & 1 == 1;
        (0..kinds).map(|further| (kind + further) % kinds).find(|kind| !is_left_out(*kind)).unwrap_or(kind)
    }

    /// How long a call and its answer take.
    pub fn ways(&self, call: &Call, random: &mut fastrand::Rng) -> [Duration; 2] {
        let longest = if call.farm.is_some() { self.timeout * 2 / 3 } else { Duration::from_secs(6) };
        let mut way = || {
            let is_slow = random.u64(..1_000) < self.slow;
            let most = if is_slow { longest } else { Duration::from_millis(20) };
            Duration::from_micros(
                random.u64(1_000..=u64::try_from(most.as_micros()).unwrap_or(1_000).max(1_000)),
            )
        };
        [way(), way()]
    }
}

/// Whether an answer without a body says that all went well.
fn is_answered_empty(call: &Call) -> bool {
    matches!(call.method.as_str(), "PUT" | "DELETE") || call.path == "/api/Settings/apply"
}

/// Whether it asks for a row to be another, or to go.
fn is_change_of_row(call: &Call) -> bool {
    matches!(call.method.as_str(), "PUT" | "DELETE") && call.path.starts_with("/api/Broker/")
}

fn answer(status: u16, body: &str) -> Fault {
    let headers = [("content-type".to_owned(), "application/json".to_owned())].into();
    Fault::new(Effect::Answer { status, headers, body: body.to_owned() }).after_commit()
}

/// Nothing is done, and the farm says when to come again.
fn pause(random: &mut fastrand::Rng) -> Fault {
    let (status, seconds) = (if random.bool() { 429 } else { 503 }, random.u64(..40));
    let after = |seconds: u64| (clock::world() + Duration::from_secs(seconds)).into();
    let headers: &[(&str, String)] = &if random.bool() {
        vec![("retry-after", seconds.to_string())]
    } else {
        vec![("date", fmt_http_date(after(0))), ("retry-after", fmt_http_date(after(seconds)))]
    };
    let headers: BTreeMap<_, _> =
        headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    Fault::new(Effect::Answer { status, headers, body: String::new() })
}

fn barrier(random: &mut fastrand::Rng) -> Barrier {
    use Barrier::{Expired, NoSuchName, OtherAuthority, Refused, WrongName};
    [NoSuchName, Refused, Refused, Expired, WrongName, OtherAuthority][random.usize(..6)]
}

fn deformed(random: &mut fastrand::Rng) -> Shape {
    [Shape::Packed, Shape::Deep, Shape::Endless][random.usize(..3)]
}

impl Fate {
    /// The name under which it is counted, unless nothing went wrong.
    pub fn kind(&self, call: &Call) -> Option<&'static str> {
        let of_farm = call.farm.is_some();
        let kind = match self {
            Self::Arrives => return None,
            Self::NotConnected(barrier) if of_farm => match barrier {
                Barrier::NoSuchName => "farm: no such name",
                Barrier::Refused => "farm: not reached",
                Barrier::Expired => "farm: TLS, expired",
                Barrier::WrongName => "farm: TLS, wrong name",
                Barrier::OtherAuthority => "farm: TLS, other authority",
            },
            Self::NotConnected(_) => "api: not reached",
            Self::Refused(status) if of_farm => match status {
                500..=599 => "farm: 5xx",
                302 => "farm: 302",
                429 => "farm: 429",
                423 => "farm: 423",
                403 => "farm: 403",
                404 => "farm: 404",
                408 => "farm: 408",
                409 => "farm: 409",
                _ => "farm: 400",
            },
            Self::Refused(403) if call.is_event() => "api: event refused",
            Self::Refused(status) => match status {
                422 => "api: 422",
                403 => "api: 403",
                409 => "api: 409",
                429 => "api: 429",
                _ => "api: 5xx",
            },
            Self::Lost { silent: true } if of_farm => "farm: call lost, hangs",
            Self::Lost { silent: false } if of_farm => "farm: call lost, reset",
            Self::Lost { silent: true } => "api: call lost, hangs",
            Self::Lost { silent: false } => "api: call lost, reset",
            Self::AnswerLost { silent: true } if of_farm => "farm: answer lost, hangs",
            Self::AnswerLost { silent: false } if of_farm => "farm: answer lost, reset",
            Self::AnswerLost { silent: true } => "api: answer lost, hangs",
            Self::AnswerLost { silent: false } => "api: answer lost, reset",
            Self::Late(_) if of_farm => "farm: call late",
            Self::Late(_) => "api: call late",
            Self::Played(fault) => match &fault.effect {
                Effect::Unauthorized => "farm: 401",
                Effect::Garbage => "farm: garbage",
                Effect::Truncate => "farm: answer cut short",
                Effect::Answer { status: 204, .. } => "farm: taken and not done",
                Effect::Answer { status: 429 | 503, .. } => "farm: a pause asked for",
                Effect::Answer { status: 500, .. } => "farm: 500 after the commit",
                Effect::Answer { body, .. } if body == "[]" => "farm: empty list",
                Effect::Answer { .. } => "farm: answer without what matters",
                Effect::Delay { .. } | Effect::Reset | Effect::Hang | Effect::Huge { .. } => "farm: other",
            },
            Self::Shortened => "farm: list without a row",
            Self::Deformed(shape) => match shape {
                Shape::Whole | Shape::Cut => "farm: answer cut short",
                Shape::Packed => "farm: answer packed",
                Shape::Deep => "farm: answer too deep",
                Shape::Endless => "farm: answer of more than is read",
            },
        };
        Some(kind)
    }
}
