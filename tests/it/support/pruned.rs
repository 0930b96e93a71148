//! A repository of a real docker-registry to prune, and the git repository that pins its images.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    sync::Arc,
};

use serde_json::{Value, json};

use super::{
    Digest,
    images::Image,
    registry::{Protection, Registry},
    scene::{Scene, days_ago},
};

pub fn old(seed: &str) -> Image {
    Image::created("amd64", seed, Some(&days_ago(40)))
}

pub fn young(seed: &str) -> Image {
    Image::created("amd64", seed, Some(&days_ago(2)))
}

/// The pinned image has another date, so that not all dates are the same.
pub fn pinned() -> Image {
    Image::created("amd64", "pinned", Some(&days_ago(50)))
}

pub fn config(host: &str, block: &str) -> String {
    format!(
        "version: 1\nname: test images\nfiles: ['.github/workflows/*.yml']\nimages:\n  \
         app: {{ repository: '{host}/acme/app', pins: 1 }}\n  base: {{ repository: '{host}/acme/base', pins: 0 }}\n\
         prune: {{ {block} }}\n"
    )
}

/// A registry with these tags of `acme/app`, and a repository that pins the first.
pub struct Real {
    pub storage: tempfile::TempDir,
    pub registry: Arc<Registry>,
    pub scene: Scene,
}

impl Real {
    pub fn new(block: &str, all: &[(&str, &Image)]) -> Self {
        Self::with(&Protection::None, block, all)
    }

    pub fn with(protection: &Protection<'_>, block: &str, all: &[(&str, &Image)]) -> Self {
        let storage = tempfile::tempdir().unwrap();
        {
            let registry = Registry::start(storage.path(), &Protection::None);
            push(&registry, "acme/app", all);
        }
        let registry = Registry::start(storage.path(), protection);
        let app = format!("{}/acme/app", registry.host);
        let scene = Scene::new(&config(&registry.host, block), &app, all[0].1.digest());
        Self {
            storage,
            registry: Arc::new(registry),
            scene,
        }
    }

    pub fn app(&self) -> String {
        format!("{}/acme/app", self.registry.host)
    }

    /// The tags that still resolve.
    pub fn left(&self) -> BTreeSet<String> {
        let text = get(&self.registry.host, "/v2/acme/app/tags/list");
        let list: Value = serde_json::from_str(&text).unwrap();
        let all = list["tags"].as_array().cloned().unwrap_or_default();
        all.iter()
            .map(|tag| tag.as_str().unwrap().to_owned())
            .collect()
    }

    /// Takes a manifest out of the registry's storage; its tags stay. A garbage collection that
    /// races a push has the same effect (distribution/distribution, issue 1755).
    pub fn lose(&self, digest: Digest) {
        let path = format!(
            "data/docker/registry/v2/repositories/acme/app/_manifests/revisions/sha256/{}",
            digest.hex()
        );
        std::fs::remove_dir_all(self.storage.path().join(path)).unwrap();
    }
    /// Takes the blob of an image's config out of the registry's storage.
    pub fn lose_config(&self, image: &Image) {
        let manifest: Value = serde_json::from_slice(&image.manifest).unwrap();
        let digest = manifest["config"]["digest"].as_str().unwrap();
        let digits = digest.strip_prefix("sha256:").unwrap();
        let path = format!("data/docker/registry/v2/repositories/acme/app/_layers/sha256/{digits}");
        std::fs::remove_dir_all(self.storage.path().join(path)).unwrap();
    }

    /// Deletions so far.
    pub fn deletions(&self) -> Vec<String> {
        self.registry
            .requests()
            .into_iter()
            .filter(|request| request.starts_with("DELETE"))
            .collect()
    }
}

pub fn get(host: &str, path: &str) -> String {
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.split_once("\r\n\r\n").unwrap().1.to_owned()
}

pub fn push(registry: &Registry, name: &str, all: &[(&str, &Image)]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    for (tag, image) in all {
        runtime.block_on(registry.push(name, tag, image));
    }
}

pub fn set(all: &[&str]) -> BTreeSet<String> {
    all.iter().map(|tag| (*tag).to_owned()).collect()
}

/// Runs with `--apply` and checks that it is refused with this exit and code and deletes nothing.
pub fn refused(real: &Real, exit: i32, code: &str) -> Value {
    let document = real.scene.prune(&["--apply"], exit);
    assert_eq!(document["images"][0]["code"], code, "{document}");
    assert_eq!(
        (&document["applied"], &document["images"][0]["deleted"]),
        (&json!(false), &json!([]))
    );
    assert_eq!(real.deletions(), [] as [&str; 0]);
    document
}
