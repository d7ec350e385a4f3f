//! The local Postgres: which programs, how the cluster is made, and its settings.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use crate::cache::Entry;
use crate::command;
use crate::data_dir::DataDir;
use crate::error::{Error, Missing};
use crate::find::{self, PostgresPrograms};
use crate::launch::Launch;
use crate::maven;
use crate::options::Part;
use crate::port::HeldPort;
use crate::probe::Probe;
use crate::secure::{POSTGRES_SETTINGS, Secure};
use crate::tools::Tools;

/// The superuser, and the database of the tasks.
pub(crate) const NAME: &str = "posthaste";
/// The database in which the registry keeps its schemas.
pub(crate) const REGISTRY_DATABASE: &str = "registry";

const CLUSTER: &str = "postgres";
/// Published programs that are fetched where none is installed, the one to take unless another is wanted first.
const PUBLISHED: [(u32, &str); 2] = [(18, "18.1.0"), (17, "17.7.0")];
/// A fast shutdown writes a checkpoint, of up to `max_wal_size`.
const STOP_WAIT_MAX: Duration = Duration::from_secs(30);

/// Durable, like production; sized for sustained writes on a developer's machine.
const SETTINGS: &str = "\
listen_addresses = '127.0.0.1'
max_connections = 200
shared_buffers = 256MB
wal_level = logical
max_replication_slots = 20
max_wal_senders = 20
fsync = on
synchronous_commit = on
wal_compression = off
max_wal_size = 2GB
min_wal_size = 256MB
checkpoint_timeout = 15min
# A segment that is filled first holds up all commits for tens of milliseconds where memory or disk are slow to come by.
wal_init_zero = off
log_checkpoints = off
timezone = 'UTC'
log_timezone = 'UTC'
# Compiling a query takes longer than any of the short ones that run here.
jit = off
";

/// The programs for the cluster in `directory`: of its own major version if there is one, else of `wanted`, else the newest
/// installed, else fetched ones.
pub(crate) async fn programs(
    directory: &DataDir,
    tools: &Tools,
    wanted: Option<u32>,
) -> Result<PostgresPrograms, Error> {
    let cluster = directory.path(CLUSTER);
    let written_by = fs::read_to_string(cluster.join("PG_VERSION"))
        .ok()
        .and_then(|text| text.trim().parse().ok());
    let installed = find::postgres(|path| directory.user.is_none_or(|user| user.can_reach(path))).await;
    let major = written_by.or(wanted);
    let fits = |programs: &&PostgresPrograms| major.is_none_or(|major| programs.major == major);
    let published = PUBLISHED
        .iter()
        .find(|(published, _)| major.is_none_or(|major| major == *published));
    let programs = match (installed.iter().find(fits), published) {
        (Some(programs), _) => programs.clone(),
        (None, Some((_, version))) => fetched(tools, version).await?,
        (None, None) => {
            let found = installed
                .first()
                .map_or(PUBLISHED[0].0, |programs| programs.major);
            return Err(match (written_by, wanted) {
                (None, Some(major)) => Error::PostgresUnpublished { major },
                (have, _) => Error::PostgresVersion {
                    path: cluster,
                    have: have.unwrap_or_default(),
                    found,
                },
            });
        }
    };
    tools.found(Part::Postgres.name(), &programs.version, &programs.directory);
    Ok(programs)
}

/// Binaries that are published for machines without a package of Postgres.
async fn fetched(tools: &Tools, version: &str) -> Result<PostgresPrograms, Error> {
    let platform = platform().ok_or(Error::Missing(Missing::Postgres))?;
    let entry = match tools.cache.entry(&format!("postgres-{version}")).await? {
        Entry::Complete(entry) => entry,
        Entry::Absent(filling) => {
            let maven = tools.maven()?;
            tools.fetching(format!("Postgres {version}"));
            let directory = filling.directory();
            let artifact = format!("embedded-postgres-binaries-{platform}:{version}");
            maven
                .unpack(&format!("io.zonky.test.postgres:{artifact}"), directory)
                .await?;
            let archive = archive_in(directory).ok_or(Error::Missing(Missing::Postgres))?;
            maven::untar(&archive, directory).await?;
            fs::remove_file(&archive).map_err(Error::io("cannot remove", &archive))?;
            filling.complete()?
        }
    };
    find::postgres_at(entry.join("bin"))
        .await
        .ok_or(Error::Missing(Missing::Postgres))
}

/// The archive is named by the platform's own word for its processor.
fn archive_in(directory: &Path) -> Option<PathBuf> {
    let mut files = fs::read_dir(directory).ok()?.flatten().map(|entry| entry.path());
    files.find(|path| path.extension().is_some_and(|extension| extension == "txz"))
}

/// This machine's name in the published binaries.
fn platform() -> Option<&'static str> {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => Some("linux-amd64"),
        ("linux", "aarch64") => Some("linux-arm64v8"),
        ("macos", "x86_64") => Some("darwin-amd64"),
        ("macos", "aarch64") => Some("darwin-arm64v8"),
        _ => None,
    }
}

/// Makes the cluster, with its role and databases, unless it is there.
pub(crate) async fn create(
    directory: &DataDir,
    programs: &PostgresPrograms,
    secure: Option<&Secure>,
) -> Result<(), Error> {
    let cluster = directory.path(CLUSTER);
    if !cluster.exists() {
        let staging = directory.staging(CLUSTER)?;
        let initdb = [
            "-E",
            "UTF8",
            "--locale=C",
            "-U",
            NAME,
            "--auth=trust",
            "--no-instructions",
            "-D",
        ];
        command::run(
            as_user(directory, &programs.directory.join("initdb"))
                .args(initdb)
                .arg(&staging),
            "",
        )
        .await?;
        include_settings(&staging)?;
        let sql = format!("CREATE DATABASE {NAME};\nCREATE DATABASE {REGISTRY_DATABASE};\n");
        let mut single = as_user(directory, &programs.directory.join("postgres"));
        command::run(
            single.arg("--single").arg("-D").arg(&staging).arg("template1"),
            &sql,
        )
        .await?;
        directory.complete(&staging, CLUSTER)?;
    }
    if let Some(secure) = secure {
        secure.write_postgres(directory, &cluster)?;
    }
    write_settings(&cluster, secure.is_some())
}

/// In a file of their own, so that a newer version of this crate changes them and `ALTER SYSTEM` can overrule them.
fn write_settings(cluster: &Path, is_secure: bool) -> Result<(), Error> {
    let path = cluster.join("posthaste.conf");
    let more = if is_secure { POSTGRES_SETTINGS } else { "" };
    fs::write(&path, format!("{SETTINGS}{more}")).map_err(Error::io("cannot write", &path))
}

fn include_settings(cluster: &Path) -> Result<(), Error> {
    let path = cluster.join("postgresql.conf");
    let text = fs::read_to_string(&path).map_err(Error::io("cannot read", &path))?;
    fs::write(&path, text + "\ninclude_if_exists = 'posthaste.conf'\n")
        .map_err(Error::io("cannot write", &path))
}

/// A helper program, run as the parts are. Its environment has no `PG*` variable that would lead it elsewhere.
fn as_user(directory: &DataDir, program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("LC_ALL", "C");
    command.current_dir(directory.path(""));
    if let Some(user) = directory.user {
        command.uid(user.uid).gid(user.gid);
    }
    command
}

/// How the cluster is served on `port`.
pub(crate) fn launch(directory: &DataDir, programs: &PostgresPrograms, port: HeldPort) -> Launch {
    let cluster = directory.path(CLUSTER);
    let socket = directory.socket_directory();
    Launch {
        part: Part::Postgres,
        program: programs.directory.join("postgres"),
        arguments: vec![
            "-D".into(),
            cluster.clone().into(),
            "-p".into(),
            port.number().to_string().into(),
            "-k".into(),
            socket.into(),
        ],
        environment: Vec::new(),
        directory: cluster,
        log: directory.log(Part::Postgres),
        pid_file: directory.pid_file(Part::Postgres),
        user: directory.user,
        probe: Probe::Postgres {
            socket: socket.join(format!(".s.PGSQL.{}", port.number())),
            user: NAME,
            database: NAME,
        },
        port,
        inner_ports: Vec::new(),
        stop_wait_max: STOP_WAIT_MAX,
    }
}

/// The address of the tasks' database over TCP.
pub(crate) fn tcp_url(port: u16) -> String {
    format!("postgresql://{NAME}@127.0.0.1:{port}/{NAME}")
}

/// The same over the Unix socket, whose directory stands, percent-encoded, for the host.
pub(crate) fn socket_url(directory: &Path, port: u16) -> String {
    let mut host = String::new();
    for byte in directory.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                host.push(char::from(*byte))
            }
            byte => host.push_str(&format!("%{byte:02X}")),
        }
    }
    format!("postgresql://{NAME}@{host}:{port}/{NAME}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_directory_is_encoded_where_a_host_stands() {
        assert_eq!(
            socket_url(Path::new("/tmp/a b@:/run"), 5432),
            "postgresql://posthaste@%2Ftmp%2Fa%20b%40%3A%2Frun:5432/posthaste"
        );
    }
}
