//! The forge of a run, and the token for its requests.

use std::{ffi::OsStr, fs::File, io::Read};

use reqwest::Url;

use super::{Environment, Services};
use crate::{
    code::Code,
    config::{Config, FORGE_TOKENS, Forge as Configured},
    error::{Class, Error, Errors, usage},
    forge::{
        Audience, Forge, Gitea, GiteaFleet, Github, GithubFleet, Kind, Settings, Target, Token,
        fleet::{FleetReader, RepositoryName},
    },
    git::Git,
    http::{Pace, address::host_of},
};

/// The maximum size of a file that contains a token, in bytes.
const TOKEN_MAX: u64 = 64 * 1024;

/// Access that needs a token.
pub enum Access<T> {
    /// The token is set.
    Granted(T),
    /// The token is missing; names the variables that were checked, and those set for another
    /// server.
    NoToken(String),
}

/// What a missing token or secret means for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unconfigured {
    /// The run fails.
    Fails,
    /// The run is skipped, and succeeds.
    Skips,
}

impl<T> Access<T> {
    /// The access, or an error if the token is missing.
    pub fn granted(self) -> Result<T, Errors> {
        match self {
            Self::Granted(value) => Ok(value),
            Self::NoToken(reason) => Err(no_token(&reason)),
        }
    }
}

/// A token and its origin.
pub struct Credential {
    /// The token.
    pub token: Token,
    /// The variable that contains it, or the file that the variable names.
    pub origin: String,
    /// Variables that are set for another server.
    pub passed_over: Vec<String>,
}

/// The forge that the configuration names.
pub fn connect(
    config: &Config,
    git: Option<&Git>,
    services: &Services,
) -> Result<Access<Box<dyn Forge>>, Errors> {
    let Some(configured) = &config.forge else {
        let problem = Error::input(Code::CONFIG, "the configuration has no `forge` block");
        return Err(Errors::from(problem.help(
            "add `forge: {}`; for a public forge the remote determines the rest",
        )));
    };
    let target = target(configured, git)?;
    Ok(match token(&target.api, git, &services.environment)? {
        Access::Granted(found) => {
            Access::Granted(open(&target, found.token, configured, services)?)
        }
        Access::NoToken(reason) => Access::NoToken(reason),
    })
}

/// The configured forge and its repository.
pub fn target(configured: &Configured, git: Option<&Git>) -> Result<Target, Errors> {
    let origin = git.and_then(|git| git.origin().ok().flatten());
    Target::resolve(configured, origin.as_deref())
        .map_err(|error| Errors::from(Error::input(Code::CONFIG, error.to_string())))
}

/// A client of the forge with this token; sends nothing yet.
pub fn open(
    target: &Target,
    token: Token,
    configured: &Configured,
    services: &Services,
) -> Result<Box<dyn Forge>, Errors> {
    Ok(client(
        target,
        token,
        configured,
        settings(&target.api, services)?,
    )?)
}

fn client(
    target: &Target,
    token: Token,
    configured: &Configured,
    settings: Settings,
) -> Result<Box<dyn Forge>, Error> {
    let method = configured.merge_method;
    Ok(match target.kind {
        Kind::Github => {
            Box::new(Github::new(target, token, settings)?.configured(method, configured.sign))
        }
        Kind::Gitea => Box::new(Gitea::new(target, token, settings)?.configured(method)),
    })
}

/// A reader of many repositories of the configured forge, whose requests begin when `pace` lets them;
/// sends nothing yet.
pub fn fleet_reader(
    configured: &Configured,
    git: Option<&Git>,
    pace: Option<Pace>,
    services: &Services,
) -> Result<Access<Box<dyn FleetReader>>, Errors> {
    Ok(match FleetForge::of(configured, git, pace, services)? {
        Access::Granted(forge) => Access::Granted(forge.reader()?),
        Access::NoToken(reason) => Access::NoToken(reason),
    })
}

/// The forge of a fleet: many repositories, one token and one pace.
pub struct FleetForge {
    kind: Kind,
    api: Url,
    token: Token,
    settings: Settings,
}

impl FleetForge {
    /// The configured forge, where requests begin when `pace` lets them; sends nothing yet.
    pub fn of(
        configured: &Configured,
        git: Option<&Git>,
        pace: Option<Pace>,
        services: &Services,
    ) -> Result<Access<Self>, Errors> {
        let origin = git.and_then(|git| git.origin().ok().flatten());
        let (kind, api) = Target::api(configured, origin.as_deref())
            .map_err(|error| Errors::from(Error::input(Code::CONFIG, error.to_string())))?;
        let token = match token(&api, git, &services.environment)? {
            Access::Granted(found) => found.token,
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

    /// A reader of its repositories.
    pub fn reader(&self) -> Result<Box<dyn FleetReader>, Error> {
        let (token, settings) = (self.token.clone(), self.settings.clone());
        Ok(match self.kind {
            Kind::Github => Box::new(GithubFleet::new(&self.api, token, settings)?),
            Kind::Gitea => Box::new(GiteaFleet::new(&self.api, token, settings)?),
        })
    }

    /// One of its repositories, as `configured` says how to merge and sign.
    pub fn repository(
        &self,
        name: &RepositoryName,
        configured: &Configured,
    ) -> Result<Box<dyn Forge>, Error> {
        let target = Target {
            kind: self.kind,
            api: self.api.clone(),
            owner: name.owner.clone(),
            name: name.name.clone(),
        };
        let (token, settings) = (self.token.clone(), self.settings.clone());
        client(&target, token, configured, settings)
    }
}

/// The settings of the forge's client in this run.
pub(super) fn settings(api: &Url, services: &Services) -> Result<Settings, Errors> {
    Ok(Settings {
        progress: services.progress(),
        attempts: services.attempts(),
        time: services.forge_time.clone(),
        pause_listener: services.console.pause_listener(),
        ..Settings::new(services.client(api)?, services.environment.clock)
    })
}

/// Like `open`, but a missing token is an error unless the run may be skipped.
pub fn connect_or_skip(
    config: &Config,
    unconfigured: Unconfigured,
    services: &Services,
) -> Result<Access<Box<dyn Forge>>, Errors> {
    let git = Git::discover(&config.root).map_err(Error::from)?;
    match connect(config, git.as_ref(), services)? {
        Access::NoToken(reason) if unconfigured == Unconfigured::Fails => Err(no_token(&reason)),
        access => Ok(access),
    }
}

/// The error for a missing token without `--if-unconfigured skip`.
pub fn no_token(reason: &str) -> Errors {
    let hint = "set REPIN_FORGE_TOKEN (or REPIN_FORGE_TOKEN_FILE) to a token that may push and open pull requests";
    Errors::from(Error::new(Class::Denied, Code::DENIED, reason).help(hint))
}

/// The first token that is set for the server of `api`; each variable also with `_FILE`, which
/// names a file. A token for another server counts as missing and is not read.
pub fn token(
    api: &Url,
    git: Option<&Git>,
    environment: &Environment,
) -> Result<Access<Credential>, Errors> {
    let audience = audience(git, environment)?;
    let mut passed_over = Vec::new();
    for variable in FORGE_TOKENS {
        for (name, is_file) in [
            (variable.to_owned(), false),
            (format!("{variable}_FILE"), true),
        ] {
            let Some(value) = environment.filled(&name) else {
                continue;
            };
            if let Err(reason) = audience.check(variable, api) {
                passed_over.push(format!("{name} is set, but {reason}"));
                continue;
            }
            return Ok(Access::Granted(Credential {
                token: read_token(&name, value, is_file, environment)?,
                origin: if is_file {
                    format!("the file that {name} names")
                } else {
                    name
                },
                passed_over,
            }));
        }
    }
    Ok(Access::NoToken(if passed_over.is_empty() {
        none_set()
    } else {
        let host = host_of(api);
        format!("no token is set for {host}: {}", passed_over.join("; "))
    }))
}

/// The first variable that is set, whichever server it is for.
pub fn first_set(environment: &Environment) -> Option<String> {
    let names = FORGE_TOKENS.iter();
    let mut names = names.flat_map(|name| [(*name).to_owned(), format!("{name}_FILE")]);
    names.find(|name| environment.filled(name).is_some())
}

/// The variables that were checked, if none is set.
pub fn none_set() -> String {
    format!(
        "no token is set: none of {}, nor any with _FILE",
        FORGE_TOKENS.join(", ")
    )
}

/// The evidence for which server a job's tokens are.
fn audience(git: Option<&Git>, environment: &Environment) -> Result<Audience, Errors> {
    let api = environment.filled("GITHUB_API_URL");
    let api = api.map(|text| {
        let url = text.to_str().and_then(|text| Url::parse(text).ok());
        url.filter(Url::has_host)
            .ok_or_else(|| usage("GITHUB_API_URL must be a URL with a host"))
    });
    Ok(Audience {
        job_api: api.transpose()?,
        origin: git.and_then(|git| git.origin().ok().flatten()),
    })
}

/// The token in a variable, or in the file that it names.
fn read_token(
    name: &str,
    value: &OsStr,
    is_file: bool,
    environment: &Environment,
) -> Result<Token, Errors> {
    let wrong = |reason: String| usage(format!("{name} does not hold a token: {reason}"));
    let text = if is_file {
        let mut text = String::new();
        let file = File::open(environment.directory().join(value));
        let read = file.and_then(|file| file.take(TOKEN_MAX).read_to_string(&mut text));
        read.map_err(|error| wrong(format!("cannot read the file: {error}")))?;
        text
    } else {
        let text = value.to_str();
        text.ok_or_else(|| wrong("not UTF-8".to_owned()))?
            .to_owned()
    };
    Token::parse(&text).map_err(|error| wrong(error.to_string()))
}
