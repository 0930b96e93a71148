//! The program against registries: docker-registry, directly and through a proxy that changes
//! single requests.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::Stdio,
    sync::{Arc, OnceLock},
    thread,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::support::{
    self,
    fake::{Fake, Reaction, Request},
    forge,
    layout::Platform,
    registry::{PASSWORD, Protection, Registry, USER, docker_config, push_layout, run},
    tls,
    token::{Grants, TokenServer},
    world::{REV_A, REV_B, Ran, World, failed},
};

/// The images of the set.
const IMAGES: [&str; 4] = ["review", "fix", "triage", "base"];

/// The world with a fourth image, `triage`, which is pinned once.
fn world() -> World {
    let mut world = support::world::world();
    world.replace(
        "repin.yaml",
        "  base:",
        "  triage: { repository: ghcr.io/acme/triage, pins: 1 }\n  base:",
    );
    for revision in [REV_A, REV_B] {
        world.rebuild(
            "triage",
            revision,
            &[Platform::new("linux/amd64", revision).label("dev.acme.version", "t")],
        );
    }
    world.write(
        ".github/workflows/c.yml",
        format!("t: ghcr.io/acme/triage@{}\n", world.digest("triage", REV_A)),
    );
    world
}

/// The storage of a registry that holds the world's images.
fn stored(world: &World) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::start(directory.path(), &Protection::None);
    for image in IMAGES {
        for revision in [REV_A, REV_B] {
            push(world, &registry, image, revision);
        }
    }
    directory
}

fn push(world: &World, registry: &Registry, image: &str, revision: &str) {
    push_layout(&world.path("images"), registry, image, revision);
}

fn promote(world: &World, base: &str, env: &[(&str, &str)]) -> Ran {
    let source = format!("ghcr.io/acme={base}/acme");
    world.run_with(
        &[
            "promote",
            "--revision",
            REV_B,
            "--apply",
            "--format",
            "json",
            "--source",
            &source,
        ],
        env,
    )
}

/// The output of `resolve` for every image equals the result of another client for the tag, byte
/// for byte.
#[test]
fn another_client_resolves_the_same_digests() {
    use oci_client::{
        Client, Reference,
        client::{ClientConfig, ClientProtocol},
        manifest::OciManifest,
        secrets::RegistryAuth::Anonymous,
    };
    // The client requires one even for plain HTTP; another test may have set it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut world = world();
    let two = ["linux/amd64", "linux/arm64"].map(|name| Platform::new(name, REV_B));
    world.rebuild("review", REV_B, &two);
    let directory = stored(&world);
    let registry = Registry::start(directory.path(), &Protection::None);
    let source = format!("ghcr.io/acme=http://{}/acme", registry.host);
    let args = [
        "resolve",
        "--revision",
        REV_B,
        "--format",
        "json",
        "--source",
        &source,
    ];
    let document = world.run(&args).exits(0).json();
    let client = Client::new(ClientConfig {
        protocol: ClientProtocol::Http,
        ..ClientConfig::default()
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let images = document["images"].as_array().unwrap();
    assert_eq!(images.len(), IMAGES.len());
    for image in images {
        let name = image["name"].as_str().unwrap();
        let reference: Reference = format!("{}/acme/{name}:{REV_B}", registry.host)
            .parse()
            .unwrap();
        let pulled = runtime.block_on(client.pull_manifest(&reference, &Anonymous));
        let (manifest, digest) = pulled.unwrap();
        assert_eq!(image["digest"], digest, "{name}");
        let platforms = image["platforms"].as_array().unwrap();
        match manifest {
            OciManifest::ImageIndex(index) => {
                let found: Vec<_> = index
                    .manifests
                    .iter()
                    .map(|entry| entry.digest.as_str())
                    .collect();
                let ours: Vec<_> = platforms
                    .iter()
                    .map(|row| row["digest"].as_str().unwrap())
                    .collect();
                assert_eq!((name, ours), ("review", found));
            }
            OciManifest::Image(_) => assert_eq!(platforms[0]["digest"], digest, "{name}"),
        }
        let claimed = runtime.block_on(client.fetch_manifest_digest(&reference, &Anonymous));
        assert_eq!(claimed.unwrap(), digest, "{name}");
    }
}

/// Checks by the contents of the files that the set was promoted.
fn promoted(world: &World, ran: Ran) -> Value {
    let document = ran.exits(0).json();
    assert_eq!(
        (&document["approved"], &document["applied"]),
        (&Value::Bool(true), &Value::Bool(true)),
        "{document}"
    );
    for (image, file) in [("review", "b.yml"), ("fix", "b.yml"), ("triage", "c.yml")] {
        let text = world.read(&format!(".github/workflows/{file}"));
        assert!(text.contains(world.digest(image, REV_B)), "{image}");
    }
    document
}

fn statuses(registry: &Registry, status: &str) -> usize {
    registry
        .requests()
        .iter()
        .filter(|line| line.ends_with(status))
        .count()
}

#[test]
fn promotion_from_registry_needs_few_requests() {
    let world = world();
    let directory = stored(&world);
    let registry = Registry::start(directory.path(), &Protection::None);
    promoted(
        &world,
        promote(&world, &format!("http://{}", registry.host), &[]),
    );
    let requests = registry.requests();
    // Five for `review` on two platforms, two each for the others; the same for each replaced digest.
    assert_eq!(requests.len(), 5 + 2 * 3 + 5 + 2 * 2, "{requests:#?}");
    for image in IMAGES {
        let tag = format!("/acme/{image}/manifests/{REV_B} ");
        assert_eq!(
            requests.iter().filter(|line| line.contains(&tag)).count(),
            1,
            "{requests:#?}"
        );
    }
}

#[test]
fn tag_is_requested_once_per_run() {
    let world = world();
    let directory = stored(&world);
    let registry = Registry::start(directory.path(), &Protection::None);
    let fake = forge::Fake::start(forge::Kind::Github);
    let block = format!(
        "forge: {{ kind: github, url: '{}', repository: acme/flows }}\n",
        fake.api()
    );
    let config = world
        .read("repin.yaml")
        .replace("oci:images", &format!("'http://{}/acme'", registry.host));
    world.write("repin.yaml", config + &block);
    let files = [
        "repin.yaml",
        ".github/workflows/a.yml",
        ".github/workflows/b.yml",
        ".github/workflows/c.yml",
    ];
    let files = files.map(|path| (path, world.read(path)));
    let files: Vec<_> = files
        .iter()
        .map(|(path, text)| (*path, text.as_str()))
        .collect();
    fake.store().push("main", "as it is", &files);
    fake.store().intruder = Some(("README.md".to_owned(), "other".to_owned()));
    let args = [
        "promote",
        "--revision",
        REV_B,
        "--pr",
        "ready",
        "--format",
        "json",
    ];
    let ran = world
        .run_with(&args, &[("REPIN_FORGE_TOKEN", forge::TOKEN)])
        .exits(0);
    assert!(ran.stderr.contains("planning again"), "{}", ran.stderr);
    let requests = registry.requests();
    for image in IMAGES {
        let tag = format!("GET /v2/acme/{image}/manifests/{REV_B} ");
        assert_eq!(
            requests.iter().filter(|line| line.contains(&tag)).count(),
            1,
            "{requests:#?}"
        );
    }
}

#[test]
fn platform_of_both_sets_is_requested_once() {
    let mut world = world();
    let shared = Platform::new("linux/arm64", REV_A);
    for revision in [REV_A, REV_B] {
        let platforms = [Platform::new("linux/amd64", revision), shared.clone()];
        world.rebuild("fix", revision, &platforms);
    }
    world.pin(REV_A);
    let directory = stored(&world);
    let registry = Registry::start(directory.path(), &Protection::None);
    let source = format!("ghcr.io/acme=http://{}/acme", registry.host);
    let digest = world.layout("fix").manifest(&shared).digest;
    let args = ["diff", "--revision", REV_B, "--source", &source];
    world.run(&args).exits(0);
    let requests = registry.requests();
    let count = requests.iter().filter(|line| line.contains(&digest));
    assert_eq!(count.count(), 1, "{requests:#?}");
}

#[test]
fn moved_tags_stop_rollback_and_promotion() {
    let mut world = world();
    let directory = stored(&world);
    let registry = Registry::start(directory.path(), &Protection::None);
    world.replace(
        "repin.yaml",
        "oci:images",
        &format!("'http://{}/acme'", registry.host),
    );
    // Something else was pinned before A.
    for file in ["a.yml", "b.yml"] {
        let path = format!(".github/workflows/{file}");
        let zeros = format!("sha256:{}", "0".repeat(64));
        let text = ["review", "fix"]
            .iter()
            .fold(world.read(&path), |text, image| {
                text.replace(world.digest(image, REV_A), &zeros)
            });
        world.write(&path, text);
    }
    world = world.with_git();
    world.promoted(REV_A);
    world.promoted(REV_B);
    world.run(&["check", "--remote"]).exits(0);
    let to_a = ["rollback", "--to", REV_A];
    world.run(&[&to_a[..], &["--apply"]].concat()).exits(0);
    world.commit(&format!("rollback: test images @{REV_A}"));
    world.push();
    world.refuses_to(&["promote", "--revision", REV_B], 1, &["rolled_back"]);
    world
        .run(&[
            "promote",
            "--revision",
            REV_B,
            "--force-after-rollback",
            "--apply",
        ])
        .exits(0);
    world.commit(&format!("promote: test images @{REV_B}"));
    world.push();

    // Relabeled: pushed under the old tag, built from another commit; then on only one platform.
    let then = world.digest("fix", REV_A).to_owned();
    world.rebuild("fix", REV_A, &[Platform::new("linux/amd64", REV_B)]);
    push(&world, &registry, "fix", REV_A);
    let document = world.refuses_to(&to_a, 1, &["digest_mismatch", "revision_label"]);
    let message = document.to_string();
    assert!(
        message.contains(&then) && message.contains(world.digest("fix", REV_A)),
        "{message}"
    );
    world.rebuild(
        "fix",
        REV_A,
        &[
            Platform::new("linux/amd64", REV_A),
            Platform::new("linux/arm64", REV_B),
        ],
    );
    push(&world, &registry, "fix", REV_A);
    let document = world.refuses_to(&to_a, 1, &["digest_mismatch", "revision_label"]);
    assert!(document.to_string().contains("linux/arm64"), "{document}");
    // Retagged, with everything right but the digest.
    world.rebuild(
        "fix",
        REV_A,
        &[Platform::new("linux/amd64", REV_A).label("moved", "yes")],
    );
    push(&world, &registry, "fix", REV_A);
    world.refuses_to(&to_a, 1, &["digest_mismatch"]);
    // Deleted, together with the currently pinned version.
    for revision in [REV_A, REV_B] {
        let image = format!("docker://{}/acme/fix:{revision}", registry.host);
        run("skopeo", &["delete", "--tls-verify=false", &image]);
    }
    world.refuses_to(&to_a, 1, &["tag_missing"]);
    let document = world
        .run(&["check", "--remote", "--format", "json"])
        .exits(1)
        .json();
    assert_eq!(
        failed(&document),
        ["digest_missing", "tag_missing"],
        "{document}"
    );
}

#[test]
fn a_set_is_promoted_with_a_password() {
    let world = world();
    let directory = stored(&world);
    let registry = Registry::start(directory.path(), &Protection::Password);
    let config = docker_config(
        &directory.path().join("docker"),
        &registry.host,
        (USER, PASSWORD),
    );
    let ran = promote(
        &world,
        &format!("http://{}", registry.host),
        &[("DOCKER_CONFIG", config.to_str().unwrap())],
    );
    assert!(!format!("{}{}", ran.stdout, ran.stderr).contains(PASSWORD));
    promoted(&world, ran);
    assert_eq!(
        (statuses(&registry, " 401"), statuses(&registry, " 200")),
        (4, 20)
    );
}

#[test]
fn a_set_is_promoted_with_tokens() {
    let world = world();
    let directory = stored(&world);
    let server = TokenServer::start(directory.path(), Grants::Anonymous);
    let protection = Protection::Token {
        realm: &server.realm(),
        certificate: &server.certificate,
    };
    let registry = Registry::start(directory.path(), &protection);
    promoted(
        &world,
        promote(&world, &format!("http://{}", registry.host), &[]),
    );
    assert_eq!(
        (server.fake.requests().len(), statuses(&registry, " 200")),
        (4, 20)
    );
}

#[test]
fn foreign_token_server_needs_configuration_for_credentials() {
    let world = world();
    let directory = stored(&world);
    let server = TokenServer::start(directory.path(), Grants::Login);
    let protection = Protection::Token {
        realm: &server.realm(),
        certificate: &server.certificate,
    };
    let registry = Registry::start(directory.path(), &protection);
    let docker = docker_config(
        &directory.path().join("docker"),
        &registry.host,
        (USER, PASSWORD),
    );
    let env = [("DOCKER_CONFIG", docker.to_str().unwrap())];
    let base = format!("http://{}", registry.host);
    let refused = promote(&world, &base, &env).exits(4).json();
    assert!(
        error_message(&refused).contains("is not the registry's own host"),
        "{refused}"
    );
    let realms = format!(
        "realms: {{ '{}': '{}' }}\n",
        registry.host,
        server.fake.host()
    );
    world.write("repin.yaml", world.read("repin.yaml") + &realms);
    promoted(&world, promote(&world, &base, &env));
}

#[test]
fn set_is_promoted_over_tls_with_custom_root() {
    let world = world();
    let directory = stored(&world);
    let (root, certificate, key) = tls::authority(directory.path());
    let registry = Registry::start(
        directory.path(),
        &Protection::Tls {
            certificate: &certificate,
            key: &key,
        },
    );
    let base = format!("https://{}", registry.host);
    let untrusted = promote(&world, &base, &[]).exits(3).json();
    assert!(
        error_message(&untrusted).contains("TLS failed"),
        "{untrusted}"
    );
    promoted(
        &world,
        promote(&world, &base, &[("REPIN_CA_FILE", root.to_str().unwrap())]),
    );
    assert!(registry.log().contains("HTTP/2.0\" 200"));
}

/// Sends a request on as it is, but for its host, and gives back the response's bytes.
pub(crate) fn forwarded(host: &str, request: &Request) -> Reaction {
    let mut stream = TcpStream::connect(host).unwrap();
    let mut head = format!(
        "{} {} HTTP/1.1\r\nConnection: close\r\n",
        request.method, request.target
    );
    for (name, value) in &request.headers {
        if !name.eq_ignore_ascii_case("connection") {
            head.push_str(&[name, ": ", value, "\r\n"].concat());
        }
    }
    stream
        .write_all(format!("{head}\r\n{}", request.body).as_bytes())
        .unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    Reaction::Raw(bytes)
}

/// A registry with tokens for authenticated users, with its token server on the same host, through
/// a proxy that may spoil.
struct Spoiled<'s> {
    stored: &'s Stored,
    proxy: Fake,
    _registry: Registry,
    _server: TokenServer,
}

/// A world, and the storage of a registry that holds its images.
struct Stored {
    world: World,
    directory: tempfile::TempDir,
}

fn store() -> Stored {
    let world = world();
    let directory = stored(&world);
    Stored { world, directory }
}

fn spoiled(
    stored: &Stored,
    spoil: impl Fn(&Request) -> Option<Reaction> + Send + Sync + 'static,
) -> Spoiled<'_> {
    let directory = &stored.directory;
    let server = TokenServer::start(directory.path(), Grants::Login);
    let (token_host, registry_host): (String, Arc<OnceLock<String>>) =
        (server.fake.host(), Arc::default());
    let behind = Arc::clone(&registry_host);
    let proxy = Fake::start(move |request| {
        let host = if request.path() == "/token" {
            &token_host
        } else {
            behind.get().unwrap()
        };
        spoil(request).unwrap_or_else(|| forwarded(host, request))
    });
    let realm = format!("http://{}/token", proxy.host());
    let registry = Registry::start(
        directory.path(),
        &Protection::Token {
            realm: &realm,
            certificate: &server.certificate,
        },
    );
    registry_host.set(registry.host.clone()).unwrap();
    docker_config(
        &directory.path().join("docker"),
        &proxy.host(),
        (USER, PASSWORD),
    );
    Spoiled {
        stored,
        proxy,
        _registry: registry,
        _server: server,
    }
}

impl Spoiled<'_> {
    fn promote(&self, env: &[(&str, &str)]) -> Ran {
        let docker = self.stored.directory.path().join("docker");
        let env = [&[("DOCKER_CONFIG", docker.to_str().unwrap())], env].concat();
        promote(
            &self.stored.world,
            &format!("http://{}", self.proxy.host()),
            &env,
        )
    }

    /// Every file, but the lock's directory.
    fn files(&self) -> impl PartialEq + std::fmt::Debug {
        let mut files = self.stored.world.snapshot();
        files.retain(|path, _| !path.starts_with(self.stored.world.path(".repin")));
        files
    }

    /// A promotion with this exit, which changes no file and exposes no secret.
    fn refuses(&self, exit: i32, env: &[(&str, &str)]) -> Value {
        let before = self.files();
        let ran = self.promote(env);
        let after = self.files();
        assert_eq!(before, after, "something was changed");
        for text in [&ran.stdout, &ran.stderr] {
            self.no_secret(text);
        }
        ran.exits(exit).json()
    }

    /// The password, and every token that was sent.
    fn no_secret(&self, text: &str) {
        let sent = self.proxy.requests();
        let sent = sent.iter().filter_map(|request| {
            request
                .header("authorization")?
                .split_once(' ')
                .map(|(_, secret)| secret)
        });
        let plain = [PASSWORD.to_owned(), STANDARD.encode(PASSWORD)];
        for secret in sent.map(str::to_owned).chain(plain) {
            assert!(!text.contains(&secret), "{secret} in {text}");
        }
    }
}

#[test]
fn stored_login_is_used_for_a_promotion() {
    let store = store();
    let registry = spoiled(&store, |_| None);
    promoted(&store.world, registry.promote(&[]));
    assert_eq!(registry.proxy.count("/token?"), 4);
}

/// The kinds of request of a promotion.
const KINDS: [fn(&Request) -> bool; 4] = [
    |request| request.path().ends_with(REV_B),
    |request| request.path().contains("/manifests/sha256:"),
    |request| request.path().contains("/blobs/"),
    |request| request.path() == "/token",
];

fn error_code(document: &Value) -> &str {
    document["error"]["code"]
        .as_str()
        .unwrap_or_else(|| panic!("{document}"))
}

fn error_message(document: &Value) -> &str {
    document["error"]["message"]
        .as_str()
        .unwrap_or_else(|| panic!("{document}"))
}

/// An error with the request in its body.
fn echo(status: u16, request: &Request) -> Reaction {
    let sent = request.header("authorization").unwrap_or_default();
    Reaction::new(
        status,
        format!("{{\"errors\":[{{\"code\":\"X\",\"message\":\"you sent {sent}\"}}]}}"),
    )
}

#[test]
fn refusal_of_any_request_is_exit_4() {
    let store = store();
    for is in KINDS {
        let document = spoiled(&store, move |request| {
            is(request).then(|| echo(403, request))
        })
        .refuses(4, &[]);
        assert_eq!(error_code(&document), "denied", "{document}");
    }
}

#[test]
fn unverified_response_to_any_request_is_exit_3() {
    let store = store();
    for (kind, is) in KINDS.into_iter().enumerate() {
        // The bytes of a request by digest are compared with it.
        let by_digest = kind == 1 || kind == 2;
        let html = || Reaction::new(200, "<html>Sign in</html>").with("Content-Type", "text/html");
        let spoiled_html = spoiled(&store, move |request| is(request).then(html));
        let document = spoiled_html.refuses(if by_digest { 1 } else { 3 }, &[]);
        assert_eq!(
            failed(&document)
                .iter()
                .any(|code| code == "content_mismatch"),
            by_digest,
            "{document}"
        );
        let circle =
            |request: &Request| Reaction::new(302, "").with("Location", request.target.clone());
        spoiled(&store, move |request| is(request).then(|| circle(request))).refuses(3, &[]);
        spoiled(&store, move |request| {
            is(request).then(|| echo(429, request).with("Retry-After", "3600"))
        })
        .refuses(3, &[]);
    }
}

#[test]
fn echoed_short_password_is_not_shown() {
    let world = world();
    let proxy = Fake::start(|request| match request.header("authorization") {
        Some(_) => echo(403, request),
        None => Reaction::new(401, "{}").with("WWW-Authenticate", "Basic realm=\"x\""),
    });
    let docker = tempfile::tempdir().unwrap();
    docker_config(docker.path(), &proxy.host(), ("ada", "x1"));
    let env = [("DOCKER_CONFIG", docker.path().to_str().unwrap())];
    let ran = promote(&world, &format!("http://{}", proxy.host()), &env).exits(4);
    let sent = STANDARD.encode("ada:x1");
    assert!(proxy.requests().iter().any(|request| {
        request.header("authorization") == Some(format!("Basic {sent}").as_str())
    }));
    for text in [&ran.stdout, &ran.stderr] {
        assert!(!text.contains(&sent), "{text}");
    }
    assert!(ran.stdout.contains("you sent Basic ***"), "{}", ran.stdout);
}

#[test]
fn token_of_another_job_is_never_shown() {
    let world = world();
    let part = ["ey", &"Jab3".repeat(20)].concat();
    let signature = "c9_-".repeat(60);
    for token in [
        format!("ghs_1234567_{part}.{part}.{signature}"),
        format!("session_{part}.{part}.{signature}"),
        format!("ghp_{}", "aB3".repeat(12)),
    ] {
        let message = format!("the token {token} of ada lacks a scope");
        let body = format!("{{\"errors\":[{{\"code\":\"DENIED\",\"message\":\"{message}\"}}]}}");
        let proxy = Fake::start(move |_| Reaction::new(403, body.clone()));
        let ran = promote(&world, &format!("http://{}", proxy.host()), &[]).exits(4);
        assert!(
            ran.stdout.contains("*** of ada lacks a scope"),
            "{}",
            ran.stdout
        );
        for text in [&ran.stdout, &ran.stderr] {
            assert!(
                !text.contains(&token[..12]) && !text.contains("Jab3"),
                "{text}"
            );
        }
    }
}

#[test]
fn redirect_target_gets_no_challenge_response() {
    let world = world();
    let directory = stored(&world);
    let registry = Registry::start(directory.path(), &Protection::None);
    for challenge in [
        "Basic realm=\"x\"",
        "Bearer realm=\"http://HOST/token\",service=\"x\"",
    ] {
        let elsewhere = Fake::start(move |request| {
            let host = request.header("host").unwrap_or_default();
            Reaction::new(401, "{}").with("WWW-Authenticate", challenge.replace("HOST", host))
        });
        let (host, target) = (registry.host.clone(), elsewhere.host());
        let proxy = Fake::start(move |request| {
            if request.path().contains("/blobs/") {
                let location = format!("http://{target}{}", request.path());
                return Reaction::new(307, "").with("Location", location);
            }
            forwarded(&host, request)
        });
        let docker = tempfile::tempdir().unwrap();
        docker_config(docker.path(), &proxy.host(), (USER, PASSWORD));
        let env = [("DOCKER_CONFIG", docker.path().to_str().unwrap())];
        let base = format!("http://{}", proxy.host());
        let document = promote(&world, &base, &env).exits(4).json();
        let message = error_message(&document);
        assert!(message.contains(&elsewhere.host()), "{document}");
        for request in elsewhere.requests() {
            assert!(request.path().contains("/blobs/"), "{request:?}");
            assert_eq!(request.header("authorization"), None);
        }
        let asked = proxy.requests();
        let again = |request: &&Request| {
            request.path().contains("/blobs/") && request.header("authorization").is_some()
        };
        assert_eq!(asked.iter().filter(again).count(), 0, "{challenge}");
    }
}

/// The response to a request for a manifest by digest: another one of the same size, and no header
/// that says which it is.
fn another_manifest(host: &str, request: &Request) -> Option<Reaction> {
    if request.method != "GET" || !request.path().contains("/manifests/sha256:") {
        return None;
    }
    let Reaction::Raw(bytes) = forwarded(host, request) else {
        unreachable!()
    };
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let layer = body.find("\"layers\"")?;
    let digit = layer + body[layer..].find("sha256:")? + "sha256:".len();
    let other = if body.as_bytes()[digit] == b'0' {
        "1"
    } else {
        "0"
    };
    let head: Vec<_> = head
        .lines()
        .filter(|line| {
            !line
                .to_ascii_lowercase()
                .starts_with("docker-content-digest")
        })
        .collect();
    let body = [&body[..digit], other, &body[digit + 1..]].concat();
    let answer = format!("{}\r\n\r\n{body}", head.join("\r\n"));
    Some(Reaction::Raw(answer.into_bytes()))
}

#[test]
fn manifest_with_other_bytes_is_refused() {
    let world = world();
    let directory = stored(&world);
    let registry = Registry::start(directory.path(), &Protection::None);
    let host = registry.host.clone();
    let proxy = Fake::start(move |request| {
        another_manifest(&host, request).unwrap_or_else(|| forwarded(&host, request))
    });
    let refused = |ran: Ran, exit| {
        let text = format!("{}{}", ran.stdout, ran.stderr);
        let ran = ran.exits(exit);
        assert!(text.contains("its bytes hash to sha256:"), "{}", ran.stdout);
    };
    // The children of an index.
    refused(promote(&world, &format!("http://{}", proxy.host()), &[]), 1);
    // A pinned digest itself, which is only compared.
    let source = format!("ghcr.io/acme=http://{}/acme", proxy.host());
    refused(world.run(&["check", "--remote", "--source", &source]), 3);
}

#[test]
fn missing_tag_is_exit_1() {
    let store = store();
    let absent = spoiled(&store, |request| {
        request
            .path()
            .ends_with(&format!("fix/manifests/{REV_B}"))
            .then(|| Reaction::new(404, "{}"))
    });
    assert_eq!(failed(&absent.refuses(1, &[])), ["tag_missing"]);
}

#[test]
fn silent_or_busy_registry_is_unavailable_in_time() {
    let store = store();
    let start = Instant::now();
    let silent = spoiled(&store, |request| {
        KINDS[0](request).then(|| Reaction::Stall(Vec::new()))
    });
    let document = silent.refuses(3, &[("REPIN_HTTP_TIMEOUT", "1s")]);
    assert!(
        error_message(&document).contains("tried 5 times"),
        "{document}"
    );
    assert!(silent.proxy.count(REV_B) <= 4 * 5);
    let busy = spoiled(&store, |request| {
        KINDS[2](request).then(|| Reaction::new(429, ""))
    });
    busy.refuses(3, &[]);
    assert!(busy.proxy.count("/blobs/") <= 5 * 5);
    // More than the sum of the pauses and the time without progress, and less than the limit
    // of one request.
    assert!(
        start.elapsed() < Duration::from_secs(90),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn foreign_token_server_gets_no_credentials() {
    let store = store();
    let elsewhere = Arc::new(Fake::start(|_| Reaction::new(401, "")));
    let realm = format!("Bearer realm=\"http://{}/token\"", elsewhere.host());
    let registry = spoiled(&store, move |request| {
        KINDS[0](request).then(|| Reaction::new(401, "").with("WWW-Authenticate", realm.clone()))
    });
    let document = registry.refuses(4, &[]);
    assert!(
        error_message(&document).contains("was not sent"),
        "{document}"
    );
    assert!(!elsewhere.requests().is_empty());
    assert!(
        elsewhere
            .requests()
            .iter()
            .all(|request| request.header("authorization").is_none())
    );
}

#[test]
fn a_flood_stays_out_of_memory() {
    let store = store();
    let head = b"HTTP/1.1 200 X\r\nConnection: close\r\n\r\n".to_vec();
    for (kind, is) in KINDS.into_iter().enumerate() {
        let head = head.clone();
        let registry = spoiled(&store, move |request| {
            is(request).then(|| Reaction::Flood(head.clone(), 400))
        });
        let source = format!("ghcr.io/acme=http://{}/acme", registry.proxy.host());
        let mut command =
            store
                .world
                .command(&["promote", "--revision", REV_B, "--source", &source]);
        command
            .env("DOCKER_CONFIG", store.directory.path().join("docker"))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let (status, peak) = loop {
            let peak = peak(child.id()).unwrap_or(0);
            if let Some(status) = child.try_wait().unwrap() {
                break (status, peak);
            }
            assert!(peak < 128 * 1024, "{peak} KiB");
            thread::sleep(Duration::from_millis(2));
        };
        // The size of a blob is known before: more bytes are wrong ones.
        let exit = if kind == 2 { 1 } else { 3 };
        assert_eq!(status.code(), Some(exit), "{kind}: {peak}");
    }
}

/// The most memory that a process has had, in KiB.
fn peak(process: u32) -> Option<u64> {
    let status =
        fs::read_to_string(Path::new("/proc").join(process.to_string()).join("status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn wrong_variables_are_exit_2() {
    let world = world();
    let fake = Fake::start(|_| Reaction::new(404, ""));
    for (name, value) in [
        ("REPIN_HTTP_TIMEOUT", "5"),
        ("REPIN_HTTP_TIMEOUT", "0s"),
        ("REPIN_CA_FILE", "absent.pem"),
        ("REPIN_CA_FILE", "repin.yaml"),
        ("https_proxy", "http://user:pr0xy-Passw0rd@[/"),
    ] {
        let ran = promote(&world, &format!("http://{}", fake.host()), &[(name, value)]);
        assert_eq!(ran.code, 2, "{name}={value}: {}{}", ran.stdout, ran.stderr);
        assert!(
            ran.stdout.contains(name)
                && !format!("{}{}", ran.stdout, ran.stderr).contains("pr0xy-Passw0rd")
        );
    }
    assert_eq!(fake.requests().len(), 0);
    // A command that needs no network does not read the file, nor does a run with image layouts.
    let absent = [("REPIN_CA_FILE", "absent.pem")];
    for args in [&["check"][..], &["promote", "--revision", REV_B]] {
        world.run_with(args, &absent).exits(0);
    }
}
