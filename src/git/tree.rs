//! The files of a commit as git lists them: path, mode, and the id of the content; and what a branch changes of them.

use std::collections::BTreeMap;

use sha1::Digest as _;

use super::{Git, GitError, ObjectId};

/// The maximum depth of directories.
const MAX_DEPTH: usize = 200;

/// The maximum number of commits that a branch has in addition to its base.
const MAX_AHEAD: usize = 10_000;

/// The error of names that would hide each other.
const SIMILAR_NAMES: &str = "files whose names differ only in bytes that are not UTF-8";

/// The files of a commit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Tree {
    /// The id of the tree; empty if it is unknown.
    pub id: String,
    /// The entries by their paths from the top of the repository, without directories.
    pub entries: BTreeMap<String, TreeEntry>,
}

/// A file, symlink or submodule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TreeEntry {
    /// `100644`, `100755`, `120000` or `160000`.
    pub mode: String,
    /// The id of the content.
    pub id: String,
}

impl TreeEntry {
    pub(crate) fn is_file(&self) -> bool {
        matches!(self.mode.as_str(), "100644" | "100755" | "100664")
    }

    pub(crate) fn is_symlink(&self) -> bool {
        self.mode == "120000"
    }
}

impl Tree {
    /// The id of the tree with other contents in these files: path and content id.
    ///
    /// `None` if one of the files is missing, or if an id is malformed. Entries that a forge does not
    /// list are missing in the computed tree, so its id differs from the forge's.
    pub(crate) fn id_with(&self, changes: &BTreeMap<String, String>) -> Option<String> {
        let like = &self.entries.values().next()?.id;
        if !changes.keys().all(|path| self.entries.contains_key(path)) {
            return None;
        }
        tree_id(&self.nested(changes)?, like)
    }

    /// The files by their directories; `None` if they are nested too deeply.
    fn nested<'t>(&'t self, changes: &'t BTreeMap<String, String>) -> Option<Directory<'t>> {
        let mut root = Directory::default();
        for (path, entry) in &self.entries {
            let id = changes.get(path).unwrap_or(&entry.id);
            if path.bytes().filter(|byte| *byte == b'/').count() > MAX_DEPTH {
                return None;
            }
            let (mut directory, mut rest) = (&mut root, path.as_str());
            while let Some((name, below)) = rest.split_once('/') {
                let node = directory.0.entry(format!("{name}/"));
                let Node::Directory(next) =
                    node.or_insert_with(|| Node::Directory(Directory::default()))
                else {
                    return None;
                };
                (directory, rest) = (next, below);
            }
            let node = Node::File(&entry.mode, id);
            directory.0.insert(rest.to_owned(), node);
        }
        Some(root)
    }
}

/// The relation of a branch to its base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// The branch is missing.
    Absent,
    /// The branch exists at this head and has no commit in common with its base.
    Unrelated(String),
    /// The branch exists and has a merge base with its base.
    Related(AheadCommits),
}

impl Comparison {
    /// The changes of the branch since its base, if both are related.
    pub(crate) fn related(self) -> Option<AheadCommits> {
        match self {
            Self::Related(ahead) => Some(ahead),
            Self::Absent | Self::Unrelated(_) => None,
        }
    }
}

/// The changes of a branch since its base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AheadCommits {
    /// The head of the branch.
    pub head: String,
    pub merge_base: String,
    /// The commits of the branch that are not on the base, the oldest first.
    pub commits: Vec<AheadCommit>,
    /// The files that changed since the merge base; `None`: deleted.
    pub changed: BTreeMap<String, Option<TreeEntry>>,
}

/// A commit of a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AheadCommit {
    pub id: String,
    pub message: String,
    /// Empty if they are unknown.
    pub parents: Vec<String>,
}

impl Git {
    /// All files of a commit.
    pub(crate) fn tree(&self, commit: &ObjectId) -> Result<Tree, GitError> {
        let mut tree = Tree::default();
        let mut is_distinct = true;
        self.entries(commit, |mode, id, path| {
            let entry = TreeEntry {
                mode: String::from_utf8_lossy(mode).into_owned(),
                id: id.to_string(),
            };
            let path = String::from_utf8_lossy(path).into_owned();
            is_distinct &= tree.entries.insert(path, entry).is_none();
        })?;
        if is_distinct {
            return Ok(tree);
        }
        Err(GitError::Malformed {
            command: "ls-tree",
            what: SIMILAR_NAMES,
        })
    }

    /// Compares the commit `head` with `base`.
    pub(crate) fn compare(&self, base: &ObjectId, head: &ObjectId) -> Result<Comparison, GitError> {
        let [base, head] = [base, head].map(ToString::to_string);
        let (code, printed) = self.output_or("merge-base", &[&base, &head], &[1])?;
        let merge_base = ObjectId::parse(printed.trim_ascii_end()).filter(|_| code == 0);
        let Some(merge_base) = merge_base else {
            return Ok(Comparison::Unrelated(head));
        };
        let (count, not_base) = (format!("-{}", MAX_AHEAD + 1), format!("^{base}"));
        let range = [&*count, "--reverse", "--topo-order", &head, &not_base];
        let listed = self.output("rev-list", &range)?;
        let mut commits = Vec::new();
        for id in listed
            .split(|byte| *byte == b'\n')
            .filter_map(ObjectId::parse)
        {
            commits.push(AheadCommit::new(id, &self.commit_text(&id)?));
        }
        if commits.len() > MAX_AHEAD {
            return Err(GitError::Malformed {
                command: "rev-list",
                what: "more than 10,000 commits of a branch",
            });
        }
        let merge_base = merge_base.to_string();
        let changed = self.changed_contents(&merge_base, &head)?;
        Ok(Comparison::Related(AheadCommits {
            head,
            merge_base,
            commits,
            changed,
        }))
    }

    /// The files that differ between two commits, with their contents in the second one.
    pub(super) fn changed_contents(
        &self,
        old: &str,
        new: &str,
    ) -> Result<BTreeMap<String, Option<TreeEntry>>, GitError> {
        const COMMAND: &str = "diff-tree";
        let args = ["-r", "-z", "--raw", "--no-renames", "--no-abbrev", old, new];
        let listed = self.output(COMMAND, &args)?;
        let mut fields = listed
            .split(|byte| *byte == 0)
            .filter(|field| !field.is_empty());
        let mut changed = BTreeMap::new();
        while let (Some(header), Some(path)) = (fields.next(), fields.next()) {
            // `:MODE MODE ID ID STATUS`
            let words: Vec<_> = header.split(|byte| *byte == b' ').collect();
            let [_, mode, _, id, status] = words.as_slice() else {
                return Err(GitError::Malformed {
                    command: COMMAND,
                    what: "a malformed entry",
                });
            };
            let [mode, id] = [mode, id].map(|text| String::from_utf8_lossy(text).into_owned());
            let entry = (*status != b"D").then_some(TreeEntry { mode, id });
            let path = String::from_utf8_lossy(path).into_owned();
            if changed.insert(path, entry).is_some() {
                return Err(GitError::Malformed {
                    command: COMMAND,
                    what: SIMILAR_NAMES,
                });
            }
        }
        Ok(changed)
    }
}

impl AheadCommit {
    fn new(id: ObjectId, text: &[u8]) -> Self {
        let start = memchr::memmem::find(text, b"\n\n").map_or(text.len(), |end| end + 2);
        let parents = super::commits::parents(text);
        Self {
            id: id.to_string(),
            message: String::from_utf8_lossy(&text[start..]).into_owned(),
            parents: parents.iter().map(ToString::to_string).collect(),
        }
    }
}

/// The entries of a directory in git's order, which compares directories with a trailing slash.
#[derive(Default)]
struct Directory<'t>(BTreeMap<String, Node<'t>>);

enum Node<'t> {
    /// Mode and content id.
    File(&'t str, &'t str),
    Directory(Directory<'t>),
}

/// The id of a tree (git-mktree), with the hash function of `like`.
fn tree_id(directory: &Directory<'_>, like: &str) -> Option<String> {
    let mut content = Vec::new();
    for (name, node) in &directory.0 {
        let below;
        let (mode, id) = match node {
            Node::File(mode, id) => (mode.trim_start_matches('0'), *id),
            Node::Directory(directory) => {
                below = tree_id(directory, like)?;
                ("40000", below.as_str())
            }
        };
        content.extend(
            [mode, " ", name.trim_end_matches('/'), "\0"]
                .concat()
                .bytes(),
        );
        content.extend(
            hex::decode(id)
                .ok()
                .filter(|id| id.len() * 2 == like.len())?,
        );
    }
    Some(object_id("tree", &content, like))
}

/// The id of a blob (git-hash-object), with the hash function of `like`.
pub(crate) fn blob_id(content: &[u8], like: &str) -> String {
    object_id("blob", content, like)
}

fn object_id(kind: &str, content: &[u8], like: &str) -> String {
    let header = format!("{kind} {}\0", content.len());
    if like.len() == 64 {
        let mut hash = sha2::Sha256::new();
        sha2::Digest::update(&mut hash, header.as_bytes());
        sha2::Digest::update(&mut hash, content);
        return hex::encode(sha2::Digest::finalize(hash));
    }
    let mut hash = sha1::Sha1::new();
    hash.update(header.as_bytes());
    hash.update(content);
    hex::encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt};

    use super::*;
    use crate::git::tests::git;

    #[test]
    fn names_that_would_hide_each_other_are_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        git(root, &["init", "-q"]);
        let commit = |names: &[&[u8]]| {
            for name in names {
                fs::write(root.join(OsStr::from_bytes(name)), name).unwrap();
            }
            git(root, &["add", "-A"]);
            git(root, &["commit", "-q", "--allow-empty", "-m", "x"]);
            Git::open(root).unwrap().head().unwrap().tip
        };
        let first = commit(&[]);
        let distinct = commit(&[b"a", b"\xfe"]);
        let hidden = commit(&[b"\xff"]);
        let own = Git::open(root).unwrap();
        assert_eq!(own.tree(&distinct).unwrap().entries.len(), 2);
        assert!(own.compare(&first, &distinct).is_ok());
        for error in [
            own.tree(&hidden).unwrap_err(),
            own.compare(&first, &hidden).unwrap_err(),
        ] {
            assert!(error.to_string().contains(SIMILAR_NAMES), "{error}");
        }
    }

    #[test]
    fn blob_ids_are_those_of_git() {
        // `printf 'hello\n' | git hash-object --stdin`, and the same with --object-format=sha256.
        assert_eq!(
            blob_id(b"hello\n", ""),
            "ce013625030ba8dba906f756967f9e9ca394464a"
        );
        let long = blob_id(b"hello\n", &"0".repeat(64));
        assert_eq!(
            long,
            "2cf8d83d9ee29543b34a87727421fdecb7e3f3a183d337639025de576db9ebb4"
        );
    }

    #[test]
    fn tree_ids_are_those_of_git() {
        // The output of `git write-tree` and `git ls-tree -r` for these files. One name sorts between
        // `a` and `a/`, and one file is executable.
        let blobs = [
            "78981922613b2afb6025042ff6bd878ac1994e85",
            "61780798228d17af2d34fce4cfbdf35556832472",
        ];
        let file = |mode: &str, blob: usize| TreeEntry {
            mode: mode.to_owned(),
            id: blobs[blob].to_owned(),
        };
        let tree = |id: &str, first: usize| Tree {
            id: id.to_owned(),
            entries: [
                ("a.txt", file("100644", 0)),
                ("a/b/c", file("100644", first)),
                ("a/run", file("100755", 1)),
                ("a0", file("100644", 1)),
            ]
            .into_iter()
            .map(|(path, entry)| (path.to_owned(), entry))
            .collect(),
        };
        let [one, other] = [
            "f6faafe012c9e5dc683e189f84c692c3801cfcb9",
            "87f261c4591271c14e1c08c1cda4767a43fed536",
        ];
        let change = |path: &str| BTreeMap::from([(path.to_owned(), blobs[1].to_owned())]);
        assert_eq!(tree(one, 0).id_with(&BTreeMap::new()).as_deref(), Some(one));
        assert_eq!(
            tree(one, 0).id_with(&change("a/b/c")).as_deref(),
            Some(other)
        );
        assert_eq!(
            tree(other, 1).id_with(&BTreeMap::new()).as_deref(),
            Some(other)
        );
        assert_eq!(tree(one, 0).id_with(&change("missing")), None);
        let mut odd = tree(one, 0);
        odd.entries.insert("x".to_owned(), file("100644", 0));
        odd.entries.get_mut("x").unwrap().id = "78981922".to_owned();
        assert_eq!(odd.id_with(&BTreeMap::new()), None);
        let deep = "d/".repeat(MAX_DEPTH + 1) + "x";
        let mut odd = tree(one, 0);
        odd.entries.insert(deep, file("100644", 0));
        assert_eq!(odd.id_with(&BTreeMap::new()), None);
    }
}
