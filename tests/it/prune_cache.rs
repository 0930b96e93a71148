//! The cache of immutable documents, by the requests that docker-registry logs.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde_json::Value;

use crate::support::{
    fake::Reaction,
    images::Image,
    pruned::{Real, config, old, pinned, push, young},
    refusing::{Kind, Refusing},
    scene::{Scene, days_ago, protection, tags},
};

/// The number of tags. The requests that do not depend on it are at most a twentieth of it.
const TAGS: usize = 180;

/// The number of tags where requests are not counted.
const FEW: usize = 12;

/// A repository with many young versions of two platforms, and the same with a cache directory.
fn repository(cache: &Path, tags: usize) -> Real {
    let index = |number: usize| {
        let platform = |name: &str| Image::created(name, &format!("{number}"), Some(&days_ago(3)));
        Image::index(vec![platform("amd64"), platform("arm64")])
    };
    let images: Vec<_> = (0..tags - 2).map(index).collect();
    let names: Vec<_> = (0..tags - 2)
        .map(|number| format!("pending-{number}"))
        .collect();
    let (pinned, old) = (pinned(), old("old"));
    let mut all = vec![("main", &pinned), ("pending-old", &old)];
    all.extend(names.iter().map(String::as_str).zip(&images));
    let mut real = Real::new("", &all);
    real.scene = real.scene.env("XDG_CACHE_HOME", cache.to_str().unwrap());
    real
}

/// The document of a dry run, and the number of its requests.
fn prune(real: &Real, args: &[&str]) -> (Value, usize) {
    let before = real.registry.requests().len();
    let args = [&["--image", "app"], args].concat();
    let document = real.scene.prune(&args, 0);
    (document, real.registry.requests().len() - before)
}

#[test]
fn second_night_costs_one_request_a_tag() {
    let directory = tempfile::tempdir().unwrap();
    let cache = directory.path().join("cache");
    let real = repository(&cache, TAGS);
    let (first, without) = prune(&real, &[]);
    assert_eq!(first["images"][0]["listed"], TAGS);
    let (second, with) = prune(&real, &[]);
    assert_eq!(second, first);
    assert!(
        without > 4 * TAGS,
        "two platforms, with their configs: {without}"
    );
    assert!(with * 100 <= TAGS * 105, "{with} requests for {TAGS} tags");
    let (uncached, requests) = prune(&real, &["--no-cache"]);
    assert_eq!((&uncached, requests), (&first, without));

    // A moved tag and a new one are read.
    push(
        &real.registry,
        "acme/app",
        &[("pending-0", &young("moved")), ("pending-new", &old("new"))],
    );
    let (document, _) = prune(&real, &[]);
    let (uncached, _) = prune(&real, &["--no-cache"]);
    assert_eq!(document, uncached);
    assert_eq!(
        document["images"][0]["candidates"]
            .as_array()
            .unwrap()
            .len(),
        2
    );

    fs::remove_dir_all(&cache).unwrap();
    let (document, requests) = prune(&real, &[]);
    assert_eq!(document, uncached);
    assert!(requests > 4 * TAGS, "{requests}");
}

/// The files in a cache directory.
fn documents(cache: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for part in fs::read_dir(cache.join("repin/documents")).unwrap() {
        let part = part.unwrap().path();
        files.extend(fs::read_dir(part).unwrap().map(|file| file.unwrap().path()));
    }
    files
}

/// Writes a sparse document of this length that was last used at a time.
fn fill(cache: &Path, name: &str, length: u64, used: SystemTime) -> PathBuf {
    let path = cache.join("repin/documents/filler").join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let file = File::create(&path).unwrap();
    file.set_len(length).unwrap();
    file.set_modified(used).unwrap();
    path
}

#[test]
fn full_cache_evicts_the_least_recently_used() {
    const GIB: u64 = 1 << 30;
    const DAY: Duration = Duration::from_secs(86_400);
    let directory = tempfile::tempdir().unwrap();
    let cache = directory.path();
    let real = repository(cache, FEW);
    let (_, without) = prune(&real, &[]);
    let known = documents(cache);
    let now = SystemTime::now();
    for path in &known {
        let file = File::open(path).unwrap();
        file.set_modified(now - 20 * DAY).unwrap();
    }
    let oldest = fill(cache, "oldest", 1, now - 30 * DAY);
    let unused = fill(cache, "unused", 5 * GIB, now - 10 * DAY);
    let recent = fill(cache, "recent", 3 * GIB, now - DAY);
    // The documents that this run reads are used now.
    push(&real.registry, "acme/app", &[("pending-new", &old("new"))]);
    let (document, with) = prune(&real, &[]);
    assert_eq!(document, prune(&real, &["--no-cache"]).0);
    assert!(with < without / 2, "{with}, {without}");
    assert!(!oldest.exists() && !unused.exists());
    assert!(recent.exists());
    for path in &known {
        assert!(path.exists(), "{}", path.display());
    }

    // Three quarters remain, so that every document of the run is evicted before this one.
    let later = fill(cache, "later", 5 * GIB / 4 * 3, now + DAY);
    push(
        &real.registry,
        "acme/app",
        &[("pending-next", &old("next"))],
    );
    let (document, _) = prune(&real, &[]);
    assert_eq!(documents(cache), [later]);
    let (again, requests) = prune(&real, &[]);
    assert_eq!(again, document);
    assert!(requests >= without, "{requests}, {without}");
    let (cached, requests) = prune(&real, &[]);
    assert_eq!(cached, document);
    assert!(requests < without / 2, "{requests}, {without}");
}

#[test]
fn damaged_cache_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let real = repository(directory.path(), FEW);
    let (first, _) = prune(&real, &[]);
    let files = documents(directory.path());
    assert!(files.len() > 4 * FEW, "{}", files.len());
    // Each second document has the content of another one.
    for pair in files.chunks_exact(2) {
        fs::copy(&pair[0], &pair[1]).unwrap();
    }
    let (second, _) = prune(&real, &[]);
    assert_eq!(second, first);
    // A version that the registry deleted is not listed, although the cache has its documents.
    let document = real.scene.prune(&["--image", "app", "--apply"], 0);
    assert_eq!(
        document["images"][0]["deleted"].as_array().unwrap().len(),
        1
    );
    let (after, _) = prune(&real, &[]);
    assert_eq!(after["images"][0]["listed"], FEW - 1);
}

#[test]
fn concurrent_runs_share_the_cache() {
    let directory = tempfile::tempdir().unwrap();
    let real = repository(directory.path(), FEW);
    let results = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| real.scene.prune(&["--image", "app"], 0)))
            .collect();
        runs.into_iter()
            .map(|run| run.join().unwrap())
            .collect::<Vec<_>>()
    });
    assert_eq!(results[0], results[1]);
    assert_eq!(results[0], results[2]);
}

/// The registry proves each document of a candidate, so that what it lost is judged as without the cache.
#[test]
fn lost_documents_are_judged_as_without_the_cache() {
    let directory = tempfile::tempdir().unwrap();
    let lost = Image::created("arm64", "lost", Some(&days_ago(41)));
    let platforms = Image::index(vec![old("a"), lost.clone()]);
    let without_config = Image::created("arm64", "config", Some(&days_ago(42)));
    let configs = Image::index(vec![old("b"), without_config.clone()]);
    let single = Image::created("amd64", "single", Some(&days_ago(43)));
    let whole = Image::index(vec![
        old("c"),
        Image::created("arm64", "c", Some(&days_ago(44))),
    ]);
    let all = [
        ("main", &pinned()),
        ("pending-platform", &platforms),
        ("pending-config", &configs),
        ("pending-single", &single),
        ("pending-whole", &whole),
    ];
    let mut real = Real::new("", &all);
    let cache = directory.path().to_str().unwrap();
    real.scene = real.scene.env("XDG_CACHE_HOME", cache);
    let (first, _) = prune(&real, &[]);
    let first = &first["images"][0];
    assert_eq!(first["candidates"].as_array().unwrap().len(), 4);
    real.lose(lost.digest());
    real.lose_config(&without_config);
    real.lose_config(&single);
    let (cached, _) = prune(&real, &[]);
    assert_eq!(prune(&real, &["--no-cache"]).0, cached);
    let image = &cached["images"][0];
    assert_eq!(tags(&image["candidates"]), ["pending-whole"]);
    let reason = protection(image, "pending-platform");
    assert_eq!(reason, "broken: linux/arm64 is missing");
    assert_eq!(protection(image, "pending-config"), "its age is unknown");
    // No document with a date of the single image remains, so it may be young.
    assert_eq!(image["young"], 1);
    let (applied, _) = prune(&real, &["--apply"]);
    assert_eq!(tags(&applied["images"][0]["deleted"]), ["pending-whole"]);
}

/// What the registry lost of a version that may be young changes nothing: its age is then unknown without the cache.
#[test]
fn lost_documents_of_young_versions_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let days = |name: &str, seed: &str, days| Image::created(name, seed, Some(&days_ago(days)));
    let index = |seed: &str, amd64, arm64| {
        Image::index(vec![days("amd64", seed, amd64), days("arm64", seed, arm64)])
    };
    let (part, all) = (index("part", 3, 3), index("all", 3, 3));
    let (mixed, configs) = (index("mixed", 40, 3), index("configs", 3, 3));
    let (single, undated) = (young("single"), Image::created("amd64", "undated", None));
    let undated = Image::index(vec![undated, days("arm64", "undated", 3)]);
    let mut real = Real::new(
        "",
        &[
            ("main", &pinned()),
            ("pending-part", &part),
            ("pending-all", &all),
            ("pending-mixed", &mixed),
            ("pending-configs", &configs),
            ("pending-single", &single),
            ("pending-undated", &undated),
            ("pending-old", &old("old")),
        ],
    );
    let cache = directory.path().to_str().unwrap();
    real.scene = real.scene.env("XDG_CACHE_HOME", cache);
    let (first, _) = prune(&real, &[]);
    assert_eq!(first["images"][0]["young"], 6, "{first}");
    real.lose(part.children[1].digest());
    real.lose(mixed.children[1].digest());
    real.lose(undated.children[1].digest());
    for image in &all.children {
        real.lose(image.digest());
    }
    for image in configs.children.iter().chain([&single]) {
        real.lose_config(image);
    }
    for format in ["human", "json"] {
        let run = |args: &[&str]| {
            let options = ["prune", "--image", "app", "--verbose", "--format", format];
            let ran = real.scene.run(&[&options, args].concat()).exits(0);
            (ran.stdout, ran.stderr)
        };
        let cached = run(&[]);
        assert_eq!(run(&["--no-cache"]), cached);
        let documents = directory.path().join("repin");
        fs::rename(&documents, directory.path().join("kept")).unwrap();
        assert_eq!(run(&[]), cached);
        fs::remove_dir_all(&documents).unwrap();
        fs::rename(directory.path().join("kept"), &documents).unwrap();
    }
    let (cached, _) = prune(&real, &[]);
    let image = &cached["images"][0];
    assert_eq!(image["young"], 4, "{image}");
    for (tag, reason) in [
        ("pending-mixed", "broken: linux/arm64 is missing"),
        ("pending-undated", "broken: linux/arm64 is missing"),
    ] {
        assert_eq!(protection(image, tag), reason);
    }
    assert_eq!(tags(&image["candidates"]), ["pending-old"]);
}

/// A version counts as too young only if nothing else protects it, and only dates that the registry has differ.
#[test]
fn lost_documents_change_no_count_and_no_refusal() {
    let directory = tempfile::tempdir().unwrap();
    let date = days_ago(40);
    let old = |seed: &str| Image::created("amd64", seed, Some(&date));
    let (part, different) = (old("part"), young("different"));
    let mut real = Real::new(
        "",
        &[
            ("main", &old("pinned")),
            ("kept", &Image::index(vec![part.clone()])),
            ("pending-part", &part),
            ("pending-different", &different),
            ("pending-a", &old("a")),
            ("pending-b", &old("b")),
            ("pending-c", &old("c")),
        ],
    );
    let cache = directory.path().to_str().unwrap();
    real.scene = real.scene.env("XDG_CACHE_HOME", cache);
    let (first, _) = prune(&real, &[]);
    assert_eq!(first["images"][0]["young"], 1, "{first}");

    real.lose_config(&part);
    let (cached, _) = prune(&real, &[]);
    assert_eq!(prune(&real, &["--no-cache"]).0, cached);
    assert_eq!(cached["images"][0]["young"], 1, "{cached}");

    real.lose_config(&different);
    for args in [&[][..], &["--no-cache"]] {
        let document = real.scene.prune(&[&["--image", "app"], args].concat(), 3);
        let image = &document["images"][0];
        assert_eq!(image["code"], "timestamps", "{document}");
        let refused = image["refused"].as_str().unwrap();
        assert!(refused.starts_with("all known dates are "), "{refused}");
    }
}

/// A repository on Google with a cache directory, whose dry runs with the cache and without it have one document.
struct Google {
    registry: Refusing,
    scene: Scene,
    _cache: tempfile::TempDir,
}

impl Google {
    fn new(block: &str, images: &[(&[&str], &Image)]) -> Self {
        let cache = tempfile::tempdir().unwrap();
        let registry = Refusing::start(Kind::Google);
        let host = registry.fake.host();
        for (tags, image) in images {
            registry.store().push(tags, image);
        }
        let app = format!("{host}/acme/app");
        let scene = Scene::new(&config(&host, block), &app, images[0].1.digest())
            .env("XDG_CACHE_HOME", cache.path().to_str().unwrap());
        Self {
            registry,
            scene,
            _cache: cache,
        }
    }

    fn image(&self, exit: i32) -> Value {
        let run = |args: &[&str]| {
            let document = self
                .scene
                .prune(&[&["--image", "app"], args].concat(), exit);
            document["images"][0].clone()
        };
        let cached = run(&[]);
        assert_eq!(run(&["--no-cache"]), cached);
        cached
    }
}

/// Google lists manifests that cannot be read, too.
#[test]
fn lost_manifests_of_google_are_judged_as_without_the_cache() {
    let nested = Image::index(vec![young("leaf")]);
    let index = Image::index(vec![old("leaf"), nested.clone()]);
    for block in ["untagged: true", ""] {
        let google = Google::new(
            block,
            &[
                (&["main"], &pinned()),
                (&["pending-index"], &index),
                (&["pending-old"], &old("old")),
            ],
        );
        let image = google.image(0);
        assert_eq!(tags(&image["candidates"]).last().unwrap(), "pending-old");
        google.registry.store().lose(nested.digest());
        assert_eq!(google.image(3)["code"], "listing");
    }

    // The index protects its platforms only as long as it exists, and their dates are then proved.
    let platform = old("platform");
    let index = Image::index(vec![platform.clone(), old("other")]);
    let images = [(&["main"][..], &pinned()), (&[][..], &index)];
    let google = Google::new("untagged: true", &images);
    let candidates = |image: &Value| image["candidates"].as_array().unwrap().len();
    assert_eq!(candidates(&google.image(0)), 3);
    google.registry.store().lose(index.digest());
    assert_eq!(candidates(&google.image(0)), 2);
    google.registry.store().lose(platform.digest());
    assert_eq!(candidates(&google.image(0)), 1);

    // An index of unknown age protects them, too.
    let part = old("part");
    let undated = Image::created("amd64", "undated", None);
    let index = Image::index(vec![part.clone(), undated]);
    let images = [(&["main"][..], &pinned()), (&[][..], &index)];
    let google = Google::new("untagged: true", &images);
    assert_eq!(candidates(&google.image(0)), 0);
    google.registry.store().lose(index.digest());
    google.registry.store().lose(part.config_digest());
    assert_eq!(candidates(&google.image(0)), 0);

    let google = Google::new("untagged: true", &[(&[], &pinned()), (&[], &old("old"))]);
    assert_eq!(candidates(&google.image(0)), 1);
    google.registry.store().lose(pinned().digest());
    assert_eq!(google.image(3)["code"], "pinned_missing");
}

#[test]
fn lost_date_in_the_future_refuses_no_run() {
    let directory = tempfile::tempdir().unwrap();
    let future = Image::created("amd64", "future", Some("2099-01-01T00:00:00Z"));
    let older = Image::created("amd64", "older", Some(&days_ago(45)));
    let mut real = Real::new(
        "",
        &[
            ("main", &pinned()),
            ("pending-future", &future),
            ("pending-old", &old("old")),
            ("pending-older", &older),
        ],
    );
    let cache = directory.path().to_str().unwrap();
    real.scene = real.scene.env("XDG_CACHE_HOME", cache);
    let document = real.scene.prune(&["--image", "app"], 3);
    assert_eq!(document["images"][0]["code"], "timestamps");
    real.lose_config(&future);
    let (cached, _) = prune(&real, &[]);
    assert_eq!(prune(&real, &["--no-cache"]).0, cached);
}

/// Dates of versions that are no candidates are needed only to find a different one.
#[test]
fn second_night_reads_no_date_of_other_tags_again() {
    let directory = tempfile::tempdir().unwrap();
    let release = |number: usize| {
        let platform = |name: &str| Image::created(name, &format!("{number}"), Some(&days_ago(3)));
        Image::index(vec![platform("amd64"), platform("arm64")])
    };
    let releases: Vec<_> = (0..20).map(release).collect();
    let names: Vec<_> = (0..20).map(|number| format!("v{number}")).collect();
    let (pinned, old) = (pinned(), old("old"));
    let mut all = vec![("main", &pinned), ("pending-old", &old)];
    all.extend(names.iter().map(String::as_str).zip(&releases));
    let mut real = Real::new("", &all);
    let cache = directory.path().to_str().unwrap();
    real.scene = real.scene.env("XDG_CACHE_HOME", cache);
    let (first, requests) = prune(&real, &[]);
    assert!(requests > 22 + 16 * 2, "{requests}");
    let (second, requests) = prune(&real, &[]);
    assert_eq!(second, first);
    assert!(requests <= 22 + 16, "{requests}");
}

#[test]
fn lost_nested_index_refuses_with_the_cache() {
    let directory = tempfile::tempdir().unwrap();
    let nested = Image::index(vec![young("a")]);
    let index = Image::index(vec![nested.clone()]);
    let all = [
        ("main", &pinned()),
        ("pending-nested", &index),
        ("pending-old", &old("old")),
    ];
    let mut real = Real::new("", &all);
    let cache = directory.path().to_str().unwrap();
    real.scene = real.scene.env("XDG_CACHE_HOME", cache);
    prune(&real, &[]);
    real.lose(nested.digest());
    for args in [&["--apply"][..], &["--apply", "--no-cache"]] {
        let document = real.scene.prune(&[&["--image", "app"], args].concat(), 3);
        assert_eq!(document["images"][0]["code"], "listing", "{document}");
    }
    assert_eq!(real.deletions(), [] as [&str; 0]);
}

/// Google lists the manifests without a tag, and each is read once.
#[test]
fn untagged_manifests_of_google_are_read_once() {
    let directory = tempfile::tempdir().unwrap();
    let registry = Refusing::start(Kind::Google);
    let host = registry.fake.host();
    registry.store().push(&["main"], &pinned());
    let lost = old("lost");
    for image in [old("a"), young("b"), young("c"), lost.clone()] {
        registry.store().push(&[], &image);
    }
    let app = format!("{host}/acme/app");
    let scene = Scene::new(&config(&host, "untagged: true"), &app, pinned().digest())
        .env("XDG_CACHE_HOME", directory.path().to_str().unwrap());
    let run = || {
        let before = registry.fake.requests().len();
        let document = scene.prune(&["--image", "app"], 0);
        let requests = registry.fake.requests().split_off(before);
        let is_manifest = |path: &str| path.contains("/manifests/sha256:");
        let mut paths = requests.iter().map(|request| request.path().to_owned());
        (
            document,
            paths.by_ref().filter(|path| is_manifest(path)).count(),
        )
    };
    let (first, requests) = run();
    assert_eq!(requests, 4);
    // The registry proves the candidates and a different date.
    assert_eq!(run(), (first, 3));
    // A listed manifest that the registry lost is no candidate.
    let path = format!("GET /v2/acme/app/manifests/{}", lost.digest());
    registry
        .store()
        .hook(&path, |_| Some(Reaction::new(404, "")));
    let (document, _) = run();
    assert_eq!(document["images"][0]["listed"], 4, "{document}");
}

#[test]
fn unusable_cache_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let real = repository(&file, FEW);
    let (first, requests) = prune(&real, &[]);
    assert_eq!(prune(&real, &[]), (first.clone(), requests));
    assert_eq!(prune(&real, &["--no-cache"]), (first, requests));
}
