//! What happened in a run, line by line: to be compared with another run, and to be read when one failed.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::clock;

/// Everything that passed, in order, and how often each fault was played.
#[derive(Default)]
pub struct Trace {
    lines: Vec<String>,
    faults: BTreeMap<String, u64>,
}

impl Trace {
    /// Enters a line.
    pub fn say(&mut self, what: &str) {
        let at = clock::elapsed();
        self.lines.push(format!("{:>4}.{:06} {what}", at.as_secs(), at.subsec_micros()));
    }

    /// Enters a fault.
    pub fn fault(&mut self, kind: &str, on: &str) {
        *self.faults.entry(kind.to_owned()).or_default() += 1;
        self.say(&format!("  fault {kind}: {on}"));
    }

    /// All lines.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// How often each fault was played.
    pub fn faults(&self) -> &BTreeMap<String, u64> {
        &self.faults
    }

    /// One number for all of it.
    pub fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.lines.hash(&mut hasher);
        hasher.finish()
    }
}

/// The number of the first call with this text, from a line such as `#12 api: PATCH ...`.
pub fn call_with(lines: &[String], text: &str) -> Option<usize> {
    let line = lines.iter().find(|line| line.contains(text))?;
    line.split('#').nth(1)?.split(' ').next()?.parse().ok()
}
