//! The counts of open tasks stay what counting the rows gives.

use std::collections::HashMap;

use chrono::{TimeDelta, Utc};
use posthaste_runtime::{Clock as _, SystemClock, ids};
use posthaste_types::{ClaimToken, Task, TaskState};

use crate::world::{World, completion, keyed, new, task, with_world};

const COUNT: &str = "select tenant, count(*) from posthaste.tasks
    where state not in ('DONE', 'FAILED', 'CANCELLED', 'EXPIRED') group by tenant order by tenant";

async fn assert_exact(world: &World, when: &str) {
    let rows = world.query(COUNT, &[]).await;
    let counted: Vec<(String, u64)> = rows
        .iter()
        .map(|row| (row.get(0), row.get::<_, i64>(1).unsigned_abs()))
        .collect();
    assert_eq!(world.store.open_tasks().await.unwrap(), counted, "{when}");
}

fn of_tenant(index: usize) -> Task {
    Task {
        tenant: format!("tenant-{}", index % 3),
        ..task()
    }
}

/// A generator whose runs can be repeated (xorshift64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }
}

/// One step of some task, whether it is allowed or not.
async fn step(world: &World, task: &Task, token: &mut ClaimToken, dice: &mut Dice) {
    let at = Utc::now();
    let stored = world.stored(task).await;
    match dice.roll(8) {
        0 => {
            world
                .store
                .cancel(&task.tenant, task.id, ids::event_id(), at)
                .await
                .unwrap();
        }
        1 => {
            world
                .store
                .rerun(&task.tenant, task.id, ids::event_id(), at)
                .await
                .unwrap();
        }
        2 => {
            world
                .store
                .fire_timers(at + TimeDelta::hours(dice.roll(3) as i64))
                .await
                .unwrap();
        }
        3 => {
            world
                .store
                .expire(task.id, at + TimeDelta::hours(3))
                .await
                .unwrap();
        }
        4 | 5 => {
            *token = ids::claim_token();
            world.claim(&stored, *token).await;
        }
        // With the last claim's token, which may have been taken over or have ended.
        outcome => {
            let states = [
                TaskState::Done,
                TaskState::Failed,
                TaskState::Retrying,
                TaskState::Running,
            ];
            let completion = completion(&stored, *token, states[dice.roll(4)]);
            world.complete(completion.clone()).await;
            if outcome == 7 {
                world.complete(completion).await;
            }
        }
    }
}

#[test]
fn they_equal_a_count_of_the_rows_after_any_walk() {
    with_world("open_tasks", async |world| {
        let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
        let mut tasks: Vec<(Task, ClaimToken)> = Vec::new();
        for index in 0..40 {
            let mut task = of_tenant(index);
            if dice.roll(3) == 0 {
                task.state = TaskState::Scheduled;
                task.not_before = Some(SystemClock.now() + TimeDelta::hours(1));
            }
            task.deadline = (dice.roll(3) == 0).then(|| SystemClock.now() + TimeDelta::hours(2));
            world.submit(&task).await;
            // Once more, and as somebody else's task under its key: neither counts.
            world.submit(&task).await;
            for _ in 0..2 {
                let keyed = keyed(&of_tenant(index), &format!("key-{}", index / 2), 1);
                world.submitter.submit(keyed).await.unwrap();
            }
            tasks.push((task, ids::claim_token()));
        }
        assert_exact(&world, "after submitting").await;
        let mut seen: HashMap<TaskState, usize> = HashMap::new();
        for round in 0..1_200 {
            let index = dice.roll(tasks.len());
            let (task, token) = &mut tasks[index];
            step(&world, task, token, &mut dice).await;
            *seen.entry(world.stored(task).await.state).or_default() += 1;
            if round % 50 == 0 {
                assert_exact(&world, &format!("in round {round}")).await;
            }
        }
        assert_eq!(
            seen.len(),
            TaskState::ALL.len(),
            "the walk came by all states: {seen:?}"
        );
        assert_exact(&world, "after the walk").await;
    });
}

#[test]
fn a_dropped_partition_and_a_recount_leave_them_as_they_are() {
    with_world("open_tasks_kept", async |world| {
        let news: Vec<_> = (0..20).map(|index| new(&of_tenant(index))).collect();
        let (open, ended) = (news[0].task.clone(), news[1].task.clone());
        assert!(world.submitter.submit_each(news).await.iter().all(Result::is_ok));
        for task in [&open, &ended] {
            let cancelled = world
                .store
                .cancel(&task.tenant, task.id, ids::event_id(), Utc::now())
                .await;
            cancelled.unwrap();
        }
        let before = world.store.open_tasks().await.unwrap();
        assert_eq!(before.iter().map(|(_, count)| count).sum::<u64>(), 18);
        let later = Utc::now() + TimeDelta::days(60);
        let dropped = world
            .store
            .drop_expired(later, TimeDelta::days(30))
            .await
            .unwrap();
        assert!(!dropped.is_empty(), "those of days without a task");
        assert_exact(&world, "after dropping what has ended").await;
        world.query("select posthaste.recount_open_tasks()", &[]).await;
        assert_eq!(world.store.open_tasks().await.unwrap(), before);
    });
}
