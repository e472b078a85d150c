//! A TiKV store as the settings want it.

use tidegate_store::tikv::TRANSACTION_MAX_BYTES;
use tidegate_store::{TikvAddress, TikvOptions, TikvTls};

use crate::settings::Settings;

/// How often a snapshot's hold is renewed in the time after which it is written down.
const RENEWALS_PER_HOLD: u64 = 3;

/// How to connect to a TiKV cluster for a broker with these settings, which have been checked.
#[must_use]
pub fn tikv_options(settings: &Settings, address: &TikvAddress) -> TikvOptions {
    let tls = match (&settings.tikv_tls_ca, &settings.tikv_tls_cert, &settings.tikv_tls_key) {
        (Some(ca), Some(cert), Some(key)) => {
            Some(TikvTls { ca: ca.clone(), cert: cert.clone(), key: key.clone() })
        }
        _ => None,
    };
    let mut options = TikvOptions::new(address.clone());
    options.tls = tls;
    options.clients = settings.tikv_clients;
    options.connect_timeout_ms = settings.tikv_connect_timeout_ms;
    options.request_timeout_ms = settings.tikv_request_timeout_ms;
    options.governs = true;
    options.commit_max_ms = settings.commit_max_ms;
    options.limits.max_ms = settings.transaction_max_ms;
    options.hold_after_ms = settings.gc_hold_after_ms;
    options.hold_renew_ms = settings.gc_hold_after_ms / RENEWALS_PER_HOLD;
    // The default is for stores that take more at once.
    options.limits.max_bytes = settings.transaction_max_bytes.min(TRANSACTION_MAX_BYTES);
    options
}
