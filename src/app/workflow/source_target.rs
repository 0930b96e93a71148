//! Where the source repository of a configuration is hosted.

use reqwest::Url;

use super::connection::TokenUse;
use crate::{
    base::{
        code::Code,
        error::{Error, Errors},
    },
    config::{Config, SourceRepository},
    forge::{Kind, Target, TargetError},
    git::{Git, HostedRepository},
};

/// The repository on the configured or a public forge; `None` if neither hosts it.
pub(super) fn target(
    repository: &SourceRepository,
    config: &Config,
) -> Result<Option<Target>, Errors> {
    match repository {
        SourceRepository::OnForge(name) => {
            let (forge, origin) = (config.forge_or_default(), origin(config));
            let target = Target::on_forge(&forge.address(), origin.as_deref(), name);
            Ok(Some(target.map_err(|error| {
                let message = format!("cannot find `source` {name}: {error}");
                Error::input(Code::CONFIG, message)
                    .help("write the URL of the repository in `source`, or configure `forge`")
            })?))
        }
        SourceRepository::Location(location) => {
            let Some(hosted) = HostedRepository::parse(location) else {
                return Ok(None);
            };
            let is_configured = |api: &Url| match &hosted.web {
                Some(web) => Url::parse(web).is_ok_and(|web| web.origin() == api.origin()),
                None => api.host_str() == Some(&*hosted.host),
            };
            let configured = configured_forge(config).ok();
            let configured = configured.filter(|(_, api)| is_configured(api));
            let public = Target::public_api(Some(location)).ok();
            Ok(configured.or(public).map(|(kind, api)| Target {
                kind,
                api,
                owner: hosted.owner,
                name: hosted.name,
            }))
        }
    }
}

/// Which tokens may be sent to an API.
pub(super) fn token_use(config: &Config, api: &Url) -> TokenUse {
    match configured_forge(config) {
        Ok((_, configured)) if configured.origin() == api.origin() => TokenUse::ConfiguredForge,
        Ok(_) | Err(_) => TokenUse::OtherForge,
    }
}

/// The configured forge, which the remote of this clone may determine.
fn configured_forge(config: &Config) -> Result<(Kind, Url), TargetError> {
    Target::api(
        &config.forge_or_default().address(),
        origin(config).as_deref(),
    )
}

fn origin(config: &Config) -> Option<String> {
    let git = Git::discover(&config.root).ok().flatten();
    git.and_then(|git| git.origin().ok().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::example, git::tests::git};

    const IMAGES: &str =
        "version: 1\nfiles: [a]\nimages: { a: { repository: ghcr.io/a/b, pins: 1 } }\n";

    fn config(more: &str) -> Config {
        example(&format!("{IMAGES}{more}"))
    }

    #[test]
    fn source_is_on_the_configured_or_a_public_forge() {
        let gitea = "forge: { kind: gitea, url: 'https://git.example:3000' }\n";
        for (source, expected) in [
            ("acme/app", Some("https://git.example:3000/")),
            (
                "https://git.example:3000/acme/app",
                Some("https://git.example:3000/"),
            ),
            (
                "git@git.example:acme/app.git",
                Some("https://git.example:3000/"),
            ),
            (
                "https://github.com/acme/app",
                Some("https://api.github.com/"),
            ),
            // Another port is another server.
            ("https://git.example/acme/app", None),
            ("https://other.example/acme/app", None),
            ("git@other.example:acme/app.git", None),
            ("../app", None),
        ] {
            let config = config(&format!("{gitea}source: '{source}'\n"));
            let found = target(config.source.as_ref().unwrap(), &config).unwrap();
            let api = found.map(|target| target.api.to_string());
            assert_eq!(api.as_deref(), expected, "{source}");
        }
    }

    #[test]
    fn token_of_the_configured_forge_is_for_its_server() {
        let gitea = config("forge: { kind: gitea, url: 'https://git.example:3000' }\n");
        for (api, expected) in [
            ("https://git.example:3000/api/v1", TokenUse::ConfiguredForge),
            ("https://git.example/", TokenUse::OtherForge),
            ("http://git.example:3000/", TokenUse::OtherForge),
            ("https://api.github.com/", TokenUse::OtherForge),
        ] {
            assert_eq!(
                token_use(&gitea, &Url::parse(api).unwrap()),
                expected,
                "{api}"
            );
        }
        // Without a configured forge, the remote of the clone selects it.
        let directory = tempfile::tempdir().unwrap();
        git(directory.path(), &["init", "-q"]);
        let mut unconfigured = config("");
        unconfigured.root = directory.path().to_owned();
        let github = Url::parse("https://api.github.com/").unwrap();
        assert_eq!(token_use(&unconfigured, &github), TokenUse::OtherForge);
        let origin = ["remote", "add", "origin", "https://github.com/acme/flows"];
        git(directory.path(), &origin);
        assert_eq!(token_use(&unconfigured, &github), TokenUse::ConfiguredForge);
    }
}
