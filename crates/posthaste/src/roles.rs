//! Starts roles, alone or together, and ends them in order: requests first, then what they left to do.

use std::sync::Arc;

use anyhow::Context as _;
use posthaste_http::{Front, Listener, Routes};
use posthaste_runtime::Stopper;
use posthaste_runtime::telemetry::{self, Metrics};
use posthaste_types::topics::tasks_topic;
use tokio::task::JoinSet;

use crate::config::{Access, Config};
use crate::exit::{Outcome, Usage};
use crate::parts::Parts;
use crate::serve::{self, Dependencies};
use crate::{check, front, shutdown};

/// One role of the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Ingest,
    Connector,
    Worker,
    Delivery,
    Scheduler,
}

impl Role {
    pub(crate) const ALL: [Self; 5] = [
        Self::Ingest,
        Self::Connector,
        Self::Worker,
        Self::Delivery,
        Self::Scheduler,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Connector => "connector",
            Self::Worker => "worker",
            Self::Delivery => "delivery",
            Self::Scheduler => "scheduler",
        }
    }

    /// Whether it has routes that ask who comes.
    pub(crate) const fn has_callers(self) -> bool {
        matches!(self, Self::Ingest | Self::Delivery)
    }
}

/// The roles of this process, started.
pub(crate) struct Process {
    name: &'static str,
    routes: Vec<Routes>,
    front: Front,
    dependencies: Dependencies,
    /// Roles that run until they are told to stop and have drained.
    running: JoinSet<anyhow::Result<()>>,
    /// Drains when the last request has been answered.
    ingest: Option<posthaste_ingest::Service>,
}

impl Process {
    pub(crate) fn start(
        name: &'static str,
        roles: &[Role],
        config: &Config,
        parts: Parts,
        stopper: &Stopper,
    ) -> anyhow::Result<Self> {
        let mut process = Self {
            name,
            routes: Vec::new(),
            front: front::front(&config.http, None)?,
            dependencies: Dependencies {
                parts,
                kafka: None,
                topics: Vec::new(),
                access: None,
                connector: None,
                delivery: None,
            },
            running: JoinSet::new(),
            ingest: None,
        };
        if roles.iter().any(|role| role.has_callers()) {
            process.add_access(config, stopper.clone())?;
        }
        for &role in roles {
            if !matches!(role, Role::Ingest | Role::Scheduler) {
                process.dependencies.kafka = Some(process.dependencies.parts.admin()?);
            }
            process.add(role, config, stopper.clone())?;
        }
        Ok(process)
    }

    /// Who may come in, once for all roles of the process that ask.
    fn add_access(&mut self, config: &Config, stopper: Stopper) -> anyhow::Result<()> {
        let Parts { store, clock, .. } = self.dependencies.parts.clone();
        let deps = posthaste_access::Deps { store, clock };
        let service = posthaste_access::Service::start(config.limits, deps, stopper);
        self.front = front::front(&config.http, Some(&service))?;
        self.routes.push(service.routes());
        if config.http.access == Access::Keys {
            self.dependencies.access = Some(service.readiness());
        }
        self.running.spawn(async move {
            Box::pin(service.run()).await;
            Ok(())
        });
        Ok(())
    }

    fn add(&mut self, role: Role, config: &Config, stopper: Stopper) -> anyhow::Result<()> {
        let parts = self.dependencies.parts.clone();
        let Parts {
            store, kafka, clock, ..
        } = parts.clone();
        match role {
            Role::Ingest => {
                // What they tell and ask is in the database, so they need no connector in this process.
                let connectors = posthaste_connector::Connectors::new(store.clone(), Arc::clone(&clock));
                self.routes
                    .push(posthaste_connector::routes(connectors, &config.http.operators));
                let deps = posthaste_ingest::Deps { store, clock };
                let service = posthaste_ingest::Service::start(&config.ingest, deps, stopper);
                self.routes.push(service.routes());
                self.ingest = Some(service);
            }
            Role::Connector => {
                let deps = posthaste_connector::Deps { store, kafka, clock };
                let mut service = posthaste_connector::Service::start(&config.connector, deps, stopper)
                    .context(Usage("section [connector]".to_owned()))?;
                // Our own outbox holds finished bytes; others may hold JSON for topics of Avro.
                if !config.connector.outboxes.is_empty() {
                    service = service.with_registry(parts.registry()?);
                }
                let health = service.health();
                self.dependencies.connector = Some(Arc::new(move || health.check()));
                self.running.spawn(async move { Ok(service.run().await?) });
            }
            Role::Worker => {
                let handlers = posthaste_worker::Handlers::default();
                let parts = posthaste_worker::Parts {
                    store,
                    kafka,
                    registry: parts.registry()?,
                    clock,
                    handlers,
                };
                let queues = config.worker.queues.iter();
                self.dependencies.topics = queues.map(|queue| tasks_topic(queue)).collect();
                let service = posthaste_worker::Service::start(config.worker.clone(), parts, stopper)?;
                self.running.spawn(async move { Ok(service.run().await?) });
            }
            Role::Delivery => {
                let deps = posthaste_delivery::Deps {
                    store,
                    kafka,
                    registry: parts.registry()?,
                    clock,
                };
                let service = posthaste_delivery::Service::start(config.delivery.clone(), deps, stopper)?;
                self.routes.push(service.routes());
                self.dependencies.delivery = Some(service.readiness());
                self.running
                    .spawn(async move { Ok(Box::pin(service.run()).await?) });
            }
            Role::Scheduler => {
                let parts = posthaste_scheduler::Parts { store, clock };
                let service = posthaste_scheduler::Service::start(config.scheduler.clone(), parts, stopper)?;
                self.running.spawn(async move {
                    service.run().await;
                    Ok(())
                });
            }
        }
        Ok(())
    }

    /// Until told to stop and all has drained. A role that fails stops the others.
    pub(crate) async fn run(
        self,
        listener: Listener,
        metrics: Metrics,
        stopper: Stopper,
    ) -> anyhow::Result<()> {
        let Self {
            name,
            routes,
            front,
            dependencies,
            mut running,
            ingest,
        } = self;
        let served = async {
            let served = serve::serve(
                listener,
                name,
                (routes, front),
                Arc::new(dependencies),
                metrics,
                stopper.clone(),
            )
            .await;
            stopper.stop();
            if let Some(ingest) = ingest {
                ingest.drain().await;
            }
            served
        };
        let ended = async {
            let mut first_error = Ok(());
            while let Some(ended) = running.join_next().await {
                let ended = ended.map_err(anyhow::Error::from).flatten();
                if ended.is_err() {
                    stopper.stop();
                    first_error = first_error.and(ended);
                }
            }
            first_error
        };
        let (served, ended) = tokio::join!(served, ended);
        ended.and(served)
    }
}

/// A process of one role, until it is told to stop.
pub(crate) async fn run_alone(role: Role, config: &Config) -> anyhow::Result<Outcome> {
    check::of_role(role, config)?;
    telemetry::init_logs(&config.log)?;
    let metrics = Metrics::install()?;
    let stopper = shutdown::on_signals()?;
    let listener = front::prepare(serve::bind(config.http.listen)?, &config.http)?;
    let parts = Parts::new(config, role.name())?;
    let process = Process::start(role.name(), &[role], config, parts, &stopper)?;
    tracing::info!(role = role.name(), http.listen = %listener.local_addr(), "started");
    // On a thread of the pool: on this one, each connection would be handed from thread to thread.
    tokio::spawn(Box::pin(process.run(listener, metrics, stopper))).await??;
    tracing::info!(role = role.name(), "stopped");
    Ok(Outcome::Done)
}
