//! A scenario out of a seed: which farms and brokers, what happens to them, and when.

use std::time::Duration;

use ras_operator::simulator::{
    AdminSpelling, AgentFields, AgentId, AlternativeIpsForm, ApplyAnswer, ApplySettingsEnabled,
    CreateOverMarked, CreatedBody, DeleteMarked, DeletedRow, EmptyList, EmptyText, ErrorBody, GetMarked,
    InstallTiming, Integers, LockedStatus, LogonAnswer, PrimaryRefusal, PromotionSession, PromotionTiming,
    RateLimitRetryAfter, RateLimitStatus, ServerFilter, ServerSpelling, SettingsId, Switch, TimeForm,
    UnknownFields, UpdateMarked, WrongPassword,
};
use serde_json::{Value, json};

use crate::mix::Mix;
use crate::step::{Planned, Step};
use crate::world::{Readings, Setting};

/// What a run is made of.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub setting: Setting,
    pub brokers: Vec<Planned>,
    /// Each after a pause.
    pub script: Vec<(Duration, Step)>,
}

impl Scenario {
    /// The scenario of a seed.
    pub fn of(random: &mut fastrand::Rng) -> Self {
        // With one process the Lease costs calls and shows little.
        let replicas = if random.u8(..4) == 0 { 2 } else { 1 };
        let setting = Setting {
            // What keeps two replicas apart is looked at without a second cluster.
            clusters: if replicas == 1 && random.u8(..6) == 0 { 2 } else { 1 },
            farms: if random.u8(..4) == 0 { 2 } else { 1 },
            sites: if random.u8(..4) == 0 { 2 } else { 1 },
            period: Duration::from_secs(random.u64(10..=30)),
            timeout: Duration::from_secs(random.u64(2..=5)),
            mode: if random.u8(..3) == 0 { "Auto" } else { "Guarded" },
            readings: if random.u8(..3) == 0 { readings(random) } else { Setting::PLAIN.readings },
            quota: (random.u8(..8) == 0).then(|| random.u32(20..60)),
            old: 2,
            threshold: random.u64(0..4),
            elects: replicas > 1,
            replicas,
            runs_kubes_controllers: false,
        };
        let mix = Mix::of(&setting, random);
        // Few brokers get many accidents each, many show what they do to one another.
        let count = [1, 1, 2, 2, 3, 6][random.usize(..6)];
        let mut brokers: Vec<Planned> = (0..count).map(|number| planned(number, &setting, random)).collect();
        if setting.clusters > 1 {
            let others: Vec<Planned> =
                (0..random.usize(1..3)).map(|number| of_others(number, &brokers, random)).collect();
            brokers.extend(others);
        }
        let mut script = vec![(Duration::ZERO, mix.weather(random))];
        for number in 0..brokers.len() {
            script.push((pause(random), Step::Create(number)));
            if random.u8(..3) == 0 {
                script.push((pause(random), mix.step(brokers.len(), random)));
            }
        }
        for _ in 0..random.usize(3..14) {
            script.push((pause(random), mix.step(brokers.len(), random)));
        }
        // Once more, for those whose name was not free yet.
        script.push((Duration::from_secs(20), Step::Create(0)));
        Self { setting, brokers, script }
    }
}

fn planned(number: usize, setting: &Setting, random: &mut fastrand::Rng) -> Planned {
    let is_old = random.u8(..4) == 0;
    let server = if is_old {
        format!("old-{}.corp.test", random.usize(..setting.old))
    } else {
        format!("b{number}.corp.test")
    };
    let mut spec = json!({});
    if !is_old && setting.sites > 1 {
        spec["siteId"] = random.i64(1..=setting.sites).into();
    }
    for _ in 0..random.u8(..3) {
        let (name, value) = field(random);
        spec[name] = value;
    }
    match random.u8(..8) {
        0 => spec["adoptionPolicy"] = "Required".into(),
        1..=3 => spec["adoptionPolicy"] = "IfExists".into(),
        _ => {}
    }
    match random.u8(..8) {
        0 => spec["deletionPolicy"] = "Orphan".into(),
        1 | 2 => spec["deletionPolicy"] = "Delete".into(),
        _ => {}
    }
    if random.u8(..8) == 0 {
        spec["install"] = json!({"agent": true});
    }
    if random.u8(..10) == 0 {
        spec["managementPolicy"] = "ObserveOnly".into();
    }
    Planned { name: format!("b{number}"), farm: random.usize(..setting.farms), server, spec }
}

/// A broker of the second cluster: for a server of its own, or for one that the first cluster has, where neither adopts.
/// Two clusters that state an order of one site, or adopt one broker, undo what the other does without an end.
fn of_others(number: usize, brokers: &[Planned], random: &mut fastrand::Rng) -> Planned {
    let model = brokers[random.usize(..brokers.len())].clone();
    let adopts =
        |planned: &Planned| planned.server == model.server && !planned.spec["adoptionPolicy"].is_null();
    let is_shared = random.bool() && !brokers.iter().any(adopts);
    let server = if is_shared { model.server } else { format!("c{number}.corp.test") };
    let site = &model.spec["siteId"];
    let mut spec = if site.is_null() { json!({}) } else { json!({"siteId": site}) };
    spec["description"] = format!("of others {}", random.u8(..9)).into();
    Planned { name: format!("c{number}"), farm: model.farm, server, spec }
}

/// A farm that reads some of what no reference says in another way. The operator finds out about each by itself.
fn readings(random: &mut fastrand::Rng) -> Readings {
    let all = [
        Switch::DeletedRow(DeletedRow::GoneAtOnce),
        Switch::GetMarked(GetMarked::NotFound),
        Switch::DeleteMarked(DeleteMarked::Status404),
        Switch::UpdateMarked(UpdateMarked::Status404),
        Switch::UpdateMarked(UpdateMarked::Status409),
        Switch::CreateOverMarked(CreateOverMarked::Revives),
        Switch::CreateOverMarked(CreateOverMarked::NewRow),
        Switch::EmptyList(EmptyList::Status404),
        Switch::ServerFilter(ServerFilter::Substring),
        Switch::ServerFilter(ServerFilter::Ignored),
        Switch::RateLimitStatus(RateLimitStatus::Status503),
        Switch::RateLimitRetryAfter(RateLimitRetryAfter::Sent),
        Switch::WrongPassword(WrongPassword::Status400),
        Switch::LockedStatus(LockedStatus::Status409),
        Switch::LockedStatus(LockedStatus::Status400),
        Switch::PrimaryRefusal(PrimaryRefusal::Status409),
        Switch::PrimaryRefusal(PrimaryRefusal::Status403),
        Switch::UnknownFields(UnknownFields::Ignored),
        Switch::ErrorBody(ErrorBody::Problem),
        Switch::ErrorBody(ErrorBody::CodeMsg),
        Switch::ErrorBody(ErrorBody::Empty),
        Switch::AlternativeIpsForm(AlternativeIpsForm::Comma),
        Switch::AlternativeIpsForm(AlternativeIpsForm::Semicolon),
        Switch::EmptyText(EmptyText::Null),
        Switch::EmptyText(EmptyText::Absent),
        Switch::ServerSpelling(ServerSpelling::UpperCase),
        Switch::AdminSpelling(AdminSpelling::DomainUser),
        Switch::AdminSpelling(AdminSpelling::Upn),
        Switch::TimeForm(TimeForm::LocalWithoutOffset),
        Switch::Integers(Integers::Strings),
        Switch::CreatedBody(CreatedBody::WithoutId),
        Switch::CreatedBody(CreatedBody::Empty),
        Switch::ApplyAnswer(ApplyAnswer::Status200),
        Switch::LogonAnswer(LogonAnswer::TokenOnly),
        Switch::LogonAnswer(LogonAnswer::WithoutFarmGuid),
        Switch::LogonAnswer(LogonAnswer::WithoutConnection),
        Switch::ApplySettingsEnabled(ApplySettingsEnabled::Absent),
        Switch::SettingsId(SettingsId::PerChange),
        Switch::AgentId(AgentId::Opaque),
        Switch::AgentFields(AgentFields::Name),
        Switch::InstallTiming(InstallTiming::AtTheStart),
        Switch::PromotionSession(PromotionSession::Kept),
        Switch::PromotionTiming(PromotionTiming::Deferred),
    ];
    std::array::from_fn(|_| random.bool().then(|| all[random.usize(..all.len())]))
}

/// A field of a spec, and a value for it.
pub fn field(random: &mut fastrand::Rng) -> (&'static str, Value) {
    match random.u8(..7) {
        0 => ("enabled", random.bool().into()),
        1 => ("standby", random.bool().into()),
        2 => ("ip", format!("10.0.0.{}", random.u8(1..9)).into()),
        3 => ("alternativeIPs", json!([format!("10.1.0.{}", random.u8(1..9)), "10.1.1.1"])),
        4 => ("priority", random.i64(1..4).into()),
        _ => ("description", format!("text {}", random.u8(..9)).into()),
    }
}

/// From "at the same time" to "after everything has settled".
fn pause(random: &mut fastrand::Rng) -> Duration {
    let longest = [1, 100, 1_000, 5_000, 40_000][random.usize(..5)];
    Duration::from_millis(random.u64(..=longest))
}
