//! The components in `templates/`, run as a runner of GitLab runs them: their inputs inserted, their scripts in a shell, with
//! a release from a real server and the real program.

use std::{fs, os::unix::process::ExitStatusExt, process::Command};

use serde_json::{Value, json};

use crate::support::{
    components::{Component, scripts},
    release::{self, VERSION},
    world::{REV_B, Ran, World, world},
};

const COMPONENTS: [&str; 2] = ["check.yml", "repin.yml"];

/// A script that prints its arguments.
const PRINT: &str = "#!/bin/sh\nprintf '<%s>' \"$@\"\n";

/// A repository in a job, and a server with a release.
struct Project {
    world: World,
    releases: String,
}

impl Project {
    /// `program`: the script that is installed.
    fn new(program: &str) -> Self {
        let world = world().with_git();
        let ignored = "/images\n/origin.git\n/releases\n/home\n/bin\n";
        world.write(".gitignore", ignored);
        world.commit("ignore");
        world.push();
        for directory in ["home", "bin"] {
            fs::create_dir(world.path(directory)).unwrap();
        }
        let machine = Command::new("uname").arg("-m").output().unwrap().stdout;
        let machine = String::from_utf8(machine).unwrap();
        let target = format!("{}-unknown-linux-musl", machine.trim());
        release::publish(&world, VERSION, &target, program);
        let releases = release::serve(world.path("releases"));
        Self { world, releases }
    }

    /// The only job of a component.
    fn job(&self, component: &str, inputs: &[(&str, &str)]) -> Value {
        let releases = [("releases", &*self.releases)];
        let jobs = Component::read(component).jobs(&[&releases, inputs].concat());
        let jobs = jobs.as_object().unwrap();
        assert_eq!(jobs.len(), 1, "{jobs:?}");
        jobs.values().next().unwrap().clone()
    }

    /// Runs the scripts of a job as a runner does: in one shell, until a command fails.
    fn run(&self, shell: &str, job: &Value) -> Ran {
        let system = std::env::var("PATH").unwrap();
        let bin = self.world.path("bin").display().to_string();
        let script = ["set -e".to_owned()]
            .into_iter()
            .chain(scripts(job))
            .map(|line| line.replace("/usr/local/bin", &bin) + "\n");
        let mut command = self.world.other_command(shell);
        command
            .args(["-c", &script.collect::<String>()])
            .env("PATH", format!("{bin}:{system}"))
            .env("HOME", self.world.path("home"))
            .env("CI_COMMIT_SHA", REV_B)
            .env("CI_COMMIT_TITLE", "$(touch x); `touch x` 'a\" > x")
            .env("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", "main")
            .env("CI_REGISTRY", "registry.example")
            .env("CI_REGISTRY_USER", "job")
            .env("CI_REGISTRY_PASSWORD", "secret");
        for (name, value) in job["variables"].as_object().unwrap() {
            command.env(name, value.as_str().unwrap());
        }
        Ran::of(&mut command)
    }
}

#[test]
fn component_installs_repin_and_promotes() {
    for shell in ["bash", "sh"] {
        let project = Project::new(&release::program());
        let inputs = [
            ("command", "promote --revision $CI_COMMIT_SHA --apply"),
            ("full-history", "true"),
            ("job", "promote: the \u{fc}ber 'job' # 1"),
            ("stage", "deploy: a # stage"),
            ("image", "$CI_REGISTRY_IMAGE/tools:1"),
        ];
        let job = project.job("repin.yml", &inputs);
        assert_eq!(job["stage"], "deploy: a # stage");
        assert_eq!(job["image"], "$CI_REGISTRY_IMAGE/tools:1");
        let ran = project.run(shell, &job).exits(0);
        let pins = project.world.read(".github/workflows/a.yml");
        let digest = project.world.digest("review", REV_B);
        assert!(pins.contains(digest), "{shell}: {}", ran.stderr);
        let login = project.world.read("home/.docker/config.json");
        let login: Value = serde_json::from_str(&login).unwrap();
        let auth = json!({"registry.example": {"auth": "am9iOnNlY3JldA=="}});
        assert_eq!(login["auths"], auth);
        // Of the downloads, nothing remains in the clone.
        let changed = project.world.git(&["status", "--short"]);
        assert!(!changed.contains("??"), "{changed}");
    }
}

#[test]
fn component_checks_merge_requests() {
    for shell in ["bash", "sh"] {
        let project = Project::new(&release::program());
        let job = project.job("check.yml", &[]);
        project.run(shell, &job).exits(0);
        let has_finding = || {
            let name = &job["artifacts"]["reports"]["codequality"];
            let report = project.world.read(name.as_str().unwrap());
            let findings: Vec<Value> = serde_json::from_str(&report).unwrap();
            findings.iter().any(|one| one["check_name"] == "pin_count")
        };
        assert!(!has_finding());
        // A finding fails the job, and is in the report.
        let declared = project.world.read("repin.yaml");
        project.world.replace("repin.yaml", "pins: 2", "pins: 7");
        let ran = project.run(shell, &job);
        assert_eq!(ran.code, 1, "{shell}: {}", ran.stderr);
        assert!(has_finding(), "{shell}");
        // So do a wrong configuration and a target branch that cannot be fetched.
        project.world.write("repin.yaml", "version: 7\n");
        assert_eq!(project.run(shell, &job).code, 2);
        project.world.write("repin.yaml", declared);
        project
            .world
            .git(&["remote", "set-url", "origin", "./x.git"]);
        assert_ne!(project.run(shell, &job).code, 0);
    }
}

#[test]
fn failed_command_fails_the_job_of_gitlab() {
    for shell in ["bash", "sh"] {
        let project = Project::new(&release::program());
        let promote = [("command", "promote --revision $CI_COMMIT_SHA --pr ready")];
        // Without a forge.
        let ran = project.run(shell, &project.job("repin.yml", &promote));
        assert_eq!(ran.code, 2, "{shell}: {}", ran.stderr);
        assert!(ran.stderr.contains("error"), "{}", ran.stderr);
        let unknown = [("command", "no-command")];
        let ran = project.run(shell, &project.job("repin.yml", &unknown));
        assert_eq!(ran.code, 2, "{shell}: {}", ran.stderr);
        // A release that is missing, and one that does not match its checksum.
        let missing = [("command", "check"), ("version", "9.9.9")];
        let ran = project.run(shell, &project.job("repin.yml", &missing));
        assert_ne!(ran.code, 0);
        fs::remove_file(project.world.path("bin/repin")).unwrap();
        let sums = format!("releases/v{VERSION}/SHA256SUMS");
        let text = project.world.read(&sums);
        let (first, last) = text.trim_end().rsplit_once('\n').unwrap();
        let forged = format!("{first}\n{}{}\n", "0".repeat(64), &last[64..]);
        project.world.write(&sums, forged);
        let ran = project.run(shell, &project.job("repin.yml", &[("command", "check")]));
        assert_ne!(ran.code, 0);
        assert!(!project.world.path("bin/repin").exists());
    }
}

#[test]
fn arguments_of_components_are_split_as_a_shell_does() {
    let project = Project::new(PRINT);
    for (command, printed) in [
        ("check", "<check>"),
        ("branch sync --from=main", "<branch><sync><--from=main>"),
        ("--version", "<--version>"),
        ("a 'b  c' \"d  e\"", "<a><b  c><d  e>"),
        ("a: b '# c' x'#'y: ", "<a:><b><# c><x#y:>"),
        (
            "'it: is \"quoted\" $x `x` \\ ; x'",
            "<it: is \"quoted\" $x `x` \\ ; x>",
        ),
        (r#""\"\\\$x\` ; > & | # 'x'""#, r#"<"\$x` ; > & | # 'x'>"#),
        (
            "--to $CI_COMMIT_SHA x${CI_COMMIT_SHA}x",
            "<--to><REV><xREVx>",
        ),
        // Variables are not evaluated.
        ("\"$CI_COMMIT_TITLE\"", "<$(touch x); `touch x` 'a\" > x>"),
        ("-- - --- '' ''''", "<--><-><---><><>"),
    ] {
        let inputs = [("command", command)];
        for (component, end) in [("repin.yml", ""), ("check.yml", "<--format><gitlab>")] {
            let ran = project.run("sh", &project.job(component, &inputs));
            let output = if end.is_empty() {
                ran.stdout
            } else {
                project.world.read("gl-code-quality-report.json")
            };
            assert_eq!(ran.code, 0, "{command}: {}", ran.stderr);
            let expected = printed.replace("REV", REV_B) + end;
            assert!(output.ends_with(&expected), "{command}: {output}");
        }
    }
    assert!(!project.world.path("x").exists());
}

/// Texts of one or two characters that are special in YAML or a shell, also in quotes.
fn texts() -> Vec<String> {
    const SPECIAL: &str = "a -$\\{}()[]'\"`;&|<>#:=!*?~%@,\n\r\t\0\u{85}\u{2028}\u{feff}";
    let mut all: Vec<String> = SPECIAL.chars().map(String::from).collect();
    for first in all.clone() {
        all.extend(SPECIAL.chars().map(|second| format!("{first}{second}")));
    }
    let words = [
        "${a:-$(a)}",
        "${a@P}",
        "$((a))",
        "$'a'",
        "$\"a\"",
        "a\n- a",
        "a\nscript: a",
        "\"${a\"}",
    ];
    all.extend(words.map(str::to_owned));
    let quoted: Vec<_> = all
        .iter()
        .flat_map(|text| [format!("'{text}'"), format!("\"{text}\"")])
        .collect();
    all.extend(quoted);
    all
}

/// Replaces the texts of a document, which inputs may change.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(entries) => {
            let entries = entries.iter();
            entries
                .map(|(key, value)| (key.clone(), shape(value)))
                .collect()
        }
        Value::Array(entries) => entries.iter().map(shape).collect(),
        Value::String(_) => json!("text"),
        other => other.clone(),
    }
}

#[test]
fn inputs_of_components_inject_no_yaml_and_no_shell() {
    for name in COMPONENTS {
        let component = Component::read(name);
        let declared = component.header["spec"]["inputs"].as_object().unwrap();
        let required = [("command", "check")];
        let plain = component.jobs(&required);
        let job_of = |jobs: &Value| {
            let jobs = jobs.as_object().unwrap();
            assert_eq!(jobs.len(), 1, "{jobs:?}");
            jobs.values().next().unwrap().clone()
        };
        for (input, facts) in declared {
            if facts["type"] == "boolean" {
                continue;
            }
            assert!(facts["regex"].is_string(), "{name}: {input} has no pattern");
            let mut commands = String::from("set -f\n");
            let mut accepted = 0;
            for text in texts() {
                let others = required.iter().filter(|(other, _)| other != input).copied();
                let inputs: Vec<_> = others.chain([(&**input, &*text)]).collect();
                let Ok(jobs) = component.text(&inputs) else {
                    continue;
                };
                accepted += 1;
                let jobs: Value = serde_yaml_ng::from_str(&jobs)
                    .unwrap_or_else(|error| panic!("{input} {text:?}: {error}"));
                let (jobs, expected) = (job_of(&jobs), job_of(&plain));
                assert_eq!(shape(&jobs), shape(&expected), "{input} {text:?}");
                for (line, plain) in scripts(&jobs).iter().zip(scripts(&expected)) {
                    if *line != plain {
                        // Its report.
                        commands += &line.replace("> gl-code-quality-report.json", "");
                        commands += "\n:\n";
                    }
                }
            }
            assert!(accepted > 3, "{name}: {input} accepts {accepted}");
            // Only functions: another command, a syntax error or a file of a redirection would show.
            let directory = tempfile::tempdir().unwrap();
            let functions = "repin() { count=$((count + 1)); }\ncount=0\n";
            let script = format!("{functions}{commands}echo \"$count\"\n");
            let path = directory.path().join("script");
            fs::write(&path, script).unwrap();
            for shell in ["/bin/bash", "/bin/sh"] {
                let mut command = Command::new(shell);
                command.arg(&path).current_dir(directory.path()).env_clear();
                let ran = command.env("PATH", "").env("HOME", "/").output().unwrap();
                let stderr = String::from_utf8_lossy(&ran.stderr);
                let of_uname = |line: &&str| !line.contains("uname");
                let errors: Vec<_> = stderr.lines().filter(of_uname).collect();
                assert_eq!(errors, [] as [&str; 0], "{name}: {input}");
                assert_eq!(ran.status.into_raw(), 0);
                let count: usize = String::from_utf8(ran.stdout)
                    .unwrap()
                    .trim()
                    .parse()
                    .unwrap();
                let expected = if input == "command" { accepted } else { 0 };
                assert_eq!(count, expected, "{name}: {input}");
                assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
            }
        }
    }
}
