//! The connections that submit: in an open loop on the schedule's tickets, in a closed loop as permits come back.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, Semaphore, mpsc};

use crate::http::{Connection, Target};
use crate::ledger::{Counts, Ledger, Sent};
use crate::options::RoundTrip;
use crate::scan;

/// Wait after a refusal or a broken connection.
const FAILURE_WAIT: Duration = Duration::from_millis(20);

/// What allows the next request.
#[derive(Clone)]
pub(crate) enum Gate {
    /// The schedule.
    Open(Rc<Mutex<mpsc::Receiver<Instant>>>),
    /// As many tasks as may be under way.
    Closed(Rc<Semaphore>),
}

impl Gate {
    /// Waits; the time from which latency counts, or nothing when there is no more to send.
    async fn pass(&self, task_count: usize) -> Option<Instant> {
        match self {
            Self::Open(tickets) => tickets.lock().await.recv().await,
            Self::Closed(permits) => {
                permits
                    .acquire_many(u32::try_from(task_count).ok()?)
                    .await
                    .ok()?
                    .forget();
                Some(Instant::now())
            }
        }
    }

    /// Tasks that are no longer under way.
    pub(crate) fn give_back(&self, task_count: usize) {
        if let Self::Closed(permits) = self {
            permits.add_permits(task_count);
        }
    }
}

/// Builds each request in one buffer.
struct Requests {
    path: &'static str,
    authority: String,
    task_head: String,
    task_tail: String,
    batch: u16,
    body: String,
    request: Vec<u8>,
}

impl Requests {
    fn new(options: &RoundTrip, target: &Target, channel: &str) -> anyhow::Result<Self> {
        let text = |value: &str| serde_json::to_string(value);
        let (task_type, queue) = (text(&options.task_type)?, text(&options.queue)?);
        let pad = "x".repeat(options.payload_bytes as usize);
        Ok(Self {
            path: if options.batch > 1 {
                "/v1/tasks/batch"
            } else {
                "/v1/tasks"
            },
            authority: target.authority.clone(),
            task_head: format!(
                r#"{{"type":{task_type},"queue":{queue},"channel":"{channel}","payload":{{"n":"#
            ),
            task_tail: format!(r#","pad":"{pad}"}}}}"#),
            batch: options.batch,
            body: String::new(),
            request: Vec::new(),
        })
    }

    fn next(&mut self, number: &mut u64) -> &[u8] {
        use std::io::Write as _;
        self.body.clear();
        if self.batch > 1 {
            self.body.push_str(r#"{"tasks":["#);
        }
        for index in 0..self.batch {
            if index > 0 {
                self.body.push(',');
            }
            self.body.push_str(&self.task_head);
            self.body.push_str(&number.to_string());
            self.body.push_str(&self.task_tail);
            *number += 1;
        }
        if self.batch > 1 {
            self.body.push_str("]}");
        }
        self.request.clear();
        let (path, authority, length) = (self.path, &self.authority, self.body.len());
        write!(
            self.request,
            "POST {path} HTTP/1.1\r\nhost: {authority}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{}",
            self.body
        )
        .expect("a vector takes every write");
        &self.request
    }
}

/// One of the connections that submit.
pub(crate) struct Sender {
    target: Target,
    gate: Gate,
    ledger: Rc<RefCell<Ledger>>,
    requests: Requests,
    batch: usize,
    number: u64,
}

impl Sender {
    pub(crate) fn new(
        options: &RoundTrip,
        target: &Target,
        channel: &str,
        gate: &Gate,
        ledger: &Rc<RefCell<Ledger>>,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            target: target.clone(),
            gate: gate.clone(),
            ledger: Rc::clone(ledger),
            requests: Requests::new(options, target, channel)?,
            batch: usize::from(options.batch),
            number: 0,
        })
    }

    /// Submits until `end`; what the schedule still holds then counts as unsent.
    pub(crate) async fn run(mut self, end: Instant) {
        let mut connection = None;
        while let Some(intended) = self.gate.pass(self.batch).await {
            if Instant::now() >= end {
                if matches!(self.gate, Gate::Closed(_)) {
                    break;
                }
                self.count(|counts| &mut counts.unsent);
                continue;
            }
            let open = match connection.take() {
                Some(open) => Ok(open),
                None => Connection::open(&self.target).await,
            };
            let Ok(mut open) = open else {
                self.count(|counts| &mut counts.refused);
                tokio::time::sleep(FAILURE_WAIT).await;
                continue;
            };
            match self.submit(&mut open, intended).await {
                Ok(true) => connection = Some(open),
                Ok(false) => {
                    connection = Some(open);
                    tokio::time::sleep(FAILURE_WAIT).await;
                }
                Err(_) => self.count(|counts| &mut counts.unknown),
            }
        }
    }

    /// Counts one request's tasks as something other than submitted.
    fn count(&self, which: impl FnOnce(&mut Counts) -> &mut u64) {
        *which(&mut self.ledger.borrow_mut().counts) += self.batch as u64;
        self.gate.give_back(self.batch);
    }

    /// One exchange. Whether the server took all of it.
    async fn submit(&mut self, connection: &mut Connection, intended: Instant) -> anyhow::Result<bool> {
        let answer = connection.exchange(self.requests.next(&mut self.number)).await?;
        let now = Instant::now();
        let mut ledger = self.ledger.borrow_mut();
        let sent = Sent {
            intended,
            measured: ledger.is_measured(intended),
        };
        let (mut taken, mut complete) = (0, 0);
        if answer.status == 202 {
            ledger.answered(sent, now);
            for task in scan::accepted(answer.body).take(self.batch) {
                taken += 1;
                complete += usize::from(ledger.accepted(task, sent));
            }
        }
        let refused = self.batch - taken;
        ledger.counts.refused += refused as u64;
        self.gate.give_back(refused + complete);
        Ok(refused == 0)
    }
}
