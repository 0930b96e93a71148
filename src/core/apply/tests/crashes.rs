//! Applies and recovers plans in processes that are killed, disturbed and raced at their system
//! calls.
//!
//! Each process runs [`child`] in this test program. The short sweeps include the calls that change
//! something; with `REPIN_SWEEP=long`, `scripts/crash-sweep` includes every call on the files.

use std::{
    fs,
    io::{Read as _, Seek as _, Write as _},
    os::unix::{fs::symlink, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::{
    base::files::RelPath,
    core::{
        apply::{self, Error, RecoveryState, Session},
        plan::FileChange,
    },
    oci::Digest,
    support::{
        strace::{self, Point, canonical, inject, stop_after, trace},
        sweep::is_long,
    },
};

const FILES: [&str; 3] = ["a.yml", "sub/b.yml", "sub/c.yml"];
const CHILD: &str = "REPIN_APPLY_CHILD";
const ROOT: &str = "REPIN_APPLY_ROOT";

/// The calls that change something or lock.
const CHANGING: [&str; 10] = [
    "write",
    "fsync",
    "fdatasync",
    "renameat",
    "renameat2",
    "linkat",
    "unlinkat",
    "mkdirat",
    "flock",
    "fchmod",
];

/// The content of a file. That of the second file is long, so it is written in parts.
fn content(file: usize, word: &str) -> String {
    let line = format!("{} is {word}\n", FILES[file]);
    line.repeat(if file == 1 { 1000 } else { 1 })
}

/// The plan for all files with the old content.
fn changes(root: &Path) -> Vec<FileChange> {
    let change = |file: usize| {
        let (old, new) = (
            content(file, "old").into_bytes(),
            content(file, "new").into_bytes(),
        );
        let (old_sha256, new_sha256) = (Digest::of(&old), Digest::of(&new));
        FileChange {
            path: RelPath::parse(FILES[file]).unwrap(),
            pins: 1,
            old,
            new,
            old_sha256,
            new_sha256,
        }
    };
    let is_new = |change: &FileChange| {
        fs::read(root.join(change.path.as_path())).ok() == Some(change.new.clone())
    };
    (0..FILES.len())
        .map(change)
        .filter(|change| !is_new(change))
        .collect()
}

/// Recovers, scans and applies, like `--apply`.
fn promote(root: &Path) -> Result<(), Error> {
    let mut session = Session::begin(root, "a test")?;
    session.recover()?;
    session.apply(&changes(root), super::run())
}

/// Not a test: the process that the following tests start.
#[test]
fn child() {
    let (Some(mode), Some(root)) = (std::env::var_os(CHILD), std::env::var_os(ROOT)) else {
        return;
    };
    let root = PathBuf::from(root);
    // The number exceeds the calls of the start-up on the first thread: see `support/strace.rs`.
    for _ in 0..100 {
        let mut zero = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/zero")
            .unwrap();
        zero.metadata().unwrap();
        zero.read_exact(&mut [0]).unwrap();
        zero.write_all(&[0]).unwrap();
        zero.try_clone().unwrap();
        rustix::fs::statat(&zero, "", rustix::fs::AtFlags::EMPTY_PATH).unwrap();
    }
    let done = match mode.to_str() {
        Some("promote") => promote(&root),
        Some("recover") => Session::begin(&root, "a test")
            .and_then(|mut session| session.recover())
            .map(|_| ()),
        other => panic!("{other:?}"),
    };
    let exit = done.as_ref().map_or_else(exit, |()| 0);
    if let Err(error) = done {
        // The injected failure may affect this write.
        let _ = writeln!(std::io::stdout(), "error: {error}; {}", error.hint());
    }
    std::process::exit(exit);
}

/// The exit code, as the command line maps it.
fn exit(error: &Error) -> i32 {
    match error {
        Error::Locked { .. }
        | Error::Conflict { .. }
        | Error::Unresolved(_)
        | Error::Damaged { .. }
        | Error::Pending { .. } => 5,
        Error::Unsafe { .. } => 1,
        Error::Io { .. } => 3,
        Error::Unfinished { cause, .. } | Error::Uncleared { cause } => exit(cause),
    }
}

/// A git work tree with the three files, all old. It runs this test binary instead of the program, so
/// that a step can be stopped anywhere.
struct World {
    scratch: tempfile::TempDir,
}

fn world() -> World {
    let world = World {
        scratch: tempfile::tempdir().unwrap(),
    };
    fs::create_dir_all(world.root().join(".git")).unwrap();
    fs::write(world.root().join(".git/HEAD"), "ref: refs/heads/main\n").unwrap();
    fs::create_dir(world.root().join("sub")).unwrap();
    for file in 0..FILES.len() {
        fs::write(world.path(file), content(file, "old")).unwrap();
    }
    world
}

impl World {
    fn root(&self) -> PathBuf {
        canonical(self.scratch.path()).join("root")
    }

    fn path(&self, file: usize) -> PathBuf {
        self.root().join(FILES[file])
    }

    /// A process of this program that runs `mode`.
    fn command(&self, mode: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([
            "--exact",
            "core::apply::tests::crashes::child",
            "--nocapture",
            "--test-threads=1",
        ]);
        command.env(CHILD, mode).env(ROOT, self.root());
        // Cargo sets it, and the first thread would search its directories for every library.
        command.env_remove("LD_LIBRARY_PATH");
        command
    }

    /// `o` for each old file, `n` for a new one, `?` for any other content.
    fn contents(&self) -> String {
        let letter = |file: usize| match fs::read_to_string(self.path(file)) {
            Ok(text) if text == content(file, "old") => 'o',
            Ok(text) if text == content(file, "new") => 'n',
            _ => '?',
        };
        (0..FILES.len()).map(letter).collect()
    }

    fn edit(&self, file: usize) {
        fs::write(self.path(file), "mine\n").unwrap();
    }

    fn is_edited(&self, file: usize) -> bool {
        fs::read_to_string(self.path(file)).is_ok_and(|text| text.starts_with("mine\n"))
    }

    /// The files that a complete run does not leave.
    fn leftovers(&self) -> Vec<PathBuf> {
        let mut directories = vec![self.root()];
        let mut left = Vec::new();
        while let Some(directory) = directories.pop() {
            for path in fs::read_dir(directory)
                .unwrap()
                .map(|entry| entry.unwrap().path())
            {
                let known = path.ends_with("lock")
                    || path.ends_with("HEAD")
                    || (0..3).any(|n| self.path(n) == path);
                match path.symlink_metadata().unwrap().is_dir() {
                    true => directories.push(path),
                    false if known => {}
                    false => left.push(path),
                }
            }
        }
        left
    }

    /// Checks that all files are old or all files are new after a recovery by another process, and
    /// that the next run succeeds.
    fn recovers(&self, after: &str) {
        let recovered =
            Session::begin(&self.root(), "a test").and_then(|mut session| session.recover());
        recovered.unwrap_or_else(|error| panic!("{after}: {error}"));
        self.is_whole(after);
        promote(&self.root()).unwrap_or_else(|error| panic!("{after}: {error}"));
        assert_eq!(self.contents(), "nnn", "{after}");
    }

    fn is_whole(&self, after: &str) {
        assert!(
            ["ooo", "nnn"].contains(&self.contents().as_str()),
            "{after}: {}",
            self.contents()
        );
        assert_eq!(self.leftovers(), [""; 0].map(PathBuf::from), "{after}");
    }
}

/// The calls of a run of `mode` with `injections` on the files of a world; the run must end with
/// `contents`.
fn points(mode: &str, world: &World, injections: &[String], contents: &str) -> Vec<Point> {
    let run = trace(&world.command(mode), "%file,%desc", injections);
    assert_eq!(world.contents(), contents, "{}", output_text(&run.output));
    world.is_whole(mode);
    let mut points = run.points(&world.root());
    if !is_long() {
        points.retain(|point| CHANGING.contains(&point.name.as_str()));
    }
    assert!(
        points.len() > 15,
        "hardly anything to sweep over: {points:?}"
    );
    points
}

fn output_text(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{:?}\n{out}\n{err}", output.status)
}

#[track_caller]
fn exited(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}", output_text(output));
}

#[track_caller]
fn reports(output: &Output, text: &str) {
    assert!(
        output_text(output).contains(text),
        "{}",
        output_text(output)
    );
}

fn killed(output: &Output) -> bool {
    output.status.signal() == Some(9)
}

/// The state of a run that was killed at its second exchange.
fn interrupted_world() -> World {
    let world = world();
    let killed_there = inject(
        &world.command("promote"),
        &["renameat2:signal=KILL:when=2".to_owned()],
    );
    assert!(killed(&killed_there), "{}", output_text(&killed_there));
    assert_eq!(world.contents(), "noo");
    world
}

#[test]
fn kill_at_any_call_is_recovered_completely() {
    for point in points("promote", &world(), &[], "nnn") {
        let world = world();
        let at = point.inject("signal=KILL");
        assert!(
            killed(&inject(
                &world.command("promote"),
                std::slice::from_ref(&at)
            )),
            "{at} was not reached"
        );
        world.recovers(&at);
    }
}

/// The same state with a missing copy.
fn interrupted_world_without_a_copy() -> World {
    let world = interrupted_world();
    let copies = fs::read_dir(world.root().join("sub"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let copy = copies
        .filter(|path| path.display().to_string().contains(".repin-"))
        .max()
        .unwrap();
    fs::remove_file(copy).unwrap();
    world
}

#[test]
fn killed_recovery_is_finished_by_the_next() {
    for prepare in [interrupted_world, interrupted_world_without_a_copy] {
        for point in points("recover", &prepare(), &[], "nnn") {
            let world = prepare();
            let at = point.inject("signal=KILL");
            assert!(
                killed(&inject(
                    &world.command("recover"),
                    std::slice::from_ref(&at)
                )),
                "{at} was not reached"
            );
            world.recovers(&at);
        }
    }
}

#[test]
fn exchange_by_recovery_is_counted() {
    // All copies exist, or the missing one was recreated; the last exchange follows.
    for prepare in [interrupted_world, interrupted_world_without_a_copy] {
        let world = prepare();
        let last = "renameat2:signal=KILL:when=2".to_owned();
        assert!(killed(&inject(&world.command("recover"), &[last])));
        let copies = fs::read_dir(world.root().join("sub"))
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let out = copies.filter(|path| path.display().to_string().contains(".repin-"));
        let out = out
            .filter(|path| fs::read_to_string(path).unwrap() == content(1, "old"))
            .collect::<Vec<_>>();
        assert_eq!(out.len(), 1);
        fs::write(&out[0], "mine\n").unwrap();
        assert!(matches!(
            Session::begin(&world.root(), "a test").unwrap().recover(),
            Err(Error::Unresolved(_))
        ));
        assert_eq!(fs::read_to_string(&out[0]).unwrap(), "mine\n");
    }
}

#[test]
fn leftover_link_does_not_stop_recovery() {
    // Killed after the old content was linked: the link exists in the next run.
    let world = interrupted_world();
    let copies = fs::read_dir(world.root().join("sub"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    for copy in copies.filter(|path| path.display().to_string().contains(".repin-")) {
        let spare = format!("{}-old", copy.display());
        let file = if copy.display().to_string().ends_with("-1") {
            1
        } else {
            2
        };
        fs::hard_link(world.path(file), spare).unwrap();
    }
    let output = inject(
        &world.command("recover"),
        &["renameat2:error=ENOSYS".to_owned()],
    );
    exited(&output, 0);
    assert_eq!(world.contents(), "nnn");
    world.is_whole("a link that was left");
}

#[test]
fn missing_directory_sync_is_tolerated() {
    // The error of some network file systems.
    for nth in [0, 1] {
        let at = point_of("fsync", "/root>)", nth).inject("error=EINVAL");
        let world = world();
        let output = inject(&world.command("promote"), std::slice::from_ref(&at));
        assert_eq!(
            output.status.code(),
            Some(0),
            "{at}: {}",
            output_text(&output)
        );
        assert_eq!(world.contents(), "nnn");
        world.is_whole(&at);
    }
}

#[test]
fn failed_read_is_unavailable_and_interrupted_read_continues() {
    // The journal, which is unreadable but not truncated; a file; a copy.
    for part in ["/journal>", "/root/a.yml>", "/.repin-"] {
        let world = interrupted_world();
        let reading = point_in(&interrupted_world(), "recover", "read", part, 0);
        let before = world.leftovers().len();
        let output = inject(&world.command("recover"), &[reading.inject("error=EIO")]);
        assert_eq!(
            output.status.code(),
            Some(3),
            "{part}: {}",
            output_text(&output)
        );
        assert_eq!(world.contents(), "noo", "{part}");
        assert_eq!(world.leftovers().len(), before, "{part}");
        let output = inject(&world.command("recover"), &[reading.inject("error=EINTR")]);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{part}: {}",
            output_text(&output)
        );
        assert_eq!(world.contents(), "nnn", "{part}");
    }
}

#[test]
fn recovery_with_failed_cleanup_reports_its_result() {
    // All files are new already or are completed; then the removal of a copy fails.
    let settled = || {
        let world = world();
        let unsettled = point_of("fsync", "/root>)", 1).inject("signal=KILL");
        assert!(killed(&inject(&world.command("promote"), &[unsettled])));
        world
    };
    let prepares: [(fn() -> World, bool); 2] = [(interrupted_world, true), (settled, false)];
    for (prepare, forward) in prepares {
        let copy = point_in(&prepare(), "recover", "unlinkat", "\".repin-", 0);
        let world = prepare();
        let output = inject(&world.command("recover"), &[copy.inject("error=EIO")]);
        exited(&output, 3);
        assert_eq!(world.contents(), "nnn");
        assert_eq!(
            output_text(&output).contains("all files have their new content"),
            forward,
            "{}",
            output_text(&output)
        );
        world.recovers("a copy that stays");
    }
}

/// Kills a run with these `injections`, which ends with `contents`, at each call that `wanted`
/// selects.
fn killed_with(injections: &[String], contents: &str, wanted: impl Fn(&Point) -> bool) {
    // Each call accepts one injection.
    let taken = |point: &Point| {
        injections
            .iter()
            .any(|injection| injection.starts_with(&format!("{}:", point.name)))
    };
    let points = points("promote", &world(), injections, contents);
    for point in points.iter().filter(|point| wanted(point) && !taken(point)) {
        let world = world();
        let all = [injections, &[point.inject("signal=KILL")]].concat();
        assert!(
            killed(&inject(&world.command("promote"), &all)),
            "{all:?} was not reached"
        );
        world.recovers(&format!("{all:?}"));
    }
}

#[test]
fn kill_during_link_exchanges_is_recovered() {
    for error in ["ENOSYS", "EINVAL"] {
        killed_with(&[format!("renameat2:error={error}")], "nnn", |point| {
            is_long() || ["linkat", "renameat"].contains(&point.name.as_str())
        });
    }
}

#[test]
fn kill_during_the_undo_is_recovered() {
    // The sync of the first directory fails after all files were exchanged.
    let broken = point_of("fsync", "/root>)", 1).inject("error=EIO");
    killed_with(std::slice::from_ref(&broken), "ooo", |point| {
        is_long()
            || point.name == "unlinkat"
            || point.name == "renameat2" && point.nth > FILES.len()
    });
    killed_with(
        &[broken, "renameat2:error=ENOSYS".to_owned()],
        "ooo",
        |point| {
            is_long()
                || point.name == "linkat" && point.nth > FILES.len()
                || point.name == "renameat"
        },
    );
}

#[test]
fn failure_of_a_link_exchange_is_undone() {
    let fallback = "renameat2:error=ENOSYS".to_owned();
    let points = points("promote", &world(), std::slice::from_ref(&fallback), "nnn");
    for point in points
        .iter()
        .filter(|point| ["linkat", "renameat", "newfstatat"].contains(&point.name.as_str()))
    {
        let world = world();
        let at = point.inject("error=EIO");
        let output = inject(&world.command("promote"), &[fallback.clone(), at.clone()]);
        assert_eq!(
            output.status.code(),
            Some(3),
            "{at}: {}",
            output_text(&output)
        );
        assert_eq!(world.contents(), "ooo", "{at}");
        world.is_whole(&at);
    }
}

#[test]
fn edit_before_a_fallback_rename_is_preserved() {
    let fallback = ["renameat2:error=ENOSYS".to_owned()];
    let world = world();
    let linking = Point {
        name: "linkat".to_owned(),
        nth: 2,
    };
    let stopped = stop_after(&world.command("promote"), &linking, &fallback);
    fs::write(world.root().join("editor"), "mine\n").unwrap();
    fs::rename(world.root().join("editor"), world.path(1)).unwrap();
    let ended = stopped.go_on();
    exited(&ended.output, 5);
    assert_eq!(
        (world.contents().as_str(), world.is_edited(1)),
        ("o?o", true)
    );
    assert!(world.leftovers().is_empty());
}

/// The errors to inject at a call; in a short sweep only the most likely ones.
fn errors(at: &Point) -> Vec<&'static str> {
    match at.name.as_str() {
        // The result of `close` is ignored; a failing `flock` is a held or missing lock.
        "close" | "flock" => vec![],
        _ if is_long() => vec!["EIO", "ENOSPC", "EROFS", "EXDEV", "EACCES"],
        "write" | "mkdirat" => vec!["EIO", "ENOSPC"],
        "renameat2" | "linkat" => vec!["EIO", "EXDEV", "EACCES"],
        "unlinkat" | "renameat" => vec!["EIO", "EROFS"],
        _ => vec!["EIO"],
    }
}

#[test]
fn failed_call_leaves_old_contents_or_a_journal() {
    let points = points("promote", &world(), &[], "nnn");
    let mut failed = 0;
    for (point, error) in points
        .iter()
        .flat_map(|point| errors(point).into_iter().map(move |error| (point, error)))
    {
        let world = world();
        let at = point.inject(&format!("error={error}"));
        let output = inject(&world.command("promote"), std::slice::from_ref(&at));
        match (
            output.status.code(),
            world.contents().as_str(),
            world.leftovers().is_empty(),
        ) {
            // A failed sync or removal after the exchange is complete.
            (Some(0), "nnn", true) => {}
            (Some(3), "ooo", true) => failed += 1,
            (Some(3), _, false) => {
                failed += 1;
                assert!(
                    output_text(&output).contains("run `repin recover`"),
                    "{at}: {}",
                    output_text(&output)
                );
            }
            _ => panic!(
                "{at}: {} {:?}\n{}",
                world.contents(),
                world.leftovers(),
                output_text(&output)
            ),
        }
        world.recovers(&at);
    }
    assert!(
        failed > points.len() / 2,
        "most errors must have been noticed: {failed} of {}",
        points.len()
    );
}

#[test]
fn failed_removal_of_copies_restores_all_files() {
    let copy = point_of("unlinkat", "\".repin-", 0).inject("error=EIO");
    let world = world();
    let output = inject(&world.command("promote"), &[copy]);
    exited(&output, 3);
    assert_eq!(world.contents(), "ooo");
    world.is_whole("a copy that stays");
}

#[test]
fn recovery_succeeds_after_persistent_errors_end() {
    let points = points("promote", &world(), &[], "nnn");
    for point in points.iter().filter(|point| !errors(point).is_empty()) {
        let world = world();
        let at = point.inject_from_here("error=EIO");
        let output = inject(&world.command("promote"), std::slice::from_ref(&at));
        let whole = world.contents() == "ooo" || world.contents() == "nnn";
        match output.status.code() {
            Some(0) => assert_eq!(
                (world.contents().as_str(), world.leftovers().len()),
                ("nnn", 0),
                "{at}"
            ),
            Some(3) => assert!(
                whole || !world.leftovers().is_empty(),
                "{at}: {}",
                output_text(&output)
            ),
            _ => panic!("{at}: {}", output_text(&output)),
        }
        world.recovers(&at);
    }
}

#[test]
fn unwritable_directory_refuses_the_plan() {
    // Root ignores permissions, so the refusal is injected at the first copy.
    let world = world();
    let clean = trace(&world.command("promote"), "openat", &[]);
    let creating = clean
        .calls_in(&world.root())
        .into_iter()
        .position(|call| call.text.contains("\".repin-"))
        .unwrap();
    let point = &clean.points(&world.root())[creating];
    for error in ["EACCES", "EROFS", "ENOSPC"] {
        let world = self::world();
        let output = inject(
            &world.command("promote"),
            &[point.inject(&format!("error={error}"))],
        );
        exited(&output, 3);
        reports(&output, "creating .repin-");
        assert_eq!(world.contents(), "ooo");
        world.is_whole(error);
    }
}

#[test]
fn read_only_file_system_needs_no_cleanup() {
    // The file system refuses even the removal of missing files: here the copies, after the removal
    // that precedes a journal.
    let world = world();
    let clean = trace(&world.command("promote"), "openat", &[]);
    let creating = clean
        .calls_in(&world.root())
        .into_iter()
        .position(|call| call.text.contains("\".repin-"))
        .unwrap();
    let creating = clean.points(&world.root())[creating].inject("error=EROFS");
    let world = self::world();
    let output = inject(
        &world.command("promote"),
        &[creating, "unlinkat:error=EROFS:when=2..7".to_owned()],
    );
    exited(&output, 3);
    assert_eq!(world.contents(), "ooo");
    world.is_whole("read-only");
}

/// The order of the calls on the files of a world.
struct Order<'a>(Vec<&'a strace::Call>);

impl Order<'_> {
    fn all(&self, name: &str, part: &str) -> Vec<usize> {
        let matching = |call: &&strace::Call| call.name == name && call.text.contains(part);
        (0..self.0.len())
            .filter(|&at| matching(&self.0[at]))
            .collect()
    }

    /// The only call of this kind.
    fn only(&self, name: &str, part: &str) -> usize {
        let all = self.all(name, part);
        assert_eq!(all.len(), 1, "{name} {part}: {:#?}", self.0);
        all[0]
    }

    /// The first call of this kind after another.
    fn after(&self, at: usize, name: &str, part: &str) -> usize {
        let next = self.all(name, part).into_iter().find(|&next| next > at);
        next.unwrap_or_else(|| panic!("no {name} {part} after {at}: {:#?}", self.0))
    }
}

#[test]
fn contents_are_synced_before_their_use() {
    let world = world();
    let traced = trace(
        &world.command("promote"),
        "write,fsync,fdatasync,renameat,renameat2,unlinkat,mkdirat",
        &[],
    );
    let order = Order(traced.calls_in(&world.root()));
    let root = world.root().display().to_string();
    let (git, top, sub) = (
        format!("<{root}/.git/repin/"),
        format!("<{root}>)"),
        format!("<{root}/sub>)"),
    );

    // The directory of the journal is created durably: two calls per level.
    let made = order.only("mkdirat", "\"repin\"");
    let made = order.after(
        order.after(made, "fsync", &format!("<{root}/.git>)")),
        "mkdirat",
        &format!("<{root}/.git/repin>"),
    );
    let made = order.after(made, "fsync", &format!("<{root}/.git/repin>)"));

    let written = *order.all("write", "journal.new>").last().unwrap();
    let synced = order.only("fsync", "journal.new>");
    let named = order.only("renameat", "\"journal.new\"");
    let durable = order.after(named, "fsync", &git);
    assert!(made < written && written < synced && synced < named && named < durable);

    let copies = order.all("write", "/.repin-");
    let copies_synced = order.all("fsync", "/.repin-");
    assert_eq!(copies_synced.len(), FILES.len());
    assert!(
        durable < copies[0],
        "the journal is there before the first copy"
    );
    for &synced in &copies_synced {
        let text = &order.0[synced].text;
        let copy = &text[text.find('<').unwrap()..=text.find('>').unwrap()];
        assert!(
            order
                .all("write", copy)
                .into_iter()
                .all(|write| write < synced),
            "{copy}"
        );
        assert!(!order.all("write", copy).is_empty());
    }
    let last_copy = *copies_synced.last().unwrap();
    let directories = [
        order.after(last_copy, "fsync", &top),
        order.after(last_copy, "fsync", &sub),
    ];
    let ready = order.all("renameat", "\"journal\"")[0];
    let ready_durable = order.after(ready, "fsync", &git);
    let exchanges = order.all("renameat2", "RENAME_EXCHANGE");
    assert_eq!(exchanges.len(), FILES.len());
    assert!(
        directories.into_iter().all(|directory| directory < ready) && ready_durable < exchanges[0]
    );

    let last_exchange = *exchanges.last().unwrap();
    let settled = [
        order.after(last_exchange, "fsync", &top),
        order.after(last_exchange, "fsync", &sub),
    ];
    let dropped = order
        .all("unlinkat", "\".repin-")
        .into_iter()
        .filter(|at| order.0[*at].text.ends_with("= 0"));
    let dropped: Vec<_> = dropped.collect();
    assert_eq!(dropped.len(), FILES.len());
    assert!(settled.into_iter().all(|directory| directory < dropped[0]));
    let last = *dropped.last().unwrap();
    let gone = [
        order.after(last, "fsync", &top),
        order.after(last, "fsync", &sub),
    ];
    let unlinked = order.after(last, "unlinkat", "\"journal\"");
    assert!(gone.into_iter().all(|directory| directory < unlinked));
    order.after(unlinked, "fsync", &git);
}

#[test]
fn recovery_syncs_contents_before_removing_copies() {
    let world = world();
    // All files are new, and their directories were not synced.
    let unsettled = point_of("fsync", "/root>)", 1).inject("signal=KILL");
    assert!(killed(&inject(&world.command("promote"), &[unsettled])));
    assert_eq!(world.contents(), "nnn");
    let traced = trace(&world.command("recover"), "fsync,unlinkat", &[]);
    let order = Order(traced.calls_in(&world.root()));
    let root = world.root().display().to_string();
    let dropped = order.all("unlinkat", "\".repin-")[0];
    assert!(order.all("fsync", &format!("<{root}>)"))[0] < dropped);
    assert!(order.all("fsync", &format!("<{root}/sub>)"))[0] < dropped);
}

#[test]
fn recovery_syncs_new_copies_before_their_use() {
    let world = interrupted_world_without_a_copy();
    let traced = trace(&world.command("recover"), "fsync,renameat,renameat2", &[]);
    let order = Order(traced.calls_in(&world.root()));
    let sub = format!("<{}/sub>)", world.root().display());
    let copy = *order.all("fsync", "/.repin-").last().unwrap();
    let directory = order.after(copy, "fsync", &sub);
    let ready = order.after(copy, "renameat", "\"journal\"");
    assert!(directory < ready, "{:#?}", order.0);
    assert!(ready < order.all("renameat2", "RENAME_EXCHANGE")[0]);
}

/// The `nth` call of a complete run, from 0, with this name and `part`.
fn point_of(name: &str, part: &str, nth: usize) -> Point {
    point_in(&world(), "promote", name, part, nth)
}

/// The `nth` such call in a run of `mode` on a world.
fn point_in(world: &World, mode: &str, name: &str, part: &str, nth: usize) -> Point {
    let clean = trace(&world.command(mode), "%file,%desc", &[]);
    let calls = clean.calls_in(&world.root());
    let mut matching =
        (0..calls.len()).filter(|&at| calls[at].name == name && calls[at].text.contains(part));
    let at = matching
        .nth(nth)
        .unwrap_or_else(|| panic!("no {name} {part}"));
    clean.points(&world.root()).swap_remove(at)
}

/// The point before the first exchange.
fn before_the_exchange() -> Point {
    point_of("renameat", "\"journal\"", 0)
}

/// The point between an exchange and the check of the exchanged content.
fn within_exchange(file: usize) -> Point {
    point_of("renameat2", "RENAME_EXCHANGE", file)
}

#[test]
fn edit_before_the_exchange_is_preserved() {
    let in_place: fn(&World) = |world| world.edit(1);
    let replaced: fn(&World) = |world| {
        fs::write(world.root().join("sub/editor"), "mine\n").unwrap();
        fs::rename(world.root().join("sub/editor"), world.path(1)).unwrap();
    };
    for edit in [in_place, replaced] {
        for point in [before_the_exchange(), within_exchange(0)] {
            let world = world();
            let stopped = stop_after(&world.command("promote"), &point, &[]);
            edit(&world);
            let ended = stopped.go_on();
            exited(&ended.output, 5);
            reports(&ended.output, "sub/b.yml was changed after");
            assert_eq!(world.contents(), "o?o");
            assert!(world.is_edited(1));
            assert!(world.leftovers().is_empty());
            // Both exchanges of two files, and their reversal: the third file was never exchanged.
            let exchanges = ended
                .calls
                .iter()
                .filter(|call| call.name == "renameat2")
                .count();
            assert_eq!(
                exchanges, 4,
                "the exchanged content is checked before the next exchange"
            );
        }
    }
}

#[test]
fn file_removed_before_the_exchange_stays_removed() {
    let world = world();
    let stopped = stop_after(&world.command("promote"), &within_exchange(0), &[]);
    fs::remove_file(world.path(1)).unwrap();
    let ended = stopped.go_on();
    exited(&ended.output, 5);
    assert_eq!(
        (world.contents().as_str(), world.path(1).exists()),
        ("o?o", false)
    );
    assert!(world.leftovers().is_empty());
}

#[test]
fn late_write_of_an_open_editor_is_detected() {
    let world = world();
    let mut editor = fs::OpenOptions::new()
        .write(true)
        .open(world.path(0))
        .unwrap();
    // The first file was exchanged and checked before.
    let stopped = stop_after(&world.command("promote"), &within_exchange(2), &[]);
    editor.rewind().unwrap();
    editor.write_all(b"mine\n").unwrap();
    let ended = stopped.go_on();
    exited(&ended.output, 5);
    assert_eq!(world.contents(), "?oo");
    assert!(world.is_edited(0));
    assert!(world.leftovers().is_empty());
}

#[test]
fn edit_of_a_new_content_preserves_the_journal() {
    let world = world();
    let stopped = stop_after(&world.command("promote"), &within_exchange(1), &[]);
    world.edit(0);
    world.edit(2);
    let ended = stopped.go_on();
    exited(&ended.output, 5);
    reports(&ended.output, "undoing the changes failed too");
    assert_eq!(world.contents(), "?o?");
    let mut session = Session::begin(&world.root(), "a test").unwrap();
    let error = session.recover().unwrap_err();
    assert!(matches!(error, Error::Unresolved(_)), "{error}");
    assert_eq!(session.discard().unwrap().state, RecoveryState::Discarded);
    assert!(world.is_edited(0) && world.is_edited(2) && world.leftovers().is_empty());
}

#[test]
fn directory_removed_during_the_exchange_restores_the_rest() {
    let world = world();
    let stopped = stop_after(&world.command("promote"), &within_exchange(0), &[]);
    fs::rename(
        world.root().join("sub"),
        world.root().with_file_name("moved"),
    )
    .unwrap();
    let ended = stopped.go_on();
    exited(&ended.output, 3);
    assert_eq!(world.contents(), "o??");
    assert!(world.leftovers().is_empty());
}

#[test]
fn directory_replaced_by_a_symlink_is_not_followed() {
    let world = world();
    let stopped = stop_after(&world.command("promote"), &within_exchange(0), &[]);
    let outside = world.root().with_file_name("outside");
    fs::rename(world.root().join("sub"), &outside).unwrap();
    symlink(&outside, world.root().join("sub")).unwrap();
    let ended = stopped.go_on();
    exited(&ended.output, 1);
    reports(&ended.output, "sub cannot be changed safely");
    assert_eq!(world.contents(), "ooo");
    // The copies in that directory are unreachable, so the journal remains and is reported.
    assert!(matches!(
        Session::begin(&world.root(), "a test").unwrap().recover(),
        Err(Error::Unresolved(_))
    ));
}

#[test]
fn second_run_fails_at_once_and_first_finishes() {
    let world = world();
    let stopped = stop_after(&world.command("promote"), &within_exchange(0), &[]);
    let second = world.command("promote").output().unwrap();
    exited(&second, 5);
    reports(&second, "holds the lock");
    let preview = apply::preview_recovery(&world.root()).unwrap().unwrap();
    assert_eq!(
        preview.state,
        RecoveryState::Forward,
        "a preview needs no lock"
    );
    let first = stopped.go_on();
    assert!(
        first.output.status.success(),
        "{}",
        output_text(&first.output)
    );
    assert_eq!(world.contents(), "nnn");
    world.is_whole("two runs");
}

#[test]
fn concurrent_runs_do_not_mix() {
    for round in 0..10 {
        let world = world();
        let runs = [
            world.command("promote").spawn().unwrap(),
            world.command("promote").spawn().unwrap(),
        ];
        let exits = runs.map(|mut run| run.wait().unwrap().code().unwrap());
        assert!(
            exits.contains(&0) && exits.iter().all(|exit| [0, 5].contains(exit)),
            "round {round}: {exits:?}"
        );
        assert_eq!(world.contents(), "nnn", "round {round}");
        world.is_whole("two runs");
    }
}

/// A file system of 64 KiB, unmounted by `Drop`.
struct Small(PathBuf);

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn full_disk_leaves_the_old_contents() {
    let mut outcomes = [0, 0];
    for free_pages in 0..16 {
        let world = world();
        let old = world.root().with_file_name("old");
        fs::rename(world.root(), &old).unwrap();
        fs::create_dir(world.root()).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=128k", "none"])
            .arg(world.root())
            .output();
        if !mounted.is_ok_and(|output| output.status.success()) {
            eprintln!("no small file system can be mounted here: the sweep with ENOSPC has to do");
            return;
        }
        let _small = Small(world.root());
        assert!(
            Command::new("cp")
                .arg("-r")
                .arg(old.join("."))
                .arg(world.root())
                .status()
                .unwrap()
                .success()
        );
        let mut filler = fs::File::create(world.root().join("sub/filler")).unwrap();
        let page = [0; 4096];
        while filler.write_all(&page).is_ok() {}
        filler
            .set_len(
                filler
                    .metadata()
                    .unwrap()
                    .len()
                    .saturating_sub(free_pages * 4096),
            )
            .unwrap();
        let done = promote(&world.root());
        fs::remove_file(world.root().join("sub/filler")).unwrap();
        match done {
            Ok(()) => assert_eq!(world.contents(), "nnn"),
            Err(Error::Io { .. }) => assert_eq!(world.contents(), "ooo"),
            Err(error) => panic!("{free_pages} pages: {error}"),
        }
        outcomes[usize::from(world.contents() == "nnn")] += 1;
        world.is_whole(&format!("{free_pages} free pages"));
    }
    assert!(
        outcomes[0] > 3 && outcomes[1] > 0,
        "a disk too full and one that is not: {outcomes:?}"
    );
}
