use super::*;

#[test]
fn every_file_of_the_fuzz_corpora_passes() {
    type Target = fn(&[u8]);
    let targets: [(&str, Target); 5] = [
        ("sentinel_reply", read_sentinel_reply),
        ("event", read_event),
        ("url", read_url),
        ("position", read_position),
        ("token", read_token),
    ];
    for (name, target) in targets {
        let corpus = format!("{}/fuzz/corpus/{name}", env!("CARGO_MANIFEST_DIR"));
        // A published crate comes without them.
        let Ok(files) = std::fs::read_dir(&corpus) else {
            continue;
        };
        let mut count = 0;
        for file in files {
            target(&std::fs::read(file.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count >= 12, "only {count} files in {corpus}");
    }
}
