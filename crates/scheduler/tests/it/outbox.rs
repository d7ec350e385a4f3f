//! The outbox's partitions: made ahead, dropped once published.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use posthaste_runtime::{Clock as _, SystemClock};

use crate::{World, connect, with_world};

/// A slot that nobody reads.
pub(crate) struct Slot<'a>(&'a World, &'static str);

impl<'a> Slot<'a> {
    pub(crate) async fn new(world: &'a World, name: &'static str) -> Self {
        let slot = "select pg_create_logical_replication_slot($1, 'pgoutput')";
        world.database.execute(slot, &[&name]).await.unwrap();
        Self(world, name)
    }

    /// Confirms all that has been written.
    pub(crate) async fn confirm(&self) {
        let advance = "select pg_replication_slot_advance($1, pg_current_wal_flush_lsn())";
        self.0.database.execute(advance, &[&self.1]).await.unwrap();
    }

    pub(crate) async fn drop(self) {
        let drop = "select pg_drop_replication_slot($1)";
        self.0.database.execute(drop, &[&self.1]).await.unwrap();
    }
}

impl World {
    /// An outbox row, dated.
    async fn insert_outbox(&self, key: &str, at: DateTime<Utc>) {
        let sql =
            "insert into posthaste.outbox (id, aggregatetype, aggregateid, type, payload, tenant, created_at)
            values (gen_random_uuid(), 'results', $1, 'task.done', '', 'default', $2)";
        self.database.execute(sql, &[&key, &at]).await.unwrap();
    }

    /// In which partition each key's row is.
    async fn places(&self) -> BTreeMap<String, String> {
        let sql = "select aggregateid, tableoid::regclass::text from posthaste.outbox";
        let rows = self.database.query(sql, &[]).await.unwrap();
        rows.iter()
            .map(|row| (row.get(0), row.get::<_, String>(1).replace("posthaste.", "")))
            .collect()
    }
}

#[test]
fn outbox_partitions_are_made_ahead_and_are_short() {
    with_world("ahead", async |world| {
        let now = SystemClock.now();
        for minutes in [0, 1, 60, 6 * 60 - 6] {
            let key = minutes.to_string();
            world.insert_outbox(&key, now + TimeDelta::minutes(minutes)).await;
        }
        let places = world.places().await;
        assert!(
            places.values().all(|place| place != "outbox_default"),
            "{places:?}"
        );
        assert_ne!(places["0"], places["60"]);
        let later = now + TimeDelta::hours(6);
        let made = world.store.ensure_outbox(later, 2).await.unwrap();
        assert!((60..=73).contains(&made), "{made}");
        assert_eq!(world.store.ensure_outbox(later, 2).await.unwrap(), 0);
    });
}

#[test]
fn hours_of_the_outbox_that_an_earlier_version_made_are_kept_and_dropped_like_others() {
    with_world("hours", async |world| {
        let later = "2036-11-24T10:00:00Z".parse::<DateTime<Utc>>().unwrap();
        let add = "select posthaste.add_partition('outbox', 'outbox_2036112410', 'created_at', '2036-11-24T10:00:00Z',
            '2036-11-24T11:00:00Z', '')";
        world.database.execute(add, &[]).await.unwrap();
        let made = world.store.ensure_outbox(later, 2).await.unwrap();
        assert_eq!(
            made, 61,
            "five hours of five minutes, and the one that begins the sixth"
        );
        let slot = Slot::new(&world, "hours_test").await;
        let over = later + TimeDelta::hours(2);
        world.store.drop_published(over).await.unwrap();
        slot.confirm().await;
        let dropped = world.store.drop_published(over).await.unwrap();
        assert!(dropped.contains(&"outbox_2036112410".to_owned()), "{dropped:?}");
        slot.drop().await;
    });
}

#[test]
fn an_outbox_partition_goes_only_once_each_slot_is_past_it_and_none_is_missing() {
    with_world("slots", async |world| {
        let now = SystemClock.now();
        let (fast, slow) = (
            Slot::new(&world, "fast_test").await,
            Slot::new(&world, "slow_test").await,
        );
        world.insert_outbox("row", now).await;
        let place = world.places().await["row"].clone();
        let soon = now + TimeDelta::minutes(1);
        fast.confirm().await;
        let dropped = world.store.drop_published(soon).await.unwrap();
        assert!(
            !dropped.contains(&place),
            "its time is not over for long enough: {dropped:?}"
        );
        let over = now + TimeDelta::minutes(8);
        for _ in 0..2 {
            let dropped = world.store.drop_published(over).await.unwrap();
            assert!(!dropped.contains(&place), "a slot is behind: {dropped:?}");
            fast.confirm().await;
        }
        slow.confirm().await;
        // A slot that a connector has read, and that somebody dropped.
        let guard = "select posthaste.guard_wal('gone_test', true, null, 0.95)";
        world.database.execute(guard, &[]).await.unwrap();
        assert_eq!(world.store.missing_slots().await.unwrap(), ["gone_test"]);
        assert_eq!(world.store.drop_published(over).await.unwrap(), [""; 0]);
        let gone = Slot::new(&world, "gone_test").await;
        gone.confirm().await;
        assert_eq!(world.store.missing_slots().await.unwrap(), [""; 0]);
        let dropped = world.store.drop_published(over).await.unwrap();
        assert!(dropped.contains(&place), "{dropped:?}");
        for slot in [fast, slow, gone] {
            slot.drop().await;
        }
    });
}

#[test]
fn a_transaction_that_is_open_for_long_holds_up_a_drop_and_the_drop_holds_up_nobody() {
    with_world("open", async |world| {
        let now = SystemClock.now();
        world.insert_outbox("old", now).await;
        let place = world.places().await["old"].clone();
        let slot = Slot::new(&world, "open_test").await;
        let over = now + TimeDelta::minutes(8);
        // Closed, and confirmed below.
        world.store.drop_published(over).await.unwrap();
        slot.confirm().await;
        let open = connect(&world.url).await;
        open.batch_execute("begin").await.unwrap();
        let insert = "insert into posthaste.outbox (id, aggregatetype, aggregateid, type, payload, tenant, created_at)
            values (gen_random_uuid(), 'results', 'open', 'task.done', '', 'default', now() + interval '30 minutes')";
        open.batch_execute(insert).await.unwrap();
        let impatient = "set lock_timeout = '20ms'";
        world.database.batch_execute(impatient).await.unwrap();
        let mut drop = Box::pin(world.store.drop_published(over));
        let dropped = loop {
            tokio::select! {
                dropped = &mut drop => break dropped.unwrap(),
                // It fails when it has to wait for the drop.
                inserted = world.database.batch_execute(insert) => inserted.unwrap(),
            }
        };
        assert!(!dropped.contains(&place), "{dropped:?}");
        open.batch_execute("commit").await.unwrap();
        let dropped = world.store.drop_published(over).await.unwrap();
        assert!(dropped.contains(&place), "{dropped:?}");
        slot.drop().await;
    });
}

#[test]
fn what_the_net_of_the_outbox_caught_is_put_aside_whole_and_goes_once_it_is_published() {
    with_world("net", async |world| {
        let now = SystemClock.now();
        let slot = Slot::new(&world, "net_test").await;
        let far = now + TimeDelta::days(1);
        for number in 0..100 {
            world.insert_outbox(&number.to_string(), far).await;
        }
        assert!(
            world
                .places()
                .await
                .values()
                .all(|place| place == "outbox_default")
        );
        // Of the same time as the rows: they are not moved, which would publish them once more.
        assert_eq!(world.store.ensure_outbox(far, 2).await.unwrap(), 73);
        assert_eq!(world.places().await, BTreeMap::new());
        let aside = "select count(distinct id), count(*) from posthaste.outbox_aside()";
        let aside = async || {
            let row = world.database.query_one(aside, &[]).await.unwrap();
            (row.get::<_, i64>(0), row.get::<_, i64>(1))
        };
        assert_eq!(aside().await, (100, 100));
        world.insert_outbox("next", far).await;
        assert_ne!(world.places().await["next"], "outbox_default");
        assert_eq!(world.store.drop_published(now).await.unwrap(), [""; 0]);
        slot.confirm().await;
        let dropped = world.store.drop_published(now).await.unwrap();
        assert!(
            dropped.len() == 1 && dropped[0].starts_with("outbox_net_"),
            "{dropped:?}"
        );
        assert_eq!(aside().await, (0, 0));
        let changes = "select pg_stat_get_tuples_deleted(oid) + pg_stat_get_tuples_updated(oid) from pg_class
            where relname ~ '^outbox_(default|\\d+)$'";
        let changes = world.database.query(changes, &[]).await.unwrap();
        assert!(changes.iter().all(|row| row.get::<_, i64>(0) == 0));
        slot.drop().await;
    });
}

#[test]
fn outbox_partitions_go_once_the_slot_has_confirmed_them() {
    with_world("outbox", async |world| {
        let later = SystemClock.now() + TimeDelta::hours(30);
        let before = world.partitions("outbox").await.len();
        // Nobody has published it yet: there is no slot.
        assert_eq!(world.store.drop_published(later).await.unwrap(), [""; 0]);
        let slot = "select pg_create_logical_replication_slot('retention_test', 'pgoutput')";
        world.database.execute(slot, &[]).await.unwrap();
        let sql = "select confirmed_flush_lsn >= (select max(lsn) from posthaste.outbox_closed)
            from pg_replication_slots where slot_name = 'retention_test'";
        let is_past: bool = world.database.query_one(sql, &[]).await.unwrap().get(0);
        assert!(is_past, "a slot begins where the log is");
        let dropped = world.store.drop_published(later).await.unwrap();
        assert!(!dropped.is_empty());
        assert_eq!(world.partitions("outbox").await.len(), before - dropped.len());
        // What is closed now the slot has not confirmed.
        world.store.ensure_partitions(later, 1).await.unwrap();
        world
            .store
            .drop_published(later + TimeDelta::hours(30))
            .await
            .unwrap();
        let closed: i64 = world
            .database
            .query_one("select count(*) from posthaste.outbox_closed", &[])
            .await
            .unwrap()
            .get(0);
        assert!(closed > 0);
        world
            .database
            .execute("select pg_drop_replication_slot('retention_test')", &[])
            .await
            .unwrap();
    });
}
