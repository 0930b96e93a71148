//! `repin fleet promote` without pull requests: outcomes, requests, shards, sets, and attacks of a
//! hostile repository.

use std::{fs, process::Command, thread::sleep, time::Duration};

use serde_json::{Value, json};

use crate::{
    diff_forge::fetches_of_source,
    support::{
        attach,
        fleet::{Fleet, REV, name, options},
        forge::{
            Kind, TOKEN,
            thousand::{Trouble, contents::PINNED},
        },
        hosted::FORGES,
        sweep::one_of,
    },
};

const PROMOTE: [&str; 6] = ["fleet", "promote", "--list", "list.txt", "--revision", REV];
const OUT: [&str; 2] = ["--out", "out.jsonl"];

/// A dry run; the number of its requests.
fn planned(fleet: &Fleet, more: &[&str], exit: i32) -> usize {
    let before = fleet.forge.log().len();
    let args = [&PROMOTE[..], &OUT, more].concat();
    fleet.run(&args).exits(exit);
    let [all, writes] = fleet.requests_since(before);
    assert_eq!(writes, 0);
    all
}

#[test]
fn each_repository_has_an_outcome() {
    use Trouble::{
        Archived, Closed, Empty, Foreign, Missing, Renamed, Truncated, Unconfigured, WrongCounts,
    };
    let troubles = [
        Renamed,
        Archived,
        Empty,
        Truncated,
        Unconfigured,
        WrongCounts,
        Foreign,
        Closed,
        Missing,
    ];
    for kind in [Kind::Github, Kind::Gitea, Kind::Forgejo, Kind::Gitlab] {
        let mut options = options(kind, 11);
        options.troubles = troubles
            .into_iter()
            .enumerate()
            .map(|(at, trouble)| (at + 1, trouble))
            .collect();
        let fleet = Fleet::new(options);
        let ran = fleet.run(&[&PROMOTE[..], &OUT].concat()).exits(2);
        // GitLab does not report that a listing is cut off.
        let endless = if kind == Kind::Gitlab {
            "unavailable 3"
        } else {
            "refused 1"
        };
        let expected = [
            "planned 0",
            "moved 2",
            "archived 0",
            "unconfigured 0",
            endless,
            "unconfigured 0",
            "refused 1",
            "planned 0",
            "closed_by_person 1",
            "unconfigured 0",
            "planned 0",
        ];
        assert_eq!(
            fleet.outcomes("out.jsonl"),
            expected,
            "{kind:?} {}",
            ran.stderr
        );
        assert!(fleet.forge.log().iter().all(|logged| !logged.write));
        assert!(ran.stdout.contains("OUTCOME"), "{}", ran.stdout);
        let conclusion = kind.spelled("to open pull requests, add --pr draft");
        assert!(ran.stderr.contains(&conclusion), "{}", ran.stderr);
        assert!(
            ran.stdout.contains("acme/app-0001-renamed")
                || matches!(kind, Kind::Gitea | Kind::Forgejo),
            "{}",
            ran.stdout
        );
        let lines = fleet.lines("out.jsonl");
        assert_eq!(lines[6]["checks"][0]["code"], "pin_count");
        // A refused line contains the pins.
        assert!(lines[6]["pins"].as_u64().unwrap() < 6, "{}", lines[6]);
        assert!(lines[6]["to"].is_object(), "{}", lines[6]);
        assert_eq!(
            (&lines[0]["pins"], &lines[0]["shards"]),
            (&json!(6), &json!(1))
        );
        let from = format!("sha256:{}", "a".repeat(64));
        assert_eq!(lines[0]["from"]["ghcr.io/acme/api"], json!(from));
        assert_ne!(lines[0]["to"]["ghcr.io/acme/api"], json!(from));
    }
}

#[test]
fn missing_configurations_fail_if_configured() {
    let options = options(Kind::Github, 3)
        .trouble(0, Trouble::Unconfigured)
        .trouble(1, Trouble::Archived);
    let fleet = Fleet::new(options);
    planned(&fleet, &[], 0);
    let config = fleet.config(Kind::Github, "{ when_unconfigured: fail }");
    fleet.write("repin.yaml", &config);
    planned(&fleet, &[], 2);
    let expected = ["unconfigured 2", "archived 2", "planned 0"];
    assert_eq!(fleet.outcomes("out.jsonl"), expected);
}

#[test]
fn plan_costs_few_requests() {
    // Per cent of requests a repository, of which one is for the commit that added the files; the
    // server's version is requested once.
    for (kind, count, most) in [(Kind::Github, 50, 520), (Kind::Gitea, 8, 705)] {
        let mut options = options(kind, count);
        options.seeded.files = 400;
        let fleet = Fleet::new(options);
        let sha256 = fleet.verified();
        let set = ["--set", "set.json", "--set-sha256", &sha256];
        // Without the images, only the file of the set contains their digests.
        fs::remove_dir_all(fleet.path("images")).unwrap();
        let requests = planned(&fleet, &set, 0);
        assert!(requests * 100 <= count * most, "{kind:?}: {requests}");
        assert_eq!(fleet.outcomes("out.jsonl"), vec!["planned 0"; count]);
        let log = format!("{:?}", fleet.forge.log());
        assert!(log.matches("/version").count() <= 1, "{kind:?}: {log}");
        let lines = fleet.lines("out.jsonl");
        let counted: u64 = lines
            .iter()
            .map(|line| line["requests"].as_u64().unwrap())
            .sum();
        assert_eq!(counted, requests as u64, "{kind:?}");
        assert!(lines.iter().all(|line| line["set_sha256"] == json!(sha256)));
    }
}

#[test]
fn changed_set_is_refused_before_any_request() {
    let fleet = Fleet::new(options(Kind::Github, 2));
    let sha256 = fleet.verified();
    let set = fleet.read("set.json");
    let promote = |sha256: &str| {
        let set = ["--set", "set.json", "--set-sha256", sha256, "--pr", "draft"];
        fleet.run(&[&PROMOTE[..], &OUT, &set].concat())
    };
    fleet.write("set.json", set.replacen("\"web\"", "\"wea\"", 1));
    let ran = promote(&sha256).exits(2);
    assert!(ran.stderr.contains("its SHA-256 is"), "{}", ran.stderr);
    fleet.write("set.json", &set);
    promote(&"0".repeat(64)).exits(2);
    // Verified against another configuration.
    let config = fleet.read("repin.yaml");
    fleet.write("repin.yaml", format!("{config}# another\n"));
    let ran = promote(&sha256).exits(2);
    assert!(ran.stderr.contains("config_sha256"), "{}", ran.stderr);
    fleet.write("repin.yaml", &config);
    for half in [&["--set", "set.json"][..], &["--set-sha256", &sha256]] {
        fleet.run(&[&PROMOTE[..], half].concat()).exits(2);
    }
    assert!(fleet.forge.log().is_empty());
    assert_eq!(fleet.read("out.jsonl"), "");
}

#[test]
fn refused_set_begins_no_repository() {
    let fleet = Fleet::new(options(Kind::Github, 2));
    fs::remove_dir_all(fleet.path("images/web")).unwrap();
    fleet.run(&[&PROMOTE[..], &OUT].concat()).exits(3);
    crate::support::layout::Layout::at(&fleet.path("images/api")).untag(REV);
    fleet.build("y");
    let ran = fleet.run(&[&PROMOTE[..], &OUT].concat()).exits(1);
    assert!(ran.stderr.contains("error[tag_missing]"), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("no repository was begun"),
        "{}",
        ran.stderr
    );
    assert!(fleet.forge.log().is_empty());
}

#[test]
fn set_verification_does_not_shorten_the_deadline() {
    let fleet = Fleet::new(options(Kind::Github, 1));
    let registry = attach::serve(&fleet.path("images/api"), |request| {
        if request.number == 0 {
            sleep(Duration::from_secs(2));
        }
        None
    });
    let config = fleet.read("repin.yaml");
    let api = format!("ghcr.io/acme/api: 'http://{}/acme/api'", registry.host());
    fleet.write(
        "repin.yaml",
        config.replace("sources: {", &format!("sources: {{ {api},")),
    );
    let deadline = [("REPIN_DEADLINE", "2s")];
    let args = [&PROMOTE[..], &OUT].concat();
    let stderr = fleet.run_with(&args, &deadline).stderr;
    // The rest may take more than two seconds.
    assert!(!fleet.forge.log().is_empty(), "{stderr}");
}

#[test]
fn any_number_of_shards_gives_the_same_report() {
    let options = options(Kind::Github, 20)
        .trouble(3, Trouble::WrongCounts)
        .trouble(7, Trouble::Archived);
    let fleet = Fleet::new(options);
    let sha256 = fleet.verified();
    let report = |shards: usize| -> Vec<Value> {
        let mut files = Vec::new();
        for number in 0..shards {
            let file = format!("of-{shards}-{number}.jsonl");
            let shard = format!("{number}/{shards}");
            let args = ["--set", "set.json", "--set-sha256", &sha256, "--out", &file];
            let env = [
                ("JOB_COMPLETION_INDEX", number.to_string()),
                ("REPIN_SHARDS", shards.to_string()),
            ];
            let env = env.each_ref().map(|(name, value)| (*name, value.as_str()));
            // Both ways to say the same.
            let shard = if number % 2 == 0 { "auto" } else { &shard };
            let ran = fleet.run_with(&[&PROMOTE[..], &args, &["--shard", shard]].concat(), &env);
            assert!([0, 1].contains(&ran.code), "{}", ran.stderr);
            files.push(file);
        }
        let files = files
            .iter()
            .map(String::as_str)
            .filter(|file| fleet.path(file).exists());
        let args: Vec<&str> = ["fleet", "merge", "--list", "list.txt", "--format", "json"]
            .into_iter()
            .chain(files)
            .collect();
        let merged = fleet.run(&args).exits(1).json();
        assert_eq!(merged["missing"], json!([]));
        let mut rows = merged["repositories"].as_array().unwrap().clone();
        for row in &mut rows {
            for of_the_run in ["shard", "seconds", "requests"] {
                row[of_the_run] = Value::Null;
            }
        }
        rows
    };
    let one = report(1);
    assert_eq!(one.len(), 20);
    assert_eq!(report(3), one);
    assert_eq!(report(7), one);
}

#[test]
fn shards_are_found_in_the_environment_or_refused() {
    let fleet = Fleet::new(options(Kind::Github, 6));
    let auto = |env: &[(&str, &str)]| {
        let args = ["--shard", "auto", "--format", "json"];
        fleet.run_with(&[&PROMOTE[..], &args].concat(), env)
    };
    let seen = |env: &[(&str, &str)]| auto(env).exits(0).json()["shards"].clone();
    let of_two = json!({"expected": 2, "seen": [1]});
    assert_eq!(
        seen(&[
            ("BUILDKITE_PARALLEL_JOB", "1"),
            ("BUILDKITE_PARALLEL_JOB_COUNT", "2")
        ]),
        of_two
    );
    assert_eq!(
        seen(&[("CI_NODE_INDEX", "2"), ("CI_NODE_TOTAL", "2")]),
        of_two
    );
    for (env, reason) in [
        (&[][..], "none of"),
        (&[("JOB_COMPLETION_INDEX", "0")], "REPIN_SHARDS is not set"),
        (
            &[("CI_NODE_INDEX", "0"), ("CI_NODE_TOTAL", "2")],
            "expected 1 or more",
        ),
        (
            &[("CI_NODE_INDEX", "3"), ("CI_NODE_TOTAL", "2")],
            "does not exist",
        ),
        (
            &[("CI_NODE_INDEX", "x"), ("CI_NODE_TOTAL", "2")],
            "not a whole number",
        ),
    ] {
        let ran = auto(env).exits(2);
        assert!(ran.stdout.contains(reason), "{}", ran.stdout);
    }
}

#[test]
fn part_of_the_list_can_be_chosen() {
    let fleet = Fleet::new(options(Kind::Github, 5).trouble(1, Trouble::WrongCounts));
    let promote = |more: &[&str]| {
        let _ = fs::remove_file(fleet.path("out.jsonl"));
        let ran = fleet.run(&[&PROMOTE[..], &OUT, more].concat());
        let written = fleet.path("out.jsonl").exists();
        let outcomes = written.then(|| fleet.outcomes("out.jsonl"));
        (ran.code, outcomes.unwrap_or_default())
    };
    let (code, outcomes) = promote(&["--limit", "2"]);
    assert_eq!(
        (code, outcomes),
        (
            1,
            [
                "planned 0",
                "refused 1",
                "planned 0",
                "pending 0",
                "pending 0"
            ]
            .map(str::to_owned)
            .to_vec()
        )
    );
    let (code, outcomes) = promote(&["--max-failures", "1"]);
    // Four are read at once.
    assert_eq!(outcomes[4], "pending 3");
    assert_eq!(code, 1);
    fleet
        .run(&["fleet", "merge", "out.jsonl", "--list", "list.txt"])
        .exits(1);
    assert_eq!(fleet.read("failed.txt"), "acme/app-0001\nacme/app-0004\n");
    let (code, outcomes) = promote(&["--only", "failed.txt"]);
    assert_eq!((code, outcomes.len()), (1, 2));
    fleet.write("only.txt", "");
    assert_eq!(promote(&["--only", "only.txt"]), (0, Vec::new()));
    fleet.write("only.txt", "acme/stray\n");
    assert_eq!(promote(&["--only", "only.txt"]).0, 2);
    assert_eq!(promote(&["--owner", "ACME"]).1.len(), 5);
    assert_eq!(promote(&["--owner", "others"]), (0, Vec::new()));
    let (code, outcomes) = promote(&["--deadline", "0s"]);
    assert_eq!((code, outcomes), (3, vec!["pending 3".to_owned(); 5]));
}

#[test]
fn truncated_line_of_a_report_is_removed() {
    let fleet = Fleet::new(options(Kind::Github, 1));
    planned(&fleet, &[], 0);
    let whole = fleet.read("out.jsonl");
    assert_eq!(whole.lines().count(), 1);
    for cut in [1, 20, 200] {
        fleet.write("out.jsonl", format!("{whole}{}", &whole[..cut]));
        planned(&fleet, &[], 0);
        let text = fleet.read("out.jsonl");
        assert!(
            text.starts_with(&whole) && text.lines().count() == 2,
            "{text}"
        );
        fleet
            .run(&["fleet", "merge", "out.jsonl", "--list", "list.txt"])
            .exits(0);
    }
    // A complete line without a final line feed stays.
    fleet.write("out.jsonl", whole.trim_end());
    planned(&fleet, &[], 0);
    assert!(fleet.read("out.jsonl").starts_with(&whole));
    // repin does not truncate other content of a file.
    fleet.write("out.jsonl", "notes");
    fleet.run(&[&PROMOTE[..], &OUT].concat()).exits(2);
    assert_eq!(fleet.read("out.jsonl"), "notes");
    fleet
        .run(&[&PROMOTE[..], &["--out", "missing/out.jsonl"]].concat())
        .exits(2);
}

#[test]
fn shard_is_shown_in_every_format() {
    let fleet = Fleet::new(options(Kind::Github, 2).trouble(1, Trouble::WrongCounts));
    let json = fleet
        .run(&[&PROMOTE[..], &["--format", "json"]].concat())
        .exits(1)
        .json();
    assert_eq!(
        (&json["schema"], &json["totals"]["planned"]),
        (&json!("repin.fleet/1"), &json!(1))
    );
    assert_eq!(json["missing"], json!([]));
    fleet.write("summary.md", "");
    let env = [("GITHUB_STEP_SUMMARY", "summary.md")];
    let ran = fleet
        .run_with(&[&PROMOTE[..], &["--format", "github"]].concat(), &env)
        .exits(1);
    assert!(ran.stdout.contains("::error"), "{}", ran.stdout);
    assert!(fleet.read("summary.md").contains("### refused"));
    let ran = fleet.run(&PROMOTE).exits(1);
    assert!(
        ran.stdout.contains("refused: pin_count (1)"),
        "{}",
        ran.stdout
    );
    assert!(ran.stderr.contains("nothing was changed"), "{}", ran.stderr);
}

/// Replaces the configuration of repository 1, of two.
fn attacked(config: &str) -> Fleet {
    let fleet = Fleet::new(options(Kind::Github, 2));
    fleet
        .forge
        .store(1)
        .push("main", "mine", &[("repin.yaml", config)]);
    fleet
}

const OWN: &str = "version: 1
files: ['.github/workflows/*.yml']
images:
  api: { repository: ghcr.io/acme/api, pins: 3 }
  web: { repository: ghcr.io/acme/web, pins: 3 }
";

#[test]
fn fleet_ignores_other_keys_with_a_note() {
    let fleet = attacked(&format!(
        "{OWN}sources: {{ ghcr.io: 'https://evil.example' }}
report: {{ template: etc/passwd, labels: [x] }}
freshness:
  - {{ name: x, pinned: {{ file: a, pointer: /a }}, repository: 'https://evil.example/x.git', token_env: SECRET, branch: main, paths: [a] }}
forge: {{ kind: gitea, url: 'https://evil.example/api/v1', repository: evil/evil, dispatch: [evil.yml] }}
fleet: {{ own_policy: ignore, history: recent }}
"
    ));
    let secret = "f00d-of-the-runner";
    let args = [&PROMOTE[..], &OUT].concat();
    let ran = fleet.run_with(&args, &[("SECRET", secret)]).exits(0);
    assert_eq!(fleet.outcomes("out.jsonl"), ["planned 0", "planned 0"]);
    let shown = format!("{}{}{}", ran.stdout, ran.stderr, fleet.read("out.jsonl"));
    assert!(!shown.contains(secret), "{shown}");
    for key in [
        "sources",
        "report.template",
        "freshness",
        "forge.url",
        "forge.dispatch",
        "fleet",
    ] {
        let note = format!("note: acme/app-0001: `{key}` is ignored in a fleet");
        assert_eq!(
            ran.stderr.matches(&note).count(),
            1,
            "{key}: {}",
            ran.stderr
        );
    }
    // One note for many repositories, and times in milliseconds.
    let mut store = fleet.forge.store(0);
    let config = store.content("main", "repin.yaml") + "fleet: { history: recent }\n";
    store.push("main", "ours", &[("repin.yaml", &config)]);
    drop(store);
    let stderr = fleet.run_with(&args, &[]).exits(0).stderr;
    assert_eq!(
        stderr.matches("`fleet` is ignored in a fleet").count(),
        1,
        "{stderr}"
    );
    for line in fleet.lines("out.jsonl") {
        let seconds = line["seconds"].to_string();
        let decimals = seconds.split_once('.').map_or("", |(_, decimals)| decimals);
        assert!(decimals.len() <= 3, "{seconds}");
    }
}

#[test]
fn repository_that_demands_or_pins_more_is_refused() {
    for (config, code, reason) in [
        (
            format!("{OWN}smoke: {{ command: [rm, -rf, /] }}\n"),
            "fleet_refused",
            "`smoke`",
        ),
        (
            format!("{OWN}verify: {{ signers: [{{ key: /etc/passwd, commit: 'off' }}] }}\n"),
            "",
            "",
        ),
        (
            OWN.replace("acme/web", "evil/web"),
            "foreign_image",
            "evil/web",
        ),
        (OWN.replace("'.github/workflows/*.yml'", "'**'"), "", ""),
        (
            format!("{OWN}forge: {{ base: develop }}\n"),
            "fleet_refused",
            "`forge.base: develop`",
        ),
        ("version: 1\nimages: [\n".to_owned(), "", ""),
        (
            OWN.replace("files: ['.github/workflows/*.yml']\n", "fleet: {}\n"),
            "config",
            "lacks",
        ),
    ] {
        let fleet = attacked(&config);
        let ran = fleet.run(&[&PROMOTE[..], &OUT].concat());
        let lines = fleet.lines("out.jsonl");
        assert_eq!(lines[0]["outcome"], "planned", "{config}");
        if reason.is_empty() && config.contains("'**'") {
            // Twenty files are below the limit, and the other files contain no pin.
            assert_eq!(lines[1]["outcome"], "planned", "{lines:#?}");
            continue;
        }
        assert_eq!(lines[1]["outcome"], "refused", "{config}\n{}", ran.stderr);
        let (error, check) = (&lines[1]["error"], &lines[1]["checks"][0]);
        let found = if error.is_null() { check } else { error };
        let text = if error.is_null() {
            &found["detail"]
        } else {
            &found["message"]
        };
        if !code.is_empty() {
            assert_eq!(found["code"], code, "{found}");
        }
        assert!(text.as_str().unwrap().contains(reason), "{found}");
    }
}

/// A fleet whose second repository takes pins from each of its files.
fn taking_all(kind: Kind, files: usize) -> Fleet {
    let options = options(kind, 2);
    let seeded = options.seeded.files;
    let fleet = Fleet::new(options);
    let config = OWN.replace("'.github/workflows/*.yml'", "'**'");
    let names: Vec<_> = (seeded..files).map(|file| format!("many/{file}")).collect();
    let mut changed = vec![("repin.yaml", config.as_str())];
    changed.extend(names.iter().map(|name| (name.as_str(), "")));
    fleet.forge.store(1).push("main", "mine", &changed);
    fleet
}

#[test]
fn broad_globs_are_refused_before_reading() {
    let fleet = taking_all(Kind::Github, 400);
    fleet.run(&[&PROMOTE[..], &OUT].concat()).exits(1);
    let lines = fleet.lines("out.jsonl");
    let message = lines[1]["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("match 400 files, more than 200"),
        "{message}"
    );
    let read =
        fleet.forge.log().into_iter().filter(|logged| {
            logged.repository == Some(1) && !logged.request.contains("/git/trees/")
        });
    assert_eq!(read.count(), 0);
}

#[test]
fn only_files_count_for_the_limit() {
    let fleet = taking_all(Kind::Github, 200);
    let mut store = fleet.forge.store(1);
    let submodule = ("160000".to_owned(), store.put_blob(b""));
    store.commit_files("main", "a submodule", |files| {
        files.insert("submodule".to_owned(), submodule);
    });
    drop(store);
    planned(&fleet, &[], 0);
}

#[test]
fn large_files_are_refused_before_reading() {
    const MIB: usize = 1 << 20;
    let fleet = taking_all(Kind::Github, 20);
    let add = |name: &str, size: usize| {
        let mut store = fleet.forge.store(1);
        store.push("main", "large", &[(name, &" ".repeat(size))]);
    };
    let size: usize = {
        let store = fleet.forge.store(1);
        let files = store.files_of(&store.refs["main"]);
        files
            .values()
            .map(|(_, id)| store.blob(id).unwrap().len())
            .sum()
    };
    for number in 0..5 {
        add(&format!("large-{number}"), 3 * MIB);
    }
    add("rest", MIB - size);
    planned(&fleet, &[], 0);
    add("one more", 1);
    planned(&fleet, &[], 1);
    assert_eq!(fleet.outcomes("out.jsonl"), ["planned 0", "refused 1"]);
    let message = fleet.lines("out.jsonl")[1]["error"]["message"].to_string();
    let reason = "have 16777217 bytes, more than 16777216";
    assert!(message.contains(reason), "{message}");
}

#[test]
fn file_of_4_mib_is_read() {
    let fleet = Fleet::new(options(Kind::Github, 2));
    let file = [(".github/workflows/large.yml", &*"#".repeat(4 << 20))];
    fleet.forge.store(1).push("main", "large", &file);
    planned(&fleet, &[], 0);
}

#[test]
fn few_repositories_are_listed_before_large_files_are_read() {
    let fleet = Fleet::new(options(Kind::Github, 5));
    let large = "#".repeat(2 << 20);
    for number in 0..5 {
        let file = [(".github/workflows/large.yml", &*large)];
        fleet.forge.store(number).push("main", "large", &file);
    }
    planned(&fleet, &[], 0);
    let log = fleet.forge.log();
    let last = log.iter().rposition(|logged| logged.repository == Some(0));
    let first = log
        .iter()
        .position(|logged| logged.repository == Some(4) && logged.request.contains("/git/trees/"));
    assert!(last < first, "{log:#?}");
}

#[test]
fn commands_of_a_repository_are_never_used() {
    let fleet = attacked(&format!(
        "{OWN}smoke: {{ command: [touch, ran], env: [SECRET] }}
report: {{ template: list.txt }}
verify: {{ signers: [{{ key: list.txt, commit: 'off' }}] }}
"
    ));
    let rules = "{ own_policy: ignore }";
    fleet.write("repin.yaml", fleet.config(Kind::Github, rules));
    let secret = "f00d-of-the-runner";
    let args = [&PROMOTE[..], &OUT, &["-vv"]].concat();
    let ran = fleet.run_with(&args, &[("SECRET", secret)]).exits(0);
    assert_eq!(fleet.outcomes("out.jsonl"), ["planned 0", "planned 0"]);
    let shown = format!("{}{}{}", ran.stdout, ran.stderr, fleet.read("out.jsonl"));
    assert!(!shown.contains(secret), "{shown}");
    assert!(!fleet.path("ran").exists());
    for key in ["smoke", "verify", "report.template"] {
        let note = format!("`{key}` is ignored in a fleet");
        assert!(ran.stderr.contains(&note), "{}", ran.stderr);
    }
}

#[test]
fn globs_of_100_000_files_are_refused_cheaply() {
    // GitLab lists 100 files at a time, and at most 30,000.
    for kind in one_of([Kind::Github, Kind::Gitea]) {
        let fleet = taking_all(kind, 99_000);
        let mut command = Command::new("sh");
        command
            .args(["-c", "ulimit -d 131072; exec \"$0\" \"$@\""])
            .arg(env!("CARGO_BIN_EXE_repin"))
            .args([&PROMOTE[..], &OUT].concat())
            .current_dir(fleet.root())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("REPIN_FORGE_TOKEN", TOKEN);
        let output = command.output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{kind:?}: {stderr}");
        let lines = fleet.lines("out.jsonl");
        assert_eq!(lines[0]["outcome"], "planned", "{kind:?}: {lines:#?}");
        assert_eq!(lines[1]["outcome"], "refused", "{kind:?}: {lines:#?}");
        let message = lines[1]["error"]["message"].as_str().unwrap();
        assert!(message.contains("more than 200"), "{kind:?}: {message}");
    }
}

#[test]
fn branch_and_name_of_repository_are_used() {
    let fleet = attacked(&format!(
        "{OWN}name: the web\npromote: {{ branch: 'pins/{{revision}}', title: 'pins: {{name}} {{revision}}' }}\n"
    ));
    let before = fleet.forge.log().len();
    planned(&fleet, &[], 0);
    // Surveyed once more with the branch of the repository.
    let log = fleet.forge.log();
    let surveys = log[before..]
        .iter()
        .filter(|logged| logged.request.ends_with("#repository_0"))
        .count();
    assert!(surveys >= 2, "{log:#?}");
    assert_eq!(fleet.outcomes("out.jsonl"), ["planned 0", "planned 0"]);
}

#[test]
fn branch_that_changes_during_the_survey_is_not_used() {
    let fleet = Fleet::new(options(Kind::Gitea, 1).trouble(0, Trouble::Reconfigured));
    planned(&fleet, &[], 3);
    let message = fleet.lines("out.jsonl")[0]["error"]["message"].to_string();
    let reason = "its configuration changed while it was read";
    assert!(message.contains(reason), "{message}");
}

#[test]
fn list_names_base_branches() {
    let fleet = Fleet::new(options(Kind::Github, 2));
    {
        let mut store = fleet.forge.store(0);
        let head = store.refs["main"].clone();
        store.refs.insert("release/2".to_owned(), head);
    }
    fleet.write(
        "list.txt",
        format!("{} release/2\n{} gone\n", name(0), name(1)),
    );
    planned(&fleet, &[], 2);
    let lines = fleet.lines("out.jsonl");
    assert_eq!(
        (&lines[0]["outcome"], &lines[1]["outcome"]),
        (&json!("planned"), &json!("refused"))
    );
    assert!(
        lines[1]["error"]["message"]
            .as_str()
            .unwrap()
            .contains("has no branch gone")
    );
}

/// Pins a repository to a set with a commit of this message.
fn pinned_to(fleet: &Fleet, number: usize, revision: &str, message: &str) {
    fleet.pin(number, &fleet.build(revision), message);
}

/// Whether the files of a repository's commits were requested, which may show a renamed file.
/// Runs a promotion. Returns the lines of its report.
fn promote(fleet: &Fleet, revision: &str) -> Vec<Value> {
    let _ = fs::remove_file(fleet.path("out.jsonl"));
    let set = ["fleet", "promote", "--revision", revision];
    fleet.run(&[&set[..], &["--list", "list.txt", "--out", "out.jsonl"]].concat());
    fleet.lines("out.jsonl")
}

#[test]
fn current_repository_needs_no_look_at_history() {
    let fleet = Fleet::new(options(Kind::Github, 30));
    for number in 0..30 {
        pinned_to(&fleet, number, REV, "promote: images @x");
    }
    let sha256 = fleet.verified();
    let requests = planned(&fleet, &["--set", "set.json", "--set-sha256", &sha256], 0);
    assert_eq!(fleet.outcomes("out.jsonl"), vec!["current 0"; 30]);
    assert!(requests * 100 <= 30 * 110, "{requests}");
}

#[test]
fn older_and_held_sets_are_refused() {
    for kind in one_of(FORGES) {
        let fleet = Fleet::new(options(kind, 6));
        let (old, new) = {
            let mut store = fleet.forge.store(0);
            let old = store.push("main", "build one", &[("src/a", "1")]);
            let new = store.push("main", "build two", &[("src/a", "2")]);
            (old, new)
        };
        for number in 1..4 {
            pinned_to(&fleet, number, &new, &format!("promote: images @{new}"));
        }
        // Rolled back by content.
        pinned_to(&fleet, 4, &old, &format!("promote: images @{old}"));
        pinned_to(&fleet, 4, &new, &format!("promote: images @{new}"));
        pinned_to(&fleet, 4, &old, "Revert");
        fleet.build(&old);
        let before = fleet.forge.log().len();
        let lines = promote(&fleet, &old);
        let codes = |line: &Value| {
            line["checks"]
                .as_array()
                .unwrap()
                .iter()
                .map(|check| check["code"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        let help = |line: &Value| line["checks"][0]["help"].as_str().unwrap().to_owned();
        for line in &lines[1..4] {
            assert_eq!(codes(line), ["revision_order"], "{line:#}");
            assert!(help(line).ends_with("promote in a clone with --allow-older"));
        }
        assert_eq!(fetches_of_source(&fleet.forge, before), 1, "{kind:?}");
        let lines = promote(&fleet, &new);
        assert_eq!(lines[1]["outcome"], "current");
        assert_eq!(codes(&lines[4]), ["rolled_back"], "{:#}", lines[4]);
        assert!(help(&lines[4]).ends_with("promote in a clone with --force-after-rollback"));
        // Without a source, the order is unknown.
        let config = fleet.read("repin.yaml");
        fleet.write("repin.yaml", config.replace("source: acme/app-0000\n", ""));
        let lines = promote(&fleet, &old);
        assert!(
            lines[1]["checks"][0]["detail"]
                .as_str()
                .unwrap()
                .contains("`source` is not configured")
        );
    }
}

/// Three repositories: the second one went back from the newest build to an old one, and the third one has the old one.
fn reverted(kind: Kind) -> (Fleet, String) {
    let fleet = Fleet::new(options(kind, 3));
    let [old, newest] = ["1", "2"].map(|content| {
        let mut store = fleet.forge.store(0);
        store.push("main", "build", &[("src/a", content)])
    });
    for number in 1..3 {
        pinned_to(&fleet, number, &old, &format!("promote: images @{old}"));
    }
    pinned_to(&fleet, 1, &newest, &format!("promote: images @{newest}"));
    pinned_to(&fleet, 1, &old, "Revert");
    (fleet, newest)
}

#[test]
fn renamed_file_hides_no_rollback() {
    for kind in one_of(FORGES) {
        let (fleet, newest) = reverted(kind);
        for path in PINNED {
            let renamed = path.replace(".yml", "-renamed.yml");
            for number in 1..3 {
                let mut store = fleet.forge.store(number);
                store.rename("main", path, &renamed);
            }
            fleet.forge.store(2).rename("main", &renamed, path);
        }
        fleet.build(&newest);
        let is_held = |line: &Value| {
            let mut checks = line["checks"].as_array().unwrap().iter();
            checks.any(|check| check["code"] == "rolled_back")
        };
        let lines = promote(&fleet, &newest);
        assert_eq!(lines[0]["outcome"], "planned", "{lines:#?}");
        assert!(is_held(&lines[1]), "{kind:?} {:#}", lines[1]);
        // Renamed back, the files show the promotion of the current set.
        assert_eq!(lines[2]["outcome"], "planned", "{kind:?} {lines:#?}");
    }
}

#[test]
fn first_commit_of_many_files_begins_the_history() {
    for kind in FORGES {
        let mut options = options(kind, 1);
        options.seeded.files = 400;
        options.seeded.squashed = true;
        let fleet = Fleet::new(options);
        planned(&fleet, &[], 0);
        assert_eq!(fleet.outcomes("out.jsonl"), ["planned 0"], "{kind:?}");
    }
}

#[test]
fn hold_counts_behind_many_commits_and_renames() {
    for kind in FORGES {
        let (fleet, newest) = reverted(kind);
        for number in 1..3 {
            let mut store = fleet.forge.store(number);
            let renamed = PINNED[0].replace(".yml", "-renamed.yml");
            store.rename("main", PINNED[0], &renamed);
            for at in 0..40 {
                let text = store.content("main", &renamed);
                store.push(
                    "main",
                    "reformat",
                    &[(&renamed, &format!("{text}# {at}\n"))],
                );
            }
        }
        fleet.build(&newest);
        let lines = promote(&fleet, &newest);
        let checks = lines[1]["checks"].as_array().unwrap();
        let codes: Vec<_> = checks.iter().map(|check| &check["code"]).collect();
        assert_eq!(codes, ["rolled_back"], "{kind:?} {lines:#?}");
        assert_eq!(lines[2]["outcome"], "planned", "{kind:?} {lines:#?}");
    }
}

#[test]
fn unreadable_history_is_an_outage() {
    for kind in FORGES {
        let fleet = Fleet::new(options(kind, 2).trouble(1, Trouble::Unfetched));
        planned(&fleet, &[], 4);
        let lines = fleet.lines("out.jsonl");
        assert_eq!(lines[0]["outcome"], "planned", "{kind:?}");
        assert_eq!(lines[1]["outcome"], "denied", "{kind:?} {:#}", lines[1]);
    }
}

#[test]
fn refused_token_is_not_repeated_for_each_repository() {
    for kind in FORGES {
        let fleet = Fleet::new(options(kind, 30));
        let args = [&PROMOTE[..], &OUT].concat();
        fleet
            .run_with(&args, &[("REPIN_FORGE_TOKEN", "unknown")])
            .exits(4);
        assert_eq!(fleet.outcomes("out.jsonl"), ["denied 4"; 30], "{kind:?}");
        // Four repositories are surveyed at once.
        let sent = fleet.forge.log().len();
        assert!((1..=4).contains(&sent), "{kind:?} {sent}");
    }
}

#[test]
fn fleet_configuration_and_token_are_required() {
    let fleet = Fleet::new(options(Kind::Github, 1));
    let ran = fleet
        .run_with(&PROMOTE, &[("REPIN_FORGE_TOKEN", "")])
        .exits(4);
    assert!(ran.stderr.contains("no token is set"), "{}", ran.stderr);
    let config = fleet
        .read("repin.yaml")
        .replace("source: acme/app-0000\nfleet: {}\n", "files: [x]\n");
    let config = config
        .replace("/api }", "/api, pins: 1 }")
        .replace("/web }", "/web, pins: 1 }");
    fleet.write("repin.yaml", &config);
    let ran = fleet.run(&PROMOTE).exits(2);
    assert!(
        ran.stderr.contains("has no `fleet` block"),
        "{}",
        ran.stderr
    );
    assert!(fleet.forge.log().is_empty());
}

#[test]
fn globs_of_one_repository_affect_no_other() {
    let panicking = format!("'{}{}'", "{a,".repeat(200), "}".repeat(200));
    let many = vec!["'**/*.yml'"; 20_000].join(", ");
    let long = format!("'{}'", "a".repeat(5_000));
    for (globs, reason) in [
        (panicking, "200 nested braces"),
        (many, "found 20000 globs"),
        (long, "the glob has 5000 bytes"),
    ] {
        let config = OWN.replace("'.github/workflows/*.yml'", &globs);
        let fleet = attacked(&config);
        let ran = fleet.run(&[&PROMOTE[..], &OUT].concat()).exits(2);
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
        let lines = fleet.lines("out.jsonl");
        assert_eq!(lines[0]["outcome"], "planned", "{lines:?}");
        assert_eq!(lines[1]["outcome"], "refused", "{lines:?}");
        let message = lines[1]["error"]["message"].as_str().unwrap();
        assert!(message.contains(reason), "{message}");
    }
}

#[test]
fn fleet_reports_references_without_a_digest() {
    let fleet = Fleet::new(options(Kind::Github, 1));
    let tag = (
        ".github/workflows/tag.yml",
        "image: ghcr.io/acme/api:latest\n",
    );
    fleet.forge.store(0).push("main", "a tag", &[tag]);
    fleet
        .run(&[&PROMOTE[..], &["--pr", "draft"]].concat())
        .exits(0);
    let pulls = fleet.forge.open_pulls();
    assert_eq!(pulls.len(), 1);
    let store = fleet.forge.store(0);
    let body = &store.open_pulls()[0].body;
    assert!(body.contains("image_unpinned"), "{body}");
}
