//! What the server holds, and so what every reply must look like.

use testkit::Server;

pub(crate) const KEYS: usize = 100;
/// All keys are equally long, so that the raw sockets need not count.
pub(crate) const KEY_LEN: usize = "key:00".len();
pub(crate) const VALUE_LEN: usize = 64;
pub(crate) const MGET_KEYS: usize = KEYS;
pub(crate) const PIPELINE_LEN: usize = 50;
pub(crate) const LIST: &str = "list";
pub(crate) const LIST_LEN: usize = 1000;
pub(crate) const ITEM_LEN: usize = "item:000".len();

#[derive(Debug)]
pub(crate) struct Data {
    pub(crate) keys: Vec<String>,
    /// Every key has it, before and after any SET.
    pub(crate) value: Vec<u8>,
    pub(crate) items: Vec<String>,
}

impl Data {
    pub(crate) fn new() -> Self {
        Self {
            keys: (0..KEYS).map(|index| format!("key:{index:02}")).collect(),
            value: vec![b'v'; VALUE_LEN],
            items: (0..LIST_LEN)
                .map(|index| format!("item:{index:03}"))
                .collect(),
        }
    }

    pub(crate) fn fill(&self, server: &Server) {
        for key in &self.keys {
            server.cmd::<&[u8]>(&[b"SET", key.as_bytes(), &self.value]);
        }
        let mut push = vec!["RPUSH", LIST];
        push.extend(self.items.iter().map(String::as_str));
        server.cmd(&push);
    }
}
