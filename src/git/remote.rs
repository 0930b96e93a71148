//! Where a clone came from.

use super::{Git, GitError};

/// A repository on a forge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostedRepository {
    /// The forge's host, in lower case, without a port.
    pub host: String,
    /// Who it belongs to.
    pub owner: String,
    /// What it is called.
    pub name: String,
}

impl Git {
    /// The URL of the remote `origin`; it may hold a password, so it is for [`HostedRepository::parse`] and
    /// not for eyes.
    pub fn origin(&self) -> Result<Option<String>, GitError> {
        // `config --get` exits with 1 if the key is missing; a listing distinguishes that from a
        // failure.
        let listed = self.answer(
            "config",
            &[
                "--get-regexp",
                "--null",
                r"^(remote\.origin\.url|core\.bare)$",
            ],
        );
        let listed = String::from_utf8_lossy(&listed?).into_owned();
        let url = listed
            .split('\0')
            .find_map(|entry| entry.strip_prefix("remote.origin.url\n"));
        Ok(url.map(str::to_owned))
    }
}

impl HostedRepository {
    /// Parses a remote's URL: `https://HOST/OWNER/NAME.git`, `ssh://git@HOST:PORT/OWNER/NAME`,
    /// `git@HOST:OWNER/NAME`. User names and passwords are dropped; anything but an owner and a
    /// name behind the host is nothing.
    pub fn parse(url: &str) -> Option<Self> {
        let (authority, path) = match url.split_once("://") {
            Some(("https" | "http" | "ssh" | "git", rest)) => rest.split_once('/')?,
            Some(_) => return None,
            // Git's own rule (git-clone, "GIT URLS"): a colon, and no slash before it.
            None => url
                .split_once(':')
                .filter(|(host, _)| !host.contains('/'))?,
        };
        let host = authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host);
        let host = host.split(':').next()?.to_ascii_lowercase();
        let path = path.trim_matches('/');
        let (owner, name) = path.strip_suffix(".git").unwrap_or(path).split_once('/')?;
        let good = |part: &str| {
            let plain = part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
            plain && !part.is_empty() && !matches!(part, "." | "..")
        };
        let whole = good(&host) && good(owner) && good(name);
        whole.then(|| Self {
            host,
            owner: owner.to_owned(),
            name: name.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> Option<String> {
        HostedRepository::parse(url)
            .map(|HostedRepository { host, owner, name }| format!("{host} {owner} {name}"))
    }

    #[test]
    fn every_way_to_write_a_remote_is_understood() {
        for url in [
            "https://github.com/acme/work.flows.git",
            "https://user:secret@GitHub.com/acme/work.flows",
            "ssh://git@github.com:22/acme/work.flows.git",
            "git@github.com:acme/work.flows.git",
            "github.com:/acme/work.flows/",
        ] {
            assert_eq!(
                parsed(url).as_deref(),
                Some("github.com acme work.flows"),
                "{url}"
            );
        }
    }

    #[test]
    fn remote_without_a_forge_is_not_parsed() {
        for url in [
            "/srv/git/a/b.git",
            "../a/b",
            "file:///srv/a/b",
            "https://gitlab.com/group/sub/name",
            "https://github.com/acme",
            "https://github.com/acme/..",
            "git@github.com:acme/a b",
            "https://x y/acme/a",
            "",
        ] {
            assert_eq!(parsed(url), None, "{url}");
        }
    }
}
