//! Commits files to a commit without a work tree, and pushes the commit to a branch.
//!
//! A push changes the branch only if it is where it was read, and only if the base branch is still at the parent of
//! the commit. The answer of the server is classified; what it means for a forge is decided by `forge`.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
};

use super::{
    BRANCHES, FORGE, Git, GitError, Mirror, ObjectId, Output, Remote,
    command::Mode,
    connection::{is_denied, server_message},
    mirror::quoted,
};

/// The reference of a commit until it is read; the number of the process follows.
const NEW: &str = "refs/repin/new/";

/// The name and the address of commits if git has no identity.
pub(super) const REPIN: [&str; 2] = ["repin", "repin@localhost"];

/// Parts of messages of git and its servers about a reference that another process changed.
const RACES: [&str; 5] = [
    "stale info",
    "incorrect old value",
    "cannot lock ref",
    "reference already exists",
    "failed to update ref",
];

/// A file of a new commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewFile {
    /// Path from the top of the repository.
    pub path: String,
    /// Its mode, which does not change.
    pub mode: String,
    /// Its current content. git makes the content that it sends a difference to it.
    pub old_content: Vec<u8>,
    /// The id of its current content.
    pub old: String,
    /// The id of its new content.
    pub new: String,
    /// Its new content.
    pub content: Vec<u8>,
}

/// The content of a new commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewCommit {
    pub parent: ObjectId,
    pub message: String,
    /// The files that change.
    pub files: Vec<NewFile>,
    /// The time of the author and the committer, in seconds since 1970.
    pub seconds: i64,
    /// Whether the user's key signs it (git-commit-tree, `-S`).
    pub is_signed: bool,
}

/// A change of a branch on the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RefUpdate {
    pub branch: String,
    /// The commit that the branch must be at; `None`: it must not exist.
    pub old: Option<ObjectId>,
    /// Its new commit; `None`: it is deleted. If it is `old`, the branch must not move before the other updates.
    pub new: Option<ObjectId>,
}

/// The outcome of a push, which makes all updates or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pushed {
    Done,
    /// Another process moved the branch.
    Raced(String),
    /// Another process moved a branch that must not move.
    BaseMoved,
    /// The server refused, with this message.
    Refused(String),
    /// The answer was lost or is unknown: the branch may be at the commit.
    Unsure(String),
}

impl Pushed {
    /// The outcome of an update after a lost answer, by the head of the branch on the server; `None`: the branch did not move.
    pub(crate) fn by_head(update: &RefUpdate, head: Option<ObjectId>) -> Option<Self> {
        if head == update.new {
            Some(Self::Done)
        } else if head == update.old {
            None
        } else {
            Some(Self::Raced("the branch moved".to_owned()))
        }
    }
}

impl Git {
    /// The author and the committer, if git has an identity for both.
    pub(super) fn identities(&self) -> Option<[String; 2]> {
        let known = |name| self.run_checked("var", &[name], None).ok();
        let (author, committer) = (known("GIT_AUTHOR_IDENT")?, known("GIT_COMMITTER_IDENT")?);
        Some([author, committer].map(|ident| person(&ident)))
    }

    /// Makes a commit. Everything but the files is that of the parent.
    pub(crate) fn make_commit(&self, new: &NewCommit) -> Result<ObjectId, GitError> {
        let [name, address] = REPIN;
        let people = self.identities();
        let people = people.unwrap_or_else(|| [(); 2].map(|()| format!("{name} <{address}>")));
        let reference = format!("{NEW}{}", std::process::id());
        let script = script(new, &people, &reference);
        let args = ["--quiet", "--force", "--done", "--date-format=raw"].map(Into::into);
        let mut running = self.start("fast-import", &args, Mode::Input)?;
        // git closes the pipe if it fails; the exit code reports the failure.
        let _ = running.stdin()?.write_all(&script);
        let mut printed = Vec::new();
        let read = running.stdout()?.read_to_end(&mut printed);
        read.map_err(|error| running.io(error))?;
        running.finish(&[])?;
        let id = ObjectId::parse(printed.trim_ascii_end());
        let id = id.ok_or(GitError::Malformed {
            command: "fast-import",
            what: "no commit",
        })?;
        if new.is_signed {
            self.signed(new, id, &people)
        } else {
            Ok(id)
        }
    }

    /// The same commit, signed by the user's key.
    fn signed(
        &self,
        new: &NewCommit,
        unsigned: ObjectId,
        people: &[String; 2],
    ) -> Result<ObjectId, GitError> {
        let [author, committer] = people.each_ref().map(|person| {
            let (name, address) = person.split_once(" <").unwrap_or((person, ""));
            (name, address.trim_end_matches('>'))
        });
        let time = format!("@{} +0000", new.seconds);
        let environment = BTreeMap::from([
            ("GIT_AUTHOR_NAME", author.0),
            ("GIT_AUTHOR_EMAIL", author.1),
            ("GIT_AUTHOR_DATE", &*time),
            ("GIT_COMMITTER_NAME", committer.0),
            ("GIT_COMMITTER_EMAIL", committer.1),
            ("GIT_COMMITTER_DATE", &*time),
        ]);
        let (tree, parent) = (format!("{unsigned}^{{tree}}"), new.parent.to_string());
        let args = ["-S", &tree, "-p", &parent, "-m", new.message.trim_end()];
        let printed = self.signing_output("commit-tree", &args, &environment)?;
        ObjectId::parse(printed.trim_ascii_end()).ok_or(GitError::Malformed {
            command: "commit-tree",
            what: "no commit",
        })
    }
}

/// The name and the address in an identity with a time (git-var).
fn person(ident: &[u8]) -> String {
    let text = String::from_utf8_lossy(ident);
    let end = text.rfind('>').map_or(text.len(), |end| end + 1);
    text[..end].to_owned()
}

/// The input of git-fast-import.
fn script(new: &NewCommit, [author, committer]: &[String; 2], reference: &str) -> Vec<u8> {
    let time = format!("{} +0000", new.seconds);
    let mut text = Vec::new();
    for NewFile { old_content, .. } in &new.files {
        text.extend(format!("blob\ndata {}\n", old_content.len()).bytes());
        text.extend(old_content);
    }
    let commit = format!(
        "commit {reference}\nmark :1\nauthor {author} {time}\ncommitter {committer} {time}\ndata {}\n{}\nfrom {}\n",
        new.message.len(),
        new.message,
        new.parent
    );
    text.extend(commit.bytes());
    for file in &new.files {
        // An old tree may have this mode, which git does not write.
        let mode = file.mode.replace("100664", "100644");
        text.extend(format!("M {mode} inline ").bytes());
        text.extend(quoted(file.path.as_bytes()));
        text.extend(format!("\ndata {}\n", file.content.len()).bytes());
        text.extend(&file.content);
    }
    text.extend(b"get-mark :1\n");
    // The reference is only a name for git-fast-import: it is not written, because it is deleted before the end.
    let zero = "0".repeat(new.parent.to_string().len());
    text.extend(format!("reset {reference}\nfrom {zero}\n\ndone\n").bytes());
    text
}

impl Git {
    /// Makes all updates on the server of the remote `name`, or none. The first one determines the outcome.
    pub(super) fn push(
        &self,
        name: &str,
        remote: &Remote,
        updates: &[RefUpdate],
    ) -> Result<Pushed, GitError> {
        self.push_with(&[], name, remote, updates)
    }

    /// Logs in for a push as [`Self::push`] does, and changes nothing. The server runs no hook, and tests no protection
    /// of a branch.
    pub(super) fn test_push(
        &self,
        name: &str,
        remote: &Remote,
        updates: &[RefUpdate],
    ) -> Result<Pushed, GitError> {
        self.push_with(&["--dry-run"], name, remote, updates)
    }

    fn push_with(
        &self,
        options: &[&str],
        name: &str,
        remote: &Remote,
        updates: &[RefUpdate],
    ) -> Result<Pushed, GitError> {
        let always = [
            "--porcelain",
            "--no-verify",
            "--no-follow-tags",
            "--no-signed",
            "--recurse-submodules=no",
        ];
        let options = always.iter().chain(options);
        let mut args: Vec<_> = options.map(|option| (*option).to_owned()).collect();
        if updates.len() > 1 {
            // Not every server can.
            args.push("--atomic".to_owned());
        }
        let mut refspecs = Vec::new();
        let text = |id: Option<ObjectId>| id.map(|id| id.to_string()).unwrap_or_default();
        for RefUpdate { branch, old, new } in updates {
            args.push(format!(
                "--force-with-lease={BRANCHES}{branch}:{}",
                text(*old)
            ));
            refspecs.push(format!("{}:{BRANCHES}{branch}", text(*new)));
        }
        args.extend(["--end-of-options", name].map(str::to_owned));
        args.extend(refspecs);
        let output = self.run("push", &args, Some(remote))?;
        pushed(&output, updates)
    }
}

impl Mirror {
    /// Makes all updates on the server, or none. The first one determines the outcome.
    pub(crate) fn push(&mut self, updates: &[RefUpdate]) -> Result<Pushed, GitError> {
        self.complete
            .extend(updates.iter().filter_map(|update| update.new));
        self.git().push(FORGE, self.remote(), updates)
    }

    /// The commits of branches on the server; a branch that is missing has none. A name may end with `*`.
    pub(crate) fn listed(&self, branches: &[&str]) -> Result<BTreeMap<String, ObjectId>, GitError> {
        if branches.is_empty() {
            return Ok(BTreeMap::new());
        }
        // Without `--heads`, the server lists the references of all pull requests.
        let args = ["--quiet", "--heads", "--end-of-options", FORGE];
        let printed = self
            .git()
            .run_checked("ls-remote", &args, Some(self.remote()))?;
        let mut heads = Git::listed_heads(&printed);
        if heads.is_empty() {
            // git reads a body of one line that is no list, such as that of a proxy, as the empty list of an old server.
            return Err(self.refused(
                "ls-remote",
                "the server lists no branches: the repository is empty, or the answer is malformed",
            ));
        }
        heads.retain(|name, _| {
            let mut branches = branches.iter();
            branches.any(|branch| match branch.strip_suffix('*') {
                Some(prefix) => name.starts_with(prefix),
                None => name == branch,
            })
        });
        Ok(heads)
    }
}

/// The outcome of `git push --porcelain`: a line `FLAG<tab>FROM:TO<tab>SUMMARY (REASON)` for each reference.
fn pushed(output: &Output, updates: &[RefUpdate]) -> Result<Pushed, GitError> {
    if output.code == Some(0) {
        return Ok(Pushed::Done);
    }
    let printed = String::from_utf8_lossy(&output.stdout);
    let mut rejected = BTreeMap::new();
    for line in printed.lines() {
        let mut fields = line.strip_prefix("!\t").unwrap_or_default().split('\t');
        if let (Some(names), Some(summary)) = (fields.next(), fields.next())
            && let Some((_, name)) = names.rsplit_once(':')
            && let Some(branch) = name.strip_prefix(BRANCHES)
        {
            rejected.insert(branch, summary);
        }
    }
    // A concurrent push at the last moment appears only in the message of the server.
    // A branch with the name of a directory of the new one remains there.
    let is_race = |text: &str| {
        !text.contains("; cannot create") && RACES.iter().any(|race| text.contains(race))
    };
    for RefUpdate { branch, old, new } in updates {
        let summary = rejected.get(&**branch).copied().unwrap_or_default();
        if is_race(summary) && old == new {
            return Ok(Pushed::BaseMoved);
        }
    }
    let Some(first) = updates
        .first()
        .and_then(|first| rejected.get(&*first.branch))
    else {
        let message = server_message(&output.stderr);
        // The server answered before it received anything.
        if is_denied(&output.stderr) {
            return Err(GitError::Denied {
                command: "push",
                message,
            });
        }
        return Ok(Pushed::Unsure(message));
    };
    if first.starts_with("[remote failure]") {
        return Ok(Pushed::Unsure((*first).to_owned()));
    }
    if rejected.values().any(|summary| is_race(summary)) || is_race(&output.stderr) {
        return Ok(Pushed::Raced((*first).to_owned()));
    }
    let message = server_message(&output.stderr);
    Ok(Pushed::Refused(format!("{first}; {message}")))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, process::Command};

    use super::*;
    use crate::git::{
        Connections,
        tests::{git, remote},
    };

    /// A commit that changes the content of `f` from `old` to `new`.
    fn change(parent: ObjectId, [old, new]: [&str; 2]) -> NewCommit {
        NewCommit {
            parent,
            message: "promote\n\nRepin-Set: a\n".to_owned(),
            files: vec![NewFile {
                path: "f".to_owned(),
                mode: "100644".to_owned(),
                old_content: old.as_bytes().to_vec(),
                old: String::new(),
                new: String::new(),
                content: new.as_bytes().to_vec(),
            }],
            seconds: 1_800_000_000,
            is_signed: false,
        }
    }

    /// A repository with a commit of `f`.
    fn repository() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        git(root, &["init", "-q", "-b", "main"]);
        fs::write(root.join("f"), "old").unwrap();
        git(root, &["add", "f"]);
        git(root, &["commit", "-q", "-m", "x"]);
        directory
    }

    /// The same commit in a repository and on a server with the branches `main`, `a` and `b`.
    fn cloned() -> (tempfile::TempDir, tempfile::TempDir) {
        let (own, server) = (repository(), tempfile::tempdir().unwrap());
        let url = remote(own.path()).url;
        git(server.path(), &["clone", "-q", "--bare", &url, "."]);
        git(server.path(), &["branch", "a"]);
        git(server.path(), &["branch", "b"]);
        (own, server)
    }

    /// A change from `old` to `new`.
    fn update(branch: &str, old: ObjectId, new: ObjectId) -> RefUpdate {
        RefUpdate {
            branch: branch.to_owned(),
            old: Some(old),
            new: Some(new),
        }
    }

    fn tips(server: &Path) -> Vec<u8> {
        git(server, &["for-each-ref", "refs/heads/"])
    }

    #[test]
    fn updates_are_made_together_or_not_at_all() {
        let (own, server) = cloned();
        let remote = remote(server.path());
        git(own.path(), &["remote", "add", "origin", &remote.url]);
        let own = Git::open(own.path()).unwrap();
        let old = own.head().unwrap().tip;
        let new = own.make_commit(&change(old, ["old", "new"])).unwrap();
        let push = |updates: &[RefUpdate]| own.push("origin", &remote, updates);
        let before = tips(server.path());
        // Somebody moved the second branch.
        let stale = [update("a", old, new), update("b", new, new)];
        assert_eq!(push(&stale).unwrap(), Pushed::BaseMoved);
        assert_eq!(tips(server.path()), before);
        // A server that cannot do that accepts one update.
        git(
            server.path(),
            &["config", "receive.advertiseAtomic", "false"],
        );
        let both = [update("a", old, new), update("b", old, new)];
        let refused = push(&both);
        assert!(!matches!(refused, Ok(Pushed::Done)), "{refused:?}");
        assert_eq!(tips(server.path()), before);
        assert_eq!(push(&both[..1]).unwrap(), Pushed::Done);
        assert_ne!(tips(server.path()), before);
    }

    #[test]
    fn pushed_commit_needs_no_fetch() {
        let (own, server) = cloned();
        let own = Git::open(own.path()).unwrap();
        let directory = own.own_directory().unwrap().join("forge");
        let (remote, connections) = (remote(server.path()), Connections::default());
        let mut mirror = Mirror::open(&directory, Some(&own), remote, connections).unwrap();
        assert_eq!(mirror.listed(&[]).unwrap(), BTreeMap::new());
        let old = own.head().unwrap().tip;
        let new = mirror.git().make_commit(&change(old, ["old", "new"]));
        let new = new.unwrap();
        let pushed = mirror.push(&[update("main", old, new)]).unwrap();
        assert_eq!(pushed, Pushed::Done);
        mirror.set_program("/nowhere/git");
        mirror.fetch_commit("main", &new, false).unwrap();
        assert_eq!(mirror.head("main"), Some(new));
    }

    #[test]
    fn message_of_a_failed_commit_is_that_of_git() {
        let own = repository();
        let own = Git::open(own.path()).unwrap();
        let old = own.head().unwrap().tip;
        let missing = ObjectId::parse("1".repeat(40).as_bytes()).unwrap();
        let error = own.make_commit(&change(missing, ["old", "new"]));
        let error = error.unwrap_err().to_string();
        assert!(error.contains(&missing.to_string()), "{error}");
        // Contents need not end with a line.
        let commit = own.make_commit(&change(old, ["old", "new"])).unwrap();
        let shown = own.output("show", &[format!("{commit}:f")]).unwrap();
        assert_eq!(shown, b"new");
    }

    /// The summary is that of git's `transport.c`, `REF_STATUS_EXPECTING_REPORT`.
    #[test]
    fn push_without_a_report_is_unsure() {
        let id = |digit: &str| ObjectId::parse(digit.repeat(40).as_bytes()).unwrap();
        let line =
            "!\trefs/heads/x:refs/heads/x\t[remote failure] (remote failed to report status)\n";
        let output = Output {
            code: Some(1),
            stdout: line.as_bytes().to_vec(),
            stderr: String::new(),
        };
        let pushed = pushed(&output, &[update("x", id("1"), id("2"))]).unwrap();
        assert!(matches!(pushed, Pushed::Unsure(_)), "{pushed:?}");
    }

    /// A signature by a key of ssh, which git verifies.
    #[test]
    fn commit_is_signed_by_the_key_of_the_user() {
        let directory = repository();
        let root = directory.path();
        let key = root.join("key");
        let generated = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"])
            .arg(&key)
            .status();
        assert!(generated.unwrap().success());
        let public = fs::read_to_string(key.with_extension("pub")).unwrap();
        fs::write(root.join("signers"), format!("ada@example.com {public}")).unwrap();
        let signers = root.join("signers").display().to_string();
        for (setting, value) in [
            ("user.name", "Ada"),
            ("user.email", "ada@example.com"),
            ("gpg.format", "ssh"),
            ("gpg.ssh.allowedSignersFile", &*signers),
            ("user.signingKey", &*key.display().to_string()),
        ] {
            git(root, &["config", setting, value]);
        }
        let own = Git::open(root).unwrap();
        let parent = own.head().unwrap().tip;
        let mut new = NewCommit {
            is_signed: true,
            ..change(parent, ["old", "new\n"])
        };
        let commit = own.make_commit(&new).unwrap().to_string();
        git(root, &["verify-commit", &commit]);
        let shown = git(root, &["log", "-1", "--format=%G? %an %ae %ct %B", &commit]);
        assert_eq!(
            shown.trim_ascii_end(),
            b"G Ada ada@example.com 1800000000 promote\n\nRepin-Set: a"
        );
        assert_eq!(git(root, &["show", &format!("{commit}:f")]), b"new\n");
        // An unsigned commit is none that git verifies.
        new.is_signed = false;
        let commit = own.make_commit(&new).unwrap().to_string();
        let shown = git(root, &["log", "-1", "--format=%G?", &commit]);
        assert_eq!(shown.trim_ascii_end(), b"N");
    }
}
