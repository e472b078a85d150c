//! Where a namespace is: `tikv://pd1:2379,pd2:2379/namespace`.

use std::fmt;
use std::str::FromStr;

const SCHEME: &str = "tikv://";
const NAMESPACE_MAX_BYTES: usize = 64;

/// The Placement Drivers of a TiKV cluster, and the namespace in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TikvAddress {
    /// `HOST:PORT` of each Placement Driver that is asked first; the cluster tells of the others.
    pub pd_endpoints: Vec<String>,
    /// What all keys are kept under: several clusters of brokers share one TiKV that way.
    pub namespace: String,
}

/// Why a text is no [`TikvAddress`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TikvAddressError {
    /// It begins otherwise.
    #[error("'{text}' does not begin with tikv:// (expected tikv://HOST:PORT[,HOST:PORT...]/NAMESPACE)")]
    Scheme {
        /// The whole text.
        text: String,
    },
    /// There is no `/` after the Placement Drivers, or nothing after it.
    #[error("'{text}' names no namespace (expected tikv://HOST:PORT[,HOST:PORT...]/NAMESPACE)")]
    NamespaceMissing {
        /// The whole text.
        text: String,
    },
    /// The namespace is not 1 to 64 of the characters that are allowed.
    #[error("the namespace '{namespace}' is not 1 to {NAMESPACE_MAX_BYTES} letters, digits, '.', '_' or '-'")]
    Namespace {
        /// What was given.
        namespace: String,
    },
    /// One of the Placement Drivers is not `HOST:PORT`.
    #[error("the Placement Driver '{endpoint}' is not HOST:PORT")]
    Endpoint {
        /// What was given.
        endpoint: String,
    },
    /// One of the Placement Drivers is named twice.
    #[error("the Placement Driver '{endpoint}' is named twice")]
    Repeated {
        /// Which one.
        endpoint: String,
    },
}

impl FromStr for TikvAddress {
    type Err = TikvAddressError;

    fn from_str(text: &str) -> Result<Self, TikvAddressError> {
        let rest =
            text.strip_prefix(SCHEME).ok_or_else(|| TikvAddressError::Scheme { text: text.to_owned() })?;
        let (endpoints, namespace) = rest
            .split_once('/')
            .filter(|(_, namespace)| !namespace.is_empty())
            .ok_or_else(|| TikvAddressError::NamespaceMissing { text: text.to_owned() })?;
        let mut pd_endpoints: Vec<String> = Vec::new();
        for endpoint in endpoints.split(',') {
            let endpoint = endpoint.to_owned();
            if !is_endpoint(&endpoint) {
                return Err(TikvAddressError::Endpoint { endpoint });
            }
            if pd_endpoints.contains(&endpoint) {
                return Err(TikvAddressError::Repeated { endpoint });
            }
            pd_endpoints.push(endpoint);
        }
        if !is_namespace(namespace) {
            return Err(TikvAddressError::Namespace { namespace: namespace.to_owned() });
        }
        Ok(Self { pd_endpoints, namespace: namespace.to_owned() })
    }
}

impl fmt::Display for TikvAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.pd_endpoints.join(","), self.namespace)
    }
}

fn is_endpoint(endpoint: &str) -> bool {
    let Some((host, port)) = endpoint.rsplit_once(':') else { return false };
    let host_is_fine = match host.strip_prefix('[') {
        Some(address) => address.strip_suffix(']').is_some_and(|address| !address.is_empty()),
        None => !host.is_empty() && !host.contains([':', '/', '@', ' ']),
    };
    host_is_fine && port.parse::<u16>().is_ok_and(|port| port > 0)
}

fn is_namespace(namespace: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=NAMESPACE_MAX_BYTES).contains(&namespace.len()) && namespace.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_comes_back_as_it_was_written() {
        for text in ["tikv://pd1:2379/a", "tikv://pd1:2379,10.0.0.2:2379,[::1]:2379/prod-1.x_y"] {
            assert_eq!(text.parse::<TikvAddress>().expect("an address").to_string(), text);
        }
        let address: TikvAddress = "tikv://a:1,b:2/n".parse().expect("an address");
        assert_eq!(address.pd_endpoints, ["a:1", "b:2"]);
        assert_eq!(address.namespace, "n");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |text: &str| text.parse::<TikvAddress>().expect_err("no address");
        let endpoint = |endpoint: &str| TikvAddressError::Endpoint { endpoint: endpoint.to_owned() };
        assert!(matches!(error("http://pd:2379/n"), TikvAddressError::Scheme { .. }));
        assert!(matches!(error("tikv://pd:2379"), TikvAddressError::NamespaceMissing { .. }));
        assert!(matches!(error("tikv://pd:2379/"), TikvAddressError::NamespaceMissing { .. }));
        assert!(matches!(error("tikv://pd:2379/a/b"), TikvAddressError::Namespace { .. }));
        assert!(matches!(error("tikv://pd:2379/n\u{e4}"), TikvAddressError::Namespace { .. }));
        assert!(matches!(
            error(&format!("tikv://pd:2379/{}", "n".repeat(65))),
            TikvAddressError::Namespace { .. }
        ));
        assert_eq!(error("tikv:///n"), endpoint(""));
        assert_eq!(error("tikv://pd/n"), endpoint("pd"));
        assert_eq!(error("tikv://pd:0/n"), endpoint("pd:0"));
        assert_eq!(error("tikv://pd:70000/n"), endpoint("pd:70000"));
        assert_eq!(error("tikv://::1:2379/n"), endpoint("::1:2379"));
        assert_eq!(error("tikv://user@pd:2379/n"), endpoint("user@pd:2379"));
        assert_eq!(error("tikv://a:1,,b:2/n"), endpoint(""));
        assert_eq!(error("tikv://a:1,a:1/n"), TikvAddressError::Repeated { endpoint: "a:1".to_owned() });
    }
}
