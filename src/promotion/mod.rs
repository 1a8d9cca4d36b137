//! One promotion, in the order in which data flows: observe, plan, execute, report. It is sent at most once, whatever
//! happens: the status says so before the call, and what says so is never sent again.

pub mod execute;
mod message;
pub mod observe;
pub mod plan;
pub mod reconcile;
