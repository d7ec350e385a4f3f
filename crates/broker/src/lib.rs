#![doc = include_str!("../README.md")]

mod admin;
mod bulk;
mod context;
mod error;
mod group;
mod last;
mod offsets;
mod options;
mod partition;
mod producer;
mod record;
mod registry;
mod tail;
mod thread;
mod transactional;

pub use admin::{Admin, TopicOutcome, TopicSpec};
pub use bulk::{BulkOptions, BulkProducer, BulkRecord, Deliveries, Delivery};
pub use error::{Error, ErrorKind};
pub use group::{GroupConsumer, GroupConsumerOptions, GroupEvent, RevokeGuard};
pub use offsets::OffsetTracker;
pub use options::{KafkaOptions, RegistryOptions};
pub use partition::partition_of;
pub use posthaste_schema::JsonEncoder;
pub use producer::{OutRecord, Producer};
pub use record::{HeaderName, Record, TopicPartition};
pub use registry::Registry;
pub use tail::{StartAt, Tail, TailItem};
pub use transactional::{TransactionOptions, TransactionalProducer};
