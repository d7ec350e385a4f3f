//! What can be said of a configuration before anything is started: the same for `posthaste config` and for the roles.

use anyhow::{Context as _, anyhow, ensure};
use posthaste_store::{Store, StoreOptions};

use crate::config::Config;
use crate::exit::Usage;
use crate::roles::Role;
use crate::{front, migrate};

/// All of it, whichever role it is for.
///
/// # Errors
/// A usage error that names the key.
pub(crate) fn all(config: &Config) -> anyhow::Result<()> {
    front::check(config)?;
    migrate::check(config)?;
    Role::ALL.into_iter().try_for_each(|role| of_role(role, config))
}

/// What one role refuses.
///
/// # Errors
/// A usage error that names the key.
pub(crate) fn of_role(role: Role, config: &Config) -> anyhow::Result<()> {
    config.log.check()?;
    database(config)?;
    match role {
        Role::Ingest | Role::Delivery => front::check(config),
        Role::Connector => config
            .connector
            .names()
            .map(drop)
            .context(Usage("section [connector]".to_owned())),
        Role::Worker => {
            let checked = config.worker.check_with(posthaste_worker::Handlers::new());
            checked.map_err(|error| anyhow!(Usage(error.to_string())))
        }
        Role::Scheduler => {
            let checked = config.scheduler.check();
            checked.map_err(|error| anyhow!(Usage(error.to_string())))
        }
    }
}

fn database(config: &Config) -> anyhow::Result<()> {
    ensure!(
        config.database.pool_size > 0,
        Usage("database.pool_size must be 1 or more".to_owned())
    );
    // The file of the authority need not be on the machine where a configuration is looked at.
    let options = StoreOptions {
        ca: None,
        ..config.database.store("check")
    };
    Store::new(&options)
        .map(drop)
        .context(Usage("database.url".to_owned()))
}

#[cfg(test)]
mod tests {
    use posthaste_runtime::config::Layers;

    use super::*;

    #[test]
    fn what_a_role_refuses_is_refused_with_its_key() {
        for (text, key) in [
            ("[worker]\nhandlers = 0", "worker.handlers"),
            ("[worker]\nqueues = []", "worker.queues"),
            (
                "[worker.types.\"a.b\"]\nhandler = \"exec\"",
                "worker.types.\"a.b\".program",
            ),
            ("[worker.types.lost]", "worker.types.\"lost\".handler"),
            ("[database]\npool_size = 0", "database.pool_size"),
            ("[database]\nurl = \"postgresql://h:port/d\"", "database.url"),
            ("[scheduler]\npoll_ms = 0", "scheduler.poll_ms"),
            ("[topics]\nqueues = [\"A b\"]", "topics.queues"),
            ("[log]\nlevel = \"loud\"", "log.level"),
            ("[connector]\nslot = \"A b\"", "[connector]"),
            ("[http.tls]\nkey = \"key.pem\"", "http.tls"),
        ] {
            let config = Layers::new().toml("f", text).unwrap().load().unwrap().value;
            let error = all(&config).unwrap_err();
            assert!(format!("{error:#}").contains(key), "{error:#}");
            assert_eq!(crate::exit::code_of(&error), 2, "{key}");
        }
        all(&Config::default()).unwrap();
    }
}
