//! Keys and stream tokens of every kind, good and bad, for the table of hostile callers.

use anyhow::Context as _;
use chrono::{TimeDelta, Utc};
use posthaste_types::ApiKey;
use posthaste_types::api_key::RANDOM_BYTES;
use serde_json::json;

use crate::keys::{Caller, create_key};
use crate::process::Process;
use crate::world::World;

/// The secrets by the names that the table has for them.
pub(crate) struct Secrets {
    pub(crate) by_name: Vec<(&'static str, String)>,
    /// A key that may submit.
    pub(crate) submit: String,
}

pub(crate) async fn of_all_kinds(world: &World, process: &Process) -> anyhow::Result<Secrets> {
    let admin = Caller::new(world, &process.url, &create_key(world, "hostile", "admin").await?);
    let other = Caller::new(world, &process.url, &create_key(world, "other", "admin").await?);
    admin.let_in().await?;
    other.let_in().await?;
    let (_, submit) = admin
        .issue(&json!({"name": "submit", "scopes": ["submit"]}))
        .await?;
    let (_, read) = admin.issue(&json!({"name": "read", "scopes": ["read"]})).await?;
    admin.with_key(&submit).let_in().await?;
    admin.with_key(&read).let_in().await?;
    let token = admin
        .with_key(&read)
        .stream_token(&json!({"channels": ["hostile"]}))
        .await?;
    let mistyped = with_one_changed(&read, read.len() / 2)?;
    let tampered = with_one_changed(&token, token.len() / 3)?;
    Ok(Secrets {
        submit: submit.clone(),
        by_name: vec![
            ("expired", expired(&admin).await?),
            ("revoked", revoked(&admin).await?),
            (
                "forged",
                ApiKey::from_random(&[7; RANDOM_BYTES]).expose().to_owned(),
            ),
            ("cut", read[..read.len() - 1].to_owned()),
            ("admin", admin.key),
            ("other", other.key),
            ("submit", submit),
            ("read", read),
            ("mistyped", mistyped),
            ("token", token),
            ("tampered", tampered),
        ],
    })
}

async fn expired(admin: &Caller) -> anyhow::Result<String> {
    let soon = Utc::now() + TimeDelta::seconds(2);
    let body = json!({"name": "expired", "scopes": ["read"], "expires_at": soon});
    let (_, key) = admin.issue(&body).await?;
    admin.with_key(&key).shut_out().await?;
    Ok(key)
}

async fn revoked(admin: &Caller) -> anyhow::Result<String> {
    let (id, key) = admin
        .issue(&json!({"name": "revoked", "scopes": ["read"]}))
        .await?;
    admin.ask("DELETE", &format!("/v1/keys/{id}"), None).await?;
    admin.with_key(&key).shut_out().await?;
    Ok(key)
}

/// The text with another letter at one place.
fn with_one_changed(text: &str, at: usize) -> anyhow::Result<String> {
    let letter = text.as_bytes().get(at).context("a place in it")?;
    let other = if *letter == b'a' { "b" } else { "a" };
    Ok(format!("{}{other}{}", &text[..at], &text[at + 1..]))
}
