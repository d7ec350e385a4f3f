//! The schema registry, over Confluent's API. Only set-up and readers of foreign schemas need it.

use std::time::Duration;

use schema_registry_converter::async_impl::schema_registry::{SrSettings, get_schema_by_id, post_schema};
use schema_registry_converter::error::SRCError;
use schema_registry_converter::schema_registry_common::{SchemaType, SuppliedSchema};

use crate::Error;

const ANSWER_WAIT: Duration = Duration::from_secs(10);
const CONTENT_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// A cheap handle on the registry.
#[derive(Debug, Clone)]
pub struct Registry {
    settings: SrSettings,
    /// For the routes that the library does not have.
    http: reqwest::Client,
    url: String,
}

impl Registry {
    /// Makes the client of the registry at `url` (up to, not including, `/subjects`); it may be away.
    ///
    /// # Errors
    /// The URL is none.
    pub fn new(url: &str) -> Result<Self, Error> {
        let url = url.trim_end_matches('/').to_owned();
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(Error::Setup(
                "the schema registry's URL does not begin with http:// or https://".to_owned(),
            ));
        }
        let settings = SrSettings::new_builder(url.clone())
            .set_timeout(ANSWER_WAIT)
            .build();
        let settings = settings.map_err(registry_error("make a client"))?;
        let http = reqwest::Client::builder().timeout(ANSWER_WAIT).build();
        let http = http.map_err(|source| Error::RegistryHttp {
            operation: "make a client",
            source,
        })?;
        Ok(Self { settings, http, url })
    }

    /// Registers an Avro schema's text under `subject` and answers its id; the same text again gets the same id.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Setup`]: the schema is not compatible with the subject's earlier ones. The registry is away.
    pub async fn register(&self, subject: &str, avsc: &str) -> Result<i32, Error> {
        let schema = SuppliedSchema::new(None, SchemaType::Avro, avsc.to_owned());
        let registered = post_schema(&self.settings, subject.to_owned(), schema).await;
        let id = registered.map_err(registry_error("register a schema"))?.id;
        i32::try_from(id).map_err(|_| Error::Setup("the registry answered an id above 2^31".to_owned()))
    }

    /// The text of the schema with this id.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Setup`]: there is none. The registry is away.
    pub async fn schema_text(&self, id: i32) -> Result<String, Error> {
        let id = u32::try_from(id).map_err(|_| Error::Setup(format!("no schema can have the id {id}")))?;
        let schema = get_schema_by_id(id, &self.settings)
            .await
            .map_err(registry_error("give a schema"))?;
        Ok(schema.schema)
    }

    /// Sets the compatibility rule (`BACKWARD` and so on) of a subject, or of all that have none of their own.
    ///
    /// # Errors
    /// The registry is away or refuses.
    pub async fn ensure_compatibility(&self, subject: Option<&str>, rule: &str) -> Result<(), Error> {
        let url = subject.map_or_else(
            || format!("{}/config", self.url),
            |name| format!("{}/config/{name}", self.url),
        );
        let body = serde_json::json!({ "compatibility": rule }).to_string();
        let request = self.http.put(url).header("content-type", CONTENT_TYPE).body(body);
        send("set the compatibility rule", request).await
    }

    /// Succeeds when the registry answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), Error> {
        send("answer", self.http.get(format!("{}/schemas/types", self.url))).await
    }
}

async fn send(operation: &'static str, request: reqwest::RequestBuilder) -> Result<(), Error> {
    let answer = request.send().await.and_then(reqwest::Response::error_for_status);
    // The URL may hold a password.
    answer.map(drop).map_err(|source| Error::RegistryHttp {
        operation,
        source: source.without_url(),
    })
}

fn registry_error(operation: &'static str) -> impl Fn(SRCError) -> Error {
    move |source| Error::Registry { operation, source }
}
