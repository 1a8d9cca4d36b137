use super::*;

const SITE: i64 = 1;

fn row(id: i64, service: Service) -> ras::Broker {
    ras::Broker {
        id,
        server: format!("cb{id}"),
        site_id: SITE,
        enabled: Some(service != Service::Off),
        standby: Some(service == Service::Standby),
        ..ras::Broker::default()
    }
}

fn list(rows: &[(i64, Service)]) -> Snapshot {
    let rows = rows.iter().map(|(id, service)| row(*id, *service)).collect();
    Snapshot::default().next(rows, Duration::ZERO, None)
}

fn key(id: i64) -> ObjectKey {
    ObjectKey::new("ns", format!("cb{id}"))
}

fn change(id: i64, kind: Kind, to: Service) -> Change {
    Change { site_id: SITE, id, kind, to, insists: false }
}

fn disable(id: i64) -> Change {
    change(id, Kind::Update, Service::Off)
}

fn delete(id: i64) -> Change {
    change(id, Kind::Delete, Service::Off)
}

fn wait(sites: &Sites, snapshot: &Snapshot, change: Change) -> Option<Wait> {
    sites.changes().wait(snapshot, &change)
}

/// Rows, a change, and why it waits.
type Case = (&'static [(i64, Service)], Change, Option<Wait>);

#[test]
fn no_step_lowers_what_a_site_has_at_best() {
    use Service::{Active, Off, Standby};
    let standby = |id| change(id, Kind::Update, Standby);
    let table: [Case; 9] = [
        (&[(1, Active), (2, Active)], disable(2), None),
        (&[(1, Active), (2, Standby)], disable(2), None),
        (&[(1, Active), (2, Standby)], disable(1), Some(Wait::Last)),
        (&[(1, Active), (2, Standby)], standby(1), Some(Wait::Last)),
        (&[(1, Off), (2, Active)], delete(2), Some(Wait::Last)),
        (&[(1, Off), (2, Standby)], delete(2), Some(Wait::Last)),
        (&[(1, Off), (2, Standby), (3, Standby)], delete(2), None),
        (&[(1, Off), (2, Off)], delete(2), None),
        (&[(1, Off), (2, Off)], standby(2), None),
    ];
    for (rows, change, expected) in table {
        assert_eq!(wait(&Sites::default(), &list(rows), change), expected, "{rows:?} {change:?}");
        let insists = Change { insists: true, ..change };
        assert_eq!(wait(&Sites::default(), &list(rows), insists), None, "{rows:?} {change:?}");
    }
    let elsewhere = Snapshot::default().next(
        vec![row(1, Active), ras::Broker { site_id: 2, ..row(2, Active) }],
        Duration::ZERO,
        None,
    );
    assert_eq!(wait(&Sites::default(), &elsewhere, disable(1)), Some(Wait::Last), "each site for itself");
}

#[test]
fn one_change_of_a_site_goes_at_a_time_and_deletions_together() {
    let snapshot = list(&[1, 2, 3, 4].map(|id| (id, Service::Active)));
    let after = |first: Change, second: Change| {
        let mut sites = Sites::default();
        assert!(sites.begin(&key(first.id), &snapshot, first));
        wait(&sites, &snapshot, second)
    };
    let turn = Some(Wait::Turn);
    assert_eq!(after(disable(2), disable(3)), turn);
    assert_eq!(after(disable(2), delete(3)), turn);
    assert_eq!(after(delete(2), disable(3)), turn);
    assert_eq!(after(delete(2), delete(3)), None);
    assert_eq!(after(change(2, Kind::Update, Service::Standby), delete(2)), None, "the same broker");
    assert_eq!(after(disable(2), Change { site_id: 2, ..disable(9) }), None, "another site");
}

#[test]
fn what_lowers_a_site_waits_until_its_promotion_is_applied() {
    let snapshot = list(&[1, 2, 3].map(|id| (id, Service::Active)));
    let mut sites = Sites::default();
    sites.promoted(&key(2), &row(2, Service::Active));
    let description = change(3, Kind::Update, Service::Active);
    assert_eq!(wait(&sites, &snapshot, disable(3)), Some(Wait::Turn));
    assert_eq!(wait(&sites, &snapshot, delete(1)), Some(Wait::Turn));
    assert_eq!(wait(&sites, &snapshot, description), None, "nothing is lowered");
    sites.listed(Duration::from_secs(1));
    assert_eq!(wait(&sites, &snapshot, disable(3)), Some(Wait::Turn), "its outcome is seen");
    sites.applied(Duration::from_secs(2), true, |_| false);
    sites.listed(Duration::from_secs(3));
    assert_eq!(wait(&sites, &snapshot, disable(3)), None);
}

#[test]
fn a_change_is_over_with_the_first_list_from_after_its_apply() {
    let snapshot = list(&[1, 2, 3].map(|id| (id, Service::Active)));
    let at = Duration::from_secs;
    let mut sites = Sites::default();
    sites.begin(&key(2), &snapshot, disable(2));
    sites.applied(at(0), true, |_| false);
    sites.listed(at(1));
    assert_eq!(wait(&sites, &snapshot, disable(3)), Some(Wait::Turn), "its call is on its way");
    sites.end(&key(2), &disable(2), true);
    sites.listed(at(2));
    assert_eq!(wait(&sites, &snapshot, disable(3)), Some(Wait::Turn), "a list alone");
    sites.applied(at(5), true, |broker| *broker == key(2));
    sites.listed(at(6));
    assert_eq!(wait(&sites, &snapshot, disable(3)), Some(Wait::Turn), "it may still arrive");
    sites.applied(at(9), true, |_| false);
    sites.listed(at(8));
    assert_eq!(wait(&sites, &snapshot, disable(3)), Some(Wait::Turn), "a list from before");
    sites.listed(at(9));
    assert_eq!(wait(&sites, &snapshot, disable(3)), None);
}

#[test]
fn what_was_raised_counts_once_it_is_applied_and_what_was_just_made_may_be_taken_back() {
    let before = list(&[(1, Service::Active), (2, Service::Off)]);
    let mut after = before.clone();
    let mut sites = Sites::default();
    sites.raised(&key(2), &before, &row(2, Service::Active));
    after.put(row(2, Service::Active));
    assert_eq!(wait(&sites, &after, disable(1)), Some(Wait::Raise));
    assert_eq!(wait(&sites, &after, disable(2)), None, "nobody had it yet");
    assert!(sites.begin(&key(2), &after, disable(2)));
    sites.applied(Duration::ZERO, true, |_| false);
    sites.listed(Duration::ZERO);
    assert_eq!(wait(&sites, &after, disable(1)), Some(Wait::Last), "the list shows what is being undone");
    sites.end(&key(2), &disable(2), false);
    assert_eq!(wait(&sites, &after, disable(1)), None);
}

#[test]
fn a_change_that_was_not_made_holds_nobody_back() {
    let snapshot = list(&[1, 2, 3].map(|id| (id, Service::Active)));
    let mut sites = Sites::default();
    sites.begin(&key(2), &snapshot, disable(2));
    sites.end(&key(2), &disable(2), false);
    assert_eq!(wait(&sites, &snapshot, disable(3)), None);
}

#[test]
fn nothing_that_happens_while_somebody_looks_is_missed() {
    let mut sites = Sites::default();
    sites.join(&key(1), sites.changes().moves);
    assert!(sites.call().is_empty());
    let seen = sites.changes().moves;
    sites.moved();
    assert_eq!(sites.call(), BTreeSet::from([key(1)]));
    sites.join(&key(2), seen);
    assert_eq!(sites.call(), BTreeSet::from([key(2)]), "it looked before that happened");
    sites.join(&key(3), sites.changes().moves);
    sites.leave(&key(3));
    sites.moved();
    assert!(sites.call().is_empty());
}

#[test]
fn what_an_earlier_process_left_may_be_anything_until_nothing_of_it_can_arrive() {
    let snapshot = list(&[1, 2].map(|id| (id, Service::Active)));
    let at = Duration::from_secs;
    let mut sites = Sites::new(true);
    assert_eq!(wait(&sites, &snapshot, disable(2)), Some(Wait::Turn));
    sites.applied(at(1), false, |_| false);
    sites.listed(at(2));
    assert_eq!(
        wait(&sites, &snapshot, disable(2)),
        Some(Wait::Turn),
        "something may arrive after this Apply"
    );
    sites.applied(at(20), true, |_| false);
    sites.listed(at(19));
    assert_eq!(wait(&sites, &snapshot, disable(2)), Some(Wait::Turn), "a list from before");
    sites.listed(at(21));
    assert_eq!(wait(&sites, &snapshot, disable(2)), None);
}

#[test]
fn what_is_seen_to_serve_more_counts_once_it_is_applied_and_is_not_taken_back_freely() {
    let before = list(&[(1, Service::Active), (2, Service::Off)]);
    let after = list(&[(1, Service::Active), (2, Service::Active)]);
    let mut sites = Sites::default();
    sites.seen(&before, &row(2, Service::Active));
    assert_eq!(wait(&sites, &after, disable(1)), Some(Wait::Raise));
    let short = list(&[(2, Service::Active)]);
    assert_eq!(wait(&sites, &short, disable(2)), Some(Wait::Last), "it may have served for long");
    sites.applied(Duration::ZERO, false, |_| true);
    sites.listed(Duration::ZERO);
    assert_eq!(wait(&sites, &after, disable(1)), None);
    sites.seen(&before, &row(2, Service::Active));
    sites.nothing_written();
    assert_eq!(wait(&sites, &after, disable(1)), None, "no Apply is to come");
}

/// Where no Apply comes for long, what comes and goes takes no more room than one of it, and counts as one does.
#[test]
fn what_is_seen_or_made_any_number_of_times_before_an_apply_is_kept_once() {
    let of = |service| list(&[(1, Service::Active), (2, service)]);
    let (off, standby, on) = (of(Service::Off), of(Service::Standby), of(Service::Active));
    let play = |times: usize| {
        let mut sites = Sites::default();
        for _ in 0..times {
            sites.seen(&standby, &row(2, Service::Active));
            sites.seen(&off, &row(2, Service::Active));
            sites.begin(&key(2), &on, disable(2));
            sites.end(&key(2), &disable(2), true);
            sites.raised(&key(2), &off, &row(2, Service::Active));
        }
        sites
    };
    let (once, often) = (play(1), play(100));
    assert_eq!(often.changes.written.len(), 3, "{:#?}", often.changes.written);
    assert_eq!(often.changes.written[0].least, Service::Off, "the least of all counts");
    assert!(wait(&once, &on, disable(1)).is_some());
    for change in [disable(1), disable(2), delete(1)] {
        assert_eq!(wait(&often, &on, change), wait(&once, &on, change), "{change:?}");
    }
    let mut often = often;
    often.applied(Duration::ZERO, false, |_| false);
    often.listed(Duration::ZERO);
    assert_eq!(wait(&often, &on, disable(1)), None);
}
