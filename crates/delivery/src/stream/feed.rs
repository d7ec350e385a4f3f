//! The events of one stream from a cursor on, out of the hub's window or, before it, out of Kafka.
//!
//! All that counts is the position: whatever breaks or is too slow, the feed looks again from there.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use posthaste_broker::Error;
use posthaste_runtime::Backoff;
use posthaste_types::limits::STREAM_CHUNK_BYTES_MAX;
use serde::Serialize;

use crate::cursor::Cursor;
use crate::decoder::Decoded;
use crate::stream::catch_up::{CatchUp, Found};
use crate::stream::chunk::Chunk;
use crate::stream::context::Context;
use crate::stream::entry::envelope;
use crate::stream::filter::Filter;
use crate::stream::frame::{Frame, push_id};
use crate::stream::hub::{BehindWindow, Delivery, Subscription};
use crate::stream::places::Place;

/// Where a stream begins.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Start {
    /// With the next event.
    Latest,
    /// With the oldest event that is kept.
    Earliest,
    /// After a cursor.
    After(Cursor),
}

/// One stream's source of events.
pub(crate) struct Feed {
    context: Arc<Context>,
    filter: Arc<Filter>,
    /// Everything before it has been put into `chunk`, or was not wanted.
    position: Cursor,
    /// Whether being behind what is kept is what the client asked for, and no news to it.
    from_oldest: bool,
    source: Source,
    chunk: Chunk,
}

enum Source {
    /// To be found.
    Unknown,
    /// Waits in line for a reader of old events.
    InLine(Pin<Box<dyn Future<Output = Place> + Send>>),
    /// Reads old events.
    CatchUp(CatchUp),
    /// Reads new events.
    Live(Subscription),
}

/// Data of a `reset` event.
#[derive(Serialize)]
struct Reset {
    /// The oldest cursor that is kept.
    oldest: String,
}

impl Feed {
    /// One that has sent nothing. The hub must be live.
    pub(crate) fn new(context: Arc<Context>, filter: Filter, start: Start) -> Self {
        let from_oldest = start == Start::Earliest;
        let position = match start {
            Start::Latest => context.hub.tip(),
            Start::Earliest => Cursor::default(),
            Start::After(cursor) => cursor,
        };
        let (filter, source) = (Arc::new(filter), Source::Unknown);
        Self {
            context,
            filter,
            position,
            from_oldest,
            source,
            chunk: Chunk::default(),
        }
    }

    /// The cursor to come back with, once everything taken has been received; none before the oldest is known.
    pub(crate) fn position(&self) -> Option<&Cursor> {
        match &self.source {
            Source::Live(subscription) => Some(subscription.position()),
            _ => (!self.from_oldest).then_some(&self.position),
        }
    }

    /// Completes when [`Self::take`] has something; safe to give up and call again.
    pub(crate) async fn fill(&mut self) {
        while self.chunk.is_empty() {
            match &mut self.source {
                Source::Unknown => self.find_source().await,
                Source::InLine(place) => {
                    let place = place.as_mut().await;
                    self.start_catching_up(place).await;
                }
                Source::CatchUp(_) => self.read_old().await,
                Source::Live(subscription) => {
                    subscription.woken().await;
                    self.read_new();
                }
            }
        }
    }

    /// Says whether the client has been given something and has not come back for more: it must not hold a reader of
    /// old events by that for long.
    pub(crate) fn set_client_turn(&self, is_client: bool) {
        if let Source::CatchUp(reader) = &self.source {
            reader.set_client_turn(is_client);
        }
    }

    /// Takes what was gathered; the number of events in it is the second value.
    pub(crate) fn take(&mut self) -> Option<(Bytes, u64)> {
        (!self.chunk.is_empty()).then(|| self.chunk.take())
    }

    /// Whether the window can serve the position now; then it does.
    fn go_live(&mut self) -> bool {
        match self
            .context
            .hub
            .subscribe(self.position.clone(), Arc::clone(&self.filter))
        {
            Ok(subscription) => {
                self.source = Source::Live(subscription);
                true
            }
            Err(BehindWindow) => false,
        }
    }

    async fn find_source(&mut self) {
        // Another process may be ahead of this one by a moment; a cursor from nowhere is ahead of Kafka itself.
        if !self.context.hub.tip().covers(&self.position)
            && let Err(error) = self.repair().await
        {
            return self.pause(&error).await;
        }
        if !self.go_live() {
            self.source = Source::InLine(Box::pin(self.context.places.take(&self.filter.tenant)));
        }
    }

    async fn start_catching_up(&mut self, place: Place) {
        self.source = Source::Unknown;
        // The window may have been filled from further back, or the topic cut, while this stream stood in line.
        if self.go_live() {
            return;
        }
        let started = match self.repair().await {
            Ok(()) => CatchUp::start(&self.context.topic, &self.position, place).await,
            Err(error) => Err(error),
        };
        match started {
            Ok(reader) => self.source = Source::CatchUp(reader),
            Err(error) => self.pause(&error).await,
        }
    }

    /// Compares the position with what Kafka keeps, and tells the client where the two do not fit.
    async fn repair(&mut self) -> Result<(), Error> {
        let extent = self.context.topic.extent().await?;
        let is_reset = extent.clamp(&mut self.position);
        if is_reset && !self.from_oldest {
            self.push_reset(&extent.oldest);
        }
        self.from_oldest = false;
        Ok(())
    }

    fn push_reset(&mut self, oldest: &Cursor) {
        let reset = Reset {
            oldest: oldest.to_string(),
        };
        let frame = Frame::encode(&self.position, "reset", &reset);
        self.chunk.push(frame.whole().clone());
    }

    /// Reads old records until there is something to send or the window can take over.
    async fn read_old(&mut self) {
        let context = Arc::clone(&self.context);
        while let Source::CatchUp(reader) = &mut self.source {
            match reader.found().await {
                Found::Records => {
                    let Some(record) = reader.front() else { continue };
                    let (partition, offset) = (record.partition, record.offset);
                    let decoded = context.topic.decoder.event(record, &context.stopper).await;
                    reader.pop();
                    let is_between_batches = reader.is_between_batches();
                    self.take_old(partition, offset, decoded);
                    if is_between_batches && self.go_live() {
                        return;
                    }
                    if !self.chunk.is_empty()
                        && (is_between_batches || self.chunk.len() >= STREAM_CHUNK_BYTES_MAX)
                    {
                        return;
                    }
                }
                Found::Gone(partition, earliest) => {
                    self.position.set(partition, earliest);
                    return self.push_reset(&self.position.clone());
                }
                Found::Ended => self.source = Source::Unknown,
            }
        }
    }

    fn take_old(&mut self, partition: i32, offset: i64, decoded: Decoded) {
        if offset < self.position.next_offset(partition) || matches!(decoded, Decoded::Stopped) {
            return;
        }
        self.position.advance(partition, offset + 1);
        if let Decoded::Event(event) = decoded
            && self.filter.matches_event(&event)
        {
            let frame = Frame::encode(&self.position, event.kind.as_str(), &envelope(*event));
            self.chunk.push(frame.whole().clone());
        }
    }

    fn read_new(&mut self) {
        let Source::Live(subscription) = &mut self.source else {
            return;
        };
        match subscription.read() {
            Ok(deliveries) => deliveries
                .into_iter()
                .for_each(|delivery| push(&mut self.chunk, &delivery)),
            Err(BehindWindow) => {
                self.position = subscription.position().clone();
                self.source = Source::Unknown;
            }
        }
    }

    /// After a failure: waits a little and looks again.
    async fn pause(&mut self, error: &Error) {
        tracing::debug!(%error, "a stream waits for kafka");
        self.source = Source::Unknown;
        tokio::time::sleep(Backoff::dependency().next_wait()).await;
    }
}

/// Adds a delivery's frame, with its own id where it has one.
fn push(chunk: &mut Chunk, delivery: &Delivery) {
    let frame = &delivery.entry.frame;
    let Some(own_id) = &delivery.own_id else {
        return chunk.push(frame.whole().clone());
    };
    let mut id_line = String::new();
    push_id(&mut id_line, &own_id.to_string());
    chunk.push_part(Bytes::from(id_line));
    chunk.push(frame.after_id());
}
