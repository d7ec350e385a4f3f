//! A producer whose records become visible in transactions, each with a mark of how far its writer has come: the
//! connector's, where nothing may come twice.
//!
//! A batch is what came while the last transaction was committed; there is no linger. One thread owns the client: another
//! one that served deliveries would cost each commit a tenth of a second.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{DeliveryResult, OwnedHeaders};
use rdkafka::producer::base_producer::BaseRecord;
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext, PurgeConfig};
use tokio::sync::oneshot;

use crate::bulk::{Landing, owned};
use crate::producer::PRODUCER_BYTES_MAX;
use crate::{BulkOptions, BulkRecord, Deliveries, Delivery, Error, KafkaOptions, context, thread};

/// How long one call to the transactions' coordinator may take before it is looked whether to go on.
const CALL_WAIT: Duration = Duration::from_secs(5);
/// How long a transaction takes records in.
const OPEN_FOR: Duration = Duration::from_millis(10);
/// Records that wait for the next transaction, and about those of one.
const RECORD_COUNT_MAX: usize = 4096;
/// After so long the broker ends a transaction whose writer is silent, and until then holds back those who read committed
/// records only; the next producer of the id ends it at once. A broker that stands still for less costs no transaction.
const TRANSACTION_MS_MAX: &str = "120000";
/// Between two looks for deliveries, which come within a millisecond as a rule. A poll of the client library with a time
/// runs for the whole of it, the last millisecond without sleeping.
const NAP: Duration = Duration::from_micros(200);

/// Who writes in transactions, and where the marks go.
#[derive(Debug, Clone)]
pub struct TransactionOptions {
    /// Starting a producer ends every other one of this id: what that one has open is given up, and all that it tries
    /// later is refused.
    pub id: String,
    /// The topic of marks, compacted, of one partition.
    pub marks_topic: String,
    /// The key of this writer's mark.
    pub marks_key: String,
}

/// The sending end. Dropping it gives up what is not committed.
pub struct TransactionalProducer(Arc<Queue>);

/// What waits for the thread.
#[derive(Default)]
struct Queue {
    pending: Mutex<Pending>,
    changed: Condvar,
}

#[derive(Default)]
struct Pending {
    records: Vec<Queued>,
    byte_count: usize,
    byte_count_max: usize,
    /// The mark of the last record.
    mark: Vec<u8>,
    /// No further record is wanted.
    is_given_up: bool,
    /// Why no further record is taken.
    failure: Option<String>,
}

struct Queued {
    topic: Arc<str>,
    partition: i32,
    key_len: usize,
    /// The key, then the value.
    bytes: Vec<u8>,
    headers: OwnedHeaders,
    tag: usize,
}

/// What failed since the last transaction.
#[derive(Default)]
struct Context(Mutex<Vec<(usize, KafkaError)>>);

/// The tag of marks.
const MARK_TAG: usize = usize::MAX;

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        context::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        context::report(&error, reason);
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, tag: usize) {
        if let Err((error, _)) = result {
            self.0.lock().push((tag, error.clone()));
        }
    }
}

impl TransactionalProducer {
    /// Makes the producer and ends all others of its id; completes when nothing of theirs can come any more. Waits for
    /// Kafka until dropped.
    ///
    /// # Errors
    /// Options that librdkafka refuses; the broker refuses transactions of this id.
    pub async fn start(
        kafka: &KafkaOptions,
        transactions: TransactionOptions,
        options: BulkOptions,
    ) -> Result<(Self, Deliveries), Error> {
        let config = kafka.client_config(&[
            ("enable.idempotence", "true"),
            ("acks", "all"),
            ("linger.ms", "0"),
            ("transactional.id", &transactions.id),
            ("transaction.timeout.ms", TRANSACTION_MS_MAX),
            ("message.timeout.ms", TRANSACTION_MS_MAX),
            ("message.max.bytes", &PRODUCER_BYTES_MAX.to_string()),
            (
                "queue.buffering.max.messages",
                &(4 * RECORD_COUNT_MAX).to_string(),
            ),
            (
                "queue.buffering.max.kbytes",
                &(options.byte_count_max / 512 + 1).to_string(),
            ),
        ]);
        let producer = config
            .create_with_context(Context::default())
            .map_err(Error::kafka("start a producer"))?;
        let queue = Arc::new(Queue::default());
        queue.pending.lock().byte_count_max = options.byte_count_max;
        let landing = Arc::new(Landing::default());
        let writer = Writer {
            producer,
            queue: Arc::clone(&queue),
            landing: Arc::clone(&landing),
            transactions,
        };
        let (ready, started) = oneshot::channel();
        let this = Self(queue);
        thread::spawn("kafka-transactions", move || writer.run(ready))?;
        started
            .await
            .map_err(|_| Error::Fatal("its thread ended".to_owned()))??;
        Ok((this, Deliveries(landing)))
    }

    /// Hands a record over; its delivery follows when its transaction is committed. `mark` is kept, with those of the
    /// same transaction, as how far the writer has come: the last one's stays. `Ok(false)`: the producer is full, try
    /// again after a delivery.
    ///
    /// # Errors
    /// [`crate::ErrorKind::BadRecord`]: the record is too large and nothing was taken. Else the producer has failed for
    /// good.
    pub fn enqueue(&self, record: &BulkRecord<'_>, mark: &[u8]) -> Result<bool, Error> {
        let header_bytes: usize = record
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        let len = record.key.len() + record.value.len();
        if len + header_bytes > PRODUCER_BYTES_MAX {
            let error = KafkaError::MessageProduction(Code::MessageSizeTooLarge);
            return Err(Error::kafka("take a record")(error));
        }
        let headers = owned(record.headers);
        let mut bytes = Vec::with_capacity(len);
        bytes.extend_from_slice(record.key);
        bytes.extend_from_slice(record.value);
        let mut pending = self.0.pending.lock();
        if let Some(failure) = &pending.failure {
            return Err(Error::Fatal(failure.clone()));
        }
        if pending.byte_count > pending.byte_count_max || pending.records.len() >= RECORD_COUNT_MAX {
            return Ok(false);
        }
        let topic = match pending.records.last() {
            Some(last) if *last.topic == *record.topic => Arc::clone(&last.topic),
            _ => record.topic.into(),
        };
        pending.byte_count += len + header_bytes;
        pending.mark.clear();
        pending.mark.extend_from_slice(mark);
        pending.records.push(Queued {
            topic,
            partition: record.partition,
            key_len: record.key.len(),
            bytes,
            headers,
            tag: record.tag,
        });
        let was_empty = pending.records.len() == 1;
        drop(pending);
        if was_empty {
            self.0.changed.notify_one();
        }
        Ok(true)
    }

    /// Gives up what is not committed, from now on; their deliveries fail. A commit that is on its way ends as it will.
    pub fn give_up_queued(&self) {
        self.0.pending.lock().is_given_up = true;
        self.0.changed.notify_one();
    }
}

impl Drop for TransactionalProducer {
    fn drop(&mut self) {
        self.give_up_queued();
    }
}

/// What the thread owns.
struct Writer {
    producer: BaseProducer<Context>,
    queue: Arc<Queue>,
    landing: Arc<Landing>,
    transactions: TransactionOptions,
}

impl Writer {
    fn run(self, ready: oneshot::Sender<Result<(), Error>>) {
        let fenced = self.retried(|| self.producer.init_transactions(CALL_WAIT));
        let is_ready = fenced.is_ok();
        let is_wanted = ready
            .send(fenced.map_err(Error::kafka("begin transactions")))
            .is_ok();
        if !is_ready || !is_wanted {
            return;
        }
        let mut tags = Vec::new();
        loop {
            match self.transaction(&mut tags) {
                Ok(true) => {
                    let landed = tags.drain(..).map(|tag| Delivery { tag, error: None });
                    self.landing.put(landed);
                }
                Ok(false) => return self.fail(tags, &KafkaError::Canceled),
                Err(error) => return self.fail(tags, &error),
            }
        }
    }

    /// Waits for records and brings them in one transaction; `tags` become theirs. `Ok(false)`: no more is wanted.
    fn transaction(&self, tags: &mut Vec<usize>) -> Result<bool, KafkaError> {
        let mut records = Vec::new();
        let mut mark = Vec::new();
        if !self.take(&mut records, &mut mark, true) {
            return Ok(false);
        }
        tags.extend(records.iter().map(|record| record.tag));
        self.producer.begin_transaction()?;
        let began = Instant::now();
        loop {
            for record in records.drain(..) {
                self.send(record)?;
            }
            let is_open = tags.len() < RECORD_COUNT_MAX && began.elapsed() < OPEN_FOR;
            if !is_open || !self.take(&mut records, &mut mark, false) {
                break;
            }
            tags.extend(records.iter().map(|record| record.tag));
        }
        self.send_mark(&mark)?;
        // The client library would wait in steps of a tenth of a second for deliveries that are still to come.
        if !self.drain(|| !self.is_given_up()) {
            return Err(KafkaError::Canceled);
        }
        if let Some((_, error)) = self.producer.context().0.lock().first() {
            return Err(error.clone());
        }
        self.retried(|| self.producer.commit_transaction(CALL_WAIT))?;
        Ok(true)
    }

    /// Moves what waits into `records`; `false`: there is nothing, and where `wait`, there will be nothing.
    fn take(&self, records: &mut Vec<Queued>, mark: &mut Vec<u8>, wait: bool) -> bool {
        let mut pending = self.queue.pending.lock();
        while wait && pending.records.is_empty() && !pending.is_given_up {
            self.queue.changed.wait(&mut pending);
        }
        if pending.records.is_empty() || pending.is_given_up {
            return false;
        }
        std::mem::swap(records, &mut pending.records);
        std::mem::swap(mark, &mut pending.mark);
        pending.byte_count = 0;
        true
    }

    fn send(&self, record: Queued) -> Result<(), KafkaError> {
        let (key, value) = record.bytes.split_at(record.key_len);
        let mut message = BaseRecord::<[u8], [u8], usize>::with_opaque_to(&record.topic, record.tag)
            .partition(record.partition)
            .key(key)
            .payload(value)
            .headers(record.headers);
        loop {
            match self.producer.send(message) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(Code::QueueFull), back)) if !self.is_given_up() => {
                    self.producer.poll(Duration::ZERO);
                    std::thread::sleep(NAP);
                    message = back;
                }
                Err((error, _)) => {
                    self.producer.context().0.lock().push((record.tag, error.clone()));
                    return Err(error);
                }
            }
        }
    }

    fn send_mark(&self, mark: &[u8]) -> Result<(), KafkaError> {
        let TransactionOptions {
            marks_topic,
            marks_key,
            ..
        } = &self.transactions;
        let message = BaseRecord::<[u8], [u8], usize>::with_opaque_to(marks_topic, MARK_TAG)
            .partition(0)
            .key(marks_key.as_bytes())
            .payload(mark);
        self.producer.send(message).map_err(|(error, _)| error)
    }

    /// Waits until the fate of all records is known; `false`: it was no longer wanted.
    fn drain(&self, is_wanted: impl Fn() -> bool) -> bool {
        let mut left = self.producer.in_flight_count();
        while left > 0 {
            if !is_wanted() {
                return false;
            }
            self.producer.poll(Duration::ZERO);
            let now = self.producer.in_flight_count();
            if now == left {
                std::thread::sleep(NAP);
            }
            left = now;
        }
        true
    }

    fn is_given_up(&self) -> bool {
        self.queue.pending.lock().is_given_up
    }

    /// Calls again what only took too long. A commit that was called must be called until it is known how it ended.
    fn retried(&self, call: impl Fn() -> Result<(), KafkaError>) -> Result<(), KafkaError> {
        loop {
            match call() {
                Err(KafkaError::Transaction(error)) if error.is_retriable() && !self.is_given_up() => {}
                outcome => return outcome,
            }
        }
    }

    /// Gives the transaction up, with all that waits for a later one, and tells.
    fn fail(self, mut tags: Vec<usize>, cause: &KafkaError) {
        let why = cause.to_string();
        {
            let mut pending = self.queue.pending.lock();
            pending.failure = Some(why.clone());
            tags.extend(pending.records.drain(..).map(|record| record.tag));
        }
        let mut refused: HashMap<usize, KafkaError> = self.producer.context().0.lock().drain(..).collect();
        let failed = |tag| {
            let own = refused.remove(&tag);
            let error = own.map_or_else(|| Error::Fatal(why.clone()), Error::kafka("take a record"));
            let error = Some(Box::new(error));
            Delivery { tag, error }
        };
        self.landing.put(tags.into_iter().map(failed));
        self.producer.purge(PurgeConfig::default().queue().inflight());
        self.drain(|| true);
        // The next producer of this id does so too; this lets readers go on at once.
        if let Err(error) = self.producer.abort_transaction(CALL_WAIT) {
            tracing::debug!(%error, "a transaction was not given up in order");
        }
    }
}
