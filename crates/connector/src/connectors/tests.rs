//! What operators see of what is known.

use chrono::DateTime;
use posthaste_store::{Asked, ConnectorInstance, ConnectorRecord, SlotState};

use super::view;

fn instance(state: &str, behind_s: Option<u64>) -> ConnectorInstance {
    ConnectorInstance {
        name: format!("host:1:{state}"),
        delivery: "at_least_once".to_owned(),
        state: state.to_owned(),
        waits_for: (state == "waiting").then(|| "the broker".to_owned()),
        since: DateTime::UNIX_EPOCH,
        behind_s,
    }
}

fn record(instances: Vec<ConnectorInstance>) -> ConnectorRecord {
    ConnectorRecord {
        slot: "posthaste".to_owned(),
        asked: Asked::default(),
        is_closing: Some(true),
        bytes_max: None,
        instances,
        slot_state: Some(SlotState {
            active_pid: Some(7),
            wal_status: "reserved".to_owned(),
            safe_wal_bytes: Some(700),
            flushed_lsn: 1000,
            confirmed_lsn: 900,
            kept_from_lsn: 700,
            is_failover: None,
            invalidation: None,
        }),
    }
}

#[test]
fn whoever_holds_the_slot_speaks_first_then_who_waits_then_who_stands_by() {
    for (states, state, holder) in [
        (
            &["standby", "waiting", "streaming"][..],
            "streaming",
            Some("host:1:streaming"),
        ),
        (&["standby", "paused"], "paused", None),
        (&["standby", "waiting"], "waiting", None),
        (&["standby"], "standby", None),
        (&[], "away", None),
    ] {
        let seen = view(record(states.iter().map(|state| instance(state, None)).collect()));
        assert_eq!(
            (seen.state.as_str(), seen.holder.as_deref()),
            (state, holder),
            "{states:?}"
        );
        assert_eq!(seen.waits_for.is_some(), state == "waiting");
        assert_eq!(seen.delivery.is_some(), state != "away");
    }
}

#[test]
fn what_may_be_kept_is_the_smaller_bound_and_lag_is_known_while_somebody_tells() {
    let log = |mut record: ConnectorRecord, bytes_max| {
        record.bytes_max = bytes_max;
        view(record).log.unwrap()
    };
    let instances = || vec![instance("streaming", None), instance("standby", Some(40))];
    for (bytes_max, wanted) in [
        (None, Some(1000)),
        (Some(5000), Some(1000)),
        (Some(600), Some(600)),
    ] {
        assert_eq!(log(record(instances()), bytes_max).retained_bytes_max, wanted);
    }
    let mut unbounded = record(instances());
    unbounded.slot_state.as_mut().unwrap().safe_wal_bytes = None;
    let seen = log(unbounded, None);
    assert_eq!((seen.retained_bytes_max, seen.wal_share), (None, None));
    let seen = log(record(instances()), Some(600));
    assert_eq!(
        (seen.lag_bytes, seen.retained_bytes, seen.wal_share, seen.lag_s),
        (100, 300, Some(0.5), Some(40))
    );
    assert_eq!(
        log(record(vec![instance("streaming", None)]), None).lag_s,
        Some(0)
    );
    assert_eq!(log(record(Vec::new()), None).lag_s, None);
}

#[test]
fn who_paused_it_is_told_while_it_is_paused() {
    let mut paused = record(Vec::new());
    paused.asked = Asked {
        is_paused: true,
        changed_at: Some(DateTime::UNIX_EPOCH),
        changed_by: Some("cli".to_owned()),
    };
    let seen = view(paused.clone());
    assert_eq!(
        (seen.paused_at, seen.paused_by.as_deref()),
        (Some(DateTime::UNIX_EPOCH), Some("cli"))
    );
    paused.asked.is_paused = false;
    let seen = view(paused);
    assert_eq!((seen.paused_at, seen.paused_by), (None, None));
}
