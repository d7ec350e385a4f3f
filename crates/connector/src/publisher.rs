//! Brings rows to the broker: in order, once, and past those that cannot be brought.

use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Histogram, counter, histogram};
use posthaste_broker::{
    Admin, BulkRecord, Deliveries, Delivery as Landed, Error as BrokerError, ErrorKind as BrokerErrorKind,
    KafkaOptions, Registry,
};
use posthaste_runtime::{Clock, Stopper, metric};
use posthaste_types::limits::{
    CONNECTOR_IN_FLIGHT_BYTES_MAX, CONNECTOR_IN_FLIGHT_RECORD_COUNT_MAX, RECORD_BYTES_MAX,
};
use posthaste_types::topics;
use tokio::time::Instant;

use crate::encoding::Encodings;
use crate::memory::Memory;
use crate::options::Delivery;
use crate::outbox::Row;
use crate::position::Origin;
use crate::refusals::{Refusal, Refusals};
use crate::topic::{Place, Topics};
use crate::watermark::{InFlight, Watermark};
use crate::writer::{Writer, last_mark};
use crate::{Error, Position};

/// After the slot was acquired, what its previous owner had on the way to the broker lands within this, mostly; only then
/// do the partitions' ends tell what is published.
const SETTLE: Duration = Duration::from_millis(100);
/// What is left of a value whose dead letter was refused whole, bytes.
const CUT_VALUE_BYTES: usize = 16 * 1024;
/// Bytes of a record beside key and value, about.
const FRAMING_BYTES: usize = 256;

/// Where rows go, and how.
pub(crate) struct Target {
    pub(crate) delivery: Delivery,
    pub(crate) kafka: KafkaOptions,
    pub(crate) admin: Admin,
    pub(crate) registry: Option<Registry>,
}

/// The writing half of a session.
pub(crate) struct Publisher {
    origin: Origin,
    writer: Writer,
    deliveries: Deliveries,
    admin: Admin,
    topics: Topics,
    watermark: Watermark,
    /// What was confirmed before rows were passed over that are not proved to be published.
    held_lsn: Option<u64>,
    refusals: Refusals,
    /// Asked for the schemas of JSON outboxes; `None`: their values stay JSON.
    registry: Option<Registry>,
    encodings: Encodings,
    stopper: Stopper,
    clock: Arc<dyn Clock>,
    began: Instant,
    meters: Meters,
    landed: Vec<Landed>,
    id_text: Vec<u8>,
    position_text: Vec<u8>,
}

/// Metrics, looked up once.
struct Meters {
    published: Counter,
    skipped: Counter,
    dead: Counter,
    publish_seconds: Histogram,
}

impl Publisher {
    /// Begins after the slot of `origin` was acquired.
    pub(crate) async fn start(
        origin: Origin,
        target: Target,
        clock: Arc<dyn Clock>,
        memory: &mut Memory,
        stopper: Stopper,
    ) -> Result<Self, Error> {
        let Target {
            delivery,
            kafka,
            admin,
            registry,
        } = target;
        let (writer, deliveries) = Writer::start(delivery, &origin, &kafka, &admin).await?;
        let mark = last_mark(&admin, &origin).await?;
        let Memory {
            refusals,
            disproved,
            encodings,
        } = std::mem::take(memory);
        Ok(Self {
            origin: origin.clone(),
            writer,
            deliveries,
            admin,
            topics: Topics::new(origin, disproved, mark),
            watermark: Watermark::default(),
            held_lsn: None,
            refusals,
            registry,
            encodings,
            stopper,
            clock,
            began: Instant::now(),
            meters: Meters {
                published: counter!(metric::PUBLISHED),
                skipped: counter!(metric::SKIPPED),
                dead: counter!(metric::CONNECTOR_DEAD),
                publish_seconds: histogram!(metric::PUBLISH_SECONDS),
            },
            landed: Vec::new(),
            id_text: Vec::new(),
            position_text: Vec::new(),
        })
    }

    /// What was found out, for the next session.
    pub(crate) fn into_memory(self) -> Memory {
        Memory {
            refusals: self.refusals,
            disproved: self.topics.into_disproved(),
            encodings: self.encodings,
        }
    }

    /// Whether more may be read.
    pub(crate) fn has_room(&self) -> bool {
        let (record_count, byte_count) = self.watermark.held();
        record_count < CONNECTOR_IN_FLIGHT_RECORD_COUNT_MAX && byte_count < CONNECTOR_IN_FLIGHT_BYTES_MAX
    }

    /// Whether everything that was read is confirmed.
    pub(crate) fn is_idle(&self) -> bool {
        self.watermark.is_idle() && !self.topics.is_owing()
    }

    /// Up to where the slot may be acknowledged.
    pub(crate) fn confirmed_lsn(&self) -> u64 {
        self.held_lsn.unwrap_or_else(|| self.watermark.confirmed_lsn())
    }

    /// All rows of the transaction, and of all before it, were published or passed over.
    pub(crate) fn end_transaction(&mut self, end_lsn: u64) -> Result<(), Error> {
        self.watermark.end_transaction(end_lsn);
        self.pass(end_lsn)
    }

    /// All that was committed before `lsn` has come.
    pub(crate) fn pass(&mut self, lsn: u64) -> Result<(), Error> {
        if self.held_lsn.is_some() {
            self.topics.pass(lsn)?;
            if !self.topics.is_owing() {
                self.held_lsn = None;
            }
        }
        Ok(())
    }

    /// Takes a row on its way. Ends the session with an error where the broker fails; a row that cannot be published
    /// goes to the dead letters.
    pub(crate) async fn publish(&mut self, row: &Row, position: Position) -> Result<(), Error> {
        row.write_id(&mut self.id_text);
        if let Some(refusal) = self.refusals.refusal(position).cloned() {
            return self.bury(row, position, &refusal).await;
        }
        let Ok(topic) = std::str::from_utf8(&row.topic) else {
            return self
                .bury_for(row, position, "its topic's name is not UTF-8")
                .await;
        };
        if row.is_misled {
            let reason = "its outbox may not write to this topic";
            return self.bury_for(row, position, reason).await;
        }
        match self.place(topic, &row.key, position).await? {
            Place::Partition(_)
                if self
                    .topics
                    .bytes_max(topic)
                    .is_some_and(|max| row.byte_count() > max) =>
            {
                self.bury_for(row, position, "it is larger than the topic takes")
                    .await
            }
            Place::Published => {
                self.meters.skipped.increment(1);
                Ok(())
            }
            Place::NoTopic => self.bury_for(row, position, "its topic does not exist").await,
            Place::Partition(partition) => {
                let is_suspect = self.refusals.is_suspect(position);
                if is_suspect {
                    self.settle_or_stop().await?;
                }
                let value = match &self.registry {
                    Some(registry) if row.is_json => {
                        self.encodings.value(registry, topic, &row.payload).await?
                    }
                    _ => Ok(row.payload.clone()),
                };
                let value = match value {
                    Ok(value) => value,
                    Err(misfit) => return self.bury_for(row, position, &misfit).await,
                };
                match self.send(row, position, topic, partition, &value, None).await {
                    Err(Error::Broker(error)) if error.kind() == BrokerErrorKind::BadRecord => {
                        self.bury_for(row, position, &error_text(&error)).await
                    }
                    Ok(()) if is_suspect => self.settle_or_stop().await,
                    other => other,
                }
            }
        }
    }

    /// Waits for deliveries; [`Self::land`] then takes them in. Safe to cancel.
    pub(crate) async fn delivered(&mut self) {
        self.deliveries.receive(&mut self.landed).await;
    }

    /// Takes in what was delivered.
    pub(crate) fn land(&mut self) -> Result<(), Error> {
        let now_us = self.clock.now().timestamp_micros();
        let (mut failed, mut published) = (None, 0);
        for Landed { tag, error } in self.landed.drain(..) {
            let Some(error) = error else {
                let row = self.watermark.land(tag);
                self.refusals.settle(row.position);
                published += 1;
                if let Some(created_at_us) = row.created_at_us {
                    #[expect(
                        clippy::cast_precision_loss,
                        reason = "a wait in microseconds is far below 2^52"
                    )]
                    self.meters
                        .publish_seconds
                        .record((now_us - created_at_us).max(0) as f64 / 1e6);
                }
                continue;
            };
            let row = self.watermark.fail(tag);
            if error.kind() == BrokerErrorKind::BadRecord {
                self.refusals.note(row.position, &error_text(&error));
            }
            failed.get_or_insert(error);
        }
        self.meters.published.increment(published);
        failed.map_or(Ok(()), |error| Err(Error::Broker(*error)))
    }

    /// Waits, at most `wait`, until the fate of all that is on its way is known. For the end of a session: where
    /// `is_lost`, another connector may have the slot already, so what was not sent yet is given up.
    pub(crate) async fn finish(&mut self, is_lost: bool, wait: Duration) {
        if is_lost {
            self.writer.give_up_queued();
        }
        let settle = async {
            while self.watermark.outstanding_count() > 0 {
                self.delivered().await;
                // The session is at its end; what failed is read again by the next one.
                let _ = self.land();
            }
        };
        if tokio::time::timeout(wait, settle).await.is_err() {
            tracing::warn!("the broker did not answer for all records before the session's end");
        }
    }

    /// Where the row belongs, after a look at its topic if it is the first one for it.
    async fn place(&mut self, topic: &str, key: &[u8], position: Position) -> Result<Place, Error> {
        loop {
            if let Some(place) = self.topics.place(topic, key, position, &self.id_text)? {
                if self.held_lsn.is_none() && self.topics.is_owing() {
                    self.held_lsn = Some(self.watermark.confirmed_lsn());
                }
                return Ok(place);
            }
            // While nothing is on its way, the partitions' ends are what was published.
            self.settle_or_stop().await?;
            let stopper = self.stopper.clone();
            let look = async {
                tokio::time::sleep_until(self.began + SETTLE).await;
                self.topics.look_at(&self.admin, topic).await
            };
            stopper.unless_stopped(look).await.ok_or(Error::Stopping)??;
        }
    }

    /// Waits until nothing is on its way.
    async fn settle_or_stop(&mut self) -> Result<(), Error> {
        let stopper = self.stopper.clone();
        while self.watermark.outstanding_count() > 0 {
            stopper
                .unless_stopped(self.delivered())
                .await
                .ok_or(Error::Stopping)?;
            self.land()?;
        }
        Ok(())
    }

    async fn send(
        &mut self,
        row: &Row,
        position: Position,
        topic: &str,
        partition: i32,
        value: &[u8],
        dead_reason: Option<&str>,
    ) -> Result<(), Error> {
        self.position_text.clear();
        self.origin.write_position(position, &mut self.position_text);
        let position_len = self.position_text.len();
        self.position_text.push(b' ');
        self.position_text.extend_from_slice(&self.id_text);
        loop {
            let (position_text, mark) = (&self.position_text[..position_len], &self.position_text[..]);
            let mut headers: Vec<(&str, &[u8])> = Vec::with_capacity(6 + row.headers.len());
            headers.push((topics::HEADER_EVENT_ID, &self.id_text));
            headers.push((topics::HEADER_EVENT_TYPE, &row.kind));
            headers.push((topics::HEADER_POSITION, position_text));
            let optional = [
                (topics::HEADER_TENANT, row.tenant.as_deref()),
                (topics::HEADER_TRACEPARENT, row.traceparent.as_deref()),
                (topics::HEADER_DEAD_REASON, dead_reason.map(str::as_bytes)),
            ];
            headers.extend(
                optional
                    .iter()
                    .filter_map(|(name, value)| Some((*name, (*value)?))),
            );
            headers.extend(row.headers.iter().map(|(name, value)| (&**name, &value[..])));
            let record = BulkRecord {
                topic,
                partition,
                key: &row.key,
                value,
                headers: &headers,
                tag: self.watermark.next_tag(),
            };
            if self.writer.enqueue(&record, mark)? {
                break;
            }
            let stopper = self.stopper.clone();
            stopper
                .unless_stopped(self.delivered())
                .await
                .ok_or(Error::Stopping)?;
            self.land()?;
        }
        let byte_count = row.key.len() + value.len() + FRAMING_BYTES;
        self.watermark.add(InFlight {
            position,
            byte_count,
            created_at_us: row.created_at_us,
        });
        Ok(())
    }

    async fn bury_for(&mut self, row: &Row, position: Position, reason: &str) -> Result<(), Error> {
        self.bury(
            row,
            position,
            &Refusal {
                reason: reason.to_owned(),
                is_cut: false,
            },
        )
        .await
    }

    /// Sends the row to the dead letters and waits for it. A later row of its partition must not land before: after a
    /// crash that one would make this one look published.
    async fn bury(&mut self, row: &Row, position: Position, refusal: &Refusal) -> Result<(), Error> {
        let topic = String::from_utf8_lossy(&row.topic);
        let partition = match self.place(topics::DEAD_LETTERS, &row.key, position).await? {
            Place::Partition(partition) => partition,
            Place::Published => {
                self.meters.skipped.increment(1);
                return Ok(());
            }
            Place::NoTopic => return Err(BrokerError::UnknownTopic(topics::DEAD_LETTERS.to_owned()).into()),
        };
        let reason = format!("not published to `{topic}`: {}", refusal.reason);
        tracing::warn!(kafka.topic = %topic, wal.position = ?position, "an outbox row goes to the dead letters: {reason}");
        let whole = RECORD_BYTES_MAX.min(self.topics.bytes_max(topics::DEAD_LETTERS).unwrap_or(usize::MAX));
        let bound = if refusal.is_cut || row.payload.len() > whole {
            CUT_VALUE_BYTES
        } else {
            whole
        };
        let value = &row.payload[..row.payload.len().min(bound)];
        self.send(
            row,
            position,
            topics::DEAD_LETTERS,
            partition,
            value,
            Some(&reason),
        )
        .await?;
        self.settle_or_stop().await?;
        self.meters.dead.increment(1);
        Ok(())
    }
}

/// What the broker said, with its cause.
fn error_text(error: &BrokerError) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}
