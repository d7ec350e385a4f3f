//! The client against servers that refuse, cut and come back.

#[cfg(test)]
mod scripted;

#[cfg(test)]
mod door;
#[cfg(test)]
mod retries;
#[cfg(test)]
mod streams;
