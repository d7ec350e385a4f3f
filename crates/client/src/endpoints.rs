//! The calls on webhook endpoints.

use chrono::{DateTime, SecondsFormat, Utc};
use posthaste_api::{
    Attempt, AttemptPage, Endpoint, EndpointPage, EndpointPatch, EndpointSecret, NewEndpoint,
};
use posthaste_types::EndpointId;
use reqwest::Method;

use crate::tasks::NO_QUERY;
use crate::{Client, Error};

/// Which attempts; what is absent does not narrow it.
#[derive(Debug, Clone, Default)]
pub struct AttemptQuery {
    /// `succeeded` or `failed`.
    pub status: Option<String>,
    /// Begun then or later.
    pub since: Option<DateTime<Utc>>,
    /// `next` of the page before.
    pub cursor: Option<String>,
}

impl Client {
    /// Makes an endpoint; its secret is in this answer. Not retried: it would be made twice.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn create_endpoint(&self, endpoint: &NewEndpoint) -> Result<Endpoint, Error> {
        self.call(self.post("v1/endpoints", endpoint)).await
    }

    /// All endpoints.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn endpoints(&self) -> Result<EndpointPage, Error> {
        self.get_json("v1/endpoints", &NO_QUERY).await
    }

    /// One endpoint.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn endpoint(&self, id: EndpointId) -> Result<Endpoint, Error> {
        self.get_json(&format!("v1/endpoints/{id}"), &NO_QUERY).await
    }

    /// Changes what the patch names.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn change_endpoint(&self, id: EndpointId, patch: &EndpointPatch) -> Result<Endpoint, Error> {
        let request = self.request(Method::PATCH, &format!("v1/endpoints/{id}"));
        self.call(request.json(patch)).await
    }

    /// The secret by which its receiver verifies signatures.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn endpoint_secret(&self, id: EndpointId) -> Result<EndpointSecret, Error> {
        self.get_json(&format!("v1/endpoints/{id}/secret"), &NO_QUERY)
            .await
    }

    /// Removes an endpoint.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn delete_endpoint(&self, id: EndpointId) -> Result<(), Error> {
        self.delete(&format!("v1/endpoints/{id}")).await
    }

    /// Sends it events, or none.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn set_endpoint_enabled(&self, id: EndpointId, enabled: bool) -> Result<Endpoint, Error> {
        let action = if enabled { "enable" } else { "disable" };
        self.call(self.request(Method::POST, &format!("v1/endpoints/{id}/{action}")))
            .await
    }

    /// Sends it a made-up event now, and tells what came of it.
    ///
    /// # Errors
    /// [`Error`]; an attempt that failed is none.
    pub async fn test_endpoint(&self, id: EndpointId) -> Result<Attempt, Error> {
        self.call(self.request(Method::POST, &format!("v1/endpoints/{id}/test")))
            .await
    }

    /// A page of the attempts made to an endpoint, newest first.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn endpoint_attempts(
        &self,
        id: EndpointId,
        query: &AttemptQuery,
    ) -> Result<AttemptPage, Error> {
        let since = query
            .since
            .map(|time| time.to_rfc3339_opts(SecondsFormat::Micros, true));
        let pairs = [
            ("status", query.status.clone()),
            ("since", since),
            ("cursor", query.cursor.clone()),
        ];
        self.get_json(&format!("v1/endpoints/{id}/attempts"), &pairs)
            .await
    }
}
