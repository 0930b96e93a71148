//! Credentials from files, variables and helpers: which entry is found, and that no secret is
//! shown.

use std::{ffi::OsString, fs, os::unix::fs::PermissionsExt, path::Path};

use super::*;

const SECRET: &str = "s3cret/Passw0rd";

fn book(variables: &[(&str, &Path)]) -> Book {
    let lookup = |name: &str| {
        variables
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| OsString::from(value))
    };
    Book::new(Environment::from_lookup(lookup), Secrets::default())
}

fn auth(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

fn file(text: &str) -> AuthFile {
    AuthFile::parse(text.as_bytes()).unwrap()
}

/// The user that `file` has for a repository.
fn user(file: &AuthFile, host: &str, repository: &str) -> Option<String> {
    match file.entry(&file::keys(host, repository))? {
        Entry::Usable { user, .. } => Some(user.clone()),
        Entry::Broken(reason) => Some((*reason).to_owned()),
    }
}

fn entries(keys: &[&str]) -> AuthFile {
    let entry = |key: &&str| {
        format!(
            "{key:?}: {{\"auth\": \"{}\"}}",
            auth(&format!("{key}:{SECRET}"))
        )
    };
    // A user name cannot hold a colon.
    let entry = |key: &&str| {
        entry(key).replace(
            &auth(&format!("{key}:{SECRET}")),
            &auth(&format!("{}:x", key.replace(':', "."))),
        )
    };
    file(&format!(
        "{{\"auths\": {{{}}}}}",
        keys.iter().map(entry).collect::<Vec<_>>().join(",")
    ))
}

#[test]
fn the_most_specific_key_wins_and_other_hosts_have_none() {
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
fn keys_are_hosts_in_many_spellings() {
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
        file::server(&file::keys("docker.io", "a")),
        "https://index.docker.io/v1/"
    );
    assert_eq!(file::server(&file::keys("ghcr.io", "a")), "ghcr.io");
}

#[test]
fn entries_hold_a_pair_or_an_identity_token() {
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
        matches!(entry("a"), Some(Entry::Usable { user, secret, kind: Kind::Password }) if user == "ann" && secret.expose() == "a:b")
    );
    assert!(matches!(entry("b"), Some(Entry::Usable { user, .. }) if user == "bob"));
    assert!(
        matches!(entry("c"), Some(Entry::Usable { secret, kind: Kind::IdentityToken, .. }) if secret.expose() == "t")
    );
    assert!(matches!(entry("g"), Some(Entry::Usable { secret, .. }) if secret.expose() == "x"));
    assert!(matches!(
        (entry("e"), entry("f")),
        (Some(Entry::Broken(_)), Some(Entry::Broken(_)))
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

/// A directory with one file of credentials at each place; each knows the user that the place is
/// called.
fn everywhere(directory: &Path) {
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
async fn the_first_place_that_has_an_entry_wins() {
    let directory = tempfile::tempdir().unwrap();
    everywhere(directory.path());
    let at = |path: &str| directory.path().join(path);
    let inline = format!(
        r#"{{"auths": {{"h": {{"auth": "{}"}}}}, "credsStore": "x"}}"#,
        auth("inline:x")
    );
    let (named, docker, run, home) = (at("named.json"), at("docker"), at("run"), at("home"));
    let mut variables: Vec<(&str, &Path)> = vec![
        ("REGISTRY_AUTH_FILE", &named),
        ("DOCKER_CONFIG", &docker),
        ("DOCKER_AUTH_CONFIG", Path::new(&inline)),
        ("XDG_RUNTIME_DIR", &run),
        ("HOME", &home),
    ];
    for expected in ["named", "docker", "inline", "runtime", "config"] {
        let lookup = book(&variables).lookup("h", "a").await;
        assert_eq!(lookup.found.unwrap().user, expected);
        variables.remove(0);
        if variables.is_empty() {
            break;
        }
    }
    fs::remove_file(at("home/.config/containers/auth.json")).unwrap();
    let book = book(&[("HOME", &home)]);
    assert_eq!(book.lookup("h", "a").await.found.unwrap().user, "home");
    let nothing = book.lookup("other", "a").await;
    assert!(
        nothing.found.is_none() && nothing.looked.len() == 1,
        "{nothing:?}"
    );
    assert!(!format!("{:?}", book.lookup("h", "a").await).contains(SECRET));
}

/// A directory with `docker-credential-test`, whose body is `script`, and a `config.json` that
/// names it for all.
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

async fn asked(directory: &Path) -> Lookup {
    let path = format!("{}:{}", directory.display(), std::env::var("PATH").unwrap());
    book(&[("DOCKER_CONFIG", directory), ("PATH", Path::new(&path))])
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
    let book = book(&[
        ("DOCKER_CONFIG", directory.path()),
        ("PATH", Path::new(&path)),
    ]);
    let (one, two) = tokio::join!(
        book.lookup("ghcr.io", "acme/app"),
        book.lookup("ghcr.io", "acme/other")
    );
    for lookup in [one, two] {
        let found = lookup.found.unwrap();
        assert_eq!(
            (found.user.as_str(), found.secret.expose(), found.kind),
            ("bob", SECRET, Kind::Password)
        );
        assert_eq!(found.origin, "docker-credential-test");
    }
    assert_eq!(
        fs::read_to_string(directory.path().join("log")).unwrap(),
        "get ghcr.io\n"
    );
    assert_eq!(book.secrets.redact(SECRET), "***");
}

#[tokio::test]
async fn a_token_user_marks_an_identity_token() {
    let directory = helper(r#"echo '{"ServerURL":"","Username":"<token>","Secret":"t"}'"#);
    assert_eq!(
        asked(directory.path()).await.found.unwrap().kind,
        Kind::IdentityToken
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
        let lookup = asked(directory.path()).await;
        let text = format!("{lookup:?}");
        assert!(
            lookup.found.is_none() && lookup.trouble.len() == 1,
            "{text}"
        );
        assert!(
            lookup.trouble[0].contains(message)
                && lookup.trouble[0].starts_with("docker-credential-test"),
            "{text}"
        );
        assert!(!text.contains(SECRET), "{text}");
    }
}

#[tokio::test]
async fn helper_without_entry_is_ignored() {
    let directory = helper("echo 'credentials not found in native keychain'; exit 1");
    let lookup = asked(directory.path()).await;
    assert!(
        lookup.found.is_none() && lookup.trouble.is_empty(),
        "{lookup:?}"
    );
}

#[tokio::test]
async fn a_missing_helper_and_one_with_a_path_are_trouble() {
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
        let lookup = asked(directory.path()).await;
        assert!(
            lookup.trouble.len() == 1 && lookup.trouble[0].contains(message),
            "{lookup:?}"
        );
    }
}

#[tokio::test]
async fn a_helper_that_hangs_is_ended_with_its_children() {
    let directory = helper("sleep 1000 & echo $! > \"$(dirname \"$0\")/child\"; wait");
    let path = std::env::var("PATH").unwrap();
    let path = OsString::from(format!("{}:{path}", directory.path().display()));
    let deadline = std::time::Duration::from_secs(2);
    let secrets = Secrets::default();
    let answer = helper::get_within("test", "ghcr.io", Some(path), &secrets, deadline).await;
    assert!(answer.unwrap_err().contains("did not respond"));
    let child = fs::read_to_string(directory.path().join("child")).unwrap();
    let stat = format!("/proc/{}/stat", child.trim());
    // Ended, or waiting to be collected.
    let gone = || fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
    for _ in 0..200 {
        if gone() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the helper's child is still there");
}
