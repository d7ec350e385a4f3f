//! A connection of the pool while somebody uses it. One whose user went away in the middle of a statement goes back to the
//! pool only when the statement has ended: else the next user would wait behind it, and users who come and go could queue
//! up statements without bound.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use deadpool_postgres::{GenericClient, Object, Pool};
use posthaste_types::limits::ABANDONED_STATEMENT_MS_MAX;
use tokio::sync::watch;

use crate::Error;
use crate::long_read::Turn;
use crate::server::Server;

/// Nothing is under way.
const IDLE: u8 = 0;
/// A statement of its own is.
const STATEMENT: u8 = 1;
/// A transaction was begun; whether it has ended is not seen from here.
const TRANSACTION: u8 = 2;

/// The connection.
pub(crate) struct Lease {
    /// There until this is dropped.
    object: Option<Object>,
    under_way: AtomicU8,
    closing: Closing,
    server: Arc<Server>,
    /// Of a read that may take long: ends when the connection is back.
    turn: Option<Turn>,
}

/// A pool whose connections are leased.
#[derive(Clone)]
pub(crate) struct Leases {
    pool: Pool,
    closing: Closing,
    server: Arc<Server>,
}

impl Leases {
    pub(crate) fn new(pool: Pool, server: Arc<Server>) -> Self {
        Self {
            pool,
            closing: Closing::new(),
            server,
        }
    }

    /// A connection of the pool; to be used by `query.rs`.
    pub(crate) async fn client(&self) -> Result<Lease, Error> {
        Ok(Lease::new(self.pool.get().await?, &self.closing, &self.server))
    }

    /// Closes the connections that nobody uses now, and those that somebody gave up.
    pub(crate) fn close_idle(&self) {
        self.pool.retain(|_, _| false);
        self.closing.close();
    }

    /// The database that they reach.
    pub(crate) fn server(&self) -> &Arc<Server> {
        &self.server
    }
}

/// Tells connections on their way back to the pool to close instead.
#[derive(Debug, Clone)]
struct Closing(watch::Sender<()>);

impl Closing {
    fn new() -> Self {
        Self(watch::Sender::new(()))
    }

    /// Closes those that wait for the end of a statement.
    fn close(&self) {
        self.0.send_replace(());
    }
}

impl Lease {
    fn new(object: Object, closing: &Closing, server: &Arc<Server>) -> Self {
        Self {
            object: Some(object),
            under_way: AtomicU8::new(IDLE),
            closing: closing.clone(),
            server: Arc::clone(server),
            turn: None,
        }
    }

    /// The same, which ends `turn` once the connection is back.
    pub(crate) fn with_turn(mut self, turn: Turn) -> Self {
        self.turn = Some(turn);
        self
    }
}

impl Deref for Lease {
    type Target = Object;

    fn deref(&self) -> &Object {
        self.object.as_ref().expect("it is there until this is dropped")
    }
}

impl DerefMut for Lease {
    /// Transactions alone need it.
    fn deref_mut(&mut self) -> &mut Object {
        *self.under_way.get_mut() = TRANSACTION;
        self.object.as_mut().expect("it is there until this is dropped")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(object) = self.object.take() else { return };
        let under_way = *self.under_way.get_mut();
        if under_way == IDLE {
            return;
        }
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                let (closes, server) = (self.closing.0.subscribe(), Arc::clone(&self.server));
                let turn = self.turn.take();
                runtime.spawn(async move {
                    settle(object, under_way == STATEMENT, server, closes).await;
                    drop(turn);
                });
            }
            Err(_) => drop(Object::take(object)),
        }
    }
}

/// Gives a connection back once it is done with what it was asked, or closes it when asked to.
async fn settle(object: Object, may_cancel: bool, server: Arc<Server>, mut closes: watch::Receiver<()>) {
    let ended = async {
        // Answered after all that was asked before.
        let mut answered = std::pin::pin!(object.batch_execute(""));
        if may_cancel {
            let bound = Duration::from_millis(ABANDONED_STATEMENT_MS_MAX);
            if tokio::time::timeout(bound, answered.as_mut()).await.is_ok() {
                return;
            }
            // A cancel opens a connection of its own, so it is for what takes long. When it fails, the statement's own
            // bound ends it.
            let _ = object.cancel_token().cancel_query(server.tls.clone()).await;
        }
        // A connection that broke is sorted out by the pool.
        let _ = answered.await;
    };
    tokio::select! {
        () = ended => {}
        Ok(()) = closes.changed() => drop(Object::take(object)),
    }
}

/// What statements run on.
pub(crate) trait Runs {
    /// The driver's side of it.
    type Client: GenericClient;

    /// The driver's side of it.
    fn client(&self) -> &Self::Client;

    /// Notes a statement of its own until [`UnderWay::end`], for who has to know.
    fn begin(&self) -> UnderWay<'_>;
}

/// A statement that was begun.
#[must_use]
pub(crate) struct UnderWay<'lease>(Option<&'lease AtomicU8>);

impl UnderWay<'_> {
    /// The statement was answered.
    pub(crate) fn end(self) {
        if let Some(under_way) = self.0 {
            under_way.store(IDLE, Ordering::Relaxed);
        }
    }
}

impl Runs for Lease {
    type Client = Object;

    fn client(&self) -> &Object {
        self
    }

    fn begin(&self) -> UnderWay<'_> {
        // The lease and what is dropped with it have one owner: there is nothing to order.
        self.under_way.store(STATEMENT, Ordering::Relaxed);
        UnderWay(Some(&self.under_way))
    }
}

impl<C: GenericClient> Runs for C {
    type Client = C;

    fn client(&self) -> &C {
        self
    }

    fn begin(&self) -> UnderWay<'_> {
        UnderWay(None)
    }
}
