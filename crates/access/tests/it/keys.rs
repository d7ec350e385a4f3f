//! Making and showing keys, and what who has none hears.

use std::sync::Arc;

use posthaste_http::Credentials;
use posthaste_types::api_key::RANDOM_BYTES;
use posthaste_types::{ApiKey, Scope};
use serde_json::json;

use crate::world::{World, run};

#[test]
fn a_key_is_shown_once_and_comes_in_everywhere_with_its_scopes() {
    run(async {
        let world = World::new().await;
        let (_, admin) = world.key("acme", &[Scope::Admin]).await;
        let (here, there) = (world.process().await, world.process().await);
        let body = json!({ "name": "shop", "scopes": ["read", "submit", "read"] });
        let answer = here.call(&admin, "POST", "/v1/keys", Some(body)).await;
        let made = answer.json(201);
        let id = made["id"].as_str().unwrap();
        assert_eq!(answer.header("location"), Some(&*format!("/v1/keys/{id}")));
        assert_eq!(made["scopes"], json!(["submit", "read"]));

        let key = answer.key();
        let caller = here
            .caller(&key)
            .expect("the process that made it knows it at once");
        assert_eq!(caller.tenant(), "acme");
        assert!(caller.require(Scope::Submit).is_ok() && caller.require(Scope::Read).is_ok());
        assert_eq!(caller.require(Scope::Admin).unwrap_err().status, 403);
        assert_eq!(there.knows(&key).await.actor().to_string(), id);

        for path in ["/v1/keys", &format!("/v1/keys/{id}"), "/v1/audit"] {
            let shown = there.call(&admin, "GET", path, None).await;
            assert_eq!(shown.status(), 200);
            assert!(shown.text().contains(id));
            assert!(!shown.text().contains(&key.expose()[key.prefix().len()..]));
        }
    });
}

#[test]
fn who_has_no_key_hears_why_and_nothing_is_repeated() {
    run(async {
        let world = World::new().await;
        // One prefix, two secrets: the prefix is made of the first sixteen bytes.
        let mut random = [3; RANDOM_BYTES];
        let unknown = ApiKey::from_random(&random);
        let (_, key) = world.key("acme", &[Scope::Read]).await;
        let process = world.process().await;
        random[..16].fill(9);
        let text = key.expose();
        let flip = if text.ends_with('a') { "b" } else { "a" };
        let mistyped = format!("{}{flip}", &text[..text.len() - 1]);
        let refused = |credentials| process.door.authenticate(credentials).err().unwrap();
        for (credentials, detail) in [
            (Credentials::None, "send `Authorization"),
            (Credentials::Bearer("hunter2-hunter2"), "a key is `phk_`"),
            (Credentials::Bearer(&mistyped), "mistyped"),
            (Credentials::Bearer(unknown.expose()), "there is no such key"),
            (Credentials::Token("hunter2-hunter2"), "no stream token"),
            (Credentials::Token(text), "no stream token"),
        ] {
            let problem = refused(credentials);
            assert_eq!((problem.status, problem.code.as_str()), (401, "unauthenticated"));
            assert!(problem.detail.contains(detail), "{}", problem.detail);
            assert!(!problem.detail.contains("hunter2") && !problem.detail.contains(&text[4..]));
        }
    });
}

#[test]
fn a_guessed_secret_behind_a_known_prefix_is_as_unknown_as_any() {
    run(async {
        let world = World::new().await;
        let (_, admin) = world.key("acme", &[Scope::Admin]).await;
        let process = world.process().await;
        let known = ApiKey::from_random(&[3; RANDOM_BYTES]);
        let mut random = [4; RANDOM_BYTES];
        random[..16].fill(3);
        let guessed = ApiKey::from_random(&random);
        assert_eq!(known.prefix(), guessed.prefix());
        let caller = process.caller(&admin).unwrap();
        let mut row = world
            .store
            .keys("acme", None, 1)
            .await
            .unwrap()
            .remove(0)
            .unwrap();
        row.id = posthaste_runtime::ids::key_id();
        (row.prefix, row.hash) = (known.prefix().to_owned(), known.hash());
        let act = posthaste_store::Act {
            tenant: "acme",
            actor: caller.actor().to_string(),
            action: "key.create",
            details: json!({}),
            at: row.created_at,
        };
        world.store.add_key(&row, &act).await.unwrap();
        process.knows(&known).await;
        let problem = process.caller(&guessed).err().unwrap();
        assert!(problem.detail.contains("there is no such key"));
        // The same prefix twice is refused by the record: the maker takes another.
        assert!(world.store.add_key(&row, &act).await.is_err());
    });
}

#[test]
fn what_a_key_cannot_be_is_refused_by_its_field() {
    run(async {
        let world = World::new().await;
        let (id, admin) = world.key("acme", &[Scope::Admin]).await;
        let process = world.process().await;
        for (path, body, pointer) in [
            (
                "/v1/keys".to_owned(),
                json!({ "name": "", "scopes": ["read"] }),
                "/name",
            ),
            (
                "/v1/keys".to_owned(),
                json!({ "name": "a\nb", "scopes": ["read"] }),
                "/name",
            ),
            (
                "/v1/keys".to_owned(),
                json!({ "name": "x".repeat(101), "scopes": ["read"] }),
                "/name",
            ),
            (
                "/v1/keys".to_owned(),
                json!({ "name": "a", "scopes": [] }),
                "/scopes",
            ),
            (
                "/v1/keys".to_owned(),
                json!({ "name": "a", "scopes": ["root"] }),
                "/scopes",
            ),
            (
                "/v1/keys".to_owned(),
                json!({ "name": "a", "scopes": ["read"], "tenant": "b" }),
                "/tenant",
            ),
            (
                "/v1/keys".to_owned(),
                json!({ "name": "a", "scopes": ["read"], "expires_at": "2020-01-01T00:00:00Z" }),
                "/expires_at",
            ),
            (
                "/v1/keys".to_owned(),
                json!({ "name": "a", "scopes": ["read"], "expires_at": "+20000-01-01T00:00:00Z" }),
                "/expires_at",
            ),
            (
                format!("/v1/keys/{id}/rotate"),
                json!({ "overlap_s": 2_592_001 }),
                "/overlap_s",
            ),
        ] {
            let answer = process.call(&admin, "POST", &path, Some(body.clone())).await;
            let problem = answer.json(400);
            assert_eq!(problem["errors"][0]["pointer"], pointer, "{body} {problem}");
        }
        let keys = process.call(&admin, "GET", "/v1/keys", None).await.json(200);
        assert_eq!(keys["keys"].as_array().unwrap().len(), 1);
    });
}

#[test]
fn another_tenants_keys_do_not_exist() {
    run(async {
        let world = World::new().await;
        let (theirs, their_key) = world.key("other", &[Scope::Admin]).await;
        let (_, ours) = world.key("acme", &[Scope::Admin]).await;
        let (_, weak) = world.key("acme", &[Scope::Read, Scope::Submit]).await;
        let process = world.process().await;
        let path = format!("/v1/keys/{theirs}");
        let rotate = format!("{path}/rotate");
        for (method, path, body) in [
            ("GET", path.as_str(), None),
            ("DELETE", &path, None),
            ("POST", &rotate, Some(json!({}))),
            ("GET", "/v1/keys/nonsense", None),
        ] {
            let answer = process.call(&ours, method, path, body.clone()).await;
            assert_eq!(answer.json(404)["code"], "not_found", "{method} {path}");
            assert_eq!(process.call(&weak, method, path, body).await.status(), 403);
        }
        for path in ["/v1/keys", "/v1/audit"] {
            let answer = process.call(&ours, "GET", path, None).await;
            assert!(!answer.text().contains(&theirs.to_string()), "{path}");
        }
        process.caller(&their_key).expect("it was not touched");
    });
}

#[test]
fn keys_made_at_once_by_many_are_all_known_everywhere() {
    run(async {
        let world = Arc::new(World::new().await);
        let process = world.process().await;
        let making: Vec<_> = (0..12)
            .map(|number| {
                let world = Arc::clone(&world);
                tokio::spawn(async move { world.key(&format!("t{}", number % 3), &[Scope::Read]).await.1 })
            })
            .collect();
        for made in making {
            process.knows(&made.await.unwrap()).await;
        }
    });
}

#[test]
fn lists_come_in_pages_newest_first_and_count_the_admin_keys() {
    run(async {
        let world = World::new().await;
        let (first, admin) = world.key("acme", &[Scope::Admin]).await;
        let mut ids = vec![first];
        for _ in 0..4 {
            ids.push(world.key("acme", &[Scope::Read]).await.0);
        }
        let process = world.process().await;
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("/v1/keys?limit=2&cursor={cursor}");
            let page = process.call(&admin, "GET", &path, None).await.json(200);
            assert_eq!(page["usable_admin_keys"], 1);
            let keys = page["keys"].as_array().unwrap();
            seen.extend(keys.iter().map(|key| key["id"].as_str().unwrap().to_owned()));
            match page["next"].as_str() {
                Some(next) => next.clone_into(&mut cursor),
                None => break,
            }
        }
        let newest_first: Vec<String> = ids.iter().rev().map(ToString::to_string).collect();
        assert_eq!(seen, newest_first);
        for query in ["limit=0", "limit=201", "cursor=x", "color=red"] {
            let path = format!("/v1/keys?{query}");
            assert_eq!(
                process.call(&admin, "GET", &path, None).await.status(),
                400,
                "{query}"
            );
        }
    });
}
