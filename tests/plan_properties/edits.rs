//! Where a farm of several brokers may begin, and what may happen in it.

use proptest::collection::vec;
use proptest::option::{of, weighted};
use proptest::prelude::*;
use proptest::sample::select;

/// How many objects there are.
pub(crate) const OBJECTS: usize = 5;

/// How calls for one broker go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Luck {
    Good,
    /// Each write is refused.
    Refused,
    /// Each write fails on what no status tells of.
    Silent,
    /// A change of `enabled` is answered and not made.
    Ignored,
}

#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) enabled: Option<bool>,
    pub(crate) standby: Option<bool>,
    pub(crate) suspend: bool,
    pub(crate) insists: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Act {
    Decide(usize),
    Call(usize),
    Apply,
    List,
    Pass(u64),
    Edit(usize, Spec),
    Delete(usize),
    /// A person changes the row.
    Touch(usize, bool),
}

/// An object, and its row where it has one: whether that is enabled, and in standby.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) site_id: i64,
    pub(crate) spec: Spec,
    pub(crate) row: Option<(bool, bool)>,
    pub(crate) luck: Luck,
}

#[derive(Clone, Debug)]
pub(crate) struct Beginning {
    pub(crate) primaries: [bool; 2],
    pub(crate) objects: Vec<Member>,
    pub(crate) acts: Vec<Act>,
}

fn spec() -> impl Strategy<Value = Spec> {
    (of(any::<bool>()), weighted(0.3, any::<bool>()), weighted(0.1, Just(())), weighted(0.1, Just(())))
        .prop_map(|(enabled, standby, suspend, insists)| Spec {
            enabled,
            standby,
            suspend: suspend.is_some(),
            insists: insists.is_some(),
        })
}

fn act() -> impl Strategy<Value = Act> {
    let who = || 0..OBJECTS;
    prop_oneof![
        6 => who().prop_map(Act::Decide),
        6 => who().prop_map(Act::Call),
        2 => Just(Act::Apply),
        1 => Just(Act::List),
        3 => select(&[100_u64, 2_100, 7_000][..]).prop_map(Act::Pass),
        3 => (who(), spec()).prop_map(|(index, spec)| Act::Edit(index, spec)),
        1 => who().prop_map(Act::Delete),
        1 => (who(), any::<bool>()).prop_map(|(index, enabled)| Act::Touch(index, enabled)),
    ]
}

/// Any farm, and whatever happens in it.
pub(crate) fn beginning() -> impl Strategy<Value = Beginning> {
    let luck = select(&[Luck::Good, Luck::Good, Luck::Good, Luck::Refused, Luck::Silent, Luck::Ignored][..]);
    let object = (select(&[1_i64, 1, 2][..]), spec(), of((any::<bool>(), weighted(0.2, Just(())))), luck)
        .prop_map(|(site_id, spec, row, luck)| {
            let row = row.map(|(enabled, standby)| (enabled, standby.is_some()));
            Member { site_id, spec, row, luck }
        });
    let primaries = (any::<bool>(), any::<bool>()).prop_map(|(one, two)| [one, two]);
    (primaries, vec(object, OBJECTS), vec(act(), 0..60)).prop_map(|(primaries, objects, acts)| Beginning {
        primaries,
        objects,
        acts,
    })
}
