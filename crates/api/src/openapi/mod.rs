//! The OpenAPI 3.1 document, made from the shapes of this crate and the limits of `posthaste_types`. It describes what
//! the roles answer; the handlers are theirs.

mod connectors;
mod endpoints;
mod events;
mod examples;
mod headers;
mod keys;
mod operating;
mod operation;
mod problems;
pub(crate) mod shapes;
mod tasks;

use std::collections::BTreeMap;

use utoipa::ToSchema;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::path::HttpMethod;
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    Components, ContentBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Paths, RefOr, Schema,
    ServerBuilder,
};

use operation::{Answer, KEY, Operation, STREAM_TOKEN, reference};

const ABOUT: &str = "\
POST a task, get 202 at once, and its result when it is done: by poll, long poll, server-sent events or webhook.

Bodies are JSON (UTF-8), times RFC 3339 in UTC. Every refusal is a problem document (RFC 9457) with a stable `code`; \
unknown fields and parameters are refused by name. GET routes answer HEAD too. A request may carry an `X-Request-Id`, \
which its answer carries too.";

const TAGS: [(&str, &str); 6] = [
    ("tasks", "Submit tasks, read them, wait for them, change them."),
    ("events", "Follow what happens, without loss over reconnects."),
    (
        "endpoints",
        "Webhooks: who gets which events, and what came of it.",
    ),
    ("keys", "API keys, stream tokens for browsers, the audit log."),
    (
        "connectors",
        "For operators: how the way from the database to Kafka is, and to let it stand still.",
    ),
    (
        "operating",
        "Health, readiness, metrics and this document; served without a key.",
    ),
];

/// The document. The same at every call: its bytes change with the contract alone.
pub fn openapi() -> OpenApi {
    let mut paths = Paths::new();
    let mut problems = BTreeMap::new();
    let groups = [
        tasks::operations(),
        events::operations(),
        endpoints::operations(),
        keys::operations(),
        connectors::operations(),
        operating::operations(),
    ];
    for operation in groups.into_iter().flatten() {
        let (operation, used) = operation.finish();
        problems.extend(used);
        let Operation {
            path,
            method,
            builder,
            ..
        } = operation;
        paths.add_path_operation(path, vec![method], builder);
    }
    let responses = problems
        .into_iter()
        .map(|(name, codes)| (name, problems::response(&codes)));
    let components = schemas()
        .into_iter()
        .fold(Components::builder(), |components, (name, schema)| {
            components.schema(name, schema)
        })
        .responses_from_iter(responses)
        .security_scheme(KEY, key())
        .security_scheme(STREAM_TOKEN, stream_token());
    let info = InfoBuilder::new()
        .title("Posthaste")
        .version("1")
        .description(Some(ABOUT))
        .license(Some(
            LicenseBuilder::new()
                .name("Apache-2.0")
                .identifier(Some("Apache-2.0"))
                .build(),
        ));
    let tags = TAGS.map(|(name, about)| TagBuilder::new().name(name).description(Some(about)).build());
    let mut document = OpenApiBuilder::new()
        .info(info)
        .servers(Some([ServerBuilder::new()
            .url("/")
            .description(Some("The server that serves this document"))
            .build()]))
        .paths(paths)
        .components(Some(components.build()))
        .tags(Some(tags))
        .build();
    document.extensions = Some(webhooks());
    document
}

/// The document as servers give it. A server gives the kept file rather than make it anew, which would need the code that
/// makes it, and memory, in each process; a test holds the file to [`openapi_json`].
pub const OPENAPI_JSON: &str = include_str!("../../../../docs/openapi.json");

/// The document as the code says it: indented JSON with a line break at its end. `docs/openapi.json` keeps it.
pub fn openapi_json() -> String {
    let mut text = openapi().to_pretty_json().expect("the document is JSON");
    text.push('\n');
    text
}

fn key() -> SecurityScheme {
    let http = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("phk_…")
        .description(Some(
            "An API key with the scope that the operation names, or `admin`.",
        ))
        .build();
    SecurityScheme::Http(http)
}

fn stream_token() -> SecurityScheme {
    let about = "A short-lived token for browsers, whose EventSource cannot send headers.";
    SecurityScheme::ApiKey(ApiKey::Query(ApiKeyValue::with_description("token", about)))
}

/// Everything that operations refer to, with what it refers to itself.
fn schemas() -> Vec<(String, RefOr<Schema>)> {
    let mut schemas = shapes::all();
    add::<crate::SubmitRequest>(&mut schemas);
    add::<crate::Accepted>(&mut schemas);
    add::<crate::BatchRequest>(&mut schemas);
    add::<crate::BatchAnswer>(&mut schemas);
    add::<crate::TaskView>(&mut schemas);
    add::<crate::TaskPage>(&mut schemas);
    add::<crate::HistoryPage>(&mut schemas);
    add::<crate::EventEnvelope>(&mut schemas);
    add::<crate::NewEndpoint>(&mut schemas);
    add::<crate::EndpointPatch>(&mut schemas);
    add::<crate::Endpoint>(&mut schemas);
    add::<crate::EndpointPage>(&mut schemas);
    add::<crate::EndpointSecret>(&mut schemas);
    add::<crate::Attempt>(&mut schemas);
    add::<crate::AttemptPage>(&mut schemas);
    add::<crate::NewKey>(&mut schemas);
    add::<crate::Key>(&mut schemas);
    add::<crate::KeyPage>(&mut schemas);
    add::<crate::RotateKey>(&mut schemas);
    add::<crate::NewStreamToken>(&mut schemas);
    add::<crate::StreamToken>(&mut schemas);
    add::<crate::AuditEntry>(&mut schemas);
    add::<crate::AuditPage>(&mut schemas);
    add::<crate::Connector>(&mut schemas);
    add::<crate::ConnectorList>(&mut schemas);
    add::<crate::Problem>(&mut schemas);
    add::<operating::Health>(&mut schemas);
    add::<operating::Readiness>(&mut schemas);
    schemas
}

fn add<T: ToSchema>(schemas: &mut Vec<(String, RefOr<Schema>)>) {
    schemas.push((T::name().into_owned(), T::schema()));
    T::schemas(schemas);
}

/// The `webhooks` member, which utoipa has no word for: the request that endpoints get.
fn webhooks() -> Extensions {
    let content = ContentBuilder::new()
        .schema(Some(reference::<crate::EventEnvelope>()))
        .example(Some(examples::event()));
    let body = RequestBodyBuilder::new().content("application/json", content.build());
    let mut operation = Operation::new((HttpMethod::Post, "event"), "endpoints", "receiveEvent", "An event, posted to an endpoint")
        .about(
            "Standard Webhooks 1.0. A 2xx is success; 410 disables the endpoint; `Retry-After` is obeyed on 429 and 503; \
             anything else, a redirect too, is tried again over about three days.",
        )
        .open()
        .answers(Answer::empty("2XX", "The event is taken."));
    operation.builder = operation.builder.request_body(Some(body.build()));
    let item = utoipa::openapi::PathItem::new(HttpMethod::Post, operation.builder);
    let webhooks = serde_json::json!({ "event": item });
    [("webhooks", webhooks)].into_iter().collect()
}
