//! The first key of an empty database, made by what `posthaste keys create` calls.

use posthaste_api::NewKey;
use posthaste_types::Scope;
use serde_json::json;

use crate::world::{World, run};

#[test]
fn the_first_key_needs_none_and_makes_the_others() {
    run(async {
        let world = World::new().await;
        assert!(!world.store.has_keys().await.unwrap());
        let process = world.process().await;
        let new = NewKey {
            name: "admin".to_owned(),
            scopes: vec![Scope::Admin],
            expires_at: None,
        };
        let issued = world
            .keys()
            .create("default", "cli".to_owned(), new)
            .await
            .unwrap();
        assert!(world.store.has_keys().await.unwrap());
        let caller = process.knows(&issued.key).await;
        assert_eq!(caller.tenant(), "default");
        let body = json!({ "name": "shop", "scopes": ["submit"] });
        let second = process
            .call(&issued.key, "POST", "/v1/keys", Some(body))
            .await
            .key();
        process.caller(&second).unwrap();
        let view = issued.into_view();
        assert!(view.key.is_some_and(|key| key.starts_with(&view.prefix)));
    });
}
