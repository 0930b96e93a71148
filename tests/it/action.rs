//! action.yml and its shell parts, run as a runner runs them: downloads from a real server, runs of
//! the real program, outputs read from files.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use regex::Regex;
use serde_json::Value;

use crate::support::{
    registry::{PASSWORD, Protection, Registry, USER, push_layout},
    release::{self, VERSION},
    world::{REV_A, REV_B, World, world},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn action() -> Value {
    serde_yaml_ng::from_str(&fs::read_to_string(root().join("action.yml")).unwrap()).unwrap()
}

/// The path of the checksums of [`VERSION`]'s release.
fn sums() -> String {
    format!("releases/v{VERSION}/SHA256SUMS")
}

/// The target of a release for this machine.
fn target() -> String {
    let system = match std::env::consts::OS {
        "linux" => "unknown-linux-musl",
        _ => "apple-darwin",
    };
    format!("{}-{system}", std::env::consts::ARCH)
}

/// The state of a job in a runner.
struct Job {
    world: World,
    releases: String,
    inputs: BTreeMap<&'static str, String>,
    github: BTreeMap<&'static str, String>,
    outputs: BTreeMap<String, BTreeMap<String, String>>,
    /// Programs before those of the system.
    programs: PathBuf,
    /// The directories with the programs of the system.
    system: String,
}

impl Job {
    /// A job with a release of [`VERSION`] that is the built program.
    fn new() -> Self {
        let world = world();
        let programs = world.path("programs");
        fs::create_dir(&programs).unwrap();
        let releases = release::serve(world.path("releases"));
        let job = Self {
            inputs: [("releases", releases.clone())].into(),
            github: [("action_ref", format!("v{VERSION}"))].into(),
            outputs: BTreeMap::new(),
            world,
            releases,
            programs,
            system: std::env::var("PATH").unwrap_or_default(),
        };
        job.release(VERSION, &release::program());
        job
    }

    /// Publishes a release with a script as its program.
    fn release(&self, version: &str, script: &str) -> String {
        release::publish(&self.world, version, &target(), script)
    }

    fn with(mut self, input: &'static str, value: impl Into<String>) -> Self {
        self.inputs.insert(input, value.into());
        self
    }

    /// An expression, in the part of the language that the action uses.
    fn evaluate(&self, action: &Value, text: &str) -> String {
        let expression = Regex::new(r"\$\{\{ ([\w.-]+) \}\}").unwrap();
        let value = |found: &regex::Captures<'_>| {
            let parts: Vec<_> = found[1].split('.').collect();
            match parts.as_slice() {
                ["inputs", name] => self.inputs.get(name).cloned().unwrap_or_else(|| {
                    action["inputs"][name]["default"]
                        .as_str()
                        .unwrap()
                        .to_owned()
                }),
                ["github", name] => self.github.get(name).cloned().unwrap_or_default(),
                ["steps", step, "outputs", name] => {
                    let outputs = self.outputs.get(*step);
                    let value = outputs.and_then(|outputs| outputs.get(*name));
                    value.cloned().unwrap_or_default()
                }
                _ => panic!("{}", &found[1]),
            }
        };
        let text = expression.replace_all(text, value).into_owned();
        assert!(!text.contains("${{"), "{text}");
        text
    }

    /// Runs a step of the action.
    fn step(&mut self, id: &str) -> Output {
        let action = action();
        let mut steps = action["runs"]["steps"].as_array().unwrap().iter();
        let step = steps.find(|step| step["id"] == id).unwrap();
        assert_eq!(step["shell"], "sh");
        let output = self.world.path("output");
        fs::write(&output, "").unwrap();
        let mut command = Command::new("/bin/sh");
        command
            .args(["-e", "-c", step["run"].as_str().unwrap()])
            .env_clear()
            .env(
                "PATH",
                format!("{}:{}", self.programs.display(), self.system),
            )
            .env("HOME", self.world.path("no-home"))
            .env("GITHUB_ACTION_PATH", root())
            .env("GITHUB_OUTPUT", &output)
            .env("GITHUB_PATH", self.world.path("path"))
            .env("RUNNER_TEMP", self.world.root());
        for (name, value) in step["env"].as_object().unwrap() {
            command.env(name, self.evaluate(&action, value.as_str().unwrap()));
        }
        let directory = step["working-directory"].as_str().unwrap_or(".");
        let directory = self.evaluate(&action, directory);
        let ran = command.current_dir(self.world.path(&directory)).output();
        let values = written(&fs::read_to_string(output).unwrap());
        self.outputs.insert(id.to_owned(), values);
        ran.unwrap()
    }

    /// Removes docker from the machine.
    fn without_docker(mut self) -> Self {
        let directory = self.world.path("system");
        fs::create_dir(&directory).unwrap();
        for name in ["sh", "base64", "tr", "mkdir", "git"] {
            let mut found = self
                .system
                .split(':')
                .map(|path| Path::new(path).join(name));
            let program = found.find(|path| path.exists()).unwrap();
            std::os::unix::fs::symlink(program, directory.join(name)).unwrap();
        }
        self.system = directory.display().to_string();
        self
    }

    /// Sets the user and the token of the job.
    fn of_user(mut self, user: &str, token: &str) -> Self {
        self.github.insert("actor", user.to_owned());
        self.github.insert("token", token.to_owned());
        self
    }

    /// Runs the step that installs, which must fail so.
    fn fails_to_install(mut self, exit: i32, message: &str) {
        let ran = self.step("install");
        let printed = text(&ran);
        assert_eq!(ran.status.code(), Some(exit), "{printed}");
        let expected = format!("::error title=repin action::{message}");
        assert!(printed.contains(&expected), "{printed}");
        assert!(!self.world.path("path").exists(), "it is in the PATH");
    }

    fn installed(&mut self) -> &BTreeMap<String, String> {
        let ran = self.step("install");
        assert!(ran.status.success(), "{}", text(&ran));
        &self.outputs["install"]
    }

    /// The value of an output of the whole action.
    fn output(&self, name: &str) -> String {
        let action = action();
        let value = action["outputs"][name]["value"].as_str().unwrap();
        self.evaluate(&action, value)
    }
}

fn text(ran: &Output) -> String {
    String::from_utf8_lossy(&[&ran.stdout[..], &ran.stderr[..]].concat()).into_owned()
}

/// Reads an output file, as a runner does: `NAME=VALUE`, or `NAME<<DELIMITER` and lines up to it.
fn written(text: &str) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let (name, value) = match (line.split_once("<<"), line.split_once('=')) {
            (Some((name, delimiter)), _) => {
                let value = lines.by_ref().take_while(|line| *line != delimiter);
                (name, value.collect::<Vec<_>>().join("\n"))
            }
            (None, Some((name, value))) => (name, value.to_owned()),
            (None, None) => panic!("{line}"),
        };
        values.insert(name.to_owned(), value);
    }
    values
}

#[test]
fn a_release_is_installed_and_runs_a_command() {
    let mut job = Job::new().with("command", "promote").with(
        "args",
        format!("--revision\n{REV_B}\n\n--body-file=a b.md\n--apply\n"),
    );
    let path = job.installed()["path"].clone();
    assert_eq!(job.world.read("path"), format!("{path}\n"));
    assert_eq!(job.output("version"), VERSION);
    let ran = job.step("run");
    assert!(ran.status.success(), "{}", text(&ran));
    let outputs = ["exit-code", "kind", "revision", "changed", "body-file"];
    let outputs = outputs.map(|name| job.output(name));
    assert_eq!(outputs, ["0", "promote", REV_B, "true", "a b.md"]);
    let digests: Value = serde_json::from_str(&job.output("digests")).unwrap();
    assert_eq!(digests["fix"], job.world.digest("fix", REV_B));
    assert!(job.world.read(".github/workflows/a.yml").contains(REV_B));
    assert!(job.world.path("a b.md").exists());
}

#[test]
fn failed_command_fails_the_step() {
    let mut job = Job::new()
        .with("command", "check")
        .with("working-directory", ".github");
    job.world.replace("repin.yaml", "pins: 2", "pins: 7");
    job.installed();
    let ran = job.step("run");
    assert_eq!(ran.status.code(), Some(1), "{}", text(&ran));
    assert!(text(&ran).contains("::error "), "{}", text(&ran));
    assert_eq!(job.output("exit-code"), "1");
}

#[test]
fn arguments_reach_the_program_as_they_are() {
    let script = format!(
        "#!/bin/sh\n[ \"$1\" != --version ] || exec echo 'repin {VERSION} (x)'\nprintf '<%s>' \"$@\"\n"
    );
    let mut job = Job::new().with("command", "branch sync").with(
        "args",
        "--from=$(touch x) `touch x` *\r\n  two  words\n--dry-run=\n-- '\"\\\nEND",
    );
    job.release(VERSION, &script);
    job.installed();
    let printed = text(&job.step("run"));
    assert_eq!(
        printed,
        "<branch><sync><--from=$(touch x) `touch x` *><  two  words><--dry-run=><-- '\"\\><END>\
         <--format><github>"
    );
    assert!(!job.world.path("x").exists());
    for command in ["check; touch x", "--config=x", "$(touch x)"] {
        job.inputs.insert("command", command.to_owned());
        let ran = job.step("run");
        assert_eq!(ran.status.code(), Some(2), "{}", text(&ran));
    }
    assert!(!job.world.path("x").exists());
}

#[test]
fn bytes_that_do_not_verify_are_not_installed() {
    let archive = format!("releases/v{VERSION}/repin-{VERSION}-{}.tar.gz", target());
    let job = Job::new();
    let mut bytes = fs::read(job.world.path(&archive)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    job.world.write(&archive, bytes);
    job.fails_to_install(
        3,
        &format!("repin-{VERSION}-{}.tar.gz has the SHA-256 ", target()),
    );

    let job = Job::new();
    job.world.write(&sums(), "");
    job.fails_to_install(3, &format!("SHA256SUMS of v{VERSION} does not name "));

    let job = Job::new().with("sha256", "0".repeat(64));
    job.fails_to_install(
        3,
        &format!("repin-{VERSION}-{}.tar.gz has the SHA-256 ", target()),
    );
}

#[test]
fn a_given_checksum_needs_no_list() {
    let job = Job::new();
    let sum = job.release(VERSION, &release::program());
    fs::remove_file(job.world.path(&sums())).unwrap();
    let mut job = job.with("sha256", sum);
    job.installed();
}

#[test]
fn requested_version_is_installed() {
    let script = |version: &str| format!("#!/bin/sh\necho 'repin {version} (x)'\n");
    let installs = |input: &str, reference: &str| {
        let mut job = Job::new().with("version", input);
        job.github.insert("action_ref", reference.to_owned());
        for version in ["7.8.9", "8.0.0-rc.1"] {
            job.release(version, &script(version));
        }
        job.installed()["version"].clone()
    };
    assert_eq!(installs("", "v7.8.9"), "7.8.9");
    assert_eq!(installs("v8.0.0-rc.1", "v7.8.9"), "8.0.0-rc.1");
    // A branch, a moving tag and a commit: the sources of the action say which version they are.
    for reference in ["main", "v1", &"a".repeat(40)] {
        assert_eq!(installs("", reference), VERSION);
    }
    for wrong in ["latest", "1.2", "1.2.3/../../x", "1.2.3 x"] {
        let message = format!("malformed version: {wrong}");
        Job::new()
            .with("version", wrong)
            .fails_to_install(2, &message);
    }
    let job = Job::new();
    job.release(VERSION, &script("6.6.6"));
    job.fails_to_install(
        3,
        &format!("expected repin {VERSION}, found repin 6.6.6 (x)"),
    );
}

#[test]
fn unavailable_release_is_an_error() {
    let job = Job::new().with("version", "9.9.9");
    let url = format!("{}/v9.9.9/repin-9.9.9-{}.tar.gz", job.releases, target());
    job.fails_to_install(3, &format!("cannot download {url}"));
    let plain = Job::new().with("releases", "http://releases.example/download");
    plain.fails_to_install(
        2,
        "releases must be read over https: http://releases.example/",
    );
    let local = Job::new().with("releases", "");
    local.fails_to_install(
        2,
        "the action's repository is unknown; set releases or build: true",
    );
    let broken = Job::new().with("version", "1.2.3\n::warning::x");
    broken.fails_to_install(2, "malformed version: 1.2.3 ::warning::x\n");
    Job::new()
        .with("build", "yes")
        .fails_to_install(2, "build must be true or false, found yes");
}

#[test]
fn default_release_belongs_to_the_action() {
    let mut job = Job::new().with("releases", "");
    let script = "#!/bin/sh\nfor url; do :; done\necho \"$url\" >>\"$RUNNER_TEMP/urls\"\nexit 22\n";
    let curl = job.programs.join("curl");
    fs::write(&curl, script).unwrap();
    fs::set_permissions(&curl, fs::Permissions::from_mode(0o755)).unwrap();
    job.github
        .insert("action_repository", "some/fork".to_owned());
    job.github
        .insert("server_url", "https://git.example".to_owned());
    assert_eq!(job.step("install").status.code(), Some(3));
    assert_eq!(
        job.world.read("urls"),
        format!(
            "https://git.example/some/fork/releases/download/v{VERSION}/repin-{VERSION}-{}.tar.gz\n",
            target()
        )
    );
}

#[test]
fn cargo_builds_sources_with_the_commit_of_action() {
    let mut job = Job::new().with("build", "true").with("releases", "");
    let commit = "a".repeat(40);
    job.github.insert("action_ref", commit.clone());
    let cargo = job.programs.join("cargo");
    let script = format!(
        "#!/bin/sh\nfor last; do :; done\nmkdir -p \"$last/bin\"\n\
         printf '#!/bin/sh\\necho \"repin {VERSION} (x)\"\\n' >\"$last/bin/repin\"\n\
         chmod +x \"$last/bin/repin\"\necho \"$REPIN_COMMIT $*\" >\"$RUNNER_TEMP/cargo.log\"\n"
    );
    fs::write(&cargo, script).unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    job.installed();
    let log = job.world.read("cargo.log");
    let install = format!(
        "{commit} install --locked --quiet --path {}",
        root().display()
    );
    assert!(log.starts_with(&install), "{log}");
    let other = Job::new().with("build", "true").with("version", "7.8.9");
    fs::copy(&cargo, other.programs.join("cargo")).unwrap();
    other.fails_to_install(
        2,
        &format!("build: true builds version {VERSION}, not 7.8.9"),
    );
}

#[test]
fn inputs_and_outputs_are_connected() {
    let action = action();
    let steps = action["runs"]["steps"].as_array().unwrap();
    let used: String = steps.iter().map(ToString::to_string).collect();
    for input in action["inputs"].as_object().unwrap().keys() {
        assert!(
            used.contains(&format!("inputs.{input}")),
            "{input} is not used"
        );
    }
    // Values that may contain external text reach the shell only through variables.
    for step in steps {
        assert!(!step["run"].as_str().unwrap().contains("${{"), "{step}");
    }
    let mut job = Job::new()
        .with("command", "promote")
        .with("args", format!("--revision\n{REV_B}"));
    job.installed();
    job.step("run");
    let mut known: BTreeSet<String> = job
        .outputs
        .iter()
        .flat_map(|(step, values)| values.keys().map(move |name| format!("{step}.{name}")))
        .collect();
    // The output of `gates`.
    known.insert("run.state".to_owned());
    let mapped: BTreeSet<String> = action["outputs"]
        .as_object()
        .unwrap()
        .values()
        .map(|output| {
            let value = output["value"].as_str().unwrap();
            let value = value.replace("${{ steps.", "").replace(" }}", "");
            value.replace(".outputs.", ".")
        })
        .collect();
    assert_eq!(mapped, known);
}

/// The steps with the action in the workflows of docs/ and examples/, with the file of each.
fn steps_with_the_action() -> Vec<(String, Value)> {
    let mut texts = Vec::new();
    let pages = [
        "README.md",
        "docs/ci.md",
        "docs/build.md",
        "docs/guides/promote.md",
    ];
    for page in pages {
        let text = fs::read_to_string(root().join(page)).unwrap();
        let blocks = text
            .split("```")
            .filter_map(|block| block.strip_prefix("yaml\n"));
        let workflows = blocks.filter(|block| block.contains("\njobs:\n"));
        texts.extend(workflows.map(|block| (page.to_owned(), block.to_owned())));
    }
    for directory in ["action/.github", "action/.gitea", "nightly/.github"] {
        let path = root().join("examples").join(directory).join("workflows");
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            texts.push((
                path.display().to_string(),
                fs::read_to_string(path).unwrap(),
            ));
        }
    }
    let mut steps = Vec::new();
    for (file, text) in texts {
        let workflow: Value = serde_yaml_ng::from_str(&text).unwrap();
        for job in workflow["jobs"].as_object().unwrap().values() {
            let uses = job["steps"].as_array().unwrap().iter();
            let ours = uses.filter(|step| step["uses"].to_string().contains("OWNER/repin"));
            steps.extend(ours.map(|step| (file.clone(), step.clone())));
        }
    }
    steps
}

#[test]
fn the_examples_use_the_action_as_it_is() {
    let world = world().with_git();
    let config = world.read("repin.yaml");
    world.write(
        "repin.yaml",
        config + "forge: { kind: github, repository: acme/flows }\n",
    );
    world.promoted(REV_B);
    let expression = Regex::new(r"\$\{\{ .*? \}\}").unwrap();
    let action = action();
    let mut commands = BTreeSet::new();
    for (file, step) in steps_with_the_action() {
        let Some(with) = step["with"].as_object() else {
            continue;
        };
        for input in with.keys() {
            assert!(action["inputs"][input].is_object(), "{file}: {input}");
        }
        let Some(command) = with.get("command") else {
            continue;
        };
        let command = command.as_str().unwrap();
        commands.insert(command.to_owned());
        let args = with["args"].as_str().unwrap();
        let args = expression.replace_all(args, REV_B).into_owned();
        let args: Vec<_> = command.split(' ').chain(args.lines()).collect();
        // Without a token, a run stops at the pull request.
        let ran = world.run(&args);
        let expected = if command == "promote" { 4 } else { 0 };
        assert_eq!(ran.code, expected, "{file}: {args:?}: {}", ran.stderr);
    }
    assert_eq!(commands, ["check", "promote"].map(str::to_owned).into());
}

#[test]
fn login_of_the_job_reads_private_images() {
    let mut job = Job::new();
    let storage = tempfile::tempdir().unwrap();
    let open = Registry::start(storage.path(), &Protection::None);
    for image in ["review", "fix", "base"] {
        for revision in [REV_A, REV_B] {
            push_layout(&job.world.path("images"), &open, image, revision);
        }
    }
    drop(open);
    let registry = Registry::start(storage.path(), &Protection::Password);
    let source = format!("http://{}/acme", registry.host);
    job.world.replace("repin.yaml", "oci:images", &source);
    job.installed();
    let job = job
        .with("command", "promote")
        .with("args", format!("--revision={REV_B}\n--apply"))
        .with("registry", format!("{}\r\n", registry.host));
    let mut job = job.of_user(USER, PASSWORD).without_docker();
    let ran = job.step("run");
    assert_eq!(ran.status.code(), Some(4), "{}", text(&ran));
    let ran = job.step("login");
    assert!(
        ran.status.success() && text(&ran).is_empty(),
        "{}",
        text(&ran)
    );
    let config = job.world.path("no-home/.docker/config.json");
    assert_eq!(fs::metadata(config).unwrap().permissions().mode() & 0o77, 0);
    let ran = job.step("run");
    assert!(ran.status.success(), "{}", text(&ran));
    assert!(!text(&ran).contains(PASSWORD), "{}", text(&ran));
    // Another login in the file is kept.
    let ran = job.step("login");
    assert_eq!(ran.status.code(), Some(2), "{}", text(&ran));
    assert!(
        text(&ran).contains("docker is not installed"),
        "{}",
        text(&ran)
    );
}

#[test]
fn docker_stores_the_login() {
    let mut job = Job::new()
        .with("registry", "ghcr.io\nr.example:5000\n")
        .of_user("ada", "s3cret");
    let docker = job.programs.join("docker");
    let log = "#!/bin/sh\necho \"$* $(cat)\" >>\"$RUNNER_TEMP/docker.log\"\n";
    fs::write(&docker, log).unwrap();
    fs::set_permissions(&docker, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(job.step("login").status.success());
    assert_eq!(
        job.world.read("docker.log"),
        "login ghcr.io --username ada --password-stdin s3cret\n\
         login r.example:5000 --username ada --password-stdin s3cret\n"
    );
    assert!(!job.world.path("no-home").exists());

    fs::write(&docker, "#!/bin/sh\necho denied >&2\nexit 1\n").unwrap();
    let ran = job.step("login");
    assert_eq!(ran.status.code(), Some(4), "{}", text(&ran));
    assert!(text(&ran).contains("::error title=repin action::cannot log in to ghcr.io"));
    for (registry, exit) in [
        ("https://ghcr.io/acme", 2),
        ("-x", 2),
        ("a b$(c)", 2),
        ("\n", 2),
    ] {
        job.inputs.insert("registry", registry.to_owned());
        // The script has no docker that accepts the first part.
        fs::write(&docker, "#!/bin/sh\n").unwrap();
        let ran = job.step("login");
        assert_eq!(ran.status.code(), Some(exit), "{registry}: {}", text(&ran));
    }
    let mut job = Job::new().with("registry", "ghcr.io").of_user("ada", "");
    assert_eq!(job.step("login").status.code(), Some(4));
}
