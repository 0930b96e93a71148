//! Every command that uses the network, each in a separate world with a proxy.

use std::{
    collections::BTreeMap,
    path::Path,
    process::Command,
    sync::{Arc, LazyLock},
};

use serde_json::{Value, json};

use super::{
    certificates::Certificates,
    proxy::{Proxy, UPSTREAM},
};
use crate::support::{
    fake,
    fleet::{self, Fleet},
    forge::{Fake, Kind as Forge, TOKEN, github_rules::Signatures},
    images::Image,
    packages::Packages,
    pruned,
    registry::{PASSWORD, Protection, Registry, USER, docker_config, run},
    scene::{days_ago, hours_ago},
    shop,
    token::{Grants, TokenServer},
    world::{self, CONFIG, REV_A, REV_B, World, world},
};

/// A command line, and the world that it runs in.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) args: &'static [&'static str],
    /// Whether the command may change the work tree, a registry or a forge.
    pub(crate) writes: bool,
    /// The exit code without a fault.
    pub(crate) exit: i32,
    build: fn(&Proxy, &Path) -> Parts,
}

/// The parts of a world except the proxy.
#[derive(Default)]
struct Parts {
    world: Option<World>,
    forge: Option<Fake>,
    /// A world with its forge.
    fleet: Option<Fleet>,
    packages: Option<Packages>,
    registry: Option<(tempfile::TempDir, Registry)>,
    repository: Option<fake::Fake>,
}

/// A case with its world and its proxy.
pub(crate) struct Scene {
    pub(crate) case: &'static Case,
    pub(crate) proxy: Proxy,
    /// Credentials and certificates, outside of the work tree.
    directory: tempfile::TempDir,
    parts: Parts,
}

pub(crate) static CASES: &[Case] = &[
    read("resolve", &["resolve", "--revision", REV_B], set),
    read("check", &["check", "--remote"], set),
    read("promote", &["promote", "--revision", REV_B], set),
    write(
        "promote-apply",
        &["promote", "--revision", REV_B, "--apply"],
        set,
    ),
    write(
        "promote-pr",
        &["promote", "--revision", REV_B, "--pr", "ready"],
        hosted_on_github,
    ),
    write(
        "promote-pr-gitea",
        &["promote", "--revision", REV_B, "--pr", "draft"],
        hosted_on_gitea,
    ),
    write(
        "promote-pr-gitlab",
        &["promote", "--revision", REV_B, "--pr", "ready"],
        hosted_on_gitlab,
    ),
    write(
        "promote-pr-signed",
        &["promote", "--revision", REV_B, "--pr", "ready"],
        signed_on_github,
    ),
    write(
        "rollback-pr",
        &["rollback", "--to", REV_A, "--pr", "ready"],
        promoted_on_github,
    ),
    read("promote-stage", &["promote", "--revision", REV_B], proven),
    read(
        "promote-source",
        &["promote", "--revision", BUILT],
        with_source,
    ),
    write(
        "fleet-promote-pr",
        &[
            "fleet",
            "promote",
            "--list",
            "list.txt",
            "--revision",
            fleet::REV,
            "--pr",
            "ready",
        ],
        fleet_on_github,
    ),
    read("builds", &["builds"], promoted),
    read("diff", &["diff", "--contents"], promoted),
    read("rollback", &["rollback", "--to", REV_A], promoted),
    read("rollback-remote", &["rollback", "--remote"], promoted),
    read("rehearse", &["rehearse", "--to", REV_A], promoted),
    write(
        "rollback-apply",
        &["rollback", "--to", REV_A, "--apply"],
        promoted,
    ),
    read("enumerate", &["inventory", "enumerate", "review"], set),
    read(
        "inventory",
        &["inventory", "check", "review", "--revision", REV_B],
        set,
    ),
    read("prune", &["prune"], registry_of_tags),
    write("prune-apply", &["prune", "--apply"], registry_of_tags),
    read("prune-packages", &["prune"], package),
    write("prune-packages-apply", &["prune", "--apply"], package),
    write(
        "restore",
        &[
            "prune",
            "restore",
            "--image",
            "app",
            "--version",
            "1001",
            "--apply",
        ],
        deleted,
    ),
    write("freshness", &["freshness", "--apply"], stale),
    read("gates", &["gates", "--ref", "main"], gated),
    read("gates-gitea", &["gates", "--ref", "main"], gated_on_gitea),
    write("wait", &["wait", "--pr", "1", "--timeout", "10s"], merged),
    write(
        "branch-promote",
        &[
            "branch", "promote", "--from", "staging", "--to", "main", "--apply",
        ],
        staged,
    ),
    write(
        "branch-sync",
        &[
            "branch", "sync", "--from", "main", "--to", "staging", "--apply",
        ],
        behind,
    ),
    read("doctor", &["doctor"], hosted_on_github),
];

const fn read(
    name: &'static str,
    args: &'static [&'static str],
    build: fn(&Proxy, &Path) -> Parts,
) -> Case {
    Case {
        name,
        args,
        writes: false,
        exit: 0,
        build,
    }
}

const fn write(
    name: &'static str,
    args: &'static [&'static str],
    build: fn(&Proxy, &Path) -> Parts,
) -> Case {
    Case {
        name,
        args,
        writes: true,
        exit: 0,
        build,
    }
}

impl Case {
    pub(crate) fn scene(&'static self, tls: bool) -> Scene {
        let directory = tempfile::tempdir().unwrap();
        let authority = directory.path().join("ca.pem");
        let certificates = tls.then(|| Arc::new(Certificates::issue(&authority)));
        let proxy = Proxy::start(certificates);
        docker_config(directory.path(), &proxy.host(), (USER, PASSWORD));
        let parts = (self.build)(&proxy, directory.path());
        Scene {
            case: self,
            proxy,
            directory,
            parts,
        }
    }
}

impl Scene {
    pub(crate) fn world(&self) -> &World {
        let fleet = self.parts.fleet.as_deref();
        self.parts.world.as_ref().or(fleet).unwrap()
    }

    /// Where credentials, certificates and other repositories are.
    pub(crate) fn directory(&self) -> String {
        self.directory.path().display().to_string()
    }

    /// The command, with the credentials that it needs.
    pub(crate) fn command(&self) -> Command {
        let args = [&["--format", "json", "-vv"], self.case.args].concat();
        let mut command = self.world().command(&args);
        if let Some(program) = std::env::var_os("REPIN_FAULTS_PROGRAM") {
            let mut other = Command::new(program);
            other
                .args(command.get_args())
                .current_dir(self.world().root());
            other.envs(
                command
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            );
            command = other;
        }
        command
            .env("DOCKER_CONFIG", self.directory.path())
            .env("REPIN_FORGE_TOKEN", TOKEN)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null");
        let authority = self.directory.path().join("ca.pem");
        if authority.exists() {
            command.env("REPIN_CA_FILE", &authority);
        }
        command
    }

    /// The state outside of the work tree that the run may change.
    pub(crate) fn remote(&self) -> Value {
        let mut state = json!({});
        let forge = self.parts.forge.as_ref().map(Fake::store);
        let of_fleet = || Some(self.parts.fleet.as_ref()?.forge.store(0));
        if let Some(store) = forge.or_else(of_fleet) {
            let files = |head: &String| -> BTreeMap<String, String> {
                let text = |blob: &String| {
                    String::from_utf8_lossy(&store.blob(blob).unwrap()).into_owned()
                };
                let files = store.files_of(head);
                files
                    .iter()
                    .map(|(path, (_, blob))| (path.clone(), text(blob)))
                    .collect()
            };
            state["branches"] = json!(
                store
                    .refs
                    .iter()
                    .map(|(name, head)| (name, files(head)))
                    .collect::<BTreeMap<_, _>>()
            );
            let pulls = store.pulls.iter().map(|pull| {
                json!({"title": pull.title, "head": pull.head, "base": pull.base, "draft": pull.draft,
                       "open": pull.open, "body": pull.body})
            });
            state["pulls"] = pulls.collect();
            let issues = store.issues.iter();
            state["issues"] = issues
                .map(|issue| json!([issue.title, issue.open]))
                .collect();
            let pulls = store.pulls.iter().map(|pull| &pull.labels);
            state["labels"] = json!(
                pulls
                    .chain(store.issues.iter().map(|issue| &issue.labels))
                    .collect::<Vec<_>>()
            );
            state["dispatched"] = json!(store.dispatched);
            state["scheduled"] = json!(store.scheduled.len());
        }
        if let Some(packages) = &self.parts.packages {
            state["packages"] = json!(packages.store().left());
        }
        if let Some((_, registry)) = &self.parts.registry {
            let listed: Value =
                serde_json::from_str(&pruned::get(&registry.host, "/v2/acme/app/tags/list"))
                    .unwrap_or_default();
            let mut tags: Vec<_> = listed["tags"].as_array().cloned().unwrap_or_default();
            tags.sort_by_key(Value::to_string);
            state["tags"] = tags.into();
        }
        state
    }
}

/// A registry with the images of [`shop`], which gives out tokens; nothing writes to it.
struct Shared {
    registry: Registry,
    tokens: TokenServer,
    _storage: tempfile::TempDir,
}

static SHARED: LazyLock<Shared> = LazyLock::new(|| {
    let storage = tempfile::tempdir().unwrap();
    let world = shop::shop();
    {
        let registry = Registry::start(storage.path(), &Protection::None);
        for image in ["review", "fix", "base"] {
            for revision in [REV_A, REV_B] {
                let from = format!(
                    "oci:{}:{revision}",
                    world.path("images").join(image).display()
                );
                let to = format!("docker://{}/acme/{image}:{revision}", registry.host);
                let flags = ["-q", "--all", "--preserve-digests", "--insecure-policy"];
                run(
                    "skopeo",
                    &[
                        &["copy"],
                        &flags[..],
                        &["--dest-tls-verify=false", &from, &to],
                    ]
                    .concat(),
                );
            }
        }
    }
    let tokens = TokenServer::start(storage.path(), Grants::Login);
    let protection = Protection::Token {
        realm: &format!("{UPSTREAM}/token"),
        certificate: &tokens.certificate,
    };
    let registry = Registry::start(storage.path(), &protection);
    Shared {
        registry,
        tokens,
        _storage: storage,
    }
});

/// The set in a registry, with two images that are pinned.
fn set(proxy: &Proxy, _: &Path) -> Parts {
    proxy.route("/token", &SHARED.tokens.fake.host());
    proxy.route("/v2/", &SHARED.registry.host);
    let world = shop::shop();
    std::fs::remove_dir_all(world.path("images")).unwrap();
    let there = format!("'{}/acme'", proxy.base());
    world.replace("repin.yaml", "oci:images", &there);
    // One image of two platforms makes each kind of request.
    let config = world.read("repin.yaml");
    let other = |line: &&str| line.starts_with("  fix:") || line.starts_with("  base:");
    let lines = config.lines().filter(|line| !other(line));
    world.write("repin.yaml", lines.collect::<Vec<_>>().join("\n") + "\n");
    let world = world.with_git();
    Parts {
        world: Some(world),
        ..Parts::default()
    }
}

/// The same after a promotion of B.
fn promoted(proxy: &Proxy, directory: &Path) -> Parts {
    let parts = set(proxy, directory);
    let world = parts.world.as_ref().unwrap();
    world.adopt(REV_A);
    world.pin(REV_B);
    world.commit(&format!("promote: test images @{REV_B}"));
    world.push();
    parts
}

/// The set with a stage in a private repository, where B has been current for 60 hours.
fn proven(proxy: &Proxy, directory: &Path) -> Parts {
    let mut parts = set(proxy, directory);
    let world = parts.world.as_ref().unwrap();
    let stage = directory.join("stage");
    std::fs::create_dir(&stage).unwrap();
    world::git(&stage, &["init", "-q", "-b", "main"]);
    for (revision, hours) in [(REV_A, 200), (REV_B, 60)] {
        world.pin(revision);
        for path in FILES {
            std::fs::create_dir_all(stage.join(path).parent().unwrap()).unwrap();
            std::fs::write(stage.join(path), world.read(path)).unwrap();
        }
        world::git(&stage, &["add", "-A"]);
        let title = format!("promote: test images @{revision}");
        world::git_at(&stage, &["commit", "-q", "-m", &title], &hours_ago(hours));
    }
    world::git(&stage, &["gc", "-q"]);
    world::git(&stage, &["update-server-info"]);
    world.pin(REV_A);
    let block = forge_block(proxy, Forge::Gitea, "labels: []");
    let after =
        "promote: { after: [{ set: { repository: acme/app, config: repin.yaml }, for: 24h }] }\n";
    world.write("repin.yaml", world.read("repin.yaml") + &block + after);
    world.commit("with a stage");
    world.push();
    let repository = fake::private_repository(stage.join(".git"), TOKEN);
    proxy.route("/acme/", &repository.host());
    parts.repository = Some(repository);
    parts
}

/// A commit of the source.
const BUILT: &str = "05294f672c85c53032a77fb36c310d437ee59034";

/// A set whose builds are those of a private repository.
fn with_source(proxy: &Proxy, directory: &Path) -> Parts {
    let source = directory.join("source");
    std::fs::create_dir(&source).unwrap();
    world::git(&source, &["init", "-q", "-b", "main"]);
    let mut revisions = Vec::new();
    for name in ["first", "second"] {
        let commit = ["commit", "-q", "--allow-empty", "-m", name];
        world::git_at(&source, &commit, "2026-01-02T03:04:05Z");
        let id: &'static str = world::git(&source, &["rev-parse", "HEAD"]).leak();
        revisions.push(id);
    }
    let [first, second] = [revisions[0], revisions[1]];
    assert_eq!(second, BUILT);
    world::git(&source, &["gc", "-q"]);
    world::git(&source, &["update-server-info"]);
    let mut world = World::empty();
    world.build(first);
    world.build(second);
    let block = forge_block(proxy, Forge::Gitea, "labels: []");
    world.write(
        "repin.yaml",
        CONFIG.to_owned() + &block + "source: acme/app\n",
    );
    world.pin(first);
    let world = world.with_git();
    world.adopt(first);
    world.push();
    let repository = fake::private_repository(source.join(".git"), TOKEN);
    proxy.route("/acme/", &repository.host());
    Parts {
        world: Some(world),
        repository: Some(repository),
        ..Parts::default()
    }
}

/// A fleet of one repository.
fn fleet_on_github(proxy: &Proxy, _: &Path) -> Parts {
    let mut options = fleet::options(Forge::Github, 1);
    options.root = Some(proxy.base());
    let fleet = Fleet::new(options);
    fleet.replace("repin.yaml", &fleet.forge.api(), &proxy.base());
    proxy.route("/", &fleet.forge.server.url());
    Parts {
        fleet: Some(fleet),
        ..Parts::default()
    }
}

fn forge_block(proxy: &Proxy, kind: Forge, settings: &str) -> String {
    let (name, path) = match kind {
        Forge::Github => ("github", ""),
        Forge::Gitlab => ("gitlab", "/api/v4"),
        Forge::Gitea | Forge::Forgejo => ("gitea", "/api/v1"),
    };
    format!(
        "forge: {{ kind: {name}, url: '{}{path}', repository: acme/flows, {settings} }}\n",
        proxy.base()
    )
}

fn forge(proxy: &Proxy, kind: Forge) -> Fake {
    let forge = Fake::start(kind);
    forge.store().root = proxy.base();
    proxy.route("/", &forge.server.url());
    forge
}

const FILES: [&str; 5] = [
    "repin.yaml",
    ".github/workflows/a.yml",
    ".github/workflows/b.yml",
    ".github/workflows/none.yml",
    "contracts/review.yaml",
];

fn hosted(proxy: &Proxy, mut parts: Parts, kind: Forge) -> Parts {
    let forge = forge(proxy, kind);
    let world = parts.world.as_ref().unwrap();
    let block = forge_block(proxy, kind, "labels: [ci]");
    world.write("repin.yaml", world.read("repin.yaml") + &block);
    let head = world.commit("with a forge");
    world.push();
    let listed = world.git(&["ls-files"]);
    let files: Vec<_> = listed
        .lines()
        .map(|path| (path, world.read(path)))
        .collect();
    let files: Vec<_> = files.iter().map(|(path, text)| (*path, &**text)).collect();
    forge.store().push("main", "as it is", &files);
    forge.store().name_head("main", &head, world.root());
    parts.forge = Some(forge);
    parts
}

fn hosted_on_github(proxy: &Proxy, directory: &Path) -> Parts {
    hosted(proxy, set(proxy, directory), Forge::Github)
}

fn hosted_on_gitea(proxy: &Proxy, directory: &Path) -> Parts {
    hosted(proxy, set(proxy, directory), Forge::Gitea)
}

fn hosted_on_gitlab(proxy: &Proxy, directory: &Path) -> Parts {
    hosted(proxy, set(proxy, directory), Forge::Gitlab)
}

fn promoted_on_github(proxy: &Proxy, directory: &Path) -> Parts {
    hosted(proxy, promoted(proxy, directory), Forge::Github)
}

/// The server signs the commit on a temporary branch.
fn signed_on_github(proxy: &Proxy, directory: &Path) -> Parts {
    let parts = hosted_on_github(proxy, directory);
    let forge = parts.forge.as_ref().unwrap();
    forge.store().rules.signatures = Some(Signatures::Base);
    parts
}

/// A world with a forge; its images are never requested.
fn plain(proxy: &Proxy, kind: Forge, settings: &str) -> (World, Fake) {
    let (world, forge) = (world(), forge(proxy, kind));
    world.write(
        "repin.yaml",
        CONFIG.to_owned() + &forge_block(proxy, kind, settings),
    );
    let files = FILES[..4]
        .iter()
        .map(|path| (*path, world.read(path)))
        .collect::<Vec<_>>();
    let files: Vec<_> = files
        .iter()
        .map(|(path, text)| (*path, text.as_str()))
        .collect();
    forge.store().push("main", "as it is", &files);
    (world, forge)
}

fn with_forge((world, forge): (World, Fake)) -> Parts {
    Parts {
        world: Some(world),
        forge: Some(forge),
        ..Parts::default()
    }
}

fn gates_of(proxy: &Proxy, kind: Forge) -> Parts {
    let parts = with_forge(plain(proxy, kind, "gates: [ci]"));
    parts
        .forge
        .as_ref()
        .unwrap()
        .store()
        .report("ci", "success");
    parts
}

fn gated(proxy: &Proxy, _: &Path) -> Parts {
    gates_of(proxy, Forge::Github)
}

fn gated_on_gitea(proxy: &Proxy, _: &Path) -> Parts {
    gates_of(proxy, Forge::Gitea)
}

/// A pull request that was merged, after which a workflow starts.
fn merged(proxy: &Proxy, _: &Path) -> Parts {
    let (world, forge) = plain(proxy, Forge::Github, "dispatch: [deploy.yml]");
    {
        let mut store = forge.store();
        store.workflows_there = vec!["deploy.yml"];
        store.merge_in_workflow_runs();
        store.push("auto/x", "a change", &[("x", "1")]);
        let number = store.add_pull("auto/x", "main").number;
        store.merge(number);
    }
    with_forge((world, forge))
}

/// A branch that is brought to the base.
fn staged(proxy: &Proxy, _: &Path) -> Parts {
    let (world, forge) = plain(proxy, Forge::Github, "labels: [ci], gates: [ci]");
    forge.store().push("staging", "new work", &[("x", "y")]);
    forge.store().report("ci", "success");
    with_forge((world, forge))
}

/// A branch that `main` is merged into.
fn behind(proxy: &Proxy, _: &Path) -> Parts {
    let (world, forge) = plain(proxy, Forge::Github, "sync_targets: [staging]");
    {
        let mut store = forge.store();
        store.push("staging", "new work", &[("x", "y")]);
        store.push("main", "a fix", &[("fix", "1")]);
    }
    with_forge((world, forge))
}

/// An outdated pin of another repository, for which an issue is opened.
fn stale(proxy: &Proxy, directory: &Path) -> Parts {
    let (world, forge) = plain(proxy, Forge::Github, "labels: []");
    let other = directory.join("other");
    std::fs::create_dir_all(&other).unwrap();
    let git = |args: &[&str]| crate::support::world::git(&other, args);
    git(&["init", "-q", "-b", "main"]);
    git(&["config", "uploadpack.allowFilter", "true"]);
    git(&["commit", "-q", "--allow-empty", "-m", "first"]);
    let first = git(&["rev-parse", "HEAD"]);
    std::fs::write(other.join("x"), "2").unwrap();
    git(&["add", "-A"]);
    let mut later = Command::new("git");
    later
        .current_dir(&other)
        .env("GIT_CONFIG_GLOBAL", "/dev/null");
    later
        .env("GIT_AUTHOR_DATE", "2026-03-02T03:04:05Z")
        .env("GIT_COMMITTER_DATE", "2026-03-02T03:04:05Z");
    let output = later
        .args([
            "-c",
            "user.name=A",
            "-c",
            "user.email=a@b",
            "commit",
            "-q",
            "-m",
            "second",
        ])
        .output();
    assert!(output.unwrap().status.success());
    world.write("runtime/manifest.yaml", format!("ref: '{first}'\n"));
    let entry = format!(
        "freshness:\n  - name: configs\n    pinned: {{ file: runtime/manifest.yaml, pointer: /ref }}\n    \
         repository: '{}'\n    max_gap: 1d\n    issue: {{ title: 'Pinned configs are stale', labels: [ci] }}\n",
        other.display()
    );
    world.write("repin.yaml", world.read("repin.yaml") + &entry);
    with_forge((world, forge))
}

/// A repository that pins the first of some images, with everything that prune needs.
fn pruning(name: &str, config: &str, digest: &str) -> World {
    let world = world();
    std::fs::remove_dir_all(world.path("images")).unwrap();
    std::fs::remove_dir_all(world.path(".github")).unwrap();
    world.write("repin.yaml", config);
    world.write(
        ".github/workflows/a.yml",
        format!("image: {name}@{digest}\n"),
    );
    world.with_git()
}

/// A real registry that lists only tags, two of which may go.
fn registry_of_tags(proxy: &Proxy, directory: &Path) -> Parts {
    let storage = tempfile::tempdir().unwrap();
    let pinned = pruned::pinned();
    let registry = Registry::start(storage.path(), &Protection::None);
    let (a, b) = (pruned::old("a"), pruned::old("b"));
    let young = pruned::young("c");
    pruned::push(
        &registry,
        "acme/app",
        &[
            ("main", &pinned),
            ("pending-a", &a),
            ("pending-b", &b),
            ("pending-c", &young),
        ],
    );
    proxy.route("/v2/", &registry.host);
    let _ = directory;
    let config = format!(
        "version: 1\nname: test images\nfiles: ['.github/workflows/*.yml']\nsources: {{ registry.example: '{}' }}\n\
         images: {{ app: {{ repository: registry.example/acme/app, pins: 1 }} }}\nprune: {{}}\n",
        proxy.base()
    );
    let world = pruning(
        "registry.example/acme/app",
        &config,
        &pinned.digest().to_string(),
    );
    Parts {
        world: Some(world),
        registry: Some((storage, registry)),
        ..Parts::default()
    }
}

/// A package on GitHub with two versions that may go.
fn package(proxy: &Proxy, _: &Path) -> Parts {
    let packages = Packages::start("orgs");
    proxy.route("/", &packages.url());
    let pinned = Image::single("amd64", "pinned");
    {
        let mut store = packages.store();
        store.push(&["main"], &pinned, &days_ago(90));
        store.push(&["pending-a"], &Image::single("amd64", "a"), &days_ago(40));
        store.push(&["pending-b"], &Image::single("amd64", "b"), &days_ago(50));
    }
    let url = proxy.base();
    let config = format!(
        "version: 1\nfiles: ['.github/workflows/*.yml']\nsources: {{ ghcr.io: '{url}' }}\n\
         images: {{ app: {{ repository: ghcr.io/acme/team/app, pins: 1 }} }}\n\
         forge: {{ kind: github, url: '{url}', repository: acme/flows }}\nprune: {{}}\n"
    );
    let world = pruning(
        "ghcr.io/acme/team/app",
        &config,
        &pinned.digest().to_string(),
    );
    Parts {
        world: Some(world),
        packages: Some(packages),
        ..Parts::default()
    }
}

/// The same with a deleted version.
fn deleted(proxy: &Proxy, directory: &Path) -> Parts {
    let parts = package(proxy, directory);
    let mut store = parts.packages.as_ref().unwrap().store();
    store.remove(Image::single("amd64", "a").digest());
    drop(store);
    parts
}
