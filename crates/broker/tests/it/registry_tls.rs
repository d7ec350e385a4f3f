//! The registry behind HTTPS and basic authentication.

use std::error::Error as _;
use std::path::PathBuf;

use posthaste_broker::{Error, ErrorKind, Registry, RegistryOptions};
use posthaste_stack::{Authority, TlsFront};
use tempfile::TempDir;

use crate::{name, with_broker};

const PASSWORD: &str = "CorrectHorse";

/// A front before the shared registry, and the authority that signed for it beside one that did not.
struct Fixture {
    front: TlsFront,
    certificates: TempDir,
}

impl Fixture {
    async fn start(registry_url: &str) -> Self {
        let (ours, another) = (
            Authority::new("ours").unwrap(),
            Authority::new("another").unwrap(),
        );
        let certificates = tempfile::tempdir().unwrap();
        std::fs::write(certificates.path().join("ours.pem"), ours.pem()).unwrap();
        std::fs::write(certificates.path().join("another.pem"), another.pem()).unwrap();
        let upstream = registry_url
            .strip_prefix("http://")
            .unwrap()
            .split('/')
            .next()
            .unwrap();
        let issued = ours.issue("localhost").unwrap();
        let front = TlsFront::start(&issued, "reader", PASSWORD, upstream.parse().unwrap()).await;
        Self {
            front: front.unwrap(),
            certificates,
        }
    }

    fn ca(&self, name: &str) -> Option<PathBuf> {
        Some(self.certificates.path().join(name))
    }

    fn registry(&self, login: &str, host: &str, ca: Option<PathBuf>) -> Registry {
        let url = format!("https://{login}@{host}:{}/apis/ccompat/v7", self.front.port());
        Registry::new(&RegistryOptions { url, ca }).unwrap()
    }
}

/// An error with its causes, which show no password.
fn told(error: &Error) -> String {
    let mut text = format!("{error}; {error:?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    assert!(!text.contains("Horse"), "{text}");
    text
}

#[test]
fn whoever_has_the_login_and_trusts_the_authority_is_served() {
    with_broker(|broker| async move {
        let fixture = Fixture::start(&broker.registry_url).await;
        let login = format!("reader:{PASSWORD}");
        let registry = fixture.registry(&login, "localhost", fixture.ca("ours.pem"));
        registry.ping().await.unwrap();
        let subject = name("subject");
        let id = registry.register(&subject, "\"string\"").await.unwrap();
        registry
            .ensure_compatibility(Some(&subject), "BACKWARD")
            .await
            .unwrap();
        assert!(registry.schema_text(id).await.unwrap().contains("string"));

        // Each is told, on the routes of the library and on ours, and can be tried again.
        for (registry, cause) in [
            (
                fixture.registry("reader:WrongHorse", "localhost", fixture.ca("ours.pem")),
                "401",
            ),
            (
                fixture.registry(&login, "localhost", fixture.ca("another.pem")),
                "UnknownIssuer",
            ),
            (fixture.registry(&login, "localhost", None), "UnknownIssuer"),
            (
                fixture.registry(&login, "127.0.0.1", fixture.ca("ours.pem")),
                "NotValidForName",
            ),
        ] {
            let pinged = registry.ping().await.unwrap_err();
            assert!(told(&pinged).contains(cause), "{cause}: {}", told(&pinged));
            let read = registry.schema_text(id).await.unwrap_err();
            assert!(told(&read).contains(cause), "{cause}: {}", told(&read));
            assert_eq!(read.kind(), ErrorKind::Unavailable, "{cause}");
        }
    });
}

#[test]
fn an_authority_that_cannot_be_read_is_named() {
    let missing = RegistryOptions {
        url: "https://reader:CorrectHorse@localhost".to_owned(),
        ca: Some("/nowhere/ca.pem".into()),
    };
    let error = Registry::new(&missing).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Setup);
    assert!(told(&error).contains("/nowhere/ca.pem"));
}
