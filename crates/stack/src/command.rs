//! Runs a helper program to its end, and shortens what programs print to what fits one line of an error.

use std::io;
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::error::Error;

/// How many lines of a log an error shows.
const TAIL_LINE_COUNT_MAX: usize = 4;
/// How long each of them may be, in characters.
const TAIL_LINE_CHARS_MAX: usize = 300;

/// Runs `command` with `input`; it is killed when the caller goes away. Returns its standard output.
pub(crate) async fn run(command: &mut Command, input: &str) -> Result<String, Error> {
    let program = command.as_std().get_program().to_owned();
    let output = finish(command, input)
        .await
        .map_err(Error::io("cannot run", &program))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(Error::Command {
        program: program.to_string_lossy().into_owned(),
        status: output.status.to_string(),
        output: essence(if stderr.trim().is_empty() {
            &stdout
        } else {
            &stderr
        }),
    })
}

async fn finish(command: &mut Command, input: &str) -> io::Result<std::process::Output> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends without reading says more by its status than the broken pipe does.
        let _ended_early = stdin.write_all(input.as_bytes()).await;
    }
    child.wait_with_output().await
}

/// The first line that is marked as an error (Maven prints its cause first and advice after), else the last lines.
fn essence(text: &str) -> String {
    match text.lines().find(|line| line.starts_with("[ERROR]")) {
        Some(line) => shorten(line.trim_start_matches("[ERROR]").trim()),
        None => tail(text),
    }
}

/// The last lines of a text, on one line.
pub(crate) fn tail(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let first = lines.len().saturating_sub(TAIL_LINE_COUNT_MAX);
    lines[first..]
        .iter()
        .map(|line| shorten(line))
        .collect::<Vec<_>>()
        .join(" | ")
}

fn shorten(line: &str) -> String {
    line.chars().take(TAIL_LINE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_one_line_of_the_last_lines_that_say_something() {
        assert_eq!(tail("a\n\nb\nc\n  d \ne\n\n"), "b | c | d | e");
        assert_eq!(tail(""), "");
    }

    #[test]
    fn a_marked_error_is_preferred_to_the_last_lines() {
        assert_eq!(
            essence("[INFO] x\n[ERROR] no such artefact\n[ERROR] advice"),
            "no such artefact"
        );
    }

    #[tokio::test]
    async fn a_failing_program_is_reported_with_what_it_said() {
        let error = run(Command::new("sh").args(["-c", "echo no good >&2; exit 3"]), "")
            .await
            .unwrap_err();
        assert!(error.to_string().ends_with("no good"), "{error}");
    }
}
