//! What happens to the rows: created, changed, marked, moved, promoted and applied, as RAS does it.
//!
//! Every operation checks first and changes afterwards, so a refusal leaves the farm as it was.

use jiff::{SignedDuration, Timestamp};

use super::address::filled_in_address;
use super::refusal::Refusal;
use super::site_settings::AutoPromotion;
use super::state::{Applied, FarmState, LastApply, Row, Site};
use super::switches::{
    AlternativeIpsForm, ApplyTiming, CreateOverMarked, CreateTwin, DeleteMarked, DeletedRow, PromotionTiming,
    ServerSpelling, SettingsId, UpdateMarked,
};

/// A site has so many brokers in use before RAS puts new ones in standby.
const BROKERS_IN_USE: usize = 3;

/// How long a deferred Apply or promotion takes.
const DEFERRED: SignedDuration = SignedDuration::from_secs(2);

/// Who does something, and when.
#[derive(Debug, Clone)]
pub(super) struct Author {
    pub(super) name: String,
    pub(super) time: Timestamp,
}

/// New values for a row; `None` leaves the value as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) enabled: Option<bool>,
    pub(super) standby: Option<bool>,
    pub(super) description: Option<String>,
    pub(super) ip: Option<String>,
    pub(super) alternative_ips: Option<String>,
}

impl FarmState {
    /// A row with what RAS fills in by itself; it is not in the table yet.
    pub(super) fn new_row(&mut self, server: &str, site_id: i64, admin: &str, time: Timestamp) -> Row {
        self.last_id += 1;
        let others = self.rows.iter().filter(|row| row.site_id == site_id);
        let priority = others.clone().map(|row| row.priority + 1).max().unwrap_or(0);
        let in_use = others.filter(|row| !row.marked_for_deletion).count();
        Row {
            id: self.last_id,
            server: server.to_owned(),
            site_id,
            priority,
            enabled: true,
            standby: in_use >= BROKERS_IN_USE,
            description: String::new(),
            ip: filled_in_address(server),
            alternative_ips: String::new(),
            marked_for_deletion: false,
            admin_create: admin.to_owned(),
            admin_last_mod: admin.to_owned(),
            time_create: time,
            time_last_mod: time,
            applied: None,
        }
    }

    pub(super) fn row(&self, id: i64) -> Option<&Row> {
        self.rows.iter().find(|row| row.id == id)
    }

    fn row_mut(&mut self, id: i64) -> Result<&mut Row, Refusal> {
        let row = self.rows.iter_mut().find(|row| row.id == id);
        row.ok_or(Refusal::NoSuchBroker)
    }

    /// The id of the licensing site.
    pub(super) fn licensing_site(&self) -> i64 {
        let site = self.sites.iter().find(|site| site.licensing_site);
        site.map_or(1, |site| site.id)
    }

    /// Adds a broker to a site and gives its id.
    pub(super) fn create_broker(
        &mut self,
        server: &str,
        site_id: i64,
        author: &Author,
    ) -> Result<i64, Refusal> {
        if server.is_empty() {
            return Err(Refusal::Malformed("`server`".to_owned()));
        }
        if !self.sites.iter().any(|site| site.id == site_id) {
            return Err(Refusal::UnknownSite);
        }
        let same = |row: &&Row| row.site_id == site_id && row.server.eq_ignore_ascii_case(server);
        let takes_twins = self.switches.create_twin == CreateTwin::SecondRow;
        if !takes_twins && self.rows.iter().filter(same).any(|row| !row.marked_for_deletion) {
            return Err(Refusal::BrokerExists);
        }
        let marked = self.rows.iter().filter(same).find(|row| row.marked_for_deletion).map(|row| row.id);
        match (marked, self.switches.create_over_marked) {
            (Some(_), CreateOverMarked::Conflict) => Err(Refusal::BrokerExists),
            (Some(id), CreateOverMarked::Revives) => self.revive(id, author),
            (Some(_), CreateOverMarked::NewRow) | (None, _) => {
                let mut row = self.new_row(server, site_id, &author.name, author.time);
                if self.switches.server_spelling == ServerSpelling::UpperCase {
                    row.server.make_ascii_uppercase();
                }
                let id = row.id;
                self.rows.push(row);
                self.changed();
                Ok(id)
            }
        }
    }

    fn revive(&mut self, id: i64, author: &Author) -> Result<i64, Refusal> {
        let row = self.row_mut(id)?;
        row.marked_for_deletion = false;
        touch(row, author);
        self.changed();
        Ok(id)
    }

    /// Adds a site with its primary broker and gives the site's id.
    pub(super) fn create_site(&mut self, name: &str, server: &str, author: &Author) -> Result<i64, Refusal> {
        if self.sites.iter().any(|site| site.name.eq_ignore_ascii_case(name)) {
            return Err(Refusal::SiteExists);
        }
        let id = self.sites.iter().map(|site| site.id).max().unwrap_or(0) + 1;
        self.sites.push(Site {
            id,
            name: name.to_owned(),
            licensing_site: false,
            admin_create: author.name.clone(),
            time_create: author.time,
            auto_promotion: AutoPromotion::default(),
        });
        let row = self.new_row(server, id, &author.name, author.time);
        self.rows.push(row);
        self.changed();
        Ok(id)
    }

    /// Changes the values that are given.
    pub(super) fn update_broker(&mut self, id: i64, change: &Change, author: &Author) -> Result<(), Refusal> {
        let row = self.row(id).ok_or(Refusal::NoSuchBroker)?;
        let harms_primary = change.enabled == Some(false) || change.standby == Some(true);
        if row.is_primary() && harms_primary {
            return Err(Refusal::PrimaryProtected);
        }
        if row.marked_for_deletion {
            match self.switches.update_marked {
                UpdateMarked::Accepted => {}
                UpdateMarked::Status404 => return Err(Refusal::MarkedIsGone),
                UpdateMarked::Status409 => return Err(Refusal::MarkedConflict),
            }
        }
        let form = self.switches.alternative_ips_form;
        let row = self.row_mut(id)?;
        write(row, change, form);
        touch(row, author);
        self.changed();
        Ok(())
    }

    /// Marks a broker for deletion, or removes it at once where the farm does so.
    pub(super) fn delete_broker(&mut self, id: i64, author: &Author) -> Result<(), Refusal> {
        let gone_at_once = self.switches.deleted_row == DeletedRow::GoneAtOnce;
        let repeated = self.switches.delete_marked;
        let row = self.row_mut(id)?;
        if row.is_primary() {
            return Err(Refusal::PrimaryProtected);
        }
        if row.marked_for_deletion {
            return match repeated {
                DeleteMarked::Status204 => Ok(()),
                DeleteMarked::Status404 => Err(Refusal::MarkedIsGone),
            };
        }
        row.marked_for_deletion = true;
        touch(row, author);
        if gone_at_once {
            self.remove_marked();
        }
        self.changed();
        Ok(())
    }

    /// Puts a secondary at this place of its site's list; the others close up.
    pub(super) fn set_priority(&mut self, id: i64, priority: i64, author: &Author) -> Result<(), Refusal> {
        let row = self.row_mut(id)?;
        if row.is_primary() {
            return Err(Refusal::PrimaryProtected);
        }
        touch(row, author);
        let site_id = row.site_id;
        let mut order = self.secondaries(site_id);
        order.retain(|other| *other != id);
        let place = usize::try_from(priority.max(1) - 1).unwrap_or(0).min(order.len());
        order.insert(place, id);
        self.number(&order);
        self.changed();
        Ok(())
    }

    /// Asks for a promotion; whether it takes effect now or later is a switch.
    pub(super) fn promote(&mut self, id: i64, author: &Author) -> Result<(), Refusal> {
        self.row(id).ok_or(Refusal::NoSuchBroker)?;
        match self.switches.promotion_timing {
            PromotionTiming::Synchronous => self.promote_now(id, author)?,
            PromotionTiming::Deferred => {
                self.promotion_due =
                    author.time.checked_add(DEFERRED).ok().map(|due| (due, id, author.clone()));
                self.commits += 1;
            }
        }
        Ok(())
    }

    /// Makes a secondary the primary; the former primary takes its place.
    pub(super) fn promote_now(&mut self, id: i64, author: &Author) -> Result<(), Refusal> {
        let row = self.row(id).ok_or(Refusal::NoSuchBroker)?;
        let (site_id, place) = (row.site_id, row.priority);
        let former = self.rows.iter_mut().find(|r| r.site_id == site_id && r.priority == 0);
        if let Some(former) = former {
            former.priority = place;
            touch(former, author);
        }
        let row = self.row_mut(id)?;
        row.priority = 0;
        row.enabled = true;
        row.standby = false;
        touch(row, author);
        self.changed();
        Ok(())
    }

    /// Asks for an Apply; whether it is done now or later is a switch.
    pub(super) fn apply(&mut self, author: &Author) {
        self.last_apply = Some(LastApply { by: author.name.clone(), time: author.time });
        match self.switches.apply_timing {
            ApplyTiming::Synchronous => self.apply_now(),
            ApplyTiming::Deferred => {
                self.apply_due = author.time.checked_add(DEFERRED).ok();
                self.commits += 1;
            }
        }
    }

    /// Makes every change final.
    pub(super) fn apply_now(&mut self) {
        self.remove_marked();
        for row in &mut self.rows {
            row.applied = Some(Applied { enabled: row.enabled, standby: row.standby });
        }
        self.pending = false;
        self.settings_id += i64::from(self.switches.settings_id == SettingsId::PerApply);
        self.commits += 1;
        self.journal.applied(self.commits);
    }

    fn remove_marked(&mut self) {
        self.rows.retain(|row| !row.marked_for_deletion);
        let sites: Vec<i64> = self.sites.iter().map(|site| site.id).collect();
        for site in sites {
            let order = self.secondaries(site);
            self.number(&order);
        }
        let rows = &self.rows;
        self.locks.retain(|id, _| rows.iter().any(|row| row.id == *id));
    }

    /// The ids of a site's secondaries, by priority.
    fn secondaries(&self, site_id: i64) -> Vec<i64> {
        let mut rows: Vec<&Row> =
            self.rows.iter().filter(|row| row.site_id == site_id && !row.is_primary()).collect();
        rows.sort_by_key(|row| row.priority);
        rows.iter().map(|row| row.id).collect()
    }

    fn number(&mut self, order: &[i64]) {
        for (id, priority) in order.iter().zip(1..) {
            if let Ok(row) = self.row_mut(*id) {
                row.priority = priority;
            }
        }
    }

    pub(super) fn changed(&mut self) {
        self.pending = true;
        self.settings_id += i64::from(self.switches.settings_id == SettingsId::PerChange);
        self.commits += 1;
    }
}

fn touch(row: &mut Row, author: &Author) {
    row.admin_last_mod.clone_from(&author.name);
    row.time_last_mod = author.time;
}

fn write(row: &mut Row, change: &Change, form: AlternativeIpsForm) {
    let Change { enabled, standby, description, ip, alternative_ips } = change;
    row.enabled = enabled.unwrap_or(row.enabled);
    row.standby = standby.unwrap_or(row.standby);
    if let Some(description) = description {
        row.description.clone_from(description);
    }
    if let Some(ip) = ip {
        row.ip = if ip.is_empty() { filled_in_address(&row.server) } else { ip.clone() };
    }
    if let Some(addresses) = alternative_ips {
        row.alternative_ips = stored(addresses, form);
    }
}

fn stored(addresses: &str, form: AlternativeIpsForm) -> String {
    let separator = match form {
        AlternativeIpsForm::AsSent => return addresses.to_owned(),
        AlternativeIpsForm::Comma => ",",
        AlternativeIpsForm::Semicolon => ";",
    };
    let parts = addresses.split([',', ';']).map(str::trim);
    let kept: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    kept.join(separator)
}
