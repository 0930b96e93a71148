//! The workflows that the README, `docs/` and `examples/` show: each job installs repin before it
//! calls repin and logs in before it reads images, actions have their current versions, no waiting promotion is
//! dropped, and an event without inputs changes nothing.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use regex::Regex;
use serde_json::Value;

use crate::support::markdown;

/// The current major version of each action, from its repository in November 2026.
const VERSIONS: [(&str, &str); 11] = [
    ("actions/attest", "v4"),
    ("actions/checkout", "v7"),
    ("actions/create-github-app-token", "v3"),
    ("actions/download-artifact", "v8"),
    ("actions/upload-artifact", "v7"),
    ("docker/build-push-action", "v7"),
    ("docker/login-action", "v4"),
    ("docker/metadata-action", "v6"),
    ("docker/setup-buildx-action", "v4"),
    ("docker/setup-qemu-action", "v4"),
    ("github/codeql-action/upload-sarif", "v4"),
];

/// A whole workflow, or some steps of a job.
pub struct Shown {
    pub place: String,
    pub document: Value,
    text: String,
    /// Whether its page says that everyone may read the images.
    has_public_images: bool,
}

impl Shown {
    fn of(place: &str, text: &str) -> Self {
        Self {
            place: place.to_owned(),
            document: serde_yaml_ng::from_str(text).unwrap(),
            text: text.to_owned(),
            has_public_images: false,
        }
    }

    fn on(page: &str, place: &str, text: &str) -> Self {
        let public = Regex::new(r"images\s+are\s+public").unwrap();
        Self {
            has_public_images: public.is_match(page),
            ..Self::of(place, text)
        }
    }

    /// The steps of each job.
    fn jobs(&self) -> Vec<Vec<&Value>> {
        match self.document["jobs"].as_object() {
            Some(jobs) => jobs.values().map(|job| steps(&job["steps"])).collect(),
            None => vec![steps(&self.document)],
        }
    }

    /// The problems of its jobs and of its concurrency group.
    fn problems(&self, owner: &str) -> Vec<String> {
        let repin = format!("{owner}/repin@v{}", env!("CARGO_PKG_VERSION"));
        let mut problems = Vec::new();
        for steps in self.jobs() {
            let (mut installed, mut logged_in) = (false, self.has_public_images);
            for step in steps {
                logged_in |= logs_in(step);
                if asks_registry(step) && !logged_in {
                    problems.push("a command reads images without a login".to_owned());
                }
                if let Some(action) = step["uses"].as_str() {
                    if action == repin {
                        installed = true;
                    } else {
                        problems.extend(outdated(action));
                    }
                }
                if step["run"].as_str().is_some_and(|run| run.contains("${{")) {
                    problems.push(
                        "a script contains an expression, which an event can fill".to_owned(),
                    );
                }
                if calls_repin(step) && !installed {
                    problems.push("a step calls repin, which is not installed".to_owned());
                }
            }
        }
        problems.extend(self.queue_problem());
        problems.extend(self.input_problem());
        let placed = problems.iter().map(|it| format!("{}: {it}", self.place));
        placed.collect()
    }

    /// An absent input is empty, and equals `false`: the choice must be safe then.
    fn input_problem(&self) -> Option<String> {
        let choice = Regex::new(r"\$\{\{[^}]*\binputs\.\w+(?: == (?:false|''))? &&").unwrap();
        let found = choice.find_iter(&self.text);
        let mut unsafe_ones =
            found.filter(|found| !found.as_str().contains("github.event_name =="));
        unsafe_ones
            .next()
            .map(|found| format!("`{}` chooses without an input", found.as_str()))
    }

    /// A group keeps one waiting run and cancels it for the next one, unless it queues them all.
    fn queue_problem(&self) -> Option<String> {
        let concurrency = self.document["concurrency"].as_object()?;
        let known = ["group", "cancel-in-progress", "queue"];
        if let Some(key) = concurrency
            .keys()
            .find(|key| !known.contains(&key.as_str()))
        {
            return Some(format!("unknown key `{key}` of `concurrency`"));
        }
        let queue = concurrency.get("queue").map(|value| value.as_str());
        let cancels = concurrency.get("cancel-in-progress") == Some(&Value::Bool(true));
        match queue {
            Some(Some("max")) if cancels => {
                Some("`queue: max` excludes `cancel-in-progress: true`".to_owned())
            }
            Some(Some("max")) => None,
            Some(_) => Some("expected `queue: max`".to_owned()),
            None => {
                let group = concurrency["group"].as_str().unwrap();
                let is_of_revision =
                    group.contains("revision }}") || group.contains("github.sha }}");
                let promotes = self.jobs().concat().into_iter().any(promotes);
                (promotes && !is_of_revision)
                    .then(|| "a waiting promotion may be dropped".to_owned())
            }
        }
    }
}

fn steps(list: &Value) -> Vec<&Value> {
    list.as_array().into_iter().flatten().collect()
}

fn calls_repin(step: &Value) -> bool {
    let command = Regex::new(r"(?m)(?:^|[\s;&|(])repin\s").unwrap();
    step["run"]
        .as_str()
        .is_some_and(|run| command.is_match(run))
}

/// Whether a step runs a command that requests images.
fn asks_registry(step: &Value) -> bool {
    let commands = r"promote|rollback|builds|resolve|set|rehearse|prune|diff|doctor|wait|inventory (?:check|enumerate|init)|fleet (?:promote|rollback)";
    let asks = |line: &str| {
        let command = Regex::new(&format!(
            r"(?:^|[\s;&|(])repin (?:(?:{commands})\b|check\b.*--remote)"
        ));
        // With a verified set, the images were read by the job that verified it.
        command.unwrap().is_match(line) && !line.contains(" --set ")
    };
    let run = step["run"].as_str().unwrap_or_default();
    let with = |input: &str| step["with"][input].as_str().unwrap_or_default();
    let action = format!(
        "repin {} {}",
        with("command"),
        with("args").replace('\n', " ")
    );
    run.lines().any(asks) || !with("command").is_empty() && asks(&action)
}

/// Whether a step logs in to a registry.
fn logs_in(step: &Value) -> bool {
    let uses = step["uses"].as_str().unwrap_or_default();
    let run = step["run"].as_str().unwrap_or_default();
    let registry = step["with"]["registry"].as_str().unwrap_or_default();
    let command = Regex::new(r"\b(?:docker|podman|skopeo) login\b").unwrap();
    let is_action = uses.contains("/repin@") || uses.starts_with("docker/login-action@");
    (is_action && !registry.is_empty()) || command.is_match(run)
}

fn promotes(step: &Value) -> bool {
    let command = Regex::new(r"repin (?:fleet )?(?:promote|rollback)\b").unwrap();
    let runs = step["run"]
        .as_str()
        .is_some_and(|run| command.is_match(run));
    let action = step["with"]["command"].as_str().unwrap_or_default();
    runs || ["promote", "rollback"].contains(&action)
}

fn outdated(action: &str) -> Option<String> {
    if action.starts_with("docker://") || action.starts_with("./") {
        return None;
    }
    let (name, version) = action.split_once('@').unwrap_or((action, ""));
    match VERSIONS.iter().find(|(known, _)| *known == name) {
        Some((_, current)) if *current == version => None,
        Some((_, current)) => Some(format!("`{action}`, expected {current}")),
        None => Some(format!("`{name}` is missing from the list of versions")),
    }
}

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Everything that is shown: fenced blocks with jobs or steps, and the files of the examples.
pub fn shown(top: &Path) -> Vec<Shown> {
    let mut paths = vec![top.join("README.md")];
    files(&top.join("docs"), &mut paths);
    files(&top.join("examples"), &mut paths);
    paths.sort();
    let mut all = Vec::new();
    for path in paths {
        let place = path.strip_prefix(top).unwrap().display().to_string();
        if path.extension().is_some_and(|end| end == "md") {
            let text = fs::read_to_string(&path).unwrap();
            for block in markdown::blocks(&text) {
                let has = |key: &str| block.text.lines().any(|line| line.starts_with(key));
                if block.language == "yaml" && (has("jobs:") || has("- uses:") || has("- run:")) {
                    let place = format!("{place}:{}", block.line);
                    all.push(Shown::on(&text, &place, &block.text));
                }
            }
        } else if path
            .parent()
            .is_some_and(|parent| parent.ends_with("workflows"))
        {
            all.push(Shown::of(&place, &fs::read_to_string(&path).unwrap()));
        }
    }
    all
}

#[test]
fn every_workflow_installs_repin_and_keeps_waiting_promotions() {
    let shown = shown(Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(shown.len() > 25, "{}", shown.len());
    let calls = |it: &&Shown| it.jobs().concat().into_iter().any(calls_repin);
    assert!(shown.iter().filter(calls).count() > 10);
    let problems: Vec<_> = shown.iter().flat_map(|it| it.problems("OWNER")).collect();
    assert_eq!(problems, [""; 0]);
}

#[test]
fn snippets_can_be_pasted_after_one_command() {
    let directory = tempfile::tempdir().unwrap();
    let (top, copy) = (Path::new(env!("CARGO_MANIFEST_DIR")), directory.path());
    let mut paths = vec![top.join("README.md"), top.join("scripts/owner")];
    files(&top.join("docs"), &mut paths);
    files(&top.join("examples"), &mut paths);
    for path in paths {
        let target = copy.join(path.strip_prefix(top).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(path, target).unwrap();
    }
    let run = |program: &Path, args: &[&str]| {
        let mut command = Command::new(program);
        command.args(args).current_dir(copy).output().unwrap()
    };
    for args in [&["init", "-q"][..], &["add", "-A"]] {
        assert!(run(Path::new("git"), args).status.success());
    }
    let script = copy.join("scripts/owner");
    for refused in [&[][..], &["a/b"], &["-x"]] {
        assert_eq!(run(&script, refused).status.code(), Some(2));
    }
    let output = run(&script, &["Acme-Corp"]);
    assert!(output.status.success(), "{output:?}");

    let problems = |it: &Shown| it.problems("Acme-Corp");
    let problems: Vec<_> = shown(copy).iter().flat_map(problems).collect();
    assert_eq!(problems, [""; 0]);
    let mut pasted = 0;
    let mut pages = vec![copy.join("README.md")];
    files(&copy.join("docs"), &mut pages);
    for page in pages
        .iter()
        .filter(|page| page.extension() == Some("md".as_ref()))
    {
        for block in markdown::blocks(&fs::read_to_string(page).unwrap()) {
            let place = format!("{}:{}", page.display(), block.line);
            for placeholder in ["OWNER/repin", "ghcr.io/owner/"] {
                assert!(!block.text.contains(placeholder), "{place}");
            }
            if block.language == "sh" && block.text.to_lowercase().contains("acme-corp/repin") {
                let parsed = run(Path::new("bash"), &["-n", "-c", &block.text]);
                assert!(parsed.status.success(), "{place}: {parsed:?}");
                pasted += 1;
            }
        }
    }
    assert!(pasted >= 4, "{pasted}");
    let images = fs::read_to_string(copy.join("docs/install.md")).unwrap();
    assert!(images.contains("ghcr.io/acme-corp/repin:"), "{images}");
    let status = run(Path::new("git"), &["status", "--porcelain"]);
    let status = String::from_utf8(status.stdout).unwrap();
    assert!(!status.contains("??"), "{status}");
}

#[test]
fn page_may_say_that_images_are_public() {
    let text = format!(
        "jobs:\n  a:\n    steps:\n      - uses: OWNER/repin@v{}\n      - run: repin check --remote\n",
        env!("CARGO_PKG_VERSION")
    );
    for (page, count) in [
        ("These images\nare public.", 0),
        ("These images are private.", 1),
    ] {
        assert_eq!(
            Shown::on(page, "x", &text).problems("OWNER").len(),
            count,
            "{page}"
        );
    }
}

#[test]
fn faulty_workflow_is_found() {
    let job = |steps: &str| format!("jobs:\n  a:\n    steps:\n{steps}");
    let bare = format!("      - uses: OWNER/repin@v{}\n", env!("CARGO_PKG_VERSION"));
    let install = format!("{bare}        with: {{ registry: r.example }}\n");
    let run = "      - run: echo | repin promote --revision x --pr ready\n";
    let two = format!(
        "{}  b:\n    steps:\n      - run: repin check\n",
        job(&install)
    );
    let missing = "a step calls repin, which is not installed";
    let anonymous = "a command reads images without a login";
    let dropped = "a waiting promotion may be dropped";
    let honest = job(&format!("{install}{run}"));
    for (text, expected) in [
        (honest.clone(), None),
        (job(&format!("{bare}{run}")), Some(anonymous)),
        (
            job(&format!(
                "{bare}      - run: repin set --revision x --out set.json\n"
            )),
            Some(anonymous),
        ),
        (
            job(&format!("{bare}      - run: repin check --all --remote\n")),
            Some(anonymous),
        ),
        (job(&format!("{bare}      - run: repin check\n")), None),
        (
            job(&format!("{bare}      - run: repin gates --ref main\n")),
            None,
        ),
        (
            job(&format!(
                "{bare}        with:\n          command: check\n          args: --remote\n"
            )),
            Some(anonymous),
        ),
        (
            job(&format!("      - run: docker login r.example\n{bare}{run}")),
            None,
        ),
        (
            job(&format!(
                "{install}{run}        env: {{ S: \"${{{{ inputs.d && 'a' || 'b' }}}}\" }}\n"
            )),
            Some("`${{ inputs.d &&` chooses without an input"),
        ),
        (
            job(&format!(
                "{install}{run}        env: {{ S: \"${{{{ inputs.d == false && 'a' || 'b' }}}}\" }}\n"
            )),
            Some("`${{ inputs.d == false &&` chooses without an input"),
        ),
        (
            job(&format!(
                "{install}{run}        env: {{ S: \"${{{{ github.event.inputs.d == 'false' && 'a' || 'b' }}}}\" }}\n"
            )),
            None,
        ),
        // Each job runs on a separate machine.
        (two, Some(missing)),
        (
            job("      - run: echo ${{ github.event.deployment.sha }}\n"),
            Some("a script contains an expression, which an event can fill"),
        ),
        (
            job("      - uses: actions/checkout@v4\n"),
            Some("`actions/checkout@v4`, expected v7"),
        ),
        (
            job("      - uses: a/b@v1\n"),
            Some("`a/b` is missing from the list of versions"),
        ),
        (
            format!("concurrency: {{ group: g }}\n{honest}"),
            Some(dropped),
        ),
        (
            format!("concurrency: {{ group: g, cancel-in-progress: false }}\n{honest}"),
            Some(dropped),
        ),
        (
            format!("concurrency: {{ group: g, queue: max }}\n{honest}"),
            None,
        ),
        (
            format!("concurrency: {{ group: g, queue: all }}\n{honest}"),
            Some("expected `queue: max`"),
        ),
        (
            format!("concurrency: {{ group: g, queue: max, cancel-in-progress: true }}\n{honest}"),
            Some("`queue: max` excludes `cancel-in-progress: true`"),
        ),
    ] {
        let found = Shown::of("x", &text).problems("OWNER");
        let expected: Vec<_> = expected.map(|it| format!("x: {it}")).into_iter().collect();
        assert_eq!(found, expected, "{text}");
    }
}
