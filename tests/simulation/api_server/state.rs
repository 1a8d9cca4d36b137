//! The server's work: each request is answered at one instant, and each change goes to those who watch.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::apply::{self, Owners};
use super::kinds::{DEFINITIONS, KINDS, Kind, NAMESPACES};
use super::object::{finalizers, is_going, merge, meta, set, set_meta};
use super::refusal::{self, Refusal};
use super::registry::{self, Update};
use super::request::{Manager, Part, Request, Selector, Verb};
use super::store::{Change, Key, Store, Stored};
use super::watch::{Watch, Watchers};

/// What the server answers.
pub(crate) enum Answer {
    /// One body.
    Body {
        /// 200 or 201.
        code: u16,
        /// An object, a list or a status.
        body: Value,
    },
    /// A body without an end, line by line.
    Watch(Watch),
}

/// Which part of which kind, and who writes.
struct Place<'a> {
    kind: &'static Kind,
    part: Part,
    manager: &'a Manager,
}

pub(super) struct State {
    pub(super) store: Store,
    pub(super) watchers: Watchers,
    /// The world that new watches begin with, where that is not the present one.
    pub(super) behind: Option<Store>,
    /// How many uids and generated names were given away.
    given: u64,
}

impl State {
    pub(super) fn new() -> Self {
        Self { store: Store::new(), watchers: Watchers::default(), behind: None, given: 0 }
    }

    pub(super) fn answer(&mut self, request: Request, now: Timestamp) -> Result<Answer, Refusal> {
        let Request { kind, namespace, name, part, manager, verb } = request;
        let place = Place { kind, part, manager: &manager };
        self.is_served(kind)?;
        let space = namespace.clone().unwrap_or_default();
        let key = Key { resource: kind.resource(), namespace: space, name };
        let now = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let body = match verb {
            Verb::Get => self.get(kind, &key)?,
            Verb::List(selector) => {
                selector.check(kind)?;
                self.list(kind, namespace.as_deref(), &selector)
            }
            Verb::Watch(options) => {
                options.selector.check(kind)?;
                let cached = self.behind.as_ref().unwrap_or(&self.store);
                let watch = self.watchers.open((&self.store, cached), kind, namespace, &options);
                return Ok(Answer::Watch(watch));
            }
            Verb::Create(body) => return self.create(kind, key, body, &manager, &now),
            Verb::Replace(body) => return self.replace(&place, key, body, &now),
            Verb::Merge(patch) => self.update(&place, &key, |old, owners| {
                let mut new = old.clone();
                merge(&mut new, &patch);
                let new = registry::decoded(kind, namespace.as_deref(), &key.name, new)?;
                let owners = apply::written(kind, part, &manager, (old, owners), &new);
                Ok((new, owners))
            })?,
            Verb::Apply(config) => return self.apply(&place, key, config, &now),
            Verb::Delete(options) => self.delete(kind, &key, &options, &now)?,
        };
        Ok(Answer::Body { code: 200, body })
    }

    /// A kind is there as long as its definition is.
    fn is_served(&self, kind: &Kind) -> Result<(), Refusal> {
        let is_there = kind.definition.as_ref().is_none_or(|name| self.definition(name).is_some());
        if is_there { Ok(()) } else { Err(refusal::no_such_path()) }
    }

    fn definition(&self, name: &str) -> Option<&Stored> {
        let resource = format!("{DEFINITIONS}.apiextensions.k8s.io");
        self.store.objects.get(&Key { resource, namespace: String::new(), name: name.to_owned() })
    }

    pub(super) fn get(&self, kind: &Kind, key: &Key) -> Result<Value, Refusal> {
        let stored = self.store.objects.get(key).ok_or_else(|| refusal::not_found(kind, &key.name))?;
        Ok(read(kind, stored))
    }

    pub(super) fn list(&self, kind: &Kind, namespace: Option<&str>, selector: &Selector) -> Value {
        let resource = kind.resource();
        let items: Vec<Value> = self
            .store
            .of(&resource, namespace)
            .map(|(_, stored)| read(kind, stored))
            .filter(|object| selector.admits(object))
            .collect();
        json!({
            "apiVersion": kind.api_version(),
            "kind": format!("{}List", kind.name),
            "metadata": {"resourceVersion": self.store.revision.to_string()},
            "items": items,
        })
    }

    fn create(
        &mut self,
        kind: &Kind,
        mut key: Key,
        body: Value,
        manager: &Manager,
        now: &str,
    ) -> Result<Answer, Refusal> {
        let namespace = kind.is_namespaced.then(|| key.namespace.clone());
        let mut body = registry::decoded(kind, namespace.as_deref(), &key.name, body)?;
        key.name = self.name_of(&body);
        set_meta(&mut body, "name", Some(key.name.clone().into()));
        let owners = apply::written(kind, Part::Main, manager, (&json!({}), &Owners::new()), &body);
        self.add(kind, key, body, owners, now)
    }

    /// Adds an object that was not there.
    fn add(
        &mut self,
        kind: &Kind,
        key: Key,
        body: Value,
        owners: Owners,
        now: &str,
    ) -> Result<Answer, Refusal> {
        self.may_create(kind, &key)?;
        if key.name.is_empty() {
            let fault = refusal::Fault::new(
                "metadata.name",
                "FieldValueRequired",
                "Required value: name or generateName is required",
            );
            return Err(refusal::invalid(kind, "", vec![fault]));
        }
        let object = registry::created(kind, body, &self.uid(), now)?;
        if let Some(there) = self.store.objects.get(&key) {
            return Err(refusal::already_exists(kind, &key.name, is_going(&there.value)));
        }
        Ok(Answer::Body { code: 201, body: self.put(kind, key, object, owners) })
    }

    /// The name that is asked for, or one with the prefix that is asked for.
    fn name_of(&mut self, body: &Value) -> String {
        let (name, prefix) = (meta(body, "name"), meta(body, "generateName"));
        if !name.is_empty() || prefix.is_empty() {
            return name.to_owned();
        }
        self.given += 1;
        format!("{prefix}{:05}", self.given)
    }

    /// In the form of a uid, and counted.
    fn uid(&mut self) -> String {
        self.given += 1;
        format!("00000000-0000-4000-8000-{:012x}", self.given)
    }

    fn may_create(&self, kind: &Kind, key: &Key) -> Result<(), Refusal> {
        let definition = kind.definition.as_ref().and_then(|name| self.definition(name));
        if definition.is_some_and(|definition| is_going(&definition.value)) {
            return Err(refusal::definition_goes(kind, &key.name));
        }
        if !kind.is_namespaced {
            return Ok(());
        }
        let namespaces = &KINDS[0];
        let home =
            Key { resource: NAMESPACES.to_owned(), namespace: String::new(), name: key.namespace.clone() };
        match self.store.objects.get(&home) {
            None => Err(refusal::not_found(namespaces, &key.namespace)),
            Some(there) if is_going(&there.value) => {
                Err(refusal::namespace_ends(kind, &key.name, &key.namespace))
            }
            Some(_) => Ok(()),
        }
    }

    fn replace(&mut self, place: &Place, key: Key, body: Value, now: &str) -> Result<Answer, Refusal> {
        let Place { kind, part, manager } = *place;
        let namespace = kind.is_namespaced.then(|| key.namespace.clone());
        let body = registry::decoded(kind, namespace.as_deref(), &key.name, body)?;
        if kind.is_created_by_put && !self.store.objects.contains_key(&key) {
            if !meta(&body, "uid").is_empty() {
                return Err(refusal::conflict(kind, &key.name, "Precondition failed: UID in object meta: "));
            }
            return self.create(kind, key, body, manager, now);
        }
        let body = self.update(place, &key, |old, owners| {
            let (given, there) = (meta(&body, "uid"), meta(old, "uid"));
            if !given.is_empty() && given != there {
                let why =
                    format!("Precondition failed: UID in precondition: {given}, UID in object meta: {there}");
                return Err(refusal::conflict(kind, &key.name, &why));
            }
            let owners = apply::written(kind, part, manager, (old, owners), &body);
            Ok((body, owners))
        })?;
        Ok(Answer::Body { code: 200, body })
    }

    /// An apply of an object that is not there creates it; of its status alone, it does not.
    fn apply(&mut self, place: &Place, key: Key, config: Value, now: &str) -> Result<Answer, Refusal> {
        let Place { kind, part, manager } = *place;
        let namespace = kind.is_namespaced.then(|| key.namespace.clone());
        let config = registry::named(namespace.as_deref(), &key.name, config)?;
        if part == Part::Main && !self.store.objects.contains_key(&key) {
            let nothing = (&json!({}), &Owners::new());
            let (body, owners) = apply::applied(kind, part, manager, nothing, &config)?;
            let body = registry::decoded(kind, namespace.as_deref(), &key.name, body)?;
            return self.add(kind, key, body, owners, now);
        }
        let body = self.update(place, &key, |old, owners| {
            let (mut new, owners) = apply::applied(kind, part, manager, (old, owners), &config)?;
            kind.schema.fill(&mut new);
            Ok((new, owners))
        })?;
        Ok(Answer::Body { code: 200, body })
    }

    /// Reads, lets `make` say what it is to become and whose it is, and keeps that.
    fn update(
        &mut self,
        place: &Place,
        key: &Key,
        make: impl FnOnce(&Value, &Owners) -> Result<(Value, Owners), Refusal>,
    ) -> Result<Value, Refusal> {
        let Place { kind, part, manager: _ } = *place;
        let stored = self.store.objects.get(key).ok_or_else(|| refusal::not_found(kind, &key.name))?;
        let old = read(kind, stored);
        let (new, owners) = make(&old, &stored.owners)?;
        match registry::updated(kind, part, &old, new)? {
            Update::Keep(new) => Ok(self.put(kind, key.clone(), new, owners)),
            Update::Remove(new) => {
                self.remove(kind, key);
                Ok(new)
            }
        }
    }

    pub(super) fn delete(
        &mut self,
        kind: &Kind,
        key: &Key,
        options: &Value,
        now: &str,
    ) -> Result<Value, Refusal> {
        let old = self.get(kind, key)?;
        for field in ["uid", "resourceVersion"] {
            let given = options["preconditions"][field].as_str();
            if given.is_some_and(|given| given != meta(&old, field)) {
                return Err(refusal::precondition(kind, &key.name, field));
            }
        }
        let keeps = [NAMESPACES, DEFINITIONS].contains(&kind.plural.as_str());
        if !finalizers(&old).is_empty() || keeps {
            let owners = self.store.objects.get(key).map(|stored| stored.owners.clone()).unwrap_or_default();
            let going = self.put(kind, key.clone(), registry::marked(old, now), owners);
            self.follow_deletion(kind, key, now);
            return Ok(going);
        }
        self.remove(kind, key);
        let mut details = json!({"name": key.name, "kind": kind.plural, "uid": meta(&old, "uid")});
        if !kind.group.is_empty() {
            details["group"] = kind.group.clone().into();
        }
        Ok(json!({
            "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Success", "details": details,
        }))
    }

    /// Carries out a deletion that was begun when the object had no finalizer: what was put on it since is overlooked.
    pub(super) fn sweep_away(&mut self, kind: &Kind, key: &Key) -> Result<Value, Refusal> {
        let old = self.get(kind, key)?;
        self.remove(kind, key);
        Ok(old)
    }

    /// A definition takes its objects with it.
    fn follow_deletion(&mut self, kind: &Kind, key: &Key, now: &str) {
        if kind.plural != DEFINITIONS {
            return;
        }
        let made = KINDS.iter().filter(|made| made.definition.as_deref() == Some(&key.name));
        for kind in made {
            self.delete_all(kind, None, now);
        }
        self.settle();
    }

    /// Deletes every object of a kind; those with finalizers begin to go.
    pub(super) fn delete_all(&mut self, kind: &Kind, namespace: Option<&str>, now: &str) {
        let resource = kind.resource();
        let keys: Vec<Key> = self.store.of(&resource, namespace).map(|(key, _)| key.clone()).collect();
        for key in keys {
            // It was there a moment ago, and nothing is asked of it.
            drop(self.delete(kind, &key, &Value::Null, now));
        }
    }

    /// Writes an object, unless it is the same as before.
    fn put(&mut self, kind: &Kind, key: Key, mut object: Value, owners: Owners) -> Value {
        set_meta(&mut object, "resourceVersion", None);
        let before = self.store.objects.get(&key);
        if let Some(stored) = before.filter(|stored| stored.value == object && stored.owners == owners) {
            return read(kind, stored);
        }
        let before = before.map(|stored| read(kind, stored));
        let stored = Stored { value: object, owners, revision: self.store.advance() };
        let after = read(kind, &stored);
        self.store.objects.insert(key.clone(), stored);
        self.tell(kind, Change { revision: self.store.revision, key, before, after: Some(after.clone()) });
        after
    }

    fn remove(&mut self, kind: &Kind, key: &Key) {
        let Some(stored) = self.store.objects.remove(key) else { return };
        let before = Some(read(kind, &stored));
        let revision = self.store.advance();
        self.tell(kind, Change { revision, key: key.clone(), before, after: None });
        self.settle();
    }

    fn tell(&mut self, kind: &Kind, change: Change) {
        self.watchers.tell(kind, &change);
        self.store.changes.push(change);
    }

    /// What waits to be empty goes when it is: definitions, and the watches of what they made.
    fn settle(&mut self) {
        for kind in KINDS.iter() {
            let Some(name) = &kind.definition else { continue };
            let ends = self.definition(name).is_some_and(|definition| is_going(&definition.value));
            if ends && self.store.of(&kind.resource(), None).next().is_none() {
                let resource = format!("{DEFINITIONS}.apiextensions.k8s.io");
                let key = Key { resource, namespace: String::new(), name: name.clone() };
                if let Some(definitions) = KINDS.iter().find(|kind| kind.plural == DEFINITIONS) {
                    self.remove(definitions, &key);
                }
                self.watchers.cut(Some(&kind.resource()));
            }
        }
    }
}

/// An object as it is answered: with its version, and with what the schema adds.
pub(super) fn read(kind: &Kind, stored: &Stored) -> Value {
    let mut object = stored.value.clone();
    kind.schema.fill(&mut object);
    set_meta(&mut object, "resourceVersion", Some(stored.revision.to_string().into()));
    set(&mut object, "apiVersion", Some(kind.api_version().into()));
    set(&mut object, "kind", Some(kind.name.clone().into()));
    object
}
