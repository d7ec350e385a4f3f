//! Records that are not what they should be.

use posthaste_types::{TaskState, topics};
use posthaste_worker::{Handlers, Options};

use crate::with_world;

#[test]
fn poison_goes_to_the_dead_letters_with_its_reason_and_the_rest_goes_on() {
    with_world(async |world| {
        let mut unknown_schema = vec![0];
        unknown_schema.extend(i32::MAX.to_be_bytes());
        let mut broken_body = vec![0];
        broken_body.extend(
            world
                .store
                .schema_id(&topics::tasks_topic(&world.queue))
                .await
                .unwrap()
                .0
                .to_be_bytes(),
        );
        broken_body.extend([0xff; 8]);
        for value in [b"no frame".to_vec(), Vec::new(), unknown_schema, broken_body] {
            world.write(None, Some(0), value).await;
        }
        let task = world.task("echo", "1");
        world.store_only(&task).await;
        world.publish_to(&task, 0).await;
        let worker = world.worker(Options::default(), Handlers::new());
        assert_eq!(world.finished(task.id).await.state, TaskState::Done);
        let mut reasons: Vec<(i64, String)> = Vec::new();
        for letter in world.dead_letters(4).await {
            let text = |name| String::from_utf8(letter.header(name).unwrap().to_vec()).unwrap();
            let source = text(topics::HEADER_DEAD_SOURCE);
            let offset = source.rsplit('/').next().unwrap().parse().unwrap();
            reasons.push((offset, text(topics::HEADER_DEAD_REASON)));
        }
        reasons.sort_unstable();
        let parts = [
            "not a Confluent frame",
            "not a Confluent frame",
            "its schema 2147483647 cannot be had",
            "",
        ];
        for ((offset, reason), part) in reasons.iter().zip(parts) {
            assert!(reason.contains(part) && !reason.is_empty(), "{offset}: {reason}");
        }
        worker.stop().await;
    });
}

#[test]
fn a_record_of_a_task_that_does_not_exist_is_passed_over() {
    with_world(async |world| {
        let (ghost, task) = (world.task("echo", "1"), world.task("echo", "2"));
        world.publish_to(&ghost, 0).await;
        world.store_only(&task).await;
        world.publish_to(&task, 0).await;
        let worker = world.worker(Options::default(), Handlers::new());
        assert_eq!(world.finished(task.id).await.state, TaskState::Done);
        worker.stop().await;
    });
}
