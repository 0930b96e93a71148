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
    /// The scheme, host and port of the web server, if the URL contains them: that of an SSH URL
    /// does not.
    pub web: Option<String>,
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
        let server = authority
            .rsplit_once('@')
            .map_or(authority, |(_, server)| server)
            .to_ascii_lowercase();
        let (host, port) = server
            .split_once(':')
            .map_or((&*server, ""), |(host, port)| (host, port));
        let path = path.trim_matches('/');
        let (owner, name) = path.strip_suffix(".git").unwrap_or(path).split_once('/')?;
        let good = |part: &str| {
            let plain = part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
            plain && !part.is_empty() && !matches!(part, "." | "..")
        };
        let whole = good(host) && good(owner) && good(name);
        let web = ["https", "http"]
            .into_iter()
            .find(|scheme| {
                url.split_once("://")
                    .is_some_and(|(known, _)| known == *scheme)
            })
            .filter(|_| port.bytes().all(|byte| byte.is_ascii_digit()))
            .map(|scheme| format!("{scheme}://{}", server.trim_end_matches(':')));
        whole.then(|| Self {
            host: host.to_owned(),
            owner: owner.to_owned(),
            name: name.to_owned(),
            web,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> Option<String> {
        HostedRepository::parse(url).map(|it| format!("{} {} {}", it.host, it.owner, it.name))
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
    fn web_server_keeps_scheme_and_port() {
        for (url, web) in [
            (
                "http://127.0.0.1:3000/a/b.git",
                Some("http://127.0.0.1:3000"),
            ),
            ("https://u:p@Git.Example/a/b", Some("https://git.example")),
            ("https://git.example:/a/b", Some("https://git.example")),
            ("ssh://git@git.example:2222/a/b", None),
            ("git@git.example:a/b", None),
        ] {
            let found = HostedRepository::parse(url).unwrap();
            assert_eq!(found.web.as_deref(), web, "{url}");
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
