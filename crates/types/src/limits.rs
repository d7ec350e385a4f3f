//! Every bound of the system, by name and with its unit. Nothing that comes from outside is unbounded.

/// Body of one request to submit, bytes.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Body of one batch request, bytes.
pub const BATCH_BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Body of any other request (endpoints, cancel and so on), bytes.
pub const SMALL_BODY_BYTES_MAX: usize = 64 * 1024;
/// Tasks in one batch request.
pub const BATCH_TASK_COUNT_MAX: usize = 1000;
/// Levels of nesting in a JSON body. Postgres and serde_json both recurse; 128 is serde_json's own bound.
pub const JSON_DEPTH_MAX: usize = 128;
/// Task type, characters of `[a-z0-9._-]`.
pub const TASK_TYPE_LEN_MAX: usize = 100;
/// Queue name, characters of `[a-z0-9._-]`: with the `tasks.` prefix it stays below Kafka's 249.
pub const QUEUE_LEN_MAX: usize = 100;
/// Ordering key, bytes.
pub const KEY_BYTES_MAX: usize = 256;
/// Channel name, bytes.
pub const CHANNEL_BYTES_MAX: usize = 256;
/// Tags of one task.
pub const TAG_COUNT_MAX: usize = 16;
/// Name of a tag, bytes.
pub const TAG_NAME_BYTES_MAX: usize = 64;
/// Value of a tag, bytes.
pub const TAG_VALUE_BYTES_MAX: usize = 256;
/// Idempotency key, bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
/// Priority, 0 to this; higher runs first.
pub const PRIORITY_MAX: i16 = 9;
/// Priority of a task that names none.
pub const PRIORITY_DEFAULT: i16 = 5;
/// Attempts of one run.
pub const ATTEMPT_COUNT_MAX: u32 = 100;
/// Wait between two attempts, seconds.
pub const RETRY_WAIT_S_MAX: f64 = 7.0 * 86_400.0;
/// What a retry policy may multiply the wait by after each attempt.
pub const RETRY_FACTOR_MAX: f64 = 100.0;
/// How far ahead a task may be scheduled or its deadline lie, seconds.
pub const DELAY_S_MAX: f64 = 366.0 * 86_400.0;
/// One attempt's time, seconds.
pub const TIMEOUT_S_MAX: f64 = 86_400.0;
/// One attempt's time when neither the task nor its type says, seconds.
pub const TIMEOUT_S_DEFAULT: f64 = 300.0;
/// Longest wait of a long poll or `Prefer: wait`, seconds.
pub const WAIT_S_MAX: u64 = 60;
/// Readers that wait in long polls at once in one process.
pub const WAITER_COUNT_MAX: usize = 10_000;
/// Those of them that may be one tenant's.
pub const WAITER_TENANT_COUNT_MAX: usize = WAITER_COUNT_MAX / 2;
/// Time between two looks for waiting readers, milliseconds.
pub const WAIT_TICK_MS: u64 = 10;
/// Lists of tasks that one process reads at once, those that wait for a connection among them. A tenant may have half.
pub const LIST_COUNT_MAX: usize = 64;
/// Reads that may take long, as lists do, have one of so many connections of a pool.
pub const LONG_READ_POOL_SHARE: usize = 4;
/// How many times its own length a turn of theirs rests before the next, up to [`LONG_READ_REST_MS_MAX`].
pub const LONG_READ_REST_TIMES: u32 = 3;
/// The longest such rest, milliseconds: reads that are long by themselves are held back by their number.
pub const LONG_READ_REST_MS_MAX: u64 = 25;
/// Tasks on a page of a list.
pub const PAGE_TASK_COUNT_MAX: usize = 500;
/// Tasks on a page when the caller does not say.
pub const PAGE_TASK_COUNT_DEFAULT: usize = 50;
/// Rows that one page of a list looks at; a page may end there with a cursor and few tasks.
pub const LIST_SCAN_ROW_COUNT_MAX: usize = 50_000;
/// Payloads and results of one page of a list, bytes; the page ends with the task that passes it.
pub const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Entries of one task's history that are read.
pub const HISTORY_ENTRY_COUNT_MAX: usize = 1000;
/// A handler's result or progress as JSON text, bytes.
pub const RESULT_BYTES_MAX: usize = 1024 * 1024;
/// A task error's message, bytes; longer ones are cut.
pub const ERROR_MESSAGE_BYTES_MAX: usize = 4096;
/// A record on a topic, bytes: a full body and a full result with framing and names to spare.
pub const RECORD_BYTES_MAX: usize = 3 * 1024 * 1024;

/// Submissions waiting for their commit in one process; past it a caller gets 503. A worker's claims, and likewise its
/// completions, have the same bounds; past them they wait.
pub const SUBMIT_QUEUE_LEN_MAX: usize = 4096;
/// Bytes of submissions waiting for their commit in one process.
pub const SUBMIT_QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Rows of one grouped statement.
pub const GROUP_ROW_COUNT_MAX: usize = 512;
/// Bytes of one grouped statement's values; one row above it travels alone.
pub const GROUP_BYTES_MAX: usize = 8 * 1024 * 1024;
/// One grouped statement in the database, milliseconds; a row that someone holds longer fails its try, not its caller.
pub const GROUP_STATEMENT_MS_MAX: u64 = 10_000;
/// One grouped write as its lane sees it; past it the connection counts as lost, milliseconds.
pub const GROUP_WRITE_MS_MAX: u64 = 15_000;
/// Time between two readings of the table of schemas when one is missing, milliseconds.
pub const SCHEMAS_REFRESH_MS_MIN: u64 = 1_000;
/// How long a submission waits for another one that holds its idempotency key before 409, milliseconds.
pub const IDEMPOTENCY_WAIT_MS_MAX: u64 = 2_000;
/// Age of the oldest submission that waits for its commit, past which further ones get 503 at once, milliseconds.
pub const SUBMIT_QUEUE_AGE_MS_MAX: u64 = 1_000;
/// How long a statement may go on that nobody waits for any more, until the database is asked to cancel it, milliseconds.
pub const ABANDONED_STATEMENT_MS_MAX: u64 = 100;
/// How long a caller waits for a connection or a commit before 503, milliseconds.
pub const STORE_WAIT_MS_MAX: u64 = 5_000;

/// Outbox bytes that the connector may have at the broker unacknowledged before it stops reading.
pub const CONNECTOR_IN_FLIGHT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Outbox records that the connector may have at the broker unacknowledged before it stops reading: at 200,000 rows a second
/// what comes within 20 ms, and about 4 MB of small ones in the client library.
pub const CONNECTOR_IN_FLIGHT_RECORD_COUNT_MAX: usize = 4_096;
/// Shares of the log that a slot may keep at which the connector warns.
pub const SLOT_WAL_SHARE_WARNINGS: [f64; 2] = [0.5, 0.8];
/// The share of the log that a slot may keep at which ingest refuses, where it is to.
pub const SLOT_WAL_SHARE_MAX: f64 = 0.95;
/// Looks at a slot that its lag is told by.
pub const SLOT_SAMPLE_COUNT_MAX: usize = 1024;
/// What a connector says that it waits for, characters; the rest is in its log.
pub const CONNECTOR_REASON_CHARS_MAX: usize = 500;
/// How far back from a partition's end the connector looks for the last record that it wrote, offsets.
pub const CONNECTOR_LOOK_BACK_COUNT_MAX: i64 = 4096;

/// Tasks of one partition that a worker holds (waiting or running) before it pauses the partition.
pub const PARTITION_TASK_COUNT_MAX: usize = 1024;
/// Records of one partition between the oldest unfinished one and the last one read. Each costs 16 bytes here, and a
/// claim that finds nothing to do after a crash.
pub const PARTITION_WINDOW_RECORD_COUNT_MAX: usize = 262_144;
/// Bytes of task records that one worker process holds before it pauses reading.
pub const WORKER_HELD_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Handlers that run at once in one worker process when configuration is silent.
pub const HANDLER_COUNT_DEFAULT: usize = 256;
/// What is kept of the body when a service refuses a task, bytes.
pub const HTTP_ERROR_BODY_BYTES_MAX: usize = 1024;
/// How long a revoked partition waits for the handlers in flight, milliseconds.
pub const DRAIN_MS_MAX: u64 = 10_000;

/// Timers that one transaction of a scheduler fires.
pub const TIMER_COUNT_MAX: usize = 500;
/// Tasks that one statement of it reads with their payloads.
pub const TIMER_CHUNK_TASK_COUNT_MAX: usize = 32;

/// Events that a delivery process keeps in memory.
pub const WINDOW_EVENT_COUNT_MAX: usize = 16_384;
/// Bytes of events that a delivery process keeps in memory.
pub const WINDOW_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes of records that wait to be taken into the window.
pub const HUB_QUEUED_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of records that wait for one reader of old events.
pub const CATCH_UP_QUEUED_BYTES_MAX: usize = 1024 * 1024;
/// Streams open at once in one process.
pub const STREAM_COUNT_MAX: usize = 10_000;
/// Readers of old events that have a Kafka consumer of their own at once in one process; further ones wait.
pub const CATCH_UP_READER_COUNT_MAX: usize = 16;
/// Those of them that may be one tenant's; its further ones wait for these.
pub const CATCH_UP_TENANT_READER_COUNT_MAX: usize = CATCH_UP_READER_COUNT_MAX / 4;
/// Time between two comment heartbeats of a stream, seconds.
pub const HEARTBEAT_S: u64 = 15;
/// An opaque cursor, characters.
pub const CURSOR_LEN_MAX: usize = 2048;
/// Partitions of the results topic: a cursor names the offset of each and stays within [`CURSOR_LEN_MAX`].
pub const RESULTS_PARTITION_COUNT_MAX: usize = 150;
/// A stream whose client reads nothing for so long gives its consumer to the next that waits, seconds.
pub const CATCH_UP_STALL_S_MAX: u64 = 10;
/// Bytes of frames that one stream hands to its connection at once; one frame above it travels alone.
pub const STREAM_CHUNK_BYTES_MAX: usize = 64 * 1024;
/// Values of one filter of a stream.
pub const STREAM_FILTER_LEN_MAX: usize = 100;

/// Webhook endpoints of one tenant.
pub const ENDPOINT_COUNT_MAX: usize = 1000;
/// An endpoint's URL, bytes.
pub const ENDPOINT_URL_BYTES_MAX: usize = 2048;
/// Entries of an endpoint's `events`, `channels`, `types` or `headers`.
pub const ENDPOINT_LIST_LEN_MAX: usize = 100;
/// Webhook requests in flight in one process.
pub const WEBHOOK_IN_FLIGHT_COUNT_MAX: usize = 256;
/// Webhook requests in flight to one endpoint when it does not say.
pub const WEBHOOK_ENDPOINT_IN_FLIGHT_COUNT_DEFAULT: usize = 16;
/// Events waiting for one endpoint in one process; further ones go to the durable retries at once.
pub const WEBHOOK_ENDPOINT_QUEUE_LEN_MAX: usize = 256;
/// Deliveries, waiting and in flight, that one process holds; it reads no further events meanwhile.
pub const WEBHOOK_HELD_COUNT_MAX: usize = 8192;
/// Bytes of event bodies waiting and in flight in one process.
pub const WEBHOOK_HELD_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Due retries that one process takes at once.
pub const WEBHOOK_RETRY_TAKE_COUNT_MAX: usize = 256;
/// Attempts on a page of an endpoint's attempt log.
pub const PAGE_ATTEMPT_COUNT: usize = 100;
/// An endpoint's description, bytes.
pub const ENDPOINT_DESCRIPTION_BYTES_MAX: usize = 1024;
/// One custom header's value, bytes.
pub const ENDPOINT_HEADER_BYTES_MAX: usize = 4096;
/// Requests a second that an endpoint may ask for.
pub const ENDPOINT_RATE_PER_S_MAX: f64 = 10_000.0;
/// One webhook attempt from look-up to the last byte read, seconds.
pub const WEBHOOK_TIMEOUT_S: u64 = 15;
/// What is read of an endpoint's answer, bytes.
pub const WEBHOOK_ANSWER_BYTES_MAX: usize = 4096;
/// Waits between webhook attempts, seconds: the schedule that Standard Webhooks 1.0 recommends, about three days.
pub const WEBHOOK_RETRY_WAITS_S: [u64; 9] = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];

/// Connections of one HTTP listener when configuration is silent.
pub const CONNECTION_COUNT_MAX: usize = 15_000;
/// Connections from one address (IPv6: one /64 network) when configuration is silent.
pub const CONNECTION_PER_ADDRESS_COUNT_MAX: usize = 4096;
/// Time in which a request's head must have come, seconds.
pub const HEADER_READ_S_MAX: u64 = 10;
/// Time in which a request's body must have come, seconds.
pub const BODY_READ_S_MAX: u64 = 30;
/// Time in which a body may come as slowly as it likes, seconds; then at [`BODY_BYTES_PER_S_MIN`].
pub const BODY_GRACE_S: u64 = 5;
/// Bytes of bodies that did not come in one piece and are held by one process; past it 503. A tenant may hold half of it.
pub const BODIES_HELD_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Rate at which a body must come, bytes a second.
pub const BODY_BYTES_PER_S_MIN: u64 = 1024;
/// Bytes of answers that are made and not yet taken by their peers in one process; past it 503 in place of a further large
/// one. A tenant may have half of it. Streams of events are not among them.
pub const ANSWERS_UNTAKEN_BYTES_MAX: usize = 128 * 1024 * 1024;
/// An answer that is served however many are not taken, bytes. An HTTP/1.1 connection has one at a time, so
/// [`CONNECTION_COUNT_MAX`] of them are 234 MiB.
pub const ANSWER_SMALL_BYTES_MAX: usize = 16 * 1024;
/// Small answers that an HTTP/2 connection may leave untaken, bytes; past it they count as large ones. At most
/// [`CONNECTION_COUNT_MAX`] times that: 938 MiB, or 256 MiB for one address.
pub const H2_CONNECTION_ANSWER_BYTES_MAX: usize = 64 * 1024;
/// An answer that is not counted at all, bytes: it is no larger than what its request holds anyway.
pub const ANSWER_UNCOUNTED_BYTES_MAX: usize = 1024;
/// Bytes of pages of metrics that are not taken yet; past it those who ask within a second share one.
pub const METRICS_UNTAKEN_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long a peer may take nothing of an answer that waits for it, seconds.
pub const ANSWER_STALL_S_MAX: u64 = 30;
/// Bytes of answers that wait in a connection's socket for the network, about; the rest waits in memory of ours. A socket whose
/// peer takes nothing was measured to hold 94 KiB of the kernel's memory with it, and 4.1 MiB without.
pub const SOCKET_UNSENT_BYTES: u32 = 64 * 1024;
/// What is read on, and thrown away, of a body that was refused, so that the caller sees the answer, bytes.
pub const BODY_DISCARD_BYTES_MAX: usize = 32 * 1024 * 1024;
/// How long an HTTP/1.1 connection may idle between two requests, the next request's head included, seconds.
pub const KEEP_ALIVE_IDLE_S_MAX: u64 = 75;
/// Silence after which a connection's peer is probed, seconds.
pub const TCP_KEEP_ALIVE_S: u64 = 30;
/// Requests at once on one HTTP/2 connection. Each may hold a head of [`HEADER_BYTES_MAX`].
pub const H2_STREAM_COUNT_MAX: u32 = 256;
/// What a request on HTTP/2 costs while it is under way beside its head, bytes, about.
pub const H2_REQUEST_BYTES: usize = 8 * 1024;
/// What all of them may cost in one process: 32,768 with small heads, more than streams and long polls together; past it
/// 503. A tenant may have three quarters.
pub const H2_REQUESTS_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Bytes of one request's body that an HTTP/2 peer may send ahead: a batch of 16 MiB still comes in time over 200 ms.
pub const H2_STREAM_WINDOW_BYTES: u32 = 128 * 1024;
/// Bytes of all bodies that an HTTP/2 peer may send ahead on one connection. With [`CONNECTION_COUNT_MAX`] of them 1.8 GiB,
/// with those of one address 512 MiB, if no handler read any; but what no handler is going to read is thrown away as it
/// comes, and what is read is counted by [`BODIES_HELD_BYTES_MAX`].
pub const H2_CONNECTION_WINDOW_BYTES: u32 = 128 * 1024;
/// Bytes of an answer that are handed to an HTTP/2 connection before the peer has room for them.
pub const H2_CHUNK_BYTES_MAX: usize = 16 * 1024;
/// Requests that an HTTP/2 peer may take back before we looked at them (CVE-2023-44487); past it the connection ends.
pub const H2_RESET_COUNT_MAX: usize = 20;
/// Requests that an HTTP/2 peer may take back before they are answered, over those that it lets be answered; past it the
/// connection ends.
pub const H2_TAKEN_BACK_COUNT_MAX: u32 = 256;
/// Streams that we reset because of an HTTP/2 peer's mistakes; past it the connection ends.
pub const H2_MISTAKE_COUNT_MAX: usize = 128;
/// How long an address waits with its next HTTP/2 connection after one of them was cut for such a flood, milliseconds.
pub const FLOOD_PAUSE_MS: u64 = 1_000;
/// Addresses (IPv6: /64 networks) that are remembered for that.
pub const FLOODER_COUNT_MAX: usize = 1024;
/// Refusals (429) that one process gives a tenant each second, and at once. Those past them wait for their place.
pub const REFUSALS_PER_S_MAX: u32 = 100;
/// The longest such wait, milliseconds. No `Retry-After` is shorter, so only who does not heed it is slowed.
pub const REFUSAL_HELD_MS_MAX: u64 = 1_000;
/// Time of one dependency's readiness check, milliseconds.
pub const READY_CHECK_MS_MAX: u64 = 1_000;
/// A request's head, bytes.
pub const HEADER_BYTES_MAX: usize = 32 * 1024;
/// A request's path and query, bytes: room for a stream token and a cursor.
pub const URI_BYTES_MAX: usize = 20 * 1024;
/// A caller's own request id, characters.
pub const REQUEST_ID_LEN_MAX: usize = 128;
/// How long a browser may remember what a preflight was told, seconds.
pub const CORS_AGE_S: u32 = 7200;
/// Time of a TLS handshake, seconds.
pub const TLS_HANDSHAKE_S_MAX: u64 = 10;
/// Time between two looks whether the certificate or its key has changed, seconds.
pub const TLS_POLL_S: u64 = 5;
/// A certificate's or key's file, bytes.
pub const TLS_FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Backlog of a listener: 15,000 reconnects took 21.9 s with 1,024 and 0.7 s with this.
pub const LISTEN_BACKLOG: i32 = 4096;
/// How long a stopping process waits for requests in flight, milliseconds.
pub const SHUTDOWN_DRAIN_MS_MAX: u64 = 15_000;

/// Usable API keys of one tenant.
pub const KEY_COUNT_MAX: usize = 1000;
/// An API key's name, bytes.
pub const KEY_NAME_BYTES_MAX: usize = 100;
/// How long a rotated key may go on beside the new one, seconds.
pub const KEY_OVERLAP_S_MAX: u64 = 30 * 86_400;
/// How long a rotated key goes on beside the new one when the caller does not say, seconds.
pub const KEY_OVERLAP_S_DEFAULT: u64 = 86_400;
/// Keys, or entries of the audit log, on a page.
pub const PAGE_ACCESS_COUNT_MAX: usize = 200;
/// Keys, or entries of the audit log, on a page when the caller does not say.
pub const PAGE_ACCESS_COUNT_DEFAULT: usize = 50;
/// Time between two looks whether a key or a tenant has changed, milliseconds.
pub const ACCESS_POLL_MS: u64 = 250;
/// One look whether a key or a tenant has changed, milliseconds.
pub const ACCESS_LOOK_MS_MAX: u64 = 1_000;
/// Reading what has changed of them, or everything at first, milliseconds.
pub const ACCESS_READ_MS_MAX: u64 = 10_000;
/// Time between two countings of tenants' open tasks, milliseconds.
pub const OPEN_TASKS_POLL_MS: u64 = 1_000;
/// Time between two writings of when keys were used last, seconds.
pub const KEY_USE_WRITE_S: u64 = 60;
/// How long keys are taken as they were last read while the database is away, seconds; past it requests get 503. A
/// revocation cannot be made meanwhile, but one made just before may be missed for so long.
pub const ACCESS_STALE_S_MAX: u64 = 300;
/// How long a dead key is remembered, so that its holder hears why it is refused, days.
pub const DEAD_KEY_DAYS: i64 = 30;
/// Dead keys that one process remembers for that, the ones that died last.
pub const DEAD_KEY_COUNT_MAX: usize = 1000;
/// How long entries of the audit log are kept, days.
pub const AUDIT_DAYS: i64 = 400;
/// Dead keys, or old entries of the audit log, that one statement deletes.
pub const ACCESS_PRUNE_ROW_COUNT_MAX: usize = 1000;
/// A tenant's name, bytes.
pub const TENANT_BYTES_MAX: usize = 100;
/// Life of a stream token, seconds.
pub const STREAM_TOKEN_S_MAX: u64 = 900;
/// How long what a replaced secret has signed is still believed, seconds: the life of a token, and a minute for processes
/// that hear late of the replacement.
pub const STREAM_SECRET_OVERLAP_S: i64 = STREAM_TOKEN_S_MAX as i64 + 60;
/// Channels that one stream token is bound to.
pub const STREAM_TOKEN_CHANNEL_COUNT_MAX: usize = 16;
/// A stream token, bytes: it travels in a URL, and proxies take lines of 8 KiB.
pub const STREAM_TOKEN_BYTES_MAX: usize = 4096;
