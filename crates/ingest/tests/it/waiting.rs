//! Long polls and `Prefer: wait`.

use posthaste_http::Caller;
use posthaste_runtime::Stopper;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::world::{FAR, World, run};

/// Polls until the row of the waiting request exists.
async fn newest_id(world: &World) -> String {
    loop {
        let page = world.get("/v1/tasks?limit=1").await.json();
        if let Some(id) = page["tasks"][0]["id"].as_str() {
            return id.to_owned();
        }
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_submission_that_prefers_to_wait_gets_the_finished_task() {
    run(async {
        let world = World::new().await;
        let waiting = world
            .request("POST", "/v1/tasks")
            .header("prefer", "respond-async, wait=30")
            .json(&json!({"type": "a", "payload": 7}))
            .send();
        let ending = async {
            let id = newest_id(&world).await;
            world.end(&id, "DONE").await;
            id
        };
        let (answer, id) = timeout(FAR, async { tokio::join!(waiting, ending) })
            .await
            .unwrap();
        assert_eq!(
            (answer.status(), answer.header("preference-applied")),
            (200, Some("wait=30"))
        );
        assert_eq!(
            answer.header("location"),
            Some(format!("/v1/tasks/{id}").as_str())
        );
        let task = answer.json();
        assert_eq!(
            (&task["state"], &task["payload"], &task["result"]["pages"]),
            (&json!("DONE"), &json!(7), &json!(3))
        );
    });
}

#[test]
fn a_submission_whose_time_passes_gets_its_202() {
    run(async {
        let world = World::new().await;
        let request = world
            .request("POST", "/v1/tasks")
            .header("prefer", "wait=1")
            .json(&json!({"type": "a"}));
        let answer = request.send().await;
        assert_eq!(
            (answer.status(), answer.header("preference-applied")),
            (202, Some("wait=1"))
        );
        assert_eq!(answer.json()["state"], "INIT");
    });
}

#[test]
fn a_long_poll_answers_at_the_first_change_past_the_etag() {
    run(async {
        let world = World::new().await;
        let task = world.submit(json!({"type": "a"})).await;
        let path = format!("{}?wait=30", task["links"]["self"].as_str().unwrap());
        let etag = world
            .get(task["links"]["self"].as_str().unwrap())
            .await
            .header("etag")
            .unwrap()
            .to_owned();
        // A poll without ETag waits from when it looks, so the task changes until one has seen it.
        let changing = async {
            loop {
                world.end(task["id"].as_str().unwrap(), "RUNNING").await;
                tokio::task::yield_now().await;
            }
        };
        let polls = async {
            tokio::join!(
                world.request("GET", &path).header("if-none-match", &etag).send(),
                world.get(&path)
            )
        };
        let (with_etag, without) = timeout(FAR, async {
            tokio::select! {
                answers = polls => answers,
                () = changing => unreachable!("it never ends"),
            }
        })
        .await
        .unwrap();
        for answer in [with_etag, without] {
            assert_eq!(
                (answer.status(), &answer.json()["state"]),
                (200, &json!("RUNNING"))
            );
        }
        let late = world.request("GET", &path).header("if-none-match", &etag).send();
        let late = timeout(FAR, late).await.unwrap();
        assert_eq!(late.status(), 200, "the change has been");
    });
}

#[test]
fn a_finished_task_is_not_waited_for_by_who_knows_nothing_of_it() {
    run(async {
        let world = World::new().await;
        let task = world.submit(json!({"type": "a"})).await;
        world.end(task["id"].as_str().unwrap(), "DONE").await;
        let path = format!("{}?wait=60", task["links"]["self"].as_str().unwrap());
        assert_eq!(timeout(FAR, world.get(&path)).await.unwrap().status(), 200);
    });
}

#[test]
fn at_the_end_of_a_wait_the_answer_is_304_or_the_task() {
    run(async {
        let world = World::new().await;
        let task = world.submit(json!({"type": "a"})).await;
        let path = task["links"]["self"].as_str().unwrap();
        let etag = world.get(path).await.header("etag").unwrap().to_owned();
        let request = world
            .request("GET", path)
            .header("prefer", "wait=1")
            .header("if-none-match", &etag);
        let answer = request.send().await;
        assert_eq!(
            (answer.status(), answer.header("preference-applied")),
            (304, Some("wait=1"))
        );
        assert_eq!(world.get(&format!("{path}?wait=1")).await.status(), 200);
    });
}

#[test]
fn a_stop_answers_everybody_who_waits_at_once_and_what_was_taken_in_is_stored() {
    run(async {
        let world = World::new().await;
        let task = world.submit(json!({"type": "a"})).await;
        let path = format!("{}?wait=60", task["links"]["self"].as_str().unwrap());
        let poll = world.get(&path);
        let submission = world
            .request("POST", "/v1/tasks")
            .header("prefer", "wait=60")
            .json(&json!({"type": "b"}))
            .send();
        let stop = async {
            // The second task's row shows that its request has got as far as waiting or is about to.
            while world.get("/v1/tasks?type=b").await.json()["tasks"] == json!([]) {
                tokio::task::yield_now().await;
            }
            world.stopper.stop();
        };
        let (poll, submission, ()) = timeout(FAR, async { tokio::join!(poll, submission, stop) })
            .await
            .unwrap();
        assert_eq!((poll.status(), submission.status()), (200, 202));
        let World { service, routes, .. } = world;
        timeout(FAR, service.drain()).await.unwrap();
        let late = warp::test::request()
            .extension(posthaste_http::Caller::open())
            .method("POST")
            .path("/v1/tasks")
            .json(&json!({"type": "c"}));
        let late = late.reply(&routes).await;
        assert_eq!(late.status(), 503);
        let problem: Value = serde_json::from_slice(late.body()).unwrap();
        assert_eq!(problem["code"], "unavailable");
    });
}

#[test]
fn who_loses_its_key_waits_no_longer_and_reads_nothing_more() {
    run(async {
        let world = World::new().await;
        let task = world.submit(json!({"type": "a"})).await;
        let ended = Stopper::new();
        let caller = Caller::open().until(ended.clone());
        let path = format!("{}?wait=60", task["links"]["self"].as_str().unwrap());
        let reading = world.request("GET", &path).by(&caller).send();
        let submitting = world
            .request("POST", "/v1/tasks")
            .by(&caller)
            .header("prefer", "wait=60")
            .json(&json!({"type": "b"}))
            .send();
        let revoking = async {
            // Once the second one is stored; the first may not wait yet, and ends at once then.
            while world.get("/v1/tasks?type=b").await.json()["tasks"][0].is_null() {
                tokio::task::yield_now().await;
            }
            ended.stop();
        };
        let waits = async { tokio::join!(reading, submitting, revoking) };
        let (read, submitted, ()) = timeout(FAR, waits).await.unwrap();
        read.problem(401, "unauthenticated");
        assert_eq!(submitted.status(), 202, "it was stored: {}", submitted.text());
    });
}
