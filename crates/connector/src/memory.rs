//! What one session found out and the next one needs.

use crate::encoding::Encodings;
use crate::refusals::Refusals;
use crate::topic::Disproved;

/// Kept from one session to the next; a new process finds it out again.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) refusals: Refusals,
    pub(crate) disproved: Disproved,
    pub(crate) encodings: Encodings,
}
