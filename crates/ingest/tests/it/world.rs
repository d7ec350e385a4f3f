//! A migrated database of its own for each test, on one Postgres for all, and the role's routes over it.

use std::future::Future;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use posthaste_http::{Actor, Caller, Quota, Routes, finish};
use posthaste_ingest::{Deps, Options, Service};
use posthaste_runtime::{Stopper, SystemClock};
use posthaste_schema::{SchemaId, TASK_EVENT, TASK_REQUESTED};
use posthaste_stack::{Part, Stack, StackOptions};
use posthaste_store::{Store, StoreOptions, migrate};
use posthaste_types::{Scopes, TenantLimits, topics};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls};
use warp::http::Response;

/// One runtime for all tests: the stack's tasks must outlive each of them.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

static STACK: tokio::sync::OnceCell<Stack> = tokio::sync::OnceCell::const_new();

/// A caller of the tenant `default` who may use no more than this.
pub(crate) fn limited(limits: TenantLimits) -> Caller {
    Caller::new(
        "default".into(),
        Scopes::ALL,
        Actor::Open,
        Arc::new(Quota::new(limits)),
    )
}

/// Runs a test.
pub(crate) fn run(test: impl Future<Output = ()>) {
    RUNTIME.block_on(test);
}

/// A Postgres alone: the role knows neither Kafka nor the registry.
async fn postgres(name: &str) -> Stack {
    let options = StackOptions::new(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)).postgres_alone();
    Stack::start(StackOptions {
        fresh: true,
        ..options
    })
    .await
    .unwrap()
}

/// The role over a database of its own.
pub(crate) struct World {
    pub(crate) routes: Routes,
    pub(crate) store: Store,
    /// A connection beside the role's, to play the worker and to look.
    pub(crate) client: Client,
    pub(crate) service: Service,
    pub(crate) stopper: Stopper,
    pub(crate) own_stack: Option<Stack>,
}

impl World {
    /// On the Postgres that the tests share.
    pub(crate) async fn new() -> Self {
        let stack = STACK.get_or_init(|| postgres("ingest")).await;
        Self::on(stack, None).await
    }

    /// On a Postgres of its own, to be paused or killed.
    pub(crate) async fn alone(name: &str) -> Self {
        let stack = postgres(name).await;
        let url = stack.database_tcp_url().to_owned();
        Self::over(&url, Some(stack)).await
    }

    async fn on(stack: &Stack, own_stack: Option<Stack>) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("ingest_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let admin = connect(stack.database_tcp_url()).await;
        admin
            .batch_execute(&format!("create database {name}"))
            .await
            .unwrap();
        let (server, _) = stack.database_tcp_url().rsplit_once('/').unwrap();
        Self::over(&format!("{server}/{name}"), own_stack).await
    }

    async fn over(url: &str, own_stack: Option<Stack>) -> Self {
        let store = Store::new(&StoreOptions {
            url: url.to_owned(),
            ca: None,
            pool_size: 4,
            application_name: "ingest-test".to_owned(),
        })
        .unwrap();
        migrate(&store).await.unwrap();
        for (id, topic, schema) in [
            (1, "tasks.default", TASK_REQUESTED),
            (2, topics::RESULTS, TASK_EVENT),
        ] {
            let subject = topics::value_subject(topic);
            store
                .record_schema(&subject, SchemaId(id), schema.name, &schema.fingerprint())
                .await
                .unwrap();
        }
        let stopper = Stopper::new();
        let deps = Deps {
            store: store.clone(),
            clock: SystemClock::shared(),
        };
        let service = Service::start(&Options::default(), deps, stopper.clone());
        let routes = finish(service.routes());
        Self {
            routes,
            store,
            client: connect(url).await,
            service,
            stopper,
            own_stack,
        }
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> Request<'_> {
        Request {
            routes: &self.routes,
            builder: warp::test::request()
                .method(method)
                .path(path)
                .extension(Caller::open()),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.request("GET", path).send().await
    }

    /// Submits and expects a 202; returns its body.
    pub(crate) async fn submit(&self, body: Value) -> Value {
        let answer = self.request("POST", "/v1/tasks").json(&body).send().await;
        assert_eq!(answer.status(), 202, "{:?}", answer.text());
        answer.json()
    }

    /// Plays a worker: the task ends with a result.
    pub(crate) async fn end(&self, id: &str, state: &str) {
        let changed = self
            .client
            .execute(
                "update posthaste.tasks set state = $2::text::posthaste.task_state, version = version + 1, attempt = 1,
                    worker = 'w', result = '{\"pages\":3}', started_at = now(),
                    finished_at = now() + interval '1 millisecond' where id = $1",
                &[&uuid_of(id), &state],
            )
            .await
            .unwrap();
        assert_eq!(changed, 1);
    }

    pub(crate) async fn pause_postgres(&self) {
        self.own_stack
            .as_ref()
            .unwrap()
            .pause(Part::Postgres)
            .await
            .unwrap();
    }

    pub(crate) async fn resume_postgres(&self) {
        self.own_stack
            .as_ref()
            .unwrap()
            .resume(Part::Postgres)
            .await
            .unwrap();
    }
}

/// A request under way.
pub(crate) struct Request<'world> {
    routes: &'world Routes,
    builder: warp::test::RequestBuilder,
}

impl Request<'_> {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.builder = self.builder.header(name, value);
        self
    }

    pub(crate) fn json(mut self, body: &Value) -> Self {
        self.builder = self.builder.json(body);
        self
    }

    /// From this caller, who may be held to limits or lose its key.
    pub(crate) fn by(mut self, caller: &Caller) -> Self {
        self.builder = self.builder.extension(caller.clone());
        self
    }

    pub(crate) fn text(mut self, body: impl AsRef<[u8]>) -> Self {
        self.builder = self.builder.header("content-type", "application/json").body(body);
        self
    }

    pub(crate) async fn send(self) -> Answer {
        Answer(self.builder.reply(self.routes).await)
    }
}

/// An answer, read.
pub(crate) struct Answer(Response<Bytes>);

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.0.status().as_u16()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.0.headers().get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(self.0.body()).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(self.0.body()).unwrap_or_else(|_| panic!("no JSON: {:?}", self.0))
    }

    /// A problem of this status and code, with the pointers of its errors.
    pub(crate) fn problem(&self, status: u16, code: &str) -> Vec<String> {
        assert_eq!(self.status(), status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem = self.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status);
        let errors = problem["errors"].as_array().cloned().unwrap_or_default();
        errors
            .iter()
            .map(|error| error["pointer"].as_str().unwrap().to_owned())
            .collect()
    }
}

pub(crate) async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

pub(crate) fn uuid_of(id: &str) -> uuid::Uuid {
    id.parse::<posthaste_types::TaskId>().unwrap().uuid()
}

/// Longer than anything here may take; a test that needs it has failed.
pub(crate) const FAR: Duration = Duration::from_secs(30);
