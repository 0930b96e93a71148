//! Ctrl-C and SIGTERM: the report of an interrupted run, and the progress during a wait. Every
//! signal is sent at an event that the test waits for, never after a time.

use std::{
    fs,
    io::{self, BufRead, BufReader, PipeReader, PipeWriter, Read, Write},
    os::unix::fs::PermissionsExt,
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc, Condvar, Mutex,
        mpsc::{self, Receiver},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    process::{Pid, Signal, kill_process},
};
use serde_json::Value;

use crate::support::{
    fake::{Fake, Reaction},
    forge::{Fault, Kind, TOKEN},
    hosted::hosted,
    repo::{Repo, revision},
    strace, terminal,
    world::{REV_B, World, world},
};

const APPLY: [&str; 4] = ["promote", "--revision", REV_B, "--apply"];

/// A registry that reports each request and holds its response until the gate is open.
struct Holding {
    server: Fake,
    arrived: Receiver<String>,
    gate: Arc<(Mutex<bool>, Condvar)>,
}

fn holding() -> Holding {
    let (sender, arrived) = mpsc::channel();
    let sender = Mutex::new(sender);
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let shut = Arc::clone(&gate);
    let server = Fake::start(move |request| {
        let _ = sender.lock().unwrap().send(request.target.clone());
        let (open, opened) = &*shut;
        drop(
            opened
                .wait_while(open.lock().unwrap(), |open| !*open)
                .unwrap(),
        );
        Reaction::new(404, "")
    });
    Holding {
        server,
        arrived,
        gate,
    }
}

impl Holding {
    fn open(&self) {
        *self.gate.0.lock().unwrap() = true;
        self.gate.1.notify_all();
    }

    /// The command with `args`, with images at this registry.
    fn command(&self, world: &World, args: &[&str]) -> Command {
        let source = format!("ghcr.io/acme=http://{}/acme", self.server.host());
        world.command(&[args, &["--source", &source]].concat())
    }
}

fn piped(mut command: Command) -> Child {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The only error of the document of an interrupted run.
fn document(output: &Output) -> Value {
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["schema"], "repin.error/1");
    assert_eq!(document["errors"][0]["code"], "interrupted");
    document
}

/// Runs `args` with a registry that delays its response, and sends `signal` after the request.
fn interrupted(world: &World, args: &[&str], signal: Signal) -> Output {
    let registry = holding();
    let child = piped(registry.command(world, args));
    registry.arrived.recv().unwrap();
    send(&child, signal);
    child.wait_with_output().unwrap()
}

#[test]
fn interrupted_request_reports_no_change() {
    let world = world();
    let before = world.snapshot();
    let output = interrupted(&world, &["promote", "--revision", REV_B], Signal::INT);
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(text(&output.stderr), "interrupted; nothing was changed\n");
    assert_eq!(text(&output.stdout), "");
    assert_eq!(world.snapshot(), before);
}

/// A full pipe, and its other end, from which nothing is read.
fn stalled() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = io::pipe().unwrap();
    let flags = fcntl_getfl(&writer).unwrap();
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    while writer.write(b"x").is_ok() {}
    fcntl_setfl(&writer, flags).unwrap();
    (reader, writer)
}

#[test]
fn stalled_standard_error_does_not_hold_the_document() {
    let world = world();
    let registry = holding();
    let (_reader, writer) = stalled();
    let args = ["-vv", "resolve", "--revision", REV_B, "--format", "json"];
    let mut command = registry.command(&world, &args);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let child = command.stderr(writer).spawn().unwrap();
    registry.arrived.recv().unwrap();
    registry.open();
    // A line of the request log holds standard error: a call with the descriptor 2 takes long.
    let call = format!("/proc/{}/syscall", child.id());
    while fs::read_to_string(&call).unwrap().split(' ').nth(1) != Some("0x2") {
        thread::sleep(Duration::from_millis(10));
    }
    send(&child, Signal::TERM);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(143));
    let message = &document(&output)["errors"][0]["message"];
    assert_eq!(message, "interrupted; nothing was changed");
}

#[test]
fn signal_removes_temporary_directories() {
    let world = world();
    let server = holding();
    let config = world.read("repin.yaml");
    let source = format!("source: http://{}/acme/app.git\n", server.server.host());
    world.write("repin.yaml", config + &source);
    let temporary = world.path("temporary");
    fs::create_dir(&temporary).unwrap();
    let world = world.with_git();
    let mut command = world.command(&["builds"]);
    command.env("TMPDIR", &temporary);
    let child = piped(command);
    server.arrived.recv().unwrap();
    let directories = || fs::read_dir(&temporary).unwrap().count();
    assert_eq!(directories(), 1);
    send(&child, Signal::TERM);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(143));
    assert_eq!(directories(), 0);
}

#[test]
fn terminated_run_exits_with_143() {
    let world = world();
    let args = ["promote", "--revision", REV_B, "--format", "json"];
    let output = interrupted(&world, &args, Signal::TERM);
    assert_eq!(output.status.code(), Some(143));
    let document = document(&output);
    assert_eq!(document["exit"], 143);
    assert_eq!(
        document["errors"][0]["message"],
        "interrupted; nothing was changed"
    );
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn slow_report_is_complete() {
    let world = world();
    let command = world.command(&["promote", "--revision", REV_B, "--format", "json"]);
    // The signal arrives before git is run. Its handler wakes the reporting thread with `sendto`, and
    // goes on before that thread writes.
    let injections = [
        "pipe2:signal=INT:when=1",
        "sendto:delay_exit=200000",
        "write:delay_enter=1000000:when=1",
    ];
    let output = strace::inject(&command, &injections.map(str::to_owned));
    assert_eq!(output.status.code(), Some(130));
    document(&output);
}

#[test]
fn interrupted_workflow_step_has_an_annotation() {
    let world = world();
    let output = interrupted(
        &world,
        &["check", "--remote", "--format", "github"],
        Signal::INT,
    );
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(
        text(&output.stdout),
        "::error title=interrupted::interrupted; nothing was changed\n"
    );
}

#[test]
fn interrupted_terminal_clears_the_progress_line() {
    let (world, registry) = (world(), holding());
    let mut command = registry.command(&world, &["resolve", "--revision", REV_B]);
    command.env("TERM", "xterm");
    let (mut child, mut screen) = terminal::attached(command);
    let mut shown = String::new();
    let waiting = "resolving tags: 0 of 3 done, waiting for review, fix, base";
    while !shown.contains(waiting) {
        let mut buffer = [0; 1024];
        let read = screen.read(&mut buffer).unwrap();
        shown.push_str(&text(&buffer[..read]));
    }
    send(&child, Signal::INT);
    let mut rest = Vec::new();
    // The end of a terminal is an error: EIO once its other side is closed.
    let _ = screen.read_to_end(&mut rest);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let shown = shown + &text(&rest);
    let (before, last) = shown.split_at(shown.find("interrupted;").unwrap());
    assert!(before.ends_with("\r\u{1b}[2K"), "{before:?}");
    assert_eq!(last, "interrupted; nothing was changed\r\n");
}

#[test]
fn reading_history_shows_progress_at_a_terminal() {
    let repo = Repo::new();
    repo.promote('a');
    repo.publish();
    // A git with a `log` that blocks until the test creates a file.
    repo.script(
        ".git/bin/git",
        "case \" $* \" in *' log '*) until [ -e .git/go ]; do sleep 0.01; done;; esac\n\
         PATH=${PATH#*:} exec git \"$@\"\n",
    );
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", repo.join(".git/bin").display());
    let waiting = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_repin"));
        command.args(args).current_dir(repo.path());
        command.env("PATH", &path).env("TERM", "xterm");
        let (child, mut screen) = terminal::attached(command);
        let mut shown = String::new();
        while !shown.contains("reading git history") {
            let mut buffer = [0; 1024];
            let read = screen.read(&mut buffer).unwrap();
            shown.push_str(&text(&buffer[..read]));
        }
        (child, screen)
    };
    let (mut promote, _) = waiting(&["promote", "--revision", &revision('b')]);
    promote.kill().unwrap();
    promote.wait().unwrap();
    let (mut child, mut screen) = waiting(&["history"]);
    repo.write(".git/go", "");
    let mut rest = Vec::new();
    // The end of a terminal is an error: EIO once its other side is closed.
    let _ = screen.read_to_end(&mut rest);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let rest = text(&rest);
    let (_, after) = rest.rsplit_once("\r\u{1b}[2K").unwrap();
    let legend = "origin/main: * is current, < is available for rollback\r\n";
    assert_eq!(after, legend, "{rest:?}");
}

#[test]
fn wait_is_reported_every_ten_seconds() {
    let (world, registry) = (world(), holding());
    let mut child = piped(registry.command(&world, &["resolve", "--revision", REV_B]));
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert_eq!(
        first,
        "resolving tags: 0 of 3 done, waiting for review, fix, base (10 s)"
    );
    registry.open();
    let rest: Vec<_> = lines.map_while(Result::ok).collect();
    assert!(
        rest.iter().any(|line| line.contains("tag_missing")),
        "{rest:?}"
    );
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn interrupted_exchange_changes_all_files() {
    let world = world();
    let calls = strace::trace(&world.command(&APPLY), "renameat2", &[]).points(world.root());
    let world = self::world();
    let at = calls[0].inject("signal=INT");
    let output = strace::inject(&world.command(&APPLY), &[at]);
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    let stderr = text(&output.stderr);
    let end = "interrupted; 2 files changed, nothing committed\n";
    let Some(before) = stderr.strip_suffix(end) else {
        panic!("{stderr}");
    };
    let waiting = "interrupted: waiting for the current step to end; interrupt again to end now\n";
    // The step may end before this message.
    let is_whole = before.ends_with(waiting) || !before.contains("interrupted");
    assert!(is_whole, "{stderr}");
    world.run(&["recover", "--format", "json"]).exits(0);
    let changed = world.run(&["promote", "--revision", REV_B, "--format", "json"]);
    assert_eq!(changed.json()["changed"], false, "every file is new");
}

/// Installs a hook that sends SIGINT to the process with the id in `.git/pid`.
fn interrupting_hook(world: &World) {
    let hook = world.path(".git/hooks/pre-commit");
    world.write(
        ".git/hooks/pre-commit",
        "#!/bin/sh\nuntil [ -s .git/pid ]; do sleep 0.01; done\nkill -INT \"$(cat .git/pid)\"\n",
    );
    fs::set_permissions(hook, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn interrupt_during_commit_waits_for_git() {
    let world = world().with_git();
    interrupting_hook(&world);
    let mut command = world.command(&[&APPLY[..], &["--commit", "--format", "json"]].concat());
    for (name, value) in [
        ("GIT_AUTHOR_NAME", "A"),
        ("GIT_AUTHOR_EMAIL", "a@example.com"),
        ("GIT_COMMITTER_NAME", "C"),
        ("GIT_COMMITTER_EMAIL", "c@example.com"),
    ] {
        command.env(name, value);
    }
    let child = piped(command);
    world.write(".git/pid", child.id().to_string());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    let commit = world.git(&["rev-parse", "--short=7", "HEAD"]);
    let message = document(&output)["errors"][0]["message"].clone();
    let message = message.as_str().unwrap();
    assert!(
        message.starts_with("interrupted; 2 files changed and committed as ")
            && message.contains(&commit)
            && message.contains(", but not pushed; publish the commit with: git push "),
        "{message}"
    );
    assert_eq!(world.git(&["status", "--porcelain", "-uno"]), "");
}

/// The last line of a promotion that is interrupted during this request.
fn interrupted_at((method, end): (&'static str, &'static str), settings: &str) -> String {
    let (world, forge) = hosted(Kind::Gitea, settings);
    forge.store().report("ci", "success");
    forge.fault((method, end), 1, Fault::Hang);
    let mut command = world.command(&["promote", "--revision", REV_B, "--pr", "ready"]);
    command.env("REPIN_FORGE_TOKEN", TOKEN);
    let child = piped(command);
    let is_asked = |line: &String| line.starts_with(method) && line.ends_with(end);
    let begun = Instant::now();
    while !forge.asked().iter().any(is_asked) {
        let asked = forge.asked();
        assert!(begun.elapsed() < Duration::from_secs(60), "{asked:?}");
        thread::sleep(Duration::from_millis(10));
    }
    send(&child, Signal::INT);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    text(&output.stderr).lines().last().unwrap().to_owned()
}

#[test]
fn interrupted_opening_reports_its_extent() {
    let last = interrupted_at(("POST", "/pulls"), "base: main");
    assert!(
        last.starts_with("interrupted; the branch ")
            && last.contains(REV_B)
            && last.ends_with(" and its pull request may be incomplete; run the command again"),
        "{last}"
    );
    let last = interrupted_at(("POST", "/merge"), "auto_merge: true, gates: [ci]");
    assert!(
        last.starts_with("interrupted; pull request #1 exists (http"),
        "{last}"
    );
}

#[test]
fn interrupted_closing_reports_changes_if_applied() {
    let close = ["fleet", "close", "--revision", REV_B, "--list", "list.txt"];
    for (apply, changed) in [
        (&[][..], "nothing was changed"),
        (
            &["--apply"],
            "some pull requests may be closed; run the command again",
        ),
    ] {
        let forge = holding();
        let world = World::empty().env("REPIN_FORGE_TOKEN", TOKEN);
        let host = forge.server.host();
        let config = format!(
            "version: 1\nfleet: {{}}\nsource: acme/app\nimages: {{ api: {{ repository: ghcr.io/acme/api }} }}\n\
             forge: {{ kind: gitea, url: 'http://{host}/api/v1' }}\n"
        );
        world.write("repin.yaml", config);
        world.write("list.txt", "acme/app\n");
        let child = piped(world.command(&[&close, apply].concat()));
        forge.arrived.recv().unwrap();
        send(&child, Signal::INT);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130));
        assert_eq!(text(&output.stderr), format!("interrupted; {changed}\n"));
    }
}
