//! Signing as Standard Webhooks 1.0 has it, scheme `v1`: HMAC-SHA256 over id, timestamp and body.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use posthaste_store::SigningKey;
use sha2::Sha256;

/// Bytes of a new key; the specification asks for 24 to 64.
const KEY_LEN: usize = 32;
/// What a key's text begins with.
const PREFIX: &str = "whsec_";

/// A fresh random key.
pub(crate) fn new_key() -> SigningKey {
    SigningKey::new(rand::random::<[u8; KEY_LEN]>().to_vec())
}

/// The key as its owner gets it.
pub(crate) fn key_text(key: &SigningKey) -> String {
    format!("{PREFIX}{}", STANDARD.encode(key.expose()))
}

/// The value of `webhook-signature`.
pub(crate) fn sign(key: &SigningKey, id: &str, timestamp_s: i64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose()).expect("HMAC takes a key of any length");
    mac.update(format!("{id}.{timestamp_s}.").as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_is_the_specifications_example() {
        let key = SigningKey::new(STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap());
        let body = br#"{"test": 2432232314}"#;
        let signature = sign(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn keys_differ_and_read_back_from_their_text() {
        let (one, other) = (new_key(), new_key());
        assert_ne!(one, other);
        let text = key_text(&one);
        assert_eq!(
            STANDARD.decode(text.strip_prefix("whsec_").unwrap()).unwrap(),
            one.expose()
        );
    }
}
