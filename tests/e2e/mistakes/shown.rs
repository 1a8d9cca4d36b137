//! Conditions as text, without what differs from run to run.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use tokio::time::Instant;

use crate::world::{FARM, World};

/// Width of a message's lines.
const WIDTH: usize = 110;
/// Until a farm's status, which is written at most once in five seconds, is surely the last.
const QUIET: Duration = Duration::from_secs(7);

/// An object whose conditions are shown.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shown<'a> {
    /// The farm.
    Farm,
    /// The broker of this name.
    Broker(&'a str),
}

/// What the objects show now, as a block of a page.
pub(super) async fn shown(world: &World, objects: &[Shown<'_>]) -> String {
    let mut parts = Vec::new();
    for object in objects {
        let (command, conditions) = look(world, *object).await;
        parts.push(format!("$ kubectl describe {command}\n{}", text(world, &conditions)));
    }
    format!("```text\n{}\n```", parts.join("\n\n"))
}

/// The same once it no longer changes.
pub(super) async fn settled(world: &World, objects: &[Shown<'_>]) -> String {
    let (mut last, mut since) = (shown(world, objects).await, Instant::now());
    while since.elapsed() < QUIET {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = shown(world, objects).await;
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    last
}

async fn look(world: &World, object: Shown<'_>) -> (String, Vec<Condition>) {
    match object {
        Shown::Farm => {
            let farm = world.farms().get(FARM).await.expect("the farm");
            (format!("rasfarm {FARM}"), farm.status.map(|status| status.conditions).unwrap_or_default())
        }
        Shown::Broker(name) => {
            let broker = world.brokers().get(name).await.expect("the broker");
            (format!("rasbroker {name}"), broker.status.map(|status| status.conditions).unwrap_or_default())
        }
    }
}

/// Conditions that say the same are put together.
fn text(world: &World, conditions: &[Condition]) -> String {
    let mut groups: Vec<(Vec<String>, &str)> = Vec::new();
    for condition in conditions {
        let line = format!("{:<15}{:<9}{}", condition.type_, condition.status, condition.reason);
        match groups.iter_mut().find(|(_, message)| *message == condition.message) {
            Some((lines, _)) => lines.push(line),
            None => groups.push((vec![line], &condition.message)),
        }
    }
    // Made neutral first: where lines break must not depend on how long a name was in this run.
    let message = |message: &str| wrapped(&neutral(world, message));
    let parts = groups.iter().map(|(lines, text)| format!("{}\n{}", lines.join("\n"), message(text)));
    parts.collect::<Vec<_>>().join("\n")
}

fn wrapped(message: &str) -> String {
    let mut lines = Vec::new();
    for paragraph in message.lines() {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            if !line.is_empty() && line.chars().count() + word.chars().count() + 1 > WIDTH {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines.iter().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

/// Without namespace, port and certificate of this run.
fn neutral(world: &World, text: &str) -> String {
    let endpoint = world.farm().endpoint();
    let authority = endpoint.trim_start_matches("https://");
    text.replace(&world.namespace, "ras")
        .replace(authority, "ras-1.example.com:20443")
        .replace(world.simulator.leaf_sha256(), "<64 hexadecimal digits>")
}
