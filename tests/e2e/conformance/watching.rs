//! Watches, read line by line for as long as the comparison needs.

use std::pin::Pin;
use std::time::Duration;

use futures::{AsyncBufReadExt, FutureExt, Stream, TryStreamExt};
use http::{Request, header};
use kube::Client;
use serde_json::{Value, json};

use super::sequence::LAST;
use super::server::{Answer, forget_managers};

/// The real server's watch cache may lag by a moment.
const WITHIN: Duration = Duration::from_secs(20);

/// How long a watch is read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Until {
    /// While something is there at once.
    Silence,
    /// Up to so many events.
    Count(usize),
    /// Up to the bookmark after what is there.
    Bookmark,
    /// Up to the object that ends each sequence.
    Last,
    /// Until the server ends it.
    End,
}

type Lines = Pin<Box<dyn Stream<Item = std::io::Result<String>> + Send>>;

/// A watch that was asked for.
pub(super) enum Watch {
    Open(Lines),
    Refused(Answer),
}

impl Watch {
    pub(super) async fn open(client: &Client, uri: String) -> Self {
        let request = Request::get(uri).header(header::ACCEPT_ENCODING, "identity").body(Vec::new());
        match client.request_stream(request.expect("a request")).await {
            Ok(lines) => Self::Open(Box::pin(lines.lines())),
            Err(kube::Error::Api(status)) => Self::Refused(Answer { code: status.code, body: json!(status) }),
            Err(error) => panic!("a watch: {error}"),
        }
    }

    /// The events; with code 0 where they did not come in time.
    pub(super) async fn read(self, until: Until) -> Answer {
        let mut lines = match self {
            Self::Open(lines) => lines,
            Self::Refused(answer) => return answer,
        };
        let mut found = Vec::new();
        let read = async {
            while !until.is_reached(&found) {
                let line = match until {
                    Until::Silence => lines.try_next().now_or_never(),
                    Until::Count(_) | Until::Bookmark | Until::Last | Until::End => {
                        Some(lines.try_next().await)
                    }
                };
                let Some(line) = line.and_then(|line| line.expect("a line")) else { break };
                let mut event: Value = serde_json::from_str(&line).expect("an event");
                forget_managers(&mut event["object"]);
                found.push(event);
            }
        };
        let in_time = tokio::time::timeout(WITHIN, read).await.is_ok();
        Answer { code: if in_time { 200 } else { 0 }, body: json!(found) }
    }
}

impl Until {
    fn is_reached(self, events: &[Value]) -> bool {
        let is = |path: &str, value: &str| {
            let mut metadata = events.iter().map(|event| event["object"]["metadata"].pointer(path));
            metadata.any(|found| found.and_then(Value::as_str) == Some(value))
        };
        match self {
            Self::Silence | Self::End => false,
            Self::Count(count) => events.len() >= count,
            Self::Bookmark => is("/annotations/k8s.io~1initial-events-end", "true"),
            Self::Last => is("/name", LAST),
        }
    }
}
