//! Query parameters: each is taken by name, and what nobody took is refused by name.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Display;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use posthaste_api::Problem;
use posthaste_types::ErrorCode;
use warp::{Filter, Rejection};

use crate::reject::refuse;

/// The decoded parameters of a request that nobody has taken yet. End with [`Query::end`].
#[derive(Debug, Default)]
pub struct Query {
    pairs: Vec<(String, String)>,
    /// The first parameter with U+0000, which no text of ours has and no database takes.
    with_nul: Option<String>,
}

/// Extracts the query; an absent one is empty.
pub fn query() -> impl Filter<Extract = (Query,), Error = Infallible> + Copy + Send + Sync + 'static {
    warp::query::raw()
        .or(warp::any().map(String::new))
        .unify()
        .map(|text: String| Query::parse(&text))
}

/// For a route without parameters: refuses those that there are. Put it after the caller.
pub fn no_query() -> impl Filter<Extract = (), Error = Rejection> + Copy + Send + Sync + 'static {
    query()
        .and_then(|query: Query| std::future::ready(query.end().map_err(refuse)))
        .untuple_one()
}

/// 400 `invalid_parameter` about one parameter or header.
fn invalid(name: &str, detail: impl Display) -> Problem {
    Problem::new(ErrorCode::InvalidParameter, format!("`{name}` {detail}"))
}

impl Query {
    /// Decodes `application/x-www-form-urlencoded`.
    pub fn parse(text: &str) -> Self {
        let pairs: Vec<(String, String)> = url::form_urlencoded::parse(text.as_bytes())
            .into_owned()
            .collect();
        let has_nul = |(name, value): &&(String, String)| name.contains('\0') || value.contains('\0');
        let with_nul = pairs
            .iter()
            .find(has_nul)
            .map(|(name, _)| name.replace('\0', "\u{fffd}"));
        Self { pairs, with_nul }
    }

    /// The value of a parameter that may be there once. An empty value counts as absent.
    ///
    /// # Errors
    /// 400 when it is there more than once.
    pub fn one(&mut self, name: &str) -> Result<Option<String>, Problem> {
        let mut values = self.values(name);
        if values.len() > 1 {
            return Err(invalid(name, "may be given once"));
        }
        Ok(values.pop().filter(|value| !value.is_empty()))
    }

    /// [`Query::one`], parsed.
    ///
    /// # Errors
    /// 400 when it is there more than once or does not parse.
    pub fn parsed<T>(&mut self, name: &str) -> Result<Option<T>, Problem>
    where
        T: FromStr,
        T::Err: Display,
    {
        let Some(value) = self.one(name)? else {
            return Ok(None);
        };
        value
            .parse()
            .map(Some)
            .map_err(|error: T::Err| invalid(name, format_args!("is not understood: {error}")))
    }

    /// The parameter `limit`, from 1 to `max`; `default` when it is absent.
    ///
    /// # Errors
    /// 400 when it is there more than once or is no such number.
    pub fn limit(&mut self, default: usize, max: usize) -> Result<usize, Problem> {
        let limit = self.parsed("limit")?.unwrap_or(default);
        if !(1..=max).contains(&limit) {
            return Err(invalid("limit", format_args!("may be from 1 to {max}")));
        }
        Ok(limit)
    }

    /// A time (RFC 3339), brought into the years 1970 to 9999: nothing of ours is older or newer, and databases cannot
    /// hold every time that can be written.
    ///
    /// # Errors
    /// 400 when it is there more than once or is no time.
    pub fn time(&mut self, name: &str) -> Result<Option<DateTime<Utc>>, Problem> {
        const LAST_S: i64 = 253_402_300_799;
        let last = DateTime::from_timestamp(LAST_S, 0).expect("the end of the year 9999 can be written");
        let time = self.parsed::<DateTime<Utc>>(name)?;
        Ok(time.map(|time| time.clamp(DateTime::UNIX_EPOCH, last)))
    }

    /// All values of a parameter that may be repeated or hold several, separated by commas; empty ones are left out.
    pub fn list(&mut self, name: &str) -> Vec<String> {
        let values = self.values(name);
        values
            .iter()
            .flat_map(|value| value.split(','))
            .filter(|item| !item.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// [`Query::list`], each item parsed.
    ///
    /// # Errors
    /// 400 when an item does not parse.
    pub fn parsed_list<T>(&mut self, name: &str) -> Result<Vec<T>, Problem>
    where
        T: FromStr,
        T::Err: Display,
    {
        let parse = |item: String| {
            item.parse()
                .map_err(|error: T::Err| invalid(name, format_args!("is not understood: {error}")))
        };
        self.list(name).into_iter().map(parse).collect()
    }

    /// The parameters whose names begin with `prefix`, each of which may be there once, by their names without it.
    ///
    /// # Errors
    /// 400 when one is there more than once.
    pub fn prefixed(&mut self, prefix: &str) -> Result<BTreeMap<String, String>, Problem> {
        let mut taken = BTreeMap::new();
        for (name, value) in self.pairs.extract_if(.., |(name, _)| name.starts_with(prefix)) {
            if taken.insert(name[prefix.len()..].to_owned(), value).is_some() {
                return Err(invalid(&name, "may be given once"));
            }
        }
        Ok(taken)
    }

    /// To be called when all known parameters were taken, and before any is used.
    ///
    /// # Errors
    /// 400 that names the parameters left, or one with U+0000.
    pub fn end(self) -> Result<(), Problem> {
        if let Some(name) = self.with_nul {
            return Err(invalid(&name, "may not contain U+0000"));
        }
        if self.pairs.is_empty() {
            return Ok(());
        }
        let mut names: Vec<String> = self
            .pairs
            .into_iter()
            .map(|(name, _)| format!("`{name}`"))
            .collect();
        names.dedup();
        Err(Problem::new(
            ErrorCode::InvalidParameter,
            format!("not a parameter of this route: {}", names.join(", ")),
        ))
    }

    fn values(&mut self, name: &str) -> Vec<String> {
        self.pairs
            .extract_if(.., |(other, _)| other == name)
            .map(|(_, value)| value)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_taken_once() {
        let mut query =
            Query::parse("limit=10&type=a.b&tag.region=eu%20west&state=DONE,FAILED&state=INIT&cursor=");
        assert_eq!(query.parsed::<u32>("limit").unwrap(), Some(10));
        assert_eq!(query.one("type").unwrap().as_deref(), Some("a.b"));
        assert_eq!(query.list("state"), ["DONE", "FAILED", "INIT"]);
        assert_eq!(
            query.prefixed("tag.").unwrap(),
            [("region".to_owned(), "eu west".to_owned())].into()
        );
        assert_eq!(query.one("cursor").unwrap(), None);
        query.end().unwrap();
    }

    #[test]
    fn times_that_no_database_holds_are_brought_near() {
        let mut query = Query::parse(
            "a=-262000-01-01T00:00:00Z&b=%2B262000-01-01T00:00:00Z&c=2026-11-24T10:00:00%2B01:00&d=now",
        );
        let mut time = |name| query.time(name).map(|time| time.unwrap().to_rfc3339());
        assert_eq!(time("a").unwrap(), "1970-01-01T00:00:00+00:00");
        assert_eq!(time("b").unwrap(), "9999-12-31T23:59:59+00:00");
        assert_eq!(time("c").unwrap(), "2026-11-24T09:00:00+00:00");
        assert!(time("d").unwrap_err().detail.contains("`d`"));
    }

    #[test]
    fn unknown_repeated_and_malformed_parameters_are_named() {
        let mut query = Query::parse("limit=ten&wait=1&wait=2&colour=red");
        assert!(
            query
                .parsed::<u32>("limit")
                .unwrap_err()
                .detail
                .contains("`limit`")
        );
        assert!(query.one("wait").unwrap_err().detail.contains("`wait`"));
        assert!(query.end().unwrap_err().detail.contains("`colour`"));
    }

    #[test]
    fn the_null_character_is_refused_wherever_it_stands() {
        for text in ["type=a%00b", "limit=1&%00=2"] {
            let mut query = Query::parse(text);
            query.list("type");
            query.prefixed("\0").unwrap();
            assert!(query.end().unwrap_err().detail.contains("U+0000"), "{text}");
        }
    }
}
