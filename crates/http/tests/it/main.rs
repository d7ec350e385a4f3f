//! The serving loop, over real sockets.

mod bodies;
#[cfg(test)]
mod client;
mod cors;
mod door;
mod floods;
mod keys;
mod operating;
mod pages;
mod places;
mod quotas;
mod serving;
mod slow;
mod strange;
mod tls;
