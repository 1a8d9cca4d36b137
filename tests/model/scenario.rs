//! What is explored: the objects, the farm's manners, and the rule that is switched off.

/// One setting. Budgets of faults are part of the initial state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scenario {
    /// Objects there are at the start.
    pub objects: usize,
    /// The server that each object names.
    pub servers: [u8; 2],
    /// Adoption `IfExists` with deletion `Delete`, rather than the defaults.
    pub adopts: bool,
    /// Whether the farm refuses a second broker with the same key.
    pub unique: bool,
    /// Each object has its broker, the first one disabled in the farm; no other broker serves their site.
    pub established: bool,
    /// How often the user may disable or delete one of the objects of such a site; elsewhere there is no limit.
    pub edits: u8,
    /// `deletionProtection.threshold`.
    pub threshold: u8,
    /// The rule that is switched off.
    pub broken: Option<Rule>,
}

impl Scenario {
    /// One object, in a farm that would make two brokers of two POSTs.
    pub const ONE: Self = Self {
        objects: 1,
        servers: [0, 1],
        adopts: false,
        unique: false,
        established: false,
        edits: 0,
        threshold: 0,
        broken: None,
    };
    /// Two objects that mean the same broker.
    pub const RIVALS: Self = Self { objects: 2, servers: [0, 0], ..Self::ONE };
    /// Two brokers of one site, of which a user disables or deletes one.
    pub const SITE: Self = Self { objects: 2, established: true, edits: 1, ..Self::ONE };
    /// An object that may adopt what it finds, and deletes it in the end.
    pub const ADOPTS: Self = Self { adopts: true, ..Self::ONE };

    /// The same without a rule.
    pub const fn without(self, rule: Rule) -> Self {
        Self { broken: Some(rule), ..self }
    }

    /// Whether `rule` is switched off.
    pub fn breaks(self, rule: Rule) -> bool {
        self.broken == Some(rule)
    }
}

/// A rule of the protocol that can be switched off, to see that the exploration notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// The intent is written before the POST.
    IntentFirst,
    /// The finalizer is written before the POST.
    FinalizerFirst,
    /// After a lost answer nothing is sent, and nothing released, until the quarantine is over.
    Quarantine,
    /// An unanswered DELETE holds the finalizer.
    DeleteQuarantine,
    /// A row is ours only with our mark.
    Mark,
    /// A POST needs a fresh list.
    FreshList,
    /// Absent means absent from two lists, and by id.
    TwoLists,
    /// A fresh read precedes each DELETE.
    ReadBeforeDelete,
    /// A fresh read precedes each PUT.
    ReadBeforePut,
    /// Of two objects with one key only one acts.
    Rivals,
    /// What lowers a site waits for its turn, and the last broker stays.
    Served,
    /// Writes to the API server are fenced by the resource version.
    Fence,
    /// What was decided is sent only by who may act still, a POST in time.
    SendDeadline,
    /// What an earlier process has written, and not applied, is applied first.
    ApplyAfterRestart,
}
