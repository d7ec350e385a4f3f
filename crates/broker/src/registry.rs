//! The schema registry, over Confluent's API. Only set-up and readers of foreign schemas need it.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use posthaste_schema::{JsonEncoder, SchemaId};
use reqwest::{Certificate, StatusCode, Url};
use schema_registry_converter::async_impl::schema_registry::{SrSettings, get_schema_by_id, post_schema};
use schema_registry_converter::error::SRCError;
use schema_registry_converter::schema_registry_common::{SchemaType, SuppliedSchema};

use crate::{Error, RegistryOptions};

const ANSWER_WAIT: Duration = Duration::from_secs(10);
const CONTENT_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// A cheap handle on the registry.
#[derive(Clone)]
pub struct Registry {
    settings: SrSettings,
    /// For the routes that the library does not have.
    http: reqwest::Client,
    /// Without user and password, so that no error can show them.
    url: String,
    login: Option<Login>,
}

/// Basic authentication.
#[derive(Clone)]
struct Login {
    user: String,
    password: Option<String>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl Registry {
    /// Makes the client; the registry may be away.
    ///
    /// # Errors
    /// [`Error::Setup`]: the URL is none, or the authority's certificate cannot be read.
    pub fn new(options: &RegistryOptions) -> Result<Self, Error> {
        let (url, login) = split_login(&options.url)?;
        let certificates = options.ca.as_deref().map(certificates).transpose()?;
        let builder = || {
            let builder = reqwest::Client::builder().timeout(ANSWER_WAIT);
            match certificates.clone() {
                Some(certificates) => builder.tls_certs_only(certificates),
                None => builder,
            }
        };
        let mut settings = SrSettings::new_builder(url.clone());
        settings.set_timeout(ANSWER_WAIT);
        if let Some(Login { user, password }) = &login {
            settings.set_basic_authorization(user, password.as_deref());
        }
        let settings = settings
            .build_with(builder())
            .map_err(registry_error("make a client"))?;
        let http = builder().build().map_err(|source| Error::RegistryHttp {
            operation: "make a client",
            source,
        })?;
        Ok(Self {
            settings,
            http,
            url,
            login,
        })
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

    /// An encoder by the newest schema of `subject`; `None`: there is none, or it is not Avro.
    ///
    /// # Errors
    /// [`Error::UnusableSchema`]: its text is no Avro schema, or needs another one. The registry is away.
    pub async fn latest(&self, subject: &str) -> Result<Option<JsonEncoder>, Error> {
        const OPERATION: &str = "give a subject's newest schema";
        let failed = |source| Error::RegistryHttp {
            operation: OPERATION,
            source,
        };
        let request = self
            .http
            .get(format!("{}/subjects/{subject}/versions/latest", self.url));
        let answer = self.with_login(request).send().await.map_err(failed)?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let body = answer
            .error_for_status()
            .map_err(failed)?
            .text()
            .await
            .map_err(failed)?;
        let unusable = || {
            Error::Setup(format!(
                "what answers at the registry's address for `{subject}` is no registry"
            ))
        };
        let newest: serde_json::Value = serde_json::from_str(&body).map_err(|_| unusable())?;
        if newest["schemaType"].as_str().is_some_and(|kind| kind != "AVRO") {
            return Ok(None);
        }
        let id = newest["id"].as_i64().and_then(|id| i32::try_from(id).ok());
        let (Some(id), Some(avsc)) = (id, newest["schema"].as_str()) else {
            return Err(unusable());
        };
        JsonEncoder::new(SchemaId(id), avsc)
            .map(Some)
            .map_err(|source| Error::UnusableSchema {
                subject: subject.to_owned(),
                id,
                source,
            })
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
        self.send("set the compatibility rule", request).await
    }

    /// Succeeds when the registry answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), Error> {
        self.send("answer", self.http.get(format!("{}/schemas/types", self.url)))
            .await
    }

    fn with_login(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match &self.login {
            Some(Login { user, password }) => request.basic_auth(user, password.as_ref()),
            None => request,
        }
    }

    async fn send(&self, operation: &'static str, request: reqwest::RequestBuilder) -> Result<(), Error> {
        let answer = self
            .with_login(request)
            .send()
            .await
            .and_then(reqwest::Response::error_for_status);
        answer
            .map(drop)
            .map_err(|source| Error::RegistryHttp { operation, source })
    }
}

/// The URL without user and password, and those.
fn split_login(text: &str) -> Result<(String, Option<Login>), Error> {
    let unusable = || Error::Setup("the schema registry's URL is not one of http:// or https://".to_owned());
    let mut url = Url::parse(text).map_err(|_| unusable())?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(unusable());
    }
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let login = (!url.username().is_empty() || url.password().is_some()).then(|| Login {
        user: decode(url.username()),
        password: url.password().map(decode),
    });
    url.set_username("")
        .and_then(|()| url.set_password(None))
        .map_err(|()| unusable())?;
    Ok((url.as_str().trim_end_matches('/').to_owned(), login))
}

fn certificates(path: &Path) -> Result<Vec<Certificate>, Error> {
    let unusable = |why: String| Error::Setup(format!("the registry's authority {} {why}", path.display()));
    let pem = std::fs::read(path).map_err(|error| unusable(format!("cannot be read: {error}")))?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(unusable("holds no certificate: it must be a PEM file".to_owned())),
        Err(error) => Err(unusable(format!("is not PEM: {error}"))),
    }
}

fn registry_error(operation: &'static str) -> impl Fn(SRCError) -> Error {
    move |source| Error::Registry { operation, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_are_split_off_the_url_and_shown_nowhere() {
        let (url, login) = split_login("https://a%40b:hunter%32@registry:8081/apis/").unwrap();
        assert_eq!(url, "https://registry:8081/apis");
        let login = login.unwrap();
        assert_eq!(
            (login.user.as_str(), login.password.as_deref()),
            ("a@b", Some("hunter2"))
        );
        assert!(split_login("http://registry").unwrap().1.is_none());
        let registry = Registry::new(&RegistryOptions {
            url: "https://a:hunter2@registry".to_owned(),
            ca: None,
        });
        assert!(!format!("{:?}", registry.unwrap()).contains("hunter2"));
    }

    #[test]
    fn a_url_that_is_none_is_refused_without_being_shown() {
        for url in ["", "registry:8081", "ftp://a:hunter2@b", "https://a:hunter2@:x"] {
            let error = split_login(url).err().unwrap();
            assert!(!error.to_string().contains("hunter2"));
        }
    }
}
