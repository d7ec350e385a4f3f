//! Real stacks, and what is left of them. Few starts, because each takes seconds.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use posthaste_stack::{Error, Part, Stack, StackOptions, temporary};
use tokio_postgres::NoTls;

const PARTS: [Part; 3] = [Part::Postgres, Part::Kafka, Part::Registry];
const SCHEMA: &str = r#"{"schema":"{\"type\":\"record\",\"name\":\"A\",\"fields\":[]}"}"#;
const TOPIC_EXISTS: i16 = 36;

#[tokio::test]
async fn a_stack_survives_crashes_restarts_and_a_second_start_with_its_data() {
    let directory = tempfile::Builder::new()
        .permissions(mode(0o755))
        .tempdir()
        .unwrap();
    let stack = Stack::start(StackOptions::new(directory.path())).await.unwrap();

    execute(stack.database_url(), "CREATE TABLE kept AS SELECT 1").await;
    assert_eq!(create_topic(stack.kafka_bootstrap()), 0);
    let schema_id = register(stack.registry_url());
    assert!(http(stack.registry_url(), "GET", "/config", "").contains("BACKWARD"));

    let error = Stack::start(StackOptions::new(directory.path()))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::InUse { pid, .. } if pid == std::process::id().to_string()));

    for part in PARTS {
        stack.kill(part).await.unwrap();
        assert!(matches!(stack.kill(part).await, Err(Error::NotRunning(_))));
        stack.restart(part).await.unwrap();
    }
    stack.pause(Part::Postgres).await.unwrap();
    stack.resume(Part::Postgres).await.unwrap();
    stack.restart(Part::Postgres).await.unwrap();
    // The addresses are still those of the first start.
    execute(stack.database_tcp_url(), "INSERT INTO kept VALUES (2)").await;
    assert_eq!(create_topic(stack.kafka_bootstrap()), TOPIC_EXISTS);
    assert_eq!(register(stack.registry_url()), schema_id);

    let processes = processes(directory.path());
    assert_eq!(processes.len(), PARTS.len());
    stack.stop().await.unwrap();
    assert_eq!(living(&processes), [0; 0]);

    let stack = Stack::start(StackOptions::new(directory.path())).await.unwrap();
    execute(stack.database_url(), "INSERT INTO kept VALUES (3)").await;
    assert_eq!(create_topic(stack.kafka_bootstrap()), TOPIC_EXISTS);
    assert_eq!(register(stack.registry_url()), schema_id);
    stack.stop().await.unwrap();
}

#[tokio::test]
async fn a_dropped_temporary_stack_leaves_neither_processes_nor_files() {
    let stack = temporary().await.unwrap();
    let directory = data_directory(stack.database_url());
    let processes = processes(&directory);
    assert_eq!(processes.len(), PARTS.len());
    // Paused ones do not hear a polite signal.
    stack.pause(Part::Kafka).await.unwrap();
    drop(stack);
    assert_eq!(living(&processes), [0; 0]);
    assert!(!directory.exists());
}

#[test]
fn a_killed_process_leaves_no_part_running() {
    let directory = tempfile::Builder::new()
        .permissions(mode(0o755))
        .tempdir()
        .unwrap();
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "run_a_stack_until_killed", "--ignored", "--nocapture"])
        .env("STACK_DIRECTORY", directory.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(parent.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("the stack runs")));
    let processes = processes(directory.path());
    assert_eq!(processes.len(), PARTS.len());
    parent.kill().unwrap();
    parent.wait().unwrap();

    // The watchers give the parts a few seconds to end in order.
    let begun = Instant::now();
    while !living(&processes).is_empty() && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(living(&processes), [0; 0]);
}

#[tokio::test]
#[ignore = "the process that another test kills"]
async fn run_a_stack_until_killed() {
    let Some(directory) = std::env::var_os("STACK_DIRECTORY") else {
        return;
    };
    let _stack = Stack::start(StackOptions::new(directory)).await.unwrap();
    writeln!(io::stdout(), "the stack runs").unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn parts_given_by_address_are_not_run() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = StackOptions::new(directory.path());
    options.database_url = Some("postgresql://db.internal/tasks".into());
    options.kafka = Some("kafka.internal:9092".into());
    options.registry_url = Some("http://registry.internal".into());
    let stack = Stack::start(options).await.unwrap();
    assert_eq!(stack.database_url(), "postgresql://db.internal/tasks");
    assert_eq!(stack.kafka_bootstrap(), "kafka.internal:9092");
    assert_eq!(stack.registry_url(), "http://registry.internal");
    for part in PARTS {
        assert!(matches!(stack.restart(part).await, Err(Error::NotManaged(named)) if named == part));
    }
}

fn mode(mode: u32) -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(mode)
}

async fn execute(url: &str, sql: &str) {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    client.batch_execute(sql).await.unwrap();
    drop(client);
    connection.await.unwrap().unwrap();
}

/// CreateTopics, version 2, for one topic of one partition; its error code.
fn create_topic(bootstrap: &str) -> i16 {
    let mut body = vec![0, 19, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 4];
    body.extend_from_slice(b"kept");
    body.extend_from_slice(&[0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    body.extend_from_slice(&[0, 0, 0x27, 0x10, 0]);
    let mut stream = TcpStream::connect(bootstrap).unwrap();
    stream
        .write_all(&u32::try_from(body.len()).unwrap().to_be_bytes())
        .unwrap();
    stream.write_all(&body).unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).unwrap();
    // Correlation, throttle time, count of topics, length of the name, the name; then the code.
    let code = 4 + 4 + 4 + 2 + 4;
    i16::from_be_bytes([answer[code], answer[code + 1]])
}

fn register(registry: &str) -> String {
    let answer = http(registry, "POST", "/subjects/kept/versions", SCHEMA);
    answer
        .rsplit("\"id\":")
        .next()
        .unwrap()
        .chars()
        .take_while(char::is_ascii_digit)
        .collect()
}

fn http(base: &str, method: &str, path: &str, body: &str) -> String {
    let (host, prefix) = base.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let length = body.len();
    let head = format!("{method} /{prefix}{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    let mut stream = TcpStream::connect(host).unwrap();
    write!(
        stream,
        "{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer
}

/// The parts' pids, and those of Postgres' children.
fn processes(directory: &Path) -> Vec<u32> {
    let files = fs::read_dir(directory.join("stack/run"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "pid"))
        .map(|path| {
            fs::read_to_string(path)
                .unwrap()
                .split(' ')
                .next()
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect()
}

/// Those of `pids` that still run: a zombie that nobody has waited for does not.
fn living(pids: &[u32]) -> Vec<u32> {
    let runs = |pid: &&u32| {
        let output = Command::new("ps")
            .args(["-o", "stat=", "-p", &pid.to_string()])
            .output()
            .unwrap();
        let state = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        !state.is_empty() && !state.starts_with('Z')
    };
    pids.iter().filter(runs).copied().collect()
}

/// From `postgresql://posthaste@%2Ftmp%2F…%2Fstack%2Frun:5432/posthaste`.
fn data_directory(url: &str) -> PathBuf {
    let host = url.split('@').nth(1).unwrap().split(':').next().unwrap();
    Path::new(&host.replace("%2F", "/"))
        .ancestors()
        .nth(2)
        .unwrap()
        .to_owned()
}
