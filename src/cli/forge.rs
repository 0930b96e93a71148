//! The forge of a run: which one, and the token that it is asked with.

use std::{fs::File, io::Read, time::SystemTime};

use super::{
    context::{Context, usage},
    environment::Environment,
    exit::{Exit, Fault},
};
use crate::{
    config::{Config, Problem},
    facts::git::Git,
    forge::{Forge, Gitea, Github, Kind, Settings, Target, Token},
};

/// Where tokens are looked for, the first that is set counts; each also with `_FILE`, which names a file.
const TOKENS: [&str; 4] = ["REPIN_FORGE_TOKEN", "GITHUB_TOKEN", "GH_TOKEN", "GITEA_TOKEN"];

/// The largest file that can hold a token, in bytes.
const TOKEN_MAX: u64 = 64 * 1024;

/// The forge that the configuration means; the inner error: no token is set, and what was looked for.
pub(super) fn connect(
    config: &Config,
    git: Option<&Git>,
    cx: &Context,
) -> Result<Result<Box<dyn Forge>, String>, Fault> {
    let Some(configured) = &config.forge else {
        let problem = Problem::new(
            "config",
            "there is no `forge` in the configuration, so there is none to open a pull request on",
        );
        return Err(Fault::input(problem.hint("add `forge: {}`: on a public forge the rest is told by the remote")));
    };
    let origin = git.and_then(|git| git.origin().ok().flatten());
    let target = Target::resolve(configured, origin.as_deref())
        .map_err(|error| Fault::input(Problem::new("config", error.to_string())))?;
    let Some(token) = token(&cx.environment)? else {
        return Ok(Err(format!("no token is set: none of {}, nor any with _FILE", TOKENS.join(", "))));
    };
    let client = cx.client(&target.api)?;
    let settings = Settings::new(client, SystemTime::now);
    Ok(Ok(match target.kind {
        Kind::Github => Box::new(Github::new(&target, token, settings)?),
        Kind::Gitea => Box::new(Gitea::new(&target, token, settings)?),
    }))
}

/// What a missing token means unless it was said to be fine.
pub(super) fn no_token(why: &str) -> Fault {
    let hint = "set REPIN_FORGE_TOKEN (or REPIN_FORGE_TOKEN_FILE) to a token that may push and open pull requests";
    Fault { exit: Exit::Denied, problems: vec![Problem::new("denied", why).hint(hint)] }
}

fn token(environment: &Environment) -> Result<Option<Token>, Fault> {
    for name in TOKENS {
        let wrong = |name: &str, why: String| usage(format!("{name} holds no token: {why}"));
        if let Some(value) = environment.filled(name) {
            let text = value.to_str().ok_or_else(|| wrong(name, "it is not UTF-8".to_owned()))?;
            return Token::parse(text).map(Some).map_err(|error| wrong(name, error.to_string()));
        }
        let name = format!("{name}_FILE");
        if let Some(file) = environment.filled(&name) {
            let mut text = String::new();
            let file = File::open(environment.folder().join(file));
            let read = file.and_then(|file| file.take(TOKEN_MAX).read_to_string(&mut text));
            read.map_err(|error| wrong(&name, format!("the file can't be read: {error}")))?;
            return Token::parse(&text).map(Some).map_err(|error| wrong(&name, error.to_string()));
        }
    }
    Ok(None)
}
