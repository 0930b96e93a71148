//! Files of a commit by their names, as git counts them: path, mode, and the name of the content.

use std::collections::BTreeMap;

use sha1::Digest as _;

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
}

/// The name that git gives a content, of the same kind as `like` (git-hash-object).
pub fn blob_id(content: &[u8], like: &str) -> String {
    let header = format!("blob {}\0", content.len());
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
