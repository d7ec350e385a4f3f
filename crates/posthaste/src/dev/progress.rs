//! What a person sees while the stack starts: spinners on a terminal, plain lines elsewhere.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use posthaste_stack::{Progress, Step};

use crate::config::Access;
use crate::output;

/// What the banner calls the record among the places.
pub(crate) const POSTGRES: &str = "Postgres";

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
        self.line(&banner(url, access, places));
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

fn banner(url: &str, access: Access, places: &[(&str, String)]) -> String {
    let database = places.iter().find(|(name, _)| *name == POSTGRES);
    // An address that was given may carry a password; who gave it knows it.
    let database = database.map_or("<your database.url>", |(_, place)| place);
    let (access, key, authorization) = match access {
        Access::Open => (
            "open: no key is asked for, everybody on this machine may do everything",
            String::new(),
            "",
        ),
        Access::Keys => (
            "with keys: make one as below",
            format!(
                "  export POSTHASTE_KEY=$(posthaste keys create --database-url '{database}' --name ops --scopes admin)\n"
            ),
            " -H \"authorization: Bearer $POSTHASTE_KEY\"",
        ),
    };
    let places: String = places
        .iter()
        .map(|(name, place)| format!("  {name:9} {place}\n"))
        .collect();
    format!(
        "\nPosthaste is ready at {url}\n  access    {access}\n  docs      {url}/docs\n  metrics   {url}/metrics\n{places}\n\
         Try:\n{key}  \
         curl -i {url}/v1/tasks{authorization} -H 'content-type: application/json' \\\n       \
         -d '{{\"type\":\"text.stats\",\"payload\":{{\"text\":\"to be or not to be\"}}}}'\n  \
         curl -N{authorization} '{url}/v1/events?cursor=earliest'\n"
    )
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_tried_works_where_keys_are_asked_for() {
        let places = [(POSTGRES, "postgresql://p@127.0.0.1:5432/p".to_owned())];
        let text = banner("http://h", Access::Keys, &places);
        let create = "keys create --database-url 'postgresql://p@127.0.0.1:5432/p' --name ops --scopes admin";
        assert!(text.contains(create) && text.contains("http://h/docs"), "{text}");
        let curls: Vec<&str> = text.lines().filter(|line| line.contains("curl ")).collect();
        assert_eq!(curls.len(), 2);
        for curl in curls {
            assert!(
                curl.contains("-H \"authorization: Bearer $POSTHASTE_KEY\""),
                "{curl}"
            );
        }
        let open = banner("http://h", Access::Open, &places);
        assert!(
            open.contains("http://h/docs") && !open.contains("POSTHASTE_KEY"),
            "{open}"
        );
    }
}
