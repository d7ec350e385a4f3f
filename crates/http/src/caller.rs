//! Who asks: the tenant, the scopes and the limits that the front door found out before any route sees the request.

use std::fmt;
use std::sync::Arc;

use posthaste_api::Problem;
use posthaste_runtime::Stopper;
use posthaste_types::task::DEFAULT_TENANT;
use posthaste_types::{ErrorCode, KeyId, Scope, Scopes, TaskId};
use warp::{Filter, Rejection};

use crate::quota::Quota;
use crate::reject::refuse;

/// By which means a caller came in; what the audit log tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// The door is open: no key was asked for.
    Open,
    /// An API key.
    Key {
        /// Its id.
        id: KeyId,
        /// The part of it that may be shown.
        prefix: Arc<str>,
    },
    /// A stream token that this key gave out.
    StreamToken {
        /// The key's id.
        id: KeyId,
    },
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("open"),
            Self::Key { id, .. } => write!(f, "{id}"),
            Self::StreamToken { id } => write!(f, "stream token of {id}"),
        }
    }
}

/// What a stream token is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamGrant {
    /// Events of these channels, and of tasks in them.
    Channels(Vec<String>),
    /// Events of this task.
    Task(TaskId),
}

/// Who asks. Cheap to clone.
#[derive(Clone)]
pub struct Caller(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    tenant: Arc<str>,
    scopes: Scopes,
    actor: Actor,
    grant: Option<StreamGrant>,
    quota: Arc<Quota>,
    ended: Stopper,
}

impl Caller {
    /// A caller of `tenant` with an API key, or through the open door.
    pub fn new(tenant: Arc<str>, scopes: Scopes, actor: Actor, quota: Arc<Quota>) -> Self {
        Self(Arc::new(Inner {
            tenant,
            scopes,
            actor,
            grant: None,
            quota,
            ended: Stopper::new(),
        }))
    }

    /// A caller that may read the streams of `grant` and nothing else.
    pub fn with_grant(tenant: Arc<str>, actor: Actor, grant: StreamGrant, quota: Arc<Quota>) -> Self {
        Self(Arc::new(Inner {
            tenant,
            scopes: Scopes::default(),
            actor,
            grant: Some(grant),
            quota,
            ended: Stopper::new(),
        }))
    }

    /// The same caller, who may stay until `ended` stops.
    #[must_use]
    pub fn until(mut self, ended: Stopper) -> Self {
        Arc::make_mut(&mut self.0).ended = ended;
        self
    }

    /// Whoever comes through an open door: the default tenant with every scope and no limits of its own.
    pub fn open() -> Self {
        Self::new(
            DEFAULT_TENANT.into(),
            Scopes::ALL,
            Actor::Open,
            Arc::new(Quota::default()),
        )
    }

    /// The tenant's name, as the record keeps it; every read and write is bound to it.
    pub fn tenant(&self) -> &str {
        &self.0.tenant
    }

    /// What it may do.
    pub fn scopes(&self) -> Scopes {
        self.0.scopes
    }

    /// By which means it came in.
    pub fn actor(&self) -> &Actor {
        &self.0.actor
    }

    /// The streams that it may read, when it came with a stream token.
    pub fn grant(&self) -> Option<&StreamGrant> {
        self.0.grant.as_ref()
    }

    /// What its tenant may use.
    pub fn quota(&self) -> &Arc<Quota> {
        &self.0.quota
    }

    /// Stops when the caller's key is revoked or has expired; what it still has open ends with it.
    pub fn ended(&self) -> &Stopper {
        &self.0.ended
    }

    /// 403 unless it has `scope`.
    ///
    /// # Errors
    /// 403 `forbidden` that names the scope.
    pub fn require(&self, scope: Scope) -> Result<(), Problem> {
        if self.0.scopes.allows(scope) {
            return Ok(());
        }
        let detail = match self.0.grant {
            Some(_) => "a stream token opens streams alone; send an API key".to_owned(),
            None => format!("this key lacks the scope `{scope}`; use one that has it, or `admin`"),
        };
        Err(Problem::new(ErrorCode::Forbidden, detail))
    }
}

fn found() -> impl Filter<Extract = (Caller,), Error = Rejection> + Copy + Send + Sync + 'static {
    warp::ext::optional::<Caller>().and_then(async |caller: Option<Caller>| {
        // The front door puts one into every request that it lets through.
        caller.ok_or_else(|| refuse(no_credentials()))
    })
}

/// Extracts the caller of a request that asks for `scope`: 401 without a caller, 403 without the scope. To be put after
/// path and method, so that a wrong path is a 404.
pub fn caller(
    scope: Scope,
) -> impl Filter<Extract = (Caller,), Error = Rejection> + Copy + Send + Sync + 'static {
    found().and_then(move |caller: Caller| {
        std::future::ready(match caller.require(scope) {
            Ok(()) => Ok(caller),
            Err(problem) => Err(refuse(problem)),
        })
    })
}

/// Extracts the caller of a stream: one that may read, or one with a grant, which the handler must then obey.
pub fn stream_caller() -> impl Filter<Extract = (Caller,), Error = Rejection> + Copy + Send + Sync + 'static {
    found().and_then(async |caller: Caller| {
        if caller.grant().is_some() {
            return Ok(caller);
        }
        match caller.require(Scope::Read) {
            Ok(()) => Ok(caller),
            Err(problem) => Err(refuse(problem)),
        }
    })
}

/// 401 for who says nothing of who they are.
pub fn no_credentials() -> Problem {
    unauthenticated("send `Authorization: Bearer phk_…`")
}

/// 401 `unauthenticated`.
pub fn unauthenticated(detail: impl Into<String>) -> Problem {
    Problem::new(ErrorCode::Unauthenticated, detail)
}
