//! Answers that are kept in the repository: the history that is read with them is the one that git tells.

use std::{collections::BTreeMap, fs, os::unix::fs::symlink, path::Path, time::Duration};

use proptest::prelude::*;
use repin::{
    config,
    git::Git,
    history::History,
    oci::{Pattern, Revision},
};
use sha2::{Digest as _, Sha256};

use crate::support::repo::{self, CONFIG, Repo, pin, title};

const BUILDS: [char; 6] = ['a', 'b', 'c', 'd', 'e', 'f'];

fn revision(build: char) -> Revision {
    let pattern = Pattern::parse(".*").unwrap();
    pattern.revision(&repo::revision(build)).unwrap()
}

/// All that a history tells; a broken configuration of the work tree is replaced.
fn told(root: &Path, git: &Git) -> String {
    let file = root.join("repin.yaml");
    let config = config::load(&file, "repin.yaml").unwrap_or_else(|_| {
        fs::write(&file, CONFIG).unwrap();
        config::load(&file, "repin.yaml").unwrap()
    });
    let branch = git.branch(None).unwrap();
    let history = match History::of_branch_and_kept(git, &config, branch) {
        Ok(history) => history,
        Err(error) => return format!("{error:?}"),
    };
    let changed: BTreeMap<_, _> = history.changed_files().into_iter().collect();
    let of_builds = BUILDS.map(|build| {
        let revision = revision(build);
        (
            history.provenance(&revision),
            format!("{:?}", history.held(&revision)),
        )
    });
    format!(
        "{:#?}",
        (
            history.listed(),
            &history.unreadable,
            history.shallow,
            (history.claimed_tags(), history.in_places(), changed),
            (history.ever_pinned(), history.holds(), of_builds),
        )
    )
}

fn told_by_git(repo: &Repo) -> String {
    let (kept, away) = (repo.join(".git/repin-history"), repo.join(".git/away"));
    let moved = fs::rename(&kept, &away).is_ok();
    let told = told(repo.path(), &Git::open(repo.path()).unwrap());
    if moved {
        fs::remove_dir_all(&kept).unwrap();
        fs::rename(&away, &kept).unwrap();
    }
    told
}

fn told_with_what_is_kept(repo: &Repo) -> String {
    told(repo.path(), &Git::open(repo.path()).unwrap())
}

/// Git, with a script before it that may do something else.
fn scripted(repo: &Repo, script: &str) -> Git {
    repo.script(".git/git.sh", &format!("{script}\nexec git \"$@\"\n"));
    Git::open_with(repo.join(".git/git.sh").as_os_str(), repo.path()).unwrap()
}

/// A git that writes down how its `log` is called.
fn watched(repo: &Repo) -> Git {
    watched_at(repo, "exec git version")
}

/// The same; `version` prints its version.
fn watched_at(repo: &Repo, version: &str) -> Git {
    let calls = repo.join(".git/calls");
    fs::write(&calls, "").unwrap();
    let script = format!(
        "case \" $* \" in *' version '*) {version}; exit;; *' log '*) echo \"$*\" >> '{}';; esac",
        calls.display()
    );
    scripted(repo, &script)
}

fn calls(repo: &Repo) -> Vec<String> {
    let calls = fs::read_to_string(repo.join(".git/calls")).unwrap();
    calls.lines().map(str::to_owned).collect()
}

fn kept_files(repo: &Repo) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(repo.join(".git/repin-history")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// A repository with merges, a rollback and a configuration that changed.
fn story() -> Repo {
    let repo = Repo::new();
    repo.promote('a');
    repo.branch("side").promote('b');
    repo.checkout("main").merge(&["side"], "merge");
    repo.promote('c');
    repo.pins('a').commit("back");
    repo.write(
        "repin.yaml",
        format!("{CONFIG}promote: {{ title: 'set {{name}} @{{revision}}' }}\n"),
    );
    repo.commit("other titles");
    repo.promote('d');
    repo.publish();
    repo
}

#[test]
fn git_is_asked_for_new_commits_alone() {
    let repo = story();
    let first = repo.head();
    let git = watched(&repo);
    let told_first = told(repo.path(), &git);
    assert_eq!(calls(&repo).len(), 2, "{:?}", calls(&repo));
    assert!(
        calls(&repo)
            .iter()
            .all(|call| !call.contains(&format!("^{first}")))
    );

    let git = watched(&repo);
    assert_eq!(told(repo.path(), &git), told_first);
    assert_eq!(calls(&repo), [] as [&str; 0]);

    repo.promote('e');
    repo.publish();
    let git = watched(&repo);
    let told_then = told(repo.path(), &git);
    let asked = calls(&repo);
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(
        asked.iter().all(|call| call.contains(&format!("^{first}"))),
        "{asked:?}"
    );
    assert_eq!(told_then, told_by_git(&repo));

    let git = watched(&repo);
    assert_eq!(told(repo.path(), &git), told_then);
    assert_eq!(calls(&repo), [] as [&str; 0]);
}

#[test]
fn what_is_not_behind_the_new_tip_counts_for_nothing() {
    let repo = story();
    let begun = repo.head();
    repo.promote('e');
    repo.publish();
    let newer = told_with_what_is_kept(&repo);
    // An older tip; another commit in the place of the last one; a merge whose second parent was the tip.
    repo.git(&["reset", "-q", "--hard", &begun]);
    repo.publish();
    let older = told_with_what_is_kept(&repo);
    assert_ne!(older, newer);
    assert_eq!(older, told_by_git(&repo));
    repo.promote('f');
    repo.publish();
    assert_eq!(told_with_what_is_kept(&repo), told_by_git(&repo));

    let tip = repo.head();
    repo.git(&["checkout", "-q", "-b", "other", &begun]);
    repo.write("other", "").commit("other");
    repo.merge(&[&tip], "the other way round");
    repo.publish();
    assert_eq!(told_with_what_is_kept(&repo), told_by_git(&repo));
}

#[test]
fn damaged_answers_count_for_nothing_and_are_kept_anew() {
    let repo = story();
    let whole = told_with_what_is_kept(&repo);
    let files = kept_files(&repo);
    assert_eq!(files.len(), 3);
    for file in files {
        let bytes = fs::read(&file).unwrap();
        let mut flipped = bytes.clone();
        *flipped.last_mut().unwrap() ^= 1;
        let mut other_tip = bytes.clone();
        let tip = bytes
            .windows(2)
            .position(|at| at[0] == b'\n' && at[1] != b'g');
        other_tip[tip.unwrap() + 1] ^= 1;
        for damaged in [
            &bytes[..bytes.len() - 1],
            &bytes[..20],
            b"",
            &flipped,
            &other_tip,
        ] {
            fs::write(&file, damaged).unwrap();
            assert_eq!(told_with_what_is_kept(&repo), whole, "{}", file.display());
            assert_eq!(
                fs::read(&file).unwrap().len(),
                bytes.len(),
                "{}",
                file.display()
            );
        }
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert_eq!(told_with_what_is_kept(&repo), whole);
        fs::remove_dir(&file).unwrap();
    }
}

/// Replaces an answer with this content, in a file with this format and a matching hash.
fn replace(file: &std::path::Path, format: &str, content: &[u8]) {
    let bytes = fs::read(file).unwrap();
    let head: Vec<_> = bytes.splitn(4, |byte| *byte == b'\n').collect();
    let frames = zstd::encode_all(content, 1).unwrap();
    let head = [
        format.as_bytes(),
        head[1],
        head[2],
        hex::encode(Sha256::digest(&frames)).as_bytes(),
        b"",
    ]
    .join(&b'\n');
    fs::write(file, [head, frames].concat()).unwrap();
}

/// The answers of `git log`, and the file with the pins of contents, which has no tip.
fn logs_and_scans(repo: &Repo) -> (Vec<std::path::PathBuf>, std::path::PathBuf) {
    let has_tip = |file: &std::path::PathBuf| {
        let bytes = fs::read(file).unwrap();
        let tip = bytes.split(|byte| *byte == b'\n').nth(2).unwrap();
        !tip.is_empty()
    };
    let (logs, scans): (Vec<_>, Vec<_>) = kept_files(repo).into_iter().partition(has_tip);
    let [scans] = <[_; 1]>::try_from(scans).unwrap();
    (logs, scans)
}

#[test]
fn malformed_answers_are_removed_and_requested_again() {
    let repo = story();
    let expected = told_with_what_is_kept(&repo);
    let (logs, scans) = logs_and_scans(&repo);
    assert_eq!(logs.len(), 2);
    for file in &logs {
        replace(file, "repin kept/1", b"no commit");
        let error = told_with_what_is_kept(&repo);
        assert!(error.contains("Malformed"), "{error}");
        assert!(!file.exists(), "{}", file.display());
        assert_eq!(told_with_what_is_kept(&repo), expected);
    }
    // A truncated entry, and an image number that is out of range.
    let pinned = hex::decode(
        repo.git(&["rev-parse", "HEAD:.github/workflows/fix.yml"])
            .trim(),
    )
    .unwrap();
    let image = [&[20][..], &pinned, &[1, 0, 0, 0], &[2, 0, 0, 0], &[7; 32]].concat();
    for content in [&[20][..], &image] {
        replace(&scans, "repin kept/1", content);
        assert_eq!(told_with_what_is_kept(&repo), expected);
        let replaced = fs::read(&scans).unwrap();
        // Now it can be read, and nothing is added.
        assert_eq!(told_with_what_is_kept(&repo), expected);
        assert_eq!(fs::read(&scans).unwrap(), replaced);
    }
    for file in logs.iter().chain([&scans]) {
        replace(file, "repin kept/0", b"no commit");
        assert_eq!(told_with_what_is_kept(&repo), expected);
    }
}

#[test]
fn output_of_a_failed_git_log_is_discarded() {
    let repo = story();
    told_with_what_is_kept(&repo);
    for build in ['e', 'f'] {
        repo.promote(build);
    }
    repo.publish();
    let all = repo.join(".git/all");
    let git = |answer: &str| {
        let answer = answer.replace("ALL", &format!("'{}'", all.display()));
        let script = format!("case \" $* \" in *--first-parent*' ^'*) {answer}; exit;; esac");
        scripted(&repo, &script)
    };
    let config = config::load(&repo.join("repin.yaml"), "repin.yaml").unwrap();
    let read = |git: &Git| History::of_branch(git, &config, git.branch(None).unwrap()).unwrap();
    read(&git("git \"$@\" > ALL; cat ALL"));
    // Git fails after the first of two commits.
    let text = fs::read(&all).unwrap();
    let tip = repo.head();
    let second = text.windows(tip.len()).position(|at| at == tip.as_bytes());
    let second = second.unwrap();
    assert!(second > 0);
    let failing = git(&format!("head -c {second} ALL; exit 128"));
    assert_eq!(told(repo.path(), &failing), told_by_git(&repo));
}

#[test]
fn where_nothing_can_be_kept_nothing_is_and_nobody_is_told() {
    let repo = story();
    fs::write(repo.join(".git/repin-history"), "a file").unwrap();
    let told = told_with_what_is_kept(&repo);
    fs::remove_file(repo.join(".git/repin-history")).unwrap();
    assert_eq!(told, told_by_git(&repo));
    assert_eq!(kept_files(&repo).len(), 3);
}

#[test]
fn links_and_pipes_are_not_followed_and_files_of_others_stay() {
    let repo = story();
    let expected = told_with_what_is_kept(&repo);
    let elsewhere = tempfile::tempdir().unwrap();
    let directory = repo.join(".git/repin-history");
    // The directory is a link to files that somebody else needs.
    for file in kept_files(&repo) {
        fs::copy(&file, elsewhere.path().join(file.file_name().unwrap())).unwrap();
    }
    for number in 0..20 {
        fs::write(elsewhere.path().join(format!("{number}")), "mine").unwrap();
    }
    fs::remove_dir_all(&directory).unwrap();
    symlink(elsewhere.path(), &directory).unwrap();
    let git = watched(&repo);
    assert_eq!(told(repo.path(), &git), expected);
    assert_eq!(calls(&repo).len(), 2, "what is behind the link was used");
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 23);
    // Answers that are pipes or links; whoever opens a pipe waits for ever.
    fs::remove_file(&directory).unwrap();
    fs::create_dir(&directory).unwrap();
    for (number, entry) in fs::read_dir(elsewhere.path()).unwrap().enumerate() {
        let entry = entry.unwrap();
        let path = directory.join(entry.file_name());
        match number % 2 {
            0 => drop(rustix::fs::mkfifoat(
                rustix::fs::CWD,
                &path,
                rustix::fs::Mode::RWXU,
            )),
            _ => symlink(entry.path(), &path).unwrap(),
        }
    }
    let git = watched(&repo);
    assert_eq!(told(repo.path(), &git), expected);
    assert_eq!(calls(&repo).len(), 2, "a link was followed");
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 23);
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 23);
}

#[test]
fn answers_of_another_git_count_for_nothing() {
    let repo = story();
    let expected = told_with_what_is_kept(&repo);
    for (version, asked) in [
        ("echo git version 98.1", 2),
        ("echo git version 98.1", 0),
        ("echo git version 98.2", 2),
    ] {
        let git = watched_at(&repo, version);
        assert_eq!(told(repo.path(), &git), expected);
        assert_eq!(calls(&repo).len(), asked, "{version}");
    }
}

#[test]
fn few_answers_are_kept() {
    let repo = story();
    // Names that repin never writes.
    let others = [
        "z".repeat(64),
        "a".repeat(63),
        format!("{}.x", "a".repeat(64)),
    ];
    let directory = repo.join(".git/repin-history");
    fs::create_dir(&directory).unwrap();
    for name in &others {
        fs::write(directory.join(name), "mine").unwrap();
    }
    for number in 0..20 {
        repo.write(
            "repin.yaml",
            CONFIG.replace("\".github", &format!("\"d{number}/*.yml\", \".github")),
        );
        repo.commit("another configuration");
        repo.publish();
        assert_eq!(told_with_what_is_kept(&repo), told_by_git(&repo));
    }
    assert_eq!(kept_files(&repo).len(), 12 + others.len());
    // The oldest go.
    let mut answers = kept_files(&repo);
    answers.retain(|file| !others.iter().any(|name| file.ends_with(name)));
    let written = |file: &Path| fs::metadata(file).unwrap().modified().unwrap();
    let begun = written(&answers[0]) - Duration::from_hours(1);
    for (number, file) in answers.iter().enumerate() {
        // Not in the order of their names.
        let second = Duration::from_secs((number as u64 * 5) % 12);
        let file = fs::File::options().append(true).open(file).unwrap();
        file.set_modified(begun + second).unwrap();
    }
    answers.sort_by_key(|file| written(file));
    repo.write(
        "repin.yaml",
        CONFIG.replace("\".github", "\"new/*.yml\", \".github"),
    );
    repo.commit("another configuration");
    repo.publish();
    // Two answers of git; what contents pin is kept anew.
    let before = kept_files(&repo);
    told_with_what_is_kept(&repo);
    let now = kept_files(&repo);
    let new = now.iter().filter(|file| !before.contains(file)).count();
    assert_eq!(new, 2);
    let gone: Vec<_> = answers.iter().filter(|file| !file.exists()).collect();
    assert_eq!(gone, answers[..2].iter().collect::<Vec<_>>());
    assert!(others.iter().all(|name| directory.join(name).exists()));
}

#[test]
fn too_many_new_commits_are_not_cut_off() {
    let repo = story();
    told_with_what_is_kept(&repo);
    repo.promote('e');
    // 90 KiB: more than a debug build reads.
    for number in 0..400 {
        let name = format!(".github/workflows/{number}-{}.yml", "x".repeat(100));
        repo.write(&name, "");
    }
    repo.commit("many files");
    repo.publish();
    // A git that ends well although nobody reads the rest.
    let script = "case \" $* \" in *--first-parent*' ^'*) trap '' PIPE; git \"$@\" 2>/dev/null; exit 0;; esac";
    let git = scripted(&repo, script);
    assert_eq!(told(repo.path(), &git), told_by_git(&repo));
    assert_eq!(told_with_what_is_kept(&repo), told_by_git(&repo));
}

#[test]
fn contents_that_an_earlier_run_read_are_not_requested() {
    let repo = story();
    told_with_what_is_kept(&repo);
    repo.promote('e');
    repo.publish();
    let expected = told_with_what_is_kept(&repo);
    // A content that only past commits have is gone.
    let content = "HEAD~3:.github/workflows/fix.yml";
    let id = repo.git(&["rev-parse", content]);
    let (directory, file) = id.trim().split_at(2);
    fs::remove_file(repo.join(&format!(".git/objects/{directory}/{file}"))).unwrap();
    assert_eq!(told_with_what_is_kept(&repo), expected);
    fs::remove_dir_all(repo.join(".git/repin-history")).unwrap();
    assert_ne!(told_with_what_is_kept(&repo), expected);
}

#[test]
fn directories_whose_names_look_like_others_are_another_question() {
    let repo = Repo::empty();
    let odd = "x:(top,literal)y";
    for build in ['a', 'b'] {
        repo.write(&format!("{odd}/a.yml"), pin("fix", build));
        repo.git(&["add", odd]);
        repo.git(&["commit", "-q", "-m", &title(build)]);
    }
    repo.publish();
    // No commit has a configuration, so that of the work tree counts.
    let files = |globs: &str| {
        let config = CONFIG.replace("\".github", &format!("{globs}, \".github"));
        assert_ne!(config, CONFIG);
        repo.write("repin.yaml", config);
    };
    files("\"x/*.yml\", \"y/*.yml\"");
    let without = told_with_what_is_kept(&repo);
    files(&format!("\"{odd}/*.yml\""));
    let with = told_with_what_is_kept(&repo);
    assert_ne!(with, without);
    assert_eq!(with, told_by_git(&repo));
}

#[test]
fn commands_that_keep_nothing_remove_nothing() {
    let repo = story();
    told_with_what_is_kept(&repo);
    let (logs, _) = logs_and_scans(&repo);
    replace(&logs[0], "repin kept/1", b"no commit");
    let config = config::load(&repo.join("repin.yaml"), "repin.yaml").unwrap();
    let git = Git::open(repo.path()).unwrap();
    History::of_branch(&git, &config, git.branch(None).unwrap()).unwrap_err();
    assert!(logs[0].exists());
}

#[test]
fn a_deepened_clone_is_asked_anew() {
    let repo = story();
    let shallow = repo.cloned(&["--depth", "2"]);
    let cut = told_with_what_is_kept(&shallow);
    shallow.git(&["fetch", "-q", "--deepen", "1"]);
    let deeper = told_with_what_is_kept(&shallow);
    assert_ne!(deeper, cut);
    assert_eq!(deeper, told_by_git(&shallow));
    shallow.git(&["fetch", "-q", "--unshallow"]);
    let whole = told_with_what_is_kept(&shallow);
    assert_ne!(whole, deeper);
    assert_eq!(whole, told_by_git(&repo));
}

#[test]
fn images_in_another_order_and_other_places_are_read_anew() {
    let repo = story();
    told_with_what_is_kept(&repo);
    let swapped = CONFIG
        .replace("review", "x")
        .replace("fix", "review")
        .replace('x', "fix");
    let places = "places:\n  keys: { files: ['.github/workflows/fix.yml'], entry: /image, digest: digest, image: fix }\n";
    for config in [swapped, format!("{CONFIG}{places}"), CONFIG.to_owned()] {
        repo.write("repin.yaml", &config);
        assert_eq!(
            told_with_what_is_kept(&repo),
            told_by_git(&repo),
            "{config}"
        );
        repo.write(
            ".github/workflows/fix.yml",
            format!(
                "image: {{ digest: \"sha256:{}\" }}\n",
                repo::digits("fix", 'e')
            ),
        );
        repo.commit("chore");
        repo.publish();
        assert_eq!(
            told_with_what_is_kept(&repo),
            told_by_git(&repo),
            "{config}"
        );
    }
}

/// What happens to a repository.
#[derive(Debug, Clone)]
enum Step {
    Promote(char),
    Back(char),
    Side(char),
    Octopus,
    Config(usize),
    File(usize),
    Reset(usize),
    Recommit(char),
}

fn step() -> impl Strategy<Value = Step> {
    let build = || prop::sample::select(&BUILDS[..]);
    prop_oneof![
        3 => build().prop_map(Step::Promote),
        2 => build().prop_map(Step::Back),
        2 => build().prop_map(Step::Side),
        1 => Just(Step::Octopus),
        2 => (0..5_usize).prop_map(Step::Config),
        1 => (0..3_usize).prop_map(Step::File),
        1 => (1..3_usize).prop_map(Step::Reset),
        1 => build().prop_map(Step::Recommit),
    ]
}

fn take(repo: &Repo, step: &Step, number: usize) {
    match step {
        Step::Promote(build) => drop(repo.promote(*build)),
        Step::Back(build) => drop(repo.pins(*build).commit("by hand")),
        Step::Side(build) => {
            let branch = format!("side-{number}");
            repo.branch(&branch).promote(*build);
            repo.checkout("main").merge(&[&branch], "merge");
        }
        Step::Octopus => {
            let sides = ["x", "y"].map(|name| format!("{name}-{number}"));
            for side in &sides {
                repo.branch(side).write(side, "").commit(title('a'));
                repo.checkout("main");
            }
            repo.merge(&[&sides[0], &sides[1]], "octopus");
        }
        Step::Config(0) => drop(repo.write("repin.yaml", CONFIG).commit("config")),
        Step::Config(1) => {
            let wider = CONFIG.replace("\".github", "\"deploy/**\", \".github");
            repo.write("repin.yaml", wider).commit("config");
        }
        Step::Config(2) => {
            let titles = "promote: { title: 'set {name} @{revision}' }\n";
            repo.write("repin.yaml", format!("{CONFIG}{titles}"))
                .commit("config");
        }
        Step::Config(3) => {
            repo.write("repin.yaml", "version: 1\nfiles: [")
                .commit("broken");
            repo.write("repin.yaml", CONFIG).commit("mended");
        }
        Step::Config(_) => {
            let fewer = CONFIG.replace("pins: 1", "pins: 0");
            repo.write("repin.yaml", fewer).commit("config");
        }
        Step::File(at) => {
            let pinned = pin("fix", BUILDS[*at]);
            repo.write(&format!("deploy/{at}/a.yaml"), pinned)
                .commit("file");
        }
        Step::Reset(commits) => {
            // There may be too few.
            repo.try_git(&["reset", "-q", "--hard", &format!("HEAD~{commits}")]);
        }
        Step::Recommit(build) => {
            repo.pins(*build);
            repo.git(&["add", "-A"]);
            repo.git(&[
                "commit",
                "-q",
                "--amend",
                "--allow-empty",
                "-m",
                &title(*build),
            ]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, max_shrink_iters: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_kept_never_changes_what_is_told(steps in prop::collection::vec((step(), any::<bool>()), 1..14)) {
        let repo = Repo::new();
        repo.publish();
        for (number, (step, read)) in steps.iter().enumerate() {
            take(&repo, step, number);
            repo.publish();
            if *read {
                prop_assert_eq!(told_with_what_is_kept(&repo), told_by_git(&repo));
            }
        }
        prop_assert_eq!(told_with_what_is_kept(&repo), told_by_git(&repo));
    }
}
