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
    let source = SourceText {
        name: "repin.yaml".into(),
        text: CONFIG.into(),
    };
    crate::config::parse(&source, Path::new("/")).unwrap()
}

fn pin(set: &str) -> Vec<u8> {
    format!("r.example/app@{}\n", Digest::of(set.as_bytes())).into_bytes()
}

/// The history of commits `SET MESSAGE`, the oldest first.
fn history(commits: &[&str], whole: bool) -> History {
    let config = config();
    let own = Template::parse("back to {revision}", true).unwrap();
    let files: Vec<BTreeMap<String, String>> = commits
        .iter()
        .map(|commit| BTreeMap::from([("pins.yml".to_owned(), commit[..1].to_owned())]))
        .collect();
    let contents: HashMap<String, Vec<u8>> = commits
        .iter()
        .map(|commit| (commit[..1].to_owned(), pin(&commit[..1])))
        .collect();
    let ids =
        (0..commits.len()).map(|at| ObjectId::parse(format!("{at:040x}").as_bytes()).unwrap());
    let shown = ids
        .zip(commits)
        .zip(&files)
        .map(|((id, commit), files)| CommitShown {
            id,
            date: "2026-11-20T10:00:00Z",
            author: "Someone",
            message: &commit[2..],
            files,
        });
    let mut commits: Vec<_> = shown.collect();
    commits.reverse();
    let line = RecentLine {
        branch: Branch {
            name: "main".to_owned(),
            tip: commits[0].id,
        },
        commits,
        whole,
        contents: &|id| contents.get(id).map(Vec::as_slice),
        exists: &|_| false,
        own_rollbacks: &own,
    };
    History::of_recent(&config, &line).unwrap()
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
    let source = SourceText {
        name: "repin.yaml".into(),
        text: format!("{CONFIG}  old: {{ repository: r.example/old, pins: 0 }}\n").into(),
    };
    let config = crate::config::parse(&source, Path::new("/")).unwrap();
    let own = config.rollback.title.clone();
    let digest = |text: &str| Digest::of(text.as_bytes());
    // The second commit changes an image with `pins: 0`, and a file that no glob matches.
    let contents: HashMap<&str, String> = ["1", "2"]
        .map(|at| {
            let (app, old) = (digest("a"), digest(at));
            (at, format!("r.example/app@{app}\nr.example/old@{old}\n"))
        })
        .into_iter()
        .chain(["3", "4"].map(|at| (at, format!("r.example/app@{}\n", digest(at)))))
        .collect();
    let files = [["1", "3"], ["2", "4"]].map(|[pins, other]| {
        let named = [("pins.yml", pins), ("other.txt", other)];
        BTreeMap::from(named.map(|(name, id)| (name.to_owned(), id.to_owned())))
    });
    let ids = ["a", "b"].map(|id| ObjectId::parse(id.repeat(40).as_bytes()).unwrap());
    let commit = |at: usize, message| CommitShown {
        id: ids[at],
        date: "",
        author: "",
        message,
        files: &files[at],
    };
    let line = RecentLine {
        branch: Branch {
            name: "main".to_owned(),
            tip: ids[1],
        },
        commits: vec![commit(1, "chore"), commit(0, &A[2..])],
        whole: true,
        contents: &|id| contents.get(id).map(String::as_bytes),
        exists: &|_| false,
        own_rollbacks: &own,
    };
    let history = History::of_recent(&config, &line).unwrap();
    let [entry] = history.entries() else {
        panic!("{:?}", history.entries())
    };
    assert_eq!((entry.kind, entry.commit), (Kind::Promote, ids[0]));
    let app = ("app".to_owned(), digest("a"));
    assert_eq!(entry.images, BTreeMap::from([app]));
}

#[test]
fn missing_content_is_an_error_and_a_refused_file_a_blind_spot() {
    let config = config();
    let own = config.rollback.title.clone();
    let files = BTreeMap::from([("pins.yml".to_owned(), "gone".to_owned())]);
    let id = ObjectId::parse("a".repeat(40).as_bytes()).unwrap();
    let line = RecentLine {
        branch: Branch {
            name: "main".to_owned(),
            tip: id,
        },
        commits: vec![CommitShown {
            id,
            date: "",
            author: "",
            message: A,
            files: &files,
        }],
        whole: true,
        contents: &|_| None,
        exists: &|_| false,
        own_rollbacks: &own,
    };
    let missing = ContentMissing("gone".to_owned());
    assert_eq!(History::of_recent(&config, &line).unwrap_err(), missing);

    let text = "version: 1\nfiles: []\nimages:\n  app: { repository: r.example/app, pins: 1 }\nplaces:\n  keys: { files: [pins.yml], entry: /app, digest: digest, image: app }\n";
    let source = SourceText {
        name: "repin.yaml".into(),
        text: text.replace("files: []\n", "files: [x]\n").into(),
    };
    let config = crate::config::parse(&source, Path::new("/")).unwrap();
    let digest = Digest::of(b"a");
    let twice = format!("app:\n  digest: '{digest}'\n  digest: '{digest}'\n");
    let line = RecentLine {
        contents: &|_| Some(twice.as_bytes()),
        ..line
    };
    let history = History::of_recent(&config, &line).unwrap();
    let blind = history.blind_spot().unwrap();
    assert_eq!((&*blind.file, blind.commit), ("pins.yml", id));
}

#[test]
fn what_an_unreadable_commit_pinned_is_no_newer_set() {
    let places =
        "places:\n  keys: { files: [keys.yml], entry: /app, digest: digest, image: app }\n";
    let source = SourceText {
        name: "repin.yaml".into(),
        text: format!(
            "{}{places}",
            CONFIG.replace("[pins.yml]", "[pins.yml, keys.yml]")
        )
        .into(),
    };
    let config = crate::config::parse(&source, Path::new("/")).unwrap();
    let own = config.rollback.title.clone();
    let digest = Digest::of(b"x");
    let twice = format!("app:\n  digest: '{digest}'\n  digest: '{digest}'\n");
    let contents: HashMap<&str, Vec<u8>> = ["a", "b", "c"]
        .map(|set| (set, pin(set)))
        .into_iter()
        .chain([("keys", twice.into_bytes())])
        .collect();
    let held_after = |unreadable: bool| {
        let all = [
            (&A[2..], "a", false),
            (&B[2..], "b", false),
            (&BACK[2..], "a", false),
            ("by hand", if unreadable { "c" } else { "a" }, unreadable),
            ("repaired", "c", false),
        ];
        let files = all.map(|(_, set, keys)| {
            let keys = keys.then_some(("keys.yml", "keys"));
            let files = [("pins.yml", set)].into_iter().chain(keys);
            files
                .map(|(path, id)| (path.to_owned(), id.to_owned()))
                .collect::<BTreeMap<_, _>>()
        });
        let shown = all.iter().zip(&files).enumerate();
        let shown = shown.map(|(at, ((message, ..), files))| CommitShown {
            id: ObjectId::parse(format!("{at:040x}").as_bytes()).unwrap(),
            date: "",
            author: "",
            message,
            files,
        });
        let commits: Vec<_> = shown.rev().collect();
        let line = RecentLine {
            branch: Branch {
                name: "main".to_owned(),
                tip: commits[0].id,
            },
            commits,
            whole: true,
            contents: &|id| contents.get(id).map(Vec::as_slice),
            exists: &|_| false,
            own_rollbacks: &own,
        };
        held(&History::of_recent(&config, &line).unwrap(), "B")
    };
    assert_eq!(held_after(false), "free");
    assert_eq!(held_after(true), "held");
}

#[test]
fn without_any_commit_nothing_is_known_unless_there_is_none() {
    let config = config();
    let own = config.rollback.title.clone();
    for (whole, expected) in [(true, "free"), (false, "unknown")] {
        let line = RecentLine {
            branch: Branch {
                name: "main".to_owned(),
                tip: ObjectId::parse("a".repeat(40).as_bytes()).unwrap(),
            },
            commits: Vec::new(),
            whole,
            contents: &|_| None,
            exists: &|_| false,
            own_rollbacks: &own,
        };
        let history = History::of_recent(&config, &line).unwrap();
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
