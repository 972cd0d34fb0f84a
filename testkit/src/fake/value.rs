//! Replies, spelled in RESP2 or RESP3.

/// A reply that knows how either protocol spells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `+OK`
    Status(String),
    /// `-ERR ...`
    Error(String),
    /// `:1`
    Int(i64),
    /// `$5`
    Bulk(Vec<u8>),
    /// The null bulk string, or RESP3's null.
    Null,
    /// The null array, or RESP3's null.
    NullArray,
    /// `*2`
    Array(Vec<Self>),
    /// A map in RESP3, a flat array of twice the length in RESP2.
    Map(Vec<(Self, Self)>),
    /// A push in RESP3, an array in RESP2.
    Push(Vec<Self>),
    /// One after the other, as the confirmations of a `SUBSCRIBE` with several channels.
    Several(Vec<Self>),
}

impl Value {
    /// `+OK`
    #[must_use]
    pub fn ok() -> Self {
        Self::Status("OK".to_owned())
    }

    /// A bulk string.
    #[must_use]
    pub fn bulk(text: impl Into<Vec<u8>>) -> Self {
        Self::Bulk(text.into())
    }

    /// An error; the text begins with its code.
    #[must_use]
    pub fn error(text: impl Into<String>) -> Self {
        Self::Error(text.into())
    }

    /// The bytes that protocol 2 or 3 has for it.
    #[must_use]
    pub fn encode(&self, protocol: u8) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(&mut bytes, protocol >= 3);
        bytes
    }

    fn write(&self, bytes: &mut Vec<u8>, resp3: bool) {
        match self {
            Self::Status(text) => bytes.extend(format!("+{text}\r\n").bytes()),
            Self::Error(text) => bytes.extend(format!("-{text}\r\n").bytes()),
            Self::Int(number) => bytes.extend(format!(":{number}\r\n").bytes()),
            Self::Bulk(text) => {
                bytes.extend(format!("${}\r\n", text.len()).bytes());
                bytes.extend(text);
                bytes.extend(b"\r\n");
            }
            Self::Null | Self::NullArray if resp3 => bytes.extend(b"_\r\n"),
            Self::Null => bytes.extend(b"$-1\r\n"),
            Self::NullArray => bytes.extend(b"*-1\r\n"),
            Self::Array(items) => aggregate(bytes, '*', items, resp3),
            Self::Push(items) => aggregate(bytes, if resp3 { '>' } else { '*' }, items, resp3),
            Self::Several(items) => items.iter().for_each(|item| item.write(bytes, resp3)),
            Self::Map(pairs) => {
                let (kind, length) = if resp3 {
                    ('%', pairs.len())
                } else {
                    ('*', pairs.len() * 2)
                };
                bytes.extend(format!("{kind}{length}\r\n").bytes());
                for (key, value) in pairs {
                    key.write(bytes, resp3);
                    value.write(bytes, resp3);
                }
            }
        }
    }
}

fn aggregate(bytes: &mut Vec<u8>, kind: char, items: &[Value], resp3: bool) {
    bytes.extend(format!("{kind}{}\r\n", items.len()).bytes());
    for item in items {
        item.write(bytes, resp3);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spells_each_protocol_its_own_way() {
        let map = Value::Map(vec![(Value::bulk("a"), Value::Int(1))]);
        let cases: [(Value, &[u8], &[u8]); 4] = [
            (map, b"*2\r\n$1\r\na\r\n:1\r\n", b"%1\r\n$1\r\na\r\n:1\r\n"),
            (Value::Null, b"$-1\r\n", b"_\r\n"),
            (Value::NullArray, b"*-1\r\n", b"_\r\n"),
            (
                Value::Push(vec![Value::ok()]),
                b"*1\r\n+OK\r\n",
                b">1\r\n+OK\r\n",
            ),
        ];
        for (value, resp2, resp3) in cases {
            assert_eq!(value.encode(2), resp2);
            assert_eq!(value.encode(3), resp3);
        }
    }
}
