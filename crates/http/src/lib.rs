#![doc = include_str!("../README.md")]
#![expect(
    clippy::result_large_err,
    reason = "a problem is at the lint's bound, and moves only when a request is refused"
)]

mod body;
mod connection;
mod listener;
mod operating;
mod pointer;
mod query;
mod reject;
mod response;
mod tenant;

pub use body::{body, json_body, parse_json};
pub use listener::{BindError, Listener, bind};
pub use operating::{Check, Readiness, bounded_check, operating};
pub use query::{Query, query};
pub use reject::{Refused, delete, finish, get, patch, post, refuse};
pub use response::{HttpResponse, Routes, either, empty, json, problem, reply, stream};
pub use tenant::{Tenant, tenant};
