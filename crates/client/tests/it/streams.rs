//! Streams over connections that end.

use std::time::{Duration, Instant};

use posthaste_client::{Client, Error, EventFilter, Next};

use crate::scripted::{Scripted, Turn};

fn filter() -> EventFilter {
    EventFilter {
        channel: Some("orders".to_owned()),
        ..EventFilter::default()
    }
}

fn name(next: Option<Next>) -> String {
    match next {
        Some(Next::Other(name, data)) => format!("{name} {data}"),
        Some(Next::Reset { cursor }) => format!("reset {cursor}"),
        Some(Next::Event(event)) => event.text,
        Some(Next::Lost) => "lost".to_owned(),
        Some(Next::Back) => "back".to_owned(),
        None => "end".to_owned(),
    }
}

#[tokio::test]
async fn a_stream_goes_on_after_the_last_id_and_ends_with_a_204() {
    let turns = vec![
        Turn::Stream("retry: 1\nid: a\n\nid: b\nevent: x\ndata: 1\n\nid: c\nevent: x\ndata: lost"),
        Turn::Cut,
        Turn::Answer(503, "retry-after: 0\r\n", String::new()),
        Turn::Stream("id: c\nevent: x\ndata: 2\n\n"),
        Turn::Answer(204, "", String::new()),
    ];
    let server = Scripted::serve(turns).await;
    let client = Client::new(&server.url).unwrap();
    let mut stream = client.events(&filter()).await.unwrap();
    for expected in ["x 1", "lost", "back", "x 2", "end"] {
        assert_eq!(name(stream.next().await.unwrap()), expected);
    }
    assert_eq!(server.header("last-event-id"), ["", "b", "b", "b", "c"]);
}

#[tokio::test]
async fn a_stream_comes_back_no_sooner_than_the_server_asks() {
    let turns = vec![
        Turn::Stream("retry: 1\nid: a\n\n"),
        Turn::Answer(503, "retry-after: 2\r\n", String::new()),
        Turn::Answer(204, "", String::new()),
    ];
    let server = Scripted::serve(turns).await;
    let client = Client::new(&server.url).unwrap();
    let mut stream = client.events(&filter()).await.unwrap();
    let began = Instant::now();
    for expected in ["lost", "back", "end"] {
        assert_eq!(name(stream.next().await.unwrap()), expected);
    }
    assert!(began.elapsed() >= Duration::from_secs(2));
}

#[tokio::test]
async fn a_reset_is_told_and_the_stream_goes_on_from_where_it_leads() {
    let turns = vec![
        Turn::Stream("retry: 1\n\nid: n\nevent: reset\ndata: {\"oldest\":\"n\"}\n\n"),
        Turn::Stream("id: o\nevent: x\ndata: 1\n\n"),
    ];
    let server = Scripted::serve(turns).await;
    let client = Client::new(&server.url).unwrap();
    let mut stream = client.events(&filter()).await.unwrap();
    assert_eq!(name(stream.next().await.unwrap()), "reset n");
    assert_eq!(name(stream.next().await.unwrap()), "x 1");
    assert_eq!(server.header("last-event-id"), ["", "n"]);
}

#[tokio::test]
async fn a_stream_whose_key_is_refused_does_not_come_back() {
    let turns = vec![
        Turn::Stream("retry: 1\nid: a\n\n"),
        Turn::Answer(401, "", String::new()),
    ];
    let server = Scripted::serve(turns).await;
    let client = Client::new(&server.url).unwrap();
    let mut stream = client.events(&filter()).await.unwrap();
    assert!(matches!(stream.next().await, Err(Error::Gateway(401))));
}
