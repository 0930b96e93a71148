//! `prune` on a simulated API of Amazon ECR (Amazon ECR API Reference).

use std::{
    collections::BTreeMap,
    mem,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use crate::support::{
    Digest,
    fake::{Fake, Reaction, Request},
    images::{Image, OCI_INDEX},
    pruned::{config, old, pinned},
    scene::{Scene, protection, tags},
};

const HOST: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
const KEY: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

struct Row {
    image: Image,
    tags: Vec<String>,
    days: u64,
    /// Days since the last pull.
    pulled: Option<u64>,
    status: &'static str,
}

#[derive(Default)]
struct Store {
    rows: BTreeMap<Digest, Row>,
    /// The responses to the next requests of an operation.
    early: Vec<(&'static str, Reaction)>,
    /// The responses below `/sts` and `/container`.
    credentials: Option<String>,
    /// The image whose deletion takes place without a response.
    lost: Option<Digest>,
    is_immutable: bool,
    /// Whether the next `PutImage` takes place without a response.
    loses_put: bool,
    /// The version that another process tags just before the next `PutImage`.
    rival: Option<Digest>,
    /// The version that is pulled just before the second listing.
    pulled_later: Option<Digest>,
    listings: usize,
}

struct Ecr {
    fake: Fake,
    store: Arc<Mutex<Store>>,
}

impl Ecr {
    fn start() -> Self {
        let store: Arc<Mutex<Store>> = Arc::default();
        let shared = Arc::clone(&store);
        let fake = Fake::start(move |request| shared.lock().unwrap().react(request));
        let ecr = Self { fake, store };
        ecr.push(&["main"], &pinned(), 50);
        ecr
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap()
    }

    fn push(&self, tags: &[&str], image: &Image, days: u64) {
        for manifest in image.manifests() {
            let row = Row {
                image: manifest.clone(),
                tags: Vec::new(),
                days,
                pulled: None,
                status: "ACTIVE",
            };
            self.store().rows.entry(manifest.digest()).or_insert(row);
        }
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        self.edit(image, |row| row.tags = tags);
    }

    fn edit(&self, image: &Image, edit: impl FnOnce(&mut Row)) {
        edit(self.store().rows.get_mut(&image.digest()).unwrap());
    }

    fn has(&self, image: &Image) -> bool {
        self.store().rows.contains_key(&image.digest())
    }

    /// The operations so far.
    fn operations(&self) -> Vec<String> {
        let requests = self.fake.requests();
        let targets = requests
            .iter()
            .filter_map(|request| request.header("x-amz-target"));
        targets
            .map(|target| target.rsplit('.').next().unwrap().to_owned())
            .collect()
    }

    /// The numbers of versions in the requests of an operation.
    fn batches(&self, operation: &str) -> Vec<usize> {
        let requests = self.fake.requests();
        let is_of = |request: &&Request| {
            let target = request.header("x-amz-target");
            target.is_some_and(|target| target.ends_with(operation))
        };
        let size = |request: &Request| {
            let input: Value = serde_json::from_str(&request.body).unwrap();
            input["imageIds"].as_array().map_or(0, Vec::len)
        };
        requests.iter().filter(is_of).map(size).collect()
    }

    /// A repository that pins `pinned`, without credentials.
    fn bare_scene(&self, block: &str) -> Scene {
        let app = format!("{HOST}/acme/app");
        let scene = Scene::new(&config(HOST, block), &app, pinned().digest());
        scene.env(
            "AWS_ENDPOINT_URL_ECR",
            &format!("http://{}/", self.fake.host()),
        )
    }

    fn scene(&self) -> Scene {
        self.scene_with("")
    }

    fn scene_with(&self, block: &str) -> Scene {
        self.bare_scene(block)
            .env("AWS_ACCESS_KEY_ID", KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET)
    }
}

fn days_ago(days: u64) -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.saturating_sub(Duration::from_secs(86_400 * days))
        .as_secs_f64()
}

impl Store {
    fn react(&mut self, request: &Request) -> Reaction {
        if request.path() != "/" {
            return match &self.credentials {
                Some(response) => Reaction::new(200, response.clone()),
                None => Reaction::new(404, ""),
            };
        }
        let target = request.header("x-amz-target").unwrap();
        let operation = target
            .strip_prefix("AmazonEC2ContainerRegistry_V20150921.")
            .unwrap();
        let authorization = request.header("authorization").unwrap_or_default();
        let scope = "/eu-west-1/ecr/aws4_request, SignedHeaders=content-type;host;x-amz-date;";
        assert!(authorization.starts_with(&format!("AWS4-HMAC-SHA256 Credential={KEY}/")));
        assert!(authorization.contains(scope), "{authorization}");
        if let Some(at) = self.early.iter().position(|(early, _)| *early == operation) {
            return self.early.remove(at).1;
        }
        let input: Value = serde_json::from_str(&request.body).unwrap();
        assert_eq!(input["registryId"], "123456789012");
        assert_eq!(input["repositoryName"], "acme/app");
        let mut ids: Vec<Digest> = Vec::new();
        for id in input["imageIds"].as_array().into_iter().flatten() {
            let tag = id["imageTag"].as_str().map(ToOwned::to_owned);
            let tagged = |tag| self.rows.iter().find(|(_, row)| row.tags.contains(&tag));
            match tag.map(tagged) {
                None => ids.push(id["imageDigest"].as_str().unwrap().parse().unwrap()),
                Some(Some((digest, _))) => ids.push(*digest),
                Some(None) => return error("ImageNotFoundException"),
            }
        }
        // "Array Members: Minimum number of 1 item. Maximum number of 100 items." A listing is in pages of at most
        // 1,000, and has no size if versions are selected.
        let is_sized = !input["maxResults"].is_null();
        if ids.len() > 100 || is_sized && (!ids.is_empty() || input["maxResults"] != 1000) {
            return error("InvalidParameterException");
        }
        match operation {
            "DescribeImages" if !ids.is_empty() => self.describe(&ids, &input),
            "DescribeImages" => self.page(&input),
            "BatchGetImage" => self.manifests(&ids),
            "BatchDeleteImage" if self.lost == Some(ids[0]) => {
                self.lost = None;
                self.delete(ids[0]);
                Reaction::new(500, "")
            }
            "BatchDeleteImage" => self.delete(ids[0]),
            "PutImage" => {
                let reaction = self.put(&input);
                if mem::take(&mut self.loses_put) {
                    return Reaction::new(500, "");
                }
                reaction
            }
            _ => error("InvalidParameterException"),
        }
    }

    fn detail(&self, digest: Digest) -> Value {
        let row = &self.rows[&digest];
        let mut detail = json!({
            "registryId": "123456789012", "repositoryName": "acme/app", "imageDigest": digest.to_string(),
            "imagePushedAt": days_ago(row.days), "imageManifestMediaType": row.image.media_type,
            "imageStatus": row.status,
        });
        if row.image.media_type != OCI_INDEX {
            detail["artifactMediaType"] = json!("application/vnd.oci.image.config.v1+json");
        }
        if !row.tags.is_empty() {
            detail["imageTags"] = json!(row.tags);
        }
        if let Some(days) = row.pulled {
            detail["lastRecordedPullTime"] = json!(days_ago(days));
        }
        detail
    }

    /// Only active images are described by default (Amazon ECR API Reference, `DescribeImagesFilter`).
    fn is_described(&self, digest: Digest, input: &Value) -> bool {
        let status = input["filter"]["imageStatus"].as_str().unwrap_or("ACTIVE");
        let row = self.rows.get(&digest);
        row.is_some_and(|row| status == "ANY" || status == row.status)
    }

    fn describe(&self, ids: &[Digest], input: &Value) -> Reaction {
        if ids.iter().all(|digest| self.is_described(*digest, input)) {
            let details: Vec<Value> = ids.iter().map(|digest| self.detail(*digest)).collect();
            return answer(&json!({"imageDetails": details}));
        }
        error("ImageNotFoundException")
    }

    /// Pages of three versions.
    fn page(&mut self, input: &Value) -> Reaction {
        let start: usize = input["nextToken"]
            .as_str()
            .map_or(0, |token| token.parse().unwrap());
        self.listings += usize::from(start == 0);
        if self.listings == 2
            && let Some(digest) = self.pulled_later.take()
        {
            self.rows.get_mut(&digest).unwrap().pulled = Some(0);
        }
        let mut all = self.rows.keys().copied().collect::<Vec<_>>();
        all.retain(|digest| self.is_described(*digest, input));
        let rows = all.iter().skip(start).take(3);
        let mut page =
            json!({"imageDetails": rows.map(|digest| self.detail(*digest)).collect::<Vec<_>>()});
        if start + 3 < all.len() {
            page["nextToken"] = json!((start + 3).to_string());
        }
        answer(&page)
    }

    fn manifests(&mut self, ids: &[Digest]) -> Reaction {
        let (mut images, mut failures) = (Vec::new(), Vec::new());
        for digest in ids {
            match self.rows.get_mut(digest).filter(|row| row.status == "ACTIVE") {
                Some(row) => {
                    // ECR records this as a pull.
                    row.pulled = Some(0);
                    images.push(json!({
                        "imageId": {"imageDigest": digest.to_string()},
                        "imageManifest": String::from_utf8(row.image.manifest.clone()).unwrap(),
                        "imageManifestMediaType": row.image.media_type,
                    }));
                }
                None => failures.push(json!({"imageId": {"imageDigest": digest.to_string()}, "failureCode": "ImageNotFound"})),
            }
        }
        answer(&json!({"images": images, "failures": failures}))
    }

    fn delete(&mut self, digest: Digest) -> Reaction {
        let id = json!({"imageDigest": digest.to_string()});
        let fail = |code: &str| {
            answer(
                &json!({"imageIds": [], "failures": [{"imageId": id, "failureCode": code, "failureReason": "no"}]}),
            )
        };
        if !self.rows.contains_key(&digest) {
            return fail("ImageNotFound");
        }
        let mut rows = self.rows.values();
        if rows.any(|row| {
            row.image
                .children
                .iter()
                .any(|child| child.digest() == digest)
        }) {
            return fail("ImageReferencedByManifestList");
        }
        self.rows.remove(&digest);
        answer(&json!({"imageIds": [id], "failures": []}))
    }

    fn put(&mut self, input: &Value) -> Reaction {
        let manifest = input["imageManifest"].as_str().unwrap();
        let digest = Digest::of(manifest.as_bytes());
        assert_eq!(input["imageDigest"], digest.to_string());
        let tag = input["imageTag"].as_str().unwrap().to_owned();
        if let Some(rival) = self.rival.take() {
            self.rows.get_mut(&rival).unwrap().tags.push(tag.clone());
        }
        let known = self.rows.iter().find(|(_, row)| row.tags.contains(&tag));
        match known {
            Some((known, _)) if *known == digest => return error("ImageAlreadyExistsException"),
            Some(_) if self.is_immutable => return error("ImageTagAlreadyExistsException"),
            _ => {}
        }
        // A tag that is not immutable is moved.
        for row in self.rows.values_mut() {
            row.tags.retain(|known| *known != tag);
        }
        self.rows.get_mut(&digest).unwrap().tags.push(tag);
        answer(&json!({"image": {}}))
    }
}

fn answer(document: &Value) -> Reaction {
    let now = httpdate::fmt_http_date(SystemTime::now());
    Reaction::new(200, document.to_string()).with("date", now)
}

fn error(code: &str) -> Reaction {
    let body = json!({"__type": format!("com.amazonaws.ecr#{code}"), "message": "no"});
    Reaction::new(400, body.to_string())
}

const APPLY: [&str; 3] = ["--apply", "--image", "app"];

#[test]
fn versions_are_deleted_by_the_native_api() {
    let ecr = Ecr::start();
    let index = Image::index(vec![old("part"), Image::created("arm64", "part", None)]);
    let (stale, pulled, archived) = (old("stale"), old("pulled"), old("archived"));
    // The platform is listed before its index.
    let mut indexes = (0..).map(|seed| Image::index(vec![old(&format!("used {seed}"))]));
    let used = indexes
        .find(|index| index.children[0].digest() < index.digest())
        .unwrap();
    ecr.push(&["pending-index"], &index, 40);
    ecr.push(&["pending-stale", "pending-again"], &stale, 41);
    ecr.push(&["pending-pulled"], &pulled, 42);
    ecr.push(&["pending-archived"], &archived, 43);
    ecr.push(&["pending-used"], &used, 44);
    ecr.push(&["pending-young"], &old("young"), 3);
    ecr.edit(&pulled, |row| row.pulled = Some(2));
    ecr.edit(&stale, |row| row.pulled = Some(30));
    ecr.edit(&archived, |row| row.status = "ARCHIVED");
    // A platform was pulled, so its index is in use.
    ecr.edit(&used.children[0], |row| row.pulled = Some(1));
    let scene = ecr.scene();
    let dry = scene.prune(&["--image", "app"], 0);
    let image = &dry["images"][0];
    assert_eq!(
        tags(&image["candidates"]),
        ["pending-again,pending-stale", "pending-index"],
        "{dry}"
    );
    assert!(
        protection(image, "pending-pulled").contains("last pulled at"),
        "{dry}"
    );
    assert!(
        protection(image, "pending-used").contains("last pulled at"),
        "{dry}"
    );
    assert!(
        protection(image, "pending-archived").contains("archived"),
        "{dry}"
    );
    assert!(!ecr.operations().contains(&"BatchDeleteImage".to_owned()));
    // Other policies must keep them too.
    scene
        .run(&["prune", "--protected", "protected.json", "--image", "app"])
        .exits(0);
    let protected: Value = serde_json::from_str(&scene.read("protected.json")).unwrap();
    let rows = protected["repositories"][0]["digests"].as_array().unwrap();
    let reason = |image: &Image| {
        let digest = image.digest().to_string();
        let row = rows.iter().find(|row| row["digest"] == digest);
        row.map_or("", |row| row["reason"].as_str().unwrap())
    };
    assert!(reason(&pulled).contains("last pulled at"), "{protected}");
    assert!(reason(&used).contains("last pulled at"), "{protected}");
    assert!(reason(&used.children[0]).contains("part of the index"));
    assert!(reason(&archived).contains("archived"), "{protected}");
    assert!(reason(&pinned()).contains("pinned"), "{protected}");
    assert_eq!((reason(&stale), reason(&index)), ("", ""), "{protected}");
    // An archived image cannot be tagged.
    let document = scene.prune(&["--tag-protected", "keep-", "--image", "app"], 0);
    let keep = document["images"][0]["protected_tags"].as_array().unwrap();
    let kept: Vec<_> = keep.iter().map(|row| row["digest"].clone()).collect();
    let mut expected = [&pinned(), &pulled, &used].map(|image| json!(image.digest().to_string()));
    expected.sort_by_key(ToString::to_string);
    assert_eq!(kept, expected, "{document}");
    // The manifest of an index that repin read is no use of it.
    let document = scene.prune(&APPLY, 0);
    assert_eq!(
        document["images"][0]["deleted"].as_array().unwrap().len(),
        2,
        "{document}"
    );
    assert!(!ecr.has(&stale) && !ecr.has(&index));
    for image in [
        &pinned(),
        &pulled,
        &archived,
        &used,
        &used.children[0],
        &old("young"),
    ] {
        assert!(ecr.has(image));
    }
}

#[test]
fn image_pulled_during_the_run_stays() {
    let index = Image::index(vec![old("part")]);
    for pulled in [&old("used"), &index.children[0]] {
        let ecr = Ecr::start();
        ecr.push(&["pending-used"], &old("used"), 42);
        ecr.push(&["pending-index"], &index, 41);
        ecr.push(&["pending-stale"], &old("stale"), 40);
        ecr.store().pulled_later = Some(pulled.digest());
        let scene = ecr.scene();
        let document = scene.prune(&APPLY, 3);
        let image = &document["images"][0];
        assert_eq!(image["code"], "changed", "{document}");
        assert!(
            image["refused"].to_string().contains("last pulled at"),
            "{document}"
        );
        assert_eq!(image["deleted"], json!([]), "{document}");
        let document = scene.prune(&APPLY, 0);
        assert_eq!(
            tags(&document["images"][0]["deleted"]).len(),
            2,
            "{document}"
        );
        assert!(ecr.has(pulled) && !ecr.has(&old("stale")));
    }
}

#[test]
fn own_reads_protect_no_candidate() {
    let ecr = Ecr::start();
    ecr.push(&["pending-stale"], &old("stale"), 40);
    let scene = ecr.scene();
    scene.write(
        "pods.txt",
        format!("docker://{}\n", Digest::of(b"elsewhere")),
    );
    let args = [&APPLY[..], &["--in-use", "pods.txt"]].concat();
    let document = scene.prune(&args, 0);
    let deleted = &document["images"][0]["deleted"];
    assert_eq!(tags(deleted), ["pending-stale"], "{document}");
    assert!(ecr.operations().contains(&"BatchGetImage".to_owned()));
}

#[test]
fn images_are_read_only_for_running_digests_without_a_name() {
    let ecr = Ecr::start();
    ecr.push(&["pending-stale"], &old("stale"), 40);
    let scene = ecr.scene();
    let config = Digest::of(&old("stale").config);
    let reads = || {
        let operations = ecr.operations().into_iter();
        operations.filter(|name| name == "BatchGetImage").count()
    };
    scene.write(
        "pods.txt",
        format!("{HOST}/acme/app@{}\n", pinned().digest()),
    );
    let args = ["--in-use", "pods.txt", "--image", "app"];
    let document = scene.prune(&args, 0);
    let candidates = &document["images"][0]["candidates"];
    assert_eq!(tags(candidates), ["pending-stale"], "{document}");
    assert_eq!(reads(), 0);
    scene.write("pods.txt", format!("docker://{config}\n"));
    let document = scene.prune(&args, 0);
    let reason = protection(&document["images"][0], "pending-stale");
    assert!(reason.contains("pods.txt"), "{document}");
    assert_eq!(reads(), 1);
}

#[test]
fn running_images_of_other_repositories_cause_no_pull() {
    let ecr = Ecr::start();
    ecr.push(&["pending-stale"], &old("stale"), 40);
    let scene = ecr.scene();
    let container = |repository: &str, digest: Digest| json!({"image": format!("{HOST}/{repository}:v1"), "imageDigest": digest.to_string()});
    let containers = [
        container("acme/other", Digest::of(b"elsewhere")),
        container("acme/app", pinned().digest()),
    ];
    let tasks = json!({"tasks": [{"containers": containers}], "failures": []});
    scene.write("tasks.json", tasks.to_string());
    for _ in 0..2 {
        let document = scene.prune(&["--in-use", "tasks.json", "--image", "app"], 0);
        let candidates = &document["images"][0]["candidates"];
        assert_eq!(tags(candidates), ["pending-stale"], "{document}");
    }
    assert!(!ecr.operations().contains(&"BatchGetImage".to_owned()));
}

#[test]
fn only_candidates_are_read_for_running_digests_without_a_name() {
    let ecr = Ecr::start();
    let index = Image::index(vec![old("part")]);
    ecr.push(&["pending-index"], &index, 40);
    ecr.push(&["pending-stale"], &old("stale"), 41);
    ecr.push(&["pending-young"], &old("young"), 3);
    let scene = ecr.scene();
    let config = Digest::of(&old("part").config);
    scene.write("pods.txt", format!("docker://{config}\n"));
    let document = scene.prune(&["--in-use", "pods.txt", "--image", "app"], 0);
    let candidates = &document["images"][0]["candidates"];
    assert_eq!(tags(candidates), ["pending-stale"], "{document}");
    let store = ecr.store();
    let pulled = |image: &Image| store.rows[&image.digest()].pulled;
    for image in [&old("part"), &old("stale")] {
        assert_eq!(pulled(image), Some(0));
    }
    for image in [&pinned(), &old("young")] {
        assert_eq!(pulled(image), None);
    }
}

#[test]
fn refused_operations_are_denials() {
    let ecr = Ecr::start();
    ecr.push(&["pending-stale"], &old("stale"), 40);
    let scene = ecr.scene();
    for (operation, code) in [
        ("DescribeImages", "AccessDeniedException"),
        ("BatchDeleteImage", "AccessDeniedException"),
        ("DescribeImages", "UnrecognizedClientException"),
    ] {
        ecr.store().early.push((operation, error(code)));
        let document = scene.prune(&APPLY, 4);
        let text = document.to_string();
        assert!(
            text.contains(code) && text.contains("AWS_ACCESS_KEY_ID"),
            "{text}"
        );
        assert!(!text.contains(SECRET));
    }
    assert!(ecr.has(&old("stale")));
    ecr.store()
        .early
        .push(("DescribeImages", error("RepositoryNotFoundException")));
    scene.prune(&APPLY, 3);
    // A throttled request is repeated.
    ecr.store()
        .early
        .push(("DescribeImages", error("ThrottlingException")));
    scene.prune(&APPLY, 0);
    assert!(!ecr.has(&old("stale")));
}

#[test]
fn deletion_with_a_lost_response_is_reported() {
    let ecr = Ecr::start();
    ecr.push(&["pending-stale"], &old("stale"), 40);
    ecr.store().lost = Some(old("stale").digest());
    let document = ecr.scene().prune(&APPLY, 0);
    let deleted = &document["images"][0]["deleted"];
    assert_eq!(tags(deleted), ["pending-stale"], "{document}");
}

#[test]
fn part_of_an_archived_index_is_not_finished() {
    let ecr = Ecr::start();
    let index = Image::index(vec![old("part")]);
    ecr.push(&[], &index, 40);
    ecr.edit(&index, |row| row.status = "ARCHIVED");
    ecr.edit(&index.children[0], |row| {
        row.tags = vec!["pending-part".to_owned()];
    });
    let document = ecr.scene().prune(&APPLY, 3);
    assert_eq!(
        document["images"][0]["code"], "deletion_unfinished",
        "{document}"
    );
    assert!(ecr.has(&index.children[0]));
}

#[test]
fn protected_digests_are_tagged() {
    let ecr = Ecr::start();
    let document = ecr
        .scene()
        .prune(&[&["--tag-protected", "keep-"], &APPLY[..]].concat(), 0);
    assert_eq!(
        document["images"][0]["protected_tags"][0]["state"], "set",
        "{document}"
    );
    let tag = format!("keep-{}", pinned().digest().hex());
    assert!(ecr.store().rows[&pinned().digest()].tags.contains(&tag));
}

#[test]
fn tag_of_another_version_is_not_moved() {
    let ecr = Ecr::start();
    let tag = format!("keep-{}", pinned().digest().hex());
    let args = [&["--tag-protected", "keep-"], &APPLY[..]].concat();
    let scene = ecr.scene();
    // A tag that ECR accepted without setting it.
    ecr.store()
        .early
        .push(("PutImage", answer(&json!({"image": {}}))));
    let document = scene.prune(&args, 3);
    let image = &document["images"][0];
    assert_eq!(image["code"], "unavailable", "{document}");

    ecr.push(&[&tag], &old("other"), 40);
    let puts = || {
        let operations = ecr.operations().into_iter();
        operations.filter(|name| name == "PutImage").count()
    };
    let before = puts();
    let document = scene.prune(&args, 3);
    assert_eq!(document["images"][0]["code"], "changed", "{document}");
    assert_eq!(puts(), before);
    assert_eq!(ecr.store().rows[&old("other").digest()].tags, [tag]);
}

#[test]
fn more_than_hundred_versions_are_read_in_batches() {
    let ecr = Ecr::start();
    let indexes: Vec<Image> = (0..101)
        .map(|seed| Image::index(vec![old(&format!("part {seed}"))]))
        .collect();
    for (number, index) in indexes.iter().enumerate() {
        ecr.push(&[&format!("pending-{number}")], index, 40);
    }
    let scene = ecr.scene_with("limit: 200");
    let dry = scene.prune(&["--image", "app"], 0);
    let candidates = dry["images"][0]["candidates"].as_array().unwrap();
    assert_eq!(candidates.len(), 101, "{dry}");
    assert_eq!(ecr.batches("BatchGetImage"), [100, 1]);
    let document = scene.prune(&APPLY, 0);
    let deleted = document["images"][0]["deleted"].as_array().unwrap();
    assert_eq!(deleted.len(), 101, "{document}");
    assert!(!indexes.iter().any(|index| ecr.has(index)));
}

#[test]
fn immutable_tags_are_set_once_and_deleted() {
    let ecr = Ecr::start();
    ecr.store().is_immutable = true;
    ecr.push(&["pending-stale"], &old("stale"), 40);
    let scene = ecr.scene();
    let args = [&["--tag-protected", "keep-"], &APPLY[..]].concat();
    for _ in 0..2 {
        let document = scene.prune(&args, 0);
        let rows = &document["images"][0]["protected_tags"];
        assert_eq!(rows.as_array().unwrap().len(), 1, "{document}");
        let tags = ecr.store().rows[&pinned().digest()].tags.clone();
        assert_eq!(tags, ["main", &keep_tag(&pinned())]);
    }
    assert_eq!(ecr.batches("PutImage").len(), 1);
    // `BatchDeleteImage` ignores the immutability.
    let document = scene.prune(&APPLY, 0);
    let deleted = &document["images"][0]["deleted"];
    assert_eq!(tags(deleted), ["pending-stale"], "{document}");
    assert!(!ecr.has(&old("stale")));
}

#[test]
fn tag_set_by_a_lost_or_other_request_is_verified() {
    for is_immutable in [false, true] {
        let ecr = Ecr::start();
        ecr.store().is_immutable = is_immutable;
        ecr.store().loses_put = true;
        let scene = ecr.scene();
        let args = [&["--tag-protected", "keep-"], &APPLY[..]].concat();
        let document = scene.prune(&args, 0);
        let row = &document["images"][0]["protected_tags"][0];
        assert_eq!(row["state"], "set", "{document}");
        assert_eq!(ecr.batches("PutImage").len(), 2);
        let tag = keep_tag(&pinned());
        let tagged = |image: &Image| ecr.store().rows[&image.digest()].tags.contains(&tag);
        assert!(tagged(&pinned()));

        // Another process sets the same tag on the same version at the same time.
        ecr.edit(&pinned(), |row| row.tags = vec!["main".to_owned()]);
        ecr.store().rival = Some(pinned().digest());
        let document = scene.prune(&args, 0);
        let row = &document["images"][0]["protected_tags"][0];
        assert_eq!(row["state"], "set", "{document}");
        assert!(tagged(&pinned()));
    }
    // An immutable tag that another version received meanwhile is not moved.
    let ecr = Ecr::start();
    ecr.push(&[], &old("other"), 40);
    ecr.store().is_immutable = true;
    ecr.store().rival = Some(old("other").digest());
    let args = [&["--tag-protected", "keep-"], &APPLY[..]].concat();
    let document = ecr.scene().prune(&args, 3);
    assert_eq!(document["images"][0]["code"], "changed", "{document}");
    let tags = ecr.store().rows[&old("other").digest()].tags.clone();
    assert_eq!(tags, [keep_tag(&pinned())]);
}

fn keep_tag(image: &Image) -> String {
    format!("keep-{}", image.digest().hex())
}

#[test]
fn credentials_have_several_sources() {
    let ecr = Ecr::start();
    let url = format!("http://{}", ecr.fake.host());
    let keys = json!({"AccessKeyId": KEY, "SecretAccessKey": SECRET, "Token": "t0ken", "Expiration": "2100-01-01T00:00:00Z"});
    let mut session = keys.clone();
    session["SessionToken"] = session["Token"].take();
    session.as_object_mut().unwrap().remove("Token");
    let json_response = json!({"AssumeRoleWithWebIdentityResponse": {"AssumeRoleWithWebIdentityResult": {"Credentials": session}}});
    let xml = format!(
        "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
         <AccessKeyId>{KEY}</AccessKeyId><SecretAccessKey>{SECRET}</SecretAccessKey>\
         <SessionToken>t0ken</SessionToken><Expiration>2100-01-01T00:00:00Z</Expiration></Credentials>"
    );
    let scene = ecr.bare_scene("");
    scene.write(".gitignore", "/origin.git\n/aws\n");
    scene.commit("ignore");
    scene.write(
        "aws/credentials",
        format!("[ci]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"),
    );
    scene.write("aws/token", "web-identity");
    let path = |name: &str| {
        scene
            .path()
            .join("aws")
            .join(name)
            .to_str()
            .unwrap()
            .to_owned()
    };
    let (credentials, token, sts) = (path("credentials"), path("token"), format!("{url}/sts"));
    let container = format!("{url}/container");
    let web = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.as_str()),
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/ci"),
        ("AWS_ENDPOINT_URL_STS", &sts),
    ];
    let profile = [
        ("AWS_SHARED_CREDENTIALS_FILE", credentials.as_str()),
        ("AWS_PROFILE", "ci"),
    ];
    let endpoint = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", container.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "auth"),
    ];
    for (variables, response, has_token) in [
        (&profile[..], None, false),
        (&web, Some(json_response.to_string()), true),
        (&web, Some(xml), true),
        (&endpoint, Some(keys.to_string()), true),
    ] {
        ecr.store().credentials = response;
        scene
            .run_with(&["prune", "--image", "app"], variables)
            .exits(0);
        let request = ecr.fake.requests().pop().unwrap();
        let expected = has_token.then_some("t0ken");
        assert_eq!(
            request.header("x-amz-security-token"),
            expected,
            "{variables:?}"
        );
        let scope = "host;x-amz-date;x-amz-security-token;x-amz-target";
        let signed = request.header("authorization").unwrap();
        assert_eq!(signed.contains(scope), has_token);
    }
    ecr.store().credentials = None;
    let absent = [("AWS_PROFILE", "other")];
    let plain = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://r.example/x")];
    let remote = [("AWS_ENDPOINT_URL_ECR", "http://r.example/")];
    for (variables, exit) in [
        (&[][..], 4),
        (&absent, 4),
        (&plain, 4),
        (&web, 4),
        (&endpoint, 4),
        (&remote, 2),
    ] {
        let ran = scene
            .run_with(&["prune", "--image", "app"], variables)
            .exits(exit);
        assert!(!ran.stderr.contains("web-identity"), "{}", ran.stderr);
    }
}
