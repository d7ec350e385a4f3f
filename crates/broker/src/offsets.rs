//! Which offset of a partition may be committed while its records finish in any order. Pure: no Kafka, no clock.

use std::collections::VecDeque;

/// The records of one assigned partition from the oldest unfinished one on. A new assignment gets a new tracker.
///
/// Invariant: everything below the position that [`Self::complete`] returns is finished, so that a restart from there
/// loses nothing.
#[derive(Debug, Default)]
pub struct OffsetTracker {
    /// Offset and whether it is finished, ascending; the first is unfinished.
    window: VecDeque<(i64, bool)>,
    unfinished_count: usize,
    /// One past the last record that was taken up.
    next: i64,
}

impl OffsetTracker {
    /// One that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes up a record. `false`: it was taken up before, which a consumer that was set back can cause.
    pub fn track(&mut self, offset: i64) -> bool {
        if offset < self.next {
            return false;
        }
        self.next = offset + 1;
        self.window.push_back((offset, false));
        self.unfinished_count += 1;
        true
    }

    /// Marks a record as finished; returns the next offset to commit when the finished prefix has grown.
    pub fn complete(&mut self, offset: i64) -> Option<i64> {
        let index = self
            .window
            .binary_search_by_key(&offset, |&(offset, _)| offset)
            .ok()?;
        let finished = &mut self.window[index].1;
        if std::mem::replace(finished, true) {
            return None;
        }
        self.unfinished_count -= 1;
        let mut position = None;
        while let Some(&(offset, true)) = self.window.front() {
            position = Some(offset + 1);
            self.window.pop_front();
        }
        position
    }

    /// Records that are not finished.
    pub const fn pending(&self) -> usize {
        self.unfinished_count
    }

    /// Records that are remembered: the unfinished ones and those that finished behind one of them.
    pub fn window_len(&self) -> usize {
        self.window.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn position_waits_for_the_oldest_record() {
        let mut offsets = OffsetTracker::new();
        for offset in [10, 11, 14] {
            assert!(offsets.track(offset));
        }
        assert_eq!(offsets.complete(14), None);
        assert_eq!(offsets.complete(11), None);
        assert_eq!(offsets.window_len(), 3);
        assert_eq!(offsets.complete(10), Some(15));
        assert_eq!((offsets.window_len(), offsets.pending()), (0, 0));
    }

    #[test]
    fn a_record_that_comes_again_is_not_taken_up() {
        let mut offsets = OffsetTracker::new();
        assert!(offsets.track(5));
        assert!(!offsets.track(5));
        assert_eq!(offsets.complete(5), Some(6));
        assert_eq!(offsets.complete(5), None);
        assert!(!offsets.track(5));
        assert!(offsets.track(6));
    }

    proptest! {
        /// Offsets have gaps (transaction markers, compaction); the model is the plain definition of the prefix.
        #[test]
        fn position_is_the_end_of_the_finished_prefix(
            steps in proptest::collection::vec(1i64..4, 1..60),
            order in proptest::collection::vec(any::<prop::sample::Index>(), 60),
        ) {
            let all: Vec<i64> = steps.iter().scan(0, |at, step| { *at += step; Some(*at) }).collect();
            let mut offsets = OffsetTracker::new();
            for &offset in &all {
                prop_assert!(offsets.track(offset));
            }
            let mut left = all.clone();
            let mut stored = None;
            for index in order.iter().take(all.len()) {
                let offset = left.remove(index.index(left.len()));
                if let Some(position) = offsets.complete(offset) {
                    prop_assert!(stored < Some(position));
                    stored = Some(position);
                }
                let prefix = all.iter().take_while(|offset| !left.contains(offset)).last();
                prop_assert_eq!(stored, prefix.map(|last| last + 1));
                prop_assert_eq!(offsets.pending(), left.len());
            }
            prop_assert_eq!(offsets.window_len(), 0);
        }
    }
}
