//! Typed ids: a UUIDv7 behind a text prefix, written as TypeIDs (<https://github.com/jetify-com/typeid>, spec 0.3).
//!
//! All prefixes are registered here and nowhere else. Minting an id needs a clock and randomness, so it is not here
//! but in `posthaste_runtime::ids`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// Crockford's base32 in lower case, the alphabet of TypeID.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Characters of a TypeID's suffix: 130 bits hold the 128 of a UUID.
const SUFFIX_LEN: usize = 26;

/// Why a text is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a `{prefix}_` id: expected `{prefix}_` and {SUFFIX_LEN} characters of 0-9, a-z without i, l, o, u"
)]
pub struct InvalidId {
    prefix: &'static str,
}

fn encode(prefix: &str, uuid: Uuid, out: &mut String) {
    out.push_str(prefix);
    out.push('_');
    let bits = uuid.as_u128();
    for index in (0..SUFFIX_LEN).rev() {
        let digit = (bits >> (5 * index)) & 31;
        out.push(char::from(
            ALPHABET[usize::try_from(digit).expect("five bits fit")],
        ));
    }
}

fn decode(prefix: &'static str, text: &str) -> Result<Uuid, InvalidId> {
    let error = || InvalidId { prefix };
    let suffix = text
        .strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('_'))
        .ok_or_else(error)?;
    // A first digit above 7 would overflow 128 bits.
    if suffix.len() != SUFFIX_LEN || !(b'0'..=b'7').contains(&suffix.as_bytes()[0]) {
        return Err(error());
    }
    let mut bits: u128 = 0;
    for byte in suffix.bytes() {
        let digit = ALPHABET
            .iter()
            .position(|&symbol| symbol == byte)
            .ok_or_else(error)?;
        bits = (bits << 5) | digit as u128;
    }
    Ok(Uuid::from_u128(bits))
}

macro_rules! typed_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// The text before the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// Wraps a UUID, normally a fresh UUIDv7 or one read from the store.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID behind the text, as the store keeps it.
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = String::with_capacity($prefix.len() + 1 + SUFFIX_LEN);
                encode($prefix, self.0, &mut text);
                f.pad(&text)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                decode($prefix, text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

typed_id!(
    /// A task. UUIDv7, so ids sort by the time of submission and partitions by id are partitions by time.
    TaskId,
    "task"
);
typed_id!(
    /// An event of a task: the outbox row's id, and the `webhook-id` by which receivers discard duplicates.
    EventId,
    "evt"
);
typed_id!(
    /// A webhook endpoint.
    EndpointId,
    "ep"
);
typed_id!(
    /// One delivery attempt to a webhook endpoint.
    AttemptId,
    "att"
);
typed_id!(
    /// An API key, by which it is listed and revoked; it tells nothing of the secret.
    KeyId,
    "key"
);
typed_id!(
    /// An entry of the audit log.
    AuditId,
    "aud"
);

/// The fencing token of one claim: a write that ends an attempt succeeds only while the row still holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClaimToken(Uuid);

impl ClaimToken {
    /// Wraps a fresh random UUID.
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The UUID as the store keeps it.
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_typeid_of_the_specification_round_trips() {
        let uuid = Uuid::parse_str("01889c89-df6b-7f1c-a388-91396ec314bc").unwrap();
        let text = TaskId::from_uuid(uuid).to_string();
        assert_eq!(text, "task_01h2e8kqvbfwea724h75qc655w");
        assert_eq!(text.parse::<TaskId>().unwrap().uuid(), uuid);
    }

    #[test]
    fn wrong_prefix_length_alphabet_and_overflow_are_refused() {
        for text in [
            "",
            "task_",
            "evt_01h2e8kqvbfwea724h75qc655w",
            "task_01h2e8kqvbfwea724h75qc655",
            "task_01h2e8kqvbfwea724h75qc655ww",
            "task_01h2e8kqvbfwea724h75qc655u",
            "task_81h2e8kqvbfwea724h75qc655w",
            "task_01H2E8KQVBFWEA724H75QC655W",
            "task_é1h2e8kqvbfwea724h75qc655",
        ] {
            assert!(text.parse::<TaskId>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_uuid_round_trips_and_keeps_its_order(a: u128, b: u128) {
            let (left, right) = (TaskId::from_uuid(Uuid::from_u128(a)), TaskId::from_uuid(Uuid::from_u128(b)));
            prop_assert_eq!(left.to_string().parse::<TaskId>().unwrap(), left);
            prop_assert_eq!(a.cmp(&b), left.to_string().cmp(&right.to_string()));
        }
    }
}
