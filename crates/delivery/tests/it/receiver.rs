//! A partner's server: keeps what it is sent and answers what it is told to.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use posthaste_runtime::Stopper;
use serde_json::Value;
use tokio::sync::mpsc;
use warp::Filter;
use warp::http::{HeaderMap, Response};

use crate::world::{shared, within};

/// One request.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

pub(crate) struct Receiver {
    pub(crate) url: String,
    requests: mpsc::UnboundedReceiver<Request>,
    stopper: Stopper,
}

/// A status, and the value of `Retry-After`.
pub(crate) type Answer = (u16, Option<&'static str>);

impl Request {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

impl Receiver {
    /// Answers these, then 200.
    pub(crate) fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        let answers: Arc<Mutex<VecDeque<Answer>>> = shared(answers.into_iter().collect());
        let (sender, requests) = mpsc::unbounded_channel();
        let routes = warp::path!("hook")
            .and(warp::header::headers_cloned())
            .and(posthaste_http::body(1 << 20))
            .map(move |headers, body| {
                sender.send(Request { headers, body }).unwrap();
                let (status, retry_after) = answers.lock().pop_front().unwrap_or((200, None));
                let mut response = Response::builder()
                    .status(status)
                    .header("location", "http://127.0.0.1:1/");
                if let Some(seconds) = retry_after {
                    response = response.header("retry-after", seconds);
                }
                response.body(Bytes::from_static(b"noted").into()).unwrap()
            });
        let stopper = Stopper::new();
        let listener = posthaste_http::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let url = format!("http://{}/hook", listener.local_addr());
        tokio::spawn(listener.serve(
            posthaste_http::finish(routes.boxed()),
            posthaste_http::Front::open(),
            stopper.clone(),
        ));
        Self {
            url,
            requests,
            stopper,
        }
    }

    pub(crate) async fn next(&mut self) -> Request {
        within("a webhook", self.requests.recv()).await.unwrap()
    }

    /// Whether nothing has come that was not taken.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.requests.try_recv().is_err()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stopper.stop();
    }
}
