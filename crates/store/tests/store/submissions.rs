//! Submitting: alone, in groups, under idempotency keys, ahead of time.

use chrono::TimeDelta;
use futures_util::future::join_all;
use posthaste_runtime::{Clock as _, Stopper, SystemClock};
use posthaste_schema::{TASK_REQUESTED, TaskRequested, WriterSchemas};
use posthaste_store::{Error, ErrorKind, GroupOptions, Idempotency, NewTask, Submitted, Submitter};
use posthaste_types::{Task, TaskState};

use crate::world::{REQUESTED_ID, new, task, with_world};

const OUTBOX_COUNT: &str = "select count(*) from posthaste.outbox where id = $1";
const TASK_COUNT: &str = "select count(*) from posthaste.tasks";

fn keyed(task: &Task, key: &str, request: u8) -> NewTask {
    let idempotency = Some(Idempotency {
        key: key.to_owned(),
        fingerprint: [request; 32],
    });
    NewTask {
        idempotency,
        ..new(task)
    }
}

fn replayed(task: &Task) -> Submitted {
    let scheduled = task.state == TaskState::Scheduled;
    Submitted::Replayed {
        task_id: task.id,
        created_at: task.created_at,
        scheduled,
    }
}

#[test]
fn a_task_reads_back_as_it_was_submitted_and_is_published_whole() {
    with_world("submit_reads_back", async |world| {
        let task = task();
        let new = new(&task);
        assert_eq!(
            world.submitter.submit(new.clone()).await.unwrap(),
            Submitted::Stored
        );
        assert_eq!(world.stored(&task).await, task);
        let sql =
            "select aggregatetype, aggregateid, type, payload, tenant, traceparent from posthaste.outbox
            where id = $1";
        let row = &world.query(sql, &[&new.event_id.uuid()]).await[0];
        assert_eq!(row.get::<_, &str>(0), "tasks.default");
        assert_eq!(row.get::<_, &str>(1), "customer-17");
        assert_eq!(row.get::<_, &str>(2), task.task_type);
        assert_eq!(row.get::<_, &str>(4), task.tenant);
        assert_eq!(row.get::<_, Option<String>>(5), task.traceparent);
        let writers = WriterSchemas::new();
        writers.add(REQUESTED_ID, TASK_REQUESTED.avsc).unwrap();
        assert_eq!(
            TaskRequested::decode(row.get(3), &writers).unwrap(),
            TaskRequested::of(&task)
        );
    });
}

#[test]
fn one_bad_row_fails_its_caller_and_not_the_batch() {
    with_world("submit_bad_row", async |world| {
        let mut news: Vec<NewTask> = (0..200).map(|_| new(&task())).collect();
        // Postgres keeps no NUL in a text.
        news[77].task.channel = Some("a\0b".to_owned());
        let outcomes = world.submitter.submit_all(news, false).await;
        for (index, outcome) in outcomes.iter().enumerate() {
            match outcome {
                Ok(outcome) => assert!(*outcome == Submitted::Stored && index != 77),
                Err(error) => assert!(
                    error.kind() == ErrorKind::BadRow && index == 77,
                    "{index}: {error}"
                ),
            }
        }
        assert_eq!(world.count(TASK_COUNT, &[]).await, 199);
    });
}

#[test]
fn an_atomic_batch_is_stored_wholly_or_not_at_all() {
    with_world("submit_atomic", async |world| {
        let news: Vec<NewTask> = (0..700).map(|_| new(&task())).collect();
        assert!(
            world
                .submitter
                .submit_all(news, true)
                .await
                .iter()
                .all(Result::is_ok)
        );
        let mut news: Vec<NewTask> = (0..3).map(|_| new(&task())).collect();
        news[1].task.channel = Some("a\0b".to_owned());
        assert!(
            world
                .submitter
                .submit_all(news, true)
                .await
                .iter()
                .all(Result::is_err)
        );
        assert_eq!(world.count(TASK_COUNT, &[]).await, 700);
    });
}

#[test]
fn an_atomic_batch_with_a_reused_key_stores_nothing_and_a_replayed_one_answers_as_before() {
    with_world("submit_atomic_keys", async |world| {
        let first = [keyed(&task(), "a", 1), keyed(&task(), "b", 2)];
        let outcomes = world.submitter.submit_all(first.to_vec(), true).await;
        assert!(
            outcomes
                .iter()
                .all(|outcome| *outcome.as_ref().unwrap() == Submitted::Stored)
        );
        let again = vec![keyed(&task(), "a", 1), keyed(&task(), "b", 2)];
        let outcomes = world.submitter.submit_all(again, true).await;
        for (outcome, first) in outcomes.iter().zip(&first) {
            assert_eq!(*outcome.as_ref().unwrap(), replayed(&first.task));
        }
        let other = vec![keyed(&task(), "c", 3), keyed(&task(), "b", 9)];
        let outcomes = world.submitter.submit_all(other, true).await;
        assert!(matches!(outcomes[0], Err(Error::NotStored)));
        assert_eq!(*outcomes[1].as_ref().unwrap(), Submitted::KeyReused);
        assert_eq!(world.count(TASK_COUNT, &[]).await, 2);
        assert_eq!(
            world
                .count("select count(*) from posthaste.idempotency_keys", &[])
                .await,
            2
        );
    });
}

#[test]
fn the_same_key_gives_the_first_task_and_another_request_under_it_is_refused() {
    with_world("submit_keys", async |world| {
        let mut first = task();
        first.state = TaskState::Scheduled;
        first.not_before = Some(SystemClock.now() + TimeDelta::hours(1));
        let submit = async |new| world.submitter.submit(new).await.unwrap();
        assert_eq!(submit(keyed(&first, "k", 1)).await, Submitted::Stored);
        assert_eq!(submit(keyed(&task(), "k", 1)).await, replayed(&first));
        assert_eq!(submit(keyed(&task(), "k", 2)).await, Submitted::KeyReused);
        let mut other_tenant = task();
        other_tenant.tenant = "other".to_owned();
        assert_eq!(submit(keyed(&other_tenant, "k", 2)).await, Submitted::Stored);
        assert_eq!(world.count(TASK_COUNT, &[]).await, 2);
    });
}

#[test]
fn of_equal_keys_in_flight_at_once_in_two_processes_one_wins_and_all_learn_of_it() {
    with_world("submit_race", async |world| {
        let other = Submitter::start(&world.store, GroupOptions::default(), Stopper::new());
        let submitters = [&world.submitter, &other];
        // Each of 40 keys 10 times, in an order that differs between the two.
        let calls = (0..400).map(|index| {
            let key = if index % 2 == 0 {
                index / 10
            } else {
                39 - index / 10
            };
            (submitters[index % 2], keyed(&task(), &format!("key-{key}"), 1))
        });
        let calls: Vec<_> = calls.collect();
        let outcomes = join_all(calls.iter().map(|(submitter, new)| submitter.submit(new.clone()))).await;
        let outcomes: Vec<Submitted> = outcomes.into_iter().map(Result::unwrap).collect();
        assert_eq!(world.count(TASK_COUNT, &[]).await, 40);
        let stored = |(call, outcome): (&(&Submitter, NewTask), &Submitted)| {
            (*outcome == Submitted::Stored)
                .then(|| (call.1.idempotency.clone().unwrap().key, call.1.task.clone()))
        };
        let winners: std::collections::HashMap<String, Task> =
            calls.iter().zip(&outcomes).filter_map(stored).collect();
        assert_eq!(winners.len(), 40);
        for ((_, new), outcome) in calls.iter().zip(&outcomes) {
            let winner = &winners[&new.idempotency.as_ref().unwrap().key];
            let expected = if winner.id == new.task.id {
                Submitted::Stored
            } else {
                replayed(winner)
            };
            assert_eq!(*outcome, expected);
        }
    });
}

#[test]
fn the_same_submission_tried_twice_is_stored_once() {
    with_world("submit_twice", async |world| {
        for new in [new(&task()), keyed(&task(), "k", 1)] {
            for _ in 0..2 {
                assert_eq!(
                    world.submitter.submit(new.clone()).await.unwrap(),
                    Submitted::Stored
                );
            }
            assert_eq!(world.count(OUTBOX_COUNT, &[&new.event_id.uuid()]).await, 1);
        }
        let batch: Vec<NewTask> = (0..5).map(|_| new(&task())).collect();
        for _ in 0..2 {
            let outcomes = world.submitter.submit_all(batch.clone(), true).await;
            assert!(
                outcomes
                    .iter()
                    .all(|outcome| *outcome.as_ref().unwrap() == Submitted::Stored)
            );
        }
    });
}

#[test]
fn a_scheduled_task_gets_a_timer_instead_of_an_outbox_row_and_a_deadline_gets_one_too() {
    with_world("submit_timers", async |world| {
        let mut scheduled = task();
        scheduled.state = TaskState::Scheduled;
        scheduled.not_before = Some(SystemClock.now() + TimeDelta::hours(1));
        scheduled.deadline = Some(SystemClock.now() + TimeDelta::hours(2));
        let new = new(&scheduled);
        world.submitter.submit(new.clone()).await.unwrap();
        assert_eq!(world.stored(&scheduled).await, scheduled);
        assert_eq!(world.count(OUTBOX_COUNT, &[&new.event_id.uuid()]).await, 0);
        let sql = "select kind, due_at from posthaste.timers where task_id = $1 order by kind";
        let timers = world.query(sql, &[&scheduled.id.uuid()]).await;
        let timers: Vec<(String, _)> = timers.iter().map(|row| (row.get(0), row.get(1))).collect();
        assert_eq!(
            timers,
            [
                ("deadline".to_owned(), scheduled.deadline),
                ("due".to_owned(), scheduled.not_before)
            ]
        );
    });
}

#[test]
fn a_queue_without_a_schema_is_refused_with_the_way_to_get_one() {
    with_world("submit_schema", async |world| {
        let mut task = task();
        task.queue = "reports".to_owned();
        let error = world.submitter.submit(new(&task)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Setup);
        assert!(
            error.to_string().contains("tasks.reports") && error.to_string().contains("posthaste migrate")
        );
    });
}

#[test]
fn more_than_the_queue_holds_is_refused_at_once() {
    with_world("submit_full", async |world| {
        let options = GroupOptions {
            lanes: 1,
            queue_len_max: 10,
            queue_bytes_max: 1024 * 1024,
        };
        let submitter = Submitter::start(&world.store, options, Stopper::new());
        let outcomes = submitter
            .submit_all((0..100).map(|_| new(&task())).collect(), false)
            .await;
        let full = |outcome: &Result<Submitted, Error>| matches!(outcome, Err(Error::QueueFull("submit")));
        let full_count = outcomes.iter().filter(|outcome| full(outcome)).count();
        assert!(full_count > 0);
        assert!(outcomes.iter().all(|outcome| full(outcome) || outcome.is_ok()));
        assert_eq!(world.count(TASK_COUNT, &[]).await, 100 - full_count as i64);
    });
}

#[test]
fn what_was_taken_in_before_the_stop_is_stored_and_nothing_after_it() {
    with_world("submit_stop", async |world| {
        let news: Vec<NewTask> = (0..500).map(|_| new(&task())).collect();
        let submitter = world.submitter.clone();
        let before = tokio::spawn(async move { submitter.submit_all(news, false).await });
        world.submitter.submit(new(&task())).await.unwrap();
        world.stopper.stop();
        world.submitter.drain().await;
        let outcomes = before.await.unwrap();
        let stored = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(world.count(TASK_COUNT, &[]).await, 1 + stored as i64);
        assert!(matches!(
            world.submitter.submit(new(&task())).await,
            Err(Error::Stopping)
        ));
    });
}
