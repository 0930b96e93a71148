//! A forge with a thousand repositories, generated from a seed at the first request.
//!
//! Each repository is a [`Store`] of the simulated GitHub, Gitea or GitLab; requests that concern several
//! at once (GraphQL, listings, limits, renames) are here. Requests are validated against the
//! published descriptions, logged with the server's time, and met by the troubles that are scripted
//! for a repository's number.
//!
//! Sources: "the documentation" is GitHub's ("Rate limits for the REST API", "Rate limits and node
//! limits for the GraphQL API", "Best practices for using the REST API"); reported are
//! `RESOURCE_LIMITS_EXCEEDED` with partial data (github-profile-3d-contrib issue 163,
//! raycast/extensions issue 29578) and 502 for queries of more than ten seconds (octocrabby pull
//! request 21, octoscope pull request 153). Gitea's responses are those of its source
//! (`services/repository/files/tree.go`, `modules/git/repo_tree.go`, `services/context/repo.go`).

pub mod contents;
mod gitea;
mod github;
mod gitlab;
mod limits;
mod query;
pub mod troubles;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Asked, Kind, Reply, Store, TOKEN, error, schema::Description, server::Server};
pub use contents::Seeded;
pub use limits::Limits;
pub use troubles::Trouble;

/// The parameters of the forge.
pub struct Options {
    pub kind: Kind,
    /// The version of a Gitea or Forgejo, if not the default.
    pub version: Option<&'static str>,
    pub count: usize,
    pub seeded: Seeded,
    /// The branch of repin's pull requests, which troubles put something on.
    pub branch: String,
    pub troubles: BTreeMap<usize, Trouble>,
    /// The response time, in real time.
    pub latency: Duration,
    pub limits: Limits,
    /// The number of the server's seconds per second, and the time at which its clock agreed with
    /// the real one.
    pub speed: u32,
    pub origin: SystemTime,
    /// Queries about more repositories than this take too long: 502.
    pub slow_above: usize,
    /// Repositories of which a query about others, too, shows no files (`RESOURCE_LIMITS_EXCEEDED`).
    pub heavy: BTreeSet<usize>,
    /// Whether requests without a token may read.
    pub public: bool,
    /// The address in responses, if it is not that of the server.
    pub root: Option<String>,
}

impl Options {
    pub fn new(kind: Kind, count: usize) -> Self {
        Self {
            kind,
            version: None,
            count,
            seeded: Seeded::default(),
            branch: "repin/promote".to_owned(),
            troubles: BTreeMap::new(),
            latency: Duration::ZERO,
            limits: Limits::default(),
            speed: 1,
            origin: SystemTime::now(),
            slow_above: usize::MAX,
            heavy: BTreeSet::new(),
            public: false,
            root: None,
        }
    }

    pub fn trouble(mut self, number: usize, trouble: Trouble) -> Self {
        self.troubles.insert(number, trouble);
        self
    }
}

/// A request in the log.
#[derive(Clone, Debug)]
pub struct Logged {
    /// By the server's clock.
    pub at: SystemTime,
    /// The repository that it is about.
    pub repository: Option<usize>,
    /// `METHOD path?query`; of GraphQL, the first word of the query after `#`.
    pub request: String,
    pub write: bool,
    pub status: u16,
    /// Of the bodies of the request and the response.
    pub bytes: usize,
    /// Whether the client was still required to wait.
    pub parked: bool,
}

pub struct Thousand {
    pub server: Server,
    shared: Arc<Shared>,
}

struct Shared {
    options: Options,
    root: OnceLock<String>,
    stores: Vec<OnceLock<Mutex<Store>>>,
    log: Mutex<Vec<Logged>>,
    breaches: Mutex<Vec<String>>,
    /// How often a trouble happened.
    happened: Mutex<BTreeMap<usize, usize>>,
    limits: Mutex<limits::State>,
    /// Until when the client has to wait.
    parked: Mutex<Option<SystemTime>>,
}

/// The result of a request.
enum Outcome {
    Answer(Reply),
    /// No response.
    Hang,
}

impl Thousand {
    pub fn start(options: Options) -> Self {
        let stores = (0..options.count).map(|_| OnceLock::new()).collect();
        let shared = Arc::new(Shared {
            options,
            root: OnceLock::new(),
            stores,
            log: Mutex::default(),
            breaches: Mutex::default(),
            happened: Mutex::default(),
            limits: Mutex::default(),
            parked: Mutex::default(),
        });
        let behind = Arc::clone(&shared);
        let server = Server::start(move |asked| behind.handle(asked));
        let root = shared.options.root.clone();
        shared
            .root
            .set(root.unwrap_or_else(|| server.url()))
            .unwrap();
        Self { server, shared }
    }

    /// The API's base, as it is configured.
    pub fn api(&self) -> String {
        match self.shared.options.kind {
            Kind::Github => self.server.url(),
            Kind::Gitlab => format!("{}/api/v4", self.server.url()),
            Kind::Gitea | Kind::Forgejo => format!("{}/api/v1", self.server.url()),
        }
    }

    pub fn store(&self, number: usize) -> MutexGuard<'_, Store> {
        self.shared.store(number)
    }

    pub fn log(&self) -> Vec<Logged> {
        self.shared.log.lock().unwrap().clone()
    }

    /// The open pull requests of all repositories that were ever requested.
    pub fn open_pulls(&self) -> Vec<(usize, u64)> {
        let mut open = Vec::new();
        for (number, store) in self.shared.stores.iter().enumerate() {
            if let Some(store) = store.get() {
                let store = store.lock().unwrap();
                open.extend(store.open_pulls().iter().map(|pull| (number, pull.number)));
            }
        }
        open
    }

    /// Writes in a second of the server's clock that had one already, and writes while the client
    /// had received a time to wait.
    pub fn hasty_writes(&self) -> Vec<Logged> {
        let mut seconds = BTreeSet::new();
        let since = |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let log = self.log();
        let is_api = |logged: &Logged| !logged.request.contains(".git/");
        let writes = log
            .into_iter()
            .filter(|logged| logged.write && is_api(logged));
        writes
            .filter(|logged| !seconds.insert(since(logged.at)) || logged.parked)
            .collect()
    }

    /// Checks that every request so far was valid by the description and carried the token.
    pub fn is_content(&self) {
        let breaches = self.shared.breaches.lock().unwrap();
        assert!(breaches.is_empty(), "{breaches:#?}");
    }
}

impl Drop for Thousand {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.is_content();
        }
    }
}

impl Shared {
    fn now(&self) -> SystemTime {
        let origin = self.options.origin;
        let since = SystemTime::now().duration_since(origin).unwrap_or_default();
        origin + since * self.options.speed
    }

    fn store(&self, number: usize) -> MutexGuard<'_, Store> {
        let store = self.stores[number].get_or_init(|| {
            let mut store = contents::store(self.options.kind, &self.options.seeded, number);
            store.root.clone_from(self.root.get().unwrap());
            store.version = self.options.version.unwrap_or(store.version);
            if let Some(trouble) = self.options.troubles.get(&number) {
                trouble.prepare(&mut store, &self.options.branch);
            }
            Mutex::new(store)
        });
        store.lock().unwrap()
    }

    fn trouble(&self, number: usize) -> Option<Trouble> {
        self.options.troubles.get(&number).copied()
    }

    /// The name that a repository has now.
    fn current_name(&self, number: usize) -> String {
        let renamed = self.trouble(number) == Some(Trouble::Renamed);
        let suffix = if renamed { "-renamed" } else { "" };
        format!("acme/app-{number:04}{suffix}")
    }

    /// The number of a repository, and whether this name is an old one.
    fn find(&self, owner: &str, name: &str) -> Option<(usize, bool)> {
        let number = name.to_ascii_lowercase();
        let number = number.strip_prefix("app-")?;
        let old = !number.ends_with("-renamed");
        let number: usize = number.trim_end_matches("-renamed").parse().ok()?;
        let known = owner.eq_ignore_ascii_case("acme") && number < self.stores.len();
        let renamed = self.trouble(number) == Some(Trouble::Renamed);
        (known && (old || renamed)).then_some((number, old && renamed))
    }

    fn breach(&self, breach: String) {
        self.breaches.lock().unwrap().push(breach);
    }

    fn handle(&self, asked: &Asked) -> Option<Reply> {
        let at = self.now();
        let write = asked.is_write() && !asked.path.ends_with("/file-contents");
        let parked = self.parked.lock().unwrap().is_some_and(|until| at < until);
        std::thread::sleep(self.options.latency);
        if asked.to_string().contains(TOKEN) || asked.body.to_string().contains(TOKEN) {
            self.breach(format!("the token is in {asked}"));
        }
        let is_git = asked.is_git();
        if let Err(breach) = Description::of(self.options.kind).check(asked)
            && !is_git
        {
            self.breach(format!("{asked}: {breach}"));
        }
        let number = self.about(asked);
        let outcome = self.outcome(asked, number, write, at);
        let (status, received) = match &outcome {
            Outcome::Answer(reply) => (reply.status, reply.body.len()),
            Outcome::Hang => (0, 0),
        };
        let mut request = asked.to_string();
        if asked.path.ends_with("/graphql") {
            let _ = write!(request, "#{}", first_word(asked.text("query")));
        }
        self.log.lock().unwrap().push(Logged {
            at,
            repository: number,
            request,
            write,
            status,
            bytes: asked.bytes.len() + received,
            parked,
        });
        match outcome {
            Outcome::Answer(reply) => {
                self.note_wait(&reply);
                let date = httpdate::fmt_http_date(self.now());
                Some(reply.with("date", &date))
            }
            Outcome::Hang => loop {
                std::thread::park();
            },
        }
    }

    /// Stores the time that a response requires to wait: an earlier request counts as too early.
    fn note_wait(&self, reply: &Reply) {
        let header = |name: &str| {
            let found = reply.headers.iter().find(|(known, _)| known == name);
            found.and_then(|(_, value)| value.parse::<u64>().ok())
        };
        if !matches!(reply.status, 403 | 422 | 429) {
            return;
        }
        let text = String::from_utf8_lossy(&reply.body).to_lowercase();
        let wait = match (header("retry-after"), header("x-ratelimit-remaining")) {
            (Some(seconds), _) => Duration::from_secs(seconds),
            (None, Some(0)) => {
                let reset = header("x-ratelimit-reset").unwrap_or_default();
                let reset = SystemTime::UNIX_EPOCH + Duration::from_secs(reset);
                reset.duration_since(self.now()).unwrap_or_default()
            }
            (None, _) if text.contains("rate limit") || text.contains("too quickly") => {
                Duration::from_secs(60)
            }
            _ => return,
        };
        *self.parked.lock().unwrap() = Some(self.now() + wait);
    }

    /// The repository that a request is about.
    fn about(&self, asked: &Asked) -> Option<usize> {
        if asked.path.ends_with("/graphql") {
            return github::about(self, asked);
        }
        if let Some((path, _)) = asked.path.split_once(".git/") {
            let mut parts = path.rsplit('/');
            let (name, owner) = (parts.next()?, parts.next()?);
            return self.find(owner, name).map(|(number, _)| number);
        }
        if self.options.kind == Kind::Gitlab {
            return gitlab::about(self, asked);
        }
        let path = asked.path.split("/repos/").nth(1)?;
        let mut parts = path.split('/');
        self.find(parts.next()?, parts.next()?)
            .map(|(number, _)| number)
    }

    fn outcome(
        &self,
        asked: &Asked,
        number: Option<usize>,
        write: bool,
        at: SystemTime,
    ) -> Outcome {
        if asked.is_git() {
            return self.git_outcome(asked, number);
        }
        let (header, prefix) = match self.options.kind {
            Kind::Github => ("authorization", "Bearer "),
            Kind::Gitea | Kind::Forgejo => ("authorization", "token "),
            Kind::Gitlab => ("private-token", ""),
        };
        let given = asked.header(header);
        let is_anonymous = given.is_none();
        if !(is_anonymous && self.options.public)
            && given.and_then(|text| text.strip_prefix(prefix)) != Some(TOKEN)
        {
            return Outcome::Answer(Reply::json(401, json!({"message": "Bad credentials"})));
        }
        let headers = {
            let mut state = self.limits.lock().unwrap();
            match self.options.limits.charge(&mut state, asked, write, at) {
                Ok(headers) => headers,
                Err(reply) => return Outcome::Answer(reply),
            }
        };
        let outcome = match number.and_then(|number| Some((number, self.trouble(number)?))) {
            Some((number, trouble)) => self.troubled(asked, number, trouble, write),
            None => Outcome::Answer(self.carry_out(asked, number)),
        };
        match outcome {
            Outcome::Answer(reply) => {
                let known = |name: &str| reply.headers.iter().any(|(known, _)| known == name);
                let missing = headers.into_iter().filter(|(name, _)| !known(name));
                let missing: Vec<_> = missing.collect();
                Outcome::Answer(
                    missing
                        .into_iter()
                        .fold(reply, |reply, (name, value)| reply.with(name, &value)),
                )
            }
            Outcome::Hang => Outcome::Hang,
        }
    }

    /// The response to a request of git.
    fn git_outcome(&self, asked: &Asked, number: Option<usize>) -> Outcome {
        let login = STANDARD.encode(format!("x-access-token:{TOKEN}"));
        let given = asked.header("authorization");
        if !(given.is_none() && self.options.public) && given != Some(&format!("Basic {login}")) {
            let reply = error(401, "Bad credentials");
            return Outcome::Answer(reply.with("www-authenticate", "Basic realm=\"forge\""));
        }
        let (Some(number), Some(service)) = (number, asked.git_service()) else {
            return Outcome::Answer(error(404, "Not Found"));
        };
        let is_push = asked.target.contains("git-receive-pack");
        if is_push && self.trouble(number) == Some(Trouble::Denied) {
            return Outcome::Answer(error(403, "Write access to repository not granted."));
        }
        if self.trouble(number) == Some(Trouble::Unfetched) {
            return Outcome::Answer(error(403, "Access to the repository not granted."));
        }
        if self.trouble(number) == Some(Trouble::Missing) {
            return Outcome::Answer(error(404, "Not Found"));
        }
        Outcome::Answer(self.store(number).serve_git(asked, service))
    }

    /// How often a trouble has happened to a repository before now.
    fn times(&self, number: usize) -> usize {
        let mut happened = self.happened.lock().unwrap();
        let times = happened.entry(number).or_default();
        *times += 1;
        *times - 1
    }

    fn carry_out(&self, asked: &Asked, number: Option<usize>) -> Reply {
        match self.options.kind {
            Kind::Github => github::answer(self, asked, number),
            Kind::Gitlab => gitlab::answer(self, asked),
            Kind::Gitea | Kind::Forgejo => gitea::answer(self, asked, number),
        }
    }
}

/// The distinctive word of a query.
fn first_word(query: &str) -> &str {
    let body = query.split_once('{').map_or(query, |(_, body)| body);
    let body = body.trim_start();
    let end = body
        .find(|c: char| c != '_' && !c.is_ascii_alphanumeric())
        .unwrap_or(body.len());
    &body[..end]
}

/// The same request for the simulated forge of one repository.
fn of_one(asked: &Asked) -> Asked {
    let mut one = asked.clone();
    if let Some((top, rest)) = asked.path.split_once("/repos/") {
        let below = rest.splitn(3, '/').nth(2);
        one.path = match below {
            Some(below) => format!("{top}/repos/acme/flows/{below}"),
            None => format!("{top}/repos/acme/flows"),
        };
    }
    one
}

/// The response of one repository's forge, with the name of the repository.
fn renamed(mut reply: Reply, name: &str) -> Reply {
    // A blob may be anything.
    if let Ok(text) = std::str::from_utf8(&reply.body) {
        reply.body = text.replace("acme/flows", name).into_bytes();
    }
    reply
}

/// The date of a commit, a minute after that of its parent.
fn committed(store: &Store, id: &str) -> String {
    let minutes = store.ancestors(id).len();
    format!("2026-01-01T{:02}:{:02}:00Z", minutes / 60, minutes % 60)
}

fn not_found(message: &str) -> Value {
    json!({"message": message, "documentation_url": "https://docs.example", "status": "404"})
}
