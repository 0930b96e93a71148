//! The forge of a run: which one, and the token that it is asked with.

use std::{ffi::OsStr, fs::File, io::Read, time::SystemTime};

use reqwest::Url;

use super::{args::IfUnconfigured, context::Context, environment::Environment};
use crate::{
    cli::exit::usage,
    config::{Config, FORGE_TOKENS, Forge as Configured},
    error::{Class, Error, Errors},
    forge::{Audience, Forge, Gitea, Github, Kind, Settings, Target, Token},
    git::Git,
    http::address::host_of,
};

/// The largest file that can hold a token, in bytes.
const TOKEN_MAX: u64 = 64 * 1024;

/// The token for a server, or why there is none.
pub(super) enum Credential {
    Token(Held),
    /// What was looked for, and what is set and for another server.
    Missing(String),
}

/// A token, and where it is from.
pub(super) struct Held {
    pub(super) token: Token,
    pub(super) origin: String,
    /// Variables that are set and for another server.
    pub(super) passed_over: Vec<String>,
}

/// The forge that the configuration means; the inner error: no token is set, and what was looked
/// for.
pub(super) fn connect(
    config: &Config,
    git: Option<&Git>,
    cx: &Context,
) -> Result<Result<Box<dyn Forge>, String>, Errors> {
    let Some(configured) = &config.forge else {
        let problem = Error::input(
            "config",
            "there is no `forge` in the configuration, so there is none to ask or to change anything on",
        );
        return Err(Errors::from(problem.help(
            "add `forge: {}`: on a public forge the rest is told by the remote",
        )));
    };
    let target = target(configured, git)?;
    match token(&target.api, git, &cx.environment)? {
        Credential::Token(held) => open(&target, held.token, configured, cx).map(Ok),
        Credential::Missing(why) => Ok(Err(why)),
    }
}

/// The forge and the repository that are meant.
pub(super) fn target(configured: &Configured, git: Option<&Git>) -> Result<Target, Errors> {
    let origin = git.and_then(|git| git.origin().ok().flatten());
    Target::resolve(configured, origin.as_deref())
        .map_err(|error| Errors::from(Error::input("config", error.to_string())))
}

/// A forge that is asked with this token; nothing is sent yet.
pub(super) fn open(
    target: &Target,
    token: Token,
    configured: &Configured,
    cx: &Context,
) -> Result<Box<dyn Forge>, Errors> {
    let settings = settings(&target.api, cx)?;
    let method = configured.merge_method;
    Ok(match target.kind {
        Kind::Github => {
            Box::new(Github::new(target, token, settings)?.configured(method, configured.sign))
        }
        Kind::Gitea => Box::new(Gitea::new(target, token, settings)?.configured(method)),
    })
}

/// How a forge's API is asked in this run.
pub(super) fn settings(api: &Url, cx: &Context) -> Result<Settings, Errors> {
    Ok(Settings {
        progress: cx.progress(),
        attempts: cx.attempts(),
        time: cx.forge_time.clone(),
        announce: cx.output.announce(),
        ..Settings::new(cx.client(api)?, SystemTime::now)
    })
}

/// The same; the inner error, why it is skipped, comes only where that was said to be fine.
pub(super) fn connect_or_skip(
    config: &Config,
    if_unconfigured: Option<IfUnconfigured>,
    cx: &Context,
) -> Result<Result<Box<dyn Forge>, String>, Errors> {
    let git = Git::open(&config.root).ok();
    match connect(config, git.as_ref(), cx)? {
        Err(why) if if_unconfigured.is_none() => Err(no_token(&why)),
        connected => Ok(connected),
    }
}

/// What a missing token means unless it was said to be fine.
pub(super) fn no_token(why: &str) -> Errors {
    let hint = "set REPIN_FORGE_TOKEN (or REPIN_FORGE_TOKEN_FILE) to a token that may push and open pull requests";
    Errors::from(Error::new(Class::Denied, "denied", why).help(hint))
}

/// The first token that is set and for the server of `api`; each variable also with `_FILE`, which
/// names a file. One that is for another server counts as missing, and is not even read.
pub(super) fn token(
    api: &Url,
    git: Option<&Git>,
    environment: &Environment,
) -> Result<Credential, Errors> {
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
            if let Err(why) = audience.check(variable, api) {
                passed_over.push(format!("{name} is set, but {why}"));
                continue;
            }
            return Ok(Credential::Token(Held {
                token: held(&name, value, is_file, environment)?,
                origin: if is_file {
                    format!("the file that {name} names")
                } else {
                    name
                },
                passed_over,
            }));
        }
    }
    Ok(Credential::Missing(if passed_over.is_empty() {
        none_set()
    } else {
        let host = host_of(api);
        format!("no token is set for {host}: {}", passed_over.join("; "))
    }))
}

/// The first variable that is set, whichever server it is for.
pub(super) fn first_set(environment: &Environment) -> Option<String> {
    let names = FORGE_TOKENS.iter();
    let mut names = names.flat_map(|name| [(*name).to_owned(), format!("{name}_FILE")]);
    names.find(|name| environment.filled(name).is_some())
}

/// What was looked for where no variable is set.
pub(super) fn none_set() -> String {
    format!(
        "no token is set: none of {}, nor any with _FILE",
        FORGE_TOKENS.join(", ")
    )
}

/// What says which server a job's tokens are for.
fn audience(git: Option<&Git>, environment: &Environment) -> Result<Audience, Errors> {
    let api = environment.filled("GITHUB_API_URL");
    let api = api.map(|text| {
        let url = text.to_str().and_then(|text| Url::parse(text).ok());
        url.filter(Url::has_host)
            .ok_or_else(|| usage("GITHUB_API_URL is not a URL with a host"))
    });
    Ok(Audience {
        job_api: api.transpose()?,
        origin: git.and_then(|git| git.origin().ok().flatten()),
    })
}

/// The token that a variable holds, or the file that it names.
fn held(
    name: &str,
    value: &OsStr,
    is_file: bool,
    environment: &Environment,
) -> Result<Token, Errors> {
    let wrong = |why: String| usage(format!("{name} holds no token: {why}"));
    let text = if is_file {
        let mut text = String::new();
        let file = File::open(environment.folder().join(value));
        let read = file.and_then(|file| file.take(TOKEN_MAX).read_to_string(&mut text));
        read.map_err(|error| wrong(format!("the file can't be read: {error}")))?;
        text
    } else {
        let text = value.to_str();
        text.ok_or_else(|| wrong("it is not UTF-8".to_owned()))?
            .to_owned()
    };
    Token::parse(&text).map_err(|error| wrong(error.to_string()))
}
