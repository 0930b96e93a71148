//! The connections of git to a forge: the token, the settings of the user, the number of exchanges, and their end.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader, Read, Write},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustix::process::{Pid, Signal, kill_process};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::Value;

use crate::support::{
    fake,
    forge::{Fake, Fault, Kind, Reply, TOKEN, error},
    hosted::{FORGES, hosted, promote, run, run_with},
    tls,
    world::{REV_B, World, git, world},
};

/// A clone of the base branch on a forge.
fn cloned(kind: Kind, settings: &str) -> (World, Fake) {
    let (world, fake) = hosted(kind, settings);
    let world = world.with_git();
    let head = world.head();
    fake.store().name_head("main", &head, world.root());
    (world, fake)
}

/// The configuration of the user.
fn configure(world: &World, text: &str) {
    world.write("no-home/.gitconfig", text);
}

/// A configuration with a credential helper that makes the file `asked`.
fn configure_helper(world: &World) {
    let asked = world.path("asked");
    let helper = format!("!touch '{}'; :", asked.display());
    configure(world, &format!("[credential]\n\thelper = \"{helper}\"\n"));
}

fn exchanges(fake: &Fake) -> Vec<String> {
    let mut asked = fake.asked();
    asked.retain(|line| line.contains(".git/"));
    asked
}

#[test]
fn headers_of_the_user_are_replaced() {
    for kind in FORGES {
        let (world, fake) = cloned(kind, "");
        let header = "AUTHORIZATION: basic eC1hY2Nlc3MtdG9rZW46Z2hzX290aGVy";
        let server = fake.store().root.clone();
        // As `actions/checkout` leaves it, and for every server.
        let key = format!("http.{server}/.extraheader");
        world.git(&["config", "--local", &key, header]);
        let [general, specific] = ["", &*format!(" \"{server}/\"")]
            .map(|section| format!("[http{section}]\n\textraheader = {header}\n"));
        configure(&world, &(general + &specific));
        let document = run(&world, &promote(REV_B)).exits(0).json();
        assert_eq!(document["pull_request"]["state"], "created", "{document}");
        assert!(!exchanges(&fake).is_empty());
    }
}

/// The user's git would follow it.
#[test]
fn redirect_to_another_host_is_not_followed() {
    for service in ["git-upload-pack", "git-receive-pack"] {
        let (world, fake) = cloned(Kind::Github, "");
        configure(&world, "[http]\n\tfollowRedirects = true\n");
        let other = Fake::start(Kind::Github);
        let refs = format!("/info/refs?service={service}");
        let location = format!("{}/acme/flows.git{refs}", other.server.url());
        let reply = Reply::json(301, Value::Null).with("location", &location);
        fake.fault(("GET", &refs), 9, Fault::Instead(reply));
        let ran = run(&world, &promote(REV_B));
        assert_ne!(ran.code, 0, "{service} {}", ran.stderr);
        assert_eq!(other.asked(), [""; 0], "{service}");
        assert!(fake.store().open_pulls().is_empty(), "{service}");
    }
}

#[test]
fn credential_helpers_are_not_asked_for_a_forge() {
    for kind in FORGES {
        let (world, fake) = cloned(kind, "");
        configure_helper(&world);
        let refused =
            error(401, "Bad credentials").with("www-authenticate", "Basic realm=\"forge\"");
        fake.fault(
            ("GET", "/info/refs?service=git-upload-pack"),
            9,
            Fault::Instead(refused),
        );
        let ran = run(&world, &promote(REV_B)).exits(4);
        let reason = "could not read Username";
        assert!(ran.stdout.contains(reason), "{}", ran.stdout);
        assert!(!world.path("asked").exists(), "{kind:?}");
        fake.clear_faults();
        run(&world, &promote(REV_B)).exits(0);
        assert!(!world.path("asked").exists(), "{kind:?}");
    }
}

/// The control of the test above: the helper is asked for a repository without a token.
#[test]
fn credential_helper_is_asked_without_a_token() {
    let world = world();
    let server = fake::private_repository(world.path(""), TOKEN);
    let source = format!("source: http://{}/acme/app.git\n", server.host());
    world.write("repin.yaml", world.read("repin.yaml") + &source);
    let world = world.with_git();
    configure_helper(&world);
    world.run(&["builds"]);
    assert!(world.path("asked").exists());
}

fn files_below(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            files_below(&entry.path(), found);
        } else {
            found.push(entry.path());
        }
    }
}

#[test]
fn token_is_in_no_argument_and_no_file() {
    for kind in FORGES {
        let (world, fake) = cloned(kind, "");
        // A git that lists its arguments.
        let list = world.path("arguments");
        let script = format!(
            "#!/bin/sh\nprintf '%s\\n' \"$@\" >> '{}'\nPATH=${{PATH#*:}} exec git \"$@\"\n",
            list.display()
        );
        world.write("bin/git", script);
        fs::set_permissions(world.path("bin/git"), PermissionsExt::from_mode(0o755)).unwrap();
        let path = std::env::var("PATH").unwrap();
        let path = format!("{}:{path}", world.path("bin").display());
        let environment = [("REPIN_FORGE_TOKEN", TOKEN), ("PATH", &*path)];
        run_with(&world, &promote(REV_B), &environment).exits(0);
        let mut secrets = vec![TOKEN.to_owned()];
        for user in ["x-access-token", "oauth2", "gitlab-ci-token"] {
            secrets.push(STANDARD.encode(format!("{user}:{TOKEN}")));
        }
        let arguments = fs::read_to_string(&list).unwrap();
        assert!(arguments.contains("REPIN_GIT_HEADER"), "{arguments}");
        let mut files = vec![list];
        files_below(&world.path(".git"), &mut files);
        let own = world.path(".git/repin/forge");
        assert!(files.iter().any(|file| file.starts_with(&own)));
        for file in files {
            let content = fs::read(&file).unwrap();
            let text = String::from_utf8_lossy(&content);
            for secret in &secrets {
                assert!(!text.contains(secret), "{kind:?} {}", file.display());
            }
        }
        drop(fake);
    }
}

#[test]
fn unusable_directory_of_git_is_replaced() {
    let (world, fake) = cloned(Kind::Github, "");
    world.write(".git/repin", "a file\n");
    world.write("temporary/x", "");
    let temporary = world.path("temporary");
    let environment = [
        ("REPIN_FORGE_TOKEN", TOKEN),
        ("TMPDIR", temporary.to_str().unwrap()),
    ];
    let document = run_with(&world, &promote(REV_B), &environment)
        .exits(0)
        .json();
    assert_eq!(document["pull_request"]["state"], "created", "{document}");
    assert_eq!(world.read(".git/repin"), "a file\n");
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 1);
    assert_eq!(fake.store().open_pulls().len(), 1);
}

#[test]
fn new_pull_request_needs_few_exchanges() {
    let cases = FORGES.map(|kind| [(kind, false), (kind, true)]);
    for (kind, has_others) in cases.into_iter().flatten() {
        let (world, fake) = cloned(kind, "");
        if has_others {
            fake.store().push("other", "work", &[("x", "y")]);
            fake.store().add_pull("other", "main");
        }
        run(&world, &promote(REV_B)).exits(0);
        let git = exchanges(&fake);
        // A list of the references, and a push.
        let of = |service: &str| git.iter().filter(|line| line.contains(service)).count();
        let connections = [
            "info/refs?service=git-upload-pack",
            "info/refs?service=git-receive-pack",
        ];
        assert_eq!(connections.map(of), [1, 1], "{kind:?} {git:#?}");
        assert!(git.len() <= 4, "{kind:?} {git:#?}");
        let most = match kind {
            Kind::Github | Kind::Gitea | Kind::Forgejo => 4,
            Kind::Gitlab => 6,
        };
        let api = fake.asked().len() - git.len();
        assert!(api <= most, "{kind:?} {:#?}", fake.asked());
        fake.forget();
        run(&world, &promote(REV_B)).exits(0);
        let most = match kind {
            Kind::Github | Kind::Gitlab => 2,
            // The commit that the pull request shows may differ from its branch.
            Kind::Gitea | Kind::Forgejo => 3,
        };
        let api = fake.asked().len() - exchanges(&fake).len();
        assert!(api <= most, "{kind:?} {:#?}", fake.asked());
    }
}

#[test]
fn refused_push_has_its_remedy() {
    for (text, remedy) in [
        // https://github.com/palxiao/poster-design/issues/140
        (
            "error: GH013: Repository rule violations found for refs/heads/x.\n\n- GITHUB PUSH PROTECTION\n  Resolve the following violations before pushing again\n\n    - Push cannot contain secrets\n",
            "secret scanning",
        ),
        // https://github.com/git-lfs/git-lfs/issues/457
        (
            "error: GH001: Large files detected.\nerror: See http://git.io/iEPt8g for more information.\nerror: File x is 201.35 MB; this exceeds GitHub's file size limit of 100.00 MB\n",
            "make it smaller",
        ),
    ] {
        let (world, fake) = cloned(Kind::Github, "");
        fake.store().refuses_pushes = Some(text.to_owned());
        let document = run(&world, &promote(REV_B)).exits(1).json();
        let error = &document["error"];
        assert!(error["hint"].as_str().unwrap().contains(remedy), "{error}");
        let first = text.lines().next().unwrap();
        assert!(
            error["message"].as_str().unwrap().contains(first),
            "{error}"
        );
        assert!(fake.store().pulls.is_empty());
        // The refusal is final, so the push is not repeated.
        let pushes = exchanges(&fake);
        let pushes = pushes
            .iter()
            .filter(|line| line.contains("service=git-receive-pack"));
        assert_eq!(pushes.count(), 1);
    }
}

/// A forge over TLS, whose certificate only `REPIN_CA_FILE` makes trusted.
#[test]
fn certificates_of_the_run_count_for_git() {
    let world = world();
    let (authority, certificate, key) = tls::authority(world.root());
    let app = world.path("app");
    fs::create_dir(&app).unwrap();
    git(&app, &["init", "-q", "-b", "main"]);
    git(&app, &["commit", "-q", "--allow-empty", "-m", "first"]);
    git(&app, &["gc", "-q"]);
    git(&app, &["update-server-info"]);
    let server = TlsRepository::start(&certificate, &key, app.join(".git"));
    let url = format!("https://localhost:{}/acme/app.git", server.port);
    let settings = format!(
        "source: {url}\nprune: {{}}\nfreshness:\n  - name: app\n    repository: {url}\n    branch: main\n    pinned: {{ file: pinned.yaml, pointer: /commit }}\n"
    );
    world.write("repin.yaml", world.read("repin.yaml") + &settings);
    let head = git(&app, &["rev-parse", "HEAD"]);
    world.write("pinned.yaml", format!("commit: {head}\n"));
    world.write(".gitignore", "/app\n");
    world.git(&["init", "-q"]);
    // Its default branch is queried.
    world.git(&["add", "-A"]);
    world.git(&["commit", "-q", "-m", "first"]);
    world.git(&["remote", "add", "origin", &url]);
    for branch in ["main", "next"] {
        let reference = format!("refs/remotes/origin/{branch}");
        world.git(&["update-ref", &reference, "HEAD"]);
    }
    world.write("empty.pem", "");
    let (authority, empty) = (authority.display().to_string(), world.path("empty.pem"));
    let empty = empty.to_str().unwrap();
    let is_trusted = |command: &str, environment: &[(&str, &str)]| {
        let arguments: Vec<_> = command.split(' ').collect();
        let ran = world.run_with(&arguments, environment);
        let text = format!("{}{}", ran.stdout, ran.stderr);
        println!("{command} {environment:?}\n{text}");
        !text.contains("certificate")
    };
    let own = ("REPIN_CA_FILE", &*authority);
    for command in ["builds", "builds --protected", "freshness", "history"] {
        assert!(!is_trusted(command, &[]), "{command}");
        assert!(is_trusted(command, &[own]), "{command}");
        // The settings of git have precedence.
        assert!(!is_trusted(command, &[own, ("GIT_SSL_CAINFO", empty)]));
    }
    configure(&world, &format!("[http]\n\tsslCAInfo = {empty}\n"));
    assert!(!is_trusted("builds", &[own]));
}

/// A server over TLS of the files of a repository, `acme/app`.
struct TlsRepository {
    port: u16,
}

impl TlsRepository {
    fn start(certificate: &Path, key: &Path, files: PathBuf) -> Self {
        let certificates = CertificateDer::pem_file_iter(certificate).unwrap();
        let certificates: Vec<_> = certificates.map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(key).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let connection = rustls::ServerConnection::new(config.clone()).unwrap();
                // A client that does not trust the certificate hangs up.
                let _ = answer(rustls::StreamOwned::new(connection, stream), &files);
            }
        });
        Self { port }
    }
}

/// Answers one request.
fn answer(mut stream: impl Read + Write, files: &Path) -> std::io::Result<()> {
    let mut reader = BufReader::new(&mut stream);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
    }
    let target = first.split(' ').nth(1).unwrap_or_default();
    let path = target.split('?').next().unwrap_or_default();
    let file = path
        .strip_prefix("/acme/app.git/")
        .map(|path| files.join(path));
    let content = file.and_then(|file| fs::read(file).ok());
    let status = if content.is_some() {
        "200 OK"
    } else {
        "404 Not Found"
    };
    let content = content.unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        content.len()
    );
    stream.write_all(&[head.as_bytes(), &content].concat())?;
    stream.flush()
}

/// A proxy would read the token, and its loopback is another machine.
#[test]
fn no_proxy_is_used_for_loopback() {
    let (world, fake) = cloned(Kind::Github, "");
    configure(&world, "[http]\n\tproxy = http://127.0.0.1:1\n");
    let environment = [
        ("REPIN_FORGE_TOKEN", TOKEN),
        ("http_proxy", "http://127.0.0.1:1"),
        ("all_proxy", "http://127.0.0.1:1"),
    ];
    run_with(&world, &promote(REV_B), &environment).exits(0);
    assert_eq!(fake.store().open_pulls().len(), 1);
}

#[test]
fn outdated_clone_fetches_what_it_does_not_have() {
    for kind in FORGES {
        let (world, fake) = cloned(kind, "");
        fake.store().push("main", "x", &[("README.md", "x\n")]);
        run(&world, &promote(REV_B)).exits(0);
        let git = exchanges(&fake);
        // A list, a fetch of the missing commit, a fetch of its contents, and a push.
        let of = |service: &str| git.iter().filter(|line| line.contains(service)).count();
        let connections = [
            "info/refs?service=git-upload-pack",
            "info/refs?service=git-receive-pack",
        ];
        assert_eq!(connections.map(of), [3, 1], "{kind:?} {git:#?}");
    }
}

/// The processes with this text in their environment.
fn processes_with(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc").unwrap() {
        let path = entry.unwrap().path();
        let environment = fs::read(path.join("environ")).unwrap_or_default();
        if String::from_utf8_lossy(&environment).contains(text) {
            let command = fs::read(path.join("cmdline")).unwrap_or_default();
            found.insert(String::from_utf8_lossy(&command).replace('\0', " "));
        }
    }
    found
}

/// Waits until a condition is met.
fn until(what: &str, mut is_met: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_met() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn signal_ends_the_processes_of_git() {
    for (method, service, signal, code) in [
        (
            "GET",
            "/info/refs?service=git-upload-pack",
            Signal::INT,
            130,
        ),
        (
            "GET",
            "/info/refs?service=git-receive-pack",
            Signal::TERM,
            143,
        ),
        ("POST", "/git-receive-pack", Signal::TERM, 143),
    ] {
        let (world, fake) = cloned(Kind::Github, "");
        fake.fault((method, service), 1, Fault::Hang);
        let mark = format!("MARK={}", world.root().display());
        let mut command = world.command(&promote(REV_B));
        command
            .env("REPIN_FORGE_TOKEN", TOKEN)
            .env("MARK", world.root())
            // git itself would wait for the answer.
            .env("REPIN_HTTP_TIMEOUT", "10m")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        until("the request", || {
            fake.asked().iter().any(|line| line.contains(service))
        });
        let running = processes_with(&mark);
        let is_helper = |line: &String| line.contains("git-remote-http");
        assert!(running.iter().any(is_helper), "{running:#?}");
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code));
        until("the end of git", || processes_with(&mark).is_empty());
        // The next run finishes.
        fake.clear_faults();
        run(&world, &promote(REV_B)).exits(0);
        assert_eq!(fake.store().open_pulls().len(), 1);
    }
}

#[test]
fn user_signs_the_commit_of_a_pull_request() {
    for kind in FORGES {
        let (world, fake) = cloned(kind, "sign: git");
        let key = world.path("key");
        let generated = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"])
            .arg(&key)
            .status();
        assert!(generated.unwrap().success());
        let public = fs::read_to_string(key.with_extension("pub")).unwrap();
        world.write("signers", format!("ada@example.com {public}"));
        configure(
            &world,
            &format!(
                "[user]\n\tname = Ada\n\temail = ada@example.com\n\tsigningKey = {}\n[gpg]\n\tformat = ssh\n",
                key.display()
            ),
        );
        let document = run(&world, &promote(REV_B)).exits(0).json();
        let branch = document["branch"].as_str().unwrap();
        let commit = fake.store().refs[branch].clone();
        let mirror = world.path(".git/repin/forge/.git");
        let verified = Command::new("git")
            .arg("-C")
            .arg(&mirror)
            .arg("-c")
            .arg(format!(
                "gpg.ssh.allowedSignersFile={}",
                world.path("signers").display()
            ))
            .args(["log", "-1", "--format=%G? %GS %an", &commit])
            .env("HOME", world.path("no-home"))
            .output()
            .unwrap();
        let shown = String::from_utf8_lossy(&verified.stdout).into_owned();
        assert_eq!(
            shown.trim(),
            "G ada@example.com Ada",
            "{kind:?} {verified:?}"
        );
    }
}
