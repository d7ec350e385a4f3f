//! Reads the ends of partitions backwards: the last record of each that something can be made of.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::context::Quiet;
use crate::record::Importer;
use crate::{Error, KafkaOptions, Record};

const READ_WAIT: Duration = Duration::from_secs(30);
/// The first look back, in offsets: one for the record, the rest for control records of transactions.
const FIRST_LOOK_BACK: i64 = 4;
/// Each further look back is so many times longer.
const LOOK_BACK_FACTOR: i64 = 16;

/// Where a partition's kept records begin, and the offset after the last one.
pub(crate) type Log = (i64, i64);

/// For each of `logs`, what `pick` makes of its last record that it makes anything of, among the last
/// `look_back_max` offsets. Blocks.
pub(crate) fn last_matching<T>(
    kafka: &KafkaOptions,
    topic: &str,
    mut logs: BTreeMap<i32, Log>,
    look_back_max: i64,
    pick: impl Fn(&Record) -> Option<T>,
) -> Result<BTreeMap<i32, T>, Error> {
    let consumer = kafka.client_config(&[
        // librdkafka cannot assign without a group's name; nothing is ever committed.
        ("group.id", "posthaste-last"),
        ("enable.auto.commit", "false"),
        ("auto.offset.reset", "earliest"),
        ("isolation.level", "read_committed"),
        ("enable.partition.eof", "true"),
        // The end of a partition is told with the first empty answer, which should not wait for records.
        ("fetch.wait.max.ms", "10"),
    ]);
    let consumer: BaseConsumer<Quiet> = consumer
        .create_with_context(Quiet)
        .map_err(Error::kafka("start a reader of partitions' ends"))?;
    let mut found = BTreeMap::new();
    let mut look_back = FIRST_LOOK_BACK.min(look_back_max);
    while !logs.is_empty() {
        read_ends(&consumer, topic, &logs, look_back, &pick, &mut found)?;
        if look_back >= look_back_max {
            break;
        }
        logs.retain(|partition, (low, high)| !found.contains_key(partition) && *high - look_back > *low);
        look_back = look_back.saturating_mul(LOOK_BACK_FACTOR).min(look_back_max);
    }
    Ok(found)
}

/// Reads the last `look_back` offsets of each log up to its end.
fn read_ends<T>(
    consumer: &BaseConsumer<Quiet>,
    topic: &str,
    logs: &BTreeMap<i32, Log>,
    look_back: i64,
    pick: &impl Fn(&Record) -> Option<T>,
    found: &mut BTreeMap<i32, T>,
) -> Result<(), Error> {
    let mut list = TopicPartitionList::with_capacity(logs.len());
    for (&partition, &(low, high)) in logs {
        list.add_partition_offset(topic, partition, Offset::Offset((high - look_back).max(low)))
            .map_err(Error::kafka("name a partition"))?;
    }
    consumer
        .assign(&list)
        .map_err(Error::kafka("assign partitions"))?;
    let mut importer = Importer::default();
    let deadline = Instant::now() + READ_WAIT;
    let mut ended = std::collections::BTreeSet::new();
    while ended.len() < logs.len() {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let record = importer.record(&message);
                if let Some(picked) = pick(&record) {
                    found.insert(record.partition, picked);
                }
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                ended.insert(partition);
            }
            Some(Err(error)) => {
                tracing::debug!(kafka.topic = topic, %error, "reading partitions' ends goes on")
            }
            None => {}
        }
        if Instant::now() >= deadline {
            return Err(Error::TimedOut("give partitions' last records"));
        }
    }
    Ok(())
}
