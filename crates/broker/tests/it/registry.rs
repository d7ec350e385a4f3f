//! The registry.

use posthaste_broker::{ErrorKind, Registry, RegistryOptions};

use crate::{name, with_broker};

fn schema(field: &str) -> String {
    format!(r#"{{"type":"record","name":"Thing","fields":[{{"name":"a","type":"string"}}{field}]}}"#)
}

#[test]
fn a_schema_keeps_its_id_and_an_incompatible_one_is_refused() {
    with_broker(|broker| async move {
        let registry = Registry::new(&RegistryOptions::at(&broker.registry_url)).unwrap();
        registry.ping().await.unwrap();
        let subject = name("subject");
        let id = registry.register(&subject, &schema("")).await.unwrap();
        registry
            .ensure_compatibility(Some(&subject), "BACKWARD")
            .await
            .unwrap();
        assert_eq!(registry.register(&subject, &schema("")).await.unwrap(), id);
        assert!(registry.schema_text(id).await.unwrap().contains("Thing"));
        let optional = schema(r#",{"name":"b","type":["null","string"],"default":null}"#);
        assert_ne!(registry.register(&subject, &optional).await.unwrap(), id);
        let required = schema(r#",{"name":"c","type":"string"}"#);
        assert_eq!(
            registry.register(&subject, &required).await.unwrap_err().kind(),
            ErrorKind::Setup
        );
        assert_eq!(
            registry.schema_text(1_000_000).await.unwrap_err().kind(),
            ErrorKind::Setup
        );
    });
}

#[test]
fn a_registry_that_is_away_can_be_tried_again() {
    with_broker(|_| async move {
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let registry = Registry::new(&RegistryOptions::at(format!("http://127.0.0.1:{port}"))).unwrap();
        assert_eq!(registry.ping().await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(
            registry.register("s", "\"string\"").await.unwrap_err().kind(),
            ErrorKind::Unavailable
        );
        assert_eq!(
            registry.schema_text(1).await.unwrap_err().kind(),
            ErrorKind::Unavailable
        );
    });
}
