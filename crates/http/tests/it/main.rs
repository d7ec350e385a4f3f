//! The serving loop, over real sockets.

mod bodies;
#[cfg(test)]
mod client;
mod operating;
mod serving;
