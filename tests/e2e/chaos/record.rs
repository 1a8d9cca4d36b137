//! What is kept of a scenario that failed: its objects' history, what the farm was asked, and the operators' logs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::{fs, io};

use futures::TryStreamExt as _;
use kube::Api;
use kube::api::{WatchEvent, WatchParams};
use ras_operator::broker::observe::has_finalizer;
use ras_operator::clock::Clock;
use ras_operator::crd::RasBroker;
use tokio::task::JoinHandle;

use super::stage::Stage;

const SWEPT_AWAY: &str = "swept away";

/// Every version of the objects, as a watch of its own tells them.
#[derive(Debug)]
pub(super) struct History {
    told: Told,
    watch: JoinHandle<()>,
}

type Told = Arc<Mutex<Vec<String>>>;

impl History {
    pub(super) fn begin(brokers: Api<RasBroker>) -> Self {
        let told = Told::default();
        let watch = tokio::spawn(watch(brokers, Arc::clone(&told)));
        Self { told, watch }
    }

    fn lines(&self) -> Vec<String> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether an object for this server went in spite of its finalizer, which its deletion crossed.
    pub(super) fn has_swept_away(&self, server: &str) -> bool {
        let server = format!("\"server\":\"{server}\"");
        let is_it = |line: &String| line.contains(SWEPT_AWAY) && line.contains(&server);
        self.lines().iter().any(is_it)
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

async fn watch(brokers: Api<RasBroker>, told: Told) {
    let tell = |text: String| told.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    // Longer than any scenario, and nearly the longest that is allowed.
    let params = WatchParams { timeout: Some(290), ..WatchParams::default() };
    match brokers.watch(&params, "0").await {
        Ok(events) => {
            let ended = events.try_for_each(async |event| {
                tell(line(event));
                Ok(())
            });
            tell(format!("the watch ended: {:?}", ended.await));
        }
        Err(error) => tell(format!("no watch: {error}")),
    }
}

fn line(event: WatchEvent<RasBroker>) -> String {
    let (what, mut broker) = match event {
        WatchEvent::Added(broker) => ("added", broker),
        WatchEvent::Modified(broker) => ("modified", broker),
        WatchEvent::Deleted(broker) => (how_it_went(&broker), broker),
        WatchEvent::Bookmark(_) => return "a bookmark".to_owned(),
        WatchEvent::Error(error) => return format!("{error:?}"),
    };
    broker.metadata.managed_fields = None;
    let object = serde_json::to_string(&broker).expect("an object as JSON");
    format!("{} {what} {object}", Clock::MACHINE.now().wall)
}

fn how_it_went(broker: &RasBroker) -> &'static str {
    let is_marked = broker.metadata.deletion_timestamp.is_some();
    if has_finalizer(broker) && !is_marked { SWEPT_AWAY } else { "deleted" }
}

/// Writes down everything that there is; answers where.
pub(super) fn keep(stage: &Stage, seed: u64) -> io::Result<PathBuf> {
    let mut text = format!(
        "what was expected: {:#?}\n\nobjects:\n{}\n\nfarm:\n",
        stage.wanted,
        stage.history.lines().join("\n")
    );
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
