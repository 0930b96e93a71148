//! More than one set in one repository: their pull requests never affect each other.

use std::{collections::BTreeMap, path::Path};

use serde_json::Value;

use crate::support::{
    forge::{Fake, Kind, TOKEN},
    hosted::{SERVERS, on_servers},
    sweep::one_of,
    world::{self, REV_A, REV_B, REV_C, Ran, World},
};

/// The configuration files of two environments, and the file with the pins of each.
const STAGING: [&str; 2] = ["envs/staging/repin.yaml", "envs/staging/app.yml"];
const PROD: [&str; 2] = ["envs/prod/repin.yaml", "envs/prod/app.yml"];
/// Two sets in directories, and two files at the top.
const LAYOUTS: [[[&str; 2]; 2]; 2] = [
    [STAGING, PROD],
    [["repin.eu.yaml", "eu.yml"], ["repin.yaml", "us.yml"]],
];
/// The commands with the option for the revision, and a revision for which a set needs a change.
const OPERATIONS: [([&str; 2], &str); 2] = [
    (["promote", "--revision"], REV_B),
    (["rollback", "--to"], REV_C),
];

/// The keys of the block `forge` for scheduled merges.
const MERGING: &str = ", auto_merge: true, gates: [ci]";

/// The trailer of a set.
fn trailer(config: &str, revision: &str) -> String {
    match config {
        "repin.yaml" => format!("Repin-Set: {revision}"),
        path => format!("Repin-Set: {revision} ({path})"),
    }
}

/// Every layout, each on one server.
fn cells() -> Vec<(Kind, [[&'static str; 2]; 2])> {
    on_servers(&LAYOUTS)
}

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
        let name = kind.name();
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
            self.commit(revision);
        }
        self.git(&["init", "-q", "--bare", "-b", "main", "origin.git"]);
        self.git(&["remote", "add", "origin", "./origin.git"]);
        self.publish();
        self.git(&["remote", "set-head", "origin", "main"]);
    }

    /// Commits the promotion of each set to a revision.
    fn commit(&self, revision: &'static str) {
        for [config, pins] in self.files {
            self.world.write(pins, self.pins(revision));
            self.git(&["add", "-A", "."]);
            let trailer = trailer(config, revision);
            let message = ["-m", "promote", "-m", &trailer];
            self.git(&[&["commit", "-q", "--allow-empty"], &message[..]].concat());
        }
    }

    /// Pushes the base branch.
    fn publish(&self) {
        self.git(&["push", "-q", "origin", "main"]);
        let files = self.files.as_flattened();
        let files: Vec<_> = files
            .iter()
            .chain([&".gitignore"])
            .map(|path| (*path, self.world.read(path)))
            .collect();
        let files: Vec<_> = files.iter().map(|(path, text)| (*path, &**text)).collect();
        self.fake.store().push("main", "as it is", &files);
        let head = self.git(&["rev-parse", "HEAD"]);
        self.fake
            .store()
            .name_head("main", &head, self.world.root());
    }

    /// Moves the files of a set on the base branch.
    fn rename(&mut self, set: usize, files: [&'static str; 2]) {
        for (old, new) in self.files[set].into_iter().zip(files) {
            if old == new {
                continue;
            }
            let directory = self.world.path(new);
            std::fs::create_dir_all(directory.parent().unwrap()).unwrap();
            self.git(&["mv", old, new]);
            self.fake.store().rename("main", old, new);
        }
        self.git(&["commit", "-q", "-m", "chore: move a set"]);
        self.files[set] = files;
        self.publish();
    }

    /// Adds a set, as a copy of the set with the files `copied`, to the base branch.
    fn add(&mut self, set: usize, files: [&'static str; 2], copied: [&str; 2]) {
        for (file, copied) in files.into_iter().zip(copied) {
            self.world.write(file, self.world.read(copied));
        }
        self.git(&["add", "-A", "."]);
        self.git(&["commit", "-q", "-m", "chore: add a set"]);
        self.files[set] = files;
        self.publish();
    }

    /// Schedules the merge of the first pull request, as an earlier run did.
    fn schedule(&self) {
        let mut store = self.fake.store();
        store.required = vec!["ci".to_owned()];
        let head = store.refs[&store.pulls[0].head].clone();
        store.scheduled.push((1, head));
    }

    /// Waits in another directory than that of the repository.
    fn wait(&self, set: usize) -> Ran {
        let outside = self.world.root().parent().unwrap();
        let config = self.world.path(self.files[set][0]);
        let wait = ["wait", "--pr", "1", "--timeout", "0s"];
        self.run_in(outside, config.to_str().unwrap(), &wait)
    }

    fn run(&self, set: usize, args: &[&str]) -> Ran {
        self.run_in(self.world.root(), self.files[set][0], args)
    }

    fn run_in(&self, directory: &Path, config: &str, args: &[&str]) -> Ran {
        let sources = format!("ghcr.io/acme=oci:{}", self.world.path("images").display());
        let env = [("REPIN_FORGE_TOKEN", TOKEN), ("REPIN_SOURCES", &sources)];
        let args = [args, &["--config", config]].concat();
        self.world.run_in(directory, &args, &env)
    }

    fn open(&self, set: usize, command: &[&str], revision: &str) -> Value {
        let more = [revision, "--pr", "ready", "--format", "json"];
        let ran = self.run(set, &[command, &more].concat()).exits(0);
        // An attempt to close the pull request of another set would be a warning.
        assert!(!ran.stderr.contains("not closed"), "{}", ran.stderr);
        ran.json()
    }

    fn promote(&self, set: usize, revision: &str) -> Value {
        self.open(set, &["promote", "--allow-older", "--revision"], revision)
    }

    /// The line of [`Sets::open_pulls`] for a pull request of a set.
    fn line(&self, set: usize, command: &str, revision: &str) -> String {
        let [config, pins] = self.files[set];
        let key = match config {
            "repin.yaml" => "",
            "repin.eu.yaml" => "eu/",
            "envs/staging/repin.yaml" => "envs-staging/",
            "envs/prod/repin.yaml" => "envs-prod/",
            "live/repin.yaml" => "live/",
            path => panic!("no key of {path}"),
        };
        format!("repin/{key}{command}-{revision} {pins}")
    }

    /// The pull requests and the branches on the forge.
    fn state(&self) -> (Vec<String>, BTreeMap<String, String>) {
        let store = self.fake.store();
        let mut pulls = Vec::new();
        for pull in &store.pulls {
            pulls.push(format!("#{} {} {}", pull.number, pull.open, pull.body));
        }
        let refs = store.refs.iter();
        let refs = refs.map(|(name, id)| (name.clone(), id.clone()));
        (pulls, refs.collect())
    }

    /// `HEAD FILE…` of each open pull request, by number.
    fn open_pulls(&self) -> Vec<String> {
        let store = self.fake.store();
        let base = store.files_of(&store.refs["main"]);
        let open = store.pulls.iter().filter(|pull| pull.open);
        open.map(|pull| {
            let mut line = pull.head.clone();
            for (path, file) in store.files_of(&store.refs[&pull.head]).iter() {
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
fn pull_requests_of_two_sets_stay_apart() {
    for (kind, files) in cells() {
        for (command, revision) in OPERATIONS {
            let name = command[0];
            let sets = Sets::new(kind, files, "");
            let first = sets.open(0, &command, revision);
            assert_eq!(first["set_path"], files[0][0]);
            let second = sets.open(1, &command, revision);
            assert_ne!(first["pull_request"], second["pull_request"], "{kind:?}");
            let expected = [0, 1].map(|set| sets.line(set, name, revision));
            assert_eq!(sets.open_pulls(), expected, "{kind:?}");
            let store = sets.fake.store();
            for (pull, [config, _]) in store.pulls.iter().zip(files) {
                let marker =
                    format!("<!-- repin/2 kind={name} set={config} revision={revision} -->");
                let option = match config {
                    "repin.yaml" => String::new(),
                    path => format!(" --config {path}"),
                };
                let undo = match name {
                    "promote" => format!("repin rollback{option} --to {REV_A}"),
                    _ => format!("repin promote{option} --revision {REV_A}"),
                };
                for part in [&marker, &undo] {
                    assert!(pull.body.contains(part), "{part}: {}", pull.body);
                }
                let message = &store.commit(&store.refs[&pull.head]).message;
                let trailer = format!("\n\n{}\n", trailer(config, revision));
                assert!(message.ends_with(&trailer), "{message}");
            }
        }
    }
}

#[test]
fn pull_request_supersedes_only_its_set() {
    for (kind, files) in cells() {
        let sets = Sets::new(kind, files, "");
        for set in [0, 1] {
            sets.promote(set, REV_B);
        }
        sets.promote(0, REV_C);
        let expected = [
            sets.line(1, "promote", REV_B),
            sets.line(0, "promote", REV_C),
        ];
        assert_eq!(sets.open_pulls(), expected, "{kind:?}");
        let before = sets.state();
        for (set, revision) in [(0, REV_C), (1, REV_B)] {
            let document = sets.promote(set, revision);
            assert_eq!(document["pull_request"]["state"], "unchanged", "{kind:?}");
        }
        assert_eq!(sets.state(), before, "{kind:?}");
    }
}

#[test]
fn rollback_supersedes_no_rollback() {
    for kind in one_of(SERVERS) {
        let sets = Sets::new(kind, LAYOUTS[0], "");
        for revision in [REV_B, REV_A] {
            sets.commit(revision);
        }
        sets.publish();
        for revision in [REV_C, REV_B] {
            sets.open(0, &["rollback", "--to"], revision);
        }
        assert_eq!(sets.open_pulls().len(), 2, "{kind:?}");
    }
}

#[test]
fn renamed_set_supersedes_its_former_pull_request() {
    for kind in one_of(SERVERS) {
        // The option is for other revisions only.
        let mut sets = Sets::new(kind, LAYOUTS[0], "promote: { supersede: false }\n");
        sets.promote(0, REV_B);
        sets.promote(1, REV_B);
        sets.rename(0, ["live/repin.yaml", "live/app.yml"]);
        let document = sets.promote(0, REV_B);
        assert_eq!(document["pull_request"]["state"], "created", "{kind:?}");
        // The branch of the other set still contains the old files.
        let open = sets.open_pulls();
        let heads: Vec<_> = open
            .iter()
            .filter_map(|line| line.split(' ').next())
            .collect();
        let expected = ["envs-prod", "live"].map(|key| format!("repin/{key}/promote-{REV_B}"));
        assert_eq!(heads, expected, "{kind:?}");
    }
}

#[test]
fn renamed_set_keeps_its_pull_request() {
    for kind in one_of(SERVERS) {
        let more = "promote: { branch: 'deploy-{revision}' }\n";
        let mut sets = Sets::new(kind, LAYOUTS[0], more);
        sets.promote(0, REV_B);
        sets.rename(0, ["live/repin.yaml", "live/app.yml"]);
        let document = sets.promote(0, REV_B);
        assert_eq!(document["pull_request"]["number"], 1, "{kind:?}");
        let expected = format!("deploy-{REV_B} live/app.yml");
        assert_eq!(sets.open_pulls(), [expected], "{kind:?}");
        let marker = "set=live/repin.yaml";
        assert!(sets.fake.store().pulls[0].body.contains(marker), "{kind:?}");
    }
}

#[test]
fn closed_pull_request_of_another_set_is_ignored() {
    for (kind, files) in cells() {
        for (command, revision) in OPERATIONS {
            let sets = Sets::new(kind, files, "");
            sets.open(0, &command, revision);
            sets.fake.store().close(1);
            let second = sets.open(1, &command, revision);
            assert_eq!(second["pull_request"]["state"], "created", "{kind:?}");
            let args = [&command[..], &[revision, "--pr", "ready"]].concat();
            let ran = sets.run(0, &args).exits(1);
            assert!(ran.stderr.contains("--reopen"), "{}", ran.stderr);
            sets.run(0, &[&args[..], &["--reopen"]].concat()).exits(0);
            let expected = [0, 1].map(|set| sets.line(set, command[0], revision));
            assert_eq!(sets.open_pulls(), expected, "{kind:?}");
        }
    }
}

#[test]
fn common_branch_of_two_sets_is_refused() {
    let common = "promote: { branch: 'deploy-{revision}' }\n\
                  rollback: { branch: 'back-{revision}' }\n";
    let same_key = [
        ["a/b/repin.yaml", "a/b/app.yml"],
        ["a-b/repin.yaml", "a-b/app.yml"],
    ];
    let wrong = [
        (LAYOUTS[0], common, "a name that contains {set}"),
        (LAYOUTS[1], common, "a name that contains {set}"),
        (same_key, "", "of one set another name"),
    ];
    let cases = wrong
        .into_iter()
        .flat_map(|wrong| OPERATIONS.map(|operation| (wrong, operation)));
    let cases: Vec<_> = cases.collect();
    for (kind, ((files, more, help), (command, revision))) in on_servers(&cases) {
        let sets = Sets::new(kind, files, more);
        sets.open(0, &command, revision);
        let before = sets.state();
        let args = [&command[..], &[revision, "--pr", "ready"]].concat();
        let ran = sets.run(1, &args).exits(5);
        let key = format!("`{}.branch`", command[0]);
        for part in [files[0][0], files[1][0], &key, help] {
            assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
        }
        assert_eq!(sets.state(), before, "{kind:?}");
        // The commits of another set count without an open pull request.
        sets.fake.store().close(1);
        sets.run(1, &[&args[..], &["--reopen"]].concat()).exits(5);
        assert_eq!(sets.open_pulls(), [] as [&str; 0], "{kind:?}");
        assert_eq!(sets.state().1, before.1, "{kind:?}");
        // The closed pull request of another set does not.
        sets.fake.store().refs.retain(|branch, _| branch == "main");
        sets.run(1, &args).exits(0);
        assert_eq!(sets.open_pulls().len(), 1, "{kind:?}");
    }
}

#[test]
fn set_with_a_common_branch_supersedes_only_itself() {
    let common = "promote: { branch: 'deploy-{revision}' }\n";
    for (kind, files) in cells() {
        let sets = Sets::new(kind, files, common);
        sets.promote(0, REV_B);
        sets.promote(1, REV_C);
        let [first, second] = files.map(|[_, pins]| pins);
        let expected = [
            format!("deploy-{REV_B} {first}"),
            format!("deploy-{REV_C} {second}"),
        ];
        assert_eq!(sets.open_pulls(), expected, "{kind:?}");
    }
}

#[test]
fn marker_on_another_branch_does_not_count() {
    for (kind, files) in cells() {
        let sets = Sets::new(kind, files, "");
        sets.promote(0, REV_B);
        {
            // A user copies the text of the pull request into another one.
            let mut store = sets.fake.store();
            let mut copy = store.pulls[0].clone();
            let commit = store.refs[&copy.head].clone();
            copy.number = store.number();
            "topic".clone_into(&mut copy.head);
            store.refs.insert("topic".to_owned(), commit);
            store.pulls.push(copy);
        }
        let same = sets.promote(0, REV_B);
        assert_eq!(same["pull_request"]["number"], 1, "{kind:?}");
        sets.promote(0, REV_C);
        let topic = format!("topic {}", files[0][1]);
        let expected = [topic, sets.line(0, "promote", REV_C)];
        assert_eq!(sets.open_pulls(), expected, "{kind:?}");
    }
}

#[test]
fn earlier_pull_request_belongs_to_top_set() {
    for kind in one_of(SERVERS) {
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
fn new_set_at_former_path_is_separate() {
    for kind in one_of(SERVERS) {
        let mut sets = Sets::with_forge(kind, LAYOUTS[0], MERGING, "");
        let live = ["live/repin.yaml", "live/app.yml"];
        sets.rename(0, live);
        sets.add(1, STAGING, live);
        sets.promote(1, REV_B);
        sets.schedule();
        let before = sets.state();
        let ran = sets.wait(0);
        assert_ne!(ran.code, 5, "{}", ran.stderr);
        assert_eq!(sets.fake.store().scheduled.len(), 1, "{kind:?}");
        assert_eq!(sets.state(), before, "{kind:?}");
        sets.promote(0, REV_B);
        let expected = [1, 0].map(|set| sets.line(set, "promote", REV_B));
        assert_eq!(sets.open_pulls(), expected, "{kind:?}");
    }
}

#[test]
fn trailer_without_path_shows_the_top_set() {
    let common = "promote: { branch: 'deploy-{revision}' }\n";
    for (kind, files) in on_servers(&[[["repin.yaml", "us.yml"], PROD], LAYOUTS[1]]) {
        let sets = Sets::new(kind, files, common);
        let other = usize::from(files[0][0] == "repin.yaml");
        sets.promote(1 - other, REV_B);
        sets.fake.store().close(1);
        let before = sets.state();
        let args = ["promote", "--revision", REV_B, "--pr", "ready"];
        let ran = sets.run(other, &args).exits(5);
        let parts = [
            "set repin.yaml",
            files[other][0],
            "`promote.branch`",
            "{set}",
        ];
        for part in parts {
            assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
        }
        assert_eq!(sets.state(), before, "{kind:?}");
        // A commit with other trailers, or with other changes, belongs to no set.
        let branch = format!("deploy-{REV_B}");
        let foreign = || {
            let ran = sets.run(other, &args).exits(5);
            assert!(ran.stderr.contains("foreign commit"), "{}", ran.stderr);
        };
        for message in ["promote", &trailer(files[other][0], REV_B)] {
            sets.fake.store().reword(&branch, message);
            foreign();
        }
        sets.fake
            .store()
            .push(&branch, &trailer("repin.yaml", REV_B), &[("a", "b")]);
        foreign();
    }
}

#[test]
fn wait_does_not_affect_merges_of_others() {
    for (kind, files) in cells() {
        for (command, revision) in OPERATIONS {
            let sets = Sets::with_forge(kind, files, MERGING, "");
            sets.open(0, &command, revision);
            sets.schedule();
            let ran = sets.wait(1);
            let warning = format!("pull request #1 belongs to the set {}", files[0][0]);
            let warning = kind.spelled(&warning);
            assert!(ran.stderr.contains(&warning), "{}", ran.stderr);
            assert_ne!(ran.code, 5, "{}", ran.stderr);
            assert_eq!(sets.fake.store().scheduled.len(), 1, "{kind:?}");
        }
    }
}

#[test]
fn wait_refuses_a_common_branch_of_two_sets() {
    let common = "promote: { branch: 'deploy-{revision}' }\n\
                  rollback: { branch: 'back-{revision}' }\n";
    for (kind, files) in cells() {
        for (command, revision) in OPERATIONS {
            let sets = Sets::with_forge(kind, files, MERGING, common);
            sets.open(0, &command, revision);
            refuses_common_branch(&sets, [files[0][0], files[1][0]], command[0]);
        }
    }
}

#[test]
fn wait_refuses_common_branch_of_renamed_set() {
    let common = "promote: { branch: 'deploy-{revision}' }\n";
    for kind in one_of(SERVERS) {
        let mut sets = Sets::with_forge(kind, LAYOUTS[0], MERGING, common);
        sets.promote(0, REV_B);
        sets.rename(0, ["live/repin.yaml", "live/app.yml"]);
        refuses_common_branch(&sets, [STAGING[0], PROD[0]], "promote");
    }
}

/// Checks that `wait` of the second set does not change the scheduled merge of the first set.
fn refuses_common_branch(sets: &Sets, configs: [&str; 2], command: &str) {
    sets.schedule();
    let before = (sets.state(), sets.fake.store().scheduled.clone());
    let ran = sets.wait(1).exits(5);
    let key = format!("`{command}.branch`");
    for part in [configs[0], configs[1], &key, "that contains {set}"] {
        assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
    let after = (sets.state(), sets.fake.store().scheduled.clone());
    assert_eq!(after, before, "{command}");
}

#[test]
fn marker_of_another_set_prevents_no_verification() {
    for (kind, files) in cells() {
        // The other set, and a set that does not exist.
        for other in [files[1][0], "x/repin.yaml"] {
            let sets = Sets::with_forge(kind, files, MERGING, "");
            sets.promote(0, REV_B);
            sets.schedule();
            {
                let mut store = sets.fake.store();
                if other == files[1][0] {
                    // Only a set that does not exist may be a former path of another configuration.
                    store.push("main", "broken", &[("other/repin.yaml", "images: [")]);
                }
                let body = &mut store.pulls[0].body;
                *body = body.replace(&format!("set={}", files[0][0]), &format!("set={other}"));
            }
            let ran = sets.wait(0).exits(5);
            assert!(
                ran.stderr.contains("does not belong to its branch"),
                "{}",
                ran.stderr
            );
            assert_eq!(sets.fake.store().scheduled, [], "{kind:?}");
        }
    }
}

#[test]
fn wait_verifies_pull_request_of_former_path() {
    let wait = ["wait", "--pr", "1", "--timeout", "5s", "--format", "json"];
    for (kind, (command, revision)) in on_servers(&OPERATIONS) {
        // The files of the pull request are those of the base.
        let mut sets = Sets::with_forge(kind, LAYOUTS[1], MERGING, "");
        sets.open(0, &command, revision);
        sets.rename(0, ["repin.west.yaml", "eu.yml"]);
        sets.fake.store().required = vec!["ci".to_owned()];
        sets.fake.when(2, |store| store.report("ci", "success"));
        let ran = sets.run(0, &wait).exits(0);
        assert_eq!(ran.json()["state"], "merged", "{kind:?}");
        let warning = "opened for repin.eu.yaml, the former path of the set repin.west.yaml";
        assert!(ran.stderr.contains(warning), "{}", ran.stderr);
    }
}

#[test]
fn wait_refuses_altered_former_pull_request() {
    let live = ["live/repin.yaml", "live/app.yml"];
    for (kind, attack) in on_servers(&["former files", "without marker", "other commit"]) {
        let mut sets = Sets::with_forge(kind, LAYOUTS[0], MERGING, "");
        sets.promote(0, REV_B);
        sets.rename(0, live);
        {
            let mut store = sets.fake.store();
            let head = store.pulls[0].head.clone();
            match attack {
                "without marker" => store.pulls[0].body.clear(),
                "other commit" => {
                    let pins = sets.pins(REV_C);
                    store.push(&head, "promote", &[(STAGING[1], &pins)]);
                }
                _ => {}
            }
        }
        sets.schedule();
        let ran = sets.wait(0).exits(5);
        assert!(
            ran.stderr.contains(&kind.spelled("pull request #1")),
            "{}",
            ran.stderr
        );
        assert_eq!(sets.fake.store().scheduled, [], "{kind:?} {attack}");
        assert!(sets.fake.store().pulls[0].open, "{kind:?} {attack}");
    }
}

#[test]
fn pin_of_two_sets_stops_a_pull_request() {
    let args = ["promote", "--revision", REV_B, "--pr", "ready"];
    for kind in SERVERS {
        let files = [["repin.eu.yaml", "app.yml"], ["repin.yaml", "app.yml"]];
        let sets = Sets::new(kind, files, "");
        // The files are those of the base branch, and not those of the work tree.
        sets.git(&["rm", "-q", "repin.eu.yaml"]);
        sets.run(1, &["check"]).exits(0);
        let ran = sets.run(1, &args).exits(1);
        let message = "the sets `repin.yaml` and `repin.eu.yaml` both count";
        assert!(ran.stderr.contains(message), "{}", ran.stderr);
        assert_eq!(sets.open_pulls(), [] as [&str; 0], "{kind:?}");
    }
}

#[test]
fn pull_request_ignores_duplicate_in_work_tree() {
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
