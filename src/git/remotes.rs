//! Queries the current references of a remote, and fetches objects.
//!
//! No reference of the clone is created, moved or deleted, and `FETCH_HEAD` is not changed.
//!
//! The repository on a forge that a clone came from.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    sync::PoisonError,
    time::Duration,
};

use super::{
    BRANCHES, Branch, Git, GitError, MAX_OUTPUT, ObjectId,
    command::{self, Mode, Watchdog},
    connection::without_users,
    publish::FETCH,
    settings::Setting,
};

/// The maximum number of references on one command line.
const MAX_NAMES: usize = 1000;

/// The time limit of one connection.
const TIMEOUT: Duration = Duration::from_secs(180);

/// The current branches and tags of a remote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct References {
    /// The branch of its `HEAD`, if the remote reports it.
    pub default: Option<String>,
    /// The targets by full reference name (`refs/heads/main`). A tag may refer to any object.
    pub tips: BTreeMap<String, ObjectId>,
}

impl Git {
    /// Lists the remotes.
    pub(crate) fn remotes(&self) -> Result<Vec<String>, GitError> {
        let keys = self.settings()?.iter().map(|setting| &*setting.key);
        let mut names: Vec<String> = keys.filter_map(remote_name).map(str::to_owned).collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// The remote of a remote-tracking branch, and the name of the branch there. The name of a remote
    /// may contain slashes: the longest match counts.
    pub(crate) fn remote_of(&self, branch: &Branch) -> Result<(String, String), GitError> {
        let mut remotes = self.remotes()?;
        remotes.sort_by_key(|remote| std::cmp::Reverse(remote.len()));
        for remote in remotes {
            let name = branch.name.strip_prefix(&remote);
            if let Some(name) = name.and_then(|name| name.strip_prefix('/')) {
                let name = name.to_owned();
                return Ok((remote, name));
            }
        }
        Err(GitError::Remote {
            remote: branch.name.clone(),
            command: "config",
            reason: "no remote of this clone has such a branch".to_owned(),
        })
    }

    /// The branch of a remote's `HEAD`; `None` if the remote does not report it, or is not configured.
    pub(super) fn default_of(&self, remote: &str) -> Result<Option<String>, GitError> {
        // git would treat the name of a missing remote as a path.
        if !self.remotes()?.iter().any(|name| name == remote) {
            return Ok(None);
        }
        let defaults = &self.connections.defaults;
        let known = || defaults.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (self.top().to_owned(), remote.to_owned());
        if let Some(known) = known().get(&key) {
            return Ok(known.clone());
        }
        let args = ["--symref", "--quiet", "--end-of-options", remote, "HEAD"];
        let listed = self.query_remote("ls-remote", remote, &args.map(OsString::from))?;
        let listed = String::from_utf8_lossy(&listed).into_owned();
        // `ref: refs/heads/NAME`, a tab, `HEAD` (git-ls-remote, `--symref`).
        let default = listed
            .lines()
            .find_map(|line| match line.split_once('\t')? {
                (value, "HEAD") => Some(value.strip_prefix("ref: refs/heads/")?.to_owned()),
                _ => None,
            });
        known().insert(key, default.clone());
        Ok(default)
    }

    /// Queries the heads of a remote by branch.
    pub(crate) fn heads(&self, remote: &str) -> Result<BTreeMap<String, ObjectId>, GitError> {
        let tips = self.list_remote(remote, &["refs/heads/*"])?.tips;
        let branch =
            |(name, tip): (String, ObjectId)| Some((name.strip_prefix(BRANCHES)?.to_owned(), tip));
        Ok(tips.into_iter().filter_map(branch).collect())
    }

    /// Queries the branches and tags of a remote.
    pub(crate) fn remote_references(&self, remote: &str) -> Result<References, GitError> {
        self.list_remote(remote, &["refs/heads/*", "refs/tags/*"])
    }

    /// The heads of branches in the output of `git ls-remote`, by branch.
    pub(crate) fn listed_heads(printed: &[u8]) -> BTreeMap<String, ObjectId> {
        let mut heads = BTreeMap::new();
        for line in String::from_utf8_lossy(printed).lines() {
            // Patterns also match `x/refs/heads/y`.
            if let Some((id, name)) = line.split_once('\t')
                && let Some(id) = ObjectId::parse(id.as_bytes())
                && let Some(branch) = name.strip_prefix(BRANCHES)
            {
                heads.insert(branch.to_owned(), id);
            }
        }
        heads
    }

    fn list_remote(&self, remote: &str, patterns: &[&str]) -> Result<References, GitError> {
        let options = ["--symref", "--quiet", "--end-of-options", remote, "HEAD"];
        let args: Vec<OsString> = options.iter().chain(patterns).map(OsString::from).collect();
        let printed = self.query_remote("ls-remote", remote, &args)?;
        let mut listed = References {
            default: None,
            tips: BTreeMap::new(),
        };
        for line in printed
            .split(|b| *b == b'\n')
            .filter(|line| !line.is_empty())
        {
            let malformed = || GitError::Malformed {
                command: "ls-remote",
                what: "a malformed reference",
            };
            let text = std::str::from_utf8(line).map_err(|_| malformed())?;
            let (value, name) = text.split_once('\t').ok_or_else(malformed)?;
            if let Some(target) = value.strip_prefix("ref: ") {
                if name == "HEAD" {
                    listed.default = target.strip_prefix(BRANCHES).map(str::to_owned);
                }
                continue;
            }
            let id = ObjectId::parse(value.as_bytes()).ok_or_else(malformed)?;
            // The patterns also match `x/refs/heads/y`; `^{}` marks the target of an annotated tag.
            let is_requested = patterns
                .iter()
                .any(|pattern| name.starts_with(pattern.trim_end_matches('*')));
            if is_requested && !name.ends_with("^{}") {
                listed.tips.insert(name.to_owned(), id);
            }
        }
        Ok(listed)
    }

    /// Fetches the objects of branches, without references.
    pub(crate) fn fetch_objects(&self, remote: &str, branches: &[&str]) -> Result<(), GitError> {
        let names: Vec<_> = branches
            .iter()
            .map(|branch| format!("{BRANCHES}{branch}"))
            .collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        self.fetch_references(remote, &names)
    }

    /// Fetches the objects of references (`refs/heads/main`) or of commit ids, without references.
    pub(crate) fn fetch_references(&self, remote: &str, names: &[&str]) -> Result<(), GitError> {
        for names in names.chunks(MAX_NAMES) {
            let target = ["--refmap=", "--end-of-options", remote];
            let args: Vec<OsString> = [&FETCH[..], &target, names]
                .concat()
                .iter()
                .map(OsString::from)
                .collect();
            self.query_remote("fetch", remote, &args)?;
        }
        Ok(())
    }

    /// The remote of a partial clone (gitrepository-layout, partial clones).
    pub(crate) fn promisor_remote(&self) -> Result<Option<String>, GitError> {
        for Setting { key, value } in self.settings()? {
            let setting = key
                .strip_prefix("remote.")
                .and_then(|key| key.rsplit_once('.'));
            let Some((remote, setting)) = setting else {
                continue;
            };
            let value = value.as_deref().unwrap_or(b"true").to_ascii_lowercase();
            let is_off = [&b"false"[..], b"no", b"off", b"0", b""].contains(&&*value);
            if setting == "partialclonefilter" || setting == "promisor" && !is_off {
                return Ok(Some(remote.to_owned()));
            }
        }
        Ok(None)
    }

    /// The remote for fetching objects: `origin`, or the only one.
    pub(crate) fn only_remote(&self) -> Result<String, GitError> {
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

    /// The objects that are missing in this clone, without duplicates.
    pub(crate) fn missing(&self, ids: &[ObjectId]) -> Result<Vec<ObjectId>, GitError> {
        const COMMAND: &str = "cat-file";
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let args = ["--batch-check=%(objectname)"].map(OsString::from);
        let mut running = self.start(COMMAND, &args, Mode::Input)?;
        let (stdin, mut stdout) = (running.stdin()?, running.stdout()?);
        let requested: BTreeSet<ObjectId> = ids.iter().copied().collect();
        let requests = requested.clone();
        // A thread writes, so that the two processes cannot block each other with full pipes.
        let writer = std::thread::spawn(move || {
            let mut stdin = BufWriter::new(stdin);
            requests
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
        let written = writer
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the request was interrupted")));
        running.finish(&[])?;
        written.map_err(|error| running.io(error))?;
        if present.len() + missing.len() != requested.len() {
            return Err(GitError::Malformed {
                command: COMMAND,
                what: "too few responses",
            });
        }
        Ok(missing)
    }

    /// Fetches contents into a partial clone, with the options that git itself uses.
    pub(crate) fn fetch_blobs(&self, remote: &str, ids: &[ObjectId]) -> Result<(), GitError> {
        for ids in ids.chunks(MAX_NAMES) {
            let options = [
                "--refmap=",
                "--filter=blob:none",
                "--end-of-options",
                remote,
            ];
            let options = [&FETCH[..], &options].concat();
            let mut args: Vec<OsString> = options.iter().map(OsString::from).collect();
            args.extend(ids.iter().map(|id| OsString::from(id.to_string())));
            self.query_remote("fetch", remote, &args)?;
        }
        Ok(())
    }

    pub(super) fn query_remote(
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
        let mut git = self.prepare(Mode::Network(transports))?;
        git.arg(command).args(args);
        let mut running = command::spawn(git, &self.place, command)?;
        let watch = Watchdog::new(&running, TIMEOUT);
        let mut output = Vec::new();
        let read = running.stdout()?.take(MAX_OUTPUT).read_to_end(&mut output);
        let is_late = watch.stop();
        read.map_err(|error| running.io(error))?;
        if is_late {
            return Err(failed(format!(
                "no response within {} s",
                TIMEOUT.as_secs()
            )));
        }
        if output.len() as u64 == MAX_OUTPUT {
            return Err(GitError::Malformed {
                command,
                what: "too much output",
            });
        }
        match running.finish(&[]) {
            Err(GitError::Failed { message, .. }) => Err(failed(message)),
            Err(other) => Err(other),
            Ok(_) => Ok(output),
        }
    }
}

fn remote_name(key: &str) -> Option<&str> {
    key.strip_prefix("remote.")?.strip_suffix(".url")
}

/// A repository on a forge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostedRepository {
    /// The host of the forge in lower case, without a port.
    pub host: String,
    /// On GitLab, a group may be in another one: `group/subgroup`.
    pub owner: String,
    pub name: String,
    /// The scheme, host and port of the web server; `None` for an SSH URL.
    pub web: Option<String>,
}

impl Git {
    /// The URL of the remote `origin`. It may contain a password and must not be printed.
    pub(crate) fn origin(&self) -> Result<Option<String>, GitError> {
        let mut settings = self.settings()?.iter();
        let url = settings.find(|setting| setting.key == "remote.origin.url");
        Ok(url.and_then(Setting::text))
    }
}

impl HostedRepository {
    /// Whether both are one repository. An SSH URL states no port of the web server.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let may_be_same_server = self.web.is_none() || other.web.is_none() || self.web == other.web;
        let is_same_name = (&self.owner, &self.name) == (&other.owner, &other.name);
        self.host == other.host && may_be_same_server && is_same_name
    }

    /// Parses the URL of a remote: `https://HOST/OWNER/NAME.git`, `ssh://git@HOST:PORT/OWNER/NAME`,
    /// `git@HOST:OWNER/NAME`. Users and passwords are dropped. `None` for a path without an owner and a
    /// name.
    pub(crate) fn parse(url: &str) -> Option<Self> {
        let (scheme, authority, path) = match url.split_once("://") {
            Some((scheme @ ("https" | "http" | "ssh" | "git"), rest)) => {
                let (authority, path) = rest.split_once('/')?;
                (scheme, authority, path)
            }
            Some(_) => return None,
            // The rule of git (git-clone, "GIT URLS"): a colon without a slash before it.
            None => {
                let (authority, path) = url.split_once(':')?;
                if authority.contains('/') {
                    return None;
                }
                ("ssh", authority, path)
            }
        };
        let server = authority
            .rsplit_once('@')
            .map_or(authority, |(_, server)| server)
            .to_ascii_lowercase();
        let (host, port) = server
            .split_once(':')
            .map_or((&*server, ""), |(host, port)| (host, port));
        let path = path.trim_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path);
        let (owner, name) = path.rsplit_once('/')?;
        for part in path.split('/').chain([host]) {
            let is_plain = part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
            if !is_plain || matches!(part, "" | "." | "..") {
                return None;
            }
        }
        let is_web =
            matches!(scheme, "https" | "http") && port.bytes().all(|byte| byte.is_ascii_digit());
        Some(Self {
            host: host.to_owned(),
            owner: owner.to_owned(),
            name: name.to_owned(),
            web: is_web.then(|| format!("{scheme}://{}", server.trim_end_matches(':'))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::{
        Connections,
        tests::{commit_at, git, repository},
    };

    fn parsed(url: &str) -> Option<String> {
        let HostedRepository {
            host, owner, name, ..
        } = HostedRepository::parse(url)?;
        Some(format!("{host} {owner} {name}"))
    }

    #[test]
    fn all_forms_of_a_remote_url_are_parsed() {
        for url in [
            "https://github.com/acme/work.flows.git",
            "https://user:secret@GitHub.com/acme/work.flows",
            "ssh://git@github.com:22/acme/work.flows.git",
            "git@github.com:acme/work.flows.git",
            "github.com:/acme/work.flows/",
        ] {
            assert_eq!(
                parsed(url).as_deref(),
                Some("github.com acme work.flows"),
                "{url}"
            );
        }
    }

    #[test]
    fn web_server_keeps_scheme_and_port() {
        for (url, web) in [
            (
                "http://127.0.0.1:3000/a/b.git",
                Some("http://127.0.0.1:3000"),
            ),
            ("https://u:p@Git.Example/a/b", Some("https://git.example")),
            ("https://git.example:/a/b", Some("https://git.example")),
            ("ssh://git@git.example:2222/a/b", None),
            ("git@git.example:a/b", None),
        ] {
            let found = HostedRepository::parse(url).unwrap();
            assert_eq!(found.web.as_deref(), web, "{url}");
        }
    }

    #[test]
    fn remote_without_a_forge_is_not_parsed() {
        for url in [
            "/srv/git/a/b.git",
            "../a/b",
            "file:///srv/a/b",
            "https://gitlab.com/group//name",
            "https://github.com/acme",
            "https://github.com/acme/..",
            "git@github.com:acme/a b",
            "https://x y/acme/a",
            "",
        ] {
            assert_eq!(parsed(url), None, "{url}");
        }
    }

    #[test]
    fn remote_reports_its_default_branch_once_in_a_run() {
        let (server, clone) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        repository(server.path());
        repository(clone.path());
        let url = server.path().to_str().unwrap();
        git(clone.path(), &["remote", "add", "origin", url]);
        let connections = Connections::default();
        let default = |connections: &Connections| {
            let git = Git::open(clone.path()).unwrap();
            let git = git.connecting_with(connections.clone());
            git.default_of("origin").unwrap()
        };
        for branch in ["one", "two"] {
            let head = commit_at(server.path(), 1, &[]);
            git(server.path(), &["branch", branch, &head]);
            let target = format!("refs/heads/{branch}");
            git(server.path(), &["symbolic-ref", "HEAD", &target]);
            assert_eq!(default(&connections).as_deref(), Some("one"));
            assert_eq!(default(&Connections::default()).as_deref(), Some(branch));
        }
    }
}
