//! A repository with a few commits, for unit tests.

mod closing;
mod forge;
mod opening;
mod reconcile;
mod waiting;

use std::{
    collections::BTreeMap,
    fs::File,
    io::Write as _,
    process::{Command, Stdio},
    time::SystemTime,
};

use super::content::{Content, ContentPlace, NoteListener};
use crate::{
    base::http::{FORGES, Policy},
    git::{Connections, Remote, Tree, TreeEntry, blob_id, tests::git},
};

/// Commits by their names, with their files.
#[derive(Default, Clone)]
pub(super) struct Commits {
    trees: BTreeMap<String, BTreeMap<String, (&'static str, String)>>,
    parents: BTreeMap<String, String>,
}

/// The content of a repository with these commits: each is the head of a branch with its name.
pub(super) struct Repository {
    pub(super) content: Content,
    /// The ids of the commits.
    pub(super) ids: BTreeMap<String, String>,
    _server: tempfile::TempDir,
}

impl Commits {
    /// Adds a commit with these files, and with a symlink to a path that resembles a pin.
    pub(super) fn with(mut self, commit: &str, files: &[(&str, &str)]) -> Self {
        self.trees.insert(commit.to_owned(), BTreeMap::new());
        self = self
            .with_file(commit, "link", "x@1")
            .with_mode(commit, "link", "120000");
        for (path, text) in files {
            self = self.with_file(commit, path, text);
        }
        self
    }

    pub(super) fn with_file(mut self, commit: &str, path: &str, text: &str) -> Self {
        let tree = self.trees.get_mut(commit).unwrap();
        tree.insert(path.to_owned(), ("100644", text.to_owned()));
        self
    }

    pub(super) fn with_mode(mut self, commit: &str, path: &str, mode: &'static str) -> Self {
        let tree = self.trees.get_mut(commit).unwrap();
        tree.get_mut(path).unwrap().0 = mode;
        self
    }

    /// Makes a commit the parent of another one.
    pub(super) fn with_parent(mut self, commit: &str, parent: &str) -> Self {
        self.parents.insert(commit.to_owned(), parent.to_owned());
        self
    }

    /// The files of a commit.
    pub(super) fn tree(&self, commit: &str) -> Tree {
        let mut tree = Tree::default();
        for (path, (mode, text)) in &self.trees[commit] {
            let (mode, id) = ((*mode).to_owned(), blob_id(text.as_bytes(), ""));
            tree.entries.insert(path.clone(), TreeEntry { mode, id });
        }
        tree
    }

    /// Writes the commits into a repository and fetches all of them.
    pub(super) async fn serve(&self) -> Repository {
        let server = tempfile::tempdir().unwrap();
        git(server.path(), &["init", "-q"]);
        for key in ["allowFilter", "allowAnySHA1InWant"] {
            git(
                server.path(),
                &["config", &format!("uploadpack.{key}"), "true"],
            );
        }
        // A parent precedes its children.
        let mut names: Vec<&String> = self.trees.keys().collect();
        names.sort_by_key(|name| self.parents.contains_key(*name));
        let script = server.path().join("script");
        let mut file = File::create(&script).unwrap();
        for name in &names {
            file.write_all(&self.script(name)).unwrap();
        }
        let status = Command::new("git")
            .args(["fast-import", "--quiet"])
            .current_dir(server.path())
            .stdin(Stdio::from(File::open(&script).unwrap()))
            .status();
        assert!(status.unwrap().success());
        let mut ids = BTreeMap::new();
        for name in &names {
            let id = git(server.path(), &["rev-parse", &format!("refs/heads/{name}")]);
            let id = String::from_utf8(id).unwrap().trim_end().to_owned();
            ids.insert((*name).clone(), id);
        }
        let directory = tempfile::tempdir().unwrap();
        let place = ContentPlace {
            directory: directory.path().join("forge"),
            clone: None,
            remote: Remote {
                url: format!("file://{}", server.path().display()),
                login: None,
            },
            connections: Connections::default(),
            notes: NoteListener::default(),
            _temporary: Some(directory),
        };
        let once = Policy {
            attempts: 1,
            ..FORGES
        };
        let content = Content::new(place, once, SystemTime::now);
        let branches: Vec<_> = names.iter().map(|name| name.as_str()).collect();
        content.fetch(&branches).await.unwrap();
        Repository {
            content,
            ids,
            _server: server,
        }
    }

    /// The commands of git-fast-import for a commit.
    fn script(&self, name: &str) -> Vec<u8> {
        let mut text = format!(
            "commit refs/heads/{name}\ncommitter a <a@b> 1 +0000\ndata {}\n{name}\n",
            name.len()
        );
        if let Some(parent) = self.parents.get(name) {
            text.extend(["from refs/heads/", parent, "\ndeleteall\n"]);
        }
        for (path, (mode, content)) in &self.trees[name] {
            if *mode == "160000" {
                let id = blob_id(content.as_bytes(), "");
                text.extend(["M 160000 ", &id, " ", path, "\n"]);
            } else {
                let data = format!(
                    "M {mode} inline {path}\ndata {}\n{content}\n",
                    content.len()
                );
                text.push_str(&data);
            }
        }
        text.into_bytes()
    }
}
