//! Asks a part, in its own protocol and no further, whether it serves and is ours: another's may answer on its port.
//! Every probe is bounded in time and in bytes.

use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

const ANSWER_WAIT_MAX: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// The header in which the registry repeats its token.
pub(crate) const TOKEN_HEADER: &str = "X-Posthaste-Stack";

const REGISTRY_CONFIG: &str = "/apis/ccompat/v7/config";

/// What to ask.
#[derive(Clone, Debug)]
pub(crate) enum Probe {
    /// A session on the Unix socket gets as far as the first query. The socket is in a directory that this stack alone
    /// holds, and Postgres makes it once it has its port, without which it ends: it can be no other's.
    Postgres {
        socket: PathBuf,
        user: &'static str,
        database: &'static str,
    },
    /// The broker names the cluster that it serves.
    Kafka { port: u16, cluster_id: String },
    /// The registry shows the token that it was started with and has taken BACKWARD as its global rule: it starts with
    /// none.
    Registry { port: u16, token: String },
    /// The worker shows its token, and its connector and the connector's task run. A group of workers is given the
    /// connector first.
    Connect {
        port: u16,
        token: String,
        connector: String,
        /// The connector's configuration, as JSON.
        create: Option<String>,
    },
}

impl Probe {
    /// Whether the part serves now.
    pub(crate) async fn is_ready(&self) -> bool {
        let asked = async {
            match self {
                Self::Postgres {
                    socket,
                    user,
                    database,
                } => postgres_serves(UnixStream::connect(socket).await?, user, database).await,
                Self::Kafka { port, cluster_id } => kafka_serves(connect(*port).await?, cluster_id).await,
                Self::Registry { port, token } => registry_serves(*port, token).await,
                Self::Connect {
                    port,
                    token,
                    connector,
                    create,
                } => connector_runs(*port, token, connector, create.as_deref()).await,
            }
        };
        matches!(timeout(ANSWER_WAIT_MAX, asked).await, Ok(Ok(true)))
    }
}

async fn connect(port: u16) -> io::Result<TcpStream> {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await
}

/// Sends a startup packet (protocol 3.0) and reads up to ReadyForQuery.
async fn postgres_serves(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    user: &str,
    database: &str,
) -> io::Result<bool> {
    let parameters = format!("user\0{user}\0database\0{database}\0\0");
    let length = u32::try_from(8 + parameters.len()).expect("names are short");
    let mut packet = length.to_be_bytes().to_vec();
    packet.extend_from_slice(&196_608_u32.to_be_bytes());
    packet.extend_from_slice(parameters.as_bytes());
    stream.write_all(&packet).await?;
    let mut answer = stream.take(ANSWER_BYTES_MAX);
    loop {
        let kind = answer.read_u8().await?;
        let length = answer.read_u32().await?;
        if kind == b'E' {
            return Ok(false);
        }
        if kind == b'Z' {
            break;
        }
        let body = u64::from(length).saturating_sub(4);
        tokio::io::copy(&mut (&mut answer).take(body), &mut tokio::io::sink()).await?;
    }
    answer.into_inner().write_all(b"X\0\0\0\x04").await?;
    Ok(true)
}

/// Sends DescribeCluster, version 0, which every broker answers once it is in service.
async fn kafka_serves(mut stream: impl AsyncRead + AsyncWrite + Unpin, cluster_id: &str) -> io::Result<bool> {
    const CORRELATION: u32 = 7;
    let client = b"probe";
    let mut request = vec![0, 60, 0, 0];
    request.extend_from_slice(&CORRELATION.to_be_bytes());
    request.extend_from_slice(&[0, 5]);
    request.extend_from_slice(client);
    // No tagged fields in the header, no authorised operations, no tagged fields in the body.
    request.extend_from_slice(&[0, 0, 0]);
    let length = u32::try_from(request.len()).expect("the request is short");
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(&request).await?;
    // Correlation, no tagged fields, no throttling, no error and no message to it; then the id, a compact string.
    let mut expected = CORRELATION.to_be_bytes().to_vec();
    expected.extend_from_slice(&[0; 8]);
    expected.push(u8::try_from(cluster_id.len() + 1).expect("an id is short"));
    expected.extend_from_slice(cluster_id.as_bytes());
    let _length = stream.read_u32().await?;
    let mut answer = vec![0; expected.len()];
    stream.read_exact(&mut answer).await?;
    Ok(answer == expected)
}

async fn registry_serves(port: u16, token: &str) -> io::Result<bool> {
    // First, because nothing may be changed in a registry that is not ours.
    if !shows(&http(port, "GET", REGISTRY_CONFIG, "").await?, token) {
        return Ok(false);
    }
    let rule = r#"{"compatibility":"BACKWARD"}"#;
    let set = http(port, "PUT", REGISTRY_CONFIG, rule).await?;
    if status(&set) != Some(200) {
        return Ok(false);
    }
    let held = http(port, "GET", REGISTRY_CONFIG, "").await?;
    Ok(status(&held) == Some(200) && held.contains("BACKWARD"))
}

async fn connector_runs(port: u16, token: &str, name: &str, create: Option<&str>) -> io::Result<bool> {
    let path = format!("/connectors/{name}");
    let found = http(port, "GET", &format!("{path}/status"), "").await?;
    if !shows(&found, token) {
        return Ok(false);
    }
    if let (Some(404), Some(configuration)) = (status(&found), create) {
        http(port, "PUT", &format!("{path}/config"), configuration).await?;
        return Ok(false);
    }
    // That of the connector and that of its one task.
    Ok(status(&found) == Some(200) && found.matches(r#""state":"RUNNING""#).count() == 2)
}

/// One HTTP/1.1 exchange; the answer's head and body as text.
async fn http(port: u16, method: &str, path: &str, body: &str) -> io::Result<String> {
    let mut stream = connect(port).await?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Whether an answer's head has the token.
fn shows(answer: &str, token: &str) -> bool {
    let header = format!("{TOKEN_HEADER}: {token}");
    let mut head = answer.lines().take_while(|line| !line.is_empty());
    head.any(|line| line.eq_ignore_ascii_case(&header))
}

fn status(answer: &str) -> Option<u16> {
    answer.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers the first bytes with `answer` and says no more.
    fn peer(answer: &[u8]) -> tokio::io::DuplexStream {
        let (near, mut far) = tokio::io::duplex(1024);
        let answer = answer.to_vec();
        tokio::spawn(async move {
            let mut asked = [0; 1024];
            assert_ne!(far.read(&mut asked).await.unwrap(), 0);
            far.write_all(&answer).await.unwrap();
            far.shutdown().await.unwrap();
            far.read_to_end(&mut Vec::new()).await.unwrap();
        });
        near
    }

    #[tokio::test]
    async fn postgres_serves_when_it_is_ready_for_a_query_and_not_while_it_recovers() {
        let ready = b"R\0\0\0\x08\0\0\0\0S\0\0\0\x06a\0Z\0\0\0\x05I";
        assert!(postgres_serves(peer(ready), "u", "d").await.unwrap());
        let starting = b"E\0\0\0\x0eC57P03\0\0\0\0";
        assert!(!postgres_serves(peer(starting), "u", "d").await.unwrap());
        assert!(postgres_serves(peer(b"R\0\0"), "u", "d").await.is_err());
    }

    #[tokio::test]
    async fn kafka_serves_when_it_names_our_cluster_without_an_error() {
        let ours = b"\0\0\0\x0f\0\0\0\x07\0\0\0\0\0\0\0\0\x03id";
        assert!(kafka_serves(peer(ours), "id").await.unwrap());
        assert!(!kafka_serves(peer(ours), "di").await.unwrap());
        let failed = b"\0\0\0\x0f\0\0\0\x07\0\0\0\0\0\0\x23\0\x03id";
        assert!(!kafka_serves(peer(failed), "id").await.unwrap());
        assert!(kafka_serves(peer(b"HTTP/1.1 400\r\n"), "id").await.is_err());
    }

    #[test]
    fn only_the_registry_that_was_started_with_the_token_shows_it() {
        let answer = "HTTP/1.1 200 OK\r\nx-posthaste-stack: a1\r\n\r\nX-Posthaste-Stack: b2";
        assert!(shows(answer, "a1"));
        assert!(!shows(answer, "a"));
        assert!(!shows(answer, "b2"));
    }

    #[test]
    fn only_http_has_a_status() {
        assert_eq!(status("HTTP/1.1 200 OK\r\n\r\n"), Some(200));
        assert_eq!(status("SSH-2.0"), None);
    }
}
