//! Takes out of a libpq connection string what the driver does not know: `sslmode`'s stricter values and `sslrootcert`. The
//! rest of the string stays as it was written. Nothing here puts a value of the string into an error.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::Error;

/// Parameters of libpq that would be passed over in silence or refused without a reason.
const UNSUPPORTED: &[&str] = &["sslcert", "sslkey", "sslcrl", "sslcrldir", "passfile", "service"];

/// A connection string without its TLS settings, and those.
#[derive(Default)]
pub(crate) struct Conninfo {
    /// What is left for the driver.
    pub(crate) rest: String,
    pub(crate) sslmode: Option<String>,
    pub(crate) sslrootcert: Option<String>,
}

impl Conninfo {
    /// Splits a URL (`postgresql://…`) or a key-value string.
    pub(crate) fn split(text: &str) -> Result<Self, Error> {
        let is_url = text.starts_with("postgres://") || text.starts_with("postgresql://");
        if is_url {
            Self::of_url(text)
        } else {
            Self::of_pairs(text)
        }
    }

    fn of_url(url: &str) -> Result<Self, Error> {
        // A password may hold a question mark; what follows the credentials may not.
        let behind_credentials = url.find('@').unwrap_or_default();
        let Some(mark) = url[behind_credentials..].find('?') else {
            return Ok(Self {
                rest: url.to_owned(),
                ..Self::default()
            });
        };
        let (base, query) = url.split_at(behind_credentials + mark);
        let mut found = Self::default();
        let mut kept = Vec::new();
        for pair in query[1..].split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let [key, value] = [key, value].map(|text| percent_decode_str(text).decode_utf8_lossy());
            if !found.takes(&key, value)? {
                kept.push(pair);
            }
        }
        let mark = if kept.is_empty() { "" } else { "?" };
        found.rest = format!("{base}{mark}{}", kept.join("&"));
        Ok(found)
    }

    fn of_pairs(text: &str) -> Result<Self, Error> {
        let mut found = Self::default();
        let mut rest = String::with_capacity(text.len());
        let mut left = text.trim_start();
        while !left.is_empty() {
            let (key, value, length) = first_pair(left).ok_or_else(|| {
                Error::Setup("the database URL is not a libpq connection string".to_owned())
            })?;
            if !found.takes(key, value.into())? {
                rest.push_str(&left[..length]);
                rest.push(' ');
            }
            left = left[length..].trim_start();
        }
        found.rest = rest;
        Ok(found)
    }

    /// Whether the parameter is one of those that are handled here.
    fn takes(&mut self, key: &str, value: Cow<'_, str>) -> Result<bool, Error> {
        match key {
            "sslmode" => self.sslmode = Some(value.into_owned()),
            "sslrootcert" => self.sslrootcert = Some(value.into_owned()),
            _ if UNSUPPORTED.contains(&key) => {
                return Err(Error::Setup(format!(
                    "`{key}` in the database URL is not supported: leave it out"
                )));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// The first `key = value` of the text, the value without quotes and escapes, and how many bytes it takes.
fn first_pair(text: &str) -> Option<(&str, String, usize)> {
    let equals = text.find('=')?;
    let key = text[..equals].trim_end();
    let behind = &text[equals + 1..];
    let blank = behind.len() - behind.trim_start().len();
    let is_quoted = behind[blank..].starts_with('\'');
    let mut begin = equals + 1 + blank;
    begin += usize::from(is_quoted);
    let mut value = String::new();
    let mut characters = text[begin..].char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '\\' => value.push(characters.next()?.1),
            '\'' if is_quoted => return Some((key, value, begin + index + 1)),
            _ if !is_quoted && character.is_whitespace() => return Some((key, value, begin + index)),
            _ => value.push(character),
        }
    }
    (!is_quoted).then_some((key, value, text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn splits(text: &str, rest: &str, sslmode: Option<&str>, sslrootcert: Option<&str>) {
        let found = Conninfo::split(text).unwrap();
        assert_eq!(found.rest.trim_end(), rest);
        assert_eq!(found.sslmode.as_deref(), sslmode);
        assert_eq!(found.sslrootcert.as_deref(), sslrootcert);
    }

    #[test]
    fn tls_settings_are_taken_out_and_the_rest_stays() {
        let full = Some("verify-full");
        splits("postgresql://h/d", "postgresql://h/d", None, None);
        splits(
            "postgresql://h/d?sslmode=verify-full",
            "postgresql://h/d",
            full,
            None,
        );
        splits(
            "postgres://u:p%26@h/d?a=b&sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem&c=d",
            "postgres://u:p%26@h/d?a=b&c=d",
            full,
            Some("/etc/ca.pem"),
        );
        splits(
            "postgresql://u:a?sslmode=x@h/d",
            "postgresql://u:a?sslmode=x@h/d",
            None,
            None,
        );
        splits("host=h  sslmode=verify-full user=u", "host=h user=u", full, None);
        splits(
            r"password = 'a b\'sslmode=x' sslrootcert='/a b/ca.pem' host=h",
            r"password = 'a b\'sslmode=x' host=h",
            None,
            Some("/a b/ca.pem"),
        );
        splits("", "", None, None);
    }

    #[test]
    fn what_is_not_understood_is_refused_without_its_value() {
        for text in [
            "postgresql://h/d?sslcert=%2Fsecret",
            "sslcert=secret",
            "password='secret",
            "secret",
        ] {
            let error = Conninfo::split(text).err().unwrap().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
