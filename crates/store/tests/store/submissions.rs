//! Submitting: alone, in groups, ahead of time.

use chrono::TimeDelta;
use posthaste_runtime::{Clock as _, Stopper, SystemClock};
use posthaste_schema::{TASK_REQUESTED, TaskRequested, WriterSchemas};
use posthaste_store::{Error, ErrorKind, GroupOptions, NewTask, Submitted, Submitter};
use posthaste_types::TaskState;

use crate::world::{REQUESTED_ID, keyed, new, task, with_world};

const OUTBOX_COUNT: &str = "select count(*) from posthaste.outbox where id = $1";
const TASK_COUNT: &str = "select count(*) from posthaste.tasks";

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
        let outcomes = world.submitter.submit_each(news).await;
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
fn a_batch_is_stored_wholly_or_not_at_all() {
    with_world("submit_batch", async |world| {
        let news: Vec<NewTask> = (0..700).map(|_| new(&task())).collect();
        assert_eq!(
            world.submitter.submit_batch(news, None).await.unwrap(),
            Submitted::Stored
        );
        let mut news: Vec<NewTask> = (0..3).map(|_| new(&task())).collect();
        news[1].task.channel = Some("a\0b".to_owned());
        let error = world.submitter.submit_batch(news, None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadRow);
        assert_eq!(world.count(TASK_COUNT, &[]).await, 700);
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
            let outcome = world.submitter.submit_batch(batch.clone(), None).await;
            assert_eq!(outcome.unwrap(), Submitted::Stored);
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
            .submit_each((0..100).map(|_| new(&task())).collect())
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
        let before = tokio::spawn(async move { submitter.submit_each(news).await });
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
