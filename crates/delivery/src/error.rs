//! What keeps this role from starting. While it runs it waits for what is away and says so in the log.

use posthaste_broker::Error as BrokerError;

/// An error of the role.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Options that the Kafka client refuses.
    #[error("the kafka client cannot be made")]
    Kafka(#[from] BrokerError),
    /// The HTTP client for webhooks cannot be made.
    #[error("the HTTP client for webhooks cannot be made")]
    HttpClient(#[source] reqwest::Error),
}
