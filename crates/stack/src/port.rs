//! Chooses ports. A free port can be taken by another before its part listens: who starts the part tries again then.

use std::net::{Ipv4Addr, TcpListener};

use crate::error::Error;
use crate::options::{Part, Ports};

/// The port that `part` shall listen on.
pub(crate) fn choose(ports: Ports, part: Part) -> Result<u16, Error> {
    match ports {
        Ports::Free => free(),
        Ports::Preferred(set) if is_free(set.of(part)) => Ok(set.of(part)),
        Ports::Preferred(_) => free(),
        Ports::Fixed(set) if is_free(set.of(part)) => Ok(set.of(part)),
        Ports::Fixed(set) => Err(Error::PortTaken {
            part,
            port: set.of(part),
        }),
    }
}

/// A port that nobody listens on.
pub(crate) fn free() -> Result<u16, Error> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    listener
        .map(|address| address.port())
        .map_err(Error::io("cannot find a free port on", "127.0.0.1"))
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::PortSet;

    #[test]
    fn a_taken_port_is_an_error_when_fixed_and_replaced_when_preferred() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let set = PortSet {
            postgres: port,
            kafka: port,
            registry: port,
        };
        assert_ne!(choose(Ports::Preferred(set), Part::Kafka).unwrap(), port);
        let error = choose(Ports::Fixed(set), Part::Kafka).unwrap_err();
        assert!(matches!(error, Error::PortTaken { part: Part::Kafka, port: named } if named == port));
    }
}
