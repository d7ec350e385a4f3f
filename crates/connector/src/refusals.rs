//! Rows that the broker refused, kept from one session to the next.
//!
//! A refusal is of a whole batch and ends the producer. So the rows of a refused batch are sent once more, each alone; one
//! that is refused alone goes to the dead letters, and one whose dead letter is refused goes there cut.

use std::collections::{HashMap, HashSet};

use crate::Position;

/// Why a row cannot be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// What the broker said.
    pub(crate) reason: String,
    /// Its dead letter was refused whole, so it must be cut.
    pub(crate) is_cut: bool,
}

/// What is known of refused rows. Bounded by what can be in flight at once.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    suspects: HashSet<Position>,
    refused: HashMap<Position, Refusal>,
}

impl Refusals {
    /// The broker refused a batch that this row was in.
    pub(crate) fn note(&mut self, position: Position, reason: &str) {
        if let Some(refusal) = self.refused.get_mut(&position) {
            refusal.is_cut = true;
        } else if self.suspects.remove(&position) {
            self.refused.insert(
                position,
                Refusal {
                    reason: reason.to_owned(),
                    is_cut: false,
                },
            );
        } else {
            self.suspects.insert(position);
        }
    }

    /// The row, or its dead letter, is at the broker.
    pub(crate) fn settle(&mut self, position: Position) {
        if !self.suspects.is_empty() {
            self.suspects.remove(&position);
        }
        if !self.refused.is_empty() {
            self.refused.remove(&position);
        }
    }

    /// Whether the row must be sent alone.
    pub(crate) fn is_suspect(&self, position: Position) -> bool {
        !self.suspects.is_empty() && self.suspects.contains(&position)
    }

    /// Whether the row must go to the dead letters.
    pub(crate) fn refusal(&self, position: Position) -> Option<&Refusal> {
        if self.refused.is_empty() {
            None
        } else {
            self.refused.get(&position)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_sent_alone_then_buried_then_buried_cut() {
        let (mut refusals, position) = (
            Refusals::default(),
            Position {
                commit_lsn: 1,
                index: 0,
            },
        );
        refusals.note(position, "too large");
        assert!(refusals.is_suspect(position) && refusals.refusal(position).is_none());
        refusals.note(position, "too large");
        assert_eq!(
            refusals.refusal(position),
            Some(&Refusal {
                reason: "too large".to_owned(),
                is_cut: false
            })
        );
        refusals.note(position, "too large");
        assert!(refusals.refusal(position).is_some_and(|refusal| refusal.is_cut));
        refusals.settle(position);
        assert!(!refusals.is_suspect(position) && refusals.refusal(position).is_none());
    }
}
