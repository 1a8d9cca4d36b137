//! The servers over real sockets on loopback.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::*;

const LIMIT: Duration = Duration::from_secs(10);

fn loopback() -> BindAddress {
    BindAddress::Host { host: "127.0.0.1".to_owned(), port: 0 }
}

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn probes_and_metrics_tell_what_the_handles_say() {
    let listeners = Listeners::bind(&loopback(), &loopback()).await.unwrap();
    let (probe, scrape) = (listeners.probe_address().unwrap(), listeners.metrics_address().unwrap());
    let (probes, stop) = (Probes::default(), CancellationToken::new());
    let metrics = Metrics::new("0.1.0", "abc");
    let served = tokio::spawn(listeners.serve(probes.clone(), metrics, stop.clone()));

    assert!(get(probe, "/healthz").await.starts_with("HTTP/1.1 200"));
    assert!(get(probe, "/readyz").await.starts_with("HTTP/1.1 503"));
    probes.readiness.synced();
    assert!(get(probe, "/readyz").await.starts_with("HTTP/1.1 200"));
    probes.readiness.draining();
    assert!(get(probe, "/readyz").await.ends_with("draining\n"));
    drop(probes.liveness.watch("farm watch", None));
    assert!(get(probe, "/healthz").await.ends_with("task farm watch has died\n"));
    assert!(get(probe, "/metrics").await.starts_with("HTTP/1.1 404"));

    let scraped = get(scrape, "/metrics").await;
    assert!(scraped.contains("content-type: application/openmetrics-text; version=1.0.0"), "{scraped}");
    assert!(scraped.contains("ras_operator_build_info"), "{scraped}");

    stop.cancel();
    timeout(LIMIT, served).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_never_finishes_its_request_does_not_hold_up_the_end() {
    let listeners = Listeners::bind(&loopback(), &BindAddress::Disabled).await.unwrap();
    let address = listeners.probe_address().unwrap();
    assert_eq!(listeners.metrics_address(), None);
    let stop = CancellationToken::new();
    let metrics = Metrics::new("0.1.0", "abc");
    let served = tokio::spawn(listeners.serve(Probes::default(), metrics, stop.clone()));
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
    get(address, "/healthz").await;

    let begin = Instant::now();
    stop.cancel();
    timeout(LIMIT, served).await.unwrap().unwrap().unwrap();
    assert!(begin.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_names_flag_and_address() {
    let taken = Listeners::bind(&loopback(), &BindAddress::Disabled).await.unwrap();
    let port = taken.probe_address().unwrap().port();
    let address = BindAddress::Host { host: "127.0.0.1".to_owned(), port };
    let error = Listeners::bind(&BindAddress::Disabled, &address).await.unwrap_err();
    let expected = format!("failed to listen on 127.0.0.1:{port}, given by --metrics-bind-address");
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn an_address_without_host_is_reached_over_loopback() {
    let any = BindAddress::Any { port: 0 };
    let listeners = Listeners::bind(&any, &BindAddress::Disabled).await.unwrap();
    let port = listeners.probe_address().unwrap().port();
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
}
