//! A simulated registry that refuses the deletion of a digest while something refers to it, as these do:
//!
//! - Google: a tag, an index, or an attached manifest refers to it (400 with a code of its own; reports to
//!   genuinetools/reg, issue 136, and GoogleCloudPlatform/gcr-cleaner, issues 113 and 130). A tag answers 202. The list of
//!   tags also contains the manifests without a tag (google/go-containerregistry, `pkg/v1/google/list.go`).
//! - Docker Hub: 403 while anything refers to it; a 500 may still delete; whether tags can be deleted is not documented.
//! - GitLab: 409 while an index contains it (container-registry, `docs/spec/docker/v2/errors.md`); tags are deleted with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use serde_json::{Value, json};

use super::{
    Digest,
    fake::{Fake, Reaction, Request},
    images::{Image, OCI_INDEX},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Google,
    Hub,
    /// Docker Hub, if it does not delete tags.
    HubWithoutTags,
    GitLab,
}

type Hook = Box<dyn FnOnce(&mut Store) -> Option<Reaction> + Send>;

pub(crate) struct Store {
    kind: Kind,
    pub(crate) tags: BTreeMap<String, Digest>,
    pub(crate) manifests: BTreeMap<Digest, (String, Vec<u8>)>,
    blobs: BTreeMap<Digest, Vec<u8>>,
    /// The manifests and configs that are listed or named, and cannot be read.
    lost: BTreeSet<Digest>,
    /// Runs once, just before a request with this text.
    hooks: Vec<(String, Hook)>,
}

/// The server of the repository `acme/app`.
pub(crate) struct Refusing {
    pub(crate) fake: Fake,
    store: Arc<Mutex<Store>>,
}

impl Refusing {
    pub(crate) fn start(kind: Kind) -> Self {
        let store = Arc::new(Mutex::new(Store {
            kind,
            tags: BTreeMap::new(),
            manifests: BTreeMap::new(),
            blobs: BTreeMap::new(),
            lost: BTreeSet::new(),
            hooks: Vec::new(),
        }));
        let shared = Arc::clone(&store);
        let fake = Fake::start(move |request| shared.lock().unwrap().react(request));
        Self { fake, store }
    }

    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap()
    }

    /// The tags and digests of all requests for deletion.
    pub(crate) fn deletions(&self) -> Vec<String> {
        let requests = self.fake.requests();
        let deletions = requests.iter().filter(|request| request.method == "DELETE");
        deletions
            .map(|request| request.path().rsplit('/').next().unwrap().to_owned())
            .collect()
    }
}

impl Store {
    pub(crate) fn push(&mut self, tags: &[&str], image: &Image) {
        self.blobs.extend(image.blobs());
        for manifest in image.manifests() {
            let content = (manifest.media_type.to_owned(), manifest.manifest.clone());
            self.manifests.insert(manifest.digest(), content);
        }
        for tag in tags {
            self.tags.insert((*tag).to_owned(), image.digest());
        }
    }

    pub(crate) fn lose(&mut self, digest: Digest) {
        self.lost.insert(digest);
    }

    pub(crate) fn hook(
        &mut self,
        part: &str,
        hook: impl FnOnce(&mut Store) -> Option<Reaction> + Send + 'static,
    ) {
        self.hooks.push((part.to_owned(), Box::new(hook)));
    }

    fn react(&mut self, request: &Request) -> Reaction {
        let line = format!("{} {}", request.method, request.target);
        let hook = self.hooks.iter().position(|(part, _)| line.contains(part));
        let early = hook.and_then(|at| self.hooks.remove(at).1(self));
        if let Some(reaction) = early {
            return reaction;
        }
        let Some(path) = request.path().strip_prefix("/v2/acme/app/") else {
            return Reaction::new(404, "");
        };
        let (place, reference) = path.split_once('/').unwrap_or((path, ""));
        match (request.method.as_str(), place) {
            ("GET", "tags") => self.list(),
            ("GET", "referrers") => self.referrers(reference),
            ("GET", "blobs") => {
                let digest: Digest = reference.parse().unwrap();
                let is_lost = self.lost.contains(&digest);
                let blob = self.blobs.get(&digest).filter(|_| !is_lost);
                blob.map_or(Reaction::new(404, ""), |blob| {
                    Reaction::new(200, blob.clone())
                })
            }
            ("GET" | "HEAD", "manifests") => self.manifest(reference, request.method == "HEAD"),
            ("DELETE", "manifests") => self.delete(reference),
            _ => Reaction::new(405, ""),
        }
    }

    fn list(&self) -> Reaction {
        let tags: Vec<_> = self.tags.keys().collect();
        let mut list = json!({"name": "acme/app", "tags": tags});
        if self.kind == Kind::Google {
            list["child"] = json!([]);
            for (digest, (media_type, _)) in &self.manifests {
                let tags = self.tags.iter().filter(|(_, of)| *of == digest);
                let tags: Vec<_> = tags.map(|(tag, _)| tag).collect();
                list["manifest"][digest.to_string()] =
                    json!({"tag": tags, "mediaType": media_type, "imageSizeBytes": "1"});
            }
        }
        Reaction::new(200, list.to_string())
    }

    fn digest(&self, reference: &str) -> Option<Digest> {
        let digest = self.tags.get(reference).copied();
        digest.or_else(|| reference.parse().ok())
    }

    fn manifest(&self, reference: &str, is_head: bool) -> Reaction {
        let digest = self.digest(reference);
        let digest = digest.filter(|digest| !self.lost.contains(digest));
        match digest.and_then(|digest| Some((digest, self.manifests.get(&digest)?))) {
            Some((digest, (media_type, bytes))) => {
                let body = if is_head { Vec::new() } else { bytes.clone() };
                Reaction::new(200, body)
                    .with("content-type", media_type)
                    .with("docker-content-digest", digest.to_string())
            }
            None => error(404, "MANIFEST_UNKNOWN", "unknown"),
        }
    }

    fn document(&self, digest: Digest) -> Value {
        serde_json::from_slice(&self.manifests[&digest].1).unwrap()
    }

    /// The manifests whose subject is a digest.
    fn attached(&self, subject: &str) -> Vec<Digest> {
        let digests = self.manifests.keys().copied();
        digests
            .filter(|digest| self.document(*digest)["subject"]["digest"] == subject)
            .collect()
    }

    fn referrers(&self, subject: &str) -> Reaction {
        if self.kind != Kind::Google {
            return Reaction::new(404, "");
        }
        let descriptor = |digest: Digest| {
            let (media_type, bytes) = &self.manifests[&digest];
            json!({"mediaType": media_type, "digest": digest.to_string(), "size": bytes.len()})
        };
        let all: Vec<_> = self.attached(subject).into_iter().map(descriptor).collect();
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": all});
        Reaction::new(200, index.to_string()).with("content-type", OCI_INDEX)
    }

    fn delete(&mut self, reference: &str) -> Reaction {
        if self.tags.contains_key(reference) {
            if self.kind == Kind::HubWithoutTags {
                return error(405, "UNSUPPORTED", "The operation is unsupported.");
            }
            self.tags.remove(reference);
            return Reaction::new(202, "");
        }
        let Some(digest) = reference
            .parse()
            .ok()
            .filter(|d| self.manifests.contains_key(d))
        else {
            return error(404, "MANIFEST_UNKNOWN", "unknown");
        };
        let tag = self.tags.iter().find(|(_, of)| **of == digest);
        let is_part = |parent: &Digest| {
            let entries = self.document(*parent)["manifests"].as_array().cloned();
            let mut entries = entries.unwrap_or_default().into_iter();
            entries.any(|entry| entry["digest"] == digest.to_string())
        };
        let parent = self.manifests.keys().find(|parent| is_part(parent));
        let referrer = self.attached(reference).into_iter().next();
        let refused = match self.kind {
            Kind::Google => match (tag, parent, referrer) {
                (Some((tag, _)), ..) => Some(error(
                    400,
                    "GOOGLE_MANIFEST_DANGLING_TAG",
                    &format!("Manifest is still referenced by tag: {tag}"),
                )),
                (None, Some(parent), _) => Some(error(
                    400,
                    "GOOGLE_MANIFEST_DANGLING_PARENT_IMAGE",
                    &format!("Manifest is still referenced by image: {parent}"),
                )),
                (None, None, Some(_)) => Some(error(
                    400,
                    "GOOGLE_MANIFEST_REFERRING_MANIFEST",
                    "Manifest is still referenced",
                )),
                (None, None, None) => None,
            },
            Kind::Hub | Kind::HubWithoutTags => (tag.is_some() || parent.is_some())
                .then(|| error(403, "DENIED", "requested access to the resource is denied")),
            Kind::GitLab => parent.is_some().then(|| {
                error(
                    409,
                    "MANIFEST_REFERENCED",
                    "manifest referenced by a manifest list",
                )
            }),
        };
        if let Some(refused) = refused {
            return refused;
        }
        self.manifests.remove(&digest);
        self.tags.retain(|_, of| *of != digest);
        Reaction::new(202, "")
    }
}

fn error(status: u16, code: &str, message: &str) -> Reaction {
    let body = json!({"errors": [{"code": code, "message": message}]});
    Reaction::new(status, body.to_string())
}
