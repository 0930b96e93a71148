//! Concurrent runs and editors in one work tree: the files are one whole set in the end, and no
//! edit is lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Child, Output, Stdio},
};

use crate::support::{
    strace::{self, Point},
    sweep::is_long,
    tree::{Tree, Way},
    world::{REV_A, REV_B, REV_C},
};

const FILES: usize = 6;
/// The prefix of lines that editors add.
const EDIT: &str = "\n# edit ";

/// Six files, promoted to A and then to B; C was never promoted.
fn tree() -> Tree {
    Tree::new(FILES, Way::Rollback)
}

fn started(tree: &Tree, args: &[&str]) -> Child {
    let mut command = tree.world.command(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// `count` runs, all started before the first one finishes.
fn crowd(tree: &Tree, runs: usize) -> Vec<Child> {
    let kinds: [&[&str]; 5] = [
        &["promote", "--revision", REV_C, "--apply"],
        &["rollback", "--to", REV_A, "--apply"],
        &["promote", "--revision", REV_B, "--apply"],
        &["recover"],
        &["promote", "--revision", REV_C, "--apply"],
    ];
    (0..runs)
        .map(|run| started(tree, kinds[run % kinds.len()]))
        .collect()
}

/// Checks that every run succeeded or reports the holder of the lock; returns the number of
/// successes.
fn ended(runs: Vec<Child>) -> usize {
    let outputs: Vec<Output> = runs
        .into_iter()
        .map(|run| run.wait_with_output().unwrap())
        .collect();
    let mut done = 0;
    for output in outputs {
        let text =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(0) => done += 1,
            Some(5) => assert!(
                [
                    "holds the lock",
                    "was changed after",
                    "neither the old nor",
                    "holds foreign content"
                ]
                .iter()
                .any(|reason| text.contains(reason)),
                "{text}"
            ),
            _ => panic!("{:?}: {text}", output.status),
        }
    }
    done
}

/// A file without the lines of editors.
fn without_edits(text: &str) -> String {
    let mut parts = text.split(EDIT);
    let first = parts.next().unwrap().to_owned();
    assert!(parts.all(|part| part.parse::<usize>().is_ok()), "{text}");
    first
}

/// The revision that every one of these files is pinned to, byte by byte.
fn sets<'a>(tree: &'a Tree, files: impl IntoIterator<Item = &'a String>) -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    for path in files {
        let text = without_edits(&tree.world.read(path));
        let at_b = String::from_utf8(tree.old[path].0.clone()).unwrap();
        let is = |revision: &&&'static str| {
            let expected = ["review", "fix"].iter().fold(at_b.clone(), |text, image| {
                let [from, to] = [REV_B, revision].map(|r| tree.world.digest(image, r));
                text.replace(from, to)
            });
            expected == text
        };
        let set = [REV_A, REV_B, REV_C].iter().find(is).copied();
        found.insert(set.unwrap_or_else(|| panic!("{path} is of no set: {text}")));
    }
    found
}

fn modes(tree: &Tree) -> BTreeMap<String, u32> {
    tree.set()
        .into_iter()
        .map(|(path, (_, mode))| (path, mode))
        .collect()
}

fn rounds() -> usize {
    if is_long() { 20 } else { 1 }
}

#[test]
fn fifty_concurrent_runs_result_in_one_set() {
    let tree = tree();
    let mut done = 0;
    for _ in 0..rounds() {
        done += ended(crowd(&tree, 50));
        assert_eq!(sets(&tree, tree.old.keys()).len(), 1);
        assert_eq!(tree.leftovers(), [] as [PathBuf; 0]);
        let old: BTreeMap<_, _> = tree
            .old
            .iter()
            .map(|(path, (_, mode))| (path.clone(), *mode))
            .collect();
        assert_eq!(modes(&tree), old);
    }
    assert!(done > 0, "no run got the lock");
    println!(
        "figures: {} runs at once, {done} of {} had the lock",
        50,
        50 * rounds()
    );
}

/// Appends to a file in place, like an editor that checks that it wrote to the file at that
/// path.
fn append(path: &Path, edit: usize) {
    loop {
        let Ok(mut file) = fs::OpenOptions::new().append(true).open(path) else {
            continue;
        };
        write!(file, "{EDIT}{edit}").unwrap();
        let written = file.metadata().unwrap().ino();
        if fs::metadata(path).is_ok_and(|there| there.ino() == written) {
            return;
        }
    }
}

/// Writes a temporary file in the same directory and renames it over the original.
fn replace(path: &Path, edit: usize) {
    let text = fs::read_to_string(path).unwrap();
    let beside = path.with_extension("editor");
    fs::write(&beside, format!("{text}{EDIT}{edit}")).unwrap();
    fs::set_permissions(&beside, fs::metadata(path).unwrap().permissions()).unwrap();
    fs::rename(&beside, path).unwrap();
}

/// Everything that a name in the work tree holds.
fn everything(tree: &Tree) -> String {
    let paths = tree.old.keys().map(|path| tree.world.path(path));
    let texts = paths
        .chain(tree.leftovers())
        .map(|path| fs::read(path).unwrap());
    texts
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned() + "\n")
        .collect()
}

#[test]
fn edits_during_many_runs_are_never_lost() {
    const EDITS: usize = 30;
    let (mut done, mut unresolved) = (0, 0);
    for _ in 0..rounds() {
        let tree = tree();
        let names: Vec<&String> = tree.old.keys().collect();
        let edited: Vec<PathBuf> = names[..2]
            .iter()
            .map(|name| tree.world.path(name))
            .collect();
        std::thread::scope(|scope| {
            scope.spawn(|| (0..EDITS).for_each(|edit| append(&edited[0], edit)));
            scope.spawn(|| (EDITS..2 * EDITS).for_each(|edit| replace(&edited[1], edit)));
            done += ended(crowd(&tree, 20));
        });
        let recovered = tree.world.run(&["recover"]);
        if recovered.code == 5 {
            // An editor wrote to a new content during its removal: a user must resolve this.
            unresolved += 1;
            tree.world.run(&["recover", "--discard"]).exits(0);
        } else {
            recovered.exits(0);
            // The editors overwrote none of these.
            assert_eq!(sets(&tree, names[2..].iter().copied()).len(), 1);
            assert_eq!(tree.leftovers(), [] as [PathBuf; 0]);
        }
        let text = everything(&tree);
        for edit in 0..2 * EDITS {
            assert!(
                text.contains(&format!("{EDIT}{edit}\n")),
                "edit {edit} is lost: {text}"
            );
        }
        tree.world
            .run(&["promote", "--revision", REV_C, "--apply"])
            .exits(0);
        assert_eq!(sets(&tree, tree.old.keys()), [REV_C].into());
    }
    println!(
        "figures: {} rounds with editors, {done} runs had the lock, {unresolved} unresolved",
        rounds()
    );
}

#[test]
fn refused_runs_report_the_lock_holder() {
    let tree = tree();
    let lock = Point {
        name: "renameat2".to_owned(),
        nth: 1,
    };
    let first = strace::stop_after(&tree.command(), &lock, &[]);
    let turned_away: [&[&str]; 3] = [
        &["recover"],
        &["rollback", "--to", REV_A, "--apply"],
        &["doctor"],
    ];
    for args in turned_away {
        let ran = tree.world.run(args);
        let text = ran.stdout + &ran.stderr;
        assert!(text.contains("holds the lock"), "{text}");
        assert!(text.contains("`repin rollback`, process "), "{text}");
        assert_eq!(ran.code, 5, "{args:?}: {text}");
    }
    // A full disk takes the lock and not the text.
    let states = fs::read_dir(tree.world.path(".git/repin")).unwrap();
    let locks: Vec<_> = states
        .map(|state| state.unwrap().path().join("lock"))
        .collect();
    assert!(fs::read_to_string(&locks[0]).unwrap().contains("rollback"));
    fs::write(&locks[0], "").unwrap();
    let ran = tree.world.run(&["recover"]).exits(5);
    let text = ran.stdout + &ran.stderr;
    assert!(text.contains("holds the lock"), "{text}");
    assert!(!text.contains("lock: "), "the holder is missing: {text}");
    assert!(first.go_on().output.status.success());
    // The text stays and means nothing: the lock is free.
    tree.world.run(&["recover"]).exits(0);
}
