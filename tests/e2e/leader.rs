//! The election on a real Lease, with exactly the rights of `deploy/`.

use std::{path::Path, time::Duration};

use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use ras_operator::clock::Clock;
use ras_operator::leader::{LEASE_NAME, Leader, Leadership, RENEW_DEADLINE, RETRY_PERIOD};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::support::{control_plane, control_plane::ControlPlane, kubectl, stays};

const SOON: Duration = Duration::from_secs(30);

pub(crate) async fn client(kubeconfig: &Path) -> Client {
    let content = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(content, &options).await.expect("a usable kubeconfig");
    Client::try_from(config).expect("a client")
}

async fn acquire(client: &Client, namespace: &str, identity: &str) -> Leadership {
    let stop = CancellationToken::new();
    let acquired = Leader::acquire(client.clone(), namespace, identity, Clock::MACHINE, stop);
    timeout(SOON, acquired).await.expect("the lease in time").expect("no stop")
}

pub(crate) async fn lease(client: &Client, namespace: &str) -> Lease {
    Api::namespaced(client.clone(), namespace).get(LEASE_NAME).await.expect("the lease")
}

#[tokio::test]
async fn the_lease_goes_from_hand_to_hand_with_the_rights_of_the_operator() {
    let plane = control_plane().await;
    let namespace = plane.namespace("leader").await;
    let client = client(&plane.kubeconfig_for_service_account(&namespace).await).await;
    let namespace = ControlPlane::home(&namespace);

    let first = acquire(&client, &namespace, "first").await;
    let renewed = lease(&client, &namespace).await.spec.and_then(|spec| spec.renew_time);
    stays(
        "the first holds the lease",
        RETRY_PERIOD * 2,
        async || {
            if first.is_held() { Ok(()) } else { Err("lost") }
        },
    )
    .await;
    let spec = lease(&client, &namespace).await.spec.expect("a spec");
    assert_eq!(spec.holder_identity.as_deref(), Some("first"));
    assert!(spec.renew_time > renewed, "it was renewed meanwhile");

    first.release().await;
    let begin = Instant::now();
    let second = acquire(&client, &namespace, "second").await;
    assert!(begin.elapsed() < RENEW_DEADLINE, "a released lease need not expire");
    assert_eq!(lease(&client, &namespace).await.spec.expect("a spec").lease_transitions, Some(2));

    // Somebody else by force: the holder must notice at its next renewal, and leave the lease alone.
    let patch = r#"{"spec":{"holderIdentity":"third"}}"#;
    kubectl(plane, &["-n", &namespace, "patch", "lease", LEASE_NAME, "--type=merge", "-p", patch]).await;
    timeout(RENEW_DEADLINE, second.lost()).await.expect("the loss is reported");
    assert!(!second.is_held());
    second.release().await;
    let holder = lease(&client, &namespace).await.spec.and_then(|spec| spec.holder_identity);
    assert_eq!(holder.as_deref(), Some("third"));
}
