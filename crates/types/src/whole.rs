//! Reads whole numbers from JSON as JSON Schema sees them: `25.0` is the integer 25. For `deserialize_with`.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

/// Beyond it not every whole number has a float of its own.
const FLOAT_MAX: f64 = 9_007_199_254_740_992.0;

struct Whole<T>(T);

impl<'de, T: TryFrom<i64>> Deserialize<'de> for Whole<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WholeVisitor(PhantomData)).map(Self)
    }
}

struct WholeVisitor<T>(PhantomData<T>);

impl<T: TryFrom<i64>> WholeVisitor<T> {
    fn take<E: Error>(self, value: i64, seen: Unexpected<'_>) -> Result<T, E> {
        T::try_from(value).map_err(|_| E::invalid_value(seen, &self))
    }
}

impl<T: TryFrom<i64>> Visitor<'_> for WholeVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number that fits {}", std::any::type_name::<T>())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<T, E> {
        self.take(value, Unexpected::Signed(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<T, E> {
        let seen = Unexpected::Unsigned(value);
        match i64::try_from(value) {
            Ok(value) => self.take(value, seen),
            Err(_) => Err(E::invalid_value(seen, &self)),
        }
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<T, E> {
        let seen = Unexpected::Float(value);
        if value.fract() != 0.0 || value.abs() > FLOAT_MAX {
            return Err(E::invalid_value(seen, &self));
        }
        #[expect(clippy::cast_possible_truncation, reason = "whole, and within what both hold")]
        self.take(value as i64, seen)
    }
}

/// A whole number.
///
/// # Errors
/// When it has a fraction or does not fit.
pub fn deserialize<'de, D: Deserializer<'de>, T: TryFrom<i64>>(deserializer: D) -> Result<T, D::Error> {
    Whole::deserialize(deserializer).map(|Whole(value)| value)
}

/// A whole number or null.
///
/// # Errors
/// When it has a fraction or does not fit.
pub fn option<'de, D: Deserializer<'de>, T: TryFrom<i64>>(deserializer: D) -> Result<Option<T>, D::Error> {
    let value = Option::<Whole<T>>::deserialize(deserializer)?;
    Ok(value.map(|Whole(value)| value))
}

/// [`option`] that tells null (`Some(None)`) from absent: with serde's `default`.
///
/// # Errors
/// When it has a fraction or does not fit.
pub fn present<'de, D: Deserializer<'de>, T: TryFrom<i64>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    option(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    #[derive(serde::Deserialize)]
    struct Body {
        #[serde(default, deserialize_with = "super::option")]
        count: Option<u32>,
    }

    fn read(text: &str) -> Result<Option<u32>, serde_json::Error> {
        serde_json::from_str::<Body>(&format!(r#"{{"count":{text}}}"#)).map(|body| body.count)
    }

    #[test]
    fn a_number_is_whole_by_its_value_and_not_by_how_it_is_written() {
        for text in ["25", "25.0", "2.5e1"] {
            assert_eq!(read(text).unwrap(), Some(25), "{text}");
        }
        assert_eq!(read("null").unwrap(), None);
    }

    #[test]
    fn fractions_and_what_does_not_fit_are_refused() {
        for text in [
            "2.5",
            "-1",
            "4294967296",
            "1e300",
            "18446744073709551615",
            "\"1\"",
            "true",
            "[]",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
