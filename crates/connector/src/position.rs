//! Where in the database's log a row was committed, and its text form in a record's header.

use std::io::Write as _;

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

/// Whose positions can be compared: those of one slot in one history. Two slots read one log, each with an outbox of its
/// own, and may write to one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) server: ServerIdentity,
    pub(crate) slot: String,
}

impl Origin {
    /// Writes a position's text: `<system id>:<timeline>:<commit LSN>:<index>:<slot>`, the LSN in 16 hexadecimal digits
    /// and the other numbers decimal: `7312345678901234567:1:00000000016B3748:0:posthaste`.
    pub(crate) fn write_position(&self, position: Position, out: &mut Vec<u8>) {
        let Self { server, slot } = self;
        write!(
            out,
            "{}:{}:{:016X}:{}:{slot}",
            server.system_id, server.timeline, position.commit_lsn, position.index
        )
        .expect("writing to a vector cannot fail");
    }

    /// The position that a text names, if it is one of this origin.
    pub(crate) fn read_position(&self, text: &[u8]) -> Option<Position> {
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
        (server == self.server && parts.next()? == self.slot).then_some(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn origin(system_id: u64, timeline: u32, slot: &str) -> Origin {
        Origin {
            server: ServerIdentity { system_id, timeline },
            slot: slot.to_owned(),
        }
    }

    proptest! {
        #[test]
        fn every_position_round_trips(system_id: u64, timeline: u32, commit_lsn: u64, index: u32, slot in "[a-z_]{1,63}") {
            let (origin, position) = (origin(system_id, timeline, &slot), Position { commit_lsn, index });
            let mut text = Vec::new();
            origin.write_position(position, &mut text);
            prop_assert_eq!(origin.read_position(&text), Some(position));
        }

        #[test]
        fn no_text_panics(text: Vec<u8>) {
            let _ = origin(1, 1, "a").read_position(&text);
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
}
