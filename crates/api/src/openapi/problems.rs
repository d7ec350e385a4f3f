//! Refusals as components: one response for each set of codes that share a status.

use std::collections::BTreeMap;

use posthaste_types::ErrorCode;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::schema::{AllOfBuilder, ObjectBuilder};
use utoipa::openapi::{ContentBuilder, Ref, Response, ResponseBuilder};

use super::{headers, shapes};
use crate::Problem;

/// The codes by their status, each once.
pub(crate) fn by_status(codes: &[ErrorCode]) -> BTreeMap<u16, Vec<ErrorCode>> {
    let mut found: BTreeMap<u16, Vec<ErrorCode>> = BTreeMap::new();
    for code in ErrorCode::ALL.into_iter().filter(|code| codes.contains(code)) {
        found.entry(code.status()).or_default().push(code);
    }
    found
}

/// `not_found` is `NotFound`; several are joined by `Or`.
pub(crate) fn name(codes: &[ErrorCode]) -> String {
    let pascal = |code: &ErrorCode| -> String {
        let words = code.as_str().split('_');
        words.map(|word| word[..1].to_uppercase() + &word[1..]).collect()
    };
    codes.iter().map(pascal).collect::<Vec<_>>().join("Or")
}

/// The response for codes of one status.
pub(crate) fn response(codes: &[ErrorCode]) -> Response {
    let status = codes[0].status();
    let words = codes.iter().map(|code| code.as_str());
    let narrowed = AllOfBuilder::new()
        .item(Ref::from_schema_name("Problem"))
        .item(ObjectBuilder::new().property("code", shapes::words(words)));
    let examples = codes.iter().map(|&code| {
        let problem = Problem::new(code, code.cure());
        let value = serde_json::to_value(problem).expect("a problem is JSON");
        let example = ExampleBuilder::new().summary(code.title()).value(Some(value));
        (code.as_str(), example)
    });
    let content = ContentBuilder::new()
        .schema(Some(narrowed))
        .examples_from_iter(examples)
        .build();
    let lines = codes
        .iter()
        .map(|code| format!("`{}`: {}", code.as_str(), code.cause()));
    let response = ResponseBuilder::new()
        .description(lines.collect::<Vec<_>>().join("\n\n"))
        .content("application/problem+json", content);
    headers::of_problem(status)
        .into_iter()
        .fold(response, |response, (name, header)| response.header(name, header))
        .build()
}
