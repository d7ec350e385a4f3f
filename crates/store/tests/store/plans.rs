//! Updates touch what they must and no more.

use posthaste_runtime::ids;
use posthaste_types::TaskState;

use crate::world::{completion, new, task, with_world};

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
        let sql = "select sum(n_tup_upd)::bigint, sum(n_tup_hot_upd)::bigint, sum(seq_scan)::bigint
            from pg_stat_user_tables where schemaname = 'posthaste' and relname like 'tasks_%'";
        let row = loop {
            let row = world.query(sql, &[]).await.remove(0);
            if row.get::<_, i64>(0) == 4_000 {
                break row;
            }
            tokio::task::yield_now().await;
        };
        let (hot, sequential): (i64, i64) = (row.get(1), row.get(2));
        assert!(hot >= 3_800, "{hot} of 4000 updates were HOT");
        assert_eq!(sequential, 0);
    });
}
