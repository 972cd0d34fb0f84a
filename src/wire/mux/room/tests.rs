use redis::cmd;

use super::*;

#[test]
fn a_command_is_encoded_as_the_redis_crate_does_or_not_at_all() {
    for arguments in 0..40 {
        for length in 0..160 {
            let mut cmd = cmd("SET");
            for argument in 0..arguments {
                cmd.arg(vec![b'x'; length * argument % (length + 1)]);
            }
            cmd.arg(vec![b'y'; length]);
            let expected = cmd.get_packed_command();
            let mut room = Room::new();
            assert_eq!(room.encode(&cmd), expected.len() <= ROOM);
            if expected.len() <= ROOM {
                assert_eq!(room.bytes(), expected);
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut room = Room::new();
    assert!(room.set(&[b'x'; ROOM]));
    assert_eq!(room.bytes(), [b'x'; ROOM]);
    assert!(!room.set(&[b'x'; ROOM + 1]));
}
