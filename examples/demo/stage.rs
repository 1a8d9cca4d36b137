//! The farm and the operator, and the samples of `deploy/` fitted to them.

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, api::PostParams};
use ras_operator::simulator::{
    Account, BrokerConfig, FarmConfig, FarmHandle, Rights as Allowed, Simulator, SimulatorConfig, SiteConfig,
};
use serde_json::{Value, json};

use crate::{
    made::Made,
    place::Place,
    screen::Screen,
    support::{
        cluster::Cluster,
        deploy::{self, Rights},
        failure::{Failure, Result, While as _},
        operator::{self, Operator},
    },
};

/// Where everything of the demo's lives.
pub(crate) const NAMESPACE: &str = "ras-demo";
/// The operator's own.
pub(crate) const OPERATOR_NAMESPACE: &str = "ras-demo-operator";
const USERNAME: &str = "ras-operator";
const PASSWORD: &str = "only-for-the-demo";
/// The farm is asked this often; the default of a minute is long for somebody who watches.
const RESYNC: &str = "2s";

/// Everything that runs.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) simulator: Simulator,
    pub(crate) operator: Operator,
}

/// Starts the farm and the operator, and applies what `deploy/` and `crds/` hold.
pub(crate) async fn set(place: &Place, made: &mut Made, screen: &mut Screen) -> Result<Stage> {
    let cluster = place.cluster();
    let binary = operator::binary()?;
    let simulator =
        screen.step("Start a simulated RAS farm over HTTPS, with one broker in it", start_farm()).await?;
    screen
        .step("Apply crds/, and the ServiceAccount and the rights of deploy/", install(cluster, made))
        .await?;
    let account = made.rights.as_ref().map(|rights| rights.account.as_str()).unwrap_or_default();
    let start = async {
        let kubeconfig = cluster.kubeconfig_for(account, OPERATOR_NAMESPACE).await?;
        let log = cluster.folder().join("operator.log");
        let mut operator = Operator::launch(&binary, &kubeconfig, NAMESPACE, &[], &log)?;
        operator.wait_until_ready().await?;
        Ok(operator)
    };
    let operator = screen.step("Start ras-operator with that account's token", start).await?;
    let stage = Stage { simulator, operator };
    screen
        .step("Apply deploy/samples: a Secret, a RasFarm, three RasBrokers", stage.apply_samples(cluster))
        .await?;
    Ok(stage)
}

async fn start_farm() -> Result<Simulator> {
    let account = Account { username: USERNAME.into(), password: PASSWORD.into(), rights: Allowed::Root };
    let primary = BrokerConfig { admin: "setup".into(), ..BrokerConfig::new("ras-1.example.com") };
    let site = SiteConfig { id: 1, name: "Frankfurt".into(), brokers: vec![primary] };
    let farm = FarmConfig {
        name: "Demo".into(),
        accounts: vec![account],
        sites: vec![site],
        ..FarmConfig::default()
    };
    Simulator::start(SimulatorConfig::one(farm)).await.or_failed_to("start the simulated farm")
}

async fn install(cluster: &Cluster, made: &mut Made) -> Result<()> {
    made.crds = deploy::install_crds(cluster).await?;
    for namespace in [NAMESPACE, OPERATOR_NAMESPACE] {
        create_namespace(cluster, namespace).await?;
        made.namespaces.push(namespace);
    }
    made.rights = Some(Rights::install(cluster, OPERATOR_NAMESPACE).await?);
    Ok(())
}

/// Never takes over a namespace: it is deleted at the end.
async fn create_namespace(cluster: &Cluster, name: &str) -> Result<()> {
    let manifest = json!({"metadata": {"name": name}});
    let namespace: Namespace = serde_json::from_value(manifest).or_failed_to("describe the namespace")?;
    match Api::all(cluster.client()?).create(&PostParams::default(), &namespace).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_already_exists() => Err(Failure::new(format!(
            "unable to create the namespace {name}: it is there already; if an earlier demo left it, delete it"
        ))),
        Err(error) => Err(error).or_failed_to("create the namespace"),
    }
}

impl Stage {
    pub(crate) fn farm(&self) -> &FarmHandle {
        self.simulator.farm(0)
    }

    async fn apply_samples(&self, cluster: &Cluster) -> Result<()> {
        let samples = deploy::kustomize(cluster, "deploy/samples").await?;
        let fitted: Vec<Value> = samples.into_iter().map(|sample| self.fitted(sample)).collect();
        cluster.apply(&deploy::list(&fitted)).await.map(drop)
    }

    /// A sample with this farm's address, CA and credentials in the places that a user would fill in.
    fn fitted(&self, mut sample: Value) -> Value {
        sample["metadata"]["namespace"] = NAMESPACE.into();
        if sample["kind"] == "Secret" {
            sample["stringData"] = json!({"username": USERNAME, "password": PASSWORD});
        }
        if sample["kind"] == "RasFarm" {
            sample["spec"]["endpoint"] = self.farm().endpoint().into();
            sample["spec"]["fallbackEndpoints"] = json!([]);
            sample["spec"]["tls"] = json!({"caBundle": self.simulator.ca_pem()});
            sample["spec"]["resyncPeriod"] = RESYNC.into();
        }
        sample
    }

    /// How the user's own tools reach what is here.
    pub(crate) fn say_how_to_go_on(&self, place: &Place) -> Result<()> {
        println!("The demo stays up. In another terminal:\n");
        match place {
            Place::Own(_) => {
                let cluster = place.cluster();
                println!("  export KUBECONFIG={}", cluster.kubeconfig_in(NAMESPACE)?.display());
                println!(
                    "  kubectl get rasf,rasb        # no kubectl? {}",
                    cluster.kubectl_program().display()
                );
            }
            Place::Borrowed(borrowed) => {
                println!("  kubectl --context {} --namespace {NAMESPACE} get rasf,rasb", borrowed.context);
            }
        }
        let control = self.simulator.control_url();
        println!("\nThe farm by hand, as a person at the console (all there is: curl {control}/):\n");
        // The broker that the tour has edited and left.
        let id = self.farm().broker_named("ras-2.example.com").map_or(2, |row| row.id);
        println!(
            "  curl -X PATCH {control}/farms/0/brokers/{id} --json '{{\"enabled\": false, \"person\": \"alice\"}}'"
        );
        println!("  curl -X POST {control}/farms/0/apply --json '{{\"person\": \"alice\"}}'\n");
        println!("The operator: {}, log {}\n", self.operator.metrics_url(), self.operator.log().display());
        println!("Ctrl-C ends it and removes every trace.");
        Ok(())
    }
}
