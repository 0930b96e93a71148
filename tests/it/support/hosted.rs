//! A world with a base branch on a simulated forge, and runs with its token.

use serde_json::Value;

use super::{
    forge::{Fake, Kind, TOKEN},
    sweep::with_each,
    world::{REV_B, REV_C, Ran, World, world},
};

/// Every API.
pub const FORGES: [Kind; 3] = [Kind::Github, Kind::Gitea, Kind::Gitlab];
/// Both servers with Gitea's API.
pub const GITEAS: [Kind; 2] = [Kind::Gitea, Kind::Forgejo];
/// Every server.
pub const SERVERS: [Kind; 4] = [Kind::Github, Kind::Gitea, Kind::Forgejo, Kind::Gitlab];

/// Each case on one server, or on all of them in a long sweep.
pub fn on_servers<T: Clone>(cases: &[T]) -> Vec<(Kind, T)> {
    with_each(cases, &SERVERS)
}

/// The servers that start workflows on request.
pub const DISPATCHING: [Kind; 3] = [Kind::Github, Kind::Gitea, Kind::Forgejo];

/// A file with pins.
pub const A: &str = ".github/workflows/a.yml";
/// The files of the base branch.
pub const FILES: [&str; 4] = [
    "repin.yaml",
    A,
    ".github/workflows/b.yml",
    ".github/workflows/none.yml",
];

/// Opens a pull request that promotes to B.
pub const PROMOTE: [&str; 5] = ["promote", "--revision", REV_B, "--pr", "ready"];
/// Opens or updates the pull request of C, with a document.
pub const PROPOSE_C: [&str; 7] = [
    "promote",
    "--revision",
    REV_C,
    "--pr",
    "ready",
    "--format",
    "json",
];
/// Polls until the first pull request is merged.
pub const WAIT: [&str; 7] = ["wait", "--pr", "1", "--timeout", "1m", "--format", "json"];
/// Reports the state of the first pull request.
pub const LOOK: [&str; 7] = ["wait", "--pr", "1", "--timeout", "0s", "--format", "json"];

/// A world with a base branch on a forge; `settings` are keys of the `forge` block, separated by
/// commas. With `dispatch`, the token of a workflow run merges.
pub fn hosted(kind: Kind, settings: &str) -> (World, Fake) {
    let (world, fake) = configured(kind, settings);
    publish(&world, &fake, "as it is");
    (world, fake)
}

/// The same with the repository's root in a directory of the forge's repository.
pub fn hosted_in(kind: Kind, settings: &str, directory: &str) -> (World, Fake) {
    let (world, fake) = configured(kind, settings);
    publish_in(&world, &fake, "as it is", directory);
    (world, fake)
}

fn configured(kind: Kind, settings: &str) -> (World, Fake) {
    let (world, fake) = (world(), Fake::start(kind));
    if settings.contains("dispatch:") {
        fake.store().merge_in_workflow_runs();
    }
    let block = format!(
        "forge: {{ kind: {}, url: '{}', repository: acme/flows, {settings} }}\n",
        kind.name(),
        fake.api()
    );
    world.write("repin.yaml", world.read("repin.yaml") + &block);
    (world, fake)
}

/// Pushes the content of the work tree as the head of the forge's main branch.
pub fn publish(world: &World, fake: &Fake, message: &str) {
    publish_in(world, fake, message, "");
}

/// The same below a directory.
pub fn publish_in(world: &World, fake: &Fake, message: &str, directory: &str) {
    let files = FILES.map(|path| (format!("{directory}{path}"), world.read(path)));
    let files = files.each_ref().map(|(path, text)| (&**path, &**text));
    fake.store().push("main", message, &files);
}

/// Runs with the forge's token and checks that no output contains it.
pub fn run(world: &World, args: &[&str]) -> Ran {
    run_as(TOKEN, world, args)
}

/// Runs with another token and checks that no output contains it.
pub fn run_as(token: &str, world: &World, args: &[&str]) -> Ran {
    run_with(world, args, &[("REPIN_FORGE_TOKEN", token)])
}

/// Runs with variables and checks that no output contains the forge's token.
pub fn run_with(world: &World, args: &[&str], env: &[(&str, &str)]) -> Ran {
    let ran = world.run_with(args, env);
    let output = format!("{}{}", ran.stdout, ran.stderr);
    let tokens = env.iter().filter(|(name, _)| name.ends_with("TOKEN"));
    for token in tokens.map(|(_, token)| *token).chain([TOKEN]) {
        assert!(token.is_empty() || !output.contains(token), "{output}");
    }
    ran
}

/// Runs with the forge's token, and returns the document of a run with this exit.
pub fn document(world: &World, args: &[&str], exit: i32) -> Value {
    let args = [args, &["--format", "json"]].concat();
    run(world, &args).exits(exit).json()
}

/// A promotion to a revision through a ready pull request, as JSON.
pub fn promote(revision: &'static str) -> [&'static str; 7] {
    let [promote, flag, _, pr, ready] = PROMOTE;
    [promote, flag, revision, pr, ready, "--format", "json"]
}
