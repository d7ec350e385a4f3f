//! Reads the results topic into the hub: one loop for the process, for as long as it runs.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::StreamExt as _;
use futures_util::stream::SelectAll;
use metrics::{Counter, Histogram};
use posthaste_broker::{Error, Record, Tail, TailItem};
use posthaste_runtime::{Backoff, Clock, Stopper, chain, metric};
use posthaste_schema::TaskEvent;
use posthaste_types::limits::HUB_QUEUED_BYTES_MAX;
use tokio_stream::wrappers::ReceiverStream;

use crate::cursor::Cursor;
use crate::decoder::Decoded;
use crate::stream::entry::Entry;
use crate::stream::hub::Hub;
use crate::stream::log::WindowBounds;
use crate::stream::topic::Topic;

/// How often to look whether the topic has got more partitions.
const GROWTH_CHECK: Duration = Duration::from_secs(30);

/// Owns the process's place in the topic.
pub(crate) struct Reader {
    hub: Arc<Hub>,
    topic: Arc<Topic>,
    clock: Arc<dyn Clock>,
    stopper: Stopper,
    bounds: WindowBounds,
    /// After everything that was handed to the hub; none before the topic has been seen.
    tip: Option<Cursor>,
    /// After the last records that the topic held when reading began.
    target: Cursor,
    is_failing: bool,
    events_read: Counter,
    deliver_seconds: Histogram,
    round_trip_seconds: Histogram,
}

/// Tails that are read: one at first, another for each time that the topic grew.
struct Tails {
    items: SelectAll<ReceiverStream<TailItem>>,
    /// Held, since dropping one stops it.
    _held: Vec<Tail>,
    partition_count: i32,
}

impl Reader {
    /// One that has read nothing.
    pub(crate) fn new(
        hub: Arc<Hub>,
        topic: Arc<Topic>,
        clock: Arc<dyn Clock>,
        bounds: WindowBounds,
        stopper: Stopper,
    ) -> Self {
        Self {
            hub,
            topic,
            clock,
            stopper,
            bounds,
            tip: None,
            target: Cursor::default(),
            is_failing: false,
            events_read: metrics::counter!(metric::EVENTS_READ),
            deliver_seconds: metrics::histogram!(metric::DELIVER_SECONDS),
            round_trip_seconds: metrics::histogram!(metric::ROUND_TRIP_SECONDS),
        }
    }

    /// Reads until stopped; waits for Kafka and the topic as long as it takes.
    pub(crate) async fn run(mut self) {
        let mut backoff = Backoff::dependency();
        while !self.stopper.is_stopped() {
            match self.open().await {
                Ok(tails) => {
                    backoff.reset();
                    self.read(tails).await;
                }
                Err(error) => self.note_failure(&error),
            }
            if !backoff.wait(&self.stopper).await {
                return;
            }
        }
    }

    /// Finds where to begin and starts reading there.
    async fn open(&mut self) -> Result<Tails, Error> {
        let partition_count = self.topic.partition_count().await?;
        let start = match &self.tip {
            Some(tip) => tip.clone(),
            None => self.begin(partition_count).await?,
        };
        let (tail, items) = self
            .topic
            .read(&start, 0..partition_count, HUB_QUEUED_BYTES_MAX)?;
        let mut tails = Tails {
            items: SelectAll::new(),
            _held: vec![tail],
            partition_count,
        };
        tails.items.push(ReceiverStream::new(items));
        Ok(tails)
    }

    /// The first time: a window's fill back from the end, so that clients that come over from another process find
    /// what they missed here.
    async fn begin(&mut self, partition_count: i32) -> Result<Cursor, Error> {
        let extent = self.topic.extent().await?;
        let window = i64::try_from(self.bounds.event_count).unwrap_or(i64::MAX);
        let share = window / i64::from(partition_count.max(1));
        let start = |partition| {
            extent
                .oldest
                .next_offset(partition)
                .max(extent.end.next_offset(partition) - share)
        };
        let start = Cursor::new((0..partition_count).map(start).collect());
        self.target = self.topic.last_records().await?;
        self.hub.begin(start.clone(), self.bounds);
        self.tip = Some(start.clone());
        self.note_progress();
        Ok(start)
    }

    async fn read(&mut self, mut tails: Tails) {
        let mut growth_check = tokio::time::interval(GROWTH_CHECK);
        growth_check.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let stopper = self.stopper.clone();
        loop {
            tokio::select! {
                biased;
                () = stopper.stopped() => return,
                item = tails.items.next() => match item {
                    Some(item) => self.take(item).await,
                    None => return,
                },
                _ = growth_check.tick() => self.grow(&mut tails).await,
            }
        }
    }

    async fn take(&mut self, item: TailItem) {
        match item {
            Ok(records) => self.take_records(records).await,
            Err(Error::OffsetOutOfRange { partition, earliest }) => {
                tracing::warn!(
                    kafka.partition = partition,
                    kafka.offset = earliest,
                    "events are gone before they were read"
                );
                self.tip.get_or_insert_default().set(partition, earliest);
                self.target.set(partition, earliest);
                self.hub.restart(partition, earliest);
                self.note_progress();
            }
            Err(error) => self.note_failure(&error),
        }
    }

    async fn take_records(&mut self, records: Vec<Record>) {
        let mut entries = Vec::with_capacity(records.len());
        // What was there before this process says nothing about how fast events come.
        let now = self.hub.is_live().then(|| self.clock.now());
        for record in records {
            // A tail that had to find its place again may bring what was read already.
            if record.offset < self.tip.get_or_insert_default().next_offset(record.partition) {
                continue;
            }
            let decoded = self.topic.decoder.event(&record, &self.stopper).await;
            if matches!(decoded, Decoded::Stopped) {
                return;
            }
            self.tip
                .get_or_insert_default()
                .advance(record.partition, record.offset + 1);
            if let Decoded::Event(event) = decoded {
                if let Some(now) = now {
                    self.observe(&event, now);
                }
                let tip = self.tip.get_or_insert_default();
                entries.push(Entry::new(record.partition, record.offset, *event, tip));
            }
        }
        self.events_read.increment(entries.len() as u64);
        self.hub.append(entries, self.tip.get_or_insert_default());
        self.note_progress();
    }

    /// The topic may have been given more partitions; what they hold is new in them from their beginning.
    async fn grow(&mut self, tails: &mut Tails) {
        let Ok(partition_count) = self.topic.partition_count().await else {
            return;
        };
        if partition_count <= tails.partition_count {
            return;
        }
        let added = tails.partition_count..partition_count;
        let tip = self.tip.get_or_insert_default();
        match self.topic.read(tip, added, HUB_QUEUED_BYTES_MAX) {
            Ok((tail, items)) => {
                tracing::info!(
                    kafka.partition_count = partition_count,
                    "the results topic has grown"
                );
                tails._held.push(tail);
                tails.items.push(ReceiverStream::new(items));
                tails.partition_count = partition_count;
            }
            Err(error) => self.note_failure(&error),
        }
    }

    fn note_progress(&mut self) {
        if std::mem::take(&mut self.is_failing) {
            tracing::info!("reading the results topic again");
        }
        if !self.hub.is_live() && self.tip.as_ref().is_some_and(|tip| tip.covers(&self.target)) {
            self.hub.set_live();
        }
    }

    fn note_failure(&mut self, error: &Error) {
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::warn!(error = %chain(error), "the results topic cannot be read; trying until it can");
        }
    }

    /// How old an event is by the time that streams can read it.
    fn observe(&self, event: &TaskEvent, now: DateTime<Utc>) {
        let seconds = |since: DateTime<Utc>| (now - since).to_std().unwrap_or_default().as_secs_f64();
        self.deliver_seconds.record(seconds(event.timestamp));
        if event.kind.is_final() {
            self.round_trip_seconds.record(seconds(event.created_at));
        }
    }
}
