//! The window's bounds and its indexes.

use super::*;
use crate::stream::filter::KindSet;
use crate::stream::sample::{entry, event};

const FEW: WindowBounds = WindowBounds {
    event_count: 4,
    bytes: usize::MAX,
};

fn filled(bounds: WindowBounds, records: &[(i32, i64, u128, Option<&str>)]) -> Log {
    let mut tip = Cursor::default();
    let mut log = Log::new(tip.clone(), bounds);
    for &(partition, offset, task, channel) in records {
        log.append(Arc::new(entry(&mut tip, partition, offset, task, channel)));
    }
    log
}

fn offsets(batch: &Batch) -> Vec<(i32, i64)> {
    batch
        .entries
        .iter()
        .map(|entry| (entry.partition, entry.offset))
        .collect()
}

fn read(log: &Log, filter: &Filter) -> Vec<(i32, i64)> {
    offsets(&log.read(1, filter, &filter.scope(), usize::MAX))
}

#[test]
fn the_oldest_entries_leave_and_the_floor_follows() {
    let log = filled(
        FEW,
        &[
            (0, 0, 1, None),
            (1, 0, 2, None),
            (0, 1, 3, None),
            (0, 2, 4, None),
            (1, 1, 5, None),
        ],
    );
    assert_eq!(log.first(), 2);
    assert_eq!(*log.floor(), Cursor::new(vec![1, 0]));
    assert_eq!(*log.tip(), Cursor::new(vec![3, 2]));
}

#[test]
fn an_entry_larger_than_the_window_is_kept_alone() {
    let bounds = WindowBounds {
        event_count: 10,
        bytes: 1,
    };
    let log = filled(bounds, &[(0, 0, 1, None), (0, 1, 2, None)]);
    assert_eq!((log.first(), log.end()), (2, 3));
}

#[test]
fn channel_and_task_are_found_by_their_chains_also_after_the_oldest_left() {
    let records = [
        (0, 0, 1, Some("a")),
        (0, 1, 2, Some("b")),
        (0, 2, 1, Some("a")),
        (0, 3, 3, None),
        (0, 4, 2, Some("a")),
    ];
    let log = filled(FEW, &records);
    let mut filter = Filter::of_tenant("default");
    filter.channels = vec!["a".into()];
    assert_eq!(read(&log, &filter), [(0, 2), (0, 4)]);
    filter.channels.clear();
    filter.task = Some(event(2, None).task_id);
    assert_eq!(read(&log, &filter), [(0, 1), (0, 4)]);
    filter.task = Some(event(9, None).task_id);
    assert!(read(&log, &filter).is_empty());
}

#[test]
fn filters_on_tenant_type_and_kind_leave_out_what_does_not_fit() {
    let log = filled(FEW, &[(0, 0, 1, None)]);
    let fitting = Filter::of_tenant("default");
    assert_eq!(read(&log, &fitting).len(), 1);
    let other_tenant = Filter::of_tenant("other");
    let other_type = Filter {
        types: vec!["other".to_owned()],
        ..fitting.clone()
    };
    let other_kind = Filter {
        kinds: KindSet::from_iter([posthaste_types::EventKind::Failed]),
        ..fitting
    };
    for filter in [other_tenant, other_type, other_kind] {
        assert!(read(&log, &filter).is_empty(), "{filter:?}");
    }
}

#[test]
fn a_read_stops_at_its_bound_and_says_where_to_go_on() {
    let log = filled(FEW, &[(0, 0, 1, None), (0, 1, 2, None), (0, 2, 3, None)]);
    let filter = Filter::of_tenant("default");
    let batch = log.read(1, &filter, &Scope::All, 1);
    assert_eq!(offsets(&batch), [(0, 0)]);
    let (next, stopped_at) = batch.stopped.unwrap();
    assert_eq!(stopped_at.offset, 0);
    let rest = log.read(next, &filter, &Scope::All, usize::MAX);
    assert_eq!(offsets(&rest), [(0, 1), (0, 2)]);
    assert!(rest.stopped.is_none());
}

#[test]
fn a_restart_empties_the_window_and_puts_the_partition_where_it_goes_on() {
    let mut log = filled(FEW, &[(0, 0, 1, Some("a")), (1, 7, 2, None)]);
    let end = log.end();
    log.restart(1, 3);
    assert!(log.first() > end);
    assert_eq!(log.first(), log.end());
    assert_eq!(*log.floor(), Cursor::new(vec![1, 3]));
}
