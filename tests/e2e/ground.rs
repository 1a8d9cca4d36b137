//! What the other tests stand on holds: rights are judged, calls are listed, nothing is left behind.

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::{
    Api, Client, Config,
    api::{DeleteParams, ListParams},
    config::{KubeConfigOptions, Kubeconfig},
};

use serde_json::json;

use crate::support::{
    audit::AuditLog, control_plane, control_plane::ControlPlane, eventually, kubectl, objects,
};

const SOON: Duration = Duration::from_secs(30);
/// Set for the copy of this test binary that is to be killed.
const VICTIM: &str = "GROUND_TEST_VICTIM";

#[tokio::test]
async fn an_operator_reads_a_secret_by_name_and_may_not_list_them() {
    let plane = control_plane().await;
    let namespace = plane.namespace("rights").await;
    plane.create::<Secret>(&namespace, objects::secret("north-credentials", "svc", "s3cret")).await;
    let client = client(&plane.kubeconfig_for_service_account(&namespace).await).await;
    let secrets = Api::<Secret>::namespaced(client, &namespace);

    assert!(secrets.get("north-credentials").await.is_ok());
    let refusal = secrets.list(&ListParams::default()).await.expect_err("list is refused");
    assert!(matches!(refusal, kube::Error::Api(ref status) if status.is_forbidden()), "{refusal}");
}

#[tokio::test]
async fn the_audit_log_lists_each_call_of_a_user_once() {
    let plane = control_plane().await;
    let namespace = plane.namespace("audit").await;
    let client = client(&plane.kubeconfig_for_service_account(&namespace).await).await;
    let mark = plane.audit_log().mark();
    let secrets = Api::<Secret>::namespaced(client, &namespace);
    secrets.get_opt("absent").await.expect("the right to get");
    secrets.list(&ListParams::default()).await.expect_err("no right to list");

    let calls = plane.audit_log().by(&ControlPlane::user(&namespace), mark);
    let lines: Vec<String> = calls.iter().map(super::support::audit::Call::line).collect();
    assert_eq!(lines, ["get secrets 404", "list secrets 403"]);
    assert_eq!((calls[0].namespace.as_str(), calls[0].name.as_str()), (namespace.as_str(), "absent"));
}

#[tokio::test]
async fn a_deleted_namespace_goes_with_what_is_in_it() {
    let plane = control_plane().await;
    if !plane.collects_garbage() {
        return;
    }
    let namespace = plane.namespace("deleted").await;
    let manifest = serde_json::json!({"metadata": {"name": "inside"}});
    plane.create::<ConfigMap>(&namespace, manifest).await;
    let namespaces = Api::<Namespace>::all(plane.admin());
    namespaces.delete(&namespace, &DeleteParams::default()).await.expect("the namespace is deleted");
    eventually("the namespace is gone", SOON, async || match namespaces.get_opt(&namespace).await {
        Ok(None) => Ok(()),
        other => Err(other.map(|found| found.and_then(|namespace| namespace.status))),
    })
    .await;
}

#[tokio::test]
async fn kubectl_uses_the_control_plane_and_nothing_inherited() {
    let plane = control_plane().await;
    let namespace = plane.namespace("kubectl").await;
    let printed = kubectl(plane, &["get", "namespace", &namespace, "-o", "name"]).await;
    assert_eq!(printed.trim(), format!("namespace/{namespace}"));
    let server = kubectl(plane, &["config", "view", "-o", "jsonpath={.clusters[*].cluster.server}"]).await;
    assert!(server.starts_with("https://127.0.0.1:") && !server.contains(' '), "{server}");
}

#[tokio::test]
async fn a_killed_parent_leaves_neither_servers_nor_files() {
    let mut victim = start_victim();
    let said = first_line(&mut victim);
    let (pids, folder) = said.split_once(' ').expect("process ids and a folder");
    let pids: Vec<u32> = pids.split(',').map(|pid| pid.parse().expect("a process id")).collect();
    assert!(pids.iter().all(|pid| is_running(*pid)), "{pids:?}");

    victim.kill().expect("the victim is killed");
    victim.wait().expect("the victim is reaped");

    eventually("servers and files are gone", SOON, async || {
        let left: Vec<_> = pids.iter().filter(|pid| is_running(**pid)).collect();
        if left.is_empty() && !Path::new(folder).exists() { Ok(()) } else { Err((left.len(), folder)) }
    })
    .await;
}

/// Only of use to the test above, which runs it in a process of its own.
#[tokio::test]
#[ignore = "waits to be killed"]
async fn victim() {
    if env::var_os(VICTIM).is_none() {
        return;
    }
    let plane = ControlPlane::start().await.expect("a control plane");
    let pids: Vec<String> = plane.pids().iter().map(u32::to_string).collect();
    println!("victim: {} {}", pids.join(","), plane.folder().display());
    std::future::pending::<()>().await;
}

#[test]
fn a_call_from_before_a_mark_that_is_logged_after_it_does_not_count() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let log = AuditLog::at(file.path().to_owned());
    let mut append = std::fs::OpenOptions::new().append(true).open(file.path()).expect("the file");
    let mut answered = |id: &str, received: jiff::Timestamp| {
        let user = json!({"username": "someone"});
        let event = json!({
            "auditID": id, "verb": id, "requestURI": "/", "user": user, "requestReceivedTimestamp": received,
        });
        writeln!(append, "{event}").expect("a line");
    };
    let before = ras_operator::clock::Clock::MACHINE.now().wall;
    answered("early", before);
    let mark = log.mark();
    answered("trailing", before);
    answered("later", ras_operator::clock::Clock::MACHINE.now().wall);
    let verbs: Vec<String> = log.since(mark).into_iter().map(|call| call.verb).collect();
    assert_eq!(verbs, ["later"]);
    assert_eq!(log.calls().len(), 3);
}

fn start_victim() -> Child {
    Command::new(env::current_exe().expect("this test binary"))
        .args(["--exact", "ground::victim", "--ignored", "--nocapture"])
        .env(VICTIM, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a copy of this test binary")
}

fn first_line(victim: &mut Child) -> String {
    let output = BufReader::new(victim.stdout.take().expect("its output"));
    let mut lines = output.lines().map_while(std::result::Result::ok);
    // The test runner may print its own words on the same line.
    lines.find_map(|line| line.split_once("victim: ").map(|(_, said)| said.to_owned())).expect("its words")
}

/// A zombie has ended: whoever adopts it will reap it.
fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with('Z'))
}

async fn client(kubeconfig: &Path) -> Client {
    let read = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())
        .await
        .expect("a usable kubeconfig");
    Client::try_from(config).expect("a client")
}
