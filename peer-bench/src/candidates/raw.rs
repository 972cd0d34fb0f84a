//! Sockets without a client library: what the system and the server cost.
//!
//! Requests are put together from parts of known length, replies are compared with the bytes that
//! must come. Nothing is decoded.

use std::{io, net::SocketAddr, sync::Arc};

use anyhow::{Result, ensure};
use deadpool::managed::{Metrics, Pool, RecycleResult};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    candidate::{CONNECTIONS, Client, Kind},
    cell::Cell,
    data::{Data, ITEM_LEN, KEY_LEN, LIST, LIST_LEN, MGET_KEYS, PIPELINE_LEN, VALUE_LEN},
    stage::Stage,
};

/// A socket for each task, however many there are.
pub(super) struct RawLoop(Socket);

impl Client for RawLoop {
    const NAME: &'static str = "raw-socket-loop";
    const KIND: Kind = Kind::Exclusive;

    async fn connect(stage: &Stage, cell: Cell) -> Result<Vec<Self>> {
        let sockets = Sockets::new(stage);
        let mut handles = Vec::with_capacity(cell.tasks);
        for _ in 0..cell.tasks {
            handles.push(Self(sockets.connect().await?));
        }
        Ok(handles)
    }

    async fn get(&mut self, key: &str) -> Result<usize> {
        self.0.get(key).await
    }

    async fn set(&mut self, key: &str, value: &[u8]) -> Result<()> {
        self.0.set(key, value).await
    }

    async fn mget(&mut self, keys: &[String]) -> Result<usize> {
        self.0.mget(keys).await
    }

    async fn lrange(&mut self, list: &str) -> Result<usize> {
        self.0.lrange(list).await
    }

    async fn pipeline(&mut self, keys: &[String]) -> Result<usize> {
        self.0.pipeline(keys).await
    }
}

/// Sockets in a deadpool: the limit for any pool of exclusive connections.
#[derive(Clone)]
pub(super) struct RawPool(Pool<Sockets>);

impl Client for RawPool {
    const NAME: &'static str = "raw-socket-pool";
    const KIND: Kind = Kind::Exclusive;

    async fn connect(stage: &Stage, cell: Cell) -> Result<Vec<Self>> {
        let pool = Pool::builder(Sockets::new(stage))
            .max_size(CONNECTIONS)
            .build()?;
        Ok(vec![Self(pool); cell.tasks])
    }

    async fn get(&mut self, key: &str) -> Result<usize> {
        self.0.get().await?.get(key).await
    }

    async fn set(&mut self, key: &str, value: &[u8]) -> Result<()> {
        self.0.get().await?.set(key, value).await
    }

    async fn mget(&mut self, keys: &[String]) -> Result<usize> {
        self.0.get().await?.mget(keys).await
    }

    async fn lrange(&mut self, list: &str) -> Result<usize> {
        self.0.get().await?.lrange(list).await
    }

    async fn pipeline(&mut self, keys: &[String]) -> Result<usize> {
        self.0.get().await?.pipeline(keys).await
    }
}

struct Sockets {
    master: SocketAddr,
    replies: Arc<Replies>,
}

impl Sockets {
    fn new(stage: &Stage) -> Self {
        Self {
            master: stage.master(),
            replies: Arc::new(Replies::new(&stage.data)),
        }
    }

    async fn connect(&self) -> io::Result<Socket> {
        let stream = TcpStream::connect(self.master).await?;
        stream.set_nodelay(true)?;
        Ok(Socket {
            stream,
            request: Vec::new(),
            reply: Vec::new(),
            replies: Arc::clone(&self.replies),
        })
    }
}

impl deadpool::managed::Manager for Sockets {
    type Type = Socket;
    type Error = io::Error;

    async fn create(&self) -> io::Result<Socket> {
        self.connect().await
    }

    async fn recycle(&self, _: &mut Socket, _: &Metrics) -> RecycleResult<io::Error> {
        Ok(())
    }
}

/// What the server answers, byte for byte.
struct Replies {
    get: Vec<u8>,
    mget: Vec<u8>,
    lrange: Vec<u8>,
    pipeline: Vec<u8>,
}

impl Replies {
    fn new(data: &Data) -> Self {
        let get = [format!("${VALUE_LEN}\r\n").as_bytes(), &data.value, b"\r\n"].concat();
        let items = data.items.iter();
        let items = items.map(|item| format!("${}\r\n{item}\r\n", item.len()));
        let list = format!("*{}\r\n{}", data.items.len(), items.collect::<String>());
        Self {
            mget: [
                format!("*{MGET_KEYS}\r\n").as_bytes(),
                &get.repeat(MGET_KEYS),
            ]
            .concat(),
            lrange: list.into_bytes(),
            pipeline: get.repeat(PIPELINE_LEN),
            get,
        }
    }
}

struct Socket {
    stream: TcpStream,
    request: Vec<u8>,
    reply: Vec<u8>,
    replies: Arc<Replies>,
}

impl Socket {
    async fn get(&mut self, key: &str) -> Result<usize> {
        push_get(&mut self.request, key);
        self.exchange(|replies| &replies.get).await?;
        Ok(VALUE_LEN)
    }

    async fn set(&mut self, key: &str, value: &[u8]) -> Result<()> {
        self.request.extend_from_slice(b"*3\r\n$3\r\nSET\r\n");
        push_key(&mut self.request, key);
        self.request.extend_from_slice(b"$64\r\n");
        self.request.extend_from_slice(value);
        self.request.extend_from_slice(b"\r\n");
        self.exchange(|_| b"+OK\r\n").await
    }

    async fn mget(&mut self, keys: &[String]) -> Result<usize> {
        self.request.extend_from_slice(b"*101\r\n$4\r\nMGET\r\n");
        for key in keys {
            push_key(&mut self.request, key);
        }
        self.exchange(|replies| &replies.mget).await?;
        Ok(keys.len() * VALUE_LEN)
    }

    async fn lrange(&mut self, list: &str) -> Result<usize> {
        debug_assert_eq!(list, LIST);
        let request = b"*4\r\n$6\r\nLRANGE\r\n$4\r\nlist\r\n$1\r\n0\r\n$2\r\n-1\r\n";
        self.request.extend_from_slice(request);
        self.exchange(|replies| &replies.lrange).await?;
        Ok(LIST_LEN * ITEM_LEN)
    }

    async fn pipeline(&mut self, keys: &[String]) -> Result<usize> {
        for key in keys {
            push_get(&mut self.request, key);
        }
        self.exchange(|replies| &replies.pipeline).await?;
        Ok(keys.len() * VALUE_LEN)
    }

    async fn exchange(&mut self, expected: impl Fn(&Replies) -> &[u8]) -> Result<()> {
        self.stream.write_all(&self.request).await?;
        self.request.clear();
        let expected = expected(&self.replies);
        self.reply.resize(expected.len(), 0);
        self.stream.read_exact(&mut self.reply).await?;
        ensure!(self.reply == expected, "the reply is not what it must be");
        Ok(())
    }
}

fn push_get(request: &mut Vec<u8>, key: &str) {
    request.extend_from_slice(b"*2\r\n$3\r\nGET\r\n");
    push_key(request, key);
}

fn push_key(request: &mut Vec<u8>, key: &str) {
    const { assert!(KEY_LEN == 6) };
    request.extend_from_slice(b"$6\r\n");
    request.extend_from_slice(key.as_bytes());
    request.extend_from_slice(b"\r\n");
}
