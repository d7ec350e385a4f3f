//! The local Kafka: Apache Kafka's own jars, one node that is broker and controller.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use crate::cache::Entry;
use crate::command;
use crate::data_dir::DataDir;
use crate::error::Error;
use crate::find::Java;
use crate::launch::Launch;
use crate::options::Part;
use crate::port::HeldPort;
use crate::probe::Probe;
use crate::secure::{self, Secure};
use crate::token::token;
use crate::tools::Tools;

const VERSION: &str = "4.3.1";
const POM: &str = include_str!("kafka.pom.xml");
const LOG: &str = "kafka";
const STOP_WAIT_MAX: Duration = Duration::from_secs(15);

/// Refuses a data directory that Kafka's settings cannot name: `log.dirs` is a list parted by commas, in a file where a
/// backslash escapes, and under `LC_ALL=C` Java knows no file names beyond ASCII.
pub(crate) fn check_path(directory: &DataDir) -> Result<(), Error> {
    let path = directory.path(LOG);
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b',' | b'\\');
    if path.as_os_str().as_encoded_bytes().iter().all(is_plain) {
        Ok(())
    } else {
        Err(Error::KafkaPath { path })
    }
}

/// The directory of the jars.
pub(crate) async fn jars(tools: &Tools) -> Result<PathBuf, Error> {
    let entry = match tools.cache.entry(&format!("kafka-{VERSION}")).await? {
        Entry::Complete(entry) => entry,
        Entry::Absent(filling) => {
            let maven = tools.maven()?;
            tools.fetching(format!("Kafka {VERSION}"));
            maven
                .dependencies(&POM.replace("@VERSION@", VERSION), filling.directory())
                .await?;
            filling.complete()?
        }
    };
    tools.found(Part::Kafka.name(), VERSION, &entry);
    Ok(entry.join("jars"))
}

/// Makes the log directory unless it is there.
pub(crate) async fn create(
    directory: &DataDir,
    java: &Java,
    jars: &Path,
    secure: Option<&Secure>,
) -> Result<(), Error> {
    let logging = directory.path("kafka-log4j2.properties");
    fs::write(&logging, LOGGING).map_err(Error::io("cannot write", &logging))?;
    if let Some(secure) = secure {
        secure.write_kafka(directory)?;
    }
    if directory.path(LOG).exists() {
        return Ok(());
    }
    let staging = directory.staging(LOG)?;
    // Ports have no meaning while the log is made, and any pair of them will do.
    let properties = directory.path("kafka-format.properties");
    let text = settings(directory, &staging, 9092, &[9093, 9094], secure.is_some());
    fs::write(&properties, text).map_err(Error::io("cannot write", &properties))?;
    let mut format = Command::new(&java.program);
    format
        .args(jvm_arguments(jars, &logging))
        .arg("kafka.tools.StorageTool");
    format
        .args(["format", "--cluster-id", &new_cluster_id()?, "--config"])
        .arg(&properties);
    format.args(secure.into_iter().flat_map(Secure::format_arguments));
    format.current_dir(directory.path(""));
    if let Some(user) = directory.user {
        format.uid(user.uid).gid(user.gid);
    }
    command::run(&mut format, "").await?;
    directory.complete(&staging, LOG)
}

/// How the log is served on `port`, the controller listening on the first inner port, set-up, where there is a second, on
/// that.
pub(crate) fn launch(
    directory: &DataDir,
    java: &Java,
    jars: &Path,
    port: HeldPort,
    inner_ports: Vec<HeldPort>,
) -> Result<Launch, Error> {
    let log = directory.path(LOG);
    let properties = directory.path("kafka.properties");
    let inner: Vec<u16> = inner_ports.iter().map(HeldPort::number).collect();
    let is_secure = inner.len() > 1;
    fs::write(
        &properties,
        settings(directory, &log, port.number(), &inner, is_secure),
    )
    .map_err(Error::io("cannot write", &properties))?;
    let mut arguments = jvm_arguments(jars, &directory.path("kafka-log4j2.properties"));
    arguments.extend(["kafka.Kafka".into(), properties.into()]);
    let probe = Probe::Kafka {
        port: *inner.get(1).unwrap_or(&port.number()),
        cluster_id: cluster_id_of(&log)?,
    };
    Ok(Launch {
        part: Part::Kafka,
        program: java.program.clone(),
        arguments,
        environment: Vec::new(),
        directory: log,
        log: directory.log(Part::Kafka),
        pid_file: directory.pid_file(Part::Kafka),
        user: directory.user,
        port,
        inner_ports,
        probe,
        stop_wait_max: STOP_WAIT_MAX,
    })
}

fn jvm_arguments(jars: &Path, logging: &Path) -> Vec<OsString> {
    let mut log4j = OsString::from("-Dlog4j2.configurationFile=");
    log4j.push(logging);
    let fixed = [
        "-Xms128m",
        "-Xmx512m",
        "-XX:+UseSerialGC",
        "-XX:-UsePerfData",
        "-XX:+ExitOnOutOfMemoryError",
    ];
    let mut arguments: Vec<OsString> = fixed.map(Into::into).into();
    arguments.extend([log4j, "-cp".into(), jars.join("*").into()]);
    arguments
}

/// Topics are made by whoever owns them, with their own retention; message sizes leave room for a 1 MiB body and its
/// framing; sessions and transactions
/// may be short, so that a test need not wait for a long one to end.
fn settings(directory: &DataDir, log: &Path, port: u16, inner_ports: &[u16], is_secure: bool) -> String {
    let controller_port = inner_ports[0];
    let listeners = if is_secure {
        secure::kafka_listeners(directory, port, inner_ports[1], controller_port)
    } else {
        plain_listeners(port, controller_port)
    };
    format!(
        "\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
{listeners}controller.listener.names=CONTROLLER
log.dirs={log}
auto.create.topics.enable=false
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=8
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.min.session.timeout.ms=1000
group.consumer.min.heartbeat.interval.ms=100
message.max.bytes=4194304
replica.fetch.max.bytes=4194304
log.cleaner.dedupe.buffer.size=16777216
",
        log = log.display()
    )
}

fn plain_listeners(port: u16, controller_port: u16) -> String {
    format!(
        "\
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
"
    )
}

/// Log4j's settings: warnings and worse, on standard output.
pub(crate) const LOGGING: &str = "\
status=error
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d{ISO8601} %p %c{1}: %m%n
rootLogger.level=warn
rootLogger.appenderRef.console.ref=console
";

/// A new id: 16 random bytes in URL-safe base64, of which hexadecimal digits are a part; the last digit of the 22 has
/// only two significant bits.
fn new_cluster_id() -> Result<String, Error> {
    Ok(format!("{}A", &token()?[..21]))
}

/// The id that the log was made with.
fn cluster_id_of(log: &Path) -> Result<String, Error> {
    let path = log.join("meta.properties");
    let failed = || Error::io("cannot read", &path);
    let text = fs::read_to_string(&path).map_err(failed())?;
    text.lines()
        .find_map(|line| line.strip_prefix("cluster.id="))
        .map(|id| id.trim().to_owned())
        .ok_or_else(|| failed()(io::Error::other("it names no cluster")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cluster_ids_differ_and_have_the_length_of_a_kafka_uuid() {
        let id = new_cluster_id().unwrap();
        assert_eq!(id.len(), 22);
        assert_ne!(id, new_cluster_id().unwrap());
    }
}
