//! Truncated and malformed output of `git log`, from a git with output that the test defines.

use crate::{
    config,
    core::history::{History, Provenance},
    git::{Git, GitError},
    oci::Pattern,
    support::repo::{self, CONFIG, Repo, pin, title},
};

fn two_promotes() -> Repo {
    let repo = Repo::new();
    repo.promote('a');
    repo.promote('b');
    repo.publish();
    repo
}

/// The history with a git that prints these bytes for `log`, followed by `end`.
fn history_of(repo: &Repo, log: &[u8], end: &str) -> Result<History, GitError> {
    repo.write(".git/log", log);
    let file = repo.join(".git/log");
    repo.script(
        ".git/git.sh",
        &format!(
            "case \" $* \" in *' log '*) cat '{}'; {end};; *) exec git \"$@\";; esac\n",
            file.display()
        ),
    );
    let git = Git::open_with(repo.join(".git/git.sh").as_os_str(), repo.path())?;
    let config = config::load(&repo.join("repin.yaml"), "repin.yaml").unwrap();
    History::read(&git, &config)
}

/// The output of the real `git log`.
fn real_log(repo: &Repo) -> Vec<u8> {
    repo.script(
        ".git/git.sh",
        &format!(
            "case \" $* \" in *' log '*) git \"$@\" | tee '{}';; *) exec git \"$@\";; esac\n",
            repo.join(".git/log").display()
        ),
    );
    let git = Git::open_with(repo.join(".git/git.sh").as_os_str(), repo.path()).unwrap();
    let config = config::load(&repo.join("repin.yaml"), "repin.yaml").unwrap();
    History::read(&git, &config).unwrap();
    std::fs::read(repo.join(".git/log")).unwrap()
}

fn is_malformed(read: &Result<History, GitError>, expected: &str) -> bool {
    matches!(read, Err(GitError::Malformed { what, .. }) if *what == expected)
}

#[test]
fn truncated_log_is_malformed() {
    let repo = two_promotes();
    let log = real_log(&repo);
    let ends: Vec<usize> = (0..log.len()).filter(|at| log[*at] == 0).collect();
    // A cut after a commit's fields or one of its changes is detected by git's exit status only.
    let (mut invisible, mut start) = (0, 0);
    for end in ends {
        for cut in std::collections::BTreeSet::from([start + 1, end, end + 1]) {
            let read = history_of(&repo, &log[..cut], "exit 0");
            if read.is_ok() {
                assert_eq!(cut, end + 1);
                invisible += 1;
            } else {
                let what = "an end within a commit";
                assert!(is_malformed(&read, what), "{cut}: {read:?}");
            }
            let read = history_of(&repo, &log[..cut], "echo 'fatal: gone' >&2; exit 128");
            let failed =
                matches!(&read, Err(GitError::Failed { message, .. }) if message == "fatal: gone");
            assert!(failed, "{cut}: {read:?}");
        }
        start = end + 1;
    }
    // Three commits; the first one adds the configuration, and the others change two files each.
    assert_eq!(invisible, 3 + 1 + 2 + 2);
}

#[test]
fn change_without_path_or_object_is_malformed() {
    let repo = two_promotes();
    let log = String::from_utf8(real_log(&repo)).unwrap();
    let path = ".github/workflows/fix.yml";
    let no_path = "a malformed path";
    for (name, what) in [(String::new(), no_path), ("x".repeat(64 * 1024), no_path)] {
        let read = history_of(&repo, log.replace(path, &name).as_bytes(), "exit 0");
        assert!(is_malformed(&read, what), "{} bytes: {read:?}", name.len());
    }
    let longest = log.replace(path, &"x".repeat(64 * 1024 - 1));
    assert!(history_of(&repo, longest.as_bytes(), "exit 0").is_ok());
    let head = repo.head();
    let read = history_of(&repo, log.replace(&head, &head[1..]).as_bytes(), "exit 0");
    assert!(is_malformed(&read, "a malformed object id"), "{read:?}");
}

#[test]
fn tip_without_pins_has_no_current_set() {
    let repo = two_promotes();
    repo.remove(".github/workflows/fix.yml")
        .remove(".github/workflows/review.yml")
        .commit("no pins");
    repo.publish();
    let config = config::load(&repo.join("repin.yaml"), "repin.yaml").unwrap();
    let history = History::read(&Git::open(repo.path()).unwrap(), &config).unwrap();
    assert_eq!(history.entries().len(), 3);
    assert!(history.entries().iter().all(|entry| !entry.current));
}

#[test]
fn glob_without_a_literal_directory_follows_everything() {
    let repo = Repo::empty();
    repo.write(
        "repin.yaml",
        CONFIG.replace(".github/workflows/*.yml", "**/*.yml"),
    );
    repo.write("a.yml", pin("review", 'a') + "\n" + &pin("review", 'a'))
        .write("deep/er/b.yml", pin("fix", 'a'))
        .commit(title('a'));
    repo.publish();
    let config = config::load(&repo.join("repin.yaml"), "repin.yaml").unwrap();
    let history = History::read(&Git::open(repo.path()).unwrap(), &config).unwrap();
    let revision = Pattern::parse(".*").unwrap().revision(&repo::revision('a'));
    let provenance = history.provenance(&revision.unwrap());
    assert!(matches!(provenance, Provenance::Found(_)), "{provenance:?}");
}
