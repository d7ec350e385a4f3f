//! Connections that break at any moment: nothing is lost and nothing is done twice.

use std::sync::Arc;

use futures_util::future::join_all;
use posthaste_store::Completed;
use posthaste_types::{Task, TaskState};

use crate::world::{completion, new, task, with_world};

const TASK_COUNT: usize = 2_000;

/// Cuts the lanes' connections, whatever they are doing. The pool's share the name, and stay.
const CUT: &str = "select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and application_name = 'posthaste' and pid <> pg_backend_pid()
        and query ~ '^-- (submit|claim|take_over|complete)'";

#[test]
fn connections_that_break_mid_commit_lose_nothing_and_repeat_nothing() {
    with_world("outage", async |world| {
        let world = Arc::new(world);
        let tasks: Vec<Task> = (0..TASK_COUNT).map(|_| task()).collect();
        let attempts = tasks.into_iter().map(|mut task| {
            let world = Arc::clone(&world);
            tokio::spawn(async move {
                // The same submission again and again, as a client would with its key, until it is known.
                let new = new(&task);
                while world.submitter.submit(new.clone()).await.is_err() {
                    tokio::task::yield_now().await;
                }
                let token = world.run(&mut task).await;
                assert_eq!(task.attempt, 1, "no claim is counted twice");
                let done = completion(&task, token, TaskState::Done);
                assert_eq!(world.complete(done).await, Completed::Stored);
            })
        });
        let mut attempts = std::pin::pin!(join_all(attempts));
        let mut cuts = 0;
        let outcomes = loop {
            tokio::select! {
                outcomes = &mut attempts => break outcomes,
                // Paced by the database's answers; at most so many that the lanes' back-off stays short.
                rows = world.query(CUT, &[]), if cuts < 60 => cuts += rows.len(),
            }
        };
        outcomes.into_iter().for_each(|outcome| outcome.unwrap());
        assert!(cuts > 0, "something was cut");
        let done = world.count(
            "select count(*) from posthaste.tasks where state = 'DONE' and version = 3",
            &[],
        );
        assert_eq!(done.await, TASK_COUNT as i64);
        let sql = "select count(*), count(distinct aggregateid || aggregatetype), count(distinct id)
            from posthaste.outbox where aggregatetype = $1";
        for (topic, distinct) in [("tasks.default", 1), ("results", TASK_COUNT as i64)] {
            let row = &world.query(sql, &[&topic]).await[0];
            let counts: [i64; 3] = [row.get(0), row.get(1), row.get(2)];
            assert_eq!(
                counts,
                [TASK_COUNT as i64, distinct, TASK_COUNT as i64],
                "{topic}"
            );
        }
        assert_eq!(
            world
                .count("select count(*) from posthaste.task_history", &[])
                .await,
            0
        );
    });
}
