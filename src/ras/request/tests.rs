use std::collections::HashSet;

use serde_json::{Value, json};

use super::super::paths::ApiMethod;
use super::*;

fn query(call: &Call) -> String {
    let pairs = call.query.iter().map(|(name, value)| format!("{name}={}", value.expose()));
    pairs.collect::<Vec<_>>().join("&")
}

fn body(call: &Call) -> Value {
    serde_json::from_str(&call.body.text().unwrap()).unwrap()
}

fn new_broker(credentials: Option<Credentials>) -> NewBroker {
    NewBroker {
        server: "text".into(),
        site_id: 1,
        no_install: true,
        no_restart: false,
        no_firewall_rules: true,
        credentials,
    }
}

fn canary() -> Credentials {
    Credentials { username: "installer".into(), password: "canary-password".into() }
}

#[test]
fn routes_are_distinct_and_all_listed() {
    let distinct: HashSet<_> = Route::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(distinct.len(), Route::ALL.len());
    assert!(Route::ALL.is_sorted());
    assert_eq!(Route::DeleteBroker.to_string(), "DELETE /api/Broker/{id}");
}

#[test]
fn only_calls_that_install_or_remove_an_agent_may_take_long() {
    let installs = |no_install| create_broker(&NewBroker { no_install, ..new_broker(None) }).installs;
    let uninstalls = |no_uninstall| delete_broker(1, &Removal { no_uninstall, credentials: None }).installs;
    assert!(installs(false) && uninstalls(false));
    assert!(!installs(true) && !uninstalls(true));
    let paths = ApiPaths::default();
    let others = [logon(&canary()), list_brokers(), get_broker(1), list_agents(), apply(&paths)];
    assert!(others.iter().all(|call| !call.installs));
}

#[test]
fn create_is_the_vendors_example_with_every_switch_sent() {
    let call = create_broker(&new_broker(None));
    assert_eq!((call.method.as_str(), call.path.as_str()), ("POST", "/api/Broker"));
    assert_eq!(query(&call), "noInstall=true&noRestart=false&noFireWallRules=true");
    assert_eq!(body(&call), json!({"server": "text", "siteId": 1}));
}

#[test]
fn create_with_an_account_keeps_the_vendors_order() {
    let query = query(&create_broker(&new_broker(Some(canary()))));
    let expected =
        "noInstall=true&username=installer&password=canary-password&noRestart=false&noFireWallRules=true";
    assert_eq!(query, expected);
}

#[test]
fn update_with_all_fields_is_the_vendors_example() {
    let change = BrokerChange {
        enabled: Some(true),
        description: Some("text".into()),
        ip: Some("text".into()),
        alternative_ips: Some("text".into()),
        standby: Some(true),
    };
    let example = r#"{"enabled": true, "description": "text", "ip": "text", "alternativeIPs": "text", "standby": true}"#;
    let call = update_broker(7, &change);
    assert_eq!((call.method.as_str(), call.path.as_str()), ("PUT", "/api/Broker/7"));
    assert_eq!(body(&call), serde_json::from_str::<Value>(example).unwrap());
}

#[test]
fn update_sends_only_what_is_set() {
    let change = BrokerChange { description: Some(String::new()), ..BrokerChange::default() };
    assert_eq!(body(&update_broker(7, &change)), json!({"description": ""}));
}

#[test]
fn delete_always_says_whether_to_uninstall() {
    for no_uninstall in [true, false] {
        let call = delete_broker(7, &Removal { no_uninstall, credentials: None });
        assert_eq!((call.method.as_str(), call.path.as_str()), ("DELETE", "/api/Broker/7"));
        assert_eq!(query(&call), format!("noUninstall={no_uninstall}"));
        assert!(call.body.text().is_none());
    }
    let call = delete_broker(7, &Removal { no_uninstall: false, credentials: Some(canary()) });
    assert_eq!(query(&call), "noUninstall=false&username=installer&password=canary-password");
}

#[test]
fn a_promotion_has_the_account_in_its_body_alone_and_can_be_printed() {
    let account = MyAccount { email: "a@b.c".into(), password: "canary-password".into() };
    let paths =
        ApiPaths { promote: ApiCall::new("/api/Broker/{id}/primary", ApiMethod::Put), ..ApiPaths::default() };
    let default = promote_broker(&ApiPaths::default(), 7, &account);
    assert_eq!((default.method.as_str(), default.path.as_str()), ("POST", "/api/Broker/7/promote"));
    assert_eq!(query(&default), "");
    assert_eq!(body(&default), json!({"email": "a@b.c", "password": "canary-password"}));
    let set = promote_broker(&paths, 7, &account);
    assert_eq!((set.method.as_str(), set.path.as_str()), ("PUT", "/api/Broker/7/primary"));
    assert!(!format!("{default:?} {account:?}").contains("canary"));
}

#[test]
fn logon_escapes_what_json_needs() {
    let credentials = Credentials { username: r"DOM\svc".into(), password: "quo\"te".into() };
    assert_eq!(body(&logon(&credentials)), json!({"username": r"DOM\svc", "password": "quo\"te"}));
}

#[test]
fn reads_have_no_body_and_agents_are_filtered_by_server_type() {
    for call in [list_brokers(), get_broker(1), list_sites(), list_agents(), logoff()] {
        assert!(call.body.text().is_none());
    }
    assert_eq!(query(&list_agents()), "serverType=7");
}

#[test]
fn undocumented_calls_take_path_and_method_from_the_settings() {
    let paths = ApiPaths {
        apply: ApiCall::new("/api/Apply", ApiMethod::Put),
        priority: ApiCall::new("/api/Broker/{id}/order", ApiMethod::Post),
        ..ApiPaths::default()
    };
    let call = apply(&paths);
    assert_eq!((call.method.as_str(), call.path.as_str()), ("PUT", "/api/Apply"));
    let call = move_broker(&paths, 9, Move::Up);
    assert_eq!((call.method.as_str(), call.path.as_str()), ("POST", "/api/Broker/9/order"));
    assert_eq!(body(&call), json!({"direction": 0}));
    assert_eq!(body(&move_broker(&paths, 9, Move::To(3))), json!({"priority": 3}));
    assert_eq!(apply(&ApiPaths::default()).path, Route::Apply.template());
    assert_eq!(ApiPaths::default().priority.path, Route::MoveBroker.template());
}

#[test]
fn promotion_settings_are_read_by_get_and_written_sparsely_for_one_site() {
    let paths = ApiPaths {
        promotion_settings: ApiCall::new("/api/Site/{id}/promotion", ApiMethod::Post),
        ..ApiPaths::default()
    };
    let call = get_promotion_settings(&paths, 4);
    assert_eq!((call.method.as_str(), call.path.as_str()), ("GET", "/api/Site/4/promotion"));
    let change = PromotionSettings { after_minutes: Some(90), ..PromotionSettings::default() };
    let call = update_promotion_settings(&paths, 4, &change);
    assert_eq!((call.method.as_str(), call.path.as_str()), ("POST", "/api/Site/4/promotion"));
    assert_eq!(body(&call), json!({"afterMinutes": 90}));
    let call = update_promotion_settings(&ApiPaths::default(), 4, &change);
    assert_eq!((call.method.as_str(), call.path.as_str()), ("PUT", "/api/BrokerPromotion/4"));
}

#[test]
fn debug_of_a_call_hides_passwords() {
    let calls = [
        create_broker(&new_broker(Some(canary()))),
        delete_broker(1, &Removal { no_uninstall: false, credentials: Some(canary()) }),
        logon(&canary()),
    ];
    assert!(!format!("{calls:?}").contains("canary"));
    assert!(!format!("{:?}", new_broker(Some(canary()))).contains("canary"));
}
