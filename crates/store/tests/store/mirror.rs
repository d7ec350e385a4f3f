//! The SQL allows what `TaskState::apply` allows, for every pair of state and event.

use chrono::{TimeDelta, Utc};
use posthaste_runtime::ids;
use posthaste_store::{Claimed, Completed, TaskChange};
use posthaste_types::state::TaskEvent as Event;
use posthaste_types::{ClaimToken, Task, TaskState};

use crate::world::{World, completion, task, with_world};

/// A task that has come to `state`, with the token of its attempt.
async fn in_state(world: &World, state: TaskState) -> (Task, ClaimToken) {
    let token = ids::claim_token();
    let task = task();
    world.submit(&task).await;
    // Straight into the row: the ways there are what is under test.
    let sql =
        "update posthaste.tasks set state = $2::text::posthaste.task_state, claim_token = $3, attempt = 1
        where id = $1";
    world
        .query(sql, &[&task.id.uuid(), &state.as_str(), &token.uuid()])
        .await;
    (
        Task {
            state,
            attempt: 1,
            ..task
        },
        token,
    )
}

/// Lets `event` happen by the statement that production uses; whether it was allowed.
async fn happen(world: &World, task: &Task, token: ClaimToken, event: Event) -> bool {
    let complete = async |state| world.complete(completion(task, token, state)).await == Completed::Stored;
    let changed = |change| matches!(change, TaskChange::Changed(_));
    match event {
        Event::Claim => matches!(
            world.claim(task, ids::claim_token()).await,
            Claimed::Granted { .. }
        ),
        Event::Succeed => complete(TaskState::Done).await,
        Event::Retry => complete(TaskState::Retrying).await,
        Event::Fail => complete(TaskState::Failed).await,
        Event::Cancel => changed(
            world
                .store
                .cancel(&task.tenant, task.id, ids::event_id(), Utc::now())
                .await
                .unwrap(),
        ),
        Event::Rerun => changed(
            world
                .store
                .rerun(&task.tenant, task.id, ids::event_id(), Utc::now())
                .await
                .unwrap(),
        ),
        Event::Expire => {
            let sql = "update posthaste.tasks set deadline = now() - interval '1 hour' where id = $1";
            world.query(sql, &[&task.id.uuid()]).await;
            world.store.expire(task.id, Utc::now()).await.unwrap()
        }
        Event::Due => {
            // Without the timers that earlier pairs have left.
            world.query("delete from posthaste.timers", &[]).await;
            let due_at = Utc::now() - TimeDelta::hours(1);
            let sql = "insert into posthaste.timers (task_id, kind, due_at) values ($1, 'due', $2)";
            world.query(sql, &[&task.id.uuid(), &due_at]).await;
            world.store.fire_timers(Utc::now()).await.unwrap().ready_count == 1
        }
    }
}

#[test]
fn the_statements_allow_what_the_transition_function_allows() {
    with_world("mirror", async |world| {
        for state in TaskState::ALL {
            for event in Event::ALL {
                let (task, token) = in_state(&world, state).await;
                let allowed = happen(&world, &task, token, event).await;
                let after = world.stored(&task).await.state;
                let expected = state.apply(event);
                assert_eq!(allowed, expected.is_ok(), "a task that is {state}: {event}");
                assert_eq!(
                    after,
                    expected.unwrap_or(state),
                    "a task that is {state}: {event}"
                );
            }
        }
    });
}
