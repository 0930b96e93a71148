//! The cache of immutable documents, by the requests that docker-registry logs.

use std::{fs, path::Path};

use serde_json::Value;

use crate::support::{
    images::Image,
    pruned::{Real, old, pinned, push, young},
    scene::days_ago,
};

/// The number of tags. The requests that do not depend on it are at most a twentieth of it.
const TAGS: usize = 60;

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

#[test]
fn damaged_cache_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let real = repository(directory.path(), FEW);
    let (first, _) = prune(&real, &[]);
    let mut files = Vec::new();
    for part in fs::read_dir(directory.path().join("repin/documents")).unwrap() {
        let part = part.unwrap().path();
        files.extend(fs::read_dir(part).unwrap().map(|file| file.unwrap().path()));
    }
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
