//! A lane: one connection that commits one batch after another, reconnects by itself, and settles what an error means
//! for the callers of a batch.

use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::{Counter, Histogram};
use posthaste_runtime::{Backoff, chain, metric};
use posthaste_types::limits::{GROUP_STATEMENT_MS_MAX, GROUP_WRITE_MS_MAX};
use tokio_postgres::Client;

use crate::group::{Next, Shared, Waiting, Write};
use crate::server::Server;
use crate::{Error, ErrorKind};

/// What grouped statements need beside `pool::PLANNER`. With these settings `id = any($1)` is an index scan of just the
/// batch's rows, hashed against the batch; a nested loop would compare each row of the batch with each, or scan the range
/// between its ids.
const PLANNER: &str =
    "-c enable_nestloop=off -c enable_mergejoin=off -c enable_seqscan=off -c enable_bitmapscan=off";

/// While the database stays away, a line as often as this.
const REMIND_AFTER: Duration = Duration::from_secs(30);

pub(crate) struct Lane<W: Write> {
    shared: Arc<Shared<W>>,
    server: Server,
    open: Option<Open<W>>,
    backoff: Backoff,
    reminded: Option<Instant>,
    committed: Counter,
    commit_rows: Histogram,
    commit_seconds: Histogram,
}

struct Open<W: Write> {
    client: Client,
    statements: W::Statements,
}

/// Items that are tried together, and whether an earlier try may have been committed.
struct Batch<W: Write> {
    waiting: Vec<Waiting<W>>,
    again: bool,
}

impl<W: Write> Lane<W> {
    pub(crate) fn new(shared: Arc<Shared<W>>, server: &Server) -> Self {
        let mut server = server.clone();
        let inherited = server.config.get_options().unwrap_or_default();
        let options = format!("{inherited} {PLANNER} -c statement_timeout={GROUP_STATEMENT_MS_MAX}ms");
        server.config.options(options);
        Self {
            shared,
            server,
            open: None,
            backoff: Backoff::dependency(),
            reminded: None,
            committed: metrics::counter!(metric::COMMITTED, "group" => W::NAME),
            commit_rows: metrics::histogram!(metric::COMMIT_ROWS, "group" => W::NAME),
            commit_seconds: metrics::histogram!(metric::COMMIT_SECONDS, "group" => W::NAME),
        }
    }

    /// Serves until stopping was asked for and nothing is left.
    pub(crate) async fn run(mut self) {
        loop {
            match self.shared.next() {
                Next::Write(waiting) => {
                    self.settle(Batch {
                        waiting,
                        again: false,
                    })
                    .await
                }
                Next::Wait => self.shared.wait().await,
                Next::Stop => return,
            }
        }
    }

    /// Tries until every caller of the batch has an answer or has gone.
    async fn settle(&mut self, batch: Batch<W>) {
        let mut batches = vec![batch];
        while let Some(mut batch) = batches.pop() {
            // Whoever gave up was told that it may not be stored.
            batch.waiting.retain(|waiting| !waiting.reply.is_closed());
            if batch.waiting.is_empty() {
                continue;
            }
            let Err(error) = self.commit(&mut batch).await else {
                continue;
            };
            match error.kind() {
                ErrorKind::BadRow | ErrorKind::Internal if batch.waiting.len() > 1 => {
                    let right = batch.waiting.split_off(batch.waiting.len() / 2);
                    batches.push(Batch {
                        waiting: right,
                        again: batch.again,
                    });
                    batches.push(batch);
                }
                ErrorKind::BadRow | ErrorKind::Internal => fail(batch, error),
                ErrorKind::Setup if !W::PATIENT => fail(batch, error),
                ErrorKind::Setup | ErrorKind::Unavailable => {
                    self.remind(&error);
                    self.open = None;
                    if self.backoff.wait(&self.shared.stopper).await {
                        batches.push(Batch { again: true, ..batch });
                    } else {
                        fail(batch, Error::Stopping);
                    }
                }
            }
        }
    }

    /// One try. On success the callers are answered and the batch is empty.
    async fn commit(&mut self, batch: &mut Batch<W>) -> Result<(), Error> {
        let began = Instant::now();
        let bound = Duration::from_millis(GROUP_WRITE_MS_MAX);
        let items: Vec<&W::Item> = batch.waiting.iter().map(|waiting| &waiting.item).collect();
        let rows: usize = items.iter().map(|item| W::size(item).rows).sum();
        let outcomes = tokio::time::timeout(bound, self.attempt(&items, batch.again))
            .await
            .map_err(|_| Error::TimedOut(W::NAME))??;
        self.commit_seconds.record(began.elapsed());
        self.commit_rows.record(rows as f64);
        self.committed.increment(rows as u64);
        if self.reminded.take().is_some() {
            tracing::info!(store.group = W::NAME, "grouped writes go on");
        }
        self.backoff.reset();
        for (waiting, outcome) in batch.waiting.drain(..).zip(outcomes) {
            // A caller that has gone needs no answer.
            let _ = waiting.reply.send(Ok(outcome));
        }
        Ok(())
    }

    async fn attempt(&mut self, items: &[&W::Item], again: bool) -> Result<Vec<W::Outcome>, Error> {
        if self.open.as_ref().is_none_or(|open| open.client.is_closed()) {
            self.open = Some(self.connect().await?);
        }
        let open = self.open.as_ref().expect("it was opened above");
        self.shared
            .write
            .write(&open.client, &open.statements, items, again)
            .await
    }

    async fn connect(&self) -> Result<Open<W>, Error> {
        let (client, connection) = self.server.connect().await?;
        tokio::spawn(async move {
            // The statement that was under way reports the error too.
            if let Err(error) = connection.await {
                tracing::debug!(%error, store.group = W::NAME, "a lane's connection ended");
            }
        });
        let statements = W::prepare(&client).await?;
        Ok(Open { client, statements })
    }

    /// Logs the first failure, and then one now and again.
    fn remind(&mut self, error: &Error) {
        if self.reminded.is_none_or(|last| last.elapsed() >= REMIND_AFTER) {
            self.reminded = Some(Instant::now());
            tracing::warn!(error = %chain(error), store.group = W::NAME, "grouped writes wait for the database");
        }
    }
}

/// Tells every caller of the batch.
fn fail<W: Write>(batch: Batch<W>, error: Error) {
    let error = Arc::new(error);
    if error.kind() != ErrorKind::Unavailable {
        tracing::error!(error = %chain(&*error), store.group = W::NAME, "a grouped write failed");
    }
    for waiting in batch.waiting {
        let _ = waiting.reply.send(Err(Error::Group(Arc::clone(&error))));
    }
}
