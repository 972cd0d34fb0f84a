use super::*;

/// Messages of these sizes come one by one; which are left, within two messages and ten bytes?
#[test]
fn the_newest_are_kept_within_both_limits() {
    let most = Most {
        messages: 2,
        bytes: 10,
    };
    let table: &[(&[usize], &[usize])] = &[
        (&[1, 2], &[1, 2]),
        (&[1, 2, 3], &[2, 3]),
        (&[4, 6], &[4, 6]),
        (&[5, 6], &[6]),
        (&[1, 2, 9], &[9]),
        (&[11], &[11]),
        (&[11, 1], &[1]),
        (&[1, 11], &[11]),
    ];
    for (came, kept) in table {
        let mut early = Early::default();
        for bytes in *came {
            early.push(*bytes, *bytes, most);
        }
        assert_eq!(early.take().collect::<Vec<_>>(), *kept, "of {came:?}");
        assert_eq!(early.bytes, 0);
    }
}
