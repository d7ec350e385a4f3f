//! One hold of the slot, on a thread of its own.
//!
//! The client library's task and the session take turns there. On a runtime of several threads each event would wake another
//! thread, which costs ten times as much as the event itself.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use posthaste_broker::{Admin, KafkaOptions, Registry};
use posthaste_runtime::{Clock, Stopper};
use posthaste_store::{Asked, ReplicationNames, Store};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{oneshot, watch};

use crate::Error;
use crate::layout::Layout;
use crate::memory::Memory;
use crate::options::Delivery;
use crate::position::Origin;
use crate::publisher::{Publisher, Target};
use crate::session::Session;
use crate::source::{PgwireSource, WalSource as _};
use crate::watch::SlotStatus;

/// What a hold works with.
pub(crate) struct Hold {
    pub(crate) store: Store,
    /// Where connections of the store live, which others use as well.
    pub(crate) outside: Handle,
    pub(crate) names: ReplicationNames,
    pub(crate) layouts: Arc<[Layout]>,
    pub(crate) status_interval: Duration,
    pub(crate) must_fail_over: bool,
    pub(crate) delivery: Delivery,
    pub(crate) kafka: KafkaOptions,
    pub(crate) admin: Admin,
    pub(crate) registry: Option<Registry>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) asked: watch::Receiver<Asked>,
    pub(crate) seen: watch::Receiver<Option<SlotStatus>>,
    pub(crate) stopper: Stopper,
}

impl Hold {
    /// Acquires the slot, tells so, and publishes until stopped or until something fails. Dropping the future ends it
    /// at once, without settling what is on its way.
    pub(crate) async fn run(
        self,
        memory: Memory,
        streams: oneshot::Sender<()>,
    ) -> Result<(Result<(), Error>, Memory), Error> {
        alone(move || self.publish(memory, streams)).await
    }

    async fn publish(self, mut memory: Memory, streams: oneshot::Sender<()>) -> (Result<(), Error>, Memory) {
        let stopper = self.stopper.clone();
        match stopper.unless_stopped(self.acquire(&mut memory)).await {
            Some(Ok(session)) => {
                // Nobody may be waiting for it any more.
                let _ = streams.send(());
                session.run().await
            }
            Some(Err(error)) => (Err(error), memory),
            None => (Err(Error::Stopping), memory),
        }
    }

    async fn acquire(self, memory: &mut Memory) -> Result<Session<PgwireSource>, Error> {
        let store = self.store.clone();
        let address = self.outside.spawn(async move { store.serving_address().await });
        let address = address.await.map_err(|_| Error::Stopping)??;
        let source =
            PgwireSource::connect(address, &self.names, self.status_interval, self.must_fail_over).await?;
        let store = self.store;
        let flushed = self.outside.spawn(async move { store.flushed_lsn().await });
        let origin = Origin {
            log: source.log().clone(),
            slot: self.names.slot,
            // Only now: the slot's last owner may have published all that was committed until it let go.
            flushed_lsn: flushed.await.map_err(|_| Error::Stopping)??,
        };
        let target = Target {
            delivery: self.delivery,
            kafka: self.kafka,
            admin: self.admin,
            registry: self.registry,
        };
        let publisher = Publisher::start(origin, target, self.clock, memory, self.stopper.clone()).await?;
        Ok(Session::new(
            source,
            publisher,
            self.layouts,
            self.asked,
            self.seen,
            self.stopper,
        ))
    }
}

/// Runs a future on a thread and a runtime of its own, and ends it when this one is dropped.
async fn alone<F, T>(make: impl FnOnce() -> F + Send + 'static) -> Result<T, Error>
where
    F: Future<Output = T>,
    T: Send + 'static,
{
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(no_thread)?;
    let (done, outcome) = oneshot::channel();
    let (_wanted, unwanted) = oneshot::channel::<()>();
    let run = move || {
        runtime.block_on(async move {
            tokio::select! {
                value = make() => drop(done.send(value)),
                _ = unwanted => {}
            }
        });
    };
    std::thread::Builder::new()
        .name("connector".to_owned())
        .spawn(run)
        .map_err(no_thread)?;
    outcome
        .await
        .map_err(|_| Error::Protocol("the connector's thread ended"))
}

#[expect(clippy::needless_pass_by_value, reason = "what `map_err` passes")]
fn no_thread(error: std::io::Error) -> Error {
    Error::Setup(format!("no thread for the connector: {error}"))
}
