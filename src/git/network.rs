//! What a remote has now, asked of the remote itself and not of what happens to be fetched.
//!
//! Objects may come along; no reference of the clone is made, moved or deleted, and `FETCH_HEAD`
//! stays as it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    time::Duration,
};

use super::{
    ANSWER, Branch, Git, GitError, ObjectId,
    command::{Mode, Watchdog},
    reach::without_users,
};

/// The number of contents fetched at once: their names are on one command line.
const BLOBS: usize = 1000;

/// What git itself says when it fetches contents that a partial clone left out.
const ONLY_BLOBS: &[&str] = &[
    "--quiet",
    "--no-tags",
    "--no-prune",
    "--no-write-fetch-head",
    "--no-recurse-submodules",
    "--no-auto-maintenance",
    "--refmap=",
    "--filter=blob:none",
    "--end-of-options",
];

/// How long one question to a remote may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// The branches of a remote, as it has them now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heads {
    /// The branch of its `HEAD`, if the remote reports it.
    pub default: Option<String>,
    /// Each branch's last commit, by the branch's name.
    pub tips: BTreeMap<String, ObjectId>,
}

/// The branches and tags of a remote, as it has them now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct References {
    /// The branch of its `HEAD`, if reported.
    pub default: Option<String>,
    /// What each names, by its full name (`refs/heads/main`). A tag may name any object.
    pub tips: BTreeMap<String, ObjectId>,
}

impl References {
    /// What a branch names.
    pub fn branch(&self, name: &str) -> Option<&ObjectId> {
        self.tips.get(&format!("{BRANCHES}{name}"))
    }
}

/// What the full name of a branch begins with.
const BRANCHES: &str = "refs/heads/";
/// References that are fetched at once.
const AT_ONCE: usize = 1_000;

impl Git {
    /// The names of the remotes.
    pub fn remotes(&self) -> Result<Vec<String>, GitError> {
        // `--get-regexp` exits with 1 if nothing matches, so the pattern includes a key that always
        // exists.
        let asked = [
            "--get-regexp",
            "--null",
            "--name-only",
            r"^(remote\..*\.url|core\.bare)$",
        ];
        let listed = String::from_utf8_lossy(&self.answer("config", &asked)?).into_owned();
        let mut names: Vec<String> = listed
            .split('\0')
            .filter_map(name_of)
            .map(str::to_owned)
            .collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// The remote that a remote-tracking branch is of, and what the branch is called there.
    pub fn remote_of(&self, branch: &Branch) -> Result<(String, String), GitError> {
        let of = |remote: String| {
            let name = branch
                .name
                .strip_prefix(&remote)?
                .strip_prefix('/')?
                .to_owned();
            Some((remote, name))
        };
        let longest = self
            .remotes()?
            .into_iter()
            .filter_map(of)
            .max_by_key(|(remote, _)| remote.len());
        longest.ok_or_else(|| GitError::Remote {
            remote: branch.name.clone(),
            command: "config",
            reason: "no remote of this clone has such a branch".to_owned(),
        })
    }

    /// The branch of a remote's `HEAD`; `None` if the remote does not report it, or is not
    /// configured here.
    pub(super) fn default_of(&self, remote: &str) -> Result<Option<String>, GitError> {
        // git would treat a name that is not a remote's as a path.
        if !self.remotes()?.iter().any(|name| name == remote) {
            return Ok(None);
        }
        let args = ["--symref", "--quiet", "--end-of-options", remote, "HEAD"];
        let listed = self.ask_remote("ls-remote", remote, &args.map(OsString::from))?;
        let listed = String::from_utf8_lossy(&listed).into_owned();
        // `ref: refs/heads/NAME`, a tab, `HEAD` (git-ls-remote, `--symref`).
        let target = |line: &str| match line.split_once('\t')? {
            (value, "HEAD") => Some(value.strip_prefix("ref: refs/heads/")?.to_owned()),
            _ => None,
        };
        Ok(listed.lines().find_map(target))
    }

    /// Asks a remote for its branches.
    pub fn heads(&self, remote: &str) -> Result<Heads, GitError> {
        let References { default, tips } = self.listed(remote, &["refs/heads/*"])?;
        let branch =
            |(name, tip): (String, ObjectId)| Some((name.strip_prefix(BRANCHES)?.to_owned(), tip));
        Ok(Heads {
            default,
            tips: tips.into_iter().filter_map(branch).collect(),
        })
    }

    /// Asks a remote for its branches and tags.
    pub fn remote_references(&self, remote: &str) -> Result<References, GitError> {
        self.listed(remote, &["refs/heads/*", "refs/tags/*"])
    }

    fn listed(&self, remote: &str, patterns: &[&str]) -> Result<References, GitError> {
        let options = ["--symref", "--quiet", "--end-of-options", remote, "HEAD"];
        let args: Vec<OsString> = options.iter().chain(patterns).map(OsString::from).collect();
        let printed = self.ask_remote("ls-remote", remote, &args)?;
        let mut listed = References {
            default: None,
            tips: BTreeMap::new(),
        };
        for line in printed
            .split(|b| *b == b'\n')
            .filter(|line| !line.is_empty())
        {
            let wrong = || GitError::Malformed {
                command: "ls-remote",
                what: "a malformed reference",
            };
            let text = std::str::from_utf8(line).map_err(|_| wrong())?;
            let (value, name) = text.split_once('\t').ok_or_else(wrong)?;
            if let Some(target) = value.strip_prefix("ref: ") {
                if name == "HEAD" {
                    listed.default = target.strip_prefix(BRANCHES).map(str::to_owned);
                }
                continue;
            }
            let id = ObjectId::parse(value.as_bytes()).ok_or_else(wrong)?;
            // The patterns also match `x/refs/heads/y`; `^{}` is what an annotated tag is of.
            let named = patterns
                .iter()
                .any(|pattern| name.starts_with(pattern.trim_end_matches('*')));
            if named && !name.ends_with("^{}") {
                listed.tips.insert(name.to_owned(), id);
            }
        }
        Ok(listed)
    }

    /// This repository with a commit of a remote, which no reference need name: fetched if it is
    /// missing, from the first remote that has it.
    ///
    /// GitHub, Gitea and git's own server since protocol version 2 hand out any commit by its id.
    pub fn with_commit(&self, commit: &ObjectId, branch: &str) -> Result<Self, GitError> {
        if self.has_commit(commit)? {
            return Ok(self.clone());
        }
        let mut remotes = self.remotes()?;
        if remotes.is_empty() {
            // A repository without any commit is `Unborn`, which is no outage.
            self.head()?;
            return Err(GitError::NoHead {
                branch: branch.to_owned(),
                commit: *commit,
                remote: "URL".to_owned(),
                reason: "this clone has no remote".to_owned(),
            });
        }
        remotes.sort_by_key(|name| name != "origin");
        let mut reason = None;
        for remote in &remotes {
            match self.fetch_references(remote, &[&commit.to_string()]) {
                // What ends a shallow clone may be another commit now.
                Ok(()) if self.has_commit(commit)? => return self.reopened(),
                Ok(()) => {}
                Err(error) => reason = reason.or(Some(error.to_string())),
            }
        }
        Err(GitError::NoHead {
            branch: branch.to_owned(),
            commit: *commit,
            remote: remotes.swap_remove(0),
            reason: reason.unwrap_or_else(|| "the remote did not send it".to_owned()),
        })
    }

    /// Brings the objects of a remote's branches into the clone, and nothing else.
    pub fn fetch_objects(&self, remote: &str, branches: &[&str]) -> Result<(), GitError> {
        let names: Vec<_> = branches
            .iter()
            .map(|branch| format!("{BRANCHES}{branch}"))
            .collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        self.fetch_references(remote, &names)
    }

    /// Brings what references of a remote name (`refs/heads/main`), or commits by their ids, into
    /// the clone, as objects and nothing else.
    pub fn fetch_references(&self, remote: &str, names: &[&str]) -> Result<(), GitError> {
        const ONLY_OBJECTS: &[&str] = &[
            "--quiet",
            "--no-tags",
            "--no-prune",
            "--no-write-fetch-head",
            "--no-recurse-submodules",
            "--no-auto-maintenance",
            "--refmap=",
            "--end-of-options",
        ];
        for some in names.chunks(AT_ONCE) {
            let args: Vec<OsString> = ONLY_OBJECTS
                .iter()
                .chain([&remote])
                .chain(some)
                .map(OsString::from)
                .collect();
            self.ask_remote("fetch", remote, &args)?;
        }
        Ok(())
    }

    /// The remote that objects are fetched from: `origin`, or the only one.
    pub fn only_remote(&self) -> Result<String, GitError> {
        let mut remotes = self.remotes()?;
        if remotes.iter().any(|name| name == "origin") {
            return Ok("origin".to_owned());
        }
        match remotes.pop() {
            Some(only) if remotes.is_empty() => Ok(only),
            None => Err(GitError::NoRemote),
            Some(last) => {
                remotes.push(last);
                Err(GitError::AmbiguousRemote(remotes))
            }
        }
    }

    /// Which of these objects the clone lacks, each once.
    pub fn missing(&self, ids: &[ObjectId]) -> Result<Vec<ObjectId>, GitError> {
        const COMMAND: &str = "cat-file";
        let args = ["--batch-check=%(objectname)"].map(OsString::from);
        let mut running = self.start(COMMAND, &args, Mode::Talk)?;
        let (stdin, mut stdout) = (running.stdin()?, running.stdout()?);
        let asked: BTreeSet<ObjectId> = ids.iter().copied().collect();
        let questions = asked.clone();
        // Asking and reading overlap: neither waits for the other's full pipe.
        let asking = std::thread::spawn(move || {
            let mut stdin = BufWriter::new(stdin);
            questions
                .iter()
                .try_for_each(|id| writeln!(stdin, "{id}"))
                .and_then(|()| stdin.flush())
        });
        let mut present = BTreeSet::new();
        let mut missing = Vec::new();
        let mut lines = BufReader::new(&mut stdout);
        let mut line = Vec::new();
        while lines
            .read_until(b'\n', &mut line)
            .map_err(|error| running.io(error))?
            > 0
        {
            let mut words = line.trim_ascii_end().split(|b| *b == b' ');
            let id = words.next().and_then(ObjectId::parse);
            match (id, words.next()) {
                (Some(id), None) => drop(present.insert(id)),
                (Some(id), Some(b"missing")) => missing.push(id),
                _ => {
                    return Err(GitError::Malformed {
                        command: COMMAND,
                        what: "a malformed response",
                    });
                }
            }
            line.clear();
        }
        let broke = |_| io::Error::other("the request was interrupted");
        let asked_all = asking.join().map_err(broke).and_then(|asked| asked);
        running.finish(&[])?;
        asked_all.map_err(|error| running.io(error))?;
        if present.len() + missing.len() != asked.len() {
            return Err(GitError::Malformed {
                command: COMMAND,
                what: "too few responses",
            });
        }
        Ok(missing)
    }

    /// Brings contents into a partial clone, as git does by itself where it may.
    pub fn fetch_blobs(&self, remote: &str, ids: &[ObjectId]) -> Result<(), GitError> {
        for part in ids.chunks(BLOBS) {
            let args: Vec<OsString> = ONLY_BLOBS
                .iter()
                .map(OsString::from)
                .chain([remote.into()])
                .chain(part.iter().map(|id| id.to_string().into()))
                .collect();
            self.ask_remote("fetch", remote, &args)?;
        }
        Ok(())
    }

    fn ask_remote(
        &self,
        command: &'static str,
        remote: &str,
        args: &[OsString],
    ) -> Result<Vec<u8>, GitError> {
        let failed = |reason: String| GitError::Remote {
            remote: remote.to_owned(),
            command,
            reason: without_users(&reason),
        };
        let transports = self.transports(command, remote)?;
        let mut running = self.start(command, args, Mode::Network(transports))?;
        let watch = Watchdog::over(&running, PATIENCE);
        let mut answer = Vec::new();
        let read = running.stdout()?.take(ANSWER).read_to_end(&mut answer);
        let late = watch.end();
        read.map_err(|error| running.io(error))?;
        if late {
            return Err(failed(format!(
                "no response within {} s",
                PATIENCE.as_secs()
            )));
        }
        if answer.len() as u64 == ANSWER {
            return Err(GitError::Malformed {
                command,
                what: "too much output",
            });
        }
        match running.finish(&[]) {
            Err(GitError::Failed { message, .. }) => Err(failed(message)),
            Err(other) => Err(other),
            Ok(_) => Ok(answer),
        }
    }
}

fn name_of(key: &str) -> Option<&str> {
    key.strip_prefix("remote.")?.strip_suffix(".url")
}
