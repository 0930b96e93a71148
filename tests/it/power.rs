//! Power cuts: the system calls of runs are recorded, every possible state of the disk after a cut
//! is generated (`support/power.rs`), and `recover` must result in all old or all new files.
//!
//! A bounded sample with a fixed seed in every run; more with `REPIN_SWEEP=long`
//! (`scripts/crash-sweep`), which prints the number of states.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
};

use crate::{
    kills::is_unprinted,
    support::{
        power::{CHANGING, Files, History, materialise},
        strace::{self, Call, Point},
        sweep::is_long,
        tree::{Holds, Set, Tree, Way, files_below, is_lock},
    },
};

const SEED: u64 = 20_261_121;

/// A history of runs on a tree, and the states that were checked.
struct Cuts<'a> {
    tree: &'a Tree,
    history: History,
    /// The approximate number of losses that are simulated after each operation.
    limit: usize,
    chance: fastrand::Rng,
    seen: HashSet<u64>,
    /// The failed sync was of a removal: the removed file may reappear.
    copies_may_stay: bool,
    made: usize,
    ways: usize,
}

impl<'a> Cuts<'a> {
    /// From a tree that is on the disk as it is.
    fn of(tree: &'a Tree, limit: usize) -> Self {
        tree.reset();
        Self {
            tree,
            limit,
            history: History::of(&tree.root()),
            chance: fastrand::Rng::with_seed(SEED),
            seen: HashSet::new(),
            copies_may_stay: false,
            made: 0,
            ways: 0,
        }
    }

    /// Runs a command; returns its exit, `None` if it was killed.
    fn run(&mut self, command: &Command, injections: &[String]) -> Option<i32> {
        self.output(command, injections).status.code()
    }

    fn output(&mut self, command: &Command, injections: &[String]) -> Output {
        let trace = strace::first_thread(command, CHANGING, injections);
        self.history.add(&trace);
        self.history.is_true();
        trace.output
    }

    /// Cuts the power after each operation from `first` on, and at the end; `allowed` checks the
    /// files after `recover`, and receives whether the cut is at the end.
    fn cut(&mut self, first: usize, after: &str, allowed: impl Fn(&Set, bool) -> bool) {
        let last = self.history.len();
        for done in first..=last {
            self.made += 1;
            let mut states = Vec::new();
            self.history
                .cut(done, self.limit, &mut self.chance, |files| {
                    self.ways += 1;
                    let mut hasher = DefaultHasher::new();
                    (done == last, &files).hash(&mut hasher);
                    if self.seen.insert(hasher.finish()) {
                        states.push(files);
                    }
                });
            for files in states {
                let after = format!("{after}, cut after {done} of {last} operations");
                let set = self.recovered(&files, &after);
                assert!(
                    allowed(&set, done == last),
                    "{after}: {:?} breaks the promise: {:#?}",
                    self.tree.holds(&set, &after),
                    summary(&files)
                );
            }
        }
    }

    /// The contents of the files after `recover` of a state; it must remove all temporary files.
    fn recovered(&mut self, files: &Files, after: &str) -> Set {
        let scratch = scratch();
        materialise(files, scratch.path());
        let mut recover = self.tree.world.command(&["recover"]);
        let output = recover.current_dir(scratch.path()).output().unwrap();
        assert!(
            output.status.success(),
            "{after}: {output:?}: {:#?}",
            summary(files)
        );
        let left = files_below(scratch.path(), &[]);
        let left: Vec<_> = left
            .into_iter()
            .filter(|path| !is_lock(path) && is_reserved(path) && !self.copies_may_stay)
            .collect();
        assert_eq!(left, [] as [PathBuf; 0], "{after}: {:#?}", summary(files));
        let set = self.tree.set_in(scratch.path());
        self.tree.holds(&set, after);
        set
    }

    #[expect(clippy::print_stdout, reason = "the figures of a sweep")]
    fn figures(&self, case: &str) {
        println!(
            "figures: {case}: {} operations, {} cuts, {} ways to lose something, {} states",
            self.history.len(),
            self.made,
            self.ways,
            self.seen.len()
        );
    }
}

/// A directory for states, in memory where that can be had.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        tempfile::tempdir_in(memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    }
}

fn is_reserved(path: &Path) -> bool {
    path.to_str().unwrap().contains(".git/repin/")
        || path
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with(".repin")
}

/// Names, lengths and modes.
fn summary(files: &Files) -> Vec<String> {
    let shown = files.iter().map(|(path, (file, node))| {
        let first = String::from_utf8_lossy(&node.bytes[..node.bytes.len().min(60)]).into_owned();
        format!(
            "{} #{file} {:o} {} bytes {first:?}",
            path.display(),
            node.mode,
            node.bytes.len()
        )
    });
    shown.collect()
}

/// The number of ways after each operation of a single run.
fn of_one_run(tree: &Tree) -> usize {
    match (is_long(), tree.old.len()) {
        (false, _) => 6,
        (true, ..=5) => 400,
        (true, _) => 40,
    }
}

/// The same with a history for each call.
const OF_TWO_RUNS: usize = 4;

fn trees() -> Vec<Tree> {
    if is_long() {
        let all = [1, 5, 20].map(|files| [Way::Promote, Way::Rollback].map(|way| (files, way)));
        all.as_flattened()
            .iter()
            .map(|(files, way)| Tree::new(*files, *way))
            .collect()
    } else {
        vec![Tree::new(3, Way::Promote)]
    }
}

/// All old or all new; new at the end of a run that reported a change.
fn old_or_new(tree: &Tree, exit: Option<i32>) -> impl Fn(&Set, bool) -> bool + '_ {
    move |set, at_the_end| match (tree.holds(set, ""), exit, at_the_end) {
        (Holds::New, Some(0), true) => true,
        (_, Some(0), true) => false,
        (holds, ..) => holds != Holds::Mixed,
    }
}

#[test]
fn power_cut_during_apply_leaves_one_set() {
    for tree in trees() {
        let mut cuts = Cuts::of(&tree, of_one_run(&tree));
        let exit = cuts.run(&tree.command(), &[]);
        assert_eq!(exit, Some(0));
        cuts.cut(0, "applied", old_or_new(&tree, exit));
        cuts.figures(&format!("{:?} of {} files", tree.way, tree.old.len()));
    }
}

#[test]
fn power_cut_with_links_leaves_one_set() {
    thread::scope(|scope| {
        for tree in trees() {
            scope.spawn(move || {
                let mut cuts = Cuts::of(&tree, of_one_run(&tree));
                let exit = cuts.run(&tree.command(), &["renameat2:error=ENOSYS".to_owned()]);
                assert_eq!(exit, Some(0));
                cuts.cut(0, "applied by links", old_or_new(&tree, exit));
                cuts.figures(&format!(
                    "{:?} of {} files by links",
                    tree.way,
                    tree.old.len()
                ));
            });
        }
    });
}

/// The calls of a clean run that changed something in the tree.
fn points(tree: &Tree) -> Vec<Point> {
    tree.reset();
    let trace = strace::first_thread(&tree.command(), CHANGING, &[]);
    let calls = trace.calls_in(&tree.root()).into_iter();
    let changing = calls.filter(|call| call.name != "openat" || call.text.contains("O_CREAT"));
    changing.map(Call::point).collect()
}

/// All in a long sweep, otherwise the calls for the journal's directories, and a sample.
fn every<T>(all: Vec<T>, step: usize) -> Vec<T> {
    let chosen = |at: usize| is_long() || at < 4 || at.is_multiple_of(step);
    let numbered = all.into_iter().enumerate();
    numbered
        .filter(|(at, _)| chosen(*at))
        .map(|(_, one)| one)
        .collect()
}

#[test]
fn power_cut_during_undo_leaves_one_set() {
    for tree in trees().into_iter().take(4) {
        let mut figures = [0; 2];
        for point in every(points(&tree), 14) {
            let mut cuts = Cuts::of(&tree, OF_TWO_RUNS);
            let injection = point.inject("error=EIO");
            let output = cuts.output(&tree.command(), std::slice::from_ref(&injection));
            // A run that only could not print its result is complete.
            let exit = match output.status.code() {
                Some(3) if is_unprinted(&output) => Some(0),
                exit => exit,
            };
            let undone = exit != Some(0) && tree.leftovers().is_empty();
            // The run is finished by then, but the disk refused to sync the removal of the copies.
            cuts.copies_may_stay = exit == Some(0) && point.name == "fsync";
            cuts.cut(0, &injection, |set, at_the_end| {
                let holds = tree.holds(set, "");
                // A change that was reported as undone is undone.
                if undone && at_the_end {
                    holds == Holds::Old
                } else {
                    old_or_new(&tree, exit)(set, at_the_end)
                }
            });
            figures[0] += 1;
            figures[1] += cuts.seen.len();
        }
        let [runs, states] = figures;
        println!(
            "figures: {:?} of {} files, an error and then a cut: {runs} runs, {states} states",
            tree.way,
            tree.old.len()
        );
    }
}

#[test]
fn power_cut_after_kill_leaves_one_set() {
    for tree in trees().into_iter().take(4) {
        let mut figures = [0; 2];
        for point in every(points(&tree), 16) {
            let kill = [point.inject("signal=KILL")];
            let recover = tree.world.command(&["recover"]);
            for (next, command) in [("recover", recover), ("the same again", tree.command())] {
                let mut cuts = Cuts::of(&tree, OF_TWO_RUNS);
                assert_eq!(cuts.run(&tree.command(), &kill), None, "{point:?}");
                let first = cuts.history.len();
                let exit = cuts.run(&command, &[]);
                assert_eq!(exit, Some(0), "{point:?}, {next}");
                let now = tree.set();
                cuts.cut(
                    first,
                    &format!("{kill:?}, then {next}"),
                    |set, at_the_end| {
                        if at_the_end {
                            *set == now
                        } else {
                            tree.holds(set, "") != Holds::Mixed
                        }
                    },
                );
                figures[0] += 1;
                figures[1] += cuts.seen.len();
            }
        }
        let [runs, states] = figures;
        println!(
            "figures: {:?} of {} files, a kill, another run and then a cut: {runs} runs, {states} states",
            tree.way,
            tree.old.len()
        );
    }
}

#[test]
fn discarded_state_survives_a_power_cut() {
    for tree in trees().into_iter().take(4) {
        let mut figures = [0; 2];
        for point in every(points(&tree), 8) {
            let mut cuts = Cuts::of(&tree, OF_TWO_RUNS);
            let kill = [point.inject("signal=KILL")];
            assert_eq!(cuts.run(&tree.command(), &kill), None, "{point:?}");
            let first = cuts.history.len();
            let now = tree.set();
            let exit = cuts.run(&tree.world.command(&["recover", "--discard"]), &[]);
            assert_eq!(exit, Some(0), "{point:?}");
            // `--discard` accepts the files as they are; before that, `recover` finishes.
            cuts.cut(
                first,
                &format!("{kill:?}, then discard"),
                |set, at_the_end| *set == now || !at_the_end && tree.holds(set, "") != Holds::Mixed,
            );
            figures[0] += 1;
            figures[1] += cuts.seen.len();
        }
        let [runs, states] = figures;
        println!(
            "figures: {:?} of {} files, a kill, a discard and then a cut: {runs} runs, {states} states",
            tree.way,
            tree.old.len()
        );
    }
}

/// A run without a sync is noticed: strace simulates the success of one sync after the other, and
/// some cut then breaks the promise.
#[test]
fn a_sync_that_is_left_out_is_noticed() {
    let tree = Tree::new(3, Way::Promote);
    let trace = strace::first_thread(&tree.command(), "fsync", &[]);
    let root = tree.root();
    let syncs = trace.calls_in(&root);
    let mut unnoticed = Vec::new();
    for (at, sync) in syncs.iter().enumerate() {
        let mut cuts = Cuts::of(&tree, 40);
        let exit = cuts.run(&tree.command(), &[sync.point().inject("retval=0")]);
        assert_eq!(exit, Some(0));
        let promised = std::panic::AssertUnwindSafe(|| {
            cuts.cut(0, "a sync is missing", old_or_new(&tree, exit));
        });
        if std::panic::catch_unwind(promised).is_ok() {
            unnoticed.push(at);
        }
    }
    println!(
        "figures: {} syncs of an apply, {} of them missing unnoticed",
        syncs.len(),
        unnoticed.len()
    );
    // Both directories and the journal's after staging, both after the exchanges, and the journal's
    // at the end: without them, recovery rewrites copies, repeats the exchange, or drops the
    // journal once more. They distinguish an edit from a half-written copy (`apply::state`).
    assert_eq!(unnoticed, [7, 8, 9, 10, 11, 14]);
}
