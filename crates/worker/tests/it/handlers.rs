//! Handlers that configuration chooses, the whole way through.

use std::collections::BTreeMap;

use posthaste_types::TaskState;
use posthaste_worker::{Handler, HandlerKind, Handlers, JsonText, Options, TypeOptions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::with_world;
use crate::world::With;

/// A handler that answers `null`.
pub(crate) fn null() -> impl Handler {
    With(|_: &_| async { Ok(JsonText::null()) })
}

fn configured(task_type: &str, of_type: TypeOptions) -> Options {
    Options {
        types: BTreeMap::from([(task_type.to_owned(), of_type)]),
        ..Options::default()
    }
}

#[test]
fn a_program_makes_the_attempt() {
    with_world(async |world| {
        let script = r#"read task; echo '{"progress":0.5}'; echo "{\"got\":$task}""#;
        let of_type = TypeOptions {
            handler: Some(HandlerKind::Exec),
            program: Some("sh".to_owned()),
            args: vec!["-c".to_owned(), script.to_owned()],
            ..TypeOptions::default()
        };
        let worker = world.worker(configured("print", of_type), Handlers::new());
        let task = world.task("print", r#"{"pages":[1,2]}"#);
        world.submit(&task).await;
        let done = world.finished(task.id).await;
        let result: serde_json::Value = serde_json::from_str(done.result.as_deref().unwrap()).unwrap();
        assert_eq!(result["got"]["payload"]["pages"][1], 2);
        assert_eq!(done.progress.as_deref(), Some("0.5"));
        worker.stop().await;
    });
}

#[test]
fn a_service_makes_the_attempt_once_it_is_no_longer_busy() {
    with_world(async |world| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let of_type = TypeOptions {
            handler: Some(HandlerKind::Http),
            url: Some(format!("http://{}/", listener.local_addr().unwrap())),
            ..TypeOptions::default()
        };
        let serve = tokio::spawn(async move {
            for answer in [
                "HTTP/1.1 503 Busy\r\nretry-after: 0\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
                "HTTP/1.1 200 OK\r\ncontent-length: 11\r\nconnection: close\r\n\r\n{\"pages\":3}",
            ] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"}") {
                    assert!(stream.read_buf(&mut request).await.unwrap() > 0);
                }
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let worker = world.worker(configured("render", of_type), Handlers::new());
        let task = world.task("render", r#"{"n":1}"#);
        world.submit(&task).await;
        let done = world.finished(task.id).await;
        assert_eq!(
            (done.state, done.attempt, done.result.as_deref()),
            (TaskState::Done, 2, Some("{\"pages\":3}"))
        );
        serve.await.unwrap();
        worker.stop().await;
    });
}

#[test]
fn a_text_is_counted() {
    with_world(async |world| {
        let worker = world.worker(Options::default(), Handlers::new());
        let task = world.task("text.stats", r#"{"text":"Less is more. Really."}"#);
        world.submit(&task).await;
        let done = world.finished(task.id).await;
        let result: serde_json::Value = serde_json::from_str(done.result.as_deref().unwrap()).unwrap();
        assert_eq!(
            (result["words"].as_u64(), result["sentences"].as_u64()),
            (Some(4), Some(2))
        );
        worker.stop().await;
    });
}
