//! Turns signals into an orderly stop; the second one does not wait.

use std::io;

use posthaste_runtime::Stopper;
use tokio::signal::unix::{SignalKind, signal};

/// A stopper that stops on SIGINT or SIGTERM. The next such signal ends the process at once, with code 130.
///
/// # Errors
/// When signals cannot be received.
pub(crate) fn on_signals() -> io::Result<Stopper> {
    let stopper = Stopper::new();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stop = stopper.clone();
    tokio::spawn(async move {
        for force in [false, true] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if force {
                crate::output::note("stopped without waiting");
                std::process::exit(130);
            }
            stop.stop();
        }
    });
    Ok(stopper)
}
