//! With a fake node. What a browser makes of it, `make page-pictures` shows.

mod routes;
mod said;
#[expect(dead_code, reason = "its `main`, and where it listens")]
#[path = "../../../../examples/web/main.rs"]
mod web;

use redis_rw_pool::{Config, Pool};
use testkit::fake::{Action, FakeServer, Value};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};

use crate::support::node_with;

/// The backend on a port of its own.
struct Backend {
    pool: Pool,
    address: String,
    stop: oneshot::Sender<()>,
    served: JoinHandle<std::io::Result<()>>,
}

impl Backend {
    async fn start(pool: Pool, config: &Config) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (stop, stopped) = oneshot::channel();
        let stopped = async move { drop(stopped.await) };
        let serve = web::serve(pool.clone(), config.read_from, listener, stopped);
        Self {
            pool,
            address,
            stop,
            served: tokio::spawn(serve),
        }
    }

    async fn ask(&self, request: &str) -> TcpStream {
        self.ask_as(request, "*/*").await
    }

    async fn ask_as(&self, request: &str, accept: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let head = format!("Host: here\r\nAccept: {accept}\r\nConnection: close");
        let request = format!("{request} HTTP/1.1\r\n{head}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    /// The whole answer, head and body.
    async fn get(&self, path: &str) -> String {
        self.get_as(path, "*/*").await
    }

    async fn get_as(&self, path: &str, accept: &str) -> String {
        let mut answer = String::new();
        let mut stream = self.ask_as(&format!("GET {path}"), accept).await;
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn code(&self, path: &str) -> u16 {
        self.get(path).await[9..12].parse().unwrap()
    }
}

/// A node with one value.
fn node() -> FakeServer {
    node_with(|conn, words| match &*words[0].to_ascii_uppercase() {
        "GET" => Some(Action::Reply(Value::bulk("blue").encode(conn.protocol()))),
        _ => None,
    })
}
