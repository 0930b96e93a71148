//! Histories of real git repositories.

pub(crate) mod examples;
mod log;
mod random;

use std::path::Path;

use super::{
    ChangedFile, ClaimedTags, CommitConfig, CommitOrder, Digests, Gap, History, HoldScope, Kind,
    Order, OtherSets, Promoted, Provenance, UnknownOrder, commit_config, commit_order,
};
use crate::{
    base::{
        error::{Error, Errors},
        files::{Files as _, RelPath},
    },
    config::{self, Config},
    git::{Git, GitError, ObjectId, TreeFile},
    oci::Revision,
    support::repo::{self, CONFIG, Repo, digits, pin, title},
};

fn config_of(repo: &Repo) -> Config {
    config::load(&repo.join("repin.yaml"), "repin.yaml").unwrap()
}

fn history(repo: &Repo) -> History {
    history_in(repo.path())
}

fn history_in(root: &Path) -> History {
    let config = config::load(&root.join("repin.yaml"), "repin.yaml").unwrap();
    History::read(&Git::open(root).unwrap(), &config).unwrap()
}

fn revision(build: char) -> Revision {
    revision_text(&repo::revision(build))
}

fn revision_text(text: &str) -> Revision {
    crate::oci::Pattern::parse(".*")
        .unwrap()
        .revision(text)
        .unwrap()
}

fn build(build: char) -> Digests {
    ["fix", "review"]
        .map(|image| (image.to_owned(), digits(image, build).parse_digest()))
        .into()
}

trait ParseDigest {
    fn parse_digest(&self) -> crate::oci::Digest;
}

impl ParseDigest for String {
    fn parse_digest(&self) -> crate::oci::Digest {
        crate::oci::Digest::from_hex(self).unwrap()
    }
}

/// The entries, newest first: kind, the build's letter, `*` for the current one, `<` if it is
/// available for rollback.
fn summary(history: &History) -> Vec<String> {
    let one = |entry: &super::HistoryEntry| {
        let kind = match entry.kind {
            Kind::Promote => "promote",
            Kind::Rollback => "rollback",
            Kind::Manual => "manual",
        };
        let letter = entry
            .revision
            .as_ref()
            .map_or('-', |revision| revision.as_str().chars().next().unwrap());
        let marks = [(entry.current, " *"), (entry.can_roll_back, " <")];
        let marks: String = marks
            .iter()
            .filter(|(set, _)| *set)
            .map(|(_, mark)| *mark)
            .collect();
        format!("{kind} {letter}{marks}")
    };
    history.entries().iter().map(one).collect()
}

fn found(history: &History, build: char) -> Promoted {
    match history.provenance(&revision(build)) {
        Provenance::Found(promoted) => promoted,
        other => panic!("{other:?}"),
    }
}

fn is_held(history: &History, build: char) -> bool {
    history.hold(&self::build(build), &Digests::new()).is_held()
}

#[test]
fn any_file_can_change_the_set() {
    let repo = Repo::new();
    repo.promote('a');
    repo.pins('b');
    // The last file of the commit contains no pins.
    repo.write(".github/workflows/z.yml", "");
    repo.commit(title('b'));
    repo.publish();
    assert_eq!(summary(&history(&repo)), ["promote b *", "promote a <"]);
}

// Provenance.

#[test]
fn titles_trailers_and_squash_merges_are_provenance() {
    let repo = Repo::new();
    let a = repo.promote('a');
    let b = repo
        .pins('b')
        .commit(format!("{} (#12)\n\nWhat a forge adds.\n", title('b')));
    let c = repo.pins('c').commit(format!(
        "Bump images (#13)\n\nBody.\n\nRepin-Set: {}\n",
        repo::revision('c')
    ));
    repo.publish();
    let history = history(&repo);
    for (letter, commit) in [('a', &a), ('b', &b), ('c', &c)] {
        let promoted = found(&history, letter);
        assert_eq!(promoted.commit.to_string(), *commit);
        assert_eq!(promoted.images, build(letter));
    }
    assert_eq!(history.provenance(&revision('d')), Provenance::Never);
    assert_eq!(
        summary(&history),
        ["promote c *", "promote b <", "promote a <"]
    );
    assert_eq!(
        history.entries()[1].subject,
        format!("{} (#12)", title('b'))
    );
    assert!(
        history.entries()[1].date.starts_with("2023-11-14T"),
        "{}",
        history.entries()[1].date
    );
}

#[test]
fn entries_are_those_of_the_json_document() {
    let repo = Repo::new();
    let a = repo.promote('a');
    repo.publish();
    let history = history(&repo);
    let expected = serde_json::json!({
        "kind": "promote", "revision": repo::revision('a'), "commit": a, "date": history.entries()[0].date,
        "author": history.entries()[0].author, "subject": title('a'), "pull_request": null,
        "images": { "fix": format!("sha256:{}", digits("fix", 'a')), "review": format!("sha256:{}", digits("review", 'a')) },
        "current": true, "can_roll_back": false,
    });
    assert_eq!(
        serde_json::to_value(&history.entries()[0]).unwrap(),
        expected
    );
}

#[test]
fn history_is_send_and_sync() {
    fn movable<T: Send + Sync>() {}
    movable::<History>();
    movable::<Git>();
}

#[track_caller]
fn pinned_of_fix<const N: usize>(history: &History, builds: [char; N]) {
    // The configuration has the images `review` and `fix`.
    let [_, digests] = &history.pinned_digests()[..] else {
        panic!("another number of images")
    };
    let digests: Vec<_> = digests.iter().map(crate::oci::Digest::hex).collect();
    assert_eq!(digests, builds.map(|build| digits("fix", build)));
}

#[test]
fn every_past_digest_is_known() {
    let repo = Repo::new();
    repo.promote('a');
    repo.write(".github/workflows/fix.yml", pin("fix", 'b'))
        .commit("half of b");
    repo.promote('c');
    repo.publish();
    let history = history(&repo);
    pinned_of_fix(&history, ['a', 'b', 'c']);
}

#[test]
fn broken_configuration_does_not_hide_digests() {
    let repo = Repo::new();
    repo.promote('a');
    repo.write("repin.yaml", "version: [").promote('b');
    repo.write("repin.yaml", CONFIG).promote('c');
    repo.publish();
    let history = history(&repo);
    pinned_of_fix(&history, ['a', 'b', 'c']);
    assert_eq!(history.unreadable.len(), 1);
}

#[test]
fn broken_configuration_uses_the_earlier_rules() {
    let repo = Repo::empty();
    repo.write(
        "repin.yaml",
        CONFIG.replace(".github/workflows/*.yml", "deploy/*.yml"),
    );
    repo.write("deploy/a.yml", pin("fix", 'a')).commit("a");
    repo.write("repin.yaml", "version: [")
        .write("deploy/a.yml", pin("fix", 'b'))
        .write("old/a.yml", pin("fix", 'e'))
        .commit("b");
    repo.write("repin.yaml", CONFIG).promote('c');
    repo.publish();
    let history = history(&repo);
    pinned_of_fix(&history, ['a', 'b', 'c']);
}

#[test]
fn set_excludes_images_with_zero_pins() {
    let repo = Repo::empty();
    let extra = "  extra: { repository: ghcr.io/acme/extra, pins: 0 }\n";
    repo.write("repin.yaml", CONFIG.to_owned() + extra)
        .promote('a');
    repo.write(".github/workflows/extra.yml", pin("extra", 'b'))
        .commit("an extra");
    repo.publish();
    assert_eq!(summary(&history(&repo)), ["promote a *"]);
}

#[test]
fn tags_of_every_past_configuration_are_known() {
    let repo = Repo::new();
    let other = CONFIG.replace(
        "images:\n",
        "revision: { tag: 'build-{revision}' }\nimages:\n",
    );
    repo.write("repin.yaml", other).promote('a');
    repo.write("repin.yaml", CONFIG).promote('b');
    repo.publish();
    let history = history(&repo);
    let tags: Vec<_> = history
        .claimed_tags()
        .keys()
        .map(ToString::to_string)
        .collect();
    let (a, b) = (repo::revision('a'), repo::revision('b'));
    assert_eq!(
        tags,
        [
            a.clone(),
            b.clone(),
            format!("build-{a}"),
            format!("build-{b}")
        ]
    );
}

#[test]
fn commit_has_the_files_of_its_work_tree() {
    let repo = Repo::empty();
    for path in [
        "a.yml",
        "sub/a.yml",
        "sub/deep/b.yml",
        "sub/.repin-x/c.yml",
        "sub/d.txt",
        "subway/a.yml",
    ] {
        repo.write(path, path);
    }
    repo.write("sub/large.yml", vec![b'x'; 101]);
    std::os::unix::fs::symlink("d.txt", repo.join("sub/link.yml")).unwrap();
    let commit = repo.commit("files");
    repo.remove("sub/a.yml").commit("later");
    let git = Git::open(&repo.join("sub")).unwrap();
    let commit = git.commit_named(&commit).unwrap().unwrap();
    let globs = crate::base::files::Globs::parse(["**/*.yml"]).unwrap();
    let at = git.files_at(&commit, &globs, 100).unwrap();
    assert_eq!(at.too_large.unwrap().to_string(), "large.yml");
    let listing = at.files.list_unopened(&globs).unwrap();
    let names: Vec<_> = listing.files.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["a.yml", "deep/b.yml"]);
    assert_eq!(listing.hazards.len(), 1);
    assert_eq!(at.files.read(&listing.files[0]).unwrap(), b"sub/a.yml");
}

#[test]
fn linked_work_tree_has_the_same_history() {
    let repo = Repo::new();
    repo.promote('a');
    repo.promote('b');
    let clone = repo.cloned(&["--depth=2"]);
    clone.git(&["worktree", "add", "-q", "linked"]);
    let history = history_in(&clone.join("linked"));
    assert!(history.shallow);
    assert_eq!(summary(&history)[0], "promote b *");
}

#[test]
fn trailer_counts_on_any_line_of_the_body() {
    let repo = Repo::new();
    let line = |build| format!("Repin-Set: {}", repo::revision(build));
    repo.pins('a').commit(format!(
        "chore: images (#1)\n\n* pins\n\n{}\n\n* And so on.\n",
        line('a')
    ));
    for quoted in ["> ", "see ", " "] {
        repo.pins('b')
            .commit(format!("chore: b\n\n{quoted}{}\n", line('b')));
        repo.pins('c').commit("chore: c");
    }
    repo.publish();
    let summary = summary(&history(&repo));
    assert_eq!(summary.last().unwrap(), "promote a <");
    assert!(
        summary[..summary.len() - 1]
            .iter()
            .all(|entry| !entry.contains(" b")),
        "{summary:?}"
    );
}

#[test]
fn message_without_a_change_is_no_evidence() {
    let repo = Repo::new();
    repo.promote('a');
    repo.promote('b');
    repo.write("note.txt", "x").commit(format!(
        "docs: a note\n\nRepin-Set: {}\n",
        repo::revision('a')
    ));
    repo.commit(title('c'));
    repo.publish();
    let history = history(&repo);
    assert_eq!(found(&history, 'a').images, build('a'));
    assert_eq!(history.provenance(&revision('c')), Provenance::Never);
    assert_eq!(summary(&history), ["promote b *", "promote a <"]);
}

#[test]
fn merged_message_is_evidence_for_its_set() {
    let repo = Repo::new();
    repo.promote('a');
    repo.branch("topic")
        .write("x.txt", "x")
        .commit(format!("feat: x\n\nRepin-Set: {}\n", repo::revision('a')));
    repo.checkout("main").promote('b');
    repo.merge(&["topic"], "Merge topic");
    // A branch that promoted another set and then this one.
    repo.branch("train").promote('c');
    repo.promote('d');
    repo.checkout("main");
    let merge = repo.merge(&["train"], "Merge train");
    repo.publish();
    let history = history(&repo);
    assert_eq!(found(&history, 'a').images, build('a'));
    assert_eq!(found(&history, 'd').commit.to_string(), merge);
    assert_eq!(history.provenance(&revision('c')), Provenance::Never);
    assert_eq!(
        summary(&history),
        ["promote d *", "promote b <", "promote a <"]
    );
}

#[test]
fn known_digests_keep_the_revision_that_introduced_them() {
    let repo = Repo::new();
    let a = repo.promote('a');
    repo.promote('b');
    let claiming = repo.pins('a').commit(title('c'));
    repo.publish();
    let history = history(&repo);
    assert_eq!(summary(&history)[0], "rollback a *");
    assert_eq!(
        history.provenance(&revision('c')),
        Provenance::OtherRevision {
            commit: ObjectId::parse(claiming.as_bytes()).unwrap(),
            revision: revision('a'),
            introduced: ObjectId::parse(a.as_bytes()).unwrap(),
        }
    );
    let ignored = history.ignored_claims();
    assert_eq!(ignored.len(), 1);
    assert_eq!(ignored[0].commit.to_string(), claiming);
    assert_eq!(ignored[0].introduced.to_string(), a);
    assert_eq!(
        (&ignored[0].claimed, &ignored[0].revision),
        (&revision('c'), &revision('a'))
    );
}

#[test]
fn rollback_on_a_merged_line_holds() {
    let repo = Repo::new();
    repo.promote('a');
    repo.branch("staging").promote('b');
    repo.pins('a').commit("roll back");
    repo.checkout("main")
        .write("x.txt", "x")
        .commit("feat: something");
    repo.merge(&["staging"], "Merge staging");
    repo.publish();
    let merged = history(&repo);
    assert_eq!(summary(&merged), ["promote a *"]);
    assert!(is_held(&merged, 'b'));
    assert_eq!(merged.held_sets().len(), 1);
    repo.promote('c');
    repo.pins('a').commit("roll back again");
    repo.publish();
    let again = history(&repo);
    assert!(is_held(&again, 'b') && is_held(&again, 'c'));
}

#[test]
fn rollback_holds_after_merging_an_old_branch() {
    let repo = Repo::new();
    repo.promote('a');
    repo.branch("old");
    repo.checkout("main").promote('b');
    repo.pins('a').commit("roll back");
    repo.checkout("old").write("x.txt", "x").commit("feat: x");
    repo.merge(&["main"], "Merge branch 'main' of example.com:acme/deploy");
    repo.publish();
    assert!(is_held(&history(&repo), 'b'));
}

#[test]
fn contribution_cannot_end_a_hold() {
    let repo = Repo::new();
    repo.promote('a');
    repo.promote('b');
    repo.pins('a').commit("roll back");
    // The branch promotes the held set and undoes that.
    repo.branch("topic").promote('b');
    repo.pins('a').write("x.txt", "x").commit("feat: x");
    repo.checkout("main").merge(&["topic"], "Merge topic");
    repo.publish();
    let history = history(&repo);
    assert!(is_held(&history, 'b'));
}

/// A repository with the configuration of its set in a directory.
fn in_directory(directory: &str) -> Repo {
    let repo = Repo::empty();
    repo.write(
        &format!("{directory}/repin.yaml"),
        CONFIG.replace(".github/workflows/*.yml", "*.yml"),
    )
    .commit("chore: begin");
    repo
}

fn pins_in(repo: &Repo, directory: &str, build: char) {
    for (file, image) in [("fix", "fix"), ("one", "review"), ("two", "review")] {
        let text = format!("image: {}\n", pin(image, build));
        repo.write(&format!("{directory}/{file}.yml"), text);
    }
}

/// The path of the configuration when the set of a build was promoted, unless it is the present one.
fn former_path(history: &History, build: char) -> Option<String> {
    let path = found(history, build).former_path;
    path.map(|path| path.to_string())
}

#[test]
fn history_continues_under_the_old_path() {
    let repo = in_directory("prod");
    pins_in(&repo, "prod", 'a');
    repo.commit(format!(
        "chore: a\n\nRepin-Set: {} (prod/repin.yaml)\n",
        repo::revision('a')
    ));
    pins_in(&repo, "prod", 'b');
    repo.commit(title('b'));
    pins_in(&repo, "prod", 'a');
    repo.commit("back");
    repo.git(&["mv", "prod", "live"]);
    repo.write(
        "live/repin.yaml",
        format!(
            "{}# moved\n",
            CONFIG.replace(".github/workflows/*.yml", "*.yml")
        ),
    )
    .commit("chore: move prod");
    repo.publish();
    let live = history_in(&repo.join("live"));
    assert_eq!(summary(&live), ["rollback a *", "promote b <", "promote a"]);
    assert!(is_held(&live, 'b'));
    assert!(live.unknown_past().is_none());
    let former: Vec<_> = live
        .former_sets()
        .into_iter()
        .map(|names| names.set_path.to_string())
        .collect();
    assert_eq!(former, ["prod/repin.yaml"]);
    assert_eq!(former_path(&live, 'b').as_deref(), Some("prod/repin.yaml"));
    // A second rename, on a merged branch, and another set at the first path.
    repo.branch("topic");
    std::fs::create_dir(repo.join("clusters")).unwrap();
    repo.git(&["mv", "live", "clusters/live"]);
    repo.commit("chore: move live");
    repo.checkout("main").merge(&["topic"], "Merge topic");
    repo.write(
        "prod/repin.yaml",
        CONFIG.replace(".github/workflows/*.yml", "*.yml"),
    );
    pins_in(&repo, "prod", 'c');
    pins_in(&repo, "clusters/live", 'd');
    repo.commit(format!(
        "chore: two sets\n\nRepin-Set: {} (clusters/live/repin.yaml)\nRepin-Set: {} (prod/repin.yaml)\n",
        repo::revision('d'),
        repo::revision('c')
    ));
    repo.publish();
    let moved = history_in(&repo.join("clusters/live"));
    assert_eq!(
        summary(&moved),
        ["promote d *", "rollback a <", "promote b <", "promote a <"]
    );
    assert_eq!(former_path(&moved, 'd'), None);
    // The set at the first path is another one.
    let former: Vec<_> = moved
        .former_sets()
        .into_iter()
        .map(|names| names.set_path.to_string())
        .collect();
    assert_eq!(former, ["live/repin.yaml"]);
    assert_eq!(summary(&history_in(&repo.join("prod"))), ["promote c *"]);
}

#[test]
fn files_at_the_new_path_count_after_a_rename() {
    let repo = in_directory("prod");
    repo.write("live/other.yml", format!("image: {}\n", pin("review", 'b')));
    pins_in(&repo, "prod", 'a');
    repo.commit(title('a'));
    for file in ["repin", "fix", "one", "two"] {
        let [old, new] = ["prod", "live"].map(|directory| format!("{directory}/{file}.yaml"));
        let [old, new] = [old, new].map(|path| match file {
            "repin" => path,
            _ => path.replace(".yaml", ".yml"),
        });
        repo.git(&["mv", &old, &new]);
    }
    repo.commit("chore: move prod");
    repo.publish();
    let live = history_in(&repo.join("live"));
    let current = live.current().unwrap();
    assert!(current.images.contains_key("fix"));
    assert!(!current.images.contains_key("review"), "its pins disagree");
}

#[test]
fn trailer_of_a_later_path_does_not_count() {
    let repo = in_directory("prod");
    pins_in(&repo, "prod", 'a');
    repo.commit(format!(
        "chore: a\n\nRepin-Set: {} (live/repin.yaml)\n",
        repo::revision('a')
    ));
    repo.git(&["mv", "prod", "live"]);
    repo.commit("chore: move prod");
    repo.publish();
    let live = history_in(&repo.join("live"));
    assert_eq!(live.current().unwrap().revision, None);
}

#[test]
fn trailer_of_a_rename_counts() {
    let repo = in_directory("prod");
    pins_in(&repo, "prod", 'a');
    repo.commit("chore: a");
    repo.git(&["mv", "prod", "live"]);
    repo.commit(format!(
        "chore: move prod\n\nRepin-Set: {} (live/repin.yaml)\n",
        repo::revision('a')
    ));
    repo.publish();
    let live = history_in(&repo.join("live"));
    assert_eq!(live.current().unwrap().revision, Some(revision('a')));
}

#[test]
fn added_file_next_to_a_chart_is_a_change() {
    let repo = Repo::new();
    repo.promote('a');
    repo.write(".github/workflows/Chart.yaml", "name: x\n");
    repo.write(".github/workflows/new.yml", pin("fix", 'b') + "\n");
    repo.pins('b').commit(title('b'));
    repo.publish();
    let history = history(&repo);
    let changed = &history.changed_files()[&history.current().unwrap().commit];
    let is_new = |file: &&ChangedFile| file.path.ends_with(b"new.yml") && file.old.is_none();
    assert_eq!(changed.iter().filter(is_new).count(), 1);
}

#[test]
fn unreadable_commit_keeps_the_digests_of_current_files() {
    let places = "places: { k: { kind: kustomize, files: ['k/kustomization.yaml'] } }\n";
    let repo = Repo::empty();
    repo.write("repin.yaml", "broken: [");
    repo.write(".github/workflows/x.yml", pin("fix", 'e') + "\n")
        .commit("chore: break");
    repo.write(".github/workflows/x.yml", pin("fix", 'f') + "\n");
    repo.write("repin.yaml", CONFIG.to_owned() + places)
        .commit("chore: repair");
    repo.publish();
    let pinned = history(&repo).pinned_digests();
    let mut digests = pinned.iter().flatten();
    assert!(digests.any(|digest| digest.hex() == digits("fix", 'e')));
}

#[test]
fn new_set_at_a_former_path_has_no_past() {
    let repo = in_directory("prod");
    for build in ['a', 'b', 'c', 'b'] {
        pins_in(&repo, "prod", build);
        repo.commit(title(build));
    }
    repo.git(&["mv", "prod", "live"]);
    repo.commit("chore: move prod");
    repo.write(
        "prod/repin.yaml",
        CONFIG.replace(".github/workflows/*.yml", "*.yml"),
    );
    pins_in(&repo, "prod", 'a');
    repo.commit(format!(
        "chore: another prod\n\nRepin-Set: {} (prod/repin.yaml)\n",
        repo::revision('a')
    ));
    repo.publish();
    let new = history_in(&repo.join("prod"));
    assert_eq!(summary(&new), ["promote a *"]);
    assert!(!is_held(&new, 'b') && !is_held(&new, 'c'));
    assert!(is_held(&history_in(&repo.join("live")), 'c'));
    // A configuration that was only removed belongs to the same set.
    repo.remove("prod/repin.yaml").commit("chore: remove prod");
    repo.write(
        "prod/repin.yaml",
        CONFIG.replace(".github/workflows/*.yml", "*.yml"),
    );
    pins_in(&repo, "prod", 'd');
    repo.commit(title('d'));
    repo.publish();
    assert_eq!(summary(&history_in(&repo.join("prod"))).len(), 2);
}

#[test]
fn pins_before_the_adoption_count_under_their_repository() {
    let old = |build: char| pin("fix", build).replace("ghcr.io/acme", "old.example/acme");
    let config = |repository: &str, files: &str| {
        format!(
            "version: 1\nname: images\nfiles: ['{files}']\nimages:\n  fix: {{ repository: {repository}, pins: 1 }}\n"
        )
    };
    let repo = Repo::empty();
    for build in ['a', 'b'] {
        repo.write("deploy.yml", old(build) + "\n").commit("build");
    }
    repo.write("repin.yaml", config("old.example/acme/fix", "deploy.yml"))
        .commit("chore: adopt");
    repo.write("deploy.yml", old('a') + "\n")
        .commit(format!("rollback: images @{}", repo::revision('a')));
    let is_held = || {
        repo.publish();
        let fix = Digests::from([("fix".to_owned(), digits("fix", 'b').parse_digest())]);
        history(&repo).hold(&fix, &Digests::new()).is_held()
    };
    assert!(is_held());
    // Another registry, and another file.
    repo.remove("deploy.yml")
        .write("app.yml", pin("fix", 'a') + "\n")
        .write("repin.yaml", config("ghcr.io/acme/fix", "app.yml"))
        .commit("chore: move");
    assert!(is_held());
}

#[test]
fn configuration_that_moves_back_follows_no_other_set() {
    let repo = in_directory("prod");
    pins_in(&repo, "prod", 'a');
    repo.commit(title('a'));
    repo.git(&["mv", "prod", "live"]);
    repo.commit("chore: move prod");
    // Both exist for a while.
    repo.write("prod/repin.yaml", CONFIG).commit("chore: add");
    repo.remove("live/repin.yaml")
        .write("prod/repin.yaml", format!("{CONFIG}# kept\n"))
        .commit("chore: remove live");
    pins_in(&repo, "prod", 'b');
    let config = CONFIG.replace(".github/workflows/*.yml", "*.yml");
    repo.write("live/repin.yaml", config)
        .commit("chore: restore live");
    repo.publish();
    let live = history_in(&repo.join("live"));
    assert_eq!(summary(&live), ["promote a *"]);
}

#[test]
fn moved_set_inherits_the_holds_of_its_new_path() {
    let repo = in_directory("prod");
    for build in ['a', 'b', 'a'] {
        pins_in(&repo, "prod", build);
        repo.commit(title(build));
    }
    let config = CONFIG.replace(".github/workflows/*.yml", "*.yml");
    repo.write("live/repin.yaml", config);
    pins_in(&repo, "live", 'a');
    repo.commit("chore: add live");
    repo.git(&["rm", "-q", "-r", "prod"]);
    repo.commit("chore: remove prod");
    repo.git(&["mv", "live", "prod"]);
    repo.commit("chore: move live");
    repo.publish();
    let root = repo.join("prod");
    let moved = history_in(&root);
    // Control: the set itself never pinned the build.
    assert!(!is_held(&moved, 'b'));
    let git = Git::open(&root).unwrap();
    let others = OtherSets::read(&git, &moved.branch, moved.set_path(), moved.reach()).unwrap();
    let moved = moved.with_other_sets(&others, HoldScope::Refusals);
    assert!(is_held(&moved.unwrap(), 'b'));
}

#[test]
fn history_continues_from_a_name_that_only_the_flag_selects() {
    let repo = Repo::empty();
    let config = CONFIG.replace(".github/workflows/*.yml", "*.yml");
    repo.write("a/images.yaml", &config).commit("chore: begin");
    for build in ['a', 'b', 'a'] {
        pins_in(&repo, "a", build);
        repo.commit(title(build));
    }
    repo.git(&["mv", "a", "b"]);
    repo.git(&["mv", "b/images.yaml", "b/repin.yaml"]);
    repo.commit("chore: move the set");
    repo.publish();
    let moved = history_in(&repo.join("b"));
    let former: Vec<_> = moved
        .former_sets()
        .into_iter()
        .map(|names| names.set_path.to_string())
        .collect();
    assert_eq!(former, ["a/images.yaml"]);
    assert_eq!(moved.entries().len(), 3);
    // A similar manifest is no configuration.
    repo.remove("b/repin.yaml");
    let manifest = config.replace("version: 1", "apiVersion: v1");
    repo.write("c/values.yaml", &manifest)
        .commit("chore: values");
    repo.git(&["mv", "c/values.yaml", "c/repin.yaml"]);
    repo.write("c/repin.yaml", &config)
        .commit("chore: another set");
    repo.publish();
    assert!(history_in(&repo.join("c")).former_sets().is_empty());
}

#[test]
fn renamed_top_set_keeps_the_former_default_branches() {
    let repo = Repo::new();
    repo.promote('a');
    std::fs::create_dir(repo.join("live")).unwrap();
    repo.git(&["mv", "repin.yaml", "live/repin.yaml"]);
    repo.git(&["mv", ".github", "live/.github"]);
    repo.commit("chore: move the set");
    repo.publish();
    let names = history_in(&repo.join("live")).former_sets();
    let branches: Vec<_> = names
        .iter()
        .map(|former| former.promotion_branch.as_str())
        .collect();
    assert!(
        branches.contains(&"auto/runtime-promote-{revision}"),
        "{branches:?}"
    );
}

#[test]
fn past_of_an_unpaired_configuration_is_unknown() {
    let repo = in_directory("prod");
    pins_in(&repo, "prod", 'a');
    repo.commit(title('a'));
    repo.remove("prod/repin.yaml");
    let other = "version: 1\nname: images\nprovenance: { require: [title, content] }\nfiles: ['*.yml']\n# quite another text, without a similarity to the removed file, so that git pairs none\nimages:\n  fix: { repository: ghcr.io/acme/fix, pins: 1 }\n";
    for file in ["fix", "one", "two"] {
        repo.remove(&format!("prod/{file}.yml"));
    }
    pins_in(&repo, "live", 'a');
    repo.write("live/repin.yaml", other)
        .commit("chore: rewrite");
    repo.publish();
    let root = repo.join("live");
    let unknown = history_in(&root);
    let past = unknown.unknown_past().unwrap();
    assert_eq!(past.removed, ["prod/repin.yaml"]);
    assert_eq!(past.commit.to_string(), repo.head());
    assert_eq!(unknown.provenance(&revision('a')), Provenance::Never);
    assert!(unknown.former_sets().is_empty());
    // A manual change and its undoing are no promotion.
    pins_in(&repo, "live", 'c');
    repo.commit("by hand");
    pins_in(&repo, "live", 'a');
    repo.commit("back");
    repo.publish();
    assert!(history_in(&root).unknown_past().is_some());
    // Until the next promotion.
    pins_in(&repo, "live", 'b');
    repo.commit(title('b'));
    repo.publish();
    let known = history_in(&root);
    assert_eq!(summary(&known)[0], "promote b *");
    assert!(known.unknown_past().is_none());
}

#[test]
fn equal_configurations_moved_together_have_an_unknown_past() {
    let repo = in_directory("prod");
    pins_in(&repo, "prod", 'a');
    repo.write(
        "staging/repin.yaml",
        CONFIG.replace(".github/workflows/*.yml", "*.yml"),
    );
    pins_in(&repo, "staging", 'a');
    repo.commit(title('a'));
    repo.git(&["mv", "prod", "live"]);
    repo.git(&["mv", "staging", "dev"]);
    repo.commit("chore: move both");
    repo.publish();
    let live = history_in(&repo.join("live"));
    let past = live.unknown_past().unwrap();
    assert_eq!(past.removed, ["prod/repin.yaml", "staging/repin.yaml"]);
    assert!(live.former_sets().is_empty());
}

#[test]
fn renamed_file_with_pins_is_no_evidence() {
    let repo = Repo::new();
    repo.promote('a');
    repo.promote('b');
    repo.pins('c').commit("by hand");
    repo.git(&[
        "mv",
        ".github/workflows/fix.yml",
        ".github/workflows/other.yml",
    ]);
    repo.commit(format!(
        "chore: rename\n\nRepin-Set: {}\n",
        repo::revision('a')
    ));
    repo.publish();
    let history = history(&repo);
    assert_eq!(
        summary(&history),
        ["manual - *", "promote b <", "promote a <"]
    );
    assert_eq!(found(&history, 'a').images, build('a'));
}

#[test]
fn second_configuration_has_a_known_past() {
    let repo = in_directory("prod");
    pins_in(&repo, "prod", 'a');
    repo.commit(title('a'));
    pins_in(&repo, "dev", 'a');
    repo.write(
        "dev/repin.yaml",
        CONFIG.replace(".github/workflows/*.yml", "*.yml"),
    )
    .commit("chore: add dev");
    repo.publish();
    let dev = history_in(&repo.join("dev"));
    assert!(dev.unknown_past().is_none());
    assert_eq!(summary(&dev), ["manual - *"]);
}

#[test]
fn merge_of_a_promotion_may_pin_further_images() {
    let repo = Repo::new();
    let config = format!("{CONFIG}  new: {{ repository: ghcr.io/acme/new, pins: 1 }}\n");
    repo.promote('a');
    repo.branch("auto/b").promote('b');
    repo.checkout("main")
        .write(".github/workflows/new.yml", pin("new", 'a'))
        .write("repin.yaml", config)
        .commit("feat: another image");
    let merge = repo.merge(&["auto/b"], "Merge pull request #2 from acme/auto/b");
    repo.publish();
    let history = history(&repo);
    assert_eq!(summary(&history)[0], "promote b *");
    assert_eq!(found(&history, 'b').commit.to_string(), merge);
}

#[test]
fn change_of_the_rules_is_no_evidence() {
    let repo = Repo::new();
    repo.promote('a');
    repo.pins('b').commit("fix by hand");
    repo.write(
        "repin.yaml",
        CONFIG.replace("workflows/*", "workflows/**/*"),
    )
    .commit(format!(
        "chore: globs\n\nRepin-Set: {}\n",
        repo::revision('c')
    ));
    repo.publish();
    let history = history(&repo);
    assert_eq!(summary(&history), ["manual - *", "promote a <"]);
    assert_eq!(history.provenance(&revision('c')), Provenance::Never);
}

#[test]
fn undone_rename_is_followed() {
    let repo = in_directory("prod");
    pins_in(&repo, "prod", 'a');
    repo.commit(title('a'));
    let rename = |from: &str, to: &str| {
        repo.git(&["mv", from, to]);
        repo.commit("chore: move");
    };
    rename("prod", "live");
    rename("live", "prod");
    pins_in(&repo, "prod", 'c');
    repo.commit(format!(
        "chore: c\n\nRepin-Set: {} (prod/repin.yaml)\n",
        repo::revision('c')
    ));
    pins_in(&repo, "prod", 'a');
    repo.commit("back");
    rename("prod", "live");
    rename("live", "last");
    repo.publish();
    let last = history_in(&repo.join("last"));
    assert_eq!(summary(&last), ["rollback a *", "promote c <", "promote a"]);
    assert!(is_held(&last, 'c'));
    let former = last.former_sets();
    assert!(
        former
            .iter()
            .any(|names| names.set_path.to_string() == "live/repin.yaml")
    );
}

#[test]
fn former_set_has_its_last_configuration() {
    let repo = in_directory("prod");
    let config = CONFIG.replace(".github/workflows/*.yml", "*.yml");
    let rename = |from: &str, to: &str| {
        repo.git(&["mv", from, to]);
        repo.commit("chore: move");
    };
    rename("prod", "live");
    repo.write("live/repin.yaml", config.replace("images\n", "first\n"))
        .commit("chore: name the set");
    rename("live", "prod");
    repo.write("prod/repin.yaml", config.replace("images\n", "second\n"))
        .commit("chore: another name");
    rename("prod", "live");
    rename("live", "last");
    repo.publish();
    let former = history_in(&repo.join("last")).former_sets();
    let mut live = former
        .iter()
        .filter(|set| set.set_path.to_string() == "live/repin.yaml");
    assert_eq!(live.next().unwrap().name, "second");
}

#[test]
fn rename_on_a_branch_starts_at_its_merge() {
    let repo = in_directory("prod");
    pins_in(&repo, "prod", 'a');
    repo.commit(title('a'));
    repo.branch("topic").git(&["mv", "prod", "live"]);
    repo.commit("chore: move prod");
    repo.checkout("main");
    pins_in(&repo, "prod", 'b');
    repo.commit(title('b'));
    repo.merge(&["topic"], "Merge topic");
    repo.publish();
    let live = history_in(&repo.join("live"));
    assert_eq!(summary(&live), ["promote b *", "promote a <"]);
}

#[test]
fn split_configuration_has_an_unknown_past() {
    let repo = in_directory("prod");
    pins_in(&repo, "prod", 'a');
    repo.commit(title('a'));
    repo.git(&["mv", "prod", "live"]);
    let other = format!("# {}\n{CONFIG}", "a text that is not similar ".repeat(40));
    repo.write(
        "dev/repin.yaml",
        other.replace(".github/workflows/*.yml", "*.yml"),
    );
    pins_in(&repo, "dev", 'a');
    repo.commit("chore: split");
    repo.publish();
    assert!(history_in(&repo.join("live")).unknown_past().is_none());
    let past = history_in(&repo.join("dev"));
    assert_eq!(past.unknown_past().unwrap().removed, ["prod/repin.yaml"]);
}

#[test]
fn merged_commit_titles_belong_to_the_merge() {
    let repo = Repo::new();
    repo.promote('a');
    repo.branch("auto/b").promote('b');
    repo.write("note.txt", "more").commit("docs: a note");
    repo.checkout("main")
        .write("other.txt", "meanwhile")
        .commit("feat: something");
    let merge = repo.merge(&["auto/b"], "Merge pull request #2 from acme/auto/b");
    repo.publish();
    let read = || {
        let history = history(&repo);
        assert_eq!(found(&history, 'b').commit.to_string(), merge);
        assert_eq!(summary(&history), ["promote b *", "promote a <"]);
    };
    read();
    // Independent of the checkout and of file names.
    repo.git(&["checkout", "-q", "--detach", "main~1"]);
    std::fs::write(repo.join(&merge), "a file").unwrap();
    read();
}

#[test]
fn octopus_merge_has_the_titles_of_all_sides() {
    let repo = Repo::new();
    repo.promote('a');
    repo.branch("docs").write("docs.txt", "x").commit("docs: x");
    repo.checkout("main").branch("auto/b").promote('b');
    repo.checkout("main")
        .branch("more")
        .write("more.txt", "x")
        .commit("more");
    repo.checkout("main");
    let merge = repo.merge(&["docs", "auto/b", "more"], "Merge all");
    repo.publish();
    assert_eq!(found(&history(&repo), 'b').commit.to_string(), merge);
}

#[test]
fn merge_has_only_its_new_titles() {
    let repo = Repo::new();
    repo.promote('a');
    repo.branch("long").promote('b');
    repo.checkout("main");
    let first = repo.merge(&["long"], "Merge long");
    repo.pins('c').commit("images by hand");
    repo.checkout("long")
        .write("x.txt", "x")
        .commit("more on long");
    repo.checkout("main").merge(&["long"], "Merge long again");
    repo.publish();
    let history = history(&repo);
    assert_eq!(found(&history, 'b').commit.to_string(), first);
    assert_eq!(
        summary(&history),
        ["manual - *", "promote b <", "promote a <"]
    );
}

#[test]
fn title_on_an_unmerged_branch_is_ignored() {
    let repo = Repo::new();
    repo.promote('a');
    repo.publish();
    repo.branch("evil").promote('b');
    repo.git(&["update-ref", "refs/remotes/origin/evil", "HEAD"]);
    repo.git(&["tag", &repo::revision('b')]);
    repo.checkout("main").promote('c');
    let history = history(&repo);
    assert_eq!(history.provenance(&revision('b')), Provenance::Never);
    // The local branch has an unpublished commit.
    assert_eq!(history.provenance(&revision('c')), Provenance::Never);
    assert_eq!(summary(&history), ["promote a *"]);
}

#[test]
fn latest_promotion_of_a_revision_counts() {
    let repo = Repo::new();
    repo.promote('a');
    repo.promote('b');
    let again = repo.pins('d').commit(title('a'));
    repo.promote('c');
    repo.publish();
    let history = history(&repo);
    assert_eq!(found(&history, 'a').commit.to_string(), again);
    assert_eq!(found(&history, 'a').images, build('d'));
    assert_eq!(
        summary(&history),
        ["promote c *", "promote a <", "promote b <", "promote a"]
    );
}

#[test]
fn contracts_are_those_of_the_promotion() {
    let repo = Repo::new();
    let a = repo.write("contract.yaml", "a").promote('a');
    repo.write("contract.yaml", "b").promote('b');
    let back = repo.pins('a').commit(format!(
        "rollback: images\n\nRepin-Set: {}\n",
        repo::revision('a')
    ));
    repo.promote('b');
    repo.publish();
    let promoted = found(&history(&repo), 'a');
    assert_eq!(
        (promoted.commit.to_string(), promoted.contracts.to_string()),
        (back, a)
    );
    let git = Git::open(repo.path()).unwrap();
    let path = RelPath::parse("contract.yaml").unwrap();
    assert_eq!(
        git.file(&promoted.contracts, &path, 10).unwrap(),
        TreeFile::Content(b"a".to_vec())
    );
    assert_eq!(
        git.file(&promoted.contracts, &path, 0).unwrap(),
        TreeFile::TooLarge
    );
    let absent = RelPath::parse("-o/@{1}").unwrap();
    assert_eq!(
        git.file(&promoted.contracts, &absent, 10).unwrap(),
        TreeFile::Absent
    );
}

#[test]
fn missing_image_of_a_set_is_reported() {
    let repo = Repo::new();
    let one = "version: 1\nname: images\nfiles: ['.github/workflows/*.yml']\nimages:\n  review: { repository: ghcr.io/acme/review, pins: 2 }\n";
    repo.write("repin.yaml", one);
    let a = repo
        .write(".github/workflows/review.yml", pin("review", 'a'))
        .commit(title('a'));
    // A digest of an image outside of the past configuration is not a pin.
    let b = repo.pins('b').commit(title('b'));
    repo.write("repin.yaml", CONFIG).promote('c');
    repo.publish();
    let history = history(&repo);
    for (letter, commit) in [('a', a), ('b', b)] {
        let Provenance::Incomplete {
            commit: lacking,
            gaps,
        } = history.provenance(&revision(letter))
        else {
            panic!()
        };
        assert_eq!(
            (lacking.to_string(), gaps),
            (commit, vec![Gap::NotPinned("fix".into())])
        );
    }
    assert_eq!(summary(&history), ["promote c *", "promote b", "promote a"]);
}

#[test]
fn disagreeing_pins_are_not_content() {
    let repo = Repo::new();
    repo.pins('a')
        .write(".github/workflows/x.yml", pin("fix", 'b'))
        .commit(title('a'));
    repo.publish();
    let history = history(&repo);
    let Provenance::Incomplete { gaps, .. } = history.provenance(&revision('a')) else {
        panic!()
    };
    assert!(
        matches!(&gaps[..], [Gap::Mixed(image, digests)] if image == "fix" && digests.len() == 2)
    );
    assert_eq!(summary(&history), ["manual - *"]);
}

#[test]
fn manually_promoted_sets_are_identified_by_content() {
    let repo = Repo::new();
    let by_content = format!("{CONFIG}provenance: {{ require: [content] }}\n");
    repo.write("repin.yaml", &by_content).commit("begin");
    repo.publish();
    assert_eq!(history(&repo).provenance(&revision('a')), Provenance::Never);
    let a = repo.pins('a').commit("new images");
    repo.pins('b').commit("newer images");
    repo.publish();
    let history = history(&repo);
    assert_eq!(history.provenance(&revision('a')), Provenance::ByContent);
    let Provenance::Found(promoted) = history.provenance_of(&build('a')) else {
        panic!()
    };
    assert_eq!(promoted.commit.to_string(), a);
    assert_eq!(history.provenance_of(&build('c')), Provenance::Never);
    let mixed = [
        ("fix".to_owned(), build('a')["fix"]),
        ("review".to_owned(), build('b')["review"]),
    ]
    .into();
    assert_eq!(history.provenance_of(&mixed), Provenance::Never);
    assert_eq!(summary(&history), ["manual - *", "manual - <"]);
}

#[test]
fn titles_with_the_former_name_count() {
    let repo = Repo::new();
    repo.promote('a');
    repo.write(
        "repin.yaml",
        CONFIG.replace("name: images", "name: runtime"),
    )
    .commit("rename the set");
    repo.pins('b')
        .commit(title('b').replace("images", "runtime"));
    repo.publish();
    assert_eq!(summary(&history(&repo)), ["promote b *", "promote a <"]);
}

// Rollbacks and holds.

#[test]
fn revert_is_a_rollback_with_a_hold() {
    let repo = Repo::new();
    repo.promote('a');
    repo.promote('b');
    repo.git(&["revert", "--no-edit", "HEAD"]);
    let revert = repo.head();
    repo.publish();
    let undone = history(&repo);
    assert_eq!(
        summary(&undone),
        ["rollback a *", "promote b <", "promote a"]
    );
    let held = undone.held_sets();
    assert_eq!(held.len(), 1);
    assert_eq!(held[0].revision, Some(&revision('b')));
    assert_eq!(held[0].hold.commit.to_string(), revert);
    assert_eq!(held[0].images, build('b'));
    assert!(is_held(&undone, 'b') && !is_held(&undone, 'a'));
    assert_eq!(undone.entries_since(&build('b')).unwrap().len(), 1);
    repo.promote('c');
    repo.publish();
    assert!(is_held(&history(&repo), 'b'));
    // Each held set is listed once, also that which was undone twice.
    repo.promote('b');
    repo.promote('a');
    repo.publish();
    let held = history(&repo);
    let held = held.held_sets().into_iter();
    let listed: Vec<_> = held
        .map(|held| held.revision.unwrap().to_string())
        .collect();
    assert_eq!(listed, ['c', 'b', 'a'].map(repo::revision));
}

#[test]
fn cherry_picked_promotion_returns_to_its_set() {
    let repo = Repo::new();
    let a = repo.promote('a');
    repo.promote('b');
    repo.git(&["cherry-pick", "-x", "--strategy-option=theirs", &a]);
    let picked = repo.head();
    repo.publish();
    let history = history(&repo);
    assert_eq!(summary(&history)[0], "promote a *");
    assert_eq!(history.entries()[0].returns_to.unwrap().to_string(), a);
    assert!(is_held(&history, 'b'));
    assert_eq!(found(&history, 'a').commit.to_string(), picked);
}

#[test]
fn equal_digests_in_other_files_keep_the_set() {
    let repo = Repo::new();
    repo.promote('a');
    repo.git(&[
        "mv",
        ".github/workflows/fix.yml",
        ".github/workflows/mend.yml",
    ]);
    repo.commit("rename");
    repo.write(".github/workflows/new.yml", pin("fix", 'a'))
        .write("repin.yaml", CONFIG.replace("pins: 1", "pins: 2"));
    repo.commit("one more");
    repo.remove(".github/workflows/fix.yml".replace("fix", "mend").as_str())
        .commit("one less");
    repo.publish();
    assert_eq!(summary(&history(&repo)), ["promote a *"]);
    assert_eq!(found(&history(&repo), 'a').images, build('a'));
}

#[test]
fn new_file_is_listed_unless_the_rules_changed() {
    let chart = ".github/workflows/Chart.yaml";
    let comment = format!("{CONFIG}# A comment.\n");
    let renamed = CONFIG.replace("  fix:", "  mend:");
    let more_files = CONFIG.replace("/*.yml", "/*");
    let with_files = "places: { helm: { files: ['.github/workflows/*.txt'] } }\n";
    let without_files = "places: { helm: {} }\n";
    for (places, path, text, is_listed) in [
        ("", "repin.yaml", comment.as_str(), true),
        ("", "repin.yaml", &renamed, true),
        ("", "repin.yaml", &more_files, false),
        ("", chart, "name: x\n", true),
        (with_files, chart, "name: x\n", true),
        ("places: { kustomize: {} }\n", chart, "name: x\n", true),
        (without_files, "notes.txt", "", true),
        (without_files, chart, "name: x\n", false),
    ] {
        let repo = Repo::empty();
        repo.write("repin.yaml", format!("{CONFIG}{places}"))
            .promote('a');
        let new = ".github/workflows/new.yml";
        repo.write(path, text).write(new, pin("fix", 'b'));
        let commit = ObjectId::parse(repo.commit("more").as_bytes()).unwrap();
        repo.publish();
        let changed = history(&repo).changed_files().remove(&commit).unwrap();
        let found = changed.iter().any(|file| &*file.path == new.as_bytes());
        assert_eq!(found, is_listed, "{places} {path} {text}");
    }
}

// Configurations of the past.

#[test]
fn commit_uses_its_own_configuration() {
    let repo = Repo::empty();
    let old = CONFIG.replace(".github/workflows/*.yml", "ci/**/*.yaml");
    repo.write("repin.yaml", &old);
    let [review, fix] = ["review", "fix"].map(|image| pin(image, 'a'));
    repo.write("ci/deep/a.yaml", format!("{review} {review} {fix}"))
        .commit(title('a'));
    // By then, none of this was a pin.
    repo.write(".github/workflows/x.yml", pin("fix", 'e'))
        .commit("not yet");
    repo.git(&["rm", "-rq", "ci"]);
    repo.remove(".github/workflows/x.yml")
        .write("repin.yaml", CONFIG)
        .promote('b');
    repo.publish();
    let history = history(&repo);
    assert_eq!(summary(&history), ["promote b *", "promote a <"]);
    assert_eq!(found(&history, 'a').images, build('a'));
    let git = Git::open(repo.path()).unwrap();
    let own = commit_config(&git, &found(&history, 'a').commit, &config_of(&repo)).unwrap();
    assert!(
        matches!(own, CommitConfig::Config(config) if config.files.included()[0].as_str() == "ci/**/*.yaml")
    );
}

#[test]
fn commit_without_configuration_uses_the_current_one() {
    let repo = Repo::empty();
    let a = repo.promote('a');
    repo.write("repin.yaml", CONFIG).promote('b');
    repo.publish();
    let history = history(&repo);
    assert_eq!(summary(&history), ["promote b *", "promote a <"]);
    let git = Git::open(repo.path()).unwrap();
    assert_eq!(found(&history, 'a').commit.to_string(), a);
    assert!(matches!(
        commit_config(&git, &found(&history, 'a').commit, &config_of(&repo)).unwrap(),
        CommitConfig::Current
    ));
}

#[test]
fn configuration_change_can_change_the_set() {
    let repo = Repo::new();
    repo.promote('a');
    repo.write("more/x.yml", pin("fix", 'b'))
        .commit("not matched");
    repo.write(
        "repin.yaml",
        CONFIG.replace("files: [", "files: [\"more/*.yml\", "),
    )
    .commit("matched now");
    repo.publish();
    let history = history(&repo);
    assert_eq!(summary(&history), ["manual - *", "promote a <"]);
    assert_eq!(history.entries()[0].subject, "matched now");
}

#[test]
fn image_of_a_changed_configuration_changes_the_set() {
    let repo = Repo::empty();
    let one = CONFIG.replace("  fix: { repository: ghcr.io/acme/fix, pins: 1 }\n", "");
    repo.write("repin.yaml", one).promote('a');
    repo.write("repin.yaml", CONFIG).commit("feat: fix");
    repo.publish();
    assert_eq!(summary(&history(&repo)), ["manual - *", "promote a"]);
}

#[test]
fn configuration_of_an_unused_branch_is_ignored() {
    let repo = Repo::new();
    repo.promote('a');
    repo.branch("topic")
        .write("repin.yaml", "version: [")
        .commit("chore: break");
    repo.checkout("main").promote('b');
    repo.git(&["merge", "-q", "-s", "ours", "-m", "Merge", "topic"]);
    repo.publish();
    assert_eq!(summary(&history(&repo)), ["promote b *", "promote a <"]);
}

#[test]
fn unreadable_configuration_hides_only_its_commits() {
    let repo = Repo::new();
    repo.promote('a');
    let broken = repo
        .write("repin.yaml", "version: 1\nfiles: 7\n")
        .promote('b');
    repo.write("x", "x").commit("chore: still broken");
    repo.write("repin.yaml", CONFIG).commit("mend it");
    repo.publish();
    let history = history(&repo);
    assert_eq!(summary(&history), ["manual - *", "promote a <"]);
    let Provenance::Incomplete { gaps, .. } = history.provenance(&revision('b')) else {
        panic!()
    };
    assert!(
        matches!(&gaps[..], [Gap::Unreadable(why)] if why.contains("repin.yaml:")),
        "{gaps:?}"
    );
    assert_eq!(history.unreadable.len(), 1);
    assert_eq!(history.unreadable[0].commit.to_string(), broken);
}

#[test]
fn oversized_configuration_is_unreadable() {
    let repo = Repo::new();
    repo.write(
        "repin.yaml",
        format!("{CONFIG}#{}", "x".repeat(1024 * 1024)),
    )
    .promote('a');
    repo.write("repin.yaml", CONFIG).promote('b');
    repo.publish();
    assert_eq!(summary(&history(&repo)), ["promote b *"]);
}

#[test]
fn root_of_a_history_may_be_a_subdirectory() {
    let repo = Repo::empty();
    repo.write(
        "sub/repin.yaml",
        CONFIG.replace(".github/workflows/*.yml", "**/*.yml"),
    );
    repo.write("sub/a.yml", [pin("review", 'a'), pin("fix", 'a')].join(" "))
        .commit(title('a'));
    repo.write("a.yml", pin("fix", 'e'))
        .write("subway/a.yml", pin("fix", 'e'))
        .commit("unrelated");
    repo.write("sub/x/.repin-y/a.yml", pin("fix", 'e'))
        .commit("never entered");
    repo.write("sub/a.yml", [pin("review", 'b'), pin("fix", 'b')].join(" "))
        .commit(title('b'));
    repo.publish();
    let history = history_in(&repo.join("sub"));
    assert_eq!(summary(&history), ["promote b *", "promote a <"]);
    let git = Git::open(&repo.join("sub")).unwrap();
    let path = RelPath::parse("a.yml").unwrap();
    assert!(
        matches!(git.file(&history.branch.tip, &path, 1000).unwrap(), TreeFile::Content(text) if text.len() > 100)
    );
}

#[test]
fn only_configured_directories_are_read() {
    let repo = Repo::empty();
    let globs: Vec<_> = (0..64).map(|number| format!("d{number}/*.yml")).collect();
    let config = CONFIG.replace("\".github/workflows/*.yml\"", &globs.join(", "));
    repo.write("repin.yaml", config).commit("chore: begin");
    repo.publish();
    repo.git(&["remote", "add", "origin", "/nowhere"]);
    History::read(&watched(&repo), &config_of(&repo)).unwrap();
    let calls = calls(&repo);
    assert!(calls.contains(":(top,literal)d63"), "{calls}");
}

/// Their pathspecs would exceed the maximum length of a command line.
#[test]
fn thousands_of_configured_directories_are_supported() {
    let repo = Repo::empty();
    let root = vec!["directory".repeat(22); 18].join("/");
    let files: Vec<_> = (0..1000).map(|at| format!("d{at}/a.yml")).collect();
    assert!(
        files.len() * root.len() > 3 << 20,
        "more than a command line may contain by default"
    );
    let list = format!("{files:?}").replace('"', "'");
    let config = CONFIG.replace("[\".github/workflows/*.yml\"]", &list);
    repo.write(&format!("{root}/repin.yaml"), config);
    for build in ['a', 'b'] {
        repo.write(&format!("{root}/d0/a.yml"), pin("review", build))
            .write(&format!("{root}/d999/a.yml"), pin("fix", build))
            .commit(title(build));
    }
    repo.publish();
    let history = history_in(&repo.join(&root));
    assert_eq!(summary(&history), ["promote b *", "promote a <"]);
}

// Hostile history.

#[test]
fn symlinks_and_submodules_contain_no_pins() {
    let repo = Repo::new();
    repo.promote('a');
    let workflows = repo.join(".github/workflows");
    std::os::unix::fs::symlink(pin("fix", 'e'), workflows.join("link.yml")).unwrap();
    let head = repo.head();
    repo.git(&[
        "update-index",
        "--add",
        "--cacheinfo",
        &format!("160000,{head},.github/workflows/sub.yml"),
    ]);
    repo.git(&["add", ".github/workflows/link.yml"]);
    repo.git(&["commit", "-qm", "links"]);
    repo.publish();
    assert_eq!(summary(&history(&repo)), ["promote a *"]);
    // A file that becomes a symlink removes its pins.
    std::fs::remove_file(workflows.join("fix.yml")).unwrap();
    std::os::unix::fs::symlink(pin("fix", 'a'), workflows.join("fix.yml")).unwrap();
    repo.git(&["add", ".github/workflows/fix.yml"]);
    repo.git(&["commit", "-qm", "a link now"]);
    repo.publish();
    assert_eq!(summary(&history(&repo)), ["manual - *", "promote a <"]);
}

#[test]
fn any_subject_is_accepted() {
    let repo = Repo::new();
    let red = repo
        .pins('a')
        .raw_commit(&repo.head(), b"\x1b[31mred\x07\ncontinued\xff\n\nbody", 7);
    repo.git(&["reset", "-q", &red]);
    repo.pins('b').commit(format!(
        "{}\nRepin-Set: {}",
        title('b'),
        repo::revision('e')
    ));
    repo.pins('c').commit(format!(
        ":100644 100644 {0} {0} M\n\n:x",
        repo::revision('0')
    ));
    repo.pins('d').commit("");
    repo.pins('e')
        .commit(format!("{}\n\n", "x".repeat(300_000)));
    repo.pins('f').commit(title('f'));
    repo.publish();
    let history = history(&repo);
    assert_eq!(
        summary(&history),
        [
            "promote f *",
            "manual -",
            "manual -",
            "manual -",
            "manual -",
            "manual -"
        ]
    );
    assert_eq!(
        history.entries()[5].subject,
        "\u{1b}[31mred\u{7} continued\u{fffd}"
    );
    assert_eq!(history.entries()[1].subject.len(), 64 * 1024);
    assert_eq!(history.provenance(&revision('e')), Provenance::Never);
}

#[test]
fn any_path_is_accepted() {
    let repo = Repo::empty();
    repo.write(
        "repin.yaml",
        CONFIG.replace(".github/workflows/*.yml", "-w @x/*"),
    );
    let name = std::ffi::OsStr::new("new\nline \u{1}.yml");
    repo.write("-w @x/@{1}", pin("review", 'a'));
    std::fs::write(repo.join("-w @x").join(name), pin("fix", 'a')).unwrap();
    repo.commit(title('a'));
    repo.publish();
    assert_eq!(summary(&history(&repo)), ["promote a *"]);
}

#[test]
fn replacements_and_grafts_change_nothing() {
    let repo = Repo::new();
    let a = repo.promote('a');
    let b = repo.promote('b');
    repo.publish();
    repo.branch("evil").pins('e').commit(title('a'));
    let evil = repo.head();
    repo.checkout("main");
    repo.git(&["replace", &a, &evil]);
    let blob =
        |commit: &str| repo.git(&["rev-parse", &format!("{commit}:.github/workflows/fix.yml")]);
    repo.git(&["replace", &blob(&b), &blob(&evil)]);
    std::fs::create_dir_all(repo.join(".git/info")).unwrap();
    repo.write(".git/info/grafts", format!("{b} {evil}\n"));
    let history = history(&repo);
    assert_eq!(summary(&history), ["promote b *", "promote a <"]);
    assert_eq!(found(&history, 'a').images, build('a'));
    assert_eq!(history.entries()[0].images, build('b'));
}

#[test]
fn large_and_binary_contents_are_scanned_completely() {
    let repo = Repo::new();
    let mut large = vec![0_u8; 3_000_000];
    large.extend_from_slice(format!("\n{}\0", pin("fix", 'a')).as_bytes());
    repo.write(".github/workflows/fix.yml", large);
    repo.write(".github/workflows/review.yml", pin("review", 'a'))
        .commit(title('a'));
    repo.publish();
    assert_eq!(found(&history(&repo), 'a').images, build('a'));
}

#[test]
fn thousands_of_files_in_one_directory_are_read() {
    let repo = Repo::new();
    for at in 0..3000 {
        repo.write(&format!(".github/workflows/f{at}.yml"), format!("{at}"));
    }
    repo.promote('a');
    repo.promote('b');
    repo.publish();
    assert_eq!(summary(&history(&repo)), ["promote b *", "promote a <"]);
}

#[test]
fn commit_dates_do_not_change_the_order() {
    let repo = Repo::new();
    let mut parent = repo.head();
    for (letter, seconds) in [
        ('a', 2_000_000_000),
        ('b', 100),
        ('c', 1_900_000_000),
        ('a', 5),
    ] {
        parent = repo
            .pins(letter)
            .raw_commit(&parent, title(letter).as_bytes(), seconds);
    }
    repo.git(&["update-ref", "refs/remotes/origin/main", &parent]);
    assert_eq!(
        summary(&history(&repo)),
        ["promote a *", "promote c <", "promote b <", "promote a"]
    );
}

#[test]
fn sha256_repositories_are_supported() {
    let repo = Repo::with(&["--object-format=sha256"]);
    repo.write("repin.yaml", CONFIG).commit("begin");
    let a = repo.promote('a');
    repo.promote('b');
    repo.publish();
    assert_eq!(a.len(), 64);
    assert_eq!(found(&history(&repo), 'a').commit.to_string(), a);
}

#[test]
fn forced_push_replaces_the_line() {
    let repo = Repo::new();
    repo.promote('a');
    repo.promote('b');
    let clone = repo.cloned(&[]);
    assert_eq!(summary(&history(&clone)), ["promote b *", "promote a <"]);
    repo.git(&["reset", "-q", "--hard", "HEAD~1"]);
    repo.promote('c');
    clone.git(&["fetch", "-q", "origin"]);
    let history = history(&clone);
    assert_eq!(summary(&history), ["promote c *", "promote a <"]);
    assert_eq!(history.provenance(&revision('b')), Provenance::Never);
}

// Shallow clones.

#[test]
fn shallow_clone_reports_what_is_unknown() {
    let repo = Repo::new();
    repo.promote('a');
    repo.promote('b');
    let c = repo.promote('c');
    let clone = repo.cloned(&["--depth=2"]);
    let history = history(&clone);
    assert!(history.shallow);
    // Commits above the boundary suffice.
    assert_eq!(found(&history, 'c').commit.to_string(), c);
    assert_eq!(found(&history, 'b').images, build('b'));
    assert_eq!(history.provenance(&revision('a')), Provenance::Shallow);
    assert_eq!(history.provenance_of(&build('a')), Provenance::Shallow);
    assert!(matches!(
        history.provenance_of(&build('b')),
        Provenance::Found(_)
    ));
    assert!(history.hold(&build('a'), &Digests::new()).is_shallow);
    let linked = tempfile::tempdir().unwrap();
    let tree = linked.path().join("tree");
    clone.git(&["worktree", "add", "-q", tree.to_str().unwrap()]);
    assert!(history_in(&tree).shallow);
    clone.git(&["fetch", "-q", "--unshallow"]);
    let whole = history_in(clone.path());
    assert!(!whole.shallow);
    assert_eq!(found(&whole, 'a').images, build('a'));
    assert!(!whole.hold(&build('a'), &Digests::new()).is_shallow);
}

#[test]
fn boundary_of_shallow_clone_is_not_a_change() {
    let repo = Repo::new();
    repo.promote('a');
    repo.write("x", "x").commit("docs");
    repo.promote('b');
    repo.git(&["revert", "--no-edit", "HEAD"]);
    let history = history(&repo.cloned(&["--depth=3"]));
    assert_eq!(
        summary(&history),
        ["rollback -  *".replace("  ", " "), "promote b <".into()]
    );
    assert!(is_held(&history, 'b'));
    assert_eq!(history.provenance(&revision('a')), Provenance::Shallow);
}

#[test]
fn merge_with_a_truncated_side_is_uncertain() {
    let repo = Repo::new();
    repo.promote('a');
    repo.branch("side").write("y", "y").commit("on the side");
    repo.checkout("main").promote('b');
    repo.promote('c');
    repo.merge(&["side"], "Merge side");
    repo.write("z", "z").commit("last");
    // Depth 4 contains `promote a` through the side, but only `promote b` of main.
    let clone = repo.cloned(&["--depth=4"]);
    let history = history(&clone);
    assert_eq!(found(&history, 'c').images, build('c'));
    assert_eq!(history.provenance(&revision('a')), Provenance::Shallow);
    clone.git(&["fetch", "-q", "--unshallow"]);
    assert_eq!(found(&history_in(clone.path()), 'a').images, build('a'));
}

#[test]
fn later_truncated_merge_makes_provenance_uncertain() {
    let repo = Repo::new();
    repo.branch("side").pins('c').commit(title('a'));
    for name in ["s2", "s3", "s4"] {
        repo.write(name, "x").commit(name);
    }
    repo.checkout("main").promote('a');
    repo.git(&[
        "merge",
        "-q",
        "--no-ff",
        "-X",
        "theirs",
        "-m",
        "Merge side",
        "side",
    ]);
    // Depth 3 contains `promote a` on the line, but not the second promotion on the side.
    let clone = repo.cloned(&["--depth=3"]);
    assert_eq!(
        history(&clone).provenance(&revision('a')),
        Provenance::Shallow
    );
    clone.git(&["fetch", "-q", "--unshallow"]);
    assert_eq!(found(&history(&clone), 'a').images, build('c'));
}

// Order.

#[test]
fn ancestor_of_the_pinned_build_is_older() {
    let repo = Repo::new();
    let [early, late] = ["early", "late"].map(|name| repo.write("source", name).commit(name));
    let git = Git::open(repo.path()).unwrap();
    let pinned = revision_text(&late);
    let order = |name: &str| commit_order(&git, &revision_text(name), &pinned).unwrap();
    let later = repo.write("source", "later").commit("later");
    assert_eq!(order(&early), CommitOrder::Known { is_older: true });
    assert_eq!(order(&later), CommitOrder::Known { is_older: false });
    for odd in [
        &repo::revision('d'),
        "-h",
        "--help",
        "HEAD",
        "HEAD@{1}",
        "main",
        "v1..v2",
        ":/early",
    ] {
        let missing = CommitOrder::NoCommit(revision_text(odd));
        assert_eq!(order(odd), missing, "{odd}");
    }
}

#[test]
fn set_that_became_current_first_is_older() {
    let repo = Repo::new();
    for (build, title) in [
        ('a', "promote"),
        ('b', "promote"),
        ('c', "promote"),
        ('b', "rollback"),
    ] {
        let title = format!("{title}: images @{}", repo::revision(build));
        repo.pins(build).commit(title);
    }
    repo.publish();
    let history = history(&repo);
    let is_older = |name: char| history.became_current_before(&revision(name), &build('b'));
    assert_eq!(is_older('a'), Some(true));
    assert_eq!(is_older('c'), Some(false));
    assert_eq!(is_older('b'), None);
    assert_eq!(is_older('d'), None);
    let never = history.became_current_before(&revision('a'), &build('d'));
    assert_eq!(never, None);
}

#[test]
fn abbreviated_revisions_are_commits_too_but_never_references() {
    let repo = Repo::new();
    let first = repo.head();
    let git = Git::open(repo.path()).unwrap();
    let second = repo.write("x", "x").commit("second");
    repo.git(&["branch", &first[..7], &second]);
    assert_eq!(
        git.commit_named(&first[..7]).unwrap().unwrap().to_string(),
        first
    );
    assert_eq!(git.commit_named(&first[..3]).unwrap(), None);
    let tree = repo.git(&["rev-parse", "HEAD^{tree}"]);
    assert_eq!(git.commit_named(&tree).unwrap(), None);
    assert_eq!(git.commit_named(&tree[..12]).unwrap(), None);
}

#[test]
fn shallow_clone_does_not_prove_newer_builds() {
    let repo = Repo::new();
    let [early, late] = ["early", "late"].map(|name| repo.write("source", name).commit(name));
    repo.pins('b').commit(format!("promote: images @{late}"));
    let clone = repo.cloned(&["--depth=2"]);
    let git = Git::open(clone.path()).unwrap();
    let pinned = revision_text(&late);
    let order = |name: &str| commit_order(&git, &revision_text(name), &pinned).unwrap();
    let missing = CommitOrder::NoCommit(revision_text(&early));
    assert_eq!(order(&early), missing);
    assert_eq!(order(&clone.head()), CommitOrder::Shallow);
    let history = history(&clone);
    let before = history.became_current_before(&revision_text(&early), &build('b'));
    assert_eq!(before, None);
}

#[test]
fn shallow_clone_does_not_order_sets() {
    let repo = Repo::new();
    for build in ['a', 'b', 'c'] {
        repo.promote(build);
    }
    repo.publish();
    let before = |repo: &Repo| history(repo).became_current_before(&revision('b'), &build('c'));
    assert_eq!(before(&repo), Some(true));
    assert_eq!(before(&repo.cloned(&["--depth=2"])), None);
}

#[test]
fn ancestor_in_a_shallow_clone_is_older() {
    let repo = Repo::new();
    let commits = ["a", "b", "c"].map(|name| repo.write("source", name).commit(name));
    let clone = repo.cloned(&["--depth=2"]);
    let git = Git::open(clone.path()).unwrap();
    let [_, old, new] = commits.map(|commit| revision_text(&commit));
    let known = CommitOrder::Known { is_older: true };
    assert_eq!(commit_order(&git, &old, &new).unwrap(), known);
}

#[test]
fn undone_set_has_the_order_of_its_first_use() {
    let repo = Repo::new();
    repo.promote('a');
    repo.promote('b');
    repo.pins('a').commit("revert");
    repo.publish();
    let by_history = |revision: char, current: char| {
        let order = Order::Unknown(UnknownOrder::NotInHistory);
        order.or_by_history(&history(&repo), &self::revision(revision), &build(current))
    };
    assert!(!by_history('b', 'a').is_older());
    repo.promote('c');
    repo.publish();
    assert!(by_history('a', 'c').is_older());
    assert!(by_history('b', 'c').is_older());
    // What another run could read is not replaced by the history.
    let unavailable = Errors::from(Error::unavailable("source", "timeout"));
    for unknown in [
        UnknownOrder::SourceUnavailable(unavailable),
        UnknownOrder::Shallow,
    ] {
        let order = Order::Unknown(unknown);
        let order = order.or_by_history(&history(&repo), &self::revision('a'), &build('c'));
        assert!(matches!(order, Order::Unknown(_)), "{order:?}");
    }
}

#[test]
fn title_of_a_merged_commit_promotes_again() {
    let repo = Repo::new();
    repo.promote('a');
    repo.promote('b');
    repo.branch("again").promote('a');
    repo.checkout("main")
        .merge(&["again"], "Merge pull request #3 from acme/again");
    repo.publish();
    assert_eq!(summary(&history(&repo))[0], "promote a *");
}

#[test]
fn every_trailer_claims_a_tag() {
    let repo = Repo::new();
    let mut claimed = ClaimedTags::default();
    claimed.add_config(&config_of(&repo));
    let [a, b] = ['a', 'b'].map(repo::revision);
    claimed.add_message(&format!("Merge (#1)\n\nRepin-Set: {a}\n\nRepin-Set: {b}\n"));
    let revisions: Vec<_> = claimed.into_tags().into_values().collect();
    assert_eq!(revisions, [revision('a'), revision('b')]);
}

// Branches, and errors of the git environment.

fn branch(repo: &Repo, name: Option<&str>) -> Result<String, String> {
    let git = Git::open(repo.path()).unwrap();
    git.branch(name)
        .map(|branch| branch.name)
        .map_err(|error| format!("{error:?}"))
}

#[test]
fn default_or_configured_branch_is_used() {
    let repo = Repo::new();
    let remote = |name: &str| repo.git(&["update-ref", &format!("refs/remotes/{name}"), "HEAD"]);
    let unknown = |branch: Result<String, String>| {
        assert!(
            branch
                .as_ref()
                .is_err_and(|error| error.starts_with("NoDefault")),
            "{branch:?}"
        );
    };
    assert_eq!(branch(&repo, None), Err("NoRemote".into()));
    // Branches of a remote without a configuration.
    remote("up/master");
    assert_eq!(branch(&repo, None), Ok("up/master".into()));
    remote("up/trunk");
    unknown(branch(&repo, None));
    repo.git(&["update-ref", "-d", "refs/remotes/up/master"]);
    unknown(branch(&repo, None));
    remote("up/main");
    unknown(branch(&repo, None));
    repo.git(&[
        "symbolic-ref",
        "refs/remotes/up/HEAD",
        "refs/remotes/up/trunk",
    ]);
    assert_eq!(branch(&repo, None), Ok("up/trunk".into()));
    remote("fork/main");
    assert!(
        branch(&repo, None)
            .unwrap_err()
            .starts_with("AmbiguousRemote")
    );
    remote("origin/main");
    assert_eq!(branch(&repo, None), Ok("origin/main".into()));
    assert_eq!(branch(&repo, Some("up/main")), Ok("up/main".into()));
    for missing in [
        "main",
        "origin/other",
        "origin",
        "up",
        "-x",
        "origin/*",
        "origin/main@{1}",
        "../heads/main",
    ] {
        assert_eq!(
            branch(&repo, Some(missing)),
            Err(format!("NoBranch({missing:?})"))
        );
    }
    assert_eq!(branch(&Repo::empty(), None), Err("NoRemote".into()));
    assert_eq!(
        branch(&Repo::empty(), Some("origin/main")),
        Err("Unborn".into())
    );
}

#[test]
fn git_environment_errors_are_distinguished() {
    let outside = tempfile::tempdir().unwrap();
    assert!(matches!(
        Git::open(outside.path()),
        Err(GitError::NotARepository(_))
    ));
    let repo = Repo::new();
    assert!(matches!(
        Git::open(&repo.join(".git")),
        Err(GitError::NoWorkTree(_))
    ));
    assert!(matches!(
        Git::open(&repo.join("nowhere")),
        Err(GitError::Unreadable { .. })
    ));
    assert!(matches!(
        Git::open_with("/nowhere/git".as_ref(), repo.path()),
        Err(GitError::NoGit)
    ));
    let empty = outside.path().join(".git");
    std::fs::create_dir(&empty).unwrap();
    assert!(matches!(
        Git::open(outside.path()),
        Err(GitError::Rejected(entry)) if entry == empty
    ));
    std::fs::create_dir(repo.join(".git/shallow")).unwrap();
    assert!(matches!(
        Git::open(repo.path()),
        Err(GitError::Unreadable { .. })
    ));
    std::fs::remove_dir(repo.join(".git/shallow")).unwrap();
    repo.write(".git/config", "[broken");
    let Err(error @ GitError::Failed { .. }) =
        Git::open(repo.path()).and_then(|git| git.branch(None))
    else {
        panic!()
    };
    assert!(error.to_string().contains("config"), "{error}");
    assert!(!error.hint().is_empty());
}

#[test]
fn partial_clone_fetches_nothing() {
    let repo = repo::two_promotions();
    repo.git(&["config", "uploadpack.allowFilter", "true"]);
    let clone = repo.cloned(&["--filter=blob:none", "--no-checkout"]);
    clone.write("repin.yaml", CONFIG);
    let read = || History::read(&Git::open(clone.path()).unwrap(), &config_of(&clone));
    let before = clone.git(&["count-objects", "-v"]);
    assert!(
        matches!(read(), Err(GitError::Missing(_))),
        "{:?}",
        read().map(|history| summary(&history))
    );
    assert_eq!(clone.git(&["count-objects", "-v"]), before);
    clone.git(&["fetch", "-q", "--refetch", "--no-filter"]);
    assert_eq!(summary(&read().unwrap()), ["promote b *", "promote a <"]);
}

/// A git that records its arguments.
fn watched(repo: &Repo) -> Git {
    repo.script(
        ".git/git.sh",
        &format!(
            "echo \"$*\" >>'{}'\nexec git \"$@\"\n",
            repo.join(".git/calls").display()
        ),
    );
    Git::open_with(repo.join(".git/git.sh").as_os_str(), repo.path()).unwrap()
}

fn calls(repo: &Repo) -> String {
    std::fs::read_to_string(repo.join(".git/calls")).unwrap()
}

#[test]
fn options_and_expressions_never_reach_git() {
    let repo = Repo::new();
    let git = watched(&repo);
    for odd in [
        "--upload-pack=x",
        "-x",
        "HEAD@{1}",
        "a..b",
        ":/a",
        "main",
        "@",
        "abc",
        "deadbeef^",
    ] {
        assert_eq!(git.commit_named(odd).unwrap(), None);
    }
    // Only the version.
    assert_eq!(calls(&repo).lines().count(), 1, "{}", calls(&repo));
    assert!(git.branch(Some("--all")).is_err());
    assert!(calls(&repo).contains(" refs/remotes/--all\n") && !calls(&repo).contains(" --all"));
}

#[test]
fn number_of_processes_is_constant() {
    let repo = Repo::new();
    for _ in 0..3 {
        for letter in ['a', 'b', 'c', 'd'] {
            repo.promote(letter);
        }
        repo.branch("side").write("x", repo.head()).commit("x");
        repo.checkout("main").merge(&["side"], "Merge");
        repo.git(&["branch", "-D", "side"]);
    }
    repo.publish();
    repo.git(&["remote", "add", "origin", "/nowhere"]);
    let git = watched(&repo);
    assert_eq!(
        History::read(&git, &config_of(&repo))
            .unwrap()
            .entries()
            .len(),
        12
    );
    let calls = calls(&repo);
    let count = |word: &str| {
        calls
            .lines()
            .filter(|call| call.contains(&format!(" {word} ")))
            .count()
    };
    assert_eq!(
        (count("log"), count("cat-file"), calls.lines().count()),
        (1, 1, 5),
        "{calls}"
    );
}

#[test]
fn missing_object_is_reported() {
    let repo = Repo::new();
    repo.promote('a');
    repo.publish();
    let blob = repo.git(&["rev-parse", "HEAD:.github/workflows/fix.yml"]);
    std::fs::remove_file(repo.join(&format!(".git/objects/{}/{}", &blob[..2], &blob[2..])))
        .unwrap();
    let error = History::read(&Git::open(repo.path()).unwrap(), &config_of(&repo)).unwrap_err();
    assert!(
        matches!(error, GitError::Missing(id) if id.to_string() == blob),
        "{error:?}"
    );
    let tree = repo.git(&["rev-parse", "HEAD^{tree}"]);
    std::fs::remove_file(repo.join(&format!(".git/objects/{}/{}", &tree[..2], &tree[2..])))
        .unwrap();
    let error = History::read(&Git::open(repo.path()).unwrap(), &config_of(&repo)).unwrap_err();
    assert!(
        matches!(&error, GitError::Failed { message, .. } if message.contains(&tree)),
        "{error:?}"
    );
}

// Matched and unmatched files.

/// The digest of `fix` is pinned in `deploy/values.yaml`, too.
fn placed() -> String {
    CONFIG.to_owned()
        + "places:\n  values: { kind: keys, files: [deploy/values.yaml], entry: /fix, digest: digest, image: fix }\n"
}

/// A file of that place, with a digest of `fix` for each key.
fn values(keys: &[(&str, char)]) -> String {
    let line =
        |(key, build): &(&str, char)| format!("  {key}: 'sha256:{}'\n", digits("fix", *build));
    format!("fix:\n{}", keys.iter().map(line).collect::<String>())
}

fn placed_build(repo: &Repo, build: char) -> String {
    repo.write("deploy/values.yaml", values(&[("digest", build)]));
    repo.promote(build)
}

#[test]
fn refused_file_hides_the_set_of_its_commit() {
    let repo = Repo::empty();
    let twice = values(&[("digest", 'e'), ("digest", 'e')]);
    // Refused in the first commit, and after a rollback.
    repo.write("repin.yaml", placed())
        .write("deploy/values.yaml", &twice);
    let first = repo.promote('0');
    placed_build(&repo, 'a');
    placed_build(&repo, 'b');
    repo.write("deploy/values.yaml", values(&[("digest", 'a')]))
        .pins('a')
        .commit("back");
    let second = repo.write("deploy/values.yaml", &twice).promote('c');
    repo.write("deploy/values.yaml", values(&[("digest", 'a')]))
        .pins('a')
        .commit("repaired");
    let c = placed_build(&repo, 'c');
    repo.publish();
    let known = history(&repo);
    let unreadable: Vec<_> = known
        .unreadable
        .iter()
        .map(|unread| (unread.commit.to_string(), unread.file.as_str()))
        .collect();
    let file = "deploy/values.yaml";
    assert_eq!(unreadable, [(first, file), (second, file)]);
    assert_eq!(
        summary(&known),
        ["promote c *", "rollback a <", "promote b <", "promote a <"]
    );
    assert_eq!(found(&known, 'c').commit.to_string(), c);
    assert!(is_held(&known, 'b'));
    assert!(known.blind_spot().is_none());
    placed_build(&repo, 'd');
    repo.publish();
    let known = history(&repo);
    assert!(is_held(&known, 'b') && known.blind_spot().is_none());
}

#[test]
fn broken_configuration_is_reported_next_to_refused_file() {
    let repo = Repo::empty();
    repo.write("repin.yaml", placed()).write(
        "deploy/values.yaml",
        values(&[("digest", 'e'), ("digest", 'e')]),
    );
    repo.promote('a');
    repo.write("repin.yaml", "version: [")
        .commit("chore: break");
    repo.publish();
    // The program reads the configuration of the work tree.
    repo.write("repin.yaml", placed());
    let unreadable = history(&repo).unreadable;
    let files: Vec<_> = unreadable
        .iter()
        .map(|commit| commit.file.as_str())
        .collect();
    assert_eq!(files, ["deploy/values.yaml", "repin.yaml"]);
}

#[test]
fn commit_with_an_oversized_file_is_unreadable() {
    let repo = Repo::empty();
    repo.write("repin.yaml", CONFIG);
    repo.promote('a');
    let large = ".github/workflows/large.yml";
    repo.write(large, " ".repeat(16 * 1024 * 1024 + 1));
    let second = repo.promote('b');
    repo.publish();
    let known = history(&repo);
    let blind = known.blind_spot().unwrap();
    assert_eq!(blind.commit.to_string(), second);
    assert_eq!(
        blind.reason(),
        format!("{large}: it is larger than 16 MiB, the maximum for files with pins")
    );
    repo.write(large, "x").promote('c');
    repo.publish();
    assert!(history(&repo).blind_spot().is_none());
}

#[test]
fn changed_place_changes_the_set() {
    let repo = Repo::empty();
    let review = pin("review", 'a');
    repo.write("repin.yaml", placed())
        .write(
            "deploy/values.yaml",
            values(&[("digest", 'a'), ("other", 'b')]),
        )
        .write(".github/workflows/review.yml", format!("{review} {review}"))
        .commit(title('a'));
    repo.write(
        "repin.yaml",
        placed().replace("digest: digest", "digest: other"),
    )
    .commit("another key");
    repo.publish();
    assert_eq!(history(&repo).entries().len(), 2);
    let swapped = placed()
        .replace("digest: digest", "digest: other")
        .replace("acme/review", "acme/x")
        .replace("acme/fix", "acme/review")
        .replace("acme/x", "acme/fix");
    repo.write("repin.yaml", swapped).commit("another image");
    repo.publish();
    assert_eq!(history(&repo).entries().len(), 3);
}

#[test]
fn new_chart_makes_files_templates() {
    let repo = Repo::empty();
    let config = CONFIG.replace("*.yml\"]", "*.yml\", 'charts/app/templates/*.yaml']")
        + "places:\n  helm: { registry: ghcr.io }\n";
    let review = pin("review", 'a');
    let digest = digits("fix", 'a');
    repo.write("repin.yaml", config)
        .write(".github/workflows/review.yml", format!("{review} {review}"))
        .write(
            "charts/app/templates/x.yaml",
            format!("image: {{ repository: acme/fix, digest: 'sha256:{digest}' }}\n"),
        )
        .commit(title('a'));
    repo.publish();
    assert_eq!(found(&history(&repo), 'a').images, build('a'));
    repo.write("charts/app/Chart.yaml", "name: app\n")
        .commit("a chart");
    repo.publish();
    assert_eq!(summary(&history(&repo)), ["manual - *", "promote a <"]);
}

#[test]
fn unmatched_file_is_ignored() {
    let repo = Repo::empty();
    let notes = |build| {
        repo.write(".github/workflows/notes.txt", pin("fix", build));
        &repo
    };
    notes('1').write("repin.yaml", "version: [").promote('a');
    notes('2').write("repin.yaml", CONFIG).promote('b');
    notes('3').promote('c');
    notes('4').write("repin.yaml", "version: [").promote('d');
    repo.write("repin.yaml", CONFIG).promote('e');
    repo.publish();
    let history = history(&repo);
    pinned_of_fix(&history, ['a', 'b', 'c', 'd', 'e']);
    // No place searches any of them.
    assert!(history.place_digests().is_empty());
}

#[test]
fn digest_from_before_its_place_is_known() {
    let repo = Repo::new();
    repo.write("deploy/values.yaml", values(&[("digest", 'e')]));
    repo.promote('a');
    repo.write("repin.yaml", placed());
    placed_build(&repo, 'b');
    repo.publish();
    let history = history(&repo);
    let known = ['b', 'e'].map(|build| digits("fix", build).parse_digest());
    assert_eq!(*history.place_digests(), known.into());
    pinned_of_fix(&history, ['a', 'b', 'e']);
}

#[test]
fn image_with_zero_pins_is_not_missing() {
    let repo = Repo::empty();
    let extra = "  extra: { repository: ghcr.io/acme/extra, pins: 0 }\n";
    repo.write("repin.yaml", CONFIG.to_owned() + extra)
        .pins('a')
        .remove(".github/workflows/fix.yml")
        .commit(title('a'));
    repo.publish();
    let Provenance::Incomplete { gaps, .. } = history(&repo).provenance(&revision('a')) else {
        panic!()
    };
    assert_eq!(gaps, [Gap::NotPinned("fix".into())]);
}

#[test]
fn incomplete_promotion_of_a_shallow_clone_is_inconclusive() {
    let repo = Repo::new();
    repo.promote('a');
    repo.promote('b');
    repo.remove(".github/workflows/fix.yml").commit(title('a'));
    let clone = repo.cloned(&["--depth=2"]);
    assert!(matches!(
        history(&clone).provenance(&revision('a')),
        Provenance::Shallow
    ));
    let whole = repo.cloned(&[]);
    assert!(matches!(
        history(&whole).provenance(&revision('a')),
        Provenance::Found(_)
    ));
}
