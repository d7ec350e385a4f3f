//! Who sees what: tenants apart, stream tokens held to what they name, limits, dead keys, and what is noted of acts.

use posthaste_schema::TaskEvent;
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

use crate::door::{LIMITED, READER};
use crate::receiver::Receiver;
use crate::sse::{Stream, get};
use crate::with_world;
use crate::world::{Delivery, done, fresh, open_options, running, within};

async fn send(process: &Delivery, tenant: &str, method: Method, path: &str, body: Option<Value>) -> Response {
    let mut request = Client::new()
        .request(method, format!("{}{path}", process.url))
        .bearer_auth(tenant);
    if let Some(body) = body {
        request = request.json(&body);
    }
    within("an answer", request.send()).await.unwrap()
}

async fn status(process: &Delivery, tenant: &str, method: Method, path: &str, body: Option<Value>) -> u16 {
    let response = send(process, tenant, method, path, body).await;
    response.status().as_u16()
}

/// Opens a tenant's stream.
async fn stream(process: &Delivery, tenant: &str, path: &str) -> Stream {
    Stream::of(send(process, tenant, Method::GET, path, None).await).await
}

async fn endpoint(process: &Delivery, tenant: &str, url: &str) -> String {
    let body = json!({ "url": url, "headers": { "x-token": "hunter2" } });
    let response = send(process, tenant, Method::POST, "/v1/endpoints", Some(body)).await;
    assert_eq!(response.status(), 201);
    let endpoint: Value = response.json().await.unwrap();
    endpoint["id"].as_str().unwrap().to_owned()
}

fn of_tenant(tenant: &str, event: TaskEvent) -> TaskEvent {
    TaskEvent {
        tenant: tenant.to_owned(),
        ..event
    }
}

#[test]
fn a_tenants_streams_carry_its_own_events_alone_from_memory_and_from_kafka() {
    with_world(async |world| {
        let place = world.place().await;
        let process = place.deliver(open_options()).await;
        let (ours, theirs, channel) = (fresh("tenant"), fresh("tenant"), fresh("channel"));
        let mut all = stream(&process, &ours, "/v1/events").await;
        let mut by_channel = stream(&process, &ours, &format!("/v1/events?channel={channel}")).await;
        for tenant in [&theirs, &ours] {
            world.publish(&of_tenant(tenant, done(&channel))).await;
            let last = done(&channel);
            world
                .publish(&of_tenant(
                    tenant,
                    TaskEvent {
                        result: Some("2".to_owned()),
                        ..last
                    },
                ))
                .await;
        }
        let numbers = async |stream: &mut Stream| {
            let mut numbers: Vec<u64> = stream.take(2).await.iter().map(|event| event.number()).collect();
            numbers.sort_unstable();
            numbers
        };
        assert_eq!(numbers(&mut all).await, [1, 2]);
        assert_eq!(numbers(&mut by_channel).await, [1, 2]);
        // Those of the other two come first on some partition: they would be among the first read.
        let narrow = place
            .deliver(posthaste_delivery::Options {
                window_event_count: 1,
                ..open_options()
            })
            .await;
        let mut old = stream(&narrow, &ours, "/v1/events?cursor=earliest").await;
        assert_eq!(numbers(&mut old).await, [1, 2]);
        let sentinel = of_tenant(&ours, running(posthaste_runtime::ids::task_id(), 9));
        world.publish(&sentinel).await;
        for stream in [&mut all, &mut old] {
            let event = stream.next().await.unwrap();
            assert_eq!(event.data["data"]["id"], sentinel.task_id.to_string());
        }
        process.stop().await;
        narrow.stop().await;
    });
}

#[test]
fn another_tenants_task_has_no_stream() {
    with_world(async |world| {
        let place = world.place().await;
        let process = place.deliver(open_options()).await;
        let (ours, theirs) = (fresh("tenant"), fresh("tenant"));
        let event = of_tenant(&theirs, done("any"));
        place.store_task(&event).await;
        let path = format!("/v1/tasks/{}/events", event.task_id);
        assert_eq!(status(&process, &ours, Method::GET, &path, None).await, 404);
        let mut own = stream(&process, &theirs, &path).await;
        assert_eq!(own.take(1).await[0].name, "task.done");
        process.stop().await;
    });
}

#[test]
fn another_tenants_endpoint_does_not_exist_and_gets_nothing_of_ours() {
    with_world(async |world| {
        let place = world.place().await;
        let process = place.deliver(open_options()).await;
        let (ours, theirs) = (fresh("tenant"), fresh("tenant"));
        let (mut our_receiver, mut their_receiver) = (Receiver::start([]), Receiver::start([]));
        let our_id = endpoint(&process, &ours, &our_receiver.url).await;
        let their_id = endpoint(&process, &theirs, &their_receiver.url).await;
        let path = |rest: &str| format!("/v1/endpoints/{their_id}{rest}");
        for (method, rest, body) in [
            (Method::GET, "", None),
            (Method::PATCH, "", Some(json!({ "description": "mine" }))),
            (Method::DELETE, "", None),
            (Method::GET, "/secret", None),
            (Method::GET, "/attempts", None),
            (Method::POST, "/test", None),
            (Method::POST, "/enable", None),
            (Method::POST, "/disable", None),
        ] {
            let answered = status(&process, &ours, method.clone(), &path(rest), body).await;
            assert_eq!(answered, 404, "{method} {rest}");
        }
        let list = send(&process, &ours, Method::GET, "/v1/endpoints", None).await;
        let list = list.text().await.unwrap();
        assert!(list.contains(&our_id) && !list.contains(&their_id));

        let event = of_tenant(&ours, done("any"));
        world.publish(&event).await;
        let request = our_receiver.next().await;
        assert_eq!(request.header("webhook-id"), event.event_id.to_string());
        assert!(their_receiver.is_quiet());
        let still = send(&process, &theirs, Method::GET, &path(""), None).await;
        let still: Value = still.json().await.unwrap();
        assert_eq!(
            (&still["enabled"], &still["description"]),
            (&json!(true), &json!(""))
        );
        process.stop().await;
    });
}

#[test]
fn a_stream_token_opens_what_it_names_alone() {
    with_world(async |world| {
        let place = world.place().await;
        let process = place.deliver(open_options()).await;
        let (channel, other) = (fresh("channel"), fresh("channel"));
        let (inside, outside) = (done(&channel), done(&other));
        for event in [&inside, &outside] {
            place.store_task(event).await;
            place.set_channel(event).await;
        }
        let url = |rest: &str| format!("{}{rest}", process.url);
        let mut own = Stream::open(&url(&format!("/v1/events?token={channel}")), None).await;
        world.publish(&outside).await;
        world.publish(&inside).await;
        assert_eq!(
            own.next().await.unwrap().data["data"]["id"],
            inside.task_id.to_string()
        );
        let of_task = |event: &TaskEvent, token: &str| {
            url(&format!("/v1/tasks/{}/events?token={token}", event.task_id))
        };
        let task_token = inside.task_id.to_string();
        for (url, expected) in [
            (url(&format!("/v1/events?token={channel}&channel={other}")), 403),
            (url(&format!("/v1/events?token={task_token}")), 403),
            (of_task(&outside, &channel), 404),
            (of_task(&outside, &task_token), 403),
            (url(&format!("/v1/endpoints?token={channel}")), 401),
        ] {
            assert_eq!(get(&url, None).await.status(), expected, "{url}");
        }
        for token in [&channel, &task_token] {
            let mut stream = Stream::open(&of_task(&inside, token), None).await;
            assert_eq!(stream.take(1).await[0].name, "task.done");
        }
        process.stop().await;
    });
}

#[test]
fn streams_end_when_their_key_is_dead_and_others_go_on() {
    with_world(async |world| {
        let place = world.place().await;
        let process = place.deliver(open_options()).await;
        let tenant = fresh("tenant");
        let channel = fresh("channel");
        let event = of_tenant(&tenant, running(posthaste_runtime::ids::task_id(), 2));
        place.store_task(&event).await;
        let mut dying = [
            stream(&process, &tenant, "/v1/events").await,
            stream(&process, &tenant, &format!("/v1/tasks/{}/events", event.task_id)).await,
            Stream::open(&format!("{}/v1/events?token={channel}", process.url), None).await,
        ];
        let mut open = Stream::open(&format!("{}/v1/events?channel={channel}", process.url), None).await;
        process.door.ended.stop();
        for stream in &mut dying {
            while stream.next().await.is_some() {}
        }
        world.publish(&done(&channel)).await;
        assert_eq!(open.take(1).await.len(), 1);
        process.stop().await;
    });
}

#[test]
fn a_tenant_has_as_many_streams_and_endpoints_as_it_may() {
    with_world(async |world| {
        let place = world.place().await;
        let process = place.deliver(open_options()).await;
        let first = stream(&process, LIMITED, "/v1/events").await;
        let refused = send(&process, LIMITED, Method::GET, "/v1/events", None).await;
        assert_eq!(refused.status(), 429);
        assert!(refused.headers().contains_key("retry-after"));
        drop(first);
        within("its place to be free again", async {
            while status(&process, LIMITED, Method::GET, "/v1/events", None).await != 200 {}
        })
        .await;

        let body = || Some(json!({ "url": "https://example.com/hook" }));
        let create = async || send(&process, LIMITED, Method::POST, "/v1/endpoints", body()).await;
        let made: Value = create().await.json().await.unwrap();
        let refused = create().await;
        assert_eq!(refused.status(), 429);
        assert!(refused.text().await.unwrap().contains("1 endpoints"));
        let path = format!("/v1/endpoints/{}", made["id"].as_str().unwrap());
        assert_eq!(status(&process, LIMITED, Method::DELETE, &path, None).await, 204);
        assert_eq!(create().await.status(), 201);
        process.stop().await;
    });
}

#[test]
fn acts_on_endpoints_are_noted_without_what_is_secret() {
    with_world(async |world| {
        let place = world.place().await;
        let process = place.deliver(open_options()).await;
        let receiver = Receiver::start([]);
        let tenant = fresh("tenant");
        let url = format!("{}?sig=hunter2", receiver.url);
        let id = endpoint(&process, &tenant, &url).await;
        let path = |rest: &str| format!("/v1/endpoints/{id}{rest}");
        let patch = Some(json!({ "description": "ours" }));
        for (method, rest, body) in [
            (Method::GET, "", None),
            (Method::PATCH, "", patch),
            (Method::GET, "/secret", None),
            (Method::POST, "/test", None),
            (Method::POST, "/disable", None),
            (Method::POST, "/enable", None),
            (Method::DELETE, "", None),
        ] {
            let answered = status(&process, &tenant, method.clone(), &path(rest), body).await;
            assert!(answered < 300, "{method} {rest} {answered}");
        }
        assert_eq!(
            status(&process, &tenant, Method::DELETE, &path(""), None).await,
            404
        );
        let entries = place.audited(&tenant).await;
        let actions: Vec<&str> = entries.iter().map(|entry| entry.action.as_str()).collect();
        assert_eq!(
            actions,
            [
                "endpoint.delete",
                "endpoint.enable",
                "endpoint.disable",
                "endpoint.test",
                "endpoint.secret",
                "endpoint.update",
                "endpoint.create",
            ]
        );
        assert!(
            entries
                .iter()
                .all(|entry| entry.object == id && entry.actor == "open")
        );
        let (update, create) = (&entries[5].details, &entries[6].details);
        assert_eq!(update["description"], "ours");
        assert_eq!(create["headers"], json!(["x-token"]));
        assert_eq!(create["url"], receiver.url);
        for details in [update, create] {
            assert!(!details.to_string().contains("hunter2"), "{details}");
        }
        process.stop().await;
    });
}

#[test]
fn values_of_custom_headers_are_for_admins() {
    with_world(async |world| {
        let place = world.place().await;
        let process = place.deliver(open_options()).await;
        let tenant = fresh("tenant");
        let id = endpoint(&process, &tenant, "https://example.com/hook").await;
        let headers = async |key: &str, path: &str| {
            let answer: Value = send(&process, key, Method::GET, path, None)
                .await
                .json()
                .await
                .unwrap();
            let endpoint = answer.get("endpoints").map_or(&answer, |all| &all[0]);
            assert_eq!(endpoint["id"], id);
            endpoint["headers"].clone()
        };
        for path in ["/v1/endpoints".to_owned(), format!("/v1/endpoints/{id}")] {
            assert_eq!(headers(&tenant, &path).await, json!({ "x-token": "hunter2" }));
            let reader = format!("{READER}{tenant}");
            assert_eq!(headers(&reader, &path).await, json!({ "x-token": "***" }));
        }
        process.stop().await;
    });
}
