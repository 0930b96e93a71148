//! The base branch's head, against which a pull request is planned.
//!
//! Determines the files that a pull request and its base have both changed, for forges that do not list
//! conflicts.

use std::{
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

use crate::{
    base::{
        error::{Class, Error},
        files::{Globs, RelPath, Snapshot},
    },
    config::{self, Config, SetPath},
    core::plan::FileChange,
    forge::{
        Pull, Repo, UnusedBranch,
        fleet::{Contents, RepositoryState},
    },
    git::{NewFile, ObjectId, Tree, TreeEntry, blob_id},
};

use super::content::{Content, ForgeRepository, OWN_BRANCHES};

/// The repository, its base branch's head, and that head's files.
#[derive(Debug)]
pub(crate) struct Base {
    pub repo: Repo,
    pub branch: String,
    /// The commit at its head.
    pub head: String,
    /// The files of its head.
    pub tree: Rc<Tree>,
    contents: HashMap<String, Vec<u8>>,
    is_surveyed: bool,
    /// The branch of the set if neither it nor a pull request from it into the base exists.
    unused: Option<(String, UnusedBranch)>,
    /// The heads of repin's own branches; none if its head is known from a survey.
    pub own_branches: BTreeMap<String, ObjectId>,
}

impl Base {
    /// Fetches the head of the configured branch, or of the repository's default branch. `own`: the branch that may be
    /// read and written next.
    pub(crate) async fn read(
        repository: &ForgeRepository,
        configured: Option<&str>,
        own: Option<&str>,
    ) -> Result<Self, Error> {
        let ForgeRepository { forge, content } = repository;
        let (repo, unused) = match own {
            Some(own) => forge.repository_before_pull(configured, own).await?,
            None => (forge.repository().await?, None),
        };
        let branch = configured.unwrap_or(&repo.default_branch).to_owned();
        let branches: Vec<_> = [&*branch].into_iter().chain(own).collect();
        let own_branches = content.fetch_and_list(&branches, OWN_BRANCHES).await?;
        let head = content.head(&branch).await?.ok_or_else(|| {
            let what = format!("{}: reading the base branch", forge.name());
            let reason = format!("{} has no branch {branch}", repo.full_name);
            let target = forge.words().pull_request;
            Error::about(Class::Input, what, reason)
                .help(format!("set forge.base to the target branch of {target}s"))
        })?;
        let tree = content.tree(&head)?;
        let unused = match (own, unused) {
            (Some(own), Some(unused))
                if content.head(own).await?.is_none()
                    && forge.is_unused(&unused, &branch, own).await? =>
            {
                Some((own.to_owned(), unused))
            }
            _ => None,
        };
        Ok(Self {
            repo,
            branch,
            head,
            tree,
            contents: HashMap::new(),
            is_surveyed: false,
            unused,
            own_branches,
        })
    }

    /// The head as a survey showed it. `branch`: the surveyed branch of the pull request; `tree` and
    /// `contents`: the files of the head, and the contents that were read.
    pub(crate) fn surveyed(
        state: &RepositoryState,
        branch: &str,
        tree: Tree,
        contents: Contents,
    ) -> Self {
        let is_new = state.branch.is_none() && state.pulls.is_empty() && state.all_pulls;
        Self {
            repo: state.repo.clone(),
            branch: state.base.clone(),
            head: state.head.commit.clone(),
            tree: Rc::new(tree),
            contents,
            is_surveyed: true,
            unused: is_new.then(|| {
                let unused = UnusedBranch {
                    newest_pull: state.newest_pull,
                    protection_requires_signatures: state.requires_signatures,
                };
                (branch.to_owned(), unused)
            }),
            own_branches: BTreeMap::new(),
        }
    }

    /// Whether its head is known from a survey.
    pub(super) fn is_surveyed(&self) -> bool {
        self.is_surveyed
    }

    /// The state of `branch` if neither it nor a pull request from it existed.
    pub(super) fn unused(&self, branch: &str) -> Option<UnusedBranch> {
        let (known, unused) = self.unused.as_ref()?;
        (known == branch).then_some(*unused)
    }

    /// The files below `prefix` (empty, or with a `/` at its end) that `globs` match or `extra` lists, by
    /// their paths from the top of the repository.
    pub(crate) fn paths(&self, prefix: &str, globs: &Globs, extra: &[RelPath]) -> Vec<String> {
        let wanted = |path: &RelPath| Snapshot::lists(globs, path) || extra.contains(path);
        files_of(&self.tree, prefix, &wanted)
            .map(|(path, _)| path.clone())
            .collect()
    }

    /// Reads the contents of files. Those that are missing in the clone are fetched together.
    pub(crate) async fn read_files(
        &mut self,
        content: &Content,
        paths: &[String],
    ) -> Result<(), Error> {
        let mut missing = Vec::new();
        for id in paths
            .iter()
            .filter_map(|path| self.tree.entries.get(path))
            .filter(|e| e.is_file())
            .map(|e| &e.id)
        {
            if !self.contents.contains_key(id) && !missing.contains(id) {
                missing.push(id.clone());
            }
        }
        let contents = content.blobs(&missing).await?;
        self.contents.extend(missing.into_iter().zip(contents));
        Ok(())
    }

    /// The content of a file that was fetched.
    pub(crate) fn content(&self, path: &str) -> Option<&[u8]> {
        let entry = self
            .tree
            .entries
            .get(path)
            .filter(|entry| entry.is_file())?;
        self.contents.get(&entry.id).map(Vec::as_slice)
    }

    /// The configuration of a set on the base, or the reason for which it cannot be read; `None` if the
    /// base has no such file.
    pub(crate) async fn configuration(
        &self,
        content: &Content,
        set: &SetPath,
    ) -> Result<Option<Result<Config, String>>, Error> {
        let path = set.to_string();
        let Some(entry) = self.tree.entries.get(&path).filter(|entry| entry.is_file()) else {
            return Ok(None);
        };
        let mut contents = content.blobs(std::slice::from_ref(&entry.id)).await?;
        let content = contents.pop().unwrap_or_default();
        // Parsing reads no file below the root.
        let root = set.directory();
        let config = config::parse_bytes(content, &path, root, set, config::parse);
        Ok(Some(config))
    }

    /// The content of a fetched blob.
    pub(crate) fn blob(&self, id: &str) -> Option<&[u8]> {
        self.contents.get(id).map(Vec::as_slice)
    }

    /// The fetched files and the symlinks below `prefix`.
    pub(crate) fn snapshot(&self, prefix: &str) -> Snapshot {
        snapshot(&self.tree, &self.contents, prefix)
    }

    /// The new files of a commit on it; `prefix` is the root's path in the repository.
    pub(super) fn files(
        &self,
        prefix: &str,
        changes: &[FileChange],
    ) -> Result<Vec<NewFile>, Error> {
        let mut files = Vec::new();
        for change in changes {
            let path = format!("{prefix}{}", change.path);
            // A plan is made from the contents of the base. Anything else would overwrite a change that
            // the plan does not show.
            let entry = self.tree.entries.get(&path);
            let Some(entry) = entry.filter(|entry| entry.id == blob_id(&change.old, &entry.id))
            else {
                let message = "the base has different content";
                return Err(Error::about(Class::Conflict, &path, message));
            };
            files.push(NewFile {
                mode: entry.mode.clone(),
                new: blob_id(&change.new, &entry.id),
                old: entry.id.clone(),
                old_content: change.old.clone(),
                content: change.new.clone(),
                path,
            });
        }
        Ok(files)
    }
}

/// The files of a tree below `prefix` that are `wanted`.
pub(super) fn files_of<'t>(
    tree: &'t Tree,
    prefix: &'t str,
    wanted: &'t dyn Fn(&RelPath) -> bool,
) -> impl Iterator<Item = (&'t String, &'t TreeEntry)> {
    let files = tree.entries.iter().filter(|(_, entry)| entry.is_file());
    files.filter(move |(path, _)| below(prefix, path).is_some_and(|path| wanted(&path)))
}

/// The files of a tree below `prefix` with known contents, and its symlinks.
pub(super) fn snapshot(tree: &Tree, contents: &HashMap<String, Vec<u8>>, prefix: &str) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for (path, entry) in &tree.entries {
        let Some(path) = below(prefix, path) else {
            continue;
        };
        if entry.is_file() {
            snapshot.note_chart(&path);
        }
        if entry.is_symlink() {
            snapshot.insert_symlink(path);
        } else if let Some(content) = contents.get(&entry.id).filter(|_| entry.is_file()) {
            snapshot.insert(path, content.clone());
        }
    }
    snapshot
}

pub(super) fn below(prefix: &str, path: &str) -> Option<RelPath> {
    RelPath::parse(path.strip_prefix(prefix)?).ok()
}

/// The files that the branch and its base have changed differently since their merge base. A text merge
/// may succeed for some of them, so a listed file is a likely conflict; an empty list means no conflict.
pub(super) async fn changed_on_both_sides(
    content: &Content,
    pull: &Pull,
) -> Result<Vec<String>, Error> {
    content.fetch(&[&pull.base, &pull.head]).await?;
    let Some(base) = content.head(&pull.base).await? else {
        return Ok(Vec::new());
    };
    let Some(ahead) = content.compare(&base, &pull.head).await?.related() else {
        return Ok(Vec::new());
    };
    let (origin, base) = (content.tree(&ahead.merge_base)?, content.tree(&base)?);
    let both = ahead.changed.into_iter().filter(|(path, theirs)| {
        let now = base.entries.get(path);
        now != origin.entries.get(path) && now != theirs.as_ref()
    });
    Ok(both.map(|(path, _)| path).collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{
        app::pull_request::tests::Commits,
        base::files::{Files as _, Hazard},
        forge::{Mergeable, PullState, Push, Readiness},
    };

    /// Files, symlinks and submodules, some with the same content.
    fn commits() -> Commits {
        Commits::default()
            .with(
                "m0",
                &[
                    ("a.yml", "x"),
                    ("dir/copy.yml", "x"),
                    ("dir/chart/Chart.yaml", "chart"),
                    ("dir/linked/Chart.yaml", "chart"),
                    ("link.yml", "x"),
                    ("other-link.yml", "a.yml"),
                    ("submodule.yml", "submodule"),
                    ("notes.txt", "notes"),
                    ("other.txt", "other"),
                ],
            )
            .with_mode("m0", "dir/linked/Chart.yaml", "120000")
            .with_mode("m0", "link.yml", "120000")
            .with_mode("m0", "other-link.yml", "120000")
            .with_mode("m0", "submodule.yml", "160000")
    }

    fn base(commits: &Commits) -> Base {
        let repo = Repo {
            full_name: "acme/flows".to_owned(),
            default_branch: "main".to_owned(),
            push: Push::Unknown,
            scopes: None,
            public: true,
            archived: false,
        };
        Base {
            repo,
            branch: "main".to_owned(),
            head: String::new(),
            tree: Rc::new(commits.tree("m0")),
            contents: HashMap::new(),
            is_surveyed: false,
            own_branches: BTreeMap::new(),
            unused: None,
        }
    }

    fn path(text: &str) -> RelPath {
        RelPath::parse(text).unwrap()
    }

    #[test]
    fn only_matched_or_listed_files_are_read() {
        let base = base(&commits());
        let globs = Globs::parse(["**/*.yml"]).unwrap();
        let wanted = base.paths("", &globs, &[path("notes.txt")]);
        assert_eq!(wanted, ["a.yml", "dir/copy.yml", "notes.txt"]);
        let wanted = base.paths("dir/", &globs, &[path("notes.txt")]);
        assert_eq!(wanted, ["dir/copy.yml"]);
    }

    #[tokio::test]
    async fn content_is_fetched_once_and_only_for_files() {
        let commits = commits();
        let repository = commits.serve().await;
        let mut base = base(&commits);
        let paths = ["a.yml", "dir/copy.yml", "other-link.yml", "absent.yml"];
        base.read_files(&repository.content, &paths.map(str::to_owned))
            .await
            .unwrap();
        let read: Vec<_> = base.contents.keys().cloned().collect();
        assert_eq!(read, [blob_id(b"x", "")]);
        assert_eq!(base.content("a.yml"), Some(&b"x"[..]));
        assert_eq!(base.content("dir/copy.yml"), Some(&b"x"[..]));
        for none in ["link.yml", "submodule.yml", "notes.txt", "absent.yml"] {
            assert_eq!(base.content(none), None, "{none}");
        }
        let snapshot = base.snapshot("");
        let listing = snapshot
            .list_unopened(&Globs::parse(["**/*"]).unwrap())
            .unwrap();
        assert_eq!(listing.files, ["a.yml", "dir/copy.yml"].map(path));
        let symlinks = [
            "dir/linked/Chart.yaml",
            "link",
            "link.yml",
            "other-link.yml",
        ]
        .map(|link| (path(link), Hazard::Symlink));
        assert_eq!(listing.hazards, symlinks);
        // A chart file counts without its contents; a symlink does not count.
        assert!(snapshot.has_chart(Path::new("dir/chart/Chart.yaml")));
        assert!(!snapshot.has_chart(Path::new("dir/linked/Chart.yaml")));
        let below = base.snapshot("dir/");
        assert!(below.has_chart(Path::new("chart/Chart.yaml")));
    }

    #[tokio::test]
    async fn equal_or_one_sided_changes_do_not_conflict() {
        let commits = Commits::default()
            .with(
                "m0",
                &[
                    ("a", "1"),
                    ("both", "1"),
                    ("base", "1"),
                    ("ours", "1"),
                    ("deleted", "1"),
                ],
            )
            .with(
                "b1",
                &[("a", "2"), ("both", "2"), ("base", "2"), ("ours", "1")],
            )
            .with(
                "c1",
                &[("a", "3"), ("both", "2"), ("base", "1"), ("ours", "2")],
            )
            .with_parent("b1", "m0")
            .with_parent("c1", "m0");
        let repository = commits.serve().await;
        let pull = |base: &str| Pull {
            number: 1,
            url: String::new(),
            node: String::new(),
            title: String::new(),
            body: String::new(),
            state: PullState::Open,
            merged_by: None,
            readiness: Readiness::Ready,
            head: "c1".to_owned(),
            head_commit: String::new(),
            own: true,
            base: base.to_owned(),
            base_commit: String::new(),
            labels: Vec::new(),
            mergeable: Mergeable::Conflict,
            merge_delay: None,
            head_exists: true,
        };
        let changed = changed_on_both_sides(&repository.content, &pull("b1")).await;
        assert_eq!(changed.unwrap(), ["a"]);
        // A base that has not moved conflicts with nothing.
        let changed = changed_on_both_sides(&repository.content, &pull("m0")).await;
        assert_eq!(changed.unwrap(), [] as [&str; 0]);
    }
}
