//! The files of a commit as git lists them: path, mode, and the id of the content.

use std::collections::BTreeMap;

use sha1::Digest as _;

/// The maximum depth of directories.
const MAX_DEPTH: usize = 200;

/// The files of a commit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Tree {
    /// The id of the tree; empty if the forge does not report it.
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
    /// The paths with different contents, with the content in `other`; `None`: deleted.
    pub(crate) fn changes_to(&self, other: &Self) -> BTreeMap<String, Option<String>> {
        let mut changes = BTreeMap::new();
        for path in self.entries.keys() {
            if !other.entries.contains_key(path) {
                changes.insert(path.clone(), None);
            }
        }
        for (path, entry) in &other.entries {
            if self.entries.get(path) != Some(entry) {
                changes.insert(path.clone(), Some(entry.id.clone()));
            }
        }
        changes
    }

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
    use super::*;

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

    #[test]
    fn changes_are_additions_edits_and_deletions() {
        let tree = |files: &[(&str, &str)]| Tree {
            id: String::new(),
            entries: files
                .iter()
                .map(|(path, id)| {
                    (
                        (*path).to_owned(),
                        TreeEntry {
                            mode: "100644".to_owned(),
                            id: (*id).to_owned(),
                        },
                    )
                })
                .collect(),
        };
        let changes = tree(&[("a", "1"), ("b", "1"), ("c", "1")]).changes_to(&tree(&[
            ("a", "1"),
            ("b", "2"),
            ("d", "1"),
        ]));
        let expected = [("b", Some("2")), ("c", None), ("d", Some("1"))];
        assert_eq!(
            changes,
            expected
                .iter()
                .map(|(p, id)| ((*p).to_owned(), id.map(str::to_owned)))
                .collect()
        );
    }
}
