//! The serving loop, over real sockets.

mod bodies;
#[cfg(test)]
mod client;
mod operating;
mod pages;
mod serving;
