//! The calls on webhook endpoints.

use posthaste_api::{AttemptPage, Endpoint, EndpointPage, NewEndpoint};
use posthaste_types::EndpointId;
use reqwest::Method;

use crate::Error;
use crate::client::{ANSWER_TIMEOUT, Client, success};

impl Client {
    /// Makes an endpoint; its secret is in this answer alone.
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
        self.call(self.request(Method::GET, "v1/endpoints")).await
    }

    /// Removes an endpoint.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn delete_endpoint(&self, id: EndpointId) -> Result<(), Error> {
        let request = self
            .request(Method::DELETE, &format!("v1/endpoints/{id}"))
            .timeout(ANSWER_TIMEOUT);
        success(request.send().await.map_err(Error::Unreachable)?)
            .await
            .map(drop)
    }

    /// The attempts made to an endpoint, newest first.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn endpoint_attempts(&self, id: EndpointId) -> Result<AttemptPage, Error> {
        self.call(self.request(Method::GET, &format!("v1/endpoints/{id}/attempts")))
            .await
    }
}
