//! Pages to read the contract by: `/openapi.json` as it is handed in, `/docs` that draws it, `/docs/errors`. Nothing is
//! fetched from elsewhere, and no script or style stands inside a page.

use std::fmt::Write as _;

use bytes::Bytes;
use posthaste_types::ErrorCode;
use warp::http::StatusCode;
use warp::path::end;
use warp::{Filter, path};

use crate::reject::get;
use crate::response::{Routes, any_of, text};

const HTML: &str = "text/html; charset=utf-8";
const DOCS: &str = include_str!("pages/docs.html");
const SCRIPT: &str = include_str!("pages/page.js");
const STYLE: &str = include_str!("pages/page.css");

/// `GET /openapi.json`, which is `document`, and the pages `/docs` and `/docs/errors`, to which every problem's `type`
/// leads.
pub fn pages(document: impl Into<Bytes>) -> Routes {
    let openapi = path("openapi.json")
        .and(end())
        .and(file("application/json", document.into()));
    let docs = end().and(file(HTML, DOCS));
    let script = path("page.js")
        .and(end())
        .and(file("text/javascript; charset=utf-8", SCRIPT));
    let style = path("page.css")
        .and(end())
        .and(file("text/css; charset=utf-8", STYLE));
    let errors = path("errors").and(end()).and(file(HTML, errors_page()));
    let below = any_of([docs.boxed(), script.boxed(), style.boxed(), errors.boxed()]);
    any_of([openapi.boxed(), path("docs").and(below).boxed()])
}

fn file(content_type: &'static str, body: impl Into<Bytes>) -> Routes {
    let body = body.into();
    get()
        .map(move || text(StatusCode::OK, content_type, body.clone()))
        .boxed()
}

/// Every code with its cause and cure. They are our own words, yet `<` and `&` are kept from meaning anything.
fn errors_page() -> String {
    let mut page = String::from(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Posthaste: error codes</title>\n<link rel=\"stylesheet\" href=\"/docs/page.css\">\n</head>\n<body>\n\
         <h1>Error codes</h1>\n<p>The <code>code</code> of a problem document. <a href=\"/docs\">All operations</a></p>\n",
    );
    for code in ErrorCode::ALL {
        let (name, status) = (code.as_str(), code.status());
        let [title, cause, cure] = [code.title(), code.cause(), code.cure()].map(escaped);
        write!(
            page,
            "<h2 id=\"{name}\"><code>{name}</code></h2>\n<p>{status} · {title}</p>\n\
             <p><strong>Cause:</strong> {cause}</p>\n<p><strong>Cure:</strong> {cure}</p>\n"
        )
        .expect("a text takes everything");
    }
    page + "</body>\n</html>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
