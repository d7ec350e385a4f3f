//! What all streams of a process share, and the count of those that are open.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use metrics::Gauge;
use posthaste_api::Problem;
use posthaste_http::{Caller, StreamPlace};
use posthaste_runtime::{Stopper, metric};
use posthaste_store::Store;
use posthaste_types::ErrorCode;
use posthaste_types::limits::STREAM_COUNT_MAX;

use crate::stream::hub::Hub;
use crate::stream::places::Places;
use crate::stream::topic::Topic;

/// Shared by all streams.
pub(crate) struct Context {
    /// Where new events come from.
    pub(crate) hub: Arc<Hub>,
    /// Where old events come from.
    pub(crate) topic: Arc<Topic>,
    /// Who may read old events.
    pub(crate) places: Places,
    /// Where a task's present state comes from.
    pub(crate) store: Store,
    /// Ends every stream.
    pub(crate) stopper: Stopper,
    open: Arc<Open>,
}

struct Open {
    count: AtomicUsize,
    gauge: Gauge,
}

/// A stream's leave to be open: its places in the counts of the process and of the tenant.
pub(crate) struct Opened {
    counted: Counted,
    _place: StreamPlace,
    stopper: Stopper,
    caller_ended: Stopper,
}

/// A place in the process's count.
struct Counted(Arc<Open>);

impl Context {
    /// One without open streams.
    pub(crate) fn new(hub: Arc<Hub>, topic: Arc<Topic>, store: Store, stopper: Stopper) -> Self {
        let open = Arc::new(Open {
            count: AtomicUsize::new(0),
            gauge: metrics::gauge!(metric::STREAMS_OPEN),
        });
        Self {
            hub,
            topic,
            places: Places::new(),
            store,
            stopper,
            open,
        }
    }

    /// Counts a stream of `caller` in.
    ///
    /// # Errors
    /// 503 when as many are open as may be, when events cannot be read yet, or when the process is stopping; 429 when
    /// the tenant has as many open as it may.
    pub(crate) fn open(&self, caller: &Caller) -> Result<Opened, Problem> {
        let unavailable = |detail: &str| Problem::new(ErrorCode::Unavailable, detail);
        if self.stopper.is_stopped() {
            return Err(unavailable(
                "this process is stopping; try again, another one may answer",
            ));
        }
        if !self.hub.is_live() {
            return Err(unavailable("events cannot be read yet; try again in a moment"));
        }
        let opened = Opened {
            counted: Counted::new(&self.open),
            _place: caller.quota().open_stream()?,
            stopper: self.stopper.clone(),
            caller_ended: caller.ended().clone(),
        };
        if opened.counted.0.count.load(Ordering::Relaxed) > STREAM_COUNT_MAX {
            return Err(unavailable(
                "as many streams are open here as may be; try again, another process may answer",
            ));
        }
        Ok(opened)
    }
}

impl Opened {
    /// Completes when the stream must end: the process stops, or the caller's key is revoked or has expired.
    pub(crate) fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        let (stopper, caller_ended) = (self.stopper.clone(), self.caller_ended.clone());
        async move {
            tokio::select! {
                () = stopper.stopped() => {}
                () = caller_ended.stopped() => {}
            }
        }
    }
}

impl Counted {
    fn new(open: &Arc<Open>) -> Self {
        open.count.fetch_add(1, Ordering::Relaxed);
        open.gauge.increment(1);
        Self(Arc::clone(open))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
        self.0.gauge.decrement(1);
    }
}
