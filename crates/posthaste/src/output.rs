//! Writes to standard output: the one place that does.

use std::fmt::Display;
use std::io::{self, Write as _};

use serde::Serialize;

/// One line for a person.
pub(crate) fn line(text: impl Display) -> io::Result<()> {
    write(&harmless(&text.to_string()))
}

/// One JSON document on one line.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    Ok(write(&serde_json::to_string(value)?)?)
}

/// One JSON document that came as text.
pub(crate) fn json_text(text: &str) -> io::Result<()> {
    write(text)
}

/// Out at once, so that a pipe's reader sees it.
fn write(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Without what a terminal obeys: names and messages of tasks were written by whoever may submit.
fn harmless(text: &str) -> String {
    text.replace(
        |character: char| character.is_control() && !matches!(character, '\n' | '\t'),
        "\u{fffd}",
    )
}

/// A line on standard error, for what is not the answer.
pub(crate) fn note(text: impl Display) {
    // Nobody can be told that standard error is closed.
    let _unwritable = writeln!(io::stderr(), "{}", harmless(&text.to_string()));
}

/// One JSON document on standard error.
pub(crate) fn note_json(value: &impl Serialize) {
    match serde_json::to_string(value) {
        Ok(text) => drop(writeln!(io::stderr(), "{text}")),
        Err(error) => note(error),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_nothing_to_obey() {
        assert_eq!(
            harmless("a\u{1b}[2Jb\r\u{9b}c\td\né"),
            "a\u{fffd}[2Jb\u{fffd}\u{fffd}c\td\né"
        );
    }
}
