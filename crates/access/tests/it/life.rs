//! How keys end: revoked, rotated, expired; and what ends with them.

use chrono::TimeDelta;
use posthaste_api::NewKey;
use posthaste_runtime::Clock as _;
use posthaste_types::Scope;
use serde_json::json;

use crate::world::{World, eventually, run, within};

#[test]
fn a_revoked_key_is_refused_by_every_process_and_ends_what_it_has_open() {
    run(async {
        let world = World::new().await;
        let (_, admin) = world.key("acme", &[Scope::Admin]).await;
        let (id, key) = world.key("acme", &[Scope::Read]).await;
        let (here, there) = (world.process().await, world.process().await);
        let (open_here, open_there) = (here.caller(&key).unwrap(), there.caller(&key).unwrap());
        assert!(!open_here.ended().is_stopped() && !open_there.ended().is_stopped());

        let path = format!("/v1/keys/{id}");
        assert_eq!(here.call(&admin, "DELETE", &path, None).await.status(), 204);
        let refused = here
            .caller(&key)
            .err()
            .expect("the process that revoked it knows at once");
        assert!(
            refused.status == 401 && refused.detail.contains("revoked"),
            "{}",
            refused.detail
        );
        within("the other ends what is open", open_there.ended().stopped()).await;
        assert_eq!(there.caller(&key).err().unwrap().status, 401);
        assert!(open_here.ended().is_stopped());
        assert!(!here.caller(&admin).unwrap().ended().is_stopped());

        let first = here.call(&admin, "GET", &path, None).await.json(200);
        let again = there.call(&admin, "DELETE", &path, None).await;
        assert_eq!((again.status(), again.text()), (204, ""));
        assert_eq!(here.call(&admin, "GET", &path, None).await.json(200), first);
        assert_eq!(
            first["revoked_at"].as_str().map(|at| at.ends_with('Z')),
            Some(true)
        );
    });
}

#[test]
fn a_rotated_key_goes_on_for_the_overlap_beside_the_new_one() {
    run(async {
        let world = World::new().await;
        let (_, admin) = world.key("acme", &[Scope::Admin]).await;
        let (id, old) = world.key("acme", &[Scope::Submit]).await;
        let process = world.process().await;
        let path = format!("/v1/keys/{id}/rotate");
        let answer = process
            .call(&admin, "POST", &path, Some(json!({ "overlap_s": 60 })))
            .await;
        let new = answer.key();
        let made = answer.json(201);
        assert_eq!(made["rotated_from"], id.to_string());
        assert_eq!(made["scopes"], json!(["submit"]));
        assert_eq!(made["expires_at"], json!(null));
        assert!(process.caller(&old).is_ok() && process.caller(&new).is_ok());

        world.clock.forward(TimeDelta::seconds(61));
        let refused = process.caller(&old).err().unwrap();
        assert!(refused.detail.contains("expired"), "{}", refused.detail);
        process.caller(&new).unwrap();
        let again = process.call(&admin, "POST", &path, Some(json!({}))).await;
        assert_eq!(again.json(409)["code"], "state_conflict");
    });
}

#[test]
fn a_rotation_never_lengthens_the_old_key_and_gives_the_new_one_as_long_a_life() {
    run(async {
        let world = World::new().await;
        let keys = world.keys();
        let new = NewKey {
            name: "short".to_owned(),
            scopes: vec![Scope::Read],
            expires_at: Some(world.clock.now() + TimeDelta::minutes(10)),
        };
        let old = keys.create("acme", "cli".to_owned(), new).await.unwrap().row;
        let issued = keys
            .rotate("acme", "cli".to_owned(), old.id, Some(86_400))
            .await
            .unwrap();
        let after = keys.one("acme", old.id).await.unwrap();
        assert_eq!(after.expires_at, old.expires_at);
        let life = issued.row.expires_at.unwrap() - issued.row.created_at;
        assert_eq!(life, old.expires_at.unwrap() - old.created_at);
    });
}

#[test]
fn a_key_that_lives_to_the_last_year_is_rotated_within_it() {
    run(async {
        let world = World::new().await;
        let keys = world.keys();
        let last = "9999-12-31T23:59:59.999999Z".parse().unwrap();
        let new = NewKey {
            name: "long".to_owned(),
            scopes: vec![Scope::Read],
            expires_at: Some(last),
        };
        let old = keys.create("acme", "cli".to_owned(), new).await.unwrap().row;
        world.clock.forward(TimeDelta::days(1));
        let rotated = keys.rotate("acme", "cli".to_owned(), old.id, None).await.unwrap();
        assert_eq!(rotated.row.expires_at, Some(last));
    });
}

#[test]
fn a_key_expires_by_the_clock_and_ends_what_it_has_open() {
    run(async {
        let world = World::new().await;
        let new = NewKey {
            name: "short".to_owned(),
            scopes: vec![Scope::Read],
            expires_at: Some(world.clock.now() + TimeDelta::minutes(3)),
        };
        let issued = world.keys().create("acme", "cli".to_owned(), new).await.unwrap();
        let process = world.process().await;
        let caller = process.caller(&issued.key).unwrap();
        world.clock.forward(TimeDelta::minutes(2));
        assert!(process.caller(&issued.key).is_ok() && !caller.ended().is_stopped());
        world.clock.forward(TimeDelta::minutes(1));
        assert_eq!(process.caller(&issued.key).err().unwrap().status, 401);
        within("what is open ends", caller.ended().stopped()).await;
    });
}

#[test]
fn a_key_that_died_long_ago_is_forgotten() {
    run(async {
        let world = World::new().await;
        let (id, key) = world.key("acme", &[Scope::Read]).await;
        let process = world.process().await;
        world.keys().revoke("acme", "cli".to_owned(), id).await.unwrap();
        let detail = || process.caller(&key).err().map(|problem| problem.detail);
        eventually("it is revoked", || {
            detail().is_some_and(|detail| detail.contains("revoked"))
        })
        .await;
        world.clock.forward(TimeDelta::days(31));
        // A change makes the directory anew.
        world.key("acme", &[Scope::Read]).await;
        eventually("it is forgotten", || {
            detail().is_some_and(|detail| detail.contains("no such key"))
        })
        .await;
    });
}
