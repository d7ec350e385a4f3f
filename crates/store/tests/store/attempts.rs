//! Claims and what attempts come to: fencing, retries, repeats.

use std::sync::Arc;

use futures_util::future::join_all;
use posthaste_runtime::ids;
use posthaste_schema::TaskEvent;
use posthaste_store::{Claim, Claimed, Completed, Completion, ErrorKind};
use posthaste_types::{EventKind, TaskState};

use crate::world::{completion, task, with_world};

#[test]
fn a_claim_counts_the_attempt_and_its_completion_ends_the_task_with_one_event() {
    with_world("attempt_done", async |world| {
        let mut task = task();
        world.submit(&task).await;
        let token = world.run(&mut task).await;
        task.worker = Some("worker-1".to_owned());
        assert_eq!((task.attempt, task.version), (1, 2));
        assert_eq!(world.stored(&task).await, task);
        let done = completion(&task, token, TaskState::Done);
        assert_eq!(world.complete(done.clone()).await, Completed::Stored);
        let stored = world.stored(&task).await;
        assert_eq!((stored.state, stored.version), (TaskState::Done, 3));
        assert_eq!(
            (stored.result, stored.finished_at),
            (done.event.result.clone(), done.event.finished_at)
        );
        assert_eq!(world.events(&task).await, [done.event]);
        assert!(world.notes(&task).await.is_empty());
    });
}

#[test]
fn claims_and_completions_tried_twice_change_nothing_the_second_time() {
    with_world("attempt_twice", async |world| {
        let mut task = task();
        world.submit(&task).await;
        let token = ids::claim_token();
        let claimed = world.claim(&task, token).await;
        assert_eq!(world.claim(&task, token).await, claimed);
        (task.attempt, task.version) = (1, 2);
        for state in [TaskState::Running, TaskState::Done] {
            let completion = completion(&task, token, state);
            assert_eq!(world.complete(completion.clone()).await, Completed::Stored);
            assert_eq!(world.complete(completion).await, Completed::Stored);
            task.version += 1;
        }
        assert_eq!(world.events(&task).await.len(), 2);
        assert!(world.notes(&task).await.is_empty());
    });
}

#[test]
fn a_takeover_fences_the_first_worker_out() {
    with_world("attempt_takeover", async |world| {
        let mut task = task();
        world.submit(&task).await;
        let mut first = task.clone();
        let first_token = world.run(&mut first).await;
        let token = ids::claim_token();
        let claimed = world.claim(&task, token).await;
        let Claimed::Granted {
            attempt: 2,
            version: 3,
            takeover: true,
            ..
        } = claimed
        else {
            panic!("{claimed:?}")
        };
        assert_eq!(
            world.claim(&task, token).await,
            claimed,
            "also when it is tried again"
        );
        let zombie = completion(&first, first_token, TaskState::Done);
        assert_eq!(world.complete(zombie.clone()).await, Completed::Stale);
        assert_eq!(world.complete(zombie).await, Completed::Stale);
        (task.attempt, task.version) = (2, 3);
        assert_eq!(
            world.complete(completion(&task, token, TaskState::Done)).await,
            Completed::Stored
        );
        assert_eq!(world.events(&task).await.len(), 1);
        let takeover = ("RUNNING".to_owned(), 2, Some("takeover".to_owned()));
        let refused = ("RUNNING".to_owned(), 1, Some("stale_write_refused".to_owned()));
        assert_eq!(world.notes(&task).await, [takeover, refused]);
    });
}

#[test]
fn a_failed_attempt_leaves_a_timer_and_a_line_of_history() {
    with_world("attempt_retry", async |world| {
        let mut task = task();
        world.submit(&task).await;
        let token = world.run(&mut task).await;
        let retry = completion(&task, token, TaskState::Retrying);
        assert_eq!(world.complete(retry.clone()).await, Completed::Stored);
        let sql = "select kind, due_at from posthaste.timers where task_id = $1";
        let row = &world.query(sql, &[&task.id.uuid()]).await[0];
        assert_eq!((row.get::<_, &str>(0), row.get(1)), ("due", retry.retry_at));
        assert_eq!(world.notes(&task).await, [("RETRYING".to_owned(), 1, None)]);
        assert_eq!(world.stored(&task).await.error, retry.event.error);
        assert_eq!(
            world.claim(&task, ids::claim_token()).await,
            Claimed::Gone,
            "the timer publishes it again"
        );
    });
}

#[test]
fn progress_keeps_the_task_running_and_its_last_error() {
    with_world("attempt_progress", async |world| {
        let mut task = task();
        world.submit(&task).await;
        let token = world.run(&mut task).await;
        world
            .complete(completion(&task, token, TaskState::Retrying))
            .await;
        world.store.fire_timers(chrono::Utc::now()).await.unwrap();
        let token = world.run(&mut task).await;
        assert_eq!(task.attempt, 2);
        let mut progress = completion(&task, token, TaskState::Running);
        progress.event.progress = Some("40".to_owned());
        assert_eq!(world.complete(progress).await, Completed::Stored);
        let stored = world.stored(&task).await;
        assert_eq!(
            (stored.state, stored.progress.as_deref()),
            (TaskState::Running, Some("40"))
        );
        assert!(stored.error.is_some());
        let kinds: Vec<EventKind> = world
            .events(&task)
            .await
            .into_iter()
            .map(|event: TaskEvent| event.kind)
            .collect();
        assert_eq!(kinds, [EventKind::Retrying, EventKind::Progress]);
    });
}

#[test]
fn a_claim_of_another_run_is_gone_and_one_of_no_task_is_missing() {
    with_world("attempt_gone", async |world| {
        let mut task = task();
        world.submit(&task).await;
        task.run = 2;
        assert_eq!(world.claim(&task, ids::claim_token()).await, Claimed::Gone);
        task.id = ids::task_id();
        assert!(matches!(
            world.claim(&task, ids::claim_token()).await,
            Claimed::Missing(_)
        ));
        let nothing = completion(&task, ids::claim_token(), TaskState::Done);
        assert_eq!(world.complete(nothing).await, Completed::Stale);
    });
}

#[test]
fn a_row_is_not_missing_for_good_while_its_transaction_is_under_way() {
    with_world("attempt_unseen", async |world| {
        let (task, ghost) = (task(), task());
        world.submit(&task).await;
        let missing = async |task| match world.claim(task, ids::claim_token()).await {
            Claimed::Missing(horizon) => horizon,
            other => panic!("{other:?}"),
        };
        // As if the log had shown it before its commit was visible.
        for step in [
            "create temporary table copy as select * from posthaste.tasks",
            "delete from posthaste.tasks",
            "begin",
            "insert into posthaste.tasks select * from copy",
        ] {
            world.database.batch_execute(step).await.unwrap();
        }
        let first = missing(&task).await;
        assert!(!missing(&task).await.is_past(first));
        world.database.batch_execute("commit").await.unwrap();
        let claimed = world.claim(&task, ids::claim_token()).await;
        assert!(matches!(claimed, Claimed::Granted { .. }));
        // Nothing of this one was ever under way; other tests' transactions end.
        let first = missing(&ghost).await;
        while !missing(&ghost).await.is_past(first) {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn a_batch_of_every_outcome_answers_each_with_its_own() {
    with_world("attempt_mixed", async |world| {
        let mut tasks: Vec<_> = (0..300).map(|_| task()).collect();
        join_all(tasks.iter().map(|task| world.submit(task))).await;
        let worker: Arc<str> = Arc::from("worker-1");
        let claims: Vec<Claim> = tasks
            .iter()
            .enumerate()
            .map(|(index, task)| {
                let task_id = if index % 3 == 0 { ids::task_id() } else { task.id };
                let run = if index % 3 == 1 { 2 } else { 1 };
                Claim {
                    task_id,
                    run,
                    token: ids::claim_token(),
                    worker: Arc::clone(&worker),
                }
            })
            .collect();
        let claimed = join_all(claims.iter().map(|claim| world.writes.claim(claim.clone()))).await;
        for (index, claimed) in claimed.into_iter().enumerate() {
            match (index % 3, claimed.unwrap()) {
                (0, Claimed::Missing(_)) | (1, Claimed::Gone) => {}
                (
                    2,
                    Claimed::Granted {
                        attempt: 1,
                        version: 2,
                        takeover: false,
                        ..
                    },
                ) => tasks[index].version = 2,
                (_, other) => panic!("{index}: {other:?}"),
            }
        }
        let completions: Vec<Completion> = tasks
            .iter()
            .zip(&claims)
            .enumerate()
            .map(|(index, (task, claim))| {
                let state = if index % 2 == 0 {
                    TaskState::Retrying
                } else {
                    TaskState::Failed
                };
                completion(task, claim.token, state)
            })
            .collect();
        let completed = join_all(completions.into_iter().map(|one| world.complete(one))).await;
        for (index, completed) in completed.into_iter().enumerate() {
            assert_eq!(completed == Completed::Stored, index % 3 == 2, "{index}");
        }
    });
}

#[test]
fn a_result_that_postgres_refuses_fails_its_caller_alone() {
    with_world("attempt_bad_row", async |world| {
        let mut tasks: Vec<_> = (0..50).map(|_| task()).collect();
        let mut completions = Vec::new();
        for task in &mut tasks {
            world.submit(task).await;
            let token = world.run(task).await;
            completions.push(completion(task, token, TaskState::Done));
        }
        completions[20].event.result = Some("{not json".to_owned());
        let outcomes = join_all(completions.iter().map(|one| world.writes.complete(one.clone()))).await;
        for (index, outcome) in outcomes.into_iter().enumerate() {
            match outcome {
                Ok(completed) => assert!(completed == Completed::Stored && index != 20),
                Err(error) => assert!(error.kind() == ErrorKind::BadRow && index == 20),
            }
        }
    });
}
