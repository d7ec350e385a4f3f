//! The connector as a role: holds the slot whenever it can, waits when it cannot, and never gives up.

use std::sync::Arc;
use std::time::Duration;

use metrics::gauge;
use posthaste_broker::{Admin, KafkaOptions};
use posthaste_runtime::{Backoff, Clock, Stopper, metric};
use posthaste_store::{ReplicationNames, SlotState, Store};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::memory::Memory;
use crate::position::Origin;
use crate::publisher::Publisher;
use crate::session::Session;
use crate::source::{PgwireSource, WalSource as _};
use crate::waiting::Waiting;
use crate::{Error, Options};

/// Between two looks at a slot that another connector holds.
const STANDBY_WAIT: Duration = Duration::from_millis(250);
/// Between two looks at the slot's state.
const WATCH_INTERVAL: Duration = Duration::from_secs(5);
/// A session of this length begins the waits anew.
const STEADY_AFTER: Duration = Duration::from_secs(10);

/// What the connector works with.
#[derive(Clone)]
pub struct Deps {
    /// The record; its address is where the stream comes from.
    pub store: Store,
    /// The broker.
    pub kafka: KafkaOptions,
    /// The time, for the wait from an outbox row's creation to the broker.
    pub clock: Arc<dyn Clock>,
}

/// What the connector does now.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Streaming,
    /// Another connector holds the slot.
    Standby,
    Waiting(String),
}

/// Tells whether the connector is well.
#[derive(Debug, Clone)]
pub struct Health(watch::Receiver<State>);

impl Health {
    /// `Ok`: it streams, or stands by for another that does.
    ///
    /// # Errors
    /// What it waits for.
    pub fn check(&self) -> Result<(), String> {
        match &*self.0.borrow() {
            State::Streaming | State::Standby => Ok(()),
            State::Waiting(what) => Err(what.clone()),
        }
    }

    /// Whether this connector holds the slot.
    pub fn is_streaming(&self) -> bool {
        *self.0.borrow() == State::Streaming
    }

    /// Waits until this connector holds the slot; `false`: it has ended.
    pub async fn streaming(&mut self) -> bool {
        self.0.wait_for(|state| *state == State::Streaming).await.is_ok()
    }
}

/// The connector.
pub struct Service {
    names: ReplicationNames,
    status_interval: Duration,
    deps: Deps,
    admin: Admin,
    stopper: Stopper,
    state: watch::Sender<State>,
}

impl Service {
    /// Checks the options. Database and broker may be away. To be called inside a tokio runtime.
    ///
    /// # Errors
    /// An option that does not fit.
    pub fn start(options: &Options, deps: Deps, stopper: Stopper) -> Result<Self, Error> {
        let admin = Admin::new(&deps.kafka)?;
        let (state, _) = watch::channel(State::Waiting("it has only just begun".to_owned()));
        let (names, status_interval) = (options.names()?, options.status_interval()?);
        Ok(Self {
            names,
            status_interval,
            deps,
            admin,
            stopper,
            state,
        })
    }

    /// Tells whether the connector is well, while it runs.
    pub fn health(&self) -> Health {
        Health(self.state.subscribe())
    }

    /// Publishes until stopped; what is on its way then is settled first.
    ///
    /// # Errors
    /// None: whatever fails is tried again.
    pub async fn run(self) -> Result<(), Error> {
        tokio::select! {
            () = self.hold_slot() => Ok(()),
            () = self.watch_slot() => Ok(()),
        }
    }

    /// One session after the other.
    async fn hold_slot(&self) {
        let (mut backoff, mut waiting, mut memory) =
            (Backoff::dependency(), Waiting::default(), Memory::default());
        while !self.stopper.is_stopped() {
            let began = Instant::now();
            let (outcome, kept) = match self.acquire(&mut waiting, memory).await {
                Ok(session) => {
                    self.enter(State::Streaming);
                    waiting.end();
                    tracing::info!(slot = self.names.slot, "the connector streams");
                    session.run().await
                }
                Err((error, kept)) => (Err(error), kept),
            };
            memory = kept;
            let Err(error) = outcome else { continue };
            if matches!(error, Error::Stopping) {
                break;
            }
            let what = error.chain();
            waiting.say(&what);
            self.enter(State::Waiting(what));
            if began.elapsed() > STEADY_AFTER {
                backoff.reset();
            }
            backoff.wait(&self.stopper).await;
        }
        self.enter(State::Waiting("it has stopped".to_owned()));
    }

    fn enter(&self, state: State) {
        gauge!(metric::CONNECTOR_STREAMING).set(if state == State::Streaming { 1.0 } else { 0.0 });
        self.state.send_replace(state);
    }

    /// Makes what is missing and acquires the slot, standing by while another connector holds it.
    async fn acquire(
        &self,
        waiting: &mut Waiting,
        memory: Memory,
    ) -> Result<Session<PgwireSource>, (Error, Memory)> {
        let (source, origin) = match self.stopper.unless_stopped(self.connect(waiting)).await {
            Some(Ok(connected)) => connected,
            Some(Err(error)) => return Err((error, memory)),
            None => return Err((Error::Stopping, memory)),
        };
        let (deps, stopper) = (&self.deps, self.stopper.clone());
        let (admin, clock) = (self.admin.clone(), Arc::clone(&deps.clock));
        // Only librdkafka's options can fail here, and they were checked when the service was started; what earlier
        // sessions found out is not worth more.
        let publisher = Publisher::start(origin, &deps.kafka, admin, clock, memory, stopper.clone())
            .map_err(|error| (error, Memory::default()))?;
        Ok(Session::new(source, publisher, self.names.clone(), stopper))
    }

    async fn connect(&self, waiting: &mut Waiting) -> Result<(PgwireSource, Origin), Error> {
        loop {
            let slot = self.deps.store.ensure_replication(&self.names).await?;
            let Some(pid) = slot.active_pid else { break };
            waiting.say(&format!(
                "the slot `{}` is held by another connector (server process {pid})",
                self.names.slot
            ));
            self.enter(State::Standby);
            tokio::time::sleep(STANDBY_WAIT).await;
        }
        let address = self.deps.store.server_address()?;
        let source = PgwireSource::connect(address, &self.names, self.status_interval).await?;
        let origin = Origin {
            log: source.log().clone(),
            slot: self.names.slot.clone(),
            // Only now: the slot's last owner may have published all that was committed until it let go.
            flushed_lsn: self.deps.store.flushed_lsn().await?,
        };
        Ok((source, origin))
    }

    /// Shows the slot's lag and warns before it is lost. Never ends.
    async fn watch_slot(&self) {
        let lag = gauge!(metric::SLOT_LAG_BYTES);
        let mut said = String::new();
        loop {
            tokio::time::sleep(WATCH_INTERVAL).await;
            // When the database is away, holding the slot says so.
            let Ok(Some(slot)) = self.deps.store.slot_state(&self.names.slot).await else {
                continue;
            };
            #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
            lag.set(slot.lag_bytes as f64);
            warn_of_loss(&slot, &mut said);
        }
    }
}

/// Warns once for each change of the slot's status to one in which log may go.
fn warn_of_loss(slot: &SlotState, said: &mut String) {
    let is_in_danger = !matches!(slot.wal_status.as_str(), "reserved" | "extended");
    if is_in_danger && *said != slot.wal_status {
        tracing::warn!(
            slot.wal_status,
            slot.safe_wal_bytes,
            slot.lag_bytes,
            "the slot is about to lose log that was not published: raise max_slot_wal_keep_size or see what holds the connector up"
        );
    }
    said.clone_from(&slot.wal_status);
}
