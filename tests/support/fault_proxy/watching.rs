//! The stream of a watch, line by line: cut, expired, held back, repeated.

use std::{collections::BTreeSet, io};

use axum::body::{Body, Bytes};
use tokio::sync::{mpsc, watch};

/// How watches flow.
#[derive(Debug, Clone, Default)]
pub(super) struct Flow {
    /// Resources whose events are held back.
    pub(super) held: BTreeSet<String>,
    /// Counts the cuts: a watch ends when there is one more than at its start.
    pub(super) cuts: u64,
    /// The same for watches that are told to list anew.
    pub(super) expiries: u64,
    /// Each event is told twice.
    pub(super) repeated: bool,
}

/// What a server says whose history does not go back so far.
const EXPIRED: &str = r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"too old resource version","reason":"Expired","code":410}}"#;

/// Passes an answer's lines on for as long as both sides want.
pub(super) fn stream(answer: reqwest::Response, resource: String, flow: watch::Receiver<Flow>) -> Body {
    let (lines, told) = mpsc::channel(256);
    tokio::spawn(pass_on(answer, resource, flow, lines));
    let told = futures::stream::unfold(told, |mut told| async { told.recv().await.map(|line| (line, told)) });
    Body::from_stream(told)
}

type Line = Result<Bytes, io::Error>;

async fn pass_on(
    mut answer: reqwest::Response,
    resource: String,
    mut flow: watch::Receiver<Flow>,
    lines: mpsc::Sender<Line>,
) {
    let begun = flow.borrow_and_update().clone();
    let (mut partial, mut waiting) = (Vec::new(), Vec::new());
    loop {
        let now = flow.borrow_and_update().clone();
        if now.cuts > begun.cuts {
            let cut = io::Error::new(io::ErrorKind::ConnectionReset, "cut");
            return drop(lines.send(Err(cut)).await);
        }
        if now.expiries > begun.expiries {
            return drop(lines.send(Ok(format!("{EXPIRED}\n").into())).await);
        }
        if !now.held.contains(&resource) {
            for line in waiting.drain(..) {
                for _ in 0..=usize::from(now.repeated) {
                    if lines.send(Ok(Bytes::clone(&line))).await.is_err() {
                        return;
                    }
                }
            }
        }
        tokio::select! {
            chunk = answer.chunk() => match chunk {
                Ok(Some(chunk)) => waiting.extend(whole_lines(&mut partial, &chunk)),
                Ok(None) | Err(_) => return,
            },
            changed = flow.changed() => if changed.is_err() { return },
            () = lines.closed() => return,
        }
    }
}

fn whole_lines(partial: &mut Vec<u8>, chunk: &[u8]) -> Vec<Bytes> {
    partial.extend_from_slice(chunk);
    let Some(end) = partial.iter().rposition(|byte| *byte == b'\n') else { return Vec::new() };
    let rest = partial.split_off(end + 1);
    let whole = std::mem::replace(partial, rest);
    whole.split_inclusive(|byte| *byte == b'\n').map(Bytes::copy_from_slice).collect()
}
