//! One run: open the stream, send, wait for the rest, sum up. All on one thread, without locks.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::LocalSet;

use crate::http::Target;
use crate::ledger::Ledger;
use crate::options::RoundTrip;
use crate::pace;
use crate::report::{Extra, Report};
use crate::send::{Gate, Sender};
use crate::stream::Stream;

/// How often the progress bar moves and the end of the drain is looked for.
const TICK: Duration = Duration::from_millis(100);

/// Sends tasks to the server at `url` and measures their way. Blocks the calling thread; makes a runtime of its own.
///
/// # Errors
/// When the options do not fit, or the server cannot be reached at the start.
pub fn round_trip(url: &str, options: &RoundTrip) -> anyhow::Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, run(url, options))
}

async fn run(url: &str, options: &RoundTrip) -> anyhow::Result<Report> {
    let target = Target::parse(url)?;
    let events = options
        .events_url
        .as_deref()
        .map_or_else(|| Ok(target.clone()), Target::parse)?;
    let channel: Rc<str> = channel_name().into();
    let mut stream = Stream::open(&events, &channel).await?;

    let start = Instant::now();
    let measured = start + Duration::from_secs(options.warm_up);
    let end = measured + Duration::from_secs(options.duration);
    let ledger = Rc::new(RefCell::new(Ledger::new(measured..end)));
    let gate = gate(options, start, end);
    let senders = (0..options.connections).map(|_| Sender::new(options, &target, &channel, &gate, &ledger));
    for sender in senders.collect::<anyhow::Result<Vec<_>>>()? {
        tokio::task::spawn_local(sender.run(end));
    }
    let finished = {
        let ledger = Rc::clone(&ledger);
        let bar = progress_bar(options);
        async move { wait_for_end(&ledger, &bar, start, end, Duration::from_secs(options.drain)).await }
    };
    tokio::select! {
        error = stream.follow(&ledger, &gate) => error.context("the event stream failed")?,
        () = finished => {}
    }
    let ledger = ledger.borrow();
    let extra = Extra {
        lost: ledger.pending(),
        unclaimed: ledger.unclaimed(),
        stream_reconnects: stream.reconnects,
        measured_s: (end - measured).as_secs_f64(),
    };
    Ok(Report::new(ledger.counts, &ledger.legs, &extra))
}

/// A channel that no other run uses.
fn channel_name() -> String {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    format!("bench-{:x}-{:x}", now.as_nanos(), std::process::id())
}

fn gate(options: &RoundTrip, start: Instant, end: Instant) -> Gate {
    match options.rate {
        Some(rate) => {
            let per_second = f64::from(rate) / f64::from(options.batch);
            Gate::Open(Rc::new(Mutex::new(pace::tickets(per_second, start, end))))
        }
        // A batch larger than the bound could never be sent.
        None => Gate::Closed(Rc::new(Semaphore::new(
            options.in_flight.max(u32::from(options.batch)) as usize,
        ))),
    }
}

fn progress_bar(options: &RoundTrip) -> ProgressBar {
    if options.quiet {
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template("{bar:30} {pos:>3}/{len} s  {msg}").expect("the template is valid");
    ProgressBar::new(options.warm_up + options.duration).with_style(style)
}

/// Completes when all that was sent has come back, or `drain` has passed since `end`.
async fn wait_for_end(
    ledger: &RefCell<Ledger>,
    bar: &ProgressBar,
    start: Instant,
    end: Instant,
    drain: Duration,
) {
    let mut ticks = tokio::time::interval(TICK);
    loop {
        ticks.tick().await;
        let now = Instant::now();
        let (pending, counts) = (ledger.borrow().pending(), ledger.borrow().counts);
        bar.set_position((now.min(end) - start).as_secs());
        bar.set_message(format!("{} done, {pending} under way", counts.completed));
        // One more tick after the end: a request that was in flight at the end has its answer then.
        let settled = now > end + TICK && pending == 0;
        if settled || now > end + drain {
            bar.finish_and_clear();
            return;
        }
    }
}
