//! A worker of one's own: serves the type `greeting` with Rust code, and everything else as configured.
//!
//! ```text
//! POSTHASTE_DATABASE_URL=postgresql://… POSTHASTE_KAFKA=127.0.0.1:9092 POSTHASTE_REGISTRY=http://127.0.0.1:8081 \
//!     cargo run -p posthaste-worker --example own_handler
//! posthaste submit greeting --payload '{"name":"Ada"}' --wait
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use posthaste_broker::{KafkaOptions, Registry, RegistryOptions};
use posthaste_runtime::{Stopper, SystemClock};
use posthaste_store::{Store, StoreOptions};
use posthaste_worker::{Attempt, Handler, HandlerError, Handlers, JsonText, Options, Parts, Service};

#[derive(serde::Deserialize)]
struct Guest {
    name: String,
}

struct Greeting;

#[async_trait::async_trait]
impl Handler for Greeting {
    async fn handle(&self, attempt: &Attempt) -> Result<JsonText, HandlerError> {
        // A payload that does not fit is refused for good; no retry could help.
        let guest: Guest = attempt.payload_as()?;
        attempt.report_progress(JsonText::of("thinking of a greeting")?);
        tokio::time::sleep(Duration::from_millis(100)).await;
        if guest.name.is_empty() {
            return Err(HandlerError::never("nobody", "a greeting needs a name"));
        }
        // The answer is any JSON. `?` turns other errors into ones that are retried as the policy says.
        Ok(JsonText::of(&BTreeMap::from([(
            "greeting",
            format!("Hello, {}!", guest.name),
        )]))?)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let variable = |name: &str| std::env::var(name).map_err(|_| format!("{name} is not set"));
    let store = Store::new(&StoreOptions {
        url: variable("POSTHASTE_DATABASE_URL")?,
        ca: None,
        pool_size: 4,
        application_name: "own-worker".to_owned(),
    })?;
    let kafka = KafkaOptions {
        bootstrap: variable("POSTHASTE_KAFKA")?,
        client_id: "own-worker".to_owned(),
        ..KafkaOptions::default()
    };
    let parts = Parts {
        store,
        kafka,
        registry: Registry::new(&RegistryOptions::at(variable("POSTHASTE_REGISTRY")?))?,
        clock: SystemClock::shared(),
        handlers: Handlers::new().with("greeting", Greeting),
    };
    let stopper = Stopper::new();
    let service = Service::start(Options::default(), parts, stopper.clone())?;
    let stop_on_signal = async {
        let waited = tokio::signal::ctrl_c().await;
        stopper.stop();
        waited
    };
    let (ended, waited) = tokio::join!(service.run(), stop_on_signal);
    waited?;
    Ok(ended?)
}
