//! What operators ask of connectors and what these say of themselves: durable, told to whoever lives, and silent at rest.

use posthaste_runtime::{Clock as _, SystemClock};
use posthaste_store::{Act, Asked, AuditFilter, ConnectorSession};
use serde_json::json;

use crate::world::{World, with_world};

fn act(action: &'static str) -> Act<'static> {
    Act {
        tenant: "default",
        actor: "cli".to_owned(),
        action,
        details: json!({}),
        at: SystemClock.now(),
    }
}

async fn pause(world: &World, is_paused: bool) {
    let action = if is_paused {
        "connector.pause"
    } else {
        "connector.resume"
    };
    let act = act(action);
    let set = world.store.set_connector_paused("posthaste", is_paused, &act);
    set.await.unwrap();
}

async fn enter(world: &World, instance: &str) -> ConnectorSession {
    let session = world
        .store
        .connector_session("posthaste", instance, "at_least_once");
    session.await.unwrap().expect("the schema is there")
}

/// The names of the connectors that live, with their states.
async fn living(world: &World) -> Vec<(String, String)> {
    let record = world.store.connector("posthaste").await.unwrap().unwrap();
    let said = record.instances.into_iter();
    said.map(|instance| (instance.name, instance.state)).collect()
}

#[test]
fn what_is_asked_is_told_to_every_connector_and_noted_when_it_changes() {
    with_world("connectors_asked", async |world| {
        let (first, second) = (enter(&world, "a:1").await, enter(&world, "b:2").await);
        assert_eq!(
            first.tell("streaming", None, None).await.unwrap(),
            Asked::default()
        );
        for is_paused in [true, true, false, true] {
            pause(&world, is_paused).await;
            for session in [&first, &second] {
                let asked = session.tell("streaming", None, None).await.unwrap();
                assert_eq!(
                    (asked.is_paused, asked.changed_by.as_deref()),
                    (is_paused, Some("cli"))
                );
            }
        }
        let later = enter(&world, "c:3").await;
        assert!(later.tell("waiting", None, None).await.unwrap().is_paused);
        let entries = world.store.audit(&AuditFilter::default(), 10).await.unwrap();
        let acts: Vec<&str> = entries.iter().rev().map(|entry| entry.action.as_str()).collect();
        assert_eq!(acts, ["connector.pause", "connector.resume", "connector.pause"]);
        assert!(entries.iter().all(|entry| entry.object == "posthaste"));
    });
}

#[test]
fn a_slot_that_nobody_reads_cannot_be_paused() {
    with_world("connectors_unknown", async |world| {
        pause(&world, true).await;
        assert_eq!(world.store.connector("posthaste").await.unwrap(), None);
        assert!(
            world
                .store
                .audit(&AuditFilter::default(), 1)
                .await
                .unwrap()
                .is_empty()
        );
        world.store.ensure_connector("posthaste").await.unwrap();
        pause(&world, true).await;
        let record = world.store.connector("posthaste").await.unwrap().unwrap();
        assert!(record.asked.is_paused && record.slot_state.is_none());
    });
}

#[test]
fn a_connector_is_there_as_long_as_its_session_and_no_longer() {
    with_world("connectors_alive", async |world| {
        let (holder, standby) = (enter(&world, "a:1").await, enter(&world, "b:2").await);
        holder.tell("streaming", None, None).await.unwrap();
        standby.tell("standby", None, None).await.unwrap();
        let pair = |name: &str, state: &str| (name.to_owned(), state.to_owned());
        assert_eq!(
            living(&world).await,
            [pair("a:1", "streaming"), pair("b:2", "standby")]
        );
        drop(holder);
        // The server ends a session a moment after its client has gone.
        while living(&world).await.len() > 1 {}
        assert_eq!(living(&world).await, [pair("b:2", "standby")]);
        let _third = enter(&world, "c:3").await;
        let rows = "select count(*) from posthaste.connector_instances where slot = 'posthaste'";
        assert_eq!(world.count(rows, &[]).await, 2);
    });
}

#[test]
fn a_connector_with_nothing_new_to_say_writes_nothing() {
    with_world("connectors_quiet", async |world| {
        let session = enter(&world, "a:1").await;
        let version = "select xmin::text from posthaste.connector_instances";
        let version = async || -> String { world.query(version, &[]).await[0].get(0) };
        let waits = Some("the broker is away");
        let mut seen = version().await;
        let mut is_written = async |state, waits_for, behind_s| {
            session.tell(state, waits_for, behind_s).await.unwrap();
            let before = std::mem::replace(&mut seen, version().await);
            before != seen
        };
        assert!(is_written("streaming", None, None).await);
        assert!(!is_written("streaming", None, None).await);
        assert!(is_written("waiting", waits, None).await);
        assert!(!is_written("waiting", waits, None).await);
        assert!(is_written("waiting", waits, Some(20)).await);
        assert!(!is_written("waiting", waits, Some(22)).await);
        assert!(is_written("waiting", waits, Some(40)).await);
        let record = world.store.connector("posthaste").await.unwrap().unwrap();
        let [said] = record.instances.as_slice() else {
            panic!("{record:?}")
        };
        assert_eq!(said.waits_for.as_deref(), waits);
        assert!(said.behind_s.is_some_and(|seconds| (40..60).contains(&seconds)));
        assert!(is_written("streaming", None, None).await);
        assert_eq!(living(&world).await.len(), 1);
    });
}
