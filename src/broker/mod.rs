//! One broker: `observe -> desired -> plan -> execute -> report`, in the order data flows.

pub mod agent;
pub mod cache;
pub mod canonical;
pub mod desired;
pub mod execute;
pub mod findings;
pub mod intent;
mod moving;
pub mod observe;
pub mod order;
pub mod plan;
pub mod reconcile;
pub mod rivals;
