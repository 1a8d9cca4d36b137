//! The text that a scraper reads.

use super::*;

const ROUTE: (&str, &str) = ("GET", "/api/Broker/{id}");
const TOOK: Duration = Duration::from_millis(300);

fn farm(name: &str) -> FarmName {
    FarmName::new("ras", name)
}

/// Every method once, for the farm of this name.
fn filled(metrics: &Metrics, name: &str) {
    let farm = farm(name);
    metrics.reconciled(Controller::Broker, ReconcileOutcome::Success, TOOK);
    metrics.farm_requested(&farm, ROUTE, Code::Status(200), TOOK);
    metrics.farm_requested(&farm, ROUTE, Code::Failed("timeout"), TOOK);
    metrics.session_opened(&farm);
    metrics.farm_succeeded(&farm, 1_800_000_000);
    metrics.applied(&farm, ApplyOutcome::Success);
    metrics.brokers(&farm, ConditionType::Ready, Status::True, 3);
    metrics.kubernetes_written(Resource::BrokersStatus, Verb::Patch, WriteOutcome::Conflict);
}

#[test]
fn every_metric_has_its_documented_name_and_labels() {
    let metrics = Metrics::new("0.1.0", "abc");
    filled(&metrics, "one");
    let text = metrics.text().unwrap();
    for line in [
        r#"ras_operator_build_info{version="0.1.0",commit="abc"} 1"#,
        r#"ras_operator_reconciles_total{controller="broker",outcome="success"} 1"#,
        r#"ras_operator_reconcile_duration_seconds_count{controller="broker"} 1"#,
        r#"ras_operator_farm_requests_total{farm="ras/one",method="GET",endpoint="/api/Broker/{id}",code="200"} 1"#,
        r#"ras_operator_farm_requests_total{farm="ras/one",method="GET",endpoint="/api/Broker/{id}",code="timeout"} 1"#,
        r#"ras_operator_farm_request_duration_seconds_count{method="GET",endpoint="/api/Broker/{id}"} 2"#,
        r#"ras_operator_farm_open_sessions{farm="ras/one"} 1"#,
        r#"ras_operator_farm_last_success_timestamp_seconds{farm="ras/one"} 1800000000"#,
        r#"ras_operator_farm_applies_total{farm="ras/one",outcome="success"} 1"#,
        r#"ras_operator_brokers{farm="ras/one",condition="Ready",status="True"} 3"#,
        r#"ras_operator_kubernetes_writes_total{resource="rasbrokers/status",verb="patch",outcome="conflict"} 1"#,
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line} is missing in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn a_forgotten_farm_leaves_no_series_and_takes_none_of_another() {
    let metrics = Metrics::new("0.1.0", "abc");
    filled(&metrics, "one");
    filled(&metrics, "two");
    metrics.forget(&farm("one"));
    let text = metrics.text().unwrap();
    assert!(!text.contains(r#"farm="ras/one""#), "{text}");
    assert_eq!(text.matches(r#"farm="ras/two""#).count(), 6, "{text}");
}

#[test]
fn a_farm_that_comes_back_is_counted_from_zero() {
    let metrics = Metrics::new("0.1.0", "abc");
    filled(&metrics, "one");
    metrics.forget(&farm("one"));
    metrics.applied(&farm("one"), ApplyOutcome::Refused);
    let text = metrics.text().unwrap();
    let series: Vec<_> = text.lines().filter(|line| line.contains(r#"farm="ras/one""#)).collect();
    assert_eq!(series, [r#"ras_operator_farm_applies_total{farm="ras/one",outcome="refused"} 1"#]);
}
