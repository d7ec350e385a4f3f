//! The way of every request through the door: what is decided before a route sees it, and what every answer carries.

use std::sync::Arc;

use hyper::body::{Body as _, Incoming};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use metrics::{Counter, Histogram};
use posthaste_runtime::metric;
use tokio::time::Instant;
use tracing::Instrument as _;
use warp::http::header::{AUTHORIZATION, CONTENT_LENGTH, ORIGIN};
use warp::http::{HeaderValue, Method, Request, Response, StatusCode, Version};

use crate::access_log::Entry;
use crate::answer::Answer;
use crate::caller::Caller;
use crate::credentials::{credentials, take_token};
use crate::discard::discard;
use crate::dress::{Dress, dress};
use crate::front::Front;
use crate::pace::Busy;
use crate::request_id::{PeerAddress, REQUEST_ID, RequestIds};
use crate::response::{HttpResponse, Routes, problem};
use crate::under_way::UnderWay;
use crate::unread::Sent;
use crate::untaken::{Untaken, Way};
use crate::{local, strange};

/// What all requests of a listener pass.
pub(crate) struct Door {
    routes: Routes,
    front: Front,
    ids: RequestIds,
    measures: Measures,
}

struct Measures {
    /// By the first digit of the status.
    classes: [Counter; 5],
    seconds: Histogram,
}

impl Measures {
    fn new() -> Self {
        Self {
            classes: ["1xx", "2xx", "3xx", "4xx", "5xx"]
                .map(|class| metrics::counter!(metric::HTTP_REQUESTS, "class" => class)),
            seconds: metrics::histogram!(metric::HTTP_SECONDS),
        }
    }

    fn record(&self, status: StatusCode, began: Instant) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5);
        self.classes[class - 1].increment(1);
        self.seconds.record(began.elapsed());
    }
}

/// Whether a path is of the contract: such requests are counted and need a key. Others, such as `/healthz`, need none.
fn is_guarded(path: &str) -> bool {
    path.strip_prefix("/v1")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Takes the body out of the answer to a HEAD and leaves its length (RFC 9110, section 9.3.2): hyper does so on HTTP/1.1 alone.
fn leave_out_body(response: &mut HttpResponse) {
    let body = std::mem::take(response.body_mut());
    if let Some(count) = body.size_hint().exact().filter(|count| *count > 0) {
        response
            .headers_mut()
            .insert(CONTENT_LENGTH, HeaderValue::from(count));
    }
}

/// Counts the answer's body until the peer has taken it, or puts a refusal in the answer's place.
fn counted(response: &mut HttpResponse, way: &Way<'_>) -> Option<Untaken> {
    // A stream does not know its length.
    let count = usize::try_from(response.body().size_hint().exact()?).unwrap_or(usize::MAX);
    Untaken::count(count, way).unwrap_or_else(|refused| {
        *response = problem(&refused);
        None
    })
}

impl Door {
    pub(crate) fn new(routes: Routes, front: Front) -> Self {
        Self {
            routes,
            front,
            ids: RequestIds::new(),
            measures: Measures::new(),
        }
    }

    /// Answers one request.
    pub(crate) async fn pass(
        self: Arc<Self>,
        mut request: Request<Incoming>,
        peer: PeerAddress,
        mut busy: Busy,
    ) -> Response<Answer> {
        let began = Instant::now();
        let is_h2 = request.version() == Version::HTTP_2;
        if is_h2 {
            busy.pace().set_free();
            // A request that is taken back already is dropped at the first pause: before any work is done for it.
            tokio::task::yield_now().await;
        }
        // What was only read can be asked for again.
        let is_head = request.method() == Method::HEAD;
        let is_refusable = is_head || request.method() == Method::GET;
        let request_id = self.ids.of(request.headers());
        let mut entry =
            (self.front.access_log).then(|| Box::new(Entry::new(&request, request_id.clone(), peer, began)));
        let mut wear = Dress {
            is_guarded: is_guarded(request.uri().path()),
            has_credentials: request.headers().contains_key(AUTHORIZATION),
            allowed_origin: self.front.cors.allowed(request.headers().get(ORIGIN)),
            caller: None,
        };
        request.extensions_mut().insert(request_id.clone());
        request.extensions_mut().insert(peer);
        let span = tracing::info_span!("request", request.id = %request_id);
        let mut response = self.answer(request, &mut wear, &mut busy).instrument(span).await;
        if is_head {
            leave_out_body(&mut response);
        }
        let untaken = wear.caller.as_ref().and_then(|caller| {
            let way = Way {
                quota: caller.quota(),
                streams: is_h2.then_some(busy.pace()),
                is_refusable,
            };
            counted(&mut response, &way)
        });
        response
            .headers_mut()
            .insert(REQUEST_ID, request_id.into_header());
        self.front
            .cors
            .mark(wear.allowed_origin.take(), response.headers_mut());
        dress(&mut response, &wear);
        self.measures.record(response.status(), began);
        // Behind the measures: they are of the work, and this is none.
        if response.status() == StatusCode::TOO_MANY_REQUESTS
            && let Some(caller) = &wear.caller
        {
            caller.quota().refused().await;
        }
        if let Some(entry) = &mut entry {
            entry.answered(wear.caller, response.status());
        }
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            busy.pace().set_free();
        }
        response.map(|body| Answer::new(body, untaken, entry, busy))
    }

    async fn answer(
        &self,
        mut request: Request<Incoming>,
        wear: &mut Dress,
        busy: &mut Busy,
    ) -> HttpResponse {
        match self.admit(&mut request, wear, busy) {
            Ok(()) => {
                let routes = TowerToHyperService::new(warp::service(self.routes.clone()));
                let Ok(response) = routes.call(Sent::of(request)).await;
                response
            }
            // On HTTP/2 a stream's answer goes out whatever is unread, and waiting would keep its head.
            Err(refused) if request.version() == Version::HTTP_2 => refused,
            Err(refused) => {
                discard(request).await;
                refused
            }
        }
    }

    /// Lets a request through to the routes, with its caller when it needs one, or answers it.
    fn admit<B>(
        &self,
        request: &mut Request<B>,
        wear: &mut Dress,
        busy: &mut Busy,
    ) -> Result<(), HttpResponse> {
        strange::check(request)?;
        if self.front.is_local {
            local::check(request, &self.front.cors).map_err(|refused| problem(&refused))?;
        }
        if let Some(preflight) = self.front.cors.preflight(request) {
            return Err(preflight.unwrap_or_else(|refused| problem(&refused)));
        }
        if wear.is_guarded {
            let caller = self.identify(request, wear)?;
            let caller = wear.caller.insert(caller);
            caller
                .quota()
                .take_request()
                .map_err(|refused| problem(&refused))?;
            if request.version() == Version::HTTP_2 {
                let counted = UnderWay::count(request, caller.quota());
                busy.keep(counted.map_err(|refused| problem(&refused))?);
            }
            request.extensions_mut().insert(caller.clone());
        }
        Ok(())
    }

    fn identify<B>(&self, request: &mut Request<B>, wear: &mut Dress) -> Result<Caller, HttpResponse> {
        let token = take_token(request).map_err(|refused| problem(&refused))?;
        wear.has_credentials |= token.is_some();
        credentials(request.headers(), token.as_deref())
            .and_then(|credentials| self.front.authenticator.authenticate(credentials))
            .map_err(|refused| problem(&refused))
    }
}
