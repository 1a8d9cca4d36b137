//! The end of a process, the passing of time, and what makes equal worlds look equal.

use crate::facts::{LATEST, OLD};
use crate::process::QUARANTINE;
use crate::scenario::{Rule, Scenario};
use crate::world::{
    Answer, Call, Fault, Flow, Gathered, Inheritance, Intended, Late, LateCall, Lowers, Object, Recorded,
    World,
};

impl Object {
    /// Whether no POST of it is in doubt.
    fn has_settled_intent(&self) -> bool {
        let Recorded { id, origin, .. } = self.status;
        let resolves =
            |intent: &Intended| intent.refused || (id.is_some() && origin.is_some() && id != intent.replaces);
        self.intent.as_ref().is_none_or(resolves)
    }
}

impl World {
    /// The process is gone: what it sent and was not done may still be, and no answer is read.
    pub fn end(&mut self, p: usize) {
        let Some(process) = self.processes[p].take() else { return };
        for (slot, flow) in process.flows.into_iter().enumerate() {
            let Some(flow) = flow else { continue };
            if matches!(flow.call, Call::Post(_)) {
                self.ghost.surplus[usize::from(flow.uid)] -= 1;
            }
            if flow.answer.is_none() {
                self.leave(slot, flow);
            }
        }
    }

    /// A call that nobody waits for any more.
    pub fn leave(&mut self, slot: usize, flow: Flow) {
        let Flow { uid, call, current, answer: _ } = flow;
        let slot = u8::try_from(slot).unwrap_or_default();
        let call = match call {
            Call::Put(id, to, _) => Call::Put(id, to, false),
            other => other,
        };
        self.late.push(Late { slot, uid, call: LateCall::One(call), current, age: 0 });
    }

    /// Brings equal worlds into one form.
    pub fn tidy(&mut self, scenario: Scenario) {
        let matters = |late: &Late| match &late.call {
            LateCall::Apply => true,
            LateCall::One(Call::Post(_) | Call::Put(..) | Call::Delete(_)) => true,
            LateCall::One(Call::Read(..) | Call::Gone(_) | Call::BeforePost(..)) => false,
            LateCall::One(_) => late.current || scenario.breaks(Rule::Fence),
        };
        if !scenario.established {
            // The site's primary serves it in any case.
            self.rows.iter_mut().for_each(|row| row.serves = false);
            for process in self.processes.iter_mut().flatten() {
                process.changes.clear();
                if process.listed.is_some() {
                    process.inheritance = Inheritance::Nothing;
                }
            }
        }
        self.forget_what_does_not_matter();
        self.late.retain(matters);
        self.late.sort();
        self.rows.sort();
        for process in &mut self.processes {
            let over = process.as_ref().is_some_and(|process| {
                !process.may_act
                    && process.flows.iter().all(Option::is_none)
                    && process.batch != Gathered::Applying
            });
            if over {
                *process = None;
            }
        }
        if self.processes[0].is_none() {
            self.processes.swap(0, 1);
        }
    }

    /// What no decision looks at any more: how old an intent is that is settled, for how long an object is known that
    /// nobody lets go, which list was before the last where nothing is in doubt, whether a change that is settled was.
    fn forget_what_does_not_matter(&mut self) {
        // Nobody is to start any more.
        if [Fault::Crash, Fault::FailOver].iter().all(|fault| self.budget[*fault as usize] == 0) {
            self.old_view = None;
        }
        let may_be_orphaned = self.budget[Fault::Orphan as usize] > 0;
        let lets_go = may_be_orphaned || self.store.iter().flatten().any(|object| object.orphan);
        for process in self.processes.iter_mut().flatten() {
            let mut is_in_doubt = false;
            for (known, memory) in process.known.iter().zip(&mut process.memory) {
                if !lets_go {
                    memory.known = None;
                    memory.began_deletion = false;
                }
                if known.as_ref().is_none_or(|known| known.object.has_settled_intent()) {
                    memory.intent_seen.iter_mut().for_each(|(_, age)| *age = OLD);
                } else {
                    is_in_doubt = true;
                }
                is_in_doubt |= memory.delete_unanswered.is_some();
                let settled = memory.update.iter_mut().filter(|sent| sent.settled.is_some());
                settled.for_each(|sent| sent.in_doubt = false);
            }
            if !is_in_doubt && let Some(listed) = &mut process.listed {
                listed.previous_age = OLD;
            }
        }
    }

    /// Whether nothing is on its way that takes less than a tick.
    pub fn may_tick(&self) -> bool {
        self.processes.iter().flatten().all(|process| {
            let settled = |flow: &Flow| {
                process.stopped && (flow.answer.is_some() || matches!(flow.call, Call::BeforePost(..)))
            };
            process.flows.iter().flatten().all(settled)
                && (process.stopped || (process.listing.is_none() && process.batch != Gathered::Applying))
        })
    }

    /// Time goes by.
    pub fn tick(&mut self) {
        let older = |age: &mut u8, most: u8| *age = (*age + 1).min(most);
        for object in self.store.iter_mut().flatten() {
            object.deleted.iter_mut().for_each(|age| older(age, 2));
        }
        for known in self.old_view.iter_mut().flatten().flatten() {
            known.object.deleted.iter_mut().for_each(|age| older(age, 2));
        }
        for late in &mut self.late {
            late.age += 1;
        }
        self.late.retain(|late| late.age <= LATEST);
        let mut closes = false;
        for process in self.processes.iter_mut().flatten() {
            for known in process.known.iter_mut().flatten() {
                known.object.deleted.iter_mut().for_each(|age| older(age, 2));
            }
            for memory in &mut process.memory {
                memory.known.iter_mut().for_each(|age| older(age, OLD));
                memory.intent_seen.iter_mut().for_each(|(_, age)| older(age, OLD));
                memory.delete_unanswered.iter_mut().for_each(|age| older(age, OLD));
                memory.delete_unanswered = memory.delete_unanswered.filter(|age| *age < OLD);
                memory.update_unanswered.iter_mut().for_each(|age| older(age, OLD));
                memory.update_unanswered = memory.update_unanswered.filter(|age| *age < QUARANTINE);
                memory.lowering.iter_mut().for_each(|age| older(age, 1));
                memory.failure = memory.failure.map(|left| left.saturating_sub(1));
            }
            if let Some(listed) = &mut process.listed {
                older(&mut listed.age, 2);
                older(&mut listed.previous_age, OLD);
            }
            process.listing.iter_mut().for_each(|listing| older(&mut listing.age, 2));
            process.unanswered.iter_mut().for_each(|age| older(age, OLD));
            for flow in process.flows.iter_mut().flatten() {
                if let Call::BeforePost(_, age) = &mut flow.call {
                    older(age, 1);
                }
                if let Some(Answer::Written(Some(object))) = &mut flow.answer {
                    object.deleted.iter_mut().for_each(|age| older(age, 2));
                }
            }
            let idle = process.flows.iter().all(Option::is_none);
            match &mut process.batch {
                // Nothing reached the farm: there is nothing to apply.
                Gathered::Open { dirty: false, .. } if idle => {
                    process.batch = Gathered::Closed;
                    // `Sites::nothing_written`.
                    process.changes.retain(|change| change.kind != Lowers::Seen);
                    closes = true;
                }
                Gathered::Open { wait, .. } => *wait = wait.saturating_sub(1),
                Gathered::Closed | Gathered::Applying | Gathered::Failed => {}
            }
        }
        if closes {
            self.pending = false;
        }
    }
}
