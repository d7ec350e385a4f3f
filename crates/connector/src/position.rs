//! Where in the database's log a row was committed, and its text form in a record's header.

use std::fmt;
use std::str::FromStr;

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

/// A position with the history it belongs to. Its text is `<system id>:<timeline>:<commit LSN>:<index>`, the LSN in 16
/// hexadecimal digits and the rest decimal: `7312345678901234567:1:00000000016B3748:0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) server: ServerIdentity,
    pub(crate) position: Position,
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, position } = self;
        write!(
            f,
            "{}:{}:{:016X}:{}",
            server.system_id, server.timeline, position.commit_lsn, position.index
        )
    }
}

/// Not a position's text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InvalidStamp;

impl FromStr for Stamp {
    type Err = InvalidStamp;

    fn from_str(text: &str) -> Result<Self, InvalidStamp> {
        fn number<T: FromStr>(text: Option<&str>) -> Result<T, InvalidStamp> {
            text.and_then(|text| text.parse().ok()).ok_or(InvalidStamp)
        }
        let mut parts = text.split(':');
        let server = ServerIdentity {
            system_id: number(parts.next())?,
            timeline: number(parts.next())?,
        };
        let lsn = parts.next().filter(|lsn| lsn.len() == 16).ok_or(InvalidStamp)?;
        let commit_lsn = u64::from_str_radix(lsn, 16).map_err(|_| InvalidStamp)?;
        let index = number(parts.next())?;
        if parts.next().is_some() {
            return Err(InvalidStamp);
        }
        Ok(Self {
            server,
            position: Position { commit_lsn, index },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_position_round_trips(system_id: u64, timeline: u32, commit_lsn: u64, index: u32) {
            let stamp = Stamp { server: ServerIdentity { system_id, timeline }, position: Position { commit_lsn, index } };
            prop_assert_eq!(stamp.to_string().parse(), Ok(stamp));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _: Result<Stamp, _> = text.parse();
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "1:1:0:0",
            "1:1:00000000016B3748",
            "1:1:00000000016B3748:0:0",
            "a:1:00000000016B3748:0",
        ] {
            assert_eq!(text.parse::<Stamp>(), Err(InvalidStamp), "{text}");
        }
    }
}
