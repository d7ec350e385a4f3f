//! Holds `docs/` to the code, and the document to itself.

#![expect(clippy::unwrap_used, reason = "a test that cannot read the tree has failed")]

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

fn assert_fresh(name: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs")
        .join(name);
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        kept == made,
        "docs/{name} is not what the code says; refresh it with `cargo run -p posthaste-api --example documents`"
    );
}

#[test]
fn kept_documents_are_what_the_code_says() {
    assert_fresh("openapi.json", &posthaste_api::openapi_json());
    assert_fresh("errors.md", &posthaste_api::errors_markdown());
}

fn document() -> Value {
    serde_json::from_str(&posthaste_api::openapi_json()).unwrap()
}

/// Every string under a `$ref`.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get("$ref") {
                found.insert(reference.clone());
            }
            members.values().for_each(|member| references(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_component_is_used() {
    let document = document();
    let mut used = BTreeSet::new();
    references(&document, &mut used);
    for reference in &used {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    for kind in ["schemas", "responses"] {
        for name in document["components"][kind].as_object().unwrap().keys() {
            let reference = format!("#/components/{kind}/{name}");
            assert!(used.contains(&reference), "nothing refers to {reference}");
        }
    }
}

#[test]
fn operations_have_names_of_their_own_and_say_who_may_call_them() {
    let document = document();
    let mut names = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name.to_owned()), "{name} is there twice");
            let security = operation["security"].as_array().unwrap();
            let is_open = security.is_empty();
            assert_eq!(is_open, !path.starts_with("/v1/"), "{method} {path}");
            assert_eq!(
                operation["responses"].get("401").is_none(),
                is_open,
                "{method} {path}"
            );
        }
    }
}
