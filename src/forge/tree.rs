//! Files of a commit by their names, as git counts them: path, mode, and the name of the content.

use std::collections::BTreeMap;

use sha1::Digest as _;

/// The deepest directory that counts.
const DEPTH: usize = 200;

/// The files of a commit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    /// The tree's own name, where the forge reports it.
    pub id: String,
    /// Path from the top of the repository, and the entry there; directories are left out.
    pub entries: BTreeMap<String, Entry>,
}

/// One file, symlink or submodule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// `100644`, `100755`, `120000` or `160000`.
    pub mode: String,
    /// The name of the content.
    pub id: String,
}

impl Entry {
    /// Whether it is a file that could be changed.
    pub fn is_file(&self) -> bool {
        matches!(self.mode.as_str(), "100644" | "100755" | "100664")
    }

    /// Whether it is a symlink.
    pub fn is_symlink(&self) -> bool {
        self.mode == "120000"
    }
}

impl Tree {
    /// The paths whose contents differ, with the content in `other`; `None`: deleted.
    pub fn changes_to(&self, other: &Self) -> BTreeMap<String, Option<String>> {
        let gone = self
            .entries
            .keys()
            .filter(|path| !other.entries.contains_key(*path))
            .map(|path| (path.clone(), None));
        let new = other
            .entries
            .iter()
            .filter(|(path, entry)| self.entries.get(*path) != Some(entry));
        gone.chain(new.map(|(path, entry)| (path.clone(), Some(entry.id.clone()))))
            .collect()
    }

    /// The name that the tree has with other contents in these files: path and the content's name.
    ///
    /// `None` if one of the files is missing, or if these are no names that git gives. What is no
    /// file, directory, symlink or submodule, or not listed, makes another name.
    pub fn id_with(&self, changes: &BTreeMap<String, String>) -> Option<String> {
        let known = |path| self.entries.contains_key(path);
        let like = &self.entries.values().next()?.id;
        if !changes.keys().all(known) {
            return None;
        }
        tree_id(&self.nested(changes)?, like)
    }

    /// The files by their directories; `None` if they are nested deeper than files that people make.
    fn nested<'t>(&'t self, changes: &'t BTreeMap<String, String>) -> Option<Directory<'t>> {
        let mut root = Directory::default();
        for (path, entry) in &self.entries {
            let id = changes.get(path).unwrap_or(&entry.id);
            if path.bytes().filter(|byte| *byte == b'/').count() > DEPTH {
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

/// What a directory has, in git's order: the name of a directory counts with a slash behind it.
#[derive(Default)]
struct Directory<'t>(BTreeMap<String, Node<'t>>);

enum Node<'t> {
    /// Mode and the name of the content.
    File(&'t str, &'t str),
    Directory(Directory<'t>),
}

/// The name that git gives a tree, of the same kind as `like` (git-mktree).
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

/// The name that git gives a content, of the same kind as `like` (git-hash-object).
pub fn blob_id(content: &[u8], like: &str) -> String {
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
    fn contents_are_named_as_git_names_them() {
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
    fn trees_are_named_as_git_names_them() {
        // Of a repository with these files, as `git write-tree` and `git ls-tree -r` show it; a name
        // that sorts between `a` and `a/` and an executable file are among them.
        let blobs = [
            "78981922613b2afb6025042ff6bd878ac1994e85",
            "61780798228d17af2d34fce4cfbdf35556832472",
        ];
        let file = |mode: &str, blob: usize| Entry {
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
        let deep = "d/".repeat(DEPTH + 1) + "x";
        let mut odd = tree(one, 0);
        odd.entries.insert(deep, file("100644", 0));
        assert_eq!(odd.id_with(&BTreeMap::new()), None);
    }

    #[test]
    fn changes_are_new_other_and_gone() {
        let tree = |files: &[(&str, &str)]| Tree {
            id: String::new(),
            entries: files
                .iter()
                .map(|(path, id)| {
                    (
                        (*path).to_owned(),
                        Entry {
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
