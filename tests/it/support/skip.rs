//! Saying aloud that a test can't run here: `scripts/test` lists what was said.

use std::{env, fs::OpenOptions, io::Write};

/// Notes why a test can't run here; the test then returns.
///
/// In CI, and without `scripts/test`, nobody would read the note: there the test fails.
pub fn skip(test: &str, reason: &str) {
    let note = format!("SKIP: {test}: {}\n", reason.replace('\n', " "));
    let Some(list) = env::var_os("REPIN_TEST_SKIPS") else {
        panic!("{note}")
    };
    let opened = OpenOptions::new().append(true).open(list);
    // One write, so that tests that run at once don't mix their lines.
    opened
        .and_then(|mut file| file.write_all(note.as_bytes()))
        .expect("scripts/test made the list");
}
