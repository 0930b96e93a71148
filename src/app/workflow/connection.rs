//! The connection to the forge of a run, and the token for its requests.

use std::{collections::hash_map::Entry, ffi::OsStr, fs, path::PathBuf};

use reqwest::Url;

use super::{Environment, Services, base, environment::gitlab_api};
use crate::{
    app::pull_request::{Content, ContentPlace, ForgeRepository},
    base::{
        error::{Class, Code, Error, Errors, usage},
        http::{RequestPacer, address::host_of},
        input_file,
        untrusted::FORGE_TOKENS,
    },
    config::{Config, Forge as Configured},
    forge::{
        Audience, Forge, Kind, Settings, Target, Token, Words,
        fleet::{FleetReader, RepositoryName},
    },
    git::{Git, Remote},
};

/// The maximum size of a file that contains a token, in bytes.
const MAX_TOKEN: u64 = 64 * 1024;

/// Access that needs a token.
pub(crate) enum Access<T> {
    Granted(T),
    /// The token is missing. The reason lists the variables, and those that are set for another server.
    NoToken(String),
}

/// The effect of a missing token or secret on a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MissingCredential {
    Fail,
    /// The run is skipped, and succeeds.
    Skip,
}

impl<T> Access<T> {
    fn try_map<U>(self, make: impl FnOnce(T) -> Result<U, Errors>) -> Result<Access<U>, Errors> {
        Ok(match self {
            Self::Granted(value) => Access::Granted(make(value)?),
            Self::NoToken(reason) => Access::NoToken(reason),
        })
    }

    /// The access, or an error if the token is missing.
    pub(crate) fn granted(self) -> Result<T, Errors> {
        match self {
            Self::Granted(value) => Ok(value),
            Self::NoToken(reason) => Err(no_token_error(&reason)),
        }
    }
}

pub(crate) struct Credential {
    pub token: Token,
    /// The variable that contains the token or the path of its file.
    pub origin: String,
    /// Whether no other program reads the variable.
    pub is_for_repin: bool,
    /// The variables that are set for another server, with the reasons.
    pub ignored: Vec<String>,
}

/// The directory for the content of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MirrorPlace {
    /// In the clone's directory of git, for all runs. A temporary directory for this run without a clone, or if that
    /// directory cannot be written.
    Shared,
    /// A temporary directory for this client.
    Temporary,
}

/// Selects the configured forge. Sends no request.
pub(crate) fn connect(
    config: &Config,
    git: Option<&Git>,
    services: &Services,
) -> Result<Access<Forge>, Errors> {
    let access = credential(config, git, services)?;
    let configured = config.forge_or_default();
    access.try_map(|(target, held)| open(&target, held.token, &configured, services))
}

/// Selects the configured forge, with the content of its repository. Sends no request.
pub(crate) fn connect_repository(
    config: &Config,
    git: Option<&Git>,
    services: &Services,
) -> Result<Access<ForgeRepository>, Errors> {
    let access = credential(config, git, services)?;
    let settings = config.forge_or_default();
    access.try_map(|(target, held)| {
        let (token, place) = (held.token, MirrorPlace::Shared);
        open_repository(&target, token, &settings, git, place, services)
    })
}

/// The repository in which `branch sync` merges; `None`: the clone, with the credentials of git. Sends no request.
///
/// A token that was not given to repin may have fewer rights than those credentials, and git before 2.41 respects the
/// attributes of files only in a work tree.
pub(crate) fn sync_repository(
    config: &Config,
    git: Option<&Git>,
    services: &Services,
) -> Result<Option<ForgeRepository>, Errors> {
    let known = config.forge.as_ref().map(|forge| target(forge, git));
    let Some(Ok(known)) = known else {
        return Ok(None);
    };
    let Access::Granted(held) = token(&known.api, git, &services.environment)? else {
        return Ok(None);
    };
    if let Some(git) = git.filter(|git| !git.is_shallow())
        && !(held.is_for_repin && git.reads_attributes_of_commits().map_err(Error::from)?)
    {
        return Ok(None);
    }
    base::check_known_bases(config, git, services)?;
    connect_repository(config, git, services)?
        .granted()
        .map(Some)
}

/// Creates a client of a repository, which has the same content as the clone `git` or is unrelated to it. Sends no
/// request.
pub(crate) fn open_repository(
    target: &Target,
    token: Token,
    configured: &Configured,
    git: Option<&Git>,
    place: MirrorPlace,
    services: &Services,
) -> Result<ForgeRepository, Errors> {
    let remote = remote(target, &token)?;
    let forge = open(target, token, configured, services)?;
    with_content(forge, remote, git, place, services)
}

fn with_content(
    forge: Forge,
    remote: Remote,
    clone: Option<&Git>,
    place: MirrorPlace,
    services: &Services,
) -> Result<ForgeRepository, Errors> {
    let (directory, temporary) = match place {
        MirrorPlace::Shared => (shared_directory(clone, &remote, services)?, None),
        MirrorPlace::Temporary => {
            let temporary = services.temporary_directory()?;
            (temporary.path().join("forge"), Some(temporary))
        }
    };
    let place = ContentPlace {
        directory,
        clone: clone.cloned(),
        remote,
        connections: services.connections(),
        notes: services.console.note_listener(),
        _temporary: temporary,
    };
    let content = Content::new(place, forge.policy().clone(), services.environment.clock);
    Ok(ForgeRepository { forge, content })
}

/// The directory of [`MirrorPlace::Shared`].
fn shared_directory(
    clone: Option<&Git>,
    remote: &Remote,
    services: &Services,
) -> Result<PathBuf, Errors> {
    if let Some(clone) = clone {
        let directory = clone.own_directory().map_err(Error::from)?.join("forge");
        let is_writable = fs::create_dir_all(&directory).is_ok()
            && rustix::fs::access(&directory, rustix::fs::Access::WRITE_OK).is_ok();
        if is_writable {
            return Ok(directory);
        }
    }
    let key = (
        remote.url.clone(),
        clone.map(|clone| clone.top().to_owned()),
    );
    let mut mirrors = services.temporary_mirrors.borrow_mut();
    let temporary = match mirrors.entry(key) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(new) => new.insert(services.temporary_directory()?),
    };
    Ok(temporary.path().join("forge"))
}

/// The configured forge, and the token for it.
fn credential(
    config: &Config,
    git: Option<&Git>,
    services: &Services,
) -> Result<Access<(Target, Credential)>, Errors> {
    let Some(configured) = &config.forge else {
        let problem = Error::input(Code::CONFIG, "the configuration has no `forge` block");
        return Err(Errors::from(problem.help(
            "add `forge: {}`; for a public forge the remote determines the rest",
        )));
    };
    let target = target(configured, git)?;
    check_dispatch(&target, configured)?;
    let access = token(&target.api, git, &services.environment)?;
    access.try_map(|credential| Ok((target, credential)))
}

/// Fails if workflows are configured that this forge does not start, for a kind that only the address shows.
pub(crate) fn check_dispatch(target: &Target, configured: &Configured) -> Result<(), Errors> {
    let Some(reason) = target
        .no_dispatch()
        .filter(|_| !configured.dispatch.is_empty())
    else {
        return Ok(());
    };
    let problem = Error::input(
        Code::CONFIG,
        format!("forge.dispatch is not possible: {reason}"),
    );
    Err(Errors::from(problem.help("remove forge.dispatch")))
}

/// The repository for git, with the token of the forge.
fn remote(target: &Target, token: &Token) -> Result<Remote, Errors> {
    let url = target.git_url();
    let login = token
        .git_login(&url)
        .map_err(|reason| usage(format!("{url}: {reason}")))?;
    Ok(Remote { url, login })
}

/// The address of the configured forge and its repository.
pub(crate) fn target(configured: &Configured, git: Option<&Git>) -> Result<Target, Errors> {
    let origin = git.and_then(|git| git.origin().ok().flatten());
    Target::resolve(&configured.address(), origin.as_deref())
        .map_err(|error| Errors::from(Error::input(Code::CONFIG, error.to_string())))
}

/// The words of the configured forge, or `pull request` if its kind is unknown. Sends no request.
pub(crate) fn words(config: &Config, git: Option<&Git>) -> Words {
    let Some(configured) = &config.forge else {
        return Words::PULL_REQUEST;
    };
    let origin = git.and_then(|git| git.origin().ok().flatten());
    let api = Target::api(&configured.address(), origin.as_deref());
    api.map_or(Words::PULL_REQUEST, |(kind, _)| kind.words())
}

/// Creates a client of the forge. Sends no request.
pub(crate) fn open(
    target: &Target,
    token: Token,
    configured: &Configured,
    services: &Services,
) -> Result<Forge, Errors> {
    let settings = Settings {
        merges_unchecked: configured.merges_unchecked(),
        ..settings(&target.api, services)?
    };
    let (method, sign) = (configured.merge_method, configured.sign);
    Ok(Forge::new(target, token, settings, method, sign)?)
}

/// Creates a reader of many repositories of the configured forge, limited to `pace`. Sends no
/// request.
pub(crate) fn fleet_reader(
    configured: &Configured,
    git: Option<&Git>,
    pace: Option<RequestPacer>,
    services: &Services,
) -> Result<Access<FleetReader>, Errors> {
    Ok(match FleetForge::new(configured, git, pace, services)? {
        Access::Granted(forge) => Access::Granted(forge.reader()?),
        Access::NoToken(reason) => Access::NoToken(reason),
    })
}

/// The forge of a fleet: many repositories, one token and one pace.
pub(crate) struct FleetForge {
    pub(super) kind: Kind,
    api: Url,
    token: Token,
    settings: Settings,
}

impl FleetForge {
    /// The configured forge, with requests limited to `pace`. Sends no request.
    pub(crate) fn new(
        configured: &Configured,
        git: Option<&Git>,
        pace: Option<RequestPacer>,
        services: &Services,
    ) -> Result<Access<Self>, Errors> {
        let origin = git.and_then(|git| git.origin().ok().flatten());
        let (kind, api) = Target::api(&configured.address(), origin.as_deref())
            .map_err(|error| Errors::from(Error::input(Code::CONFIG, error.to_string())))?;
        let token = match token(&api, git, &services.environment)? {
            Access::Granted(credential) => credential.token,
            Access::NoToken(reason) => return Ok(Access::NoToken(reason)),
        };
        let settings = Settings {
            pace,
            ..settings(&api, services)?
        };
        Ok(Access::Granted(Self {
            kind,
            api,
            token,
            settings,
        }))
    }

    pub(crate) fn reader(&self) -> Result<FleetReader, Error> {
        let (token, settings) = (self.token.clone(), self.settings.clone());
        FleetReader::new(self.kind, &self.api, token, settings)
    }

    /// The repository at a URL, if it is on this forge.
    pub(crate) fn name_of(&self, url: &str) -> Option<RepositoryName> {
        let own = Target {
            kind: self.kind,
            api: self.api.clone(),
            owner: String::new(),
            name: String::new(),
        };
        let Target { owner, name, .. } = own.on_same_host(url)?;
        Some(RepositoryName { owner, name })
    }

    /// Creates a client of one repository, with the merge method and signing of `configured`.
    pub(crate) fn repository(
        &self,
        name: &RepositoryName,
        configured: &Configured,
        services: &Services,
    ) -> Result<ForgeRepository, Errors> {
        let target = Target {
            kind: self.kind,
            api: self.api.clone(),
            owner: name.owner.clone(),
            name: name.name.clone(),
        };
        let token = self.token.clone();
        let settings = Settings {
            merges_unchecked: configured.merges_unchecked(),
            ..self.settings.clone()
        };
        let (method, sign) = (configured.merge_method, configured.sign);
        let remote = remote(&target, &token)?;
        let forge = Forge::new(&target, token, settings, method, sign)?;
        with_content(forge, remote, None, MirrorPlace::Temporary, services)
    }
}

/// The settings of the forge's client in this run.
pub(super) fn settings(api: &Url, services: &Services) -> Result<Settings, Errors> {
    Ok(Settings {
        progress: services.stall_timeout(),
        attempts: services.attempts(),
        time: services.forge_deadline.clone(),
        pause_listener: services.console.pause_listener(),
        server_times: services.forge_times.clone(),
        server: services.server_facts(api),
        ..Settings::new(services.client(api)?, services.environment.clock)
    })
}

/// Connects like [`connect`], but a missing token is an error unless the run may be skipped.
pub(crate) fn connect_or_skip(
    config: &Config,
    missing_credential: MissingCredential,
    services: &Services,
) -> Result<Access<Forge>, Errors> {
    let git = services.discover_git(config).map_err(Error::from)?;
    unless_missing(connect(config, git.as_ref(), services)?, missing_credential)
}

/// Connects like [`connect_repository`], but a missing token is an error unless the run may be skipped.
pub(crate) fn connect_repository_or_skip(
    config: &Config,
    missing_credential: MissingCredential,
    services: &Services,
) -> Result<Access<ForgeRepository>, Errors> {
    let git = services.discover_git(config).map_err(Error::from)?;
    let access = connect_repository(config, git.as_ref(), services)?;
    unless_missing(access, missing_credential)
}

fn unless_missing<T>(
    access: Access<T>,
    missing_credential: MissingCredential,
) -> Result<Access<T>, Errors> {
    match access {
        Access::NoToken(reason) if missing_credential == MissingCredential::Fail => {
            Err(no_token_error(&reason))
        }
        access => Ok(access),
    }
}

/// The error for a missing token without `--if-unconfigured skip`.
pub(crate) fn no_token_error(reason: &str) -> Errors {
    let hint = "set REPIN_FORGE_TOKEN (or REPIN_FORGE_TOKEN_FILE) to a token that may push and write to the forge";
    Errors::from(Error::new(Class::Denied, Code::DENIED, reason).help(hint))
}

/// The first token that is set for the server of `api`, from a variable or from the file in its
/// variable with `_FILE`. A token for another server counts as missing and is not loaded.
pub(crate) fn token(
    api: &Url,
    git: Option<&Git>,
    environment: &Environment,
) -> Result<Access<Credential>, Errors> {
    token_for(api, TokenUse::ConfiguredForge, git, environment)
}

/// The forge that receives a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenUse {
    ConfiguredForge,
    /// `REPIN_FORGE_TOKEN` is for the configured forge only.
    OtherForge,
}

/// The first token that is set for the server of `api`.
pub(super) fn token_for(
    api: &Url,
    token_use: TokenUse,
    git: Option<&Git>,
    environment: &Environment,
) -> Result<Access<Credential>, Errors> {
    let audience = audience(git, environment)?;
    let mut ignored = Vec::new();
    for [variable, file_variable] in FORGE_TOKENS {
        for name in [variable, file_variable] {
            let Some(value) = environment.filled(name) else {
                continue;
            };
            if token_use == TokenUse::OtherForge && variable == "REPIN_FORGE_TOKEN" {
                ignored.push(format!("{name} is set, but it is for the configured forge"));
                continue;
            }
            if let Err(reason) = audience.check(variable, api) {
                ignored.push(format!("{name} is set, but {reason}"));
                continue;
            }
            let is_file = name == file_variable;
            let token = read_token(name, value, is_file, environment)?;
            let of_job = environment
                .filled("CI_JOB_TOKEN")
                .and_then(|job| job.to_str());
            let of_job = variable == "CI_JOB_TOKEN" || of_job.is_some_and(|job| token.is(job));
            return Ok(Access::Granted(Credential {
                token: token.known(of_job),
                is_for_repin: variable == "REPIN_FORGE_TOKEN",
                origin: if is_file {
                    format!("the file that {name} names")
                } else {
                    name.to_owned()
                },
                ignored,
            }));
        }
    }
    Ok(Access::NoToken(if ignored.is_empty() {
        no_variable_set()
    } else {
        let host = host_of(api);
        format!("no token is set for {host}: {}", ignored.join("; "))
    }))
}

/// The first variable that is set, for any server.
pub(crate) fn first_set_variable(environment: &Environment) -> Option<&'static str> {
    let mut names = FORGE_TOKENS.into_iter().flatten();
    names.find(|name| environment.filled(name).is_some())
}

/// The message if no variable for a token is set.
pub(crate) fn no_variable_set() -> String {
    let names = FORGE_TOKENS.map(|[variable, _]| variable);
    format!(
        "no token is set: none of {}, nor any with _FILE",
        names.join(", ")
    )
}

/// The evidence for the server of the job's tokens.
fn audience(git: Option<&Git>, environment: &Environment) -> Result<Audience, Errors> {
    let mut job_api = None;
    if let Some(text) = environment.filled("GITHUB_API_URL") {
        let url = text.to_str().and_then(|text| Url::parse(text).ok());
        job_api = url.filter(Url::has_host);
        if job_api.is_none() {
            return Err(usage("GITHUB_API_URL must be a URL with a host"));
        }
    }
    Ok(Audience {
        job_api,
        gitlab_api: gitlab_api(environment),
        origin: git.and_then(|git| git.origin().ok().flatten()),
    })
}

/// Loads the token from a variable, or from the file in the variable.
fn read_token(
    name: &str,
    value: &OsStr,
    is_file: bool,
    environment: &Environment,
) -> Result<Token, Errors> {
    let malformed = |reason: String| usage(format!("{name} does not hold a token: {reason}"));
    let content;
    let text = if is_file {
        content = input_file::read(&environment.directory().join(value), MAX_TOKEN)
            .map_err(|error| malformed(format!("cannot read the file: {error}")))?;
        str::from_utf8(&content).map_err(|_| malformed("not UTF-8".to_owned()))?
    } else {
        value
            .to_str()
            .ok_or_else(|| malformed("not UTF-8".to_owned()))?
    };
    Token::parse(text).map_err(|error| malformed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::workflow::environment::tests::with_variables;

    #[test]
    fn another_forge_gets_no_token_of_the_configured_one() {
        let api = Url::parse("https://api.github.com").unwrap();
        let token = |token_use, variables: &[(&str, &str)]| {
            let environment = with_variables(variables);
            match token_for(&api, token_use, None, &environment).unwrap() {
                Access::Granted(credential) => Ok((credential.origin, credential.ignored)),
                Access::NoToken(reason) => Err(reason),
            }
        };
        let own = ("REPIN_FORGE_TOKEN", "ghp_one");
        let github = ("GITHUB_TOKEN", "ghp_two");
        let granted = |name: &str| Ok((name.to_owned(), Vec::new()));
        let configured = token(TokenUse::ConfiguredForge, &[own, github]);
        assert_eq!(configured, granted(own.0));
        let reason = "REPIN_FORGE_TOKEN is set, but it is for the configured forge";
        let other = token(TokenUse::OtherForge, &[own, github]);
        assert_eq!(other, Ok((github.0.to_owned(), vec![reason.to_owned()])));
        let only = token(TokenUse::OtherForge, &[own]).unwrap_err();
        assert!(only.ends_with(reason), "{only}");
        assert_eq!(token(TokenUse::OtherForge, &[github]), granted(github.0));
    }
}
