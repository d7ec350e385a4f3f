//! `/v1/endpoints`: whom webhooks are posted to, and what came of it.

use posthaste_types::{ErrorCode as Code, Scope};
use utoipa::openapi::Ref;
use utoipa::openapi::path::HttpMethod::{Delete, Get, Patch, Post};

use super::operation::{Answer, Operation, query};
use super::{examples, headers, shapes};
use crate::{Attempt, AttemptPage, Endpoint, EndpointPage, EndpointPatch, EndpointSecret, NewEndpoint};

const TAG: &str = "endpoints";

pub(crate) fn operations() -> Vec<Operation> {
    vec![
        create(),
        list(),
        read(),
        change(),
        delete(),
        secret(),
        attempts(),
        test(),
        switch(
            "/v1/endpoints/{id}/enable",
            "enableEndpoint",
            "Send events to an endpoint again",
        ),
        switch(
            "/v1/endpoints/{id}/disable",
            "disableEndpoint",
            "Send an endpoint no events",
        ),
    ]
}

fn create() -> Operation {
    Operation::new((Post, "/v1/endpoints"), TAG, "createEndpoint", "Add a webhook endpoint")
        .about(
            "Events are posted as Standard Webhooks 1.0: `webhook-id`, `webhook-timestamp` and `webhook-signature`, which \
             the `secret` of this answer verifies. The secret is shown here and by `GET …/secret` alone.",
        )
        .key(Scope::Admin)
        .body::<NewEndpoint>(&[
            ("The least", examples::endpoint_least()),
            ("Everything", examples::endpoint_everything()),
        ])
        .answers(
            Answer::json::<Endpoint>("201", "The endpoint, with its secret.", examples::endpoint_made())
                .headers([headers::location(), headers::cache_control()]),
        )
}

fn list() -> Operation {
    Operation::new(
        (Get, "/v1/endpoints"),
        TAG,
        "listEndpoints",
        "List webhook endpoints",
    )
    .about("Values of `headers` read `***` without the scope `admin`.")
    .key(Scope::Read)
    .parameters([])
    .answers(Answer::json::<EndpointPage>(
        "200",
        "All of them, newest first.",
        examples::endpoint_page(),
    ))
}

fn read() -> Operation {
    Operation::new(
        (Get, "/v1/endpoints/{id}"),
        TAG,
        "getEndpoint",
        "Read an endpoint",
    )
    .about("Values of `headers` read `***` without the scope `admin`.")
    .key(Scope::Read)
    .answers(Answer::json::<Endpoint>(
        "200",
        "The endpoint.",
        examples::endpoint(),
    ))
}

fn change() -> Operation {
    Operation::new(
        (Patch, "/v1/endpoints/{id}"),
        TAG,
        "changeEndpoint",
        "Change an endpoint",
    )
    .about("What the body does not name stays; null puts back the default where there is one.")
    .key(Scope::Admin)
    .body::<EndpointPatch>(&[("Slower", examples::endpoint_patch())])
    .answers(Answer::json::<Endpoint>(
        "200",
        "The endpoint after the change.",
        examples::endpoint(),
    ))
    .refuses([Code::StateConflict])
}

fn delete() -> Operation {
    Operation::new(
        (Delete, "/v1/endpoints/{id}"),
        TAG,
        "deleteEndpoint",
        "Remove an endpoint",
    )
    .about("Events that wait for it are dropped; its attempts are no longer shown.")
    .key(Scope::Admin)
    .answers(Answer::empty("204", "It is gone."))
}

fn secret() -> Operation {
    Operation::new(
        (Get, "/v1/endpoints/{id}/secret"),
        TAG,
        "getEndpointSecret",
        "Read an endpoint's secret",
    )
    .key(Scope::Admin)
    .answers(
        Answer::json::<EndpointSecret>("200", "The secret.", examples::endpoint_secret())
            .headers([headers::cache_control()]),
    )
}

fn attempts() -> Operation {
    Operation::new(
        (Get, "/v1/endpoints/{id}/attempts"),
        TAG,
        "listAttempts",
        "What was sent to an endpoint",
    )
    .key(Scope::Read)
    .parameters([
        query(
            "status",
            "Only these attempts.",
            Ref::from_schema_name("AttemptStatus"),
        )
        .build(),
        query("since", "Attempts that began then or later.", shapes::time()).build(),
        query(
            "cursor",
            "`next` of the page before.",
            Ref::from_schema_name("AttemptId"),
        )
        .build(),
    ])
    .answers(Answer::json::<AttemptPage>(
        "200",
        "Attempts, newest first.",
        examples::attempt_page(),
    ))
}

fn test() -> Operation {
    Operation::new((Post, "/v1/endpoints/{id}/test"), TAG, "testEndpoint", "Send a made-up event now")
        .about("One attempt, whether the endpoint is enabled or not, and what came of it. Its task carries the tag `test`.")
        .key(Scope::Admin)
        .answers(Answer::json::<Attempt>("200", "The attempt, successful or not.", examples::attempt()))
        .refuses([Code::StateConflict])
}

fn switch(path: &'static str, id: &str, summary: &str) -> Operation {
    Operation::new((Post, path), TAG, id, summary)
        .key(Scope::Admin)
        .answers(Answer::json::<Endpoint>(
            "200",
            "The endpoint.",
            examples::endpoint(),
        ))
}
