//! Tests that cannot run on every machine: see `scripts/test`.

use std::{fs::OpenOptions, io::Write as _};

/// Notes that `test` cannot run here and why; fails where `scripts/test` keeps no list of such
/// tests (in CI, or without it).
pub fn skip(test: &str, why: &str) {
    let list = std::env::var_os("REPIN_TEST_SKIPS").unwrap_or_else(|| panic!("{test}: {why}"));
    let mut list = OpenOptions::new().append(true).open(list).unwrap();
    writeln!(list, "SKIP: {test}: {why}").unwrap();
}
