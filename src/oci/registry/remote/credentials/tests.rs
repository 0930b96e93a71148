//! Tests of credentials from files, variables and helpers.

use std::{ffi::OsString, fs, os::unix::fs::PermissionsExt, path::Path};

use super::*;

const SECRET: &str = "s3cret/Passw0rd";

fn store(variables: &[(&str, &Path)]) -> CredentialStore {
    let lookup = |name: &str| {
        variables
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| OsString::from(value))
    };
    CredentialStore::new(Environment::from_lookup(lookup), Secrets::default())
}

fn auth(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

fn file(text: &str) -> AuthFile {
    AuthFile::parse(text.as_bytes()).unwrap()
}

/// The user in `file` for a repository, or the reason that the entry is invalid.
fn user(file: &AuthFile, host: &str, repository: &str) -> Option<String> {
    match file.entry(&keys(host, repository))? {
        AuthEntry::Usable { user, .. } => Some(user.clone()),
        AuthEntry::Invalid(reason) => Some((*reason).to_owned()),
    }
}

/// A file with an entry for each key. The user is the key with dots instead of colons.
fn entries(keys: &[&str]) -> AuthFile {
    let mut entries = serde_json::Map::new();
    for key in keys {
        let pair = auth(&format!("{}:x", key.replace(':', ".")));
        entries.insert((*key).to_owned(), serde_json::json!({ "auth": pair }));
    }
    file(&serde_json::json!({ "auths": entries }).to_string())
}

#[test]
fn most_specific_key_of_the_host_wins() {
    let file = entries(&[
        "ghcr.io",
        "ghcr.io/acme",
        "ghcr.io/acme/app/deep",
        "127.0.0.1:5000",
    ]);
    let user = |host, repository| user(&file, host, repository);
    assert_eq!(user("ghcr.io", "acme/app").as_deref(), Some("ghcr.io/acme"));
    assert_eq!(
        user("ghcr.io", "acme/app/deep").as_deref(),
        Some("ghcr.io/acme/app/deep")
    );
    assert_eq!(user("ghcr.io", "acme-corp/app").as_deref(), Some("ghcr.io"));
    assert_eq!(user("ghcr.io", "other").as_deref(), Some("ghcr.io"));
    assert_eq!(
        user("127.0.0.1:5000", "a").as_deref(),
        Some("127.0.0.1.5000")
    );
    for (host, repository) in [
        ("127.0.0.1", "a"),
        ("127.0.0.1:5001", "a"),
        ("evil.example", "ghcr.io"),
        ("ghcr.io.evil.example", "a"),
    ] {
        assert_eq!(user(host, repository), None, "{host}/{repository}");
    }
}

#[test]
fn keys_are_normalized() {
    for key in [
        "https://index.docker.io/v1/",
        "index.docker.io",
        "docker.io",
        "https://registry-1.docker.io/v2/",
    ] {
        assert!(
            user(&entries(&[key]), "docker.io", "library/nginx").is_some(),
            "{key}"
        );
    }
    for key in [
        "https://Registry.Example/",
        "http://registry.example/v2/",
        "REGISTRY.example",
    ] {
        assert!(
            user(&entries(&[key]), "registry.example", "a").is_some(),
            "{key}"
        );
    }
    let both = entries(&["https://ghcr.io", "ghcr.io"]);
    assert_eq!(user(&both, "ghcr.io", "a").as_deref(), Some("ghcr.io"));
    assert_eq!(
        server(&keys("docker.io", "a")),
        "https://index.docker.io/v1/"
    );
    assert_eq!(server(&keys("ghcr.io", "a")), "ghcr.io");
}

#[test]
fn entry_contains_password_or_identity_token() {
    let file = file(&format!(
        r#"{{"auths": {{
            "a": {{"auth": "{}"}}, "b": {{"username": "bob", "password": "p"}}, "c": {{"auth": "{}", "identitytoken": "t"}},
            "d": {{}}, "e": {{"auth": "!"}}, "f": {{"auth": "{}"}}, "g": {{"auth": "{}"}}, "h": {{"auth": ""}}
        }}}}"#,
        auth("ann:a:b"),
        auth("cid:"),
        auth("no colon"),
        auth("pad:x\0\0").trim_end_matches('='),
    ));
    let entry = |host: &str| file.entry(&[host.to_owned()]);
    assert!(
        matches!(entry("a"), Some(AuthEntry::Usable { user, secret, kind: SecretKind::Password }) if user == "ann" && secret.expose() == "a:b")
    );
    assert!(matches!(entry("b"), Some(AuthEntry::Usable { user, .. }) if user == "bob"));
    assert!(
        matches!(entry("c"), Some(AuthEntry::Usable { secret, kind: SecretKind::IdentityToken, .. }) if secret.expose() == "t")
    );
    assert!(matches!(entry("g"), Some(AuthEntry::Usable { secret, .. }) if secret.expose() == "x"));
    assert!(matches!(
        (entry("e"), entry("f")),
        (Some(AuthEntry::Invalid(_)), Some(AuthEntry::Invalid(_)))
    ));
    assert!(entry("d").is_none() && entry("h").is_none());
}

#[test]
fn malformed_credentials_are_not_quoted() {
    let error = AuthFile::parse(format!("{{\"auths\": \"{SECRET}\"}}").as_bytes()).unwrap_err();
    assert!(
        error.contains("line 1") && !error.contains(SECRET),
        "{error}"
    );
    assert!(
        AuthFile::parse(b" \n")
            .unwrap()
            .entry(&["a".to_owned()])
            .is_none()
    );
    assert!(AuthFile::parse(br#"{"auths": null, "credHelpers": null, "other": 1}"#).is_ok());
}

/// Writes a file of credentials to each place; its user is the name of the place.
fn write_all_files(directory: &Path) {
    for (place, path) in [
        ("named", "named.json"),
        ("docker", "docker/config.json"),
        ("runtime", "run/containers/auth.json"),
        ("config", "home/.config/containers/auth.json"),
        ("home", "home/.docker/config.json"),
    ] {
        let path = directory.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let entry = auth(&format!("{place}:{SECRET}"));
        fs::write(
            path,
            format!(r#"{{"auths": {{"h": {{"auth": "{entry}"}}}}}}"#),
        )
        .unwrap();
    }
}

#[tokio::test]
async fn first_place_with_an_entry_wins() {
    let directory = tempfile::tempdir().unwrap();
    write_all_files(directory.path());
    let join = |path: &str| directory.path().join(path);
    let inline = format!(
        r#"{{"auths": {{"h": {{"auth": "{}"}}}}, "credsStore": "x"}}"#,
        auth("inline:x")
    );
    let (named, docker, run, home) = (
        join("named.json"),
        join("docker"),
        join("run"),
        join("home"),
    );
    let mut variables: Vec<(&str, &Path)> = vec![
        ("REGISTRY_AUTH_FILE", &named),
        ("DOCKER_CONFIG", &docker),
        ("DOCKER_AUTH_CONFIG", Path::new(&inline)),
        ("XDG_RUNTIME_DIR", &run),
        ("HOME", &home),
    ];
    for expected in ["named", "docker", "inline", "runtime", "config"] {
        let lookup = store(&variables).lookup("h", "a").await;
        assert_eq!(lookup.credentials.unwrap().user, expected);
        variables.remove(0);
        if variables.is_empty() {
            break;
        }
    }
    fs::remove_file(join("home/.config/containers/auth.json")).unwrap();
    let store = store(&[("HOME", &home)]);
    assert_eq!(
        store.lookup("h", "a").await.credentials.unwrap().user,
        "home"
    );
    let other = store.lookup("other", "a").await;
    assert!(
        other.credentials.is_none() && other.searched.len() == 1,
        "{other:?}"
    );
    assert!(!format!("{:?}", store.lookup("h", "a").await).contains(SECRET));
}

/// A directory with the helper `docker-credential-test`, which runs `script`, and a `config.json`
/// that selects it for all registries.
fn helper(script: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("docker-credential-test");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(
        directory.path().join("config.json"),
        r#"{"credsStore": "test", "auths": {"ghcr.io": {}}}"#,
    )
    .unwrap();
    directory
}

async fn lookup_in(directory: &Path) -> Lookup {
    let path = format!("{}:{}", directory.display(), std::env::var("PATH").unwrap());
    store(&[("DOCKER_CONFIG", directory), ("PATH", Path::new(&path))])
        .lookup("ghcr.io", "acme/app")
        .await
}

#[tokio::test]
async fn helper_receives_the_server_and_runs_once() {
    let directory = helper(&format!(
        "read -r server; echo \"$1 $server\" >> \"$(dirname \"$0\")/log\"; echo '{{\"ServerURL\":\"x\",\"Username\":\"bob\",\"Secret\":\"{SECRET}\"}}'"
    ));
    let path = format!(
        "{}:{}",
        directory.path().display(),
        std::env::var("PATH").unwrap()
    );
    let store = store(&[
        ("DOCKER_CONFIG", directory.path()),
        ("PATH", Path::new(&path)),
    ]);
    let (one, two) = tokio::join!(
        store.lookup("ghcr.io", "acme/app"),
        store.lookup("ghcr.io", "acme/other")
    );
    for lookup in [one, two] {
        let found = lookup.credentials.unwrap();
        assert_eq!(
            (found.user.as_str(), found.secret.expose(), found.kind),
            ("bob", SECRET, SecretKind::Password)
        );
        assert_eq!(found.origin, "docker-credential-test");
    }
    assert_eq!(
        fs::read_to_string(directory.path().join("log")).unwrap(),
        "get ghcr.io\n"
    );
    assert_eq!(store.secrets.redact(SECRET), "***");
}

#[tokio::test]
async fn token_user_marks_an_identity_token() {
    let directory = helper(r#"echo '{"ServerURL":"","Username":"<token>","Secret":"t"}'"#);
    assert_eq!(
        lookup_in(directory.path()).await.credentials.unwrap().kind,
        SecretKind::IdentityToken
    );
}

#[tokio::test]
async fn failed_helper_is_reported_without_the_secret() {
    for (script, message) in [
        (
            format!(
                "echo '{{\"Username\":\"u\",\"Secret\":\"{SECRET}\"}}'; echo \"locked: {SECRET}\" >&2; exit 1"
            ),
            "failed: locked: ***",
        ),
        (format!("echo '{SECRET}'"), "malformed credentials"),
        (format!("echo '{SECRET}'; exit 2"), "failed"),
        ("kill -9 $$".to_owned(), "failed"),
    ] {
        let directory = helper(&script);
        let lookup = lookup_in(directory.path()).await;
        let text = format!("{lookup:?}");
        assert!(
            lookup.credentials.is_none() && lookup.problems.len() == 1,
            "{text}"
        );
        assert!(
            lookup.problems[0].contains(message)
                && lookup.problems[0].starts_with("docker-credential-test"),
            "{text}"
        );
        assert!(!text.contains(SECRET), "{text}");
    }
}

#[tokio::test]
async fn helper_without_entry_is_ignored() {
    let directory = helper("echo 'credentials not found in native keychain'; exit 1");
    let lookup = lookup_in(directory.path()).await;
    assert!(
        lookup.credentials.is_none() && lookup.problems.is_empty(),
        "{lookup:?}"
    );
}

#[tokio::test]
async fn missing_helper_or_path_is_a_problem() {
    let directory = helper("exit 0");
    for (name, message) in [
        ("absent", "cannot be started"),
        ("../test", "is not run"),
        ("a/b", "is not run"),
    ] {
        fs::write(
            directory.path().join("config.json"),
            format!(r#"{{"credHelpers": {{"ghcr.io": "{name}"}}}}"#),
        )
        .unwrap();
        let lookup = lookup_in(directory.path()).await;
        assert!(
            lookup.problems.len() == 1 && lookup.problems[0].contains(message),
            "{lookup:?}"
        );
    }
}

#[tokio::test]
async fn hanging_helper_is_killed_with_its_children() {
    let directory = helper("sleep 1000 & echo $! > \"$(dirname \"$0\")/child\"; wait");
    let path = std::env::var("PATH").unwrap();
    let path = OsString::from(format!("{}:{path}", directory.path().display()));
    let timeout = std::time::Duration::from_secs(2);
    let secrets = Secrets::default();
    let result = get_within("test", "ghcr.io", Some(path), &secrets, timeout).await;
    assert!(result.unwrap_err().contains("did not respond"));
    let child = fs::read_to_string(directory.path().join("child")).unwrap();
    let stat = format!("/proc/{}/stat", child.trim());
    for _ in 0..200 {
        // A killed process is missing, or a zombie.
        match fs::read_to_string(&stat) {
            Ok(stat) if !stat.contains(") Z ") => {}
            _ => return,
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the child of the helper is still running");
}
