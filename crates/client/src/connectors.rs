//! The calls on connectors, for operators: they ask for the scope `admin` and a key of the operators' tenant.

use std::fmt::Write as _;

use posthaste_api::{Connector, ConnectorList};
use reqwest::Method;

use crate::answer::read;
use crate::tasks::NO_QUERY;
use crate::{Client, Error};

impl Client {
    /// All connectors, by slot.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn connectors(&self) -> Result<Vec<Connector>, Error> {
        let list: ConnectorList = self.get_json("v1/connectors", &NO_QUERY).await?;
        Ok(list.connectors)
    }

    /// How the connector of a replication slot is.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn connector(&self, slot: &str) -> Result<Connector, Error> {
        self.get_json(&path(slot), &NO_QUERY).await
    }

    /// Lets it stand still, within a second or so, until it is resumed.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn pause_connector(&self, slot: &str) -> Result<Connector, Error> {
        self.change_connector(slot, "pause").await
    }

    /// Lets it go on where it stood.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn resume_connector(&self, slot: &str) -> Result<Connector, Error> {
        self.change_connector(slot, "resume").await
    }

    /// Twice is once, so it is retried.
    async fn change_connector(&self, slot: &str, act: &str) -> Result<Connector, Error> {
        let path = format!("{}/{act}", path(slot));
        read(self.retried(|| self.request(Method::POST, &path)).await?).await
    }
}

/// Where a slot's connector is; whatever the name, it stays one segment of the path.
fn path(slot: &str) -> String {
    let mut path = "v1/connectors/".to_owned();
    for byte in slot.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'_' {
            path.push(char::from(byte));
        } else {
            let _ = write!(path, "%{byte:02X}");
        }
    }
    path
}
