//! Webhooks: taken, tried again, given up, and where they may not go.

use posthaste_delivery::Options;
use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::receiver::{Answer, Receiver};
use crate::with_world;
use crate::world::{Delivery, done, fresh, open_options, within};

/// Calls a route; the status and the body, null where there is none.
async fn call(process: &Delivery, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
    let mut request = Client::new().request(method, format!("{}{path}", process.url));
    if let Some(body) = body {
        request = request.json(&body);
    }
    let response = within("an answer", request.send()).await.unwrap();
    let status = response.status().as_u16();
    let body = response.bytes().await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

/// An endpoint for one channel; its id and secret.
async fn create(process: &Delivery, url: &str, channel: &str) -> (String, String) {
    let body = json!({"url": url, "channels": [channel], "headers": {"x-token": "t"}});
    let (status, endpoint) = call(process, Method::POST, "/v1/endpoints", Some(body)).await;
    assert_eq!(status, 201, "{endpoint}");
    let text = |name: &str| endpoint[name].as_str().unwrap().to_owned();
    (text("id"), text("secret"))
}

/// The attempt log, newest first, once it has `count` entries.
async fn attempts(process: &Delivery, id: &str, count: usize) -> Vec<Value> {
    within("the attempt log", async {
        loop {
            let (status, page) = call(
                process,
                Method::GET,
                &format!("/v1/endpoints/{id}/attempts"),
                None,
            )
            .await;
            assert_eq!(status, 200);
            let attempts = page["attempts"].as_array().unwrap().clone();
            if attempts.len() >= count {
                return attempts;
            }
        }
    })
    .await
}

fn signature(secret: &str, id: &str, timestamp: &str, body: &[u8]) -> String {
    use base64::Engine as _;
    use hmac::{KeyInit as _, Mac as _};
    let base64 = base64::engine::general_purpose::STANDARD;
    let key = base64.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(&key).unwrap();
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    format!("v1,{}", base64.encode(mac.finalize().into_bytes()))
}

#[test]
fn an_event_is_posted_signed_and_noted() {
    with_world(async |world| {
        let place = world.place().await;
        let process = place.deliver(open_options()).await;
        let mut receiver = Receiver::start([]);
        let channel = fresh("channel");
        let (id, secret) = create(&process, &receiver.url, &channel).await;
        let event = done(&channel);
        world.publish(&done("somebody else")).await;
        world.publish(&event).await;
        let request = receiver.next().await;
        let (webhook_id, timestamp) = (request.header("webhook-id"), request.header("webhook-timestamp"));
        assert_eq!(webhook_id, event.event_id.to_string());
        assert_eq!(
            request.header("webhook-signature"),
            signature(&secret, webhook_id, timestamp, &request.body)
        );
        assert_eq!(
            (request.header("content-type"), request.header("x-token")),
            ("application/json", "t")
        );
        assert!(request.header("user-agent").starts_with("Posthaste/"));
        let body = request.json();
        assert_eq!(
            (&body["type"], &body["data"]["id"]),
            (&json!("task.done"), &json!(event.task_id))
        );
        let attempts = attempts(&process, &id, 1).await;
        assert_eq!(
            (&attempts[0]["status"], &attempts[0]["http_status"]),
            (&json!("succeeded"), &json!(200))
        );
        assert_eq!(
            (&attempts[0]["answer"], &attempts[0]["number"]),
            (&json!("noted"), &json!(1))
        );
        assert!(receiver.is_quiet());
        process.stop().await;
    });
}

#[test]
fn what_failed_is_posted_again_under_its_id_by_whoever_runs() {
    with_world(async |world| {
        let place = world.place().await;
        let first = place.deliver(open_options()).await;
        let mut receiver = Receiver::start([(302, None), (503, Some("1"))]);
        let channel = fresh("channel");
        let (id, _) = create(&first, &receiver.url, &channel).await;
        let event = done(&channel);
        world.publish(&event).await;
        assert_eq!(
            receiver.next().await.header("webhook-id"),
            event.event_id.to_string()
        );
        let log = attempts(&first, &id, 1).await;
        assert_eq!(
            (&log[0]["status"], &log[0]["http_status"]),
            (&json!("failed"), &json!(302))
        );
        assert!(log[0]["next_at"].is_string());
        first.stop().await;
        // The next try is not that process's but the record's.
        let second = place.deliver(open_options()).await;
        assert_eq!(
            receiver.next().await.header("webhook-id"),
            event.event_id.to_string()
        );
        attempts(&second, &id, 2).await;
        let hurry = "update posthaste.webhook_retries set due_at = now() where event_id = $1";
        place
            .database
            .execute(hurry, &[&event.event_id.uuid()])
            .await
            .unwrap();
        assert_eq!(
            receiver.next().await.header("webhook-id"),
            event.event_id.to_string()
        );
        let log = attempts(&second, &id, 3).await;
        let of = |name: &str| {
            log.iter()
                .map(|attempt| attempt[name].clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(of("number"), [json!(3), json!(2), json!(1)]);
        assert_eq!(of("http_status"), [json!(200), json!(503), json!(302)]);
        let left = "select count(*) from posthaste.webhook_retries where event_id = $1";
        let left = place
            .database
            .query_one(left, &[&event.event_id.uuid()])
            .await
            .unwrap();
        assert_eq!(left.get::<_, i64>(0), 0);
        second.stop().await;
    });
}

#[test]
fn gone_disables_the_endpoint_and_enabling_it_sends_what_waited() {
    with_world(async |world| {
        let place = world.place().await;
        let process = place.deliver(open_options()).await;
        let answers: [Answer; 1] = [(410, None)];
        let mut receiver = Receiver::start(answers);
        let channel = fresh("channel");
        let (id, _) = create(&process, &receiver.url, &channel).await;
        let event = done(&channel);
        world.publish(&event).await;
        receiver.next().await;
        attempts(&process, &id, 1).await;
        let path = format!("/v1/endpoints/{id}");
        let (_, endpoint) = call(&process, Method::GET, &path, None).await;
        assert_eq!(endpoint["enabled"], json!(false));
        assert!(endpoint["disabled_reason"].as_str().unwrap().contains("410"));
        let (status, endpoint) = call(&process, Method::POST, &format!("{path}/enable"), None).await;
        assert_eq!(
            (status, &endpoint["enabled"], &endpoint["disabled_reason"]),
            (200, &json!(true), &Value::Null)
        );
        let hurry = "update posthaste.webhook_retries set due_at = now() where event_id = $1";
        place
            .database
            .execute(hurry, &[&event.event_id.uuid()])
            .await
            .unwrap();
        assert_eq!(
            receiver.next().await.header("webhook-id"),
            event.event_id.to_string()
        );
        process.stop().await;
    });
}

#[test]
fn an_endpoint_that_hangs_delays_no_other() {
    with_world(async |world| {
        let place = world.place().await;
        let process = place.deliver(open_options()).await;
        // Takes connections and never answers.
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let channel = fresh("channel");
        let url = format!("http://{}/", silent.local_addr().unwrap());
        create(&process, &url, &channel).await;
        let mut receiver = Receiver::start([]);
        create(&process, &receiver.url, &channel).await;
        world.publish_many(&channel, 0..50).await;
        for _ in 0..50 {
            receiver.next().await;
        }
        process.stop().await;
    });
}

#[test]
fn endpoints_are_made_read_changed_tried_and_deleted() {
    with_world(async |world| {
        let place = world.place().await;
        let process = place.deliver(open_options()).await;
        let mut receiver = Receiver::start([]);
        let (id, secret) = create(&process, &receiver.url, &fresh("channel")).await;
        let path = format!("/v1/endpoints/{id}");
        let (_, list) = call(&process, Method::GET, "/v1/endpoints", None).await;
        let listed = list["endpoints"]
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["id"] == json!(id))
            .unwrap();
        assert!(listed.get("secret").is_none());
        let (status, shown) = call(&process, Method::GET, &format!("{path}/secret"), None).await;
        assert_eq!((status, &shown["secret"]), (200, &json!(secret)));
        let change = json!({"description": "partner", "events": ["task.failed"], "max_in_flight": 2});
        let (status, changed) = call(&process, Method::PATCH, &path, Some(change)).await;
        assert_eq!(
            (status, &changed["description"], &changed["max_in_flight"]),
            (200, &json!("partner"), &json!(2))
        );
        let (status, problem) = call(&process, Method::PATCH, &path, Some(json!({"url": "ftp://x/"}))).await;
        assert_eq!((status, &problem["errors"][0]["pointer"]), (400, &json!("/url")));
        let (status, attempt) = call(&process, Method::POST, &format!("{path}/test"), None).await;
        assert_eq!((status, &attempt["status"]), (200, &json!("succeeded")));
        assert_eq!(receiver.next().await.json()["type"], "task.failed");
        assert_eq!(call(&process, Method::DELETE, &path, None).await.0, 204);
        for (method, path) in [
            (Method::GET, path.clone()),
            (Method::DELETE, path.clone()),
            (Method::POST, format!("{path}/test")),
        ] {
            let (status, problem) = call(&process, method, &path, None).await;
            assert_eq!((status, &problem["code"]), (404, &json!("not_found")));
        }
        process.stop().await;
    });
}

#[test]
fn addresses_that_are_not_public_are_refused_unless_allowed() {
    with_world(async |world| {
        let place = world.place().await;
        let process = place.deliver(Options::default()).await;
        for url in [
            "https://127.0.0.1/",
            "https://[::1]/",
            "https://10.1.2.3/",
            "http://example.com/",
            "nonsense",
        ] {
            let (status, problem) =
                call(&process, Method::POST, "/v1/endpoints", Some(json!({"url": url}))).await;
            assert_eq!(
                (status, &problem["errors"][0]["pointer"]),
                (400, &json!("/url")),
                "{url}"
            );
        }
        // Allowed when it was made, refused at the attempt.
        let open = place.deliver(open_options()).await;
        let mut receiver = Receiver::start([]);
        let (id, _) = create(&open, &receiver.url, &fresh("channel")).await;
        let (status, attempt) = call(&process, Method::POST, &format!("/v1/endpoints/{id}/test"), None).await;
        assert_eq!(
            (status, &attempt["status"], &attempt["http_status"]),
            (200, &json!("failed"), &Value::Null)
        );
        assert!(receiver.is_quiet());
        open.stop().await;
        process.stop().await;
    });
}
