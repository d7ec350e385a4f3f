//! Reads old events for one stream, by a consumer of its own, until the hub's window can take over.
//!
//! Few may do so at once (`places.rs`). Who holds a place and does not read loses it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use posthaste_broker::{Error, Record, Tail, TailItem};
use posthaste_types::limits::{CATCH_UP_QUEUED_BYTES_MAX, CATCH_UP_STALL_S_MAX};
use tokio::sync::{mpsc, oneshot};

use crate::cursor::Cursor;
use crate::stream::places::Place;
use crate::stream::topic::Topic;

/// A reader at work. Dropping it stops its consumer and frees its place.
pub(crate) struct CatchUp {
    items: mpsc::Receiver<TailItem>,
    /// Read and not dealt with; kept here, so that giving up a wait loses nothing.
    records: VecDeque<Record>,
    turns: Arc<Turns>,
    _gone: oneshot::Sender<()>,
}

/// Counts changes of whose turn it is: odd means that the client has been given something and has not come back.
#[derive(Default)]
struct Turns(AtomicU64);

/// What a reader found.
pub(crate) enum Found {
    /// At least one record stands at [`CatchUp::front`].
    Records,
    /// Retention overtook the reader in this partition; it goes on at this offset.
    Gone(i32, i64),
    /// The consumer has ended: the place was taken away, or Kafka is away for good.
    Ended,
}

impl CatchUp {
    /// Begins to read every partition from `position` on.
    ///
    /// # Errors
    /// Kafka is away or refuses.
    pub(crate) async fn start(topic: &Topic, position: &Cursor, place: Place) -> Result<Self, Error> {
        let partitions = 0..topic.partition_count().await?;
        let (tail, items) = topic.read(position, partitions, CATCH_UP_QUEUED_BYTES_MAX)?;
        let (gone, stream_gone) = oneshot::channel();
        let turns = Arc::new(Turns::default());
        tokio::spawn(hold(tail, place, Arc::clone(&turns), stream_gone));
        Ok(Self {
            items,
            records: VecDeque::new(),
            turns,
            _gone: gone,
        })
    }

    /// Waits until something stands at the front; safe to give up and call again.
    pub(crate) async fn found(&mut self) -> Found {
        while self.records.is_empty() {
            match self.items.recv().await {
                Some(Ok(records)) => self.records = records.into(),
                Some(Err(Error::OffsetOutOfRange { partition, earliest })) => {
                    return Found::Gone(partition, earliest);
                }
                Some(Err(error)) => tracing::debug!(%error, "a reader of old events goes on"),
                None => return Found::Ended,
            }
        }
        Found::Records
    }

    /// The next record.
    pub(crate) fn front(&self) -> Option<&Record> {
        self.records.front()
    }

    /// Lets the next record go: it has been dealt with.
    pub(crate) fn pop(&mut self) {
        self.records.pop_front();
    }

    /// Whether all of a batch has been dealt with.
    pub(crate) fn is_between_batches(&self) -> bool {
        self.records.is_empty()
    }

    /// It is the client's turn now, or this reader's again.
    pub(crate) fn set_client_turn(&self, is_client: bool) {
        let turn = self.turns.0.load(Ordering::Relaxed);
        if (turn % 2 == 1) != is_client {
            self.turns.0.store(turn + 1, Ordering::Relaxed);
        }
    }
}

/// Holds a consumer and its place until the stream is gone or its client has had the turn for too long.
async fn hold(tail: Tail, place: Place, turns: Arc<Turns>, mut stream_gone: oneshot::Receiver<()>) {
    let stall = Duration::from_secs(CATCH_UP_STALL_S_MAX);
    let mut seen = 0;
    while tokio::time::timeout(stall, &mut stream_gone).await.is_err() {
        let turn = turns.0.load(Ordering::Relaxed);
        if turn % 2 == 1 && turn == seen {
            break;
        }
        seen = turn;
    }
    drop(tail);
    drop(place);
}
