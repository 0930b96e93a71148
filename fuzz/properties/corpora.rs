//! The checked-in corpora, fed to the functions of the fuzz targets.

use std::{collections::BTreeSet, fs, path::Path};

/// Feeds every file of the target's corpus to `target`.
fn run(name: &str, target: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(name);
    let files = fs::read_dir(&directory).unwrap_or_else(|error| {
        panic!("the corpus {} cannot be read: {error}", directory.display());
    });
    let mut inputs = 0;
    for file in files {
        let path = file.unwrap().path();
        let input = fs::read(&path).unwrap();
        // Names the input where the target panics.
        let outcome = std::panic::catch_unwind(|| target(&input));
        assert!(outcome.is_ok(), "{} breaks a promise", path.display());
        inputs += 1;
    }
    assert!(inputs > 0, "the corpus {} is empty", directory.display());
}

macro_rules! targets {
    ($($target:ident)*) => {
        $(#[test]
        fn $target() {
            run(stringify!($target), super::$target);
        })*

        #[test]
        fn every_fuzz_target_has_a_test() {
            let tested = BTreeSet::from([$(stringify!($target).to_owned()),*]);
            let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
            let targets = fs::read_dir(directory).unwrap().map(|file| {
                let path = file.unwrap().path();
                path.file_stem().unwrap().to_str().unwrap().to_owned()
            });
            assert_eq!(targets.collect::<BTreeSet<_>>(), tested);
        }
    };
}

targets! {
    challenge configuration contracts digests documents escapes forge git_log journal layers link
    markers packages places references sboms scanner tags templates trailers trust
}
