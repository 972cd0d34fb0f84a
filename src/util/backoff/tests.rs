use super::*;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn every_policy_grows_from_its_first_pause_to_its_longest() {
    let caller = retry_write(ms(10), ms(500));
    let minute = Duration::from_secs(60);
    for (policy, pauses) in [
        (RESEND, &[5, 10, 20, 40, 80, 160, 250, 250][..]),
        (REFRESH_FOR_REFUSAL, &[25, 50, 100, 200, 400, 800, 1600]),
        (DIAL, &[25, 75, 225, 675, 1000, 1000]),
        (REPLACEMENT, &[250, 500, 1000, 2000, 4000, 8000]),
        (TRANSACTION, &[1, 2, 4, 8, 16, 32, 64, 64]),
        (caller, &[10, 20, 40, 80, 160, 320, 500, 500]),
        (subscribe(ms(1000)), &[100, 200, 400, 800, 1000, 1000]),
        (subscribe(minute), &[100, 200, 400, 800, 1600, 3200]),
        (refresh(ms(500)), &[100, 150, 225]),
        // A caller may configure a limit below the first pause.
        (retry_write(ms(10), ms(3)), &[3, 3]),
        (retry_write(ms(0), ms(500)), &[0, 0, 0]),
    ] {
        assert_eq!(policy.after(0), Duration::ZERO, "{policy:?}");
        for (failures, pause) in (1..).zip(pauses) {
            assert_eq!(policy.after(failures), ms(*pause), "{policy:?} {failures}");
        }
        assert_eq!(policy.after(u32::MAX), policy.after(1000), "{policy:?}");
    }
}

#[test]
fn a_pause_is_drawn_within_its_bounds() {
    let whole = ms(100);
    for (policy, low, high) in [
        (RESEND, ms(50), whole),
        (REFRESH_FOR_REFUSAL, ms(50), whole),
        (DIAL, ms(25), whole),
        (REPLACEMENT, ms(50), whole),
        (TRANSACTION, ms(0), whole),
        (retry_write(ms(10), ms(500)), ms(0), whole),
        (subscribe(ms(1000)), ms(70), ms(130)),
        (refresh(ms(500)), ms(80), ms(120)),
    ] {
        let drawn: Vec<_> = (0..200).map(|_| policy.draw(whole)).collect();
        let bounds = low..=high;
        assert!(
            drawn.iter().all(|pause| bounds.contains(pause)),
            "{policy:?}"
        );
        let (least, most) = (drawn.iter().min(), drawn.iter().max());
        let spread = *most.unwrap() - *least.unwrap();
        assert!(spread > (high - low) / 2, "{policy:?}");
    }
}
