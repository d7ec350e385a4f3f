//! What a run is told on the command line. Holds values only.

use clap::Args;

/// Measures the way of a task: POST, queue, handler, event.
#[derive(Debug, Clone, Args)]
pub struct RoundTrip {
    /// Tasks a second, sent on a fixed schedule whatever the answers do; without it, as many as go through
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: Option<u32>,

    /// Without --rate: tasks that are under way at once
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub in_flight: u32,

    /// Seconds that are measured
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub duration: u64,

    /// Seconds before them that are not: caches and plans warm up
    #[arg(long, value_name = "S", default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=600))]
    pub warm_up: u64,

    /// Seconds to wait at the end for what is still under way; what has not come then counts as lost
    #[arg(long, value_name = "S", default_value_t = 30, value_parser = clap::value_parser!(u64).range(0..=600))]
    pub drain: u64,

    /// HTTP connections that submit
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub connections: u16,

    /// Tasks in one request; more than 1 uses POST /v1/tasks/batch
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub batch: u16,

    /// Task type; a worker must serve it
    #[arg(long = "type", value_name = "TYPE", default_value = "echo")]
    pub task_type: String,

    /// Queue
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub queue: String,

    /// Bytes of padding in each payload
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub payload_bytes: u32,

    /// Where the event stream is, if not at the same address as the submissions
    #[arg(long, value_name = "URL")]
    pub events_url: Option<String>,

    /// Show no progress
    #[arg(long)]
    pub quiet: bool,
}
