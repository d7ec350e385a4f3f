//! Who may look at connectors and pause them over HTTP, and what is told of it.

use std::sync::Arc;

use posthaste_http::{Actor, Caller, Quota, Routes, finish};
use posthaste_runtime::{SystemClock, ids};
use posthaste_store::{AuditFilter, Store, migrate};
use posthaste_types::{KeyId, Scope, Scopes};
use serde_json::Value;

use crate::common::store;
use crate::with_stack;

const SLOT: &str = "posthaste";

fn caller(tenant: &str, scopes: &[Scope]) -> (KeyId, Caller) {
    let id = ids::key_id();
    let actor = Actor::Key {
        id,
        prefix: "phk_test".into(),
    };
    let scopes: Scopes = scopes.iter().copied().collect();
    (
        id,
        Caller::new(tenant.into(), scopes, actor, Arc::new(Quota::default())),
    )
}

async fn ask(routes: &Routes, caller: &Caller, method: &str, path: &str) -> (u16, Value) {
    let request = warp::test::request().method(method).path(path);
    let answer = request.extension(caller.clone()).reply(routes).await;
    let body = serde_json::from_slice(answer.body()).unwrap();
    (answer.status().as_u16(), body)
}

/// A database of its own with the schema and one connector that is known.
async fn own_store(url: &str, name: &str) -> Store {
    let client = crate::common::connect(url).await;
    client
        .batch_execute(&format!("create database {name}"))
        .await
        .unwrap();
    let (server, _) = url.rsplit_once('/').unwrap();
    let store = store(&format!("{server}/{name}"));
    migrate(&store).await.unwrap();
    store.ensure_connector(SLOT).await.unwrap();
    store
}

fn routes(store: &Store, operators: &str) -> Routes {
    let connectors = posthaste_connector::Connectors::new(store.clone(), SystemClock::shared());
    finish(posthaste_connector::routes(connectors, operators))
}

#[test]
fn operators_pause_and_resume_and_each_change_is_noted_once() {
    with_stack(|stack| async {
        let store = own_store(stack.database_tcp_url(), "routes_operators").await;
        let routes = routes(&store, "default");
        let (id, admin) = caller("default", &[Scope::Admin]);
        let (status, list) = ask(&routes, &admin, "GET", "/v1/connectors").await;
        assert_eq!((status, &list["connectors"][0]["slot"]), (200, &SLOT.into()));
        for (act, is_paused) in [
            ("pause", true),
            ("pause", true),
            ("resume", false),
            ("resume", false),
        ] {
            let path = format!("/v1/connectors/{SLOT}/{act}");
            let (status, body) = ask(&routes, &admin, "POST", &path).await;
            assert_eq!((status, &body["is_paused"]), (200, &is_paused.into()), "{body}");
            let (status, seen) = ask(&routes, &admin, "GET", "/v1/connectors/posthaste").await;
            assert_eq!((status, &seen), (200, &body));
            let by = if is_paused {
                Value::from(id.to_string())
            } else {
                Value::Null
            };
            assert_eq!(seen["paused_by"], by);
            assert_eq!(seen["state"], "away");
        }
        let entries = store.audit(&AuditFilter::default(), 10).await.unwrap();
        let told: Vec<_> = entries
            .iter()
            .map(|entry| (entry.action.as_str(), entry.object.as_str()))
            .collect();
        assert_eq!(told, [("connector.resume", SLOT), ("connector.pause", SLOT)]);
        assert!(
            entries
                .iter()
                .all(|entry| entry.actor == id.to_string() && entry.tenant == "default")
        );
    });
}

#[test]
fn nobody_else_may_see_or_pause_a_connector() {
    with_stack(|stack| async {
        let store = own_store(stack.database_tcp_url(), "routes_others").await;
        let of_default = routes(&store, "default");
        let of_nobody = routes(&store, "");
        let (_, lesser) = caller("default", &[Scope::Submit, Scope::Read]);
        let (_, admin) = caller("default", &[Scope::Admin]);
        let (_, other) = caller("acme", &[Scope::Admin]);
        for (routes, caller) in [
            (&of_default, &lesser),
            (&of_default, &other),
            (&of_nobody, &admin),
        ] {
            for (method, path) in [
                ("GET", "/v1/connectors"),
                ("GET", "/v1/connectors/posthaste"),
                ("GET", "/v1/connectors/unknown"),
                ("POST", "/v1/connectors/posthaste/pause"),
                ("POST", "/v1/connectors/posthaste/resume"),
            ] {
                let (status, body) = ask(routes, caller, method, path).await;
                assert_eq!(
                    (status, &body["code"]),
                    (403, &"forbidden".into()),
                    "{method} {path}"
                );
            }
        }
        let record = store.connector(SLOT).await.unwrap().unwrap();
        assert_eq!((record.asked.is_paused, record.asked.changed_at), (false, None));
    });
}

#[test]
fn a_slot_that_no_connector_reads_is_not_there() {
    with_stack(|stack| async {
        let store = own_store(stack.database_tcp_url(), "routes_unknown").await;
        let routes = routes(&store, "default");
        let (_, admin) = caller("default", &[Scope::Admin]);
        for slot in ["unknown", &format!("{SLOT}{}", "_".repeat(100)), "%00", "a%20b"] {
            for (method, act) in [("GET", ""), ("POST", "/pause"), ("POST", "/resume")] {
                let path = format!("/v1/connectors/{slot}{act}");
                let (status, body) = ask(&routes, &admin, method, &path).await;
                assert_eq!(
                    (status, &body["code"]),
                    (404, &"not_found".into()),
                    "{method} {path}: {body}"
                );
            }
        }
        let (status, _) = ask(&routes, &admin, "GET", "/v1/connectors/posthaste/pause").await;
        assert_eq!(status, 405);
    });
}
