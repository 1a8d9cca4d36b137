//! What is kept of a scenario that failed: its objects' history, what the farm was asked, and the operators' logs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::{fs, io};

use futures::TryStreamExt as _;
use kube::Api;
use kube::api::{WatchEvent, WatchParams};
use ras_operator::clock::Clock;
use ras_operator::crd::RasBroker;
use tokio::task::JoinHandle;

use super::stage::Stage;

/// Every version of the objects, as a watch of its own tells them.
#[derive(Debug)]
pub(super) struct History {
    told: Arc<Mutex<Vec<String>>>,
    watch: JoinHandle<()>,
}

impl History {
    pub(super) fn begin(brokers: Api<RasBroker>) -> Self {
        let told = Arc::<Mutex<Vec<String>>>::default();
        let watch = tokio::spawn(watch(brokers, Arc::clone(&told)));
        Self { told, watch }
    }

    fn lines(&self) -> String {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

async fn watch(brokers: Api<RasBroker>, told: Arc<Mutex<Vec<String>>>) {
    let tell = |text: String| told.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    // Longer than any scenario, and the longest that is allowed.
    let params = WatchParams { timeout: Some(290), ..WatchParams::default() };
    match brokers.watch(&params, "0").await {
        Ok(events) => {
            let ended = events
                .try_for_each(|event| {
                    tell(line(event));
                    std::future::ready(Ok(()))
                })
                .await;
            tell(format!("the watch ended: {ended:?}"));
        }
        Err(error) => tell(format!("no watch: {error}")),
    }
}

fn line(event: WatchEvent<RasBroker>) -> String {
    let (what, mut broker) = match event {
        WatchEvent::Added(broker) => ("added", broker),
        WatchEvent::Modified(broker) => ("modified", broker),
        WatchEvent::Deleted(broker) => ("deleted", broker),
        WatchEvent::Bookmark(_) => return "bookmark".to_owned(),
        WatchEvent::Error(error) => return format!("{error:?}"),
    };
    broker.metadata.managed_fields = None;
    format!(
        "{} {what} {}",
        Clock::MACHINE.now().wall,
        serde_json::to_string(&broker).expect("an object as JSON")
    )
}

/// Writes down everything that there is; answers where.
pub(super) fn keep(stage: &Stage, seed: u64) -> io::Result<PathBuf> {
    let mut text =
        format!("what was expected: {:#?}\n\nobjects:\n{}\n\nfarm:\n", stage.wanted, stage.history.lines());
    for entry in stage.world.farm().journal() {
        // Writing to a text does not fail.
        writeln!(text, "{entry:?}").unwrap_or_default();
    }
    writeln!(text, "\nrows:\n{:#?}", stage.world.farm().brokers()).unwrap_or_default();
    for (number, log) in stage.logs().iter().enumerate() {
        writeln!(text, "\nlog {number}:\n{log}").unwrap_or_default();
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("chaos");
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("seed-{seed}.txt"));
    fs::write(&path, stage.aviary.without_secrets(text))?;
    Ok(path)
}
