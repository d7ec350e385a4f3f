//! Which addresses a webhook may go to. Without a check, whoever can name a URL makes this process speak to its own
//! network (server-side request forgery, OWASP).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// What configuration allows beyond public `https`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Policy {
    /// Addresses that are not public.
    pub(crate) allow_private: bool,
    /// `http` instead of `https`.
    pub(crate) allow_http: bool,
}

/// A host stands for an address that is not public.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a public address")]
pub(crate) struct Forbidden(IpAddr);

impl Policy {
    /// What is wrong with the URL of an endpoint, as far as the text tells.
    pub(crate) fn check_url(self, url: &Url) -> Result<(), String> {
        let scheme_fits = url.scheme() == "https" || (self.allow_http && url.scheme() == "http");
        if !scheme_fits {
            let scheme = if self.allow_http { "http or https" } else { "https" };
            return Err(format!("must be an absolute {scheme} URL"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not hold a user name or password; use `headers`".to_owned());
        }
        self.check_literal(url)
    }

    /// Refuses a host that is written as a forbidden address. The HTTP client asks no resolver for those.
    pub(crate) fn check_literal(self, url: &Url) -> Result<(), String> {
        if self.allow_private {
            return Ok(());
        }
        let address = match url.host() {
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
            Some(Host::Domain(name)) if is_local_name(name) => {
                return Err(format!("`{name}` is not a public name"));
            }
            Some(Host::Domain(_)) => return Ok(()),
            None => return Err("must name a host".to_owned()),
        };
        if is_public(address) {
            Ok(())
        } else {
            Err(Forbidden(address).to_string())
        }
    }
}

/// RFC 6761: `localhost` and what is below it always mean this machine.
fn is_local_name(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name == "localhost" || name.ends_with(".localhost")
}

/// Whether an address is of the public Internet, by IANA's registries of special-purpose addresses.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !matches!(
        (a, b, c),
        (0 | 10 | 127 | 224.., ..)          // this network, private, loopback, multicast and reserved
            | (100, 64..=127, _)             // carrier-grade NAT
            | (169, 254, _)                  // link-local
            | (172, 16..=31, _) | (192, 168, _) // private
            | (192, 0, 0 | 2) | (198, 51, 100) | (203, 0, 113) // protocol assignments, documentation
            | (192, 88, 99)                  // 6to4 relays, withdrawn
            | (198, 18 | 19, _) // benchmarks
    )
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    // What embeds an IPv4 address leads there.
    if let Some(mapped) = address.to_ipv4_mapped() {
        return is_public_v4(mapped);
    }
    let [a, b, c, d, e, f, g, h] = address.segments();
    if [a, b, c, d, e, f] == [0x64, 0xff9b, 0, 0, 0, 0] {
        let [g1, g2] = g.to_be_bytes();
        let [h1, h2] = h.to_be_bytes();
        return is_public_v4(Ipv4Addr::new(g1, g2, h1, h2));
    }
    let is_global_unicast = a & 0xe000 == 0x2000;
    let is_special = matches!(
        (a, b),
        (0x2001, 0..=0x1ff | 0xdb8) // protocol assignments (Teredo and others), documentation
            | (0x2002, _)            // 6to4
            | (0x3fff, 0..=0xfff) // documentation
    );
    is_global_unicast && !is_special
}

/// Resolves names and refuses one of which any answer is forbidden. The client connects to the addresses given here and
/// to no others, so a name that answers differently the next time gains nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CheckedResolver {
    pub(crate) policy: Policy,
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.policy;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let forbidden = found
                .iter()
                .map(SocketAddr::ip)
                .find(|address| !is_public(*address));
            if let Some(address) = forbidden.filter(|_| !policy.allow_private) {
                return Err(Forbidden(address).into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: Policy = Policy {
        allow_private: false,
        allow_http: false,
    };

    #[test]
    fn special_purpose_addresses_are_not_public() {
        for text in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.8.8.8",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn ordinary_addresses_are_public() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2001:4860::8888",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
        ] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn literals_are_found_in_every_spelling() {
        for text in [
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://0177.0.0.1/",
            "https://127.1/",
            "https://[::1]/",
            "https://[::ffff:10.0.0.1]/",
            "https://localhost/",
            "https://a.localhost./",
        ] {
            assert!(STRICT.check_url(&Url::parse(text).unwrap()).is_err(), "{text}");
        }
        assert_eq!(
            STRICT.check_url(&Url::parse("https://example.com/hook?a=1").unwrap()),
            Ok(())
        );
        let open = Policy {
            allow_private: true,
            allow_http: true,
        };
        assert_eq!(
            open.check_url(&Url::parse("http://127.0.0.1:9000/").unwrap()),
            Ok(())
        );
    }

    #[test]
    fn other_schemes_and_credentials_are_refused() {
        for text in [
            "http://example.com/",
            "ftp://example.com/",
            "https://user@example.com/",
            "https://:pw@example.com/",
        ] {
            assert!(STRICT.check_url(&Url::parse(text).unwrap()).is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_to_this_machine_does_not_resolve() {
        let name = || "localhost".parse().unwrap();
        assert!(CheckedResolver { policy: STRICT }.resolve(name()).await.is_err());
        let open = Policy {
            allow_private: true,
            ..STRICT
        };
        assert!(CheckedResolver { policy: open }.resolve(name()).await.is_ok());
    }
}
