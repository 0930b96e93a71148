//! Responses of registries that cannot run in a test, as their documentation, their sources or other
//! clients show them. Each row names its source.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{settings, source};
use crate::{
    base::error::{Class, Error},
    oci::{
        Digest,
        registry::{Deletion, Remote, Source},
    },
    support::{
        fake::{Fake, Reaction, Request},
        registry::{PASSWORD, USER, docker_config},
    },
};

const LIST: &str = "/v2/team/app/tags/list";

/// The repository `team/app` of a scripted registry, with credentials.
fn remote(fake: &Fake) -> Remote {
    let directory = tempfile::tempdir().unwrap();
    let config = docker_config(directory.path(), &fake.host(), (USER, PASSWORD));
    let config = std::fs::read_to_string(config.join("config.json")).unwrap();
    let settings = settings(&[("DOCKER_AUTH_CONFIG", &config)]);
    let Source::Remote(remote) = source(settings, &fake.host(), "team/app") else {
        panic!("not a registry")
    };
    remote
}

/// The tags of a repository; `None` if it is missing.
async fn tags(fake: &Fake) -> Result<Option<Vec<String>>, Error> {
    let tags = remote(fake).tags_with_clock().await?.tags;
    Ok(tags.map(|tags| tags.iter().map(ToString::to_string).collect()))
}

fn basic() -> String {
    format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")))
}

/// A text in which `HOST` is the host of the registry.
fn at_host(text: &str, request: &Request) -> String {
    text.replace("HOST", request.header("host").unwrap())
}

fn unauthorized(challenges: &[&str], request: &Request) -> Reaction {
    let challenge =
        |reaction: Reaction, text: &&str| reaction.with("WWW-Authenticate", at_host(text, request));
    challenges
        .iter()
        .fold(Reaction::new(401, "Not Authorized\n"), challenge)
}

/// The challenges of a registry, and its token server.
struct Login {
    registry: &'static str,
    challenges: &'static [&'static str],
    /// The request for a token, and the response; `None` if the registry accepts passwords only.
    token: Option<(&'static str, &'static str)>,
}

const LOGINS: [Login; 7] = [
    // "Docker Hub pull usage and limits", "View pull rate and limit" (Docker's manuals).
    Login {
        registry: "Docker Hub",
        challenges: &[
            r#"Bearer realm="http://HOST/token",service="registry.docker.io",scope="repository:team/app:pull""#,
        ],
        token: Some((
            "/token?service=registry.docker.io&scope=repository%3Ateam%2Fapp%3Apull",
            r#"{"token":"t0k3n","access_token":"t0k3n","expires_in":300,"issued_at":"2026-01-01T00:00:00Z"}"#,
        )),
    },
    // openai/tunnel-client, issue 75.
    Login {
        registry: "GHCR",
        challenges: &[
            r#"Bearer realm="http://HOST/token",service="ghcr.io",scope="repository:team/app:pull""#,
        ],
        token: Some((
            "/token?service=ghcr.io&scope=repository%3Ateam%2Fapp%3Apull",
            r#"{"token":"t0k3n"}"#,
        )),
    },
    // renovatebot/renovate, lib/modules/datasource/docker/common.ts; "Private registry
    // authentication in Amazon ECR" (AWS documentation).
    Login {
        registry: "Amazon ECR",
        challenges: &[
            r#"Basic realm="https://123456789012.dkr.ecr.eu-west-1.amazonaws.com/",service="ecr.amazonaws.com""#,
        ],
        token: None,
    },
    // quay/quay, auth/registry_jwt_auth.py and endpoints/v2/v2auth.py.
    Login {
        registry: "Quay",
        challenges: &[
            r#"Bearer realm="http://HOST/v2/auth",service="quay.example.com",scope="repository:team/app:pull""#,
        ],
        token: Some((
            "/v2/auth?service=quay.example.com&scope=repository%3Ateam%2Fapp%3Apull",
            r#"{"token":"t0k3n"}"#,
        )),
    },
    // goharbor/harbor, src/server/middleware/v2auth/auth.go and src/common/models/token.go.
    Login {
        registry: "Harbor",
        challenges: &[
            r#"Bearer realm="http://HOST/service/token",service="harbor-registry",scope="repository:team/app:pull""#,
        ],
        token: Some((
            "/service/token?service=harbor-registry&scope=repository%3Ateam%2Fapp%3Apull",
            r#"{"token":"t0k3n","access_token":"","expires_in":1800,"issued_at":"2026-01-01T00:00:00Z"}"#,
        )),
    },
    // project-zot/zot, pkg/api/authn.go.
    Login {
        registry: "Zot",
        challenges: &[r#"Basic realm="Authorization Required""#],
        token: None,
    },
    // go-gitea/gitea, routers/api/packages/container/container.go, and
    // tests/integration/api_packages_container_test.go: the scope is not that of the repository.
    Login {
        registry: "Gitea",
        challenges: &[
            r#"Bearer realm="http://HOST/v2/token",service="container_registry",scope="*""#,
            r#"Basic realm="Gitea Container Registry""#,
        ],
        token: Some((
            "/v2/token?service=container_registry&scope=*",
            r#"{"token":"t0k3n"}"#,
        )),
    },
];

#[tokio::test]
async fn documented_challenges_are_answered() {
    for login in &LOGINS {
        let expected = match login.token {
            Some(_) => "Bearer t0k3n".to_owned(),
            None => basic(),
        };
        let header = expected.clone();
        let fake = Fake::start(move |request| match login.token {
            Some((target, body)) if request.target == target => Reaction::new(200, body),
            _ if request.header("authorization") == Some(&header) => {
                Reaction::new(200, r#"{"tags":[]}"#)
            }
            _ => unauthorized(login.challenges, request),
        });
        let found = tags(&fake).await;
        assert_eq!(found.unwrap(), Some(vec![]), "{}", login.registry);
        let sent: Vec<_> = fake
            .requests()
            .iter()
            .map(|request| request.header("authorization").map(str::to_owned))
            .collect();
        let token = login.token.map(|_| Some(basic()));
        let all: Vec<_> = [Some(None), token, Some(Some(expected))]
            .into_iter()
            .flatten()
            .collect();
        assert_eq!(sent, all, "{}", login.registry);
    }
}

/// A refusal of a user, with the headers and the body.
struct Refusal {
    registry: &'static str,
    status: u16,
    challenge: &'static str,
    body: &'static str,
    message: &'static str,
}

/// Private and missing repositories are refused in the same way, after the registry issued a token.
const REFUSALS: [Refusal; 6] = [
    // distribution/distribution, registry/auth/token/accesscontroller.go.
    Refusal {
        registry: "Docker Hub",
        status: 401,
        challenge: r#"Bearer realm="http://HOST/token",service="registry.docker.io",scope="repository:team/app:pull",error="insufficient_scope""#,
        body: r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required","detail":[{"Type":"repository"}]}]}"#,
        message: "HTTP 401 Unauthorized (UNAUTHORIZED: authentication required)",
    },
    // "Troubleshooting errors with Docker commands when using Amazon ECR" (AWS documentation), and
    // aws/aws-cli, issue 6580: a password is valid for 12 hours.
    Refusal {
        registry: "Amazon ECR",
        status: 403,
        challenge: "",
        body: r#"{"errors":[{"code":"DENIED","message":"Your authorization token has expired. Reauthenticate and try again."}]}"#,
        message: "Your authorization token has expired",
    },
    // quay/quay, endpoints/v2/errors.py.
    Refusal {
        registry: "Quay",
        status: 401,
        challenge: r#"Bearer realm="http://HOST/token",service="quay.example.com",scope="repository:team/app:pull""#,
        body: r#"{"errors":[{"code":"UNAUTHORIZED","detail":{},"message":"access to the requested resource is not authorized"}]}"#,
        message: "access to the requested resource is not authorized",
    },
    // goharbor/harbor, src/server/middleware/v2auth/auth.go: the challenge after a token is Basic.
    Refusal {
        registry: "Harbor",
        status: 401,
        challenge: r#"Basic realm="harbor""#,
        body: r#"{"errors":[{"code":"UNAUTHORIZED","message":"unauthorized to access repository: team/app, action: pull"}]}"#,
        message: "unauthorized to access repository: team/app",
    },
    // project-zot/zot, pkg/common/http_server.go.
    Refusal {
        registry: "Zot",
        status: 403,
        challenge: r#"Basic realm="Authorization Required""#,
        body: r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied","detail":{}}]}"#,
        message: "DENIED: requested access to the resource is denied",
    },
    // go-gitea/gitea, routers/api/packages/api.go.
    Refusal {
        registry: "Gitea",
        status: 401,
        challenge: r#"Basic realm="Gitea Package API""#,
        body: "reqPackageAccess",
        message: "reqPackageAccess",
    },
];

#[tokio::test]
async fn documented_refusals_are_denials() {
    for refusal in &REFUSALS {
        let fake = Fake::start(move |request| {
            if request.path() == "/token" {
                return Reaction::new(200, r#"{"token":"t0k3n"}"#);
            }
            if request.header("authorization").is_none() {
                return unauthorized(&[r#"Bearer realm="http://HOST/token""#], request);
            }
            let reaction = Reaction::new(refusal.status, refusal.body);
            reaction.with("WWW-Authenticate", at_host(refusal.challenge, request))
        });
        let error = tags(&fake).await.unwrap_err();
        assert_eq!(error.class, Class::Denied, "{}: {error}", refusal.registry);
        let text = error.to_string();
        assert!(
            text.contains(refusal.message),
            "{}: {text}",
            refusal.registry
        );
    }
}

/// GHCR refuses the token for private and missing packages (sigstore/scaffolding, issue 127;
/// openai/tunnel-client, issue 75).
#[tokio::test]
async fn refused_token_is_a_denial() {
    let body = r#"{"errors":[{"code":"DENIED","message":"denied"}]}"#;
    for status in [401, 403] {
        let fake = Fake::start(move |request| match request.path() {
            "/token" => Reaction::new(status, body),
            _ => unauthorized(
                &[r#"Bearer realm="http://HOST/token",service="ghcr.io""#],
                request,
            ),
        });
        let error = tags(&fake).await.unwrap_err();
        assert_eq!(error.class, Class::Denied, "{error}");
        assert!(error.to_string().contains("DENIED: denied"), "{error}");
    }
}

/// A token that expired is refused by Harbor with a Basic challenge (goharbor/harbor,
/// src/server/middleware/v2auth/auth.go), which the same credentials satisfy.
#[tokio::test]
async fn expired_token_of_harbor_is_replaced() {
    let fake = Fake::start(move |request| {
        let challenge = r#"Bearer realm="http://HOST/token",service="harbor-registry""#;
        match request.header("authorization") {
            _ if request.path() == "/token" => Reaction::new(200, r#"{"token":"t0k3n"}"#),
            None => unauthorized(&[challenge], request),
            Some("Bearer t0k3n") if request.number > 3 => {
                unauthorized(&[r#"Basic realm="harbor""#], request)
            }
            Some(_) => Reaction::new(200, r#"{"tags":["a"]}"#),
        }
    });
    let remote = remote(&fake);
    for _ in 0..2 {
        let tags = remote.tags_with_clock().await.unwrap().tags.unwrap();
        assert_eq!(tags.len(), 1);
    }
    let last = fake.requests().pop().unwrap();
    assert_eq!(last.header("authorization"), Some(basic().as_str()));
}

/// A response to a listing: the query, the `Link` header, the status, and the body.
type Page = (&'static str, &'static str, u16, &'static str);

const LISTINGS: [(&str, &[Page]); 5] = [
    // deitch/docker_registry2, issue 34: an absolute link with an opaque `last`, and tags in no order.
    // regclient/regclient, issue 931, and renovatebot/renovate, lib/modules/datasource/docker/ecr.ts:
    // 405 to an invalid parameter, which `last` is if it does not come from a link.
    (
        "Amazon ECR",
        &[
            (
                "n=1000",
                "<http://HOST/v2/team/app/tags/list?last=bG9uZw%3D%3D>; rel=\"next\"",
                200,
                r#"{"name":"team/app","tags":["b","c"]}"#,
            ),
            (
                "last=bG9uZw%3D%3D",
                "",
                200,
                r#"{"name":"team/app","tags":["a"]}"#,
            ),
            (
                "n=1000&last=a",
                "",
                405,
                r#"{"errors":[{"code":"UNSUPPORTED","message":"Invalid parameter at 'nextToken' failed to satisfy constraint: 'Invalid next token provided.'"}]}"#,
            ),
        ],
    ),
    // TritonDataCenter/node-docker-registry-client, issue 12: a link with `next_page`. An older
    // Quay restarts its list if `last` is not a token of its own (quay/quay,
    // endpoints/v2/__init__.py, `paginate`).
    (
        "Quay with next_page",
        &[
            (
                "n=1000",
                "<http://HOST/v2/team/app/tags/list?next_page=gAAAA%3D%3D&n=50>; rel=\"next\"",
                200,
                r#"{"name":"team/app","tags":["a","b"]}"#,
            ),
            (
                "next_page=gAAAA%3D%3D&n=50",
                "",
                200,
                r#"{"name":"team/app","tags":["c"]}"#,
            ),
            (
                "n=1000&last=c",
                "<http://HOST/v2/team/app/tags/list?next_page=gAAAA%3D%3D&n=50>; rel=\"next\"",
                200,
                r#"{"name":"team/app","tags":["a","b"]}"#,
            ),
        ],
    ),
    // quay/quay, endpoints/v2/__init__.py, `oci_tag_paginate`: at most 100 tags in a page.
    (
        "Quay",
        &[
            (
                "n=1000",
                "<http://HOST/v2/team/app/tags/list?n=100&last=b>; rel=\"next\"",
                200,
                r#"{"name":"team/app","tags":["a","b"]}"#,
            ),
            (
                "n=100&last=b",
                "",
                200,
                r#"{"name":"team/app","tags":["c"]}"#,
            ),
            ("n=1000&last=c", "", 200, r#"{"name":"team/app","tags":[]}"#),
        ],
    ),
    // goharbor/harbor, src/server/registry/util/util.go, and project-zot/zot, pkg/api/routes.go.
    (
        "Harbor and Zot",
        &[
            (
                "n=1000",
                "</v2/team/app/tags/list?n=1000&last=b>; rel=\"next\"",
                200,
                r#"{"name":"team/app","tags":["a","b"]}"#,
            ),
            (
                "n=1000&last=b",
                "",
                200,
                r#"{"name":"team/app","tags":["c"]}"#,
            ),
            ("n=1000&last=c", "", 200, r#"{"name":"team/app","tags":[]}"#),
        ],
    ),
    // go-gitea/gitea, routers/api/packages/container/container.go: every page that is not empty has a
    // link.
    (
        "Gitea",
        &[
            (
                "n=1000",
                "</v2/team/app/tags/list?last=c&n=1000>; rel=\"next\"",
                200,
                r#"{"name":"team/app","tags":["a","b","c"]}"#,
            ),
            ("last=c&n=1000", "", 200, r#"{"name":"team/app","tags":[]}"#),
            ("n=1000&last=c", "", 200, r#"{"name":"team/app","tags":[]}"#),
        ],
    ),
];

fn listing(pages: &'static [Page]) -> Fake {
    Fake::start(move |request| {
        let query = request.target.strip_prefix(&format!("{LIST}?"));
        let page = pages.iter().find(|page| Some(page.0) == query);
        let Some((_, link, status, body)) = page else {
            return Reaction::new(500, "");
        };
        let reaction = Reaction::new(*status, *body).with("Content-Type", "text/plain");
        match *link {
            "" => reaction,
            link => reaction.with("Link", at_host(link, request)),
        }
    })
}

#[tokio::test]
async fn documented_listings_are_complete() {
    for (registry, pages) in LISTINGS {
        let fake = listing(pages);
        let found = tags(&fake).await.unwrap().unwrap();
        assert_eq!(found, ["a", "b", "c"], "{registry}");
        assert_eq!(fake.requests().len(), 3, "{registry}: {:?}", fake.log());
    }
    // project-zot/zot, pkg/api/routes.go; goharbor/harbor, src/lib/http/error.go; go-gitea/gitea,
    // routers/api/packages/container/errors.go.
    for code in ["NAME_UNKNOWN", "NOT_FOUND"] {
        let body = format!("{{\"errors\":[{{\"code\":\"{code}\",\"message\":\"x\"}}]}}");
        let fake = Fake::start(move |_| Reaction::new(404, body.clone()));
        assert_eq!(tags(&fake).await.unwrap(), None, "{code}");
    }
}

/// A refused `last` completes the listing only after a page that is shorter than requested.
#[tokio::test]
async fn refused_last_may_hide_tags() {
    let page = |count: usize| {
        let tags: Vec<_> = (0..count).map(|number| format!("t{number:04}")).collect();
        format!("{{\"tags\":{tags:?}}}")
    };
    for (count, status, complete) in [
        (999, 405, true),
        (999, 400, true),
        (1_000, 405, false),
        (999, 404, false),
        (999, 416, false),
    ] {
        let first = page(count);
        let fake = Fake::start(move |request| match request.number {
            0 => Reaction::new(200, first.clone()),
            _ => Reaction::new(status, ""),
        });
        let found = tags(&fake).await;
        assert_eq!(found.is_ok(), complete, "{count}, {status}: {found:?}");
    }
    // The page after a link is not optional.
    let fake = Fake::start(|request| match request.number {
        0 => Reaction::new(200, r#"{"tags":["a"]}"#)
            .with("Link", "</v2/team/app/tags/list?last=a>; rel=next"),
        _ => Reaction::new(405, ""),
    });
    let error = tags(&fake).await.unwrap_err();
    assert_eq!(error.class, Class::Unavailable, "{error}");
}

#[tokio::test]
async fn documented_deletions_have_their_outcome() {
    let unsupported =
        r#"{"errors":[{"code":"UNSUPPORTED","message":"The operation is unsupported."}]}"#;
    for (registry, status, body, refused) in [
        // containers/skopeo, issue 1880; docker/hub-feedback, issue 2360.
        ("GHCR", 405, unsupported, Some("UNSUPPORTED")),
        ("Docker Hub", 405, unsupported, Some("UNSUPPORTED")),
        // quay/quay, endpoints/v2/errors.py.
        (
            "Quay: immutable tag",
            409,
            r#"{"errors":[{"code":"TAG_IMMUTABLE","detail":{"message":"tag 'a' is immutable"},"message":"tag is immutable and cannot be overwritten"}]}"#,
            Some("TAG_IMMUTABLE"),
        ),
        (
            "Quay: read only",
            405,
            r#"{"errors":[{"code":"DENIED","is_readonly":true,"message":"System is currently read-only."}]}"#,
            Some("read-only"),
        ),
        // Azure/acr-cli, issue 70.
        (
            "Azure: locked image",
            405,
            r#"{"errors":[{"code":"REGISTRY_DISALLOWED_OPERATION","detail":{},"message":"The operation is disallowed on this registry, repository or image."}]}"#,
            Some("REGISTRY_DISALLOWED_OPERATION"),
        ),
        // goharbor/harbor, src/lib/http/error.go.
        (
            "Harbor: immutable tag",
            412,
            r#"{"errors":[{"code":"PRECONDITION","message":"configured as immutable"}]}"#,
            Some("PRECONDITION: configured as immutable"),
        ),
        // project-zot/zot, pkg/api/routes.go, `DeleteManifest`.
        (
            "Zot: part of an index",
            405,
            r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied","detail":{"reference":"x"}}]}"#,
            Some("DENIED"),
        ),
        (
            "Zot: missing repository",
            400,
            r#"{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known to registry","detail":{}}]}"#,
            Some("NAME_UNKNOWN"),
        ),
        ("Quay, Harbor, Zot, Gitea", 202, "", None),
    ] {
        let fake = Fake::start(move |_| Reaction::new(status, body));
        let deletion = remote(&fake).delete(Digest::of(b"x")).await.unwrap();
        match (&deletion, refused) {
            (Deletion::Refused(text), Some(part)) => {
                assert!(text.contains(part), "{registry}: {text}");
            }
            (Deletion::Deleted, None) => {}
            _ => panic!("{registry}: {deletion:?}"),
        }
        assert_eq!(fake.requests().len(), 1, "{registry}");
    }
}

/// Token servers before distribution 2.7 know no action `delete`.
#[tokio::test]
async fn deletion_uses_every_action_if_delete_is_refused() {
    for refusal in [401, 200] {
        let fake = Fake::start(move |request| {
            let host = request.header("host").unwrap().to_owned();
            if request.path() == "/token" {
                let is_every = request.target.contains("repository%3Ateam%2Fapp%3A*");
                let token = if is_every { "every" } else { "delete" };
                let status = if is_every { 200 } else { refusal };
                return Reaction::new(status, format!(r#"{{"token":"{token}"}}"#));
            }
            if request.header("authorization") == Some("Bearer every") {
                return Reaction::new(202, "");
            }
            let scope = "repository:team/app:delete";
            let challenge =
                format!(r#"Bearer realm="http://{host}/token",service="x",scope="{scope}""#);
            Reaction::new(401, "").with("www-authenticate", challenge)
        });
        let deletion = remote(&fake).delete(Digest::of(b"x")).await;
        assert_eq!(deletion.unwrap(), Deletion::Deleted, "{refusal}");
    }
}
