//! The audit log: an entry for each act, in its transaction, and none without.

use posthaste_store::AuditFilter;
use posthaste_types::Scope;
use serde_json::{Value, json};

use crate::world::{Process, World, run};
use posthaste_types::ApiKey;

async fn entries(process: &Process, key: &ApiKey, query: &str) -> Vec<Value> {
    let path = format!("/v1/audit?{query}");
    let page = process.call(key, "GET", &path, None).await.json(200);
    page["entries"].as_array().unwrap().clone()
}

#[test]
fn every_act_leaves_its_entry_without_the_secret() {
    run(async {
        let world = World::new().await;
        let (admin_id, admin) = world.key("acme", &[Scope::Admin]).await;
        let (other_id, _) = world.key("other", &[Scope::Admin]).await;
        let process = world.process().await;
        let body = json!({ "name": "shop", "scopes": ["read"] });
        let made = process.call(&admin, "POST", "/v1/keys", Some(body)).await;
        let id = made.json(201)["id"].as_str().unwrap().to_owned();
        let rotated = process
            .call(&admin, "POST", &format!("/v1/keys/{id}/rotate"), Some(json!({})))
            .await;
        let new_id = rotated.json(201)["id"].as_str().unwrap().to_owned();
        let path = format!("/v1/keys/{new_id}");
        process.call(&admin, "DELETE", &path, None).await;
        // What changes nothing leaves none, and neither does what is refused.
        process.call(&admin, "DELETE", &path, None).await;
        let nobodys = format!("/v1/keys/{other_id}");
        process.call(&admin, "DELETE", &nobodys, None).await;

        let entries = entries(&process, &admin, "").await;
        let told: Vec<_> = entries
            .iter()
            .map(|entry| {
                (
                    entry["action"].as_str().unwrap(),
                    entry["object"].as_str().unwrap(),
                    entry["actor"].as_str().unwrap(),
                )
            })
            .collect();
        let (actor, first) = (admin_id.to_string(), admin_id.to_string());
        assert_eq!(
            told,
            [
                ("key.revoke", new_id.as_str(), actor.as_str()),
                ("key.rotate", &new_id, &actor),
                ("key.create", &id, &actor),
                ("key.create", &first, "cli"),
            ]
        );
        assert_eq!(
            entries[1]["details"],
            json!({ "rotated_from": id, "overlap_s": 86_400 })
        );
        assert_eq!(entries[2]["details"]["scopes"], json!(["read"]));
        let text = serde_json::to_string(&entries).unwrap();
        for key in [made.key(), rotated.key()] {
            assert!(!text.contains(&key.expose()[key.prefix().len()..]));
        }
    });
}

#[test]
fn entries_come_by_action_and_in_pages() {
    run(async {
        let world = World::new().await;
        let (_, admin) = world.key("acme", &[Scope::Admin]).await;
        let (id, _) = world.key("acme", &[Scope::Read]).await;
        world.keys().revoke("acme", "cli".to_owned(), id).await.unwrap();
        let process = world.process().await;
        let revoked = entries(&process, &admin, "action=key.revoke").await;
        assert_eq!(revoked.len(), 1);
        assert_eq!(revoked[0]["object"], id.to_string());
        assert!(entries(&process, &admin, "action=nothing").await.is_empty());
        let refused = process.call(&admin, "GET", "/v1/audit?action=%00", None).await;
        assert_eq!(refused.json(400)["code"], "invalid_parameter");
        let page = process
            .call(&admin, "GET", "/v1/audit?limit=2", None)
            .await
            .json(200);
        let next = page["next"].as_str().unwrap();
        let rest = entries(&process, &admin, &format!("limit=2&cursor={next}")).await;
        assert_eq!(rest.len(), 1);
        assert_eq!(rest[0]["details"]["scopes"], json!(["admin"]));
    });
}

#[test]
fn an_act_that_fails_leaves_no_entry() {
    run(async {
        let world = World::new().await;
        let (_, _) = world.key("acme", &[Scope::Read]).await;
        let row = world
            .store
            .keys("acme", None, 1)
            .await
            .unwrap()
            .remove(0)
            .unwrap();
        let act = posthaste_store::Act {
            tenant: "acme",
            actor: "cli".to_owned(),
            action: "key.create",
            details: json!({}),
            at: row.created_at,
        };
        world
            .store
            .add_key(&row, &act)
            .await
            .expect_err("the id is taken");
        let all = world.store.audit(&AuditFilter::default(), 10).await.unwrap();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].tenant, "acme");
    });
}
