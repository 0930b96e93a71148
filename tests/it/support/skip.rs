//! Tests that cannot run on every machine: see `scripts/test`.

use std::{fs::OpenOptions, io::Write as _};

/// Records that `test` cannot run here, with the reason; fails if `scripts/test` keeps no list of
/// such tests (in CI, or without the script).
pub fn skip(test: &str, reason: &str) {
    let list = std::env::var_os("REPIN_TEST_SKIPS").unwrap_or_else(|| panic!("{test}: {reason}"));
    let mut list = OpenOptions::new().append(true).open(list).unwrap();
    writeln!(list, "SKIP: {test}: {reason}").unwrap();
}
