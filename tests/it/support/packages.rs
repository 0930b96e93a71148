//! A simulated packages API of GitHub with its registry on one loopback port: strict, stateful, and
//! with the pitfalls of the real ones.
//!
//! A request that the real API would refuse is recorded and fails the test at its end.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use serde_json::{Value, json};

use super::{
    Digest,
    forge::server::{Asked, Reply, Server},
    images::Image,
};

pub(crate) const TOKEN: &str = "ghp_s3cretS3cretS3cretS3cret0123456789";
const NAME: &str = "team/app";

#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) id: u64,
    pub(crate) digest: Digest,
    pub(crate) created: String,
    pub(crate) tags: Vec<String>,
    pub(crate) downloads: u64,
}

/// The behavior of DELETE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deletes {
    /// It deletes.
    AsAsked,
    /// The token's repository does not have the role Admin on the package: reading works, and the
    /// response to DELETE is 404 "Package not found." (seen by users of deletion actions:
    /// github.com/vlaurin/action-ghcr-prune, issues 8 and 64).
    NotPermitted,
    /// Deletions are accepted, but do not take place.
    Nothing,
}

type Hook = Box<dyn FnOnce(&mut Store) -> Option<Reply> + Send>;

/// The state of the server.
pub(crate) struct Store {
    /// `orgs` or `users`.
    pub(crate) scope: &'static str,
    /// In the order of the listing.
    pub(crate) versions: Vec<Row>,
    pub(crate) deleted: Vec<Row>,
    pub(crate) manifests: BTreeMap<Digest, (String, Vec<u8>)>,
    blobs: BTreeMap<Digest, Vec<u8>>,
    /// The value of `Date`; `None` omits the header.
    pub(crate) date: Option<String>,
    /// Pages announce the last one with `rel="last"`.
    pub(crate) lasts: bool,
    /// Pages link to the next one. A proxy before GitHub Enterprise Server may drop the header.
    pub(crate) links: bool,
    /// The behavior of DELETE.
    pub(crate) deletes: Deletes,
    /// Runs once, just before a request with this text in its method and target.
    hooks: Vec<(String, Hook)>,
    pub(crate) log: Vec<String>,
    breaches: Vec<String>,
}

pub(crate) struct Packages {
    server: Server,
    store: Arc<Mutex<Store>>,
}

impl Packages {
    pub(crate) fn start(scope: &'static str) -> Self {
        let store = Arc::new(Mutex::new(Store {
            scope,
            versions: Vec::new(),
            deleted: Vec::new(),
            manifests: BTreeMap::new(),
            blobs: BTreeMap::new(),
            date: Some(httpdate::fmt_http_date(std::time::SystemTime::now())),
            lasts: true,
            links: true,
            deletes: Deletes::AsAsked,
            hooks: Vec::new(),
            log: Vec::new(),
            breaches: Vec::new(),
        }));
        let behind = Arc::clone(&store);
        let server = Server::start(move |asked| Some(behind.lock().unwrap().answer(asked)));
        Self { server, store }
    }

    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap()
    }

    /// Previous requests to the API, as `METHOD target`.
    pub(crate) fn api(&self) -> Vec<String> {
        self.store()
            .log
            .iter()
            .filter(|line| !line.contains(" /v2/"))
            .cloned()
            .collect()
    }

    pub(crate) fn forget(&self) {
        self.store().log.clear();
    }

    pub(crate) fn is_content(&self) {
        let breaches = self.store().breaches.clone();
        assert!(breaches.is_empty(), "{breaches:#?}");
    }
}

impl Store {
    /// Pushes an image with its children, each a version; the youngest version comes first. Returns
    /// its number.
    pub(crate) fn push(&mut self, tags: &[&str], image: &Image, created: &str) -> u64 {
        self.blobs.extend(image.blobs());
        for manifest in image.manifests() {
            let digest = manifest.digest();
            self.manifests.insert(
                digest,
                (manifest.media_type.to_owned(), manifest.manifest.clone()),
            );
            if self.versions.iter().all(|row| row.digest != digest) {
                let id = 1_000 + (self.versions.len() + self.deleted.len()) as u64;
                let row = Row {
                    id,
                    digest,
                    created: created.to_owned(),
                    tags: Vec::new(),
                    downloads: 0,
                };
                self.versions.insert(0, row);
            }
        }
        for tag in tags {
            self.tag(tag, image.digest());
        }
        self.row(image.digest()).id
    }

    /// Moves a tag to a version.
    pub(crate) fn tag(&mut self, tag: &str, digest: Digest) {
        for row in &mut self.versions {
            row.tags.retain(|other| other != tag);
        }
        self.row(digest).tags.push(tag.to_owned());
    }

    pub(crate) fn row(&mut self, digest: Digest) -> &mut Row {
        self.versions
            .iter_mut()
            .find(|row| row.digest == digest)
            .unwrap()
    }

    pub(crate) fn remove(&mut self, digest: Digest) {
        let at = self
            .versions
            .iter()
            .position(|row| row.digest == digest)
            .unwrap();
        let row = self.versions.remove(at);
        self.deleted.push(row);
        self.manifests.remove(&digest);
    }

    pub(crate) fn hook(
        &mut self,
        part: &str,
        does: impl FnOnce(&mut Store) -> Option<Reply> + Send + 'static,
    ) {
        self.hooks.push((part.to_owned(), Box::new(does)));
    }

    pub(crate) fn left(&self) -> Vec<String> {
        let mut tags: Vec<_> = self
            .versions
            .iter()
            .flat_map(|row| row.tags.clone())
            .collect();
        tags.sort();
        tags
    }

    fn answer(&mut self, asked: &Asked) -> Reply {
        let line = format!("{} {}", asked.method, asked.target);
        self.log.push(line.clone());
        let hook = self
            .hooks
            .iter()
            .position(|(part, _)| line.contains(part.as_str()));
        let early = hook
            .map(|at| self.hooks.remove(at))
            .and_then(|(_, hook)| hook(self));
        let reply = early.unwrap_or_else(|| {
            if asked.path.starts_with("/v2/") {
                self.registry(asked)
            } else {
                self.api(asked)
            }
        });
        match &self.date {
            Some(date) => reply.with("date", date),
            None => reply,
        }
    }

    fn registry(&mut self, asked: &Asked) -> Reply {
        if asked.header("authorization").is_some() {
            self.breaches
                .push(format!("the token went to the registry: {asked}"));
        }
        if asked.method != "GET" {
            return Reply::json(405, json!({"errors": [{"code": "UNSUPPORTED"}]}));
        }
        if asked.path.ends_with("/tags/list") {
            let mut tags = self.left();
            tags.retain(|tag| asked.query("last").is_none_or(|last| tag.as_str() > last));
            return Reply::json(200, json!({"name": NAME, "tags": tags}));
        }
        let reference = asked.path.rsplit('/').next().unwrap_or_default();
        let tagged = |row: &&Row| row.tags.iter().any(|tag| tag == reference);
        let digest: Option<Digest> = match self.versions.iter().find(tagged) {
            Some(row) => Some(row.digest),
            None => reference.parse().ok(),
        };
        if asked.path.contains("/blobs/")
            && let Some(bytes) = digest.and_then(|digest| self.blobs.get(&digest))
        {
            return Reply {
                status: 200,
                headers: Vec::new(),
                body: bytes.clone(),
            };
        }
        match digest.and_then(|digest| self.manifests.get(&digest)) {
            Some((media_type, bytes)) => Reply {
                status: 200,
                headers: vec![("content-type".to_owned(), media_type.clone())],
                body: bytes.clone(),
            },
            None => Reply::json(404, json!({"errors": [{"code": "MANIFEST_UNKNOWN"}]})),
        }
    }

    fn api(&mut self, asked: &Asked) -> Reply {
        if asked.header("authorization") != Some(&format!("Bearer {TOKEN}")) {
            return Reply::json(401, json!({"message": "Bad credentials"}));
        }
        if !asked.target.contains("/packages/container/team%2Fapp") {
            self.breaches.push(format!(
                "the package's name is not one segment: {}",
                asked.target
            ));
        }
        let base = format!("/{}/acme/packages/container/{NAME}", self.scope);
        let Some(below) = asked.path.strip_prefix(&base) else {
            return not_found();
        };
        let parts: Vec<&str> = below.split('/').filter(|part| !part.is_empty()).collect();
        match (asked.method.as_str(), parts.as_slice()) {
            ("GET", []) => Reply::json(
                200,
                json!({"name": NAME, "version_count": self.versions.len()}),
            ),
            ("GET", ["versions"]) => self.page(asked),
            ("GET", ["versions", id]) => match self.find(id) {
                Some(at) => Reply::json(200, row(&self.versions[at])),
                None => not_found(),
            },
            ("DELETE", ["versions", id]) => self.delete(id),
            ("POST", ["versions", id, "restore"]) => self.restore(id),
            _ => not_found(),
        }
    }

    fn find(&self, id: &str) -> Option<usize> {
        let id: u64 = id.parse().ok()?;
        self.versions.iter().position(|row| row.id == id)
    }

    fn page(&mut self, asked: &Asked) -> Reply {
        let number: usize = asked.query("page").map_or(1, |n| n.parse().unwrap());
        let size: usize = asked.query("per_page").map_or(30, |n| n.parse().unwrap());
        if size > 100 || number == 0 {
            self.breaches.push(format!("{asked}"));
        }
        let rows: Vec<_> = self
            .versions
            .iter()
            .skip((number - 1) * size)
            .take(size)
            .map(row)
            .collect();
        let pages = self.versions.len().div_ceil(size);
        let reply = Reply::json(200, rows.into());
        // The last page has no link, even if it is full, and the next page is an empty list.
        if number >= pages || !self.links {
            return reply;
        }
        let link = |page: usize, rel: &str| {
            format!(
                "<https://api.github.com{}?per_page={size}&page={page}>; rel=\"{rel}\"",
                asked.path
            )
        };
        let mut links = vec![link(number + 1, "next")];
        if self.lasts {
            links.push(link(pages, "last"));
        }
        reply.with("link", &links.join(", "))
    }

    fn delete(&mut self, id: &str) -> Reply {
        let Some(at) = self.find(id) else {
            return not_found();
        };
        match self.deletes {
            Deletes::AsAsked => {}
            Deletes::NotPermitted => {
                return Reply::json(404, json!({"message": "Package not found."}));
            }
            Deletes::Nothing => return Reply::json(204, Value::Null),
        }
        let refuse = |message: &str| Reply::json(400, json!({"message": message}));
        if self.versions[at].downloads > 5_000 {
            return refuse(
                "Publicly visible package versions with more than 5000 downloads cannot be deleted.",
            );
        }
        let tagged = self
            .versions
            .iter()
            .filter(|row| !row.tags.is_empty())
            .count();
        if !self.versions[at].tags.is_empty() && tagged == 1 {
            return refuse("You cannot delete the last tagged version of a package.");
        }
        let row = self.versions.remove(at);
        self.manifests.remove(&row.digest);
        self.deleted.push(row);
        Reply::json(204, Value::Null)
    }

    fn restore(&mut self, id: &str) -> Reply {
        let at = id
            .parse()
            .ok()
            .and_then(|id: u64| self.deleted.iter().position(|row| row.id == id));
        let Some(at) = at else { return not_found() };
        let row = self.deleted.remove(at);
        self.versions.push(row);
        Reply::json(204, Value::Null)
    }
}

fn row(row: &Row) -> Value {
    json!({
        "id": row.id, "name": row.digest.to_string(), "url": "https://api.github.com/x",
        "created_at": row.created, "updated_at": row.created,
        "metadata": {"package_type": "container", "container": {"tags": row.tags}},
    })
}

fn not_found() -> Reply {
    Reply::json(404, json!({"message": "Not Found"}))
}
