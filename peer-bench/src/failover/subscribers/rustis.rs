//! rustis: a client of its own for the subscription, which it takes up again when it reconnects.
//!
//! That it has reconnected is told on a channel of its own, which counts as told.

use anyhow::Result;
use futures_util::StreamExt;
use rustis::{client::Client, commands::PubSubCommands};

use crate::failover::{audience::Listener, broadcast::channels, client::Place, ear::Ear};

pub(super) const LISTENER: Listener = Listener {
    name: "rustis",
    listen: |place, ear| Box::pin(listen(place, ear)),
};

async fn listen(place: Place, ear: Ear) -> Result<()> {
    let sentinels = place.sentinels.join(",");
    let url = format!("redis+sentinel://{sentinels}/{}", place.master_name);
    let client = Client::connect(url).await?;
    let mut reconnected = client.on_reconnect();
    let mut messages = client.subscribe(channels()).await?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                Some(message) = messages.next() => {
                    if let Ok(message) = message {
                        ear.message(message.channel(), message.payload());
                    }
                }
                Ok(()) = reconnected.recv() => ear.told(None),
                else => return,
            }
        }
    });
    Ok(())
}
