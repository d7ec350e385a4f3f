//! The front door: what is decided about a request before any route sees it. It knows no store; who holds a key is told
//! by an [`Authenticator`].

use std::sync::Arc;

use posthaste_api::Problem;
use warp::http::HeaderMap;
use warp::http::header::AUTHORIZATION;

use crate::caller::{Caller, unauthenticated};

/// What a request says of who sends it.
#[derive(Debug, Clone, Copy)]
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

/// Lets everybody in as the default tenant: for loopback alone.
#[derive(Default)]
struct OpenDoor(Option<Caller>);

impl Authenticator for OpenDoor {
    fn authenticate(&self, _credentials: Credentials<'_>) -> Result<Caller, Problem> {
        Ok(self.0.clone().expect("made with a caller"))
    }
}

/// How a listener receives requests.
#[derive(Clone)]
pub struct Front {
    /// Who may come in.
    pub authenticator: Arc<dyn Authenticator>,
}

impl Front {
    /// A door that asks nobody for a key.
    pub fn open() -> Self {
        Self {
            authenticator: Arc::new(OpenDoor(Some(Caller::open()))),
        }
    }
}

/// The credentials of a request, or 401 when the header cannot be read.
pub(crate) fn credentials(headers: &HeaderMap) -> Result<Credentials<'_>, Problem> {
    let Some(value) = headers.get(AUTHORIZATION) else {
        return Ok(Credentials::None);
    };
    value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, key)| Credentials::Bearer(key.trim()))
        .ok_or_else(|| unauthenticated("`Authorization` must be `Bearer phk_…`"))
}
