//! The name of every metric, once, with its meaning; `posthaste_<area>_<name>_<unit>`.

macro_rules! metrics_list {
    ($($(#[doc = $doc:literal])+ $kind:ident $name:ident = $text:literal;)+) => {
        $($(#[doc = $doc])+ pub const $name: &str = $text;)+

        /// Every metric: name, kind (`counter`, `gauge` or `histogram`) and help text.
        pub const ALL: &[(&str, &str, &str)] = &[$(($text, stringify!($kind), concat!($($doc),+))),+];
    };
}

metrics_list! {
    /// Submissions answered with 202.
    counter ACCEPTED = "posthaste_ingest_accepted_total";
    /// Requests answered with a problem, by `code`.
    counter HTTP_PROBLEMS = "posthaste_http_problems_total";
    /// Requests answered, by `class` of status (`2xx`).
    counter HTTP_REQUESTS = "posthaste_http_requests_total";
    /// Time from a request's head to its answer's head, seconds; a wait that the caller asked for is in it.
    histogram HTTP_SECONDS = "posthaste_http_request_seconds";
    /// Connections open now.
    gauge HTTP_CONNECTIONS = "posthaste_http_connections";
    /// Connections closed at once, by `bound`: `total` or `address`.
    counter HTTP_CONNECTIONS_REFUSED = "posthaste_http_connections_refused_total";
    /// Connections and HTTP/2 streams cut because the peer took nothing of an answer.
    counter HTTP_STALLED = "posthaste_http_stalled_total";
    /// HTTP/2 connections cut because the peer flooded them.
    counter HTTP_FLOODS = "posthaste_http_floods_total";
    /// Time from a submission's arrival to its 202, seconds.
    histogram ACCEPT_SECONDS = "posthaste_ingest_accept_seconds";
    /// Rows that grouped commits wrote, by `group`.
    counter COMMITTED = "posthaste_store_committed_rows_total";
    /// Rows of one grouped commit, by `group`.
    histogram COMMIT_ROWS = "posthaste_store_commit_rows";
    /// Time of one grouped commit, seconds, by `group`.
    histogram COMMIT_SECONDS = "posthaste_store_commit_seconds";
    /// Outbox rows that the broker has acknowledged.
    counter PUBLISHED = "posthaste_connector_published_total";
    /// Outbox rows found in their partition already and not published again.
    counter SKIPPED = "posthaste_connector_skipped_total";
    /// Outbox rows that went to the dead letters.
    counter CONNECTOR_DEAD = "posthaste_connector_dead_total";
    /// Time from an outbox row's creation to the broker's acknowledgement, seconds.
    histogram PUBLISH_SECONDS = "posthaste_connector_publish_seconds";
    /// Bytes of log between what the server has written and what the slot has confirmed.
    gauge SLOT_LAG_BYTES = "posthaste_connector_slot_lag_bytes";
    /// Age of the oldest log that the slot has not confirmed, seconds, as looked at once a second.
    gauge SLOT_LAG_SECONDS = "posthaste_connector_slot_lag_seconds";
    /// Bytes of log that the server keeps for the slot.
    gauge SLOT_RETAINED_BYTES = "posthaste_connector_slot_retained_bytes";
    /// Bytes of log that may still be written before the server lets the slot go; absent where it keeps any amount.
    gauge SLOT_SAFE_BYTES = "posthaste_connector_slot_safe_bytes";
    /// The share of the log that the slot may keep that it keeps, 0 to 1; absent where it may keep any amount.
    gauge SLOT_WAL_SHARE = "posthaste_connector_slot_wal_share";
    /// The slot's `wal_status`, by `status`: 1 for what it is, 0 for what it is not.
    gauge SLOT_WAL_STATUS = "posthaste_connector_slot_wal_status";
    /// Whether the connector is streaming: 1 or 0.
    gauge CONNECTOR_STREAMING = "posthaste_connector_streaming";
    /// Whether the connector is asked to stand still: 1 or 0.
    gauge CONNECTOR_PAUSED = "posthaste_connector_paused";
    /// Attempts that workers have claimed.
    counter CLAIMED = "posthaste_worker_claimed_total";
    /// Time from a task's creation to its claim, seconds, first attempts only.
    histogram QUEUE_SECONDS = "posthaste_worker_queue_seconds";
    /// Time a handler took, seconds, by `type`.
    histogram HANDLER_SECONDS = "posthaste_worker_handler_seconds";
    /// Tasks that ended DONE.
    counter DONE = "posthaste_worker_done_total";
    /// Tasks that ended FAILED.
    counter FAILED = "posthaste_worker_failed_total";
    /// Attempts that failed and will be retried.
    counter RETRIED = "posthaste_worker_retried_total";
    /// Writes of a worker that had lost its claim, refused.
    counter STALE_WRITES = "posthaste_worker_stale_writes_total";
    /// Handlers running now.
    gauge HANDLERS_RUNNING = "posthaste_worker_handlers_running";
    /// Records that no worker could decode and that went to the dead letters.
    counter WORKER_DEAD = "posthaste_worker_dead_total";
    /// Timers that the scheduler has fired, by `kind`.
    counter TIMERS_FIRED = "posthaste_scheduler_timers_fired_total";
    /// Events read from the results topic.
    counter EVENTS_READ = "posthaste_delivery_events_read_total";
    /// Events sent to streams.
    counter EVENTS_SENT = "posthaste_delivery_events_sent_total";
    /// Records of the results topic that could not be decoded.
    counter DELIVERY_DEAD = "posthaste_delivery_dead_total";
    /// Time from an event's happening to its being readable by streams, seconds.
    histogram DELIVER_SECONDS = "posthaste_delivery_deliver_seconds";
    /// Time from a task's creation to its final event being readable by streams, seconds.
    histogram ROUND_TRIP_SECONDS = "posthaste_delivery_round_trip_seconds";
    /// Streams open now.
    gauge STREAMS_OPEN = "posthaste_delivery_streams_open";
    /// Webhook attempts, by `status`.
    counter WEBHOOK_ATTEMPTS = "posthaste_webhook_attempts_total";
    /// Time of one webhook attempt, seconds.
    histogram WEBHOOK_SECONDS = "posthaste_webhook_attempt_seconds";
}
