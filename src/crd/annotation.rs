//! Names of the annotations by which a person, or the operator itself, says something about one
//! object that has no place in `spec`.

/// On a `RasBroker`: the operator's own record of a create that it is about to send.
pub const CREATE_INTENT: &str = "ras-operator.dev/create-intent";

/// On a `RasBroker`: `"true"` holds its deletion.
pub const DELETION_PROTECTION: &str = "ras-operator.dev/deletion-protection";

/// On a `RasBroker`: `"true"` lets the last enabled broker of a site be deleted, disabled or put in standby.
pub const SKIP_AVAILABILITY_CHECK: &str = "ras-operator.dev/skip-availability-check";

/// On a `RasBroker`: `"true"` lets a deletion end without the farm; the broker stays there.
pub const FORCE_ORPHAN: &str = "ras-operator.dev/force-orphan";

/// On a `RasFarm`: an RFC 3339 time; deletions of brokers marked before it are let go although
/// they exceed the threshold.
pub const ALLOW_MASS_DELETION: &str = "ras-operator.dev/allow-mass-deletion";

/// On a `RasFarm`: the farm GUID (or `uid:<RasFarm uid>`) that is accepted in place of the
/// recorded one.
pub const ACCEPT_FARM_GUID: &str = "ras-operator.dev/accept-farm-guid";

/// On a `RasFarm`: any new value sends one Apply, pending work of others included.
pub const APPLY_REQUESTED_AT: &str = "ras-operator.dev/apply-requested-at";

/// On both kinds: any new value asks for a fresh look, and for one more try of what is stalled.
pub const RECONCILE_REQUESTED_AT: &str = "ras-operator.dev/reconcile-requested-at";

/// On both kinds: the same as [`RECONCILE_REQUESTED_AT`], as `flux reconcile` writes it.
pub const FLUX_REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";

/// How much of a request is written back, in bytes: an annotation may be far longer than a status has room for.
const LONGEST_REQUEST: usize = 256;

/// What is written back of a request once it was answered, and tells it from the next one.
pub fn request(value: &str) -> &str {
    &value[..value.floor_char_boundary(LONGEST_REQUEST)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_request_as_long_as_an_annotation_may_be_the_beginning_is_written_back() {
        let long = "\u{20ac}".repeat(80_000);
        assert_eq!(request(&long), "\u{20ac}".repeat(85));
        assert_eq!(request(request(&long)), request(&long), "what was written back is the same request");
        assert_eq!(request("2026-11-29T12:00:00Z"), "2026-11-29T12:00:00Z");
    }
}
