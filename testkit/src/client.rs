//! A small blocking RESP2 client: the oracle must not share code with what it judges.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// One reply of a server.
#[derive(Clone, PartialEq, Eq)]
pub enum Reply {
    /// `+OK`
    Status(String),
    /// `-ERR ...`
    Error(String),
    /// `:1`
    Int(i64),
    /// `$5`
    Bulk(Vec<u8>),
    /// The null bulk string or the null array.
    Nil,
    /// `*2`
    Array(Vec<Self>),
}

impl Reply {
    /// The text of a status or bulk string; panics with the reply when it is something else.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.text()
            .unwrap_or_else(|| panic!("expected a string, got {self:?}"))
    }

    /// An integer, or a bulk string that spells one; panics with the reply when it is neither.
    #[must_use]
    pub fn as_int(&self) -> i64 {
        match self {
            Self::Int(number) => *number,
            _ => self
                .text()
                .and_then(|text| text.parse().ok())
                .unwrap_or_else(|| panic!("expected an integer, got {self:?}")),
        }
    }

    /// The elements of an array; panics with the reply when it is something else.
    #[must_use]
    pub fn array(&self) -> &[Self] {
        match self {
            Self::Array(items) => items,
            _ => panic!("expected an array, got {self:?}"),
        }
    }

    /// A flat array of fields and values, as Sentinel answers them.
    #[must_use]
    pub fn fields(&self) -> BTreeMap<String, String> {
        self.array()
            .chunks_exact(2)
            .map(|pair| (pair[0].as_str().to_owned(), pair[1].as_str().to_owned()))
            .collect()
    }

    /// The text of an error reply.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Error(text) => Some(text),
            _ => None,
        }
    }

    /// Whether the server answered with an error.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.error().is_some()
    }

    /// Whether the server answered null.
    #[must_use]
    pub fn is_nil(&self) -> bool {
        *self == Self::Nil
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Status(text) => Some(text),
            Self::Bulk(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(text) => write!(f, "+{text}"),
            Self::Error(text) => write!(f, "-{text}"),
            Self::Int(number) => write!(f, "{number}"),
            Self::Bulk(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
            Self::Nil => f.write_str("nil"),
            Self::Array(items) => f.debug_list().entries(items).finish(),
        }
    }
}

/// One blocking connection that speaks RESP2.
pub struct Client {
    address: SocketAddr,
    stream: BufReader<TcpStream>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Connects to a port of the loopback address; `timeout` holds for every read and write too.
    ///
    /// # Errors
    ///
    /// When nobody listens there.
    pub fn connect(port: u16, timeout: Duration) -> io::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stream = TcpStream::connect_timeout(&address, timeout)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        Ok(Self {
            address,
            stream: BufReader::new(stream),
        })
    }

    /// Sends one command and reads one reply.
    ///
    /// # Errors
    ///
    /// When the connection fails or times out; an error reply is a [`Reply::Error`].
    pub fn call<A: AsRef<[u8]>>(&mut self, command: &[A]) -> io::Result<Reply> {
        self.send(command)?;
        self.read()
    }

    /// Sends one command without waiting for its reply.
    ///
    /// # Errors
    ///
    /// When the connection fails or times out.
    pub fn send<A: AsRef<[u8]>>(&mut self, command: &[A]) -> io::Result<()> {
        self.stream.get_mut().write_all(&encode(command))
    }

    /// Reads the next reply, or the next message after a `SUBSCRIBE`.
    ///
    /// # Errors
    ///
    /// When the connection fails, times out or does not speak RESP2.
    pub fn read(&mut self) -> io::Result<Reply> {
        let line = self.line()?;
        let (kind, rest) = line
            .split_at_checked(1)
            .ok_or_else(|| malformed("an empty line"))?;
        Ok(match kind {
            "+" => Reply::Status(rest.to_owned()),
            "-" => Reply::Error(rest.to_owned()),
            ":" => Reply::Int(rest.parse().map_err(|_| malformed(&line))?),
            "$" => match length(rest)? {
                None => Reply::Nil,
                Some(length) => Reply::Bulk(self.bulk(length)?),
            },
            "*" => match length(rest)? {
                None => Reply::Nil,
                Some(length) => Reply::Array(
                    (0..length)
                        .map(|_| self.read())
                        .collect::<io::Result<_>>()?,
                ),
            },
            _ => return Err(malformed(&line)),
        })
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        match line.strip_suffix("\r\n") {
            Some(line) => Ok(line.to_owned()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn bulk(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length + 2];
        self.stream.read_exact(&mut bytes)?;
        bytes.truncate(length);
        Ok(bytes)
    }
}

/// A command as clients send it: an array of bulk strings.
pub(crate) fn encode<A: AsRef<[u8]>>(command: &[A]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
    for argument in command {
        let argument = argument.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

fn length(text: &str) -> io::Result<Option<usize>> {
    match text {
        "-1" => Ok(None),
        _ => text.parse().map(Some).map_err(|_| malformed(text)),
    }
}

fn malformed(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not RESP2: {text:?}"))
}
