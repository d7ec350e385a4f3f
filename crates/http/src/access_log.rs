//! One line for each request, when the answer has gone or the caller has. Never the query, a body or a header's value: a
//! line holds no secret.

use std::time::Duration;

use tokio::time::Instant;
use warp::http::{Method, Request, StatusCode, Uri};

use crate::caller::{Actor, Caller};
use crate::request_id::{PeerAddress, RequestId};

/// What is known of a request; dropping it writes the line.
pub(crate) struct Entry {
    method: Method,
    uri: Uri,
    peer: PeerAddress,
    request_id: RequestId,
    began: Instant,
    caller: Option<Caller>,
    /// None until there is an answer.
    status: Option<StatusCode>,
    bytes: u64,
}

impl Entry {
    pub(crate) fn new<B>(
        request: &Request<B>,
        request_id: RequestId,
        peer: PeerAddress,
        began: Instant,
    ) -> Self {
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            peer,
            request_id,
            began,
            caller: None,
            status: None,
            bytes: 0,
        }
    }

    /// Notes who asked and what it is answered.
    pub(crate) fn answered(&mut self, caller: Option<Caller>, status: StatusCode) {
        self.caller = caller;
        self.status = Some(status);
    }

    /// Notes bytes of the answer's body.
    pub(crate) const fn add_bytes(&mut self, count: usize) {
        self.bytes += count as u64;
    }
}

/// Milliseconds with three decimals.
fn milliseconds(took: Duration) -> f64 {
    (took.as_secs_f64() * 1e6).round() / 1e3
}

impl Drop for Entry {
    fn drop(&mut self) {
        let caller = self.caller.as_ref();
        let key_id = caller.and_then(|caller| match caller.actor() {
            Actor::Key { id, .. } | Actor::StreamToken { id } => Some(*id),
            Actor::Open => None,
        });
        tracing::info!(
            target: "posthaste::access",
            {
                http.method = %self.method,
                http.path = self.uri.path(),
                // As nginx has it: the caller went away before there was an answer.
                http.status = self.status.map_or(499, |status| status.as_u16()),
                http.bytes = self.bytes,
                http.took_ms = milliseconds(self.began.elapsed()),
                http.peer = %self.peer,
                request.id = %self.request_id,
                tenant = caller.map(Caller::tenant),
                key.id = key_id.map(tracing::field::display),
            },
            "request"
        );
    }
}
