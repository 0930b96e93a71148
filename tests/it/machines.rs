//! Two machines, each with a separate clone, on one repository at one forge: the second one runs
//! from beginning to end between any two requests, or any two git processes, of the first one.
//!
//! A sample of these moments in every run; all of them with `REPIN_SWEEP=long`
//! (`scripts/crash-sweep`).

use std::{fs, os::unix::fs::PermissionsExt, process::Output, sync::mpsc};

use serde_json::Value;

use crate::{
    support::{
        forge::{Fake, Kind, Store, TOKEN},
        hosted::FORGES,
        sweep::{is_long, one_of},
        world::{REV_A, REV_B, REV_C, World, world},
    },
    sync::SYNC,
};

const PINNED: [&str; 2] = [".github/workflows/a.yml", ".github/workflows/b.yml"];

/// A repository in which A and then B was promoted, a branch `staging` with a separate commit, and
/// two clones.
struct Site {
    world: World,
    fake: Fake,
    /// Two commits that images were built from, the older one first.
    built: [&'static str; 2],
}

/// The result of a run of a machine.
#[derive(Debug)]
struct Ended {
    exit: i32,
    document: Value,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!format!("{text}{errors}").contains(TOKEN), "{text}{errors}");
        Self {
            exit: output.status.code().unwrap(),
            document: serde_json::from_str(&text).unwrap_or_else(|_| errors.into()),
        }
    }
}

/// The selected moments of `count`.
fn moments(all: usize) -> impl Iterator<Item = usize> {
    let step = if is_long() { 1 } else { 7 };
    (1..=all).step_by(step)
}

fn site(kind: Kind) -> Site {
    let (mut world, fake) = (world(), Fake::start(kind));
    world.build(REV_C);
    let name = kind.name();
    let block = format!(
        "forge: {{ kind: {name}, url: '{}', repository: acme/flows, sync_targets: [staging] }}\n",
        fake.api()
    );
    world.write("repin.yaml", world.read("repin.yaml") + &block);
    world.write(".gitignore", "/images\n/origin.git\n/clone*\n");
    world.git(&["init", "-q", "-b", "main"]);
    world.git(&["init", "-q", "--bare", "-b", "main", "origin.git"]);
    world.git(&["remote", "add", "origin", "./origin.git"]);
    for revision in [REV_A, REV_B] {
        world.pin(revision);
        world.commit(&format!("promote: test images @{revision}"));
    }
    let built = ["older", "newer"].map(|name| -> &'static str { world.commit(name).leak() });
    for revision in built {
        world.build(revision);
    }
    world.push();
    for clone in ["clone-1", "clone-2"] {
        let origin = format!("file://{}", world.path("origin.git").display());
        world.git(&["clone", "-q", &origin, clone]);
        let images = world.path(clone).join("images");
        std::os::unix::fs::symlink(world.path("images"), images).unwrap();
    }
    let site = Site { world, fake, built };
    site.begin();
    site
}

impl Site {
    /// Restores the initial state of the forge.
    fn begin(&self) {
        let files = ["repin.yaml", PINNED[0], PINNED[1]];
        let files = files.map(|path| (path, self.world.read(path)));
        let files = files.each_ref().map(|(path, text)| (*path, &**text));
        let head = self.world.git(&["rev-parse", "origin/main"]);
        self.fake.forget();
        let mut store = self.fake.store();
        *store = Store::new(store.kind);
        store.root = self.fake.server.url();
        store.push("main", "as it is", &files);
        store.name_head("main", &head, self.world.root());
        store.push("staging", "new work", &[("x", "y")]);
    }

    fn command(&self, clone: &str, args: &[&str]) -> std::process::Command {
        let mut command = self.world.command(&[args, &["--format", "json"]].concat());
        command
            .current_dir(self.world.path(clone))
            .env("REPIN_FORGE_TOKEN", TOKEN);
        command
    }

    fn run(&self, clone: &str, args: &[&str]) -> Ended {
        self.command(clone, args).output().unwrap().into()
    }

    /// Runs both commands, the second one right before the `nth` request of the first one.
    fn interleaved(&self, first: &[&str], second: &[&str], nth: usize) -> [Ended; 2] {
        let (send, receive) = mpsc::channel();
        let mut other = self.command("clone-2", second);
        self.fake.interrupt(nth, move || {
            send.send(other.output().unwrap()).unwrap();
        });
        let first = self.run("clone-1", first);
        [first, receive.recv().unwrap().into()]
    }

    /// Both commands at every request of the first one, each time on a forge as it was in the
    /// beginning.
    #[expect(clippy::print_stdout, reason = "the figures of a sweep")]
    fn at_every_request(
        &self,
        first: &[&str],
        second: &[&str],
        mut judge: impl FnMut(&[Ended; 2], &str),
    ) {
        self.begin();
        assert_eq!(self.run("clone-1", first).exit, 0);
        let requests = self.fake.asked().len();
        let kind = self.fake.store().kind;
        for nth in moments(requests) {
            self.begin();
            let result = self.interleaved(first, second, nth);
            judge(
                &result,
                &format!("{kind:?}, request {nth} of {requests}: {result:#?}"),
            );
        }
        let runs = moments(requests).count();
        println!(
            "figures: {runs} times {} and {} on {kind:?}",
            second[..2].join(" "),
            first[..2].join(" ")
        );
    }

    /// The only open pull request of a branch shows one commit on the base's head, which has every
    /// pin at `revision` and changes nothing else; returns its number.
    fn proposes(&self, branch: &str, revision: &'static str, case: &str) -> u64 {
        let store = self.fake.store();
        let open = store.open_pulls();
        let open: Vec<_> = open.iter().filter(|pull| pull.head == branch).collect();
        assert_eq!(open.len(), 1, "{case}: {:?}", store.pulls);
        let (main, head) = (&store.refs["main"], &store.refs[branch]);
        assert_eq!(
            store.commit(head).parents.as_slice(),
            std::slice::from_ref(main),
            "{case}"
        );
        for path in PINNED {
            let expected =
                ["review", "fix"]
                    .iter()
                    .fold(store.content("main", path), |text, image| {
                        let pin =
                            |revision| format!("/{image}@{}", self.world.digest(image, revision));
                        let tagged = |revision: &'static str| {
                            format!("/{image}:{revision}@{}", self.world.digest(image, revision))
                        };
                        text.replace(&pin(REV_B), &pin(revision))
                            .replace(&tagged(REV_B), &tagged(revision))
                    });
            assert_eq!(store.content(branch, path), expected, "{case}: {path}");
        }
        for image in ["review", "fix"] {
            assert!(
                open[0].body.contains(self.world.digest(image, revision)),
                "{case}"
            );
        }
        open[0].number
    }

    /// No work was lost: only these branches and the unchanged initial ones exist, and every other
    /// pull request states the reason for its closing.
    fn keeps(&self, branches: &[&str], case: &str) {
        let store = self.fake.store();
        let made: Vec<&str> = store
            .refs
            .keys()
            .map(String::as_str)
            .filter(|name| !["main", "staging"].contains(name))
            .collect();
        assert_eq!(made, branches, "{case}");
        assert_eq!(
            store.refs["main"],
            self.world.git(&["rev-parse", "origin/main"]),
            "{case}"
        );
        for pull in store.pulls.iter().filter(|pull| !pull.open) {
            let reason = store.comments.get(&pull.number).map_or("", |all| &all[0]);
            assert!(
                reason.contains(&store.kind.spelled("Duplicate of #")),
                "{case}: {pull:?} {reason}"
            );
        }
    }
}

const PROMOTE_C: [&str; 5] = ["promote", "--revision", REV_C, "--pr", "ready"];
const ROLL_BACK: [&str; 5] = ["rollback", "--to", REV_A, "--pr", "ready"];
const BRING: [&str; 7] = [
    "branch", "promote", "--from", "staging", "--to", "main", "--apply",
];

/// The branch that a run of a command makes.
fn branch_of(site: &Site, args: &[&str]) -> String {
    site.begin();
    let result = site.run("clone-1", args);
    result.document["branch"].as_str().unwrap().to_owned()
}

fn number(result: &Ended) -> u64 {
    result.document["pull_request"]["number"].as_u64().unwrap()
}

/// The number of runs that report an opened pull request.
fn created(result: &[Ended]) -> usize {
    let opened = |result: &&Ended| result.document["pull_request"]["state"] == "created";
    result.iter().filter(opened).count()
}

#[test]
fn two_machines_propose_one_pull_request() {
    for kind in one_of(FORGES) {
        let site = site(kind);
        for (args, revision) in [(PROMOTE_C, REV_C), (ROLL_BACK, REV_A)] {
            let branch = branch_of(&site, &args);
            site.at_every_request(&args, &args, |result, case| {
                let number_of_it = site.proposes(&branch, revision, case);
                site.keeps(&[&branch], case);
                for result in result {
                    assert_eq!((result.exit, number(result)), (0, number_of_it), "{case}");
                }
                assert_eq!(created(result), 1, "{case}");
            });
        }
    }
}

#[test]
fn concurrent_promotion_and_rollback_have_one_each() {
    for kind in one_of(FORGES) {
        let site = site(kind);
        let forward = branch_of(&site, &PROMOTE_C);
        let back = branch_of(&site, &ROLL_BACK);
        let mut branches = [&*forward, &*back];
        branches.sort_unstable();
        for (first, second) in [(PROMOTE_C, ROLL_BACK), (ROLL_BACK, PROMOTE_C)] {
            site.at_every_request(&first, &second, |result, case| {
                let numbers = [
                    site.proposes(&forward, REV_C, case),
                    site.proposes(&back, REV_A, case),
                ];
                site.keeps(&branches, case);
                for (result, args) in result.iter().zip([first, second]) {
                    let expected = numbers[usize::from(args == ROLL_BACK)];
                    assert_eq!((result.exit, number(result)), (0, expected), "{case}");
                }
            });
        }
    }
}

#[test]
fn concurrent_branch_promotion_has_one_pull_request() {
    for kind in one_of(FORGES) {
        let site = site(kind);
        let branch = branch_of(&site, &PROMOTE_C);
        let brought = |case: &str| {
            let store = site.fake.store();
            let open = store.open_pulls();
            let open: Vec<_> = open.iter().filter(|pull| pull.head == "staging").collect();
            assert_eq!(open.len(), 1, "{case}: {:?}", store.pulls);
            assert_eq!(store.content("staging", "x"), "y", "{case}");
        };
        for (first, second) in [
            (&PROMOTE_C[..], &BRING[..]),
            (&BRING, &PROMOTE_C),
            (&BRING, &BRING),
        ] {
            site.at_every_request(first, second, |result, case| {
                let promotes = first == PROMOTE_C || second == PROMOTE_C;
                if promotes {
                    site.proposes(&branch, REV_C, case);
                }
                brought(case);
                site.keeps(&[&*branch][..usize::from(promotes)], case);
                assert!(result.iter().all(|result| result.exit == 0), "{case}");
                assert_eq!(created(result), 1 + usize::from(promotes), "{case}");
            });
        }
    }
}

#[test]
fn older_machine_reports_the_newer_revision() {
    for kind in one_of(FORGES) {
        let site = site(kind);
        let promotes = site
            .built
            .map(|revision| ["promote", "--revision", revision, "--pr", "ready"]);
        let branches = promotes.each_ref().map(|args| branch_of(&site, args));
        let [older, newer] = &promotes;
        let mut exits = [0; 2];
        let mut judge = |older: &Ended, newer: &Ended, case: &str| {
            let stays = site.proposes(&branches[1], site.built[1], case);
            assert_eq!((newer.exit, number(newer)), (0, stays), "{case}");
            let store = site.fake.store();
            let closed = store.pulls.iter().find(|pull| !pull.open);
            let note = kind.spelled(&format!("Superseded by #{stays}"));
            match closed {
                Some(pull) => assert!(store.comments[&pull.number][0].contains(&note), "{case}"),
                // It was begun with that of the newer one in sight, and is left to people.
                None => assert_eq!((older.exit, store.open_pulls().len()), (0, 2), "{case}"),
            }
            exits[usize::from(older.exit == 1)] += 1;
            let said = older.document.to_string();
            assert!(
                older.exit == 0 || said.contains(&kind.spelled(&format!("#{stays} "))),
                "{case}"
            );
        };
        site.at_every_request(older, newer, |[older, newer], case| {
            judge(older, newer, case);
        });
        site.at_every_request(newer, older, |[newer, older], case| {
            judge(older, newer, case);
        });
        assert!(exits.iter().all(|count| *count > 0), "{kind:?} {exits:?}");
    }
}

/// Runs `branch sync` in the first clone with a git that runs `script` in the second one right
/// before the `nth` git process; the results of both, or `None` if there are fewer processes.
fn synced(site: &Site, script: &str, nth: usize) -> Option<(Ended, String)> {
    let bin = tempfile::tempdir().unwrap();
    let (at, path) = (bin.path().display(), std::env::var("PATH").unwrap());
    let clone = site.world.path("clone-2").display().to_string();
    let wrapper = format!(
        "#!/bin/sh\nn=1\nuntil mkdir {at}/$n 2>/dev/null; do n=$((n + 1)); done\nPATH='{path}'\n\
         if [ $n = {nth} ]; then (cd {clone} && env -i PATH=\"$PATH\" HOME={at} {script}) >{at}/out 2>&1; echo $? >{at}/exit; fi\n\
         exec git \"$@\"\n"
    );
    fs::write(bin.path().join("git"), wrapper).unwrap();
    fs::set_permissions(bin.path().join("git"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = site.command("clone-1", &[&SYNC[..], &["--apply"]].concat());
    // Without a token, `origin` counts.
    let result = command
        .env_remove("REPIN_FORGE_TOKEN")
        .env("PATH", format!("{at}:{path}"))
        .output()
        .unwrap();
    let out = fs::read_to_string(bin.path().join("out")).ok()?;
    let exit = fs::read_to_string(bin.path().join("exit")).unwrap();
    Some((result.into(), format!("{exit}{out}")))
}

#[test]
fn concurrent_branch_syncs_lose_nothing() {
    let site = site(Kind::Github);
    let git = |args: &[&str]| site.world.git(args);
    git(&["push", "-q", "origin", "main:staging"]);
    let commit = |clone: &str, branch: &str, file: &str| {
        git(&["-C", clone, "fetch", "-q"]);
        git(&[
            "-C",
            clone,
            "checkout",
            "-q",
            "--detach",
            &format!("origin/{branch}"),
        ]);
        fs::write(site.world.path(clone).join(file), file).unwrap();
        git(&["-C", clone, "add", file]);
        git(&["-C", clone, "commit", "-q", "-m", file]);
        git(&["-C", clone, "rev-parse", "HEAD"])
    };
    let main = commit("clone-1", "main", "new-on-main");
    git(&["-C", "clone-1", "push", "-q", "origin", "HEAD:main"]);
    let staging = commit("clone-2", "staging", "new-on-staging");
    git(&["-C", "clone-2", "push", "-q", "origin", "HEAD:staging"]);
    let person = commit("clone-2", "staging", "of-a-person");
    let program = env!("CARGO_BIN_EXE_repin");
    let same = format!("{program} {} --apply --format json", SYNC.join(" "));
    let push = format!("git push -q origin {person}:staging");
    let mut seen = [0; 2];
    for (script, pushed) in [(&same, false), (&push, true)] {
        for nth in moments(usize::MAX) {
            git(&[
                "-C",
                "origin.git",
                "update-ref",
                "refs/heads/staging",
                &staging,
            ]);
            let Some((result, other)) = synced(&site, script, nth) else {
                break;
            };
            let case = format!("git process {nth} of `{script}`: {result:?} {other}");
            let other = other.starts_with('0');
            assert_eq!(result.exit, 0, "{case}");
            let line = git(&["-C", "origin.git", "rev-list", "staging"]);
            assert!(line.contains(&main) && line.contains(&staging), "{case}");
            let merges = git(&["-C", "origin.git", "rev-list", "--merges", "staging"]);
            assert_eq!(merges.lines().count(), 1, "{case}");
            // A push that came too late is refused by git.
            assert_eq!(other, !pushed || line.contains(&person), "{case}");
            seen[usize::from(pushed && other)] += 1;
        }
    }
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
}
