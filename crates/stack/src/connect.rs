//! A local Kafka Connect that runs one connector, for whoever uses one in place of a program of their own. Unlike the
//! stack's parts it is started when its user is ready for it, since a connector wants its tables to be there.

use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::cache::Entry;
use crate::data_dir::{DataDir, fnv1a};
use crate::error::Error;
use crate::find::Java;
use crate::kafka::LOGGING;
use crate::launch::Launch;
use crate::options::Part;
use crate::port::{self, HeldPort};
use crate::probe::{Probe, TOKEN_HEADER};
use crate::progress::Progress;
use crate::start::Managed;
use crate::token::token;
use crate::tools::Tools;

const DIRECTORY: &str = "connect";
const WORKER: &str = "worker.properties";
const CONNECTOR: &str = "connector.properties";
const OFFSETS: &str = "offsets";
const OFFSETS_FILE: &str = "offset.storage.file.filename";
/// It gives its tasks five seconds by itself.
const STOP_WAIT_MAX: Duration = Duration::from_secs(15);

/// What is to be run.
#[derive(Clone)]
pub struct ConnectOptions {
    /// What is fetched, for a reader: `Debezium 3.6.3.Final`.
    pub title: String,
    /// A Maven project whose run-time dependencies are Kafka Connect and the connector.
    pub pom: String,
    /// The worker's properties. Where it listens and keeps its offsets is added here.
    pub worker: String,
    /// The connector's properties, its `name` among them.
    pub connector: String,
    /// Environment variables, for `${env:NAME}` in both.
    pub environment: Vec<(String, String)>,
    /// Arguments of its Java virtual machine.
    pub jvm: Vec<String>,
    /// As a worker of a group, the one mode with exactly-once delivery, instead of alone. The worker's properties then
    /// name the group and its topics.
    pub is_distributed: bool,
}

/// A running Kafka Connect. Dropping it ends it, without waiting.
pub struct Connect {
    managed: Managed,
    progress: Arc<dyn Progress>,
}

impl Connect {
    pub(crate) async fn start(
        directory: &DataDir,
        options: &ConnectOptions,
        progress: Arc<dyn Progress>,
    ) -> Result<Self, Error> {
        let tools = Tools::find(directory.user, Arc::clone(&progress)).await?;
        let java = tools.java()?;
        let jars = jars(&tools, options).await?;
        prepare(directory)?;
        let launch = launch(directory, java, &jars, options, port::free()?)?;
        let process = Box::pin(launch.start(progress.as_ref())).await?;
        Ok(Self {
            managed: Managed::new(launch, process),
            progress,
        })
    }

    /// The base address of its REST interface.
    pub fn url(&self) -> String {
        format!("http://{}", self.managed.launch.address())
    }

    /// Its process, while it runs.
    pub async fn process_id(&self) -> Option<u32> {
        self.managed.process_id().await
    }

    /// Kills it (`SIGKILL`) and waits until it is gone. It stays down until [`Connect::restart`].
    ///
    /// # Errors
    /// When it is not running.
    pub async fn kill(&self) -> Result<(), Error> {
        let process = self.managed.process.lock().await.take();
        process.ok_or(Error::NotRunning(Part::Connect))?.kill().await;
        Ok(())
    }

    /// Starts it again, with the offsets that it has, stopping it in order first if it runs; waits until the connector
    /// runs.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn restart(&self) -> Result<(), Error> {
        self.managed.restart(self.progress.as_ref()).await
    }

    /// Completes when its process has ended by itself, with the end of its log. A connector that gives up does not end
    /// the process.
    pub async fn died(&self) -> String {
        self.managed.died().await;
        self.managed.log_end()
    }

    /// Stops it in order, and kills it when that takes too long.
    pub async fn stop(self) {
        if let Some(process) = self.managed.process.into_inner() {
            process.stop().await;
        }
    }
}

impl fmt::Debug for Connect {
    /// Leaves out the environment: it may hold passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("url", &self.url())
            .finish_non_exhaustive()
    }
}

/// The directory of the jars. It is named by what is in it, since the caller may ask for something else next time.
pub(crate) async fn jars(tools: &Tools, options: &ConnectOptions) -> Result<PathBuf, Error> {
    let name = format!("connect-{:016x}", fnv1a(options.pom.as_bytes()));
    let entry = match tools.cache.entry(&name).await? {
        Entry::Complete(entry) => entry,
        Entry::Absent(filling) => {
            let maven = tools.maven()?;
            tools.fetching(options.title.clone());
            maven.dependencies(&options.pom, filling.directory()).await?;
            filling.complete()?
        }
    };
    tools.found(Part::Connect.name(), &options.title, &entry);
    Ok(entry.join("jars"))
}

/// Makes its directory, and forgets the offsets of an earlier one: another connector may have used the slot since, and
/// with older offsets than the slot's a connector refuses to run.
fn prepare(directory: &DataDir) -> Result<(), Error> {
    let home = directory.path(DIRECTORY);
    if !home.exists() {
        directory.complete(&directory.staging(DIRECTORY)?, DIRECTORY)?;
    }
    let offsets = home.join(OFFSETS);
    if offsets.exists() {
        fs::remove_file(&offsets).map_err(Error::io("cannot remove", &offsets))?;
    }
    Ok(())
}

fn launch(
    directory: &DataDir,
    java: &Java,
    jars: &Path,
    options: &ConnectOptions,
    port: HeldPort,
) -> Result<Launch, Error> {
    let home = directory.path(DIRECTORY);
    let token = token()?;
    let write = |name: &str, text: &str| {
        let path = home.join(name);
        fs::write(&path, text).map_err(Error::io("cannot write", &path))
    };
    write("log4j2.properties", LOGGING)?;
    write(WORKER, &worker(options, &home, port.number(), &token))?;
    write(CONNECTOR, &options.connector)?;

    let mut arguments: Vec<OsString> = options.jvm.iter().map(Into::into).collect();
    arguments.push("-Dlog4j2.configurationFile=log4j2.properties".into());
    arguments.extend(["-cp".into(), jars.join("*").into()]);
    let mode = if options.is_distributed {
        "Distributed"
    } else {
        "Standalone"
    };
    arguments.push(format!("org.apache.kafka.connect.cli.Connect{mode}").into());
    arguments.push(WORKER.into());
    if !options.is_distributed {
        arguments.push(CONNECTOR.into());
    }
    Ok(Launch {
        part: Part::Connect,
        program: java.program.clone(),
        arguments,
        environment: options.environment.clone(),
        directory: home,
        log: directory.log(Part::Connect),
        pid_file: directory.pid_file(Part::Connect),
        user: directory.user,
        probe: Probe::Connect {
            port: port.number(),
            token,
            connector: property(&options.connector, "name")
                .unwrap_or_default()
                .to_owned(),
            create: options.is_distributed.then(|| json(&options.connector)),
        },
        port,
        inner_ports: Vec::new(),
        stop_wait_max: STOP_WAIT_MAX,
    })
}

/// Of two lines for one property the later counts. A group keeps its offsets in Kafka, and would take a file's name for a
/// setting of that topic.
fn worker(options: &ConnectOptions, home: &Path, port: u16, token: &str) -> String {
    let mut text = String::new();
    for line in options
        .worker
        .lines()
        .filter(|line| !line.starts_with(OFFSETS_FILE))
    {
        text.push_str(line);
        text.push('\n');
    }
    let mut set = |name: &str, value: &dyn fmt::Display| {
        writeln!(text, "{name}={value}").expect("writing to a string cannot fail");
    };
    set("listeners", &format_args!("http://127.0.0.1:{port}"));
    set(
        "response.http.headers.config",
        &format_args!("add {TOKEN_HEADER}: {token}"),
    );
    if !options.is_distributed {
        set(OFFSETS_FILE, &home.join(OFFSETS).display());
    }
    text
}

fn properties(text: &str) -> impl DoubleEndedIterator<Item = (&str, &str)> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('='))
}

fn property<'text>(text: &'text str, name: &str) -> Option<&'text str> {
    properties(text)
        .rev()
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

/// The properties as one JSON object, as which a group of workers takes a connector. Of two of a name the later counts.
fn json(text: &str) -> String {
    let mut object = String::from("{");
    for (name, value) in properties(text) {
        let comma = if object.len() > 1 { "," } else { "" };
        let value = value.replace('\\', "\\\\").replace('"', "\\\"");
        write!(object, "{comma}\"{name}\":\"{value}\"").expect("writing to a string cannot fail");
    }
    object + "}"
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROPERTIES: &str = "# a=b\nname=x\n\nregex=a\\.\"b\"=c\n";

    #[test]
    fn properties_are_lines_with_a_name_and_of_two_the_later_counts() {
        assert_eq!(property(PROPERTIES, "name"), Some("x"));
        assert_eq!(property("name=x\nname=y", "name"), Some("y"));
        assert_eq!(property(PROPERTIES, "a"), None);
    }

    #[test]
    fn json_keeps_what_a_value_says() {
        assert_eq!(json(PROPERTIES), r#"{"name":"x","regex":"a\\.\"b\"=c"}"#);
        assert_eq!(json(""), "{}");
    }
}
