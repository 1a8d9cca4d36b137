//! The compact state that is explored. Every time is an age in ticks that stops growing once it makes no difference,
//! so that a world which only waits returns to itself, and the state space is finite without a clock's end.

/// Slots for object names, and processes at one time.
pub const SLOTS: usize = 2;
/// Uids are counted from 1.
pub type Uid = u8;
/// A row's id in the farm.
pub type Id = u8;

/// One row of the farm.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Row {
    pub id: Id,
    /// Tells rows apart that had the same id: what `timeCreate` does.
    pub made: u8,
    pub server: u8,
    /// Whether our account created it.
    pub by_us: bool,
    pub enabled: bool,
    pub marked: bool,
    /// Known to the model alone: whether it served its site when the farm last applied, where that matters.
    pub serves: bool,
    /// Known to the model alone: whose POST made it, or who adopted it.
    pub owner: Option<Uid>,
}

impl Row {
    /// What a process can know of it.
    pub fn seen(&self) -> Self {
        Self { owner: None, serves: false, ..self.clone() }
    }
}

/// The create intent; its times are not kept, since all of them lie within the slack of clocks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Intended {
    pub uid: Uid,
    pub attempt: u8,
    pub lost: bool,
    pub refused: bool,
    pub recreated: bool,
    pub replaces: Option<Id>,
}

/// What of a status decisions rest on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Recorded {
    pub id: Option<Id>,
    pub made: Option<u8>,
    pub origin: Option<Made>,
    pub site: bool,
    /// Whether it shows that the object's deletion was begun.
    pub deleting: bool,
}

/// `status.origin`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Made {
    Created,
    Adopted,
}

/// A `RasBroker`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Object {
    pub uid: Uid,
    /// Age of the deletion mark.
    pub deleted: Option<u8>,
    pub finalizer: bool,
    /// `force-orphan`.
    pub orphan: bool,
    /// `spec.enabled: false`, a second generation.
    pub disabled: bool,
    pub intent: Option<Intended>,
    pub status: Recorded,
}

/// An object as a process knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Known {
    pub object: Object,
    /// Whether its resource version is the store's: a write based on it goes through only then.
    pub current: bool,
}

/// What a watch has shown of each object.
pub type View = [Option<Known>; SLOTS];

/// `Memory` of one uid.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Remembered {
    pub uid: Uid,
    /// For how long the object is known, where that matters.
    pub known: Option<u8>,
    pub began_deletion: bool,
    pub intent_seen: Option<(u8, u8)>,
    pub delete_unanswered: Option<u8>,
    pub update_unanswered: Option<u8>,
    pub deleted: Option<Id>,
    pub confirmed_gone: Option<Id>,
    /// Ticks until a failed step may be tried again.
    pub failure: Option<u8>,
    /// The last PUT that was answered.
    pub update: Option<Sent>,
    /// For how long a change of `enabled` is known that lowers the site.
    pub lowering: Option<u8>,
}

/// `SentUpdate` of `enabled`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sent {
    pub enabled: bool,
    pub in_doubt: bool,
    pub settled: Option<bool>,
}

/// What a process last listed, and wrote since.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Listed {
    pub rows: Vec<Row>,
    /// Which servers the list before had.
    pub previous: [bool; SLOTS],
    pub previous_age: u8,
    pub lists: u8,
    pub age: u8,
}

/// A list that was taken and is not answered yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Listing {
    pub rows: Vec<Row>,
    pub written: Vec<Row>,
    pub age: u8,
    /// An Apply was answered since it was taken.
    pub overtaken: bool,
}

impl Listing {
    /// What the farm answers now.
    pub fn of(rows: &[Row]) -> Self {
        Self { rows: rows.iter().map(Row::seen).collect(), written: Vec::new(), age: 0, overtaken: false }
    }
}

/// The batch, reduced to what the real one is rebuilt from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Gathered {
    Closed,
    Open { dirty: bool, wait: u8 },
    Applying,
    Failed,
}

/// `Unapplied`, which can be hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Written {
    Updated,
    Created,
    Deleted,
}

/// `farm::service::Written`, which can be hashed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Changed {
    pub slot: u8,
    pub id: Id,
    pub kind: Lowers,
    pub is_on_its_way: bool,
    pub applied: bool,
}

/// In which way a broker's service changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lowers {
    Enabled,
    /// The farm shows more than was known.
    Seen,
    Disabled,
    Deleted,
}

/// `farm::service::Sites`: what an earlier process left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Inheritance {
    Nothing,
    Open,
    /// Nothing of it can arrive any more, and the next list shows what it came to.
    Applied,
}

/// One step, as the plan decided it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Todo {
    Create(Intended),
    Claim,
    Record(Row, Made),
    Update(Id, bool),
    Delete(Row),
    ConfirmGone(Id),
    Release { stays: bool },
}

/// A call that is on its way: to the API server, or to the farm.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Call {
    /// Status as reported, whether it is the first to show a deletion, and the step that follows.
    Report(Recorded, bool, Option<Todo>),
    /// Finalizer and intent.
    Intent(Intended),
    /// An answered intent on whose strength nothing was sent yet: the process was stopped there, so long ago.
    BeforePost(Intended, u8),
    Post(Intended),
    /// Id and origin.
    Identity(Row, Made),
    /// The refused intent.
    Refusal(Intended),
    Claim,
    /// A change of `enabled`, and whether an earlier one might still arrive when it was sent.
    Put(Id, bool, bool),
    /// The read before a DELETE or a PUT.
    Read(Row, Change),
    Delete(Row),
    /// The read that confirms an absence.
    Gone(Id),
    Release {
        stays: bool,
    },
}

/// What follows a read, if the row is still the one that it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Change {
    Delete,
    /// A change of `enabled`.
    Put(bool),
}

/// What a call was answered with.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Answer {
    /// The API server's answer: the object as it is now.
    Written(Option<Object>),
    Conflict,
    Row(Option<Row>),
    Done,
    NotFound,
    Refused,
}

/// One reconcile that waits for an answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Flow {
    pub uid: Uid,
    pub call: Call,
    /// Whether the version that its write is based on is the store's.
    pub current: bool,
    /// Done and answered; the answer is not read yet.
    pub answer: Option<Answer>,
}

/// A call whose sender no longer waits for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Late {
    pub slot: u8,
    pub uid: Uid,
    pub call: LateCall,
    pub current: bool,
    pub age: u8,
}

/// What may still take effect.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LateCall {
    One(Call),
    Apply,
}

/// One operator process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    pub may_act: bool,
    pub stopped: bool,
    pub lagging: bool,
    pub known: View,
    pub memory: [Remembered; SLOTS],
    pub listed: Option<Listed>,
    pub listing: Option<Listing>,
    pub list_asked: bool,
    /// The last list failed.
    pub down: bool,
    pub batch: Gathered,
    /// What is written for an object and not applied.
    pub unapplied: [Option<Written>; SLOTS],
    /// The same, applied and not listed yet.
    pub settling: [Option<Written>; SLOTS],
    /// Age of the last farm write without an answer.
    pub unanswered: Option<u8>,
    /// Whose write it was.
    pub unsure: [bool; SLOTS],
    pub inheritance: Inheritance,
    /// What serves the sites and was changed.
    pub changes: Vec<Changed>,
    pub own_deletes: bool,
    /// Lists that belong to the last Apply and are still to come.
    pub confirming: u8,
    pub sent: u8,
    pub flows: [Option<Flow>; SLOTS],
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub store: [Option<Object>; SLOTS],
    pub rows: Vec<Row>,
    /// `RasFarm.status.pendingApply`.
    pub pending: bool,
    pub processes: [Option<Process>; 2],
    /// What a server's cache that is behind shows to the next process that starts.
    pub old_view: Option<View>,
    pub late: Vec<Late>,
    /// How often each fault may still happen.
    pub budget: [u8; Fault::COUNT],
    /// What the user may still do.
    pub edits: u8,
    pub ghost: Ghost,
    pub next_made: u8,
    pub next_uid: Uid,
}

/// What only the model knows: the book that is kept to judge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ghost {
    /// POSTs sent per uid, less those that were lost or refused, and removals by a person.
    pub surplus: [i8; 5],
    /// A DELETE was given up on.
    pub lost_delete: bool,
    pub broken: Option<Broken>,
}

/// A rule that was broken at a moment, rather than in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Broken {
    DeletedForeign,
    ChangedForeign,
    ClaimedForeign,
    ReleasedTooEarly,
    TookServiceAway,
}

/// What may go wrong, or be done by others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The process dies and starts anew; what it had sent may still take effect.
    Crash,
    /// A call is not carried out and not answered.
    LoseRequest,
    /// A call is carried out and not answered.
    LoseAnswer,
    /// A call is given up on, and carried out later.
    Late,
    /// A call is carried out now and answered later.
    Slow,
    /// The farm refuses.
    Refuse,
    /// Another replica takes over; what this one had begun goes on.
    FailOver,
    /// The process is stopped for any time, and resumed.
    Stop,
    /// The watch is silent for any time, or begins with what once was.
    Lag,
    /// A list lacks our rows.
    ShortList,
    /// A person adds a broker with our key.
    PersonAdds,
    /// A person deletes a broker.
    PersonDeletes,
    /// A person changes a broker.
    PersonEdits,
    /// A person deletes a broker and adds another, which gets its id.
    PersonReplaces,
    /// An object that is gone is created again under its name.
    Recreate,
    /// A person asks for the broker to be let go.
    Orphan,
}

impl Fault {
    pub const COUNT: usize = 16;
    pub const ALL: [Self; Self::COUNT] = [
        Self::Crash,
        Self::LoseRequest,
        Self::LoseAnswer,
        Self::Late,
        Self::Slow,
        Self::Refuse,
        Self::FailOver,
        Self::Stop,
        Self::Lag,
        Self::ShortList,
        Self::PersonAdds,
        Self::PersonDeletes,
        Self::PersonEdits,
        Self::PersonReplaces,
        Self::Recreate,
        Self::Orphan,
    ];
}
