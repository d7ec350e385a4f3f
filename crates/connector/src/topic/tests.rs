//! Rows against ends: none is passed over that is not there.

use proptest::prelude::*;

use super::*;
use crate::ServerIdentity;
use crate::position::Log;

const TOPIC: &str = "t";

/// Topics that know of one with a single partition.
fn topics(end: Option<End>) -> Topics {
    let log = Log {
        server: ServerIdentity {
            system_id: 1,
            timeline: 1,
        },
        forks: Vec::new(),
    };
    let origin = Origin {
        log,
        slot: "s".to_owned(),
        flushed_lsn: u64::MAX,
    };
    let mut topics = Topics::new(origin, Disproved::default(), None);
    topics.known.insert(TOPIC.to_owned(), Topic::Present(vec![end]));
    topics
}

fn end(commit_lsn: u64, index: u32, id: &'static str) -> Option<End> {
    Some(End {
        position: Position { commit_lsn, index },
        id: Some(Bytes::from_static(id.as_bytes())),
        is_owing: false,
    })
}

fn place(topics: &mut Topics, commit_lsn: u64, index: u32, id: &str) -> Result<Place, Error> {
    let position = Position { commit_lsn, index };
    topics
        .place(TOPIC, b"key", position, id.as_bytes())
        .map(|place| place.expect("the topic is known"))
}

#[test]
fn rows_up_to_the_end_are_there_and_owing_until_the_end_itself_comes() {
    let mut topics = topics(end(20, 1, "b"));
    assert_eq!(place(&mut topics, 10, 0, "x").unwrap(), Place::Published);
    assert!(topics.is_owing());
    topics.pass(20).unwrap();
    assert_eq!(place(&mut topics, 20, 0, "a").unwrap(), Place::Published);
    assert_eq!(place(&mut topics, 20, 1, "b").unwrap(), Place::Published);
    assert!(!topics.is_owing());
    assert_eq!(place(&mut topics, 20, 2, "c").unwrap(), Place::Partition(0));
}

#[test]
fn an_end_that_the_stream_begins_after_owes_nothing() {
    let mut topics = topics(end(20, 1, "b"));
    assert_eq!(place(&mut topics, 30, 0, "x").unwrap(), Place::Partition(0));
    topics.pass(40).unwrap();
}

#[test]
fn another_row_in_the_place_of_the_end_disproves_it() {
    for (commit_lsn, index, id) in [(20, 1, "other"), (20, 2, "b"), (30, 0, "c")] {
        let mut topics = topics(end(20, 1, "b"));
        place(&mut topics, 10, 0, "x").unwrap();
        let error = place(&mut topics, commit_lsn, index, id).unwrap_err();
        assert!(matches!(error, Error::LogWentBack), "{error}");
        let origin = topics.origin.clone();
        let topics = Topics::new(origin, topics.into_disproved(), None);
        let reached = Reached::Row(Position {
            commit_lsn: 20,
            index: 1,
        });
        let mark = Mark {
            reached,
            id: "b".into(),
        };
        assert_eq!(topics.end(TOPIC, mark), None);
    }
}

#[test]
fn an_end_that_the_log_has_passed_without_its_row_is_disproved() {
    let mut topics = topics(end(20, 1, "b"));
    place(&mut topics, 10, 0, "x").unwrap();
    assert!(matches!(topics.pass(21).unwrap_err(), Error::LogWentBack));
}

/// A row's id: up to `fork` both histories have the same rows.
fn id(history: &str, fork: u64, row: u64) -> String {
    if row < fork {
        format!("common {row}")
    } else {
        format!("{history} {row}")
    }
}

proptest! {
    /// The first rows of an old history were published, and the log now has other rows from `fork` on. Where the session
    /// may confirm, every row of the log is in the topic.
    #[test]
    fn no_row_of_a_log_that_went_back_is_confirmed_without_being_there(
        published in 1_u64..40, fork in 0_u64..40, rows in 1_u64..60, begin in 0_u64..40,
    ) {
        let last = Position { commit_lsn: published - 1, index: 0 };
        let last_id = Bytes::from(id("old", fork, published - 1));
        let mut topics = topics(Some(End { position: last, id: Some(last_id), is_owing: false }));
        let mut there: HashSet<String> = (0..published).map(|row| id("old", fork, row)).collect();
        // What was confirmed before is common.
        for row in begin.min(fork).min(published)..rows {
            let row_id = id("new", fork, row);
            match place(&mut topics, row, 0, &row_id) {
                Ok(Place::Partition(_)) => prop_assert!(there.insert(row_id), "a row came twice"),
                Ok(_) => prop_assert!(topics.is_owing() || there.contains(&row_id)),
                Err(_) => {
                    prop_assert!(fork < published, "the end is a row of this log");
                    return Ok(());
                }
            }
            if topics.pass(row + 1).is_err() {
                prop_assert!(fork < published, "the end is a row of this log");
                return Ok(());
            }
        }
    }
}
