//! JSON that is refused, and JSON that is kept to the byte.

use posthaste_schema::{SchemaId, TASK_REQUESTED, TaskRequested, WriterSchemas};
use posthaste_types::limits::JSON_DEPTH_MAX;

use crate::world::{World, run, uuid_of};

#[test]
fn what_no_reader_could_tell_apart_is_refused_and_named() {
    run(async {
        let world = World::new().await;
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let deep = format!(r#"{{"type":"a","payload":{}}}"#, nested(JSON_DEPTH_MAX + 1));
        for (body, pointer) in [
            (r#"{"type":"a","payload":{"n":1,"n":2}}"#, "/payload/n"),
            (
                r#"{"type":"a","payload":[0,{"x":{"a/b":1,"a\u002fb":2}}]}"#,
                "/payload/1/x/a~1b",
            ),
            (r#"{"type":"a","tags":{"t":"1","t":"2"}}"#, "/tags/t"),
            (r#"{"type":"a","type":"a"}"#, "/type"),
            (r#"{"type":"a","payload":{"n":["\ud800"]}}"#, "/payload/n/0"),
            (r#"{"type":"a","payload":{"\udfff":1}}"#, "/payload"),
            (r#"{"type":"a","key":"a\u0000"}"#, "/key"),
            (r#"{"type":"a","tags":{"t":"\u0000"}}"#, "/tags/t"),
            (&deep, "/payload"),
        ] {
            let answer = world.request("POST", "/v1/tasks").text(body).send().await;
            assert_eq!(answer.problem(400, "invalid_request"), [pointer], "{body}");
            let batch = format!(r#"{{"tasks":[{{"type":"a"}},{body}]}}"#);
            let answer = world.request("POST", "/v1/tasks/batch").text(batch).send().await;
            let refused = &answer.json()["tasks"][1]["error"]["errors"][0];
            assert_eq!(refused["pointer"], format!("/tasks/1{pointer}"), "{body}");
        }
    });
}

#[test]
fn what_is_not_utf8_is_told_where() {
    run(async {
        let world = World::new().await;
        for (body, told) in [
            (&b"{\"type\":\"a\",\"payload\":\"\xff\"}"[..], "byte 23"),
            (b"{\"type\":\"a\",\"payload\":{\"\xc3\":1}}", "byte 24"),
            (b"\xef\xbb\xbf{\"type\":\"a\"}", "byte order mark"),
        ] {
            for path in ["/v1/tasks", "/v1/tasks/batch"] {
                let answer = world.request("POST", path).text(body).send().await;
                answer.problem(400, "invalid_request");
                let detail = answer.json()["detail"].as_str().unwrap().to_owned();
                assert!(detail.contains(told), "{detail}");
            }
        }
    });
}

#[test]
fn numbers_and_escapes_are_kept_to_the_byte_in_the_record_in_answers_and_on_the_way_to_the_worker() {
    run(async {
        let world = World::new().await;
        let writers = WriterSchemas::new();
        writers.add(SchemaId(1), TASK_REQUESTED.avsc).unwrap();
        for text in [
            "1e400",
            "-1E-400",
            "123456789012345678901234567890",
            "-0",
            "0.1000",
            "1.0",
            r#"{"b": 1e400,"a":[-0, 0.10],  "z":123456789012345678901234567890}"#,
            r#""\u0000 \u00e9 \/ \ud83d\ude00""#,
            "null",
        ] {
            let body = format!(r#"{{"type":"a","payload":{text}}}"#);
            let answer = world.request("POST", "/v1/tasks").text(body).send().await;
            assert_eq!(answer.status(), 202, "{}", answer.text());
            let id = answer.json()["id"].as_str().unwrap().to_owned();
            let sql = "select payload from posthaste.outbox where aggregateid = $1";
            let record = world.client.query_one(sql, &[&id]).await.unwrap();
            let record = TaskRequested::decode(record.get(0), &writers).unwrap();
            assert_eq!(record.payload, text);
            let sql = "update posthaste.tasks set state = 'DONE', result = $2::text::json, progress = $2::text::json
                where id = $1";
            world.client.execute(sql, &[&uuid_of(&id), &text]).await.unwrap();
            let answer = world.get(&format!("/v1/tasks/{id}")).await;
            for member in ["payload", "result", "progress"] {
                let wanted = format!("\"{member}\":{text}");
                assert!(answer.text().contains(&wanted), "{wanted}: {}", answer.text());
            }
        }
    });
}

#[test]
fn an_unknown_field_is_told_with_the_one_that_was_meant() {
    run(async {
        let world = World::new().await;
        let body = r#"{"type":"a","prority":1}"#;
        let answer = world.request("POST", "/v1/tasks").text(body).send().await;
        assert_eq!(answer.problem(400, "invalid_request"), ["/prority"]);
        let told = answer.json()["errors"][0]["detail"].as_str().unwrap().to_owned();
        assert!(told.ends_with("did you mean `priority`?"), "{told}");
    });
}
