//! Reads answers: a body of the contract, or the problem that it is.

use posthaste_api::Problem;
use reqwest::Response;
use reqwest::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;

use crate::Error;

/// The answer's body, or the problem that it is.
pub(crate) async fn read<T: DeserializeOwned>(answer: Response) -> Result<T, Error> {
    let status = answer.status();
    let body = success(answer).await?.bytes().await.map_err(Error::Unreachable)?;
    serde_json::from_slice(&body)
        .map_err(|error| Error::Unexpected(format!("{status} with a body that is not understood: {error}")))
}

/// The answer if its status is a success, else the problem that it is.
pub(crate) async fn success(answer: Response) -> Result<Response, Error> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let kind = answer
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let is_problem = kind.starts_with("application/problem+json");
    let body = answer.bytes().await.map_err(Error::Unreachable)?;
    match serde_json::from_slice::<Problem>(&body) {
        Ok(problem) if is_problem => Err(Error::Refused(Box::new(problem))),
        _ => Err(Error::Gateway(status.as_u16())),
    }
}
