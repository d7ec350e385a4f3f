//! The connector as a role: holds the slot whenever it can, waits when it cannot, and never gives up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use metrics::gauge;
use posthaste_broker::{Admin, KafkaOptions, Registry};
use posthaste_runtime::{Backoff, Clock, Stopper, metric};
use posthaste_store::{ReplicationNames, SlotState, Store};
use posthaste_types::limits::SLOT_WAL_SHARE_MAX;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::health::{Health, State};
use crate::hold::Hold;
use crate::layout::Layout;
use crate::memory::Memory;
use crate::options::OnWalLimit;
use crate::report::Report;
use crate::waiting::Waiting;
use crate::watch::{SlotStatus, watch_slot};
use crate::{Error, Options};

/// Between two looks at a slot that another connector holds.
const STANDBY_WAIT: Duration = Duration::from_millis(100);
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

/// The connector.
pub struct Service {
    names: ReplicationNames,
    layouts: Arc<[Layout]>,
    status_interval: Duration,
    options: Options,
    deps: Deps,
    admin: Admin,
    registry: Option<Registry>,
    stopper: Stopper,
    state: watch::Sender<State>,
    seen: watch::Sender<Option<SlotStatus>>,
    report: Report,
    /// That nothing bounds the log was said once.
    is_warned: AtomicBool,
}

impl Service {
    /// Checks the options. Database and broker may be away. To be called inside a tokio runtime.
    ///
    /// # Errors
    /// An option that does not fit.
    pub fn start(options: &Options, deps: Deps, stopper: Stopper) -> Result<Self, Error> {
        let admin = Admin::new(&deps.kafka)?;
        let state = watch::Sender::new(State::Waiting("it has only just begun".to_owned()));
        let seen = watch::Sender::new(None);
        let (names, status_interval) = (options.names()?, options.status_interval()?);
        let (told, lag) = (state.subscribe(), seen.subscribe());
        let report = Report::new(deps.store.clone(), &names.slot, options.delivery, told, lag);
        Ok(Self {
            names,
            layouts: options.layouts()?.into(),
            status_interval,
            options: options.clone(),
            deps,
            admin,
            registry: None,
            stopper,
            state,
            seen,
            report,
            is_warned: AtomicBool::new(false),
        })
    }

    /// Makes Avro of JSON payloads whose topic's subject has a schema in this registry.
    #[must_use]
    pub fn with_registry(mut self, registry: Registry) -> Self {
        self.registry = Some(registry);
        self
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
        let hold = Box::pin(self.hold_slot());
        tokio::select! {
            () = hold => Ok(()),
            () = watch_slot(&self.deps.store, &self.names.slot, self.wal_bytes_max(), &self.seen) => Ok(()),
            () = self.report.run() => Ok(()),
        }
    }

    /// One session after the other.
    async fn hold_slot(&self) {
        let (mut backoff, mut waiting, mut memory) =
            (Backoff::dependency(), Waiting::default(), Memory::default());
        while !self.stopper.is_stopped() {
            let began = Instant::now();
            let outcome = self.hold(&mut waiting, &mut memory).await;
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

    /// Acquires the slot and publishes, until stopped (`Ok`) or until something fails.
    async fn hold(&self, waiting: &mut Waiting, memory: &mut Memory) -> Result<(), Error> {
        let free = async {
            loop {
                self.await_resumption(waiting).await?;
                if let Some(slot) = self.await_slot(waiting).await? {
                    return Ok::<_, Error>(slot);
                }
            }
        };
        let free = self.stopper.unless_stopped(free).await;
        let slot = free.ok_or(Error::Stopping)??;
        let hold = Hold {
            store: self.deps.store.clone(),
            outside: Handle::current(),
            names: self.names.clone(),
            layouts: Arc::clone(&self.layouts),
            status_interval: self.status_interval,
            must_fail_over: slot.is_failover == Some(false),
            delivery: self.options.delivery,
            kafka: self.deps.kafka.clone(),
            admin: self.admin.clone(),
            registry: self.registry.clone(),
            clock: Arc::clone(&self.deps.clock),
            asked: self.report.asked(),
            seen: self.seen.subscribe(),
            stopper: self.stopper.clone(),
        };
        let (streams, streaming) = oneshot::channel();
        let mut run = Box::pin(hold.run(std::mem::take(memory), streams));
        let ended = tokio::select! {
            biased;
            Ok(()) = streaming => None,
            ended = &mut run => Some(ended),
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                self.enter(State::Streaming);
                waiting.end();
                tracing::info!(slot = self.names.slot, "the connector streams");
                run.await
            }
        };
        let (outcome, found_out) = ended?;
        *memory = found_out;
        outcome
    }

    /// Makes what is missing, and stands by while another connector holds the slot. `None`: it is to stand still meanwhile.
    async fn await_slot(&self, waiting: &mut Waiting) -> Result<Option<SlotState>, Error> {
        let (store, names) = (&self.deps.store, &self.names);
        // A lost slot is made anew when what is written for it can go on to the broker, else it might be lost again.
        let slot = store.slot_state(&names.slot).await?;
        if slot.is_none_or(|slot| slot.is_lost()) {
            self.admin.ping().await?;
        }
        let mut slot = store.ensure_replication(names).await?;
        self.guard().await?;
        let asked = self.report.asked();
        while let Some(pid) = slot.active_pid.filter(|_| !asked.borrow().is_paused) {
            waiting.say(&format!(
                "the slot `{}` is held by another connector (server process {pid})",
                names.slot
            ));
            self.enter(State::Standby);
            tokio::time::sleep(STANDBY_WAIT).await;
            slot = match store.slot_state(&names.slot).await? {
                Some(slot) if !slot.is_lost() => slot,
                _ => store.ensure_replication(names).await?,
            };
        }
        // The other may have let go because it was paused.
        self.report.look().await?;
        let is_paused = asked.borrow().is_paused;
        Ok((!is_paused).then_some(slot))
    }

    /// Stands still as long as that is asked. Looks first, so that a connector that comes back reads nothing while it is
    /// paused. The slot is kept without anybody who reads it; one that the server lets go meanwhile is made anew only
    /// then, since it would only be let go again, each time with the outbox's events written once more.
    async fn await_resumption(&self, waiting: &mut Waiting) -> Result<(), Error> {
        self.report.look().await?;
        let mut asked = self.report.asked();
        if asked.borrow().is_paused {
            waiting.end();
            self.enter(State::Paused);
            // Its other half lives as long as this does.
            let _ = asked.wait_for(|asked| !asked.is_paused).await;
        }
        Ok(())
    }

    /// Says what is to happen when too much log waits, and warns where nothing bounds it.
    async fn guard(&self) -> Result<(), Error> {
        let (store, wal_bytes_max) = (&self.deps.store, self.wal_bytes_max());
        let is_bounded = wal_bytes_max.is_some() || store.is_kept_log_bounded().await?;
        if !is_bounded && !self.is_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "the server keeps any amount of log for the slot, so a connector that stands still fills the disk: run \
                 `alter system set max_slot_wal_keep_size = '…'` and `select pg_reload_conf()`, or set `wal_bytes_max` of the \
                 connector"
            );
        }
        let is_closing = self.options.on_wal_limit == OnWalLimit::Refuse;
        store
            .guard_wal(&self.names.slot, is_closing, wal_bytes_max, SLOT_WAL_SHARE_MAX)
            .await?;
        Ok(())
    }

    fn wal_bytes_max(&self) -> Option<u64> {
        Some(self.options.wal_bytes_max).filter(|max| *max > 0)
    }
}
