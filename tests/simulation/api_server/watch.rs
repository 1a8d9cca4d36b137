//! Watches: what is there, then every change, each line as the client reads it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::stream::Stream;
use futures::{FutureExt, StreamExt};
use serde_json::{Value, json};
use tokio::time::Sleep;

use super::kinds::Kind;
use super::object::set_meta;
use super::refusal::{self, Refusal};
use super::request::{Selector, WatchOptions};
use super::state::read;
use super::store::{Change, Store};
use super::wire;

/// As long as a real server keeps a watch that sets no time of its own, at most.
const LONGEST: u64 = 3_600;

/// The lines of one watch. It ends when its time is over, or when it is cut.
pub(crate) struct Watch {
    lines: UnboundedReceiver<String>,
    end: Pin<Box<Sleep>>,
}

impl Stream for Watch {
    type Item = String;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<String>> {
        match self.lines.poll_next_unpin(context) {
            Poll::Pending => self.end.poll_unpin(context).map(|()| None),
            ready @ Poll::Ready(_) => ready,
        }
    }
}

/// Everybody who watches.
#[derive(Default)]
pub(super) struct Watchers(Vec<Watcher>);

struct Watcher {
    resource: String,
    api_version: String,
    kind: String,
    namespace: Option<String>,
    selector: Selector,
    bookmarks: bool,
    lines: UnboundedSender<String>,
}

impl Watchers {
    /// `cached` is the world that a watch of no particular version begins with.
    pub(super) fn open(
        &mut self,
        (store, cached): (&Store, &Store),
        kind: &Kind,
        namespace: Option<String>,
        options: &WatchOptions,
    ) -> Watch {
        let (sender, lines) = unbounded();
        let watcher = Watcher {
            resource: kind.resource(),
            api_version: kind.api_version(),
            kind: kind.name.clone(),
            namespace,
            selector: options.selector.clone(),
            bookmarks: options.bookmarks,
            lines: sender,
        };
        let seconds = options.seconds.unwrap_or(LONGEST);
        let end = Box::pin(tokio::time::sleep(Duration::from_secs(seconds)));
        match watcher.begin(store, cached, kind, options) {
            Ok(()) => self.0.push(watcher),
            // Told in the stream, which then ends.
            Err(refusal) => watcher.say("ERROR", &wire::status(&refusal)),
        }
        Watch { lines, end }
    }

    /// Tells a change to all whom it concerns.
    pub(super) fn tell(&mut self, kind: &Kind, change: &Change) {
        self.0.retain(|watcher| !watcher.lines.is_closed());
        for watcher in self.0.iter().filter(|watcher| watcher.resource == kind.resource()) {
            watcher.tell(change);
        }
    }

    /// Ends the watches of one kind, or all, as a lost connection would.
    pub(super) fn cut(&mut self, resource: Option<&str>) {
        self.0.retain(|watcher| resource.is_some_and(|resource| resource != watcher.resource));
    }

    /// Ends all watches with the word that they cannot go on from where they are.
    pub(super) fn expire(&mut self, revision: u64) {
        for watcher in self.0.drain(..) {
            watcher.say("ERROR", &wire::status(&refusal::expired(0, revision)));
        }
    }

    /// Tells everybody who wants to know how far they have seen.
    pub(super) fn bookmark(&self, revision: u64) {
        for watcher in self.0.iter().filter(|watcher| watcher.bookmarks) {
            watcher.say("BOOKMARK", &watcher.bookmark_at(revision, false));
        }
    }

    pub(super) fn count(&self) -> usize {
        self.0.iter().filter(|watcher| !watcher.lines.is_closed()).count()
    }
}

impl Watcher {
    /// Tells what was there before the watch, and what has happened since.
    fn begin(
        &self,
        store: &Store,
        cached: &Store,
        kind: &Kind,
        options: &WatchOptions,
    ) -> Result<(), Refusal> {
        let is_fresh = options.initial || options.from.is_none();
        let from = if is_fresh { cached.revision } else { options.from.unwrap_or_default() };
        if is_fresh {
            self.show(kind, cached, options.initial);
        }
        if from < store.compacted {
            return Err(refusal::expired(from, store.compacted));
        }
        store.changes.iter().filter(|change| change.revision > from).for_each(|change| self.tell(change));
        Ok(())
    }

    fn show(&self, kind: &Kind, cached: &Store, ends: bool) {
        for (_, stored) in cached.of(&self.resource, self.namespace.as_deref()) {
            let object = read(kind, stored);
            if self.selector.admits(&object) {
                self.say("ADDED", &object);
            }
        }
        if ends {
            self.say("BOOKMARK", &self.bookmark_at(cached.revision, true));
        }
    }

    fn tell(&self, change: &Change) {
        let Change { revision, key, before, after } = change;
        let is_here = self.namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace);
        if key.resource != self.resource || !is_here {
            return;
        }
        let before = before.as_ref().filter(|object| self.selector.admits(object));
        let after = after.as_ref().filter(|object| self.selector.admits(object));
        match (before, after) {
            (None, None) => {}
            (None, Some(object)) => self.say("ADDED", object),
            (Some(_), Some(object)) => self.say("MODIFIED", object),
            (Some(object), None) => {
                let mut object = object.clone();
                set_meta(&mut object, "resourceVersion", Some(revision.to_string().into()));
                self.say("DELETED", &object);
            }
        }
    }

    fn bookmark_at(&self, revision: u64, is_first: bool) -> Value {
        let mut bookmark = json!({
            "apiVersion": self.api_version,
            "kind": self.kind,
            "metadata": {"resourceVersion": revision.to_string(), "creationTimestamp": null},
        });
        if is_first {
            bookmark["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        bookmark
    }

    fn say(&self, type_: &str, object: &Value) {
        let line = format!("{}\n", json!({"type": type_, "object": object}));
        // A watcher that has gone away is forgotten at the next change.
        drop(self.lines.unbounded_send(line));
    }
}
