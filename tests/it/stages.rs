//! `promote.after`: sets that other sets of the same or of another repository proved.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use serde_json::Value;

use crate::support::{
    fake,
    forge::{Fake, Fault, Kind, TOKEN, not_found},
    hosted::FORGES,
    layout::Platform,
    sweep::one_of,
    world::{self, REV_A, REV_B, REV_C, Ran, World, details, failed, whole},
};

const STAGING: &str = "envs/staging/repin.yaml";
const PROD: &str = "envs/prod/repin.yaml";
const QA: &str = "envs/qa/repin.yaml";
const AFTER_A_DAY: &str = "promote: { after: [{ set: ../staging/repin.yaml, for: 24h }] }\n";

/// A date of git, `hours` hours ago.
fn ago(hours: i64) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = i64::try_from(now.unwrap().as_secs()).unwrap();
    format!("@{} +0000", now - hours * 3_600)
}

/// Staging and production in one repository, pinned at A 200 hours ago.
struct Pipeline {
    world: World,
    fake: Option<Fake>,
}

impl Pipeline {
    /// `after`: further keys of production.
    fn new(after: &str) -> Self {
        Self::on(None, after)
    }

    fn on(kind: Option<Kind>, after: &str) -> Self {
        let mut world = world::world();
        fs::remove_file(world.path("repin.yaml")).unwrap();
        world.build(REV_C);
        let fake = kind.map(Fake::start);
        let pipeline = Self { world, fake };
        pipeline.configure(STAGING, "");
        pipeline.configure(PROD, after);
        for set in [STAGING, PROD] {
            pipeline.pin(set, REV_A);
        }
        pipeline.world.write(
            ".gitignore",
            "/images\n/origin.git\n/.github\n/other\n/tmp\n",
        );
        fs::create_dir(pipeline.world.path("tmp")).unwrap();
        pipeline.git(&["init", "-q", "-b", "main"]);
        pipeline.git(&["init", "-q", "--bare", "-b", "main", "origin.git"]);
        pipeline.git(&["remote", "add", "origin", "./origin.git"]);
        pipeline.commit("first", 200);
        pipeline.git(&["remote", "set-head", "origin", "main"]);
        pipeline
    }

    fn configure(&self, set: &str, more: &str) {
        let forge = match &self.fake {
            None => String::new(),
            Some(fake) => {
                let kind = fake.store().kind.name();
                let url = fake.api();
                format!("forge: {{ kind: {kind}, url: '{url}', repository: acme/flows }}\n")
            }
        };
        let text = format!(
            "version: 1\nfiles: [app.yml]\nrevision: {{ pattern: '[a-c]{{40}}' }}\nimages:\n  \
             review: {{ repository: ghcr.io/acme/review, pins: 1 }}\n  \
             fix: {{ repository: ghcr.io/acme/fix, pins: 1 }}\n{forge}{more}"
        );
        self.world.write(set, text);
    }

    fn git(&self, args: &[&str]) -> String {
        self.world.git(args)
    }

    /// Writes the pins of a set.
    fn pin(&self, set: &str, revision: &'static str) {
        let digest = |image| self.world.digest(image, revision);
        let text = format!(
            "a: ghcr.io/acme/review@{}\nb: ghcr.io/acme/fix@{}\n",
            digest("review"),
            digest("fix")
        );
        self.world
            .write(&set.replace("repin.yaml", "app.yml"), text);
    }

    /// Commits and pushes everything, with a committer date.
    fn commit(&self, message: &str, hours: i64) -> String {
        self.git(&["add", "-A", "."]);
        let args = ["commit", "-q", "--allow-empty", "-m", message];
        world::git_at(self.world.root(), &args, &ago(hours));
        self.publish();
        self.git(&["rev-parse", "HEAD"])
    }

    fn publish(&self) {
        self.git(&["push", "-q", "--force", "origin", "main"]);
        if let Some(fake) = &self.fake {
            let paths = [STAGING, PROD, "envs/staging/app.yml", "envs/prod/app.yml"];
            let files: Vec<_> = paths
                .iter()
                .map(|path| (*path, self.world.read(path)))
                .collect();
            let files: Vec<_> = files.iter().map(|(path, text)| (*path, &**text)).collect();
            fake.store().push("main", "as it is", &files);
            let head = self.git(&["rev-parse", "HEAD"]);
            fake.store().name_head("main", &head, self.world.root());
        }
    }

    /// Promotes a set by a commit.
    fn promoted(&self, set: &str, revision: &'static str, hours: i64) -> String {
        self.pin(set, revision);
        let key = set.trim_end_matches("/repin.yaml").replace('/', "-");
        self.commit(&format!("promote: {key} @{revision}"), hours)
    }

    /// Returns a set to an earlier one.
    fn rolled_back(&self, set: &str, revision: &'static str, hours: i64) -> String {
        self.pin(set, revision);
        self.commit("revert", hours)
    }

    fn run(&self, args: &[&str]) -> Ran {
        self.run_in(PROD, args)
    }

    fn run_in(&self, set: &str, args: &[&str]) -> Ran {
        let sources = format!("ghcr.io/acme=oci:{}", self.world.path("images").display());
        let temporary = self.world.path("tmp").display().to_string();
        let mut env = vec![("REPIN_SOURCES", &*sources), ("TMPDIR", &*temporary)];
        if self.fake.is_some() {
            env.push(("REPIN_FORGE_TOKEN", TOKEN));
        }
        let args = [args, &["--config", set, "--format", "json"]].concat();
        self.world.run_with(&args, &env)
    }

    fn promote(&self, more: &[&str]) -> Ran {
        self.run(&[&["promote", "--revision", REV_B], more].concat())
    }

    /// Checks that the configuration is refused, also with the flag, and returns the message.
    fn is_malformed(&self) -> String {
        self.promote(&["--allow-unstaged"]).exits(2);
        self.promote(&[]).exits(2).stdout
    }

    /// Checks that a promotion is refused with this code, that the flag overrides it, and returns the
    /// detail.
    fn is_refused(&self, code: &str) -> String {
        let document = self.promote(&[]).exits(1).json();
        assert_eq!(failed(&document), [code], "{document:#}");
        let detail = details(&document, code, "fail").remove(0);
        let forced = self.promote(&["--allow-unstaged"]).exits(0).json();
        let warning = details(&forced, code, "warn").remove(0);
        assert_eq!(warning, format!("{detail}; forced by --allow-unstaged"));
        assert!(
            forced["body"].as_str().unwrap().contains(&warning),
            "{forced:#}"
        );
        detail
    }

    /// Checks that the stage is unknown, that the flag overrides this, and returns the message.
    fn is_unknown(&self) -> String {
        let document = self.promote(&[]).exits(3).json();
        assert_eq!(document["error"]["code"], "stage_unknown", "{document:#}");
        let message = document["error"]["message"].as_str().unwrap().to_owned();
        let forced = self.promote(&["--allow-unstaged"]).exits(0).json();
        let warning = details(&forced, "stage_unknown", "warn").remove(0);
        assert!(
            warning.ends_with("; forced by --allow-unstaged"),
            "{warning}"
        );
        message
    }
}

/// The check about the stage that passed.
fn passed(document: &Value) -> Value {
    let checks = document["checks"].as_array().unwrap().iter();
    let mut stages = checks.filter(|check| check["code"] == "stage_missing");
    let check = stages.next().unwrap_or_else(|| panic!("{document:#}"));
    assert_eq!(check["status"], "pass", "{check:#}");
    check.clone()
}

#[test]
fn set_is_promoted_after_its_stage_time() {
    let pipeline = Pipeline::new(AFTER_A_DAY);
    pipeline.promoted(STAGING, REV_B, 23);
    let detail = pipeline.is_refused("stage_soak");
    assert!(
        detail.contains(", 24h required: the check passes at "),
        "{detail}"
    );
    assert!(detail.ends_with("by committer dates only"), "{detail}");
    let pipeline = Pipeline::new(AFTER_A_DAY);
    let commit = pipeline.promoted(STAGING, REV_B, 25);
    let document = pipeline.promote(&[]).exits(0).json();
    let check = passed(&document);
    assert_eq!(check["item"], STAGING);
    let detail = check["detail"].as_str().unwrap();
    assert!(detail.contains(&commit[..10]), "{detail}");
    let body = document["body"].as_str().unwrap();
    assert!(
        body.contains("### Stages") && body.contains(&commit[..10]),
        "{body}"
    );
    // A newer set in the stage does not change this.
    pipeline.promoted(STAGING, REV_C, 0);
    pipeline.promote(&[]).exits(0);
}

#[test]
fn set_that_was_never_staged_is_refused() {
    let pipeline = Pipeline::new(AFTER_A_DAY);
    pipeline.is_refused("stage_missing");
    // Without a time, the set must have been current.
    let pipeline = Pipeline::new("promote: { after: [{ set: ../staging/repin.yaml }] }\n");
    let document = pipeline.promote(&[]).exits(1).json();
    let mut checks = document["checks"].as_array().unwrap().iter();
    let check = checks
        .find(|check| check["code"] == "stage_missing")
        .unwrap();
    let help = check["help"].as_str().unwrap();
    assert!(
        help.contains("counts once it is pushed or merged"),
        "{help}"
    );
    pipeline.promoted(STAGING, REV_B, 0);
    pipeline.promote(&[]).exits(0);
}

#[test]
fn replaced_set_must_be_promoted_again() {
    let pipeline = Pipeline::new(AFTER_A_DAY);
    pipeline.promoted(STAGING, REV_B, 40);
    pipeline.promoted(STAGING, REV_C, 20);
    let detail = pipeline.is_refused("stage_soak");
    assert!(detail.contains("must be promoted there again"), "{detail}");
}

#[test]
fn set_rolled_back_in_stage_is_refused() {
    let pipeline = Pipeline::new(AFTER_A_DAY);
    pipeline.promoted(STAGING, REV_B, 100);
    pipeline.rolled_back(STAGING, REV_A, 50);
    pipeline.is_refused("stage_held");
    // The hold is over, but not the verdict on this set.
    pipeline.promoted(STAGING, REV_C, 40);
    pipeline.is_refused("stage_held");
    pipeline.promoted(STAGING, REV_B, 20);
    pipeline.is_refused("stage_soak");
    // Staging itself and rollbacks have no stage.
    let sources = format!(
        "ghcr.io/acme=oci:{}",
        pipeline.world.path("images").display()
    );
    let args = ["promote", "--revision", REV_C, "--config", STAGING];
    let overruled = [&args[..], &["--force-after-rollback"]].concat();
    pipeline
        .world
        .run_with(&overruled, &[("REPIN_SOURCES", &sources)])
        .exits(0);
}

#[test]
fn rollback_is_not_subject_to_stages() {
    let pipeline = Pipeline::new("");
    pipeline.promoted(PROD, REV_B, 100);
    pipeline.promoted(PROD, REV_C, 90);
    pipeline.configure(PROD, AFTER_A_DAY);
    pipeline.commit("chore: stages", 80);
    pipeline.run(&["rollback", "--to", REV_B]).exits(0);
}

#[test]
fn only_common_images_count_in_the_stage() {
    let pipeline = Pipeline::new(AFTER_A_DAY);
    let extra = |revision| {
        let digest = pipeline.world.digest("base", revision);
        pipeline.world.write(
            "envs/staging/base.yml",
            format!("ghcr.io/acme/base@{digest}\n"),
        );
    };
    let text = pipeline.world.read(STAGING);
    let text = text.replace("[app.yml]", "[app.yml, base.yml]");
    let image = "images:\n  base: { repository: ghcr.io/acme/base, pins: 1 }\n";
    pipeline
        .world
        .write(STAGING, text.replace("images:\n", image));
    extra(REV_A);
    pipeline.commit("chore: add an image", 190);
    extra(REV_B);
    pipeline.promoted(STAGING, REV_B, 60);
    extra(REV_C);
    pipeline.commit("chore: another base", 20);
    extra(REV_B);
    pipeline.commit("revert", 10);
    pipeline.promote(&[]).exits(0);
}

#[test]
fn wrong_date_makes_the_stage_unknown() {
    let pipeline = Pipeline::new(AFTER_A_DAY);
    pipeline.promoted(STAGING, REV_B, -5);
    let message = pipeline.is_unknown();
    assert!(message.contains("is dated in the future"), "{message}");
    let pipeline = Pipeline::new(AFTER_A_DAY);
    pipeline.commit("chore: nothing", 10);
    pipeline.promoted(STAGING, REV_B, 60);
    let message = pipeline.is_unknown();
    assert!(
        message.contains("more than an hour before its parent"),
        "{message}"
    );
}

#[test]
fn unreadable_commit_makes_the_stage_unknown() {
    let pipeline = Pipeline::new(AFTER_A_DAY);
    pipeline.promoted(STAGING, REV_B, 60);
    pipeline.promote(&[]).exits(0);
    let text = pipeline.world.read(STAGING);
    pipeline.world.write(STAGING, "version: [");
    pipeline.commit("chore: break it", 50);
    let message = pipeline.is_unknown();
    assert!(message.contains("is invalid on origin/main"), "{message}");
    pipeline.world.write(STAGING, text);
    let commit = pipeline.commit("chore: mend it", 40);
    let message = pipeline.is_unknown();
    assert!(
        message.contains("cannot read commit") && !message.contains(&commit[..10]),
        "{message}"
    );
}

#[test]
fn missing_configuration_makes_the_stage_unknown() {
    let pipeline = Pipeline::new("promote: { after: [{ set: ../qa/repin.yaml }] }\n");
    let message = pipeline.is_unknown();
    assert!(
        message.contains("origin/main has no envs/qa/repin.yaml"),
        "{message}"
    );
    let checked = pipeline.run(&["check"]).exits(2).stdout;
    let missing = "the stage envs/qa/repin.yaml does not exist in this repository";
    assert!(checked.contains(missing), "{checked}");
    // The file need not be committed.
    let qa = "envs/qa/repin.yaml";
    pipeline.configure(qa, "");
    pipeline.run(&["check"]).exits(0);
    fs::remove_dir_all(pipeline.world.path("envs/qa")).unwrap();
    // A sparse checkout may omit the file, but not its commit.
    let staging = pipeline.world.path(STAGING);
    std::fs::create_dir(pipeline.world.path("envs/qa")).unwrap();
    std::fs::rename(&staging, pipeline.world.path(QA)).unwrap();
    pipeline.commit("chore: rename", 10);
    pipeline.run(&["check"]).exits(0);
    std::fs::remove_file(pipeline.world.path(QA)).unwrap();
    pipeline.run(&["check"]).exits(0);
}

#[test]
fn cycle_of_stages_is_refused() {
    let pipeline = Pipeline::new(AFTER_A_DAY);
    let after = |set: &str| format!("promote: {{ after: [{{ set: {set} }}] }}\n");
    // Of staging with production.
    pipeline.configure(STAGING, &after("../prod/repin.yaml"));
    pipeline.commit("chore: stages", 10);
    let refused = |text: &str| {
        let message = pipeline.is_malformed();
        assert!(message.contains(text), "{message}");
    };
    refused("envs/prod/repin.yaml → envs/staging/repin.yaml → envs/prod/repin.yaml");
    // To which production only leads.
    pipeline.configure(STAGING, &after("../dev/repin.yaml"));
    pipeline.configure("envs/dev/repin.yaml", &after("../staging/repin.yaml"));
    pipeline.pin("envs/dev/repin.yaml", REV_A);
    pipeline.commit("chore: stages", 9);
    refused("envs/staging/repin.yaml → envs/dev/repin.yaml → envs/staging/repin.yaml");
    let checked = pipeline.run(&["check"]).exits(2).stdout;
    assert!(checked.contains("→ envs/staging/repin.yaml"), "{checked}");
    assert_eq!(checked.matches("→ envs/dev").count(), 1, "{checked}");
    // A longer list without a cycle.
    pipeline.configure("envs/dev/repin.yaml", "");
    pipeline.commit("chore: stages", 8);
    pipeline.is_refused("stage_missing");
    pipeline.run(&["check"]).exits(0);
    // A stage to which two paths lead.
    let both = "promote: { after: [{ set: ../dev/repin.yaml }, { set: ../qa/repin.yaml }] }\n";
    pipeline.configure(STAGING, both);
    pipeline.configure("envs/dev/repin.yaml", &after("../qa/repin.yaml"));
    pipeline.configure(QA, "");
    pipeline.pin(QA, REV_A);
    pipeline.commit("chore: stages", 7);
    pipeline.is_refused("stage_missing");
    pipeline.run(&["check"]).exits(0);
    // Too many stages, one after the other.
    let path = |number: usize| format!("envs/s{number}/repin.yaml");
    pipeline.configure(QA, &after("../s0/repin.yaml"));
    for number in 0..32 {
        let next = after(&format!("../s{}/repin.yaml", number + 1));
        pipeline.configure(&path(number), if number == 31 { "" } else { &next });
    }
    pipeline.commit("chore: stages", 6);
    refused(&path(28));
    assert!(pipeline.run(&["check"]).exits(2).stdout.contains(&path(28)));
    // Of a set with itself.
    pipeline.configure(PROD, &after("repin.yaml"));
    refused("a set cannot be a stage of itself");
}

#[test]
fn stage_without_a_common_image_is_refused() {
    let pipeline = Pipeline::new(AFTER_A_DAY);
    pipeline.world.replace(STAGING, "acme/review", "acme/other");
    pipeline
        .world
        .replace(STAGING, "acme/fix, pins: 1", "acme/fix, pins: 0");
    pipeline.commit("chore: other images", 10);
    let message = pipeline.is_malformed();
    assert!(
        message.contains("pins none of the images of this set"),
        "{message}"
    );
    let checked = pipeline.run(&["check"]).exits(2).stdout;
    assert!(checked.contains("pins none of the images"), "{checked}");
    // An image that only the stage pins.
    let pipeline = Pipeline::new(AFTER_A_DAY);
    pipeline.world.replace(STAGING, "acme/review", "acme/other");
    pipeline
        .world
        .replace(PROD, "acme/fix, pins: 1", "acme/fix, pins: 0");
    let pins = pipeline.world.read("envs/prod/app.yml");
    let first = pins.lines().next().unwrap();
    pipeline.world.write("envs/prod/app.yml", first);
    pipeline.commit("chore: other images", 10);
    assert!(pipeline.is_malformed().contains("pins none of the images"));
}

#[test]
fn stage_is_read_at_its_own_branch() {
    let release = format!("{AFTER_A_DAY}provenance: {{ branch: origin/release }}\n");
    let pipeline = Pipeline::new(&release);
    let branch = |name: &str| {
        pipeline.git(&["push", "-q", "--force", "origin", &format!("HEAD:{name}")]);
    };
    // The branch of production has no configuration of the stage.
    pipeline.git(&["checkout", "-q", "-b", "release"]);
    pipeline.git(&["rm", "-q", "-r", "envs/staging"]);
    pipeline.git(&["commit", "-q", "-m", "only production"]);
    branch("release");
    pipeline.git(&["checkout", "-q", "main"]);
    pipeline.promoted(STAGING, REV_B, 30);
    pipeline.promote(&[]).exits(0);
    // The configuration on the branch of production selects another one than that of the default branch.
    pipeline.rolled_back(STAGING, REV_A, 20);
    pipeline.is_refused("stage_held");
    pipeline.git(&["checkout", "-q", "-b", "stage", "HEAD^"]);
    branch("stage");
    pipeline.git(&["checkout", "-q", "-B", "release", "main"]);
    pipeline.configure(STAGING, "provenance: { branch: origin/stage }\n");
    pipeline
        .world
        .replace(STAGING, "acme/fix, pins: 1", "acme/fix, pins: 0");
    pipeline.git(&["commit", "-q", "-a", "-m", "another stage"]);
    branch("release");
    pipeline.promote(&[]).exits(0);
    // On its own branch the configuration has both images, and not both were promoted.
    pipeline.git(&["checkout", "-q", "-B", "stage", "stage^"]);
    let digest = |image, revision| pipeline.world.digest(image, revision);
    let text = format!(
        "a: ghcr.io/acme/review@{}\nb: ghcr.io/acme/fix@{}\n",
        digest("review", REV_B),
        digest("fix", REV_A)
    );
    pipeline.world.write("envs/staging/app.yml", text);
    let args = ["commit", "-q", "-a", "-m", "promote one image"];
    world::git_at(pipeline.world.root(), &args, &ago(40));
    pipeline.git(&["push", "-q", "--force", "origin", "stage"]);
    pipeline.git(&["checkout", "-q", "release"]);
    pipeline.is_refused("stage_missing");
}

#[test]
fn forge_has_the_head_of_a_stage() {
    for kind in one_of(FORGES) {
        let pipeline = Pipeline::on(Some(kind), AFTER_A_DAY);
        pipeline
            .world
            .replace(STAGING, "acme/flows", "acme/flows, base: stage");
        pipeline.commit("chore: a branch for staging", 100);
        pipeline.git(&["push", "-q", "origin", "main:stage"]);
        let before = pipeline.git(&["rev-parse", "HEAD"]);
        pipeline.git(&["checkout", "-q", "-b", "stage"]);
        pipeline.pin(STAGING, REV_B);
        let args = ["commit", "-q", "-a", "-m", "promote"];
        world::git_at(pipeline.world.root(), &args, &ago(30));
        let head = pipeline.git(&["rev-parse", "HEAD"]);
        pipeline.git(&["push", "-q", "origin", "stage"]);
        pipeline.git(&["checkout", "-q", "main"]);
        pipeline.git(&["update-ref", "refs/remotes/origin/stage", &before]);
        {
            let mut store = pipeline.fake.as_ref().unwrap().store();
            store.push("stage", "promote", &[("notes", "x")]);
            store.name_head("stage", &head, pipeline.world.root());
        }
        // The clone is older.
        let document = pipeline.promote(&[]).exits(1).json();
        assert_eq!(failed(&document), ["stage_missing"]);
        pipeline.promote(&["--pr", "ready"]).exits(0);
    }
}

#[test]
fn stage_without_branch_is_judged_on_the_forge() {
    for kind in one_of(FORGES) {
        let pipeline = Pipeline::on(Some(kind), AFTER_A_DAY);
        let forge = pipeline.world.read(STAGING);
        let forge = forge.lines().find(|line| line.starts_with("forge: "));
        let forge = format!("{}\n", forge.unwrap());
        pipeline.world.replace(STAGING, &forge, "");
        let main = "acme/flows, base: main";
        pipeline.world.replace(PROD, "acme/flows", main);
        pipeline.commit("chore: a branch for production", 190);
        pipeline.promoted(STAGING, REV_B, 60);
        pipeline.promote(&["--pr", "ready"]).exits(0);
        let before = pipeline.git(&["rev-parse", "HEAD"]);
        pipeline.rolled_back(STAGING, REV_A, 10);
        pipeline.git(&["update-ref", "refs/remotes/origin/main", &before]);
        let document = pipeline.promote(&["--pr", "ready"]).exits(1).json();
        assert_eq!(failed(&document), ["stage_held"]);
    }
}

#[test]
fn missing_image_of_a_stage_warns_or_fails() {
    for (complete, code) in [("false", 0), ("true", 1)] {
        let after = format!(
            "promote: {{ after: [{{ set: ../staging/repin.yaml, complete: {complete} }}] }}\n"
        );
        let pipeline = Pipeline::new(&after);
        pipeline.promoted(STAGING, REV_B, 60);
        let whole = pipeline.promote(&[]).exits(0).json().to_string();
        assert!(!whole.contains("stage_partial"), "{whole}");
        let fix = "  fix: { repository: ghcr.io/acme/fix, pins: 1 }\n";
        pipeline.world.replace(STAGING, fix, "");
        pipeline.commit("chore: staging has one image", 50);
        let document = pipeline.promote(&[]).exits(code).json();
        let checks = document["checks"].as_array().unwrap();
        let partial = checks.iter().find(|row| row["code"] == "stage_partial");
        let detail = partial.unwrap()["detail"].as_str().unwrap();
        assert!(detail.contains("`fix`"), "{detail}");
    }
}

#[test]
fn clock_of_the_forge_counts() {
    let pipeline = Pipeline::on(Some(Kind::Github), AFTER_A_DAY);
    pipeline.promoted(STAGING, REV_B, 60);
    // This machine's clock is two days ahead.
    let server = SystemTime::now() - Duration::from_secs(48 * 3_600);
    let store = || pipeline.fake.as_ref().unwrap().store();
    store().date = Some(httpdate::fmt_http_date(server));
    let document = pipeline.promote(&["--pr", "ready"]).exits(1).json();
    assert_eq!(failed(&document), ["stage_soak"]);
    store().date = None;
    pipeline.promote(&["--pr", "ready"]).exits(0);
}

#[test]
fn set_unknown_to_the_stage_is_ordered() {
    for (created, changed) in [
        ("2026-11-20T00:00:00Z", true),
        ("2026-11-10T00:00:00Z", false),
    ] {
        let mut pipeline = Pipeline::new(AFTER_A_DAY);
        for (revision, time) in [(REV_B, "2026-11-15T00:00:00Z"), (REV_C, created)] {
            for image in ["review", "fix"] {
                let platform = Platform::new("linux/amd64", revision).created(time);
                pipeline.world.rebuild_whole(image, revision, platform);
            }
        }
        // A hotfix that staging never had.
        pipeline.promoted(PROD, REV_B, 50);
        pipeline.promoted(STAGING, REV_C, 48);
        let ran = pipeline.run(&["promote", "--revision", "newest"]);
        let document = ran.exits(0).json();
        assert_eq!(document["changed"], changed, "{document}");
        if changed {
            assert_eq!(document["revision"], REV_C);
        }
    }
}

#[test]
fn revision_in_another_form_is_translated() {
    let mut pipeline = Pipeline::new(AFTER_A_DAY);
    let label = "org.opencontainers.image.version";
    for (revision, version) in [(REV_A, "1.0.0"), (REV_B, "1.1.0")] {
        for image in ["review", "fix"] {
            let platform = Platform::new("linux/amd64", revision).label(label, version);
            let platforms = whole(image, platform);
            pipeline.world.rebuild(image, revision, &platforms);
            pipeline.world.layout(image).image(version, &platforms);
        }
    }
    for set in [STAGING, PROD] {
        pipeline.pin(set, REV_A);
    }
    let versions = format!("revision: {{ pattern: semver, label: {label} }}");
    let commits = "revision: { pattern: '[a-c]{40}' }";
    pipeline.world.replace(PROD, commits, &versions);
    pipeline.commit("chore: versions", 190);
    pipeline.promoted(STAGING, REV_B, 60);
    let ran = pipeline.run(&["promote", "--revision", "newest"]);
    let document = ran.exits(0).json();
    assert_eq!(document["revision"], "1.1.0");
    assert_eq!(document["changed"], true);
}

#[test]
fn stages_may_lead_to_each_other() {
    let pipeline = Pipeline::new("");
    let other = pipeline.world.path("other");
    let rule = |set: &str| {
        let repository = other.display();
        format!("{{ set: {{ repository: '{repository}', config: {set} }} }}")
    };
    pipeline.configure(
        STAGING,
        &format!("promote: {{ after: [{}] }}\n", rule(PROD)),
    );
    pipeline.commit("chore: stages", 100);
    for set in [STAGING, PROD] {
        pipeline.promoted(set, REV_B, 50);
    }
    pipeline.git(&["clone", "-q", "./origin.git", "other"]);
    pipeline.pin(PROD, REV_A);
    // The history of the second stage is read after the first one led to it.
    let both = ["../staging/repin.yaml".to_owned(), rule(PROD)];
    let here = format!("{{ set: {} }}", both[0]);
    let after = format!("promote: {{ after: [{here}, {}] }}\n", both[1]);
    pipeline.configure("envs/live/repin.yaml", &after);
    pipeline.pin("envs/live/repin.yaml", REV_A);
    pipeline.commit("chore: another set", 40);
    let args = ["promote", "--revision", REV_B];
    let document = pipeline
        .run_in("envs/live/repin.yaml", &args)
        .exits(0)
        .json();
    let checks = document["checks"].as_array().unwrap().iter();
    let stages = checks.filter(|check| check["code"] == "stage_missing");
    assert_eq!(stages.count(), 2, "{document:#}");
}

#[test]
fn set_of_another_repository_is_a_stage() {
    for form in ["path", "url"] {
        let pipeline = Pipeline::new("");
        let other = pipeline.world.path("other");
        let repository = match form {
            "path" => "../../other".to_owned(),
            _ => format!("file://{}", other.display()),
        };
        let after = |branch: &str| {
            format!(
                "promote: {{ after: [{{ set: {{ repository: '{repository}', config: {STAGING}{branch} }}, for: 24h }}] }}\n"
            )
        };
        pipeline.configure(PROD, &after(""));
        pipeline.git(&["clone", "-q", "./origin.git", "other"]);
        let run = |args: &[&str], hours| world::git_at(&other, args, &ago(hours));
        let text = pipeline.world.read("envs/staging/app.yml");
        let document = pipeline.promote(&[]).exits(1).json();
        assert_eq!(failed(&document), ["stage_missing"]);
        pipeline.pin(STAGING, REV_B);
        fs::copy(
            pipeline.world.path("envs/staging/app.yml"),
            other.join("envs/staging/app.yml"),
        )
        .unwrap();
        pipeline.world.write("envs/staging/app.yml", text);
        run(&["commit", "-q", "-am", "promote"], 30);
        let document = pipeline.promote(&[]).exits(0).json();
        assert_eq!(passed(&document)["item"], format!("{repository}:{STAGING}"));
        // Another branch, without the set.
        run(&["branch", "stable", "HEAD^"], 0);
        pipeline.configure(PROD, &after(", branch: stable"));
        pipeline.is_refused("stage_missing");
        pipeline.configure(PROD, &after(", branch: gone"));
        let message = pipeline.is_unknown();
        assert!(message.contains("no branch gone"), "{message}");
        fs::rename(&other, pipeline.world.path("moved")).unwrap();
        pipeline.configure(PROD, &after(""));
        pipeline.is_unknown();
        // The fetched repositories are removed.
        assert_eq!(fs::read_dir(pipeline.world.path("tmp")).unwrap().count(), 0);
    }
}

#[test]
fn cycle_through_another_repository_is_refused() {
    let pipeline = Pipeline::new("");
    let other = pipeline.world.path("other");
    let origin = pipeline.world.path("origin.git");
    let after = |repository: &std::path::Path, set: &str| {
        let repository = repository.display();
        format!(
            "promote: {{ after: [{{ set: {{ repository: '{repository}', config: {set} }} }}] }}\n"
        )
    };
    pipeline.configure(STAGING, &after(&origin, PROD));
    pipeline.git(&["remote", "set-url", "origin", &origin.display().to_string()]);
    pipeline.commit("chore: stages", 10);
    pipeline.git(&["clone", "-q", "./origin.git", "other"]);
    pipeline.configure(PROD, &after(&other, STAGING));
    let message = pipeline.is_malformed();
    assert!(message.contains("is a cycle"), "{message}");
}

#[test]
fn stage_that_another_one_leads_to_is_fetched_with_its_history() {
    let pipeline = Pipeline::new("");
    let other = pipeline.world.path("other");
    let qa = format!(
        "set: {{ repository: 'file://{}', config: {QA} }}",
        other.display()
    );
    pipeline.configure(QA, "");
    pipeline.pin(QA, REV_A);
    let after = format!("promote: {{ after: [{{ {qa} }}] }}\n");
    pipeline.configure(STAGING, &after);
    pipeline.commit("first", 80);
    for set in [QA, STAGING] {
        pipeline.promoted(set, REV_B, 60);
    }
    pipeline.commit("chore", 1);
    pipeline.git(&["clone", "-q", "./origin.git", "other"]);
    let after =
        format!("promote: {{ after: [{{ set: ../staging/repin.yaml }}, {{ {qa}, for: 24h }}] }}\n");
    pipeline.configure(PROD, &after);
    passed(&pipeline.promote(&[]).exits(0).json());
}

#[test]
fn check_remote_checks_stages_of_new_set() {
    let pipeline = Pipeline::new(AFTER_A_DAY);
    // The current set is not checked.
    pipeline.run(&["check", "--remote"]).exits(0);
    pipeline.pin(PROD, REV_B);
    let document = pipeline.run(&["check", "--remote"]).exits(1).json();
    assert_eq!(failed(&document), ["stage_missing"]);
    let pipeline = Pipeline::new(AFTER_A_DAY);
    pipeline.promoted(STAGING, REV_B, 25);
    pipeline.pin(PROD, REV_B);
    let document = pipeline.run(&["check", "--remote"]).exits(0).json();
    passed(&document);
    // A malformed list is refused, also if the set is current.
    pipeline.configure(
        STAGING,
        "promote: { after: [{ set: ../prod/repin.yaml }] }\n",
    );
    pipeline.commit("chore: stages", 10);
    pipeline.run(&["check", "--remote"]).exits(2);
}

/// The warnings and the skipped checks of `check --remote` about the policy of a set.
fn policy(pipeline: &Pipeline, set: &str) -> (Vec<String>, Vec<String>) {
    let document = pipeline.run_in(set, &["check", "--remote"]).json();
    let of = |status| details(&document, "policy_weakened", status);
    (of("warn"), of("skip"))
}

#[test]
fn selected_branch_does_not_hide_stages() {
    for (key, value) in [
        ("provenance.branch", "provenance: { branch: origin/pr }\n"),
        (
            "forge.base",
            "forge: { kind: github, repository: acme/flows, base: pr }\n",
        ),
    ] {
        let pipeline = Pipeline::new(AFTER_A_DAY);
        pipeline.git(&["checkout", "-q", "-b", "pr"]);
        pipeline.configure(PROD, &format!("{AFTER_A_DAY}{value}"));
        pipeline.promoted(PROD, REV_B, 1);
        pipeline.git(&["push", "-q", "origin", "pr"]);
        let document = pipeline.run(&["check", "--remote"]).exits(1).json();
        assert_eq!(failed(&document), ["stage_missing"], "{key}");
        let warning = format!("weaker than on origin/main: {key}");
        assert_eq!(policy(&pipeline, PROD), (vec![warning], vec![]));
        // The set is current on every branch, and the base selects the branch.
        pipeline.git(&["branch", "-q", "-f", "main"]);
        pipeline.publish();
        pipeline.run(&["check", "--remote"]).exits(0);
        assert_eq!(policy(&pipeline, PROD), (vec![], vec![]));
        // The selected branch is ahead with the same set.
        pipeline.git(&["commit", "-q", "--allow-empty", "-m", "docs"]);
        pipeline.git(&["push", "-q", "origin", "pr"]);
        pipeline.run(&["check", "--remote"]).exits(0);
    }
}

#[test]
fn set_must_be_current_on_the_configured_branch() {
    let pipeline =
        Pipeline::new("forge: { kind: github, repository: acme/flows, base: release }\n");
    pipeline.git(&["push", "-q", "origin", "main:release"]);
    // Only the release branch has stages, and its set is current on main.
    pipeline.configure(
        PROD,
        "forge: { kind: github, repository: acme/flows, base: release }\n\
         promote: { after: [{ set: ../staging/repin.yaml }] }\n",
    );
    pipeline.promoted(PROD, REV_B, 2);
    pipeline.git(&["checkout", "-q", "-b", "pr"]);
    pipeline.configure(
        PROD,
        "promote: { after: [{ set: ../staging/repin.yaml }] }\n",
    );
    pipeline.commit("another base", 1);
    let document = pipeline.run(&["check", "--remote"]).exits(1).json();
    assert_eq!(failed(&document), ["stage_missing"]);
}

#[test]
fn unknown_default_branch_does_not_hide_stages() {
    let forge = "forge: { kind: github, repository: acme/flows, base: release }\n";
    let pipeline = Pipeline::new(&format!("{AFTER_A_DAY}{forge}"));
    pipeline.configure(STAGING, forge);
    pipeline.promoted(PROD, REV_B, 1);
    pipeline.git(&["push", "-q", "origin", "main:release"]);
    pipeline.run(&["check", "--remote"]).exits(0);
    pipeline.git(&["remote", "set-head", "origin", "--delete"]);
    pipeline.git(&["update-ref", "-d", "refs/remotes/origin/main"]);
    let document = pipeline.run(&["check", "--remote"]).exits(1).json();
    assert_eq!(failed(&document), ["stage_missing"]);
    let (warned, skipped) = policy(&pipeline, PROD);
    assert_eq!((warned.len(), skipped.len()), (0, 1), "{skipped:?}");
    assert!(skipped[0].contains("origin/main"), "{skipped:?}");
    // The configured branch is compared.
    pipeline.configure(PROD, forge);
    let (warned, skipped) = policy(&pipeline, PROD);
    assert_eq!((warned.len(), skipped.len()), (1, 1), "{warned:?}");
}

#[test]
fn only_the_selected_branch_is_compared() {
    let forge = "forge: { kind: github, repository: acme/flows, base: release }\n";
    let pipeline = Pipeline::new(forge);
    pipeline.git(&["push", "-q", "origin", "main:release"]);
    // The default branch selects the same branch, and requires more.
    pipeline.configure(PROD, &format!("{AFTER_A_DAY}{forge}"));
    pipeline.commit("chore: stages", 10);
    pipeline.configure(PROD, forge);
    assert_eq!(policy(&pipeline, PROD), (vec![], vec![]));
}

#[test]
fn moved_configuration_is_compared_with_the_base() {
    const MOVED: &str = "live/prod/repin.yaml";
    let pipeline = Pipeline::new(AFTER_A_DAY);
    let removed = vec![
        "cannot compare the policy with the base branch: origin/main has no such configuration, and \
         git pairs it with none of the removed ones: envs/prod/repin.yaml"
            .to_owned(),
    ];
    fs::create_dir(pipeline.world.path("live")).unwrap();
    fs::rename(
        pipeline.world.path("envs/prod"),
        pipeline.world.path("live/prod"),
    )
    .unwrap();
    let stages = "promote: { after: [{ set: ../../envs/staging/repin.yaml, for: 24h }] }\n";
    pipeline.configure(MOVED, stages);
    // Git pairs only files in its index.
    assert_eq!(policy(&pipeline, MOVED), (vec![], removed.clone()));
    pipeline.git(&["add", "-A"]);
    let warning = |keys: &str| {
        let warning = format!("weaker than envs/prod/repin.yaml on origin/main: {keys}");
        (vec![warning], vec![])
    };
    for (more, expected) in [
        (stages, (vec![], vec![])),
        ("", warning("promote.after")),
        (
            &*format!("{stages}provenance: {{ branch: origin/main }}\n"),
            warning("provenance.branch"),
        ),
    ] {
        pipeline.configure(MOVED, more);
        pipeline.git(&["add", "-A"]);
        assert_eq!(policy(&pipeline, MOVED), expected, "{more}");
    }
    pipeline.commit("move", 1);
    pipeline.git(&["push", "-q", "--force", "origin", "HEAD~1:main"]);
    pipeline.configure(MOVED, "");
    assert_eq!(policy(&pipeline, MOVED), warning("promote.after"));
    // A rewritten file is not a rename.
    let text = pipeline.world.read(MOVED);
    pipeline
        .world
        .write(MOVED, text + &"# rewritten\n".repeat(100));
    pipeline.git(&["add", "-A"]);
    assert_eq!(policy(&pipeline, MOVED), (vec![], removed));
}

#[test]
fn default_name_counts_as_the_old_one_if_it_is_gone() {
    let pipeline = Pipeline::new(AFTER_A_DAY);
    let renamed = "envs/prod/repin.eu.yaml";
    pipeline.configure(renamed, "");
    assert_eq!(policy(&pipeline, renamed), (vec![], vec![]));
    fs::remove_file(pipeline.world.path(PROD)).unwrap();
    let (warned, skipped) = policy(&pipeline, renamed);
    assert_eq!((warned.len(), skipped.len()), (1, 0), "{skipped:?}");
    assert!(warned[0].contains("promote.after"), "{warned:?}");
}

#[test]
fn new_configuration_has_no_policy_to_compare() {
    let pipeline = Pipeline::new(AFTER_A_DAY);
    let new = "envs/new/repin.yaml";
    pipeline.configure(new, "");
    pipeline.pin(new, REV_A);
    pipeline.git(&["add", "-A"]);
    assert_eq!(policy(&pipeline, new), (vec![], vec![]));
    // A configuration outside of the sparse checkout is not removed.
    pipeline.git(&["commit", "-q", "-m", "a new set"]);
    pipeline.configure("envs/next/repin.yaml", "");
    pipeline.pin("envs/next/repin.yaml", REV_A);
    let sparse = [
        "sparse-checkout",
        "set",
        "--no-cone",
        "/*",
        "!/envs/staging",
    ];
    pipeline.git(&sparse);
    pipeline.git(&["add", "-A", "--sparse", "envs/next"]);
    let next = || policy(&pipeline, "envs/next/repin.yaml");
    assert_eq!(next(), (vec![], vec![]));
    let is_removed = || {
        let (warned, skipped) = next();
        assert_eq!((warned.len(), skipped.len()), (0, 1), "{skipped:?}");
        assert!(
            skipped[0].contains("envs/prod") && !skipped[0].contains("envs/staging"),
            "{skipped:?}"
        );
    };
    fs::remove_dir_all(pipeline.world.path("envs/prod")).unwrap();
    is_removed();
    pipeline.git(&["rm", "-q", "-r", "envs/prod"]);
    is_removed();
}

/// A pipeline on a forge with a change of staging by pull request 1, which the forge merged
/// `merged` hours ago.
fn merged_pipeline(kind: Kind, numbered: bool, merged: u64) -> Pipeline {
    let pipeline = Pipeline::on(Some(kind), AFTER_A_DAY);
    pipeline.pin(STAGING, REV_B);
    let number = if numbered { " (#1)" } else { "" };
    let message = format!("promote: envs-staging @{REV_B}{number}");
    let commit = pipeline.commit(&message, 60);
    merge(&pipeline, commit, merged);
    pipeline
}

/// Pull request 1, with this commit, which the forge merged `hours` ago.
fn merge(pipeline: &Pipeline, commit: String, hours: u64) {
    let mut store = pipeline.fake.as_ref().unwrap().store();
    let pull = store.add_pull("topic", "main");
    (pull.open, pull.merged) = (false, Some(commit));
    let time = SystemTime::now() - Duration::from_secs(3_600 * hours);
    let time = time::OffsetDateTime::from(time)
        .replace_nanosecond(0)
        .unwrap();
    let format = time::format_description::well_known::Rfc3339;
    store.merge_times.insert(1, time.format(&format).unwrap());
}

#[test]
fn merge_time_counts_for_the_end_of_a_period() {
    let pipeline = Pipeline::on(Some(Kind::Github), AFTER_A_DAY);
    pipeline.promoted(STAGING, REV_B, 30);
    let end = pipeline.promoted(STAGING, REV_C, 20);
    let document = pipeline.promote(&["--pr", "ready"]).exits(1).json();
    assert_eq!(failed(&document), ["stage_soak"]);
    merge(&pipeline, end, 2);
    pipeline.promote(&["--pr", "ready"]).exits(0);
}

#[test]
fn merge_time_counts_for_pull_requests() {
    for kind in FORGES {
        let row = match kind {
            Kind::Gitlab => ["| merge request |", "`!1`"],
            Kind::Github | Kind::Gitea | Kind::Forgejo => ["| pull request |", "`#1`"],
        };
        for numbered in [true, false] {
            let late = merged_pipeline(kind, numbered, 20);
            let document = late.promote(&["--pr", "ready"]).exits(1).json();
            assert_eq!(failed(&document), ["stage_soak"], "{document:#}");
            // Other runs use the committer date.
            late.promote(&[]).exits(0);
            let early = merged_pipeline(kind, numbered, 30);
            let document = early.promote(&["--pr", "ready"]).exits(0).json();
            let check = passed(&document);
            let detail = check["detail"].as_str().unwrap();
            assert!(
                detail.ends_with("by committer dates and merge times"),
                "{detail}"
            );
            let body = document["body"].as_str().unwrap();
            assert!(row.iter().all(|text| body.contains(text)), "{body}");
            assert!(body.contains("`merger`"), "{body}");
        }
        let hidden = merged_pipeline(kind, false, 30);
        hidden.fake.as_ref().unwrap().store().hides_merges = true;
        let document = hidden.promote(&["--pr", "ready"]).exits(3).json();
        assert_eq!(document["error"]["code"], "stage_unknown", "{document:#}");
        hidden.pin(PROD, REV_B);
        let error = hidden.run(&["check", "--remote"]).exits(3).stdout;
        assert!(error.contains("stage_unknown"), "{error}");
    }
}

#[test]
fn pull_request_of_failed_stage_becomes_draft() {
    for kind in one_of(FORGES) {
        let pipeline = Pipeline::on(Some(kind), AFTER_A_DAY);
        pipeline.promoted(STAGING, REV_B, 60);
        pipeline.promote(&["--pr", "ready"]).exits(0);
        let store = || pipeline.fake.as_ref().unwrap().store();
        let is_draft = || {
            let pull = store().pulls[0].clone();
            pull.draft
                || ["WIP:", "Draft:"]
                    .iter()
                    .any(|word| pull.title.starts_with(word))
        };
        assert!(!is_draft());
        let args = ["wait", "--pr", "3", "--timeout", "0s"];
        // Another failed check leaves it as it is.
        let index = pipeline.world.read("images/fix/index.json");
        pipeline.world.layout("fix").untag(REV_B);
        let document = pipeline.promote(&["--pr", "ready"]).exits(1).json();
        assert_eq!(failed(&document), ["tag_missing"]);
        assert!(!is_draft() && store().comments.is_empty());
        pipeline.world.write("images/fix/index.json", index);
        // Earlier pull requests of another revision and of a rollback.
        {
            let mut store = store();
            let row = store.pulls[0].clone();
            let head = store.refs[&row.head].clone();
            for (old, new) in [(REV_B, REV_C), ("promote", "rollback")] {
                let mut other = row.clone();
                other.number = store.pulls[0].number;
                other.head = row.head.replace(old, new);
                other.body = row.body.replace(old, new);
                store.refs.insert(other.head.clone(), head.clone());
                store.pulls[0].number = store.number();
                store.pulls.push(other);
            }
        }
        pipeline.rolled_back(STAGING, REV_A, 10);
        for _ in 0..2 {
            let document = pipeline.promote(&["--pr", "ready"]).exits(1).json();
            assert_eq!(failed(&document), ["stage_held"]);
            assert_eq!(document["pull_request"]["number"], 3);
        }
        assert!(is_draft());
        assert_eq!(store().comments.len(), 1);
        let comments = store().comments[&3].clone();
        assert_eq!(comments.len(), 1, "{comments:?}");
        assert!(comments[0].contains("`stage_held`"), "{comments:?}");
        // `wait` verifies the stage too.
        let waited = pipeline.run(&args);
        assert_ne!(waited.code, 0);
        assert!(store().pulls[0].open);
    }
}

#[test]
fn pull_request_that_stays_ready_is_a_warning() {
    for (kind, change) in [
        (Kind::Github, ("POST", "/graphql")),
        (Kind::Gitlab, ("PUT", "/merge_requests/1")),
    ] {
        let pipeline = Pipeline::on(Some(kind), AFTER_A_DAY);
        pipeline.promoted(STAGING, REV_B, 60);
        pipeline.promote(&["--pr", "ready"]).exits(0);
        pipeline.rolled_back(STAGING, REV_A, 10);
        let fake = pipeline.fake.as_ref().unwrap();
        fake.fault(change, 99, Fault::Instead(not_found()));
        let ran = pipeline.promote(&["--pr", "ready"]).exits(1);
        let warning = kind.spelled("the open pull request was not made a draft: ");
        assert!(ran.stderr.contains(&warning), "{}", ran.stderr);
        assert!(!fake.store().pulls[0].draft);
    }
}

#[test]
fn newest_set_that_passed_its_stages_is_promoted() {
    let pipeline = Pipeline::new(AFTER_A_DAY);
    let newest = || {
        let document = pipeline
            .run(&["promote", "--revision", "newest"])
            .exits(0)
            .json();
        let revision = document["revision"].as_str().unwrap().to_owned();
        (revision, document["changed"].as_bool().unwrap())
    };
    assert!(!newest().1);
    pipeline.promoted(STAGING, REV_B, 60);
    pipeline.promoted(STAGING, REV_C, 10);
    assert_eq!(newest(), (REV_B.to_owned(), true));
    let noted = pipeline.run(&["promote", "--revision", "newest"]).stderr;
    let note = format!("the newest set that passed every stage is {REV_B}\n");
    assert!(noted.contains(&note), "{noted}");
    // The registry has newer builds, but staging never had them.
    pipeline.promoted(PROD, REV_B, 5);
    assert_eq!(newest(), (REV_B.to_owned(), false));
    // A set that the stage had before the current one is older.
    let pipeline = Pipeline::new(AFTER_A_DAY);
    pipeline.promoted(STAGING, REV_C, 90);
    pipeline.promoted(STAGING, REV_B, 60);
    pipeline.promoted(PROD, REV_B, 5);
    let ran = pipeline.run(&["promote", "--revision", "newest"]).exits(0);
    assert_eq!(ran.json()["changed"], false);
    let pipeline = Pipeline::new(AFTER_A_DAY);
    pipeline.promoted(STAGING, REV_B, 90);
    pipeline.promoted(STAGING, REV_C, 60);
    let args = ["promote", "--revision", "newest"];
    let revision = || pipeline.run(&args).exits(0).json()["revision"].clone();
    assert_eq!(revision(), REV_C);
    pipeline.rolled_back(STAGING, REV_B, 30);
    assert_eq!(revision(), REV_B);
    // A set that was rolled back here stays in the stage.
    pipeline.promoted(PROD, REV_B, 20);
    pipeline.rolled_back(PROD, REV_A, 10);
    let ran = pipeline.run(&args).exits(0);
    let held = format!("warning: not selected, because a rollback undid it: {REV_B}\n");
    assert!(ran.stderr.starts_with(&held), "{}", ran.stderr);
    assert_eq!(ran.json()["changed"], false);
}

#[test]
fn rollback_in_the_stage_makes_no_set_newer() {
    let pipeline = Pipeline::new(AFTER_A_DAY);
    pipeline.promoted(STAGING, REV_B, 150);
    pipeline.promoted(STAGING, REV_C, 120);
    pipeline.promoted(PROD, REV_C, 90);
    pipeline.rolled_back(STAGING, REV_B, 60);
    let ran = pipeline.run(&["promote", "--revision", "newest"]).exits(0);
    assert_eq!(ran.json()["changed"], false, "{}", ran.stdout);
}

#[test]
fn rollback_of_an_image_in_the_stage_is_refused() {
    let pipeline = Pipeline::new(AFTER_A_DAY);
    pipeline.promoted(STAGING, REV_B, 100);
    let pins = "envs/staging/app.yml";
    let [newer, older] = [REV_B, REV_A].map(|revision| pipeline.world.digest("fix", revision));
    let text = pipeline.world.read(pins).replace(newer, older);
    pipeline.world.write(pins, text);
    let commit = pipeline.commit("images: fix is back", 50);
    let refused = pipeline.is_refused("stage_held");
    let expected = format!(
        "`fix` of the set was rolled back there by commit {}",
        &commit[..10]
    );
    assert!(refused.contains(&expected), "{refused}");
    let ran = pipeline.run(&["promote", "--revision", "newest"]).exits(0);
    assert_eq!(ran.json()["changed"], false, "{}", ran.stdout);
    // Also after a newer set, until it is current there again.
    pipeline.promoted(STAGING, REV_C, 40);
    pipeline.is_refused("stage_held");
    pipeline.promoted(STAGING, REV_B, 20);
    pipeline.is_refused("stage_soak");
}

#[test]
fn newest_set_of_a_stage_is_merged() {
    let mut pipeline = Pipeline::new(AFTER_A_DAY);
    for set in [STAGING, PROD] {
        let text = pipeline.world.read(set).replace("[a-c]", "[0-9a-f]");
        pipeline.world.write(set, text);
    }
    pipeline.commit("chore: commits as revisions", 190);
    pipeline.git(&["checkout", "-q", "-b", "topic"]);
    let args = ["commit", "-q", "--allow-empty", "-m", "feature"];
    world::git_at(pipeline.world.root(), &args, &ago(150));
    let feature: &str = pipeline.git(&["rev-parse", "HEAD"]).leak();
    pipeline.git(&["push", "-q", "origin", "topic"]);
    pipeline.git(&["checkout", "-q", "main"]);
    pipeline.world.build(feature);
    pipeline.promoted(STAGING, feature, 100);
    let newest = || pipeline.run(&["promote", "--revision", "newest"]).exits(0);
    let ran = newest();
    assert_eq!(ran.json()["changed"], false, "{}", ran.stdout);
    let note = format!("not selected, because it is not merged: {feature}");
    assert!(ran.stderr.contains(&note), "{}", ran.stderr);
    pipeline.git(&["merge", "-q", "--no-ff", "-m", "merge", "topic"]);
    pipeline.git(&["push", "-q", "origin", "main"]);
    assert_eq!(newest().json()["revision"], *feature);
}

#[test]
fn newest_set_that_waits_is_reported() {
    let pipeline = Pipeline::new(AFTER_A_DAY);
    pipeline.promoted(STAGING, REV_B, 10);
    let ran = pipeline.run(&["promote", "--revision", "newest"]).exits(0);
    assert_eq!(ran.json()["changed"], false);
    let waits = format!("not selected: {REV_B}: ");
    assert!(ran.stderr.contains(&waits), "{}", ran.stderr);
    assert!(ran.stderr.contains("24h required"), "{}", ran.stderr);
}

#[test]
fn forced_newest_set_is_one_of_the_stage() {
    let pipeline = Pipeline::new(AFTER_A_DAY);
    pipeline.promoted(STAGING, REV_B, 10);
    // The registry has C, which staging never had.
    let args = ["promote", "--revision", "newest", "--allow-unstaged"];
    let ran = pipeline.run(&args).exits(0);
    let note = format!("the newest set of the first stage is {REV_B}\n");
    assert!(ran.stderr.contains(&note), "{}", ran.stderr);
    let document = ran.json();
    assert_eq!(document["revision"], REV_B);
    let soak = document["checks"].as_array().unwrap().iter();
    let mut soak = soak.filter(|check| check["code"] == "stage_soak");
    assert_eq!(soak.next().unwrap()["status"], "warn");
}

#[test]
fn set_before_the_current_one_is_not_the_newest() {
    let pipeline = Pipeline::new(AFTER_A_DAY);
    let args = ["promote", "--revision", "newest"];
    let newest = |more: &[&str]| pipeline.run(&[&args[..], more].concat());
    // Staging had C before the current set of production.
    pipeline.promoted(STAGING, REV_C, 150);
    pipeline.promoted(STAGING, REV_A, 100);
    assert_eq!(newest(&[]).exits(0).json()["changed"], false);
    // Staging shows that B is newer.
    pipeline.promoted(STAGING, REV_B, 90);
    pipeline.promoted(PROD, REV_C, 50);
    assert_eq!(newest(&[]).exits(0).json()["revision"], REV_B);
    // Staging never had the current set of production.
    let pipeline = Pipeline::new(AFTER_A_DAY);
    let newest = |more: &[&str]| pipeline.run(&[&args[..], more].concat());
    pipeline.promoted(STAGING, REV_B, 90);
    pipeline.promoted(PROD, REV_C, 50);
    let document = newest(&[]).exits(1).json();
    assert_eq!(
        document["errors"][0]["code"], "revision_order",
        "{document:#}"
    );
    assert_eq!(
        newest(&["--allow-older"]).exits(0).json()["revision"],
        REV_B
    );
}

#[test]
fn pull_request_for_a_set_of_no_stage_has_an_unknown_age() {
    let pipeline = Pipeline::on(Some(Kind::Github), AFTER_A_DAY);
    let newest = || pipeline.run(&["promote", "--revision", "newest"]);
    pipeline.promoted(STAGING, REV_B, 60);
    let forced = [
        "promote",
        "--revision",
        REV_C,
        "--allow-unstaged",
        "--pr",
        "ready",
    ];
    pipeline.run(&forced).exits(0);
    let document = newest().exits(1).json();
    let message = document["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("pull request #1 promotes"), "{message}");
    // Staging had the proposed set before B.
    let pipeline = Pipeline::on(Some(Kind::Github), AFTER_A_DAY);
    pipeline.promoted(STAGING, REV_C, 100);
    pipeline.run(&forced).exits(0);
    pipeline.promoted(STAGING, REV_B, 60);
    let newest = pipeline.run(&["promote", "--revision", "newest"]);
    assert_eq!(newest.exits(0).json()["revision"], REV_B);
}

#[test]
fn newest_set_is_not_before_pull_request() {
    let pipeline = Pipeline::on(Some(Kind::Github), AFTER_A_DAY);
    pipeline.promoted(STAGING, REV_B, 90);
    pipeline.promoted(STAGING, REV_C, 60);
    let newest =
        |more: &[&str]| pipeline.run(&[&["promote", "--revision", "newest"], more].concat());
    let document = newest(&["--pr", "ready"]).exits(0).json();
    assert_eq!(document["revision"], REV_C);
    assert_eq!(newest(&[]).exits(0).json()["revision"], REV_C);
    // C must pass the stage a second time, and the pull request still proposes it.
    pipeline.promoted(STAGING, REV_B, 30);
    pipeline.pin(STAGING, REV_C);
    let message = format!("promote: envs-staging @{REV_C}\n\nRepin-Override: rolled_back");
    pipeline.commit(&message, 10);
    let document = newest(&["--pr", "ready"]).exits(0).json();
    assert_eq!(document["changed"], false, "{document:#}");
    // It counts under the former path of the set, and not if it undoes a set.
    let live = "envs/live/repin.yaml";
    pipeline.git(&["mv", "envs/prod", "envs/live"]);
    pipeline.git(&["commit", "-q", "-m", "rename"]);
    pipeline.git(&["push", "-q", "origin", "main"]);
    let store = || pipeline.fake.as_ref().unwrap().store();
    let head = pipeline.git(&["rev-parse", "HEAD"]);
    store().name_head("main", &head, pipeline.world.root());
    let newest = || {
        let ran = pipeline.run_in(live, &["promote", "--revision", "newest"]);
        ran.exits(0).json()["revision"].clone()
    };
    assert_eq!(newest(), "");
    let proposed = store().pulls[0].clone();
    let body = proposed.body.replace("kind=promote", "kind=rollback");
    let head = proposed.head.replace("promote", "rollback");
    store().pulls[0].body = body;
    store().pulls[0].head = head;
    assert_eq!(newest(), REV_B);
    store().pulls[0] = proposed;
    store().pulls[0].open = false;
    assert_eq!(newest(), REV_B);
}

#[test]
fn newest_set_of_an_unknown_stage_is_refused() {
    let pipeline = Pipeline::new(AFTER_A_DAY);
    pipeline.promoted(STAGING, REV_B, -5);
    let ran = pipeline.run(&["promote", "--revision", "newest"]).exits(3);
    assert!(ran.stdout.contains("stage_unknown"), "{}", ran.stdout);
    assert!(!ran.stderr.contains("the newest set"), "{}", ran.stderr);
    pipeline.world.write(STAGING, "version: [");
    pipeline.commit("chore: break it", -5);
    let ran = pipeline.run(&["promote", "--revision", "newest"]).exits(3);
    assert!(ran.stdout.contains("stage_unknown"), "{}", ran.stdout);
}

#[test]
fn status_shows_the_pending_stage() {
    let pipeline = Pipeline::new(AFTER_A_DAY);
    let waiting = || pipeline.run(&["status"]).exits(0).json()["waiting"].clone();
    assert_eq!(waiting(), serde_json::json!([]));
    pipeline.promoted(STAGING, REV_B, 10);
    let rows = waiting();
    assert_eq!(rows[0]["revision"], REV_B);
    assert_eq!(rows[0]["stage"], STAGING);
    assert!(
        rows[0]["since"].is_string() && rows[0]["until"].is_string(),
        "{rows}"
    );
    let table = pipeline.world.run(&["status", "--all"]).exits(0).stdout;
    let line = table.lines().find(|line| line.starts_with(PROD)).unwrap();
    assert!(
        line.contains("bbbbbbbbbbbb waits for envs/staging/repin.yaml until 20"),
        "{table}"
    );
    // The set does not wait anymore, although it was undone here.
    pipeline.promoted(PROD, REV_B, 8);
    pipeline.rolled_back(PROD, REV_A, 6);
    assert_eq!(waiting(), serde_json::json!([]));
    // The next set waits.
    pipeline.promoted(STAGING, REV_C, 5);
    assert_eq!(waiting()[0]["revision"], REV_C);
    // A stage that is unknown is reported.
    let pipeline = Pipeline::new(AFTER_A_DAY);
    pipeline.promoted(STAGING, REV_B, -5);
    let document = pipeline.run(&["status"]).json();
    assert_eq!(document["waiting"], serde_json::json!([]));
    let not_read = document["not_read"].to_string();
    assert!(not_read.contains(STAGING), "{document:#}");
    let pipeline = Pipeline::new(AFTER_A_DAY);
    pipeline.promoted(STAGING, REV_B, 30);
    let rows = pipeline.run(&["status"]).exits(0).json()["waiting"].clone();
    assert_eq!(rows, serde_json::json!([]));
}

#[test]
fn history_of_all_sets_has_a_column_each() {
    let pipeline = Pipeline::new(AFTER_A_DAY);
    pipeline.promoted(STAGING, REV_B, 60);
    pipeline.promoted(PROD, REV_B, 30);
    pipeline.promoted(STAGING, REV_C, 10);
    pipeline.rolled_back(STAGING, REV_B, 5);
    let ran = pipeline.world.run(&["history", "--all"]).exits(0);
    let lines: Vec<_> = ran.stdout.lines().collect();
    let heading: Vec<_> = lines[0].split_whitespace().collect();
    assert_eq!(
        heading,
        ["REVISION", "envs/staging", "envs/prod"],
        "{lines:#?}"
    );
    let mut marks = Vec::new();
    for line in &lines[1..] {
        let words: Vec<_> = line.split_whitespace().collect();
        let cells = words
            .iter()
            .filter(|word| ["*", "<", "!", "-"].contains(*word));
        marks.push((words[0][..1].to_owned(), cells.copied().collect::<Vec<_>>()));
    }
    // No commit recorded a revision of the last row.
    let expected = [("c", &["!", "-"][..]), ("b", &["*", "*"]), ("n", &[])];
    let expected = expected.map(|(row, cells)| (row.to_owned(), cells.to_vec()));
    assert_eq!(marks, expected, "{}", ran.stdout);
    assert!(ran.stdout.lines().all(|line| line.chars().count() <= 80));

    let ran = pipeline
        .world
        .run(&["history", "--all", "--format", "json", "-n", "1"]);
    let document = ran.exits(0).json();
    assert_eq!(document["schema"], "repin.sets/1");
    for (index, set) in [(0, PROD), (1, STAGING)] {
        let set_document = &document["sets"][index]["document"];
        assert_eq!(document["sets"][index]["set_path"], set);
        assert_eq!(set_document["schema"], "repin.history/1");
        assert_eq!(set_document["set_path"], set);
        assert_eq!(set_document["entries"].as_array().unwrap().len(), 1);
        assert_eq!(set_document["entries"][0]["revision"], REV_B);
    }
    let page = pipeline.world.run(&["history", "--all", "--html", "-"]);
    let page = page.exits(0).stdout;
    let columns = r#"<th scope="col">staging</th><th scope="col">prod</th>"#;
    assert!(page.contains(columns), "{page}");
    let cells = page.split("<td").skip(1);
    let states: Vec<_> = cells
        .map(|cell| {
            let classes = ["class=\"none\"", "class=\"current\"", "badge held"];
            classes.map(|class| cell.contains(class))
        })
        .collect();
    let (held, none, current) = (
        [false, false, true],
        [true, false, false],
        [false, true, false],
    );
    assert_eq!(states[..4], [held, none, current, current]);
    pipeline
        .world
        .run(&["history", "--all", "--config", PROD])
        .exits(2);
    pipeline.world.write("envs/prod/repin.yaml", "version: 2\n");
    let ran = pipeline.world.run(&["history", "--all"]).exits(2);
    assert!(ran.stdout.contains("envs/staging"), "{}", ran.stdout);
    assert!(
        ran.stderr.contains("envs/prod/repin.yaml: error: config"),
        "{}",
        ran.stderr
    );
}

#[test]
fn shallow_clone_does_not_prove_a_stage() {
    let pipeline = Pipeline::new(AFTER_A_DAY);
    pipeline.promoted(STAGING, REV_B, 60);
    pipeline.commit("chore: nothing", 30);
    let origin = format!("file://{}", pipeline.world.path("origin.git").display());
    let clone = pipeline.world.path("clone");
    pipeline.git(&["clone", "-q", "--depth=1", &origin, clone.to_str().unwrap()]);
    let sources = format!(
        "ghcr.io/acme=oci:{}",
        pipeline.world.path("images").display()
    );
    let promote = |more: &[&str]| {
        let args = [
            "promote",
            "--revision",
            REV_B,
            "--allow-older",
            "--force-after-rollback",
            "--format",
            "json",
        ];
        let args = [&args[..], more].concat();
        let environment = [("REPIN_SOURCES", &*sources)];
        pipeline
            .world
            .run_in(&clone.join("envs/prod"), &args, &environment)
    };
    let document = promote(&[]).exits(3).json();
    assert_eq!(document["error"]["code"], "stage_unknown", "{document:#}");
    let document = promote(&["--allow-unstaged"]).exits(0).json();
    let warning = details(&document, "stage_unknown", "warn").remove(0);
    assert!(warning.contains("forced by --allow-unstaged"), "{warning}");
}

#[test]
fn private_stage_is_fetched_with_the_token() {
    let pipeline = Pipeline::new("");
    pipeline.configure(QA, "");
    pipeline.pin(QA, REV_A);
    pipeline.commit("first", 80);
    pipeline.promoted(STAGING, REV_B, 60);
    pipeline.promoted(QA, REV_B, 50);
    let origin = pipeline.world.path("origin.git");
    world::git(&origin, &["gc", "-q"]);
    world::git(&origin, &["update-server-info"]);
    let server = fake::private_repository(origin, TOKEN);
    let forge = format!(
        "forge: {{ kind: gitea, url: 'http://{}/api/v1', repository: acme/deploy }}\n",
        server.host()
    );
    let stages = [STAGING, QA]
        .map(|set| format!("{{ set: {{ repository: acme/app, config: {set} }}, for: 24h }}"));
    let after = format!("promote: {{ after: [{}] }}\n", stages.join(", "));
    pipeline.configure(PROD, &(forge + &after));
    assert!(pipeline.is_unknown().contains("acme/app"));
    let sources = format!(
        "ghcr.io/acme=oci:{}",
        pipeline.world.path("images").display()
    );
    let environment = [("REPIN_SOURCES", &*sources), ("REPIN_FORGE_TOKEN", TOKEN)];
    let args = [
        "promote",
        "--revision",
        REV_B,
        "--config",
        PROD,
        "--format",
        "json",
    ];
    let before = server.log().len();
    passed(&pipeline.world.run_with(&args, &environment).exits(0).json());
    // One fetch for both.
    let log = server.log().split_off(before);
    let fetches = log.iter().filter(|line| line.contains("app.git/info/refs"));
    assert_eq!(fetches.count(), 1, "{log:#?}");
}

#[test]
fn builds_show_why_and_when_they_can_be_promoted() {
    let pipeline = Pipeline::new(AFTER_A_DAY);
    pipeline.promoted(STAGING, REV_B, 2);
    let builds = pipeline.run(&["builds"]).exits(0).json();
    let of = |builds: &Value, revision: &str| {
        let mut rows = builds["builds"].as_array().unwrap().iter();
        rows.find(|row| row["revision"] == revision)
            .unwrap()
            .clone()
    };
    let young = of(&builds, REV_B);
    assert_eq!(young["state"], "waiting", "{builds:#}");
    let waiting = &young["waiting"][0];
    let until = waiting["until"].as_str().unwrap();
    assert_eq!(waiting["stage"], STAGING);
    let detail = young["detail"].as_str().unwrap();
    // The detail has the next whole minute.
    let until: jiff::Timestamp = until.parse().unwrap();
    let minute = (until + Duration::from_secs(59)).strftime("%Y-%m-%d %H:%MZ");
    assert!(
        detail.contains(&format!("24h required: the check passes at {minute}")),
        "{detail}"
    );
    let table = pipeline.world.run(&["status", "--all"]).exits(0).stdout;
    let minute = minute.to_string();
    let minute = minute.trim_end_matches('Z');
    assert!(table.contains(&format!("until {minute}")), "{table}");
    let missing = of(&builds, REV_C);
    assert_eq!(missing["state"], "waiting");
    assert!(
        missing["detail"]
            .as_str()
            .unwrap()
            .contains("never current there")
    );
    assert!(missing["waiting"][0]["until"].is_null());
    assert_eq!(of(&builds, REV_A)["state"], "current");

    // Once the stage passes, the build is available.
    pipeline.promoted(STAGING, REV_C, 1);
    let passed = Pipeline::new(AFTER_A_DAY);
    passed.promoted(STAGING, REV_B, 30);
    let builds = passed.run(&["builds"]).exits(0).json();
    let proven = of(&builds, REV_B);
    assert_eq!(
        (&proven["state"], &proven["waiting"]),
        (&"available".into(), &serde_json::json!([]))
    );
    // A set without stages is as before.
    let staging = passed.run_in(STAGING, &["builds"]).exits(0).json();
    assert_eq!(of(&staging, REV_C)["state"], "available");
}

#[test]
fn builds_report_an_unknown_stage() {
    let pipeline = Pipeline::new(
        "promote: { after: [{ set: { repository: ./other, config: repin.yaml } }] }\n",
    );
    let ran = pipeline.run(&["builds"]);
    assert_eq!(ran.code, 3, "{}", ran.stdout);
    let builds: Value = serde_json::from_str(ran.stdout.lines().next().unwrap()).unwrap();
    assert_eq!(builds["builds"][0]["state"], "waiting", "{builds:#}");
}
