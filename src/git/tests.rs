//! Repositories of unit tests.

use std::{path::Path, process::Command};

use super::ObjectId;

/// The output of git in `directory`, without the user's configuration.
pub(crate) fn git(directory: &Path, args: &[&str]) -> Vec<u8> {
    let output = Command::new("git")
        .current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .args(["-c", "user.name=A", "-c", "user.email=a@b"])
        .args(args)
        .output()
        .unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
    output.stdout
}

/// The id of an object.
pub(super) fn id(directory: &Path, name: &str) -> ObjectId {
    let printed = git(directory, &["rev-parse", name]);
    ObjectId::parse(printed.trim_ascii()).unwrap()
}
