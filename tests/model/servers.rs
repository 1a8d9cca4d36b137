//! What the API server and the farm do with a call, and the book that is kept of it.

use crate::process::serves;
use crate::scenario::{Rule, Scenario};
use crate::world::{Answer, Broken, Call, Intended, Made, Recorded, Row, Uid, World};

impl World {
    /// The API server or the farm does what it is asked for.
    pub fn execute(
        &mut self,
        scenario: Scenario,
        slot: usize,
        uid: Uid,
        call: &Call,
        current: bool,
    ) -> Answer {
        let was_served = self.is_served();
        let answer = self.carry_out(scenario, slot, uid, call, current);
        if scenario.established && was_served && !self.is_served() {
            self.ghost.broken = Some(Broken::TookServiceAway);
        }
        answer
    }

    /// Whether anything serves the site by its settings and serves it in the farm.
    fn is_served(&self) -> bool {
        self.rows.iter().any(|row| row.serves && serves(row))
    }

    fn carry_out(&mut self, scenario: Scenario, slot: usize, uid: Uid, call: &Call, current: bool) -> Answer {
        match call {
            Call::Report(..)
            | Call::Intent(_)
            | Call::Identity(..)
            | Call::Refusal(_)
            | Call::Claim
            | Call::Release { .. } => self.write(scenario, slot, uid, call, current),
            Call::Post(intent) => self.create_row(scenario, slot, intent),
            Call::Put(id, to, _) => match self.rows.iter_mut().find(|row| row.id == *id) {
                Some(row) => {
                    row.enabled = *to;
                    if row.owner != Some(uid) {
                        self.ghost.broken = Some(Broken::ChangedForeign);
                    }
                    Answer::Done
                }
                None => Answer::NotFound,
            },
            Call::Delete(wanted) => match self.rows.iter_mut().find(|row| row.id == wanted.id) {
                Some(row) => {
                    row.marked = true;
                    if row.owner != Some(uid) {
                        self.ghost.broken = Some(Broken::DeletedForeign);
                    }
                    Answer::Done
                }
                None => Answer::NotFound,
            },
            Call::Read(Row { id, .. }, _) | Call::Gone(id) => {
                Answer::Row(self.rows.iter().find(|row| row.id == *id).cloned())
            }
            Call::BeforePost(..) => Answer::Done,
        }
    }

    fn create_row(&mut self, scenario: Scenario, slot: usize, intent: &Intended) -> Answer {
        let server = scenario.servers[slot];
        if scenario.unique && self.rows.iter().any(|row| row.server == server) {
            return Answer::Refused;
        }
        let row = self.new_row(server, Some(intent.uid));
        self.rows.push(row.clone());
        Answer::Row(Some(row))
    }

    /// A row with the next number.
    pub fn new_row(&mut self, server: u8, owner: Option<Uid>) -> Row {
        self.next_made += 1;
        let made = self.next_made;
        let by_us = owner.is_some();
        Row { id: made, made, server, by_us, enabled: true, marked: false, serves: false, owner }
    }

    fn write(&mut self, scenario: Scenario, slot: usize, uid: Uid, call: &Call, current: bool) -> Answer {
        let fenced = current || scenario.breaks(Rule::Fence);
        let Some(mut object) = self.store[slot].clone().filter(|_| fenced) else { return Answer::Conflict };
        match call {
            Call::Report(status, ..) => object.status = *status,
            Call::Intent(intent) => {
                object.intent = Some(intent.clone());
                object.finalizer |= !scenario.breaks(Rule::FinalizerFirst);
            }
            Call::Identity(row, made) => {
                let Recorded { deleting, .. } = object.status;
                let (id, origin) = (Some(row.id), Some(*made));
                object.status = Recorded { id, made: Some(row.made), origin, site: true, deleting };
                self.claim_row(object.uid, row, *made);
                object.finalizer |= scenario.breaks(Rule::FinalizerFirst);
            }
            Call::Refusal(intent) => {
                object.intent = Some(Intended { refused: true, ..intent.clone() });
                object.finalizer = true;
            }
            Call::Claim => object.finalizer = true,
            Call::Release { stays } => {
                object.finalizer = false;
                if *stays {
                    // Whoever lets go owns nothing: a call that still changes it changes a stranger's.
                    self.rows
                        .iter_mut()
                        .filter(|row| row.owner == Some(uid))
                        .for_each(|row| row.owner = None);
                } else if self.rows.iter().any(|row| row.owner == Some(uid)) {
                    self.ghost.broken = Some(Broken::ReleasedTooEarly);
                }
            }
            Call::BeforePost(..)
            | Call::Post(_)
            | Call::Put(..)
            | Call::Read(..)
            | Call::Delete(_)
            | Call::Gone(_) => unreachable!("this is no write to the API server"),
        }
        let gone = object.deleted.is_some() && !object.finalizer;
        self.set_object(slot, Some(object).filter(|_| !gone));
        Answer::Written(self.store[slot].clone())
    }

    /// Keeps the book of whose a row is; a row that is claimed wrongly is noted.
    fn claim_row(&mut self, uid: Uid, claimed: &Row, made: Made) {
        let found = self.rows.iter_mut().find(|row| row.id == claimed.id && row.made == claimed.made);
        let Some(row) = found else { return };
        match made {
            Made::Created if row.owner == Some(uid) => {}
            Made::Adopted if row.owner.is_none_or(|owner| owner == uid) => row.owner = Some(uid),
            Made::Created | Made::Adopted => self.ghost.broken = Some(Broken::ClaimedForeign),
        }
    }

    /// The farm applies: what is marked goes.
    pub fn apply_in_farm(&mut self) {
        self.rows.retain(|row| !row.marked);
        self.rows.iter_mut().for_each(|row| row.serves = row.enabled);
    }
}
