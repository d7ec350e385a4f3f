//! The closed list of error codes that callers see, each with its HTTP status and title.

/// A stable code of a problem document (RFC 9457) or of a task's error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The body is not JSON, or a field is missing, unknown or out of bounds.
    InvalidRequest,
    /// A query parameter or header is not understood.
    InvalidParameter,
    /// No key came with the request, or one that is wrong, expired or revoked.
    Unauthenticated,
    /// The key does not have the scope that the route asks for.
    Forbidden,
    /// No such route.
    RouteNotFound,
    /// No such object, or it belongs to another tenant.
    NotFound,
    /// The route does not take this method.
    MethodNotAllowed,
    /// The task's state does not allow it.
    StateConflict,
    /// The first request under this idempotency key is still in progress.
    IdempotencyInProgress,
    /// Another request was sent under this idempotency key.
    IdempotencyKeyReused,
    /// The body is larger than the limit.
    BodyTooLarge,
    /// Path and query are longer than the limit.
    UriTooLong,
    /// `Expect` asks for something other than `100-continue`.
    ExpectationFailed,
    /// The body did not come in time.
    RequestTimeout,
    /// The body is not `application/json`, or it is compressed.
    UnsupportedMediaType,
    /// The queue is not one that exists, or the batch holds more tasks than its tenant could ever submit at once.
    Unprocessable,
    /// Too many requests, streams or objects.
    TooManyRequests,
    /// It cannot be stored or read now; nothing was accepted.
    Unavailable,
    /// A bug of ours; the log has the reason.
    Internal,
}

impl ErrorCode {
    /// Every code, by status.
    pub const ALL: [Self; 19] = [
        Self::InvalidRequest,
        Self::InvalidParameter,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::RouteNotFound,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::StateConflict,
        Self::IdempotencyInProgress,
        Self::BodyTooLarge,
        Self::UriTooLong,
        Self::UnsupportedMediaType,
        Self::ExpectationFailed,
        Self::IdempotencyKeyReused,
        Self::Unprocessable,
        Self::TooManyRequests,
        Self::Internal,
        Self::Unavailable,
    ];

    /// The `code` member.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidParameter => "invalid_parameter",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::RouteNotFound => "route_not_found",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::StateConflict => "state_conflict",
            Self::IdempotencyInProgress => "idempotency_in_progress",
            Self::IdempotencyKeyReused => "idempotency_key_reused",
            Self::BodyTooLarge => "body_too_large",
            Self::UriTooLong => "uri_too_long",
            Self::ExpectationFailed => "expectation_failed",
            Self::RequestTimeout => "request_timeout",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::Unprocessable => "unprocessable",
            Self::TooManyRequests => "too_many_requests",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }

    /// The HTTP status.
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidRequest | Self::InvalidParameter => 400,
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::RouteNotFound | Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::RequestTimeout => 408,
            Self::StateConflict | Self::IdempotencyInProgress => 409,
            Self::BodyTooLarge => 413,
            Self::UriTooLong => 414,
            Self::UnsupportedMediaType => 415,
            Self::ExpectationFailed => 417,
            Self::IdempotencyKeyReused | Self::Unprocessable => 422,
            Self::TooManyRequests => 429,
            Self::Internal => 500,
            Self::Unavailable => 503,
        }
    }

    /// The `title` member: the same for every occurrence.
    pub const fn title(self) -> &'static str {
        match self {
            Self::InvalidRequest => "The request body is not valid",
            Self::InvalidParameter => "A query parameter or header is not valid",
            Self::Unauthenticated => "The request has no valid key",
            Self::Forbidden => "The key does not allow this",
            Self::RouteNotFound => "There is no such route",
            Self::NotFound => "There is no such object",
            Self::MethodNotAllowed => "The route does not take this method",
            Self::StateConflict => "The present state does not allow this",
            Self::IdempotencyInProgress => {
                "The first request under this idempotency key is still in progress"
            }
            Self::IdempotencyKeyReused => "Another request was sent under this idempotency key",
            Self::BodyTooLarge => "The request body is too large",
            Self::UriTooLong => "The path and query are too long",
            Self::ExpectationFailed => "The expectation cannot be met",
            Self::RequestTimeout => "The request did not come in time",
            Self::UnsupportedMediaType => "The request body is not JSON",
            Self::Unprocessable => "The request cannot be processed",
            Self::TooManyRequests => "Too many",
            Self::Unavailable => "Not available now",
            Self::Internal => "Something went wrong here",
        }
    }

    /// What leads to it, for a caller.
    pub const fn cause(self) -> &'static str {
        match self {
            Self::InvalidRequest => {
                "The body is not JSON, or a field of it is missing, unknown or out of bounds."
            }
            Self::InvalidParameter => {
                "A query parameter or a header is unknown to the route, given twice, or has a value that is not understood."
            }
            Self::Unauthenticated => {
                "No API key came with the request, or one that is mistyped, unknown, expired or revoked; or a stream token \
                 that has expired."
            }
            Self::Forbidden => {
                "The key is good but lacks the scope that the route asks for, or a stream token was sent to what it is not \
                 bound to. Where no key is asked for: the request came under another name than this machine's, or from a page \
                 of another site."
            }
            Self::RouteNotFound => "No route has this path, or this process does not serve it.",
            Self::NotFound => {
                "Nothing has this id, or it belongs to another tenant, or its retention has passed."
            }
            Self::MethodNotAllowed => "The path exists, but not with this method.",
            Self::RequestTimeout => "The request began, but the rest of it did not come in time.",
            Self::StateConflict => {
                "The object is in a state that does not allow the change, such as a cancel of a task that has ended."
            }
            Self::IdempotencyInProgress => {
                "A request with the same Idempotency-Key is being stored at this moment."
            }
            Self::BodyTooLarge => "The body, or one task of a batch, has more bytes than may be sent.",
            Self::UriTooLong => "Path and query together are longer than 20 KiB.",
            Self::UnsupportedMediaType => {
                "The request's `Content-Type` is not `application/json`, or it has a `Content-Encoding`."
            }
            Self::ExpectationFailed => "The header `Expect` asks for something other than `100-continue`.",
            Self::IdempotencyKeyReused => {
                "An earlier request had the same Idempotency-Key and another body, so this one cannot be its repetition."
            }
            Self::Unprocessable => {
                "The request is well formed, but cannot be carried out: the queue does not exist, or the batch holds more tasks \
                 than the tenant's limits ever let through at once."
            }
            Self::TooManyRequests => {
                "A limit of the tenant or of the process is reached: requests, tasks, streams, objects, lists that are read at \
                 once, or bytes of bodies and of answers that nobody has taken yet."
            }
            Self::Internal => "A bug or a broken installation; the server's log has the reason.",
            Self::Unavailable => {
                "Something that the server depends on does not answer, or more is under way than it can hold: submissions, bodies, \
                 or answers that nobody has taken yet."
            }
        }
    }

    /// What a caller does about it.
    pub const fn cure(self) -> &'static str {
        match self {
            Self::InvalidRequest => {
                "Correct the fields that `errors` names. The same request will be refused again."
            }
            Self::InvalidParameter => {
                "Correct the parameter or header that `detail` names. The same request will be refused again."
            }
            Self::Unauthenticated => {
                "Send `Authorization: Bearer phk_…` with a key that is in force; make one with `posthaste keys create`."
            }
            Self::Forbidden => {
                "Use a key that has the scope which `detail` names. Where no key is asked for, `detail` names the setting."
            }
            Self::RouteNotFound => "Compare the path with GET /openapi.json, which lists every route.",
            Self::NotFound => {
                "Check the id, and that the key is one of the tenant that the object belongs to."
            }
            Self::MethodNotAllowed => "Use a method that the `Allow` header names.",
            Self::RequestTimeout => {
                "Send it again, faster; a submission with the same Idempotency-Key, so that it surely exists once."
            }
            Self::StateConflict => "Read the object, and decide by the state that it is in.",
            Self::IdempotencyInProgress => {
                "Send the same request again after a moment: the answer is then the first one's."
            }
            Self::BodyTooLarge => {
                "Send less: put large data elsewhere and its address into the payload, or split the batch."
            }
            Self::UriTooLong => "Shorten the query: filter by fewer values.",
            Self::UnsupportedMediaType => "Send the body as JSON, with `Content-Type: application/json`.",
            Self::ExpectationFailed => "Leave the header out, or send `Expect: 100-continue`.",
            Self::IdempotencyKeyReused => {
                "Give each different request an Idempotency-Key of its own; repeat one only with exactly the same body."
            }
            Self::Unprocessable => "Correct what `errors` names, or have the server's configuration changed.",
            Self::TooManyRequests => {
                "Wait for as many seconds as `Retry-After` says and send it again; who does not wait gets further refusals up \
                 to a second late. If it happens often, ask for higher limits."
            }
            Self::Internal => {
                "Tell whoever runs the server, with the time and the X-Request-Id. A repetition may help; a submission with \
                 the same Idempotency-Key is safe to repeat."
            }
            Self::Unavailable => {
                "Wait for as many seconds as `Retry-After` says and send it again; a submission with the same \
                 Idempotency-Key, so that it surely exists once."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_listed_once_by_status() {
        let codes: std::collections::BTreeSet<&str> =
            ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(codes.len(), ErrorCode::ALL.len());
        assert!(ErrorCode::ALL.is_sorted_by_key(|code| code.status()));
        // The list is as long as the enum, whose last variant this is.
        assert_eq!(ErrorCode::Internal as usize + 1, ErrorCode::ALL.len());
    }
}
