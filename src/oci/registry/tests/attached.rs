//! Signatures and attestations of an image: found in registries with and without the referrers API
//! and in layouts, within the documented number of requests; an incomplete listing is an error.

use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{settings, source};
use crate::{
    base::{
        error::{Class, Span},
        files::RelPath,
    },
    core::changes::{SbomPackages, read_sboms},
    oci::{
        Digest,
        registry::{Mapping, Source},
    },
    support::{
        attach::{self, Attachment, BUNDLE},
        authority::{self, ISSUER, NOW, SLSA, SOURCE, Signing, WORKFLOW},
        fake::{Fake, Reaction, Request},
        images::Image,
        layout::Layout,
        registry::{Protection, Registry},
    },
    trust::{
        self, CommitBinding, Policy, PolicyResult, Requirement, Root, RootKind, RootSource, Runner,
        SearchExtent, SearchResult, SignedSubject, Signer, SignerIdentity, Subject, SubjectName,
        Triggers, Verify,
    },
};

const COMMIT: &str = "1111111111111111111111111111111111111111";
const OTHER: &str = "2222222222222222222222222222222222222222";

/// A layout with attachments of an image that is missing. Only requests are tested, so it is no
/// repository.
struct World {
    directory: TempDir,
    layout: Layout,
}

fn world() -> World {
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::at(directory.path());
    World { directory, layout }
}

/// The repository of the image, as signatures name it.
const IMAGE: &str = "example.com/team";

fn image() -> Digest {
    Digest::of(b"the image")
}

impl World {
    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A build attestation for `commit`, not listed yet.
    fn built(&self, commit: &str) -> Attachment {
        let bundle =
            Signing::of(commit).bundle(&authority::provenance(IMAGE, &image().hex(), commit));
        attach::bundle(
            &self.layout,
            &image().to_string(),
            bundle.to_string().as_bytes(),
        )
    }

    fn in_layout(&self) -> Source {
        let mapping = format!("example.com/team=oci:{}", self.path().display());
        let mapping = Mapping::parse(&mapping, Path::new("/")).unwrap();
        let repository = super::Repository::parse("example.com/team").unwrap();
        let sources = super::Sources::new(
            vec![vec![mapping]],
            super::Registries::new(settings(&[])).unwrap(),
        );
        sources.source(&repository).unwrap()
    }

    fn served(
        &self,
        answer: impl Fn(&Request) -> Option<Reaction> + Send + Sync + 'static,
    ) -> Fake {
        attach::serve(self.path(), answer)
    }
}

fn verify(require: &[Requirement]) -> Verify {
    let at = Span { start: 0, end: 0 };
    Verify {
        require: require.to_vec(),
        signers: vec![Signer {
            who: SignerIdentity::Workflow {
                workflow: WORKFLOW.to_owned(),
                git_ref: None,
                source_ref: None,
                issuer: ISSUER.to_owned(),
                runner: Runner::GitHubHosted,
            },
            trigger: Triggers::Trusted,
            commit: CommitBinding::Certificate,
            source: Some(SOURCE.to_owned()),
            images: Vec::new(),
        }],
        predicate_types: vec![SLSA.to_owned()],
        subject: SignedSubject::Pinned,
        subject_name: SubjectName::Repository,
        trusted_roots: vec![RootSource {
            name: "root.json".to_owned(),
            kind: RootKind::File(RelPath::parse("root.json").unwrap()),
            span: at,
        }],
        since: None,
    }
}

fn policy(verify: &Verify) -> Policy<'_> {
    Policy {
        verify,
        keys: vec![None],
        roots: Root::parse("root.json", authority::root().to_string().as_bytes()).unwrap(),
    }
}

fn subject(repositories: &[super::Repository]) -> Subject<'_> {
    let now: SystemTime = UNIX_EPOCH + Duration::from_secs(u64::try_from(NOW).unwrap() + 60);
    Subject {
        image: "app",
        repositories,
        digest: image(),
        revision: COMMIT,
        now,
    }
}

fn repositories() -> [super::Repository; 1] {
    [super::Repository::parse(IMAGE).unwrap()]
}

async fn examine(source: &Source, require: &[Requirement], search: SearchExtent) -> SearchResult {
    let verify = verify(require);
    let policy = policy(&verify);
    trust::search(source, &policy, subject(&repositories()), search).await
}

/// Looks for an attestation at a registry.
async fn at(fake: &Fake) -> SearchResult {
    let source = source(settings(&[]), &fake.host(), "team/app");
    examine(
        &source,
        &[Requirement::Attestation],
        SearchExtent::UntilSatisfied,
    )
    .await
}

fn won(examination: &SearchResult) -> usize {
    let satisfies = |result: &PolicyResult| matches!(result, PolicyResult::Satisfied(_));
    let candidates = examination.candidates.iter();
    candidates
        .filter(|one| satisfies(&one.verdict.result))
        .count()
}

#[tokio::test]
async fn attestation_costs_three_requests() {
    let world = world();
    let built = world.built(COMMIT);
    attach::list(&world.layout, &[&built, &world.built(OTHER)]);
    let fake = world.served(|_| None);
    let found = at(&fake).await;
    assert_eq!((won(&found), found.faults.len(), found.unread), (1, 0, 0));
    assert_eq!(found.candidates[0].blob.to_string(), built.bundle);
    let of = |path: &str| format!("GET /v2/team/app/{path}");
    assert_eq!(
        fake.log(),
        [
            of(&format!("referrers/{}", image())),
            of(&format!("manifests/{}", built.manifest)),
            of(&format!("blobs/{}", built.bundle)),
        ]
    );
}

#[tokio::test]
async fn registry_without_the_api_uses_tags() {
    for answer in [
        Reaction::new(404, "<html>"),
        Reaction::new(405, ""),
        attach::listing(&[]),
    ] {
        let world = world();
        attach::list_by_tag(&world.layout, &image().to_string(), &[&world.built(COMMIT)]);
        let answer = move |request: &Request| {
            request
                .path()
                .contains("/referrers/")
                .then(|| answer.clone())
        };
        let fake = world.served(answer);
        let found = at(&fake).await;
        assert_eq!((won(&found), found.faults.len()), (1, 0));
        assert_eq!(fake.log().len(), 4, "{:?}", fake.log());
    }
}

/// GHCR redirects the referrers to a page of its web site, which is rate-limited
/// (artifacthub/hub, issue 4785).
#[tokio::test]
async fn redirect_to_a_web_site_uses_tags() {
    let world = world();
    attach::list_by_tag(&world.layout, &image().to_string(), &[&world.built(COMMIT)]);
    let site = Fake::start(|_| Reaction::new(429, ""));
    let location = format!("http://{}/-/v2/packages/container/package", site.host());
    let fake = world.served(move |request| {
        let is_listing = request.path().contains("/referrers/");
        is_listing.then(|| Reaction::new(303, "").with("Location", location.clone()))
    });
    let found = at(&fake).await;
    assert_eq!((won(&found), found.faults.len()), (1, 0), "{found:?}");
    assert_eq!(site.requests().len(), 0);
}

/// GitLab's registry has no referrers API, and resolves `sha256-HEX` to the manifest `sha256:HEX`
/// (oras-project/oras-go, issue 1396).
#[tokio::test]
async fn image_is_no_list_of_its_referrers() {
    let index = Image::index(vec![Image::single("amd64", "one")]);
    for image in [Image::single("amd64", "one"), index] {
        let (digest, listed) = (image.digest(), image.clone());
        let fake = Fake::start(move |request| match request.path().rsplit_once('/') {
            Some((kind, tag)) if kind.ends_with("/manifests") && tag.len() == 71 => {
                Reaction::new(200, listed.manifest.clone()).with("Content-Type", listed.media_type)
            }
            _ => Reaction::new(404, ""),
        });
        let source = source(settings(&[]), &fake.host(), "team/app");
        let found = source.referrers(digest).await.unwrap();
        assert!(found.is_empty(), "{found:?}");
        assert_eq!(fake.requests().len(), 2, "{:?}", fake.log());
    }
}

#[tokio::test]
async fn old_signatures_cost_three_requests() {
    let world = world();
    let signings = [Signing::of(OTHER), Signing::of(COMMIT)];
    attach::signatures(&world.layout, IMAGE, &image().to_string(), &signings);
    let fake = world.served(|_| None);
    let source = source(settings(&[]), &fake.host(), "team/app");
    let found = examine(
        &source,
        &[Requirement::Signature],
        SearchExtent::UntilSatisfied,
    )
    .await;
    assert_eq!((won(&found), found.candidates.len()), (1, 2));
    let log = fake.log();
    assert!(
        log[2].contains(".sig") && log[3].contains("/blobs/"),
        "{log:?}"
    );
    assert_eq!(fake.count("/blobs/"), 2);
}

#[tokio::test]
async fn real_registry_lists_by_tag() {
    let world = world();
    let subject = image().to_string();
    attach::list_by_tag(&world.layout, &subject, &[&world.built(COMMIT)]);
    attach::signatures(&world.layout, IMAGE, &subject, &[Signing::of(COMMIT)]);
    let storage = tempfile::tempdir().unwrap();
    let registry = Registry::start(storage.path(), &Protection::None);
    registry.push_layout("team/app", world.path()).await;
    let source = source(settings(&[]), &registry.host, "team/app");
    let both = [Requirement::Attestation, Requirement::Signature];
    let found = examine(&source, &both, SearchExtent::UntilSatisfied).await;
    assert_eq!((won(&found), found.faults.len()), (2, 0), "{found:?}");
}

#[tokio::test]
async fn layout_lists_by_subject_and_by_tags() {
    let one = world();
    attach::list(&one.layout, &[&one.built(COMMIT)]);
    let found = examine(
        &one.in_layout(),
        &[Requirement::Attestation],
        SearchExtent::UntilSatisfied,
    )
    .await;
    assert_eq!((won(&found), found.faults.len()), (1, 0), "{found:?}");

    let two = world();
    let subject = image().to_string();
    attach::list_by_tag(&two.layout, &subject, &[&two.built(COMMIT)]);
    attach::signatures(&two.layout, IMAGE, &subject, &[Signing::of(COMMIT)]);
    let found = examine(
        &two.in_layout(),
        &[Requirement::Attestation],
        SearchExtent::All,
    )
    .await;
    assert_eq!((won(&found), found.faults.len()), (2, 0), "{found:?}");

    let nothing = world();
    let found = examine(
        &nothing.in_layout(),
        &[Requirement::Attestation],
        SearchExtent::UntilSatisfied,
    )
    .await;
    assert_eq!(
        (found.candidates.len(), found.faults.len()),
        (0, 0),
        "{found:?}"
    );
}

#[tokio::test]
async fn unexpected_response_is_an_outage() {
    let html = Reaction::new(200, "<html></html>").with("content-type", "text/html");
    let index = "application/vnd.oci.image.index.v1+json";
    let cases = [
        html,
        Reaction::new(200, r#"{"schemaVersion":2,"manifests":[]}"#),
        Reaction::new(200, "{}").with("content-type", index),
        Reaction::new(200, r#"{"schemaVersion":1,"manifests":[]}"#).with("content-type", index),
        Reaction::new(200, r#"{"schemaVersion":2,"manifests":[null]}"#).with("content-type", index),
        Reaction::new(204, ""),
        Reaction::new(400, ""),
        Reaction::new(410, ""),
    ];
    for (number, answer) in cases.into_iter().enumerate() {
        let world = world();
        let answer = move |request: &Request| {
            request
                .path()
                .contains("/referrers/")
                .then(|| answer.clone())
        };
        let found = at(&world.served(answer)).await;
        let classes: Vec<_> = found.faults.iter().map(|fault| fault.class).collect();
        assert_eq!(classes, [Class::Unavailable], "case {number}: {found:?}");
    }
}

#[tokio::test]
async fn refusals_are_denials() {
    for status in [401, 403] {
        let world = world();
        let answer = move |_: &Request| {
            let answer = Reaction::new(status, "");
            Some(answer.with("www-authenticate", "Basic realm=\"x\""))
        };
        let found = at(&world.served(answer)).await;
        assert!(!found.faults.is_empty());
        let denied = |class| class == Class::Denied;
        assert!(
            found.faults.iter().all(|fault| denied(fault.class)),
            "{found:?}"
        );
    }
}

#[tokio::test]
async fn candidates_are_ordered_by_type() {
    let world = world();
    let sbom = world.layout.blob("application/spdx+json", b"{}");
    let sbom = attach::artifact(
        &world.layout,
        &image().to_string(),
        "application/spdx+json",
        &sbom,
    );
    let mut unnamed = world.built(OTHER);
    unnamed
        .entry
        .as_object_mut()
        .unwrap()
        .remove("artifactType");
    attach::list(&world.layout, &[&sbom, &unnamed, &world.built(COMMIT)]);
    let fake = world.served(|_| None);
    let source = source(settings(&[]), &fake.host(), "team/app");
    let found = examine(&source, &[Requirement::Attestation], SearchExtent::All).await;
    assert_eq!(found.candidates.len(), 2);
    assert!(matches!(
        found.candidates[0].verdict.result,
        PolicyResult::Satisfied(_)
    ));
    assert_eq!(fake.count(&sbom.manifest), 0);
}

#[tokio::test]
async fn manifest_determines_a_candidate() {
    let world = world();
    let bundle = Signing::of(COMMIT).bundle(&authority::provenance(IMAGE, &image().hex(), COMMIT));
    let blob = world.layout.blob(BUNDLE, bundle.to_string().as_bytes());
    let another = Digest::of(b"another").to_string();
    let subject = image().to_string();
    let elsewhere = attach::artifact(&world.layout, &another, BUNDLE, &blob);
    let sbom = attach::artifact(&world.layout, &subject, "application/spdx+json", &blob);
    let plain = world
        .layout
        .blob("text/plain", bundle.to_string().as_bytes());
    let plain = attach::artifact(&world.layout, &subject, BUNDLE, &plain);
    // The listing may contradict the manifest.
    let entries = [&elsewhere, &sbom, &plain].map(|one| {
        let mut entry = one.entry.clone();
        entry["artifactType"] = json!(BUNDLE);
        entry
    });
    let answer = move |request: &Request| {
        request
            .path()
            .contains("/referrers/")
            .then(|| attach::listing(&entries))
    };
    let found = at(&world.served(answer)).await;
    assert_eq!(
        (found.candidates.len(), found.faults.len()),
        (0, 0),
        "{found:?}"
    );
}

#[tokio::test]
async fn thirty_two_candidates_are_read() {
    let world = world();
    let mut attachments: Vec<_> = (0..32).map(|_| world.built(OTHER)).collect();
    attach::list(&world.layout, &attachments.iter().collect::<Vec<_>>());
    attachments.push(world.built(COMMIT));
    let fake = world.served(|_| None);
    let found = at(&fake).await;
    assert_eq!((found.candidates.len(), found.unread), (32, 0));
    attach::list(&world.layout, &[&attachments[32]]);
    let found = at(&fake).await;
    assert_eq!(
        (found.candidates.len(), found.unread, won(&found)),
        (32, 1, 0)
    );
}

#[tokio::test]
async fn page_size_does_not_change_the_cost() {
    let world = world();
    let built = world.built(OTHER);
    let entries = vec![built.entry.clone(); 10_000];
    let page = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": entries,
    });
    let page = page.to_string();
    let fake = world.served(move |request| {
        let asked = request.path().contains("/referrers/");
        asked.then(|| {
            Reaction::new(200, page.as_str())
                .with("content-type", "application/vnd.oci.image.index.v1+json")
        })
    });
    let found = at(&fake).await;
    assert_eq!((found.candidates.len(), found.unread), (32, 10_000 - 32));
    assert_eq!(won(&found), 0);
    // The page, a manifest and a bundle for each, and the tag of older signatures.
    assert_eq!(fake.log().len(), 1 + 2 * 32 + 1, "{:#?}", fake.log());
}

#[tokio::test]
async fn all_pages_are_read_within_their_limits() {
    let world = world();
    let built = world.built(COMMIT);
    let noise: Vec<Value> = (0..5_000_u32)
        .map(|number| {
            let digest = Digest::of(&number.to_be_bytes()).to_string();
            json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest,
                "size": 1, "artifactType": "application/spdx+json"})
        })
        .collect();
    let entry = built.entry.clone();
    let answer = move |request: &Request| {
        let page = request
            .target
            .split_once("page=")
            .map(|(_, page)| page.to_owned());
        let next = |page: &str| format!("</v2/team/app/referrers/x?page={page}>; rel=\"next\"");
        let listed = |page: &str| attach::listing(&noise).with("link", next(page));
        match (request.path().contains("/referrers/"), page.as_deref()) {
            (false, _) => None,
            (true, None) => Some(listed("2")),
            (true, Some("2")) => Some(listed("3")),
            (true, Some(_)) => Some(attach::listing(std::slice::from_ref(&entry))),
        }
    };
    let fake = world.served(answer);
    let found = at(&fake).await;
    assert_eq!((won(&found), found.unread), (1, 0), "{:?}", found.faults);
    assert_eq!(fake.count("/referrers/"), 3);

    let endless = |request: &Request| {
        let next = format!(
            "</v2/team/app/referrers/x?page={}>; rel=\"next\"",
            request.number
        );
        Some(attach::listing(&[]).with("link", next))
    };
    let found = at(&world.served(endless)).await;
    assert!(
        found.faults[0].to_string().contains("more than 1000 pages"),
        "{found:?}"
    );

    let large = |request: &Request| {
        let next = format!(
            "</v2/team/app/referrers/x?page={}>; rel=\"next\"",
            request.number
        );
        let index = "application/vnd.oci.image.index.v1+json";
        let body = format!(
            r#"{{"schemaVersion":2,"manifests":[]}}{}"#,
            " ".repeat(4 << 20)
        );
        Some(
            Reaction::new(200, body)
                .with("content-type", index)
                .with("link", next),
        )
    };
    let fake = world.served(large);
    let found = at(&fake).await;
    assert_eq!(found.faults[0].class, Class::Unavailable, "{found:?}");
    assert_eq!(fake.count("/referrers/"), 3);
}

#[tokio::test]
async fn unreadable_candidates_are_faults() {
    let world = world();
    let (gone, altered, large) = (
        world.built(COMMIT),
        world.built(COMMIT),
        "x".repeat((4 << 20) + 1),
    );
    let large = attach::bundle(&world.layout, &image().to_string(), large.as_bytes());
    attach::list(&world.layout, &[&gone, &altered, &large]);
    std::fs::remove_file(world.layout.blob_path(&gone.manifest)).unwrap();
    let path = world.layout.blob_path(&altered.bundle);
    let bundle = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, bundle.replacen("0.3", "0.2", 1)).unwrap();
    let entries = [&gone, &altered, &large].map(|one| one.entry.clone());
    let listed = entries.clone();
    let answer = move |request: &Request| {
        request
            .path()
            .contains("/referrers/")
            .then(|| attach::listing(&listed))
    };
    let found = at(&world.served(answer)).await;
    let faults: Vec<_> = found.faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        (found.candidates.len(), faults.len()),
        (0, 3),
        "{faults:#?}"
    );
    assert!(faults[0].contains("missing"), "{faults:?}");
    assert!(faults[1].contains("hash to"), "{faults:?}");
    assert!(faults[2].contains("more than 4 MiB"), "{faults:?}");

    // None of it matters once another candidate wins.
    let mut listed = entries.to_vec();
    listed.push(world.built(COMMIT).entry);
    let answer = move |request: &Request| {
        request
            .path()
            .contains("/referrers/")
            .then(|| attach::listing(&listed))
    };
    assert_eq!(won(&at(&world.served(answer)).await), 1);
}

#[tokio::test]
async fn sboms_of_trusted_signers_are_read() {
    let world = world();
    let attached = |commit: &str, predicate_type: &str, predicate: &Value| {
        let hex = image().hex();
        let statement = authority::statement(IMAGE, &hex, predicate_type, predicate);
        let bundle = Signing::of(commit).bundle(&statement).to_string();
        attach::bundle(&world.layout, &image().to_string(), bundle.as_bytes())
    };
    let purl = |purl: &str| json!({"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl});
    let spdx =
        json!({"spdxVersion": "SPDX-2.3", "packages": [{"externalRefs": [purl("pkg:npm/a@1")]}]});
    let cyclonedx = json!({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [{"purl": "pkg:cargo/b@2"}]});
    let sboms = [
        attached(COMMIT, "https://spdx.dev/Document", &spdx),
        attached(COMMIT, "https://cyclonedx.org/bom", &cyclonedx),
        world.built(COMMIT),
    ];
    let verify = verify(&[Requirement::Attestation]);
    let (policy, source) = (policy(&verify), world.in_layout());
    let (repositories, none) = (repositories(), SbomPackages::default());
    let subject = subject(&repositories);
    assert_eq!(read_sboms(&source, &policy, subject).await.unwrap(), none);
    attach::list(&world.layout, &sboms.each_ref());
    let read = read_sboms(&source, &policy, subject).await.unwrap();
    let names: Vec<_> = read.packages.unwrap().into_keys().collect();
    assert_eq!(
        (names, read.not_read),
        (vec!["cargo".to_owned(), "npm".to_owned()], vec![])
    );

    // A second commit's SBOM does not count, and a malformed one makes the list incomplete.
    attach::list(
        &world.layout,
        &[&attached(OTHER, "https://spdx.dev/Document", &spdx)],
    );
    let read = read_sboms(&source, &policy, subject).await.unwrap();
    assert_eq!(read.packages.map(|packages| packages.len()), Some(2));
    let [reason] = read.not_read.as_slice() else {
        panic!("{:?}", read.not_read);
    };
    assert!(reason.contains("it was made for commit 2222"), "{reason}");
    attach::list(
        &world.layout,
        &[&attached(COMMIT, "https://spdx.dev/Document", &json!({}))],
    );
    let read = read_sboms(&source, &policy, subject).await.unwrap();
    assert_eq!((read.packages, read.not_read.len()), (None, 2));
}
