//! `promote --apply`, `rollback --apply` and `recover` killed or hindered at the calls that touch
//! the disk, over trees of several sizes.
//!
//! A bounded sample of the calls in every run; all of them with `REPIN_SWEEP=long`
//! (`scripts/crash-sweep`), which prints the number of runs.

mod mounted;

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    os::unix::{
        fs::PermissionsExt,
        process::{CommandExt, ExitStatusExt},
    },
    panic::resume_unwind,
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
};

use crate::support::{
    skip::skip,
    strace::{self, Point},
    sweep::{is_long, sample},
    tree::{Holds, Set, Tree, Way, files_below},
    world::{REV_B, world},
};

/// The calls that change the disk, and the lock. `openat` counts if it creates a file.
const CHANGING: &str = "openat,write,fsync,fdatasync,ftruncate,renameat,renameat2,linkat,unlinkat,\
                        mkdirat,fchmod,fchown,fsetxattr,fremovexattr,flock";

/// Every call of a run that changes something in the tree.
fn points(tree: &Tree, command: &Command) -> Vec<Point> {
    let trace = strace::first_thread(command, CHANGING, &[]);
    assert!(trace.output.status.success(), "{}", shown(&trace.output));
    let calls = trace.calls_in(&tree.root());
    let changing = calls
        .into_iter()
        .filter(|call| call.name != "openat" || call.text.contains("O_CREAT"));
    let points: Vec<_> = changing.map(strace::Call::point).collect();
    assert!(
        points.len() > 8,
        "hardly anything to sweep over: {points:?}"
    );
    points
}

fn shown(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{:?}\n{out}\n{err}", output.status)
}

/// Runs `command`, which must die at `point`.
fn kill(command: &Command, point: &Point) {
    let run = strace::first_thread(command, &point.name, &[point.inject("signal=KILL")]);
    assert_eq!(
        run.output.status.signal(),
        Some(9),
        "{point:?} was not reached: {}",
        shown(&run.output)
    );
}

/// `repin recover` results in all old or all new files, and no other file remains.
fn recovers(tree: &Tree, after: &str) -> Holds {
    tree.world.run(&["recover"]).exits(0);
    let holds = tree.holds(&tree.set(), after);
    assert_ne!(holds, Holds::Mixed, "{after}");
    assert_eq!(tree.leftovers(), [] as [PathBuf; 0], "{after}");
    holds
}

/// `repin recover --discard` does not change the files and removes all others; the next run makes
/// all files new.
fn discards(tree: &Tree, after: &str) {
    let before: Set = tree.set();
    tree.world.run(&["recover", "--discard"]).exits(0);
    assert!(tree.set() == before, "{after}: the files were changed");
    assert_eq!(tree.leftovers(), [] as [PathBuf; 0], "{after}");
    finishes(tree, after);
}

/// A repetition of the command makes all files new.
fn finishes(tree: &Tree, after: &str) {
    let again = tree.command().output().unwrap();
    assert!(again.status.success(), "{after}: {}", shown(&again));
    assert_eq!(tree.holds(&tree.set(), after), Holds::New, "{after}");
    assert_eq!(tree.leftovers(), [] as [PathBuf; 0], "{after}");
}

/// The state after a kill is all old, all new, or reported as interrupted.
fn is_known(tree: &Tree, after: &str) -> Holds {
    let holds = tree.holds(&tree.set(), after);
    if holds == Holds::Mixed {
        let foreseen = tree
            .world
            .run(&["recover", "--dry-run", "true", "--format", "json"])
            .exits(0)
            .json();
        assert_eq!(foreseen["state"], "forward", "{after}");
    }
    holds
}

/// The number of killed runs of a sweep, and the resulting states.
#[derive(Debug, Default)]
struct Figures {
    killed: usize,
    old: usize,
    new: usize,
    mixed: usize,
}

impl Figures {
    fn count(&mut self, holds: Holds) {
        self.killed += 1;
        *match holds {
            Holds::Old => &mut self.old,
            Holds::New => &mut self.new,
            Holds::Mixed => &mut self.mixed,
        } += 1;
    }
}

/// Kills a run at its calls, and recovers or discards.
#[expect(clippy::print_stdout, reason = "the figures of a sweep")]
fn sweep(way: Way, files: usize, count: usize) {
    let tree = Tree::new(files, way);
    let all = points(&tree, &tree.command());
    let calls = all.len();
    let mut figures = Figures::default();
    for (nth, point) in sample(all, count).into_iter().enumerate() {
        for discard in [false, true] {
            // One of the two in a short sweep.
            if !is_long() && discard != (nth % 2 == 1) {
                continue;
            }
            tree.reset();
            kill(&tree.command(), &point);
            let after = format!("{way:?} of {files} files, killed at {point:?}");
            figures.count(is_known(&tree, &after));
            if discard {
                discards(&tree, &after);
            } else {
                recovers(&tree, &after);
            }
        }
    }
    assert!(figures.old > 0 && figures.new > 0, "{figures:?}");
    println!("figures: {way:?} of {files} files, {calls} calls: {figures:?}");
}

#[test]
fn killed_promotions_of_one_file_recover() {
    sweep(Way::Promote, 1, 8);
}

#[test]
fn killed_promotions_of_five_files_recover() {
    sweep(Way::Promote, 5, 12);
}

#[test]
fn killed_promotions_of_twenty_files_recover() {
    sweep(Way::Promote, 20, 8);
}

#[test]
fn killed_rollbacks_of_one_file_recover() {
    sweep(Way::Rollback, 1, 8);
}

#[test]
fn killed_rollbacks_of_five_files_recover() {
    sweep(Way::Rollback, 5, 12);
}

#[test]
fn killed_rollbacks_of_twenty_files_recover() {
    sweep(Way::Rollback, 20, 8);
}

/// The kinds of state after a killed run: after the journal, while copies are written, before,
/// between and after the exchanges, while copies are removed.
fn moments(tree: &Tree) -> Vec<Point> {
    let all = points(tree, &tree.command());
    let of = |name: &str| -> Vec<Point> {
        all.iter()
            .filter(|point| point.name == name)
            .cloned()
            .collect()
    };
    let [exchanges, renames, unlinks, modes] =
        ["renameat2", "renameat", "unlinkat", "fchmod"].map(of);
    [
        &renames[0],
        &modes[0],
        &modes[modes.len() / 2],
        renames.last().unwrap(),
        &exchanges[exchanges.len() / 2],
        exchanges.last().unwrap(),
        &unlinks[unlinks.len() - 2],
        unlinks.last().unwrap(),
    ]
    .map(Clone::clone)
    .to_vec()
}

#[test]
fn killed_recoveries_are_recovered() {
    let all = [(Way::Promote, 5), (Way::Rollback, 5), (Way::Promote, 20)];
    let some = if is_long() { &all[..] } else { &all[..1] };
    let runs: usize = thread::scope(|scope| {
        let mut threads = Vec::new();
        for (way, files) in some {
            for moment in sample(moments(&Tree::new(*files, *way)), 3) {
                threads.push(scope.spawn(move || kill_recoveries_after(*way, *files, &moment)));
            }
        }
        let runs = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        runs.sum()
    });
    println!("figures: {runs} recoveries killed");
}

/// Kills recoveries after a run that was killed at one moment, and returns their number.
fn kill_recoveries_after(way: Way, files: usize, moment: &Point) -> usize {
    let mut runs = 0;
    let tree = Tree::new(files, way);
    for args in [&["recover"][..], &["recover", "--discard"]] {
        let prepare = || {
            tree.reset();
            kill(&tree.command(), moment);
        };
        prepare();
        let recover = tree.world.command(args);
        let trace = strace::first_thread(&recover, CHANGING, &[]);
        let calls = trace.calls_in(&tree.root());
        let calls: Vec<_> = calls.into_iter().map(strace::Call::point).collect();
        for point in sample(calls, 4) {
            prepare();
            let after = format!("{way:?} of {files} at {moment:?}, {args:?} at {point:?}");
            kill(&recover, &point);
            runs += 1;
            is_known_or_discarded(&tree, args, &after);
            if args.len() == 1 {
                recovers(&tree, &after);
            } else {
                discards(&tree, &after);
            }
        }
    }
    runs
}

/// A killed `--discard` may leave a mixture, as requested; a killed `recover` leaves none that is
/// not reported.
fn is_known_or_discarded(tree: &Tree, args: &[&str], after: &str) {
    if args.len() == 1 {
        is_known(tree, after);
    } else {
        tree.holds(&tree.set(), after);
    }
}

const ERRORS: [&str; 6] = ["EIO", "ENOSPC", "EACCES", "EDQUOT", "EROFS", "EINTR"];

/// Whether a run reports a complete apply whose result it could not print.
pub fn is_unprinted(output: &Output) -> bool {
    let text = shown(output);
    text.contains("applied: ") && text.contains("cannot write to standard output")
}

/// After an error, all files are old, or all are new and the run reports this, or the journal
/// exists and the run names the command.
fn is_hindered(tree: &Tree, output: &Output, after: &str) {
    let holds = tree.holds(&tree.set(), after);
    let left = !tree.leftovers().is_empty();
    match (output.status.code(), holds, left) {
        (Some(0), Holds::New, false) | (Some(3), Holds::Old, false) => {}
        (Some(3), Holds::New, false) if is_unprinted(output) => {}
        // The write woke the runtime by an eventfd, which is not a file on the disk.
        (Some(101), Holds::Old, false) if shown(output).contains("failed to wake I/O driver") => {}
        // The same if every write fails, including that of the panic's message.
        (Some(101), Holds::Old, false) if output.stderr.is_empty() => {}
        (Some(3), _, true) => assert!(
            shown(output).contains("repin recover"),
            "{after}: {}",
            shown(output)
        ),
        _ => panic!(
            "{after}: {holds:?}, {:?}\n{}",
            tree.leftovers(),
            shown(output)
        ),
    }
    recovers(tree, after);
}

#[test]
fn failed_calls_leave_a_set_or_journal() {
    let mut runs = 0;
    for way in [Way::Promote, Way::Rollback] {
        let tree = Tree::new(5, way);
        let all = points(&tree, &tree.command());
        // The lock has separate tests: such an error is an error of the lock.
        let all: Vec<_> = all.into_iter().filter(|p| p.name != "flock").collect();
        for (nth, point) in sample(all, 8).into_iter().enumerate() {
            for (at, error) in ERRORS.into_iter().enumerate() {
                if !is_long() && at != nth % ERRORS.len() {
                    continue;
                }
                for injection in [
                    point.inject(&format!("error={error}")),
                    point.inject_from_here(&format!("error={error}")),
                ] {
                    let persists = injection.ends_with('+');
                    // Retried for as long as it lasts: that would be indefinitely.
                    if persists && error == "EINTR" || !is_long() && persists != (nth % 3 == 0) {
                        continue;
                    }
                    tree.reset();
                    let case = if persists { &point.name } else { CHANGING };
                    let run = strace::first_thread(
                        &tree.command(),
                        case,
                        std::slice::from_ref(&injection),
                    );
                    runs += 1;
                    is_hindered(&tree, &run.output, &format!("{way:?}: {injection}"));
                }
            }
        }
    }
    println!("figures: {runs} runs with an error");
}

/// Runs under a limit on the size of files: the write that reaches it is short, and the next one
/// fails (or the signal terminates the process, which is the default).
fn limited(tree: &Tree, bytes: u64, ignored: bool) -> Output {
    let inner = tree.command();
    let mut command = Command::new("bash");
    let trap = if ignored { "trap '' XFSZ; " } else { "" };
    command
        .arg("-c")
        .arg(format!(
            "{trap}exec prlimit --core=0 --fsize={bytes} -- \"$@\""
        ))
        .arg("limited")
        .arg(inner.get_program())
        .args(inner.get_args())
        .current_dir(tree.world.root())
        .env_clear();
    for (name, value) in inner.get_envs() {
        command.env(name, value.unwrap());
    }
    command.arg0("bash").output().unwrap()
}

#[test]
fn short_writes_leave_one_set_or_a_journal() {
    let tree = Tree::new(5, Way::Promote);
    let journal: usize = tree.new.values().map(|(bytes, _)| bytes.len() + 200).sum();
    let largest = tree
        .new
        .values()
        .map(|(bytes, _)| bytes.len())
        .max()
        .unwrap();
    let steps = if is_long() { 60 } else { 6 };
    let mut seen = [0, 0];
    for step in 0..=steps {
        // The journal is written first and is the longest: below its length no copy is reached.
        let bytes = journal * step / steps;
        for ignored in [true, false] {
            tree.reset();
            let after = format!("a limit of {bytes} bytes, signal ignored: {ignored}");
            let output = limited(&tree, bytes as u64, ignored);
            let done = output.status.success();
            seen[usize::from(done)] += 1;
            if ignored {
                is_hindered(&tree, &output, &after);
            } else {
                is_known(&tree, &after);
                recovers(&tree, &after);
            }
        }
    }
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}, largest {largest}");
    println!("figures: {} runs with short writes", seen[0] + seen[1]);
}

/// The journal is longer than any copy, so a limit from the beginning never meets one: it is set once
/// a copy has been created.
#[test]
fn short_writes_of_copies_leave_one_set() {
    let tree = Tree::new(5, Way::Promote);
    let inner = tree.command();
    let mut command = Command::new("bash");
    command
        .args(["-c", "trap '' XFSZ; exec \"$@\"", "limited"])
        .arg(inner.get_program())
        .args(inner.get_args())
        .current_dir(tree.world.root())
        .env_clear();
    for (name, value) in inner.get_envs() {
        command.env(name, value.unwrap());
    }
    let trace = strace::trace(&command, "%file,%desc", &[]);
    let copies = trace.calls.iter().filter(|call| {
        call.name == "openat" && call.text.contains("\".repin-") && call.text.contains("O_CREAT")
    });
    let copies: Vec<_> = copies.map(strace::Call::point).collect();
    assert_eq!(copies.len(), 5);
    let shortest = tree.new.values().map(|(bytes, _)| bytes.len()).min();
    let mut runs = 0;
    for point in sample(copies, 2) {
        for bytes in [0, 1, shortest.unwrap() / 2, shortest.unwrap() - 1] {
            tree.reset();
            let stopped = strace::stop_after(&command, &point, &[]);
            stopped.limit_files(bytes);
            let output = stopped.go_on().output;
            let after = format!("a limit of {bytes} bytes from {point:?} on");
            assert_eq!(output.status.code(), Some(3), "{after}: {}", shown(&output));
            is_hindered(&tree, &output, &after);
            runs += 1;
        }
    }
    println!("figures: {runs} runs with short writes of a copy");
}

#[test]
fn a_run_after_a_killed_one_finishes() {
    let tree = Tree::new(5, Way::Rollback);
    for point in sample(points(&tree, &tree.command()), 8) {
        tree.reset();
        kill(&tree.command(), &point);
        finishes(&tree, &format!("{point:?}"));
    }
}

/// An editor holds a file open across a killed run. After the exchange the descriptor leads to the
/// copy, so the copy is the only file with the text of the editor.
#[test]
fn edit_after_a_kill_is_kept() {
    let mut runs = 0;
    for way in [Way::Promote, Way::Rollback] {
        let tree = Tree::new(5, way);
        let exchanges = points(&tree, &tree.command()).into_iter();
        let exchanges = exchanges.filter(|point| point.name == "renameat2").skip(1);
        for point in sample(exchanges.collect(), 2) {
            tree.reset();
            let first = tree.old.keys().next().unwrap();
            let mut editor = fs::File::options()
                .append(true)
                .open(tree.world.path(first))
                .unwrap();
            kill(&tree.command(), &point);
            editor.write_all(b"\n# typed late").unwrap();
            let typed = [&tree.old[first].0[..], b"\n# typed late"].concat();
            let (before, after) = (tree.set(), format!("{way:?}, killed at {point:?}"));
            let copy = |tree: &Tree| {
                let left = tree.leftovers();
                let mut with = left.iter().filter(|path| fs::read(path).unwrap() == typed);
                with.next().cloned()
            };
            let copied = copy(&tree).unwrap_or_else(|| panic!("{after}: no copy has the edit"));
            let refused = tree.world.run(&["recover"]).exits(5);
            let name = copied.file_name().unwrap().to_str().unwrap();
            assert!(refused.stderr.contains(name), "{after}: {}", refused.stderr);
            assert!(tree.set() == before, "{after}: the files were changed");
            tree.world.run(&["recover", "--discard"]).exits(0);
            assert!(tree.set() == before, "{after}: the files were changed");
            assert_eq!(tree.leftovers(), [copied], "{after}");
            assert!(copy(&tree).is_some(), "{after}: the edit is lost");
            runs += 1;
        }
    }
    println!("figures: {runs} edits of copies after a kill");
}

/// In a separate mount namespace: a small file system with a copy of a tree, filled except for some
/// pages; the program; and a copy of the result.
const ON_A_SMALL_DISK: &str = r#"set -eu
mount -t tmpfs -o size=64k none "$MOUNT" || exit 97
cp -a "$TREE/." "$MOUNT/"
cd "$MOUNT"
head -c 1000000 /dev/zero >filler 2>"$OUT/full" || true
truncate -s "$((size = $(stat -c %s filler) - FREE * 4096, size < 0 ? 0 : size))" filler
set +e
"$@" >"$OUT/stdout" 2>"$OUT/stderr"
echo "$?" >"$OUT/exit"
set -e
rm filler
cp -a . "$OUT/tree""#;

#[test]
fn full_disk_is_reported_without_a_change() {
    let world = world();
    let images = format!("ghcr.io/acme=oci:{}", world.path("images").display());
    let tree = tempfile::tempdir().unwrap();
    for path in [
        "repin.yaml",
        ".github/workflows/a.yml",
        ".github/workflows/b.yml",
    ] {
        fs::create_dir_all(tree.path().join(path).parent().unwrap()).unwrap();
        fs::copy(world.path(path), tree.path().join(path)).unwrap();
    }
    let before = held(tree.path());
    let mut outcomes = [0, 0];
    for free in 0..8 {
        let [mount, out] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let mut command = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            command.arg("-r");
        }
        let program = world.command(&[
            "promote",
            "--revision",
            REV_B,
            "--apply",
            "--source",
            &images,
        ]);
        command
            .args(["-m", "bash", "-c", ON_A_SMALL_DISK, "small"])
            .arg(program.get_program())
            .args(program.get_args())
            .env("MOUNT", mount.path())
            .env("TREE", tree.path())
            .env("OUT", out.path())
            .env("FREE", free.to_string());
        let ran = command.output().unwrap();
        if !out.path().join("full").exists() {
            return skip(
                "full_disk_is_reported_without_a_change",
                "no tmpfs can be mounted in a separate namespace (unshare -m)",
            );
        }
        assert!(ran.status.success(), "{}", shown(&ran));
        let read = |name: &str| fs::read_to_string(out.path().join(name)).unwrap();
        let (exit, message) = (read("exit"), read("stdout") + &read("stderr"));
        let after = held(&out.path().join("tree"));
        if exit == "0\n" {
            outcomes[1] += 1;
            assert!(
                after
                    .iter()
                    .zip(&before)
                    .filter(|(new, old)| new != old)
                    .count()
                    == 2
            );
            assert_eq!(after.len(), before.len());
            continue;
        }
        outcomes[0] += 1;
        assert_eq!(exit, "3\n", "{message}");
        assert!(message.contains("No space left on device"), "{message}");
        assert!(message.contains("no file was changed"), "{message}");
        assert!(after == before, "{free} free pages: {:?}", after.keys());
    }
    assert!(outcomes[0] > 2 && outcomes[1] > 0, "{outcomes:?}");
}

/// Contents and modes of all files below a directory but the lock's.
fn held(root: &Path) -> BTreeMap<PathBuf, (Vec<u8>, u32)> {
    let files = files_below(root, &[]).into_iter();
    let files = files.filter(|path| !path.ends_with(".repin/lock"));
    let held = files.map(|path| {
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        let below = path.strip_prefix(root).unwrap().to_owned();
        (below, (fs::read(&path).unwrap(), mode))
    });
    held.collect()
}
