//! Ours, with both ways to believe in a new master.

use anyhow::Result;
use redis_rw_pool::{Adopt, Config, Notice, Pool};

use crate::failover::{audience::Listener, broadcast::channels, client::Place, ear::Ear};

pub(super) const SUBSCRIBER: Listener = Listener {
    name: "ours-subscriber",
    listen: |place, ear| Box::pin(listen(place, ear, Adopt::Announced)),
};

pub(super) const SUBSCRIBER_PROMOTED: Listener = Listener {
    name: "ours-subscriber-promoted",
    listen: |place, ear| Box::pin(listen(place, ear, Adopt::Promoted)),
};

async fn listen(place: Place, ear: Ear, adopt: Adopt) -> Result<()> {
    let mut config = Config::new(place.sentinels, place.master_name);
    config.adopt = adopt;
    config.tls = place.tls;
    let mut updates = Pool::connect(config).await?.subscriber();
    updates.subscribe(channels()).await?;
    tokio::spawn(async move {
        while let Some(notice) = updates.next().await {
            match notice {
                Notice::Message(message) => ear.message(message.channel(), message.payload()),
                Notice::Gap(gap) => ear.told(Some(gap.since)),
                _ => {}
            }
        }
    });
    Ok(())
}
