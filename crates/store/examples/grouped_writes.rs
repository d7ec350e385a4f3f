//! Measures the grouped writes against a real Postgres: submissions, then claims and completions of what was submitted.
//!
//! `cargo run --release -p posthaste-store --example grouped_writes -- <database url> [callers] [tasks] [lanes]`
#![expect(clippy::print_stdout, reason = "an example reports to its terminal")]
#![expect(clippy::unwrap_used, reason = "an example may end at the first error")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use posthaste_runtime::{Clock as _, Stopper, SystemClock, ids};
use posthaste_schema::{SCHEMAS, SchemaId, TASK_EVENT, TASK_REQUESTED, TaskEvent};
use posthaste_store::{
    Claim, Claimed, Completed, Completion, GroupOptions, Idempotency, NewTask, Store, StoreOptions,
    Submitted, Submitter, WorkerWrites, migrate,
};
use posthaste_types::{EventKind, Task, TaskState, topics};

#[tokio::main(worker_threads = 2)]
async fn main() {
    let mut args = std::env::args().skip(1);
    let url = args.next().expect("the first argument is the database's URL");
    let mut number = |default: usize| args.next().map_or(default, |text| text.parse().unwrap());
    let (callers, tasks, lanes) = (number(64), number(200_000), number(1));
    let keyed = args.next().is_some();
    let store = Store::new(&StoreOptions {
        url,
        ca: None,
        pool_size: 2,
        application_name: "grouped_writes".into(),
    })
    .unwrap();
    migrate(&store).await.unwrap();
    for (topic, text) in [("tasks.default", TASK_REQUESTED), (topics::RESULTS, TASK_EVENT)] {
        let id = SchemaId(
            SCHEMAS
                .iter()
                .position(|schema| schema.name == text.name)
                .unwrap() as i32
                + 1,
        );
        store
            .record_schema(&topics::value_subject(topic), id, text.name, &text.fingerprint())
            .await
            .unwrap();
    }

    let stopper = Stopper::new();
    let options = GroupOptions {
        lanes,
        ..GroupOptions::default()
    };
    let submitter = Submitter::start(&store, options.clone(), stopper.child());
    let writes = WorkerWrites::start(&store, options, stopper.child());
    let made: Arc<Vec<Task>> = Arc::new((0..tasks).map(|_| new_task()).collect());

    let began = Instant::now();
    each(callers, Arc::clone(&made), move |task| {
        let submitter = submitter.clone();
        async move {
            let new = NewTask {
                task,
                event_id: ids::event_id(),
                idempotency: keyed.then(|| Idempotency {
                    key: ids::claim_token().uuid().to_string(),
                    fingerprint: [7; 32],
                    answer: None,
                }),
            };
            assert_eq!(submitter.submit(new).await.unwrap(), Submitted::Stored);
        }
    })
    .await;
    report("submitted", tasks, began);

    let began = Instant::now();
    let worker: Arc<str> = "bench".into();
    each(callers, made, move |task| {
        let (writes, worker) = (writes.clone(), Arc::clone(&worker));
        async move { run(&writes, worker, task).await }
    })
    .await;
    report("claimed and completed", tasks, began);
    stopper.stop();
}

/// Calls `act` for every task, `callers` at once.
async fn each<F>(callers: usize, tasks: Arc<Vec<Task>>, act: impl Fn(Task) -> F + Clone + Send + 'static)
where
    F: Future<Output = ()> + Send,
{
    let next = Arc::new(AtomicUsize::new(0));
    let loops: Vec<_> = (0..callers)
        .map(|_| {
            let (tasks, next, act) = (Arc::clone(&tasks), Arc::clone(&next), act.clone());
            tokio::spawn(async move {
                while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    act(task.clone()).await;
                }
            })
        })
        .collect();
    for one in loops {
        one.await.unwrap();
    }
}

async fn run(writes: &WorkerWrites, worker: Arc<str>, mut task: Task) {
    let token = ids::claim_token();
    let claim = Claim {
        task_id: task.id,
        run: task.run,
        token,
        worker,
    };
    let Claimed::Granted {
        attempt,
        version,
        started_at,
        ..
    } = writes.claim(claim).await.unwrap()
    else {
        panic!("a fresh task can be claimed");
    };
    let now = SystemClock.now();
    task.state = TaskState::Done;
    task.attempt = attempt;
    task.version = version + 1;
    task.started_at = Some(started_at);
    task.finished_at = Some(now);
    task.result = Some(r#"{"pages":3,"url":"https://files.example/invoice-1001.pdf"}"#.to_owned());
    let event = TaskEvent::of(&task, ids::event_id(), EventKind::Done, now);
    let completion = Completion {
        token,
        event,
        retry_at: None,
    };
    assert_eq!(writes.complete(completion).await.unwrap(), Completed::Stored);
}

fn report(what: &str, tasks: usize, began: Instant) {
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{what}: {tasks} in {seconds:.2} s = {:.0}/s",
        tasks as f64 / seconds
    );
}

fn new_task() -> Task {
    Task {
        id: ids::task_id(),
        tenant: "default".into(),
        task_type: "invoice.render".into(),
        queue: "default".into(),
        key: None,
        channel: Some("orders".into()),
        payload:
            r#"{"invoice":1001,"customer":"c-17","lines":[{"sku":"a-1","qty":2},{"sku":"b-2","qty":1}]}"#
                .into(),
        priority: 5,
        not_before: None,
        deadline: None,
        timeout_ms: None,
        retry: None,
        tags: BTreeMap::new(),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        state: TaskState::Init,
        run: 1,
        attempt: 0,
        version: 1,
        worker: None,
        progress: None,
        result: None,
        error: None,
        created_at: SystemClock.now(),
        started_at: None,
        finished_at: None,
    }
}
