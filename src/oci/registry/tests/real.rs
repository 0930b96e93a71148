//! docker-registry without and with a password, with tokens and TLS; images pushed by skopeo, umoci
//! and these tests.

use std::{fs, io::Read, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tempfile::TempDir;

use super::{repository, resolved, settings, source, sources, tag};
use crate::{
    base::error::Class,
    oci::{
        Digest, Manifest, TagOrDigest,
        registry::{Deletion, Remote, Settings, Source, remote::SettingsError},
    },
    support::{
        images::Image,
        registry::{PASSWORD, Protection, Registry, USER, docker_config, run},
        tls::authority,
        token::{Grants, IDENTITY, TokenServer},
    },
};

fn plain() -> (TempDir, Registry) {
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::start(directory.path(), &Protection::None);
    (directory, registry)
}

/// The storage of a registry that holds `team/app:one`; pushed before it is protected.
async fn stored(directory: &Path) -> Image {
    let image = Image::index(vec![
        Image::single("amd64", "one"),
        Image::single("arm64", "one"),
    ]);
    Registry::start(directory, &Protection::None)
        .push("team/app", "one", &image)
        .await;
    image
}

fn remote(source: Source) -> Remote {
    let Source::Remote(remote) = source else {
        panic!("not a registry")
    };
    remote
}

#[tokio::test]
async fn request_counts_of_images_and_indexes() {
    let (_directory, registry) = plain();
    let single = Image::single("amd64", "one");
    let index = Image::index(vec![
        Image::single("amd64", "two"),
        Image::single("arm64", "two"),
    ]);
    registry.push("team/app", "single", &single).await;
    registry.push("team/app", "index", &index).await;
    let before = registry.requests().len();

    let source = source(settings(&[]), &registry.host, "team/app");
    let facts = resolved(&source, "single").await.unwrap().unwrap();
    assert_eq!(facts.digest, single.digest());
    assert_eq!(
        registry.requests().len() - before,
        2,
        "{:?}",
        registry.requests()
    );

    let facts = resolved(&source, "index").await.unwrap().unwrap();
    assert_eq!(facts.digest, index.digest());
    assert_eq!(facts.platforms.len(), 2);
    assert_eq!(
        registry.requests().len() - before,
        2 + 5,
        "{:?}",
        registry.requests()
    );
}

#[tokio::test]
async fn missing_entries_are_not_errors() {
    let (_directory, registry) = plain();
    registry
        .push("team/app", "one", &Image::single("amd64", "one"))
        .await;
    let there = source(settings(&[]), &registry.host, "team/app");
    assert!(resolved(&there, "absent").await.unwrap().is_none());
    assert!(
        there
            .manifest(&TagOrDigest::Digest(Digest::of(b"absent")), None)
            .await
            .unwrap()
            .is_none()
    );
    let absent = source(settings(&[]), &registry.host, "no/such");
    assert!(resolved(&absent, "one").await.unwrap().is_none());
    assert_eq!(remote(absent).tags_with_clock().await.unwrap().tags, None);
}

#[tokio::test]
async fn skopeo_and_umoci_layouts_are_supported() {
    let (directory, registry) = plain();
    let layout = directory.path().join("layout");
    let at = |tag: &str| format!("{}:{tag}", layout.display());
    run("umoci", &["init", "--layout", layout.to_str().unwrap()]);
    run("umoci", &["new", "--image", &at("one")]);
    run(
        "umoci",
        &[
            "config",
            "--image",
            &at("one"),
            "--config.label",
            "org.opencontainers.image.revision=abc",
        ],
    );
    for (tag, format) in [("oci", "oci"), ("docker", "v2s2")] {
        let to = format!("docker://{}/mirror/team/app:{tag}", registry.host);
        let from = format!("oci:{}", at("one"));
        run(
            "skopeo",
            &[
                "copy",
                "-q",
                "--all",
                "--insecure-policy",
                "--dest-tls-verify=false",
                "--format",
                format,
                &from,
                &to,
            ],
        );
    }
    let mapping = format!("ghcr.io/acme=http://{}/mirror", registry.host);
    let mapped = sources(settings(&[]), &[&mapping])
        .source(&repository("ghcr.io", "acme/team/app"))
        .unwrap();
    assert_eq!(
        mapped.to_string(),
        format!("{}/mirror/team/app", registry.host)
    );
    for name in ["oci", "docker"] {
        let facts = resolved(&mapped, name).await.unwrap().unwrap();
        assert_eq!(
            facts.platforms[0].config.labels["org.opencontainers.image.revision"], "abc",
            "{name}"
        );
        assert!(
            facts.media_type.contains(name),
            "{name}: {}",
            facts.media_type
        );
    }
}

#[tokio::test]
async fn tags_are_listed_and_digests_deleted() {
    let (_directory, registry) = plain();
    let image = Image::single("amd64", "one");
    for tag in ["v2", "v1", "latest"] {
        registry.push("team/app", tag, &image).await;
    }
    let remote = remote(source(settings(&[]), &registry.host, "team/app"));
    let tags = remote.tags_with_clock().await.unwrap().tags.unwrap();
    assert_eq!(
        tags.iter().map(crate::oci::Tag::as_str).collect::<Vec<_>>(),
        ["latest", "v1", "v2"]
    );
    assert_eq!(
        remote.delete(image.digest()).await.unwrap(),
        Deletion::Deleted
    );
    assert_eq!(
        remote.delete(image.digest()).await.unwrap(),
        Deletion::Missing
    );
    assert_eq!(
        remote.tags_with_clock().await.unwrap().tags,
        Some(Vec::new())
    );
}

#[tokio::test]
async fn layer_is_streamed() {
    let (_directory, registry) = plain();
    let image = Image::single("amd64", "one");
    registry.push("team/app", "one", &image).await;
    let source = source(settings(&[]), &registry.host, "team/app");
    let Manifest::Image(manifest) = source
        .manifest(&tag("one"), None)
        .await
        .unwrap()
        .unwrap()
        .value
    else {
        panic!()
    };
    let mut layer = source.layer(&manifest.layers[0]).await.unwrap();
    let read = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        layer.read_to_end(&mut bytes).map(|_| bytes)
    });
    assert_eq!(read.await.unwrap().unwrap(), image.layer);
}

#[tokio::test]
async fn password_is_sent_after_the_first_request() {
    let directory = tempfile::tempdir().unwrap();
    let image = stored(directory.path()).await;
    let registry = Registry::start(directory.path(), &Protection::Password);
    let config = docker_config(
        &directory.path().join("docker"),
        &registry.host,
        (USER, PASSWORD),
    );
    let settings = settings(&[("DOCKER_CONFIG", config.to_str().unwrap())]);
    let source = source(settings, &registry.host, "team/app");
    let facts = resolved(&source, "one").await.unwrap().unwrap();
    assert_eq!(facts.digest, image.digest());
    let requests = registry.requests();
    assert_eq!(
        requests
            .iter()
            .filter(|line| line.ends_with(" 401"))
            .count(),
        1,
        "{requests:?}"
    );
    assert_eq!(requests.len(), 1 + 5, "{requests:?}");
    assert!(!registry.log().contains(PASSWORD));
}

#[tokio::test]
async fn wrong_password_is_denied_and_names_the_credentials() {
    let directory = tempfile::tempdir().unwrap();
    stored(directory.path()).await;
    let registry = Registry::start(directory.path(), &Protection::Password);
    let config = docker_config(
        &directory.path().join("docker"),
        &registry.host,
        (USER, "wr0ng-Passw0rd"),
    );
    let docker = config.to_str().unwrap();
    let wrong = source(
        settings(&[("DOCKER_CONFIG", docker)]),
        &registry.host,
        "team/app",
    );
    let error = resolved(&wrong, "one").await.unwrap_err();
    assert_eq!(error.class, Class::Denied);
    let text = format!("{error} {error:?}");
    assert!(
        error.message.contains("HTTP 401")
            && error.message.contains(USER)
            && error.message.contains(docker),
        "{error}"
    );
    assert!(
        !text.contains("wr0ng-Passw0rd")
            && !text.contains(&STANDARD.encode("robot:wr0ng-Passw0rd")),
        "{text}"
    );

    let none = source(
        settings(&[("HOME", "/nowhere")]),
        &registry.host,
        "team/app",
    );
    let error = resolved(&none, "one").await.unwrap_err();
    assert_eq!(error.class, Class::Denied);
    assert!(
        error.message.contains("no credentials found for")
            && error.help.unwrap().contains("docker login"),
        "{}",
        error.message
    );
}

/// A registry with tokens from `server`, with the credentials of `directory`.
async fn with_tokens(directory: &Path, grants: Grants) -> (Image, TokenServer, Registry) {
    let image = stored(directory).await;
    let server = TokenServer::start(directory, grants);
    let protection = Protection::Token {
        realm: &server.realm(),
        certificate: &server.certificate,
    };
    let registry = Registry::start(directory, &protection);
    (image, server, registry)
}

fn trusting(mut settings: Settings, registry: &Registry, server: &TokenServer) -> Settings {
    settings
        .realms
        .insert(registry.host.clone(), server.fake.host());
    settings
}

#[tokio::test]
async fn one_token_serves_all_requests_for_a_repository() {
    let directory = tempfile::tempdir().unwrap();
    let (image, server, registry) = with_tokens(directory.path(), Grants::Anonymous).await;
    let source = source(settings(&[]), &registry.host, "team/app");
    let two = futures_util::future::join(resolved(&source, "one"), resolved(&source, "one")).await;
    for facts in [two.0, two.1] {
        assert_eq!(facts.unwrap().unwrap().digest, image.digest());
    }
    assert_eq!(server.fake.requests().len(), 1, "{:?}", server.fake.log());
    assert!(
        server.fake.requests()[0]
            .target
            .contains("scope=repository%3Ateam%2Fapp%3Apull")
    );
    let requests = registry.requests();
    assert!(
        requests
            .iter()
            .filter(|line| line.ends_with(" 401"))
            .count()
            <= 2,
        "{requests:?}"
    );
    assert_eq!(
        requests
            .iter()
            .filter(|line| line.ends_with(" 200"))
            .count(),
        10,
        "{requests:?}"
    );
    assert!(
        !requests.iter().any(|line| line.contains(" /v2/ ")),
        "{requests:?}"
    );
}

#[tokio::test]
async fn credentials_are_exchanged_at_the_token_server() {
    let directory = tempfile::tempdir().unwrap();
    let (image, server, registry) = with_tokens(directory.path(), Grants::Login).await;
    let config = docker_config(
        &directory.path().join("docker"),
        &registry.host,
        (USER, PASSWORD),
    );
    let entry = serde_json::json!({"auths": {registry.host.clone(): {"auth": STANDARD.encode("robot:"), "identitytoken": IDENTITY}}});
    let podman = directory.path().join("auth.json");
    fs::write(&podman, entry.to_string()).unwrap();
    for (name, value) in [("DOCKER_CONFIG", &config), ("REGISTRY_AUTH_FILE", &podman)] {
        let settings = trusting(
            settings(&[(name, value.to_str().unwrap())]),
            &registry,
            &server,
        );
        let source = source(settings, &registry.host, "team/app");
        assert_eq!(
            resolved(&source, "one").await.unwrap().unwrap().digest,
            image.digest(),
            "{name}"
        );
        let deleted = remote(source).delete(Digest::of(b"absent")).await.unwrap();
        assert_eq!(deleted, Deletion::Missing, "{name}");
    }
    let methods: Vec<_> = server
        .fake
        .requests()
        .into_iter()
        .map(|request| request.method)
        .collect();
    assert_eq!(methods, ["GET", "GET", "POST", "POST"]);
}

#[tokio::test]
async fn unknown_token_server_gets_no_credentials() {
    let directory = tempfile::tempdir().unwrap();
    let (_, server, registry) = with_tokens(directory.path(), Grants::Login).await;
    let config = docker_config(
        &directory.path().join("docker"),
        &registry.host,
        (USER, PASSWORD),
    );
    let settings = settings(&[("DOCKER_CONFIG", config.to_str().unwrap())]);
    let error = resolved(&source(settings, &registry.host, "team/app"), "one")
        .await
        .unwrap_err();
    assert_eq!(error.class, Class::Denied);
    assert!(
        error.message.contains("anonymously") && error.message.contains("was not sent"),
        "{error}"
    );
    for request in server.fake.requests() {
        assert_eq!(request.header("authorization"), None);
        assert!(!format!("{request:?}").contains(PASSWORD));
    }
}

#[tokio::test]
async fn tls_requires_a_trusted_root() {
    let directory = tempfile::tempdir().unwrap();
    let image = stored(directory.path()).await;
    let (root, certificate, key) = authority(directory.path());
    let registry = Registry::start(
        directory.path(),
        &Protection::Tls {
            certificate: &certificate,
            key: &key,
        },
    );
    let mapping = format!("ghcr.io/acme=https://{}/team", registry.host);
    let app = repository("ghcr.io", "acme/app");

    let trusted = Settings {
        ca_file: Some(root),
        ..settings(&[])
    };
    let found = resolved(&sources(trusted, &[&mapping]).source(&app).unwrap(), "one")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.digest, image.digest());
    assert!(
        registry.log().contains("HTTP/2.0\" 200"),
        "{}",
        registry.log()
    );

    let error = resolved(
        &sources(settings(&[]), &[&mapping]).source(&app).unwrap(),
        "one",
    )
    .await
    .unwrap_err();
    assert_eq!(error.class, Class::Unavailable);
    assert!(
        error.message.contains("TLS") && error.help.unwrap().contains("REPIN_CA_FILE"),
        "{}",
        error.message
    );
}

#[test]
fn invalid_root_file_fails_before_a_request() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let rubbish = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for path in [
        directory.path().join("absent"),
        file("empty", ""),
        file("text", "hello"),
        file("rubbish", rubbish),
    ] {
        let settings = Settings {
            ca_file: Some(path.clone()),
            ..settings(&[])
        };
        let registries = crate::oci::registry::Registries::new(settings).unwrap();
        let error = registries.read_roots().unwrap_err();
        assert!(
            matches!(&error, SettingsError::CaFile { path: named, .. } if *named == path),
            "{error}"
        );
    }
    let proxy = settings(&[("https_proxy", "http://u:pr0xy@:x:y")]);
    let error = crate::oci::registry::Registries::new(proxy).unwrap_err();
    assert!(
        error.to_string().contains("https_proxy") && !error.to_string().contains("pr0xy"),
        "{error}"
    );
}
