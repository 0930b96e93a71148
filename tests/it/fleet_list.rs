//! `repin fleet list` as a whole: the lines, the notes and the refusals.

use crate::support::{
    fleet::Fleet,
    forge::{
        Kind,
        thousand::{Options, Trouble},
    },
    world::Ran,
};

fn list(fleet: &Fleet, args: &[&str]) -> Ran {
    fleet.run(&[&["fleet", "list"], args].concat())
}

#[test]
fn repositories_are_lines_and_archived_ones_a_note() {
    for kind in [Kind::Github, Kind::Gitea, Kind::Forgejo, Kind::Gitlab] {
        let options = Options::new(kind, 6)
            .trouble(1, Trouble::Archived)
            .trouble(2, Trouble::Unconfigured)
            .trouble(4, Trouble::Renamed);
        let fleet = Fleet::new(options);
        let all = list(&fleet, &["--org", "acme"]);
        assert_eq!(all.code, 0, "{}", all.stderr);
        let expected =
            "acme/app-0000\nacme/app-0002\nacme/app-0003\nacme/app-0004-renamed\nacme/app-0005\n";
        assert_eq!(all.stdout, expected);
        let note = "note: 1 archived repository left out: acme/app-0001";
        assert!(all.stderr.contains(note), "{}", all.stderr);
        let some = list(
            &fleet,
            &["--org", "acme", "--topic", "even", "--has", "repin.yaml"],
        );
        assert_eq!(some.stdout, "acme/app-0000\nacme/app-0004-renamed\n");
        let found = list(&fleet, &["--search", "app-", "--format", "json"]);
        let document: serde_json::Value = serde_json::from_str(&found.stdout).unwrap();
        assert_eq!(document["schema"], "repin.text/1");
        assert_eq!(document["content"], expected);
        assert!(fleet.forge.log().iter().all(|logged| !logged.write));
    }
}

#[test]
fn list_needs_an_existing_owner() {
    let fleet = Fleet::new(Options::new(Kind::Github, 1));
    for args in [
        &[][..],
        &["--org", "acme", "--search", "x"],
        &["--search", "x", "--has", "repin.yaml"],
    ] {
        assert_eq!(list(&fleet, args).code, 2, "{args:?}");
    }
    let nobody = list(&fleet, &["--org", "nobody"]);
    assert_eq!(nobody.code, 2);
    assert!(
        nobody.stderr.contains("GitHub knows no `nobody`"),
        "{}",
        nobody.stderr
    );
    assert_eq!(nobody.stdout, "");
}
