//! Whom a job's tokens are sent to: pull requests that change `forge.url`, `token_env` and
//! `smoke.env`, run by a job that has a token, with a server that records its requests.

use crate::support::{
    fake::{Fake as Recorder, Reaction},
    forge::{Fake, Fault, Kind, TOKEN, error},
    hosted::{self, FORGES, PROMOTE, publish, run_with as run},
    world::{REV_B, Ran, World, world},
};

/// A world with a base branch on a forge, which the clone has.
fn hosted(kind: Kind) -> (World, Fake) {
    let (world, fake) = unknown_to_git(kind);
    let world = world.with_git();
    let head = world.head();
    fake.store().name_head("main", &head, world.root());
    (world, fake)
}

/// The same without git.
fn unknown_to_git(kind: Kind) -> (World, Fake) {
    let (world, fake) = hosted::hosted(kind, "gates: [ci]");
    world.write("repin.yaml", world.read("repin.yaml") + "prune: {}\n");
    publish(&world, &fake, "as it is");
    (world, fake)
}

/// A foreign server, which accepts every request.
fn recorder() -> Recorder {
    Recorder::start(|_| Reaction::new(200, "{}"))
}

/// That a server was sent nothing at all.
fn received_nothing(recorder: &Recorder) {
    assert_eq!(recorder.log(), [] as [String; 0]);
}

/// The messages of a run, without their line breaks.
fn said(ran: &Ran) -> String {
    format!("{}{}", ran.stdout, ran.stderr)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

const GATES: [&str; 3] = ["gates", "--ref", "main"];

/// Every command that queries a forge with the configuration of the work tree.
const ASKING: [&[&str]; 5] = [
    &GATES,
    &["wait", "--pr", "1", "--timeout", "1s"],
    &["branch", "promote", "--from", "a", "--to", "b", "--apply"],
    &["prune", "--apply"],
    &["doctor"],
];

#[test]
fn changed_forge_url_gets_no_job_token() {
    // GitLab has other variables (`tests/it/gitlab.rs`).
    for kind in [Kind::Github, Kind::Gitea] {
        let (world, fake) = hosted(kind);
        let (api, thief) = (fake.api(), recorder());
        let job = ("GITHUB_API_URL", api.as_str());
        world.write("token", TOKEN);
        for (name, value) in [
            ("GITHUB_TOKEN", TOKEN),
            ("GH_TOKEN", TOKEN),
            ("GITEA_TOKEN", TOKEN),
            ("GITHUB_TOKEN_FILE", "token"),
        ] {
            let ran = run(&world, &GATES, &[job, (name, value)]);
            assert_eq!(ran.code, 1, "{name}: {}", ran.stderr);
        }
        fake.forget();
        world.replace(
            "repin.yaml",
            &fake.api(),
            &fake.api().replace(
                fake.server.url().as_str(),
                &format!("http://{}", thief.host()),
            ),
        );
        let elsewhere = format!(
            "it is for {}, not for http://{}",
            fake.server.url(),
            thief.host()
        );
        for args in ASKING {
            if kind == Kind::Gitea && args[0] == "prune" {
                continue;
            }
            let ran = run(&world, args, &[job, ("GITHUB_TOKEN", TOKEN)]).exits(4);
            assert!(said(&ran).contains(&elsewhere), "{args:?} {}", said(&ran));
            assert!(said(&ran).contains("REPIN_FORGE_TOKEN"), "{}", said(&ran));
        }
        for name in ["GH_TOKEN", "GITEA_TOKEN"] {
            let ran = run(&world, &GATES, &[job, (name, TOKEN)]).exits(4);
            assert!(said(&ran).contains(&elsewhere), "{name} {}", said(&ran));
        }
        let file = [job, ("GITHUB_TOKEN_FILE", "token")];
        run(&world, &GATES, &file).exits(4);
        // A token that is for another server is a missing one.
        let skip = [&GATES[..], &["--if-unconfigured", "skip"]].concat();
        let ran = run(&world, &skip, &[job, ("GITHUB_TOKEN", TOKEN)]).exits(0);
        assert!(said(&ran).contains(&elsewhere), "{}", said(&ran));
        received_nothing(&thief);
        assert_eq!(fake.asked(), [] as [String; 0]);
    }
}

#[test]
fn tokens_outside_jobs_go_to_known_servers() {
    let (world, fake) = hosted(Kind::Gitea);
    for name in ["GITHUB_TOKEN", "GH_TOKEN"] {
        let ran = run(&world, &GATES, &[(name, TOKEN)]).exits(4);
        let why = format!(
            "it is for https://api.github.com, not for {}",
            fake.server.url()
        );
        assert!(said(&ran).contains(&why), "{}", said(&ran));
    }
    // The clone's origin is a path, which names no server.
    let ran = run(&world, &GATES, &[("GITEA_TOKEN", TOKEN)]).exits(4);
    assert!(
        said(&ran).contains("neither GITHUB_API_URL nor"),
        "{}",
        said(&ran)
    );
    assert_eq!(fake.asked(), [] as [String; 0]);
    let url = format!("{}/acme/flows.git", fake.server.url());
    world.git(&["remote", "set-url", "origin", &url]);
    run(&world, &GATES, &[("GITEA_TOKEN", TOKEN)]).exits(1);
    let thief = recorder();
    world.replace(
        "repin.yaml",
        &fake.server.url(),
        &format!("http://{}", thief.host()),
    );
    run(&world, &GATES, &[("GITEA_TOKEN", TOKEN)]).exits(4);
    received_nothing(&thief);
    let ran = run(
        &world,
        &GATES,
        &[("GITEA_TOKEN", TOKEN), ("GITHUB_API_URL", "nowhere")],
    );
    assert!(said(&ran.exits(2)).contains("GITHUB_API_URL"));
}

const OWN: [(&str, &str); 1] = [("REPIN_FORGE_TOKEN", TOKEN)];

#[test]
fn base_branch_determines_the_forge() {
    for kind in FORGES {
        let (world, fake) = hosted(kind);
        let (mine, thief) = (world.read("repin.yaml"), recorder());
        let host = format!("http://{}", thief.host());
        let theirs = mine.replace(&fake.server.url(), &host);
        world.write("repin.yaml", &theirs);
        let ran = run(&world, &PROMOTE, &OWN).exits(2);
        for part in [&fake.server.url(), &host, "origin/main"] {
            assert!(said(&ran).contains(part), "{part} {}", said(&ran));
        }
        // Another base branch has no effect: the default branch counts, too.
        world.git(&["checkout", "-q", "-b", "theirs"]);
        let based = theirs.replace("acme/flows,", "acme/flows, base: theirs,");
        world.write("repin.yaml", based);
        world.commit("theirs");
        world.git(&["push", "-q", "origin", "theirs"]);
        world.git(&["fetch", "-q"]);
        world.git(&["remote", "set-head", "origin", "main"]);
        run(&world, &PROMOTE, &OWN).exits(2);
        // Another repository of the same forge is also refused.
        world.write("repin.yaml", mine.replace("acme/flows", "thief/flows"));
        run(&world, &PROMOTE, &OWN).exits(2);
        received_nothing(&thief);
        assert_eq!(fake.asked(), [] as [String; 0]);
        // A value that the base also has is used.
        world.write("repin.yaml", &mine);
        run(&world, &PROMOTE, &OWN).exits(0);
        assert_eq!(fake.store().open_pulls().len(), 1);
    }
}

#[test]
fn forge_base_is_compared_before_the_first_write() {
    for kind in FORGES {
        let (world, fake) = unknown_to_git(kind);
        let other = Fake::start(kind);
        publish(&world, &other, "as it is");
        world.replace("repin.yaml", &fake.api(), &other.api());
        let ran = run(&world, &PROMOTE, &OWN).exits(2);
        assert!(
            said(&ran).contains(&fake.server.url()) && said(&ran).contains(&other.server.url()),
            "{}",
            said(&ran)
        );
        assert_eq!(other.writes(), [] as [String; 0]);
        assert_eq!(fake.asked(), [] as [String; 0]);
    }
}

/// Variables that no other server and no container may receive.
const NEVER: [&str; 17] = [
    "REPIN_FORGE_TOKEN",
    "REPIN_FORGE_TOKEN_FILE",
    "GITHUB_TOKEN",
    "GITHUB_TOKEN_FILE",
    "GH_TOKEN",
    "GH_TOKEN_FILE",
    "GITEA_TOKEN",
    "GITEA_TOKEN_FILE",
    "github_token",
    "ACTIONS_RUNTIME_TOKEN",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
    "DOCKER_AUTH_CONFIG",
    "CI_REGISTRY_PASSWORD",
    "CI_DEPENDENCY_PROXY_PASSWORD",
    "CI_REPOSITORY_URL",
    "CI_DEPLOY_PASSWORD",
    "CI_JOB_JWT_V2",
];

#[test]
fn configuration_cannot_expose_job_variables() {
    let (world, thief) = (world(), recorder());
    let before = world.read("repin.yaml");
    let line = before.lines().count() + 1;
    let url = format!("http://{}/x.git", thief.host());
    for name in NEVER {
        for (block, command) in [
            (
                format!(
                    "freshness: [{{ name: f, pinned: {{ file: m.yaml, pointer: /ref }}, repository: '{url}', token_env: {name} }}]\n"
                ),
                &["freshness"][..],
            ),
            (
                format!(
                    "prune: {{ also_pinned_in: [{{ repository: '{url}', token_env: {name} }}] }}\n"
                ),
                &["prune"],
            ),
            (
                format!("smoke: {{ command: [curl, '{url}'], network: true, env: [{name}] }}\n"),
                &["promote", "--revision", REV_B],
            ),
        ] {
            world.write("repin.yaml", format!("{before}{block}"));
            world.write("m.yaml", "ref: 0123456789012345678901234567890123456789\n");
            let column = block.find(name).unwrap() + 1;
            let ran = run(&world, command, &[(name, TOKEN)]).exits(2);
            let place = format!("repin.yaml:{line}:{column}");
            assert!(ran.stderr.contains(&place), "{place}: {}", ran.stderr);
            assert!(
                said(&ran).contains("use a separate variable"),
                "{}",
                said(&ran)
            );
        }
    }
    received_nothing(&thief);
}

#[test]
fn past_configuration_may_use_refused_names() {
    let mut world = world();
    world.build(REV_B);
    let now = world.read("repin.yaml");
    let smoke = "smoke: { command: [x], env: [GITHUB_TOKEN] }\n";
    world.write("repin.yaml", format!("{now}{smoke}"));
    let world = world.with_git();
    world.run(&["check"]).exits(2);
    world.write("repin.yaml", now);
    world.promoted(REV_B);
    let listed = world.run(&["history", "--format", "json"]).exits(0);
    let document = listed.json();
    let entries = document["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 2, "{document}");
    for entry in entries {
        let images = entry["images"].as_object().unwrap();
        assert!(!images.is_empty(), "{document}");
    }
    assert_eq!(listed.stderr, "");
}

#[test]
fn settings_of_the_user_lead_to_no_other_server() {
    let (world, fake) = unknown_to_git(Kind::Github);
    let thief = recorder();
    let (forge, other) = (fake.server.url(), format!("http://{}", thief.host()));
    let settings = format!(
        "[url \"{other}/acme/flows.git\"]\n\tinsteadOf = {forge}/acme/flows.git\n\tpushInsteadOf = {forge}/acme/flows.git\n\
         [http \"{forge}/\"]\n\tfollowRedirects = true\n\
         [init]\n\tdefaultObjectFormat = sha256\n\tdefaultRefFormat = reftable\n"
    );
    world.write("user.gitconfig", &settings);
    let path = world.path("user.gitconfig");
    let variables = [
        ("REPIN_FORGE_TOKEN", TOKEN),
        ("GIT_CONFIG_GLOBAL", path.to_str().unwrap()),
    ];
    let args = ["promote", "--revision", REV_B, "--pr", "ready"];
    let location = format!("{other}/acme/flows.git/info/refs?service=git-upload-pack");
    let redirect = error(302, "Found").with("location", &location);
    let fetch = ("GET", "/info/refs?service=git-upload-pack");
    fake.fault(fetch, 1, Fault::Instead(redirect));
    assert_ne!(run(&world, &args, &variables).code, 0);
    run(&world, &args, &variables).exits(0);
    received_nothing(&thief);
}
