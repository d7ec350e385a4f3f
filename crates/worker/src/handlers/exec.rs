//! `exec`: a program makes the attempt. The task comes as one line of JSON on its input; it may print
//! `{"progress": …}` lines, and its last other line is the result (none: `null`).
//!
//! Exit status 0 is success; 65 (`EX_DATAERR` of sysexits.h) a failure that is never retried; any other one that may
//! be. The end of what it wrote to its error output is the message.

use std::collections::BTreeMap;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use async_trait::async_trait;
use posthaste_runtime::Secret;
use posthaste_types::limits::{ERROR_MESSAGE_BYTES_MAX, RESULT_BYTES_MAX};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader,
};
use tokio::process::{Child, ChildStdin, Command};

use super::document::document;
use crate::{Attempt, Handler, HandlerError, JsonText};

/// What a program keeps of the worker's environment, which may hold secrets.
const KEPT_VARIABLES: [&str; 5] = ["PATH", "HOME", "LANG", "TZ", "TMPDIR"];
/// `EX_DATAERR`: the input was wrong, so that another attempt would fail too.
const EXIT_DATA_ERROR: i32 = 65;
/// How long the pipes of a program that has ended may stay open in the hands of a child of its own.
const PIPE_GRACE: Duration = Duration::from_secs(1);

/// A program as the handler of a type.
#[derive(Debug)]
pub(crate) struct Exec {
    pub(crate) program: String,
    pub(crate) args: Vec<String>,
    pub(crate) env: BTreeMap<String, Secret>,
}

/// Kills the program and what it started when the attempt is dropped before the program has ended.
struct KillGroup(Child);

impl Drop for KillGroup {
    fn drop(&mut self) {
        // The id is known until the child was waited for, so it cannot name another process.
        let pid = self
            .0
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _gone_already = kill_process_group(pid, Signal::KILL);
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProgressLine<'a> {
    #[serde(borrow)]
    progress: &'a serde_json::value::RawValue,
}

#[async_trait]
impl Handler for Exec {
    async fn handle(&self, attempt: &Attempt) -> Result<JsonText, HandlerError> {
        let task = document(attempt)?;
        let mut child = KillGroup(self.spawn(attempt)?);
        let stdin = child.0.stdin.take().expect("stdin is piped");
        let stdout = BufReader::new(child.0.stdout.take().expect("stdout is piped"));
        let stderr = child.0.stderr.take().expect("stderr is piped");
        // A program may end without reading its input, so a broken pipe is no failure.
        let mut output = None;
        let mut message = String::new();
        let status = {
            let reading = async {
                tokio::join!(
                    write_task(stdin, task),
                    async { output = Some(read_output(stdout, attempt).await) },
                    async { message = read_tail(stderr).await },
                );
            };
            let mut reading = std::pin::pin!(reading);
            tokio::select! {
                biased;
                () = &mut reading => child.0.wait().await?,
                status = child.0.wait() => {
                    let _pipes_kept_open = tokio::time::timeout(PIPE_GRACE, &mut reading).await;
                    status?
                }
            }
        };
        finish(status, output.unwrap_or(Ok(None)), &message)
    }
}

impl Exec {
    fn spawn(&self, attempt: &Attempt) -> Result<Child, HandlerError> {
        let mut command = Command::new(&self.program);
        command.args(&self.args).env_clear();
        command.envs(
            KEPT_VARIABLES
                .iter()
                .filter_map(|&name| Some((name, std::env::var_os(name)?))),
        );
        command.envs(self.env.iter().map(|(name, value)| (name, value.expose())));
        if let Some(traceparent) = &attempt.task().traceparent {
            command.env("TRACEPARENT", traceparent);
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        command.spawn().map_err(|error| {
            HandlerError::retryable(
                "exec_unavailable",
                format!("`{}` cannot be started: {error}", self.program),
            )
        })
    }
}

async fn write_task(mut stdin: ChildStdin, task: String) {
    let _not_read = async {
        stdin.write_all(task.as_bytes()).await?;
        stdin.write_all(b"\n").await?;
        stdin.shutdown().await
    }
    .await;
}

/// Reports progress lines and returns the last other line; its error is that a line is too long.
async fn read_output(
    mut stdout: impl AsyncBufRead + Unpin,
    attempt: &Attempt,
) -> Result<Option<Vec<u8>>, HandlerError> {
    let mut last = None;
    loop {
        let mut line = Vec::new();
        // One byte above the bound tells a line that is too long from one that just fits.
        let bound = u64::try_from(RESULT_BYTES_MAX + 1).expect("a usize of 1 MiB fits");
        let read = (&mut stdout).take(bound).read_until(b'\n', &mut line).await;
        if !read.is_ok_and(|count| count > 0) {
            return Ok(last);
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        } else if line.len() > RESULT_BYTES_MAX {
            tokio::io::copy(&mut stdout, &mut tokio::io::sink()).await?;
            let message = format!("a line of the output is longer than {RESULT_BYTES_MAX} bytes");
            return Err(HandlerError::never("result_too_large", message));
        }
        match serde_json::from_slice::<ProgressLine<'_>>(&line) {
            Ok(line) => {
                // One that cannot be stored is passed over, as one that is too large is.
                if let Ok(progress) = JsonText::new(line.progress.get().to_owned()) {
                    attempt.report_progress(progress);
                }
            }
            Err(_) if line.iter().all(u8::is_ascii_whitespace) => {}
            Err(_) => last = Some(line),
        }
    }
}

/// Reads to the end and keeps the last bytes.
async fn read_tail(mut stderr: impl AsyncRead + Unpin) -> String {
    let mut tail = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
        tail.extend_from_slice(&buffer[..count]);
        let surplus = tail.len().saturating_sub(ERROR_MESSAGE_BYTES_MAX / 2);
        tail.drain(..surplus);
    }
    String::from_utf8_lossy(&tail).trim().to_owned()
}

fn finish(
    status: ExitStatus,
    output: Result<Option<Vec<u8>>, HandlerError>,
    message: &str,
) -> Result<JsonText, HandlerError> {
    if !status.success() {
        let separator = if message.is_empty() { "" } else { ": " };
        let message = format!("{status}{separator}{message}");
        return Err(if status.code() == Some(EXIT_DATA_ERROR) {
            HandlerError::never("exec_failed", message)
        } else {
            HandlerError::retryable("exec_failed", message)
        });
    }
    let Some(line) = output? else {
        return Ok(JsonText::null());
    };
    let text = String::from_utf8(line).map_err(|error| bad_output(&error))?;
    JsonText::new(text).map_err(|error| bad_output(&error))
}

fn bad_output(error: &dyn std::error::Error) -> HandlerError {
    HandlerError::never(
        "bad_output",
        format!("the last line of the output is not JSON: {error}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handlers::testing::attempt;

    fn sh(script: &str) -> Exec {
        Exec {
            program: "sh".to_owned(),
            args: vec!["-c".to_owned(), script.to_owned()],
            env: BTreeMap::new(),
        }
    }

    #[tokio::test]
    async fn the_task_goes_in_and_the_last_line_comes_out() {
        let attempt = attempt("print", "{\"a\":\n1}");
        let result = sh("echo noise; cat").handle(&attempt).await.unwrap();
        let value: serde_json::Value = serde_json::from_str(result.as_str()).unwrap();
        assert_eq!(value["id"], attempt.id().to_string());
        assert_eq!(value["payload"]["a"], 1);
        assert_eq!(value["attempt"], 1);
    }

    #[tokio::test]
    async fn progress_lines_are_reported_and_are_not_the_result() {
        let attempt = attempt("print", "1");
        let result = sh(r#"echo '{"progress":1}'; echo '{"ok":true}'; echo '{"progress":{"page":2}}'"#)
            .handle(&attempt)
            .await
            .unwrap();
        assert_eq!(result.as_str(), r#"{"ok":true}"#);
        assert_eq!(attempt.progress.last().as_deref(), Some(r#"{"page":2}"#));
    }

    #[tokio::test]
    async fn silence_is_null_and_noise_is_refused_for_good() {
        assert_eq!(
            sh("true").handle(&attempt("print", "1")).await.unwrap(),
            JsonText::null()
        );
        let error = sh("echo hello").handle(&attempt("print", "1")).await.unwrap_err();
        assert_eq!(
            (error.error().code.as_str(), error.error().retryable),
            ("bad_output", false)
        );
    }

    #[tokio::test]
    async fn exit_status_tells_what_may_be_retried_and_stderr_why() {
        let error = sh("echo 'no ink' >&2; exit 3")
            .handle(&attempt("print", "1"))
            .await
            .unwrap_err();
        assert_eq!(error.error().message, "exit status: 3: no ink");
        assert!(error.error().retryable);
        let error = sh("exit 65").handle(&attempt("print", "1")).await.unwrap_err();
        assert!(!error.error().retryable);
        let missing = Exec {
            program: "/nonexistent/program".to_owned(),
            ..sh("")
        };
        let error = missing.handle(&attempt("print", "1")).await.unwrap_err();
        assert_eq!(error.error().code, "exec_unavailable");
    }

    #[tokio::test]
    async fn an_endless_line_is_cut_off() {
        let script = "head -c 2000000 /dev/zero | tr '\\0' 'x'";
        let error = sh(script).handle(&attempt("print", "1")).await.unwrap_err();
        assert_eq!(error.error().code, "result_too_large");
    }

    #[tokio::test]
    async fn the_workers_secrets_stay_with_the_worker() {
        // Cargo sets this one for tests, so it stands for any variable of the worker.
        let result = sh(r#"echo "\"${CARGO_MANIFEST_DIR:-none}\"""#)
            .handle(&attempt("print", "1"))
            .await
            .unwrap();
        assert_eq!(result.as_str(), "\"none\"");
    }

    #[tokio::test]
    async fn dropping_the_attempt_kills_the_program_and_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("held");
        assert!(
            std::process::Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .unwrap()
                .success()
        );
        let attempt = attempt("print", "1");
        let script = format!("sleep 600 > '{0}' & sleep 600 > '{0}'", pipe.display());
        let exec = sh(&script);
        // Opening blocks until a child holds the other end; reading ends when no process holds it any more.
        let opened = tokio::task::spawn_blocking(move || std::fs::File::open(pipe).unwrap());
        let mut file = tokio::select! {
            result = exec.handle(&attempt) => panic!("ended by itself: {result:?}"),
            file = opened => file.unwrap(),
        };
        let read =
            tokio::task::spawn_blocking(move || std::io::Read::read_to_end(&mut file, &mut Vec::new()));
        assert_eq!(read.await.unwrap().unwrap(), 0);
    }
}
