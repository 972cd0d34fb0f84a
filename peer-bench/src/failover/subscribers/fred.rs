//! fred's client for subscriptions, which subscribes again when it reconnects.
//!
//! As in its example of pub/sub, with a larger buffer and the reconnection policy of its other examples.
//! That it has reconnected is told on a channel of its own, which counts as told.

use anyhow::Result;
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use tokio::sync::broadcast::error::RecvError;

use crate::failover::{
    audience::Listener, broadcast::channels, candidates, client::Place, ear::Ear,
};

pub(super) const LISTENER: Listener = Listener {
    name: "fred",
    listen: |place, ear| Box::pin(listen(place, ear)),
};

async fn listen(place: Place, ear: Ear) -> Result<()> {
    let client = candidates::fred::builder(place)
        .with_performance_config(|config| {
            // Messages beyond it are lost inside the client; this is not about that.
            config.broadcast_channel_capacity = 4096;
        })
        .build_subscriber_client()?;
    client.init().await?;
    let mut messages = client.message_rx();
    let mut reconnected = client.reconnect_rx();
    let again = client.manage_subscriptions();
    client.subscribe(channels().to_vec()).await?;
    tokio::spawn(async move {
        // Both live as long as messages are heard.
        let _alive = (client, again);
        loop {
            tokio::select! {
                message = messages.recv() => match message {
                    Ok(message) => {
                        if let Some(payload) = message.value.as_bytes() {
                            ear.message(message.channel.as_bytes(), payload);
                        }
                    }
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                },
                Ok(_) = reconnected.recv() => ear.told(None),
            }
        }
    });
    Ok(())
}
