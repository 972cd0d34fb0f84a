//! Keeps the certificates fresh, and tells how that went.

use std::{sync::Arc, time::Duration};

use crate::{
    config::{
        Config,
        tls::{Tls, TlsError},
    },
    status::TlsStatus,
    util::{abort_on_drop::AbortOnDrop, runtime::Runtime},
};

/// Starts the tasks that read the files again and again, and warns of what is not checked.
pub(super) fn tasks(config: &Config, runtime: &Runtime) -> Vec<AbortOnDrop> {
    let used = [config.tls.clone(), own(config).cloned()];
    let used: Vec<Tls> = used.into_iter().flatten().collect();
    if used.iter().any(Tls::trusts_anybody) {
        tracing::warn!(
            "certificates of servers are not checked (tls.verify=none): whoever answers gets the passwords"
        );
    }
    let reloaded = used.into_iter().filter_map(|tls| {
        let interval = tls.reload_every()?;
        Some(AbortOnDrop::spawn_on(runtime, reload(tls, interval)))
    });
    reloaded.collect()
}

/// That of the Sentinels, if it is not that of the nodes.
fn own(config: &Config) -> Option<&Tls> {
    let nodes = config.tls.as_ref();
    let sentinels = config.tls_of_sentinels();
    sentinels.filter(|tls| nodes.is_none_or(|nodes| !nodes.is_same(tls)))
}

/// Of the nodes, and of the Sentinels if they have their own.
pub(super) fn status(config: &Config) -> [Option<TlsStatus>; 2] {
    [config.tls.as_ref(), own(config)].map(|tls| {
        tls.map(|tls| {
            let (reloads, error) = tls.reload_status();
            TlsStatus { reloads, error }
        })
    })
}

async fn reload(tls: Tls, interval: Duration) {
    let tls = Arc::new(tls);
    let mut trouble: Option<TlsError> = None;
    loop {
        tokio::time::sleep(interval).await;
        let read = Arc::clone(&tls);
        // Files may be on a network, and the system's CAs are many.
        let Ok(reloaded) = tokio::task::spawn_blocking(move || read.reload()).await else {
            return;
        };
        match reloaded {
            Ok(true) => tracing::info!("new certificates are in use"),
            Ok(false) => {}
            Err(ref error) if trouble.as_ref() == Some(error) => {}
            Err(ref error) => {
                tracing::warn!(%error, "certificates cannot be reloaded, those before stay in use");
            }
        }
        trouble = reloaded.err();
    }
}
