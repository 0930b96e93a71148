//! The remote of the repository, and its forge.

use std::path::Path;

use crate::{
    app::report::starter::StarterForge,
    git::{Git, HostedRepository},
};

/// The remote `origin`; each value may be unknown.
#[derive(Default)]
pub(super) struct GitRemote {
    /// The owner of the repository on its forge.
    pub(super) owner: Option<String>,
    pub(super) forge: Option<StarterForge>,
    /// The default branch.
    pub(super) base: Option<String>,
}

impl GitRemote {
    pub(super) fn read(root: &Path) -> Self {
        let Ok(git) = Git::open(root) else {
            return Self::default();
        };
        let mut remote = Self::default();
        if let Ok(Some(url)) = git.origin()
            && let Some(hosted) = HostedRepository::parse(&url)
        {
            remote.forge = forge(&hosted, root);
            remote.owner = Some(hosted.owner);
        }
        if let Ok(Some(branch)) = git.known_default(None) {
            remote.base = branch.name.strip_prefix("origin/").map(str::to_owned);
        }
        remote
    }
}

/// Guesses the forge from the host of the remote, or from directories that only one kind of forge uses.
fn forge(hosted: &HostedRepository, root: &Path) -> Option<StarterForge> {
    let host = hosted.host.as_str();
    let has = |directory: &str| root.join(directory).is_dir();
    let web = match &hosted.web {
        Some(web) => web.clone(),
        None => format!("https://{host}"),
    };
    // GitHub Enterprise Server uses the default ports.
    let has_port = web.matches(':').count() > 1;
    let gitea = || Some(format!("{web}/api/v1"));
    let (kind, url, is_certain) = match host {
        "github.com" => ("github", None, true),
        "codeberg.org" | "gitea.com" => ("gitea", gitea(), true),
        "gitlab.com" | "bitbucket.org" => return None,
        _ if has(".gitea")
            || has(".forgejo")
            || host.contains("gitea")
            || host.contains("forgejo")
            || has_port =>
        {
            ("gitea", gitea(), false)
        }
        _ if has(".github") => ("github", Some(format!("{web}/api/v3")), false),
        _ => return None,
    };
    Some(StarterForge {
        kind,
        url,
        repository: format!("{}/{}", hosted.owner, hosted.name),
        is_certain,
    })
}
