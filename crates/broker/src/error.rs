//! What can go wrong with the broker or the registry, and what may be done about it.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use schema_registry_converter::error::SRCError;
use schema_registry_converter::schema_registry_common::RawError;

/// What a caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The broker or the registry is away or busy: try again later.
    Unavailable,
    /// This record, not the broker, is at fault: never send it again unchanged.
    BadRecord,
    /// A topic, a privilege or a setting is missing or does not fit: a person must act.
    Setup,
    /// The wanted offset is no longer (or not yet) in the log.
    OffsetOutOfRange,
    /// A bug of ours.
    Internal,
}

/// An error of the broker or the registry. The text is for the log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// librdkafka or the broker refused.
    #[error("kafka refused to {operation}")]
    Kafka {
        /// What was tried, as a verb: `create a topic`.
        operation: &'static str,
        /// What librdkafka said.
        source: KafkaError,
    },
    /// The broker did not answer in time.
    #[error("kafka did not {0} in time")]
    TimedOut(&'static str),
    /// A topic that does not exist.
    #[error("topic `{0}` does not exist")]
    UnknownTopic(String),
    /// Retention has overtaken the reader, or the log was cut; reading goes on at `earliest`.
    #[error("the wanted offset of partition {partition} is not in the log; reading on at {earliest}")]
    OffsetOutOfRange {
        /// The partition.
        partition: i32,
        /// The first offset that is kept, where reading goes on.
        earliest: i64,
    },
    /// The client can do no more and must be made anew.
    #[error("the kafka client failed for good: {0}")]
    Fatal(String),
    /// The registry refused or is away.
    #[error("the schema registry failed to {operation}")]
    Registry {
        /// What was tried, as a verb.
        operation: &'static str,
        /// What the client said.
        source: SRCError,
    },
    /// The registry refused or is away, on a route that the client library does not have.
    #[error("the schema registry failed to {operation}")]
    RegistryHttp {
        /// What was tried, as a verb.
        operation: &'static str,
        /// What the HTTP client said.
        source: reqwest::Error,
    },
    /// A schema that the registry has and that no value can be written by.
    #[error("the newest schema of `{subject}`, {id}, cannot be used: {source}")]
    UnusableSchema {
        /// The subject.
        subject: String,
        /// The schema's id.
        id: i32,
        /// What is wrong with it.
        source: posthaste_schema::DecodeError,
    },
    /// A setting does not fit; the text says which.
    #[error("{0}")]
    Setup(String),
}

impl Error {
    /// Names the operation that failed.
    pub(crate) const fn kafka(operation: &'static str) -> impl Fn(KafkaError) -> Self + Copy {
        move |source| match source {
            KafkaError::ClientConfig(_, why, name, value) => refused_property(&why, &name, &value),
            source => Self::Kafka { operation, source },
        }
    }

    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Kafka { source, .. } => kind_of_kafka(source),
            Self::TimedOut(_) | Self::Fatal(_) => ErrorKind::Unavailable,
            Self::UnknownTopic(_) | Self::Setup(_) | Self::UnusableSchema { .. } => ErrorKind::Setup,
            Self::OffsetOutOfRange { .. } => ErrorKind::OffsetOutOfRange,
            Self::Registry { source, .. } if source.retriable => ErrorKind::Unavailable,
            Self::Registry { source, .. } => kind_of_registry(source),
            Self::RegistryHttp { source, .. } => kind_of_http(source),
        }
    }
}

/// librdkafka repeats the value that it does not take; under a misspelt name that may be a password.
fn refused_property(why: &str, name: &str, value: &str) -> Error {
    let why = if value.is_empty() {
        why.to_owned()
    } else {
        why.replace(value, "…")
    };
    Error::Setup(format!(
        "librdkafka does not take the property `{name}` of `[kafka.properties]`: {why}"
    ))
}

fn kind_of_kafka(error: &KafkaError) -> ErrorKind {
    match error {
        KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_) | KafkaError::Nul(_) => ErrorKind::Setup,
        KafkaError::AdminOpCreation(_) => ErrorKind::Internal,
        other => other
            .rdkafka_error_code()
            .map_or(ErrorKind::Unavailable, kind_of_code),
    }
}

/// Codes that are not listed are the broker's or the network's troubles, which pass.
pub(crate) const fn kind_of_code(code: Code) -> ErrorKind {
    match code {
        Code::MessageSizeTooLarge
        | Code::MessageBatchTooLarge
        | Code::InvalidRecord
        | Code::InvalidTimestamp
        | Code::InvalidMessage => ErrorKind::BadRecord,
        Code::UnknownTopicOrPartition
        | Code::UnknownTopic
        | Code::UnknownPartition
        | Code::InvalidTopic
        | Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::SaslAuthenticationFailed
        | Code::Authentication
        | Code::InvalidReplicationFactor
        | Code::InvalidPartitions
        | Code::InvalidConfig
        | Code::PolicyViolation => ErrorKind::Setup,
        Code::OffsetOutOfRange | Code::AutoOffsetReset => ErrorKind::OffsetOutOfRange,
        _ => ErrorKind::Unavailable,
    }
}

/// The client library marks almost everything as final; what it wraps tells the difference. Only what the registry says of
/// the schema itself is: a registry that refuses everybody, or whose own database is away, may answer well later.
fn kind_of_registry(error: &SRCError) -> ErrorKind {
    let Some(source) = std::error::Error::source(error) else {
        return ErrorKind::Setup;
    };
    if let Some(answer) = source.downcast_ref::<RawError>() {
        // An HTTP status, or one with two digits of the registry's own behind it; 0 for an answer that is not the
        // registry's.
        let status = if answer.error_code < 1000 {
            answer.error_code
        } else {
            answer.error_code / 100
        };
        return match status {
            404 | 409 | 422 => ErrorKind::Setup,
            _ => ErrorKind::Unavailable,
        };
    }
    source
        .downcast_ref::<reqwest::Error>()
        .map_or(ErrorKind::Setup, kind_of_http)
}

fn kind_of_http(error: &reqwest::Error) -> ErrorKind {
    match error.status() {
        Some(status) if status.is_client_error() => ErrorKind::Setup,
        _ if error.is_builder() => ErrorKind::Setup,
        _ => ErrorKind::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_property_is_named_without_its_value() {
        for name in ["sasl.pasword", "security.protocol", "socket.timeout.ms"] {
            let mut config = rdkafka::ClientConfig::new();
            config.set(name, "hunter2");
            let refused = config.create::<rdkafka::consumer::BaseConsumer>();
            let error = refused.map_err(Error::kafka("start a reader")).err().unwrap();
            let shown = format!("{error} {error:?}");
            assert!(shown.contains(name) && !shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn only_a_verdict_on_the_schema_is_final() {
        let kind = |error_code: u32| {
            let answer = serde_json::json!({"error_code": error_code, "message": ""});
            let answer: RawError = serde_json::from_value(answer).unwrap();
            let source = SRCError::non_retryable_with_cause(answer, "");
            Error::Registry {
                operation: "give a schema",
                source,
            }
            .kind()
        };
        for code in [404, 40403, 409, 422, 42201] {
            assert_eq!(kind(code), ErrorKind::Setup, "{code}");
        }
        for code in [0, 401, 40101, 403, 408, 429, 500, 50001, 504] {
            assert_eq!(kind(code), ErrorKind::Unavailable, "{code}");
        }
    }
}
