//! A step that is done again and again, and changes nothing.

use kube::ResourceExt;

use crate::broker::plan::Step;
use crate::crd::RasBroker;

/// So often a step is done until it rests: what was read may have been of before.
const MOST_FRUITLESS: u32 = 3;

/// How often the same step came up in a row for the same version of an object.
#[derive(Default)]
pub(super) struct Repetition {
    last: Option<(Step, Option<String>)>,
    times: u32,
}

impl Repetition {
    /// Whether the step came up so often that nothing comes of it. Moves go place by place, each like the one before.
    pub(super) fn is_fruitless(&mut self, step: &Step, broker: &RasBroker) -> bool {
        let next = (step.clone(), broker.resource_version());
        let is_again = self.last.as_ref() == Some(&next) && !matches!(step, Step::Move { .. });
        self.times = if is_again { self.times + 1 } else { 0 };
        self.last = Some(next);
        self.times >= MOST_FRUITLESS
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn version(number: &str) -> RasBroker {
        let spec = json!({"farmRef": {"name": "north"}, "server": "cb1"});
        let object = json!({"metadata": {"name": "b", "resourceVersion": number}, "spec": spec});
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_step_that_changes_nothing_rests_after_three_times_and_a_new_version_begins_anew() {
        let mut steps = Repetition::default();
        let mut times =
            |step: &Step, broker: &RasBroker| (0..5).map(|_| steps.is_fruitless(step, broker)).collect();
        let expected = [false, false, false, true, true].to_vec();
        assert_eq!(times(&Step::Claim, &version("1")), expected);
        assert_eq!(times(&Step::Claim, &version("2")), expected);
        assert_eq!(times(&Step::ConfirmGone { id: 7 }, &version("2")), expected);
        let moves: Vec<bool> = times(&Step::Move { id: 7, to: crate::ras::Move::Up }, &version("2"));
        assert_eq!(moves, [false; 5], "place by place");
    }
}
