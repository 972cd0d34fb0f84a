//! The certificates of TLS.

use crate::status::{
    Status, TlsStatus,
    families::{Sink, counter, gauge, labelled},
};

pub(super) fn certificates(status: &Status, sink: &mut impl Sink) {
    let tls = [("nodes", &status.tls), ("sentinels", &status.sentinel_tls)];
    let used = || {
        let used = tls.into_iter();
        used.filter_map(|(whose, tls)| Some((whose, tls.as_ref()?)))
    };
    let reloads = counter(
        "redis_rw_pool_certificate_reloads",
        "How often certificates had changed and came into use.",
    );
    let numbers = used().map(|(whose, tls): (_, &TlsStatus)| (whose, tls.reloads));
    labelled(sink, &reloads, "connections", numbers);
    let failed = gauge(
        "redis_rw_pool_certificate_reload_failed",
        "1 if the last reload of certificates failed.",
    );
    let numbers = used().map(|(whose, tls)| (whose, u64::from(tls.error.is_some())));
    labelled(sink, &failed, "connections", numbers);
}
