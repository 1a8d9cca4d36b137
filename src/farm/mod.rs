//! What one farm's actor is made of.
pub mod breaker;
pub mod limiter;
