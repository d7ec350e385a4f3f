//! The front door of this process, made from the configuration: who may come in, over what, within which limits.

use anyhow::{Context as _, anyhow, bail, ensure};
use posthaste_access::Service as AccessService;
use posthaste_http::{Cors, Front, Listener, ServeOptions, Tls};
use posthaste_types::TenantLimits;

use crate::config::{Access, Config, HttpOptions, TlsFiles};
use crate::exit::Usage;

/// Whom this process lets in. Without `access` it has no route that asks who comes: health and metrics are for all.
///
/// # Errors
/// Origins that are none; an open door where others than this machine can reach it.
pub(crate) fn front(options: &HttpOptions, access: Option<&AccessService>) -> anyhow::Result<Front> {
    let front = match (access, options.access) {
        (None, _) => Front::open(),
        (Some(access), Access::Keys) => Front::new(access.authenticator()),
        (Some(access), Access::Open) => Front::open_on_loopback(access.open_caller()),
    };
    let cors = Cors::parse(&options.cors.origins).context(Usage("http.cors.origins".to_owned()))?;
    Ok(front.with_cors(cors).with_access_log(options.access_log))
}

/// Refuses a configuration that would serve what it should not, before anything is started.
///
/// # Errors
/// What is wrong, and what to set instead.
pub(crate) fn check(config: &Config) -> anyhow::Result<()> {
    let http = &config.http;
    if http.access == Access::Open && !http.listen.ip().is_loopback() {
        bail!(Usage(format!(
            "http.access = \"open\" lets everybody in, so it is taken on loopback alone, and http.listen is {}: set \
             http.access = \"keys\" and make a key with `posthaste keys create`, or listen on 127.0.0.1",
            http.listen
        )));
    }
    ensure!(
        http.connections_max > 0 && http.connections_per_address_max > 0,
        Usage("http.connections_max and http.connections_per_address_max must be 1 or more".to_owned())
    );
    ensure!(
        http.tls.certificate.is_some() == http.tls.key.is_some(),
        half_of_tls()
    );
    check_limits(&config.limits)
}

fn half_of_tls() -> Usage {
    Usage("http.tls needs both `certificate` and `key`".to_owned())
}

fn check_limits(limits: &TenantLimits) -> anyhow::Result<()> {
    let rates = [
        ("requests_per_s", limits.requests_per_s),
        ("tasks_per_s", limits.tasks_per_s),
    ];
    for (name, rate) in rates {
        ensure!(
            rate.is_none_or(|rate| rate.is_finite() && rate > 0.0),
            Usage(format!("limits.{name} must be more than 0"))
        );
    }
    Ok(())
}

/// The listener with its encryption and its bounds.
///
/// # Errors
/// TLS files that cannot be read, or one without the other.
pub(crate) fn prepare(listener: Listener, options: &HttpOptions) -> anyhow::Result<Listener> {
    Ok(listener.with_options(ServeOptions {
        connections_max: options.connections_max,
        connections_per_address_max: options.connections_per_address_max,
        tls: tls(&options.tls)?,
    }))
}

fn tls(files: &TlsFiles) -> anyhow::Result<Option<Tls>> {
    match (&files.certificate, &files.key) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => {
            let tls = Tls::load(certificate, key).context(Usage("http.tls".to_owned()))?;
            Ok(Some(tls))
        }
        _ => Err(anyhow!(half_of_tls())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(listen: &str, access: Access) -> Config {
        let mut config = Config::default();
        config.http.listen = listen.parse().unwrap();
        config.http.access = access;
        config
    }

    #[test]
    fn an_open_door_is_taken_on_loopback_alone_and_the_error_names_the_fix() {
        for listen in ["127.0.0.1:8080", "[::1]:8080"] {
            check(&config(listen, Access::Open)).unwrap();
        }
        for listen in ["0.0.0.0:8080", "[::]:8080", "192.0.2.7:8080"] {
            check(&config(listen, Access::Keys)).unwrap();
            let error = check(&config(listen, Access::Open)).unwrap_err();
            assert!(error.is::<Usage>());
            assert!(error.to_string().contains("posthaste keys create"), "{error}");
        }
    }

    #[test]
    fn rates_that_let_nothing_through_and_half_of_tls_are_refused() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let mut config = config("127.0.0.1:1", Access::Keys);
            config.limits.tasks_per_s = Some(rate);
            let error = check(&config).unwrap_err().to_string();
            assert!(error.contains("limits.tasks_per_s"), "{error}");
        }
        let half = TlsFiles {
            certificate: Some("cert.pem".into()),
            key: None,
        };
        assert!(tls(&half).is_err_and(|error| error.to_string().contains("`key`")));
    }
}
