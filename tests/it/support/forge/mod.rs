//! Simulated forges on a loopback port: strict, stateful, with the pitfalls of the real ones.
//!
//! Each request is validated against the published API description; a violation is recorded and
//! fails the test at its end. Faults are scripted: before a request is carried out, after it, or
//! instead of a response.

pub mod gitea;
pub mod github;
pub mod github_rules;
pub mod gitlab;
pub mod graphql;
mod objects;
mod pushes;
pub mod schema;
pub mod server;
pub mod store;
pub mod thousand;

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

pub use server::{Asked, Reply};
pub use store::{PullRow, Store};

pub const TOKEN: &str = "ghp_s3cretS3cretS3cretS3cret0123456789";
/// A token of a kind that has no scopes.
pub const FINE_TOKEN: &str = "github_pat_s3cretS3cretS3cretS3cret0123456789";
/// A token of an app's installation, such as that of a workflow run.
pub const APP_TOKEN: &str = "ghs_s3cretS3cretS3cretS3cret0123456789";
/// A token of a project, and of a job, on GitLab.
pub const GITLAB_TOKEN: &str = "glpat-s3cretS3cretS3cret0123";
pub const JOB_TOKEN: &str = "glcbt-64_s3cretS3cretS3cret01";
const TOKENS: [&str; 5] = [TOKEN, FINE_TOKEN, APP_TOKEN, GITLAB_TOKEN, JOB_TOKEN];

/// A scripted fault of a request.
#[derive(Clone)]
pub enum Fault {
    /// This response; the request is not carried out.
    Instead(Reply),
    /// The request is carried out, then this response is sent.
    After(Reply),
    /// The request is carried out, then the connection is closed without a response.
    Silence,
    /// The request is carried out, and no response is ever sent.
    Hang,
    /// The client is killed while the request is carried out: the server stops halfway where the real
    /// one does. No response is sent.
    Cut,
}

struct Scripted {
    method: &'static str,
    path: String,
    /// The number of previous requests without a fault.
    skip: usize,
    times: usize,
    fault: Fault,
}

/// A forge under test.
pub struct Fake {
    pub server: server::Server,
    shared: Arc<Shared>,
}

struct Shared {
    store: Mutex<Store>,
    faults: Mutex<Vec<Scripted>>,
    log: Mutex<Vec<Asked>>,
    breaches: Mutex<Vec<String>>,
    schema: &'static schema::Description,
    answer: fn(&mut Store, &Asked) -> Reply,
    /// Actions before a pull request is read for the n-th time.
    later: Mutex<Vec<(usize, Later)>>,
    looks: Mutex<usize>,
    answers: Mutex<Vec<u16>>,
    /// An action right before or right after a request.
    scenes: Mutex<Vec<Scene>>,
    meetings: Mutex<Vec<Arc<Meeting>>>,
    /// The number of requests until an action that may send requests.
    interlude: Mutex<Option<(usize, Interlude)>>,
    /// The delay of each answer.
    latency: Mutex<Duration>,
}

/// Something that happens at the `left`th request of a kind from now on.
struct Scene {
    method: &'static str,
    path: String,
    left: usize,
    when: When,
    then: Option<Later>,
}

/// On which side of a request something happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    Before,
    After,
}

/// Requests that all arrive before one of them is carried out, which none of them sees.
struct Meeting {
    method: &'static str,
    path: String,
    left: Mutex<usize>,
    barrier: std::sync::Barrier,
}

type Interlude = Box<dyn FnOnce() + Send>;
type Later = Box<dyn FnOnce(&mut Store) + Send>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Github,
    Gitea,
    Forgejo,
    Gitlab,
}

impl Kind {
    /// The value of `forge.kind`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::Gitea | Self::Forgejo => "gitea",
            Self::Gitlab => "gitlab",
        }
    }

    /// A text about pull requests in the words of this server: `merge request !1` on GitLab.
    pub fn spelled(self, text: &str) -> String {
        if self != Self::Gitlab {
            return text.to_owned();
        }
        text.replace("pull request", "merge request")
            .replace('#', "!")
    }
}

impl Fake {
    /// A forge with an empty repository `acme/flows`.
    pub fn start(kind: Kind) -> Self {
        let answer = match kind {
            Kind::Github => github::answer,
            Kind::Gitea | Kind::Forgejo => gitea::answer,
            Kind::Gitlab => gitlab::answer,
        };
        let shared = Arc::new(Shared {
            store: Mutex::new(Store::new(kind)),
            faults: Mutex::default(),
            log: Mutex::default(),
            breaches: Mutex::default(),
            schema: schema::Description::of(kind),
            answer,
            later: Mutex::default(),
            looks: Mutex::default(),
            answers: Mutex::default(),
            scenes: Mutex::default(),
            meetings: Mutex::default(),
            interlude: Mutex::default(),
            latency: Mutex::default(),
        });
        let behind = Arc::clone(&shared);
        let server = server::Server::start(move |asked| behind.handle(asked));
        shared.store.lock().unwrap().root = server.url();
        Self { server, shared }
    }

    pub fn store(&self) -> MutexGuard<'_, Store> {
        self.shared.store.lock().unwrap()
    }

    /// Delays each answer.
    pub fn delay(&self, latency: Duration) {
        *self.shared.latency.lock().unwrap() = latency;
    }

    /// The API's base, as it is configured.
    pub fn api(&self) -> String {
        let store = self.store();
        match store.kind {
            Kind::Github => store.root.clone(),
            Kind::Gitlab => format!("{}/api/v4", store.root),
            _ => format!("{}/api/v1", store.root),
        }
    }

    /// Moves the server below a path; everything else is another server.
    pub fn move_below(&self, path: &str) {
        let mut store = self.store();
        path.clone_into(&mut store.path);
        store.root += path;
    }

    /// The next `times` requests of `method` with this end of the path have a fault;
    /// `/graphql#WORD`: those with this word in the query.
    pub fn fault(&self, at: (&'static str, &str), times: usize, fault: Fault) {
        self.fault_after(0, at, times, fault);
    }

    /// The same after `skip` requests of this kind.
    pub fn fault_after(
        &self,
        skip: usize,
        (method, path): (&'static str, &str),
        times: usize,
        fault: Fault,
    ) {
        let (method, path) = self.place(method, path);
        self.shared.faults.lock().unwrap().push(Scripted {
            method,
            path,
            skip,
            times,
            fault,
        });
    }

    /// A request that all forges have, as this one spells it.
    fn place(&self, method: &'static str, path: &str) -> (&'static str, String) {
        if self.store().kind != Kind::Gitlab {
            return (method, path.to_owned());
        }
        let method = if method == "PATCH" { "PUT" } else { method };
        let path = match path.strip_suffix("/comments") {
            Some(issue) => issue.replace("/issues/", "/merge_requests/") + "/notes",
            None => path.replace("/pulls", "/merge_requests"),
        };
        (method, path)
    }

    /// Removes the remaining faults.
    pub fn clear_faults(&self) {
        self.shared.faults.lock().unwrap().clear();
    }

    /// Something happens right before a single pull request is read for the `looks`th time from now
    /// on.
    pub fn when(&self, looks: usize, then: impl FnOnce(&mut Store) + Send + 'static) {
        *self.shared.looks.lock().unwrap() = 0;
        self.shared
            .later
            .lock()
            .unwrap()
            .push((looks, Box::new(then)));
    }

    /// Something happens right before or right after the `nth` request from now on of `method`
    /// whose path ends so.
    pub fn at(
        &self,
        when: When,
        method: &'static str,
        path: &str,
        nth: usize,
        then: impl FnOnce(&mut Store) + Send + 'static,
    ) {
        let (method, path) = self.place(method, path);
        self.shared.scenes.lock().unwrap().push(Scene {
            method,
            path,
            left: nth,
            when,
            then: Some(Box::new(then)),
        });
    }

    /// The next `count` requests of `method` with this end of the path are carried out once all of
    /// them have arrived, each as if the others had not.
    pub fn meet(&self, method: &'static str, path: &str, count: usize) {
        let (method, path) = self.place(method, path);
        self.shared.meetings.lock().unwrap().push(Arc::new(Meeting {
            method,
            path,
            left: Mutex::new(count),
            barrier: std::sync::Barrier::new(count),
        }));
    }

    /// Something happens right before the `nth` request from now on, which may send requests itself.
    pub fn interrupt(&self, nth: usize, then: impl FnOnce() + Send + 'static) {
        *self.shared.interlude.lock().unwrap() = Some((nth, Box::new(then)));
    }

    /// The number of responses with this status.
    pub fn answered(&self, status: u16) -> usize {
        self.shared
            .answers
            .lock()
            .unwrap()
            .iter()
            .filter(|known| **known == status)
            .count()
    }

    /// The previous requests, as `METHOD path?query`.
    pub fn asked(&self) -> Vec<String> {
        self.shared
            .log
            .lock()
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    /// The number of requests that change something.
    pub fn writes(&self) -> Vec<String> {
        let log = self.shared.log.lock().unwrap();
        log.iter()
            .filter(|asked| asked.is_write())
            .map(ToString::to_string)
            .collect()
    }

    pub fn forget(&self) {
        self.shared.log.lock().unwrap().clear();
        self.shared.faults.lock().unwrap().clear();
    }

    /// Checks that every request so far was valid by the description and carried the token where it
    /// belongs.
    pub fn is_content(&self) {
        let breaches = self.shared.breaches.lock().unwrap();
        assert!(breaches.is_empty(), "{breaches:#?}");
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.is_content();
        }
    }
}

impl Shared {
    fn handle(&self, asked: &Asked) -> Option<Reply> {
        let latency = *self.latency.lock().unwrap();
        std::thread::sleep(latency);
        let server = self.store.lock().unwrap().path.clone();
        let Some(asked) = &asked.below(&server) else {
            return Some(not_found());
        };
        let due = {
            let mut interlude = self.interlude.lock().unwrap();
            if let Some((left, _)) = interlude.as_mut() {
                *left -= 1;
            }
            interlude.take_if(|(left, _)| *left == 0)
        };
        if let Some((_, then)) = due {
            then();
        }
        self.log.lock().unwrap().push(asked.clone());
        let address = asked.to_string();
        if TOKENS
            .iter()
            .any(|token| address.contains(token) || asked.body.to_string().contains(token))
        {
            self.breaches
                .lock()
                .unwrap()
                .push(format!("the token is in {address}"));
        }
        if asked.is_git() {
            // Forges refuse the protocol of files, to which git falls back after a malformed list of references.
            return match asked.git_service() {
                Some(service) => self.handle_git(asked, service),
                None => Some(not_found()),
            };
        }
        // The address of a redirect is the server's, and not described.
        let redirected = asked.path.starts_with("/repositories/");
        if let Err(breach) = self.schema.check(asked)
            && !redirected
        {
            self.breaches
                .lock()
                .unwrap()
                .push(format!("{asked}: {breach}"));
        }
        if !self.is_known(asked) {
            return Some(Reply::json(401, json!({"message": "Bad credentials"})));
        }
        self.happen(asked);
        self.play(asked, When::Before);
        let answer = self.answer(asked);
        self.play(asked, When::After);
        match &self.store.lock().unwrap().date {
            Some(date) => answer.map(|reply| reply.with("date", date)),
            None => answer,
        }
    }

    /// Whether a request has a known token in the header of this kind of forge, and in no other one.
    fn is_known(&self, asked: &Asked) -> bool {
        let mut store = self.store.lock().unwrap();
        let headers =
            ["authorization", "private-token", "job-token"].map(|name| asked.header(name));
        let token = match (store.kind, headers) {
            (Kind::Github, [Some(text), None, None]) => text.strip_prefix("Bearer "),
            (Kind::Gitea | Kind::Forgejo, [Some(text), None, None]) => text.strip_prefix("token "),
            (Kind::Gitlab, [None, Some(token), None]) if token != JOB_TOKEN => Some(token),
            (Kind::Gitlab, [None, None, Some(JOB_TOKEN)]) => Some(JOB_TOKEN),
            _ => None,
        };
        store.gitlab.job = token == Some(JOB_TOKEN);
        token.is_some_and(|token| TOKENS.contains(&token))
    }

    /// A request of git, which logs in with a token as the password.
    fn handle_git(&self, asked: &Asked, service: &str) -> Option<Reply> {
        let known = TOKENS.map(|token| {
            let user = if token == JOB_TOKEN {
                "gitlab-ci-token"
            } else {
                "x-access-token"
            };
            let login = STANDARD.encode(format!("{user}:{token}"));
            format!("Basic {login}")
        });
        let given = asked
            .headers
            .iter()
            .filter(|(name, _)| name == "authorization");
        let given: Vec<_> = given.map(|(_, value)| value.as_str()).collect();
        if !known.iter().any(|known| given == [known.as_str()]) {
            let status = if given.len() > 1 { 400 } else { 401 };
            let reply = error(status, "Bad credentials");
            return Some(reply.with("www-authenticate", "Basic realm=\"forge\""));
        }
        self.play(asked, When::Before);
        let carry_out = || self.store.lock().unwrap().serve_git(asked, service);
        let reply = match self.fault_for(asked) {
            None => Some(carry_out()),
            Some(Fault::Instead(reply)) => Some(reply),
            Some(Fault::After(reply)) => {
                carry_out();
                Some(reply)
            }
            Some(Fault::Silence) => {
                carry_out();
                None
            }
            Some(Fault::Hang | Fault::Cut) => {
                carry_out();
                loop {
                    std::thread::park();
                }
            }
        };
        self.play(asked, When::After);
        reply
    }

    fn answer(&self, asked: &Asked) -> Option<Reply> {
        match self.fault_for(asked) {
            None => Some(self.carry_out(asked)),
            Some(Fault::Instead(reply)) => Some(reply),
            Some(Fault::After(reply)) => {
                self.carry_out(asked);
                Some(reply)
            }
            Some(Fault::Silence) => {
                self.carry_out(asked);
                None
            }
            Some(fault @ (Fault::Hang | Fault::Cut)) => {
                self.store.lock().unwrap().gitea.cut = matches!(fault, Fault::Cut);
                self.carry_out(asked);
                self.store.lock().unwrap().gitea.cut = false;
                loop {
                    std::thread::park();
                }
            }
        }
    }

    fn fault_for(&self, asked: &Asked) -> Option<Fault> {
        let mut faults = self.faults.lock().unwrap();
        let fits =
            |s: &&mut Scripted| s.times > 0 && s.method == asked.method && asked.is_at(&s.path);
        let scripted = faults.iter_mut().find(fits)?;
        if scripted.skip > 0 {
            scripted.skip -= 1;
            return None;
        }
        scripted.times -= 1;
        Some(scripted.fault.clone())
    }

    fn play(&self, asked: &Asked, when: When) {
        let mut scenes = self.scenes.lock().unwrap();
        for scene in scenes.iter_mut().filter(|scene| {
            scene.left > 0
                && scene.when == when
                && scene.method == asked.method
                && asked.is_at(&scene.path)
        }) {
            scene.left -= 1;
            if let Some(then) = scene.then.take_if(|_| scene.left == 0) {
                then(&mut self.store.lock().unwrap());
            }
        }
    }

    /// Whether this request is one of several that don't see each other; comes back once all of
    /// them are there.
    fn meets(&self, asked: &Asked) -> bool {
        let fits = |meeting: &&Arc<Meeting>| {
            meeting.method == asked.method
                && asked.path.ends_with(&meeting.path)
                && *meeting.left.lock().unwrap() > 0
        };
        let meetings = self.meetings.lock().unwrap();
        let Some(meeting) = meetings.iter().find(fits).cloned() else {
            return false;
        };
        *meeting.left.lock().unwrap() -= 1;
        drop(meetings);
        meeting.barrier.wait();
        true
    }

    fn carry_out(&self, asked: &Asked) -> Reply {
        let racing = self.meets(asked);
        let mut store = self.store.lock().unwrap();
        store.gitea.racing = racing;
        let reply = (self.answer)(&mut store, asked);
        drop(store);
        self.answers.lock().unwrap().push(reply.status);
        reply
    }

    fn happen(&self, asked: &Asked) {
        let single = asked
            .path
            .rsplit_once("/pulls/")
            .or_else(|| asked.path.rsplit_once("/merge_requests/"))
            .is_some_and(|(_, number)| number.parse::<u64>().is_ok());
        if asked.method != "GET" || !single {
            return;
        }
        let mut looks = self.looks.lock().unwrap();
        *looks += 1;
        let mut later = self.later.lock().unwrap();
        while let Some(at) = later.iter().position(|(when, _)| *when == *looks) {
            later.remove(at).1(&mut self.store.lock().unwrap());
        }
    }
}

/// A response of a failing server.
pub fn broken() -> Reply {
    Reply::json(502, json!({"message": "Server Error"}))
}

pub fn error(status: u16, message: &str) -> Reply {
    Reply::json(status, json!({"message": message}))
}

pub fn not_found() -> Reply {
    error(404, "Not Found")
}

/// One page of a listing, with the headers that link to the others.
pub fn page(asked: &Asked, all: Vec<Value>, (limit, most, counted): (&str, usize, bool)) -> Reply {
    let number = asked
        .query("page")
        .map_or(1, |n| n.parse::<usize>().unwrap())
        .max(1);
    let size = asked
        .query(limit)
        .map_or(30, |n| n.parse::<usize>().unwrap())
        .min(most);
    let total = all.len();
    let rows: Vec<_> = all
        .into_iter()
        .skip((number - 1) * size)
        .take(size)
        .collect();
    let mut reply = Reply::json(200, rows.into());
    if number * size < total {
        let link = format!(
            "<http://elsewhere.invalid{}?page={}>; rel=\"next\", <x>; rel=\"last\"",
            asked.path,
            number + 1
        );
        reply = reply.with("link", &link);
    }
    if counted {
        reply.with("x-total-count", &total.to_string())
    } else {
        reply
    }
}
