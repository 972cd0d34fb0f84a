//! The redis crate in its fastest documented configuration, for all who build on it.

use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, IntoConnectionInfo, RedisError, RedisResult,
    TlsCertificates, aio::MultiplexedConnection, io::tcp::TcpSettings,
};

use crate::stage::Stage;

/// Nagle's algorithm off, as with everyone else; the redis crate leaves it on. RESP2 is its default;
/// the replies of these workloads are the same bytes in RESP3, and take as long.
pub(crate) fn info(stage: &Stage) -> RedisResult<ConnectionInfo> {
    let info = match stage.encryption() {
        None => format!("redis://{}/", stage.master()).into_connection_info()?,
        Some(encryption) => {
            let certificates = TlsCertificates {
                client_tls: None,
                root_cert: Some(encryption.ca_pem().into()),
            };
            let url = format!("rediss://{}/", stage.master());
            let client = Client::build_with_tls(url, certificates)?;
            client.get_connection_info().clone()
        }
    };
    Ok(info.set_tcp_settings(TcpSettings::default().set_nodelay(true)))
}

/// No timer for each command, which is on by default.
pub(crate) fn config() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_response_timeout(None)
}

pub(crate) async fn connect(client: &Client) -> Result<MultiplexedConnection, RedisError> {
    client
        .get_multiplexed_async_connection_with_config(&config())
        .await
}
