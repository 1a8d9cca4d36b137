use proptest::prelude::*;
use secrecy::ExposeSecret;

use super::*;

/// The example of the vendor's page, as it stands there.
const VENDOR_BROKER: &str = r#"{
  "id": 1,
  "adminCreate": "text",
  "adminLastMod": "text",
  "timeCreate": "2025-05-23T11:35:10.588Z",
  "timeLastMod": "2025-05-23T11:35:10.588Z",
  "server": "text",
  "enabled": true,
  "description": "text",
  "siteId": 1,
  "priority": 1,
  "ip": "text",
  "alternativeIPs": "text",
  "standby": true,
  "markedForDeletion": true
}"#;

fn list(rows: &[&str]) -> Result<Vec<Broker>, Malformed> {
    brokers(format!("[{}]", rows.join(",")).as_bytes())
}

fn row(id: i64) -> String {
    format!(r#"{{"id":{id},"server":"s{id}","siteId":1}}"#)
}

#[test]
fn a_vendors_sentence_loses_its_full_stop_and_no_more() {
    let detail = |text: &str| {
        let body = serde_json::json!({ "detail": text }).to_string();
        problem(body.as_bytes(), &Scrubber::default()).1.unwrap()
    };
    assert_eq!(detail("There is no such path."), "There is no such path");
    assert_eq!(detail("v20.0"), "v20.0");
    assert_eq!(detail("and so on..."), "and so on...");
}

/// All that a status quotes of a farm has to fit into an object. What is cut is longer than any spec may ask for.
#[test]
fn of_a_text_that_no_status_has_room_for_the_beginning_is_kept() {
    let described = |description: &str| {
        let row = serde_json::json!({"id": 1, "server": "s1", "siteId": 1, "description": description});
        list(&[&row.to_string()]).unwrap().remove(0).description.unwrap()
    };
    let longest = "\u{1F600}".repeat(2_048);
    assert_eq!(described(&longest), longest);
    let cut = described(&format!("{longest}{}", "x".repeat(1 << 20)));
    assert_eq!(cut, longest);
    assert_eq!(cut.capacity(), longest.len(), "the room of the rest is given back");
}

#[test]
fn the_vendors_example_is_read_whole() {
    let text = Some("text".to_owned());
    let date = Some("2025-05-23T11:35:10.588Z".to_owned());
    let expected = Broker {
        id: 1,
        server: "text".into(),
        site_id: 1,
        enabled: Some(true),
        standby: Some(true),
        marked_for_deletion: Some(true),
        description: text.clone(),
        ip: text.clone(),
        alternative_ips: text.clone(),
        priority: Some(1),
        admin_create: text.clone(),
        admin_last_mod: text,
        time_create: date.clone(),
        time_last_mod: date,
    };
    assert_eq!(broker(VENDOR_BROKER.as_bytes()), Ok(expected.clone()));
    assert_eq!(list(&[VENDOR_BROKER]), Ok(vec![expected]));
    assert_eq!(list(&[]), Ok(Vec::new()));
}

#[test]
fn other_versions_spellings_are_understood() {
    let body = br#"{"id":"7","server":"a","siteId":1.0,"enabled":"True","standby":0,"markedForDeletion":null,
            "description":12,"priority":"","ip":null,"new":{"deep":[1,{"x":null}]}}"#;
    let broker = broker(body).unwrap();
    assert_eq!((broker.id, broker.site_id), (7, 1));
    assert_eq!((broker.enabled, broker.standby, broker.marked_for_deletion), (Some(true), Some(false), None));
    assert_eq!((broker.description.as_deref(), broker.priority, broker.ip), (Some("12"), None, None));
}

#[test]
fn a_row_without_identity_makes_the_whole_list_malformed() {
    let cases = [
        (r#"{"server":"a","siteId":1}"#, "id"),
        (r#"{"id":null,"server":"a","siteId":1}"#, "id"),
        (r#"{"id":4294967296,"server":"a","siteId":1}"#, "id"),
        (r#"{"id":2,"siteId":1}"#, "server"),
        (r#"{"id":2,"server":" ","siteId":1}"#, "server"),
        (r#"{"id":2,"server":"a"}"#, "siteId"),
    ];
    for (bad, field) in cases {
        assert_eq!(list(&[&row(1), bad]), Err(Malformed::Missing { item: 2, field }), "{bad}");
    }
}

#[test]
fn what_is_no_list_is_malformed() {
    let bodies =
        ["", "null", "{}", "\"text\"", "<html>", "[1]", "[null]", "[[]]", "[{}", "[] []", "{\"value\":[]}"];
    for body in bodies {
        assert!(brokers(body.as_bytes()).is_err(), "{body}");
    }
    assert!(list(&[r#"[1,"a",1]"#]).is_err());
    assert!(broker(br#"[1,"a",1]"#).is_err());
    assert!(list(&[r#"{"id":1,"server":"a","siteId":1,"enabled":"maybe"}"#]).is_err());
    assert!(list(&[r#"{"id":1,"server":{},"siteId":1}"#]).is_err());
    assert!(list(&[r#"{"id":1,"id":2,"server":"a","siteId":1}"#]).is_err());
}

#[test]
fn an_id_that_occurs_twice_is_malformed() {
    assert_eq!(list(&[&row(3), &row(4), &row(3)]), Err(Malformed::DuplicateId(3)));
    assert_eq!(sites(br#"[{"id":1},{"id":"1"}]"#), Err(Malformed::DuplicateId(1)));
}

#[test]
fn an_answer_about_another_broker_is_malformed() {
    assert!(broker_with_id(row(3).as_bytes(), 3).is_ok());
    let other = Malformed::OtherId { asked: 4, answered: 3 };
    assert_eq!(broker_with_id(row(3).as_bytes(), 4), Err(other));
}

#[test]
fn depth_and_width_are_bounded() {
    let deep = "[".repeat(1 << 20);
    assert!(brokers(deep.as_bytes()).is_err());
    let ignored = format!(r#"[{{"id":1,"server":"a","siteId":1,"x":{deep}}}]"#);
    assert!(brokers(ignored.as_bytes()).is_err());
    let wide = (0..=i64::try_from(MAX_ROWS).unwrap()).map(row).collect::<Vec<_>>().join(",");
    assert!(brokers(format!("[{wide}]").as_bytes()).is_err());
}

#[test]
fn a_session_needs_its_token_and_nothing_else() {
    let session = session(br#"{"authToken":"abc"}"#).unwrap();
    assert_eq!(session.token.secrets()[0].expose_secret(), "abc");
    assert_eq!((session.farm_guid, session.primary_broker_connection), (None, None));
}

#[test]
fn a_full_session_is_read() {
    let body = br#"{"authToken":"t","localAuth":false,"userId":3,"applySettingsEnabled":true,"connectedSiteId":1,
            "settingsId":42,"sessionId":9,"connectedServer":"cb1","licensingServer":"cb1","primaryBrokerConnection":true,
            "licensingServerConnection":false,"domain":"","farmName":"Farm","farmGUID":"{8E}"}"#;
    let session = session(body).unwrap();
    assert_eq!(session.apply_settings_enabled, Some(true));
    assert_eq!(session.farm_guid.as_deref(), Some("{8E}"));
    assert_eq!(
        (session.settings_id, session.session_id, session.connected_site_id),
        (Some(42), Some(9), Some(1))
    );
    assert_eq!(session.licensing_server_connection, Some(false));
    assert_eq!(session.domain, None);
}

#[test]
fn no_malformed_session_quotes_its_token() {
    let bodies = [
        r#""canary""#,
        r#"["canary"]"#,
        r#"{"authToken":{"canary":1}}"#,
        r#"{"sessionId":"canary"}"#,
        r#"{"authToken":"canary\n"}"#,
        r#"{"authToken":"canary"#,
    ];
    for body in bodies {
        let malformed = session(body.as_bytes()).unwrap_err();
        assert!(!format!("{malformed} {malformed:?}").contains("canary"), "{malformed}");
    }
}

#[test]
fn an_agents_state_is_read_in_every_spelling() {
    let states = [
        ("0", AgentState::OK),
        (r#""27""#, AgentState::STANDBY),
        (r#""-1 = Disconnected""#, AgentState::DISCONNECTED),
        (r#""notapplied""#, AgentState::NOT_APPLIED),
        ("4711", AgentState(4711)),
        (r#""new thing""#, AgentState::UNKNOWN),
        ("null", AgentState::UNKNOWN),
    ];
    for (text, state) in states {
        let body = format!(r#"[{{"server":"a","agentState":{text}}}]"#);
        assert_eq!(agents(body.as_bytes()).unwrap()[0].state, state, "{text}");
    }
}

#[test]
fn agents_of_other_servers_are_left_out() {
    let body = br#"[{"id":"1","name":"cb1","siteId":1,"agentState":0,"serverType":7,"agentVer":"20.1"},
            {"id":"2","server":"rds","serverType":"1 = RDSHost"},{"server":"cb2","serverType":"Broker"}]"#;
    let agents = agents(body).unwrap();
    assert_eq!(agents.len(), 2);
    let cb1 = Agent {
        server: Some("cb1".into()),
        id: Some("1".into()),
        site_id: Some(1),
        state: AgentState::OK,
        version: Some("20.1".into()),
    };
    assert_eq!(agents[0], cb1);
}

#[test]
fn sites_are_read() {
    let body = br#"[{"id":1,"name":"Site","licensingSite":true},{"id":2}]"#;
    let expected = vec![
        Site { id: 1, name: Some("Site".into()), licensing_site: true },
        Site { id: 2, name: None, licensing_site: false },
    ];
    assert_eq!(sites(body), Ok(expected));
}

#[test]
fn promotion_settings_are_those_of_the_site_that_was_asked_for() {
    let read = |body: &str| promotion_settings(body.as_bytes(), 2);
    let whole = read(r#"{"siteId":"2","enabled":1,"afterMinutes":"30","failback":null,"x":[]}"#).unwrap();
    assert_eq!((whole.enabled, whole.after_minutes, whole.failback), (Some(true), Some(30), None));
    assert_eq!(
        read(r#"{"autoPromotion":true}"#),
        Ok(PromotionSettings::default()),
        "other names show nothing"
    );
    let other = Malformed::OtherId { asked: 2, answered: 1 };
    assert_eq!(read(r#"{"siteId":1,"enabled":true}"#), Err(other));
    assert!(read("[]").is_err() && read("null").is_err());
}

#[test]
fn both_forms_of_error_body_are_read() {
    let said = |body: &str| problem(body.as_bytes(), &Scrubber::default());
    assert_eq!(
        said(r#"{"code":0,"msg":"invalid login or password"}"#),
        (Some(0), Some("invalid login or password".into()))
    );
    assert_eq!(
        said(r#"{"type":"t","title":"Conflict","status":409,"detail":"taken","x":1}"#),
        (None, Some("taken".into()))
    );
    assert_eq!(said(r#"{"title":"Conflict","detail":null}"#), (None, Some("Conflict".into())));
    for nothing in ["", "<html>", "[]", "null", r#"{"detail":{}}"#] {
        assert_eq!(said(nothing), (None, None), "{nothing}");
    }
    let (_, long) = said(&format!(r#"{{"detail":"{}"}}"#, "y".repeat(500)));
    assert_eq!(long.unwrap().chars().count(), MAX_DETAIL + "...".len());
}

proptest! {
    #[test]
    fn no_bytes_panic(body: Vec<u8>) {
        let (list, one) = (brokers(&body).is_ok(), session(&body).is_ok());
        prop_assert!(!(list && one));
        problem(&body, &Scrubber::default());
    }

    #[test]
    fn rows_come_back_in_order_and_whole(ids in proptest::collection::hash_set(0..i64::from(i32::MAX), 0..50)) {
        let rows: Vec<_> = ids.iter().map(|id| row(*id)).collect();
        let read = list(&rows.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        prop_assert_eq!(read.iter().map(|broker| broker.id).collect::<Vec<_>>(), ids.into_iter().collect::<Vec<_>>());
    }
}
