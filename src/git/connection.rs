//! Runs git with a connection to another repository, with a token or the credentials of git:
//! fetches into a scratch repository, pushes, and fetches missing objects of a partial clone.
//! `remotes` has the queries with a parsed result.
//!
//! No local hook runs, git never prompts, and only the transports of [`Transports`] are used. git
//! receives secrets in its environment. Callers interpret the output.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    fmt,
    io::Read,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    Authorities, FORGE, Git, GitError, MAX_OUTPUT,
    command::{self, Mode, Transports, Watchdog},
    error::NO_REFERENCE,
    location::Location,
};
use crate::base::{
    http::{Policy, SharedDeadline, address::is_loopback},
    untrusted::{Secrets, short},
};

/// The total time limit of git, which may fetch a complete history.
const TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// The maximum time without progress unless [`Connections`] have another one.
const STALL_LIMIT: Duration = Duration::from_secs(30);

/// Settings that override the configuration.
const SETTINGS: [&str; 7] = [
    "protocol.version=2",
    "gc.auto=0",
    // References are also written without git.
    "init.defaultRefFormat=files",
    // The format without a clone, whatever the default of the user and of this git is.
    "init.defaultObjectFormat=sha1",
    "maintenance.auto=false",
    "fetch.recurseSubmodules=false",
    // The identity must be configured, not derived from the name of the machine.
    "user.useConfigOnly=true",
];

/// The environment variable of the header for git.
const HEADER: &str = "REPIN_GIT_HEADER";

/// The settings of a run for its connections.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connections {
    /// The maximum time without progress; `None`: the usual one.
    pub stall_limit: Option<Duration>,
    /// The end of the time for all connections.
    pub deadline: Option<SharedDeadline>,
    pub authorities: Option<Arc<Authorities>>,
    pub defaults: DefaultBranches,
}

/// The default branches that remotes reported in this run, by the top of the clone and the name of the remote.
pub(crate) type DefaultBranches = Arc<Mutex<HashMap<(PathBuf, String), Option<String>>>>;

impl Connections {
    /// The time limit of a command that begins now. Like a request, it is begun after the deadline, too, and may take
    /// as long as a connection without progress.
    fn time_limit(&self) -> Duration {
        let shortest = self.stall_limit.unwrap_or(STALL_LIMIT);
        self.rest()
            .map_or(TIMEOUT, |rest| rest.max(shortest).min(TIMEOUT))
    }

    fn rest(&self) -> Option<Duration> {
        self.deadline.as_ref()?.deadline().rest()
    }

    /// Waits before the next attempt of a command; `false` if this number of failed attempts or the deadline allows none.
    pub(crate) async fn pause_before_retry(&self, failed: u32, retries: &Policy) -> bool {
        let pause = retries.usual_pause(failed);
        let repeats = failed < retries.attempts && self.may_repeat_after(pause);
        if repeats {
            tokio::time::sleep(pause).await;
        }
        repeats
    }

    fn may_repeat_after(&self, pause: Duration) -> bool {
        let deadline = self.deadline.as_ref().map(SharedDeadline::deadline);
        deadline.is_none_or(|deadline| !deadline.is_over_after(pause))
    }
}

/// A token for one server.
#[derive(Clone)]
pub(crate) struct Login {
    /// `http[s]://HOST[:PORT]/`.
    server: String,
    header: String,
    /// The secrets in the header, which a server may echo.
    secrets: Secrets,
}

/// Another repository: a URL, or a path on this machine.
#[derive(Clone)]
pub(crate) struct Remote {
    /// The URL as passed to git; without a password.
    pub url: String,
    /// `None`: the credentials that git is configured with.
    pub login: Option<Login>,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_users(&self.url))
    }
}

impl Remote {
    /// The same repository with a token.
    pub(crate) fn with_login(&self, login: Option<Login>) -> Option<Self> {
        let (url, login) = (self.url.clone(), Some(login?));
        Some(Self { url, login })
    }
}

/// A repository that may be fetched in two ways: with the credentials of git, or with the token for its forge.
#[derive(Debug, Clone)]
pub(crate) struct Routes {
    pub(crate) first: Remote,
    second: Option<Remote>,
}

impl Routes {
    /// The token first, so that the user's credential helpers are not run if it suffices.
    pub(crate) fn new(own: Remote, on_forge: Option<Remote>) -> Self {
        match on_forge {
            Some(on_forge) if on_forge.login.is_some() => Self {
                first: on_forge,
                second: Some(own),
            },
            Some(on_forge) if on_forge.url != own.url => Self {
                first: own,
                second: Some(on_forge),
            },
            Some(_) | None => Self {
                first: own,
                second: None,
            },
        }
    }

    /// The second way, if it may succeed after the first one failed with this error. The same URL is fetched again only
    /// with other credentials, and a fetch that takes too long is not repeated.
    pub(crate) fn after(self, error: &GitError) -> Option<Remote> {
        let second = self.second?;
        let is_useful = match error {
            GitError::Late { .. } => false,
            GitError::Denied { .. } => true,
            GitError::Failed { message, .. } if message.contains("' not found") => true,
            _ => second.url != self.first.url,
        };
        is_useful.then_some(second)
    }
}

/// The result of a command.
pub(crate) struct Output {
    /// The exit code; `None` after a signal.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    /// The message of git and the remote.
    pub(crate) stderr: String,
}

impl Output {
    /// Whether a fetch from `remote` found all references and commits.
    pub(super) fn found_references(&self, remote: &Remote) -> Result<bool, GitError> {
        // git skips the references of a shallow server, with a warning.
        let is_shallow = [
            "because shallow roots",
            "repository is shallow",
            "shallow repository",
        ];
        if is_shallow.iter().any(|text| self.stderr.contains(text)) {
            return Err(GitError::Remote {
                remote: without_users(&remote.url),
                command: "fetch",
                reason: "the repository is shallow".to_owned(),
            });
        }
        if self.code == Some(0) {
            return Ok(true);
        }
        // The last one: a server without version 2 of the protocol sends only commits that a branch is at.
        let not_found = [NO_REFERENCE, "not our ref", "unadvertised object"];
        if not_found.iter().any(|text| self.stderr.contains(text)) {
            return Ok(false);
        }
        Err(GitError::refused("fetch", &self.stderr))
    }
}

impl Login {
    /// `token` for the server of `url`; `None` if the URL is not HTTP. The error states the
    /// obstacle to sending the token there.
    ///
    /// GitHub, Gitea and Forgejo ignore the name of the user if the password is a token.
    pub(crate) fn new(url: &str, user: &str, token: &str) -> Result<Option<Self>, &'static str> {
        let http = url
            .split_once("://")
            .filter(|(scheme, _)| matches!(*scheme, "http" | "https"));
        let Some((scheme, rest)) = http else {
            return Ok(None);
        };
        let authority = rest.split('/').next().unwrap_or_default();
        let host = authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host);
        if scheme == "http" && !is_loopback(host) {
            return Err("a token is not sent over plain HTTP");
        }
        let basic = STANDARD.encode(format!("{user}:{token}"));
        let header = format!("Authorization: Basic {basic}");
        let secrets = Secrets::default();
        secrets.hide_basic(user, token);
        Ok(Some(Self {
            server: format!("{scheme}://{host}/"),
            header,
            secrets,
        }))
    }

    /// Makes git use the login for the repository with this URL, and nothing else.
    fn add_to(&self, git: &mut Command, url: &str) {
        let Self { server, header, .. } = self;
        command::remove_job_secrets(git);
        // The header is sent only to this repository, and not after a redirect. The empty value removes the
        // headers of the user's configuration: `actions/checkout` leaves its own token there, and servers
        // refuse two (https://github.com/actions/checkout/issues/162).
        let own = without_user(url);
        let url = if own.starts_with(&**server) {
            own
        } else {
            server.clone()
        };
        let key = format!("http.{url}.extraHeader");
        git.arg("-c").arg(format!("{key}="));
        git.arg(format!("--config-env={key}={HEADER}"))
            .env(HEADER, header);
        // The settings of the user for this URL have precedence over those for all.
        git.arg("-c")
            .arg(format!("http.{url}.followRedirects=false"));
        git.args(["-c", "credential.helper="]);
        // No program asks for a password.
        git.env("GIT_ASKPASS", "");
        // A signal reaches the helpers of git.
        git.process_group(0);
    }
}

impl Remote {
    /// A remote of the clone, with the credentials that git is configured with.
    pub(crate) fn for_clone(name: &str) -> Self {
        Self {
            url: name.to_owned(),
            login: None,
        }
    }
}

impl Git {
    /// An empty repository in `directory`, without hooks.
    pub(crate) fn init(directory: &Path) -> Result<Self, GitError> {
        let bare = Self {
            program: OsString::from(command::PROGRAM),
            place: Location::outside(directory),
            shallow: std::collections::BTreeSet::new(),
            identity: None,
            fetches_lazily: true,
            idle: super::IdleProcess::default(),
            settings: super::Settings::default(),
            kept: None,
            source: None,
            connections: Connections::default(),
        };
        bare.run_checked("init", &["-q", "--template="], None)?;
        Self::open(directory)
    }

    /// The repository with these settings for connections.
    #[must_use]
    pub(crate) fn connecting_with(self, connections: Connections) -> Self {
        Self {
            connections,
            ..self
        }
    }

    /// The repository with another identity for commits.
    #[must_use]
    pub(crate) fn committing_as(self, name: &'static str, email: &'static str) -> Self {
        Self {
            identity: Some((name, email)),
            ..self
        }
    }

    /// The transports for a connection to a remote (its name, URL or path).
    pub(super) fn transports(
        &self,
        command: &'static str,
        remote: &str,
    ) -> Result<Transports, GitError> {
        let url = if self.source.is_some() {
            // A mirror has no other URLs.
            remote.to_owned()
        } else {
            // The URL after `url.*.insteadOf`; this command does not connect.
            let args = ["--get-url", "--end-of-options", remote];
            String::from_utf8_lossy(&self.output("ls-remote", &args)?).into_owned()
        };
        let Some(rest) = url.trim_end().strip_prefix("http://") else {
            return Ok(Transports::Encrypted);
        };
        let authority = rest.split('/').next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        if is_loopback(host) {
            return Ok(Transports::Loopback);
        }
        Err(GitError::Remote {
            remote: without_users(remote),
            command,
            reason: "plain HTTP is used for loopback addresses only: use HTTPS or SSH".to_owned(),
        })
    }

    /// Runs git, with a connection to `remote` if one is given. The caller interprets the exit code.
    pub(crate) fn run(
        &self,
        command: &'static str,
        args: &[impl AsRef<OsStr>],
        remote: Option<&Remote>,
    ) -> Result<Output, GitError> {
        self.run_with(command, args, remote, &[], &[])
    }

    /// The same with more variables and settings.
    pub(super) fn run_with(
        &self,
        command: &'static str,
        args: &[impl AsRef<OsStr>],
        remote: Option<&Remote>,
        variables: &[(&str, &str)],
        settings: &[&str],
    ) -> Result<Output, GitError> {
        let mode = match remote {
            Some(remote) => Mode::Network(self.transports(command, &remote.url)?),
            None => Mode::Read,
        };
        let login = remote.and_then(|remote| remote.login.as_ref());
        let is_local = matches!(mode, Mode::Network(Transports::Loopback));
        let mut git = self.prepare(mode)?;
        for setting in SETTINGS.iter().chain(settings) {
            git.args(["-c", setting]);
        }
        if remote.is_some() && self.source.is_some() {
            // Not in the file: git before 2.44 would fetch whatever it reads, and fail.
            for setting in ["promisor=true", "partialclonefilter=blob:none"] {
                git.arg("-c").arg(format!("remote.{FORGE}.{setting}"));
            }
        }
        if let (Some(remote), Some(limit)) = (remote, self.connections.stall_limit)
            && remote.url.starts_with("http")
        {
            let (url, seconds) = (without_user(&remote.url), limit.as_secs().max(1));
            git.arg("-c").arg(format!("http.{url}.lowSpeedLimit=1"));
            git.arg("-c")
                .arg(format!("http.{url}.lowSpeedTime={seconds}"));
        }
        if let Some(remote) = remote.filter(|_| is_local) {
            // Like requests: a proxy would read the token, and has another loopback.
            let url = without_user(&remote.url);
            git.arg("-c").arg(format!("http.{url}.proxy="));
        }
        if let (Some(remote), Some(login)) = (remote, login) {
            login.add_to(&mut git, &remote.url);
        }
        if let Some((name, email)) = &self.identity {
            git.arg("-c")
                .arg(format!("user.name={name}"))
                .arg("-c")
                .arg(format!("user.email={email}"));
        }
        git.arg(command).args(args).envs(variables.iter().copied());
        // A merge may fetch missing contents of a partial clone. A scratch repository is partial only because
        // its objects are filtered; a shallow server would be fetched from without end.
        if remote.is_some() && self.fetches_lazily {
            git.env_remove("GIT_NO_LAZY_FETCH");
        }
        let mut running = command::spawn(git, &self.place, command)?;
        let limit = match remote {
            Some(_) => self.connections.time_limit(),
            None => TIMEOUT,
        };
        let watch = Watchdog::new(&running, limit);
        let mut stdout = Vec::new();
        let read = running.stdout()?.take(MAX_OUTPUT).read_to_end(&mut stdout);
        if watch.stop() {
            let seconds = limit.as_secs();
            return Err(GitError::Late { command, seconds });
        }
        read.map_err(|error| running.io(error))?;
        let (code, mut stderr) = running.wait()?;
        if let Some(login) = login {
            stderr = login.secrets.redact(&stderr);
        }
        Ok(Output {
            code,
            stdout,
            stderr,
        })
    }

    /// Runs git, which must succeed; returns the output.
    pub(crate) fn run_checked(
        &self,
        command: &'static str,
        args: &[impl AsRef<OsStr>],
        remote: Option<&Remote>,
    ) -> Result<Vec<u8>, GitError> {
        self.run(command, args, remote)?.required(command)
    }
}

impl Output {
    /// The standard output of a command that must succeed.
    pub(super) fn required(self, command: &'static str) -> Result<Vec<u8>, GitError> {
        if self.code == Some(0) {
            Ok(self.stdout)
        } else {
            Err(GitError::refused(command, &self.stderr))
        }
    }
}

impl GitError {
    /// The error of a failed connection, from the message of git.
    pub(crate) fn refused(command: &'static str, stderr: &str) -> Self {
        let message = server_message(stderr);
        if is_denied(stderr) {
            Self::Denied { command, message }
        } else {
            Self::Failed { command, message }
        }
    }
}

/// Whether the credentials were refused (the messages of git, ssh, GitHub and Gitea).
pub(crate) fn is_denied(stderr: &str) -> bool {
    const WORDS: [&str; 12] = [
        "authentication failed",
        "could not read username",
        "could not read password",
        "returned error: 401",
        "returned error: 403",
        "permission denied",
        "permission to ",
        "access denied",
        "not authorized",
        "unauthorized",
        "repository not found",
        "write access to repository not granted",
    ];
    let text = stderr.to_ascii_lowercase();
    WORDS.iter().any(|word| text.contains(word))
}

/// The messages in standard error on one line, without the credentials in URLs.
pub(crate) fn server_message(stderr: &str) -> String {
    const PREFIXES: [&str; 3] = ["fatal: ", "error: ", "remote: "];
    let lines: Vec<_> = stderr
        .lines()
        .map(str::trim)
        .filter(|line| PREFIXES.iter().any(|prefix| line.starts_with(prefix)))
        .take(12)
        .collect();
    let text = if lines.is_empty() {
        stderr.lines().next().unwrap_or_default().to_owned()
    } else {
        lines.join("; ")
    };
    let message = short(&without_users(&text), 600);
    if message.is_empty() {
        return "it was stopped without a message".to_owned();
    }
    message
}

/// A URL without its user.
fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let end = rest.find('/').unwrap_or(rest.len());
    let at = rest[..end].rfind('@').map_or(0, |at| at + 1);
    format!("{scheme}://{}", &rest[at..])
}

/// A text without the credentials in its URLs.
pub(crate) fn without_users(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        out.push_str(before);
        out.push_str("://");
        let end = after
            .find(|c: char| c == '/' || c.is_whitespace())
            .unwrap_or(after.len());
        rest = match after[..end].rfind('@') {
            Some(at) => {
                out.push_str("***");
                &after[at..]
            }
            None => after,
        };
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;
    use crate::base::http::FORGES;

    #[tokio::test(start_paused = true)]
    async fn retries_end_with_the_attempts_or_the_deadline() {
        let paused = async |connections: &Connections, failed| {
            let start = tokio::time::Instant::now();
            let repeats = connections.pause_before_retry(failed, &FORGES).await;
            (repeats, !start.elapsed().is_zero())
        };
        let unlimited = Connections::default();
        let last = FORGES.attempts - 1;
        assert_eq!(paused(&unlimited, last).await, (true, true));
        assert_eq!(paused(&unlimited, last + 1).await, (false, false));
        for (length, repeats) in [(Duration::ZERO, false), (Duration::from_mins(15), true)] {
            let connections = Connections {
                deadline: Some(SharedDeadline::new(length, "test")),
                ..Connections::default()
            };
            assert_eq!(paused(&connections, 1).await, (repeats, repeats));
        }
    }

    #[test]
    fn token_is_for_one_server_over_http() {
        let login = Login::new(
            "https://ada@git.example:8443/acme/x.git",
            "x-access-token",
            "s3cret",
        )
        .unwrap()
        .unwrap();
        assert_eq!(login.server, "https://git.example:8443/");
        assert_eq!(
            login.header,
            "Authorization: Basic eC1hY2Nlc3MtdG9rZW46czNjcmV0"
        );
        for other in [
            "git@git.example:a/b",
            "ssh://git.example/a",
            "/srv/git",
            "../x",
            "file:///srv",
        ] {
            assert!(
                Login::new(other, "x-access-token", "s3cret")
                    .unwrap()
                    .is_none(),
                "{other}"
            );
        }
        for plain in [
            "http://git.example/x",
            "http://127.0.0.1.example/x",
            "http://localhost.example:80/x",
        ] {
            assert!(
                Login::new(plain, "x-access-token", "s3cret").is_err(),
                "{plain}"
            );
        }
        for here in [
            "http://127.0.0.1:3000/x",
            "http://localhost/x",
            "http://[::1]:3000/x",
        ] {
            assert!(
                Login::new(here, "x-access-token", "s3cret")
                    .unwrap()
                    .is_some(),
                "{here}"
            );
        }
    }

    #[test]
    fn token_precedes_the_credentials_of_git() {
        let remote = |url: &str, is_logged_in: bool| Remote {
            url: url.to_owned(),
            login: is_logged_in
                .then(|| Login::new("https://h/", "x", "t").unwrap())
                .flatten(),
        };
        let (https, ssh) = ("https://h/a/b", "git@h:a/b");
        let ways = |own: &str, on_forge: Option<(&str, bool)>, fetched: Result<(), GitError>| {
            let on_forge = on_forge.map(|(url, is_logged_in)| remote(url, is_logged_in));
            let routes = Routes::new(remote(own, false), on_forge);
            let text = |remote: Remote| (remote.url, remote.login.is_some());
            let first = text(routes.first.clone());
            let second = fetched.err().and_then(|error| routes.after(&error));
            (first, second.map(text))
        };
        let way = |url: &str, is_logged_in| (url.to_owned(), is_logged_in);
        let failed = |stderr: &str| Err(GitError::refused("fetch", stderr));
        let (denied, absent, other) = (
            || failed("fatal: Authentication failed for 'https://h/'"),
            || failed("fatal: repository 'https://h/a/b/' not found"),
            || failed("fatal: early EOF"),
        );
        let late = || {
            Err(GitError::Late {
                command: "fetch",
                seconds: 900,
            })
        };
        let token = Some((https, true));
        for (own, fetched, second) in [
            (https, denied(), Some(way(https, false))),
            (https, absent(), Some(way(https, false))),
            (https, other(), None),
            (https, Ok(()), None),
            (ssh, other(), Some(way(ssh, false))),
            (ssh, late(), None),
            (ssh, Ok(()), None),
        ] {
            let message = format!("{own} {fetched:?}");
            assert_eq!(
                ways(own, token, fetched),
                (way(https, true), second),
                "{message}"
            );
        }
        let anonymous = Some((https, false));
        assert_eq!(
            ways(ssh, anonymous, denied()),
            (way(ssh, false), Some(way(https, false)))
        );
        assert_eq!(ways(https, anonymous, denied()), (way(https, false), None));
        assert_eq!(ways(ssh, None, denied()), (way(ssh, false), None));
    }

    /// A program in place of git, which knows the URL of each remote.
    fn replaced(directory: &Path, script: &str) -> Git {
        let program = directory.join("git");
        let script = format!(
            "#!/bin/sh\n\
             for last; do :; done\n\
             case \" $* \" in *\" --get-url \"*) echo \"$last\"; exit;; esac\n\
             {script}"
        );
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let git = Git::init(directory).unwrap();
        Git {
            program: program.into(),
            ..git
        }
    }

    #[test]
    fn connection_has_only_its_settings() {
        let directory = tempfile::tempdir().unwrap();
        let (https, here) = ("https://git.example/a/b", "http://127.0.0.1:1/a/b");
        let (promisor, lazy) = ("remote.repin-forge.promisor=true", "GIT_NO_LAZY_FETCH=1");
        let limit = |url: &str| format!("http.{url}.lowSpeedTime=7");
        let proxy = |url: &str| format!("http.{url}.proxy=");
        let header = |url: &str| format!("http.{url}.extraHeader=");
        let printed = |url: Option<&str>, is_mirror: bool, fetches_lazily: bool| {
            let login = url.and_then(|url| Login::new(url, "x", "t").unwrap());
            let remote = url.map(|url| Remote {
                url: url.replace("://", "://ada@"),
                login,
            });
            let connections = Connections {
                stall_limit: Some(Duration::from_secs(7)),
                ..Connections::default()
            };
            let source = Remote {
                url: https.to_owned(),
                login: None,
            };
            let git = Git {
                source: is_mirror.then(|| Arc::new(source)),
                fetches_lazily,
                ..replaced(directory.path(), "printf '%s\\n' \"$@\"\nenv\n")
                    .connecting_with(connections)
            };
            let output = git.run("fetch", &["x"], remote.as_ref()).unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        for (url, is_mirror, fetches_lazily, has, lacks) in [
            (
                Some(https),
                false,
                true,
                vec![limit(https), header(https)],
                vec![proxy(https), promisor.to_owned(), lazy.to_owned()],
            ),
            (
                Some(https),
                true,
                false,
                vec![limit(https), promisor.to_owned(), lazy.to_owned()],
                vec![proxy(https)],
            ),
            (
                Some(here),
                true,
                false,
                vec![limit(here), proxy(here), header(here)],
                Vec::new(),
            ),
            (
                Some("/srv/a"),
                false,
                false,
                vec![lazy.to_owned()],
                vec![limit("/srv/a"), proxy("/srv/a"), header("/srv/a")],
            ),
            (
                None,
                true,
                true,
                vec![lazy.to_owned()],
                vec![promisor.to_owned()],
            ),
        ] {
            let lines = printed(url, is_mirror, fetches_lazily);
            for setting in has {
                assert!(lines.contains(&setting), "{setting} {lines:#?}");
            }
            for setting in lacks {
                assert!(!lines.contains(&setting), "{setting} {lines:#?}");
            }
        }
    }

    #[test]
    fn git_without_an_end_is_stopped() {
        let directory = tempfile::tempdir().unwrap();
        let git = replaced(directory.path(), "exec sleep 600\n");
        let connections = Connections {
            stall_limit: Some(Duration::from_secs(1)),
            deadline: Some(SharedDeadline::new(Duration::ZERO, "--deadline")),
            ..Connections::default()
        };
        let remote = Remote {
            url: "/srv/a".to_owned(),
            login: None,
        };
        let git = git.connecting_with(connections);
        let result = git.run("fetch", &["x"], Some(&remote));
        assert!(matches!(result, Err(GitError::Late { seconds: 1, .. })));
    }

    #[test]
    fn login_of_another_server_is_sent_to_its_own() {
        let mut git = Command::new("git");
        let login = Login::new("https://h/", "x", "t").unwrap().unwrap();
        login.add_to(&mut git, "https://h.example/a");
        let args: Vec<_> = git.get_args().map(|arg| arg.to_string_lossy()).collect();
        assert!(
            args.contains(&"http.https://h/.extraHeader=".into()),
            "{args:?}"
        );
        let remote = Remote {
            url: "https://h/a".to_owned(),
            login: None,
        };
        assert!(remote.with_login(None).is_none());
        let named = remote.with_login(Some(login)).unwrap();
        assert!(
            named
                .login
                .is_some_and(|login| login.server == "https://h/")
        );
    }

    #[test]
    fn deadline_limits_the_time_of_git() {
        let seconds = Duration::from_secs;
        let connections = |rest: u64, stall_limit| Connections {
            stall_limit,
            deadline: Some(SharedDeadline::new(seconds(rest), "--deadline")),
            ..Connections::default()
        };
        let is_about = |limit: Duration, expected| {
            limit <= seconds(expected) && limit + seconds(60) > seconds(expected)
        };
        assert!(is_about(connections(600, None).time_limit(), 600));
        assert!(is_about(connections(86_400, None).time_limit(), 900));
        assert_eq!(Connections::default().time_limit(), seconds(900));
        // A command that begins after the deadline.
        assert_eq!(connections(0, None).time_limit(), seconds(30));
        assert_eq!(connections(0, Some(seconds(2))).time_limit(), seconds(2));
        assert!(connections(600, None).may_repeat_after(seconds(1)));
        assert!(!connections(600, None).may_repeat_after(seconds(601)));
        assert!(!connections(0, None).may_repeat_after(seconds(0)));
        assert!(Connections::default().may_repeat_after(seconds(86_400)));
    }

    #[test]
    fn messages_contain_no_password() {
        let message = "hint: x\nremote: Permission to a/b denied\nfatal: unable to access 'https://u:p@h/x' (https://v@h)\n";
        assert_eq!(
            server_message(message),
            "remote: Permission to a/b denied; fatal: unable to access 'https://***@h/x' (https://***@h)"
        );
        assert_eq!(server_message("usage: git x\nmore"), "usage: git x");
        // The lines of a banner may be empty.
        assert_eq!(server_message("remote: \nfatal: x\n"), "fatal: x");
        assert_eq!(without_users("a@b https://h/x@y"), "a@b https://h/x@y");
    }

    #[test]
    fn denials_are_recognized_by_their_messages() {
        for denied in [
            "fatal: could not read Username for 'http://h': terminal prompts disabled",
            "fatal: unable to access 'http://h/': The requested URL returned error: 403",
            "fatal: Authentication failed for 'https://h/'",
            "git@h: Permission denied (publickey).",
            "remote: Repository not found.",
        ] {
            assert!(is_denied(denied), "{denied}");
        }
        for other in [
            "fatal: '/x' does not appear to be a git repository",
            "fatal: couldn't find remote ref x",
            "",
        ] {
            assert!(!is_denied(other), "{other}");
        }
    }
}
