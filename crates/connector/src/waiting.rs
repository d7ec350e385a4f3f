//! Says what the connector waits for: at each change, then at most every half minute.

use std::time::{Duration, Instant};

const REPEAT_AFTER: Duration = Duration::from_secs(30);

/// What was said last, and when.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    said: Option<(String, Instant)>,
}

impl Waiting {
    /// Says that the connector waits because of `what`.
    pub(crate) fn say(&mut self, what: &str) {
        if self
            .said
            .as_ref()
            .is_some_and(|(said, at)| said == what && at.elapsed() < REPEAT_AFTER)
        {
            return;
        }
        tracing::warn!("the connector waits: {what}");
        self.said = Some((what.to_owned(), Instant::now()));
    }

    /// Forgets, so that the same trouble is said again when it comes again.
    pub(crate) fn end(&mut self) {
        self.said = None;
    }
}
