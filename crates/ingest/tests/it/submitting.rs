//! `POST /v1/tasks`.

use serde_json::json;

use crate::world::{World, run, uuid_of};

#[test]
fn a_202_names_the_task_and_its_row_and_outbox_row_are_there() {
    run(async {
        let world = World::new().await;
        let body = r#"{"type":"invoice.render","payload":{"n":1.10000000000000000000001},"key":"k","tags":{"a":"b"}}"#;
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let answer = world
            .request("POST", "/v1/tasks")
            .header("traceparent", trace)
            .text(body)
            .send()
            .await;
        assert_eq!(answer.status(), 202);
        let task = answer.json();
        let id = task["id"].as_str().unwrap();
        assert_eq!(
            answer.header("location"),
            Some(format!("/v1/tasks/{id}").as_str())
        );
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(task["state"], "INIT");
        assert_eq!(task["type"], "invoice.render");
        assert_eq!(task["queue"], "default");
        assert_eq!(task["links"]["self"], format!("/v1/tasks/{id}"));
        assert_eq!(task["links"]["events"], format!("/v1/tasks/{id}/events"));
        assert_eq!(task["links"]["history"], format!("/v1/tasks/{id}/history"));
        let row = world
            .client
            .query_one(
                "select t.payload::text, t.traceparent, o.aggregatetype, o.aggregateid, o.traceparent
                 from posthaste.tasks t, posthaste.outbox o where t.id = $1",
                &[&uuid_of(id)],
            )
            .await
            .unwrap();
        assert_eq!(row.get::<_, &str>(0), r#"{"n":1.10000000000000000000001}"#);
        assert_eq!(row.get::<_, &str>(1), trace);
        assert_eq!(
            (row.get::<_, &str>(2), row.get::<_, &str>(3)),
            ("tasks.default", "k")
        );
        assert_eq!(row.get::<_, &str>(4), trace);
    });
}

#[test]
fn a_delayed_task_is_scheduled_and_not_published() {
    run(async {
        let world = World::new().await;
        let task = world.submit(json!({"type": "a", "delay_s": 3600})).await;
        assert_eq!(task["state"], "SCHEDULED");
        let count = "select (select count(*) from posthaste.outbox), (select count(*) from posthaste.timers)";
        let row = world.client.query_one(count, &[]).await.unwrap();
        assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (0, 1));
    });
}

#[test]
fn bad_requests_are_told_what_is_wrong() {
    run(async {
        let world = World::new().await;
        let big = format!(r#"{{"type":"a","payload":"{}"}}"#, "x".repeat(1024 * 1024));
        for (body, status, code, pointers) in [
            ("", 400, "invalid_request", &[][..]),
            ("{", 400, "invalid_request", &[]),
            ("[]", 400, "invalid_request", &[""]),
            (r#"["a"]"#, 400, "invalid_request", &[""]),
            (r"{}", 400, "invalid_request", &["/type"]),
            (
                r#"{"type":"a","prority":1}"#,
                400,
                "invalid_request",
                &["/prority"],
            ),
            (
                r#"{"type":"A b","priority":10}"#,
                400,
                "invalid_request",
                &["/type", "/priority"],
            ),
            (
                r#"{"type":"a","key":"\u0000"}"#,
                400,
                "invalid_request",
                &["/key"],
            ),
            (
                r#"{"type":"a","payload":"\ud800"}"#,
                400,
                "invalid_request",
                &["/payload"],
            ),
            (
                r#"{"type":"a","queue":"nowhere"}"#,
                422,
                "unprocessable",
                &["/queue"],
            ),
            (&big, 413, "body_too_large", &[]),
        ] {
            let answer = world.request("POST", "/v1/tasks").text(body).send().await;
            assert_eq!(
                answer.problem(status, code),
                pointers,
                "{}",
                &body[..body.len().min(100)]
            );
        }
        let answer = world
            .request("POST", "/v1/tasks")
            .text([b'"', 0xff, b'"'])
            .send()
            .await;
        answer.problem(400, "invalid_request");
    });
}

#[test]
fn a_body_that_is_not_declared_as_json_is_refused() {
    run(async {
        let world = World::new().await;
        for media_type in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/jsonp",
        ] {
            let request = warp::test::request()
                .extension(posthaste_http::Caller::open())
                .method("POST")
                .path("/v1/tasks")
                .header("content-type", media_type);
            let answer = request.body(r#"{"type":"a"}"#).reply(&world.routes).await;
            assert_eq!(answer.status(), 415, "{media_type}");
        }
        for media_type in [
            "application/json; charset=utf-8",
            "Application/JSON",
            "application/vnd.x+json",
        ] {
            let request = warp::test::request()
                .extension(posthaste_http::Caller::open())
                .method("POST")
                .path("/v1/tasks")
                .header("content-type", media_type);
            let answer = request.body(r#"{"type":"a"}"#).reply(&world.routes).await;
            assert_eq!(answer.status(), 202, "{media_type}");
        }
    });
}

#[test]
fn wrong_methods_and_paths_are_problems_too() {
    run(async {
        let world = World::new().await;
        let answer = world.request("PUT", "/v1/tasks").send().await;
        answer.problem(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), Some("GET, HEAD, POST"));
        let answer = world
            .request("DELETE", "/v1/tasks/task_01h2e8kqvbfwea724h75qc655w")
            .send()
            .await;
        answer.problem(405, "method_not_allowed");
        world.get("/v1/task").await.problem(404, "route_not_found");
        world.get("/").await.problem(404, "route_not_found");
    });
}
