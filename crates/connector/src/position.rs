//! Where in the database's log a row was committed, and its text form in a record's header.

use std::io::Write as _;

use bytes::Bytes;

/// Which history of which database an LSN belongs to: after a restored backup or a promotion LSNs go back, and a bare one
/// would then pass for older than what is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ServerIdentity {
    /// The cluster's system identifier.
    pub system_id: u64,
    /// Its timeline.
    pub timeline: u32,
}

/// A row's place in the log of one [`ServerIdentity`]. All rows of a statement can carry one LSN, so a row is named by
/// its transaction's commit and its number in the transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// LSN of the transaction's commit record.
    pub commit_lsn: u64,
    /// The row's number among the transaction's outbox rows, from 0.
    pub index: u32,
}

/// Where an earlier timeline ended in the history of the server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fork {
    pub(crate) timeline: u32,
    /// The log before it is common to both; what the earlier timeline wrote from here on is lost to us.
    pub(crate) end_lsn: u64,
}

/// The log that a session reads: what the server can say of where positions belong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Log {
    pub(crate) server: ServerIdentity,
    /// The ancestors of the server's timeline.
    pub(crate) forks: Vec<Fork>,
}

/// Whose positions can be compared: those of one slot in one log. Two slots read one log, each with an outbox of its own,
/// and may write to one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) log: Log,
    pub(crate) slot: String,
    /// How far the log reached after the slot was acquired.
    pub(crate) flushed_lsn: u64,
}

/// What a position that was published once tells of the log that is read now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reached {
    /// The row at this position of it was published, if it is that row.
    Row(Position),
    /// Everything before this LSN was published; what came then is lost to us, and other rows stand in its place.
    Before(u64),
    /// It lies past the log's end: the database was put back to an earlier state.
    PastEnd,
}

/// A row that was published, by what was said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) reached: Reached,
    /// The row's id.
    pub(crate) id: Bytes,
}

impl Origin {
    /// Reads a mark's text: a position, a space, and the row's id.
    pub(crate) fn read_mark(&self, text: &Bytes) -> Option<Mark> {
        let end = text.iter().position(|byte| *byte == b' ')?;
        Some(Mark {
            reached: self.read_position(&text[..end])?,
            id: text.slice(end + 1..),
        })
    }

    /// Writes a position's text: `<system id>:<timeline>:<commit LSN>:<index>:<slot>`, the LSN in 16 hexadecimal digits
    /// and the other numbers decimal: `7312345678901234567:1:00000000016B3748:0:posthaste`.
    pub(crate) fn write_position(&self, position: Position, out: &mut Vec<u8>) {
        let ServerIdentity { system_id, timeline } = self.log.server;
        let Position { commit_lsn, index } = position;
        write!(
            out,
            "{system_id}:{timeline}:{commit_lsn:016X}:{index}:{}",
            self.slot
        )
        .expect("writing to a vector cannot fail");
    }

    /// What the position that a text names tells; `None`: it is of another slot, or of a log with which this one has
    /// nothing in common.
    pub(crate) fn read_position(&self, text: &[u8]) -> Option<Reached> {
        let mut parts = std::str::from_utf8(text).ok()?.splitn(5, ':');
        let server = ServerIdentity {
            system_id: parts.next()?.parse().ok()?,
            timeline: parts.next()?.parse().ok()?,
        };
        let lsn = parts.next().filter(|lsn| lsn.len() == 16)?;
        let position = Position {
            commit_lsn: u64::from_str_radix(lsn, 16).ok()?,
            index: parts.next()?.parse().ok()?,
        };
        if server.system_id != self.log.server.system_id || parts.next()? != self.slot {
            return None;
        }
        self.reached(server.timeline, position)
    }

    fn reached(&self, timeline: u32, position: Position) -> Option<Reached> {
        if timeline != self.log.server.timeline {
            let fork = self.log.forks.iter().find(|fork| fork.timeline == timeline)?;
            if position.commit_lsn >= fork.end_lsn {
                return Some(Reached::Before(fork.end_lsn));
            }
        }
        // What was published was committed, hence flushed.
        Some(if position.commit_lsn < self.flushed_lsn {
            Reached::Row(position)
        } else {
            Reached::PastEnd
        })
    }
}

impl Log {
    /// Reads a timeline's history file: a line for each ancestor, `<timeline> <LSN where it ended> <why>`.
    pub(crate) fn read_forks(history: &str) -> Vec<Fork> {
        let fork = |line: &str| {
            let mut words = line.split_whitespace();
            let timeline = words.next()?.parse().ok()?;
            let (high, low) = words.next()?.split_once('/')?;
            let half = |text| u64::from_str_radix(text, 16).ok();
            Some(Fork {
                timeline,
                end_lsn: half(high)? << 32 | half(low)?,
            })
        };
        history.lines().filter_map(fork).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn origin(system_id: u64, timeline: u32, slot: &str) -> Origin {
        let log = Log {
            server: ServerIdentity { system_id, timeline },
            forks: Vec::new(),
        };
        Origin {
            log,
            slot: slot.to_owned(),
            flushed_lsn: u64::MAX,
        }
    }

    proptest! {
        #[test]
        fn every_position_round_trips(system_id: u64, timeline: u32, commit_lsn in 0..u64::MAX, index: u32, slot in "[a-z_]{1,63}") {
            let (origin, position) = (origin(system_id, timeline, &slot), Position { commit_lsn, index });
            let mut text = Vec::new();
            origin.write_position(position, &mut text);
            prop_assert_eq!(origin.read_position(&text), Some(Reached::Row(position)));
        }

        #[test]
        fn no_text_panics(text: Vec<u8>, history: String) {
            let _ = origin(1, 1, "a").read_position(&text);
            let _ = Log::read_forks(&history);
        }
    }

    #[test]
    fn other_texts_and_positions_of_others_are_none() {
        let ours = origin(1, 1, "a");
        for text in [
            "",
            "1:1:0:0:a",
            "1:1:00000000016B3748:0",
            "1:1:00000000016B3748:0:a:a",
            "x:1:00000000016B3748:0:a",
            "2:1:00000000016B3748:0:a",
            "1:2:00000000016B3748:0:a",
            "1:1:00000000016B3748:0:b",
        ] {
            assert_eq!(ours.read_position(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn positions_of_earlier_timelines_count_up_to_their_end() {
        let mut ours = origin(1, 3, "a");
        ours.log.forks =
            Log::read_forks("1\t0/1000\tno recovery target specified\n\n2\t1/20\tbefore 2026-11-24\n");
        ours.flushed_lsn = 0x1_0000_4000;
        let row = |commit_lsn| Some(Reached::Row(Position { commit_lsn, index: 7 }));
        for (text, expected) in [
            ("1:1:0000000000000FFF:7:a", row(0xFFF)),
            ("1:1:0000000000001000:7:a", Some(Reached::Before(0x1000))),
            ("1:2:0000000000001000:7:a", row(0x1000)),
            ("1:2:0000000100000020:7:a", Some(Reached::Before(0x1_0000_0020))),
            ("1:3:0000000100003FFF:7:a", row(0x1_0000_3FFF)),
            ("1:3:0000000100004000:7:a", Some(Reached::PastEnd)),
            ("1:4:0000000000000001:7:a", None),
        ] {
            assert_eq!(ours.read_position(text.as_bytes()), expected, "{text}");
        }
    }
}
