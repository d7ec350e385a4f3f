//! Stream tokens: what they open, for how long, and what they die with.

use chrono::{DateTime, TimeDelta, Utc};
use posthaste_access::rotate_stream_secret;
use posthaste_http::StreamGrant;
use posthaste_runtime::Clock as _;
use posthaste_store::AuditFilter;
use posthaste_types::{ApiKey, Scope};
use serde_json::{Value, json};

use crate::world::{Process, World, eventually, run, within};

async fn token(process: &Process, key: &ApiKey, body: Value) -> String {
    let answer = process.call(key, "POST", "/v1/stream-tokens", Some(body)).await;
    answer.json(201)["token"].as_str().unwrap().to_owned()
}

#[test]
fn a_token_opens_what_it_names_in_its_tenant_and_nothing_else_on_every_process() {
    run(async {
        let world = World::new().await;
        let (id, key) = world.key("acme", &[Scope::Read]).await;
        let (here, there) = (world.process().await, world.process().await);
        let channels = token(&here, &key, json!({ "channels": ["orders", "ü"] })).await;
        let task_id = posthaste_runtime::ids::task_id();
        let task = token(&here, &key, json!({ "task": task_id })).await;
        let caller = there.caller_by_token(&channels).unwrap();
        assert_eq!(
            caller.grant(),
            Some(&StreamGrant::Channels(vec!["orders".to_owned(), "ü".to_owned()]))
        );
        assert_eq!(caller.tenant(), "acme");
        assert_eq!(caller.actor().to_string(), format!("stream token of {id}"));
        let by_task = there.caller_by_token(&task).unwrap();
        assert_eq!(by_task.grant(), Some(&StreamGrant::Task(task_id)));
        for scope in Scope::ALL {
            assert_eq!(caller.require(scope).unwrap_err().status, 403);
        }
        // Nor can it ask for another, or look at keys.
        let body = Some(json!({ "channels": ["all"] }));
        let answer = here
            .call_as(caller.clone(), "POST", "/v1/stream-tokens", body)
            .await;
        assert_eq!(answer.status(), 403);
        assert_eq!(here.call_as(caller, "GET", "/v1/keys", None).await.status(), 403);
    });
}

#[test]
fn a_token_expires_and_dies_with_its_key() {
    run(async {
        let world = World::new().await;
        let (id, key) = world.key("acme", &[Scope::Read]).await;
        let process = world.process().await;
        let body = json!({ "channels": ["orders"], "ttl_s": 60 });
        let answer = process.call(&key, "POST", "/v1/stream-tokens", Some(body)).await;
        let made = answer.json(201);
        let expires_at: DateTime<Utc> = made["expires_at"].as_str().unwrap().parse().unwrap();
        let short = made["token"].as_str().unwrap();
        let long = token(&process, &key, json!({ "channels": ["orders"] })).await;
        let caller = process.caller_by_token(short).unwrap();
        world.clock.forward(expires_at - world.clock.now());
        let refused = process.caller_by_token(short).err().unwrap();
        assert!(refused.status == 401 && refused.detail.contains("expired"));
        assert!(!caller.ended().is_stopped(), "an open stream goes on");

        process.caller_by_token(&long).unwrap();
        world.keys().revoke("acme", "cli".to_owned(), id).await.unwrap();
        within("the stream ends", caller.ended().stopped()).await;
        assert_eq!(process.caller_by_token(&long).err().unwrap().status, 401);
    });
}

#[test]
fn a_tampered_token_and_one_of_another_database_open_nothing() {
    run(async {
        let (world, elsewhere) = (World::new().await, World::new().await);
        let (_, key) = world.key("acme", &[Scope::Read]).await;
        let (_, their_key) = elsewhere.key("acme", &[Scope::Read]).await;
        let (process, their_process) = (world.process().await, elsewhere.process().await);
        let body = json!({ "channels": ["orders"] });
        let good = token(&process, &key, body.clone()).await;
        let theirs = token(&their_process, &their_key, body).await;
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let other = token(&process, &key, json!({ "channels": ["secret"] })).await;
        let mixed = format!("{}.{signature}", other.rsplit_once('.').unwrap().0);
        for text in [
            theirs.as_str(),
            &mixed,
            signed,
            &format!("{signed}."),
            &good[1..],
            key.expose(),
            "",
        ] {
            assert_eq!(
                process.caller_by_token(text).err().map(|problem| problem.status),
                Some(401),
                "{text}"
            );
        }
        process.caller_by_token(&good).unwrap();
    });
}

#[test]
fn after_a_rotation_old_tokens_live_to_their_end_and_new_ones_open_streams_on_every_process() {
    run(async {
        let world = World::new().await;
        let (_, key) = world.key("acme", &[Scope::Read]).await;
        let (here, there) = (world.process().await, world.process().await);
        let body = json!({ "channels": ["orders"] });
        let old = token(&here, &key, body.clone()).await;
        let stream = there.caller_by_token(&old).unwrap();
        for _ in 0..2 {
            rotate_stream_secret(&world.store, &*world.clock, "ops", "cli".to_owned(), false)
                .await
                .unwrap();
        }
        let late = world.process().await;
        let new = token(&late, &key, body).await;
        eventually("the new secret is known", || there.caller_by_token(&new).is_ok()).await;
        late.caller_by_token(&old).unwrap();
        there.caller_by_token(&old).unwrap();
        assert!(!stream.ended().is_stopped());
        world.clock.forward(TimeDelta::seconds(900));
        assert_eq!(there.caller_by_token(&old).err().unwrap().status, 401);
    });
}

#[test]
fn tokens_that_are_taken_back_end_at_once_with_their_streams_and_the_key_goes_on() {
    run(async {
        let world = World::new().await;
        let (_, key) = world.key("acme", &[Scope::Read]).await;
        let process = world.process().await;
        let body = json!({ "channels": ["orders"] });
        let old = token(&process, &key, body.clone()).await;
        let stream = process.caller_by_token(&old).unwrap();
        rotate_stream_secret(&world.store, &*world.clock, "ops", "cli".to_owned(), true)
            .await
            .unwrap();
        within("the stream ends", stream.ended().stopped()).await;
        let refused = process.caller_by_token(&old).err().unwrap();
        assert!(
            refused.status == 401 && refused.detail.contains("taken back"),
            "{refused:?}"
        );
        let new = token(&process, &key, body).await;
        assert!(!process.caller_by_token(&new).unwrap().ended().is_stopped());
        let filter = AuditFilter {
            action: Some("stream_secret.rotate".to_owned()),
            ..AuditFilter::default()
        };
        let entries = world.store.audit(&filter, 10).await.unwrap();
        assert_eq!(entries[0].details, json!({ "ends_tokens": true }));
    });
}

#[test]
fn what_a_token_cannot_be_is_refused_by_its_field() {
    run(async {
        let world = World::new().await;
        let (_, key) = world.key("acme", &[Scope::Read]).await;
        let (_, submitter) = world.key("acme", &[Scope::Submit]).await;
        let process = world.process().await;
        let task = posthaste_runtime::ids::task_id();
        let long = vec!["x".repeat(256); 16];
        for (body, pointer) in [
            (json!({}), ""),
            (json!({ "channels": ["a"], "task": task }), ""),
            (json!({ "channels": [] }), "/channels"),
            (json!({ "channels": [""] }), "/channels"),
            (json!({ "channels": ["x".repeat(257)] }), "/channels"),
            (json!({ "channels": vec!["a"; 17] }), "/channels"),
            (json!({ "channels": long }), "/channels"),
            (json!({ "task": task, "ttl_s": 0 }), "/ttl_s"),
            (json!({ "task": task, "ttl_s": 901 }), "/ttl_s"),
        ] {
            let answer = process
                .call(&key, "POST", "/v1/stream-tokens", Some(body.clone()))
                .await;
            assert_eq!(answer.json(400)["errors"][0]["pointer"], pointer, "{body}");
        }
        let body = Some(json!({ "task": task }));
        let answer = process.call(&submitter, "POST", "/v1/stream-tokens", body).await;
        assert_eq!(answer.status(), 403);
    });
}
