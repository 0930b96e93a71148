//! Merge requests on a real GitLab: `scripts/test-forge` runs these. The simulated GitLab plays the same steps in every
//! run of the tests, so that they fail on a real one only because of a difference.
//!
//! Each test creates a private project through the API, pushes to it with git, runs the built program, and deletes
//! the project.

use std::{
    process::{Child, Command},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    real_forge::{PROMOTE, ask_with, check_deleted, ended, number, variable, with_token},
    support::{
        forge::{Fake, GITLAB_TOKEN, Kind},
        hosted::PROPOSE_C,
        world::{REV_C, Ran, World, world},
    },
};

const A: &str = ".github/workflows/a.yml";
/// A project on a server, and a clone with images.
struct Project {
    world: World,
    api: String,
    token: String,
    id: u64,
}

impl Drop for Project {
    fn drop(&mut self) {
        let (status, _) = self.ask("DELETE", "", &Value::Null);
        check_deleted(&format!("project {}", self.id), status);
    }
}

impl Project {
    /// On the server under test. `settings` of the block `forge`.
    fn real(settings: &str) -> Self {
        let token = std::fs::read_to_string(variable("REPIN_TEST_FORGE_TOKEN_FILE")).unwrap();
        Self::on(&variable("REPIN_TEST_FORGE"), token.trim(), settings)
    }

    fn on(api: &str, token: &str, settings: &str) -> Self {
        let header = format!("PRIVATE-TOKEN: {token}");
        let name = format!("repin-test-{:016x}", fastrand::u64(..));
        let body = json!({"name": name, "path": name, "visibility": "private"});
        let (status, row) = ask_with(&header, api, "POST", "projects", &body);
        assert_eq!(status, 201, "making a project: {row}");
        let path = row["path_with_namespace"].as_str().unwrap();
        let world = world();
        let block =
            format!("forge: {{ kind: gitlab, url: '{api}', repository: {path}{settings} }}\n");
        world.write("repin.yaml", world.read("repin.yaml") + &block);
        world.write(".gitignore", "/images\n");
        world.git(&["init", "-q", "-b", "main"]);
        let remote = row["http_url_to_repo"].as_str().unwrap();
        world.git(&["remote", "add", "origin", remote]);
        world.commit("as it is");
        let project = Self {
            world,
            api: api.to_owned(),
            token: token.to_owned(),
            id: row["id"].as_u64().unwrap(),
        };
        project.push("main");
        project.is_visible("main");
        project
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let header = format!("PRIVATE-TOKEN: {}", self.token);
        let path = format!("projects/{}/{path}", self.id);
        let path = path.trim_end_matches('/');
        ask_with(&header, &self.api, method, path, body)
    }

    fn read(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, &Value::Null);
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    fn change(&self, method: &str, path: &str, body: &Value) {
        let (status, answer) = self.ask(method, path, body);
        assert!(
            (200..300).contains(&status),
            "{path}: HTTP {status} {answer}"
        );
    }

    /// Pushes HEAD to a branch. The token goes through the environment.
    fn push(&self, branch: &str) {
        let login = STANDARD.encode(format!("x-access-token:{}", self.token));
        let output = Command::new("git")
            .current_dir(self.world.root())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "http.extraHeader")
            .env(
                "GIT_CONFIG_VALUE_0",
                format!("Authorization: Basic {login}"),
            )
            .args(["push", "-q", "--force", "origin"])
            .arg(format!("HEAD:refs/heads/{branch}"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// The head of a branch by the API.
    fn head(&self, branch: &str) -> Value {
        let branch = branch.replace('/', "%2F");
        self.read(&format!("repository/branches/{branch}"))["commit"]["id"].clone()
    }

    /// Polls until a condition holds.
    fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(60);
        while !holds(self) {
            assert!(Instant::now() < end, "{what} within a minute");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Polls until the API shows the pushed head of a branch.
    fn is_visible(&self, branch: &str) {
        let head = self.world.head();
        let path = format!("repository/branches/{}", branch.replace('/', "%2F"));
        self.until("the pushed branch is visible", |project| {
            let (_, row) = project.ask("GET", &path, &Value::Null);
            row["commit"]["id"] == head.trim()
        });
    }

    fn command(&self, args: &[&str]) -> Command {
        with_token(&self.world, args, &self.token)
    }

    fn run(&self, args: &[&str]) -> Ran {
        ended(self.command(args).spawn().unwrap())
    }

    fn promote(&self, exit: i32) -> Value {
        self.run(&PROMOTE).exits(exit).json()
    }

    fn wait(&self, number: u64, exit: i32) {
        let number = number.to_string();
        let wait = ["wait", "--pr", &number, "--timeout", "2m"];
        self.run(&wait).exits(exit);
    }

    /// Another change on main.
    fn rival(&self, line: &str) {
        self.world.write(A, self.world.read(A) + line);
        self.world.commit("another change");
        self.push("main");
        self.is_visible("main");
    }

    fn open_requests(&self) -> Vec<Value> {
        let listed = self.read("merge_requests?state=opened");
        listed.as_array().unwrap().clone()
    }

    /// An external job reports about a commit.
    fn report(&self, commit: &Value, state: &str) {
        let path = format!("statuses/{}", commit.as_str().unwrap());
        self.change("POST", &path, &json!({"name": "ci", "state": state}));
    }
}

fn is_opened_left_updated_and_merged(project: &mut Project) {
    let first = project.promote(0);
    assert_eq!(first["pull_request"]["state"], "created", "{first}");
    assert_eq!(project.promote(0)["pull_request"]["state"], "unchanged");
    project.rival("\n# another\n");
    let again = project.promote(0);
    assert_eq!(again["pull_request"]["state"], "updated", "{again}");
    assert_eq!(number(&again), number(&first));
    project.world.build(REV_C);
    let newer = number(&project.run(&PROPOSE_C).exits(0).json());
    let open = project.open_requests();
    assert_eq!(open.len(), 1, "{open:#?}");
    assert_eq!(open[0]["iid"], newer);
    // A person merges it, once the server has checked it.
    let merge = format!("merge_requests/{newer}/merge");
    project.until("the server merges", |project| {
        project.ask("PUT", &merge, &json!({})).0 == 200
    });
    project.wait(newer, 0);
}

fn concurrent_runs_leave_one(project: &mut Project) {
    let start = |_| project.command(&PROMOTE).spawn().unwrap();
    let children: Vec<Child> = (0..4).map(start).collect();
    let runs: Vec<Ran> = children.into_iter().map(ended).collect();
    let numbers: Vec<u64> = runs
        .into_iter()
        .map(|ran| number(&ran.exits(0).json()))
        .collect();
    let open = project.open_requests();
    assert_eq!(open.len(), 1, "{open:#?}");
    assert!(
        numbers.iter().all(|known| open[0]["iid"] == *known),
        "{numbers:?}"
    );
    assert_eq!(open[0]["labels"], json!(["ci"]));
}

fn foreign_commits_stay(project: &mut Project) {
    let document = project.promote(0);
    let branch = document["branch"].as_str().unwrap();
    project.world.git(&["checkout", "-q", "--orphan", "own"]);
    project.world.commit("my own");
    project.push(branch);
    project.is_visible(branch);
    let before = project.head(branch);
    project.promote(5);
    assert_eq!(project.head(branch), before);
}

fn refusals_are_no_outage(project: &mut Project) {
    let rule = json!({"name": "repin/*", "push_access_level": 0});
    project.change("POST", "protected_branches", &rule);
    project.promote(4);
    project.run(&["doctor"]).exits(4);
    project.change("POST", "archive", &Value::Null);
    project.promote(4);
    project.change("POST", "unarchive", &Value::Null);
    assert_eq!(project.open_requests(), [] as [Value; 0]);
}

fn merge_waits_for_its_pipeline(project: &mut Project) {
    // Trap 1: nothing is scheduled before a pipeline exists.
    let document = project.promote(0);
    let branch = document["branch"].as_str().unwrap();
    let state = |project: &Project| {
        let path = format!("merge_requests/{}", number(&document));
        project.read(&path)["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(state(project), "opened");
    let head = project.head(branch);
    project.report(&head, "running");
    project.promote(0);
    assert_eq!(state(project), "opened");
    project.report(&head, "success");
    project.wait(number(&document), 0);
    assert_eq!(state(project), "merged");
}

type Steps = fn(&mut Project);

const SUITE: [(&str, Steps); 5] = [
    ("", is_opened_left_updated_and_merged),
    (", labels: [ci]", concurrent_runs_leave_one),
    ("", foreign_commits_stay),
    ("", refusals_are_no_outage),
    (", auto_merge: true", merge_waits_for_its_pipeline),
];

#[test]
fn simulated_gitlab_plays_the_suite() {
    for (settings, steps) in SUITE {
        let fake = Fake::start(Kind::Gitlab);
        steps(&mut Project::on(&fake.api(), GITLAB_TOKEN, settings));
    }
}

#[test]
#[ignore = "needs a real server: scripts/test-forge"]
fn real_gitlab_plays_the_suite() {
    for (settings, steps) in SUITE {
        steps(&mut Project::real(settings));
    }
}
