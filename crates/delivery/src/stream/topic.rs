//! The results topic as streams need it: where its log begins and ends, readers of it, and what its records mean.

use futures_util::future::try_join_all;
use posthaste_broker::{Admin, Error, KafkaOptions, Record, StartAt, Tail, TailItem};
use posthaste_types::limits::RESULTS_PARTITION_COUNT_MAX;
use posthaste_types::topics;
use tokio::sync::mpsc;

use crate::cursor::Cursor;
use crate::decoder::Decoder;

/// How far before a partition's end its last record is looked for, offsets.
const LOOK_BACK_MAX: i64 = 10_000;

/// Shared by the reader of new events and those of old ones.
pub(crate) struct Topic {
    kafka: KafkaOptions,
    admin: Admin,
    /// Turns records into events.
    pub(crate) decoder: Decoder,
}

/// Where the log begins and ends: the oldest offset kept, and the next to be written, of each partition.
pub(crate) struct Extent {
    /// The oldest cursor that is kept.
    pub(crate) oldest: Cursor,
    /// The cursor at the end.
    pub(crate) end: Cursor,
}

impl Extent {
    /// Brings `position` back to what is kept: a partition that stands before the oldest record, or past the end, as
    /// after the topic was made anew, is put at the oldest. Whether one was.
    pub(crate) fn clamp(&self, position: &mut Cursor) -> bool {
        let mut is_changed = false;
        for partition in 0..i32::try_from(self.end.partition_count()).unwrap_or(i32::MAX) {
            let oldest = self.oldest.next_offset(partition);
            let kept = oldest..=self.end.next_offset(partition);
            if !kept.contains(&position.next_offset(partition)) {
                position.set(partition, oldest);
                is_changed = true;
            }
        }
        is_changed
    }
}

impl Topic {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// Options that librdkafka refuses.
    pub(crate) fn new(kafka: KafkaOptions, decoder: Decoder) -> Result<Self, Error> {
        Ok(Self {
            admin: Admin::new(&kafka)?,
            kafka,
            decoder,
        })
    }

    /// Partitions, numbered from 0.
    ///
    /// # Errors
    /// Kafka is away, or the topic does not exist or has more partitions than a cursor can name.
    pub(crate) async fn partition_count(&self) -> Result<i32, Error> {
        let count = self.admin.partitions(topics::RESULTS).await?.len();
        if count > RESULTS_PARTITION_COUNT_MAX {
            let text = format!(
                "`{}` has {count} partitions; at most {RESULTS_PARTITION_COUNT_MAX} can be served",
                topics::RESULTS
            );
            return Err(Error::Setup(text));
        }
        i32::try_from(count).map_err(|_| Error::Setup("too many partitions".to_owned()))
    }

    /// Where the log of each partition begins and ends.
    ///
    /// # Errors
    /// As [`Self::partition_count`].
    pub(crate) async fn extent(&self) -> Result<Extent, Error> {
        let partitions = 0..self.partition_count().await?;
        let watermarks =
            try_join_all(partitions.map(|partition| self.admin.watermarks(topics::RESULTS, partition)));
        let (oldest, end) = watermarks.await?.into_iter().unzip();
        Ok(Extent {
            oldest: Cursor::new(oldest),
            end: Cursor::new(end),
        })
    }

    /// The cursor after the last committed record of each partition; control records behind it do not count.
    ///
    /// # Errors
    /// As [`Self::partition_count`].
    pub(crate) async fn last_records(&self) -> Result<Cursor, Error> {
        let partitions = (0..self.partition_count().await?).collect();
        let next_offset = |record: &Record| Some(record.offset + 1);
        let found = self
            .admin
            .last_matching(topics::RESULTS, partitions, LOOK_BACK_MAX, next_offset)
            .await?;
        let mut cursor = Cursor::default();
        for (partition, next_offset) in found {
            cursor.advance(partition, next_offset);
        }
        Ok(cursor)
    }

    /// Reads `partitions` from `position` on.
    ///
    /// # Errors
    /// Options that librdkafka refuses.
    pub(crate) fn read(
        &self,
        position: &Cursor,
        partitions: std::ops::Range<i32>,
        queued_bytes_max: usize,
    ) -> Result<(Tail, mpsc::Receiver<TailItem>), Error> {
        let from = partitions
            .map(|number| (number, StartAt::Offset(position.next_offset(number))))
            .collect();
        Tail::start(&self.kafka, topics::RESULTS, from, queued_bytes_max)
    }

    /// Whether Kafka answers.
    ///
    /// # Errors
    /// It does not.
    pub(crate) async fn ping(&self) -> Result<(), Error> {
        self.admin.ping().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_or_never_was_is_put_at_the_oldest_and_the_rest_stays() {
        let extent = Extent {
            oldest: Cursor::new(vec![10, 0, 5]),
            end: Cursor::new(vec![20, 0, 9]),
        };
        for (position, expected, is_changed) in [
            (vec![10, 0, 9], vec![10, 0, 9], false),
            (vec![20, 0, 7], vec![20, 0, 7], false),
            (vec![9, 0, 7], vec![10, 0, 7], true),
            (vec![21, 1, 7], vec![10, 0, 7], true),
            // From before the topic had a third partition, whose beginning is gone.
            (vec![12], vec![12, 0, 5], true),
        ] {
            let mut clamped = Cursor::new(position);
            assert_eq!(extent.clamp(&mut clamped), is_changed);
            assert_eq!(clamped, Cursor::new(expected));
        }
    }
}
