//! Jobs of GitLab CI: the clone that a runner makes, its predefined variables, and its token, in a private project.

use std::path::PathBuf;

use serde_json::Value;

use crate::support::{
    forge::{Fake, GITLAB_TOKEN, JOB_TOKEN, Kind},
    hosted::{A, PROPOSE_C, publish},
    world::{REV_A, REV_B, REV_C, Ran, World, failed, git, world},
};

const CHECK: [&str; 4] = ["check", "--remote", "--format", "json"];
const SYNC: [&str; 9] = [
    "branch", "sync", "--from", "main", "--to", "staging", "--apply", "--format", "json",
];

/// A project in which B was promoted and rolled back, before more commits than a job fetches.
struct Project {
    world: World,
    fake: Fake,
}

/// A clone that a runner made.
struct Job<'p> {
    project: &'p Project,
    clone: PathBuf,
    variables: Vec<(&'static str, String)>,
}

impl Project {
    fn new() -> Self {
        let (mut world, fake) = (world(), Fake::start(Kind::Gitlab));
        world.build(REV_C);
        // The variables of a job show the forge and the project.
        let forge = "forge: { sync_targets: [staging] }\n";
        world.write("repin.yaml", world.read("repin.yaml") + forge);
        for (revision, operation) in [(REV_A, "promote"), (REV_B, "promote"), (REV_A, "rollback")] {
            world.pin(revision);
            publish(
                &world,
                &fake,
                &format!("{operation}: test images @{revision}"),
            );
        }
        for number in 0..25 {
            let text = number.to_string();
            fake.store().push("main", "work", &[("notes", &text)]);
        }
        Self { world, fake }
    }

    fn head(&self, branch: &str) -> String {
        self.fake.store().refs[branch].clone()
    }

    /// The clone of a job, by the commands and the references of a runner
    /// (`app/presenters/ci/build_runner_presenter.rb`). `depth`: `GIT_DEPTH`, or 0 for the whole history.
    fn job(&self, refspec: &str, depth: u32, variables: &[(&'static str, &str)]) -> Job<'_> {
        let clone = self.world.path(&format!("job-{depth}-{}", refspec.len()));
        std::fs::create_dir(&clone).unwrap();
        let server = self.fake.server.url();
        let login = format!("//gitlab-ci-token:{JOB_TOKEN}@");
        let url = format!("{}/acme/flows.git", server.replace("//", &login));
        let run = |args: &[&str]| git(&clone, args);
        run(&["init", "-q"]);
        run(&["remote", "add", "origin", &url]);
        let depth = format!("--depth={depth}");
        let options: &[&str] = if depth == "--depth=0" { &[] } else { &[&depth] };
        let fetch = ["fetch", "-q", "--prune", "--no-recurse-submodules"];
        run(&[&fetch, options, &["origin", refspec]].concat());
        run(&["checkout", "-q", "-f", "--detach", "FETCH_HEAD"]);
        std::os::unix::fs::symlink(self.world.path("images"), clone.join("images")).unwrap();
        let head = run(&["rev-parse", "HEAD"]);
        let api = self.fake.api();
        let known = [
            ("CI", "true"),
            ("GITLAB_CI", "true"),
            ("CI_SERVER_URL", &*server),
            ("CI_API_V4_URL", &*api),
            ("CI_PROJECT_ID", "7"),
            ("CI_PROJECT_PATH", "acme/flows"),
            ("CI_DEFAULT_BRANCH", "main"),
            ("CI_COMMIT_SHA", &*head),
            ("CI_JOB_TOKEN", JOB_TOKEN),
        ];
        let all = known.iter().chain(variables);
        Job {
            project: self,
            clone: clone.clone(),
            variables: all
                .map(|(name, text)| (*name, (*text).to_owned()))
                .collect(),
        }
    }
}

impl Job<'_> {
    fn run(&self, args: &[&str], more: &[(&str, &str)]) -> Ran {
        let own = self.variables.iter().map(|(name, text)| (*name, &**text));
        let env: Vec<_> = own.chain(more.iter().copied()).collect();
        let ran = self.project.world.run_in(&self.clone, args, &env);
        let output = format!("{}{}", ran.stdout, ran.stderr);
        assert!(!output.contains(JOB_TOKEN), "{output}");
        ran
    }
}

/// The rules that a run checked and that failed.
fn failures(document: &Value) -> Vec<String> {
    failed(document).iter().map(ToString::to_string).collect()
}

#[test]
fn shallow_job_promotes_by_the_history_of_the_project() {
    let project = Project::new();
    let branch = [
        ("CI_PIPELINE_SOURCE", "push"),
        ("CI_COMMIT_BRANCH", "main"),
        ("CI_COMMIT_REF_NAME", "main"),
        ("GIT_DEPTH", "20"),
    ];
    let job = project.job("+refs/heads/main:refs/remotes/origin/main", 20, &branch);
    let count = git(&job.clone, &["rev-list", "--count", "HEAD"]);
    assert_eq!(count, "20", "the history is cut off");
    // The token of the job may not read the project by the API.
    let ran = job.run(&PROPOSE_C, &[]).exits(4);
    let error = &ran.json()["errors"][0];
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("CI_JOB_TOKEN cannot open"), "{message}");
    let hint = error["hint"].as_str().unwrap();
    assert!(hint.contains("set REPIN_FORGE_TOKEN"), "{hint}");
    assert_eq!(project.fake.writes(), [] as [String; 0]);
    // With another token, the whole history counts.
    let token = [("REPIN_FORGE_TOKEN", GITLAB_TOKEN)];
    let rolled_back: Vec<&str> = PROPOSE_C
        .map(|word| if word == REV_C { REV_B } else { word })
        .into();
    let document = job.run(&rolled_back, &token).exits(1).json();
    assert_eq!(failures(&document), ["rolled_back"], "{document}");
    let document = job.run(&PROPOSE_C, &token).exits(0).json();
    assert_eq!(document["pull_request"]["state"], "created", "{document}");
    let store = project.fake.store();
    let commit = store.commit(&store.refs[&store.pulls[0].head]);
    assert_eq!(commit.parents, [store.refs["main"].clone()]);
}

#[test]
fn job_of_a_merge_request_checks_with_its_own_token() {
    let project = Project::new();
    let world = &project.world;
    world.pin(REV_B);
    let text = world.read(A);
    project.fake.store().push("topic", "pin B", &[(A, &text)]);
    let b = ".github/workflows/b.yml";
    let text = world.read(b);
    project.fake.store().push("topic", "pin B", &[(b, &text)]);
    let of_request = [
        ("CI_PIPELINE_SOURCE", "merge_request_event"),
        ("CI_MERGE_REQUEST_IID", "1"),
        ("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", "main"),
        ("CI_COMMIT_REF_NAME", "topic"),
    ];
    let head = project.head("topic");
    project.fake.store().open_pull("topic", &head);
    // Such a pipeline fetches no branch; its default branch is a variable.
    for depth in [20, 0] {
        let refspec = "+refs/merge-requests/1/head:refs/pipelines/77";
        let job = project.job(refspec, depth, &of_request);
        assert_eq!(git(&job.clone, &["branch", "--remotes"]), "");
        let ran = job.run(&CHECK, &[]).exits(1);
        let document = ran.json();
        let codes = failures(&document);
        assert!(codes.contains(&"rolled_back".to_owned()), "{document}");
        // As in the guide.
        let target = "+refs/heads/main:refs/remotes/origin/main";
        git(&job.clone, &["fetch", "-q", "origin", target]);
        let document = job.run(&CHECK, &[]).exits(1).json();
        assert_eq!(failures(&document), ["rolled_back"], "{document}");
    }
    let asked = project.fake.asked();
    assert!(
        asked.iter().all(|line| line.contains(".git/")),
        "{asked:#?}"
    );
}

#[test]
fn job_brings_a_branch_up_to_date() {
    let project = Project::new();
    let first = git_root(&project);
    project
        .fake
        .store()
        .refs
        .insert("staging".to_owned(), first);
    let both = "+refs/heads/*:refs/remotes/origin/*";
    let job = project.job(both, 0, &[("CI_COMMIT_BRANCH", "main")]);
    // A protected branch that the token may not push to.
    project.fake.store().gitlab.role = Some(30);
    project.fake.store().gitlab.protected = vec![("staging", 40)];
    let document = job.run(&SYNC, &[]).exits(4).json();
    let error = &document["errors"][0];
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("GitLab: You are not allowed to push"),
        "{message}"
    );
    let hint = error["hint"].as_str().unwrap();
    assert!(hint.contains("GitLab: write_repository"), "{hint}");
    assert_ne!(project.head("staging"), project.head("main"));
    project.fake.store().gitlab.protected.clear();
    let document = job.run(&SYNC, &[]).exits(0).json();
    assert_eq!(document["state"], "fast_forwarded", "{document}");
    assert_eq!(project.head("staging"), project.head("main"));
    assert_eq!(job.run(&SYNC, &[]).exits(0).json()["state"], "in_sync");
}

/// The first commit of the project.
fn git_root(project: &Project) -> String {
    let store = project.fake.store();
    let mut id = store.refs["main"].clone();
    while let Some(parent) = store.commit(&id).parents.first() {
        id.clone_from(parent);
    }
    id
}
