//! A scratch git repository that reads as a story: `repo.promote('a').publish()`.
//!
//! Authors, dates and configuration are fixed, so that every run makes the same commits. A letter
//! is a build: its revision repeats the letter forty times, and the digests of its images
//! derive from it.

use std::{
    cell::Cell,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// Two images; `review` is pinned twice, `fix` once.
pub(crate) const CONFIG: &str = r#"version: 1
name: images
files: [".github/workflows/*.yml"]
images:
  review: { repository: ghcr.io/acme/review, pins: 2 }
  fix: { repository: ghcr.io/acme/fix, pins: 1 }
"#;

/// A git repository without images. Unit tests share it, which cannot run the program, so it is no
/// `World`; `World` in turn has no clock.
pub(crate) struct Repo {
    directory: tempfile::TempDir,
    clock: Cell<u64>,
}

/// The revision of a build.
pub(crate) fn revision(build: char) -> String {
    build.to_string().repeat(40)
}

/// The digits of an image's digest in a build.
pub(crate) fn digits(image: &str, build: char) -> String {
    let last = if image == "review" { '0' } else { '1' };
    build.to_string().repeat(63) + &last.to_string()
}

/// A pin of an image in a build.
pub(crate) fn pin(image: &str, build: char) -> String {
    format!("ghcr.io/acme/{image}@sha256:{}", digits(image, build))
}

/// A repository with two promotions: the second one on a branch that also renames a workflow, and that is merged.
pub(crate) fn two_promotions() -> Repo {
    let repo = Repo::empty();
    repo.write("repin.yaml", CONFIG).promote('a');
    repo.branch("auto/b").promote('b');
    repo.git(&[
        "mv",
        ".github/workflows/fix.yml",
        ".github/workflows/mend.yml",
    ]);
    repo.commit("rename");
    repo.checkout("main").merge(&["auto/b"], "Merge");
    repo.publish();
    repo
}

impl Repo {
    /// An empty repository, without a commit.
    pub(crate) fn empty() -> Self {
        Self::with(&["--object-format=sha1"])
    }

    pub(crate) fn with(init: &[&str]) -> Self {
        let repo = Self {
            directory: tempfile::tempdir().unwrap(),
            clock: Cell::new(0),
        };
        repo.git(&[&["init", "-q"], init].concat());
        repo
    }

    /// A repository with the configuration in its first commit.
    pub(crate) fn new() -> Self {
        let repo = Self::empty();
        repo.write("repin.yaml", CONFIG).commit("chore: begin");
        repo
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn join(&self, path: &str) -> PathBuf {
        self.path().join(path)
    }

    pub(crate) fn write(&self, path: &str, text: impl AsRef<[u8]>) -> &Self {
        let path = self.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    pub(crate) fn remove(&self, path: &str) -> &Self {
        fs::remove_file(self.join(path)).unwrap();
        self
    }

    /// Pins both images to a build, in two workflows.
    pub(crate) fn pins(&self, build: char) -> &Self {
        let [review, fix] = ["review", "fix"].map(|image| pin(image, build));
        self.write(
            ".github/workflows/review.yml",
            format!("a: {review}\nb: {review} # again\n"),
        );
        self.write(".github/workflows/fix.yml", format!("image: \"{fix}\"\n"))
    }

    /// Commits everything; the message is taken byte for byte.
    pub(crate) fn commit(&self, message: impl AsRef<[u8]>) -> String {
        self.git(&["add", "-A"]);
        self.commit_index(message, &[])
    }

    fn commit_index(&self, message: impl AsRef<[u8]>, options: &[&str]) -> String {
        let file = self.join(".git/MESSAGE");
        fs::write(&file, message).unwrap();
        let file = file.to_str().unwrap();
        let commit = [
            "commit",
            "-q",
            "--allow-empty",
            "--allow-empty-message",
            "--cleanup=verbatim",
            "-F",
            file,
        ];
        self.git(&[&commit, options].concat());
        self.head()
    }

    /// A commit of the whole work tree on top of `parent`, with its message and date taken as
    /// they are.
    pub(crate) fn raw_commit(&self, parent: &str, message: &[u8], seconds: u64) -> String {
        self.git(&["add", "-A"]);
        let tree = self.git(&["write-tree"]);
        let who = format!("A <a@b> {seconds} +0000");
        let head = format!("tree {tree}\nparent {parent}\nauthor {who}\ncommitter {who}\n\n");
        self.write(".git/BODY", [head.as_bytes(), message, b"\n"].concat());
        self.git(&["hash-object", "-t", "commit", "-w", ".git/BODY"])
    }

    /// A shell script that can be run.
    pub(crate) fn script(&self, path: &str, text: &str) -> &Self {
        self.write(path, format!("#!/bin/sh\n{text}"));
        fs::set_permissions(self.join(path), fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    /// Commits the pins of a build with the title that repin uses.
    pub(crate) fn promote(&self, build: char) -> String {
        self.pins(build).commit(title(build))
    }

    /// A branch from here on, checked out.
    pub(crate) fn branch(&self, name: &str) -> &Self {
        self.git(&["checkout", "-q", "-b", name]);
        self
    }

    pub(crate) fn checkout(&self, name: &str) -> &Self {
        self.git(&["checkout", "-q", name]);
        self
    }

    /// Merges a branch into the current one, by a merge commit.
    pub(crate) fn merge(&self, branches: &[&str], message: &str) -> String {
        self.git(&[&["merge", "-q", "--no-ff", "-m", message], branches].concat());
        self.head()
    }

    /// The current branch becomes the remote's default branch, from the view of this clone.
    pub(crate) fn publish(&self) -> &Self {
        self.git(&["update-ref", "refs/remotes/origin/main", "HEAD"]);
        let head = ".git/refs/remotes/origin/HEAD";
        self.write(head, "ref: refs/remotes/origin/main\n");
        self
    }

    pub(crate) fn head(&self) -> String {
        loose_head(self.path()).unwrap_or_else(|| self.git(&["rev-parse", "HEAD"]))
    }

    /// A clone of the branch checked out, with these options of `git clone`.
    pub(crate) fn cloned(&self, options: &[&str]) -> Self {
        let clone = Self {
            directory: tempfile::tempdir().unwrap(),
            clock: Cell::new(1_000_000),
        };
        let from = format!("file://{}", self.path().display());
        clone.git(&[&["clone", "-q"], options, &[from.as_str(), "."]].concat());
        clone
    }

    /// Runs git, which must succeed; returns its output without the last newline.
    pub(crate) fn git(&self, args: &[&str]) -> String {
        let output = self.try_git(args);
        assert!(
            output.status.success(),
            "git {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout)
            .trim_end_matches('\n')
            .to_owned()
    }

    pub(crate) fn try_git(&self, args: &[&str]) -> Output {
        self.clock.set(self.clock.get() + 60);
        let date = format!("{} +0000", 1_700_000_000 + self.clock.get());
        let mut git = Command::new("git");
        git.current_dir(self.path()).args([
            "-c",
            "init.defaultBranch=main",
            "-c",
            "protocol.file.allow=always",
        ]);
        git.args([
            "-c",
            "user.name=Ada",
            "-c",
            "user.email=ada@example.com",
            "-c",
            "commit.gpgSign=false",
        ]);
        let settings = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/gitconfig");
        git.env("GIT_CONFIG_GLOBAL", settings)
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .env("LC_ALL", "C");
        git.env("GIT_AUTHOR_DATE", &date)
            .env("GIT_COMMITTER_DATE", &date)
            .env("GIT_TERMINAL_PROMPT", "0");
        for name in [
            "GIT_DIR",
            "GIT_WORK_TREE",
            "GIT_INDEX_FILE",
            "GIT_OBJECT_DIRECTORY",
            "GIT_CONFIG_PARAMETERS",
        ] {
            git.env_remove(name);
        }
        git.args(args).output().unwrap()
    }
}

/// The title of a promotion.
pub(crate) fn title(build: char) -> String {
    format!("promote: images @{}", revision(build))
}

/// The commit of the checked-out branch, if its reference is a file: tests ask for it too often to start a process.
pub(crate) fn loose_head(root: &Path) -> Option<String> {
    let read = |name: &str| fs::read_to_string(root.join(".git").join(name)).ok();
    let head = read("HEAD")?;
    let id = read(head.strip_prefix("ref: ")?.trim_end())?;
    Some(id.trim_end().to_owned())
}
