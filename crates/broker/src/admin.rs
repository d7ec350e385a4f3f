//! Topics: making them, listing them, and where their partitions begin and end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::context::Quiet;
use crate::last::last_matching;
use crate::{Error, KafkaOptions, Record};

const ANSWER_WAIT: Duration = Duration::from_secs(5);
const CREATE_WAIT: Duration = Duration::from_secs(30);
/// Between two looks whether a new topic is served.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A topic that must exist.
#[derive(Debug, Clone)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// Its partitions, 1 or more.
    pub partitions: i32,
    /// Its configuration, by Kafka's names. `replication.factor`, which Kafka does not count among these, is taken
    /// from here too; without it the broker's default holds.
    pub config: BTreeMap<String, String>,
}

/// What [`Admin::ensure_topic`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicOutcome {
    /// It was not there and has been made.
    Created,
    /// It was there, with so many partitions; it was left as it is.
    Present {
        /// Its partitions.
        partitions: i32,
    },
}

/// A cheap handle on the cluster's administration. Calls wait a few seconds for an answer and then fail; no call ever
/// makes a topic by naming it.
#[derive(Clone)]
pub struct Admin {
    client: Arc<AdminClient<Quiet>>,
    kafka: KafkaOptions,
}

impl Admin {
    /// Makes the client; Kafka may be away. To be called inside a tokio runtime.
    ///
    /// # Errors
    /// Options that librdkafka refuses.
    pub fn new(kafka: &KafkaOptions) -> Result<Self, Error> {
        let client = kafka
            .client_config(&[])
            .create_with_context(Quiet)
            .map_err(Error::kafka("start an admin client"))?;
        Ok(Self {
            client: Arc::new(client),
            kafka: kafka.clone(),
        })
    }

    /// Makes the topic unless it is there; completes when it can be written to.
    ///
    /// # Errors
    /// The broker is away, or refuses the topic's name, number of partitions or configuration.
    pub async fn ensure_topic(&self, spec: &TopicSpec) -> Result<TopicOutcome, Error> {
        let mut topic = NewTopic::new(
            &spec.name,
            spec.partitions,
            TopicReplication::Fixed(replication(spec)?),
        );
        for (name, value) in spec.config.iter().filter(|(name, _)| *name != REPLICATION_FACTOR) {
            topic = topic.set(name, value);
        }
        let options = AdminOptions::new()
            .request_timeout(Some(ANSWER_WAIT))
            .operation_timeout(Some(CREATE_WAIT));
        let created = self
            .client
            .create_topics([&topic], &options)
            .await
            .map_err(Error::kafka("create a topic"))?;
        match created.into_iter().next() {
            Some(Ok(_)) => {
                self.await_served(&spec.name).await?;
                Ok(TopicOutcome::Created)
            }
            Some(Err((_, Code::TopicAlreadyExists))) => {
                let partitions = self.partitions(&spec.name).await?.len();
                Ok(TopicOutcome::Present {
                    partitions: i32::try_from(partitions).unwrap_or(i32::MAX),
                })
            }
            Some(Err((_, code))) => Err(Error::kafka("create a topic")(KafkaError::AdminOp(code))),
            None => Err(Error::TimedOut("create a topic")),
        }
    }

    /// The topic's partitions, ascending.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`] when there is no such topic; the broker is away.
    pub async fn partitions(&self, topic: &str) -> Result<Vec<i32>, Error> {
        let found = self
            .metadata()
            .await?
            .into_iter()
            .find(|known| known.name == topic);
        let partitions = found
            .ok_or_else(|| Error::UnknownTopic(topic.to_owned()))?
            .partitions;
        // A topic without partitions is one that its broker does not know well yet.
        if partitions.is_empty() {
            Err(Error::TimedOut("list a topic's partitions"))
        } else {
            Ok(partitions)
        }
    }

    /// The names of all topics, Kafka's internal ones too.
    ///
    /// # Errors
    /// The broker is away.
    pub async fn topics(&self) -> Result<Vec<String>, Error> {
        Ok(self
            .metadata()
            .await?
            .into_iter()
            .map(|topic| topic.name)
            .collect())
    }

    /// The largest record that the topic takes, bytes; `None`: it is not known, since the broker does not tell (a client
    /// may write to a topic and not see its settings) or since records are compressed first.
    pub async fn record_bytes_max(&self, topic: &str) -> Option<usize> {
        if self
            .kafka
            .properties
            .keys()
            .any(|name| name.starts_with("compression."))
        {
            return None;
        }
        let options = AdminOptions::new().request_timeout(Some(ANSWER_WAIT));
        let topic = ResourceSpecifier::Topic(topic);
        let told = self.client.describe_configs([&topic], &options).await.ok()?;
        let told = told.into_iter().next()?.ok()?;
        told.get("max.message.bytes")?.value.as_ref()?.parse().ok()
    }

    /// The partition's first kept offset and the one that its next record will get.
    ///
    /// # Errors
    /// The broker is away, or there is no such partition.
    pub async fn watermarks(&self, topic: &str, partition: i32) -> Result<(i64, i64), Error> {
        let topic = topic.to_owned();
        let found = self
            .blocking(move |client| client.inner().fetch_watermarks(&topic, partition, ANSWER_WAIT))
            .await;
        found.map_err(Error::kafka("tell watermarks"))
    }

    /// Succeeds when a broker answers.
    ///
    /// # Errors
    /// None does.
    pub async fn ping(&self) -> Result<(), Error> {
        self.metadata().await.map(drop)
    }

    /// For each of `partitions`, what `pick` makes of its last committed record that it makes anything of, among the
    /// last `look_back_max` offsets; partitions without one are left out.
    ///
    /// # Errors
    /// The broker is away.
    pub async fn last_matching<T: Send + 'static>(
        &self,
        topic: &str,
        partitions: Vec<i32>,
        look_back_max: i64,
        pick: impl Fn(&Record) -> Option<T> + Send + 'static,
    ) -> Result<BTreeMap<i32, T>, Error> {
        // Over the connection that is there: where all partitions are empty, no reader needs to be started.
        let mut logs = BTreeMap::new();
        for partition in partitions {
            let log = self.watermarks(topic, partition).await?;
            if log.0 < log.1 {
                logs.insert(partition, log);
            }
        }
        if logs.is_empty() {
            return Ok(BTreeMap::new());
        }
        let (kafka, topic) = (self.kafka.clone(), topic.to_owned());
        run_blocking(move || last_matching(&kafka, &topic, logs, look_back_max, pick)).await
    }

    /// The controller answers before the brokers know, and a broker lists a partition before it serves it.
    async fn await_served(&self, topic: &str) -> Result<(), Error> {
        let deadline = Instant::now() + CREATE_WAIT;
        while !self.is_served(topic).await? {
            if Instant::now() >= deadline {
                return Err(Error::TimedOut("serve a new topic"));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    async fn is_served(&self, topic: &str) -> Result<bool, Error> {
        let found = self
            .metadata()
            .await?
            .into_iter()
            .find(|known| known.name == topic);
        let Some(partitions) = found.map(|topic| topic.partitions) else {
            return Ok(false);
        };
        for &partition in &partitions {
            if self.watermarks(topic, partition).await.is_err() {
                return Ok(false);
            }
        }
        Ok(!partitions.is_empty())
    }

    /// All topics. Asking for one by name could make it, where the broker is set so.
    async fn metadata(&self) -> Result<Vec<Topic>, Error> {
        let metadata = self
            .blocking(|client| client.inner().fetch_metadata(None, ANSWER_WAIT))
            .await;
        Ok(metadata
            .map_err(Error::kafka("list topics"))?
            .topics()
            .iter()
            .map(Topic::of)
            .collect())
    }

    async fn blocking<T: Send + 'static>(
        &self,
        call: impl FnOnce(&AdminClient<Quiet>) -> T + Send + 'static,
    ) -> T {
        let client = Arc::clone(&self.client);
        run_blocking(move || call(&client)).await
    }
}

/// What the cluster tells of a topic.
struct Topic {
    name: String,
    /// Ascending.
    partitions: Vec<i32>,
}

impl Topic {
    fn of(metadata: &rdkafka::metadata::MetadataTopic) -> Self {
        let mut partitions: Vec<i32> = metadata
            .partitions()
            .iter()
            .map(|partition| partition.id())
            .collect();
        partitions.sort_unstable();
        Self {
            name: metadata.name().to_owned(),
            partitions,
        }
    }
}

const REPLICATION_FACTOR: &str = "replication.factor";

/// -1 asks for the broker's default.
fn replication(spec: &TopicSpec) -> Result<i32, Error> {
    let Some(text) = spec.config.get(REPLICATION_FACTOR) else {
        return Ok(-1);
    };
    text.parse().map_err(|_| {
        Error::Setup(format!(
            "`{REPLICATION_FACTOR}` of topic `{}` is not a number",
            spec.name
        ))
    })
}

async fn run_blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(call).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
