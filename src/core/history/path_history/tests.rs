//! Lines of commits with one or two images, as a forge lists them.

use super::*;
use crate::{
    config::example,
    core::history::{Digests, Kind, Provenance, tests::examples::id},
    oci::Digest,
};

const CONFIG: &str = "version: 1
name: images
files: [pins.yml]
revision: { pattern: '[A-Z]' }
images:
  app: { repository: r.example/app, pins: 1 }
";

fn config() -> Config {
    example(CONFIG)
}

/// The history of these commits: messages and files, oldest first.
fn read(
    config: &Config,
    commits: &[(&str, Vec<(&str, &str)>)],
    is_complete: bool,
    blobs: &HashMap<&str, Vec<u8>>,
) -> Result<History, MissingBlob> {
    let files: Vec<BTreeMap<String, String>> = commits
        .iter()
        .map(|(_, files)| {
            let files = files.iter();
            files
                .map(|(path, id)| ((*path).to_owned(), (*id).to_owned()))
                .collect()
        })
        .collect();
    let mut listed = Vec::new();
    for (number, ((message, _), files)) in commits.iter().zip(&files).enumerate() {
        listed.push(PathCommit {
            id: id(number),
            date: "2026-11-20T10:00:00Z",
            author: "Someone",
            message,
            files,
        });
    }
    listed.reverse();
    let history = PathHistory {
        branch: Branch {
            name: "main".to_owned(),
            tip: id(commits.len().saturating_sub(1)),
        },
        commits: listed,
        is_complete,
        blob: &|id| blobs.get(id).map(Vec::as_slice),
        exists: &|_| false,
        own_rollbacks: &Template::parse(
            "back to {revision}",
            crate::config::Placeholders::Title(""),
        )
        .unwrap(),
    };
    History::from_path_history(config, &history)
}

fn pin(set: &str) -> Vec<u8> {
    format!("r.example/app@{}\n", Digest::of(set.as_bytes())).into_bytes()
}

/// The history of commits `SET MESSAGE`, oldest first.
fn history(commits: &[&str], is_complete: bool) -> History {
    let sets = commits.iter().map(|commit| &commit[..1]);
    let blobs = sets.map(|set| (set, pin(set))).collect();
    let commits: Vec<_> = commits
        .iter()
        .map(|commit| (&commit[2..], vec![("pins.yml", &commit[..1])]))
        .collect();
    read(&config(), &commits, is_complete, &blobs).unwrap()
}

/// The hold of the set with the digest of a revision's letter in lower case.
fn hold(history: &History, revision: &str) -> &'static str {
    let digest = Digest::of(revision.to_lowercase().as_bytes());
    let digests = [("app".to_owned(), digest)].into();
    let hold = history.hold(&digests, &Digests::new());
    match (hold.is_held(), hold.is_shallow) {
        (true, _) => "held",
        (false, true) => "unknown",
        (false, false) => "free",
    }
}

const A: &str = "a promote: images @A";
const B: &str = "b promote: images @B (#2)";
const BACK: &str = "a rollback: images @A\n\nRepin-Set: A";
const BY_HAND: &str = "c deploy by hand";

#[test]
fn pins_that_change_places_are_no_change() {
    let web = "  web: { repository: r.example/web, pins: 1 }\n";
    let config = example(&(CONFIG.replace("pins.yml", "'*.yml'") + web));
    let blobs = HashMap::from([
        ("app", pin("a")),
        (
            "web",
            format!("r.example/web@{}\n", Digest::of(b"b")).into_bytes(),
        ),
    ]);
    let commits = [
        (
            "promote: images @A",
            vec![("a.yml", "app"), ("b.yml", "web")],
        ),
        (
            "promote: images @B",
            vec![("a.yml", "web"), ("b.yml", "app")],
        ),
    ];
    let history = read(&config, &commits, true, &blobs).unwrap();
    assert_eq!(history.entries().len(), 1);
    assert_eq!(history.ignored_claims().len(), 0);
}

#[test]
fn complete_line_is_read_like_a_clone() {
    let all = history(&[A, B, BACK], true);
    assert_eq!(hold(&all, "B"), "held");
    assert_eq!(hold(&all, "A"), "free");
    assert_eq!(all.entries()[0].kind, Kind::Rollback);
    assert!(all.shows_beginning());
    let tags: Vec<_> = all
        .claimed_tags()
        .into_keys()
        .map(|tag| tag.to_string())
        .collect();
    assert_eq!(tags, ["A", "B"]);
    // A newer set does not end the hold.
    let newer = history(&[A, B, BACK, "c promote: images @C"], true);
    assert_eq!(hold(&newer, "B"), "held");
    let now = config().revision.pattern.revision("A").unwrap();
    match all.provenance(&now) {
        Provenance::Found(promoted) => {
            assert_eq!(promoted.images["app"], Digest::of(b"a"));
            assert_eq!(promoted.commit, all.branch.tip);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn rollback_beyond_the_listing_holds_undone_sets() {
    let cut = history(&[B, BACK], false);
    assert_eq!(hold(&cut, "B"), "held");
    assert_eq!(cut.entries()[0].kind, Kind::Rollback);
    // With the title of the repository's own rollbacks.
    let own = "a back to A (#3)\n\nRepin-Set: A";
    assert_eq!(hold(&history(&[B, own], false), "B"), "held");
    // In a complete line, the title does not count as a rollback.
    assert_eq!(history(&[B, BACK], true).entries()[0].kind, Kind::Promote);
}

#[test]
fn first_promotion_or_rollback_completes_the_history() {
    for (commits, is_shown) in [
        (&[A, B][..], true),
        (&[B, BACK], true),
        (&[B], true),
        (&["b chore: reformat"], false),
        (&[A, BY_HAND], false),
        (&[A, B, "b chore: reformat"], true),
        (&[B, "a rollback: images @A"], true),
        (&[A, B, "a by hand\n\nRepin-Set: A"], true),
        (&[A, B, "a by hand"], false),
    ] {
        let cut = history(commits, false);
        assert_eq!(cut.shows_beginning(), is_shown, "{commits:?}");
        assert!(history(commits, true).shows_beginning(), "{commits:?}");
        assert_eq!(hold(&cut, "Z"), "unknown");
    }
}

#[test]
fn changes_of_uncounted_pins_are_no_entries() {
    let config = example(&format!(
        "{CONFIG}  old: {{ repository: r.example/old, pins: 0 }}\n"
    ));
    let digest = |text: &str| Digest::of(text.as_bytes());
    // The second commit changes an image with `pins: 0`, and a file that no glob matches.
    let pins = ["1", "2"].map(|id| {
        let (app, old) = (digest("a"), digest(id));
        let text = format!("r.example/app@{app}\nr.example/old@{old}\n");
        (id, text.into_bytes())
    });
    let others = ["3", "4"].map(|id| (id, pin(id)));
    let blobs = pins.into_iter().chain(others).collect();
    let commits = [
        (&A[2..], vec![("pins.yml", "1"), ("other.txt", "3")]),
        ("chore", vec![("pins.yml", "2"), ("other.txt", "4")]),
    ];
    let history = read(&config, &commits, true, &blobs).unwrap();
    let [entry] = history.entries() else {
        panic!("{:?}", history.entries())
    };
    assert_eq!((entry.kind, entry.commit), (Kind::Promote, id(0)));
    let app = ("app".to_owned(), digest("a"));
    assert_eq!(entry.images, BTreeMap::from([app]));
}

/// A file with a duplicate digest, which is refused.
fn refused_file() -> Vec<u8> {
    let digest = Digest::of(b"a");
    format!("app:\n  digest: '{digest}'\n  digest: '{digest}'\n").into_bytes()
}

#[test]
fn missing_blob_fails_and_refused_file_is_unknown() {
    let commits = [(A, vec![("pins.yml", "blob")])];
    let missing = MissingBlob("blob".to_owned());
    let result = read(&config(), &commits, true, &HashMap::new());
    assert_eq!(result.unwrap_err(), missing);

    let config = example(
        "version: 1\nfiles: [x]\nimages:\n  app: { repository: r.example/app, pins: 1 }\nplaces:\n  keys: { files: [pins.yml], entry: /app, digest: digest, image: app }\n",
    );
    let blobs = HashMap::from([("blob", refused_file())]);
    let history = read(&config, &commits, true, &blobs).unwrap();
    let blind_spot = history.blind_spot().unwrap();
    assert_eq!((&*blind_spot.file, blind_spot.commit), ("pins.yml", id(0)));
}

#[test]
fn empty_incomplete_line_leaves_holds_unknown() {
    for (is_complete, expected) in [(true, "free"), (false, "unknown")] {
        let history = history(&[], is_complete);
        assert_eq!(hold(&history, "A"), expected);
        assert_eq!(history.shows_beginning(), is_complete);
    }
}

#[test]
fn messages_are_parsed_like_git() {
    assert_eq!(subject("\n a\nb\n\nc"), " a b");
    assert_eq!(subject(""), "");
}
