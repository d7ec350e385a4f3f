//! What is known of a topic: its partitions and how far each was written, so that nothing is written twice.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use posthaste_broker::{Admin, Error as BrokerError, Record, partition_of};
use posthaste_types::limits::CONNECTOR_LOOK_BACK_COUNT_MAX;
use posthaste_types::topics;

use crate::position::Origin;
use crate::{Error, Position};

/// How long a topic that was not there counts as missing before it is looked for again.
const MISSING_FOR: Duration = Duration::from_secs(10);

/// A topic's partitions, or that there is no such topic.
#[derive(Debug)]
enum Topic {
    /// For each partition the last position that it held when the session began to write to it.
    Present(Vec<Option<Position>>),
    Missing(Instant),
}

/// Where a row belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Into this partition.
    Partition(i32),
    /// It is there already.
    Published,
    /// There is no such topic.
    NoTopic,
}

/// The topics that the session has met.
#[derive(Debug)]
pub(crate) struct Topics {
    origin: Origin,
    known: HashMap<String, Topic>,
}

impl Topics {
    pub(crate) fn new(origin: Origin) -> Self {
        Self {
            origin,
            known: HashMap::new(),
        }
    }

    /// Where a row belongs; `None`: the topic must be looked at first.
    pub(crate) fn place(&self, topic: &str, key: &[u8], position: Position) -> Option<Place> {
        match self.known.get(topic)? {
            Topic::Present(ends) => {
                let count = i32::try_from(ends.len()).unwrap_or(i32::MAX);
                let partition = partition_of(key, count);
                let end = ends[usize::try_from(partition).expect("a partition is not negative")];
                Some(if end >= Some(position) {
                    Place::Published
                } else {
                    Place::Partition(partition)
                })
            }
            Topic::Missing(since) if since.elapsed() < MISSING_FOR => Some(Place::NoTopic),
            Topic::Missing(_) => None,
        }
    }

    /// Looks at a topic. Nothing of ours may be on its way to it.
    pub(crate) async fn look_at(&mut self, admin: &Admin, topic: &str) -> Result<(), Error> {
        let found = match admin.partitions(topic).await {
            Ok(partitions) => Topic::Present(self.ends(admin, topic, partitions).await?),
            Err(BrokerError::UnknownTopic(_)) => Topic::Missing(Instant::now()),
            Err(error) => return Err(error.into()),
        };
        self.known.insert(topic.to_owned(), found);
        Ok(())
    }

    async fn ends(
        &self,
        admin: &Admin,
        topic: &str,
        partitions: Vec<i32>,
    ) -> Result<Vec<Option<Position>>, Error> {
        let mut ends = vec![None; partitions.len()];
        let origin = self.origin.clone();
        let own = move |record: &Record| position_of(record, &origin);
        let found = admin
            .last_matching(topic, partitions, CONNECTOR_LOOK_BACK_COUNT_MAX, own)
            .await?;
        for (partition, position) in found {
            let end = usize::try_from(partition)
                .ok()
                .and_then(|partition| ends.get_mut(partition));
            if let Some(end) = end {
                *end = Some(position);
            }
        }
        Ok(ends)
    }
}

/// The position of a record that the connector wrote itself. A dead letter that a consumer wrote is a copy of one.
fn position_of(record: &Record, origin: &Origin) -> Option<Position> {
    if record.header(topics::HEADER_DEAD_SOURCE).is_some() {
        return None;
    }
    origin.read_position(record.header(topics::HEADER_POSITION)?)
}
