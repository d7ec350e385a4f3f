//! Partitions that come and go, and workers that do.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use posthaste_types::TaskState;
use posthaste_worker::{Attempt, Handlers, JsonText, Options};
use tokio::sync::{Notify, mpsc};

use crate::with_world;
use crate::world::{With, World, counter, within};

#[test]
fn repeated_records_give_one_run_and_one_end() {
    with_world(async |world| {
        let runs = counter();
        let counted = Arc::clone(&runs);
        let handler = With(move |_: &_| {
            counted.fetch_add(1, Ordering::Relaxed);
            async {
                tokio::task::yield_now().await;
                Ok(JsonText::null())
            }
        });
        let mut tasks = Vec::new();
        for _ in 0..20 {
            let task = world.task("count", "1");
            world.submit(&task).await;
            for _ in 0..4 {
                world.publish(&task).await;
            }
            tasks.push(task);
        }
        let worker = world.worker(Options::default(), Handlers::new().with("count", handler));
        all_read(&world, 4).await;
        for task in &tasks {
            assert_eq!(world.finished(task.id).await.attempt, 1);
        }
        worker.stop().await;
        assert_eq!(runs.load(Ordering::Relaxed), 20);
        for task in &tasks {
            assert_eq!(world.events(task.id).await, ["task.done"]);
        }
    });
}

#[test]
fn a_lost_workers_task_is_taken_over() {
    with_world(async |world| {
        let (started, mut starts) = mpsc::unbounded_channel();
        let stuck = With(move |_: &_| {
            started.send(()).unwrap();
            std::future::pending()
        });
        let first = world.worker(Options::default(), Handlers::new().with("work", stuck));
        let task = world.task("work", "1");
        world.submit(&task).await;
        within("the first attempt", starts.recv()).await.unwrap();
        first.crash().await;
        let well = With(|attempt: &Attempt| {
            let number = attempt.number();
            async move { Ok(JsonText::of(&number)?) }
        });
        let second = world.worker(Options::default(), Handlers::new().with("work", well));
        let done = world.finished(task.id).await;
        assert_eq!(
            (done.state, done.attempt, done.result.as_deref()),
            (TaskState::Done, 2, Some("2"))
        );
        assert_eq!(world.events(task.id).await, ["task.done"]);
        assert_eq!(world.notes(task.id).await, ["takeover"]);
        second.stop().await;
    });
}

#[test]
fn a_stopping_worker_finishes_what_runs_and_leaves_the_rest() {
    with_world(async |world| {
        let (started, mut starts) = mpsc::unbounded_channel();
        let go = Arc::new(Notify::new());
        let waits = Arc::clone(&go);
        let handler = With(move |_: &_| {
            started.send(()).unwrap();
            let waits = Arc::clone(&waits);
            async move {
                waits.notified().await;
                Ok(JsonText::null())
            }
        });
        let options = Options {
            handlers: 1,
            ..Options::default()
        };
        let worker = world.worker(options, Handlers::new().with("work", handler));
        let (running, waiting) = (world.task("work", "1"), world.task("work", "1"));
        world.submit(&running).await;
        within("the handler", starts.recv()).await.unwrap();
        world.submit(&waiting).await;
        all_read(&world, 4).await;
        let stop = tokio::spawn(worker.stop());
        go.notify_one();
        stop.await.unwrap();
        assert_eq!(world.read(running.id).await.state, TaskState::Done);
        assert_eq!(world.read(waiting.id).await.state, TaskState::Init);
        let worker = world.worker(
            Options::default(),
            Handlers::new().with("work", crate::handlers::null()),
        );
        assert_eq!(world.finished(waiting.id).await.attempt, 1);
        worker.stop().await;
    });
}

#[test]
fn a_rebalance_under_load_runs_each_task_once() {
    with_world(async |world| {
        let runs = counter();
        let handler = |runs: &Arc<AtomicU32>| {
            let runs = Arc::clone(runs);
            With(move |_: &_| {
                runs.fetch_add(1, Ordering::Relaxed);
                async {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    Ok(JsonText::null())
                }
            })
        };
        let options = Options {
            handlers: 4,
            ..Options::default()
        };
        let first = world.worker(options.clone(), Handlers::new().with("work", handler(&runs)));
        let mut tasks = Vec::new();
        for _ in 0..100 {
            let task = world.task("work", "1");
            world.submit(&task).await;
            tasks.push(task);
        }
        let second = world.worker(options.clone(), Handlers::new().with("work", handler(&runs)));
        for _ in 0..100 {
            let task = world.task("work", "1");
            world.submit(&task).await;
            tasks.push(task);
        }
        first.stop().await;
        let mut workers = HashSet::new();
        for task in &tasks {
            let done = world.finished(task.id).await;
            assert_eq!((done.state, done.attempt), (TaskState::Done, 1));
            workers.insert(done.worker);
        }
        assert_eq!(runs.load(Ordering::Relaxed), 200);
        assert!(workers.len() <= 2);
        second.stop().await;
    });
}

#[test]
fn more_tasks_than_a_partition_may_hold_all_run() {
    with_world(async |world| {
        let count = posthaste_types::limits::PARTITION_TASK_COUNT_MAX * 2;
        let world = &world;
        let tasks: Vec<_> = (0..count).map(|_| world.task("echo", "1")).collect();
        futures_util::future::join_all(tasks.iter().map(|task| async {
            world.store_only(task).await;
            world.publish_to(task, 0).await;
        }))
        .await;
        let worker = world.worker(
            Options {
                handlers: 32,
                ..Options::default()
            },
            Handlers::new(),
        );
        for task in &tasks {
            assert_eq!(world.finished(task.id).await.attempt, 1);
        }
        worker.stop().await;
    });
}

#[test]
fn tasks_of_one_key_run_one_after_another_in_order() {
    with_world(async |world| {
        let order: Arc<Mutex<Vec<String>>> = Arc::default();
        let running: Arc<Mutex<HashSet<String>>> = Arc::default();
        let (noted, busy) = (Arc::clone(&order), Arc::clone(&running));
        let handler = With(move |attempt: &Attempt| {
            let (noted, busy) = (Arc::clone(&noted), Arc::clone(&busy));
            let (key, payload) = (attempt.task().key.clone().unwrap(), attempt.payload().to_owned());
            async move {
                assert!(busy.lock().unwrap().insert(key.clone()), "two of {key} at once");
                tokio::task::yield_now().await;
                noted.lock().unwrap().push(format!("{key} {payload}"));
                busy.lock().unwrap().remove(&key);
                Ok(JsonText::null())
            }
        });
        let mut tasks = Vec::new();
        for n in 0..30 {
            for key in ["a", "b", "c"] {
                let mut task = world.task("note", &n.to_string());
                task.key = Some(key.to_owned());
                task.priority = i16::try_from(n % 10).unwrap();
                world.submit(&task).await;
                tasks.push(task);
            }
        }
        let worker = world.worker(Options::default(), Handlers::new().with("note", handler));
        for task in &tasks {
            assert_eq!(world.finished(task.id).await.state, TaskState::Done);
        }
        let order = order.lock().unwrap().clone();
        for key in ["a", "b", "c"] {
            let of_key: Vec<&String> = order.iter().filter(|line| line.starts_with(key)).collect();
            let wanted: Vec<String> = (0..30).map(|n| format!("{key} {n}")).collect();
            assert_eq!(of_key, wanted.iter().collect::<Vec<_>>());
        }
        worker.stop().await;
    });
}

#[test]
fn higher_priority_runs_first_among_those_that_wait() {
    with_world(async |world| {
        let (started, mut starts) = mpsc::unbounded_channel();
        let go = Arc::new(Notify::new());
        let waits = Arc::clone(&go);
        let handler = With(move |attempt: &Attempt| {
            started.send(attempt.payload().to_owned()).unwrap();
            let waits = Arc::clone(&waits);
            async move {
                waits.notified().await;
                Ok(JsonText::null())
            }
        });
        let options = Options {
            handlers: 1,
            ..Options::default()
        };
        let worker = world.worker(options, Handlers::new().with("work", handler));
        let mut tasks = vec![world.task("work", "0")];
        world.submit(&tasks[0]).await;
        assert_eq!(within("the first", starts.recv()).await.unwrap(), "0");
        for (payload, priority) in [("3", 1), ("2", 5), ("1", 9)] {
            let mut task = world.task("work", payload);
            task.priority = priority;
            world.submit(&task).await;
            tasks.push(task);
        }
        all_read(&world, 4).await;
        for wanted in ["1", "2", "3"] {
            go.notify_one();
            assert_eq!(within("the next", starts.recv()).await.unwrap(), wanted);
        }
        go.notify_one();
        for task in &tasks {
            world.finished(task.id).await;
        }
        worker.stop().await;
    });
}

/// Returns when the worker has taken up every record written so far: it buries what comes after them.
async fn all_read(world: &World, partition_count: usize) {
    for partition in 0..partition_count {
        world
            .write(None, Some(i32::try_from(partition).unwrap()), b"mark".to_vec())
            .await;
    }
    world.dead_letters(partition_count).await;
}
