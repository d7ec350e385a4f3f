//! The bridge from a thread that blocks in librdkafka to an asynchronous, bounded channel.

use std::time::Duration;

use posthaste_runtime::Stopper;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::Error;

/// How long a thread blocks in one poll when nothing comes. A record ends the wait at once; this bounds only how long
/// a stop goes unseen.
pub(crate) const IDLE_POLL: Duration = Duration::from_millis(100);
/// Batches that wait between a thread and its reader.
pub(crate) const CHANNEL_LEN: usize = 4;
/// Records of one batch.
pub(crate) const BATCH_RECORD_COUNT_MAX: usize = 512;

/// The sending end that a thread holds.
#[derive(Debug)]
pub(crate) struct Outlet<T> {
    sender: mpsc::Sender<T>,
    stopper: Stopper,
    runtime: Handle,
}

impl<T> Clone for Outlet<T> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            stopper: self.stopper.clone(),
            runtime: self.runtime.clone(),
        }
    }
}

impl<T> Outlet<T> {
    /// An outlet and its receiver. To be called inside a tokio runtime.
    pub(crate) fn new(stopper: Stopper) -> (Self, mpsc::Receiver<T>) {
        let (sender, receiver) = mpsc::channel(CHANNEL_LEN);
        (
            Self {
                sender,
                stopper,
                runtime: Handle::current(),
            },
            receiver,
        )
    }

    /// Whether the thread should end: it was told to, or nobody listens any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.stopper.is_stopped() || self.sender.is_closed()
    }

    /// Sends, blocking while the channel is full; `false` when the thread should end.
    pub(crate) fn send(&self, item: T) -> bool {
        let item = match self.sender.try_send(item) {
            Ok(()) => return true,
            Err(TrySendError::Closed(_)) => return false,
            Err(TrySendError::Full(item)) => item,
        };
        let send = self.stopper.unless_stopped(self.sender.send(item));
        self.runtime.block_on(send).is_some_and(|sent| sent.is_ok())
    }
}

/// Starts a named thread.
pub(crate) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    spawned
        .map(drop)
        .map_err(|error| Error::Setup(format!("no thread for a kafka client: {error}")))
}
