//! What operators and tools read: health, readiness, metrics, this document.

use std::collections::BTreeMap;

use utoipa::ToSchema;
use utoipa::openapi::path::HttpMethod::Get;
use utoipa::openapi::schema::SchemaType;
use utoipa::openapi::{ContentBuilder, ObjectBuilder, Type};

use super::examples;
use super::operation::{Answer, Operation};

const TAG: &str = "operating";

/// `GET /healthz`.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes what posthaste-http writes")]
pub(crate) struct Health {
    /// The process's role; `dev` has all of them.
    role: String,
    /// `ok`.
    status: String,
}

/// `GET /readyz`.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes what posthaste-http writes")]
pub(crate) struct Readiness {
    /// The process's role; `dev` has all of them.
    role: String,
    /// `ready` or `not ready`.
    status: String,
    /// Each dependency by name: `ok`, or why it is not.
    checks: BTreeMap<String, String>,
}

pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation::new((Get, "/healthz"), TAG, "getHealth", "Whether the process runs")
            .open()
            .answers(Answer::json::<Health>("200", "It runs.", examples::health())),
        Operation::new(
            (Get, "/readyz"),
            TAG,
            "getReadiness",
            "Whether it can do its work now",
        )
        .open()
        .answers(Answer::json::<Readiness>(
            "200",
            "Every dependency answers.",
            examples::ready(),
        ))
        .answers(Answer::json::<Readiness>(
            "503",
            "A dependency does not answer.",
            examples::not_ready(),
        )),
        Operation::new(
            (Get, "/metrics"),
            TAG,
            "getMetrics",
            "Metrics in Prometheus' text format",
        )
        .open()
        .answers(Answer::text("200", "The metrics.", "text/plain", "")),
        Operation::new((Get, "/openapi.json"), TAG, "getDocument", "This document")
            .open()
            .answers(Answer::empty("200", "OpenAPI 3.1.").content("application/json", any_object())),
        Operation::new(
            (Get, "/docs"),
            TAG,
            "getDocs",
            "This document as a page to read and to try",
        )
        .open()
        .answers(Answer::text("200", "The page.", "text/html", "")),
    ]
}

fn any_object() -> utoipa::openapi::Content {
    let schema = ObjectBuilder::new().schema_type(SchemaType::Type(Type::Object));
    ContentBuilder::new().schema(Some(schema)).build()
}
