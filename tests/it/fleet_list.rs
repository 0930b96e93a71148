//! `repin fleet list` as a whole: the lines, the notes and the refusals.

use std::process::Command;

use crate::support::{
    forge::{
        Kind, TOKEN,
        thousand::{Options, Thousand, Trouble},
    },
    world::Ran,
};

/// A fleet's own configuration, and the forge that it names.
struct Fleet {
    directory: tempfile::TempDir,
    forge: Thousand,
}

impl Fleet {
    fn new(kind: Kind, options: Options) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let forge = Thousand::start(options);
        let kind = if kind == Kind::Github {
            "github"
        } else {
            "gitea"
        };
        let config = format!(
            "version: 1\nfleet: {{ source: acme/runtime }}\nimages:\n  api: {{ repository: ghcr.io/acme/api }}\nforge: {{ kind: {kind}, url: '{}' }}\n",
            forge.api()
        );
        std::fs::write(directory.path().join("repin.yaml"), config).unwrap();
        Self { directory, forge }
    }

    fn list(&self, args: &[&str]) -> Ran {
        let output = Command::new(env!("CARGO_BIN_EXE_repin"))
            .args(["fleet", "list"])
            .args(args)
            .current_dir(self.directory.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("REPIN_FORGE_TOKEN", TOKEN)
            .output()
            .unwrap();
        Ran {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

#[test]
fn repositories_are_lines_and_archived_ones_a_note() {
    for kind in [Kind::Github, Kind::Gitea, Kind::Forgejo] {
        let options = Options::new(kind, 6)
            .trouble(1, Trouble::Archived)
            .trouble(2, Trouble::Unconfigured)
            .trouble(4, Trouble::Renamed);
        let fleet = Fleet::new(kind, options);
        let all = fleet.list(&["--org", "acme"]);
        assert_eq!(all.code, 0, "{}", all.stderr);
        let expected =
            "acme/app-0000\nacme/app-0002\nacme/app-0003\nacme/app-0004-renamed\nacme/app-0005\n";
        assert_eq!(all.stdout, expected);
        let note = "note: 1 archived repository left out: acme/app-0001";
        assert!(all.stderr.contains(note), "{}", all.stderr);
        let some = fleet.list(&["--org", "acme", "--topic", "even", "--has", "repin.yaml"]);
        assert_eq!(some.stdout, "acme/app-0000\nacme/app-0004-renamed\n");
        let found = fleet.list(&["--search", "app-", "--format", "json"]);
        let document: serde_json::Value = serde_json::from_str(&found.stdout).unwrap();
        assert_eq!(document["schema"], "repin.text/1");
        assert_eq!(document["content"], expected);
        assert!(fleet.forge.log().iter().all(|logged| !logged.write));
    }
}

#[test]
fn what_to_list_is_required_and_an_unknown_owner_is_refused() {
    let fleet = Fleet::new(Kind::Github, Options::new(Kind::Github, 1));
    for args in [
        &[][..],
        &["--org", "acme", "--search", "x"],
        &["--search", "x", "--has", "repin.yaml"],
    ] {
        assert_eq!(fleet.list(args).code, 2, "{args:?}");
    }
    let nobody = fleet.list(&["--org", "nobody"]);
    assert_eq!(nobody.code, 2);
    assert!(
        nobody.stderr.contains("GitHub knows no `nobody`"),
        "{}",
        nobody.stderr
    );
    assert_eq!(nobody.stdout, "");
}
