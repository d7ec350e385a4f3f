#![doc = include_str!("../README.md")]
#![expect(
    clippy::result_large_err,
    reason = "a problem is at the lint's bound, and moves only when a request is refused"
)]

mod access_log;
mod answer;
mod body;
mod budget;
mod caller;
mod connection;
mod cors;
mod credentials;
mod discard;
mod door;
mod dress;
mod flooders;
mod flow;
mod front;
mod held;
mod json_text;
mod listener;
mod local;
mod operating;
mod options;
mod pace;
mod paced;
mod pages;
mod places;
mod plain;
mod pointer;
mod query;
mod quota;
mod rate;
mod reject;
mod request_id;
mod response;
mod scrape;
mod strange;
mod tls;
mod under_way;
mod unread;
mod untaken;

pub use body::{body, json_body, parse_json, parse_json_envelope};
pub use caller::{Actor, Caller, StreamGrant, caller, no_credentials, stream_caller, unauthenticated};
pub use cors::{Cors, InvalidOrigin};
pub use front::{Authenticator, Credentials, Front};
pub use listener::{BindError, Listener, bind};
pub use operating::{Check, Readiness, bounded_check, operating};
pub use options::ServeOptions;
pub use pages::pages;
pub use query::{Query, no_query, query};
pub use quota::{Quota, StreamPlace};
pub use reject::{Refused, delete, finish, get, patch, post, refuse};
pub use request_id::{PeerAddress, RequestId};
pub use response::{HttpResponse, Routes, any_of, empty, json, problem, reply, stream};
pub use tls::{Tls, TlsError};
