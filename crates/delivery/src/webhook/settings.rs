//! What callers may say of an endpoint: checks it, names what is wrong, and turns it into what is stored. Pure.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use posthaste_api::{EndpointPatch, NewEndpoint, Problem, pointer_step};
use posthaste_store::{Endpoint, SigningKey};
use posthaste_types::limits::{
    CHANNEL_BYTES_MAX, ENDPOINT_DESCRIPTION_BYTES_MAX, ENDPOINT_HEADER_BYTES_MAX, ENDPOINT_LIST_LEN_MAX,
    ENDPOINT_RATE_PER_S_MAX, ENDPOINT_URL_BYTES_MAX, TASK_TYPE_LEN_MAX,
    WEBHOOK_ENDPOINT_IN_FLIGHT_COUNT_DEFAULT, WEBHOOK_IN_FLIGHT_COUNT_MAX,
};
use posthaste_types::{EndpointId, ErrorCode, EventKind};
use reqwest::header::{HeaderName, HeaderValue};
use url::Url;

use crate::webhook::address::Policy;

/// The only scheme of signatures so far.
pub(crate) const SIGNING_V1: &str = "v1";
/// Headers that a delivery sets itself, or that belong to the connection.
const RESERVED_HEADERS: [&str; 12] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// The stored endpoint with the changes of a patch, as if it were made anew.
pub(crate) fn patched(patch: EndpointPatch, stored: &Endpoint) -> NewEndpoint {
    NewEndpoint {
        url: patch.url.unwrap_or_else(|| stored.url.clone()),
        events: patch.events.unwrap_or_else(|| stored.events.clone()),
        channels: patch.channels.unwrap_or_else(|| stored.channels.clone()),
        types: patch.types.unwrap_or_else(|| stored.types.clone()),
        description: patch.description.unwrap_or_else(|| stored.description.clone()),
        headers: patch.headers.unwrap_or_else(|| stored.headers.clone()),
        rate_per_s: patch.rate_per_s.unwrap_or(stored.rate_per_s),
        max_in_flight: patch
            .max_in_flight
            .unwrap_or_else(|| u32::try_from(stored.max_in_flight).ok()),
        ordered: patch.ordered.unwrap_or(stored.ordered),
        signing: patch.signing.or_else(|| Some(stored.signing.clone())),
    }
}

/// What a new endpoint is made of besides what its caller says.
pub(crate) struct Identity {
    pub(crate) id: EndpointId,
    pub(crate) tenant: String,
    pub(crate) key: SigningKey,
    pub(crate) created_at: DateTime<Utc>,
}

/// The endpoint that a caller asks for.
///
/// # Errors
/// 400 that names every field that is wrong.
pub(crate) fn endpoint(new: NewEndpoint, identity: Identity, policy: Policy) -> Result<Endpoint, Problem> {
    let problem = check(&new, policy);
    if !problem.errors.is_empty() {
        return Err(problem);
    }
    Ok(Endpoint {
        id: identity.id,
        tenant: identity.tenant,
        url: new.url,
        events: kinds(new.events),
        channels: new.channels,
        types: new.types,
        description: new.description,
        headers: new.headers,
        rate_per_s: new.rate_per_s,
        max_in_flight: in_flight(new.max_in_flight),
        ordered: new.ordered,
        signing: SIGNING_V1.to_owned(),
        key: identity.key,
        enabled: true,
        disabled_reason: None,
        created_at: identity.created_at,
        updated_at: identity.created_at,
    })
}

/// Without a wish, the ends of tasks.
fn kinds(mut wanted: Vec<EventKind>) -> Vec<EventKind> {
    if wanted.is_empty() {
        wanted = EventKind::ALL
            .into_iter()
            .filter(|kind| kind.is_final())
            .collect();
    }
    EventKind::ALL
        .into_iter()
        .filter(|kind| wanted.contains(kind))
        .collect()
}

fn in_flight(wanted: Option<u32>) -> i32 {
    let default = || i32::try_from(WEBHOOK_ENDPOINT_IN_FLIGHT_COUNT_DEFAULT).ok();
    wanted
        .and_then(|count| i32::try_from(count).ok())
        .or_else(default)
        .unwrap_or(1)
}

fn check(new: &NewEndpoint, policy: Policy) -> Problem {
    let mut problem = Problem::new(
        ErrorCode::InvalidRequest,
        "the endpoint has fields that are not valid; see `errors`",
    );
    let mut wrong = |pointer: &str, detail: String| {
        problem = std::mem::replace(&mut problem, Problem::new(ErrorCode::Internal, ""))
            .with_field(pointer, detail);
    };
    if let Err(detail) = check_url(&new.url, policy) {
        wrong("/url", detail);
    }
    check_names("/channels", &new.channels, CHANNEL_BYTES_MAX, &mut wrong);
    check_names("/types", &new.types, TASK_TYPE_LEN_MAX, &mut wrong);
    if new.events.len() > ENDPOINT_LIST_LEN_MAX {
        wrong("/events", format!("may have {ENDPOINT_LIST_LEN_MAX} entries"));
    }
    if new.description.len() > ENDPOINT_DESCRIPTION_BYTES_MAX || new.description.contains('\0') {
        wrong(
            "/description",
            format!("may have {ENDPOINT_DESCRIPTION_BYTES_MAX} bytes and no NUL"),
        );
    }
    check_headers(&new.headers, &mut wrong);
    // Not a number is out of every range.
    if new
        .rate_per_s
        .is_some_and(|rate| !(0.001..=ENDPOINT_RATE_PER_S_MAX).contains(&rate))
    {
        wrong(
            "/rate_per_s",
            format!("must be from 0.001 to {ENDPOINT_RATE_PER_S_MAX}"),
        );
    }
    let in_flight_max = u32::try_from(WEBHOOK_IN_FLIGHT_COUNT_MAX).unwrap_or(u32::MAX);
    if new
        .max_in_flight
        .is_some_and(|count| !(1..=in_flight_max).contains(&count))
    {
        wrong("/max_in_flight", format!("must be from 1 to {in_flight_max}"));
    }
    if new
        .signing
        .as_deref()
        .is_some_and(|signing| signing != SIGNING_V1)
    {
        wrong(
            "/signing",
            format!("must be `{SIGNING_V1}`; no other scheme is served yet"),
        );
    }
    problem
}

fn check_url(text: &str, policy: Policy) -> Result<(), String> {
    if text.len() > ENDPOINT_URL_BYTES_MAX {
        return Err(format!("may have {ENDPOINT_URL_BYTES_MAX} bytes"));
    }
    // The parser passes over them, and what is stored is the text.
    if text.contains(|character: char| character.is_whitespace() || character.is_control()) {
        return Err("must not hold white space or control characters".to_owned());
    }
    let url = Url::parse(text).map_err(|error| format!("is not an absolute URL: {error}"))?;
    policy.check_url(&url)
}

fn check_names(pointer: &str, names: &[String], bytes_max: usize, wrong: &mut impl FnMut(&str, String)) {
    if names.len() > ENDPOINT_LIST_LEN_MAX {
        wrong(pointer, format!("may have {ENDPOINT_LIST_LEN_MAX} entries"));
    }
    for (index, name) in names.iter().enumerate().take(ENDPOINT_LIST_LEN_MAX) {
        if name.is_empty() || name.len() > bytes_max || name.contains('\0') {
            wrong(
                &format!("{pointer}/{index}"),
                format!("must have 1 to {bytes_max} bytes and no NUL"),
            );
        }
    }
}

fn check_headers(headers: &BTreeMap<String, String>, wrong: &mut impl FnMut(&str, String)) {
    if headers.len() > ENDPOINT_LIST_LEN_MAX {
        wrong("/headers", format!("may have {ENDPOINT_LIST_LEN_MAX} entries"));
    }
    let mut names = HashSet::new();
    for (name, value) in headers.iter().take(ENDPOINT_LIST_LEN_MAX) {
        let pointer = format!("/headers{}", pointer_step(name));
        let lower = name.to_ascii_lowercase();
        if !names.insert(lower.clone()) {
            wrong(&pointer, "is there twice: case makes no other header".to_owned());
        } else if HeaderName::try_from(name).is_err() {
            wrong(&pointer, "must be named like an HTTP header".to_owned());
        } else if RESERVED_HEADERS.contains(&lower.as_str()) || lower.starts_with("webhook-") {
            wrong(&pointer, "is set by the delivery itself".to_owned());
        }
        if value.len() > ENDPOINT_HEADER_BYTES_MAX
            || HeaderValue::try_from(value).is_err()
            || value.contains('\0')
        {
            wrong(
                &pointer,
                format!("must be header text of at most {ENDPOINT_HEADER_BYTES_MAX} bytes"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use posthaste_runtime::ids;

    const STRICT: Policy = Policy {
        allow_private: false,
        allow_http: false,
    };

    fn made(body: &str) -> Result<Endpoint, Problem> {
        let identity = Identity {
            id: ids::endpoint_id(),
            tenant: "default".to_owned(),
            key: SigningKey::new(vec![1; 32]),
            created_at: DateTime::UNIX_EPOCH,
        };
        endpoint(serde_json::from_str(body).unwrap(), identity, STRICT)
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        let endpoint = made(r#"{"url":"https://example.com/hook"}"#).unwrap();
        assert!(endpoint.events.iter().all(|kind| kind.is_final()) && endpoint.events.len() == 4);
        assert_eq!((endpoint.max_in_flight, &*endpoint.signing), (16, "v1"));
    }

    #[test]
    fn every_field_that_is_wrong_is_named() {
        let problem = made(
            r#"{"url":"http://10.0.0.1/","channels":["a",""],"headers":{"Webhook-Id":"x","a/b":"y","ok":"\n"},
                "rate_per_s":0,"max_in_flight":0,"signing":"v9"}"#,
        )
        .unwrap_err();
        let pointers: Vec<&str> = problem
            .errors
            .iter()
            .map(|error| error.pointer.as_str())
            .collect();
        let expected = [
            "/url",
            "/channels/1",
            "/headers/Webhook-Id",
            "/headers/a~1b",
            "/headers/ok",
            "/rate_per_s",
            "/max_in_flight",
            "/signing",
        ];
        assert_eq!(pointers, expected);
        assert_eq!(problem.status, 400);
    }

    #[test]
    fn a_url_with_what_the_parser_passes_over_is_refused() {
        for url in [
            " https://example.com/",
            "https://exam\tple.com/",
            "https://example.com/\0",
            "https://example.com/\n",
        ] {
            let body = serde_json::json!({ "url": url }).to_string();
            assert_eq!(made(&body).unwrap_err().errors[0].pointer, "/url", "{url:?}");
        }
    }

    #[test]
    fn a_patch_changes_what_it_names_and_null_clears_a_limit() {
        let mut stored = made(r#"{"url":"https://example.com/","rate_per_s":5,"description":"x"}"#).unwrap();
        stored.max_in_flight = 3;
        let patch: EndpointPatch = serde_json::from_str(r#"{"rate_per_s":null,"ordered":true}"#).unwrap();
        let patched = patched(patch, &stored);
        assert_eq!(
            (patched.rate_per_s, patched.ordered, patched.max_in_flight),
            (None, true, Some(3))
        );
        assert_eq!(
            (&*patched.description, &*patched.url),
            ("x", "https://example.com/")
        );
        assert!(serde_json::from_str::<EndpointPatch>(r#"{"secret":"x"}"#).is_err());
    }
}
