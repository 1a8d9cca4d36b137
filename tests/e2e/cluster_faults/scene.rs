//! One namespace, one farm, one proxy before the API server, and operators behind it.

use std::{ops, path::PathBuf, time::Duration};

use serde_json::{Value, json};

use crate::canaries::Aviary;
use crate::faults::{LATER, invariants::Watch};
use crate::support::fault_proxy::FaultProxy;
use crate::support::{Operator, eventually};
use crate::world::World;

/// What a scenario plays in. It is a `World` whose operator reaches the API server through `proxy` only.
pub(super) struct Scene {
    world: World,
    pub(super) proxy: FaultProxy,
    aviary: Aviary,
    /// The account's own, which leads to the real server.
    account: PathBuf,
    kubeconfig: PathBuf,
}

impl ops::Deref for Scene {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl ops::DerefMut for Scene {
    fn deref_mut(&mut self) -> &mut World {
        &mut self.world
    }
}

impl Scene {
    /// A farm, its object and a ready operator.
    pub(super) async fn new(stem: &str) -> Self {
        let mut scene = Self::idle(stem).await;
        scene.create_farm(json!({})).await;
        scene.start(&[]).await;
        scene
    }

    /// Only namespace, farm, account and proxy.
    pub(super) async fn idle(stem: &str) -> Self {
        Self::in_world(World::idle(stem, Aviary::farm()).await).await
    }

    /// The same in a world that is there.
    pub(super) async fn in_world(world: World) -> Self {
        let account = world.plane.kubeconfig_for_service_account(&world.namespace).await;
        let proxy = FaultProxy::start(world.plane.cluster()).await;
        let kubeconfig = world.plane.folder().join(format!("{}.proxied.kubeconfig", world.namespace));
        proxy.lead_through(&account, &kubeconfig);
        Self { world, proxy, aviary: Aviary::new(), account, kubeconfig }
    }

    /// The Secrets and the farm's object.
    pub(super) async fn create_farm(&self, spec: Value) {
        self.aviary.create_farm(&self.world, spec).await;
    }

    /// Starts the operator and waits until it is ready.
    pub(super) async fn start(&mut self, args: &[&str]) {
        let mut operator = self.launch(&self.kubeconfig.clone(), args);
        operator.ready().await;
        self.world.operator = Some(operator);
    }

    /// Starts another replica behind a proxy of its own.
    pub(super) async fn replica(&self, args: &[&str]) -> (Operator, FaultProxy) {
        let proxy = FaultProxy::start(self.plane.cluster()).await;
        let kubeconfig = self.plane.folder().join(format!("{}.second.kubeconfig", self.namespace));
        proxy.lead_through(&self.account, &kubeconfig);
        let mut operator = self.launch(&kubeconfig, args);
        operator.ready().await;
        (operator, proxy)
    }

    fn launch(&self, kubeconfig: &std::path::Path, args: &[&str]) -> Operator {
        let args: Vec<&str> =
            args.iter().copied().chain(["RUST_LOG=trace,kube_runtime::utils=info"]).collect();
        Operator::start_with(self.plane, kubeconfig, &self.namespace, &args)
    }

    /// Waits until every rule was played.
    pub(super) async fn played(&self) {
        eventually("every fault is played", LATER, async || {
            let left = self.proxy.unplayed();
            if left.is_empty() { Ok(()) } else { Err(left) }
        })
        .await;
    }

    /// Waits until nothing is written any more, and checks what holds of every scenario.
    pub(super) async fn ends_well(mut self, watch: &Watch) {
        watch.settled(&self.world).await;
        let operator = self.world.operator.as_ref().expect("an operator");
        let mut texts = vec![operator.logs()];
        texts.extend(operator.metrics().await);
        let busy = self.proxy.busy(Duration::from_secs(3));
        assert!(busy < 60, "{busy} requests in 3 s when nothing is to be done");
        self.aviary.nothing_is_put_out(&self.world, &texts).await;
    }

    /// Lines of the operator's log that a person would be alarmed by, with this text.
    pub(super) fn alarms(&self, text: &str) -> usize {
        let log = self.world.operator.as_ref().expect("an operator").logs();
        let loud = |line: &&str| line.contains(" WARN ") || line.contains(" ERROR ");
        log.lines().filter(loud).filter(|line| line.contains(text)).count()
    }
}
