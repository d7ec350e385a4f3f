#![doc = include_str!("../README.md")]
#![expect(
    clippy::result_large_err,
    reason = "a problem document is the outcome of a refused request, not of a hot path"
)]

mod api;
mod directory;
mod door;
mod keys;
mod page;
mod quotas;
mod routes;
mod service;
mod stream_secrets;
mod stream_token;
mod tenants;
mod usage;
mod watch;

pub use keys::{Issued, Keys, key_view, key_views, listed_id};
pub use service::{Deps, Service};
pub use stream_secrets::rotate_stream_secret;
pub use tenants::{LimitChanges, set_limits};
