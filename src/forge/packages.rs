//! Versions of a container package on GitHub (REST API, "Packages"): all of them or an error, and
//! deleting, restoring one.
//!
//! What may be deleted is decided elsewhere; nothing here knows pins or tags' meanings.

use std::{cell::OnceCell, collections::HashSet};

use reqwest::{Method, Url};
use serde::Deserialize;

use super::{
    Error, ErrorKind, Kind, Settings, Target, Token,
    http::{Http, PAGE, Reply, Request},
};
use crate::{
    image::{Digest, Tag},
    source::{Clock, Deletion},
};

/// More pages than this are no listing that comes to an end.
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
        (owner, name): (&str, &str),
        token: Token,
        settings: Settings,
    ) -> Result<Self, Error> {
        let target = Target {
            kind: Kind::Github,
            api,
            owner: owner.to_owned(),
            name: name.to_owned(),
        };
        let http = Http::new(&target, token, "Bearer", settings)?
            .with_header("accept", "application/vnd.github+json")
            .with_header("x-github-api-version", "2022-11-28");
        Ok(Self {
            http,
            owner: target.owner,
            name: target.name,
            scope: OnceCell::new(),
        })
    }

    /// Every version; `progress` is told how many came so far.
    pub async fn versions(&self, progress: &dyn Fn(usize)) -> Result<Versions, Error> {
        let mut listing = Listing::default();
        let mut clock = None;
        for number in 1..=PAGES_MAX {
            let request = self.request(Method::GET, &["versions"], "listing versions");
            let reply = self
                .find(request.query("per_page", PAGE).query("page", number))
                .await?;
            clock = clock.or(Some(Clock::of(&reply.headers, self.http.now())));
            let more = listing.page(&reply, (number, &self.what("listing versions")))?;
            progress(listing.all.len());
            if let (false, Some(clock)) = (more, clock) {
                return Ok(Versions {
                    all: listing.all,
                    clock,
                });
            }
        }
        Err(incomplete(
            &self.what("listing versions"),
            &format!("it has more than {PAGES_MAX} pages"),
        ))
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

    /// Deletes one version, and with it every tag that it has.
    pub async fn delete(&self, id: u64) -> Result<Deletion, Error> {
        let what = format!("deleting version {id}");
        let reply = self
            .http
            .send(&self.at(Method::DELETE, &[&id.to_string()], &what).await?)
            .await?;
        match reply.status.as_u16() {
            404 => Ok(Deletion::Gone),
            400 | 405 | 409 | 422 => Ok(Deletion::Refused(reply.text())),
            _ => reply
                .check(&[204])
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
                let hint = "thirty days after its deletion a version is gone for good, and so it is as soon as its \
                            digest was pushed again; the token needs `packages: write`";
                Err(Error::new(ErrorKind::Refused, self.what(&what), reply.text()).hint(hint))
            }
            None => Err(reply
                .check(&[204])
                .map_err(may_delete)
                .err()
                .unwrap_or_else(|| {
                    Error::unavailable(
                        self.what(&what),
                        "GitHub says that it did, but the version is not there",
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

    /// A request about a version; the owner is told apart first.
    async fn at(&self, method: Method, below: &[&str], what: &str) -> Result<Request, Error> {
        if self.scope.get().is_none() {
            let request = self.request(Method::GET, &[], "looking up");
            self.find(request).await?.check(&[200])?;
        }
        Ok(self.request(method, &[&["versions"], below].concat(), what))
    }

    /// Sends a request for something that has to be there; where the owner is no organisation, to
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
                let why = format!(
                    "neither an organisation nor a user {} has this package",
                    self.owner
                );
                let hint = "the token needs `packages: read` (classic: read:packages), and the package has to be \
                            connected to the repository; what a token may not see is not found";
                Err(Error::new(ErrorKind::Denied, request.what, why).hint(hint))
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
    match error.kind {
        ErrorKind::Denied => error.hint(
            "the token needs `packages: write`, and the repository the role Admin on the package",
        ),
        _ => error,
    }
}

/// A listing that shows to be whole as it grows.
#[derive(Default)]
struct Listing {
    all: Vec<PackageVersion>,
    ids: HashSet<u64>,
    digests: HashSet<Digest>,
    tags: HashSet<Tag>,
    /// How many pages the server says that there are.
    pages: Option<usize>,
}

impl Listing {
    /// Takes in a page; whether there is another.
    fn page(&mut self, reply: &Reply, (number, what): (usize, &str)) -> Result<bool, Error> {
        let rows: Vec<Row> = reply.expect(&[200])?;
        let links = Links::of(reply.header("link").unwrap_or_default());
        if let (Some(before), Some(now)) = (self.pages, links.last)
            && before != now
        {
            return Err(incomplete(
                what,
                &format!("it had {before} pages, and on page {number} it has {now}"),
            ));
        }
        self.pages = self.pages.or(links.last);
        let short = rows.len() < PAGE;
        if links.next && short {
            let why = format!(
                "page {number} has {} entries and says that there is another",
                rows.len()
            );
            return Err(incomplete(what, &why));
        }
        if let Some(pages) = self.pages.filter(|pages| !links.next && number < *pages) {
            return Err(incomplete(
                what,
                &format!("it ends on page {number} of {pages}"),
            ));
        }
        for row in rows {
            let version = version(row, what)?;
            if !self.ids.insert(version.id) || !self.digests.insert(version.digest) {
                return Err(incomplete(
                    what,
                    &format!(
                        "version {} is there twice: it changed meanwhile",
                        version.id
                    ),
                ));
            }
            if let Some(tag) = version
                .tags
                .iter()
                .find(|tag| !self.tags.insert((*tag).clone()))
            {
                return Err(incomplete(
                    what,
                    &format!("two versions have the tag {tag}: it was moved meanwhile"),
                ));
            }
            self.all.push(version);
        }
        Ok(links.next)
    }
}

fn version(row: Row, what: &str) -> Result<PackageVersion, Error> {
    let wrong = |why: String| incomplete(what, &format!("version {}: {why}", row.id));
    let digest = row
        .name
        .parse()
        .map_err(|error| wrong(format!("its name is no digest: {error}")))?;
    let tags: Result<Vec<Tag>, _> = row
        .metadata
        .container
        .tags
        .iter()
        .map(|tag| Tag::parse(tag))
        .collect();
    let mut tags = tags.map_err(|_| wrong("it has a tag that is none".to_owned()))?;
    tags.sort();
    Ok(PackageVersion {
        id: row.id,
        digest,
        tags,
        created: row.created_at,
    })
}

fn incomplete(what: &str, why: &str) -> Error {
    Error::unavailable(what, format!("the listing can't be relied on: {why}"))
        .hint("run it again when nothing is pushed")
}

/// What `Link` says about the other pages (RFC 8288).
#[derive(Debug, Default, PartialEq, Eq)]
struct Links {
    next: bool,
    last: Option<usize>,
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
    fn links_tell_whether_there_is_more_and_how_much() {
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
