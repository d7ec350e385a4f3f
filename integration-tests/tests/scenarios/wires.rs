//! Postgres, Kafka and the registry behind TLS, logins and rights: with each part under its own role and principal, of exactly
//! the rights that `docs/least-privilege.md` lists, everything works; without one of them the part says what it lacks,
//! goes on trying, and shows no password.

mod acls;
mod protected;
mod running;

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use posthaste_broker::{OutRecord, Producer};
use posthaste_types::topics;
use serde_json::{Value, json};

use self::protected::{Protected, SECRET, Wires};
use self::running::{Running, as_owner};
use crate::receiver::Receiver;
use crate::world::{World, eventually};

const PARTS: [&str; 5] = ["ingest", "connector", "worker", "delivery", "scheduler"];

/// A protected stack, migrated and with rights, and a key.
async fn prepare(world: &World) -> anyhow::Result<(Protected, String)> {
    let protected = Protected::start().await?;
    as_owner(world, &protected, &["migrate"]).await?;
    grant(&protected).await?;
    let scopes = ["--name", "wires", "--scopes", "admin,submit,read"];
    let create = [&["keys", "create"], &scopes[..]].concat();
    let key = as_owner(world, &protected, &create).await?;
    Ok((protected, key.trim().to_owned()))
}

async fn grant(protected: &Protected) -> anyhow::Result<()> {
    let grant = "select posthaste.grant_roles('posthaste')";
    let told = protected.owner().await?.query(grant, &[]).await?;
    let granted = told
        .iter()
        .filter(|row| row.get::<_, String>(0).ends_with("granted"));
    ensure!(granted.count() == PARTS.len(), "each role is there");
    Ok(())
}

/// A caller with a key.
struct Caller<'a> {
    world: &'a World,
    key: &'a str,
}

impl Caller<'_> {
    async fn ask(&self, method: &str, url: String, body: Option<Value>) -> anyhow::Result<Value> {
        let request = self
            .world
            .http
            .request(method.parse()?, &url)
            .bearer_auth(self.key);
        let request = match &body {
            Some(body) => request.json(body),
            None => request,
        };
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "{method} {url}: {status} {text}");
        if text.is_empty() {
            Ok(Value::Null)
        } else {
            Ok(serde_json::from_str(&text)?)
        }
    }

    async fn submit(&self, ingest: &Running, body: Value) -> anyhow::Result<String> {
        let accepted = self
            .ask("POST", format!("{}/v1/tasks", ingest.url), Some(body))
            .await?;
        Ok(accepted["id"].as_str().context("an id")?.to_owned())
    }

    async fn ends(&self, ingest: &Running, id: &str, state: &str) -> anyhow::Result<()> {
        eventually(&format!("the task is {state}"), async || {
            let task = self
                .ask("GET", format!("{}/v1/tasks/{id}", ingest.url), None)
                .await?;
            ensure!(task["state"] == state, "{task}");
            Ok(())
        })
        .await
    }
}

pub(crate) async fn each_part_works_with_its_own_rights_over_tls(world: Arc<World>) -> anyhow::Result<()> {
    let (protected, key) = prepare(&world).await?;
    let mut parts = Vec::new();
    for part in PARTS {
        parts.push(Running::start(&world, &protected, part, &Wires::right(part))?);
    }
    for part in &mut parts {
        part.ready().await?;
    }
    let [ingest, _, _, delivery, _] = &parts[..] else {
        unreachable!("five were started")
    };
    let caller = Caller {
        world: &world,
        key: &key,
    };
    let worked = async {
        submissions_end(&caller, ingest).await?;
        events_come(&caller, ingest, delivery).await?;
        keys_are_managed(&caller, ingest, delivery).await?;
        poison_is_put_aside(&protected).await?;
        lost_slot_comes_back(&protected, &caller, ingest).await
    };
    let worked = worked.await;
    worked.with_context(|| parts.iter().flat_map(Running::log).collect::<String>())?;
    let exact = publishes_in_transactions(&protected, &caller, &mut parts).await;
    exact.with_context(|| parts.iter().flat_map(Running::log).collect::<String>())?;
    for part in parts {
        // What is refused to a part in the background would be seen here alone.
        let log = part.log()?;
        for word in ["denied", "uthorization", SECRET] {
            ensure!(!log.contains(word), "{word}: {log}");
        }
        part.stop().await?;
    }
    Ok(protected.stack.stop().await?)
}

/// The connector goes on in transactions, which take rights of their own.
async fn publishes_in_transactions(
    protected: &Protected,
    caller: &Caller<'_>,
    parts: &mut [Running],
) -> anyhow::Result<()> {
    let mut wires = Wires::right("connector");
    wires.more = "[connector]\ndelivery = \"exactly_once\"";
    let mut exact = Running::start(caller.world, protected, "connector-exact", &wires)?;
    let at = PARTS
        .iter()
        .position(|part| *part == "connector")
        .context("a connector")?;
    std::mem::swap(&mut exact, &mut parts[at]);
    exact.stop().await?;
    parts[at].ready().await?;
    let ingest = &parts[0];
    let id = caller
        .submit(ingest, json!({"type": "echo", "payload": {}}))
        .await?;
    caller.ends(ingest, &id, "DONE").await?;
    let marks = posthaste_broker::Admin::new(&protected.kafka_set_up()?)?;
    eventually("the position is marked", async || {
        let (low, high) = marks.watermarks(topics::POSITIONS, 0).await?;
        ensure!(high > low, "no mark");
        Ok(())
    })
    .await
}

/// Every way of a task through the record: at once, later, again after a failure, never.
async fn submissions_end(caller: &Caller<'_>, ingest: &Running) -> anyhow::Result<()> {
    let retry = json!({"max_attempts": 3, "base_s": 0.1, "factor": 1.0, "max_s": 0.1});
    let hour = json!({"type": "echo", "payload": {}, "delay_s": 3600});
    let done = caller
        .submit(ingest, json!({"type": "echo", "payload": {"a": 1}, "key": "k"}))
        .await?;
    let later = caller
        .submit(ingest, json!({"type": "echo", "payload": {}, "delay_s": 0.2}))
        .await?;
    let again = caller
        .submit(
            ingest,
            json!({"type": "fail", "payload": {"times": 1}, "retry": retry}),
        )
        .await?;
    let failed = caller
        .submit(ingest, json!({"type": "fail", "payload": {"retryable": false}}))
        .await?;
    let cancelled = caller.submit(ingest, hour).await?;
    caller
        .ask(
            "POST",
            format!("{}/v1/tasks/{cancelled}/cancel", ingest.url),
            None,
        )
        .await?;
    for (id, state) in [
        (&done, "DONE"),
        (&later, "DONE"),
        (&again, "DONE"),
        (&failed, "FAILED"),
        (&cancelled, "CANCELLED"),
    ] {
        caller.ends(ingest, id, state).await?;
    }
    caller
        .ask("POST", format!("{}/v1/tasks/{failed}/retry", ingest.url), None)
        .await?;
    caller
        .ask("GET", format!("{}/v1/tasks/{again}/history", ingest.url), None)
        .await?;
    let expired = json!({"type": "echo", "payload": {}, "delay_s": 3600, "deadline": "2200-01-01T00:00:00Z"});
    let batch = json!({"tasks": [{"type": "echo", "payload": {}}, expired]});
    let url = format!("{}/v1/tasks/batch", ingest.url);
    for _ in 0..2 {
        let request = caller.world.http.post(&url).bearer_auth(caller.key).json(&batch);
        let answer = request.header("idempotency-key", "\"wires\"").send().await?;
        ensure!(answer.status() == 202, "{}", answer.text().await?);
    }
    caller
        .ask("GET", format!("{}/v1/tasks?state=DONE", ingest.url), None)
        .await
        .map(drop)
}

/// By a stream, and by a webhook that fails once.
async fn events_come(caller: &Caller<'_>, ingest: &Running, delivery: &Running) -> anyhow::Result<()> {
    let mut receiver = Receiver::start(&[500, 200]).await?;
    let endpoints = format!("{}/v1/endpoints", delivery.url);
    let endpoint = json!({"url": receiver.url, "events": ["task.done"], "channels": ["wires"]});
    let endpoint = caller.ask("POST", endpoints.clone(), Some(endpoint)).await?;
    let endpoint = format!("{endpoints}/{}", endpoint["id"].as_str().context("an id")?);
    let id = caller
        .submit(ingest, json!({"type": "echo", "payload": {}, "channel": "wires"}))
        .await?;
    let url = format!("{}/v1/tasks/{id}/events", delivery.url);
    let stream = caller
        .world
        .http
        .get(url)
        .bearer_auth(caller.key)
        .send()
        .await?
        .text()
        .await?;
    ensure!(stream.contains("task.done"), "{stream}");
    for _ in 0..1 {
        receiver.next().await?;
    }
    let disabled = caller.ask("POST", format!("{endpoint}/disable"), None).await;
    disabled.context("endpoints are kept")?;
    caller.ask("GET", format!("{endpoint}/attempts"), None).await?;
    caller.ask("DELETE", endpoint, None).await.map(drop)
}

/// Keys and the audit log, at both parts that serve them.
async fn keys_are_managed(caller: &Caller<'_>, ingest: &Running, delivery: &Running) -> anyhow::Result<()> {
    for part in [ingest, delivery] {
        let keys = format!("{}/v1/keys", part.url);
        let made = json!({"name": "made over HTTP", "scopes": ["read"]});
        let made = caller.ask("POST", keys.clone(), Some(made)).await?;
        let one = format!("{keys}/{}", made["id"].as_str().context("an id")?);
        caller
            .ask("POST", format!("{one}/rotate"), Some(json!({})))
            .await?;
        caller.ask("DELETE", one, None).await?;
        let audit = caller.ask("GET", format!("{}/v1/audit", part.url), None).await?;
        ensure!(
            audit["entries"]
                .as_array()
                .is_some_and(|entries| entries.len() > 2),
            "{audit}"
        );
    }
    Ok(())
}

/// The worker writes what it cannot read to the dead letters.
async fn poison_is_put_aside(protected: &Protected) -> anyhow::Result<()> {
    let kafka = protected.kafka_set_up()?;
    let admin = posthaste_broker::Admin::new(&kafka)?;
    let poison = OutRecord {
        topic: topics::tasks_topic(topics::DEFAULT_QUEUE),
        partition: None,
        key: Some("poison".into()),
        value: Some("no Avro".into()),
        headers: Vec::new(),
    };
    Producer::new(&kafka)?.send(poison).await?;
    eventually("the dead letter is written", async || {
        let mut count = 0;
        for partition in admin.partitions(topics::DEAD_LETTERS).await? {
            let (low, high) = admin.watermarks(topics::DEAD_LETTERS, partition).await?;
            count += high - low;
        }
        ensure!(count > 0, "no dead letter");
        Ok(())
    })
    .await
}

/// The connector makes a lost slot anew, without being the outbox's owner.
async fn lost_slot_comes_back(
    protected: &Protected,
    caller: &Caller<'_>,
    ingest: &Running,
) -> anyhow::Result<()> {
    let superuser = protected.superuser().await?;
    let cut =
        "select pg_terminate_backend(active_pid) from pg_replication_slots where active_pid is not null";
    eventually("the slot is dropped", async || {
        superuser.batch_execute(cut).await?;
        Ok(superuser
            .batch_execute("select pg_drop_replication_slot('posthaste')")
            .await?)
    })
    .await?;
    let id = caller
        .submit(ingest, json!({"type": "echo", "payload": {}}))
        .await?;
    caller.ends(ingest, &id, "DONE").await
}

/// How a part is set up wrongly, and what it is to say.
struct Wrong {
    name: &'static str,
    wires: Wires,
    says: &'static str,
}

fn wrong(name: &'static str, part: &'static str, says: &'static str, change: fn(&mut Wires)) -> Wrong {
    let mut wires = Wires::right(part);
    change(&mut wires);
    Wrong { name, wires, says }
}

fn table() -> Vec<Wrong> {
    vec![
        wrong(
            "database-authority",
            "scheduler",
            "signed by nobody who is trusted",
            |wires| {
                wires.database_ca = "another.pem";
            },
        ),
        wrong("database-name", "ingest", "not for `127.0.0.1`", |wires| {
            wires.database_host = "127.0.0.1"
        }),
        wrong(
            "database-password",
            "connector",
            "password authentication failed",
            |wires| {
                wires.database_password = format!("{SECRET}-wrong");
            },
        ),
        wrong(
            "kafka-authority",
            "worker",
            "certificate verify failed",
            |wires| wires.kafka_ca = "another.pem",
        ),
        wrong("kafka-name", "delivery", "certificate verify failed", |wires| {
            wires.kafka_host = "127.0.0.1"
        }),
        wrong("kafka-password", "worker", "SASL authentication error", |wires| {
            wires.kafka_password = format!("{SECRET}-wrong");
        }),
    ]
}

pub(crate) async fn what_is_refused_is_told_and_tried_again(world: Arc<World>) -> anyhow::Result<()> {
    let (protected, key) = prepare(&world).await?;
    let mut running = Vec::new();
    for Wrong { name, wires, says } in table() {
        running.push((Running::start(&world, &protected, name, &wires)?, says));
    }
    for (part, says) in &mut running {
        part.says(says).await?;
        ensure!(part.is_waiting().await?, "it is not ready");
    }
    for (part, _) in running {
        ensure!(
            !part.log()?.contains(SECRET),
            "a password is shown: {}",
            part.log()?
        );
        part.stop().await?;
    }
    missing_right_is_waited_for(&world, &protected, &key).await?;
    Ok(protected.stack.stop().await?)
}

/// A right that comes late is used without a restart, in Postgres and in Kafka.
async fn missing_right_is_waited_for(world: &World, protected: &Protected, key: &str) -> anyhow::Result<()> {
    let rules = acls::documented()?;
    let set_up = protected.kafka_set_up()?.bootstrap;
    let of_worker = rules
        .iter()
        .filter(|rule| rule.principal == "User:posthaste-worker");
    let of_worker: Vec<_> = of_worker.cloned().collect();
    for rule in &of_worker {
        acls::delete(&set_up, rule).await?;
    }
    let owner = protected.owner().await?;
    owner
        .batch_execute("revoke all on posthaste.outbox from posthaste_ingest")
        .await?;

    let mut parts = Vec::new();
    for part in ["ingest", "connector", "worker"] {
        parts.push(Running::start(
            world,
            protected,
            &format!("late-{part}"),
            &Wires::right(part),
        )?);
    }
    let [ingest, connector, worker] = &mut parts[..] else {
        unreachable!("three were started")
    };
    ingest.ready().await?;
    connector.ready().await?;
    let body = json!({"type": "echo", "payload": {}});
    let request = world
        .http
        .post(format!("{}/v1/tasks", ingest.url))
        .bearer_auth(key)
        .json(&body);
    let refused = request.send().await?;
    ensure!(refused.status().is_server_error(), "{}", refused.status());
    ingest.says("permission denied for table outbox").await?;
    worker.says("uthorization failed").await?;

    grant(protected).await?;
    acls::create(&set_up, &of_worker).await?;
    let caller = Caller { world, key };
    let id = caller.submit(ingest, body).await?;
    caller.ends(ingest, &id, "DONE").await?;
    for part in parts {
        part.stop().await?;
    }
    Ok(())
}
