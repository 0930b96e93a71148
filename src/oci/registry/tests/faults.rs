//! Faults of registries at each kind of request: scripted servers that fail, lie, stall or request
//! too much.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tempfile::TempDir;

use super::{resolved, settings, source};
use crate::{
    base::error::{Class, Error},
    oci::{Digest, TagOrDigest, registry::Settings},
    support::{
        fake::{Fake, Reaction, Request},
        images::Image,
        registry::{PASSWORD, USER, docker_config},
    },
};

/// The token of the scripted token server.
const TOKEN: &str = "t0ken.of-the_registry";

/// A scripted registry that serves `image` as `one` to clients with its token, unless `fault`
/// responds first.
pub(crate) fn serving(
    image: &Image,
    fault: impl Fn(&Request) -> Option<Reaction> + Send + Sync + 'static,
) -> Fake {
    let image = image.clone();
    let basic = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
    Fake::start(move |request| {
        if let Some(reaction) = fault(request) {
            return reaction;
        }
        if request.path() == "/token" {
            let known = request.header("authorization") == Some(&basic);
            let body = if known {
                format!("{{\"token\":\"{TOKEN}\"}}")
            } else {
                String::new()
            };
            return Reaction::new(if known { 200 } else { 401 }, body);
        }
        if request.header("authorization") != Some(&format!("Bearer {TOKEN}")) {
            return challenge(request);
        }
        contents(&image, request)
    })
}

fn challenge(request: &Request) -> Reaction {
    let host = request.header("host").unwrap();
    Reaction::new(401, "").with(
        "WWW-Authenticate",
        format!("Bearer realm=\"http://{host}/token\",service=\"fake\""),
    )
}

/// The response of an honest registry.
pub(crate) fn contents(image: &Image, request: &Request) -> Reaction {
    let reference = request.path().rsplit('/').next().unwrap().to_owned();
    if request.path().contains("/manifests/") {
        let named = |manifest: &&Image| reference == manifest.digest().to_string();
        let found = if reference == "one" {
            Some(image)
        } else {
            image.manifests().into_iter().find(named)
        };
        let Some(found) = found else {
            return Reaction::new(404, "");
        };
        return Reaction::new(200, found.manifest.clone())
            .with("Content-Type", found.media_type)
            .with("Docker-Content-Digest", found.digest().to_string());
    }
    match image
        .blobs()
        .into_iter()
        .find(|(digest, _)| digest.to_string() == reference)
    {
        Some((_, bytes)) => Reaction::new(200, bytes),
        None => Reaction::new(404, ""),
    }
}

fn index() -> Image {
    Image::index(vec![
        Image::single("amd64", "one"),
        Image::single("arm64", "one"),
    ])
}

/// A directory with credentials for `host`, and settings that look there.
fn as_robot(host: &str) -> (TempDir, Settings) {
    let directory = tempfile::tempdir().unwrap();
    let config = docker_config(directory.path(), host, (USER, PASSWORD));
    let settings = settings(&[("DOCKER_CONFIG", config.to_str().unwrap())]);
    (directory, settings)
}

/// A kind of request: its name, and its predicate.
type Kind = (&'static str, fn(&Request) -> bool);

/// The kinds of request that one resolution makes.
const KINDS: [Kind; 4] = [
    ("manifest", |request| {
        request.path().ends_with("/manifests/one")
    }),
    ("child", |request| {
        request.path().contains("/manifests/sha256:")
    }),
    ("config", |request| request.path().contains("/blobs/")),
    ("token", |request| request.path() == "/token"),
];

/// Resolves an image with `fault` as the response to requests of one kind; returns the error and
/// the number of these requests.
async fn failing(
    (kind, is): Kind,
    fault: &Reaction,
    adjust: impl FnOnce(&mut Settings),
) -> (Error, usize) {
    let reaction = fault.clone();
    let fake = serving(&index(), move |request| {
        is(request).then(|| echoing(&reaction, request))
    });
    let (_directory, mut settings) = as_robot(&fake.host());
    adjust(&mut settings);
    let error = resolved(&source(settings, &fake.host(), "team/app"), "one")
        .await
        .expect_err(kind);
    no_secret(&format!("{error} {error:?}"));
    (
        error,
        fake.requests().iter().filter(|request| is(request)).count(),
    )
}

/// A response that echoes the request, as careless servers do.
fn echoing(reaction: &Reaction, request: &Request) -> Reaction {
    let sent = request.header("authorization").unwrap_or_default();
    match reaction.clone() {
        Reaction::Answer {
            status,
            headers,
            body,
        } if body == b"ECHO" => {
            let body = serde_json::json!({"errors": [{"code": "BAD", "message": format!("you sent {sent}")}]});
            Reaction::Answer {
                status,
                headers,
                body: body.to_string().into(),
            }
        }
        other => other,
    }
}

fn no_secret(text: &str) {
    for secret in [
        PASSWORD,
        TOKEN,
        &STANDARD.encode(format!("{USER}:{PASSWORD}")),
        &STANDARD.encode(PASSWORD),
    ] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

/// How often a kind is requested before the run gives up: two children and two configs come
/// together.
fn requests_of(kind: &str, each: usize) -> std::ops::RangeInclusive<usize> {
    if matches!(kind, "child" | "config") {
        each..=2 * each
    } else {
        each..=each
    }
}

#[tokio::test]
async fn temporary_error_is_tried_five_times() {
    let cut = b"HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\n{".to_vec();
    for (fault, says) in [
        (Reaction::Reset, "connection was interrupted"),
        (Reaction::Raw(Vec::new()), "connection was interrupted"),
        (
            Reaction::Raw(b"rubbish\r\n\r\n".to_vec()),
            "connection was interrupted",
        ),
        (Reaction::Raw(cut), "connection was interrupted"),
        (Reaction::new(500, "ECHO"), "HTTP 500"),
        (Reaction::new(503, "<html>"), "HTTP 503"),
        (Reaction::new(408, ""), "HTTP 408"),
        (
            Reaction::new(429, "ECHO").with("Retry-After", "0"),
            "HTTP 429",
        ),
    ] {
        for kind in KINDS {
            let (error, count) = failing(kind, &fault, |_| {}).await;
            assert_eq!(
                error.class,
                Class::Unavailable,
                "{kind:?} {fault:?}: {error}"
            );
            assert!(
                error.message.contains(says) && error.message.contains("tried 5 times"),
                "{} {fault:?}: {error}",
                kind.0
            );
            assert!(
                requests_of(kind.0, 5).contains(&count),
                "{} {fault:?}: {count}",
                kind.0
            );
        }
    }
}

/// The same at each kind of request concurrently, since each takes seconds: the bounds are so wide
/// that only the fault exceeds them.
fn failing_at_each_kind(
    fault: &Reaction,
    adjust: fn(&mut Settings),
) -> Vec<(&'static str, Error, usize)> {
    let one = |kind: Kind| {
        let fault = fault.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let (error, count) = runtime.block_on(failing(kind, &fault, adjust));
            (kind.0, error, count)
        })
    };
    let threads = KINDS.map(one);
    threads.map(|thread| thread.join().unwrap()).into()
}

#[test]
fn silence_is_retried_and_a_drip_is_not() {
    let head = b"HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\n".to_vec();
    for fault in [Reaction::Stall(Vec::new()), Reaction::Stall(head)] {
        let failed = failing_at_each_kind(&fault, |settings| {
            settings.stall_timeout = Duration::from_secs(2);
            settings.attempts = 2;
        });
        for (kind, error, count) in failed {
            assert!(
                error.message.contains("for 2 s") && error.message.contains("tried 2 times"),
                "{kind}: {error}"
            );
            assert!(error.help.unwrap().contains("REPIN_HTTP_TIMEOUT"));
            assert!(requests_of(kind, 2).contains(&count), "{kind}: {count}");
        }
    }
    let head = b"HTTP/1.1 200 X\r\nContent-Length: 200\r\n\r\n".to_vec();
    let drip = Reaction::Drip(head, Duration::from_millis(100));
    let failed = failing_at_each_kind(&drip, |settings| {
        settings.document_timeout = Duration::from_secs(3);
    });
    for (kind, error, count) in failed {
        assert!(
            error.message.contains("not finished after 3 s"),
            "{kind}: {error}"
        );
        assert!(requests_of(kind, 1).contains(&count), "{kind}: {count}");
    }
}

#[tokio::test]
async fn permanent_errors_are_not_retried() {
    let far = Reaction::new(200, "{}").with("Content-Encoding", "gzip");
    let large = b"HTTP/1.1 200 X\r\nContent-Length: 20000000\r\n\r\n".to_vec();
    for (fault, says) in [
        (far, "compressed"),
        (Reaction::Stall(large), "more than"),
        (
            Reaction::new(429, "ECHO").with("Retry-After", "3600"),
            "wait 3600 s",
        ),
        (
            Reaction::new(503, "").with("Retry-After", "Fri, 31 Dec 9999 23:59:59 GMT"),
            "repin waits at most",
        ),
        (Reaction::new(302, ""), "the redirect has no target"),
        (
            Reaction::new(302, "")
                .with("Location", "http://[")
                .with("X", ""),
            "not a URL",
        ),
        (
            Reaction::new(302, "").with("Location", "file:///etc/passwd"),
            "does not use HTTP",
        ),
        (
            Reaction::new(302, "").with("Location", format!("http://u:{PASSWORD}@127.0.0.1/")),
            "user name",
        ),
        (Reaction::new(400, "ECHO"), "HTTP 400"),
        (Reaction::new(206, "{}"), ""),
        (
            Reaction::new(200, "<html>Sign in</html>").with("Content-Type", "text/html"),
            "",
        ),
    ] {
        for kind in KINDS {
            let (error, count) = failing(kind, &fault, |_| {}).await;
            assert!(
                matches!(error.class, Class::Unavailable | Class::WrongBytes),
                "{} {fault:?}: {error}",
                kind.0
            );
            assert!(
                error.message.contains(says),
                "{} {fault:?}: {error}",
                kind.0
            );
            assert!(
                requests_of(kind.0, 1).contains(&count),
                "{} {fault:?}: {count}",
                kind.0
            );
        }
    }
}

#[tokio::test]
async fn refusal_is_denied_and_names_the_user() {
    for status in [401, 403] {
        for kind in KINDS {
            let (error, _) = failing(kind, &Reaction::new(status, "ECHO"), |_| {}).await;
            // A first 401 without a challenge does not identify a token server.
            let unchallenged = status == 401 && kind.0 == "manifest";
            let unasked = status == 403 && kind.0 == "manifest";
            assert_eq!(error.class, Class::Denied, "{} {status}: {error}", kind.0);
            assert!(
                unchallenged
                    || unasked
                    || error.message.contains(&format!("as user `{USER}` from ")),
                "{}: {error}",
                kind.0
            );
            assert!(
                unchallenged || error.help.unwrap().contains("login"),
                "{} {status}",
                kind.0
            );
        }
    }
}

#[tokio::test]
async fn redirects_end_after_five() {
    for kind in KINDS {
        let fake = Reaction::new(302, "").with("Location", "?next");
        let (error, count) = failing(kind, &fake, |_| {}).await;
        assert!(
            error.message.contains("more than 5 redirects"),
            "{}: {error}",
            kind.0
        );
        assert!(
            requests_of(kind.0, 6).contains(&count),
            "{}: {count}",
            kind.0
        );
    }
    let hops = AtomicUsize::new(0);
    let fake = serving(&index(), move |request| {
        let more = request.path().ends_with("/one") && request.header("authorization").is_some();
        let more = more && hops.fetch_add(1, Ordering::SeqCst) < 5;
        more.then(|| Reaction::new(307, "").with("Location", request.target.clone()))
    });
    let (_directory, settings) = as_robot(&fake.host());
    assert!(
        resolved(&source(settings, &fake.host(), "team/app"), "one")
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn redirect_to_another_host_drops_credentials() {
    let image = index();
    let elsewhere = {
        let image = image.clone();
        Arc::new(Fake::start(move |request| contents(&image, request)))
    };
    let place = elsewhere.host();
    let fake = serving(&image, move |request| {
        let known = request
            .header("authorization")
            .is_some_and(|sent| sent.starts_with("Bearer"));
        let away = format!("http://{place}{}?X-Signature=abc", request.path());
        (known && request.path().contains("/blobs/"))
            .then(|| Reaction::new(307, "").with("Location", away))
    });
    let (_directory, settings) = as_robot(&fake.host());
    assert!(
        resolved(&source(settings, &fake.host(), "team/app"), "one")
            .await
            .unwrap()
            .is_some()
    );
    let requests = elsewhere.requests();
    assert_eq!(requests.len(), 2);
    for request in requests {
        assert_eq!(request.header("authorization"), None);
        no_secret(&format!("{request:?}"));
    }
}

#[tokio::test]
async fn redirect_back_does_not_restore_credentials() {
    let image = index();
    let home: Arc<std::sync::OnceLock<String>> = Arc::default();
    let elsewhere = {
        let home = Arc::clone(&home);
        Fake::start(move |request| {
            Reaction::new(307, "").with(
                "Location",
                format!("http://{}{}", home.get().unwrap(), request.path()),
            )
        })
    };
    let place = elsewhere.host();
    let fake = serving(&image, move |request| {
        let known = request
            .header("authorization")
            .is_some_and(|sent| sent.starts_with("Bearer"));
        let away = format!("http://{place}{}", request.path());
        (known && request.path().contains("/blobs/"))
            .then(|| Reaction::new(307, "").with("Location", away))
    });
    home.set(fake.host()).unwrap();
    let (_directory, settings) = as_robot(&fake.host());
    let error = resolved(&source(settings, &fake.host(), "team/app"), "one")
        .await
        .unwrap_err();
    assert_eq!(error.class, Class::Denied, "{error}");
}

#[tokio::test]
async fn wrong_bytes_are_detected() {
    let other = Digest::of(b"other");
    let manifest = |header: &str, value: &str| {
        Reaction::new(200, index().manifest)
            .with("Content-Type", index().media_type)
            .with(header, value)
    };
    let claims = [
        (
            manifest("Docker-Content-Digest", &other.to_string()),
            Class::WrongBytes,
            "hash to",
        ),
        (
            manifest("Docker-Content-Digest", "sha256:abc"),
            Class::Unavailable,
            "malformed Docker-Content-Digest",
        ),
        (
            manifest("Docker-Content-Digest", ""),
            Class::Unavailable,
            "malformed Docker-Content-Digest",
        ),
        (
            manifest("Docker-Content-Digest", &index().digest().to_string())
                .with("docker-content-digest", other.to_string()),
            Class::Unavailable,
            "conflicting Docker-Content-Digest",
        ),
        (
            manifest("Content-Type", "application/json"),
            Class::Unavailable,
            "Content-Type",
        ),
    ];
    for (fault, class, says) in claims {
        let (error, count) = failing(KINDS[0], &fault, |_| {}).await;
        assert_eq!(error.class, class, "{fault:?}: {error}");
        assert!(
            error.message.contains(says) && count == 1,
            "{count} {fault:?}: {error}"
        );
    }
    for kind in [KINDS[1], KINDS[2]] {
        let config = Image::single("amd64", "two").config;
        let (error, _) = failing(kind, &Reaction::new(200, config.clone()), |_| {}).await;
        assert_eq!(error.class, Class::WrongBytes, "{}: {error}", kind.0);
        let lying = Reaction::new(200, config).with("Docker-Content-Digest", other.to_string());
        let (error, _) = failing(kind, &lying, |_| {}).await;
        assert_eq!(error.class, Class::WrongBytes, "{}: {error}", kind.0);
        let (error, _) = failing(kind, &Reaction::new(404, ""), |_| {}).await;
        assert_eq!(error.class, Class::MissingContent, "{}: {error}", kind.0);
    }
}

#[tokio::test]
async fn two_failures_before_a_success_are_tolerated() {
    for (kind, is) in KINDS {
        let counter = AtomicUsize::new(0);
        let fake = serving(&index(), move |request| {
            (is(request) && counter.fetch_add(1, Ordering::SeqCst) < 2)
                .then(|| Reaction::new(503, ""))
        });
        let (_directory, settings) = as_robot(&fake.host());
        let facts = resolved(&source(settings, &fake.host(), "team/app"), "one").await;
        assert_eq!(facts.unwrap().unwrap().digest, index().digest(), "{kind}");
    }
}

#[tokio::test]
async fn requested_pause_is_respected() {
    let counter = AtomicUsize::new(0);
    let fake = serving(&index(), move |request| {
        let first = request.path() == "/token" && counter.fetch_add(1, Ordering::SeqCst) == 0;
        first.then(|| Reaction::new(429, "").with("Retry-After", "1"))
    });
    let (_directory, settings) = as_robot(&fake.host());
    let start = Instant::now();
    assert!(
        resolved(&source(settings, &fake.host(), "team/app"), "one")
            .await
            .unwrap()
            .is_some()
    );
    assert!(start.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn unreachable_registry_is_tried_five_times() {
    // Nothing listens at this port.
    let host = "127.0.0.1:1";
    let error = resolved(&source(settings(&[]), host, "team/app"), "one")
        .await
        .unwrap_err();
    assert_eq!(error.class, Class::Unavailable);
    assert!(
        error.message.contains("cannot connect") && error.message.contains("tried 5 times"),
        "{error}"
    );
    assert_eq!(error.subject.unwrap(), format!("{host}/team/app:one"));
}

#[tokio::test]
async fn failed_request_stops_retries_of_the_others() {
    let children = (0..30)
        .map(|n| Image::single(&format!("arch{n}"), "one"))
        .collect();
    let fake = serving(&Image::index(children), |request| {
        KINDS[1].1(request).then(|| Reaction::Stall(Vec::new()))
    });
    let (_directory, mut settings) = as_robot(&fake.host());
    settings.stall_timeout = Duration::from_millis(100);
    let error = resolved(&source(settings, &fake.host(), "team/app"), "one")
        .await
        .unwrap_err();
    assert_eq!(error.class, Class::Unavailable);
    let count = fake.count("/manifests/sha256:");
    assert!(count < 30 * 5, "{count}");
}

#[tokio::test]
async fn at_most_eight_requests_run_concurrently() {
    let children = (0..30)
        .map(|n| Image::single(&format!("arch{n}"), "one"))
        .collect();
    let fake = serving(&Image::index(children), |_| {
        std::thread::sleep(Duration::from_millis(10));
        None
    });
    let (_directory, settings) = as_robot(&fake.host());
    let facts = resolved(&source(settings, &fake.host(), "team/app"), "one")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(facts.platforms.len(), 30);
    assert!((2..=8).contains(&fake.busiest()), "{}", fake.busiest());
    assert!(
        fake.connections() < fake.requests().len() / 2,
        "{} connections for {} requests",
        fake.connections(),
        fake.requests().len()
    );
}

#[tokio::test]
async fn request_sends_accept_without_preflight() {
    let fake = serving(&Image::single("amd64", "one"), |_| None);
    let (_directory, settings) = as_robot(&fake.host());
    let source = source(settings, &fake.host(), "team/app");
    resolved(&source, "one").await.unwrap().unwrap();
    let config = Digest::of(&Image::single("amd64", "one").config);
    let expected = [
        "GET /v2/team/app/manifests/one".to_owned(),
        "GET /token".to_owned(),
        "GET /v2/team/app/manifests/one".to_owned(),
        format!("GET /v2/team/app/blobs/{config}"),
    ];
    assert_eq!(fake.log(), expected);
    assert_eq!(fake.connections(), 1);
    let requests = fake.requests();
    assert_eq!(
        requests[1].target,
        "/token?service=fake&scope=repository%3Ateam%2Fapp%3Apull"
    );
    assert!(
        requests
            .iter()
            .all(|request| request.header("accept-encoding") == Some("identity"))
    );
    let accept = requests[2].header("accept").unwrap();
    for kind in crate::oci::INDEX_TYPES
        .iter()
        .chain(&crate::oci::MANIFEST_TYPES)
    {
        assert!(accept.split(", ").any(|part| part == *kind), "{accept}");
    }
}

#[tokio::test]
async fn expired_token_is_replaced_once() {
    let image = Image::single("amd64", "one");
    let served = image.clone();
    let tokens = AtomicUsize::new(0);
    let fake = Fake::start(move |request| {
        if request.path() == "/token" {
            let number = tokens.fetch_add(1, Ordering::SeqCst);
            return Reaction::new(200, format!("{{\"access_token\":\"{TOKEN}{number}\"}}"));
        }
        // Each token is good for one kind of request only.
        let wanted = usize::from(request.path().contains("/blobs/"));
        let good = request.header("authorization") == Some(&format!("Bearer {TOKEN}{wanted}"));
        if good {
            contents(&served, request)
        } else {
            challenge(request)
        }
    });
    let source = source(settings(&[]), &fake.host(), "team/app");
    assert_eq!(
        resolved(&source, "one").await.unwrap().unwrap().digest,
        image.digest()
    );
    assert_eq!(fake.count("/token"), 2);
    let error = source
        .manifest(&TagOrDigest::Digest(image.digest()), None)
        .await
        .unwrap_err();
    assert_eq!(error.class, Class::Denied);
    no_secret(&format!("{error} {error:?}"));
}

#[tokio::test]
async fn malformed_tokens_and_challenges_are_refused() {
    for body in [
        "{}",
        "[]",
        "{\"token\":\"\"}",
        "{\"token\":\"a b\"}",
        "{\"token\":\"a\\r\\nX: y\"}",
        "{\"token\":1}",
    ] {
        let (error, count) = failing(KINDS[3], &Reaction::new(200, body), |_| {}).await;
        assert_eq!(
            (error.class, count),
            (Class::Unavailable, 1),
            "{body}: {error}"
        );
    }
    let hostile = [
        ("", "neither"),
        ("Negotiate", "neither"),
        ("Bearer realm=\"", "cannot be parsed"),
        ("Bearer service=x", "names no token server"),
        ("Bearer realm=\"ftp://x/\"", "does not use HTTP"),
        ("Bearer realm=\"http://u:p@x/\"", "user name"),
    ];
    for (value, says) in hostile {
        let fake = Fake::start(move |_| Reaction::new(401, "").with("WWW-Authenticate", value));
        let (_directory, settings) = as_robot(&fake.host());
        let error = resolved(&source(settings, &fake.host(), "team/app"), "one")
            .await
            .unwrap_err();
        assert_eq!(error.class, Class::Denied, "{value}: {error}");
        assert!(
            says == "neither" || error.message.contains(says),
            "{value}: {error}"
        );
        assert_eq!(fake.requests().len(), 1, "{value}");
    }
}

#[tokio::test]
async fn credentials_for_one_host_never_reach_another() {
    let fake =
        Fake::start(|_| Reaction::new(401, "").with("WWW-Authenticate", "Basic realm=\"x\""));
    let (_directory, settings) = as_robot("127.0.0.1:1");
    let error = resolved(&source(settings.clone(), &fake.host(), "team/app"), "one")
        .await
        .unwrap_err();
    assert_eq!(error.class, Class::Denied);
    // A name in the pins lends its credentials to no mirror.
    let (_directory, settings) = as_robot("ghcr.io");
    let mapping = format!("ghcr.io=http://{}", fake.host());
    let mapped = super::sources(settings, &[&mapping])
        .source(&super::repository("ghcr.io", "team/app"))
        .unwrap();
    assert_eq!(
        resolved(&mapped, "one").await.unwrap_err().class,
        Class::Denied
    );
    assert!(
        fake.requests()
            .iter()
            .all(|request| request.header("authorization").is_none())
    );
}

#[tokio::test]
async fn proxy_is_not_used_for_this_machine() {
    let proxy = Fake::start(|_| Reaction::new(404, ""));
    let url = format!("http://{}", proxy.host());
    let variables = [
        ("http_proxy", url.as_str()),
        ("https_proxy", &url),
        ("all_proxy", &url),
    ];
    let fake = serving(&index(), |_| Some(Reaction::new(404, "")));
    assert!(
        resolved(
            &source(settings(&variables), &fake.host(), "team/app"),
            "one"
        )
        .await
        .unwrap()
        .is_none()
    );
    assert_eq!(proxy.requests().len(), 0);
    let far = super::sources(settings(&variables), &["ghcr.io=http://registry.invalid"]);
    let far = far
        .source(&super::repository("ghcr.io", "team/app"))
        .unwrap();
    assert!(resolved(&far, "one").await.unwrap().is_none());
    assert_eq!(
        proxy.log(),
        ["GET http://registry.invalid/v2/team/app/manifests/one"]
    );
}

/// The most memory that this process has had, in KiB.
pub(crate) fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn endless_response_is_cut() {
    for kind in KINDS {
        let flood = Reaction::Flood(b"HTTP/1.1 200 X\r\nConnection: close\r\n\r\n".to_vec(), 400);
        let (error, count) = failing(kind, &flood, |_| {}).await;
        assert!(error.message.contains("more than"), "{}: {error}", kind.0);
        assert!(
            requests_of(kind.0, 1).contains(&count),
            "{}: {count}",
            kind.0
        );
        let error = Reaction::Flood(b"HTTP/1.1 400 X\r\nConnection: close\r\n\r\n".to_vec(), 400);
        failing(kind, &error, |_| {}).await;
    }
    assert!(peak() < 128 * 1024, "{} KiB", peak());
}
