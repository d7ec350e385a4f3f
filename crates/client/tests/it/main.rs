//! The client against servers that refuse, cut and come back.

#[cfg(test)]
mod scripted;

mod door;
mod retries;
mod streams;
