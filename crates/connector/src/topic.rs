//! What is known of a topic: its partitions and how far each was written, so that nothing is written twice.
//!
//! A row up to a partition's end counts as published. That stands proved once the row at the end itself comes and bears the
//! id of the record that is there; until then nothing may be confirmed. A log that went back without telling (a disk
//! put back to an earlier state) has other rows there, and the end is then disproved.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use posthaste_broker::{Admin, Error as BrokerError, Record, partition_of};
use posthaste_types::limits::CONNECTOR_LOOK_BACK_COUNT_MAX;
use posthaste_types::topics;

use crate::position::{Mark, Origin, Reached};
use crate::{Error, Position};

/// How long a topic that was not there counts as missing before it is looked for again.
const MISSING_FOR: Duration = Duration::from_secs(10);

/// How far something was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct End {
    /// The last row that is there; rows up to it are.
    position: Position,
    /// Its id; `None`: no row stands at the position, it is proved otherwise.
    id: Option<Bytes>,
    /// Rows were passed over because of it, and it is not proved yet.
    is_owing: bool,
}

/// A topic's partitions, or that there is no such topic.
#[derive(Debug)]
enum Topic {
    /// For each partition how far it was written when the session began to write to it.
    Present(Vec<Option<End>>),
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

/// Ids of records at ends that were disproved; kept from one session to the next.
#[derive(Debug, Default)]
pub(crate) struct Disproved(HashSet<Bytes>);

/// The topics that the session has met.
#[derive(Debug)]
pub(crate) struct Topics {
    origin: Origin,
    known: HashMap<String, Topic>,
    /// The largest record that a topic takes, bytes, where that is known and less than what we send.
    bytes_max: HashMap<String, usize>,
    /// How far all topics together were written in transactions.
    floor: Option<End>,
    disproved: Disproved,
    /// Ends that passed rows over and are not proved yet: those of partitions, by where their proof stands.
    owing: Vec<(Position, Bytes)>,
}

impl Topics {
    /// `mark` is the last one of transactions from this slot.
    pub(crate) fn new(origin: Origin, disproved: Disproved, mark: Option<Mark>) -> Self {
        let mut topics = Self {
            origin,
            known: HashMap::new(),
            bytes_max: HashMap::new(),
            floor: None,
            disproved,
            owing: Vec::new(),
        };
        topics.floor = mark.and_then(|mark| topics.end(posthaste_types::topics::POSITIONS, mark));
        topics
    }

    /// What was found out, for the next session.
    pub(crate) fn into_disproved(self) -> Disproved {
        self.disproved
    }

    /// Where the row of this position and id belongs; `None`: the topic must be looked at first.
    ///
    /// # Errors
    /// [`Error::LogWentBack`]: the partition's end is of another history; the next session does not go by it.
    pub(crate) fn place(
        &mut self,
        topic: &str,
        key: &[u8],
        position: Position,
        id: &[u8],
    ) -> Result<Option<Place>, Error> {
        match judge(&mut self.floor, &mut self.owing, position, id) {
            Ok(false) => {}
            Ok(true) => return Ok(Some(Place::Published)),
            Err(id) => return Err(self.disprove(id)),
        }
        let ends = match self.known.get_mut(topic) {
            None => return Ok(None),
            Some(Topic::Missing(since)) if since.elapsed() < MISSING_FOR => return Ok(Some(Place::NoTopic)),
            Some(Topic::Missing(_)) => return Ok(None),
            Some(Topic::Present(ends)) => ends,
        };
        let partition = partition_of(key, i32::try_from(ends.len()).unwrap_or(i32::MAX));
        let end = &mut ends[usize::try_from(partition).expect("a partition is not negative")];
        match judge(end, &mut self.owing, position, id) {
            Ok(true) => Ok(Some(Place::Published)),
            Ok(false) => Ok(Some(Place::Partition(partition))),
            Err(id) => Err(self.disprove(id)),
        }
    }

    /// The largest record that the topic takes, bytes, where that is known. Few rows are so large that the broker would have to
    /// refuse them, with the whole batch that they are in.
    pub(crate) fn bytes_max(&self, topic: &str) -> Option<usize> {
        self.bytes_max.get(topic).copied()
    }

    /// Whether rows were passed over that may not be published.
    pub(crate) fn is_owing(&self) -> bool {
        !self.owing.is_empty()
    }

    /// Everything that was committed before `lsn` has come.
    ///
    /// # Errors
    /// [`Error::LogWentBack`]: a proof did not come.
    pub(crate) fn pass(&mut self, lsn: u64) -> Result<(), Error> {
        match self
            .owing
            .iter()
            .position(|(position, _)| position.commit_lsn < lsn)
        {
            None => Ok(()),
            Some(index) => {
                let (_, id) = self.owing.swap_remove(index);
                Err(self.disprove(id))
            }
        }
    }

    fn disprove(&mut self, id: Bytes) -> Error {
        self.disproved.0.insert(id);
        Error::LogWentBack
    }

    /// Looks at a topic. Nothing of ours may be on its way to it.
    pub(crate) async fn look_at(&mut self, admin: &Admin, topic: &str) -> Result<(), Error> {
        let found = match admin.partitions(topic).await {
            Ok(partitions) => Topic::Present(self.ends(admin, topic, partitions).await?),
            Err(BrokerError::UnknownTopic(_)) => Topic::Missing(Instant::now()),
            Err(error) => return Err(error.into()),
        };
        if let Some(max) = admin.record_bytes_max(topic).await {
            self.bytes_max.insert(topic.to_owned(), max);
        }
        self.known.insert(topic.to_owned(), found);
        Ok(())
    }

    async fn ends(
        &self,
        admin: &Admin,
        topic: &str,
        partitions: Vec<i32>,
    ) -> Result<Vec<Option<End>>, Error> {
        let mut ends = vec![None; partitions.len()];
        let origin = self.origin.clone();
        let own = move |record: &Record| mark_of(record, &origin);
        let found = admin
            .last_matching(topic, partitions, CONNECTOR_LOOK_BACK_COUNT_MAX, own)
            .await?;
        for (partition, mark) in found {
            let end = usize::try_from(partition)
                .ok()
                .and_then(|partition| ends.get_mut(partition));
            if let Some(end) = end {
                *end = self.end(topic, mark);
            }
        }
        Ok(ends)
    }

    fn end(&self, topic: &str, Mark { reached, id }: Mark) -> Option<End> {
        let (position, id) = match reached {
            _ if self.disproved.0.contains(&id) => return None,
            Reached::Row(position) => (position, Some(id)),
            Reached::Before(commit_lsn) => (Position { commit_lsn, index: 0 }, None),
            Reached::PastEnd => {
                tracing::warn!(
                    kafka.topic = topic,
                    "the topic holds rows from past the end of the database's log: the database was put back to an earlier \
                     state, and all that it commits now is published"
                );
                return None;
            }
        };
        Some(End {
            position,
            id,
            is_owing: false,
        })
    }
}

/// Whether the row is there by this end, which is taken away once passed; the end's id when the row disproves it.
fn judge(
    end: &mut Option<End>,
    owing: &mut Vec<(Position, Bytes)>,
    position: Position,
    id: &[u8],
) -> Result<bool, Bytes> {
    let Some(known) = end else { return Ok(false) };
    if position < known.position {
        if let (false, Some(id)) = (known.is_owing, &known.id) {
            known.is_owing = true;
            owing.push((known.position, id.clone()));
        }
        return Ok(true);
    }
    let is_at_end = position == known.position;
    let was_owing = known.is_owing;
    let Some(end_id) = end.take().and_then(|known| known.id) else {
        return Ok(false);
    };
    if is_at_end && id == end_id {
        owing.retain(|(_, owing)| *owing != end_id);
        return Ok(true);
    }
    if is_at_end || was_owing {
        Err(end_id)
    } else {
        Ok(false)
    }
}

/// What a record that the connector wrote itself tells, and its id. A dead letter that a consumer wrote is a copy of one.
fn mark_of(record: &Record, origin: &Origin) -> Option<Mark> {
    if record.header(topics::HEADER_DEAD_SOURCE).is_some() {
        return None;
    }
    let reached = origin.read_position(record.header(topics::HEADER_POSITION)?)?;
    let id = record.header(topics::HEADER_EVENT_ID).unwrap_or_default();
    Some(Mark {
        reached,
        id: Bytes::copy_from_slice(id),
    })
}

#[cfg(test)]
mod tests;
