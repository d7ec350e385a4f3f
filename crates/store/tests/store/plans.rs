//! Updates touch what they must and no more.

use posthaste_runtime::ids;
use posthaste_store::{Store, TaskFilter};
use posthaste_types::TaskState;

use crate::world::{World, completion, new, task, with_world};

#[test]
fn updates_of_a_tasks_life_are_heap_only_and_scan_no_table() {
    with_world("plans", async |world| {
        for _ in 0..4 {
            let mut tasks: Vec<_> = (0..500).map(|_| task()).collect();
            let news = tasks.iter().map(new).collect();
            assert!(world.submitter.submit_each(news).await.iter().all(Result::is_ok));
            let lives = tasks.iter_mut().map(async |task| {
                let token = world.run(task).await;
                world.complete(completion(task, token, TaskState::Done)).await;
            });
            futures_util::future::join_all(lives).await;
        }
        // A claim of what is no longer there goes through every statement of claims.
        world.claim(&task(), ids::claim_token()).await;
        // Other sessions report what they counted when they end.
        world.stopper.stop();
        world.submitter.drain().await;
        world.writes.drain().await;
        let sql = "select sum(n_tup_upd)::bigint, sum(n_tup_hot_upd)::bigint, sum(seq_tup_read)::bigint
            from pg_stat_user_tables where schemaname = 'posthaste' and relname like 'tasks_%'";
        let row = loop {
            let row = world.query(sql, &[]).await.remove(0);
            if row.get::<_, i64>(0) == 4_000 {
                break row;
            }
            tokio::task::yield_now().await;
        };
        // Rows, not scans: the migration makes its indexes by scans of the tables that are still empty.
        let (hot, scanned): (i64, i64) = (row.get(1), row.get(2));
        assert!(hot >= 3_800, "{hot} of 4000 updates were HOT");
        assert_eq!(scanned, 0, "rows that were read one after the other");
    });
}

#[test]
fn a_page_looks_at_its_own_tenants_rows_alone() {
    with_world("plans_list", async |world| {
        // Few old tasks of one tenant under many of another, so that the statistics know of the other alone.
        for (tenant, count) in [("small", 3), ("big", 20_000_i32)] {
            let sql = "insert into posthaste.tasks (id, tenant, type, queue, payload, priority, state, created_at)
                select posthaste.new_id(now() + step * interval '1 millisecond'), $1, 'a', 'default', '1', 5, 'DONE', now()
                from generate_series(1, $2::integer) step";
            world.query(sql, &[&tenant, &count]).await;
        }
        world
            .database
            .batch_execute("analyze posthaste.tasks")
            .await
            .unwrap();
        for (tenant, count) in [("small", 3), ("big", 50)] {
            let read = rows_read_for_ten_pages(&world, tenant, count).await;
            // A row more than the page holds tells that there is a next page; a page that is not full looks where it ended.
            let least = 10 * i64::try_from(count).unwrap();
            assert!(
                (least..=2 * least + 10).contains(&read),
                "{read} rows were read for {count} tasks of {tenant}, 10 times"
            );
        }
    });
}

/// How many rows the database reads for ten first pages of a tenant's tasks, `count` in each: often enough for the plan
/// that it keeps.
async fn rows_read_for_ten_pages(world: &World, tenant: &str, count: usize) -> i64 {
    world.query("select pg_stat_reset()", &[]).await;
    let lister = Store::new(&world.options("plans_list")).unwrap();
    for _ in 0..10 {
        let page = lister
            .tasks(tenant, &TaskFilter::default(), None, 50)
            .await
            .unwrap();
        assert_eq!(page.tasks.len(), count);
    }
    drop(lister);
    // A session reports what it counted before it is gone.
    let sessions = "select count(*) from pg_stat_activity where application_name = 'plans_list'";
    while world.count(sessions, &[]).await > 0 {
        tokio::task::yield_now().await;
    }
    let read = "select sum(seq_tup_read + idx_tup_fetch)::bigint from pg_stat_user_tables
        where schemaname = 'posthaste' and relname like 'tasks_%'";
    world.count(read, &[]).await
}
