//! Credentials and plain HTTP: they are sent to loopback addresses only.

use std::path::Path;

use serde_json::Value;

use crate::support::{
    fake::{Fake, Reaction, Request},
    registry::{PASSWORD, USER},
    world::{REV_B, Ran, World, world},
};

/// A name of this machine that is no loopback address. Linux connects it to 127.0.0.1.
fn open_name(fake: &Fake) -> String {
    fake.host().replace("127.0.0.1", "0.0.0.0")
}

/// Promotes from a registry, with credentials for each of these hosts.
fn promote(world: &World, source: &str, logins: &[&str], realms: &[(&str, &str)]) -> Ran {
    let docker = tempfile::tempdir().unwrap();
    let auths: Vec<String> = logins
        .iter()
        .map(|host| {
            use base64::{Engine as _, engine::general_purpose::STANDARD};
            let auth = STANDARD.encode(format!("{USER}:{PASSWORD}"));
            format!("\"{host}\": {{\"auth\": \"{auth}\"}}")
        })
        .collect();
    let config = format!("{{\"auths\": {{{}}}}}", auths.join(", "));
    run(world, source, docker.path(), &config, realms)
}

fn run(world: &World, source: &str, docker: &Path, config: &str, realms: &[(&str, &str)]) -> Ran {
    std::fs::write(docker.join("config.json"), config).unwrap();
    for (registry, server) in realms {
        let text = world.read("repin.yaml");
        world.write(
            "repin.yaml",
            format!("{text}realms: {{ '{registry}': '{server}' }}\n"),
        );
    }
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", docker.display());
    let env = [
        ("DOCKER_CONFIG", docker.to_str().unwrap()),
        ("PATH", path.as_str()),
    ];
    let source = format!("ghcr.io/acme=http://{source}/acme");
    let args = [
        "promote",
        "--revision",
        REV_B,
        "--source",
        &source,
        "--format",
        "json",
    ];
    world.run_with(&args, &env)
}

fn challenge(text: String) -> impl Fn(&Request) -> Reaction + Send + Sync + 'static {
    move |_| Reaction::new(401, "{}").with("WWW-Authenticate", text.clone())
}

fn no_credentials(fakes: &[&Fake]) {
    for request in fakes.iter().flat_map(|fake| fake.requests()) {
        assert_eq!(request.header("authorization"), None, "{request:?}");
        assert!(!request.body.contains(PASSWORD), "{request:?}");
    }
}

fn refused(ran: Ran, part: &str) {
    let document: Value = ran.exits(4).json();
    let error = document["error"].to_string();
    assert!(error.contains(part), "{error}");
    assert!(error.contains("loopback addresses only"), "{error}");
    assert!(!error.contains(PASSWORD), "{error}");
}

#[test]
fn password_is_not_sent_over_plain_http() {
    let registry = Fake::start(challenge("Basic realm=\"x\"".to_owned()));
    let world = world();
    let host = open_name(&registry);
    refused(
        promote(&world, &host, &[&host], &[]),
        "the registry http://0.0.0.0",
    );
    no_credentials(&[&registry]);
    // The same on a loopback address is sent.
    let host = registry.host();
    promote(&world, &host, &[&host], &[]).exits(4);
    let sent = registry.requests();
    assert!(
        sent.iter()
            .any(|request| request.header("authorization").is_some())
    );
}

#[test]
fn helper_password_is_not_sent_over_http() {
    use std::os::unix::fs::PermissionsExt as _;
    let registry = Fake::start(challenge("Basic realm=\"x\"".to_owned()));
    let docker = tempfile::tempdir().unwrap();
    let helper = docker.path().join("docker-credential-fake");
    let response = format!("{{\"Username\":\"{USER}\",\"Secret\":\"{PASSWORD}\"}}");
    std::fs::write(
        &helper,
        format!("#!/bin/sh\ncat >/dev/null\necho '{response}'\n"),
    )
    .unwrap();
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    let config = "{\"credsStore\": \"fake\"}";
    let world = world();
    let host = open_name(&registry);
    refused(
        run(&world, &host, docker.path(), config, &[]),
        "the registry http://0.0.0.0",
    );
    no_credentials(&[&registry]);
    run(&world, &registry.host(), docker.path(), config, &[]).exits(4);
    let sent = registry.requests();
    assert!(
        sent.iter()
            .any(|request| request.header("authorization").is_some())
    );
}

#[test]
fn token_server_gets_no_password_over_plain_http() {
    // The token server of the registry, on the same host.
    let registry = Fake::start(|request| {
        let host = request.header("host").unwrap_or_default();
        let realm = format!("Bearer realm=\"http://{host}/token\",service=\"x\"");
        Reaction::new(401, "{}").with("WWW-Authenticate", realm)
    });
    let world = world();
    let host = open_name(&registry);
    refused(
        promote(&world, &host, &[&host], &[]),
        "the token server http://0.0.0.0",
    );
    assert!(
        registry
            .requests()
            .iter()
            .all(|request| request.path() != "/token")
    );
    no_credentials(&[&registry]);
    let host = registry.host();
    promote(&world, &host, &[&host], &[]).exits(4);
    assert!(
        registry
            .requests()
            .iter()
            .any(|request| request.path() == "/token" && request.header("authorization").is_some())
    );
}

#[test]
fn configured_realm_gets_no_password_over_plain_http() {
    let server = Fake::start(|_| Reaction::new(200, "{\"token\": \"x\"}"));
    let realm = open_name(&server);
    let text = format!("Bearer realm=\"http://{realm}/token\",service=\"x\"");
    let registry = Fake::start(challenge(text));
    let world = world();
    let host = registry.host();
    let ran = promote(&world, &host, &[&host], &[(&host, &realm)]);
    refused(ran, "the token server http://0.0.0.0");
    assert_eq!(server.requests().len(), 0);
    no_credentials(&[&registry]);
}

#[test]
fn password_token_is_not_sent_over_http() {
    // The token server is on a loopback address, and the registry is not.
    let server = Fake::start(|_| Reaction::new(200, "{\"token\": \"x\"}"));
    let text = format!(
        "Bearer realm=\"http://{}/token\",service=\"x\"",
        server.host()
    );
    let registry = Fake::start(challenge(text));
    let world = world();
    let host = open_name(&registry);
    let ran = promote(&world, &host, &[&host], &[(&host, &server.host())]);
    refused(ran, "the registry http://0.0.0.0");
    assert_eq!(server.requests().len(), 0);
    no_credentials(&[&registry]);
}

#[test]
fn anonymous_token_is_requested_over_plain_http() {
    let server = Fake::start(|_| Reaction::new(200, "{\"token\": \"x\"}"));
    let text = format!(
        "Bearer realm=\"http://{}/token\",service=\"x\"",
        server.host()
    );
    let registry = Fake::start(challenge(text));
    let world = world();
    promote(&world, &open_name(&registry), &[], &[]).exits(4);
    assert_ne!(server.requests().len(), 0);
    no_credentials(&[&server]);
}

#[test]
fn redirect_to_plain_http_gets_no_password() {
    let elsewhere =
        Fake::start(|_| Reaction::new(401, "{}").with("WWW-Authenticate", "Basic realm=\"x\""));
    let target = open_name(&elsewhere);
    let registry = Fake::start(move |request| {
        if request.header("authorization").is_none() {
            return Reaction::new(401, "{}").with("WWW-Authenticate", "Basic realm=\"x\"");
        }
        let location = format!("http://{target}{}", request.path());
        Reaction::new(307, "").with("Location", location)
    });
    let world = world();
    let host = registry.host();
    let open = open_name(&elsewhere);
    promote(&world, &host, &[&host, &open], &[]).exits(4);
    assert_ne!(elsewhere.requests().len(), 0);
    no_credentials(&[&elsewhere]);
}
