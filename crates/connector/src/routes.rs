//! The routes over which operators look at connectors and pause them. They need no connector in their process.
//!
//! A connector carries the tasks of every tenant, so an API key that is bound to one tenant must not stop it: the routes
//! are for keys of one tenant, the operators', which the configuration names. Whoever has the database's password may
//! always, by `posthaste connector`.

use std::convert::Infallible;
use std::sync::Arc;

use posthaste_api::{ConnectorList, Problem};
use posthaste_http::{Caller, HttpResponse, Routes, any_of, caller, get, json, no_query, post, reply};
use posthaste_types::{ErrorCode, Scope};
use warp::http::StatusCode;
use warp::{Filter, path};

use crate::connectors::Connectors;

/// What the routes need.
struct Desk {
    connectors: Connectors,
    /// The tenant whose keys may.
    operators: String,
}

/// Everything below `/v1/connectors`. `operators` is the tenant whose admin keys may come here; empty: nobody's.
pub fn routes(connectors: Connectors, operators: &str) -> Routes {
    let operators = operators.to_owned();
    let desk = Arc::new(Desk {
        connectors,
        operators,
    });
    any_of([list(&desk), one(&desk), pause(&desk), resume(&desk)])
}

fn with(
    desk: &Arc<Desk>,
) -> impl Filter<Extract = (Arc<Desk>,), Error = Infallible> + Clone + Send + Sync + 'static {
    let desk = Arc::clone(desk);
    warp::any().map(move || Arc::clone(&desk))
}

fn list(desk: &Arc<Desk>) -> Routes {
    path!("v1" / "connectors")
        .and(get())
        .and(with(desk))
        .and(caller(Scope::Admin))
        .and(no_query())
        .then(async |desk: Arc<Desk>, caller: Caller| reply(desk.list(&caller).await))
        .boxed()
}

fn one(desk: &Arc<Desk>) -> Routes {
    path!("v1" / "connectors" / String)
        .and(get())
        .and(with(desk))
        .and(caller(Scope::Admin))
        .and(no_query())
        .then(async |slot: String, desk: Arc<Desk>, caller: Caller| reply(desk.one(&caller, &slot).await))
        .boxed()
}

fn pause(desk: &Arc<Desk>) -> Routes {
    path!("v1" / "connectors" / String / "pause")
        .and(post())
        .and(with(desk))
        .and(caller(Scope::Admin))
        .and(no_query())
        .then(async |slot: String, desk: Arc<Desk>, caller: Caller| reply(desk.pause(&caller, &slot).await))
        .boxed()
}

fn resume(desk: &Arc<Desk>) -> Routes {
    path!("v1" / "connectors" / String / "resume")
        .and(post())
        .and(with(desk))
        .and(caller(Scope::Admin))
        .and(no_query())
        .then(async |slot: String, desk: Arc<Desk>, caller: Caller| reply(desk.resume(&caller, &slot).await))
        .boxed()
}

type Answer = Result<HttpResponse, Problem>;

impl Desk {
    async fn list(&self, caller: &Caller) -> Answer {
        self.admit(caller)?;
        let connectors = self.connectors.list().await?;
        Ok(json(StatusCode::OK, &ConnectorList { connectors }))
    }

    async fn one(&self, caller: &Caller, slot: &str) -> Answer {
        self.admit(caller)?;
        Ok(json(StatusCode::OK, &self.connectors.one(slot).await?))
    }

    async fn pause(&self, caller: &Caller, slot: &str) -> Answer {
        self.admit(caller)?;
        let actor = caller.actor().to_string();
        let paused = self.connectors.pause(caller.tenant(), actor, slot).await?;
        Ok(json(StatusCode::OK, &paused))
    }

    async fn resume(&self, caller: &Caller, slot: &str) -> Answer {
        self.admit(caller)?;
        let actor = caller.actor().to_string();
        let resumed = self.connectors.resume(caller.tenant(), actor, slot).await?;
        Ok(json(StatusCode::OK, &resumed))
    }

    /// 403 unless the caller is of the operators' tenant.
    fn admit(&self, caller: &Caller) -> Result<(), Problem> {
        if caller.tenant() == self.operators {
            return Ok(());
        }
        let detail =
            "connectors carry the tasks of all tenants, so they are for keys of the operators' tenant alone";
        Err(Problem::new(ErrorCode::Forbidden, detail))
    }
}
