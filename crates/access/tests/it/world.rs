//! A migrated database of its own for each test, and processes over it that let people in.

use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use posthaste_access::{Deps, Keys, Service};
use posthaste_api::{NewKey, Problem};
use posthaste_http::{Authenticator, Caller, Credentials, Routes, finish};
use posthaste_runtime::{Clock, Stopper};
use posthaste_stack::{Part, Stack, StackOptions};
use posthaste_store::{Store, StoreOptions, migrate};
use posthaste_types::{ApiKey, KeyId, Scope, TenantLimits};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls};
use warp::http::Response;

/// One runtime for all tests: the stack's tasks must outlive each of them.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

static STACK: tokio::sync::OnceCell<Stack> = tokio::sync::OnceCell::const_new();

/// Longer than anything here may take; a test that needs it has failed.
const FAR: Duration = Duration::from_secs(30);

/// Runs a test.
pub(crate) fn run(test: impl Future<Output = ()>) {
    RUNTIME.block_on(test);
}

/// Waits for `future`, with a bound.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(FAR, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain until {what}"),
    }
}

/// Asks until it is so.
pub(crate) async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    within(what, async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// The system's clock, which a test can put forward.
#[derive(Default)]
pub(crate) struct TestClock(AtomicI64);

impl TestClock {
    pub(crate) fn forward(&self, by: TimeDelta) {
        self.0.fetch_add(by.num_microseconds().unwrap(), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now().trunc_subsecs(6) + TimeDelta::microseconds(self.0.load(Ordering::SeqCst))
    }
}

/// A database and a clock.
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) clock: Arc<TestClock>,
    url: String,
    own_stack: Option<Stack>,
}

/// One process that lets people in.
pub(crate) struct Process {
    pub(crate) door: Arc<dyn Authenticator>,
    /// What its routes read with: 4 connections.
    pub(crate) store: Store,
    routes: Routes,
    stopper: Stopper,
    running: JoinHandle<()>,
}

/// A Postgres alone.
async fn postgres(name: &str) -> Stack {
    let options = StackOptions::new(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)).postgres_alone();
    Stack::start(StackOptions {
        fresh: true,
        ..options
    })
    .await
    .unwrap()
}

impl World {
    /// On the Postgres that the tests share.
    pub(crate) async fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let stack = STACK.get_or_init(|| postgres("access")).await;
        let name = format!("access_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let admin = connect(stack.database_tcp_url()).await;
        admin
            .batch_execute(&format!("create database {name}"))
            .await
            .unwrap();
        let (server, _) = stack.database_tcp_url().rsplit_once('/').unwrap();
        Self::over(format!("{server}/{name}"), None).await
    }

    /// On a Postgres of its own, to be paused.
    pub(crate) async fn alone(name: &str) -> Self {
        let stack = postgres(name).await;
        Self::over(stack.database_tcp_url().to_owned(), Some(stack)).await
    }

    async fn over(url: String, own_stack: Option<Stack>) -> Self {
        let store = store(&url);
        migrate(&store).await.unwrap();
        Self {
            store,
            clock: Arc::default(),
            url,
            own_stack,
        }
    }

    /// A connection beside the processes', to play the roles that write tasks.
    pub(crate) async fn client(&self) -> Client {
        connect(&self.url).await
    }

    /// What `posthaste keys` works with.
    pub(crate) fn keys(&self) -> Keys {
        Keys::new(self.store.clone(), self.clock())
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock) as Arc<dyn Clock>
    }

    /// A key that lasts, made as `posthaste keys create` does.
    pub(crate) async fn key(&self, tenant: &str, scopes: &[Scope]) -> (KeyId, ApiKey) {
        let new = NewKey {
            name: "test".to_owned(),
            scopes: scopes.to_vec(),
            expires_at: None,
        };
        let issued = self.keys().create(tenant, "cli".to_owned(), new).await.unwrap();
        (issued.row.id, issued.key)
    }

    /// A process that knows every key that there is now.
    pub(crate) async fn process(&self) -> Process {
        self.process_with(TenantLimits::default()).await
    }

    pub(crate) async fn process_with(&self, limits: TenantLimits) -> Process {
        let process = self.process_unready(limits);
        let nobody = ApiKey::from_random(&[7; posthaste_types::api_key::RANDOM_BYTES]);
        let refused = || process.caller(&nobody).err().unwrap().status;
        eventually("the keys have been read", || refused() == 401).await;
        process
    }

    /// A process that may not have read anything yet.
    pub(crate) fn process_unready(&self, limits: TenantLimits) -> Process {
        let stopper = Stopper::new();
        let store = store(&self.url);
        let deps = Deps {
            store: store.clone(),
            clock: self.clock(),
        };
        let service = Service::start(limits, deps, stopper.clone());
        Process {
            door: service.authenticator(),
            store,
            routes: finish(service.routes()),
            stopper,
            running: tokio::spawn(service.run()),
        }
    }

    pub(crate) async fn pause_postgres(&self) {
        let stack = self.own_stack.as_ref().unwrap();
        stack.pause(Part::Postgres).await.unwrap();
    }

    pub(crate) async fn resume_postgres(&self) {
        let stack = self.own_stack.as_ref().unwrap();
        stack.resume(Part::Postgres).await.unwrap();
    }
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

fn store(url: &str) -> Store {
    let options = StoreOptions {
        url: url.to_owned(),
        ca: None,
        pool_size: 4,
        application_name: "access-test".to_owned(),
    };
    Store::new(&options).unwrap()
}

impl Process {
    /// Who comes in with this key.
    pub(crate) fn caller(&self, key: &ApiKey) -> Result<Caller, Problem> {
        self.door.authenticate(Credentials::Bearer(key.expose()))
    }

    /// Who comes in with this stream token.
    pub(crate) fn caller_by_token(&self, token: &str) -> Result<Caller, Problem> {
        self.door.authenticate(Credentials::Token(token))
    }

    /// Waits until it knows the key.
    pub(crate) async fn knows(&self, key: &ApiKey) -> Caller {
        eventually("the key is known", || self.caller(key).is_ok()).await;
        self.caller(key).unwrap()
    }

    /// A request of whoever has the key.
    pub(crate) async fn call(&self, key: &ApiKey, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.call_as(self.caller(key).unwrap(), method, path, body).await
    }

    pub(crate) async fn call_as(
        &self,
        caller: Caller,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Answer {
        let request = warp::test::request().method(method).path(path).extension(caller);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        Answer(request.reply(&self.routes).await)
    }

    /// Stops in order.
    pub(crate) async fn stop(self) {
        self.stopper.stop();
        within("the process has stopped", self.running).await.unwrap();
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

    /// The body of an answer with this status.
    pub(crate) fn json(&self, status: u16) -> Value {
        assert_eq!(self.status(), status, "{}", self.text());
        serde_json::from_slice(self.0.body()).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    /// The key in an answer that made one.
    pub(crate) fn key(&self) -> ApiKey {
        ApiKey::parse(self.json(201)["key"].as_str().unwrap()).unwrap()
    }
}
