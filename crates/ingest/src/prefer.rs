//! How long a caller is ready to wait: `Prefer: wait=N` (RFC 7240) and `?wait=N`.

use std::time::Duration;

use posthaste_api::Problem;
use posthaste_http::{HttpResponse, Query};
use posthaste_types::limits::WAIT_S_MAX;
use warp::http::{HeaderMap, HeaderValue};

use crate::problems;

/// A wish to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wait {
    seconds: u64,
    /// Asked for by the header, so that the answer says that it was obeyed.
    preferred: bool,
}

impl Wait {
    pub(crate) const fn duration(self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// Adds `Preference-Applied`, where there was a preference.
    pub(crate) fn note(self, response: &mut HttpResponse) {
        if self.preferred {
            let applied =
                HeaderValue::from_str(&format!("wait={}", self.seconds)).expect("digits are header text");
            response.headers_mut().insert("preference-applied", applied);
        }
    }
}

/// The header's wish. A preference that is not understood is ignored, as the RFC says, and a longer wait than we allow
/// is cut.
pub(crate) fn preferred(headers: &HeaderMap) -> Option<Wait> {
    let preferences = headers
        .get_all("prefer")
        .iter()
        .filter_map(|value| value.to_str().ok());
    let seconds = preferences
        .flat_map(|value| value.split(','))
        .find_map(|preference| {
            let (name, value) = preference.split(';').next()?.split_once('=')?;
            let seconds = value.trim().trim_matches('"').parse::<u64>().ok()?;
            name.trim().eq_ignore_ascii_case("wait").then_some(seconds)
        })?;
    (seconds > 0).then_some(Wait {
        seconds: seconds.min(WAIT_S_MAX),
        preferred: true,
    })
}

/// The query's wish, else the header's.
///
/// # Errors
/// 400 when the query's is not a number of seconds that we allow.
pub(crate) fn of_query(query: &mut Query, headers: &HeaderMap) -> Result<Option<Wait>, Problem> {
    match query.parsed::<u64>("wait")? {
        None => Ok(preferred(headers)),
        Some(0) => Ok(None),
        Some(seconds) if seconds <= WAIT_S_MAX => Ok(Some(Wait {
            seconds,
            preferred: false,
        })),
        Some(_) => Err(problems::parameter(format!(
            "`wait` may be from 0 to {WAIT_S_MAX} seconds"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(values: &[&str]) -> Option<u64> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("prefer", value.parse().unwrap());
        }
        preferred(&headers).map(|wait| wait.seconds)
    }

    #[test]
    fn wait_is_found_among_preferences_and_cut_at_the_limit() {
        assert_eq!(seconds(&["wait=10"]), Some(10));
        assert_eq!(seconds(&["respond-async, Wait=5; foo"]), Some(5));
        assert_eq!(seconds(&["handling=lenient", "wait = \"7\""]), Some(7));
        assert_eq!(seconds(&["wait=100000"]), Some(WAIT_S_MAX));
    }

    #[test]
    fn what_is_not_understood_is_ignored() {
        for value in ["wait", "wait=", "wait=-1", "wait=soon", "waits=3", "wait=0", ""] {
            assert_eq!(seconds(&[value]), None, "{value}");
        }
    }
}
