//! A scratch repository with images, workflows and a configuration, and runs of the built program
//! in it.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::LazyLock,
};

use serde_json::Value;

use super::{
    layout::{Layout, Platform},
    repo::loose_head,
};

/// The subject of the first commit.
const FIRST: &str = "first";
pub const REV_A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
pub const REV_B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
pub const REV_C: &str = "cccccccccccccccccccccccccccccccccccccccc";

pub const CONFIG: &str = "version: 1
name: test images
files: ['.github/workflows/*.yml']
sources: { ghcr.io/acme: oci:images }
images:
  review: { repository: ghcr.io/acme/review, pins: 3 }
  fix: { repository: ghcr.io/acme/fix, pins: 2 }
  base: { repository: ghcr.io/acme/base, pins: 0 }
report: { labels: [dev.acme.version] }
";

/// A scratch directory, in which tests write files and run the program.
pub struct World {
    dir: tempfile::TempDir,
    variables: Vec<(String, String)>,
    pub digests: BTreeMap<(String, &'static str), String>,
}

/// The output and the exit code of a run.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// A world with three images (`review` for two platforms, three pins; `fix`, two pins; `base`, none), built at A and B,
/// pinned at A.
pub fn world() -> World {
    let mut world = World::empty();
    world.write("repin.yaml", CONFIG);
    for revision in [REV_A, REV_B] {
        world.build(revision);
    }
    world.pin(REV_A);
    world
}

/// The platform, and linux/arm64 with the same content.
pub fn both(platform: Platform) -> [Platform; 2] {
    let other = Platform {
        name: "linux/arm64",
        ..platform.clone()
    };
    [platform, other]
}

/// The platforms of an image of `world`, all like this one.
pub fn whole(image: &str, platform: Platform) -> Vec<Platform> {
    if image == "review" {
        both(platform).into()
    } else {
        vec![platform]
    }
}

/// The program in a directory, with only PATH and the directory of temporary files from the caller's environment.
pub fn repin(directory: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_repin"));
    command.args(args);
    isolate(&mut command, directory);
    command
}

fn isolate(command: &mut Command, directory: &Path) {
    command
        .current_dir(directory)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("TMPDIR", std::env::temp_dir())
        .env("TZ", "UTC")
        .env("HOME", directory.join("no-home"));
}

impl World {
    pub fn empty() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            variables: Vec::new(),
            digests: BTreeMap::new(),
        }
    }

    /// Adds a variable to the environment of every run.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), text).unwrap();
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    /// Replaces text in a file, which must contain it.
    pub fn replace(&self, path: &str, from: &str, to: &str) {
        let text = self.read(path);
        assert!(text.contains(from), "{path} holds no {from}: {text}");
        self.write(path, text.replace(from, to));
    }

    pub fn layout(&self, image: &str) -> Layout {
        Layout::at(&self.path("images").join(image))
    }

    /// Builds the whole set at a revision, without defects.
    pub fn build(&mut self, revision: &'static str) {
        for image in ["review", "fix", "base"] {
            let names: &[&'static str] = if image == "review" {
                &["linux/amd64", "linux/arm64"]
            } else {
                &["linux/amd64"]
            };
            let version = format!("1.{}", &revision[..1]);
            let platform = |name: &&'static str| {
                Platform::new(name, revision).label("dev.acme.version", &version)
            };
            let platforms: Vec<_> = names.iter().map(platform).collect();
            self.rebuild(image, revision, &platforms);
        }
    }

    /// Rebuilds one image, with these platforms.
    pub fn rebuild(&mut self, image: &str, revision: &'static str, platforms: &[Platform]) {
        let layout = self.layout(image);
        layout.untag(revision);
        let digest = layout.image(revision, platforms);
        self.digests.insert((image.to_owned(), revision), digest);
    }

    /// Rebuilds one image for the platform, and `review` also for linux/arm64, as `build` does.
    pub fn rebuild_whole(&mut self, image: &str, revision: &'static str, platform: Platform) {
        self.rebuild(image, revision, &whole(image, platform));
    }

    pub fn digest(&self, image: &str, revision: &'static str) -> &str {
        &self.digests[&(image.to_owned(), revision)]
    }

    /// Writes the workflow files with every pin at a revision.
    pub fn pin(&self, revision: &'static str) {
        let (review, fix) = (
            self.digest("review", revision),
            self.digest("fix", revision),
        );
        self.write(
            ".github/workflows/a.yml",
            format!("# ghcr.io/acme/review@sha256:<digest>\na: ghcr.io/acme/review@{review}\r\nb: 'ghcr.io/acme/review:{revision}@{review}'\n"),
        );
        self.write(
            ".github/workflows/b.yml",
            format!("x: [docker://ghcr.io/acme/fix@{fix},ghcr.io/acme/review@{review}]\ny: ghcr.io/acme/fix-extra@{fix}\n# ghcr.io/acme/fix@{fix}"),
        );
        self.write(".github/workflows/none.yml", "on: push\n");
    }

    /// Makes the root a repository with a bare remote next to it, and commits and pushes the files.
    pub fn with_git(self) -> Self {
        self.write(".gitignore", "/images\n/origin.git\n");
        self.create_repository();
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", FIRST]);
        self.push();
        self
    }

    /// Makes the root a repository with a bare remote next to it, whose default branch it knows as after `git clone`.
    pub fn create_repository(&self) {
        self.git(&["init", "-q", "-b", "main"]);
        self.git(&["init", "-q", "--bare", "-b", "main", "origin.git"]);
        self.git(&["remote", "add", "origin", "./origin.git"]);
        let head = ".git/refs/remotes/origin/HEAD";
        self.write(head, "ref: refs/remotes/origin/main\n");
    }

    /// Tracks a file below `directory` whose name is too long for a file system, so that it cannot be
    /// read; returns its path.
    pub fn track_unreadable(&self, directory: &str) -> String {
        let path = format!("{directory}{}", "x".repeat(300));
        let blob = self.git(&["hash-object", "-w", ".gitignore"]);
        let entry = format!("100644,{blob},{path}");
        self.git(&["update-index", "--add", "--cacheinfo", &entry]);
        path
    }

    /// Runs git in the root without the caller's configuration; returns its output.
    pub fn git(&self, args: &[&str]) -> String {
        git(self.root(), args)
    }

    /// Gives the first commit, which adds the configuration and the pins, the title of a promotion.
    pub fn adopt(&self, revision: &str) {
        let title = format!("promote: test images @{revision}");
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--amend", "-m", &title]);
    }

    /// Commits everything; returns the commit. A title of a promotion is no evidence without a change,
    /// so the first commit takes that of the set that it pins.
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "-A"]);
        let is_first =
            || self.git(&["log", "-1", "--format=%s", "--ignore-missing", "HEAD"]) == FIRST;
        if message.starts_with("promote: ")
            && is_first()
            && self.git(&["status", "--short"]).is_empty()
        {
            self.git(&["commit", "-q", "--amend", "-m", message]);
        } else {
            self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        }
        self.head()
    }

    /// The commit of the checked-out branch.
    pub fn head(&self) -> String {
        loose_head(self.root()).unwrap_or_else(|| self.git(&["rev-parse", "HEAD"]))
    }

    /// Pushes main, so that `origin/main` exists.
    pub fn push(&self) {
        self.git(&["push", "-q", "--force", "origin", "main"]);
    }

    /// Rolls the set back to a revision, and pushes the commit.
    pub fn roll_back(&self, revision: &str) {
        self.run(&["rollback", "--to", revision, "--apply"])
            .exits(0);
        self.commit(&format!(
            "rollback: test images @{revision}\n\nRepin-Set: {revision}"
        ));
        self.push();
    }

    /// Promotes to a revision with the program, commits with its title, and pushes.
    pub fn promoted(&self, revision: &'static str) -> String {
        self.run(&["promote", "--revision", revision, "--apply"])
            .exits(0);
        let commit = self.commit(&format!("promote: test images @{revision}"));
        self.push();
        commit
    }

    /// Runs the program in the root.
    pub fn run(&self, args: &[&str]) -> Ran {
        self.run_in(self.root(), args, &[])
    }

    pub fn run_with(&self, args: &[&str], env: &[(&str, &str)]) -> Ran {
        self.run_in(self.root(), args, env)
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = repin(self.root(), args);
        command.envs(self.variables.iter().cloned());
        command
    }

    /// Another program in the environment of the runs.
    pub fn other_command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        isolate(&mut command, self.root());
        command.envs(self.variables.iter().cloned());
        command
    }

    pub fn run_in(&self, directory: &Path, args: &[&str], env: &[(&str, &str)]) -> Ran {
        let mut command = self.command(args);
        Ran::of(command.current_dir(directory).envs(env.iter().copied()))
    }

    /// Every file under the root but images: content, inode, mode and time of change.
    pub fn snapshot(&self) -> BTreeMap<PathBuf, (String, u64, u32, i64)> {
        let mut files = BTreeMap::new();
        let mut directories = vec![self.root().to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                let metadata = fs::symlink_metadata(&path).unwrap();
                if metadata.is_dir() {
                    if !path.ends_with("images") {
                        directories.push(path);
                    }
                } else {
                    let content = if metadata.is_file() {
                        fs::read(&path).unwrap()
                    } else {
                        Vec::new()
                    };
                    files.insert(
                        path,
                        (
                            String::from_utf8_lossy(&content).into_owned(),
                            metadata.ino(),
                            metadata.mode(),
                            metadata.mtime_nsec(),
                        ),
                    );
                }
            }
        }
        files
    }

    /// Runs a promotion to B with JSON output, and checks that it is refused with these codes and
    /// this exit and changes nothing.
    pub fn refuses(&self, args: &[&str], exit: i32, codes: &[&str]) -> Value {
        self.refuses_to(
            &[&["promote", "--revision", REV_B], args].concat(),
            exit,
            codes,
        )
    }

    /// Runs a change with JSON output, and checks that it is refused with these codes and this exit
    /// and changes nothing.
    pub fn refuses_to(&self, args: &[&str], exit: i32, codes: &[&str]) -> Value {
        let before = self.snapshot();
        let ran = self.run(&[args, &["--apply", "--format", "json"]].concat());
        assert_eq!(ran.code, exit, "{}{}", ran.stdout, ran.stderr);
        let mut after = self.snapshot();
        // The lock stays where it was taken.
        let ours = |path: &PathBuf| {
            path.starts_with(self.path(".repin")) || path.starts_with(self.path(".git"))
        };
        after.retain(|path, _| !ours(path));
        let mut before = before;
        before.retain(|path, _| !ours(path));
        assert_eq!(before, after, "something was changed");
        let document = ran.json();
        assert_eq!(document["approved"], false, "{document}");
        assert_eq!(failed(&document), codes, "{document}");
        document
    }
}

/// Git by its path: a program that is searched in another environment is started with a copy of
/// this process, which takes long where that is large.
static GIT: LazyLock<PathBuf> = LazyLock::new(|| {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut all = std::env::split_paths(&path).map(|directory| directory.join("git"));
    all.find(|git| git.is_file())
        .unwrap_or_else(|| "git".into())
});

/// The configuration of git that tests use instead of the user's.
pub const GIT_SETTINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/gitconfig");

/// Runs git in a directory without the caller's configuration; returns its output.
pub fn git(directory: &Path, args: &[&str]) -> String {
    git_at(directory, args, "2026-01-02T03:04:05Z")
}

/// Like [`git`], with the date of commits.
pub fn git_at(directory: &Path, args: &[&str], date: &str) -> String {
    let mut command = Command::new(&*GIT);
    command
        .current_dir(directory)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    for (name, value) in [
        ("GIT_CONFIG_GLOBAL", GIT_SETTINGS),
        ("GIT_CONFIG_SYSTEM", "/dev/null"),
        ("GIT_AUTHOR_NAME", "A"),
        ("GIT_AUTHOR_EMAIL", "a@example.com"),
        ("GIT_COMMITTER_NAME", "C"),
        ("GIT_COMMITTER_EMAIL", "c@example.com"),
        ("GIT_AUTHOR_DATE", date),
        ("GIT_COMMITTER_DATE", date),
    ] {
        command.env(name, value);
    }
    let output = command
        .args(["-c", "protocol.file.allow=always"])
        .args(args)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "git {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned()
}

/// The codes of the failed checks, each once, in order.
pub fn failed(document: &Value) -> Vec<String> {
    let mut codes = Vec::new();
    for check in document["checks"].as_array().unwrap() {
        let code = check["code"].as_str().unwrap().to_owned();
        if check["status"] == "fail" && !codes.contains(&code) {
            codes.push(code);
        }
    }
    codes
}

/// The details of the checks with this code and status.
pub fn details(document: &Value, code: &str, status: &str) -> Vec<String> {
    let checks = document["checks"].as_array().unwrap().iter();
    let these = checks.filter(|check| check["code"] == code && check["status"] == status);
    these
        .map(|check| check["detail"].as_str().unwrap().to_owned())
        .collect()
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ran {
    /// Runs a command to its end.
    pub fn of(command: &mut Command) -> Self {
        Self::from(command.output().unwrap())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}\n{}", self.stdout, self.stderr))
    }

    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.stdout, self.stderr);
        self
    }
}
