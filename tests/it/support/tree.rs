//! A repository with any number of pinned files, for runs that are killed: restored after each run,
//! and compared by bytes and modes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    strace::canonical,
    world::{REV_A, REV_B, REV_C, World, world},
};

/// Which command changes the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From A to B.
    Promote,
    /// From B back to A.
    Rollback,
}

/// Content and mode of each pinned file, by its path below the root.
pub type Set = BTreeMap<String, (Vec<u8>, u32)>;

/// The state of the pinned files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    Old,
    New,
    /// Each file is old or new, and not all are the same.
    Mixed,
}

/// A world with the old and the new contents of its pinned files.
pub struct Tree {
    pub world: World,
    pub way: Way,
    pub old: Set,
    pub new: Set,
    /// Every path of the undisturbed repository.
    names: BTreeSet<PathBuf>,
}

const MODES: [u32; 4] = [0o644, 0o755, 0o600, 0o664];

/// Where file `at` is: the files are in several directories.
fn path(at: usize) -> String {
    match at % 4 {
        0 | 1 => format!(".github/workflows/{at:02}.yml"),
        other => format!("deploy/{other}/{at:02}.yml"),
    }
}

impl Tree {
    pub fn new(files: usize, way: Way) -> Self {
        let mut world = world();
        world.build(REV_C);
        for name in ["a", "b", "none"] {
            fs::remove_file(world.path(&format!(".github/workflows/{name}.yml"))).unwrap();
        }
        world.write(
            "repin.yaml",
            format!(
                "version: 1
name: test images
files: ['.github/workflows/*.yml', 'deploy/*/*.yml']
sources: {{ ghcr.io/acme: oci:images }}
images:
  review: {{ repository: ghcr.io/acme/review, pins: {files} }}
  fix: {{ repository: ghcr.io/acme/fix, pins: {files} }}
"
            ),
        );
        for at in 0..files {
            let [review, fix] =
                ["review", "fix"].map(|i| format!("ghcr.io/acme/{i}@{}", world.digest(i, REV_C)));
            // Of very different lengths.
            let between = "# nothing to see here\n".repeat(at * at * 3);
            world.write(
                &path(at),
                format!("a: {review}\r\n{between}b: {fix} # {at}"),
            );
            let mode = fs::Permissions::from_mode(MODES[at % MODES.len()]);
            fs::set_permissions(world.path(&path(at)), mode).unwrap();
        }
        let world = world.with_git();
        world.promoted(REV_A);
        if way == Way::Rollback {
            world.promoted(REV_B);
        }
        fs::remove_dir_all(world.path(".git/repin")).unwrap();
        let mut tree = Self {
            old: (0..files)
                .map(|at| (path(at), Default::default()))
                .collect(),
            new: Set::new(),
            names: BTreeSet::new(),
            world,
            way,
        };
        tree.old = tree.set();
        tree.names = tree.walk();
        let done = tree.command().output().unwrap();
        assert!(done.status.success(), "{done:?}");
        tree.new = tree.set();
        assert!(tree.old.iter().all(|(path, old)| tree.new[path] != *old));
        assert_eq!(tree.leftovers(), [] as [PathBuf; 0]);
        tree.reset();
        tree
    }

    /// The root without symlinks, as the system names it.
    pub fn root(&self) -> PathBuf {
        canonical(self.world.root())
    }

    /// The run that changes all files.
    pub fn command(&self) -> Command {
        self.world.command(match self.way {
            Way::Promote => &["promote", "--revision", REV_B, "--apply"],
            Way::Rollback => &["rollback", "--to", REV_A, "--apply"],
        })
    }

    /// The pinned files as they are now; a missing file is empty and has no mode.
    pub fn set(&self) -> Set {
        self.set_in(self.world.root())
    }

    /// The same in another directory.
    pub fn set_in(&self, root: &Path) -> Set {
        let read = |path: &String| {
            let file = root.join(path);
            let held = fs::read(&file).and_then(|bytes| {
                let mode = fs::symlink_metadata(&file)?.permissions().mode() & 0o7777;
                Ok((bytes, mode))
            });
            (path.clone(), held.unwrap_or_default())
        };
        self.old.keys().map(read).collect()
    }

    /// The set of these files; panics if a file has other content than the old and the new one.
    pub fn holds(&self, set: &Set, after: &str) -> Holds {
        if *set == self.old {
            return Holds::Old;
        }
        if *set == self.new {
            return Holds::New;
        }
        for (path, held) in set {
            assert!(
                *held == self.old[path] || *held == self.new[path],
                "{after}: {path} is not old and not new: mode {:o}, {} bytes: {:?}",
                held.1,
                held.0.len(),
                String::from_utf8_lossy(&held.0[..held.0.len().min(300)])
            );
        }
        Holds::Mixed
    }

    /// Restores the files and removes everything that repin created.
    pub fn reset(&self) {
        for (path, (bytes, mode)) in &self.old {
            let path = self.world.path(path);
            let _ = fs::remove_file(&path);
            fs::write(&path, bytes).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
        }
        let _ = fs::remove_dir_all(self.world.path(".git/repin"));
        for left in self.leftovers() {
            fs::remove_file(left).unwrap();
        }
    }

    /// Files that an undisturbed run would not leave. The lock file remains, unlocked.
    pub fn leftovers(&self) -> Vec<PathBuf> {
        self.walk()
            .difference(&self.names)
            .filter(|path| !is_lock(path))
            .cloned()
            .collect()
    }

    fn walk(&self) -> BTreeSet<PathBuf> {
        files_below(self.world.root(), &["images", "origin.git", "objects"])
    }
}

/// The lock, which stays: see `apply::state`.
pub fn is_lock(path: &Path) -> bool {
    path.ends_with("lock")
        && path
            .parent()
            .is_some_and(|of| of.parent().is_some_and(|of| of.ends_with(".git/repin")))
}

/// Everything below a directory but directories, without those of these names.
pub fn files_below(root: &Path, without: &[&str]) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if !fs::symlink_metadata(&path).unwrap().is_dir() {
                found.insert(path);
            } else if !without.iter().any(|name| path.ends_with(name)) {
                directories.push(path);
            }
        }
    }
    found
}
