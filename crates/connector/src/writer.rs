//! The two ways of writing to the broker: as it comes, or in transactions that carry the position with the records.

use std::collections::BTreeMap;

use posthaste_broker::{
    Admin, BulkOptions, BulkProducer, BulkRecord, Deliveries, Error as BrokerError, KafkaOptions, Record,
    TopicSpec, TransactionOptions, TransactionalProducer,
};
use posthaste_types::limits::{CONNECTOR_IN_FLIGHT_BYTES_MAX, CONNECTOR_IN_FLIGHT_RECORD_COUNT_MAX};
use posthaste_types::topics;

use crate::Error;
use crate::options::Delivery;
use crate::position::{Mark, Origin};

/// Above our own bound, which is kept by not reading.
const BULK: BulkOptions = BulkOptions {
    record_count_max: 2 * CONNECTOR_IN_FLIGHT_RECORD_COUNT_MAX,
    byte_count_max: 2 * CONNECTOR_IN_FLIGHT_BYTES_MAX,
};
/// What a start reads of the topic of positions is about one segment.
const POSITIONS_SEGMENT_BYTES: &str = "8388608";

/// Writes records in order.
pub(crate) enum Writer {
    AsItComes(BulkProducer),
    InTransactions(TransactionalProducer),
}

impl Writer {
    /// Begins after the slot of `origin` was acquired. In transactions, nothing of an earlier connector can come once this
    /// has completed.
    pub(crate) async fn start(
        delivery: Delivery,
        origin: &Origin,
        kafka: &KafkaOptions,
        admin: &Admin,
    ) -> Result<(Self, Deliveries), Error> {
        if delivery == Delivery::AtLeastOnce {
            let (producer, deliveries) = BulkProducer::start(kafka, BULK)?;
            return Ok((Self::AsItComes(producer), deliveries));
        }
        admin.ensure_topic(&positions_topic()).await?;
        let key = mark_key(origin);
        let transactions = TransactionOptions {
            id: format!("posthaste-connector:{key}"),
            marks_topic: topics::POSITIONS.to_owned(),
            marks_key: key,
        };
        let (producer, deliveries) = TransactionalProducer::start(kafka, transactions, BULK).await?;
        Ok((Self::InTransactions(producer), deliveries))
    }

    /// Takes a record on its way; `mark` names the row. `Ok(false)`: full, try again after a delivery.
    pub(crate) fn enqueue(&self, record: &BulkRecord<'_>, mark: &[u8]) -> Result<bool, BrokerError> {
        match self {
            Self::AsItComes(producer) => producer.enqueue(record),
            Self::InTransactions(producer) => producer.enqueue(record, mark),
        }
    }

    /// Gives up what has not been sent, or not been committed, yet.
    pub(crate) fn give_up_queued(&self) {
        match self {
            Self::AsItComes(producer) => producer.give_up_queued(),
            Self::InTransactions(producer) => producer.give_up_queued(),
        }
    }
}

/// How far transactions have come; `None`: there were none from this slot. A connector that does not write in
/// transactions goes by it too: an earlier one may have.
pub(crate) async fn last_mark(admin: &Admin, origin: &Origin) -> Result<Option<Mark>, Error> {
    match admin.partitions(topics::POSITIONS).await {
        Ok(_) => {}
        Err(BrokerError::UnknownTopic(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let (key, origin) = (mark_key(origin), origin.clone());
    let own = move |record: &Record| {
        let is_own = record.key.as_deref() == Some(key.as_bytes());
        is_own.then(|| origin.read_mark(record.value.as_ref()?))?
    };
    // To its beginning if need be: another slot's marks may be all that came for long.
    let found = admin
        .last_matching(topics::POSITIONS, vec![0], i64::MAX, own)
        .await?;
    Ok(found.into_values().next())
}

/// The slot, and the cluster that it is of: others may have one of the same name.
fn mark_key(origin: &Origin) -> String {
    format!("{}:{}", origin.log.server.system_id, origin.slot)
}

fn positions_topic() -> TopicSpec {
    let config = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", POSITIONS_SEGMENT_BYTES),
        ("min.cleanable.dirty.ratio", "0.1"),
    ];
    let config = config.map(|(name, value)| (name.to_owned(), value.to_owned()));
    TopicSpec {
        name: topics::POSITIONS.to_owned(),
        partitions: 1,
        config: BTreeMap::from(config),
    }
}
