//! What can keep a worker from starting or going on.

/// An error of the worker as a whole; what goes wrong with one task is the task's error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration does not make sense; the text names the key.
    #[error("{0}")]
    Setup(String),
    /// Kafka's client could not be made.
    #[error("kafka client")]
    Broker(#[from] posthaste_broker::Error),
    /// The record does not fit this program.
    #[error("store")]
    Store(#[from] posthaste_store::Error),
    /// The HTTP client of the `http` handler could not be made.
    #[error("http client")]
    HttpClient(#[from] reqwest::Error),
    /// A bug of ours ended an attempt; its record was not committed, so it comes again.
    #[error("an attempt ended by a panic of the worker")]
    Attempt(#[from] tokio::task::JoinError),
}
