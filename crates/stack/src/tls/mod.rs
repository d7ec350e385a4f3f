//! What a test of TLS needs beside the parts: an authority that issues certificates, and a front for what speaks plain HTTP.

mod authority;
mod front;

pub use authority::{Authority, Issued};
pub use front::TlsFront;
