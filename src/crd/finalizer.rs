//! Names of the finalizers: what must be done before an object may go.

/// On a `RasBroker` before anything is written to the farm for it.
pub const BROKER: &str = "ras-operator.dev/broker";

/// On a `RasFarm` for as long as a `RasBroker` with a finalizer names it.
pub const IN_USE: &str = "ras-operator.dev/in-use";
