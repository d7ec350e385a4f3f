//! What can end the connector's stream. It begins anew after each of them.

use pgwire_replication::PgWireError;

/// Whether waiting helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Something is away; the connector comes back by itself.
    Unavailable,
    /// A person must act; the connector goes on by itself once that was done.
    Setup,
    /// A bug of ours, or a server that does not keep to the protocol.
    Internal,
}

/// An error of the connector. The text is for the log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database.
    #[error("the database is not ready for the connector")]
    Store(#[from] posthaste_store::Error),
    /// The broker.
    #[error("the broker does not take records")]
    Broker(#[from] posthaste_broker::Error),
    /// The registry, which has not told of this topic's values yet.
    #[error(
        "the registry does not tell how values of `{topic}` are written, and all rows from the next one of it on wait"
    )]
    Registry {
        /// The topic.
        topic: String,
        /// What the registry said.
        source: posthaste_broker::Error,
    },
    /// The replication stream.
    #[error("the replication stream broke")]
    Stream(#[from] PgWireError),
    /// The server did not let the stream begin.
    #[error("the server did not start the replication stream in time")]
    StreamTimedOut,
    /// The replication stream ended without an error.
    #[error("the replication stream ended")]
    StreamEnded,
    /// The server, which gives a sign every other second at least, is silent.
    #[error("the server is silent; another connector may hold the slot by now")]
    StreamSilent,
    /// Nothing was read for the broker's sake, and the server's process would wait for that for ever.
    #[error(
        "the broker takes no more, and the server is letting the slot go or shutting down, for which the stream must end"
    )]
    InTheWay,
    /// What operators ask could not be read in time.
    #[error("the database did not tell in time whether the connector is paused")]
    LookTimedOut,
    /// Bytes that are not pgoutput as documented.
    #[error("the replication stream is not as documented: {0}")]
    Protocol(&'static str),
    /// The log has other rows than those that were published from the same places of it.
    #[error(
        "the database's log went back: other rows were published from here; all that it holds now is published"
    )]
    LogWentBack,
    /// The outbox table lacks a column or has it in a type that cannot be used.
    #[error("the outbox table cannot be read: {0}")]
    Outbox(String),
    /// An option does not fit.
    #[error("{0}")]
    Setup(String),
    /// The process is stopping.
    #[error("the process is stopping")]
    Stopping,
}

impl Error {
    /// Whether waiting helps.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Store(error) => match error.kind() {
                posthaste_store::ErrorKind::Unavailable => ErrorKind::Unavailable,
                posthaste_store::ErrorKind::Setup => ErrorKind::Setup,
                posthaste_store::ErrorKind::BadRow | posthaste_store::ErrorKind::Internal => {
                    ErrorKind::Internal
                }
            },
            Self::Broker(error) | Self::Registry { source: error, .. } => match error.kind() {
                posthaste_broker::ErrorKind::Setup => ErrorKind::Setup,
                posthaste_broker::ErrorKind::Internal => ErrorKind::Internal,
                _ => ErrorKind::Unavailable,
            },
            Self::Stream(_)
            | Self::StreamTimedOut
            | Self::StreamEnded
            | Self::StreamSilent
            | Self::InTheWay
            | Self::LookTimedOut
            | Self::LogWentBack
            | Self::Stopping => ErrorKind::Unavailable,
            Self::Protocol(_) => ErrorKind::Internal,
            Self::Outbox(_) | Self::Setup(_) => ErrorKind::Setup,
        }
    }

    /// The whole chain of causes in one line.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}
