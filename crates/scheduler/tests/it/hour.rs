//! An hour of the outbox at 5,000 rows a second, in simulated time. Too much for every day: `bench/outbox-hour` runs it.

#![expect(clippy::print_stdout, reason = "it is run for what it prints")]

use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use posthaste_runtime::{Clock as _, SystemClock};

use crate::outbox::Slot;
use crate::{World, with_world};

const ROWS_A_SECOND: i64 = 5_000;
/// Simulated time between two looks of the scheduler's: as long as it really lets pass.
const LOOK_S: i64 = 30;
/// What the rows of one partition, of the time until it is closed, and of two looks take, with a third for what is on its
/// way; a row with its header takes about 260 bytes.
const BYTES_MAX: i64 = (5 * 60 + 2 * 60 + 2 * LOOK_S) * ROWS_A_SECOND * 260 * 4 / 3;

/// What Postgres says of the outbox and of all its partitions.
struct Sizes {
    partitions: i64,
    bytes: i64,
    index_bytes: i64,
    rows_deleted: i64,
    rows_updated: i64,
    rows_dead: i64,
    /// Runs of autovacuum and autoanalyze.
    vacuums: i64,
}

impl Sizes {
    async fn of(world: &World) -> Self {
        let sql = "select count(*), sum(pg_table_size(relid))::bigint, sum(pg_indexes_size(relid))::bigint,
                sum(n_tup_del)::bigint, sum(n_tup_upd)::bigint, sum(n_dead_tup)::bigint,
                sum(autovacuum_count + autoanalyze_count)::bigint
            from pg_stat_user_tables where schemaname = 'posthaste' and relname ~ '^outbox_(\\d+|net_\\d+|default)$'";
        let row = world.database.query_one(sql, &[]).await.unwrap();
        Self {
            partitions: row.get(0),
            bytes: row.get(1),
            index_bytes: row.get(2),
            rows_deleted: row.get(3),
            rows_updated: row.get(4),
            rows_dead: row.get(5),
            vacuums: row.get(6),
        }
    }
}

#[test]
#[ignore = "18 million rows: run bench/outbox-hour"]
fn an_hour_of_rows_leaves_the_outbox_small_and_nothing_to_vacuum() {
    with_world("hour", async |world| {
        // Autovacuum looks as often as it can, so that it finds what there is.
        for command in [
            "alter system set autovacuum_naptime = '1s'",
            "select pg_reload_conf()",
        ] {
            world.database.batch_execute(command).await.unwrap();
        }
        let slot = Slot::new(&world, "hour_test").await;
        let (begin, began) = (SystemClock.now(), Instant::now());
        let (mut bytes_max, mut made, mut dropped) = (0, 0, 0);
        println!("minute       rows  partitions       MiB  deleted  updated  dead  vacuums");
        for look in 0..3600 / LOOK_S {
            let now = begin + TimeDelta::seconds(look * LOOK_S);
            made += world.store.ensure_outbox(now, 2).await.unwrap();
            insert(&world, now).await;
            slot.confirm().await;
            let sizes = Sizes::of(&world).await;
            bytes_max = bytes_max.max(sizes.bytes + sizes.index_bytes);
            dropped += world.store.drop_published(now).await.unwrap().len();
            assert_eq!(
                (
                    sizes.rows_deleted,
                    sizes.rows_updated,
                    sizes.rows_dead,
                    sizes.vacuums
                ),
                (0, 0, 0, 0)
            );
            if (look + 1) * LOOK_S % 300 == 0 {
                println!(
                    "{:6} {:10}  {:10}  {:8}  {:7}  {:7}  {:4}  {:7}",
                    (look + 1) * LOOK_S / 60,
                    (look + 1) * LOOK_S * ROWS_A_SECOND,
                    sizes.partitions,
                    (sizes.bytes + sizes.index_bytes) >> 20,
                    sizes.rows_deleted,
                    sizes.rows_updated,
                    sizes.rows_dead,
                    sizes.vacuums
                );
            }
        }
        println!(
            "at most {} MiB of table and index; {made} partitions made, {dropped} dropped, in {:.0} s",
            bytes_max >> 20,
            began.elapsed().as_secs_f64()
        );
        assert!(bytes_max < BYTES_MAX, "{bytes_max}");
        assert!(dropped >= 10);
        slot.drop().await;
    });
}

/// The rows of the time from `now` to the next look.
async fn insert(world: &World, now: DateTime<Utc>) {
    let sql = "insert into posthaste.outbox (id, aggregatetype, aggregateid, type, payload, tenant, created_at)
        select gen_random_uuid(), 'tasks.default', 'task_01h2e8kqvbfwea724h75qc655w', 'echo', repeat('x', 128)::bytea, 'default',
            $1::timestamptz + number * interval '1 second' / $3::bigint
        from generate_series(0, $2::bigint - 1) number";
    world
        .database
        .execute(sql, &[&now, &(LOOK_S * ROWS_A_SECOND), &ROWS_A_SECOND])
        .await
        .unwrap();
}
