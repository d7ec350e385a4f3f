//! `posthaste endpoints`.

use clap::{Args, Subcommand};
use posthaste_client::{Client, NewEndpoint};
use posthaste_types::{EndpointId, EventKind};

use crate::cli::Target;
use crate::exit::Outcome;
use crate::output;
use crate::settings::key_value;

/// What to do with endpoints.
#[derive(Debug, Subcommand)]
pub(crate) enum Endpoints {
    /// Make an endpoint and show its secret, this once
    #[command(
        after_help = "Example:\n  posthaste endpoints add https://example.com/hook --event task.done --channel orders"
    )]
    Add(Box<Add>),
    /// List endpoints
    #[command(after_help = "Example:\n  posthaste endpoints list --json")]
    List,
    /// Remove an endpoint
    #[command(after_help = "Example:\n  posthaste endpoints rm ep_01h2e8kqvbfwea724h75qc655w")]
    Rm {
        /// The endpoint's id
        id: EndpointId,
    },
}

/// An endpoint to be.
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// Where events are posted
    #[arg(value_name = "URL")]
    address: String,
    /// Kinds of event; may be repeated; none means the final ones
    #[arg(long = "event", value_name = "KIND", value_delimiter = ',')]
    events: Vec<EventKind>,
    /// Only that channel; may be repeated
    #[arg(long = "channel", value_name = "NAME")]
    channels: Vec<String>,
    /// Only tasks of that type; may be repeated
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// For people
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,
    /// Sent with each request; may be repeated
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = key_value)]
    headers: Vec<(String, String)>,
    /// Requests a second
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    rate: Option<f64>,
    /// Requests at once
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    max_in_flight: Option<u32>,
    /// One at a time, in order
    #[arg(long)]
    ordered: bool,
}

impl Endpoints {
    pub(crate) async fn run(self, target: &Target) -> anyhow::Result<Outcome> {
        let client = target.client()?;
        match self {
            Self::Add(add) => add.run(&client, target).await?,
            Self::List => list(&client, target).await?,
            Self::Rm { id } => client.delete_endpoint(id).await?,
        }
        Ok(Outcome::Done)
    }
}

impl Add {
    async fn run(self, client: &Client, target: &Target) -> anyhow::Result<()> {
        let new = NewEndpoint {
            url: self.address,
            events: self.events,
            channels: self.channels,
            types: self.types,
            description: self.description,
            headers: self.headers.into_iter().collect(),
            rate_per_s: self.rate,
            max_in_flight: self.max_in_flight,
            ordered: self.ordered,
            signing: None,
        };
        let endpoint = client.create_endpoint(&new).await?;
        if target.json {
            return output::json(&endpoint);
        }
        output::line(format_args!("{}  {}", endpoint.id, endpoint.url))?;
        if let Some(secret) = endpoint.secret {
            output::line(format_args!("secret  {secret}"))?;
        }
        Ok(())
    }
}

async fn list(client: &Client, target: &Target) -> anyhow::Result<()> {
    let page = client.endpoints().await?;
    if target.json {
        return output::json(&page);
    }
    let rows: Vec<_> = page
        .endpoints
        .into_iter()
        .map(|endpoint| {
            let events = endpoint
                .events
                .iter()
                .map(|kind| kind.as_str())
                .collect::<Vec<_>>()
                .join(",");
            let enabled = match (endpoint.enabled, endpoint.disabled_reason) {
                (true, _) => "enabled".to_owned(),
                (false, None) => "disabled".to_owned(),
                (false, Some(reason)) => format!("disabled: {reason}"),
            };
            [endpoint.id.to_string(), endpoint.url, events, enabled]
        })
        .collect();
    Ok(output::table(["ID", "URL", "EVENTS", "STATUS"], &rows)?)
}
