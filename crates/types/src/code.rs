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
    /// The body did not come in time.
    RequestTimeout,
    /// The body is not `application/json`.
    UnsupportedMediaType,
    /// The payload does not fit its type's JSON Schema, or the queue is not one that exists.
    Unprocessable,
    /// Too many requests, streams or objects.
    TooManyRequests,
    /// It cannot be stored or read now; nothing was accepted.
    Unavailable,
    /// A bug of ours; the log has the reason.
    Internal,
}

impl ErrorCode {
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
            Self::UnsupportedMediaType => 415,
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
            Self::RequestTimeout => "The request did not come in time",
            Self::UnsupportedMediaType => "The request body is not JSON",
            Self::Unprocessable => "The request cannot be processed",
            Self::TooManyRequests => "Too many",
            Self::Unavailable => "Not available now",
            Self::Internal => "Something went wrong here",
        }
    }
}
