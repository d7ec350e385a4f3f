//! The role's routes over a real Postgres.

#[cfg(test)]
mod batch;
#[cfg(test)]
mod change;
#[cfg(test)]
mod idempotency;
#[cfg(test)]
mod json;
#[cfg(test)]
mod listing;
#[cfg(test)]
mod outage;
#[cfg(test)]
mod reading;
#[cfg(test)]
mod submitting;
#[cfg(test)]
mod waiting;
#[cfg(test)]
mod world;
