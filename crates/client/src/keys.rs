//! The calls on API keys, stream tokens and the audit log. All but the tokens ask for the scope `admin`.

use posthaste_api::{AuditPage, Key, KeyPage, NewKey, NewStreamToken, RotateKey, StreamToken};
use posthaste_types::KeyId;

use crate::tasks::NO_QUERY;
use crate::{Client, Error};

/// Which page of keys or of the audit log.
#[derive(Debug, Clone, Default)]
pub struct PageQuery {
    /// Entries on the page; absent means the server's choice.
    pub limit: Option<usize>,
    /// `next` of the page before.
    pub cursor: Option<String>,
}

impl PageQuery {
    fn pairs(&self) -> [(&'static str, Option<String>); 2] {
        [
            ("limit", self.limit.map(|limit| limit.to_string())),
            ("cursor", self.cursor.clone()),
        ]
    }
}

impl Client {
    /// Makes a key; the key itself is in this answer alone. Not retried: it would be made twice.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn create_key(&self, key: &NewKey) -> Result<Key, Error> {
        self.call(self.post("v1/keys", key)).await
    }

    /// A page of keys, newest first.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn keys(&self, page: &PageQuery) -> Result<KeyPage, Error> {
        self.get_json("v1/keys", &page.pairs()).await
    }

    /// One key, without itself.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn key(&self, id: KeyId) -> Result<Key, Error> {
        self.get_json(&format!("v1/keys/{id}"), &NO_QUERY).await
    }

    /// Makes a key that takes another's place; both work during the overlap. Not retried: it would be made twice.
    ///
    /// # Errors
    /// [`Error`]; a key that is revoked or has expired is refused with 409.
    pub async fn rotate_key(&self, id: KeyId, overlap_s: Option<u64>) -> Result<Key, Error> {
        self.call(self.post(&format!("v1/keys/{id}/rotate"), &RotateKey { overlap_s }))
            .await
    }

    /// Revokes a key; its streams end.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn revoke_key(&self, id: KeyId) -> Result<(), Error> {
        self.delete(&format!("v1/keys/{id}")).await
    }

    /// Makes a short-lived token that opens streams in a browser, as `?token=`.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn create_stream_token(&self, grant: &NewStreamToken) -> Result<StreamToken, Error> {
        self.call(self.post("v1/stream-tokens", grant)).await
    }

    /// A page of who changed what, newest first; `action` narrows it to one such as `key.create`.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn audit(&self, action: Option<&str>, page: &PageQuery) -> Result<AuditPage, Error> {
        let [limit, cursor] = page.pairs();
        let pairs = [limit, cursor, ("action", action.map(str::to_owned))];
        self.get_json("v1/audit", &pairs).await
    }
}
