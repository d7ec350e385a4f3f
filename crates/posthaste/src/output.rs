//! Writes to standard output: the one place that does.

use std::fmt::Display;
use std::io::{self, Write as _};

use serde::Serialize;

/// One line, out at once, so that a pipe's reader sees it.
pub(crate) fn line(text: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// One JSON document on one line.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    Ok(line(serde_json::to_string(value)?)?)
}

/// A line on standard error, for what is not the answer.
pub(crate) fn note(text: impl Display) {
    // Nobody can be told that standard error is closed.
    let _unwritable = writeln!(io::stderr(), "{text}");
}

/// Columns as wide as their widest cell; the last one as it is.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> io::Result<()> {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].len()]).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let render = |cells: [&str; N]| {
        let mut text = String::new();
        for (cell, width) in cells.iter().zip(widths) {
            text.push_str(&format!("{cell:width$}  "));
        }
        text.trim_end().to_owned()
    };
    line(render(head))?;
    rows.iter()
        .try_for_each(|row| line(render(row.each_ref().map(String::as_str))))
}
