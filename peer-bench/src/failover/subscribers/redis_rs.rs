//! The redis crate: a connection for messages to the master that its Sentinel client names, and a loop
//! that makes the next one when it ends.
//!
//! The end of the stream counts as told: it is the crate's only sign, and the loop's author sees it.

use std::time::Duration;

use anyhow::Result;
use futures_util::StreamExt;
use redis::{
    aio::PubSub,
    sentinel::{SentinelClient, SentinelServerType},
};

use crate::failover::{audience::Listener, broadcast::channels, client::Place, ear::Ear};

/// Before another attempt.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) const LISTENER: Listener = Listener {
    name: "redis-rs loop",
    listen: |place, ear| Box::pin(listen(place, ear)),
};

async fn listen(place: Place, ear: Ear) -> Result<()> {
    let name = place.master_name.clone();
    let urls = place.sentinel_urls();
    let mut client = SentinelClient::build(urls, name, None, SentinelServerType::Master)?;
    let mut connection = subscribe(&mut client).await?;
    tokio::spawn(async move {
        loop {
            let mut messages = connection.into_on_message();
            while let Some(message) = messages.next().await {
                ear.message(
                    message.get_channel_name().as_bytes(),
                    message.get_payload_bytes(),
                );
            }
            connection = loop {
                match subscribe(&mut client).await {
                    Ok(connection) => break connection,
                    Err(_) => tokio::time::sleep(PAUSE).await,
                }
            };
            ear.told(None);
        }
    });
    Ok(())
}

async fn subscribe(client: &mut SentinelClient) -> Result<PubSub> {
    let client = client.async_get_client().await?;
    let mut connection = client.get_async_pubsub().await?;
    connection.subscribe(&channels()[..]).await?;
    Ok(connection)
}
