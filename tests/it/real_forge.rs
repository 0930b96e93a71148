//! The pull request machinery against a real Gitea or Forgejo: `scripts/test-forge` runs these.
//!
//! Each test creates a private repository through the API, pushes to it with git, runs the built
//! program, and deletes the repository. Without a server, these tests are skipped.

use std::{
    io::Write,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    hosted::PROPOSE_C,
    world::{REV_B, REV_C, Ran, World, world},
};

const A: &str = ".github/workflows/a.yml";
pub(crate) const PROMOTE: [&str; 7] = [
    "promote",
    "--revision",
    REV_B,
    "--pr",
    "ready",
    "--format",
    "json",
];

/// A repository on the server under test, and a clone with images.
struct HostedRepository {
    world: World,
    api: String,
    token: String,
    owner: String,
    name: String,
}

impl Drop for HostedRepository {
    fn drop(&mut self) {
        let (status, _) = self.ask("DELETE", "", &Value::Null);
        check_deleted(&format!("{}/{}", self.owner, self.name), status);
    }
}

/// Reports a repository that the server did not delete.
pub(crate) fn check_deleted(repository: &str, status: u16) {
    if !(200..300).contains(&status) {
        #[expect(clippy::print_stderr, reason = "a user has to delete it")]
        {
            eprintln!("delete {repository} manually: HTTP {status}");
        }
    }
}

fn ask(api: &str, token: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
    ask_with(
        &format!("Authorization: token {token}"),
        api,
        method,
        path,
        body,
    )
}

/// A variable that `scripts/test-forge` sets.
pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is set by scripts/test-forge"))
}

/// Sends a request to the API. The header with the token goes through standard input, so that no process list shows it.
pub(crate) fn ask_with(
    header: &str,
    api: &str,
    method: &str,
    path: &str,
    body: &Value,
) -> (u16, Value) {
    let mut curl = Command::new("curl");
    curl.args([
        "--silent",
        "--show-error",
        "--config",
        "-",
        "--request",
        method,
    ])
    .args(["--write-out", "\n%{http_code}", &format!("{api}/{path}")])
    .stdin(Stdio::piped())
    .stdout(Stdio::piped());
    let mut child = curl.spawn().unwrap();
    let mut config = format!("header = \"{header}\"\n");
    if !body.is_null() {
        let body = body.to_string().replace('\\', "\\\\").replace('"', "\\\"");
        config += "header = \"Content-Type: application/json\"\n";
        config.extend(["data = \"", &body, "\"\n"]);
    }
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(config.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    let body = serde_json::from_str(body).unwrap_or(Value::Null);
    (status.parse().unwrap(), body)
}

impl HostedRepository {
    /// `settings` of the block `forge`.
    fn new(settings: &str) -> Self {
        let api = variable("REPIN_TEST_FORGE");
        let token = std::fs::read_to_string(variable("REPIN_TEST_FORGE_TOKEN_FILE")).unwrap();
        let token = token.trim().to_owned();
        let (status, user) = ask(&api, &token, "GET", "user", &Value::Null);
        assert_eq!(
            status, 200,
            "the owner of the token is unknown; it needs read:user: {user}"
        );
        let owner = user["login"].as_str().unwrap().to_owned();
        let name = format!("repin-test-{:016x}", fastrand::u64(..));
        let body =
            json!({"name": name, "private": true, "auto_init": false, "default_branch": "main"});
        let (status, response) = ask(&api, &token, "POST", "user/repos", &body);
        assert_eq!(status, 201, "making a repository: {response}");
        let world = world();
        let block = format!(
            "forge: {{ kind: gitea, url: '{api}', repository: {owner}/{name}{settings} }}\n"
        );
        world.write("repin.yaml", world.read("repin.yaml") + &block);
        world.write(".gitignore", "/images\n");
        world.write(
            ".gitea/workflows/deploy.yml",
            "on: workflow_dispatch\njobs: { a: { runs-on: none, steps: [{ run: 'true' }] } }\n",
        );
        let remote = response["clone_url"].as_str().unwrap();
        world.git(&["init", "-q", "-b", "main"]);
        world.git(&["remote", "add", "origin", remote]);
        world.commit("as it is");
        let hosted = Self {
            world,
            api,
            token,
            owner,
            name,
        };
        hosted.push("main");
        hosted.is_visible("main");
        hosted
    }

    /// Polls until the API shows the pushed head of a branch: Forgejo needs seconds after the first
    /// push.
    fn is_visible(&self, branch: &str) {
        let head = self.world.head();
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let (status, row) = self.ask("GET", &format!("branches/{branch}"), &Value::Null);
            let (_, repository) = self.ask("GET", "", &Value::Null);
            let shown = row["commit"]["id"] == head.trim();
            if status == 200 && shown && repository["empty"] == false {
                return;
            }
            assert!(Instant::now() < end, "{branch}: HTTP {status} {row}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let path = format!("repos/{}/{}/{path}", self.owner, self.name);
        ask(
            &self.api,
            &self.token,
            method,
            path.trim_end_matches('/'),
            body,
        )
    }

    fn read(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, &Value::Null);
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    fn change(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, response) = self.ask(method, path, body);
        assert!(
            (200..300).contains(&status),
            "{path}: HTTP {status} {response}"
        );
        response
    }

    /// Pushes HEAD to a branch.
    fn push(&self, branch: &str) {
        let to = format!("HEAD:refs/heads/{branch}");
        self.git_with_token(&["push", "-q", "--force", "origin", &to]);
    }

    /// Runs git in the clone; the token goes through the environment. The repository is private.
    fn git_with_token(&self, args: &[&str]) {
        let output = Command::new("git")
            .current_dir(self.world.root())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "http.extraHeader")
            .env(
                "GIT_CONFIG_VALUE_0",
                format!("Authorization: token {}", self.token),
            )
            .args(args)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
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

    /// Runs the same command several times at once.
    fn at_once(&self, count: usize, args: &[&str]) -> Vec<Ran> {
        let start = |_| self.command(args).spawn().unwrap();
        let children: Vec<Child> = (0..count).map(start).collect();
        children.into_iter().map(ended).collect()
    }

    /// Someone else changes a pinned file on main.
    fn rival(&self, line: &str) {
        self.world.write(A, self.world.read(A) + line);
        self.world.commit("another change");
        self.push("main");
        self.is_visible("main");
    }

    fn open_pulls(&self) -> Vec<Value> {
        let pulls = self.read("pulls?state=open");
        pulls.as_array().unwrap().clone()
    }

    /// The pull request settles: open, at its branch's head, without a conflict.
    fn is_whole(&self, number: u64) {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let pull = self.read(&format!("pulls/{number}"));
            let branch = pull["head"]["label"].as_str().unwrap();
            let head = self.read(&format!("branches/{branch}"));
            let shown = self.read(&format!("git/refs/pull/{number}/head"));
            let shown = shown[0]["object"]["sha"].clone();
            let good = pull["state"] == "open"
                && pull["mergeable"] == true
                && pull["head"]["sha"] == head["commit"]["id"]
                && shown == head["commit"]["id"];
            if good {
                return;
            }
            assert!(Instant::now() < end, "{pull} {shown} {head}");
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    fn requires_ci(&self) {
        let rule = json!({"rule_name": "main", "branch_name": "main", "enable_push": true, "enable_status_check": true, "status_check_contexts": ["ci"]});
        self.change("POST", "branch_protections", &rule);
    }

    fn report(&self, commit: &str, state: &str) {
        let status = json!({"context": "ci", "state": state});
        self.change("POST", &format!("statuses/{commit}"), &status);
    }
}

/// A run with the token, whose output is kept.
pub(crate) fn with_token(world: &World, args: &[&str], token: &str) -> Command {
    let mut command = world.command(args);
    command
        .env("REPIN_FORGE_TOKEN", token)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

pub(crate) fn ended(child: Child) -> Ran {
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

pub(crate) fn number(document: &Value) -> u64 {
    document["pull_request"]["number"].as_u64().unwrap()
}

#[test]
#[ignore = "needs a real server: scripts/test-forge"]
fn opened_left_updated_and_superseded() {
    let mut hosted = HostedRepository::new(", labels: [ci]");
    let first = hosted.promote(0);
    assert_eq!(first["pull_request"]["state"], "created");
    assert_eq!(hosted.promote(0)["pull_request"]["state"], "unchanged");
    // Repeatedly, since the failures depend on the server's queue.
    for round in 0..6 {
        hosted.rival(&format!("\n# {round}\n"));
        let again = hosted.promote(0);
        assert_eq!(again["pull_request"]["state"], "updated", "{round}");
        assert_eq!(number(&again), number(&first), "{round}");
        hosted.is_whole(number(&first));
        std::thread::sleep(Duration::from_secs(4));
        hosted.is_whole(number(&first));
    }
    hosted.world.build(REV_C);
    let newer = hosted.run(&PROPOSE_C).exits(0).json();
    let open = hosted.open_pulls();
    assert_eq!(open.len(), 1);
    assert_eq!(open[0]["number"], number(&newer));
}

#[test]
#[ignore = "needs a real server: scripts/test-forge"]
fn concurrent_runs_leave_one_pull_request_and_label() {
    let hosted = HostedRepository::new(", labels: [ci]");
    for round in 0..4 {
        let runs = hosted.at_once(4, &PROMOTE);
        let numbers: Vec<u64> = runs
            .into_iter()
            .map(|ran| number(&ran.exits(0).json()))
            .collect();
        assert!(
            numbers.iter().all(|known| *known == numbers[0]),
            "{round} {numbers:?}"
        );
        let open = hosted.open_pulls();
        assert_eq!(open.len(), 1, "{round}");
        assert_eq!(open[0]["labels"].as_array().unwrap().len(), 1, "{round}");
        hosted.is_whole(numbers[0]);
        // The branch stays, a user closes the pull request, and a run requests it.
        let path = format!("pulls/{}", numbers[0]);
        let body = json!({"state": "closed", "body": "closed by hand"});
        hosted.change("PATCH", &path, &body);
    }
}

#[test]
#[ignore = "needs a real server: scripts/test-forge"]
fn a_merged_branch_is_used_again() {
    let hosted = HostedRepository::new("");
    let first = number(&hosted.promote(0));
    hosted.is_whole(first);
    let merge = json!({"Do": "merge"});
    hosted.change("POST", &format!("pulls/{first}/merge"), &merge);
    // The old pins return, on top of the merged change.
    hosted.push("main");
    hosted.is_visible("main");
    hosted.rival("\n# again\n");
    let second = number(&hosted.promote(0));
    assert_ne!(second, first);
    std::thread::sleep(Duration::from_secs(5));
    hosted.is_whole(second);
}

#[test]
#[ignore = "needs a real server: scripts/test-forge"]
fn foreign_commits_stay_on_a_real_forge() {
    let hosted = HostedRepository::new("");
    let document = hosted.promote(0);
    let branch = document["branch"].as_str().unwrap();
    hosted.world.git(&["checkout", "-q", "--orphan", "own"]);
    hosted.world.commit("my own");
    hosted.push(branch);
    hosted.is_visible(branch);
    let before = hosted.read(&format!("branches/{branch}"));
    hosted.promote(5);
    let after = hosted.read(&format!("branches/{branch}"));
    assert_eq!(after["commit"]["id"], before["commit"]["id"]);
}

#[test]
#[ignore = "needs a real server: scripts/test-forge"]
fn refusals_are_no_outage() {
    let hosted = HostedRepository::new("");
    let rule = json!({"rule_name": "repin/**", "branch_name": "repin/**", "enable_push": false});
    hosted.change("POST", "branch_protections", &rule);
    let begun = Instant::now();
    hosted.promote(4);
    assert!(begun.elapsed() < Duration::from_secs(15));
    hosted.change("PATCH", "", &json!({"archived": true}));
    hosted.promote(4);
    hosted.run(&["doctor"]).exits(4);
    hosted.change("PATCH", "", &json!({"archived": false}));
}

#[test]
#[ignore = "needs a real server: scripts/test-forge"]
fn foreign_push_cancels_a_scheduled_merge() {
    let hosted = HostedRepository::new(", auto_merge: true");
    hosted.change(
        "PATCH",
        "",
        &json!({"allow_merge_commits": false, "allow_squash_merge": false, "allow_rebase": true, "allow_rebase_explicit": false, "default_merge_style": "rebase"}),
    );
    hosted.requires_ci();
    let document = hosted.promote(0);
    let (number, branch) = (number(&document), document["branch"].as_str().unwrap());
    hosted.is_whole(number);
    let head = |hosted: &HostedRepository| {
        let branch = hosted.read(&format!("branches/{branch}"));
        branch["commit"]["id"].as_str().unwrap().to_owned()
    };
    hosted.report(&head(&hosted), "pending");
    hosted.promote(0);
    // A user pushes a separate commit.
    hosted.world.write("notes", "mine");
    hosted.git_with_token(&["fetch", "-q", "origin", branch]);
    hosted.world.git(&["checkout", "-q", "FETCH_HEAD"]);
    hosted.world.commit("theirs");
    hosted.push(branch);
    hosted.is_visible(branch);
    let text = number.to_string();
    let wait = ["wait", "--pr", &text, "--timeout", "30s"];
    hosted.run(&wait).exits(5);
    hosted.report(&head(&hosted), "success");
    std::thread::sleep(Duration::from_secs(5));
    let pull = hosted.read(&format!("pulls/{number}"));
    assert_eq!(pull["merged"], false, "{pull}");
    // Without it, the merge comes.
    hosted.change("DELETE", &format!("branches/{branch}"), &Value::Null);
    std::thread::sleep(Duration::from_secs(5));
    hosted.world.git(&["checkout", "-q", "main"]);
    let again = hosted
        .run(&[&PROMOTE[..], &["--reopen"]].concat())
        .exits(0)
        .json();
    let text = again["pull_request"]["number"].to_string();
    let wait = hosted.command(&["wait", "--pr", &text, "--timeout", "2m"]);
    let mut wait = wait;
    hosted.report(&head(&hosted), "pending");
    let child = wait.spawn().unwrap();
    std::thread::sleep(Duration::from_secs(10));
    hosted.report(&head(&hosted), "success");
    ended(child).exits(0);
}

#[test]
#[ignore = "needs a real server: scripts/test-forge"]
fn workflow_is_started_once_on_a_forge() {
    for (workflow, there) in [("deploy.yml", true), ("missing.yml", false)] {
        // A user merges.
        let entry = format!("{{ workflow: {workflow}, when: always }}");
        let hosted = HostedRepository::new(&format!(", dispatch: [{entry}]"));
        let number = number(&hosted.promote(0));
        hosted.is_whole(number);
        let merge = json!({"Do": "merge"});
        hosted.change("POST", &format!("pulls/{number}/merge"), &merge);
        let text = number.to_string();
        let wait = ["wait", "--pr", &text, "--timeout", "1m", "--format", "json"];
        for round in 0..2 {
            let runs = hosted.at_once(4, &wait);
            let started: usize = runs
                .iter()
                .map(|ran| ran.json()["dispatched"].as_array().unwrap().len())
                .sum();
            assert_eq!(started, usize::from(there && round == 0), "{workflow}");
            let codes: Vec<i32> = runs.iter().map(|ran| ran.code).collect();
            let good = codes.iter().all(|code| *code == 0);
            assert_eq!(good, there, "{workflow} {codes:?}");
        }
        let mark = format!("branches/repin/dispatched/pull-{number}/{workflow}");
        let (status, _) = hosted.ask("GET", &mark, &Value::Null);
        assert_eq!(status, if there { 200 } else { 404 }, "{workflow}");
    }
}
