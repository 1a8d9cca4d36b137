use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::crd::condition::Reason;

const SITE: i64 = 2;
const GENERATION: i64 = 7;

fn now(seconds: u64) -> Now {
    Now { wall: Timestamp::from_second(1_800_000_000).unwrap(), boot: Duration::from_secs(seconds) }
}

fn entry(id: Option<i64>, name: Option<&str>, enabled: Option<bool>) -> crd::SiteSettings {
    let auto_promotion = AutoPromotion { enabled, ..AutoPromotion::default() };
    crd::SiteSettings { id, name: name.map(str::to_owned), auto_promotion }
}

fn wanting(settings: &Settings) -> Wanted {
    Wanted { of_site: BTreeMap::from([(SITE, settings.clone())]), ..Wanted::default() }
}

fn refusal() -> Hold {
    Hold::new(Reason::ReconcileError, "no")
}

/// A farm that may ignore settings, and shows what was written at once.
struct Farm {
    has: Settings,
    ignores: Vec<Setting>,
    /// What its answers leave out.
    hides: Vec<Setting>,
    puts: usize,
}

impl Farm {
    fn answer(&self) -> PromotionSettings {
        let mut shown = self.has.clone();
        shown.retain(|setting, _| !self.hides.contains(setting));
        change(&shown)
    }

    fn put(&mut self, sent: &Settings) {
        self.puts += 1;
        let taken = sent.iter().filter(|(setting, _)| !self.ignores.contains(setting));
        self.has.extend(taken.map(|(setting, value)| (*setting, *value)));
    }
}

/// Reads, writes and applies until there is nothing to do; answers how many writes that took.
fn settle(known: &mut SiteSettings, farm: &mut Farm, wanted: &Settings) -> usize {
    let before = farm.puts;
    let all = wanting(wanted);
    for _ in 0..20 {
        if let Some(site) = known.to_read(&all) {
            known.take_shown(site, wanted, &farm.answer(), now(0).wall);
        } else if let Some((site, settings)) = known.to_write(&all, GENERATION, now(0)) {
            farm.put(&settings);
            known.take_written(site, settings, GENERATION);
            known.applied();
        } else {
            return farm.puts - before;
        }
    }
    panic!("it never rests: {known:?}");
}

fn any_settings() -> impl Strategy<Value = Settings> {
    (of(any::<bool>()), of(15_i64..4_321), of(any::<bool>()))
        .prop_map(|(enabled, after, failback)| settings(enabled, after, failback))
}

fn of<T: std::fmt::Debug>(values: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
    proptest::option::of(values)
}

fn some_settings() -> impl Strategy<Value = Vec<Setting>> {
    proptest::sample::subsequence(vec![Setting::Enabled, Setting::After, Setting::Failback], 0..=3)
}

proptest! {
    /// One write at most brings a site to its spec, nothing else is touched, and then there is silence: also where the
    /// farm ignores what it is sent, or shows less than it has.
    #[test]
    fn it_takes_one_write_at_most_and_then_rests(
        has in any_settings(), wanted in any_settings(), ignores in some_settings(), hides in some_settings(),
    ) {
        let mut known = SiteSettings::default();
        let mut farm = Farm { has: has.clone(), ignores, hides, puts: 0 };
        let puts = settle(&mut known, &mut farm, &wanted);
        let may_write = |(setting, value): (&Setting, &Value)| {
            let shown = has.get(setting).filter(|_| !farm.hides.contains(setting));
            shown.is_some_and(|shown| shown != value)
        };
        prop_assert_eq!(puts, usize::from(wanted.iter().any(may_write)));
        for setting in [Setting::Enabled, Setting::After, Setting::Failback] {
            let may_change = !farm.ignores.contains(&setting)
                && !farm.hides.contains(&setting)
                && !farm.hides.contains(&setting)
                && has.contains_key(&setting);
            let expected = wanted.get(&setting).filter(|_| may_change).or_else(|| has.get(&setting));
            prop_assert_eq!(farm.has.get(&setting), expected);
        }
        known.reread(&wanting(&wanted));
        prop_assert_eq!(settle(&mut known, &mut farm, &wanted), 0, "another look writes nothing");
    }

    /// What somebody changes outside is told where it was as wanted before, undone once, and then no drift is left.
    #[test]
    fn what_is_changed_outside_is_drift_until_it_is_undone(wanted in any_settings(), other in any_settings()) {
        let mut known = SiteSettings::default();
        let mut farm = Farm { has: wanted.clone(), ignores: Vec::new(), hides: Vec::new(), puts: 0 };
        settle(&mut known, &mut farm, &wanted);
        farm.has.extend(other.clone());
        known.reread(&wanting(&wanted));
        let is_news = known.take_shown(SITE, &wanted, &farm.answer(), now(0).wall);
        let changed: Vec<&str> = wanted
            .iter()
            .filter(|(setting, value)| other.get(setting).is_some_and(|other| other != *value))
            .map(|(setting, _)| setting.name())
            .collect();
        let drift = known.drift(SITE, &wanted);
        prop_assert_eq!(drift.iter().map(|entry| entry.field.as_str()).collect::<Vec<_>>(), changed.clone());
        prop_assert_eq!(is_news, !changed.is_empty());
        prop_assert_eq!(settle(&mut known, &mut farm, &wanted), usize::from(!changed.is_empty()));
        prop_assert_eq!(known.drift(SITE, &wanted), []);
    }

    /// A farm numbers its sites anew as often as it likes, while a change of one may be on its way.
    #[test]
    fn of_sites_that_are_not_kept_nothing_is_remembered(sites in 1_i64..200, wanted in any_settings()) {
        let mut known = SiteSettings::default();
        for site in 3..3 + sites {
            known.take_written(site, wanted.clone(), GENERATION);
            known.applied();
            known.reread(&wanting(&wanted));
        }
        known.take_unanswered(2 * SITE, wanted.clone(), refusal(), GENERATION, now(0));
        known.take_shown(SITE, &wanted, &change(&wanted), now(0).wall);
        known.reread(&wanting(&wanted));
        prop_assert_eq!(known.sites.keys().copied().collect::<Vec<_>>(), vec![SITE, 2 * SITE]);
    }

    #[test]
    fn a_status_is_remembered_as_it_was_shown(seen in any_settings()) {
        let mut known = SiteSettings::default();
        known.take_shown(SITE, &Settings::new(), &change(&seen), now(0).wall);
        prop_assert_eq!(remembered(&known.observed(SITE).unwrap()), seen);
    }
}

#[test]
fn what_the_farm_ignores_is_sent_again_on_request_and_for_another_generation() {
    let wanted = settings(Some(true), None, None);
    let has = settings(Some(false), None, None);
    let mut known = SiteSettings::default();
    let mut farm = Farm { has, ignores: vec![Setting::Enabled], hides: Vec::new(), puts: 0 };
    assert_eq!(settle(&mut known, &mut farm, &wanted), 1);
    assert_eq!(known.differences(SITE, &wanted, GENERATION).ignored, wanted);
    assert_eq!(known.differences(SITE, &wanted, GENERATION + 1).send, wanted);
    known.try_again();
    assert_eq!(settle(&mut known, &mut farm, &wanted), 1);
}

#[test]
fn a_spec_that_changes_its_mind_before_the_apply_is_followed_at_once() {
    let (on, off) = (settings(Some(true), None, None), settings(Some(false), None, None));
    let mut known = SiteSettings::default();
    known.take_shown(SITE, &on, &change(&off), now(0).wall);
    known.take_written(SITE, on.clone(), GENERATION);
    let later = GENERATION + 1;
    assert_eq!(known.to_write(&wanting(&on), later, now(0)), None, "the same value is on its way");
    assert_eq!(known.to_write(&wanting(&off), later, now(0)), Some((SITE, off)));
}

#[test]
fn what_the_farm_ignores_is_no_drift() {
    let wanted = settings(None, Some(30), None);
    let mut known = SiteSettings::default();
    let has = settings(None, Some(60), None);
    let mut farm = Farm { has, ignores: vec![Setting::After], hides: vec![], puts: 0 };
    settle(&mut known, &mut farm, &wanted);
    assert_eq!(known.drift(SITE, &wanted), []);
}

#[test]
fn a_refused_write_waits_longer_each_time_and_reads_before_it_is_repeated() {
    let wanted = settings(None, Some(30), None);
    let mut farm = Farm { has: settings(None, Some(60), None), ignores: vec![], hides: vec![], puts: 0 };
    let mut known = SiteSettings::default();
    let mut at = 0;
    let mut pauses = Vec::new();
    for _ in 0..4 {
        known.take_shown(SITE, &wanted, &farm.answer(), now(at).wall);
        let (site, _) = known.to_write(&wanting(&wanted), GENERATION, now(at)).expect("it may be written");
        known.take_refused(site, refusal(), GENERATION, now(at));
        assert_eq!(
            known.to_write(&wanting(&wanted), GENERATION, now(at + 3_600)),
            None,
            "not without a look"
        );
        known.take_shown(SITE, &wanted, &farm.answer(), now(at).wall);
        assert_eq!(known.to_write(&wanting(&wanted), GENERATION, now(at)), None);
        let pause = known.retry_in(now(at)).as_secs();
        pauses.push(pause);
        at += pause;
    }
    assert_eq!(pauses, [2, 4, 8, 16]);
    assert!(
        known.to_write(&wanting(&wanted), GENERATION + 1, now(at - 1)).is_some(),
        "an edited spec at once"
    );
    known.take_unreadable(SITE, refusal());
    assert_eq!(settle(&mut known, &mut farm, &wanted), 0, "what cannot be read is not written");
}

#[test]
fn a_write_without_an_answer_is_repeated_only_where_the_farm_does_not_show_it() {
    let wanted = settings(Some(true), None, None);
    for arrived in [true, false] {
        let mut known = SiteSettings::default();
        let farm = Farm { has: settings(Some(arrived), None, None), ignores: vec![], hides: vec![], puts: 0 };
        known.take_unanswered(SITE, wanted.clone(), refusal(), GENERATION, now(0));
        known.take_shown(SITE, &wanted, &farm.answer(), now(0).wall);
        let differences = known.differences(SITE, &wanted, GENERATION);
        assert_eq!(
            (differences.unapplied.len(), differences.send.len()),
            if arrived { (1, 0) } else { (0, 1) }
        );
        known.applied();
        assert!(known.to_read(&wanting(&wanted)).is_some(), "what the Apply brought is read");
    }
}

#[test]
fn two_entries_for_one_site_are_both_left_out() {
    let sites = [(1, Some("Head office".to_owned())), (2, Some("Branch".to_owned()))];
    let entries = [
        entry(Some(2), None, Some(true)),
        entry(None, Some("Branch"), Some(false)),
        entry(Some(1), None, None),
        entry(None, Some("Lab"), Some(true)),
    ];
    let found = wanted_of(&entries, &sites);
    assert_eq!((found.of_site.len(), found.twice.as_slice(), found.lost.len()), (0, &[2][..], 1));
}
