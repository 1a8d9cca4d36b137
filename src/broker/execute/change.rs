//! Changes of a row that is ours: PUT and DELETE. Both may take service away from a site, so the farm asks once more
//! when it lets them go whether that may be; and the row is read once more, since what was listed may be of long ago.

use jiff::Timestamp;

use super::{Executor, Progress, StepError, WRITE, pace};
use crate::broker::desired::{Field, Fields, Value};
use crate::broker::observe::{Memory, SentUpdate};
use crate::broker::plan::{deletion_of, update_of};
use crate::events::{Event, Kind};
use crate::farm::permit::{Admission, Permit};
use crate::farm::queue::Need;
use crate::farm::service::Change;
use crate::farm::snapshot::RowKey;
use crate::farm::view::FarmView;
use crate::ras::{self, BrokerChange, Outcome};

impl Executor<'_> {
    /// A permit for what may lower the service of a site, or what becomes of the step without one.
    fn admit(&self, need: Need, change: Change) -> Result<Permit, Progress> {
        match self.farm.map(|farm| farm.admit_change(self.key, need, change)) {
            Some(Admission::Granted(permit)) => Ok(permit),
            Some(Admission::Queued) | None => Err(Progress::Queued),
            Some(Admission::Overtaken) => Err(Progress::Done),
        }
    }

    pub(super) async fn update(
        &self,
        id: i64,
        fields: &Fields,
        memory: &mut Memory,
    ) -> Result<Progress, StepError> {
        let FarmView::Up(facts) = &self.observed.farm else { return Ok(Progress::Queued) };
        let Some(row) = facts.snapshot.row(id) else { return Ok(Progress::Done) };
        let desired = &self.observed.object.desired;
        let site_change = update_of(desired, row, fields);
        let permit = match self.admit(Need { calls: 2, ..WRITE }, site_change) {
            Ok(permit) => permit,
            Err(progress) => return Ok(progress),
        };
        let Some(row) = self.read_again(&permit, row).await? else { return Ok(Progress::Done) };
        if !self.stands(&permit).await? {
            return Ok(Progress::Done);
        }
        let change = change_of(fields, facts.separator);
        // As of now: its answer may come when the earlier one has long arrived.
        let is_late = |until| self.clock.now().boot < until;
        let in_doubt = facts.service.may_inherit() || memory.update_unanswered.is_some_and(is_late);
        if let Err(error) = permit.update(changed_row(&row, &change), &change).await {
            if error.outcome() == Outcome::Unknown {
                memory.update_unanswered = Some(self.clock.now().boot + facts.limits.quarantine(false));
            }
            return Err(error.into());
        }
        memory.update = Some(SentUpdate {
            generation: self.observed.object.generation,
            fields: fields.clone(),
            in_doubt,
            settled: None,
        });
        memory.failure = None;
        let names = fields.keys().map(|field| field.name()).collect::<Vec<_>>().join(", ");
        let drifted = !self.observed.object.status.drift.is_empty();
        let (kind, what) = if drifted {
            (Kind::DriftCorrected, "Corrected")
        } else {
            (Kind::UpdatedExternalResource, "Updated")
        };
        let note = format!("{what} {names} of Connection Broker {:?} (id {id}).", row.server);
        self.events.publish(self.broker.as_ref(), &Event::normal(kind, note));
        Ok(Progress::Done)
    }

    pub(super) async fn delete(&self, row: &ras::Broker, memory: &mut Memory) -> Result<Progress, StepError> {
        let removal = self.removal().await?;
        let change = deletion_of(&self.observed.object.desired, row);
        let pace = pace(!removal.no_uninstall);
        let permit = match self.admit(Need { calls: 2, pace, ..WRITE }, change) {
            Ok(permit) => permit,
            Err(progress) => return Ok(progress),
        };
        if self.read_again(&permit, row).await?.is_none() || !self.stands(&permit).await? {
            return Ok(Progress::Done);
        }
        let marked = self.observed.object.deleted.unwrap_or_else(|| self.clock.now().wall);
        self.send_delete(&permit, row, &removal, marked, memory).await?;
        Ok(Progress::Done)
    }

    /// Sends a DELETE, and takes note of what became of it.
    pub(super) async fn send_delete(
        &self,
        permit: &Permit,
        row: &ras::Broker,
        removal: &ras::Removal,
        marked: Timestamp,
        memory: &mut Memory,
    ) -> Result<(), StepError> {
        let answer = permit.delete(row.id, removal, marked).await;
        memory.delete_sent |= answer.as_ref().err().is_none_or(|error| error.outcome() == Outcome::Unknown);
        match &answer {
            Ok(()) => {
                memory.deleted = Some(row.id);
                memory.failure = None;
            }
            Err(error) if error.outcome() == Outcome::Unknown => {
                let quarantine = self.observed.farm.limits().quarantine(!removal.no_uninstall);
                memory.delete_unanswered = Some(self.clock.now().boot + quarantine);
            }
            Err(_) => {}
        }
        Ok(answer?)
    }

    /// How the agent goes with its broker.
    pub(super) async fn removal(&self) -> Result<ras::Removal, StepError> {
        let removal = &self.observed.object.desired.uninstall;
        let credentials = removal.credentials_secret_ref.as_ref().filter(|_| removal.agent);
        let credentials = self.agent_credentials("uninstall", credentials).await?;
        Ok(ras::Removal { no_uninstall: !removal.agent, credentials })
    }

    /// The row as it is now, if its id still leads to it; else the plan is made anew on what was found, which the
    /// farm's view holds. An id alone is no identity: a read by id precedes each PUT, DELETE and move. Of the place in
    /// the list only the first counts: it is the primary's, and all others move up with every deletion before them.
    pub(in crate::broker) async fn read_again(
        &self,
        permit: &Permit,
        row: &ras::Broker,
    ) -> Result<Option<ras::Broker>, StepError> {
        // What one of the two does not tell contradicts nothing.
        let is_same = |found: &ras::Broker| {
            let is_primary = found.priority.or(row.priority) == Some(0);
            let mut times = found.time_create.iter().zip(&row.time_create);
            RowKey::of(found) == RowKey::of(row)
                && times.all(|(found, known)| found == known)
                && is_primary == (row.priority == Some(0))
        };
        Ok(permit.get(row.id).await?.filter(is_same))
    }
}

/// The PUT that sends these fields; only what is given is sent.
fn change_of(fields: &Fields, separator: char) -> BrokerChange {
    let flag = |field| match fields.get(&field) {
        Some(Value::Flag(flag)) => Some(*flag),
        Some(Value::Text(_) | Value::Addresses(_)) | None => None,
    };
    let text = |field| match fields.get(&field) {
        Some(Value::Text(text)) => Some(text.clone()),
        Some(Value::Addresses(set)) => {
            Some(set.iter().map(String::as_str).collect::<Vec<_>>().join(separator.encode_utf8(&mut [0; 4])))
        }
        Some(Value::Flag(_)) | None => None,
    };
    BrokerChange {
        enabled: flag(Field::Enabled),
        description: text(Field::Description),
        ip: text(Field::Ip),
        alternative_ips: text(Field::AlternativeIps),
        standby: flag(Field::Standby),
    }
}

/// What the row is expected to look like after the PUT; the list after the Apply tells.
fn changed_row(row: &ras::Broker, change: &BrokerChange) -> ras::Broker {
    let BrokerChange { enabled, description, ip, alternative_ips, standby } = change.clone();
    ras::Broker {
        enabled: enabled.or(row.enabled),
        description: description.or_else(|| row.description.clone()),
        ip: ip.or_else(|| row.ip.clone()),
        alternative_ips: alternative_ips.or_else(|| row.alternative_ips.clone()),
        standby: standby.or(row.standby),
        ..row.clone()
    }
}
