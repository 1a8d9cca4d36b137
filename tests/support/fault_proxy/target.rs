//! What a request of the Kubernetes API is about, read from its method and its path.

use http::{Method, Uri};

/// Verb, route (plural with subresource) and name.
pub(super) fn target(method: &Method, uri: &Uri) -> (&'static str, String, String) {
    let segments: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
    let below = match segments.as_slice() {
        ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
        other => return (verb(method, false, false), other.join("/"), String::new()),
    };
    let below = match below {
        ["namespaces", _, rest @ ..] if !rest.is_empty() => rest,
        all => all,
    };
    let (resource, name, subresource) = match below {
        [resource] => (*resource, "", None),
        [resource, name, subresource, ..] => (*resource, *name, Some(*subresource)),
        [resource, name] => (*resource, *name, None),
        [] => ("", "", None),
    };
    let route = subresource.map_or_else(|| resource.to_owned(), |below| format!("{resource}/{below}"));
    let watches = uri.query().is_some_and(|query| query.contains("watch=true"));
    (verb(method, !name.is_empty(), watches), route, name.to_owned())
}

fn verb(method: &Method, named: bool, watches: bool) -> &'static str {
    match (method.as_str(), named) {
        ("GET", _) if watches => "watch",
        ("GET", true) => "get",
        ("GET", false) => "list",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", true) => "delete",
        ("DELETE", false) => "deletecollection",
        _ => "other",
    }
}
