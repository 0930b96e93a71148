//! Versions of a container package on GitHub (REST API, "Packages"): all of them or an error, and
//! deleting, restoring one.
//!
//! What may be deleted is decided elsewhere; nothing here knows pins or tags' meanings.

use std::{cell::OnceCell, collections::HashSet};

use reqwest::{Method, Url};
use serde::Deserialize;

use super::{
    Kind, Settings, Target, Token,
    http::{Http, PAGE, Reply, Request},
};
use crate::{
    error::{Class, Error},
    oci::{Digest, Tag},
    registry::{Clock, Deletion},
};

/// The most pages of a listing; more means that it does not end.
const PAGES_MAX: usize = 1_000;

/// A container package.
#[derive(Debug)]
pub struct Package {
    http: Http,
    owner: String,
    name: String,
    /// `orgs` or `users`, once it is known what the owner is.
    scope: OnceCell<&'static str>,
}

/// One version of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageVersion {
    /// Its number, by which it is deleted and restored.
    pub id: u64,
    /// The digest of its manifest or index.
    pub digest: Digest,
    /// Its tags, sorted.
    pub tags: Vec<Tag>,
    /// When it was pushed, as GitHub writes it (RFC 3339).
    pub created: String,
}

/// All versions, and what time it was.
#[derive(Debug, Clone)]
pub struct Versions {
    /// In GitHub's order; each digest once.
    pub all: Vec<PackageVersion>,
    /// The clocks as the first page came.
    pub clock: Clock,
    /// Whether the pages went to the end of the listing.
    pub whole: bool,
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
    /// The package `name` of `owner`, asked at the API's base `api`; nothing is sent yet.
    pub fn new(
        api: Url,
        owner: &str,
        name: &str,
        token: Token,
        settings: Settings,
    ) -> Result<Self, Error> {
        let target = Target {
            kind: Kind::Github,
            api,
            owner: owner.to_owned(),
            name: name.to_owned(),
        };
        let http = Http::new(&target.api, token, "Bearer", settings)?
            .with_header("accept", "application/vnd.github+json")
            .with_header("x-github-api-version", "2022-11-28");
        Ok(Self {
            http,
            owner: target.owner,
            name: target.name,
            scope: OnceCell::new(),
        })
    }

    /// Every version; `progress` receives the number read so far.
    pub async fn versions(&self, progress: &dyn Fn(usize)) -> Result<Versions, Error> {
        self.list(|pages| progress(pages.all.len()), |_| false)
            .await
    }

    /// The newest versions: whole pages, up to the first that has one which `known` knows by its
    /// number. GitHub lists the newest first.
    pub async fn newest(&self, known: impl Fn(u64) -> bool) -> Result<Versions, Error> {
        let any = |pages: &VersionPages| pages.all.iter().any(|version| known(version.id));
        self.list(|_| (), any).await
    }

    /// Pages until the listing is complete, or until it is `enough`.
    async fn list(
        &self,
        progress: impl Fn(&VersionPages),
        enough: impl Fn(&VersionPages) -> bool,
    ) -> Result<Versions, Error> {
        let what = self.what("listing versions");
        let mut pages = VersionPages::new(PAGE);
        let mut clock = None;
        for number in 1..=PAGES_MAX {
            let request = self.request(Method::GET, &["versions"], "listing versions");
            let reply = self
                .find(request.query("per_page", PAGE).query("page", number))
                .await?;
            let clock =
                *clock.get_or_insert_with(|| Clock::from_headers(&reply.headers, self.http.now()));
            let rows: Vec<Row> = reply.expect(&[200])?;
            let rows = rows.into_iter().map(|row| version(row, &what));
            let rows = rows.collect::<Result<Vec<_>, _>>()?;
            let short = rows.len() < PAGE;
            let links = Links::of(reply.header("link").unwrap_or_default());
            let more = pages
                .take(rows, links)
                .map_err(|reason| incomplete(&what, &reason))?;
            progress(&pages);
            if !more || enough(&pages) {
                return Ok(Versions {
                    all: pages.all,
                    clock,
                    whole: !more || short,
                });
            }
        }
        let reason = format!("the listing has more than {PAGES_MAX} pages");
        Err(incomplete(&what, &reason))
    }

    /// One version as it is now; `None` if it is gone.
    pub async fn version(&self, id: u64) -> Result<Option<PackageVersion>, Error> {
        let what = format!("reading version {id}");
        let reply = self
            .http
            .send(&self.at(Method::GET, &[&id.to_string()], &what).await?)
            .await?;
        if reply.status == 404 {
            return Ok(None);
        }
        version(reply.expect::<Row>(&[200])?, &self.what(&what)).map(Some)
    }

    /// Deletes one version, and with it every tag that it has. What a 404 means must be read
    /// afterwards: GitHub answers so where the role Admin on the package is missing, too.
    pub async fn delete(&self, id: u64) -> Result<Deletion, Error> {
        let what = format!("deleting version {id}");
        let reply = self
            .http
            .send(&self.at(Method::DELETE, &[&id.to_string()], &what).await?)
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
    pub async fn restore(&self, id: u64) -> Result<PackageVersion, Error> {
        let what = format!("restoring version {id}");
        // Looked at afterwards, so that the second time changes nothing.
        let request = self
            .at(Method::POST, &[&id.to_string(), "restore"], &what)
            .await?
            .harmless();
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

    /// A request below the package, or below `orgs`' where it is not known yet what the owner is.
    fn request(&self, method: Method, below: &[&str], what: &str) -> Request {
        let mut request = Request::new(method, [], self.what(what));
        let scope = self.scope.get().copied().unwrap_or("orgs");
        // One segment each, so that a slash in the package's name is sent as %2F.
        let path = [scope, &self.owner, "packages", "container", &self.name]
            .into_iter()
            .chain(below.iter().copied());
        request.path = path.map(str::to_owned).collect();
        request
    }

    /// A request about a version; the kind of owner is determined first.
    async fn at(&self, method: Method, below: &[&str], what: &str) -> Result<Request, Error> {
        if self.scope.get().is_none() {
            let request = self.request(Method::GET, &[], "looking up");
            self.find(request).await?.check(&[200])?;
        }
        Ok(self.request(method, &[&["versions"], below].concat(), what))
    }

    /// Sends a request for something that must be there; where the owner is no organization, to
    /// the user's package.
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
/// A page without a link to the next one does not end a listing: it may be full, and a proxy may
/// drop the header. The page after the last one must bring nothing new; GitHub's is empty.
#[derive(Debug)]
pub struct VersionPages {
    /// Entries of a full page.
    size: usize,
    all: Vec<PackageVersion>,
    ids: HashSet<u64>,
    digests: HashSet<Digest>,
    tags: HashSet<Tag>,
    /// How many came.
    count: usize,
    /// How many pages the server says that there are.
    pages: Option<usize>,
    /// Whether the last page linked to no other.
    ended: bool,
}

impl VersionPages {
    /// No page yet; `size`: the entries of a full one.
    pub fn new(size: usize) -> Self {
        Self {
            size,
            all: Vec::new(),
            ids: HashSet::new(),
            digests: HashSet::new(),
            tags: HashSet::new(),
            count: 0,
            pages: None,
            ended: false,
        }
    }

    /// Takes in the next page; whether one more must be requested. An error says why the listing
    /// cannot be relied on.
    pub fn take(&mut self, rows: Vec<PackageVersion>, links: Links) -> Result<bool, String> {
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
        // What is known by now comes again where the question for a page is ignored.
        if rows.is_empty() || self.ended && rows.iter().all(|row| self.has(row)) {
            return Ok(false);
        }
        for row in rows {
            self.add(row)?;
        }
        self.ended = !links.next;
        Ok(true)
    }

    fn has(&self, row: &PackageVersion) -> bool {
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

    /// The versions so far, in the server's order.
    pub fn all(&self) -> &[PackageVersion] {
        &self.all
    }
}

fn version(row: Row, what: &str) -> Result<PackageVersion, Error> {
    let wrong = |why: String| incomplete(what, &format!("version {}: {why}", row.id));
    let digest = row
        .name
        .parse()
        .map_err(|error| wrong(format!("its name is not a digest: {error}")))?;
    let tags: Result<Vec<Tag>, _> = row
        .metadata
        .container
        .tags
        .iter()
        .map(|tag| Tag::parse(tag))
        .collect();
    let mut tags = tags.map_err(|_| wrong("it has a malformed tag".to_owned()))?;
    tags.sort();
    Ok(PackageVersion {
        id: row.id,
        digest,
        tags,
        created: row.created_at,
    })
}

fn incomplete(what: &str, why: &str) -> Error {
    Error::unavailable(what, format!("the listing is unreliable: {why}"))
        .help("run the command again when nothing is being pushed")
}

/// What `Link` says about the other pages (RFC 8288).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Links {
    /// Whether there is a next page.
    pub next: bool,
    /// The number of the last page.
    pub last: Option<usize>,
}

impl Links {
    fn of(header: &str) -> Self {
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
            Links::of(link),
            Links {
                next: true,
                last: Some(7)
            }
        );
        assert_eq!(
            Links::of("<https://x/y?page=1>; rel=\"prev\", <https://x/y?page=1>; rel=\"first\""),
            Links::default()
        );
        assert_eq!(Links::of(""), Links::default());
    }

    /// Reads pages of two; the versions and the number of pages.
    fn pages(answer: impl Fn(usize) -> (Vec<u64>, bool)) -> Result<(usize, usize), String> {
        let row = |id: u64| PackageVersion {
            id,
            digest: Digest::of(&id.to_be_bytes()),
            tags: Vec::new(),
            created: String::new(),
        };
        let mut pages = VersionPages::new(2);
        loop {
            let (rows, next) = answer(pages.count);
            let rows = rows.into_iter().map(row).collect();
            if !pages.take(rows, Links { next, last: None })? {
                return Ok((pages.all.len(), pages.count));
            }
        }
    }

    #[test]
    fn the_page_after_the_last_one_must_bring_nothing_new() {
        let all = [vec![6, 5], vec![4, 3], vec![2, 1]];
        let page = |n: usize| all.get(n).cloned().unwrap_or_default();
        for linked in [true, false] {
            assert_eq!(pages(|n| (page(n), linked && n < 2)), Ok((6, 4)));
        }
        // The question for a page is ignored: the same again, or the last one again.
        assert_eq!(pages(|_| (vec![2, 1], false)), Ok((2, 2)));
        assert_eq!(pages(|n| (page(n.min(2)), n < 2)), Ok((6, 4)));
        // A version that comes twice beside one that is new shows a push.
        let shifted = [vec![4, 3], vec![3, 2]];
        let why = pages(|n| (shifted.get(n).cloned().unwrap_or_default(), false)).unwrap_err();
        assert!(why.contains("is listed twice"), "{why}");
        assert_eq!(pages(|_| (vec![], false)), Ok((0, 1)));
    }

    #[test]
    fn a_version_of_another_shape_is_an_error() {
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
