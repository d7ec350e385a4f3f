//! `GET /v1/tasks`.

use posthaste_http::Caller;
use posthaste_types::limits::LIST_COUNT_MAX;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::world::{World, run};

fn types(page: &Value) -> Vec<&str> {
    page["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| task["type"].as_str().unwrap())
        .collect()
}

#[test]
fn pages_go_from_the_newest_to_the_oldest_without_gap_or_repeat() {
    run(async {
        let world = World::new().await;
        for index in 0..7 {
            world.submit(json!({"type": format!("t{index}")})).await;
        }
        let mut seen = Vec::new();
        let mut path = "/v1/tasks?limit=3".to_owned();
        loop {
            let page = world.get(&path).await.json();
            seen.extend(types(&page).into_iter().map(str::to_owned));
            let Some(next) = page["next"].as_str() else { break };
            path = format!("/v1/tasks?limit=3&cursor={next}");
        }
        assert_eq!(seen, ["t6", "t5", "t4", "t3", "t2", "t1", "t0"]);
        let whole = world.get("/v1/tasks?limit=7").await.json();
        assert_eq!((types(&whole).len(), &whole["next"]), (7, &Value::Null));
    });
}

#[test]
fn every_filter_restricts() {
    run(async {
        let world = World::new().await;
        let all = json!({"type": "a", "channel": "c", "key": "k", "tags": {"region": "eu", "x": "1"}});
        world.submit(all).await;
        let other = world
            .submit(json!({"type": "b", "delay_s": 60, "tags": {"region": "us"}}))
            .await;
        let between = other["created_at"].as_str().unwrap();
        for (query, expected) in [
            ("type=a".to_owned(), &["a"][..]),
            ("type=none".to_owned(), &[]),
            ("channel=c".to_owned(), &["a"]),
            ("key=k".to_owned(), &["a"]),
            ("queue=default".to_owned(), &["b", "a"]),
            ("state=SCHEDULED".to_owned(), &["b"]),
            ("state=INIT,SCHEDULED".to_owned(), &["b", "a"]),
            ("tag.region=eu".to_owned(), &["a"]),
            ("tag.region=eu&tag.x=1".to_owned(), &["a"]),
            ("tag.region=eu&tag.x=2".to_owned(), &[]),
            (format!("created_before={between}"), &["a"]),
            ("created_after=2020-01-01T00:00:00Z".to_owned(), &["b", "a"]),
            (format!("created_after={between}"), &["b"]),
        ] {
            let page = world.get(&format!("/v1/tasks?{query}")).await.json();
            assert_eq!(types(&page), expected, "{query}");
        }
    });
}

#[test]
fn a_page_of_large_tasks_ends_early_and_goes_on() {
    run(async {
        let world = World::new().await;
        for _ in 0..8 {
            world
                .submit(json!({"type": "a", "payload": "x".repeat(1_000_000)}))
                .await;
        }
        let page = world.get("/v1/tasks").await.json();
        assert_eq!(types(&page).len(), 5);
        let rest = world
            .get(&format!("/v1/tasks?cursor={}", page["next"].as_str().unwrap()))
            .await
            .json();
        assert_eq!((types(&rest).len(), &rest["next"]), (3, &Value::Null));
    });
}

#[test]
fn a_rare_filter_over_many_rows_ends_with_a_cursor() {
    run(async {
        let world = World::new().await;
        let first = world.submit(json!({"type": "rare"})).await;
        let sql = "insert into posthaste.tasks (id, tenant, type, queue, payload, priority, state, created_at)
            select ('01ff0000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'default', 'common', 'default', '1', 5,
                'DONE', now()
            from generate_series(1, 60000) n";
        world.client.execute(sql, &[]).await.unwrap();
        let newest = "01ff0000-0000-7000-8000-000000000001"
            .parse::<uuid::Uuid>()
            .unwrap();
        assert!(
            crate::world::uuid_of(first["id"].as_str().unwrap()) < newest,
            "the rows must be newer"
        );
        let page = world.get("/v1/tasks?type=rare").await.json();
        assert_eq!(types(&page), [""; 0]);
        let next = page["next"].as_str().unwrap();
        let page = world
            .get(&format!("/v1/tasks?type=rare&cursor={next}"))
            .await
            .json();
        assert_eq!((types(&page), &page["next"]), (vec!["rare"], &Value::Null));
    });
}

#[test]
fn parameters_that_are_not_understood_are_named() {
    run(async {
        let world = World::new().await;
        for (query, name) in [
            ("colour=red", "colour"),
            ("state=done", "state"),
            ("limit=0", "limit"),
            ("limit=501", "limit"),
            ("limit=many", "limit"),
            ("cursor=x", "cursor"),
            ("created_after=yesterday", "created_after"),
            ("type=a&type=b", "type"),
        ] {
            let answer = world.get(&format!("/v1/tasks?{query}")).await;
            answer.problem(400, "invalid_parameter");
            assert!(answer.text().contains(name), "{query}: {}", answer.text());
        }
        world
            .get("/v1/tasks?key=%00")
            .await
            .problem(400, "invalid_parameter");
    });
}

#[test]
fn a_tenant_reads_a_bounded_number_of_lists_at_once_and_hears_of_it() {
    const MORE: usize = 8;
    run(async {
        let mut world = World::new().await;
        let World { client, routes, .. } = &mut world;
        let lock = client.transaction().await.unwrap();
        lock.batch_execute("lock table posthaste.tasks").await.unwrap();
        let mut asking = JoinSet::new();
        for _ in 0..LIST_COUNT_MAX / 2 + MORE {
            let request = warp::test::request().path("/v1/tasks").extension(Caller::open());
            let routes = routes.clone();
            asking.spawn(async move { request.reply(&routes).await.status() });
        }
        for _ in 0..MORE {
            assert_eq!(asking.join_next().await.unwrap().unwrap(), 429);
        }
        lock.rollback().await.unwrap();
        for status in asking.join_all().await {
            assert_ne!(status, 429);
        }
    });
}
