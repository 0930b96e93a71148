//! Several sets in one repository, whose pull requests never touch each other.

use serde_json::Value;

use crate::support::{
    forge::{Fake, Kind, TOKEN},
    hosted::SERVERS,
    world::{self, REV_A, REV_B, REV_C, Ran, World},
};

/// The configuration files of two environments, and the file with the pins of each.
const STAGING: [&str; 2] = ["envs/staging/repin.yaml", "envs/staging/app.yml"];
const PROD: [&str; 2] = ["envs/prod/repin.yaml", "envs/prod/app.yml"];

/// Two sets of the images of a world, on a forge and in a clone of its repository.
struct Sets {
    world: World,
    fake: Fake,
    files: [[&'static str; 2]; 2],
}

impl Sets {
    /// `more` are further keys of both configurations.
    fn new(kind: Kind, sets: [[&'static str; 2]; 2], more: &str) -> Self {
        Self::with_forge(kind, sets, "", more)
    }

    /// `settings` are further keys of the block `forge`.
    fn with_forge(kind: Kind, sets: [[&'static str; 2]; 2], settings: &str, more: &str) -> Self {
        let (mut world, fake) = (world::world(), Fake::start(kind));
        std::fs::remove_file(world.path("repin.yaml")).unwrap();
        world.build(REV_C);
        let name = match kind {
            Kind::Github => "github",
            Kind::Gitea | Kind::Forgejo => "gitea",
        };
        for [config, pins] in sets {
            let file = pins.rsplit('/').next().unwrap();
            let text = format!(
                "version: 1\nfiles: [{file}]\nrevision: {{ pattern: '[a-c]{{40}}' }}\nimages:\n  \
                 review: {{ repository: ghcr.io/acme/review, pins: 1 }}\n  \
                 fix: {{ repository: ghcr.io/acme/fix, pins: 1 }}\n\
                 forge: {{ kind: {name}, url: '{}', repository: acme/flows{settings} }}\n{more}",
                fake.api()
            );
            world.write(config, text);
        }
        let sets = Self {
            world,
            fake,
            files: sets,
        };
        sets.start();
        sets
    }

    fn git(&self, args: &[&str]) -> String {
        world::git(self.world.root(), args)
    }

    fn pins(&self, revision: &'static str) -> String {
        let digest = |image| self.world.digest(image, revision);
        format!(
            "a: ghcr.io/acme/review@{}\nb: ghcr.io/acme/fix@{}\n",
            digest("review"),
            digest("fix")
        )
    }

    /// Two promotions of each set on the base branch, the last to A.
    fn start(&self) {
        self.world
            .write(".gitignore", "/images\n/origin.git\n/.github\n");
        self.git(&["init", "-q", "-b", "main"]);
        for revision in [REV_C, REV_A] {
            for [config, pins] in self.files {
                self.world.write(pins, self.pins(revision));
                self.git(&["add", "-A", "."]);
                let trailer = match config {
                    "repin.yaml" => format!("Repin-Set: {revision}"),
                    path => format!("Repin-Set: {revision} ({path})"),
                };
                let message = ["-m", "promote", "-m", &trailer];
                self.git(&[&["commit", "-q", "--allow-empty"], &message[..]].concat());
            }
        }
        self.git(&["init", "-q", "--bare", "-b", "main", "origin.git"]);
        self.git(&["remote", "add", "origin", "./origin.git"]);
        self.git(&["push", "-q", "origin", "main"]);
        self.git(&["remote", "set-head", "origin", "main"]);
        let files = self.files.as_flattened();
        let files: Vec<_> = files
            .iter()
            .map(|path| (*path, self.world.read(path)))
            .collect();
        let files: Vec<_> = files.iter().map(|(path, text)| (*path, &**text)).collect();
        self.fake.store().push("main", "as it is", &files);
        let head = self.git(&["rev-parse", "HEAD"]);
        self.fake.store().name_head("main", &head);
    }

    fn run(&self, set: usize, args: &[&str]) -> Ran {
        let sources = format!("ghcr.io/acme=oci:{}", self.world.path("images").display());
        let env = [("REPIN_FORGE_TOKEN", TOKEN), ("REPIN_SOURCES", &sources)];
        let args = [args, &["--config", self.files[set][0]]].concat();
        self.world.run_with(&args, &env)
    }

    fn open(&self, set: usize, command: &[&str], revision: &str) -> Value {
        let more = [revision, "--pr", "ready", "--format", "json"];
        let ran = self.run(set, &[command, &more].concat());
        ran.exits(0).json()
    }

    fn promote(&self, set: usize, revision: &str) -> Value {
        self.open(set, &["promote", "--allow-older", "--revision"], revision)
    }

    /// `HEAD FILE…` of each open pull request, by number.
    fn open_pulls(&self) -> Vec<String> {
        let store = self.fake.store();
        let base = store.files_of(&store.refs["main"]).clone();
        let open = store.pulls.iter().filter(|pull| pull.open);
        open.map(|pull| {
            let mut line = pull.head.clone();
            for (path, file) in store.files_of(&store.refs[&pull.head]) {
                if base.get(path) != Some(file) {
                    line.push(' ');
                    line.push_str(path);
                }
            }
            line
        })
        .collect()
    }
}

#[test]
fn promotions_of_two_sets_stay_apart() {
    for kind in SERVERS {
        let sets = Sets::new(kind, [STAGING, PROD], "");
        let staging = sets.promote(0, REV_B);
        assert_eq!(staging["set_path"], "envs/staging/repin.yaml");
        let prod = sets.promote(1, REV_B);
        assert_ne!(staging["pull_request"], prod["pull_request"], "{kind:?}");
        let [first, second] = [
            format!("repin/envs-staging/promote-{REV_B} envs/staging/app.yml"),
            format!("repin/envs-prod/promote-{REV_B} envs/prod/app.yml"),
        ];
        assert_eq!(sets.open_pulls(), [first.clone(), second.clone()]);
        // A repeated run changes nothing.
        assert_eq!(sets.promote(0, REV_B)["pull_request"]["state"], "unchanged");
        assert_eq!(sets.promote(1, REV_B)["pull_request"]["state"], "unchanged");
        // Another revision supersedes the pull request of its own set.
        sets.promote(0, REV_C);
        let third = format!("repin/envs-staging/promote-{REV_C} envs/staging/app.yml");
        assert_eq!(sets.open_pulls(), [second, third], "{kind:?}");
        let store = sets.fake.store();
        let body = &store.pulls[1].body;
        let marker =
            format!("<!-- repin/2 kind=promote set=envs/prod/repin.yaml revision={REV_B} -->");
        assert!(body.contains(&marker), "{body}");
        let message = &store.commits[&store.refs[&store.pulls[1].head]].message;
        let trailer = format!("\n\nRepin-Set: {REV_B} (envs/prod/repin.yaml)\n");
        assert!(message.ends_with(&trailer), "{message}");
    }
}

#[test]
fn rollbacks_of_two_sets_stay_apart() {
    for kind in SERVERS {
        let sets = Sets::new(kind, [STAGING, PROD], "");
        let rollback = ["rollback", "--to"];
        sets.open(0, &rollback, REV_C);
        sets.open(1, &rollback, REV_C);
        let expected = [
            format!("repin/envs-staging/rollback-{REV_C} envs/staging/app.yml"),
            format!("repin/envs-prod/rollback-{REV_C} envs/prod/app.yml"),
        ];
        assert_eq!(sets.open_pulls(), expected, "{kind:?}");
    }
}

#[test]
fn two_files_in_one_directory_are_two_sets() {
    for kind in SERVERS {
        let files = [["repin.eu.yaml", "eu.yml"], ["repin.yaml", "us.yml"]];
        let sets = Sets::new(kind, files, "");
        sets.promote(0, REV_B);
        sets.promote(1, REV_B);
        let expected = [
            format!("repin/eu/promote-{REV_B} eu.yml"),
            format!("repin/promote-{REV_B} us.yml"),
        ];
        assert_eq!(sets.open_pulls(), expected, "{kind:?}");
    }
}

#[test]
fn closed_pull_request_of_other_set_does_not_matter() {
    for kind in SERVERS {
        let sets = Sets::new(kind, [STAGING, PROD], "");
        sets.promote(0, REV_B);
        sets.fake.store().pulls[0].open = false;
        let prod = sets.promote(1, REV_B);
        assert_eq!(prod["pull_request"]["state"], "created", "{kind:?}");
        let args = ["promote", "--revision", REV_B, "--pr", "ready"];
        let ran = sets.run(0, &args).exits(1);
        assert!(ran.stderr.contains("--reopen"), "{}", ran.stderr);
        sets.run(0, &[&args[..], &["--reopen"]].concat()).exits(0);
        assert_eq!(sets.open_pulls().len(), 2, "{kind:?}");
    }
}

#[test]
fn common_branch_of_two_sets_is_refused() {
    let common = "promote: { branch: 'deploy-{revision}' }\n";
    let same_key = [
        ["a/b/repin.yaml", "a/b/app.yml"],
        ["a-b/repin.yaml", "a-b/app.yml"],
    ];
    for kind in SERVERS {
        for (files, more, help) in [
            ([STAGING, PROD], common, "a name that contains {set}"),
            (same_key, "", "of one set another name"),
        ] {
            let sets = Sets::new(kind, files, more);
            sets.promote(0, REV_B);
            let before = (sets.open_pulls(), sets.fake.store().refs.clone());
            let args = ["promote", "--revision", REV_B, "--pr", "ready"];
            let ran = sets.run(1, &args).exits(5);
            for part in [files[0][0], files[1][0], "`promote.branch`", help] {
                assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
            }
            let after = (sets.open_pulls(), sets.fake.store().refs.clone());
            assert_eq!(before, after, "{kind:?}");
            // The commits of another set count without a pull request, too.
            sets.fake.store().pulls.clear();
            sets.run(1, &args).exits(5);
            assert_eq!(sets.fake.store().refs, before.1);
        }
    }
}

#[test]
fn pull_request_of_earlier_version_belongs_to_the_top() {
    for kind in SERVERS {
        let files = [["repin.yaml", "us.yml"], PROD];
        let sets = Sets::new(kind, files, "");
        sets.promote(0, REV_B);
        {
            // As an earlier version opened it.
            let mut store = sets.fake.store();
            let former = format!("auto/runtime-promote-{REV_B}");
            let present = std::mem::replace(&mut store.pulls[0].head, former.clone());
            let commit = store.refs.remove(&present).unwrap();
            store.refs.insert(former, commit);
            let body = &mut store.pulls[0].body;
            *body = body.replace(
                "repin/2 kind=promote set=repin.yaml",
                "repin/1 kind=promote",
            );
        }
        sets.promote(1, REV_B);
        assert_eq!(sets.open_pulls().len(), 2, "{kind:?}");
        sets.promote(0, REV_B);
        let expected = [
            format!("repin/envs-prod/promote-{REV_B} envs/prod/app.yml"),
            format!("repin/promote-{REV_B} us.yml"),
        ];
        assert_eq!(sets.open_pulls(), expected, "{kind:?}");
    }
}

#[test]
fn wait_of_one_set_leaves_merges_of_another_alone() {
    for kind in SERVERS {
        let merging = ", auto_merge: true, gates: [ci]";
        let sets = Sets::with_forge(kind, [STAGING, PROD], merging, "");
        sets.promote(0, REV_B);
        let scheduled = {
            let mut store = sets.fake.store();
            let head = store.refs[&store.pulls[0].head].clone();
            store.scheduled.push((1, head));
            store.scheduled.clone()
        };
        let ran = sets.run(1, &["wait", "--pr", "1", "--timeout", "0s"]);
        let warning = "#1 belongs to the set envs/staging/repin.yaml";
        assert!(ran.stderr.contains(warning), "{}", ran.stderr);
        assert_ne!(ran.code, 5, "{}", ran.stderr);
        assert_eq!(sets.fake.store().scheduled, scheduled, "{kind:?}");
    }
}

#[test]
fn pin_of_two_sets_stops_a_pull_request() {
    let args = ["promote", "--revision", REV_B, "--pr", "ready"];
    for kind in SERVERS {
        let files = [["repin.eu.yaml", "app.yml"], ["repin.yaml", "app.yml"]];
        let sets = Sets::new(kind, files, "");
        // The files are those of the base branch, whatever the work tree contains.
        sets.git(&["rm", "-q", "repin.eu.yaml"]);
        sets.run(1, &["check"]).exits(0);
        let ran = sets.run(1, &args).exits(1);
        let message = "the sets `repin.yaml` and `repin.eu.yaml` both count";
        assert!(ran.stderr.contains(message), "{}", ran.stderr);
        assert_eq!(sets.open_pulls(), [] as [&str; 0], "{kind:?}");
    }
}

#[test]
fn pin_of_two_sets_in_the_work_tree_does_not_stop_a_pull_request() {
    for kind in SERVERS {
        let sets = Sets::new(kind, [STAGING, PROD], "");
        let other = sets
            .world
            .read(PROD[0])
            .replace("app.yml", "envs/prod/app.yml");
        sets.world.write("repin.yaml", other);
        sets.git(&["add", "repin.yaml"]);
        sets.run(1, &["check"]).exits(1);
        let document = sets.promote(1, REV_B);
        assert_eq!(document["pull_request"]["state"], "created", "{kind:?}");
    }
}
