//! What an API key allows.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One thing that a key allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Submit tasks, cancel them, run them again. The answers show the tasks that this is done to, payload and result
    /// included: so whoever has it sees each task of the tenant whose id he knows, by changing it.
    Submit,
    /// Read tasks, their history and events.
    Read,
    /// Everything above, and keys, webhook endpoints with their secrets, and the audit log.
    Admin,
}

impl Scope {
    /// Every scope, the weakest first.
    pub const ALL: [Self; 3] = [Self::Submit, Self::Read, Self::Admin];

    /// The word in requests and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text names no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a scope: expected `submit`, `read` or `admin`")]
pub struct InvalidScope;

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        Self::ALL
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or(InvalidScope)
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A set of scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u8);

impl Scopes {
    /// Every scope.
    pub const ALL: Self = Self(0b111);

    const fn bit(scope: Scope) -> u8 {
        1 << scope as u8
    }

    /// Whether `scope` is allowed; `admin` allows all.
    pub const fn allows(self, scope: Scope) -> bool {
        self.0 & (Self::bit(scope) | Self::bit(Scope::Admin)) != 0
    }

    /// Whether nothing is allowed.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The scopes that were named, the weakest first.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL
            .into_iter()
            .filter(move |scope| self.0 & Self::bit(*scope) != 0)
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | Self::bit(scope)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_allows_everything_and_others_only_themselves() {
        for held in Scope::ALL {
            let scopes: Scopes = [held].into_iter().collect();
            for asked in Scope::ALL {
                assert_eq!(scopes.allows(asked), held == asked || held == Scope::Admin);
            }
            assert_eq!(scopes.iter().collect::<Vec<_>>(), [held]);
            assert_eq!(held.as_str().parse(), Ok(held));
        }
        assert!(Scopes::default().is_empty() && !Scopes::default().allows(Scope::Read));
        assert_eq!("Admin".parse::<Scope>(), Err(InvalidScope));
    }
}
