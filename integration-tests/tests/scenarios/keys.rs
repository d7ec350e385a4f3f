//! Callers with API keys, for the scenarios about who may do what.

use anyhow::{Context as _, ensure};
use posthaste_types::{KeyId, TaskId};
use reqwest::Method;
use serde_json::{Value, json};

use crate::process::run;
use crate::world::{World, eventually};

/// A key made by the command line, as an operator makes the first one.
pub(crate) async fn create_key(world: &World, tenant: &str, scopes: &str) -> anyhow::Result<String> {
    let arguments = [
        "keys", "create", "--name", "scenario", "--tenant", tenant, "--scopes", scopes,
    ];
    let output = run(world, &arguments).await?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "no key was made: {told}");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Sets limits of a tenant, as `--tasks-per-s 5`.
pub(crate) async fn set_limits(world: &World, tenant: &str, limits: &[&str]) -> anyhow::Result<()> {
    let output = run(world, &[&["tenants", "set", tenant], limits].concat()).await?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "no limit was set: {told}");
    Ok(())
}

/// An answer as far as scenarios look at it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_str(&self.text).with_context(|| self.text.clone())
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Somebody with a key, who asks one process.
#[derive(Clone)]
pub(crate) struct Caller {
    http: reqwest::Client,
    pub(crate) url: String,
    pub(crate) key: String,
}

impl Caller {
    pub(crate) fn new(world: &World, url: &str, key: &str) -> Self {
        Self {
            http: world.http.clone(),
            url: url.to_owned(),
            key: key.to_owned(),
        }
    }

    /// The same caller at another process.
    pub(crate) fn at(&self, url: &str) -> Self {
        Self {
            url: url.to_owned(),
            ..self.clone()
        }
    }

    /// The same at the same process with another key.
    pub(crate) fn with_key(&self, key: &str) -> Self {
        Self {
            key: key.to_owned(),
            ..self.clone()
        }
    }

    /// A request with the key, not yet sent.
    pub(crate) fn request(&self, method: &str, path: &str) -> anyhow::Result<reqwest::RequestBuilder> {
        let method: Method = method.parse()?;
        let request = self.http.request(method, format!("{}{path}", self.url));
        Ok(request.bearer_auth(&self.key))
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Answer> {
        let mut request = self.request(method, path)?;
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await?;
        Ok(Answer {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            text: answer.text().await?,
        })
    }

    /// Asks, and expects this status and a JSON body.
    pub(crate) async fn expect(
        &self,
        status: u16,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let answer = self.ask(method, path, body).await?;
        ensure!(
            answer.status == status,
            "{method} {path}: {} {}",
            answer.status,
            answer.text
        );
        answer.json()
    }

    /// Submits an `echo` task into a channel; gives its id.
    pub(crate) async fn submit(&self, channel: &str) -> anyhow::Result<TaskId> {
        let body = json!({"type": "echo", "channel": channel, "payload": channel});
        let accepted = self.expect(202, "POST", "/v1/tasks", Some(&body)).await?;
        Ok(accepted["id"].as_str().context("an id")?.parse()?)
    }

    /// A new key of the caller's tenant; gives its id and text.
    pub(crate) async fn issue(&self, body: &Value) -> anyhow::Result<(KeyId, String)> {
        let key = self.expect(201, "POST", "/v1/keys", Some(body)).await?;
        let text = |name: &str| key[name].as_str().map(str::to_owned);
        Ok((
            text("id").context("an id")?.parse()?,
            text("key").context("a key")?,
        ))
    }

    /// A stream token; its text.
    pub(crate) async fn stream_token(&self, body: &Value) -> anyhow::Result<String> {
        let token = self.expect(201, "POST", "/v1/stream-tokens", Some(body)).await?;
        Ok(token["token"].as_str().context("a token")?.to_owned())
    }

    /// Waits until the process knows the key, which it does within a moment.
    pub(crate) async fn let_in(&self) -> anyhow::Result<()> {
        self.gets_status("/v1/stream-tokens", |status| status != 401)
            .await
    }

    /// Waits until the process refuses the key.
    pub(crate) async fn shut_out(&self) -> anyhow::Result<()> {
        self.gets_status("/v1/stream-tokens", |status| status == 401)
            .await
    }

    async fn gets_status(&self, path: &str, is_wanted: impl Fn(u16) -> bool) -> anyhow::Result<()> {
        eventually("the key is taken or refused", async || {
            let status = self.ask("POST", path, Some(&json!({}))).await?.status;
            ensure!(is_wanted(status), "{path} answers {status}");
            Ok(())
        })
        .await
    }
}
