//! How many submissions a second the role accepts over real sockets: `accept_rate [CONNECTIONS] [SECONDS]
//! [keyed]`, over a Postgres of its own; `keyed` sends each under an idempotency key. Clients, server and database share the machine, so the figure is a lower bound.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use posthaste_http::{bind, finish};
use posthaste_ingest::{Deps, Options, Service};
use posthaste_runtime::{Stopper, SystemClock, ids};
use posthaste_schema::{SchemaId, TASK_REQUESTED};
use posthaste_stack::{Stack, StackOptions};
use posthaste_store::{Store, StoreOptions, migrate};
use posthaste_types::topics;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let connection_count: usize = arguments.next().unwrap_or_else(|| "128".to_owned()).parse()?;
    let seconds: u64 = arguments.next().unwrap_or_else(|| "10".to_owned()).parse()?;
    let keyed = arguments.next().is_some();
    let stack = postgres().await?;
    let store = migrated(stack.database_url()).await?;
    let stopper = Stopper::new();
    let deps = Deps {
        store,
        clock: SystemClock::shared(),
    };
    let service = Service::start(&Options::default(), deps, stopper.clone());
    let listener = bind(([127, 0, 0, 1], 0).into())?;
    let address = listener.local_addr();
    let serving = tokio::spawn(listener.serve(
        finish(service.routes()),
        posthaste_http::Front::open(),
        stopper.clone(),
    ));
    let accepted = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let clients: Vec<_> = (0..connection_count)
        .map(|_| {
            tokio::spawn(submit_until_stopped(
                address,
                Arc::clone(&accepted),
                stopper.clone(),
                keyed,
            ))
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let rate = accepted.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
    stopper.stop();
    for client in clients {
        // A client that the stop met between two requests ends with an error.
        let _ = client.await?;
    }
    serving.await??;
    service.drain().await;
    stack.stop().await?;
    std::io::Write::write_all(
        &mut std::io::stdout(),
        format!("{rate:.0} accepted/s\n").as_bytes(),
    )?;
    Ok(())
}

async fn postgres() -> anyhow::Result<Stack> {
    let directory = std::env::temp_dir().join("posthaste-accept-rate");
    let options = StackOptions::new(directory).postgres_alone();
    Ok(Stack::start(StackOptions {
        fresh: true,
        ..options
    })
    .await?)
}

async fn migrated(url: &str) -> anyhow::Result<Store> {
    let application_name = "accept-rate".to_owned();
    let store = Store::new(&StoreOptions {
        url: url.to_owned(),
        ca: None,
        pool_size: 4,
        application_name,
    })?;
    migrate(&store).await?;
    let subject = topics::value_subject(&topics::tasks_topic(topics::DEFAULT_QUEUE));
    store
        .record_schema(
            &subject,
            SchemaId(1),
            TASK_REQUESTED.name,
            &TASK_REQUESTED.fingerprint(),
        )
        .await?;
    Ok(store)
}

async fn submit_until_stopped(
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    stopper: Stopper,
    keyed: bool,
) -> anyhow::Result<()> {
    const BODY: &str = r#"{"type":"echo","payload":{"invoice":4711,"lines":[1,2,3]},"channel":"bench"}"#;
    let request = |key: &str| {
        format!(
            "POST /v1/tasks HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n{key}content-length: {}\r\n\r\n{BODY}",
            BODY.len()
        )
    };
    let plain = request("");
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut answer = [0; 4096];
    while !stopper.is_stopped() {
        if keyed {
            let key = format!("idempotency-key: \"{}\"\r\n", ids::claim_token().uuid());
            stream.write_all(request(&key).as_bytes()).await?;
        } else {
            stream.write_all(plain.as_bytes()).await?;
        }
        let count = stream.read(&mut answer).await?;
        anyhow::ensure!(answer[..count].starts_with(b"HTTP/1.1 202"), "not a 202");
        accepted.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
