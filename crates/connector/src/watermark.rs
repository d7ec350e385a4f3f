//! Which transactions are wholly at the broker: rows land in any order, transactions are confirmed in the order of their
//! commits. Pure.

use std::collections::VecDeque;

use crate::Position;

/// A row on its way to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InFlight {
    pub(crate) position: Position,
    pub(crate) byte_count: usize,
    /// When the outbox row was written, microseconds since 1970.
    pub(crate) created_at_us: Option<i64>,
}

#[derive(Debug)]
struct Slot {
    row: InFlight,
    is_landed: bool,
}

/// A transaction all of whose rows have been handed over.
#[derive(Debug)]
struct Transaction {
    /// The tag after its last row's.
    end_tag: usize,
    /// Up to where the slot may be acknowledged once it is at the broker.
    end_lsn: u64,
}

/// Rows in flight, by tags that ascend in the order of the stream.
#[derive(Debug, Default)]
pub(crate) struct Watermark {
    /// The tag of the first slot.
    first_tag: usize,
    slots: VecDeque<Slot>,
    transactions: VecDeque<Transaction>,
    byte_count: usize,
    /// Rows whose fate is not known yet.
    outstanding_count: usize,
    confirmed_lsn: u64,
}

impl Watermark {
    /// The tag that the next row will get.
    pub(crate) fn next_tag(&self) -> usize {
        self.first_tag + self.slots.len()
    }

    /// A row was handed over under [`Self::next_tag`].
    pub(crate) fn add(&mut self, row: InFlight) {
        self.byte_count += row.byte_count;
        self.outstanding_count += 1;
        self.slots.push_back(Slot {
            row,
            is_landed: false,
        });
    }

    /// No further row of the transaction comes.
    pub(crate) fn end_transaction(&mut self, end_lsn: u64) {
        self.transactions.push_back(Transaction {
            end_tag: self.next_tag(),
            end_lsn,
        });
        self.advance();
    }

    /// The broker holds the row.
    pub(crate) fn land(&mut self, tag: usize) -> InFlight {
        let slot = self.slot(tag);
        debug_assert!(!slot.is_landed, "a row lands once");
        slot.is_landed = true;
        let row = slot.row;
        self.outstanding_count -= 1;
        self.advance();
        row
    }

    /// The broker does not hold the row; nothing from its transaction on will be confirmed.
    pub(crate) fn fail(&mut self, tag: usize) -> InFlight {
        self.outstanding_count -= 1;
        self.slot(tag).row
    }

    /// Up to where the slot may be acknowledged.
    pub(crate) fn confirmed_lsn(&self) -> u64 {
        self.confirmed_lsn
    }

    /// Nothing is known to the stream that has not been confirmed.
    pub(crate) fn is_idle(&self) -> bool {
        self.slots.is_empty() && self.transactions.is_empty()
    }

    /// Rows whose fate is not known yet.
    pub(crate) fn outstanding_count(&self) -> usize {
        self.outstanding_count
    }

    /// Rows that take up room: those in flight and those landed behind them.
    pub(crate) fn held(&self) -> (usize, usize) {
        (self.slots.len(), self.byte_count)
    }

    fn slot(&mut self, tag: usize) -> &mut Slot {
        &mut self.slots[tag - self.first_tag]
    }

    fn advance(&mut self) {
        while self.slots.front().is_some_and(|slot| slot.is_landed) {
            if let Some(slot) = self.slots.pop_front() {
                self.byte_count -= slot.row.byte_count;
            }
            self.first_tag += 1;
        }
        while let Some(transaction) = self
            .transactions
            .pop_front_if(|next| next.end_tag <= self.first_tag)
        {
            self.confirmed_lsn = transaction.end_lsn;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(commit_lsn: u64, index: u32) -> InFlight {
        InFlight {
            position: Position { commit_lsn, index },
            byte_count: 10,
            created_at_us: None,
        }
    }

    #[test]
    fn a_transaction_is_confirmed_when_it_and_all_before_it_have_landed() {
        let mut watermark = Watermark::default();
        for (lsn, count) in [(100, 2), (200, 0), (300, 1)] {
            for index in 0..count {
                watermark.add(row(lsn, index));
            }
            watermark.end_transaction(lsn + 1);
        }
        watermark.land(2);
        watermark.land(1);
        assert_eq!(watermark.confirmed_lsn(), 0);
        watermark.land(0);
        assert_eq!(watermark.confirmed_lsn(), 301);
        assert!(watermark.is_idle());
    }

    #[test]
    fn an_open_transaction_is_not_confirmed() {
        let mut watermark = Watermark::default();
        watermark.add(row(100, 0));
        watermark.land(0);
        assert_eq!(watermark.confirmed_lsn(), 0);
        watermark.end_transaction(101);
        assert_eq!(watermark.confirmed_lsn(), 101);
    }

    #[test]
    fn nothing_is_confirmed_past_a_failed_row() {
        let mut watermark = Watermark::default();
        for lsn in [100, 200] {
            watermark.add(row(lsn, 0));
            watermark.end_transaction(lsn + 1);
        }
        watermark.fail(0);
        watermark.land(1);
        assert_eq!((watermark.confirmed_lsn(), watermark.outstanding_count()), (0, 0));
        assert!(!watermark.is_idle());
    }

    proptest! {
        #[test]
        fn any_order_of_landing_confirms_a_prefix(
            sizes in proptest::collection::vec(0_u32..4, 1..20),
            order in proptest::collection::vec(any::<prop::sample::Index>(), 80),
        ) {
            let mut watermark = Watermark::default();
            let mut ends = Vec::new();
            for (transaction, size) in sizes.iter().enumerate() {
                let lsn = 10 * (transaction as u64 + 1);
                for index in 0..*size {
                    watermark.add(row(lsn, index));
                }
                watermark.end_transaction(lsn);
                ends.push((watermark.next_tag(), lsn));
            }
            let mut left: Vec<usize> = (0..watermark.next_tag()).collect();
            let mut landed = vec![false; left.len()];
            for index in order {
                if left.is_empty() {
                    break;
                }
                let tag = left.swap_remove(index.index(left.len()));
                landed[tag] = true;
                watermark.land(tag);
                let prefix = landed.iter().take_while(|landed| **landed).count();
                let expected = ends.iter().rev().find(|(end, _)| *end <= prefix).map_or(0, |(_, lsn)| *lsn);
                prop_assert_eq!(watermark.confirmed_lsn(), expected);
                prop_assert_eq!(watermark.outstanding_count(), left.len());
            }
        }
    }
}
