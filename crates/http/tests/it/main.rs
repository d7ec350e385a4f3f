//! The serving loop and the front door, over real sockets.

mod bodies;
#[cfg(test)]
mod client;
#[cfg(test)]
mod cors;
#[cfg(test)]
mod door;
#[cfg(test)]
mod floods;
#[cfg(test)]
mod held;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod local;
mod operating;
mod pages;
#[cfg(test)]
mod places;
mod quotas;
mod serving;
#[cfg(test)]
mod slow;
mod strange;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod untaken;
