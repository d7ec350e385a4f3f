#![doc = include_str!("../README.md")]
#![expect(
    clippy::result_large_err,
    reason = "a problem is at the lint's bound, and moves only when a request is refused"
)]

mod body;
mod caller;
mod connection;
mod front;
mod listener;
mod operating;
mod pointer;
mod query;
mod quota;
mod reject;
mod response;

pub use body::{body, json_body, parse_json};
pub use caller::{Actor, Caller, StreamGrant, caller, stream_caller, unauthenticated};
pub use front::{Authenticator, Credentials, Front};
pub use listener::{BindError, Listener, bind};
pub use operating::{Check, Readiness, bounded_check, operating};
pub use query::{Query, query};
pub use quota::{Quota, StreamPlace};
pub use reject::{Refused, delete, finish, get, patch, post, refuse};
pub use response::{HttpResponse, Routes, either, empty, json, problem, reply, stream};
