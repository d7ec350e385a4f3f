//! `/v1/keys`, `/v1/stream-tokens`, `/v1/audit`: who may come in, and who changed what.

use posthaste_types::{ErrorCode as Code, Scope, limits};
use utoipa::openapi::path::{
    HttpMethod::{Delete, Get, Post},
    Parameter,
};
use utoipa::openapi::{ObjectBuilder, Ref, Type};

use super::operation::{Answer, Operation, query};
use super::{examples, headers, shapes};
use crate::{AuditPage, Key, KeyPage, NewKey, RotateKey, StreamToken};

const TAG: &str = "keys";

pub(crate) fn operations() -> Vec<Operation> {
    vec![
        create(),
        list(),
        read(),
        rotate(),
        revoke(),
        stream_token(),
        audit(),
    ]
}

fn create() -> Operation {
    Operation::new((Post, "/v1/keys"), TAG, "createKey", "Make an API key")
        .about("The key itself is in this answer alone: only a hash of it is stored.")
        .key(Scope::Admin)
        .body::<NewKey>(&[("For a server", examples::new_key())])
        .answers(Answer::json::<Key>("201", "The key.", examples::key_made()).headers([headers::location()]))
}

fn list() -> Operation {
    Operation::new((Get, "/v1/keys"), TAG, "listKeys", "List API keys, newest first")
        .key(Scope::Admin)
        .parameters([
            limit(),
            query(
                "cursor",
                "`next` of the page before.",
                Ref::from_schema_name("KeyId"),
            )
            .build(),
        ])
        .answers(Answer::json::<KeyPage>(
            "200",
            "A page of keys.",
            examples::key_page(),
        ))
}

fn read() -> Operation {
    Operation::new(
        (Get, "/v1/keys/{id}"),
        TAG,
        "getKey",
        "Read an API key's description",
    )
    .key(Scope::Admin)
    .answers(Answer::json::<Key>(
        "200",
        "The key, without itself.",
        examples::key(),
    ))
}

fn rotate() -> Operation {
    Operation::new(
        (Post, "/v1/keys/{id}/rotate"),
        TAG,
        "rotateKey",
        "Make a key that takes another's place",
    )
    .about("Both work during the overlap. A key that is revoked or has expired is a 409.")
    .key(Scope::Admin)
    .body::<RotateKey>(&[("Within an hour", examples::rotate_key())])
    .answers(Answer::json::<Key>("201", "The new key.", examples::key_made()).headers([headers::location()]))
    .refuses([Code::StateConflict])
}

fn revoke() -> Operation {
    Operation::new((Delete, "/v1/keys/{id}"), TAG, "revokeKey", "Revoke an API key")
        .about(
            "Its streams end and its stream tokens die with it. A key that is revoked already is a 204 too.",
        )
        .key(Scope::Admin)
        .answers(Answer::empty("204", "It is revoked."))
}

fn stream_token() -> Operation {
    Operation::new((Post, "/v1/stream-tokens"), TAG, "createStreamToken", "Make a token that opens streams")
        .about(
            "For browsers, whose EventSource cannot send headers: it goes into `?token=` of the streams, and opens those \
             of the named channels, or of the one task, alone. Give one of `channels` and `task`.",
        )
        .key(Scope::Read)
        .body::<shapes::StreamGrant>(&[("One channel", examples::new_stream_token())])
        .answers(Answer::json::<StreamToken>("201", "The token.", examples::stream_token()))
}

fn audit() -> Operation {
    let action = ObjectBuilder::new().schema_type(Type::String);
    Operation::new(
        (Get, "/v1/audit"),
        TAG,
        "listAudit",
        "Who changed what, newest first",
    )
    .key(Scope::Admin)
    .parameters([
        query("action", "Only this action, such as `key.create`.", action).build(),
        limit(),
        query(
            "cursor",
            "`next` of the page before.",
            Ref::from_schema_name("AuditId"),
        )
        .build(),
    ])
    .answers(Answer::json::<AuditPage>(
        "200",
        "A page of the log.",
        examples::audit_page(),
    ))
}

fn limit() -> Parameter {
    let schema = shapes::whole(1.0, limits::PAGE_ACCESS_COUNT_MAX as f64)
        .default(Some(limits::PAGE_ACCESS_COUNT_DEFAULT.into()));
    query("limit", "Entries on the page.", schema).build()
}
