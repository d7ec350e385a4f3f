//! The key at a real listener that asks for one.

use std::sync::Arc;

use posthaste_api::Problem;
use posthaste_client::{Client, ClientOptions, Error};
use posthaste_http::{Authenticator, Caller, Credentials, Front, ServeOptions, Tls, unauthenticated};
use posthaste_runtime::Stopper;
use posthaste_types::Scope;
use posthaste_types::api_key::{ApiKey, RANDOM_BYTES};
use warp::Filter as _;
use warp::http::StatusCode;

/// Lets one key in.
struct OneKey(ApiKey);

impl Authenticator for OneKey {
    fn authenticate(&self, credentials: Credentials<'_>) -> Result<Caller, Problem> {
        match credentials {
            Credentials::Bearer(text) if text == self.0.expose() => Ok(Caller::open()),
            _ => Err(unauthenticated("not this one")),
        }
    }
}

fn key(byte: u8) -> ApiKey {
    ApiKey::from_random(&[byte; RANDOM_BYTES])
}

/// A server that answers `GET /v1/endpoints` to whoever holds `key`; its host and port.
fn serve(key: ApiKey, tls: Option<Tls>) -> String {
    let options = ServeOptions {
        tls,
        ..ServeOptions::default()
    };
    let listener = posthaste_http::bind(([127, 0, 0, 1], 0).into())
        .unwrap()
        .with_options(options);
    let address = listener.local_addr().to_string();
    let routes = warp::path!("v1" / "endpoints")
        .and(posthaste_http::get())
        .and(posthaste_http::caller(Scope::Read))
        .map(|_| posthaste_http::json(StatusCode::OK, &serde_json::json!({ "endpoints": [] })));
    let routes = posthaste_http::finish(routes.boxed());
    tokio::spawn(listener.serve(routes, Front::new(Arc::new(OneKey(key))), Stopper::new()));
    address
}

fn with(key: &ApiKey) -> ClientOptions {
    ClientOptions::default().key(key.expose()).unwrap()
}

#[tokio::test]
async fn a_key_opens_the_door_and_another_does_not() {
    let url = format!("http://{}", serve(key(1), None));
    let client = Client::with(&url, &with(&key(1))).unwrap();
    assert!(client.endpoints().await.unwrap().endpoints.is_empty());
    for client in [Client::new(&url), Client::with(&url, &with(&key(2)))] {
        let refused = client.unwrap().endpoints().await;
        assert!(matches!(refused, Err(Error::Refused(problem)) if problem.status == 401));
    }
}

#[tokio::test]
async fn a_certificate_of_ones_own_is_trusted_when_it_is_named_and_else_not() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key_file) = (
        folder.path().join("certificate.pem"),
        folder.path().join("key.pem"),
    );
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key_file, made.signing_key.serialize_pem()).unwrap();
    let address = serve(key(1), Some(Tls::load(&certificate, &key_file).unwrap()));
    let url = address.replace("127.0.0.1", "https://localhost");
    let trusting = with(&key(1))
        .certificate_authority(made.cert.pem().as_bytes())
        .unwrap();
    let client = Client::with(&url, &trusting).unwrap();
    assert!(client.endpoints().await.unwrap().endpoints.is_empty());
    let wary = Client::with(&url, &with(&key(1))).unwrap();
    assert!(matches!(wary.is_ready().await, Err(Error::Unreachable(_))));
}

#[test]
fn a_certificate_authority_that_is_no_pem_is_refused() {
    let text = b"-----BEGIN CERTIFICATE-----\nnot base64!\n-----END CERTIFICATE-----\n";
    let options = ClientOptions::default().certificate_authority(text);
    assert!(matches!(options, Err(Error::Authority(_))));
}

#[test]
fn a_mistyped_key_is_refused_before_it_is_sent_and_no_key_is_shown() {
    let mut text = key(1).expose().to_owned();
    let last = if text.pop() == Some('a') { 'b' } else { 'a' };
    text.push(last);
    assert!(matches!(ClientOptions::default().key(&text), Err(Error::Key(_))));
    let shown = format!(
        "{:?}",
        Client::with("http://127.0.0.1:1", &with(&key(1))).unwrap()
    );
    assert!(!shown.contains(&key(1).expose()[13..]), "{shown}");
}
