//! Reads a topic as a subscriber would, committed records only, and notes when each row's record came, and how often.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use posthaste_broker::{StartAt, Tail};

use crate::rows::number_of;
use crate::world::{PARTITION_COUNT, World};

const QUEUED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// With nothing new for so long, what has not come is lost.
const SILENCE: Duration = Duration::from_secs(150);
/// After the last row, for repeats that follow it.
const AFTER: Duration = Duration::from_secs(3);

/// What was read.
pub(crate) struct Arrivals {
    /// By the row's number.
    pub(crate) first: Vec<Option<Instant>>,
    pub(crate) repeated: u64,
    /// The broker's time of the first row's record, milliseconds since 1970.
    pub(crate) first_append_ms: i64,
    /// The broker's time of the last row's record, milliseconds since 1970.
    pub(crate) last_append_ms: i64,
}

impl Arrivals {
    /// Reads from the topic's beginning until every one of `count` rows has come, and a little on.
    pub(crate) async fn read(world: &World, topic: &str, count: u64) -> anyhow::Result<Self> {
        let from = (0..PARTITION_COUNT).map(|partition| (partition, StartAt::Earliest));
        let (_tail, mut batches) = Tail::start(&world.kafka, topic, from.collect(), QUEUED_BYTES_MAX)?;
        let mut arrivals = Self {
            first: vec![None; usize::try_from(count)?],
            repeated: 0,
            first_append_ms: i64::MAX,
            last_append_ms: 0,
        };
        let mut missing = count;
        loop {
            let wait = if missing > 0 { SILENCE } else { AFTER };
            let Ok(batch) = tokio::time::timeout(wait, batches.recv()).await else {
                return Ok(arrivals);
            };
            let now = Instant::now();
            for record in batch.context("the reader goes on")?? {
                let number = record
                    .value
                    .as_deref()
                    .and_then(number_of)
                    .context("a row's number")?;
                let first = arrivals
                    .first
                    .get_mut(usize::try_from(number)?)
                    .context("a row of ours")?;
                if first.is_some() {
                    arrivals.repeated += 1;
                } else {
                    *first = Some(now);
                    missing -= 1;
                    arrivals.first_append_ms = arrivals.first_append_ms.min(record.timestamp_ms);
                    arrivals.last_append_ms = arrivals.last_append_ms.max(record.timestamp_ms);
                }
            }
        }
    }

    pub(crate) fn lost(&self) -> usize {
        self.first.iter().filter(|first| first.is_none()).count()
    }
}
