//! How a listener receives requests: who may come in, from which pages, and what is written down. It knows no store; who
//! holds a key is told by an [`Authenticator`].

use std::sync::Arc;

use posthaste_api::Problem;

use crate::caller::Caller;
use crate::cors::Cors;

/// What a request says of who sends it.
#[derive(Clone, Copy)]
pub enum Credentials<'request> {
    /// Nothing.
    None,
    /// `Authorization: Bearer …`: an API key.
    Bearer(&'request str),
    /// `?token=…`: a stream token.
    Token(&'request str),
}

/// Finds out who sends a request, from memory: it is asked for every one.
pub trait Authenticator: Send + Sync + 'static {
    /// The caller with these credentials.
    ///
    /// # Errors
    /// 401 when they are missing or wrong, 503 when keys cannot be known now.
    fn authenticate(&self, credentials: Credentials<'_>) -> Result<Caller, Problem>;
}

/// Lets everybody in as one caller.
struct OpenDoor(Caller);

impl Authenticator for OpenDoor {
    fn authenticate(&self, _credentials: Credentials<'_>) -> Result<Caller, Problem> {
        Ok(self.0.clone())
    }
}

/// How a listener receives requests.
#[derive(Clone)]
pub struct Front {
    pub(crate) authenticator: Arc<dyn Authenticator>,
    pub(crate) cors: Cors,
    pub(crate) access_log: bool,
    /// Whether only what this machine's own programs and pages send is taken.
    pub(crate) is_local: bool,
}

impl Front {
    /// A door that `authenticator` keeps; for no other web page's scripts, without an access log.
    pub fn new(authenticator: Arc<dyn Authenticator>) -> Self {
        Self {
            authenticator,
            cors: Cors::default(),
            access_log: false,
            is_local: false,
        }
    }

    /// A door that asks nobody for a key, before routes that have nothing to guard.
    pub fn open() -> Self {
        Self::new(Arc::new(OpenDoor(Caller::open())))
    }

    /// A door that asks nobody for a key and lets all in as `caller`: on loopback, and for this machine alone. A web
    /// page from elsewhere, which can reach it through the browser, is refused with 403 by `Host` and `Origin`.
    pub fn open_on_loopback(caller: Caller) -> Self {
        Self {
            is_local: true,
            ..Self::new(Arc::new(OpenDoor(caller)))
        }
    }

    /// Lets scripts of these origins' pages call.
    #[must_use]
    pub fn with_cors(self, cors: Cors) -> Self {
        Self { cors, ..self }
    }

    /// Whether each request gets a line at the level info, under the target `posthaste::access`.
    #[must_use]
    pub fn with_access_log(self, access_log: bool) -> Self {
        Self { access_log, ..self }
    }
}
