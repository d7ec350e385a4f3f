//! Reads the tables of hostile requests; their form is described in the module above.

use anyhow::{Context as _, bail};

/// What must come.
pub(crate) struct Expected {
    /// Any of these; `None` is a connection that ends without an answer.
    pub(crate) statuses: Vec<Option<u16>>,
    /// The problem's code, unless the answer is no problem.
    pub(crate) code: Option<&'static str>,
}

/// One request.
pub(crate) struct Case {
    /// The table, and the line as it stands there, so that it can be found again.
    pub(crate) line: String,
    pub(crate) expected: Expected,
    pub(crate) request: Vec<u8>,
}

/// All cases of a table, with `secrets` put in for their names.
pub(crate) fn read(name: &str, text: &'static str, secrets: &[(&str, String)]) -> anyhow::Result<Vec<Case>> {
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| case(line, secrets).with_context(|| format!("{name}: {line}")))
        .map(|case| {
            case.map(|mut case| {
                case.line.insert_str(0, &format!("{name}: "));
                case
            })
        })
        .collect()
}

fn case(line: &'static str, secrets: &[(&str, String)]) -> anyhow::Result<Case> {
    let (expected, request) = line.split_once(" | ").context("an answer and a request")?;
    let mut request = request.to_owned();
    for (name, secret) in secrets {
        request = request.replace(&format!("${name}$"), secret);
    }
    Ok(Case {
        line: line.to_owned(),
        expected: expectation(expected)?,
        request: match request.strip_prefix('=') {
            Some(raw) => bytes(raw)?,
            None => assemble(&request)?,
        },
    })
}

fn expectation(text: &'static str) -> anyhow::Result<Expected> {
    let (statuses, code) = text.split_once(' ').context("a status and a code")?;
    let statuses = statuses.split(',').map(|status| match status {
        "closed" => Ok(None),
        status => Ok(Some(status.parse()?)),
    });
    Ok(Expected {
        statuses: statuses.collect::<anyhow::Result<_>>()?,
        code: (code != "-").then_some(code),
    })
}

/// An HTTP/1.1 request of a request line, headers and a body.
fn assemble(text: &str) -> anyhow::Result<Vec<u8>> {
    let (head, body) = match text.split_once(" | >") {
        Some((head, body)) => (head, Some(bytes(body)?)),
        None => (text, None),
    };
    let mut fields = head.split(" | ");
    let line = fields.next().context("a request line")?;
    let headers: Vec<&str> = fields.collect();
    let names = |name: &str| headers.iter().any(|header| header.starts_with(name));

    let mut request = bytes(line)?;
    request.extend_from_slice(b" HTTP/1.1\r\nhost: 127.0.0.1\r\n");
    for header in &headers {
        request.extend_from_slice(&bytes(header)?);
        request.extend_from_slice(b"\r\n");
    }
    if let Some(body) = &body {
        if !names("content-type:") {
            request.extend_from_slice(b"content-type: application/json\r\n");
        }
        if !names("content-length:") && !names("transfer-encoding:") {
            request.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
        }
    }
    request.extend_from_slice(b"\r\n");
    request.extend_from_slice(&body.unwrap_or_default());
    Ok(request)
}

/// The bytes that a text of the table stands for.
fn bytes(text: &str) -> anyhow::Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut rest = text;
    while let Some((before, marked)) = rest.split_once('«') {
        let (inside, after) = marked.split_once('»').context("an end of «")?;
        all.extend_from_slice(plain(before).as_bytes());
        let (piece, count) = match inside.rsplit_once('*') {
            Some((piece, count)) => (piece, count.parse()?),
            None => (inside, 1),
        };
        all.extend_from_slice(&literal(piece)?.repeat(count));
        rest = after;
    }
    all.extend_from_slice(plain(rest).as_bytes());
    Ok(all)
}

fn plain(text: &str) -> String {
    text.replace('¬', "\r\n")
}

/// Hexadecimal digits, two for each byte, or text.
fn literal(text: &str) -> anyhow::Result<Vec<u8>> {
    if text.is_empty() {
        bail!("nothing between « and »");
    }
    let is_hex =
        text.len().is_multiple_of(2) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !is_hex {
        return Ok(plain(text).into_bytes());
    }
    (0..text.len())
        .step_by(2)
        .map(|at| Ok(u8::from_str_radix(&text[at..at + 2], 16)?))
        .collect()
}
