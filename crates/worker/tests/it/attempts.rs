//! One task's way through attempts to its end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::TimeDelta;
use posthaste_runtime::{Clock as _, Stopper, SystemClock, ids};
use posthaste_store::{Claim, Claimed, GroupOptions, WorkerWrites};
use posthaste_types::{TaskError, TaskState};
use posthaste_worker::{Handlers, JsonText, Options, RunningEvent, TypeOptions};

use crate::with_world;
use crate::world::{With, counter};

fn code(error: Option<TaskError>) -> String {
    error.unwrap().code
}

#[test]
fn a_task_is_done_and_says_so_once() {
    with_world(async |world| {
        let worker = world.worker(Options::default(), Handlers::new());
        let task = world.task("echo", r#"{"n": 1.50}"#);
        world.submit(&task).await;
        let done = world.finished(task.id).await;
        assert_eq!(
            (done.state, done.attempt, done.result.as_deref()),
            (TaskState::Done, 1, Some(r#"{"n": 1.50}"#))
        );
        assert!(done.started_at.unwrap() <= done.finished_at.unwrap());
        assert_eq!(world.events(task.id).await, ["task.done"]);
        worker.stop().await;
    });
}

#[test]
fn failed_attempts_are_retried_until_one_succeeds() {
    with_world(async |world| {
        let worker = world.worker(Options::default(), Handlers::new());
        let task = world.task("fail", r#"{"times":2}"#);
        world.submit(&task).await;
        let done = world.finished(task.id).await;
        assert_eq!((done.state, done.attempt, done.error), (TaskState::Done, 3, None));
        assert_eq!(
            world.events(task.id).await,
            ["task.retrying", "task.retrying", "task.done"]
        );
        worker.stop().await;
    });
}

#[test]
fn a_task_fails_when_its_attempts_are_used_up_or_its_error_is_final() {
    with_world(async |world| {
        let worker = world.worker(Options::default(), Handlers::new());
        let stubborn = world.task("fail", r#"{"code":"no_ink"}"#);
        let wrong = world.task("fail", r#"{"code":"no_such_page","retryable":false}"#);
        for task in [&stubborn, &wrong] {
            world.submit(task).await;
        }
        let failed = world.finished(stubborn.id).await;
        assert_eq!(
            (failed.state, failed.attempt, code(failed.error)),
            (TaskState::Failed, 3, "no_ink".to_owned())
        );
        let failed = world.finished(wrong.id).await;
        assert_eq!(
            (failed.attempt, code(failed.error)),
            (1, "no_such_page".to_owned())
        );
        assert_eq!(world.events(wrong.id).await, ["task.failed"]);
        worker.stop().await;
    });
}

#[test]
fn a_slow_and_a_panicking_handler_fail_their_attempt_alone() {
    with_world(async |world| {
        let worker = world.worker(Options::default(), Handlers::new());
        let mut slow = world.task("sleep", r#"{"ms":600000}"#);
        slow.timeout_ms = Some(20);
        let panics = world.task("fail", r#"{"panic":true,"message":"as asked"}"#);
        let well = world.task("echo", "1");
        for task in [&slow, &panics, &well] {
            world.submit(task).await;
        }
        let failed = world.finished(slow.id).await;
        assert_eq!((failed.attempt, code(failed.error)), (3, "timed_out".to_owned()));
        let error = world.finished(panics.id).await.error.unwrap();
        assert_eq!(
            (error.code.as_str(), error.message.as_str()),
            ("panicked", "as asked")
        );
        assert_eq!(world.finished(well.id).await.state, TaskState::Done);
        worker.stop().await;
    });
}

#[test]
fn a_task_that_kills_its_workers_fails_without_another_run() {
    with_world(async |world| {
        let mut task = world.task("count", "1");
        task.retry.as_mut().unwrap().max_attempts = 2;
        world.submit(&task).await;
        // Two workers that claimed it and died.
        let writes = WorkerWrites::start(&world.store, GroupOptions::default(), Stopper::new());
        for _ in 0..2 {
            let claim = Claim {
                task_id: task.id,
                run: 1,
                token: ids::claim_token(),
                worker: "dead".into(),
            };
            assert!(matches!(
                writes.claim(claim).await.unwrap(),
                Claimed::Granted { .. }
            ));
        }
        let runs = counter();
        let counted = Arc::clone(&runs);
        let handler = With(move |_: &_| {
            counted.fetch_add(1, Ordering::Relaxed);
            async { Ok(JsonText::null()) }
        });
        let worker = world.worker(Options::default(), Handlers::new().with("count", handler));
        let failed = world.finished(task.id).await;
        assert_eq!(
            (failed.attempt, code(failed.error)),
            (3, "attempts_exhausted".to_owned())
        );
        assert_eq!(runs.load(Ordering::Relaxed), 0);
        worker.stop().await;
    });
}

#[test]
fn a_task_that_lost_its_worker_and_then_its_time_expires_without_another_run() {
    with_world(async |world| {
        let mut task = world.task("echo", "1");
        task.deadline = Some(SystemClock.now());
        world.store_only(&task).await;
        let writes = WorkerWrites::start(&world.store, GroupOptions::default(), Stopper::new());
        let claim = Claim {
            task_id: task.id,
            run: 1,
            token: ids::claim_token(),
            worker: "dead".into(),
        };
        assert!(matches!(
            writes.claim(claim).await.unwrap(),
            Claimed::Granted { .. }
        ));
        // The timer of the deadline finds it running and is gone.
        assert_eq!(
            world
                .store
                .fire_timers(SystemClock.now())
                .await
                .unwrap()
                .expired_count,
            0
        );
        world.publish(&task).await;
        let worker = world.worker(Options::default(), Handlers::new());
        assert_eq!(world.finished(task.id).await.state, TaskState::Expired);
        assert_eq!(world.events(task.id).await, ["task.retrying", "task.expired"]);
        worker.stop().await;
    });
}

#[test]
fn a_type_that_nobody_serves_is_left_to_a_worker_that_does() {
    with_world(async |world| {
        let worker = world.worker(Options::default(), Handlers::new());
        let task = world.task("unheard.of", "1");
        world.submit(&task).await;
        let error = world.finished(task.id).await.error.unwrap();
        assert_eq!(error.code, "no_handler");
        assert!(
            error.message.contains("[worker.types.\"unheard.of\"]"),
            "{}",
            error.message
        );
        assert_eq!(
            world.events(task.id).await,
            ["task.retrying", "task.retrying", "task.failed"]
        );
        worker.stop().await;
    });
}

#[test]
fn a_running_task_tells_that_it_runs_and_how_far_it_is() {
    with_world(async |world| {
        let (go, gone) = tokio::sync::watch::channel(false);
        let handler = With(move |attempt: &posthaste_worker::Attempt| {
            attempt.report_progress(JsonText::new("1".to_owned()).unwrap());
            let mut gone = gone.clone();
            async move {
                gone.wait_for(|gone| *gone).await?;
                Ok(JsonText::null())
            }
        });
        let mut options = Options::default();
        let of_type = TypeOptions {
            running_event: RunningEvent::Always,
            ..TypeOptions::default()
        };
        options.types.insert("count".to_owned(), of_type);
        let worker = world.worker(options, Handlers::new().with("count", handler));
        let task = world.task("count", "1");
        world.submit(&task).await;
        let running = world.until(task.id, |task| task.progress.is_some()).await;
        assert_eq!(
            (running.state, running.progress.as_deref()),
            (TaskState::Running, Some("1"))
        );
        go.send(true).unwrap();
        let done = world.finished(task.id).await;
        assert!(done.version > running.version);
        assert_eq!(done.progress.as_deref(), Some("1"));
        let events = world.events(task.id).await;
        assert_eq!(
            (events.first().unwrap().as_str(), events.last().unwrap().as_str()),
            ("task.running", "task.done")
        );
        worker.stop().await;
    });
}

#[test]
fn a_cancelled_task_ends_its_handler_at_the_next_report() {
    with_world(async |world| {
        let dropped = Arc::new(tokio::sync::Notify::new());
        struct Guard(Arc<tokio::sync::Notify>);
        impl Drop for Guard {
            fn drop(&mut self) {
                self.0.notify_one();
            }
        }
        let notify = Arc::clone(&dropped);
        let handler = With(move |_: &_| {
            let guard = Guard(Arc::clone(&notify));
            async move {
                let _held = guard;
                std::future::pending().await
            }
        });
        let worker = world.worker(Options::default(), Handlers::new().with("endless", handler));
        let task = world.task("endless", "1");
        world.submit(&task).await;
        world
            .until(task.id, |task| task.state == TaskState::Running)
            .await;
        world
            .store
            .cancel("default", task.id, ids::event_id(), SystemClock.now())
            .await
            .unwrap();
        crate::world::within("the handler to be dropped", dropped.notified()).await;
        worker.stop().await;
        assert_eq!(world.read(task.id).await.state, TaskState::Cancelled);
        assert_eq!(world.events(task.id).await, ["task.cancelled"]);
    });
}

#[test]
fn a_delayed_task_runs_when_its_time_has_come() {
    with_world(async |world| {
        let worker = world.worker(Options::default(), Handlers::new());
        let mut task = world.task("echo", "1");
        task.state = TaskState::Scheduled;
        task.not_before = Some(task.created_at + TimeDelta::milliseconds(50));
        world.submit(&task).await;
        let done = world.finished(task.id).await;
        assert_eq!(done.state, TaskState::Done);
        assert!(done.started_at >= task.not_before);
        worker.stop().await;
    });
}

#[test]
fn a_task_past_its_deadline_expires_instead_of_running() {
    with_world(async |world| {
        let mut task = world.task("echo", "1");
        task.deadline = Some(task.created_at);
        // Published before its timer could fire: the worker has to see it.
        world.submit(&task).await;
        let worker = world.worker(Options::default(), Handlers::new());
        let wait = async {
            while !world.read(task.id).await.state.is_final() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        crate::world::within("the task to expire", wait).await;
        let expired = world.read(task.id).await;
        assert_eq!((expired.state, expired.attempt), (TaskState::Expired, 0));
        assert_eq!(world.events(task.id).await, ["task.expired"]);
        worker.stop().await;
    });
}
