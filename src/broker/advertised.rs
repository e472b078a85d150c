//! The address that clients are told to connect to.

use std::net::SocketAddr;

/// A host name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertised {
    /// The host, without brackets around an IPv6 address.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// The setting `advertised` is not HOST:PORT, or is needed and missing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdvertisedError {
    /// It cannot be read.
    #[error("setting `advertised`: `{text}` is not HOST:PORT, like broker1.example.com:9092")]
    Malformed {
        /// What was given.
        text: String,
    },
    /// No client could connect to the address that is listened on.
    #[error("listening on all addresses ({listen}): say with `advertised` which one clients connect to")]
    Needed {
        /// What is listened on.
        listen: SocketAddr,
    },
}

impl Advertised {
    /// What is advertised by a broker without a port: a name that leads nowhere. Clients in its process need none.
    pub(crate) fn nowhere() -> Self {
        Self { host: "in-process".to_owned(), port: 0 }
    }

    /// What is advertised: `text`, or the address that is listened on if it is empty. Port 0 stands for the port that
    /// is listened on.
    ///
    /// # Errors
    /// If the text cannot be read, or is empty while all addresses are listened on.
    pub fn new(text: &str, listen: SocketAddr) -> Result<Self, AdvertisedError> {
        if text.is_empty() {
            if listen.ip().is_unspecified() {
                return Err(AdvertisedError::Needed { listen });
            }
            return Ok(Self { host: listen.ip().to_string(), port: listen.port() });
        }
        let malformed = || AdvertisedError::Malformed { text: text.to_owned() };
        let (host, port) = text.rsplit_once(':').ok_or_else(malformed)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port: u16 = port.parse().map_err(|_| malformed())?;
        if bare.is_empty() || bare.len() > 253 || bare.contains(char::is_whitespace) {
            return Err(malformed());
        }
        Ok(Self { host: bare.to_owned(), port: if port == 0 { listen.port() } else { port } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn without_a_setting_it_is_the_address_that_is_listened_on() {
        let advertised = Advertised::new("", listen("127.0.0.1:4000"));
        assert_eq!(advertised, Ok(Advertised { host: "127.0.0.1".into(), port: 4000 }));
    }

    #[test]
    fn all_addresses_cannot_be_connected_to() {
        assert!(matches!(Advertised::new("", listen("0.0.0.0:1")), Err(AdvertisedError::Needed { .. })));
    }

    #[test]
    fn host_and_port_are_told_apart() {
        let of = |text| Advertised::new(text, listen("0.0.0.0:9092"));
        assert_eq!(of("broker1:9093"), Ok(Advertised { host: "broker1".into(), port: 9093 }));
        assert_eq!(of("[::1]:0"), Ok(Advertised { host: "::1".into(), port: 9092 }));
        for bad in ["broker1", ":9092", "a b:1", "h:70000"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }
}
