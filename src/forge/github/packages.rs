//! The versions of a container package (REST API, "Packages"): lists all of them or fails, deletes and
//! restores one.
//!
//! `prune` decides which versions may be deleted.

use std::{cell::OnceCell, collections::HashSet};

use reqwest::{Method, Url};
use serde::Deserialize;

use super::client;
use crate::{
    base::error::{Class, Error},
    forge::{
        Settings, Token,
        http::{Http, PAGE, Reply, Request},
    },
    oci::{
        Digest, Tag,
        registry::{Clock, Deletion},
    },
};

/// The maximum number of pages of a listing.
const MAX_PAGES: usize = 1_000;

/// A container package.
#[derive(Debug)]
pub(crate) struct Package {
    http: Http,
    owner: String,
    name: String,
    /// `orgs` or `users`, once the kind of the owner is known.
    scope: OnceCell<&'static str>,
}

/// One version of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PackageVersion {
    /// The id for deleting and restoring it.
    pub id: u64,
    /// The digest of its manifest or index.
    pub digest: Digest,
    /// Sorted.
    pub tags: Vec<Tag>,
    /// The time of the push, as GitHub writes it (RFC 3339).
    pub created: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Versions {
    /// In GitHub's order; each digest once.
    pub all: Vec<PackageVersion>,
    /// The clocks when the first page arrived.
    pub clock: Clock,
    /// Whether the listing was read to its end.
    pub is_complete: bool,
}

#[derive(Deserialize)]
struct Row {
    id: u64,
    name: String,
    created_at: String,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    container: Container,
}

#[derive(Deserialize)]
struct Container {
    tags: Vec<String>,
}

impl Package {
    /// The package `name` of `owner` below the API at `api`. The first operation sends the first
    /// request.
    pub(crate) fn new(
        api: &Url,
        owner: &str,
        name: &str,
        token: Token,
        settings: Settings,
    ) -> Result<Self, Error> {
        Ok(Self {
            http: client(api, token, settings)?,
            owner: owner.to_owned(),
            name: name.to_owned(),
            scope: OnceCell::new(),
        })
    }

    /// Every version; `progress` receives the number read so far.
    pub(crate) async fn versions(&self, progress: &dyn Fn(usize)) -> Result<Versions, Error> {
        self.list(|pages| progress(pages.all.len()), |_| false)
            .await
    }

    /// The newest versions: complete pages, up to the first one with which the versions are enough.
    /// GitHub lists the newest first.
    pub(crate) async fn newest(
        &self,
        is_enough: impl Fn(&[PackageVersion]) -> bool,
    ) -> Result<Versions, Error> {
        self.list(|_| (), |pages| is_enough(&pages.all)).await
    }

    /// Requests pages until the listing is complete or `is_enough`.
    async fn list(
        &self,
        progress: impl Fn(&VersionPages),
        is_enough: impl Fn(&VersionPages) -> bool,
    ) -> Result<Versions, Error> {
        let what = self.what("listing versions");
        let mut pages = VersionPages::new(PAGE);
        let mut clock = None;
        for number in 1..=MAX_PAGES {
            let request = self.request(Method::GET, &["versions"], "listing versions");
            let reply = self
                .find(request.query("per_page", PAGE).query("page", number))
                .await?;
            let clock =
                *clock.get_or_insert_with(|| Clock::from_headers(&reply.headers, self.http.now()));
            let mut versions = Vec::new();
            for row in reply.expect::<Vec<Row>>(&[200])? {
                versions.push(version(row, &what)?);
            }
            let is_short = versions.len() < PAGE;
            let links = Links::parse(reply.header("link").unwrap_or_default());
            let has_more = pages
                .add_page(versions, links)
                .map_err(|reason| incomplete(&what, &reason))?;
            progress(&pages);
            if !has_more || is_enough(&pages) {
                return Ok(Versions {
                    all: pages.all,
                    clock,
                    is_complete: !has_more || is_short,
                });
            }
        }
        let reason = format!("the listing has more than {MAX_PAGES} pages");
        Err(incomplete(&what, &reason))
    }

    /// The current state of one version; `None` if it is missing.
    pub(crate) async fn version(&self, id: u64) -> Result<Option<PackageVersion>, Error> {
        let what = format!("reading version {id}");
        let reply = self
            .http
            .send(
                &self
                    .version_request(Method::GET, &[&id.to_string()], &what)
                    .await?,
            )
            .await?;
        if reply.status == 404 {
            return Ok(None);
        }
        version(reply.expect::<Row>(&[200])?, &self.what(&what)).map(Some)
    }

    /// Deletes one version with all of its tags. The caller must check the version after a 404,
    /// which is also the response if the role Admin on the package is missing.
    pub(crate) async fn delete(&self, id: u64) -> Result<Deletion, Error> {
        let what = format!("deleting version {id}");
        let reply = self
            .http
            .send(
                &self
                    .version_request(Method::DELETE, &[&id.to_string()], &what)
                    .await?,
            )
            .await?;
        match reply.status.as_u16() {
            404 if reply.is_repeat => Ok(Deletion::MissingAfterAttempt),
            404 => Ok(Deletion::Missing),
            400 | 405 | 409 | 422 => Ok(Deletion::Refused(reply.text())),
            _ => reply
                .check(&[200, 202, 204])
                .map_err(may_delete)
                .map(|()| Deletion::Deleted),
        }
    }

    /// Restores a version that was deleted in the last thirty days.
    pub(crate) async fn restore(&self, id: u64) -> Result<PackageVersion, Error> {
        let what = format!("restoring version {id}");
        // The version is read afterwards, so a second attempt is harmless.
        let request = self
            .version_request(Method::POST, &[&id.to_string(), "restore"], &what)
            .await?
            .repeatable();
        let reply = self.http.send(&request).await?;
        let restored = self.version(id).await?;
        match restored {
            Some(version) => Ok(version),
            None if reply.status == 404 => {
                let hint = "a version cannot be restored 30 days after its deletion, nor once its \
                            digest was pushed again; the token needs `packages: write`";
                Err(Error::about(Class::Refused, self.what(&what), reply.text()).help(hint))
            }
            None => Err(reply
                .check(&[204])
                .map_err(may_delete)
                .err()
                .unwrap_or_else(|| {
                    Error::unavailable(
                        self.what(&what),
                        "GitHub reported success, but the version is missing",
                    )
                })),
        }
    }

    fn what(&self, what: &str) -> String {
        format!("GitHub: {what} of the package {}/{}", self.owner, self.name)
    }

    /// A request below the package; below `orgs` until the kind of the owner is known.
    fn request(&self, method: Method, below: &[&str], what: &str) -> Request {
        let mut request = Request::new(method, [], self.what(what));
        let scope = self.scope.get().copied().unwrap_or("orgs");
        // The name is one segment, so that a slash in it is sent as %2F.
        let path = [scope, &self.owner, "packages", "container", &self.name]
            .into_iter()
            .chain(below.iter().copied());
        request.path = path.map(str::to_owned).collect();
        request
    }

    /// A request about a version; the kind of owner is determined first.
    async fn version_request(
        &self,
        method: Method,
        below: &[&str],
        what: &str,
    ) -> Result<Request, Error> {
        if self.scope.get().is_none() {
            let request = self.request(Method::GET, &[], "looking up");
            self.find(request).await?.check(&[200])?;
        }
        Ok(self.request(method, &[&["versions"], below].concat(), what))
    }

    /// Sends a request for something that must exist. If the owner is not an organization, sends it
    /// for the package of a user.
    async fn find(&self, mut request: Request) -> Result<Reply, Error> {
        let reply = self.http.send(&request).await?;
        if self.scope.get().is_some() || reply.status != 404 {
            if reply.status.is_success() {
                self.scope.get_or_init(|| "orgs");
            }
            return Ok(reply);
        }
        "users".clone_into(&mut request.path[0]);
        let reply = self.http.send(&request).await?;
        match reply.status.as_u16() {
            404 => {
                let reason = format!(
                    "neither an organization nor a user {} has this package",
                    self.owner
                );
                let hint = "give the token `packages: read` (classic: read:packages), and connect the package to the repository; GitHub reports a package that the token may not read as not found";
                Err(Error::about(Class::Denied, request.what, reason).help(hint))
            }
            200 => {
                self.scope.get_or_init(|| "users");
                Ok(reply)
            }
            _ => Ok(reply),
        }
    }
}

fn may_delete(error: Error) -> Error {
    match error.class {
        Class::Denied => error.help(
            "give the token `packages: write`, and the repository the role Admin on the package",
        ),
        _ => error,
    }
}

/// The versions of a package while their pages arrive, and the proof that the last page has
/// arrived.
///
/// A page without a link to the next one does not end a listing, because a proxy may drop the header.
/// The page after the last one must contain nothing new; GitHub's is empty.
#[derive(Debug)]
pub(crate) struct VersionPages {
    /// Entries of a full page.
    size: usize,
    all: Vec<PackageVersion>,
    ids: HashSet<u64>,
    digests: HashSet<Digest>,
    tags: HashSet<Tag>,
    /// The number of pages so far.
    count: usize,
    /// The total number of pages that the server reports.
    pages: Option<usize>,
    /// Whether the last page had no link to a next one.
    has_ended: bool,
}

impl VersionPages {
    /// `size`: the number of entries of a full page.
    pub(crate) fn new(size: usize) -> Self {
        Self {
            size,
            all: Vec::new(),
            ids: HashSet::new(),
            digests: HashSet::new(),
            tags: HashSet::new(),
            count: 0,
            pages: None,
            has_ended: false,
        }
    }

    /// Adds the next page; returns whether one more must be requested. The error is the
    /// inconsistency of the listing.
    pub(crate) fn add_page(
        &mut self,
        rows: Vec<PackageVersion>,
        links: Links,
    ) -> Result<bool, String> {
        self.count += 1;
        let number = self.count;
        if let (Some(before), Some(now)) = (self.pages, links.last)
            && before != now
        {
            return Err(format!(
                "the listing had {before} pages, but page {number} reports {now}"
            ));
        }
        self.pages = self.pages.or(links.last);
        if links.next && rows.len() < self.size {
            return Err(format!(
                "page {number} has {} entries but announces another page",
                rows.len()
            ));
        }
        if let Some(pages) = self.pages.filter(|pages| !links.next && number < *pages) {
            return Err(format!("the listing ends on page {number} of {pages}"));
        }
        // A server that ignores the page number repeats the same versions.
        if rows.is_empty() || self.has_ended && rows.iter().all(|row| self.contains(row)) {
            return Ok(false);
        }
        for row in rows {
            self.add(row)?;
        }
        self.has_ended = !links.next;
        Ok(true)
    }

    /// The versions so far, in the order of the server.
    #[cfg(test)]
    pub(crate) fn all(&self) -> &[PackageVersion] {
        &self.all
    }

    fn contains(&self, row: &PackageVersion) -> bool {
        self.ids.contains(&row.id) && self.all.contains(row)
    }

    fn add(&mut self, row: PackageVersion) -> Result<(), String> {
        if !self.ids.insert(row.id) || !self.digests.insert(row.digest) {
            return Err(format!(
                "version {} is listed twice: the listing changed while it was read",
                row.id
            ));
        }
        let moved = row.tags.iter().find(|tag| self.tags.contains(*tag));
        if let Some(tag) = moved {
            return Err(format!(
                "two versions have the tag {tag}: it was moved while the listing was read"
            ));
        }
        self.tags.extend(row.tags.iter().cloned());
        self.all.push(row);
        Ok(())
    }
}

fn version(row: Row, what: &str) -> Result<PackageVersion, Error> {
    let malformed = |reason: String| incomplete(what, &format!("version {}: {reason}", row.id));
    let digest = row
        .name
        .parse()
        .map_err(|error| malformed(format!("its name is not a digest: {error}")))?;
    let tags: Result<Vec<Tag>, _> = row
        .metadata
        .container
        .tags
        .iter()
        .map(|tag| Tag::parse(tag))
        .collect();
    let mut tags = tags.map_err(|_| malformed("it has a malformed tag".to_owned()))?;
    tags.sort();
    Ok(PackageVersion {
        id: row.id,
        digest,
        tags,
        created: row.created_at,
    })
}

fn incomplete(what: &str, reason: &str) -> Error {
    Error::unavailable(what, format!("the listing is unreliable: {reason}"))
        .help("run the command again when nothing is being pushed")
}

/// The header `Link` (RFC 8288).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Links {
    /// Whether the page has a link to a next page.
    pub next: bool,
    /// The number of the last page.
    pub last: Option<usize>,
}

impl Links {
    fn parse(header: &str) -> Self {
        let mut links = Self::default();
        for link in header.split(',') {
            let (target, parameters) = link.split_once('>').unwrap_or_default();
            let is = |rel: &str| {
                parameters
                    .split(';')
                    .any(|p| p.trim() == format!("rel=\"{rel}\""))
            };
            links.next |= is("next");
            if is("last") {
                let number = target
                    .split(['?', '&'])
                    .find_map(|pair| pair.strip_prefix("page="));
                links.last = number.and_then(|number| number.parse().ok());
            }
        }
        links
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_announce_further_pages_and_their_number() {
        let link = "<https://api.github.com/x?per_page=100&page=2>; rel=\"next\", <https://api.github.com/x?page=7&per_page=100>; rel=\"last\"";
        assert_eq!(
            Links::parse(link),
            Links {
                next: true,
                last: Some(7)
            }
        );
        assert_eq!(
            Links::parse("<https://x/y?page=1>; rel=\"prev\", <https://x/y?page=1>; rel=\"first\""),
            Links::default()
        );
        assert_eq!(Links::parse(""), Links::default());
    }

    /// The number of versions and of pages, with two versions per page.
    fn pages(page: impl Fn(usize) -> (Vec<u64>, bool)) -> Result<(usize, usize), String> {
        let row = |id: u64| PackageVersion {
            id,
            digest: Digest::of(&id.to_be_bytes()),
            tags: Vec::new(),
            created: String::new(),
        };
        let mut pages = VersionPages::new(2);
        loop {
            let (rows, next) = page(pages.count);
            let rows = rows.into_iter().map(row).collect();
            if !pages.add_page(rows, Links { next, last: None })? {
                return Ok((pages.all.len(), pages.count));
            }
        }
    }

    #[test]
    fn page_after_the_last_has_no_new_versions() {
        let all = [vec![6, 5], vec![4, 3], vec![2, 1]];
        let page = |n: usize| all.get(n).cloned().unwrap_or_default();
        for linked in [true, false] {
            assert_eq!(pages(|n| (page(n), linked && n < 2)), Ok((6, 4)));
        }
        // The server ignores the page number, or repeats the last page.
        assert_eq!(pages(|_| (vec![2, 1], false)), Ok((2, 2)));
        assert_eq!(pages(|n| (page(n.min(2)), n < 2)), Ok((6, 4)));
        // A repeated version next to a new one proves a concurrent push.
        let shifted = [vec![4, 3], vec![3, 2]];
        let reason = pages(|n| (shifted.get(n).cloned().unwrap_or_default(), false)).unwrap_err();
        assert!(reason.contains("is listed twice"), "{reason}");
        assert_eq!(pages(|_| (vec![], false)), Ok((0, 1)));
    }

    #[test]
    fn malformed_version_is_refused() {
        let parse = |text: &str| serde_json::from_str::<Row>(text).map_err(|e| e.to_string());
        let row = |name: &str, tags: &str| {
            parse(&format!(
                r#"{{"id":1,"name":"{name}","created_at":"x","metadata":{{"container":{{"tags":{tags}}}}}}}"#
            ))
        };
        let digest = Digest::of(b"x").to_string();
        assert_eq!(
            version(row(&digest, r#"["b","a"]"#).unwrap(), "x")
                .unwrap()
                .tags[0]
                .as_str(),
            "a"
        );
        assert!(version(row("v1.2", "[]").unwrap(), "x").is_err());
        assert!(version(row(&digest, r#"["-"]"#).unwrap(), "x").is_err());
        for other in [
            r#"{"id":1,"name":"x","created_at":"x"}"#,
            r#"{"id":1,"name":"x","created_at":"x","metadata":{}}"#,
        ] {
            assert!(parse(other).is_err(), "{other}");
        }
    }
}
