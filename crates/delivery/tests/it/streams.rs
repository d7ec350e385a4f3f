//! Streams: resume over a window's end and from process to process, resets, and the stream of one task.

use posthaste_delivery::Options;
use posthaste_types::{EventKind, TaskState};

use crate::sse::{Stream, get};
use crate::with_world;
use crate::world::{PARTITION_COUNT, done, fresh, open_options, running};

#[test]
fn a_stream_resumes_exactly_from_any_process_also_from_before_the_window() {
    with_world(async |world| {
        let place = world.place().await;
        let channel = fresh("channel");
        let wide = place.deliver(open_options()).await;
        let narrow = place
            .deliver(Options {
                window_event_count: 4,
                ..open_options()
            })
            .await;
        let path = format!("/v1/events?channel={channel}");
        let mut stream = Stream::open(&format!("{}{path}", wide.url), None).await;
        let opened_with = stream.last_id.clone();
        world.publish_many(&channel, 0..10).await;
        let mut seen: Vec<u64> = stream.take(3).await.iter().map(|event| event.number()).collect();
        world.publish_garbage().await;
        world.publish_many(&channel, 10..40).await;
        let mut last_id = stream.last_id;
        // Back and forth, each time a few events; the narrow one has long forgotten what comes next.
        for turn in 0..4 {
            let process = if turn % 2 == 0 { &narrow } else { &wide };
            let mut stream = Stream::open(&format!("{}{path}", process.url), Some(&last_id)).await;
            seen.extend(stream.take(5).await.iter().map(|event| event.number()));
            last_id = stream.last_id;
        }
        let mut stream = Stream::open(&format!("{}{path}", narrow.url), Some(&last_id)).await;
        seen.extend(
            stream
                .take(40 - seen.len())
                .await
                .iter()
                .map(|event| event.number()),
        );
        world.publish_many(&channel, 40..42).await;
        seen.extend(stream.take(2).await.iter().map(|event| event.number()));
        seen.sort_unstable();
        assert_eq!(seen, (0..42).collect::<Vec<_>>());
        // The id that a stream opened with leads back to before the first event.
        let mut stream = Stream::open(&format!("{}{path}&cursor={opened_with}", narrow.url), None).await;
        assert_eq!(stream.take(42).await.len(), 42);
        wide.stop().await;
        narrow.stop().await;
    });
}

#[test]
fn earliest_gives_everything_that_is_kept_and_filters_hold() {
    with_world(async |world| {
        let place = world.place().await;
        let channel = fresh("channel");
        world.publish_many(&channel, 0..5).await;
        let mut failed = done(&channel);
        (failed.kind, failed.state, failed.result) =
            (EventKind::Failed, TaskState::Failed, Some("99".to_owned()));
        world.publish(&failed).await;
        let process = place
            .deliver(Options {
                window_event_count: 1,
                ..open_options()
            })
            .await;
        let url = format!("{}/v1/events?channel={channel}&cursor=earliest", process.url);
        let mut numbers: Vec<u64> = Stream::open(&url, None)
            .await
            .take(6)
            .await
            .iter()
            .map(|event| event.number())
            .collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 99]);
        let mut stream = Stream::open(&format!("{url}&event=task.failed&type=echo"), None).await;
        let event = stream.next().await.unwrap();
        assert_eq!((&*event.name, event.number()), ("task.failed", 99));
        assert_eq!(event.data["type"], "task.failed");
        assert_eq!(event.data["data"]["id"], failed.task_id.to_string());
        assert!(event.data["data"].get("payload").is_none());
        process.stop().await;
    });
}

#[test]
fn a_cursor_that_the_topic_never_had_gets_a_reset_and_then_what_is_kept() {
    with_world(async |world| {
        let place = world.place().await;
        let channel = fresh("channel");
        world.publish_many(&channel, 0..3).await;
        let process = place.deliver(open_options()).await;
        let url = format!("{}/v1/events?channel={channel}", process.url);
        let now = Stream::open(&url, None).await.last_id;
        // Partition 0 far ahead, written as cursors are: version, count, varints.
        let mut binary = vec![1, u8::try_from(PARTITION_COUNT).unwrap(), 0xff, 0xff, 0xff, 0x7f];
        binary.extend(std::iter::repeat_n(
            0,
            usize::try_from(PARTITION_COUNT - 1).unwrap(),
        ));
        let ahead = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, binary);
        let mut stream = Stream::open(&url, Some(&ahead)).await;
        let reset = stream.next().await.unwrap();
        assert_eq!(reset.name, "reset");
        let oldest = reset.data["oldest"].as_str().unwrap().to_owned();
        assert_eq!(stream.take(3).await.len(), 3);
        // The oldest cursor is one to begin from.
        let mut stream = Stream::open(&url, Some(&oldest)).await;
        assert!(stream.take(3).await.iter().all(|event| event.name == "task.done"));
        assert_eq!(get(&url, Some("zzz")).await.status(), 400);
        assert_eq!(get(&format!("{url}&colour=red"), Some(&now)).await.status(), 400);
        process.stop().await;
    });
}

#[test]
fn a_tasks_stream_tells_its_state_then_its_changes_and_ends() {
    with_world(async |world| {
        let place = world.place().await;
        let process = place.deliver(open_options()).await;
        let mut event = done("unused");
        let mut stored = running(event.task_id, 2);
        stored.state = TaskState::Init;
        place.store_task(&stored).await;
        let url = format!("{}/v1/tasks/{}/events", process.url, event.task_id);
        let mut stream = Stream::open(&url, None).await;
        let first = stream.next().await.unwrap();
        assert_eq!(
            (&*first.name, first.data["data"]["state"].as_str()),
            ("task.state", Some("INIT"))
        );
        let started = running(event.task_id, 3);
        place.store_task(&started).await;
        world.publish(&started).await;
        // What the state has told already is not told again.
        world.publish(&running(event.task_id, 2)).await;
        assert_eq!(stream.next().await.unwrap().name, "task.running");
        event.version = 4;
        place.store_task(&event).await;
        world.publish(&event).await;
        let last = stream.next().await.unwrap();
        assert_eq!(
            (&*last.name, last.data["id"].as_str().unwrap()),
            ("task.done", &*event.event_id.to_string())
        );
        assert_eq!(stream.next().await, None);
        // Seen to the end: EventSource is told to stop. Not seen: told the end once more.
        assert_eq!(get(&url, Some(&last.id)).await.status(), 204);
        let mut again = Stream::open(&url, Some(&first.id)).await;
        assert_eq!(again.next().await.unwrap().name, "task.done");
        assert_eq!(again.next().await, None);
        process.stop().await;
    });
}

#[test]
fn an_end_that_the_record_does_not_show_yet_is_told_all_the_same() {
    with_world(async |world| {
        let place = world.place().await;
        let event = done("unused");
        place.store_task(&running(event.task_id, 2)).await;
        world.publish(&event).await;
        let process = place.deliver(open_options()).await;
        let mut stream = Stream::open(
            &format!("{}/v1/tasks/{}/events", process.url, event.task_id),
            None,
        )
        .await;
        assert_eq!(stream.next().await.unwrap().name, "task.running");
        assert_eq!(stream.next().await.unwrap().name, "task.done");
        assert_eq!(stream.next().await, None);
        process.stop().await;
    });
}

#[test]
fn unknown_tasks_are_not_found_and_a_stop_ends_streams() {
    with_world(async |world| {
        let place = world.place().await;
        let process = place.deliver(open_options()).await;
        for id in [done("unused").task_id.to_string(), "nonsense".to_owned()] {
            assert_eq!(
                get(&format!("{}/v1/tasks/{id}/events", process.url), None)
                    .await
                    .status(),
                404
            );
        }
        let mut stream = Stream::open(&format!("{}/v1/events", process.url), None).await;
        process.stop().await;
        while stream.next().await.is_some() {}
    });
}
