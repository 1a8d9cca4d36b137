//! Where a scenario plays: farm, objects, replicas each behind a proxy of its own, and what is expected of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use ras_operator::crd::RasBroker;
use ras_operator::simulator::{Edit, NewRow};
use serde_json::{Value, json};

use super::record::History;
use super::scenario::{Scenario, Step};
use crate::canaries::Aviary;
use crate::faults::invariants::Watch;
use crate::support::control_plane::ControlPlane;
use crate::support::fault_proxy::FaultProxy;
use crate::support::{Operator, objects};
use crate::world::{FARM, World, merge, server};

/// One replica.
struct Replica {
    proxy: FaultProxy,
    kubeconfig: PathBuf,
    operator: Operator,
    is_frozen: bool,
}

/// A scenario that plays.
pub(super) struct Stage {
    pub(super) world: World,
    pub(super) brokers: Api<RasBroker>,
    pub(super) watch: Watch,
    pub(super) aviary: Aviary,
    /// What users want now.
    pub(super) wanted: BTreeMap<&'static str, Value>,
    /// How often a person removed the broker of a server.
    pub(super) removals: BTreeMap<String, usize>,
    /// Servers that a person has added.
    pub(super) strangers: Vec<String>,
    /// Objects whose brokers a person has edited; a user asks for a reconcile where that is to be undone.
    pub(super) edited: BTreeSet<&'static str>,
    /// Servers that an object was made for before.
    known: Vec<String>,
    pub(super) history: History,
    replicas: Vec<Replica>,
    args: Vec<&'static str>,
    /// What replicas that are gone have put out.
    pub(super) put_out: Vec<String>,
    pub(super) restarts: usize,
}

/// The server that an object of this name means.
pub(super) fn server_of(name: &str) -> String {
    server(if name == "twin" { "cb1" } else { name })
}

impl Stage {
    pub(super) async fn set(scenario: &Scenario) -> Self {
        let world = World::idle(&format!("chaos-{}", scenario.seed), Aviary::farm()).await;
        let aviary = Aviary::new();
        aviary.create_farm(&world, json!({"deletionProtection": {"threshold": 0}})).await;
        let history = History::begin(world.brokers());
        let account = world.plane.kubeconfig_for_service_account(&world.namespace).await;
        let mut args = vec!["RUST_LOG=trace,kube_runtime::utils=info"];
        if scenario.replicas > 1 {
            args.push("--leader-elect");
        }
        let mut replicas = Vec::new();
        for number in 0..scenario.replicas {
            let proxy = FaultProxy::start(world.plane.cluster()).await;
            let kubeconfig = world.plane.folder().join(format!("{}.{number}.kubeconfig", world.namespace));
            proxy.lead_through(&account, &kubeconfig);
            let operator = Operator::start_with(world.plane, &kubeconfig, &world.namespace, &args);
            replicas.push(Replica { proxy, kubeconfig, operator, is_frozen: false });
        }
        for replica in &mut replicas {
            replica.operator.ready().await;
        }
        Self {
            brokers: world.brokers(),
            watch: Watch::over(&world),
            world,
            aviary,
            wanted: BTreeMap::new(),
            removals: BTreeMap::new(),
            strangers: Vec::new(),
            edited: BTreeSet::new(),
            known: Vec::new(),
            history,
            replicas,
            args,
            put_out: Vec::new(),
            restarts: 0,
        }
    }

    pub(super) async fn play(&mut self, step: &Step) {
        self.revive();
        let farm = self.world.farm();
        match step {
            Step::Apply { name, description, enabled } => self.apply(name, *description, *enabled).await,
            Step::Delete(name) => self.delete(name).await,
            Step::Add(name) => self.add(name),
            Step::Remove(name) => self.remove(name),
            Step::Edit(name) => self.edit(name),
            Step::LoseStatus(name) => self.lose_status(name).await,
            Step::Farm(fault) => farm.fault(fault.clone()),
            Step::EndSessions => farm.end_sessions(),
            Step::Reachable(reachable) => farm.set_reachable(*reachable),
            Step::Cluster(replica, rule) => self.replicas[*replica].proxy.play(rule.clone()),
            Step::CutWatches(replica) => self.replicas[*replica].proxy.cut_watches(),
            Step::ExpireWatches(replica) => self.replicas[*replica].proxy.expire_watches(),
            Step::HoldWatch(replica, resource) => self.replicas[*replica].proxy.hold_watch(resource),
            Step::ReleaseWatches(replica) => self.replicas[*replica].proxy.release_watches(),
            Step::RepeatEvents(replica) => self.replicas[*replica].proxy.repeat_events(true),
            Step::Kill(replica) => {
                self.replicas[*replica].operator.kill();
                self.revive();
            }
            Step::Freeze(replica) => {
                self.replicas[*replica].operator.freeze();
                self.replicas[*replica].is_frozen = true;
            }
            Step::Thaw(replica) => self.thaw(*replica),
        }
    }

    fn thaw(&mut self, replica: usize) {
        self.replicas[replica].operator.thaw();
        self.replicas[replica].is_frozen = false;
    }

    /// Starts anew what has ended, as a Deployment does: killed, or without its Lease.
    pub(super) fn revive(&mut self) {
        for replica in &mut self.replicas {
            if replica.operator.exited().is_none() {
                continue;
            }
            let (world, args) = (&self.world, &self.args);
            let next = Operator::start_with(world.plane, &replica.kubeconfig, &world.namespace, args);
            self.put_out.push(std::mem::replace(&mut replica.operator, next).logs());
            replica.is_frozen = false;
            self.restarts += 1;
        }
    }

    /// Nothing goes wrong from now on.
    pub(super) fn faults_stop(&mut self) {
        for place in 0..self.replicas.len() {
            self.replicas[place].proxy.heal();
            self.thaw(place);
        }
        self.revive();
        let farm = self.world.farm();
        farm.clear_faults();
        farm.set_reachable(true);
        farm.apply_as_person("alice");
    }

    /// How often the Lease went to another process.
    pub(super) async fn takeovers(&self) -> usize {
        if self.replicas.len() < 2 {
            return 0;
        }
        let lease =
            crate::leader::lease(&self.world.client(), &ControlPlane::home(&self.world.namespace)).await;
        let transitions = lease.spec.and_then(|spec| spec.lease_transitions).unwrap_or_default();
        // The first one took it from nobody.
        usize::try_from(transitions).expect("a count").saturating_sub(1)
    }

    /// How many requests of the replicas met a fault.
    pub(super) fn met(&self) -> usize {
        let all = self.replicas.iter().map(|replica| replica.proxy.seen());
        all.flatten().filter(|request| request.fault.is_some()).count()
    }

    /// Logs of all replicas that ever ran.
    pub(super) fn logs(&self) -> Vec<String> {
        let present = self.replicas.iter().map(|replica| replica.operator.logs());
        self.put_out.iter().cloned().chain(present).collect()
    }

    /// The same, and their metrics.
    pub(super) async fn everything_put_out(&self) -> Vec<String> {
        let mut texts = self.logs();
        for replica in &self.replicas {
            texts.extend(replica.operator.metrics().await);
        }
        texts
    }

    async fn apply(&mut self, name: &'static str, description: usize, enabled: bool) {
        let now = self.brokers.get_opt(name).await.expect("an answer");
        if now.as_ref().is_some_and(|broker| broker.metadata.deletion_timestamp.is_some()) {
            return;
        }
        let server = server_of(name);
        if now.is_none() {
            if self.known.contains(&server) {
                self.watch.another_object(&server);
            }
            self.known.push(server.clone());
        }
        let mut spec = json!({"description": format!("{description}"), "enabled": enabled});
        let mut manifest = objects::broker(name, FARM, &server);
        let short = name == "cb3";
        merge(&mut spec, if short { Aviary::agents_of_a_short_password() } else { Aviary::agents() });
        merge(&mut manifest["spec"], spec.clone());
        let params = PatchParams::apply("user").force();
        let applied = self.brokers.patch(name, &params, &Patch::Apply(manifest)).await.expect("applied");
        if applied.metadata.deletion_timestamp.is_none() {
            self.wanted.insert(name, spec);
        }
    }

    async fn delete(&mut self, name: &'static str) {
        if self.wanted.remove(name).is_some() {
            self.brokers.delete(name, &DeleteParams::default()).await.expect("the broker is deleted");
        }
    }

    async fn lose_status(&self, name: &str) {
        if self.wanted.contains_key(name)
            && self.brokers.get_opt(name).await.is_ok_and(|found| found.is_some())
        {
            crate::faults::lose_status(&self.world, name).await;
        }
    }

    fn add(&mut self, name: &str) {
        let server = server_of(name);
        let farm = self.world.farm();
        if farm.broker_named(&server).is_some() {
            return;
        }
        let row = NewRow { person: "alice".into(), server: server.clone(), site_id: None };
        if let Ok(id) = farm.add_broker(&row) {
            self.watch.stranger(id);
            self.strangers.push(server);
        }
        farm.apply_as_person("alice");
    }

    fn remove(&mut self, name: &str) {
        let server = server_of(name);
        let farm = self.world.farm();
        let ours = farm.broker_named(&server).filter(|_| !self.strangers.contains(&server));
        let Some(row) = ours.filter(|row| !row.marked_for_deletion) else { return };
        if farm.remove_broker_as("alice", row.id).is_ok() {
            farm.apply_as_person("alice");
            self.watch.removed(&server);
            *self.removals.entry(server).or_default() += 1;
        }
    }

    fn edit(&mut self, name: &'static str) {
        let farm = self.world.farm();
        let Some(row) = farm.broker_named(&server_of(name)) else { return };
        let edit = Edit { person: "alice".into(), description: Some("edited".into()), ..Edit::default() };
        // A row that is being deleted may refuse it.
        drop(farm.edit(row.id, edit));
        farm.apply_as_person("alice");
        self.edited.extend(if server_of(name) == server_of("twin") {
            vec!["cb1", "twin"]
        } else {
            vec![name]
        });
    }
}
