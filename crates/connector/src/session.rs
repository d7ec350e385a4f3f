//! One hold of the slot, from its acquisition to its loss: one loop that owns the stream and what is made of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use posthaste_runtime::Stopper;
use posthaste_store::Asked;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::coalescing::Coalescing;
use crate::layout::Layout;
use crate::memory::Memory;
use crate::outbox::Shape;
use crate::pgoutput::{self, Change};
use crate::publisher::Publisher;
use crate::source::{EVENT_COUNT_MAX, SILENCE, WalEvent, WalSource};
use crate::watch::SlotStatus;
use crate::{Error, Position};

/// Events taken one after the other before deliveries and the wish to stop are looked at again.
const EVENT_RUN_LEN: usize = 256;
/// A broker that has answered nothing for so long, with all that may be on its way to it, stalls.
const STALLED: Duration = Duration::from_secs(1);
/// How long a session's end waits for the broker.
const FINISH_WAIT: Duration = Duration::from_secs(5);

/// One hold of the slot.
pub(crate) struct Session<S> {
    source: S,
    publisher: Publisher,
    layouts: Arc<[Layout]>,
    asked: watch::Receiver<Asked>,
    seen: watch::Receiver<Option<SlotStatus>>,
    stopper: Stopper,
    /// When the server gave its last sign, while it was listened to.
    heard: Instant,
    began: Instant,
    /// When the broker last answered, or there was room.
    answered: Instant,
    /// The outboxes by the ids that the stream gives them; other tables are `None`.
    shapes: HashMap<u32, Option<Shape>>,
    /// Where the next outbox row of the transaction stands, inside one.
    next: Option<Position>,
    coalescing: Coalescing,
}

impl<S: WalSource> Session<S> {
    pub(crate) fn new(
        source: S,
        publisher: Publisher,
        layouts: Arc<[Layout]>,
        asked: watch::Receiver<Asked>,
        seen: watch::Receiver<Option<SlotStatus>>,
        stopper: Stopper,
    ) -> Self {
        Self {
            source,
            publisher,
            layouts,
            asked,
            seen,
            stopper,
            heard: Instant::now(),
            began: Instant::now(),
            answered: Instant::now(),
            shapes: HashMap::new(),
            next: None,
            coalescing: Coalescing::default(),
        }
    }

    /// Publishes until stopped or paused (`Ok`) or until something fails; then settles what is on its way, tells the server,
    /// and parts from it.
    pub(crate) async fn run(mut self) -> (Result<(), Error>, Memory) {
        let outcome = match self.publish().await {
            Err(Error::Stopping) => Ok(()),
            other => other,
        };
        let wait = match &outcome {
            // The server waits, and the broker has not answered for long.
            Err(Error::InTheWay) => Duration::ZERO,
            _ => FINISH_WAIT,
        };
        self.publisher.finish(outcome.is_err(), wait).await;
        self.source.acknowledge(self.publisher.confirmed_lsn());
        self.source.stop().await;
        (outcome, self.publisher.into_memory())
    }

    async fn publish(&mut self) -> Result<(), Error> {
        let mut looks = tokio::time::interval(SILENCE / 8);
        loop {
            if self.asked.borrow().is_paused {
                return Ok(());
            }
            let is_reading = self.publisher.has_room();
            tokio::select! {
                biased;
                // 1. Stopping comes first.
                () = self.stopper.stopped() => return Ok(()),
                // 2. Deliveries make room and let the server forget.
                () = self.publisher.delivered() => {
                    self.publisher.land()?;
                    self.answered = Instant::now();
                    self.source.acknowledge(self.publisher.confirmed_lsn());
                }
                // 3. New events, while there is room. Without, the stream is kept alive below us.
                event = self.source.next(), if is_reading => {
                    self.take(event?).await?;
                    // As many as the client library holds: it has more.
                    if 1 + self.take_ready().await? < EVENT_COUNT_MAX {
                        self.coalescing.rest();
                    }
                    self.heard = Instant::now();
                }
                // 4. To stand still.
                Ok(()) = self.asked.changed() => {}
                // 5. Silence, where there should be none.
                _ = looks.tick() => self.listen(is_reading)?,
            }
        }
    }

    /// Ends the session before the server gives its slot away, so that what is queued is not written after what the next
    /// connector writes.
    fn listen(&mut self, is_reading: bool) -> Result<(), Error> {
        if is_reading {
            self.answered = Instant::now();
        } else {
            self.heard = Instant::now();
            // Its process cannot end while we take nothing of what it has to send. A broker that only has its hands full
            // is no reason: there is room again soon.
            let is_stalled = self.answered.elapsed() > STALLED;
            if is_stalled && SlotStatus::may_want_an_end(self.seen.borrow().as_ref(), self.began) {
                return Err(Error::InTheWay);
            }
        }
        if self.heard.elapsed() < SILENCE {
            Ok(())
        } else {
            Err(Error::StreamSilent)
        }
    }

    /// Takes what is there already, without waiting for anything between two events; how many there were.
    async fn take_ready(&mut self) -> Result<usize, Error> {
        for count in 0..EVENT_RUN_LEN {
            if !self.publisher.has_room() {
                return Ok(count);
            }
            let Some(event) = self.source.next().now_or_never() else {
                return Ok(count);
            };
            self.take(event?).await?;
        }
        Ok(EVENT_RUN_LEN)
    }

    async fn take(&mut self, event: WalEvent) -> Result<(), Error> {
        match event {
            WalEvent::Begin { commit_lsn } => self.next = Some(Position { commit_lsn, index: 0 }),
            WalEvent::Change(data) => return self.change(data).await,
            WalEvent::Commit { end_lsn } => {
                self.next = None;
                self.publisher.end_transaction(end_lsn)?;
                if cfg!(feature = "mutant") || self.publisher.is_idle() {
                    self.source.acknowledge(end_lsn);
                }
            }
            // With nothing in hand, the log up to here holds nothing for us: an idle slot keeps no log.
            WalEvent::KeepAlive { wal_end } if self.next.is_none() => {
                self.publisher.pass(wal_end)?;
                if self.publisher.is_idle() {
                    self.source.acknowledge(wal_end);
                }
            }
            WalEvent::KeepAlive { .. } => {}
        }
        Ok(())
    }

    async fn change(&mut self, data: Bytes) -> Result<(), Error> {
        match pgoutput::decode(data)? {
            Change::Relation(relation) => {
                let is_of =
                    |layout: &&Layout| layout.schema == relation.schema && layout.table == relation.table;
                let layout = self.layouts.iter().find(is_of);
                let shape = layout.map(|layout| Shape::of(&relation, layout)).transpose()?;
                self.shapes.insert(relation.id, shape);
                Ok(())
            }
            Change::Insert(relation, columns) => {
                let shape = self
                    .shapes
                    .get(&relation)
                    .ok_or(Error::Protocol("a row before its table"))?;
                let Some(shape) = shape else { return Ok(()) };
                let row = shape.row(columns)?;
                let position = self
                    .next
                    .as_mut()
                    .ok_or(Error::Protocol("a row outside of a transaction"))?;
                let (current, next) = (*position, position.index.checked_add(1));
                position.index = next.ok_or(Error::Protocol("a transaction of more than 2^32 rows"))?;
                self.publisher.publish(&row, current).await
            }
            Change::Other => Ok(()),
        }
    }
}
