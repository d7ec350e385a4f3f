//! The client: where it sends, what it sends with every request, and how often.

use std::time::Duration;

use posthaste_types::api_key::ApiKey;
use posthaste_types::limits::HEARTBEAT_S;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Certificate, Method, RequestBuilder, Response, Url, redirect};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;
use crate::answer::{read, success};
use crate::retry::{Waits, retry_after};

/// An answer that takes longer than what it was allowed to wait and this is given up.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// A stream that is silent for longer than two heartbeats is dead.
const SILENCE_MAX: Duration = Duration::from_secs(2 * HEARTBEAT_S + 5);

/// A cheap handle on one server.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    /// For streams, which have no end but are never silent for long.
    streams: reqwest::Client,
    base: Url,
}

/// What a client is made of. Its debug form hides the key.
#[derive(Debug, Clone, Default)]
pub struct ClientOptions {
    key: Option<ApiKey>,
    authorities: Vec<Certificate>,
}

impl ClientOptions {
    /// An API key to send with every request, `phk_…`.
    ///
    /// # Errors
    /// [`Error::Key`] when it is mistyped.
    pub fn key(mut self, key: &str) -> Result<Self, Error> {
        self.key = Some(ApiKey::parse(key.trim()).map_err(Error::Key)?);
        Ok(self)
    }

    /// Certificates to trust beside those of the system, in PEM: for a server whose certificate is one of one's own.
    ///
    /// # Errors
    /// [`Error::Authority`].
    pub fn certificate_authority(mut self, pem: &[u8]) -> Result<Self, Error> {
        self.authorities
            .extend(Certificate::from_pem_bundle(pem).map_err(Error::Authority)?);
        Ok(self)
    }

    fn headers(&self) -> HeaderMap {
        let authorization = self.key.as_ref().map(|key| {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose()))
                .expect("a key is letters and digits");
            value.set_sensitive(true);
            (AUTHORIZATION, value)
        });
        authorization.into_iter().collect()
    }

    fn builder(&self) -> reqwest::ClientBuilder {
        reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .tcp_nodelay(true)
            .default_headers(self.headers())
            .tls_certs_merge(self.authorities.iter().cloned())
            // The contract has none, and the key is for the server that was named.
            .redirect(redirect::Policy::none())
            .user_agent(concat!("posthaste-client/", env!("CARGO_PKG_VERSION")))
    }
}

impl Client {
    /// A client without a key of the server at `url`, such as `http://127.0.0.1:8080`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Address`].
    pub fn new(url: &str) -> Result<Self, Error> {
        Self::with(url, &ClientOptions::default())
    }

    /// A client of the server at `url`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Address`], or [`Error::Unreachable`] when the certificates cannot be used.
    pub fn with(url: &str, options: &ClientOptions) -> Result<Self, Error> {
        let base = Url::parse(url)
            .ok()
            .filter(|base| matches!(base.scheme(), "http" | "https"));
        let mut base = base.ok_or_else(|| Error::Address(url.to_owned()))?;
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let http = options.builder().build().map_err(Error::Unreachable)?;
        let streams = options.builder().read_timeout(SILENCE_MAX).build();
        Ok(Self {
            http,
            streams: streams.map_err(Error::Unreachable)?,
            base,
        })
    }

    /// Whether every dependency of the server answers: `GET /readyz`.
    ///
    /// # Errors
    /// [`Error::Unreachable`].
    pub async fn is_ready(&self) -> Result<bool, Error> {
        let request = self.request(Method::GET, "readyz");
        let sent = request.timeout(Duration::from_secs(5)).send().await;
        Ok(sent.map_err(Error::unsent)?.status().is_success())
    }

    /// A request to a path of the server, without a time limit.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.url(path))
    }

    /// A GET whose answer may go on for ever; a silence that is too long ends it, before its head too.
    pub(crate) fn stream(&self, path: &str) -> RequestBuilder {
        self.streams.get(self.url(path))
    }

    fn url(&self, path: &str) -> Url {
        self.base
            .join(path)
            .expect("paths are made here of URL-safe characters")
    }

    /// A POST of JSON.
    pub(crate) fn post(&self, path: &str, body: &impl Serialize) -> RequestBuilder {
        self.request(Method::POST, path).json(body)
    }

    /// Sends once, and reads the answer or the problem: for what must not be done twice.
    pub(crate) async fn call<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Error> {
        read(send(request).await?).await
    }

    /// GETs, again while the failure is transient.
    pub(crate) async fn get_json<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &impl Serialize,
    ) -> Result<T, Error> {
        read(
            self.retried(|| self.request(Method::GET, path).query(query))
                .await?,
        )
        .await
    }

    /// DELETEs, again while the failure is transient.
    pub(crate) async fn delete(&self, path: &str) -> Result<(), Error> {
        self.retried(|| self.request(Method::DELETE, path))
            .await
            .map(drop)
    }

    /// Sends what may be sent twice, until it succeeds, the failure is not transient, or the tries are used up.
    pub(crate) async fn retried(&self, make: impl Fn() -> RequestBuilder) -> Result<Response, Error> {
        let mut waits = Waits::default();
        loop {
            let sent = send(make()).await;
            let asked = sent.as_ref().ok().and_then(retry_after);
            let error = match sent {
                Ok(answer) => match success(answer).await {
                    Ok(answer) => return Ok(answer),
                    Err(error) => error,
                },
                Err(error) => error,
            };
            let Some(wait) = waits.before_next_try(&error, asked) else {
                return Err(error);
            };
            tokio::time::sleep(wait).await;
        }
    }
}

async fn send(request: RequestBuilder) -> Result<Response, Error> {
    let sent = request.timeout(ANSWER_TIMEOUT).send().await;
    sent.map_err(Error::unsent)
}
