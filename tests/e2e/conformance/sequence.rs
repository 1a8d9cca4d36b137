//! What is asked, in which order: drawn from a seed, and without anything that only one server would know.

use serde_json::{Value, json};

use crate::support::random::Random;

/// A kind, as paths and manifests name it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Kind {
    pub(super) prefix: &'static str,
    pub(super) api_version: &'static str,
    pub(super) plural: &'static str,
    pub(super) name: &'static str,
}

pub(super) const BROKER: Kind = custom("rasbrokers", "RasBroker");
const FARM: Kind = custom("rasfarms", "RasFarm");
const PROMOTION: Kind = custom("rasbrokerpromotions", "RasBrokerPromotion");
const LEASE: Kind = Kind {
    prefix: "/apis/coordination.k8s.io/v1",
    api_version: "coordination.k8s.io/v1",
    plural: "leases",
    name: "Lease",
};
const CONFIG_MAP: Kind =
    Kind { prefix: "/api/v1", api_version: "v1", plural: "configmaps", name: "ConfigMap" };
const SECRET: Kind = Kind { prefix: "/api/v1", api_version: "v1", plural: "secrets", name: "Secret" };

const fn custom(plural: &'static str, name: &'static str) -> Kind {
    let api_version = "ras-operator.dev/v1alpha1";
    Kind { prefix: "/apis/ras-operator.dev/v1alpha1", api_version, plural, name }
}

/// Which of the versions that an object was seen in a request names.
#[derive(Clone, Copy, Debug)]
pub(super) enum Version {
    Fresh,
    /// One of those seen, whichever.
    Seen(usize),
    Absent,
}

/// Which uid a request names.
#[derive(Clone, Copy, Debug)]
pub(super) enum Uid {
    Absent,
    Right,
    /// The first that was seen under this name: another one, if the object was created anew.
    First,
    Wrong,
}

#[derive(Clone, Debug)]
pub(super) enum Call {
    Get,
    List {
        selector: &'static str,
    },
    Create {
        body: Value,
    },
    /// A PUT of what was last seen, with a patch laid over it; or of a manifest that never saw the object.
    Replace {
        status: bool,
        whole: bool,
        change: Value,
        version: Version,
        uid: Uid,
    },
    Merge {
        status: bool,
        change: Value,
        version: Version,
        manager: &'static str,
    },
    Apply {
        status: bool,
        body: Value,
        version: Version,
        manager: &'static str,
        force: bool,
    },
    Delete {
        version: Version,
        uid: Uid,
    },
    /// Everything that happened since a version that was seen.
    WatchFrom {
        version: usize,
        selector: &'static str,
    },
    /// What is there, up to the bookmark that says so.
    WatchList,
}

/// One request, to be made of what each server has answered so far.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) kind: Kind,
    pub(super) name: &'static str,
    pub(super) call: Call,
}

/// The name of the object that ends each sequence, so that a watch knows that it has seen all.
pub(super) const LAST: &str = "last";

/// The requests of a seed.
pub(super) fn sequence(seed: u64) -> Vec<Step> {
    let mut random = Random::new(seed);
    let kind =
        random.weighted(&[(12, BROKER), (4, FARM), (2, PROMOTION), (2, LEASE), (1, CONFIG_MAP), (1, SECRET)]);
    let length = 10 + random.below(11);
    let body = if random.once_in(6) { manifest(kind, &mut random) } else { valid(kind) };
    let create = Call::Create { body };
    let mut steps = vec![Step { kind, name: "a", call: create }];
    while steps.len() < length {
        let name = if random.once_in(6) { "b" } else { "a" };
        steps.push(Step { kind, name, call: call(kind, &mut random) });
    }
    steps.push(Step { kind, name: LAST, call: Call::Create { body: valid(kind) } });
    steps
}

fn call(kind: Kind, random: &mut Random) -> Call {
    let is_custom = [BROKER, FARM, PROMOTION].contains(&kind);
    let weights: &[(usize, u8)] = &[
        (2, 0),
        (1, 1),
        (4, 2),
        (4, 3),
        (8, 4),
        (if is_custom { 5 } else { 0 }, 5),
        (if is_custom { 9 } else { 0 }, 6),
        (3, 7),
        (1, 8),
        (1, 9),
        (usize::from(is_custom), 10),
        (if is_custom { 2 } else { 0 }, 11),
    ];
    let manager = random.of(&["ras-operator", "kubectl"]);
    match random.weighted(weights) {
        0 => Call::Get,
        1 => Call::List { selector: selector(random) },
        2 => Call::Create { body: manifest(kind, random) },
        3 => Call::Replace {
            status: false,
            whole: random.once_in(2),
            change: change(kind, random),
            version: version(random),
            uid: random.weighted(&[(6, Uid::Absent), (2, Uid::Right), (1, Uid::First), (1, Uid::Wrong)]),
        },
        4 => Call::Merge { status: false, change: change(kind, random), version: version(random), manager },
        5 => {
            let change = json!({"status": status_change(kind, random)});
            Call::Merge { status: true, change, version: version(random), manager }
        }
        6 => Call::Apply {
            status: true,
            body: json!({"status": status(kind, random)}),
            version: version(random),
            manager: random.weighted(&[(5, "ras-operator"), (1, "kubectl")]),
            force: !random.once_in(6),
        },
        7 => Call::Delete {
            version: random.weighted(&[(8, Version::Absent), (1, Version::Fresh), (1, Version::Seen(1))]),
            uid: random.weighted(&[(6, Uid::Absent), (2, Uid::Right), (2, Uid::First), (1, Uid::Wrong)]),
        },
        8 => Call::WatchFrom { version: random.below(8), selector: selector(random) },
        9 => Call::WatchList,
        10 => Call::Apply {
            status: false,
            body: manifest(kind, random),
            version: random.weighted(&[(4, Version::Absent), (1, Version::Fresh), (1, Version::Seen(0))]),
            manager,
            force: random.once_in(2),
        },
        _ => Call::Replace {
            status: true,
            whole: true,
            change: json!({"status": status(kind, random), "spec": {"suspend": true}}),
            version: version(random),
            uid: random.weighted(&[(6, Uid::Absent), (1, Uid::Right), (1, Uid::Wrong)]),
        },
    }
}

fn selector(random: &mut Random) -> &'static str {
    random.of(&[
        "",
        "",
        "labelSelector=tier%3Dgold",
        "fieldSelector=metadata.name%3Da",
        "fieldSelector=spec.farmRef.name%3Dnorth",
        "fieldSelector=spec.enabled%3Dtrue",
    ])
}

fn version(random: &mut Random) -> Version {
    let seen = Version::Seen(random.below(6));
    random.weighted(&[(5, Version::Fresh), (2, seen), (3, Version::Absent)])
}

fn manifest(kind: Kind, random: &mut Random) -> Value {
    let mut body = json!({"metadata": {}});
    if random.once_in(3) {
        body["metadata"]["finalizers"] = json!(["ras-operator.dev/broker"]);
    }
    if random.once_in(4) {
        body["metadata"]["labels"] = json!({"tier": random.of(&["gold", "lead"])});
    }
    if random.once_in(4) {
        body["metadata"]["annotations"] = json!({"note": random.of(&["one", "two"])});
    }
    let own = match kind.name {
        "RasBroker" => json!({"spec": random.of(&[
            json!({"farmRef": {"name": "north"}, "server": "a.corp.example"}),
            json!({"farmRef": {"name": "north"}, "server": "a.corp.example", "enabled": true, "unknown": 1}),
            json!({"farmRef": {"name": "north"}, "server": "b.corp.example", "install": {"agent": true}}),
            json!({"farmRef": {"name": "north"}, "server": "a.corp.example", "alternativeIPs": ["10.0.0.1", "10.0.0.2"]}),
            json!({"farmRef": {}, "server": ""}),
            json!({"farmRef": {"name": "Not a name"}, "server": "a.corp.example", "adoptionPolicy": "Perhaps"}),
        ])}),
        "RasFarm" => json!({"spec": random.of(&[
            json!({"endpoint": "https://a.example:20443", "credentialsSecretRef": {"name": "c"}}),
            json!({"endpoint": "https://a.example:20443", "credentialsSecretRef": {"name": "c"}, "apply": {}}),
            json!({"endpoint": "ftp://a.example", "credentialsSecretRef": {"name": "c"}}),
            json!({"endpoint": "https://a.example:20443", "credentialsSecretRef": {"name": "c"}, "resyncPeriod": "5x"}),
        ])}),
        "RasBrokerPromotion" => json!({"spec": random.of(&[
            promotion("a.corp.example", "2026-03-01T18:00:00Z"),
            promotion("b.corp.example", "2026-03-01T18:00:00Z"),
            promotion("", "2026-03-01T18:00:00Z"),
            promotion("a.corp.example", "tomorrow"),
            json!({"brokerRef": {"name": "a"}}),
        ])}),
        "Lease" => json!({"spec": lease(random)}),
        "Secret" => {
            random.of(&[json!({"stringData": {"a": "b"}}), json!({"data": {"a": "Yg=="}}), json!({})])
        }
        _ => random.of(&[json!({"data": {"a": "b"}}), json!({"data": {}}), json!({})]),
    };
    super::merged(body, &own)
}

/// What every server takes.
fn valid(kind: Kind) -> Value {
    match kind.name {
        "RasBroker" => json!({"spec": {"farmRef": {"name": "north"}, "server": "a.corp.example"}}),
        "RasFarm" => {
            json!({"spec": {"endpoint": "https://a.example", "credentialsSecretRef": {"name": "c"}}})
        }
        "RasBrokerPromotion" => json!({"spec": promotion("a.corp.example", "2026-03-01T18:00:00Z")}),
        _ => json!({}),
    }
}

fn promotion(expected: &str, not_after: &str) -> Value {
    json!({
        "brokerRef": {"name": "a"}, "accountSecretRef": {"name": "c"},
        "expectedPrimary": expected, "notAfter": not_after,
    })
}

fn change(kind: Kind, random: &mut Random) -> Value {
    if random.once_in(2) {
        return random.of(&[
            json!({"metadata": {"finalizers": ["ras-operator.dev/broker"]}}),
            json!({"metadata": {"finalizers": ["ras-operator.dev/broker"]}}),
            json!({"metadata": {"finalizers": ["other.example/one", "ras-operator.dev/broker"]}}),
            json!({"metadata": {"finalizers": []}}),
            json!({"metadata": {"finalizers": null}}),
            json!({"metadata": {"annotations": {"note": "three"}}}),
            json!({"metadata": {"annotations": {"note": null}}}),
            json!({"metadata": {"annotations": {"ras-operator.dev/create-intent": "{}"}, "finalizers": ["ras-operator.dev/broker"]}}),
            json!({"metadata": {"labels": {"tier": "gold"}}}),
            json!({"metadata": {"labels": {"tier": null}}}),
            json!({"metadata": {"uid": "00000000-0000-0000-0000-000000000000"}}),
            json!({"metadata": {"generation": 77}}),
            json!({"metadata": {"deletionTimestamp": "2020-01-01T00:00:00Z"}}),
            json!({"metadata": {"creationTimestamp": null}}),
            json!({"metadata": {}}),
        ]);
    }
    match kind.name {
        "RasBroker" => json!({"spec": random.of(&[
            json!({"enabled": true}), json!({"enabled": false}), json!({"enabled": null}),
            json!({"description": "x"}), json!({"description": ""}), json!({"priority": 3}), json!({"priority": 0}),
            json!({"siteId": 1}), json!({"siteId": 2}), json!({"siteId": null}),
            json!({"server": "other.corp.example"}), json!({"server": null}), json!({"farmRef": {"name": "south"}}),
            json!({"ip": "10.0.0.7"}), json!({"ip": "nonsense"}), json!({"suspend": true}), json!({"suspend": null}),
            json!({"alternativeIPs": ["10.0.0.1"]}), json!({"alternativeIPs": ["A", "a"]}), json!({"alternativeIPs": null}),
            json!({"install": {"restart": true}}), json!({"install": null}), json!({"unknown": {"field": 1}}),
            json!({"description": 5}), json!({"deletionPolicy": "Orphan"}), json!({"deletionPolicy": "Maybe"}),
        ])}),
        "RasFarm" => json!({"spec": random.of(&[
            json!({"resyncPeriod": "5s"}), json!({"resyncPeriod": null}), json!({"apply": {"mode": "Manual"}}),
            json!({"apply": null}), json!({"deletionProtection": {"threshold": 0}}), json!({"rateLimit": {"requests": 0}}),
            json!({"endpoint": "https://b.example:20443"}), json!({"endpoint": "no address"}), json!({"suspend": true}),
            json!({"tls": {"serverName": "a.example"}}), json!({"tls": null}), json!({"fallbackEndpoints": []}),
        ])}),
        "RasBrokerPromotion" => json!({"spec": random.of(&[
            json!({"expectedPrimary": "a.corp.example"}), json!({"expectedPrimary": "b.corp.example"}),
            json!({"expectedPrimary": null}), json!({"notAfter": "2027-03-01T18:00:00Z"}),
            json!({"brokerRef": {"name": "b"}}), json!({"brokerRef": {"name": "Not a name"}}), json!({"unknown": 1}),
        ])}),
        "Lease" => json!({"spec": lease(random)}),
        "Secret" => random.of(&[
            json!({"data": {"a": "Yw=="}}),
            json!({"data": {"b": "Yw=="}}),
            json!({"stringData": {"b": "c"}}),
        ]),
        _ => random.of(&[json!({"data": {"a": "c"}}), json!({"data": {"a": null}}), json!({"data": null})]),
    }
}

fn lease(random: &mut Random) -> Value {
    random.of(&[
        json!({"holderIdentity": "one", "leaseDurationSeconds": 15, "leaseTransitions": 1, "renewTime": "2026-01-01T00:00:00.000000Z"}),
        json!({"holderIdentity": "two", "leaseDurationSeconds": 15, "renewTime": "2026-01-01T00:00:01.500000Z"}),
        json!({"holderIdentity": null, "leaseDurationSeconds": 15}),
    ])
}

/// A whole status.
fn status(kind: Kind, random: &mut Random) -> Value {
    let mut status = json!({});
    for _ in 0..random.below(5) {
        status = super::merged(status, &status_part(kind, random));
    }
    status
}

/// A change of a status, which may also take something away.
fn status_change(kind: Kind, random: &mut Random) -> Value {
    if random.once_in(3) {
        return random.of(&[
            json!({"id": null}),
            json!({"conditions": null}),
            json!({"observedGeneration": null}),
            json!(null),
            json!({"unknown": 1}),
            json!({"conditions": [{"type": "Ready"}]}),
            json!({"observedGeneration": "one"}),
        ]);
    }
    status_part(kind, random)
}

fn status_part(kind: Kind, random: &mut Random) -> Value {
    let of_both = [
        json!({"observedGeneration": 1}),
        json!({"observedGeneration": 2}),
        json!({"conditions": conditions(random)}),
        json!({"conditions": conditions(random)}),
        json!({"farmGUID": "g"}),
        json!({"lastHandledReconcileAt": "now"}),
    ];
    let own = match kind.name {
        "RasBroker" => [
            json!({"id": 7}),
            json!({"id": 8}),
            json!({"origin": "Created"}),
            json!({"origin": "Lost"}),
            json!({"agent": {"state": "OK"}}),
            json!({"agent": {"state": "OK", "version": "1"}}),
            json!({"drift": [drift("ip")]}),
            json!({"drift": [drift("ip"), drift("enabled")]}),
            json!({"drift": []}),
            json!({"observed": {"server": "a", "siteId": 1, "alternativeIPs": ["1", "2"]}}),
        ],
        "RasBrokerPromotion" => [
            json!({"phase": "Pending"}),
            json!({"phase": "Promoting", "startTime": "2026-01-01T00:00:00Z"}),
            json!({"phase": "Succeeded", "completionTime": "2026-01-01T00:00:00Z"}),
            json!({"phase": "Perhaps"}),
            json!({"startTime": "yesterday"}),
            json!({"previousPrimary": "a.corp.example"}),
            json!({"newPrimary": "b.corp.example"}),
            json!({"attempt": {}}),
            json!({"phase": null}),
            json!({"observedGeneration": -1}),
        ],
        _ => [
            json!({"brokers": {"total": 1, "managed": 1, "ready": 0, "drifted": 0}}),
            json!({"brokers": {"total": 2, "managed": 1, "ready": 1, "drifted": 0}}),
            json!({"brokers": {"total": 2}}),
            json!({"pendingApply": {"brokers": 1, "since": "2026-01-01T00:00:00Z"}}),
            json!({"pendingApply": {"brokers": 1, "since": "yesterday"}}),
            json!({"capabilities": ["Apply"]}),
            json!({"capabilities": ["Apply", "Flight"]}),
            json!({"capabilities": []}),
            json!({"sites": [{"id": 1, "brokers": 1, "licensing": true}]}),
            json!({"account": "a"}),
        ],
    };
    if random.once_in(2) { random.of(&of_both) } else { random.of(&own) }
}

fn drift(field: &str) -> Value {
    json!({"field": field, "desired": "a", "observed": "b", "since": "2026-01-01T00:00:00Z"})
}

fn conditions(random: &mut Random) -> Value {
    let condition = |type_: &str, status: &str, reason: &str| {
        json!({
            "type": type_, "status": status, "reason": reason, "message": "m",
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1,
        })
    };
    random.of(&[
        json!([condition("Ready", "True", "Available")]),
        json!([condition("Ready", "False", "Creating"), condition("Synced", "True", "Applied")]),
        json!([condition("Synced", "False", "Pending"), condition("Ready", "False", "Creating")]),
        json!([condition("Stalled", "True", "Conflict")]),
        json!([condition("Ready", "True", "Available"), condition("Ready", "False", "Twice")]),
        json!([condition("Ready", "Perhaps", "not-a-reason")]),
        json!([]),
    ])
}
