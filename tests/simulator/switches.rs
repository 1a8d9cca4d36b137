//! Each switch under each of its readings, as a client sees it.

use std::time::Duration;

use jiff::SignedDuration;
use ras_operator::simulator::{
    AdminSpelling, AgentFields, AgentId, AlternativeIpsForm, ApplyAnswer, ApplyPath, ApplySettingsEnabled,
    ApplyTiming, CreateOverMarked, CreateTwin, CreatedBody, DeleteMarked, DeletedRow, EmptyList, EmptyText,
    ErrorBody, GetDeleted, GetMarked, InferredCalls, InstallTiming, Integers, LockedStatus, LogonAnswer,
    LogonUserForm, MediaTypeRefusal, PrimaryRefusal, PriorityForm, PromotionSession, PromotionSettings,
    PromotionTiming, PutEmpty, PutNull, RateLimit, RateLimitRetryAfter, RateLimitStatus, SecondaryWrites,
    ServerFilter, ServerSpelling, SettingsId, Switch, Switches, TimeForm, UnknownFields, UnknownSite,
    UpdateMarked, WrongPassword,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{Answer, World};

/// A world in which the secondary is marked for deletion.
async fn marked(switch: Switch) -> World {
    let world = World::with(switch).await;
    assert_eq!(world.delete("/api/Broker/2?noUninstall=true").await.status, 204);
    world
}

fn count(answer: &Answer) -> usize {
    answer.json().as_array().map_or(0, Vec::len)
}

#[tokio::test]
async fn deleted_row() {
    let world = marked(Switch::DeletedRow(DeletedRow::MarkedUntilApply)).await;
    assert_eq!(count(&world.get("/api/Broker").await), 2);
    world.apply().await;
    assert_eq!(count(&world.get("/api/Broker").await), 1);

    let world = marked(Switch::DeletedRow(DeletedRow::GoneAtOnce)).await;
    assert_eq!(count(&world.get("/api/Broker").await), 1);
    assert_eq!(world.get("/api/Broker/2").await.status, 404);
    assert!(world.farm().is_pending());
}

#[tokio::test]
async fn get_marked() {
    let world = marked(Switch::GetMarked(GetMarked::Row)).await;
    assert_eq!(world.get("/api/Broker/2").await.status, 200);
    let world = marked(Switch::GetMarked(GetMarked::NotFound)).await;
    assert_eq!(world.get("/api/Broker/2").await.status, 404);
    assert_eq!(count(&world.get("/api/Broker").await), 2);
}

#[tokio::test]
async fn get_deleted() {
    for (reading, status) in [(GetDeleted::Status404, 404), (GetDeleted::Status400, 400)] {
        let world = marked(Switch::GetDeleted(reading)).await;
        world.apply().await;
        assert_eq!(world.get("/api/Broker/2").await.status, status);
        assert_eq!(world.delete("/api/Broker/2").await.status, status);
        assert_eq!(world.put("/api/Broker/2", &json!({})).await.status, status);
    }
}

#[tokio::test]
async fn delete_marked() {
    for (reading, status) in [(DeleteMarked::Status204, 204), (DeleteMarked::Status404, 404)] {
        let world = marked(Switch::DeleteMarked(reading)).await;
        assert_eq!(world.delete("/api/Broker/2").await.status, status);
    }
}

#[tokio::test]
async fn update_marked() {
    for (reading, status) in
        [(UpdateMarked::Accepted, 204), (UpdateMarked::Status404, 404), (UpdateMarked::Status409, 409)]
    {
        let world = marked(Switch::UpdateMarked(reading)).await;
        let answer = world.put("/api/Broker/2", &json!({ "description": "x" })).await;
        assert_eq!(answer.status, status);
    }
}

#[tokio::test]
async fn create_over_marked() {
    let server = crate::world::SECONDARY;
    let world = marked(Switch::CreateOverMarked(CreateOverMarked::Conflict)).await;
    assert_eq!(world.create(server).await.status, 409);

    let world = marked(Switch::CreateOverMarked(CreateOverMarked::Revives)).await;
    let revived = world.create(server).await;
    assert_eq!((revived.status, &revived.json()["id"]), (201, &json!(2)));
    world.apply().await;
    assert_eq!(world.farm().brokers().len(), 2);

    let world = marked(Switch::CreateOverMarked(CreateOverMarked::NewRow)).await;
    let new = world.create(server).await;
    assert_eq!((new.status, &new.json()["id"]), (201, &json!(3)));
    assert_eq!(world.farm().brokers().len(), 3);
    world.apply().await;
    let ids: Vec<i64> = world.farm().brokers().iter().map(|row| row.id).collect();
    assert_eq!(ids, [1, 3]);
}

#[tokio::test]
async fn create_twin() {
    let server = crate::world::SECONDARY;
    let world = World::with(Switch::CreateTwin(CreateTwin::Conflict)).await;
    assert_eq!(world.create(server).await.status, 409);
    let world = World::with(Switch::CreateTwin(CreateTwin::SecondRow)).await;
    let twin = world.create(server).await;
    assert_eq!((twin.status, &twin.json()["id"]), (201, &json!(3)));
    assert_eq!(world.farm().brokers().len(), 3);
}

#[tokio::test]
async fn empty_list() {
    let world = World::with(Switch::EmptyList(EmptyList::EmptyArray)).await;
    let answer = world.get("/api/Broker?SiteId=9").await;
    assert_eq!((answer.status, answer.json()), (200, json!([])));
    let world = World::with(Switch::EmptyList(EmptyList::Status404)).await;
    assert_eq!(world.get("/api/Broker?SiteId=9").await.status, 404);
    assert_eq!(world.get("/api/Agent?serverType=3").await.status, 404);
}

#[tokio::test]
async fn server_filter() {
    for (reading, whole, part) in
        [(ServerFilter::Exact, 1, 0), (ServerFilter::Substring, 1, 2), (ServerFilter::Ignored, 2, 2)]
    {
        let world = World::with(Switch::ServerFilter(reading)).await;
        assert_eq!(count(&world.get("/api/Broker?Server=CB2.example.test").await), whole);
        assert_eq!(count(&world.get("/api/Broker?Server=example").await), part);
    }
}

async fn limited(switch: Switch) -> Answer {
    let world = World::with(switch).await;
    let limit = RateLimit { requests: 1, window: 10 };
    world.farm().set_rate_limit(Some(limit));
    world.get("/api/Broker").await
}

#[tokio::test]
async fn rate_limit_status() {
    for (reading, status) in [(RateLimitStatus::Status429, 429), (RateLimitStatus::Status503, 503)] {
        assert_eq!(limited(Switch::RateLimitStatus(reading)).await.status, status);
    }
}

#[tokio::test]
async fn rate_limit_retry_after() {
    let absent = limited(Switch::RateLimitRetryAfter(RateLimitRetryAfter::Absent)).await;
    assert_eq!(absent.header("retry-after"), None);
    let sent = limited(Switch::RateLimitRetryAfter(RateLimitRetryAfter::Sent)).await;
    assert_eq!(sent.header("retry-after"), Some("10"));
}

#[tokio::test]
async fn wrong_password() {
    let world = World::with(Switch::WrongPassword(WrongPassword::Status401)).await;
    let answer = world.logon_as("administrator", "wrong").await;
    assert_eq!((answer.status, &answer.json()["status"]), (401, &json!(401)));
    assert_eq!(world.logon_as("nobody", "simulator").await.status, 401);
    let world = World::with(Switch::WrongPassword(WrongPassword::Status400)).await;
    let answer = world.logon_as("administrator", "wrong").await;
    let body = json!({ "code": 0, "msg": "invalid login or password" });
    assert_eq!((answer.status, answer.json()), (400, body));
}

#[tokio::test]
async fn logon_user_form() {
    let forms = ["administrator", "ACME\\administrator", "Administrator@example.test"];
    for (reading, statuses) in
        [(LogonUserForm::Any, [200, 200, 200]), (LogonUserForm::BareOnly, [200, 401, 401])]
    {
        let world = World::with(Switch::LogonUserForm(reading)).await;
        for (form, status) in forms.iter().zip(statuses) {
            assert_eq!(world.logon_as(form, "simulator").await.status, status, "{form}");
        }
    }
}

#[tokio::test]
async fn locked_status() {
    for (reading, status) in
        [(LockedStatus::Status423, 423), (LockedStatus::Status409, 409), (LockedStatus::Status400, 400)]
    {
        let world = World::with(Switch::LockedStatus(reading)).await;
        world.farm().lock_broker("alice", 2);
        let put = json!({ "description": "x" });
        assert_eq!(world.put("/api/Broker/2", &put).await.status, status);
        assert_eq!(world.delete("/api/Broker/2").await.status, status);
        world.farm().unlock_broker(2);
        assert_eq!(world.put("/api/Broker/2", &put).await.status, 204);
    }
}

#[tokio::test]
async fn primary_refusal() {
    for (reading, status) in
        [(PrimaryRefusal::Status400, 400), (PrimaryRefusal::Status409, 409), (PrimaryRefusal::Status403, 403)]
    {
        let world = World::with(Switch::PrimaryRefusal(reading)).await;
        assert_eq!(world.delete("/api/Broker/1").await.status, status);
    }
}

#[tokio::test]
async fn unknown_site() {
    for (reading, status) in [(UnknownSite::Status400, 400), (UnknownSite::Status404, 404)] {
        let world = World::with(Switch::UnknownSite(reading)).await;
        let body = json!({ "server": "cb3", "siteId": 9 });
        assert_eq!(world.post("/api/Broker", &body).await.status, status);
    }
}

#[tokio::test]
async fn unknown_fields() {
    for (reading, status) in [(UnknownFields::Refused, 400), (UnknownFields::Ignored, 204)] {
        let world = World::with(Switch::UnknownFields(reading)).await;
        let body = json!({ "description": "x", "priority": 3 });
        assert_eq!(world.put("/api/Broker/2", &body).await.status, status);
        assert_eq!(world.farm().broker(2).expect("the row").priority, 1);
    }
}

#[tokio::test]
async fn error_body() {
    for (reading, not_found, bad_request) in [
        (ErrorBody::Mixed, "detail", "msg"),
        (ErrorBody::Problem, "detail", "detail"),
        (ErrorBody::CodeMsg, "msg", "msg"),
    ] {
        let world = World::with(Switch::ErrorBody(reading)).await;
        assert!(world.get("/api/Broker/99").await.json()[not_found].is_string());
        assert!(world.delete("/api/Broker/1").await.json()[bad_request].is_string());
    }
    let world = World::with(Switch::ErrorBody(ErrorBody::Empty)).await;
    assert_eq!(world.get("/api/Broker/99").await.text, "");
}

#[tokio::test]
async fn media_type_refusal() {
    for (reading, status) in [(MediaTypeRefusal::Status415, 415), (MediaTypeRefusal::Status400, 400)] {
        let world = World::with(Switch::MediaTypeRefusal(reading)).await;
        let url = format!("{}/api/Broker", world.base);
        assert_eq!(world.bare(world.client.get(url)).await.status, status);
    }
}

#[tokio::test]
async fn alternative_ips_form() {
    for (reading, stored) in [
        (AlternativeIpsForm::AsSent, "192.0.2.1; 192.0.2.2"),
        (AlternativeIpsForm::Comma, "192.0.2.1,192.0.2.2"),
        (AlternativeIpsForm::Semicolon, "192.0.2.1;192.0.2.2"),
    ] {
        let world = World::with(Switch::AlternativeIpsForm(reading)).await;
        let body = json!({ "alternativeIPs": "192.0.2.1; 192.0.2.2" });
        world.put("/api/Broker/2", &body).await;
        let row = world.get("/api/Broker/2").await.json();
        assert_eq!(row["alternativeIPs"], json!(stored));
    }
}

#[tokio::test]
async fn put_null() {
    for (reading, description) in [(PutNull::Unchanged, "x"), (PutNull::Clears, "")] {
        let world = World::with(Switch::PutNull(reading)).await;
        world.put("/api/Broker/2", &json!({ "description": "x" })).await;
        let nulls = json!({ "description": null, "enabled": null });
        assert_eq!(world.put("/api/Broker/2", &nulls).await.status, 204);
        let row = world.farm().broker(2).expect("the row");
        assert_eq!((row.description.as_str(), row.enabled), (description, true));
    }
}

#[tokio::test]
async fn put_empty() {
    for (reading, status, description) in
        [(PutEmpty::Clears, 204, ""), (PutEmpty::Ignored, 204, "x"), (PutEmpty::Refused, 400, "x")]
    {
        let world = World::with(Switch::PutEmpty(reading)).await;
        world.put("/api/Broker/2", &json!({ "description": "x" })).await;
        let answer = world.put("/api/Broker/2", &json!({ "description": "" })).await;
        assert_eq!(answer.status, status);
        let row = world.farm().broker(2).expect("the row");
        assert_eq!(row.description, description);
    }
}

#[tokio::test]
async fn empty_text() {
    for (reading, shown) in [
        (EmptyText::EmptyString, Some(json!(""))),
        (EmptyText::Null, Some(Value::Null)),
        (EmptyText::Absent, None),
    ] {
        let world = World::with(Switch::EmptyText(reading)).await;
        let row = world.get("/api/Broker/2").await.json();
        assert_eq!(row.get("description").cloned(), shown);
        assert_eq!(row.get("alternativeIPs").cloned(), shown);
        assert!(row["server"].is_string() && row["ip"].is_string());
    }
}

#[tokio::test]
async fn server_spelling() {
    for (reading, server) in
        [(ServerSpelling::AsSent, "cb3.example.test"), (ServerSpelling::UpperCase, "CB3.EXAMPLE.TEST")]
    {
        let world = World::with(Switch::ServerSpelling(reading)).await;
        let row = world.create("cb3.example.test").await.json();
        assert_eq!(row["server"], json!(server));
        assert_eq!(world.create("cb3.example.test").await.status, 409);
    }
}

#[tokio::test]
async fn admin_spelling() {
    for (reading, spelled) in [
        (AdminSpelling::BareUser, "administrator"),
        (AdminSpelling::DomainUser, "EXAMPLE\\administrator"),
        (AdminSpelling::Upn, "administrator@example.test"),
    ] {
        let world = World::with(Switch::AdminSpelling(reading)).await;
        let row = world.create("cb3").await.json();
        assert_eq!(row["adminCreate"], json!(spelled));
        assert_eq!(row["adminLastMod"], json!(spelled));
    }
}

#[tokio::test]
async fn time_form() {
    for (reading, time) in [
        (TimeForm::Utc, "2025-05-23T11:35:10.588Z"),
        (TimeForm::LocalWithoutOffset, "2025-05-23T13:35:10.588"),
    ] {
        let world = World::with(Switch::TimeForm(reading)).await;
        assert_eq!(world.create("cb3").await.json()["timeCreate"], json!(time));
    }
}

#[tokio::test]
async fn integers() {
    let world = World::with(Switch::Integers(Integers::Numbers)).await;
    assert_eq!(world.get("/api/Broker/2").await.json()["id"], json!(2));
    let world = World::with(Switch::Integers(Integers::Strings)).await;
    let row = world.get("/api/Broker/2").await.json();
    assert_eq!((&row["id"], &row["siteId"]), (&json!("2"), &json!("1")));
    assert_eq!(world.get("/api/Agent").await.json()[0]["agentState"], json!("0"));
}

#[tokio::test]
async fn created_body() {
    let world = World::with(Switch::CreatedBody(CreatedBody::Row)).await;
    assert_eq!(world.create("cb3").await.json()["id"], json!(3));
    let world = World::with(Switch::CreatedBody(CreatedBody::WithoutId)).await;
    let body = world.create("cb3").await.json();
    assert_eq!((&body["id"], &body["server"]), (&Value::Null, &json!("cb3")));
    let world = World::with(Switch::CreatedBody(CreatedBody::Empty)).await;
    let answer = world.create("cb3").await;
    assert_eq!((answer.status, answer.text.as_str()), (201, ""));
}

#[tokio::test]
async fn apply_path() {
    for (reading, settings, farm_settings) in
        [(ApplyPath::Settings, 204, 404), (ApplyPath::FarmSettings, 404, 204), (ApplyPath::Absent, 404, 404)]
    {
        let world = World::with(Switch::ApplyPath(reading)).await;
        assert_eq!(world.apply().await.status, settings);
        let put = world.send(Method::PUT, "/api/FarmSettings/apply", None).await;
        assert_eq!(put.status, farm_settings);
    }
}

#[tokio::test]
async fn apply_answer() {
    for (reading, status) in [(ApplyAnswer::Status204, 204), (ApplyAnswer::Status200, 200)] {
        let world = World::with(Switch::ApplyAnswer(reading)).await;
        assert_eq!(world.apply().await.status, status);
    }
}

#[tokio::test]
async fn apply_timing() {
    let world = marked(Switch::ApplyTiming(ApplyTiming::Synchronous)).await;
    world.apply().await;
    assert_eq!(world.get("/api/Broker/2").await.status, 404);

    let world = marked(Switch::ApplyTiming(ApplyTiming::Deferred)).await;
    world.apply().await;
    assert_eq!(world.get("/api/Broker/2").await.status, 200);
    assert!(world.farm().is_pending());
    world.farm().advance_clock(SignedDuration::from_secs(2));
    assert_eq!(world.get("/api/Broker/2").await.status, 404);
    assert!(!world.farm().is_pending());
}

#[tokio::test]
async fn secondary_writes() {
    for (reading, status) in [(SecondaryWrites::Refused, 403), (SecondaryWrites::Accepted, 201)] {
        let world = World::with(Switch::SecondaryWrites(reading)).await;
        let secondary = world.farm().secondary_endpoint(0).expect("an endpoint");
        let world = world.at(secondary).await;
        assert_eq!(world.get("/api/Broker").await.status, 200);
        assert_eq!(world.create("cb3").await.status, status);
    }
}

#[tokio::test]
async fn logon_answer() {
    let fields = ["farmGUID", "primaryBrokerConnection", "farmName"];
    for (reading, there) in [
        (LogonAnswer::Full, [true, true, true]),
        (LogonAnswer::TokenOnly, [false, false, false]),
        (LogonAnswer::WithoutFarmGuid, [false, true, true]),
        (LogonAnswer::WithoutConnection, [true, false, true]),
    ] {
        let world = World::with(Switch::LogonAnswer(reading)).await;
        let body = world.logon().await;
        assert!(body["authToken"].is_string());
        for (field, there) in fields.iter().zip(there) {
            assert_eq!(body.get(field).is_some(), there, "{reading:?} {field}");
        }
    }
}

#[tokio::test]
async fn apply_settings_enabled() {
    for (reading, clean, pending) in [
        (ApplySettingsEnabled::Present, json!(false), json!(true)),
        (ApplySettingsEnabled::Absent, Value::Null, Value::Null),
        (ApplySettingsEnabled::AlwaysTrue, json!(true), json!(true)),
    ] {
        let world = World::with(Switch::ApplySettingsEnabled(reading)).await;
        assert_eq!(world.logon().await["applySettingsEnabled"], clean);
        world.create("cb3").await;
        assert_eq!(world.logon().await["applySettingsEnabled"], pending);
    }
}

#[tokio::test]
async fn settings_id() {
    for (reading, after_changes, after_apply) in [(SettingsId::PerApply, 1, 2), (SettingsId::PerChange, 3, 3)]
    {
        let world = World::with(Switch::SettingsId(reading)).await;
        world.create("cb3").await;
        world.create("cb4").await;
        assert_eq!(world.logon().await["settingsId"], json!(after_changes));
        world.apply().await;
        assert_eq!(world.logon().await["settingsId"], json!(after_apply));
    }
}

#[tokio::test]
async fn agent_id() {
    for (reading, id) in [(AgentId::RowId, "2"), (AgentId::Opaque, "agent-1002")] {
        let world = World::with(Switch::AgentId(reading)).await;
        let agents = world.get("/api/Agent?serverType=7").await.json();
        assert_eq!(agents[1]["id"], json!(id));
    }
}

#[tokio::test]
async fn agent_fields() {
    for (reading, server, version) in
        [(AgentFields::Server, "server", "agentVer"), (AgentFields::Name, "name", "agentVersion")]
    {
        let world = World::with(Switch::AgentFields(reading)).await;
        let agents = world.get("/api/Agent?serverType=7").await.json();
        assert!(agents[0][server].is_string() && agents[0][version].is_string());
    }
}

#[tokio::test]
async fn install_timing() {
    for (timing, shown_meanwhile) in [(InstallTiming::AtTheEnd, 2), (InstallTiming::AtTheStart, 3)] {
        let world = World::with(Switch::InstallTiming(timing)).await;
        world.farm().set_install_time(Duration::from_millis(1_500));
        let body = json!({ "server": "cb3" });
        let watch = async {
            let arrived = || {
                world
                    .farm()
                    .journal()
                    .iter()
                    .any(|entry| entry.method == "POST" && entry.route == "/api/Broker")
            };
            while !arrived() {
                tokio::task::yield_now().await;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            count(&world.get("/api/Broker").await)
        };
        let (answer, seen) = tokio::join!(world.post("/api/Broker?noInstall=false", &body), watch);
        assert_eq!((answer.status, seen), (201, shown_meanwhile), "{timing:?}");
        assert_eq!(count(&world.get("/api/Broker").await), 3);
        let asked = std::time::Instant::now();
        assert_eq!(world.post("/api/Broker?noInstall=true", &json!({ "server": "cb4" })).await.status, 201);
        assert!(asked.elapsed() < Duration::from_secs(1), "nothing is installed");
    }
}

#[tokio::test]
async fn inferred_calls() {
    let up = json!({ "direction": 0 });
    let account = json!({ "email": "a@example.test", "password": "My-Account-1" });
    let world = World::with(Switch::InferredCalls(InferredCalls::Absent)).await;
    assert_eq!(world.put("/api/Broker/2/priority", &up).await.status, 404);
    assert_eq!(world.post("/api/Broker/2/promote", &account).await.status, 404);
    assert_eq!(world.get("/api/Broker/status").await.status, 404);

    let world = World::with(Switch::InferredCalls(InferredCalls::Present)).await;
    let third = world.created("cb3").await;
    assert_eq!(count(&world.get("/api/Broker/status").await), 3);
    assert_eq!(world.put("/api/Broker/1/priority", &up).await.status, 400);
    assert_eq!(world.put(&format!("/api/Broker/{third}/priority"), &up).await.status, 204);
    assert_eq!(world.farm().broker(third).expect("the row").priority, 1);
    assert_eq!(world.post("/api/Broker/2/promote", &account).await.status, 204);
    assert_eq!(world.farm().broker(2).expect("the row").priority, 0);
    assert_eq!(world.get("/api/Broker").await.status, 401, "the session has ended");
    let journal = format!("{:?}", world.farm().journal());
    assert!(!journal.contains("My-Account-1"));
}

#[tokio::test]
async fn promotion_settings() {
    const PATH: &str = "/api/BrokerPromotion/1";
    let on = json!({ "enabled": true });
    let world = World::with(Switch::PromotionSettings(PromotionSettings::Absent)).await;
    assert_eq!(world.get(PATH).await.status, 404);
    assert_eq!(world.put(PATH, &on).await.status, 404);

    let world = World::with(Switch::PromotionSettings(PromotionSettings::Present)).await;
    let before = json!({ "siteId": 1, "enabled": false, "afterMinutes": 30, "failback": false });
    assert_eq!(world.get(PATH).await.json(), before);
    assert_eq!(world.put(PATH, &json!({ "afterMinutes": 14 })).await.status, 400);
    assert_eq!(world.put(PATH, &on).await.status, 204);
    assert!(world.farm().is_pending(), "it waits for an Apply");
    let after = world.farm().auto_promotion(1).expect("the site");
    assert_eq!((after.enabled, after.after_minutes), (true, 30), "what is not sent stays");
    assert_eq!(world.get("/api/BrokerPromotion/9").await.status, 404);
    assert_eq!(world.post(PATH, &on).await.status, 405);

    let world = World::with(Switch::PromotionSettings(PromotionSettings::OtherNames)).await;
    let body = world.get(PATH).await.json();
    assert_eq!(
        body,
        json!({ "siteId": 1, "autoPromotion": false, "promotionTime": 30, "autoFailback": false })
    );
    assert_eq!(world.put(PATH, &on).await.status, 400);
    assert_eq!(world.put(PATH, &json!({ "autoPromotion": true })).await.status, 204);
    assert!(world.farm().auto_promotion(1).expect("the site").enabled);
}

#[tokio::test]
async fn promotion_session() {
    let account = json!({ "email": "a@example.test", "password": "My-Account-1" });
    for (reading, status) in [(PromotionSession::Ended, 401), (PromotionSession::Kept, 200)] {
        let world = World::with(Switch::PromotionSession(reading)).await;
        world.farm().set_switch(Switch::InferredCalls(InferredCalls::Present));
        assert_eq!(world.post("/api/Broker/2/promote", &account).await.status, 204);
        assert_eq!(world.get("/api/Broker").await.status, status);
    }
}

#[tokio::test]
async fn promotion_timing() {
    let account = json!({ "email": "a@example.test", "password": "My-Account-1" });
    for (reading, at_once) in [(PromotionTiming::Synchronous, true), (PromotionTiming::Deferred, false)] {
        let world = World::with(Switch::PromotionTiming(reading)).await;
        world.farm().set_switch(Switch::InferredCalls(InferredCalls::Present));
        world.farm().freeze_clock(true);
        assert_eq!(world.post("/api/Broker/2/promote", &account).await.status, 204);
        let is_primary = || world.farm().broker(2).expect("the row").priority == 0;
        assert_eq!(is_primary(), at_once, "{reading:?}");
        world.farm().advance_clock(SignedDuration::from_secs(3));
        assert!(is_primary());
    }
}

#[tokio::test]
async fn priority_form() {
    let (up, first) = (json!({ "direction": 0 }), json!({ "priority": 1 }));
    for (reading, right, wrong) in
        [(PriorityForm::Relative, &up, &first), (PriorityForm::Absolute, &first, &up)]
    {
        let world = World::with(Switch::PriorityForm(reading)).await;
        world.farm().set_switch(Switch::InferredCalls(InferredCalls::Present));
        world.created("cb3").await;
        let fourth = world.created("cb4").await;
        let path = format!("/api/Broker/{fourth}/priority");
        let both = json!({ "direction": 0, "priority": 1 });
        for refused in [wrong, &both, &json!({}), &json!({ "priority": 0 }), &json!({ "direction": 2 })] {
            assert_eq!(world.put(&path, refused).await.status, 400, "{refused}");
        }
        assert_eq!(world.put(&path, right).await.status, 204);
        let place = if reading == PriorityForm::Relative { 2 } else { 1 };
        assert_eq!(world.farm().broker(fourth).expect("the row").priority, place);
    }
    let world = World::with(Switch::PriorityForm(PriorityForm::Absolute)).await;
    assert_eq!(world.put("/api/Broker/2/priority", &first).await.status, 404, "there is no such call");
}

#[test]
fn every_switch_has_a_test_of_its_name_and_a_row_in_the_documentation() {
    let tests = include_str!("switches.rs");
    let table = include_str!("../../docs/simulator.md");
    let described = Switches::describe();
    assert_eq!(json!(Switches::default()).as_object().map(serde_json::Map::len), Some(described.len()));
    for switch in described {
        let mut name = String::new();
        for letter in switch.name.chars() {
            if letter.is_uppercase() {
                name.push('_');
            }
            name.extend(letter.to_lowercase());
        }
        assert!(tests.contains(&format!("async fn {name}() {{")), "no test {name}");
        let row = table.lines().find(|line| line.starts_with(&format!("| `{}` |", switch.name)));
        let row = row.unwrap_or_else(|| panic!("no row for {}", switch.name));
        assert!(row.contains(&format!("`switches::{name}`")), "{row}");
        for reading in switch.readings {
            assert!(row.contains(&format!("`{}`", reading.name)), "{row} lacks {}", reading.name);
        }
    }
}
