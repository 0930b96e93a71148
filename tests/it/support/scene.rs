//! A repository with images to prune: an image `app` and one without pins, a base branch on a
//! remote, and runs.

use std::{
    ops::Deref,
    path::Path,
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use serde_json::Value;

use super::{
    Digest, date,
    world::{World, git},
};

/// A world with one pinned image; its commits are pushed at once.
pub(crate) struct Scene(World);

impl Deref for Scene {
    type Target = World;

    fn deref(&self) -> &World {
        &self.0
    }
}

/// The date `days` days before the start of the test.
pub(crate) fn days_ago(days: u64) -> String {
    hours_ago(24 * days)
}

/// The date `hours` hours before the start of the test.
pub(crate) fn hours_ago(hours: u64) -> String {
    static NOW: LazyLock<SystemTime> = LazyLock::new(SystemTime::now);
    date(*NOW - Duration::from_secs(hours * 3_600))
}

impl Scene {
    /// A repository with this configuration, with `app` pinned to `pinned`, committed and pushed.
    pub(crate) fn new(config: &str, app: &str, pinned: Digest) -> Self {
        let world = World::empty()
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null");
        let scene = Self(world);
        scene.write("repin.yaml", config);
        scene.write(".gitignore", "/origin.git\n");
        scene.pin(app, pinned);
        scene.create_repository();
        scene.commit("first");
        scene
    }

    pub(crate) fn env(self, name: &str, value: &str) -> Self {
        Self(self.0.env(name, value))
    }

    pub(crate) fn path(&self) -> &Path {
        self.root()
    }

    pub(crate) fn pin(&self, app: &str, digest: Digest) {
        self.write(
            ".github/workflows/a.yml",
            format!("image: {app}@{digest}\n"),
        );
    }

    /// Commits everything and pushes the branch that is checked out.
    pub(crate) fn commit(&self, message: &str) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.git(&["push", "-q", "--force", "origin", "HEAD"]);
        self.head()
    }

    /// A branch that the remote has and this clone does not: another clone creates its commit.
    pub(crate) fn elsewhere(&self, branch: &str, files: &[(&str, &str)]) {
        let other = tempfile::tempdir().unwrap();
        let run = |args: &[&str]| git(other.path(), args);
        let origin = self.path().join("origin.git");
        run(&["clone", "-q", origin.to_str().unwrap(), "."]);
        run(&["checkout", "-q", "-B", branch]);
        for (path, text) in files {
            std::fs::write(other.path().join(path), text).unwrap();
        }
        run(&["add", "-A"]);
        run(&["commit", "-q", "--allow-empty", "-m", "elsewhere"]);
        run(&["push", "-q", "--force", "origin", branch]);
    }

    /// Prunes with these options, checks the exit code, and returns the document.
    pub(crate) fn prune(&self, args: &[&str], exit: i32) -> Value {
        self.run(&[&["prune", "--format", "json"], args].concat())
            .exits(exit)
            .json()
    }
}

/// The tags of rows of a document, sorted, with a comma between those of one version.
pub(crate) fn tags(rows: &Value) -> Vec<String> {
    let text = |row: &Value| {
        let tags = row["tags"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tag| tag.as_str().unwrap());
        tags.collect::<Vec<_>>().join(",")
    };
    let mut tags: Vec<_> = rows.as_array().unwrap().iter().map(text).collect();
    tags.sort();
    tags
}

/// The reason that the version with this tag is protected.
pub(crate) fn protection<'d>(image: &'d Value, tag: &str) -> &'d str {
    let rows = image["protected"].as_array().unwrap();
    let row = rows.iter().find(|row| {
        row["tags"]
            .as_array()
            .unwrap()
            .iter()
            .any(|other| other == tag)
    });
    row.unwrap_or_else(|| panic!("{tag} is not protected: {image}"))["reason"]
        .as_str()
        .unwrap()
}
