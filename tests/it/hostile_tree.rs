//! A pull request can add the files of a git repository to any directory. git accepts such a
//! directory as a bare repository and runs the commands in its `config`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::support::world::{REV_A, REV_B, Ran, World, git, world};

/// Settings that make git run a command, each with the path of the script for `{}`.
const SETTINGS: [&str; 12] = [
    "[core]\n\tworktree = .\n[protocol \"ext\"]\n\tallow = always\n[remote \"origin\"]\n\turl = \"ext::sh {}\"\n",
    "[core]\n\tsshCommand = {}\n[remote \"origin\"]\n\turl = ssh://127.0.0.1/x\n",
    "[core]\n\tworktree = .\n\tfsmonitor = {}\n",
    "[core]\n\tworktree = .\n\thooksPath = hooks\n",
    "[core]\n\tpager = {}\n[pager]\n\tlog = {}\n\tls-files = {}\n",
    "[core]\n\tworktree = .\n[diff]\n\texternal = {}\n[diff \"x\"]\n\tcommand = {}\n\ttextconv = {}\n",
    "[core]\n\tworktree = .\n[filter \"x\"]\n\tclean = {}\n\tsmudge = {}\n\tprocess = {}\n\trequired\n",
    "[include]\n\tpath = included\n",
    "[credential]\n\thelper = !{}\n[remote \"origin\"]\n\turl = http://127.0.0.1:1/x.git\n",
    "[protocol \"ext\"]\n\tallow = always\n[url \"ext::sh {} \"]\n\tinsteadOf = https://\n[remote \"origin\"]\n\turl = https://127.0.0.1/x\n",
    "[remote \"origin\"]\n\turl = /nowhere.git\n\tuploadpack = {}\n\treceivepack = {}\n",
    "[gpg]\n\tprogram = {}\n[log]\n\tshowSignature = true\n[alias]\n\tlog = !{}\n\trev-parse = !{}\n",
];

const IGNORED: &str = "images\n/origin.git\n/script\n/marker\n/clone\n/bin\n/log\n";

/// A set in `envs/prod` that was promoted to A and B.
fn environment() -> World {
    let world = world().with_git();
    let config = world.read("repin.yaml").replace(".github/workflows/", "")
        + "forge: { sync_targets: [other] }\n";
    world.write("envs/prod/repin.yaml", config);
    world.write(".gitignore", IGNORED);
    link_images(&world, &world.path("envs/prod"));
    pin(&world, REV_A);
    world.commit(&format!("promote: test images @{REV_A}"));
    pin(&world, REV_B);
    world.commit(&format!("promote: test images @{REV_B}"));
    world.push();
    world
}

fn pin(world: &World, revision: &'static str) {
    world.pin(revision);
    for name in ["a.yml", "b.yml"] {
        let text = world.read(&format!(".github/workflows/{name}"));
        world.write(&format!("envs/prod/{name}"), text);
    }
}

/// The files of a bare repository with this `config`, in a directory of a clone.
fn plant_repository(world: &World, directory: &Path, config: &str) {
    let script = world.path("script");
    let marker = world.path("marker");
    let text = format!("#!/bin/sh\ntouch '{}'\nexit 1\n", marker.display());
    let config = config.replace("{}", script.to_str().unwrap());
    for path in ["objects", "refs/heads", "hooks"] {
        fs::create_dir_all(directory.join(path)).unwrap();
    }
    for path in [script, directory.join("hooks/post-index-change")] {
        fs::write(&path, &text).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(path, mode).unwrap();
    }
    for (name, text) in [
        ("HEAD", "ref: refs/heads/main\n"),
        ("objects/keep", ""),
        ("refs/heads/keep", ""),
        (".gitattributes", "* filter=x diff=x\n"),
        ("included", &config.replace("path = included", "")),
        ("config", &config),
    ] {
        fs::write(directory.join(name), text).unwrap();
    }
}

/// A plain clone of a repository to which a commit added the files, with the images next to it.
fn clone_with_repository(world: &World, directory: &str) -> PathBuf {
    plant_repository(world, &world.path(directory), SETTINGS[0]);
    world.commit("chore: harmless");
    world.push();
    clone(world)
}

fn clone(world: &World) -> PathBuf {
    let clone = world.path("clone");
    let url = format!("file://{}", world.path("origin.git").display());
    git(world.root(), &["clone", "-q", &url, "clone"]);
    link_images(world, &clone.join("envs/prod"));
    clone
}

fn link_images(world: &World, directory: &Path) {
    std::os::unix::fs::symlink(world.path("images"), directory.join("images")).unwrap();
}

const PROD: &str = "envs/prod/repin.yaml";
const COMMANDS: [&[&str]; 8] = [
    &["check", "--remote", "--config", PROD],
    &["status", "--config", PROD],
    &["history", "--config", PROD],
    &["rollback", "--config", PROD],
    &["rollback", "--to", REV_A, "--config", PROD],
    &["doctor", "--config", PROD],
    &["promote", "--revision", REV_A, "--config", PROD],
    &["prune", "--config", PROD],
];

fn message(ran: &Ran) -> String {
    format!("{}{}", ran.stdout, ran.stderr)
}

#[test]
fn root_that_is_a_bare_repository_is_refused() {
    let world = environment();
    let clone = clone_with_repository(&world, "envs/prod");
    let root = clone.join("envs/prod");
    for settings in SETTINGS {
        plant_repository(&world, &root, settings);
        let local: &[&str] = &["check", "--config", PROD];
        for command in COMMANDS.iter().chain([&local]) {
            let ran = world.run_in(&clone, command, &[]);
            let message = message(&ran);
            assert!(!world.path("marker").exists(), "{command:?} ran {settings}");
            assert_eq!(ran.code, 2, "{command:?}: {message}");
            let problem = "is itself a bare git repository";
            assert!(message.contains(problem), "{command:?}: {message}");
        }
        // Without `--config`, from the directory itself.
        let ran = world.run_in(&root, &["status"], &[]);
        assert!(
            ran.code == 2 && !world.path("marker").exists(),
            "{}",
            message(&ran)
        );
    }
}

#[test]
fn planted_repository_runs_commands_of_a_searching_git() {
    let world = environment();
    let clone = clone_with_repository(&world, "envs/prod");
    let output = std::process::Command::new("git")
        .current_dir(clone.join("envs/prod"))
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .args(["-c", "safe.bareRepository=all", "ls-remote", "origin"])
        .output()
        .unwrap();
    assert!(world.path("marker").exists(), "{output:?}");
}

#[test]
fn planted_repository_above_the_root_is_not_used() {
    let world = environment();
    let clone = clone_with_repository(&world, "envs");
    for settings in SETTINGS {
        plant_repository(&world, &clone.join("envs"), settings);
        for command in [COMMANDS[0], COMMANDS[1], COMMANDS[6]] {
            let ran = world.run_in(&clone, command, &[]);
            assert!(!world.path("marker").exists(), "{command:?} ran {settings}");
            assert!(
                !message(&ran).contains("bare git repository"),
                "{command:?}"
            );
        }
    }
    let history = world
        .run_in(&clone, &["history", "--config", PROD], &[])
        .exits(0);
    assert!(history.stdout.contains(&REV_B[..12]), "{}", history.stdout);
}

#[test]
fn directory_with_commondir_is_refused() {
    let world = environment();
    let clone = clone_with_repository(&world, "envs/prod");
    let root = clone.join("envs/prod");
    fs::create_dir(root.join("common")).unwrap();
    for name in ["objects", "refs", "config"] {
        fs::rename(root.join(name), root.join("common").join(name)).unwrap();
    }
    fs::write(root.join("commondir"), "common\n").unwrap();
    for command in COMMANDS {
        let ran = world.run_in(&clone, command, &[]);
        assert!(!world.path("marker").exists(), "{command:?}");
        assert_eq!(ran.code, 2, "{command:?}: {}", message(&ran));
    }
}

#[test]
fn directory_with_files_of_those_names_works() {
    let world = environment();
    for name in ["HEAD", "objects/x", "config"] {
        world.write(&format!("envs/prod/{name}"), "x\n");
    }
    world.commit("chore: names");
    world.push();
    let clone = clone(&world);
    let history = world
        .run_in(&clone, &["history", "--config", PROD], &[])
        .exits(0);
    assert!(history.stdout.contains(&REV_B[..12]), "{}", history.stdout);
}

/// A directory for `PATH` with a `git` that runs this script before the real one.
fn wrapped_git(world: &World, script: &str) -> String {
    let path = std::env::var("PATH").unwrap();
    let real = std::env::split_paths(&path)
        .map(|directory| directory.join("git"))
        .find(|git| git.is_file())
        .unwrap();
    let text = format!("#!/bin/sh\n{script}\nexec {} \"$@\"\n", real.display());
    world.write("bin/git", text);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(world.path("bin/git"), mode).unwrap();
    format!("{}:{path}", world.path("bin").display())
}

const TOKENS: [(&str, &str); 4] = [
    ("GITHUB_TOKEN", "t0ken"),
    ("REPIN_FORGE_TOKEN_FILE", "t0ken"),
    ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "t0ken"),
    ("DOCKER_AUTH_CONFIG", "t0ken"),
];

#[test]
fn every_git_process_receives_the_repository() {
    let world = environment();
    let log = world.path("log");
    let path = wrapped_git(&world, &format!("echo \"$*\" >>'{}'", log.display()));
    for command in &COMMANDS[..5] {
        world.run_with(command, &[("PATH", &path)]);
    }
    let top = fs::canonicalize(world.root()).unwrap();
    let repository = format!("--git-dir={0}/.git --work-tree={0} ", top.display());
    let calls = fs::read_to_string(log).unwrap();
    for call in calls.lines().filter(|call| !call.ends_with(" version")) {
        assert!(call.contains(&repository), "{call}");
        assert!(
            call.contains("-c safe.bareRepository=explicit -c protocol.ext.allow=never"),
            "{call}"
        );
    }
    assert!(
        calls.contains("ls-files") && calls.contains("for-each-ref"),
        "{calls}"
    );
}

#[test]
fn git_without_network_receives_no_token() {
    let world = environment();
    // The remote is asked for its default branch.
    world.git(&["remote", "set-head", "origin", "--delete"]);
    let log = world.path("log");
    let script = format!(
        "env | grep t0ken | sed \"s/^/$*: /\" | tr '\\n' ' ' >>'{0}'; echo \"$*\" >>'{0}'",
        log.display()
    );
    let path = wrapped_git(&world, &script.replace("sed \"s/^/$*: /\" | ", ""));
    let env = [&TOKENS[..], &[("PATH", path.as_str())]].concat();
    for command in &COMMANDS[1..5] {
        world.run_with(command, &env);
    }
    let change = [
        "promote",
        "--revision",
        REV_A,
        "--config",
        PROD,
        "--apply",
        "--commit",
    ];
    let author = [
        ("GIT_AUTHOR_NAME", "A"),
        ("GIT_AUTHOR_EMAIL", "a@example.com"),
        ("GIT_COMMITTER_NAME", "A"),
        ("GIT_COMMITTER_EMAIL", "a@example.com"),
    ];
    let overruled = ["--allow-older", "--force-after-rollback"];
    world
        .run_with(
            &[&change[..], &overruled].concat(),
            &[&env[..], &author].concat(),
        )
        .exits(0);
    let calls = fs::read_to_string(&log).unwrap();
    assert!(calls.contains(" commit --only"), "{calls}");
    // A connection keeps them: a credential helper may need one.
    let connects = |call: &&str| call.contains(" ls-remote --symref ");
    let (connections, others): (Vec<&str>, Vec<&str>) = calls.lines().partition(connects);
    assert!(
        connections
            .iter()
            .all(|call| call.contains("GITHUB_TOKEN=t0ken")),
        "{calls}"
    );
    assert!(!connections.is_empty() && others.len() > 20, "{calls}");
    assert!(others.iter().all(|call| !call.contains("t0ken")), "{calls}");
}

#[test]
fn git_before_2_31_is_refused() {
    let world = environment();
    for (printed, code) in [
        ("git version 2.30.9", 2),
        ("git version 1.8.3.1", 2),
        ("git version 2.31.0", 0),
        ("git version 2.39.5 (Apple Git-154)", 0),
        ("git version 3.0.0.rc1", 0),
    ] {
        let script = format!("case \"$*\" in *' version') echo '{printed}'; exit;; esac");
        let path = wrapped_git(&world, &script);
        let ran = world.run_with(&["history", "--config", PROD], &[("PATH", &path)]);
        assert_eq!(ran.code, code, "{printed}: {}", message(&ran));
        if code == 2 {
            let help = format!("{printed} is too old: repin requires git 2.31 or newer");
            assert!(message(&ran).contains(&help), "{}", message(&ran));
        }
        let doctor = world.run_with(&["doctor", "--config", PROD], &[("PATH", &path)]);
        assert!(doctor.stdout.contains(printed), "{}", message(&doctor));
    }
}

#[test]
fn git_connects_over_plain_http_to_loopback_only() {
    let world = environment();
    for (url, refused) in [
        ("http://git.invalid/x.git", true),
        ("http://127.0.0.1.git.invalid/x.git", true),
        ("http://u:secret@git.invalid/x.git", true),
        ("http://127.0.0.1:1/x.git", false),
        ("http://localhost:1/x.git", false),
    ] {
        world.git(&["config", "remote.origin.url", url]);
        let ran = world.run(&[
            "branch", "sync", "--from", "main", "--to", "other", "--config", PROD,
        ]);
        let message = message(&ran);
        assert_eq!(
            message.contains("plain HTTP is used for loopback addresses only"),
            refused,
            "{url}: {message}"
        );
        assert!(
            ran.code == 3 && !message.contains("secret"),
            "{url}: {message}"
        );
    }
}

#[test]
fn git_uses_no_remote_helper() {
    let world = environment();
    let script = world.path("script");
    world.write(
        "script",
        format!("#!/bin/sh\ntouch '{}'\n", world.path("marker").display()),
    );
    world.git(&["config", "protocol.allow", "always"]);
    world.git(&["config", "protocol.ext.allow", "always"]);
    for url in [
        format!("ext::sh {}", script.display()),
        "git://127.0.0.1:1/x".to_owned(),
    ] {
        world.git(&["config", "remote.origin.url", &url]);
        let ran = world.run(&[
            "branch", "sync", "--from", "main", "--to", "other", "--config", PROD,
        ]);
        assert!(
            ran.code == 3 && !world.path("marker").exists(),
            "{}",
            message(&ran)
        );
        assert!(message(&ran).contains("not allowed"), "{}", message(&ran));
    }
}

/// A directory for `PATH` with a program that writes its environment to a file.
fn recording_program(world: &World, name: &str, script: &str) -> (String, PathBuf) {
    let log = world.path("log");
    world.write(
        &format!("bin/{name}"),
        format!("#!/bin/sh\nenv >>'{}'\n{script}\n", log.display()),
    );
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(world.path(&format!("bin/{name}")), mode).unwrap();
    let path = std::env::var("PATH").unwrap();
    (format!("{}:{path}", world.path("bin").display()), log)
}

#[test]
fn container_engine_receives_no_token() {
    let world = environment();
    let config = world.read(PROD)
        + "smoke: { command: ['--version'], env: [MY_SECRET] }\n\
           prune: { older_than: 30d, also_pinned_in: [{ repository: ../other, token_env: OTHER_TOKEN }] }\n";
    world.write(PROD, config);
    let (path, log) = recording_program(&world, "podman", "echo '{}'");
    let more = [
        ("PATH", path.as_str()),
        ("OTHER_TOKEN", "t0ken"),
        ("MY_SECRET", "listed in smoke.env"),
        ("DOCKER_HOST", "kept"),
    ];
    let ran = world.run_with(
        &["doctor", "--config", PROD],
        &[&TOKENS[..], &more].concat(),
    );
    let environment = fs::read_to_string(log).unwrap_or_else(|_| panic!("{}", message(&ran)));
    assert!(!environment.contains("t0ken"), "{environment}");
    for kept in ["MY_SECRET=listed in smoke.env", "DOCKER_HOST=kept"] {
        assert!(environment.contains(kept), "{environment}");
    }
}

#[test]
fn credential_helper_receives_no_token() {
    let world = environment();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let _ = std::io::Read::read(&mut stream, &mut request);
            let answer = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            let _ = std::io::Write::write_all(&mut stream, answer.as_bytes());
        }
    });
    let config = world
        .read(PROD)
        .replace("oci:images", &format!("http://{host}"));
    world.write(PROD, config);
    world.write("docker/config.json", r#"{"credsStore": "test"}"#);
    let script = r#"echo '{"ServerURL":"x","Username":"u","Secret":"p"}'"#;
    let (path, log) = recording_program(&world, "docker-credential-test", script);
    let docker = world.path("docker");
    let more = [
        ("PATH", path.as_str()),
        ("DOCKER_CONFIG", docker.to_str().unwrap()),
        ("AWS_PROFILE", "kept"),
    ];
    let env: Vec<_> = [&TOKENS[..3], &more].concat();
    let ran = world.run_with(&["resolve", "--revision", REV_B, "--config", PROD], &env);
    let environment = fs::read_to_string(log).unwrap_or_else(|_| panic!("{}", message(&ran)));
    assert!(!environment.contains("t0ken"), "{environment}");
    assert!(environment.contains("AWS_PROFILE=kept"), "{environment}");
}
