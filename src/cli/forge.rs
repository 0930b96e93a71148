//! The forge of a run: which one, and the token that it is asked with.

use std::{fs::File, io::Read, time::SystemTime};

use super::{
    args::IfUnconfigured,
    context::{Context, usage},
    environment::Environment,
    exit::{Exit, Fault},
};
use crate::{
    config::{Config, Forge as Configured, Problem},
    facts::git::Git,
    forge::{Forge, Gitea, Github, Kind, Settings, Target, Token},
};

/// Where tokens are looked for, the first that is set counts; each also with `_FILE`, which names a
/// file.
pub(super) const TOKENS: [&str; 4] = [
    "REPIN_FORGE_TOKEN",
    "GITHUB_TOKEN",
    "GH_TOKEN",
    "GITEA_TOKEN",
];

/// The largest file that can hold a token, in bytes.
const TOKEN_MAX: u64 = 64 * 1024;

/// A token, and where it is from.
pub(super) struct Held {
    pub(super) token: Token,
    pub(super) origin: String,
}

/// The forge that the configuration means; the inner error: no token is set, and what was looked
/// for.
pub(super) fn connect(
    config: &Config,
    git: Option<&Git>,
    cx: &Context,
) -> Result<Result<Box<dyn Forge>, String>, Fault> {
    let Some(configured) = &config.forge else {
        let problem = Problem::new(
            "config",
            "there is no `forge` in the configuration, so there is none to ask or to change anything on",
        );
        return Err(Fault::input(problem.hint(
            "add `forge: {}`: on a public forge the rest is told by the remote",
        )));
    };
    let target = target(configured, git)?;
    let Some(held) = token(&cx.environment)? else {
        return Ok(Err(none_set()));
    };
    open(&target, held.token, configured, cx).map(Ok)
}

/// The forge and the repository that are meant.
pub(super) fn target(configured: &Configured, git: Option<&Git>) -> Result<Target, Fault> {
    let origin = git.and_then(|git| git.origin().ok().flatten());
    Target::resolve(configured, origin.as_deref())
        .map_err(|error| Fault::input(Problem::new("config", error.to_string())))
}

/// A forge that is asked with this token; nothing is sent yet.
pub(super) fn open(
    target: &Target,
    token: Token,
    configured: &Configured,
    cx: &Context,
) -> Result<Box<dyn Forge>, Fault> {
    let client = cx.client(&target.api)?;
    let (attempts, progress) = (cx.attempts(), cx.progress());
    let settings = Settings {
        progress,
        attempts,
        ..Settings::new(client, SystemTime::now)
    };
    let method = configured.merge_method;
    Ok(match target.kind {
        Kind::Github => {
            Box::new(Github::new(target, token, settings)?.configured(method, configured.sign))
        }
        Kind::Gitea => Box::new(Gitea::new(target, token, settings)?.configured(method)),
    })
}

/// What was looked for where there is no token.
pub(super) fn none_set() -> String {
    format!(
        "no token is set: none of {}, nor any with _FILE",
        TOKENS.join(", ")
    )
}

/// The same; the inner error, why it is skipped, comes only where that was said to be fine.
pub(super) fn connect_or_skip(
    config: &Config,
    if_unconfigured: Option<IfUnconfigured>,
    cx: &Context,
) -> Result<Result<Box<dyn Forge>, String>, Fault> {
    let git = Git::open(&config.root).ok();
    match connect(config, git.as_ref(), cx)? {
        Err(why) if if_unconfigured.is_none() => Err(no_token(&why)),
        connected => Ok(connected),
    }
}

/// What a missing token means unless it was said to be fine.
pub(super) fn no_token(why: &str) -> Fault {
    let hint = "set REPIN_FORGE_TOKEN (or REPIN_FORGE_TOKEN_FILE) to a token that may push and open pull requests";
    Fault {
        exit: Exit::Denied,
        problems: vec![Problem::new("denied", why).hint(hint)],
    }
}

/// The first token that is set.
pub(super) fn token(environment: &Environment) -> Result<Option<Held>, Fault> {
    for name in TOKENS {
        let wrong = |name: &str, why: String| usage(format!("{name} holds no token: {why}"));
        if let Some(value) = environment.filled(name) {
            let text = value
                .to_str()
                .ok_or_else(|| wrong(name, "it is not UTF-8".to_owned()))?;
            let token = Token::parse(text).map_err(|error| wrong(name, error.to_string()))?;
            return Ok(Some(Held {
                token,
                origin: name.to_owned(),
            }));
        }
        let name = format!("{name}_FILE");
        if let Some(file) = environment.filled(&name) {
            let mut text = String::new();
            let file = File::open(environment.folder().join(file));
            let read = file.and_then(|file| file.take(TOKEN_MAX).read_to_string(&mut text));
            read.map_err(|error| wrong(&name, format!("the file can't be read: {error}")))?;
            let token = Token::parse(&text).map_err(|error| wrong(&name, error.to_string()))?;
            return Ok(Some(Held {
                token,
                origin: format!("the file that {name} names"),
            }));
        }
    }
    Ok(None)
}
