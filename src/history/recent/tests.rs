//! Lines of commits that pin one or two images, as a forge shows them.

use super::*;
use crate::{
    error::SourceText,
    history::{Hold, Kind, Provenance},
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
    parsed(CONFIG)
}

fn parsed(text: &str) -> Config {
    let source = SourceText {
        name: "repin.yaml".into(),
        text: text.into(),
    };
    crate::config::parse(&source, Path::new("/")).unwrap()
}

/// The history of these commits as a forge shows them: messages and files, the oldest first.
fn read(
    config: &Config,
    commits: &[(&str, Vec<(&str, &str)>)],
    whole: bool,
    contents: &HashMap<&str, Vec<u8>>,
) -> Result<History, ContentMissing> {
    let named = |files: &Vec<(&str, &str)>| -> BTreeMap<String, String> {
        let named = files.iter();
        let named = named.map(|(path, id)| ((*path).to_owned(), (*id).to_owned()));
        named.collect()
    };
    let files: Vec<_> = commits.iter().map(|(_, files)| named(files)).collect();
    let shown = commits.iter().zip(&files).enumerate();
    let shown = shown.map(|(at, ((message, _), files))| CommitShown {
        id: id(at),
        date: "2026-11-20T10:00:00Z",
        author: "Someone",
        message,
        files,
    });
    let mut shown: Vec<_> = shown.collect();
    shown.reverse();
    let line = RecentLine {
        branch: Branch {
            name: "main".to_owned(),
            tip: id(commits.len().saturating_sub(1)),
        },
        commits: shown,
        whole,
        contents: &|id| contents.get(id).map(Vec::as_slice),
        exists: &|_| false,
        own_rollbacks: &Template::parse("back to {revision}", true).unwrap(),
    };
    History::of_recent(config, &line)
}

fn id(at: usize) -> ObjectId {
    ObjectId::parse(format!("{at:040x}").as_bytes()).unwrap()
}

fn pin(set: &str) -> Vec<u8> {
    format!("r.example/app@{}\n", Digest::of(set.as_bytes())).into_bytes()
}

/// The history of commits `SET MESSAGE`, the oldest first.
fn history<'a>(commits: &[&'a str], whole: bool) -> History {
    let sets = commits.iter().map(|commit| &commit[..1]);
    let contents = sets.map(|set| (set, pin(set))).collect();
    let shown = |commit: &&'a str| (&commit[2..], vec![("pins.yml", &commit[..1])]);
    let commits: Vec<_> = commits.iter().map(shown).collect();
    read(&config(), &commits, whole, &contents).unwrap()
}

fn held(history: &History, revision: &str) -> &'static str {
    let revision = config().revision.pattern.revision(revision).unwrap();
    match history.held(&revision) {
        Hold::Held { .. } => "held",
        Hold::Free => "free",
        Hold::Shallow => "unknown",
    }
}

const A: &str = "a promote: images @A";
const B: &str = "b promote: images @B (#2)";
const BACK: &str = "a rollback: images @A\n\nRepin-Set: A";
const BY_HAND: &str = "c deploy by hand";

#[test]
fn whole_line_is_read_as_a_clone_is() {
    let all = history(&[A, B, BACK], true);
    assert_eq!(held(&all, "B"), "held");
    assert_eq!(held(&all, "A"), "free");
    assert_eq!(all.entries()[0].kind, Kind::Rollback);
    assert!(all.shows_beginning());
    let tags: Vec<_> = all
        .claimed_tags()
        .into_keys()
        .map(|tag| tag.to_string())
        .collect();
    assert_eq!(tags, ["A", "B"]);
    // A newer set ends the hold.
    assert_eq!(
        held(&history(&[A, B, BACK, "c promote: images @C"], true), "B"),
        "free"
    );
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
fn rollback_to_a_set_before_the_line_holds_what_it_undid() {
    let cut = history(&[B, BACK], false);
    assert_eq!(held(&cut, "B"), "held");
    assert_eq!(cut.entries()[0].kind, Kind::Rollback);
    // By the name that the repository's own rollbacks have.
    let own = "a back to A (#3)\n\nRepin-Set: A";
    assert_eq!(held(&history(&[B, own], false), "B"), "held");
    // Where all is known, the title alone makes no rollback.
    assert_eq!(history(&[B, BACK], true).entries()[0].kind, Kind::Promote);
}

#[test]
fn beginning_of_the_current_set_is_shown_by_a_promote_or_a_rollback() {
    for (commits, shown) in [
        (&[A, B][..], true),
        (&[B, BACK], true),
        (&[B], true),
        (&["b chore: reformat"], false),
        (&[A, BY_HAND], false),
        (&[A, B, "b chore: reformat"], true),
    ] {
        let cut = history(commits, false);
        assert_eq!(cut.shows_beginning(), shown, "{commits:?}");
        assert!(history(commits, true).shows_beginning(), "{commits:?}");
        assert_eq!(held(&cut, "Z"), "unknown");
    }
}

#[test]
fn recent_commits_pin_what_the_configuration_counts() {
    let config = parsed(&format!(
        "{CONFIG}  old: {{ repository: r.example/old, pins: 0 }}\n"
    ));
    let digest = |text: &str| Digest::of(text.as_bytes());
    // The second commit changes an image with `pins: 0`, and a file that no glob matches.
    let pins = ["1", "2"].map(|at| {
        let (app, old) = (digest("a"), digest(at));
        (
            at,
            format!("r.example/app@{app}\nr.example/old@{old}\n").into_bytes(),
        )
    });
    let others = ["3", "4"].map(|at| (at, pin(at)));
    let contents = pins.into_iter().chain(others).collect();
    let commits = [
        (&A[2..], vec![("pins.yml", "1"), ("other.txt", "3")]),
        ("chore", vec![("pins.yml", "2"), ("other.txt", "4")]),
    ];
    let history = read(&config, &commits, true, &contents).unwrap();
    let [entry] = history.entries() else {
        panic!("{:?}", history.entries())
    };
    assert_eq!((entry.kind, entry.commit), (Kind::Promote, id(0)));
    let app = ("app".to_owned(), digest("a"));
    assert_eq!(entry.images, BTreeMap::from([app]));
}

/// A file in which a digest stands twice, which is refused.
fn twice() -> Vec<u8> {
    let digest = Digest::of(b"a");
    format!("app:\n  digest: '{digest}'\n  digest: '{digest}'\n").into_bytes()
}

#[test]
fn missing_content_is_an_error_and_a_refused_file_a_blind_spot() {
    let commits = [(A, vec![("pins.yml", "named")])];
    let missing = ContentMissing("named".to_owned());
    let failed = read(&config(), &commits, true, &HashMap::new());
    assert_eq!(failed.unwrap_err(), missing);

    let config = parsed(
        "version: 1\nfiles: [x]\nimages:\n  app: { repository: r.example/app, pins: 1 }\nplaces:\n  keys: { files: [pins.yml], entry: /app, digest: digest, image: app }\n",
    );
    let contents = HashMap::from([("named", twice())]);
    let history = read(&config, &commits, true, &contents).unwrap();
    let blind = history.blind_spot().unwrap();
    assert_eq!((&*blind.file, blind.commit), ("pins.yml", id(0)));
}

#[test]
fn what_an_unreadable_commit_pinned_is_no_newer_set() {
    let places =
        "places:\n  keys: { files: [keys.yml], entry: /app, digest: digest, image: app }\n";
    let files = CONFIG.replace("[pins.yml]", "[pins.yml, keys.yml]");
    let config = parsed(&format!("{files}{places}"));
    let pins = ["a", "b", "c"].map(|set| (set, pin(set)));
    let contents = pins.into_iter().chain([("keys", twice())]).collect();
    let pinning = |set| vec![("pins.yml", set)];
    let held_after = |by_hand| {
        let commits = [
            (&A[2..], pinning("a")),
            (&B[2..], pinning("b")),
            (&BACK[2..], pinning("a")),
            ("by hand", by_hand),
            ("repaired", pinning("c")),
        ];
        held(&read(&config, &commits, true, &contents).unwrap(), "B")
    };
    assert_eq!(held_after(pinning("a")), "free");
    let unreadable = vec![("pins.yml", "c"), ("keys.yml", "keys")];
    assert_eq!(held_after(unreadable), "held");
}

#[test]
fn without_any_commit_nothing_is_known_unless_there_is_none() {
    for (whole, expected) in [(true, "free"), (false, "unknown")] {
        let history = history(&[], whole);
        assert_eq!(held(&history, "A"), expected);
        assert_eq!(history.shows_beginning(), whole);
    }
}

#[test]
fn messages_are_read_as_git_does() {
    assert_eq!(subject("\n a\nb\n\nc"), " a b");
    assert_eq!(subject(""), "");
    for (message, values) in [
        ("t\n\nRepin-Set: A\nCo-authored-by: x\n", "A"),
        ("t\r\n\r\nbody\r\n\r\nrepin-set: A\r\nRepin-Set: B", "A\nB"),
        ("Repin-Set: A", ""),
        ("t\n\nRepin-Set: A\n\nmore text", ""),
        ("t\n\nsome text\nRepin-Set: A", ""),
        ("t\n\nsee here: x\nRepin-Set: A", ""),
        ("t\n\nRepin-Set: A\nNote: x\n more", "A"),
    ] {
        assert_eq!(trailers(message), values, "{message:?}");
    }
}
