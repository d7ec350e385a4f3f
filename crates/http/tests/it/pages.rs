//! The pages that the contract is read by.

use posthaste_http::pages;
use posthaste_types::ErrorCode;

use crate::client::{exchange, serve, status};

async fn get(path: &str) -> String {
    let server = serve(pages(r#"{"openapi":"3.1.0"}"#));
    exchange(
        &server,
        format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"),
    )
    .await
}

#[tokio::test]
async fn the_document_is_served_as_it_was_handed_in() {
    let answer = get("/openapi.json").await;
    assert_eq!(status(&answer), 200);
    assert!(
        answer.contains("application/json") && answer.ends_with(r#"{"openapi":"3.1.0"}"#),
        "{answer}"
    );
}

#[tokio::test]
async fn the_page_is_whole_without_anybody_elses_server_and_has_no_script_inside() {
    for (path, content_type) in [
        ("/docs", "text/html"),
        ("/docs/page.js", "text/javascript"),
        ("/docs/page.css", "text/css"),
        ("/docs/errors", "text/html"),
    ] {
        let answer = get(path).await;
        assert_eq!(status(&answer), 200, "{path}");
        assert!(answer.contains(content_type), "{path}: {answer}");
        assert!(!answer.contains("://"), "{path} names another server");
        assert!(
            !answer.contains("<script>") && !answer.contains("style=") && !answer.contains("innerHTML"),
            "{path}"
        );
    }
    assert_eq!(status(&get("/docs/nothing").await), 404);
}

#[tokio::test]
async fn the_type_of_every_problem_leads_to_its_cause_and_cure() {
    let page = get("/docs/errors").await;
    for code in ErrorCode::ALL {
        assert!(page.contains(&format!("id=\"{}\"", code.as_str())), "{code:?}");
        assert!(page.contains(code.cure()), "{code:?}");
    }
}
