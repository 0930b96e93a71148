//! Runs commands with faults, and checks the report and the final state of each run.

use std::{
    collections::BTreeMap,
    fs,
    net::TcpStream,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    kinds::{KINDS, Kind, Means, Where, percent},
    proxy::{Plan, Request},
    scene::{CASES, Case, Scene},
};
use crate::support::{
    forge::TOKEN,
    registry::{PASSWORD, USER},
    world::{REV_A, REV_B},
};

/// The limit of private memory of a process (`RLIMIT_DATA`), in KiB.
const MEMORY: usize = 256 * 1024;
/// A run that takes longer hangs; only the report of the program shows whether a deadline passed. A connection
/// of git may take 15 minutes, and those of registries a minute after it.
const FOREVER: Duration = Duration::from_secs(20 * 60);

type Files = BTreeMap<PathBuf, String>;

/// The result of a run.
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
    /// The most memory that was seen, in KiB.
    peak: usize,
}

/// The effects of a command without faults.
struct Clean {
    requests: Vec<String>,
    document: Value,
    files: Files,
    remote: Value,
    labels: Value,
}

/// One run: a command, and a fault at one of its requests.
#[derive(Clone, Copy)]
struct Trial {
    case: &'static Case,
    plan: Plan,
}

/// The results of all runs of a command.
#[derive(Default)]
struct Tally {
    requests: usize,
    runs: usize,
    peak: usize,
    exits: BTreeMap<String, BTreeMap<i32, usize>>,
    violations: Vec<String>,
}

fn run(mut command: Command) -> Ended {
    let directory = tempfile::tempdir().unwrap();
    let (out, err) = (directory.path().join("out"), directory.path().join("err"));
    let mut limited = Command::new("/bin/sh");
    limited
        .args(["-c", &format!("ulimit -d {MEMORY}; exec \"$0\" \"$@\"")])
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(command.get_current_dir().unwrap())
        .env_clear()
        .stdin(Stdio::null())
        .stdout(fs::File::create(&out).unwrap())
        .stderr(fs::File::create(&err).unwrap());
    for (name, value) in command.get_envs() {
        limited.env(name, value.unwrap());
    }
    command = limited;
    let mut child = command.spawn().unwrap();
    let (status, mut peak) = (format!("/proc/{}/status", child.id()), 0);
    let end = Instant::now() + FOREVER;
    let code = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        let status = fs::read_to_string(&status).unwrap_or_default();
        // Until its start, a child process shows the memory of this one.
        let own = status.starts_with("Name:\trepin\n");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let line = line.filter(|_| own);
        let seen = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        peak = peak.max(seen.unwrap_or(0));
        if Instant::now() > end {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        thread::sleep(Duration::from_millis(40));
    };
    let read = |path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    Ended {
        code,
        stdout: read(out),
        stderr: read(err),
        peak,
    }
}

/// The work tree without the files of git, where a lock is taken.
fn files(scene: &Scene) -> Files {
    let root = scene.world().root();
    let mut files = Files::new();
    for (path, (content, ..)) in scene.world().snapshot() {
        let path = path.strip_prefix(root).unwrap();
        if !path.starts_with(".git") && !path.starts_with("origin.git") {
            let content = content.replace(&scene.proxy.base(), "PROXY");
            files.insert(
                path.to_owned(),
                content.replace(&scene.directory(), "DIRECTORY"),
            );
        }
    }
    files
}

/// The parts of a document that do not depend on faults: without warnings and the address of
/// the proxy.
fn goal(document: &Value, scene: &Scene) -> Value {
    let mut document = neutral(document, scene);
    strip(&mut document);
    document
}

/// The same in every scene: without the address of the proxy, and without the commits that depend
/// on it.
fn neutral(document: &Value, scene: &Scene) -> Value {
    let text = document.to_string().replace(&scene.proxy.base(), "PROXY");
    let text = text.replace(&scene.proxy.host(), "PROXY");
    let mut neutral = String::new();
    for word in text.split_inclusive(|c: char| !c.is_ascii_hexdigit()) {
        let id = word.trim_end_matches(|c: char| !c.is_ascii_hexdigit());
        // An abbreviation has ten digits.
        let is_known = [REV_A, REV_B].iter().any(|known| known.starts_with(id));
        // The set of a fleet contains the address of its forge.
        let of_set = ["in set ", "\"set_sha256\":\""];
        let is_set = id.len() == 64 && of_set.iter().any(|before| neutral.ends_with(before));
        let other = is_set || [10, 40].contains(&id.len()) && !is_known;
        neutral += &if other {
            word.replace(id, "COMMIT")
        } else {
            word.to_owned()
        };
    }
    serde_json::from_str(&neutral).unwrap()
}

/// Whether a document equals the one without a fault, except for differences of two sets that it lists as
/// not read.
fn is_goal(document: &Value, clean: &Value) -> bool {
    let differences = |document: &Value| match document.get("changes") {
        Some(changes) => changes.clone(),
        None => document.clone(),
    };
    let unread = |document| differences(document)["not_read"].as_array().cloned();
    let lists_nothing = unread(document).is_none_or(|unread| unread.is_empty());
    if lists_nothing || unread(document) == unread(clean) {
        return document == clean;
    }
    let rest = |document: &Value| match document.get("changes") {
        Some(_) => {
            let mut rest = document.clone();
            rest["changes"].take();
            // The platforms of the current set may be unread too.
            let checks = rest["checks"].as_array_mut();
            checks
                .unwrap()
                .retain(|check| check["code"] != "platform_lost");
            rest
        }
        None => document["schema"].clone(),
    };
    rest(document) == rest(clean)
}

fn strip(document: &mut Value) {
    match document {
        Value::Array(items) => items.iter_mut().for_each(strip),
        Value::Object(fields) => {
            for name in ["body", "warnings", "requests", "seconds"] {
                fields.remove(name);
            }
            if let Some(Value::Array(checks)) = fields.get_mut("checks") {
                checks.retain(|check| check["status"] == "fail");
            }
            fields.values_mut().for_each(strip);
        }
        _ => {}
    }
}

/// A state of the other side.
fn remote(scene: &Scene) -> Value {
    let mut state = neutral(&scene.remote(), scene);
    state["labels"].take();
    state
}

/// Incomplete state on the forge: an open pull request without its branch, or of one
/// without the files that the run plans.
fn halves(scene: &Scene, clean: &Clean) -> Vec<String> {
    let state = remote(scene);
    let pulls = state["pulls"].as_array().into_iter().flatten();
    let open = pulls.filter(|pull| pull["open"] == true);
    let heads = open.map(|pull| pull["head"].as_str().unwrap());
    heads
        .filter(|head| state["branches"][head] != clean.remote["branches"][head])
        .map(|head| format!("an open pull request of {head}, which is not as planned"))
        .collect()
}

fn clean(case: &'static Case, tls: bool) -> Clean {
    let scene = case.scene(tls);
    scene.proxy.arm(None);
    let ended = run(scene.command());
    assert_eq!(
        ended.code,
        Some(case.exit),
        "{}: {}{}",
        case.name,
        ended.stdout,
        ended.stderr
    );
    assert_eq!(secrets(&ended, &scene), [] as [String; 0], "{}", case.name);
    Clean {
        requests: scene.proxy.log(),
        document: goal(&serde_json::from_str(&ended.stdout).unwrap(), &scene),
        files: files(&scene),
        remote: remote(&scene),
        labels: scene.remote()["labels"].take(),
    }
}

/// Secrets that can be seen, in any form.
fn secrets(ended: &Ended, scene: &Scene) -> Vec<String> {
    let pair = format!("{USER}:{PASSWORD}");
    let mut all = scene.proxy.secrets();
    all.extend([PASSWORD, &pair, TOKEN].map(str::to_owned));
    let mut places: Vec<_> = files(scene)
        .into_iter()
        .map(|(path, text)| (path.display().to_string(), text))
        .collect();
    places.push(("standard output".to_owned(), ended.stdout.clone()));
    places.push(("standard error".to_owned(), ended.stderr.clone()));
    places.push((
        "another host's requests".to_owned(),
        scene.proxy.elsewhere(),
    ));
    let mut found = Vec::new();
    for secret in all {
        let encoded = STANDARD.encode(&secret);
        for form in [
            secret.clone(),
            percent(&secret),
            encoded.trim_end_matches('=').to_owned(),
        ] {
            for (place, text) in &places {
                if text.contains(&form) {
                    found.push(format!("{form} in {place}"));
                }
            }
        }
    }
    found
}

impl Trial {
    fn describe(&self, hit: Option<&Request>) -> String {
        let Plan { kind, at, lasting } = self.plan;
        let how = if lasting { "from" } else { "at" };
        let request = hit.map_or(String::new(), |hit| {
            format!(" ({} {})", hit.method, hit.target)
        });
        format!(
            "{}: {} {how} request {at}{request}",
            self.case.name, kind.name
        )
    }

    /// The exits that are right if the goal is missed.
    fn exits(&self, hit: Option<&Request>) -> &'static [i32] {
        // Prune deletes less if a version is missing, and lists show the missing images.
        let name = self.case.name;
        let shows_missing = name.starts_with("prune") || name == "builds";
        if self.plan.kind.name == "404" && shows_missing {
            return &[0, 1, 3, 4];
        }
        // A missing or wrong manifest is a result: the set is not ready.
        if name == "rollback-remote" && self.plan.kind.means != Means::Denied {
            return &[0, 3];
        }
        // Gitea encodes an empty list as null, and without a status the gate is missing.
        if name == "gates-gitea" && self.plan.kind.name == "null" {
            return &[1, 3];
        }
        // A stage or a source that cannot be fetched is unknown, whatever the reason.
        let is_denied = matches!(self.plan.kind.means, Means::Denied | Means::DeniedElsewhere);
        let is_fetched = ["promote-stage", "promote-source"].contains(&name);
        if is_fetched && is_denied && hit.is_some_and(Request::is_of_git) {
            return &[3];
        }
        match self.plan.kind.means {
            Means::Nothing | Means::Doubtful | Means::MayPass | Means::Unusable | Means::Limit => {
                &[3]
            }
            Means::Denied => &[4],
            Means::DeniedElsewhere => &[3, 4],
            Means::Verdict => &[1, 2, 3, 4, 5],
        }
    }

    /// Whether the goal has to be reached all the same.
    fn must_pass(&self, hit: Option<&Request>) -> bool {
        match self.plan.kind.means {
            Means::Nothing => true,
            // The time that counts as silence depends on the load of the machine.
            Means::MayPass if self.plan.kind.is_tls() || self.plan.kind.is_silent() => false,
            // git repeats no request.
            Means::MayPass => {
                let is_repeated = |hit: &Request| hit.method == "GET" && !hit.is_of_git();
                !self.plan.lasting && hit.is_some_and(is_repeated)
            }
            _ => false,
        }
    }

    /// Runs the case in `scene`; returns whether the scene is unchanged, and the violations.
    fn run(&self, scene: &Scene, clean: &Clean) -> (Ended, Vec<String>) {
        let before = (files(scene), remote(scene));
        arm(scene, self.plan);
        let mut command = scene.command();
        if self.plan.lasting || matches!(self.plan.kind.means, Means::Limit) {
            command.env("REPIN_DEADLINE", "4s");
        }
        if self.plan.kind.is_silent() {
            command.env("REPIN_HTTP_TIMEOUT", "2s");
        }
        let ended = run(command);
        let hit = scene.proxy.hit();
        let mut wrong = secrets(&ended, scene);
        let document = serde_json::from_str::<Value>(&ended.stdout);
        let reached = document.as_ref().is_ok_and(|document| {
            ended.code == Some(self.case.exit)
                && is_goal(&goal(document, scene), &clean.document)
                && (!self.case.writes || is_done(scene, clean, document))
        });
        if document.is_err() {
            wrong.push("standard output is no document".to_owned());
        }
        if reached {
            // A run may fail to add labels, but must report it.
            if scene.remote()["labels"] != clean.labels && !ended.stderr.contains("label") {
                wrong.push("labels are missing".to_owned());
            }
            return (ended, wrong);
        }
        if self.must_pass(hit.as_ref()) {
            wrong.push("the goal was missed".to_owned());
        }
        let has_wrong_content = document.as_ref().is_ok_and(fails_by_content);
        let allowed = self.exits(hit.as_ref());
        let known = |code| allowed.contains(&code) || (code == 1 && has_wrong_content);
        if !ended.code.is_some_and(known) {
            wrong.push(format!("exit {:?}, not one of {allowed:?}", ended.code));
        }
        if files(scene) != before.0 {
            wrong.push("the work tree was changed".to_owned());
        }
        if !self.case.writes && remote(scene) != before.1 {
            wrong.push("something was changed".to_owned());
        }
        wrong.extend(halves(scene, clean));
        if self.case.writes
            && ended.code != Some(self.case.exit)
            && self.plan.kind.at != Where::Listener
        {
            wrong.extend(again(scene, clean, &ended));
        }
        if let Ok(document) = &document
            && !wrong.is_empty()
        {
            let part = differing(&goal(document, scene), &clean.document);
            wrong.extend(part.map(|part| format!("another {part}")));
            let part = differing(&remote(scene), &clean.remote);
            wrong.extend(part.map(|part| format!("another state: {part}")));
        }
        (ended, wrong)
    }
}

/// The first place at which a document differs from another one.
fn differing(document: &Value, other: &Value) -> Option<String> {
    let children = |value: &Value| match value {
        Value::Object(fields) => fields.clone().into_iter().collect(),
        Value::Array(items) => {
            let items = items.iter().cloned().enumerate();
            items.map(|(at, item)| (at.to_string(), item)).collect()
        }
        _ => BTreeMap::new(),
    };
    if document == other {
        return None;
    }
    let (parts, others) = (children(document), children(other));
    let mut names: Vec<_> = parts.keys().chain(others.keys()).collect();
    names.sort();
    for name in names {
        let found = match (parts.get(name), others.get(name)) {
            (Some(part), Some(other)) => differing(part, other),
            _ => Some(String::new()),
        };
        if let Some(below) = found {
            return Some(format!("{name} {below}"));
        }
    }
    Some(format!("{document} instead of {other}"))
}

/// Whether the only failed checks are those of missing and wrong content.
fn fails_by_content(document: &Value) -> bool {
    // `rehearse` lists the checks of each set.
    let sets = document["sets"].as_array().into_iter().flatten();
    let all = sets.chain([document]);
    let checks = all.flat_map(|set| set["checks"].as_array().into_iter().flatten());
    let mut failed = checks.filter(|check| check["status"] == "fail").peekable();
    let is_content = |check: &Value| {
        ["content_missing", "content_mismatch"]
            .map(Value::from)
            .contains(&check["code"])
    };
    failed.peek().is_some() && failed.all(is_content)
}

/// Whether the effects equal those without a fault; skipped parts of a document may be missing in
/// texts.
fn is_done(scene: &Scene, clean: &Clean, document: &Value) -> bool {
    let (mut left, mut wanted) = (remote(scene), clean.remote.clone());
    let mut checks = document["checks"].as_array().into_iter().flatten();
    let unread = &neutral(document, scene)["changes"]["not_read"];
    let is_unread = *unread != clean.document["changes"]["not_read"];
    if checks.any(|check| check["status"] == "skip") || is_unread {
        strip(&mut left);
        strip(&mut wanted);
    }
    files(scene) == clean.files && left == wanted
}

/// A second run, without a fault. A workflow that the first one may have started is not started
/// again, as the first one reports.
fn again(scene: &Scene, clean: &Clean, first: &Ended) -> Vec<String> {
    scene.proxy.arm(None);
    let second = run(scene.command());
    let mut wrong = Vec::new();
    if second.code != Some(scene.case.exit) {
        wrong.push(format!(
            "a second run without a fault exits {:?}: {}{}",
            second.code, second.stdout, second.stderr
        ));
    } else if files(scene) != clean.files {
        wrong.push("a second run without a fault results in other files".to_owned());
    }
    let (mut left, mut wanted) = (remote(scene), clean.remote.clone());
    if first.stderr.contains("repin may not start it again") && left["dispatched"] == json!([]) {
        wanted["dispatched"] = left["dispatched"].take();
        left["dispatched"] = wanted["dispatched"].clone();
    }
    if wrong.is_empty() && left != wanted {
        wrong.push(format!(
            "a second run without a fault results in another state: {left} instead of {wanted}"
        ));
    }
    wrong
}

fn arm(scene: &Scene, plan: Plan) {
    scene.proxy.arm(Some(plan));
    // Its listener closes with the connection before the faulty one, which this test does not open.
    if plan.kind.at == Where::Listener && plan.at == 1 {
        while TcpStream::connect(scene.proxy.address).is_ok() {
            thread::yield_now();
        }
    }
}

/// The kinds that `REPIN_FAULTS_KINDS` names, with commas between them; all if it does not.
fn chosen(tls: bool) -> Vec<&'static Kind> {
    let named = std::env::var("REPIN_FAULTS_KINDS").unwrap_or_default();
    let named: Vec<_> = named.split_terminator(',').map(str::trim).collect();
    let is_chosen = |kind: &&Kind| named.is_empty() || named.contains(&kind.name);
    let kinds = KINDS.iter().filter(|kind| kind.is_tls() == tls);
    kinds.filter(is_chosen).collect()
}

/// Every chosen kind at each request of a command.
fn trials(case: &'static Case, tls: bool, requests: usize) -> Vec<Trial> {
    let of = |kind: &'static Kind| {
        (1..=requests).flat_map(move |at| {
            lastings(kind).iter().map(move |lasting| Trial {
                case,
                plan: Plan {
                    kind,
                    at,
                    lasting: *lasting,
                },
            })
        })
    };
    chosen(tls).into_iter().flat_map(of).collect()
}

/// Runs all of them, `threads` at once, and reports after each; unchanged scenes are reused.
fn all(
    trials: &[Trial],
    tls: bool,
    clean: &Clean,
    threads: usize,
    report: impl Fn(&Tally, &[String]) + Sync,
) -> Tally {
    let tally = Mutex::new(Tally {
        requests: clean.requests.len(),
        ..Tally::default()
    });
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..threads.min(trials.len()) {
            scope.spawn(|| {
                let mut scene: Option<Scene> = None;
                while let Some(trial) = trials.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let here = scene.take().unwrap_or_else(|| trial.case.scene(tls));
                    let (ended, wrong) = trial.run(&here, clean);
                    let described = trial.describe(here.proxy.hit().as_ref());
                    let mut tally = tally.lock().unwrap();
                    tally.add(trial, &ended, &wrong, &described);
                    report(&tally, &wrong);
                    drop(tally);
                    if !trial.case.writes
                        && wrong.is_empty()
                        && trial.plan.kind.at != Where::Listener
                    {
                        scene = Some(here);
                    }
                }
            });
        }
    });
    tally.into_inner().unwrap()
}

impl Tally {
    fn add(&mut self, trial: &Trial, ended: &Ended, wrong: &[String], described: &str) {
        self.runs += 1;
        self.peak = self.peak.max(ended.peak);
        let kind = format!(
            "{}{}",
            trial.plan.kind.name,
            if trial.plan.lasting { "" } else { ", once" }
        );
        *self
            .exits
            .entry(kind)
            .or_default()
            .entry(ended.code.unwrap_or(-1))
            .or_default() += 1;
        if !wrong.is_empty() {
            self.violations.push(format!(
                "{described}: {}\n{}\n{}",
                wrong.join("; "),
                ended.stdout,
                ended.stderr
            ));
        }
    }
}

/// The modes of a kind: a retry succeeds after temporary faults; faults that are not retried, and
/// those that need no retry, have one mode each.
fn lastings(kind: &Kind) -> &'static [bool] {
    match kind.means {
        _ if kind.is_lasting() => &[true],
        Means::MayPass | Means::Limit => &[false, true],
        Means::Nothing | Means::Doubtful => &[true],
        _ => &[false],
    }
}

fn case(name: &str) -> &'static Case {
    CASES.iter().find(|case| case.name == name).unwrap()
}

/// Runs the trials that `choose` makes of the requests without a fault; none may be wrong.
fn right(case: &'static Case, tls: bool, choose: impl Fn(&[String]) -> Vec<Trial>) {
    let clean = clean(case, tls);
    let trials = choose(&clean.requests);
    let tally = all(&trials, tls, &clean, 16, |_, _| ());
    assert_eq!(tally.runs, trials.len());
    assert!(
        tally.violations.is_empty(),
        "{}",
        tally.violations.join("\n")
    );
}

/// Each kind once, at one request of the command after the other.
fn each_kind(name: &str, tls: bool) {
    let case = case(name);
    right(case, tls, |requests| {
        let kinds = KINDS
            .iter()
            .filter(|kind| kind.is_tls() == tls && !kind.is_slow());
        let trial = |(number, kind)| Trial {
            case,
            plan: Plan {
                kind,
                at: 1 + number % requests.len(),
                lasting: lastings(kind)[0],
            },
        };
        kinds.enumerate().map(trial).collect()
    });
}

#[test]
fn each_kind_at_a_request_to_a_registry() {
    each_kind("resolve", false);
}

#[test]
fn each_kind_at_a_request_to_a_forge() {
    each_kind("gates", false);
}

#[test]
fn each_kind_of_tls_at_a_request() {
    each_kind("resolve", true);
    each_kind("gates", true);
}

/// The last response of each changing command is lost, and the middle response of each other
/// command is cut.
#[test]
fn each_command_once() {
    let kind = |name: &str| KINDS.iter().find(|kind| kind.name == name).unwrap();
    thread::scope(|scope| {
        for case in CASES {
            scope.spawn(move || {
                right(case, false, |requests| {
                    let (kind, at) = if case.writes {
                        (kind("done, then closed"), requests.len())
                    } else {
                        (kind("reset inside the body"), requests.len().div_ceil(2))
                    };
                    let lasting = false;
                    vec![Trial {
                        case,
                        plan: Plan { kind, at, lasting },
                    }]
                });
            });
        }
    });
}

/// Injects a fault once into the request that `find` selects.
fn meeting(name: &str, kind: &str, find: impl Fn(&[String]) -> Option<usize>) {
    let kind = KINDS.iter().find(|other| other.name == kind).unwrap();
    let case = case(name);
    right(case, false, |requests| {
        let plan = Plan {
            kind,
            at: 1 + find(requests).unwrap(),
            lasting: false,
        };
        vec![Trial { case, plan }]
    });
}

/// The first deletion tests whether the registry supports deletion, so it is the last one.
fn deletion(requests: &[String]) -> Option<usize> {
    requests
        .iter()
        .rposition(|request| request.starts_with("DELETE "))
}

/// A pull request is reported as opened although the response to its opening was lost.
#[test]
fn lost_response_to_opening_counts_as_opened() {
    let opening = |request: &String| request.starts_with("POST ") && request.ends_with("/pulls");
    for name in ["branch-promote", "promote-pr", "promote-pr-gitea"] {
        meeting(name, "done, then closed", |requests| {
            requests.iter().position(opening)
        });
    }
}

/// A version counts as deleted although the response to its deletion was lost.
#[test]
fn lost_response_to_deletion_counts_as_deleted() {
    for name in ["prune-apply", "prune-packages-apply"] {
        meeting(name, "done, then closed", deletion);
    }
}

#[test]
fn deletion_that_is_redirected_is_an_outage() {
    meeting("prune-apply", "redirect loop", deletion);
}

/// The contents of the current image are listed as not read if its manifest could not be read at first.
#[test]
fn unread_contents_of_current_image_are_listed() {
    meeting("rollback", "null", |requests| {
        let is_manifest = |request: &String| request.contains("/manifests/");
        requests.iter().rposition(is_manifest)
    });
}

/// All kinds at each request of the commands that `REPIN_FAULTS` names, of every one if it names
/// none, with a table. Takes hours, so it is no test of every run.
#[test]
#[ignore = "scripts/faults runs it"]
fn sweep() {
    let named = std::env::var("REPIN_FAULTS").unwrap_or_default();
    let named: Vec<_> = named.split_whitespace().collect();
    let threads = std::env::var("REPIN_FAULTS_THREADS").map_or(24, |text| text.parse().unwrap());
    let known: Vec<_> = CASES.iter().map(|case| case.name).collect();
    let unknown = named
        .iter()
        .find(|name| CASES.iter().all(|case| case.name != **name));
    assert_eq!(unknown, None, "commands: {known:?}");
    println!("| command | requests | kinds | runs | right | violations | peak MiB |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    let mut violations = 0;
    for case in CASES
        .iter()
        .filter(|case| named.is_empty() || named.contains(&case.name))
    {
        for tls in [false, true] {
            let clean = clean(case, tls);
            let trials = trials(case, tls, clean.requests.len());
            let name = format!("{}{}", case.name, if tls { ", TLS" } else { "" });
            let tally = all(&trials, tls, &clean, threads, |tally, wrong| {
                if !wrong.is_empty() {
                    eprintln!("VIOLATION {}", tally.violations.last().unwrap());
                }
                if tally.runs % 100 == 0 {
                    eprintln!("{name}: {} of {} runs", tally.runs, trials.len());
                }
            });
            let (requests, runs, wrong) = (tally.requests, tally.runs, tally.violations.len());
            let kinds = chosen(tls).len();
            println!(
                "| {name} | {requests} | {kinds} | {runs} | {} | {wrong} | {} |",
                runs - wrong,
                tally.peak / 1024
            );
            if std::env::var_os("REPIN_FAULTS_EXITS").is_some() {
                println!("{}", json!(tally.exits));
            }
            violations += wrong;
        }
    }
    assert_eq!(violations, 0);
}
