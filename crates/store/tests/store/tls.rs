//! The database over TLS and SCRAM: who is let in, who is believed, and what is said when not.

use std::path::{Path, PathBuf};

use posthaste_runtime::chain;
use posthaste_stack::{Authority, Secure, Stack, StackOptions, temporary_with};
use posthaste_store::{Store, StoreOptions};

const PASSWORD: &str = "correct horse";

/// A Postgres that takes TLS alone, and an authority that did not sign its certificate beside the one that did.
struct Protected {
    stack: Stack,
    directory: tempfile::TempDir,
}

impl Protected {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ours = Authority::new("ours").unwrap();
        let issued = ours.issue("localhost").unwrap();
        let others = Authority::new("another").unwrap();
        std::fs::write(directory.path().join("ours.pem"), ours.pem()).unwrap();
        std::fs::write(directory.path().join("another.pem"), others.pem()).unwrap();
        let secure = Secure {
            certificate: issued.certificate,
            key: issued.key,
            kafka_users: Vec::new(),
        };
        let stack = temporary_with(|options| StackOptions {
            secure: Some(secure),
            ..options.postgres_alone()
        })
        .await
        .unwrap();
        let protected = Self { stack, directory };
        let owner = protected.owner();
        let client = owner.connect(tokio_postgres::NoTls).await.unwrap();
        let connection = tokio::spawn(client.1);
        let create = format!("create role guest login password '{PASSWORD}'");
        client.0.batch_execute(&create).await.unwrap();
        drop(client.0);
        connection.await.unwrap().unwrap();
        protected
    }

    fn owner(&self) -> tokio_postgres::Config {
        self.stack.database_url().parse().unwrap()
    }

    fn ca(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What comes of asking as `guest`: nothing, or the error with its causes.
    async fn ask(
        &self,
        host: &str,
        password: &str,
        parameters: &str,
        ca: Option<&Path>,
    ) -> Result<(), String> {
        let port = self.owner().get_ports()[0];
        let password = password.replace(' ', "%20");
        let url = format!("postgresql://guest:{password}@{host}:{port}/posthaste?{parameters}");
        let options = StoreOptions {
            url,
            ca: ca.map(Path::to_owned),
            pool_size: 1,
            application_name: "test".to_owned(),
        };
        assert!(!format!("{options:?}").contains(&password));
        let store = Store::new(&options).map_err(|error| chain(&error).to_string())?;
        store.ping().await.map_err(|error| chain(&error).to_string())
    }

    /// The same, refused, with a text that holds `expected` and no password.
    #[track_caller]
    fn refused(outcome: Result<(), String>, expected: &str) {
        let text = outcome.unwrap_err();
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains("horse"), "{text}");
    }
}

#[tokio::test]
async fn a_server_is_believed_as_far_as_sslmode_says_and_a_refusal_names_its_cause() {
    let protected = Protected::start().await;
    let (ours, another) = (protected.ca("ours.pem"), protected.ca("another.pem"));
    let ask =
        async |host, parameters: &str, ca: Option<&Path>| protected.ask(host, PASSWORD, parameters, ca).await;

    // The whole of it, and channel binding with it, by either way of naming the authority.
    let in_url = format!("sslmode=verify-full&sslrootcert={}", ours.display());
    ask("localhost", &in_url, None).await.unwrap();
    ask("localhost", "channel_binding=require", Some(&ours))
        .await
        .unwrap();
    // Whoever the server is.
    ask("127.0.0.1", "sslmode=require", None).await.unwrap();
    ask("127.0.0.1", "sslmode=prefer", None).await.unwrap();
    // Its authority, not its name.
    ask("127.0.0.1", "sslmode=verify-ca", Some(&ours)).await.unwrap();

    let refused = Protected::refused;
    refused(
        ask("127.0.0.1", "sslmode=verify-full", Some(&ours)).await,
        "not for `127.0.0.1`",
    );
    refused(
        ask("localhost", "sslmode=verify-full", Some(&another)).await,
        "`[database] ca`",
    );
    refused(
        ask("localhost", "sslmode=verify-ca", Some(&another)).await,
        "signed by nobody who is trusted",
    );
    refused(
        ask("localhost", "sslmode=verify-full", None).await,
        "signed by nobody who is trusted",
    );
    refused(ask("127.0.0.1", "", None).await, "no encryption");
    let missing = protected.ca("missing.pem");
    refused(
        ask("localhost", "", Some(&missing)).await,
        "missing.pem cannot be read",
    );
    let wrong = protected.ask("localhost", "wrong horse", "", Some(&ours)).await;
    refused(wrong, "password authentication failed for user \"guest\"");
    protected.stack.stop().await.unwrap();
}
