//! Keys, limits, tokens and the audit log on a real Postgres, over several processes' directories.
#![cfg_attr(
    test,
    expect(
        clippy::result_large_err,
        reason = "a refused caller is what many tests look at"
    )
)]

#[cfg(test)]
mod audit;
#[cfg(test)]
mod first_key;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod life;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod outage;
#[cfg(test)]
mod record;
#[cfg(test)]
mod tokens;
#[cfg(test)]
mod usage;
#[cfg(test)]
mod world;
