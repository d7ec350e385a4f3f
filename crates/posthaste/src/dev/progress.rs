//! What a person sees while the stack starts: spinners on a terminal, plain lines elsewhere.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use posthaste_stack::{Progress, Step};

use crate::config::Access;
use crate::output;

/// Standard error, with or without moving parts.
#[derive(Clone)]
pub(crate) struct Screen {
    spinners: Option<Arc<Spinners>>,
}

struct Spinners {
    all: MultiProgress,
    running: Mutex<HashMap<String, ProgressBar>>,
}

impl Screen {
    pub(crate) fn new() -> Self {
        let terminal = std::io::stderr().is_terminal();
        let spinners = terminal.then(|| {
            Arc::new(Spinners {
                all: MultiProgress::new(),
                running: Mutex::new(HashMap::new()),
            })
        });
        Self { spinners }
    }

    /// For the stack's start.
    pub(crate) fn progress(&self) -> Arc<dyn Progress> {
        Arc::new(self.clone())
    }

    /// One line that stays.
    pub(crate) fn line(&self, text: &str) {
        match &self.spinners {
            // Standard error that cannot be written has no reader either.
            Some(spinners) => drop(spinners.all.println(text)),
            None => output::note(text),
        }
    }

    /// What runs where, and something to try.
    pub(crate) fn ready(&self, url: &str, access: Access, places: &[(&str, String)]) {
        let access = match access {
            Access::Open => "open: no key is asked for, everybody on this machine may do everything",
            Access::Keys => "with keys: make one with `posthaste keys create` over the same database",
        };
        let places: String = places
            .iter()
            .map(|(name, place)| format!("  {name:9} {place}\n"))
            .collect();
        self.line(&format!(
            "\nPosthaste is ready at {url}\n  access    {access}\n  metrics   {url}/metrics\n{places}\nTry:\n  \
             curl -i {url}/v1/tasks -H 'content-type: application/json' \\\n       \
             -d '{{\"type\":\"text.stats\",\"payload\":{{\"text\":\"to be or not to be\"}}}}'\n  \
             curl -N '{url}/v1/events?cursor=earliest'\n"
        ));
    }

    fn begin(&self, name: &str, text: String) {
        let Some(spinners) = &self.spinners else {
            return output::note(text);
        };
        let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}").expect("the template is valid");
        let bar = spinners.all.add(ProgressBar::new_spinner().with_style(style));
        bar.set_message(text);
        bar.enable_steady_tick(Duration::from_millis(100));
        let mut running = spinners.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(earlier) = running.insert(name.to_owned(), bar) {
            earlier.finish_and_clear();
        }
    }

    fn end(&self, name: &str) {
        let Some(spinners) = &self.spinners else { return };
        if let Some(bar) = spinners
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name)
        {
            bar.finish_and_clear();
        }
    }
}

impl Progress for Screen {
    fn step(&self, step: &Step) {
        match step {
            Step::Found { what, version, path } => {
                self.end(what);
                self.line(&format!("{what} {version} at {}", path.display()));
            }
            Step::Fetching { what } => self.begin(what, format!("fetching {what}, once")),
            Step::Starting { what } => self.begin(what, format!("starting {what}")),
            Step::Ready { what, address, took } => {
                self.end(what);
                self.line(&format!(
                    "{what} is ready at {address} after {:.1} s",
                    took.as_secs_f64()
                ));
            }
            Step::Note { text } => self.line(text),
        }
    }
}
