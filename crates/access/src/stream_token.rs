//! Stream tokens: claims and a signature, so that any process can check one without having seen it made.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use posthaste_http::StreamGrant;
use posthaste_types::limits::STREAM_TOKEN_BYTES_MAX;
use posthaste_types::{KeyId, TaskId};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// Begins every stream token.
const SCHEME: &str = "pht_";

/// What a token says; short names, for it travels in URLs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Claims {
    /// Whose streams.
    #[serde(rename = "t")]
    pub(crate) tenant: String,
    /// The key that asked for it, with which it dies.
    #[serde(rename = "k")]
    pub(crate) key: KeyId,
    /// Refused from then on, seconds since 1970.
    #[serde(rename = "e")]
    expires_s: i64,
    #[serde(rename = "g")]
    grant: Grant,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Grant {
    #[serde(rename = "c")]
    Channels(Vec<String>),
    #[serde(rename = "s")]
    Task(TaskId),
}

impl Claims {
    /// Those of a new token.
    pub(crate) fn new(tenant: &str, key: KeyId, grant: StreamGrant, expires_at: DateTime<Utc>) -> Self {
        Self {
            tenant: tenant.to_owned(),
            key,
            expires_s: expires_at.timestamp(),
            grant: match grant {
                StreamGrant::Channels(channels) => Grant::Channels(channels),
                StreamGrant::Task(task) => Grant::Task(task),
            },
        }
    }

    /// Whether it can open streams no more.
    pub(crate) fn is_expired(&self, now: DateTime<Utc>) -> bool {
        self.expires_s <= now.timestamp()
    }

    /// Whether it can open streams after this time.
    pub(crate) fn lives_past(&self, time: DateTime<Utc>) -> bool {
        self.expires_s > time.timestamp()
    }

    /// Which streams it opens.
    pub(crate) fn into_grant(self) -> StreamGrant {
        match self.grant {
            Grant::Channels(channels) => StreamGrant::Channels(channels),
            Grant::Task(task) => StreamGrant::Task(task),
        }
    }
}

/// Signs and checks tokens.
#[derive(Clone)]
pub(crate) struct Signer(Hmac<Sha256>);

impl Signer {
    /// With the secret that all processes share.
    pub(crate) fn new(secret: &[u8]) -> Self {
        Self(Hmac::new_from_slice(secret).expect("HMAC takes a key of any length"))
    }

    /// The token; none when it is longer than one may be.
    pub(crate) fn sign(&self, claims: &Claims) -> Option<String> {
        let json = serde_json::to_vec(claims).expect("texts and a number are always JSON");
        let mut token = format!("{SCHEME}{}", URL_SAFE_NO_PAD.encode(json));
        let signature = self
            .0
            .clone()
            .chain_update(token.as_bytes())
            .finalize()
            .into_bytes();
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(signature));
        (token.len() <= STREAM_TOKEN_BYTES_MAX).then_some(token)
    }

    /// What a token says, if it was signed here or by another process of ours.
    pub(crate) fn verify(&self, token: &str) -> Option<Claims> {
        if token.len() > STREAM_TOKEN_BYTES_MAX {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let mac = self.0.clone().chain_update(signed.as_bytes());
        // In constant time.
        mac.verify_slice(&signature).ok()?;
        let json = URL_SAFE_NO_PAD.decode(signed.strip_prefix(SCHEME)?).ok()?;
        serde_json::from_slice(&json).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(channels: &[&str]) -> Claims {
        let channels = channels.iter().map(|name| (*name).to_owned()).collect();
        let (key, at) = (KeyId::from_uuid(Default::default()), DateTime::UNIX_EPOCH);
        Claims::new("acme", key, StreamGrant::Channels(channels), at)
    }

    #[test]
    fn a_token_reads_back_where_the_secret_is_shared_and_nowhere_else() {
        let signer = Signer::new(b"secret");
        let token = signer.sign(&claims(&["orders", "ü \"&"])).unwrap();
        assert!(
            token
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        );
        assert_eq!(
            Signer::new(b"secret").verify(&token),
            Some(claims(&["orders", "ü \"&"]))
        );
        assert_eq!(Signer::new(b"other").verify(&token), None);
    }

    #[test]
    fn a_token_that_was_changed_anywhere_is_refused() {
        let signer = Signer::new(b"secret");
        let token = signer.sign(&claims(&["orders"])).unwrap();
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            // The last characters of base64 hold bits that nobody reads; the decoder refuses them too.
            assert_eq!(signer.verify(&changed), None, "{at}");
        }
        let signature = token.rsplit_once('.').unwrap().1;
        for text in ["", ".", "pht_.", "pht_", signature] {
            assert_eq!(signer.verify(text), None);
        }
        // The signature of one with another's claims.
        let other = signer.sign(&claims(&["invoices"])).unwrap();
        let mixed = format!("{}.{signature}", other.rsplit_once('.').unwrap().0);
        assert_eq!(signer.verify(&mixed), None);
    }

    #[test]
    fn one_that_would_be_too_long_for_a_url_is_not_made() {
        let name = "x".repeat(256);
        assert_eq!(Signer::new(b"s").sign(&claims(&[name.as_str(); 16])), None);
    }
}
