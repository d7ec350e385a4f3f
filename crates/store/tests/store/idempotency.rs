//! Idempotency keys: replays, races of two processes, and the boundary between two buckets.

use std::collections::HashMap;

use chrono::TimeDelta;
use futures_util::future::join_all;
use posthaste_runtime::{Clock as _, Stopper, SystemClock};
use posthaste_store::{GroupOptions, Idempotency, NewTask, Store, Submitted, Submitter};
use posthaste_types::{Task, TaskState};

use crate::world::{World, idempotency, keyed, new, task, with_world};

const TASK_COUNT: &str = "select count(*) from posthaste.tasks";
const KEY_COUNT: &str = "select count(*) from posthaste.idempotency_keys where not guard";

fn replayed(task: &Task) -> Submitted {
    Submitted::Replayed {
        task_id: task.id,
        created_at: task.created_at,
        scheduled: task.state == TaskState::Scheduled,
        answer: None,
    }
}

#[test]
fn the_same_key_gives_the_first_task_and_another_request_under_it_is_refused() {
    with_world("keys", async |world| {
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
fn a_batch_under_a_key_is_one_commit_and_its_replay_brings_the_answer_that_was_kept() {
    with_world("keys_batch", async |world| {
        let batch = || (0..700).map(|_| new(&task())).collect::<Vec<NewTask>>();
        let key = |request, answer: &str| {
            Some(Idempotency {
                answer: Some(answer.as_bytes().to_vec()),
                ..idempotency("k", request)
            })
        };
        let first = batch();
        let submit = async |news, key| world.submitter.submit_batch(news, key).await.unwrap();
        assert_eq!(submit(first.clone(), key(1, "first")).await, Submitted::Stored);
        let again = submit(batch(), key(1, "second")).await;
        let Submitted::Replayed { task_id, answer, .. } = again else {
            panic!("{again:?}")
        };
        assert_eq!(
            (task_id, answer.as_deref()),
            (first[0].task.id, Some(&b"first"[..]))
        );
        assert_eq!(submit(batch(), key(2, "third")).await, Submitted::KeyReused);
        assert_eq!(world.count(TASK_COUNT, &[]).await, 700);
        let commits = "select count(distinct xmin::text) from posthaste.tasks";
        assert_eq!(world.count(commits, &[]).await, 1);
    });
}

#[test]
fn of_equal_keys_in_flight_at_once_in_two_processes_one_wins_and_all_learn_of_it() {
    with_world("keys_race", async |world| {
        let other = Submitter::start(&world.store, GroupOptions::default(), Stopper::new());
        // Each of 40 keys 10 times, in an order that differs between the two.
        let key = |index| match index % 2 {
            0 => index / 10,
            _ => 39 - index / 10,
        };
        let submitters = [&world.submitter, &other];
        let calls = (0..400).map(|index| {
            let new = keyed(&task(), &format!("key-{}", key(index)), 1);
            (submitters[index % 2], new)
        });
        race(&world, calls.collect(), 40).await;
    });
}

#[test]
fn a_thousand_requests_under_one_key_over_two_processes_are_one_task() {
    with_world("keys_thousand", async |world| {
        let other = Submitter::start(&world.store, GroupOptions::default(), Stopper::new());
        let submitters = [&world.submitter, &other];
        let calls = (0..1_000).map(|index| (submitters[index % 2], keyed(&task(), "one", 1)));
        race(&world, calls.collect(), 1).await;
    });
}

/// Submits at once; of each key one task is stored and everybody else learns of it.
async fn race(world: &World, calls: Vec<(&Submitter, NewTask)>, key_count: usize) {
    let outcomes = join_all(calls.iter().map(|(submitter, new)| submitter.submit(new.clone()))).await;
    let outcomes: Vec<Submitted> = outcomes.into_iter().map(Result::unwrap).collect();
    assert_eq!(world.count(TASK_COUNT, &[]).await, key_count as i64);
    assert_eq!(world.count(KEY_COUNT, &[]).await, key_count as i64);
    let key = |new: &NewTask| new.idempotency.clone().unwrap().key;
    let winners: HashMap<String, Task> = calls
        .iter()
        .zip(&outcomes)
        .filter(|(_, outcome)| **outcome == Submitted::Stored)
        .map(|((_, new), _)| (key(new), new.task.clone()))
        .collect();
    assert_eq!(winners.len(), key_count);
    for ((_, new), outcome) in calls.iter().zip(&outcomes) {
        let winner = &winners[&key(new)];
        if winner.id != new.task.id {
            assert_eq!(*outcome, replayed(winner));
        }
    }
}

#[test]
fn a_key_that_another_transaction_holds_is_in_progress_and_keeps_nobody_else_waiting() {
    with_world("keys_held", async |world| {
        world.database.batch_execute("begin").await.unwrap();
        let lock = "select posthaste.idempotency_lock('default', 'held')";
        world.query(lock, &[]).await;
        let held = tokio::spawn({
            let submitter = world.submitter.clone();
            async move { submitter.submit(keyed(&task(), "held", 1)).await.unwrap() }
        });
        for index in 0..10 {
            let free = keyed(&task(), &index.to_string(), 1);
            assert_eq!(world.submitter.submit(free).await.unwrap(), Submitted::Stored);
        }
        assert_eq!(held.await.unwrap(), Submitted::InProgress);
        let held = tokio::spawn({
            let submitter = world.submitter.clone();
            async move { submitter.submit(keyed(&task(), "held", 1)).await.unwrap() }
        });
        world.submit(&task()).await;
        world.database.batch_execute("rollback").await.unwrap();
        assert_eq!(held.await.unwrap(), Submitted::Stored, "it was waited for");
    });
}

/// The boundary between two buckets is now, and the database's clock is a minute and a half slow or fast for who says
/// so in his application's name.
const BOUNDARY_IS_NOW: &str =
    "create or replace function posthaste.idempotency_bucket(at timestamptz) returns timestamptz
    language sql stable return date_bin('1 day', at + case current_setting('application_name')
        when 'before' then interval '-90 s' when 'after' then interval '90 s' else interval '0 s' end,
        timestamptz '@')";

/// One process on each side of the boundary, and one at it.
async fn around_the_boundary(world: &World) -> [Submitter; 3] {
    let now = world.query("select now()::text", &[]).await[0].get::<_, String>(0);
    world
        .database
        .batch_execute(&BOUNDARY_IS_NOW.replace('@', &now))
        .await
        .unwrap();
    ["before", "at", "after"].map(|application_name| {
        let store = Store::new(&world.options(application_name)).unwrap();
        Submitter::start(&store, GroupOptions::default(), Stopper::new())
    })
}

#[test]
fn a_key_is_taken_on_both_sides_of_the_boundary_of_two_buckets() {
    with_world("keys_boundary", async |world| {
        let submitters = around_the_boundary(&world).await;
        for (index, first) in submitters.iter().enumerate() {
            let (key, task_of_key) = (format!("key-{index}"), task());
            let stored = first.submit(keyed(&task_of_key, &key, 1)).await.unwrap();
            assert_eq!(stored, Submitted::Stored);
            for later in &submitters[index..] {
                let again = later.submit(keyed(&task(), &key, 1)).await.unwrap();
                assert_eq!(again, replayed(&task_of_key), "{index}");
            }
        }
        let buckets = "select string_agg((bucket > now() - interval '1 hour')::text || guard::text, ' ' order by bucket)
            from posthaste.idempotency_keys group by key order by key";
        let buckets: Vec<String> = world
            .query(buckets, &[])
            .await
            .iter()
            .map(|row| row.get(0))
            .collect();
        assert_eq!(buckets, ["falsefalse", "falsetrue truefalse", "truefalse"]);
    });
}

#[test]
fn races_across_the_boundary_of_two_buckets_have_one_winner() {
    with_world("keys_boundary_race", async |world| {
        let [before, at, after] = around_the_boundary(&world).await;
        for (round, pair) in [[&before, &at], [&at, &after], [&after, &at], [&at, &at]]
            .into_iter()
            .enumerate()
        {
            let calls = (0..600).map(|index| {
                let new = keyed(&task(), &format!("{round}-{}", index / 30), 1);
                (pair[index % 2], new)
            });
            let calls: Vec<_> = calls.collect();
            race(&world, calls, 20).await;
            world
                .database
                .batch_execute("truncate posthaste.tasks, posthaste.idempotency_keys")
                .await
                .unwrap();
        }
    });
}

/// As a race leaves it: the loser's guard in the earlier bucket beside the winner's row in the later one.
#[test]
fn a_guard_whose_owner_lost_the_later_bucket_answers_nobody() {
    with_world("keys_guard", async |world| {
        let [_, at, after] = around_the_boundary(&world).await;
        let winner = task();
        assert_eq!(
            after.submit(keyed(&winner, "k", 1)).await.unwrap(),
            Submitted::Stored
        );
        let guard = "insert into posthaste.idempotency_keys
            select key, tenant, bucket - interval '1 day', true, fingerprint, gen_random_uuid(), created_at, scheduled
            from posthaste.idempotency_keys";
        world.query(guard, &[]).await;
        for submitter in [&at, &after] {
            let again = submitter.submit(keyed(&task(), "k", 1)).await.unwrap();
            assert_eq!(again, replayed(&winner));
        }
    });
}
