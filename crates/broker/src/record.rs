//! Records as the rest of Posthaste sees them: owned, with one allocation for all their bytes.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use posthaste_types::topics;
use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Headers as _};

/// A header's name; ours cost no allocation.
pub type HeaderName = Cow<'static, str>;

/// One partition of one topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition, from 0.
    pub partition: i32,
}

/// A record that was read.
#[derive(Debug, Clone)]
pub struct Record {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition, from 0.
    pub partition: i32,
    /// Its place in the partition.
    pub offset: i64,
    /// The key, if it has one.
    pub key: Option<Bytes>,
    /// The value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// The headers in their order; a name may come more than once, and `None` is a null, which is not an empty value.
    pub headers: Vec<(HeaderName, Option<Bytes>)>,
    /// The record's time, milliseconds since 1970; 0 when it has none.
    pub timestamp_ms: i64,
}

impl Record {
    /// The value of the first header of this name that has one: a null says that there is nothing to tell.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers
            .iter()
            .find_map(|(header, value)| value.as_deref().filter(|_| header == name))
    }

    /// Where it was read.
    pub fn topic_partition(&self) -> TopicPartition {
        TopicPartition {
            topic: Arc::clone(&self.topic),
            partition: self.partition,
        }
    }

    /// Bytes of key, value and headers' values.
    pub fn byte_count(&self) -> usize {
        let len = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        len(&self.key) + len(&self.value) + self.headers.iter().map(|(_, value)| len(value)).sum::<usize>()
    }
}

/// Turns librdkafka's messages into records.
#[derive(Debug, Default)]
pub(crate) struct Importer {
    /// The topics met so far, so that records share their names; a consumer reads few.
    topics: Vec<Arc<str>>,
}

impl Importer {
    pub(crate) fn topic(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.topics.iter().find(|known| &***known == name) {
            return Arc::clone(known);
        }
        let topic: Arc<str> = name.into();
        self.topics.push(Arc::clone(&topic));
        topic
    }

    pub(crate) fn record(&mut self, message: &BorrowedMessage<'_>) -> Record {
        let (key, value, headers) = (message.key(), message.payload(), message.headers());
        let header_bytes: usize = headers.map_or(0, |headers| {
            headers
                .iter()
                .map(|header| header.value.map_or(0, <[u8]>::len))
                .sum()
        });
        let mut bytes =
            BytesMut::with_capacity(key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len) + header_bytes);
        // The reservation holds all of it, so these splits share one allocation.
        let mut take = |part: &[u8]| {
            bytes.extend_from_slice(part);
            bytes.split().freeze()
        };
        Record {
            topic: self.topic(message.topic()),
            partition: message.partition(),
            offset: message.offset(),
            key: key.map(&mut take),
            value: value.map(&mut take),
            headers: headers.map_or_else(Vec::new, |headers| {
                let header = |header: rdkafka::message::Header<'_, &[u8]>| {
                    (header_name(header.key), header.value.map(&mut take))
                };
                headers.iter().map(header).collect()
            }),
            timestamp_ms: message.timestamp().to_millis().unwrap_or(0),
        }
    }
}

/// Borrows the names that we write ourselves.
fn header_name(name: &str) -> HeaderName {
    const OURS: [&str; 5] = [
        topics::HEADER_EVENT_ID,
        topics::HEADER_EVENT_TYPE,
        topics::HEADER_TENANT,
        topics::HEADER_TRACEPARENT,
        topics::HEADER_POSITION,
    ];
    OURS.into_iter()
        .find(|ours| *ours == name)
        .map_or_else(|| Cow::Owned(name.to_owned()), Cow::Borrowed)
}
