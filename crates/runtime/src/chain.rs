//! An error with its causes as one line of text, for logs.

use std::error::Error;
use std::fmt;

/// Shows `error` and its causes, joined by colons. A log line in JSON holds the outermost text alone, and that of a driver
/// says little (`db error`). Of each cause the first line is shown: what follows may quote a row's values.
pub fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl fmt::Display + 'a {
    Chain(error)
}

struct Chain<'a>(&'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = String::new();
        let mut next = Some(self.0);
        while let Some(error) = next {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            // Some libraries repeat the cause in their own text.
            if !shown.contains(line) {
                let colon = if shown.is_empty() { "" } else { ": " };
                shown.extend([colon, line]);
            }
            next = error.source();
        }
        f.write_str(&shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<Layer>>,
    }

    #[test]
    fn causes_follow_on_one_line_once_and_without_what_quotes_rows() {
        let layer = |text, source: Option<Layer>| Layer {
            text,
            source: source.map(Box::new),
        };
        let server = layer(
            "ERROR: value too long\nDETAIL: Failing row contains (secret)",
            None,
        );
        let driver = layer("cannot store: db error", Some(layer("db error", Some(server))));
        assert_eq!(
            chain(&driver).to_string(),
            "cannot store: db error: ERROR: value too long"
        );
    }
}
