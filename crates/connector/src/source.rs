//! The stream of the database's log, behind a small trait, and the client library that it comes from.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pgwire_replication::{FeedbackObserver, Lsn, ReplicationClient, ReplicationConfig, ReplicationEvent};
use posthaste_store::{ReplicationNames, ServerAddress};
use tokio::sync::Notify;

use crate::position::Log;
use crate::tls::tls_config;
use crate::{Error, ServerIdentity};

/// Time to connect, authenticate and acquire the slot.
const CONNECT_WAIT: Duration = Duration::from_secs(10);
/// Time to tell the server the last position and to part.
const STOP_WAIT: Duration = Duration::from_secs(1);
/// The server ends a stream whose client is silent for so long, and frees the slot. After half of it, it asks for a sign.
const SERVER_PATIENCE: Duration = Duration::from_secs(4);
/// A server that is silent for so long is away, or has been cut off and is about to give the slot to another.
pub(crate) const SILENCE: Duration = Duration::from_millis(3500);
/// Messages that wait decoded. Each can be as large as a row, so they are few.
pub(crate) const EVENT_COUNT_MAX: usize = 64;

/// What the stream brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WalEvent {
    /// A transaction that was committed here begins.
    Begin { commit_lsn: u64 },
    /// A message of pgoutput within it.
    Change(Bytes),
    /// It is complete; the log after it begins at `end_lsn`.
    Commit { end_lsn: u64 },
    /// Everything committed before `wal_end` has come.
    KeepAlive { wal_end: u64 },
}

/// A stream of committed transactions in the order of their commits. It stays alive while nobody reads.
pub(crate) trait WalSource {
    /// Which log it is.
    fn log(&self) -> &Log;
    /// The next event; safe to cancel.
    async fn next(&mut self) -> Result<WalEvent, Error>;
    /// Lets the server forget what is before `lsn`, soon.
    fn acknowledge(&self, lsn: u64);
    /// Waits, within a bound, until the server knows what was acknowledged, and parts.
    async fn stop(self);
}

/// [`WalSource`] over `pgwire-replication`.
pub(crate) struct PgwireSource {
    client: ReplicationClient,
    log: Log,
    /// Woken after each position that the server was told.
    told: Arc<Notify>,
    acknowledged: std::sync::atomic::AtomicU64,
}

impl PgwireSource {
    /// Connects and acquires the slot; `must_fail_over`: after asking that standbys get a copy of it.
    pub(crate) async fn connect(
        address: ServerAddress,
        names: &ReplicationNames,
        status_interval: Duration,
        must_fail_over: bool,
    ) -> Result<Self, Error> {
        let told = Arc::new(Notify::new());
        let observer = Arc::clone(&told);
        let ReplicationNames {
            slot, publication, ..
        } = names;
        let tls = tls_config(&address)?;
        let ServerAddress {
            host,
            port,
            user,
            password,
            database,
            ..
        } = address;
        let config = ReplicationConfig::new(
            host,
            user,
            password,
            database,
            slot.as_str(),
            publication.as_str(),
        )
        .with_port(port)
        .with_tls(tls)
        .with_binary(true)
        .with_status_interval(status_interval)
        .with_buffer_size(EVENT_COUNT_MAX)
        .with_application_name("posthaste-connector")
        .with_options(format!("-c wal_sender_timeout={}ms", SERVER_PATIENCE.as_millis()))
        .with_feedback_observer(FeedbackObserver::new(move |_| observer.notify_one()));
        let start = async {
            let mut client = ReplicationClient::connect_gated(config).await?;
            let log = identify(&mut client).await?;
            if must_fail_over {
                fail_over(&mut client, slot).await;
            }
            client.start().await?;
            client.wait_started().await?;
            Ok::<_, Error>((client, log))
        };
        let started = tokio::time::timeout(CONNECT_WAIT, start).await;
        let (client, log) = started.map_err(|_| Error::StreamTimedOut)??;
        Ok(Self {
            client,
            log,
            told,
            acknowledged: 0.into(),
        })
    }
}

/// Asks the server to keep a copy of the slot on its standbys, so that one that is promoted has it.
async fn fail_over(client: &mut ReplicationClient, slot: &str) {
    let command = format!("ALTER_REPLICATION_SLOT {slot} (FAILOVER true)");
    match client.simple_query(&command).await {
        Ok(_) => tracing::info!(slot, "standbys get a copy of the replication slot"),
        // It streams without as well.
        Err(error) => tracing::warn!(slot, %error, "standbys get no copy of the replication slot"),
    }
}

/// Asks the server which log it has.
async fn identify(client: &mut ReplicationClient) -> Result<Log, Error> {
    let system = client.identify_system().await?;
    let system_id = system.system_id.parse();
    let timeline = system.timeline;
    let forks = if timeline > 1 {
        let history = client.timeline_history(timeline).await?;
        Log::read_forks(&String::from_utf8_lossy(&history.content))
    } else {
        // The first one has no history.
        Vec::new()
    };
    Ok(Log {
        server: ServerIdentity {
            system_id: system_id
                .map_err(|_| Error::Protocol("the server's system identifier is no number"))?,
            timeline,
        },
        forks,
    })
}

impl WalSource for PgwireSource {
    fn log(&self) -> &Log {
        &self.log
    }

    async fn next(&mut self) -> Result<WalEvent, Error> {
        loop {
            return Ok(match self.client.recv().await?.ok_or(Error::StreamEnded)? {
                ReplicationEvent::XLogData { data, .. } => WalEvent::Change(data),
                ReplicationEvent::Begin { final_lsn, .. } => WalEvent::Begin {
                    commit_lsn: final_lsn.as_u64(),
                },
                ReplicationEvent::Commit { end_lsn, .. } => WalEvent::Commit {
                    end_lsn: end_lsn.as_u64(),
                },
                ReplicationEvent::KeepAlive { wal_end, .. } => WalEvent::KeepAlive {
                    wal_end: wal_end.as_u64(),
                },
                ReplicationEvent::Message { .. } => continue,
                ReplicationEvent::StoppedAt { .. } => return Err(Error::StreamEnded),
            });
        }
    }

    fn acknowledge(&self, lsn: u64) {
        self.acknowledged
            .fetch_max(lsn, std::sync::atomic::Ordering::Relaxed);
        self.client.update_applied_lsn(Lsn::from_u64(lsn));
    }

    async fn stop(mut self) {
        let acknowledged = self.acknowledged.load(std::sync::atomic::Ordering::Relaxed);
        let metrics = self.client.metrics();
        let part = async {
            while self.client.is_running() && metrics.last_applied_lsn().as_u64() < acknowledged {
                self.told.notified().await;
            }
            self.client.shutdown().await
        };
        match tokio::time::timeout(STOP_WAIT, part).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the replication stream did not part in order"),
            Err(_) => tracing::debug!("the server was not told the last position in time"),
        }
    }
}
