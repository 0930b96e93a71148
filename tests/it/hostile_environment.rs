//! `repin history` in hostile environments: variables, settings and owners that git would follow.

use std::process::Command;

use crate::support::{
    repo::{self, Repo},
    skip::skip,
};

/// Runs `repin history` with these variables; returns its exit code and its document.
fn history(repo: &Repo, variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_repin"))
        .args(["history", "--format", "json"])
        .current_dir(repo.path())
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

/// A repository with two promotions, and its history without a hostile environment.
fn two_promotions() -> (Repo, (Option<i32>, String)) {
    let repo = repo::two_promotions();
    let (code, document) = history(&repo, &[]);
    let promotions = document.matches(r#""kind":"promote""#).count();
    assert_eq!((code, promotions), (Some(0), 2), "{document}");
    (repo, (code, document))
}

#[test]
fn environment_of_another_repository_has_no_effect() {
    let (repo, expected) = two_promotions();
    let other = Repo::new();
    let path = |name: &str| other.join(name).to_str().unwrap().to_owned();
    let (git, objects, list) = (path(".git"), path(".git/objects"), path(".git/list"));
    other.write(".git/list", format!("{} {}\n", repo.head(), other.head()));
    let variables: &[(&str, &str)] = &[
        ("GIT_DIR", &git),
        ("GIT_COMMON_DIR", &git),
        ("GIT_WORK_TREE", other.path().to_str().unwrap()),
        ("GIT_INDEX_FILE", &list),
        ("GIT_OBJECT_DIRECTORY", &objects),
        ("GIT_ALTERNATE_OBJECT_DIRECTORIES", &objects),
        ("GIT_GRAFT_FILE", &list),
        ("GIT_SHALLOW_FILE", &list),
        ("GIT_NAMESPACE", "evil"),
        ("GIT_REPLACE_REF_BASE", "refs/heads/"),
        ("GIT_PREFIX", "evil/"),
        ("GIT_CONFIG_PARAMETERS", "'core.bare'='true'"),
        ("GIT_CONFIG", &list),
        ("GIT_ICASE_PATHSPECS", "1"),
        ("GIT_NOGLOB_PATHSPECS", "1"),
        ("GIT_EXTERNAL_DIFF", "false"),
        ("GIT_DEFAULT_HASH", "sha256"),
        ("GIT_TRACE", "2"),
        ("GIT_TRACE2", "2"),
        ("LANGUAGE", "de"),
    ];
    assert_eq!(history(&repo, variables), expected);
}

#[test]
fn git_configuration_does_not_change_reads() {
    let (repo, expected) = two_promotions();
    repo.script(".git/run.sh", "touch \"$0.was-run\"\nexit 1\n");
    let script = repo.join(".git/run.sh");
    let script = script.to_str().unwrap();
    for (key, value) in [
        ("log.follow", "true"),
        ("log.showRoot", "false"),
        ("log.showSignature", "true"),
        ("log.diffMerges", "off"),
        ("log.decorate", "full"),
        ("log.date", "relative"),
        ("format.pretty", "oneline"),
        ("format.notes", "true"),
        ("diff.renames", "copies"),
        ("diff.relative", "true"),
        ("diff.noprefix", "true"),
        ("diff.orderFile", "nowhere"),
        ("diff.ignoreSubmodules", "all"),
        ("diff.external", script),
        ("color.ui", "always"),
        ("core.abbrev", "4"),
        ("core.pager", script),
        ("core.fsmonitor", script),
        ("core.hooksPath", repo.path().to_str().unwrap()),
        ("gpg.program", script),
        ("i18n.logOutputEncoding", "UTF-16"),
        ("trailer.separators", "#"),
        ("core.quotePath", "true"),
    ] {
        repo.git(&["config", key, value]);
    }
    assert_eq!(history(&repo, &[]), expected);
    assert!(!repo.join(".git/run.sh.was-run").exists());
}

#[test]
fn repository_of_another_user_is_refused_until_trusted() {
    let (repo, expected) = two_promotions();
    // Git trusts only an owner that is this user.
    if let Err(error) = std::os::unix::fs::chown(repo.join(".git"), Some(12_345), None) {
        let reason = format!("the owner of a file cannot be changed: {error}");
        return skip(
            "repository_of_another_user_is_refused_until_trusted",
            &reason,
        );
    }
    let none = [
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_CONFIG_SYSTEM", "/dev/null"),
    ];
    let (code, document) = history(&repo, &none);
    assert!(
        code == Some(3) && document.contains("does not trust"),
        "{document}"
    );
    let trust = [
        ("GIT_CONFIG_COUNT", "1"),
        ("GIT_CONFIG_KEY_0", "safe.directory"),
        ("GIT_CONFIG_VALUE_0", "*"),
    ];
    assert_eq!(history(&repo, &[&none[..], &trust].concat()), expected);
}
