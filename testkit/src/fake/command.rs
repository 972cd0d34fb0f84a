//! Finding commands in what a client has sent.

/// The words of a command and how many bytes it took.
pub(super) type Parsed = (Vec<Vec<u8>>, usize);

/// The first command in `bytes` and how many bytes it took; `None` when there is more to come.
///
/// # Errors
///
/// What is wrong with bytes that cannot become a command.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<Parsed>, String> {
    if bytes.first() != Some(&b'*') {
        return Ok(parse_inline(bytes));
    }
    let Some((line, mut at)) = line(bytes, 0) else {
        return Ok(None);
    };
    let count = number(&line[1..])?;
    let mut words = Vec::new();
    for _ in 0..count {
        let Some((header, next)) = self::line(bytes, at) else {
            return Ok(None);
        };
        let Some((b'$', length)) = header.split_first() else {
            return Err(format!("expected '$', got {header:?}"));
        };
        let end = next + number(length)?;
        if bytes.len() < end + 2 {
            return Ok(None);
        }
        words.push(bytes[next..end].to_vec());
        at = end + 2;
    }
    Ok(Some((words, at)))
}

fn parse_inline(bytes: &[u8]) -> Option<Parsed> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let words = bytes[..end].split(u8::is_ascii_whitespace);
    let words = words.filter(|word| !word.is_empty()).map(<[u8]>::to_vec);
    Some((words.collect(), end + 1))
}

fn line(bytes: &[u8], from: usize) -> Option<(&[u8], usize)> {
    let length = bytes[from..].windows(2).position(|pair| pair == b"\r\n")?;
    Some((&bytes[from..from + length], from + length + 2))
}

fn number(digits: &[u8]) -> Result<usize, String> {
    let text = String::from_utf8_lossy(digits);
    text.parse().map_err(|_| format!("not a length: {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::encode;

    #[test]
    fn finds_a_command_only_when_all_of_it_is_there() {
        let mut bytes = encode(&["SET", "k", "a\r\nb"]);
        let whole = bytes.len();
        bytes.extend_from_slice(&encode(&["PING"]));
        for end in 0..whole {
            assert_eq!(parse(&bytes[..end]), Ok(None), "{end} bytes");
        }
        let words = ["SET", "k", "a\r\nb"].map(|word| word.as_bytes().to_vec());
        assert_eq!(parse(&bytes), Ok(Some((words.to_vec(), whole))));
    }

    #[test]
    fn takes_inline_commands_and_refuses_nonsense() {
        let ping = vec![b"PING".to_vec(), b"x".to_vec()];
        assert_eq!(parse(b"PING  x\r\nrest"), Ok(Some((ping, 9))));
        assert!(parse(b"*x\r\n").is_err());
        assert!(parse(b"*1\r\n+PING\r\n").is_err());
    }
}
