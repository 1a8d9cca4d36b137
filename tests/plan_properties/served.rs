//! What must hold of a farm of several brokers, whatever happens.

use std::collections::BTreeMap;

use ras_operator::broker::observe::{ObjectFacts, Observed, differences};
use ras_operator::broker::plan::{Plan, Step};
use ras_operator::farm::service::{Change, Kind, Service};
use ras_operator::ras;

use super::Farm;
use crate::edits::Luck;
use crate::model::set;

impl Farm {
    /// What serves each site in truth: what is applied, and not about to be taken away.
    pub(super) fn services(&self) -> BTreeMap<i64, Service> {
        let serves = |row: &ras::Broker| {
            self.committed.get(&row.id).copied().unwrap_or_default().min(Service::of(row))
        };
        let best = |site| {
            let rows = self.rows.iter().filter(move |row| row.site_id == site);
            (site, rows.map(serves).max().unwrap_or_default())
        };
        [1, 2].map(best).into()
    }

    /// One change that lowers a site goes at a time, and deletions together.
    pub(super) fn lower(&mut self, change: Change) {
        let same_site = self.lowered.iter().filter(|other| other.site_id == change.site_id);
        let is_alone = same_site
            .filter(|other| other.id != change.id)
            .all(|other| other.kind == Kind::Delete && change.kind == Kind::Delete);
        if !is_alone {
            self.violations.push(format!("{change:?} beside {:?}", self.lowered));
        }
        self.lowered.push(change);
    }

    /// Nobody is disabled while another could be enabled.
    pub(super) fn raises_come_first(&mut self, observed: &Observed, plan: &Plan) {
        let own = observed.object.owned_id().and_then(|id| self.snapshot.row(id));
        let lowers = match (&plan.step, own) {
            (Some(Step::Update { fields, .. }), Some(row)) => {
                let mut after = row.as_ref().clone();
                for (field, value) in fields {
                    set(&mut after, *field, value);
                }
                self.sites.changes().certain(row) > Service::of(&after)
            }
            (Some(Step::Delete { .. }), Some(row)) => self.sites.changes().certain(row) > Service::Off,
            _ => false,
        };
        let Some(row) = own.filter(|_| lowers) else { return };
        let (site, id) = (row.site_id, row.id);
        let ahead = self.objects.iter().find(|(index, other)| {
            let is_lucky = self.luck[**index] == Luck::Good;
            let is_living = other.metadata.deletion_timestamp.is_none() && !other.spec.suspend;
            let status = other.status.as_ref();
            let theirs = status.and_then(|status| status.id).and_then(|id| self.snapshot.row(id));
            let could = theirs.is_some_and(|row| {
                row.id != id
                    && row.site_id == site
                    && row.marked_for_deletion != Some(true)
                    && other.spec.enabled == Some(true)
                    && row.enabled == Some(false)
                    && other.spec.standby != Some(true)
                    && row.standby != Some(true)
            });
            is_lucky && is_living && could
        });
        if let Some((index, _)) = ahead {
            self.violations.push(format!("{:?} before cb{index} is enabled", plan.step));
        }
    }

    /// Who has not what it wants, although nothing stands in the way.
    pub(super) fn unserved(&self) -> Vec<String> {
        let all = self.objects.iter();
        let lucky = all.filter(|(index, broker)| self.luck[**index] == Luck::Good && !broker.spec.suspend);
        let mut wrong = Vec::new();
        for (index, broker) in lucky {
            let object = ObjectFacts::of(broker);
            let Some(row) = object.owned_id().and_then(|id| self.snapshot.row(id)) else {
                wrong.push(format!("cb{index} is not there"));
                continue;
            };
            let is_done = object.deleted.is_none() && differences(&object.desired.fields, row).is_empty();
            let others = self.rows.iter().filter(|other| other.site_id == row.site_id && other.id != row.id);
            let is_last = others.map(Service::of).max().unwrap_or_default() < Service::of(row);
            let insists = object.desired.requests.skip_availability_check;
            if !is_done && (!is_last || insists) {
                wrong.push(format!("cb{index} waits for nothing"));
            }
        }
        wrong
    }
}
