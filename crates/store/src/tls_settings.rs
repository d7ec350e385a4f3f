//! What libpq's `sslmode` and `sslrootcert`, and the configured authority, ask of a connection together.

use std::path::{Path, PathBuf};

use tokio_postgres::config::{Host, SslMode};

use crate::Error;
use crate::conninfo::Conninfo;
use crate::verify::Checks;

/// libpq's `sslmode`, without `allow`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    /// Plain.
    Disable,
    /// TLS where the server offers it, whoever the server is.
    Prefer,
    /// TLS, whoever the server is.
    Require,
    /// TLS to a server whose certificate an authority of ours has signed.
    VerifyCa,
    /// The same, and the certificate is for the host that was asked for.
    VerifyFull,
}

/// How a connection to the database is protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// What is asked of the server.
    pub mode: TlsMode,
    /// The authorities' certificates, PEM; `None`: those of the public web.
    pub ca: Option<PathBuf>,
}

impl TlsSettings {
    /// What the connection string and the configured authority ask for together. Without a mode, a named authority is
    /// checked in full, a socket or this machine's own address is plain, and anything else is `prefer`, as with libpq.
    pub(crate) fn choose(given: &Conninfo, hosts: &[Host], ca: Option<&Path>) -> Result<Self, Error> {
        let over_socket = hosts.iter().all(|host| matches!(host, Host::Unix(_)));
        // `system` is libpq's word for the authorities that everybody trusts.
        let in_url = given.sslrootcert.as_deref().filter(|path| *path != "system");
        let wanted = match given.sslmode.as_deref() {
            None if ca.is_some() || given.sslrootcert.is_some() => TlsMode::VerifyFull,
            None if hosts.iter().all(is_local) => TlsMode::Disable,
            None | Some("prefer") => TlsMode::Prefer,
            Some("disable") => TlsMode::Disable,
            // libpq: a root certificate that is there is used.
            Some("require") if ca.is_some() || in_url.is_some() => TlsMode::VerifyCa,
            Some("require") => TlsMode::Require,
            Some("verify-ca") => TlsMode::VerifyCa,
            Some("verify-full") => TlsMode::VerifyFull,
            Some(_) => {
                let known = "disable, prefer, require, verify-ca or verify-full";
                return Err(Error::Setup(format!(
                    "`sslmode` in the database URL must be {known}"
                )));
            }
        };
        if ca.is_some() && !over_socket && matches!(wanted, TlsMode::Disable | TlsMode::Prefer) {
            return Err(Error::Setup(
                "`[database] ca` is given and `sslmode` in the database URL keeps it from being checked: use \
                 `sslmode=verify-full`"
                    .to_owned(),
            ));
        }
        Ok(Self {
            // libpq passes sslmode over where there is no network.
            mode: if over_socket { TlsMode::Disable } else { wanted },
            ca: ca.map(Path::to_owned).or(in_url.map(PathBuf::from)),
        })
    }

    /// What the driver decides by itself: whether there is TLS at all.
    pub(crate) const fn driver_mode(&self) -> SslMode {
        match self.mode {
            TlsMode::Disable => SslMode::Disable,
            TlsMode::Prefer => SslMode::Prefer,
            TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => SslMode::Require,
        }
    }

    pub(crate) const fn checks(&self) -> Checks {
        match self.mode {
            TlsMode::Disable | TlsMode::Prefer | TlsMode::Require => Checks::Nothing,
            TlsMode::VerifyCa => Checks::Authority,
            TlsMode::VerifyFull => Checks::AuthorityAndName,
        }
    }
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) if name == "localhost" => true,
        Host::Tcp(name) => name
            .parse()
            .is_ok_and(|address: std::net::IpAddr| address.is_loopback()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(url: &str, ca: Option<&str>) -> Result<(TlsMode, Option<PathBuf>), Error> {
        let given = Conninfo::split(url)?;
        let config: tokio_postgres::Config = given.rest.parse().unwrap();
        let settings = TlsSettings::choose(&given, config.get_hosts(), ca.map(Path::new))?;
        Ok((settings.mode, settings.ca))
    }

    #[test]
    fn modes_mean_what_they_mean_to_libpq() {
        let ca = || Some(PathBuf::from("/ca"));
        for (url, expected) in [
            ("postgresql://db.example/d", (TlsMode::Prefer, None)),
            ("postgresql://127.0.0.1/d", (TlsMode::Disable, None)),
            ("postgresql://localhost/d", (TlsMode::Disable, None)),
            (
                "postgresql://localhost/d?sslmode=require",
                (TlsMode::Require, None),
            ),
            (
                "postgresql://%2Frun/d?sslmode=verify-full",
                (TlsMode::Disable, None),
            ),
            ("postgresql://h/d?sslmode=disable", (TlsMode::Disable, None)),
            ("postgresql://h/d?sslmode=prefer", (TlsMode::Prefer, None)),
            ("postgresql://h/d?sslmode=require", (TlsMode::Require, None)),
            (
                "postgresql://h/d?sslmode=require&sslrootcert=/ca",
                (TlsMode::VerifyCa, ca()),
            ),
            (
                "postgresql://h/d?sslmode=verify-ca&sslrootcert=/ca",
                (TlsMode::VerifyCa, ca()),
            ),
            (
                "postgresql://h/d?sslmode=verify-full",
                (TlsMode::VerifyFull, None),
            ),
            (
                "postgresql://h/d?sslmode=verify-full&sslrootcert=system",
                (TlsMode::VerifyFull, None),
            ),
            ("postgresql://h/d?sslrootcert=/ca", (TlsMode::VerifyFull, ca())),
            (
                "host=h sslmode=verify-full sslrootcert=/ca",
                (TlsMode::VerifyFull, ca()),
            ),
        ] {
            assert_eq!(choose(url, None).unwrap(), expected, "{url}");
        }
        assert!(choose("postgresql://h/d?sslmode=allow", None).is_err());
    }

    #[test]
    fn a_configured_authority_is_always_checked() {
        let full = (TlsMode::VerifyFull, Some("/ca".into()));
        assert_eq!(choose("postgresql://127.0.0.1/d", Some("/ca")).unwrap(), full);
        let chosen = choose(
            "postgresql://h/d?sslmode=verify-full&sslrootcert=/other",
            Some("/ca"),
        );
        assert_eq!(chosen.unwrap(), full);
        assert_eq!(
            choose("postgresql://h/d?sslmode=require", Some("/ca")).unwrap().0,
            TlsMode::VerifyCa
        );
        for mode in ["disable", "prefer"] {
            let refused = choose(&format!("postgresql://h/d?sslmode={mode}"), Some("/ca"));
            assert!(refused.unwrap_err().to_string().contains("verify-full"));
        }
    }
}
