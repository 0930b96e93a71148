//! `scripts/test` with missing tools: with scripts in place of cargo and the
//! package manager.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::{Command, Output},
};

/// A directory of programs that is the whole `PATH`.
struct Programs {
    dir: tempfile::TempDir,
}

impl Programs {
    /// The programs of a plain system, and a cargo with the script `cargo`.
    fn new(cargo: &str) -> Self {
        let programs = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        for name in ["bash", "dirname", "env", "mktemp", "rm", "sort", "true"] {
            let found = ["/usr/bin", "/bin"].map(|directory| Path::new(directory).join(name));
            let found = found.iter().find(|path| path.exists()).unwrap();
            symlink(found, programs.dir.path().join(name)).unwrap();
        }
        programs.with("cargo", cargo)
    }

    /// The same with one more program.
    fn with(self, name: &str, script: &str) -> Self {
        let path = self.dir.path().join(name);
        fs::write(
            &path,
            format!("#!{}/bash\n{script}\n", self.dir.path().display()),
        )
        .unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    /// The same with every program that tests run.
    fn complete(self) -> Self {
        let names = [
            "git",
            "curl",
            "mandoc",
            "ssh-keygen",
            "docker-registry",
            "skopeo",
            "umoci",
            "buildah",
            "strace",
            "patch",
            "podman",
            "runc",
            "busybox",
            // With python-gitlab.
            "python3",
        ];
        names
            .into_iter()
            .fold(self, |programs, name| programs.with(name, "exit 0"))
    }

    /// Runs scripts/test.
    fn run(&self, ci: &str) -> Output {
        // A copy, since the script appends the directories of the system to PATH: here it must find
        // nothing there.
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/test");
        let text = fs::read_to_string(script)
            .unwrap()
            .replace(":/usr/sbin:/sbin", "");
        let copy = self.dir.path().join("scripts/test");
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::write(&copy, text).unwrap();
        let mut command = Command::new(self.dir.path().join("bash"));
        command
            .arg(copy)
            .arg("a-filter")
            .env_clear()
            .env("PATH", self.dir.path())
            .env("CI", ci);
        command.output().unwrap()
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn missing_uninstallable_program_is_named() {
    let output = Programs::new("exit 0").with("git", "exit 0").run("");
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(
        text.contains("apt-get install --no-install-recommends docker-registry skopeo"),
        "{text}"
    );
    assert!(!text.contains(" git "), "{text}");
}

#[test]
fn package_manager_that_installs_nothing_fails() {
    // With the user of the tests: root directly, or through sudo.
    let sudo = "shift\nexec \"$@\"";
    let output = Programs::new("exit 0")
        .with("apt-get", "echo \"apt-get $*\"")
        .with("sudo", sudo)
        .run("");
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(
        text.contains("apt-get update") && text.contains("apt-get install -y"),
        "{text}"
    );
    assert!(
        text.contains("error: the tests run programs that are missing here"),
        "{text}"
    );
}

#[test]
fn skipped_test_fails_in_ci() {
    let cargo = "[[ $* == *a-filter ]] || exit 0
        [[ -v REPIN_TEST_SKIPS ]] || { echo no list; exit 100; }
        printf 'SKIP: b: why\\nSKIP: a: why\\n' >>\"$REPIN_TEST_SKIPS\"";
    let programs = Programs::new(cargo).complete();
    let here = programs.run("");
    assert!(here.status.success(), "{}", stderr(&here));
    assert!(
        stderr(&here).ends_with("could not run here:\nSKIP: a: why\nSKIP: b: why\n"),
        "{}",
        stderr(&here)
    );
    let ci = programs.run("true");
    assert_eq!(
        (ci.status.code(), ci.stdout.as_slice()),
        (Some(100), b"no list\n".as_slice())
    );
}

#[test]
fn a_failing_test_fails_the_script() {
    let programs = Programs::new("[[ $* != *a-filter ]]").complete();
    assert_eq!(programs.run("").status.code(), Some(1));
}

#[test]
fn ci_runs_the_same_tests_as_developers() {
    let ci = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/run")).unwrap();
    assert!(ci.contains("export CI=true"), "{ci}");
    assert!(ci.lines().any(|line| line == "scripts/test"), "{ci}");
}

/// Runs `scripts/test-forge` with a cargo that prints its arguments.
fn forge(programs: &Programs, args: &[&str]) -> Output {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/test-forge"))
        .args(args)
        .env_clear()
        .env("PATH", programs.dir.path())
        .output()
        .unwrap()
}

#[test]
fn real_forge_needs_address_and_token() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (good, two, none) = (
        file("good", "s3cret\n"),
        file("two", "s3cret more\n"),
        file("none", ""),
    );
    let url = "http://127.0.0.1:1/api/v1";
    let programs = Programs::new("exit 9");
    let basename = Path::new("/usr/bin/basename");
    symlink(basename, programs.dir.path().join("basename")).unwrap();
    for (args, why) in [
        (&[][..], "URL and TOKEN-FILE are required"),
        (&[url], "URL and TOKEN-FILE are required"),
        (&["http://127.0.0.1:1", &good], "ending in /api/v1"),
        (&["127.0.0.1/api/v1", &good], "ending in /api/v1"),
        (&[url, "/nowhere/at/all"], "cannot read the token file"),
        (&[url, &two], "one token and nothing else"),
        (&[url, &none], "one token and nothing else"),
        (&[url, &good], "curl is missing"),
    ] {
        let output = forge(&programs, args);
        let printed = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {printed}");
        assert!(printed.contains(why), "{args:?}: {printed}");
        assert!(printed.contains("usage: scripts/test-forge"), "{printed}");
        assert!(!printed.contains("s3cret"), "{printed}");
    }
    // An unavailable server, and an available one.
    let programs = programs.with("curl", "exit 7");
    let output = forge(&programs, &[url, &good]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let programs = Programs::new("echo \"$REPIN_TEST_FORGE $REPIN_TEST_FORGE_TOKEN_FILE $*\"")
        .with("curl", &answer("{\"version\":\"1.25.4\"}"));
    symlink(basename, programs.dir.path().join("basename")).unwrap();
    let output = forge(&programs, &[&format!("{url}/"), &good, "merge"]);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    assert!(
        printed.starts_with(&format!("{url} {good} nextest run")),
        "{printed}"
    );
    assert!(
        printed.contains("--run-ignored only") && printed.trim_end().ends_with("merge"),
        "{printed}"
    );
    // A GitLab, which has other tests.
    let output = forge(&programs, &["https://gitlab.example/api/v4", &good]);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(printed.contains("--profile gitlab"), "{output:?}");
}

/// A curl that reads its configuration to the end, as the real one does, and prints a response.
fn answer(text: &str) -> String {
    format!("while read -r _; do :; done; echo '{text}'")
}

/// `scripts/test-forge` with a cargo that writes its arguments and variables, and a curl that finds
/// a server; returns the output of the cargo.
fn forge_arguments(arguments: &[&str]) -> String {
    let print = "printf '%s\\n' \"$@\" \"docs=${UPDATE_DOCS-unset}\" \"insta=$INSTA_UPDATE\"";
    let programs = Programs::new(print).with("curl", &answer("{}"));
    for name in ["basename", "cat"] {
        let found = ["/usr/bin", "/bin"].map(|directory| Path::new(directory).join(name));
        let found = found.iter().find(|path| path.exists()).unwrap();
        symlink(found, programs.dir.path().join(name)).unwrap();
    }
    let token = programs.dir.path().join("token");
    fs::write(&token, "secret\n").unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/test-forge");
    let output = Command::new(programs.dir.path().join("bash"))
        .arg(script)
        .arg("http://127.0.0.1:3000/api/v1")
        .arg(&token)
        .args(arguments)
        .env_clear()
        .env("PATH", programs.dir.path())
        .env("UPDATE_DOCS", "1")
        .env("INSTA_UPDATE", "always")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn forge_script_runs_no_writing_test() {
    let written = forge_arguments(&["several_at_once"]);
    let lines: Vec<&str> = written.lines().collect();
    let profile = lines.iter().position(|line| *line == "--profile").unwrap();
    assert_eq!(lines[profile + 1], "forge", "{written}");
    assert!(lines.contains(&"several_at_once"), "{written}");
    assert!(lines.ends_with(&["docs=unset", "insta=no"]), "{written}");
    // The profile's default filter limits every other selection.
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join(".config/nextest.toml");
    let config = fs::read_to_string(config).unwrap();
    let (_, profile) = config.split_once("[profile.forge]").unwrap();
    let profile = profile.split("\n[").next().unwrap();
    let filter = "default-filter = 'binary(=it) & test(/^real_forge::/)'";
    assert!(profile.contains(filter), "{profile}");
    // This binary has such tests, and others that are ignored.
    let list = Command::new(std::env::current_exe().unwrap())
        .args(["--list", "--ignored"])
        .output()
        .unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    let (real, others): (Vec<&str>, Vec<&str>) = list
        .lines()
        .filter(|line| line.ends_with(": test"))
        .partition(|line| line.starts_with("real_forge::"));
    assert!(real.len() >= 7 && !others.is_empty(), "{list}");
}

/// `.ci/run` compiles the fuzz targets only after all tests.
#[test]
fn fuzz_targets_lock_every_dependency() {
    let manifest = include_str!("../../Cargo.toml");
    let (_, dependencies) = manifest.split_once("[dependencies]").unwrap();
    let (dependencies, _) = dependencies.split_once("[build-dependencies]").unwrap();
    let lock = include_str!("../../fuzz/Cargo.lock");
    let (_, locked) = lock.split_once("name = \"repin\"").unwrap();
    let (locked, _) = locked.split_once("[[package]]").unwrap();
    for line in dependencies.lines() {
        if let Some((name, _)) = line.split_once(" = ") {
            assert!(locked.contains(&format!("\n \"{name}")), "{name}");
        }
    }
}
