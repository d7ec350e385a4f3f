//! Small clients of what a stack runs, and a look at its processes.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use tokio::io::copy_bidirectional;
use tokio::task::{JoinHandle, JoinSet};
use tokio_postgres::NoTls;

const SCHEMA: &str = r#"{"schema":"{\"type\":\"record\",\"name\":\"A\",\"fields\":[]}"}"#;

pub(crate) fn mode(mode: u32) -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(mode)
}

pub(crate) async fn execute(url: &str, sql: &str) {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    client.batch_execute(sql).await.unwrap();
    drop(client);
    connection.await.unwrap().unwrap();
}

/// CreateTopics, version 2, for one topic of one partition; its error code.
pub(crate) fn create_topic(bootstrap: &str) -> i16 {
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

pub(crate) fn register(registry: &str) -> String {
    let answer = http(registry, "POST", "/subjects/kept/versions", SCHEMA);
    answer
        .rsplit("\"id\":")
        .next()
        .unwrap()
        .chars()
        .take_while(char::is_ascii_digit)
        .collect()
}

pub(crate) fn http(base: &str, method: &str, path: &str, body: &str) -> String {
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

/// A port that nobody listens on now.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// Listens on the port of one address and passes what comes on to that of another.
pub(crate) async fn relay(from: &str, to: &str) -> JoinHandle<()> {
    let address = |text: &str| {
        let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>();
        let port = text.split_once("127.0.0.1:").unwrap().1;
        (Ipv4Addr::LOCALHOST, digits(port).parse::<u16>().unwrap())
    };
    let (listener, to) = (
        tokio::net::TcpListener::bind(address(from)).await.unwrap(),
        address(to),
    );
    tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut near, _)) = listener.accept().await {
            connections.spawn(async move {
                let mut far = tokio::net::TcpStream::connect(to).await.unwrap();
                // Whoever asked may be gone before the answer.
                let _copied = copy_bidirectional(&mut near, &mut far).await;
            });
        }
    })
}

/// Kills a part behind its stack's back.
pub(crate) fn kill_outside(directory: &Path, part: &str) {
    let pid = pid(&directory.join("stack/run").join(part).with_extension("pid"));
    let status = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
    assert!(status.unwrap().success());
}

fn pid(file: &Path) -> u32 {
    let text = fs::read_to_string(file).unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// The parts' pids.
pub(crate) fn processes(directory: &Path) -> Vec<u32> {
    let files = fs::read_dir(directory.join("stack/run"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "pid"))
        .map(|path| pid(&path))
        .collect()
}

/// Those of `pids` that still run: a zombie that nobody has waited for does not.
pub(crate) fn living(pids: &[u32]) -> Vec<u32> {
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
pub(crate) fn data_directory(url: &str) -> PathBuf {
    let host = url.split('@').nth(1).unwrap().split(':').next().unwrap();
    Path::new(&host.replace("%2F", "/"))
        .ancestors()
        .nth(2)
        .unwrap()
        .to_owned()
}
