//! The local schema registry: Apicurio, which serves Confluent's API and keeps its schemas in the local Postgres, where
//! they survive what its own file does not.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cache::Entry;
use crate::data_dir::DataDir;
use crate::error::Error;
use crate::find::Java;
use crate::launch::Launch;
use crate::maven;
use crate::options::Part;
use crate::port::HeldPort;
use crate::postgres;
use crate::probe::{Probe, TOKEN_HEADER};
use crate::token::token;
use crate::tools::Tools;

/// The newest that runs on Java 17.
const VERSION: &str = "3.0.9";
const STOP_WAIT_MAX: Duration = Duration::from_secs(10);

/// The directory of the application.
pub(crate) async fn application(tools: &Tools) -> Result<PathBuf, Error> {
    let entry = match tools.cache.entry(&format!("apicurio-registry-{VERSION}")).await? {
        Entry::Complete(entry) => entry,
        Entry::Absent(filling) => {
            let maven = tools.maven()?;
            tools.fetching(format!("Apicurio Registry {VERSION}"));
            let archive = filling.directory().join("archive.tar.gz");
            let coordinates = format!("io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all");
            maven.artifact(&coordinates, &archive).await?;
            maven::untar(&archive, filling.directory()).await?;
            fs::remove_file(&archive).map_err(Error::io("cannot remove", &archive))?;
            filling.complete()?
        }
    };
    tools.found(Part::Registry.name(), VERSION, &entry);
    Ok(entry)
}

/// How the registry is served on `port`, over the Postgres on `postgres_port`.
pub(crate) fn launch(
    directory: &DataDir,
    java: &Java,
    application: &Path,
    port: HeldPort,
    postgres_port: u16,
) -> Result<Launch, Error> {
    let token = token()?;
    let database = postgres::REGISTRY_DATABASE;
    let jar = application.join(format!("apicurio-registry-app-{VERSION}-runner.jar"));
    let mut arguments: Vec<OsString> = [
        "-Xmx256m",
        "-Xshare:auto",
        "-XX:TieredStopAtLevel=1",
        "-XX:+UseSerialGC",
        "-XX:-UsePerfData",
    ]
    .map(Into::into)
    .into();
    arguments.extend(
        [
            "-Dquarkus.http.host=127.0.0.1".to_owned(),
            format!("-Dquarkus.http.port={}", port.number()),
            format!("-Dquarkus.http.header.\"{TOKEN_HEADER}\".value={token}"),
            "-Dquarkus.banner.enabled=false".to_owned(),
            "-Dquarkus.log.level=WARN".to_owned(),
            "-Dquarkus.log.category.\"io.apicurio\".level=WARN".to_owned(),
            "-Dquarkus.http.access-log.enabled=false".to_owned(),
            "-Dapicurio.storage.sql.kind=postgresql".to_owned(),
            format!("-Dapicurio.datasource.url=jdbc:postgresql://127.0.0.1:{postgres_port}/{database}"),
            format!("-Dapicurio.datasource.username={}", postgres::NAME),
            "-Dapicurio.datasource.password=unused".to_owned(),
            // It opens 20 sessions by default, and answers with an error from each that a restart of Postgres broke.
            "-Dquarkus.datasource.postgresql.jdbc.initial-size=1".to_owned(),
            "-Dquarkus.datasource.postgresql.jdbc.min-size=1".to_owned(),
            "-Dquarkus.datasource.postgresql.jdbc.max-size=8".to_owned(),
            "-Dquarkus.datasource.postgresql.jdbc.validate-on-borrow=true".to_owned(),
            // Without it white space alone makes a new schema id.
            "-Dapicurio.ccompat.use-canonical-hash=true".to_owned(),
        ]
        .map(Into::into),
    );
    arguments.extend(["-jar".into(), jar.into()]);
    Ok(Launch {
        part: Part::Registry,
        program: java.program.clone(),
        arguments,
        environment: Vec::new(),
        directory: directory.path(""),
        log: directory.log(Part::Registry),
        pid_file: directory.pid_file(Part::Registry),
        user: directory.user,
        probe: Probe::Registry {
            port: port.number(),
            token,
        },
        port,
        inner_ports: Vec::new(),
        stop_wait_max: STOP_WAIT_MAX,
    })
}

/// The address of its Confluent-compatible API.
pub(crate) fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}/apis/ccompat/v7")
}
