//! Sends librdkafka's log and its errors without an owner to our log.

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel as Level;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;

/// The context of a client that needs no callbacks of its own.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Quiet;

/// librdkafka's troubles pass by themselves, so none of them is an error of ours.
pub(crate) fn log(level: Level, facility: &str, message: &str) {
    match level {
        Level::Emerg | Level::Alert | Level::Critical | Level::Error => {
            tracing::warn!(kafka.facility = facility, "{message}");
        }
        Level::Warning | Level::Notice | Level::Info => {
            tracing::debug!(kafka.facility = facility, "{message}")
        }
        Level::Debug => tracing::trace!(kafka.facility = facility, "{message}"),
    }
}

/// librdkafka has logged the cause already (a broker that is away, mostly).
pub(crate) fn report(error: &KafkaError, reason: &str) {
    tracing::debug!(%error, "{reason}");
}

impl ClientContext for Quiet {
    fn log(&self, level: Level, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        report(&error, reason);
    }
}

impl ConsumerContext for Quiet {}
