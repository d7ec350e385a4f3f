//! Response headers, each described once.

use utoipa::openapi::schema::ObjectBuilder;
use utoipa::openapi::{Header, Type};

type Named = (&'static str, Header);

fn header(name: &'static str, about: &str, schema_type: Type) -> Named {
    let mut header = Header::new(ObjectBuilder::new().schema_type(schema_type));
    header.description = Some(about.to_owned());
    (name, header)
}

pub(crate) fn request_id() -> Named {
    let about = "The request's id, also in the server's log: the caller's own where it sent one.";
    header("X-Request-Id", about, Type::String)
}

pub(crate) fn rate_limit_policy() -> Named {
    let about = "The tenant's rate (draft-ietf-httpapi-ratelimit-headers), where it has one.";
    header("RateLimit-Policy", about, Type::String)
}

pub(crate) fn rate_limit() -> Named {
    let about = "What is left of the rate, where the tenant has one.";
    header("RateLimit", about, Type::String)
}

pub(crate) fn location() -> Named {
    header("Location", "The path of what was made.", Type::String)
}

pub(crate) fn retry_after() -> Named {
    let about = "Seconds after which another look is worth it.";
    header("Retry-After", about, Type::Integer)
}

pub(crate) fn etag() -> Named {
    let about = "Changes with every change of the task; send it as `If-None-Match`.";
    header("ETag", about, Type::String)
}

pub(crate) fn preference_applied() -> Named {
    let about = "`wait=N`, where the request's `Prefer` was obeyed.";
    header("Preference-Applied", about, Type::String)
}

pub(crate) fn idempotent_replayed() -> Named {
    let about = "`true` where the answer is that of an earlier request under the same key.";
    header("Idempotent-Replayed", about, Type::String)
}

pub(crate) fn cache_control() -> Named {
    let about = "`no-store`: nobody between may keep the answer.";
    header("Cache-Control", about, Type::String)
}

/// The headers of a problem of this status.
pub(crate) fn of_problem(status: u16) -> Vec<Named> {
    let more = match status {
        401 => Some(header("WWW-Authenticate", "`Bearer`.", Type::String)),
        405 => Some(header("Allow", "The methods that the path takes.", Type::String)),
        429 | 503 => Some(header(
            "Retry-After",
            "Seconds to wait before another try.",
            Type::Integer,
        )),
        _ => None,
    };
    more.into_iter().chain([request_id()]).collect()
}
