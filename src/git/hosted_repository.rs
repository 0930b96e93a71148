//! The repository on a forge that a clone came from.

use super::{Git, GitError};

/// A repository on a forge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostedRepository {
    /// The host of the forge in lower case, without a port.
    pub host: String,
    pub owner: String,
    pub name: String,
    /// The scheme, host and port of the web server; `None` for an SSH URL.
    pub web: Option<String>,
}

impl Git {
    /// The URL of the remote `origin`. It may contain a password and must not be printed.
    pub(crate) fn origin(&self) -> Result<Option<String>, GitError> {
        // `config --get` exits with 1 if the key is missing; a listing distinguishes that from a
        // failure.
        let listed = self.kept_output(
            "config",
            &[
                "--get-regexp",
                "--null",
                r"^(remote\.origin\.url|core\.bare)$",
            ],
            &[],
        );
        let listed = String::from_utf8_lossy(&listed?.1).into_owned();
        let url = listed
            .split('\0')
            .find_map(|entry| entry.strip_prefix("remote.origin.url\n"));
        Ok(url.map(str::to_owned))
    }
}

impl HostedRepository {
    /// Parses the URL of a remote: `https://HOST/OWNER/NAME.git`, `ssh://git@HOST:PORT/OWNER/NAME`,
    /// `git@HOST:OWNER/NAME`. Users and passwords are dropped. `None` for a path that is not an
    /// owner and a name.
    pub(crate) fn parse(url: &str) -> Option<Self> {
        let (scheme, authority, path) = match url.split_once("://") {
            Some((scheme @ ("https" | "http" | "ssh" | "git"), rest)) => {
                let (authority, path) = rest.split_once('/')?;
                (scheme, authority, path)
            }
            Some(_) => return None,
            // The rule of git (git-clone, "GIT URLS"): a colon without a slash before it.
            None => {
                let (authority, path) = url.split_once(':')?;
                if authority.contains('/') {
                    return None;
                }
                ("ssh", authority, path)
            }
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
        for part in [host, owner, name] {
            let is_plain = part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
            if !is_plain || matches!(part, "" | "." | "..") {
                return None;
            }
        }
        let is_web =
            matches!(scheme, "https" | "http") && port.bytes().all(|byte| byte.is_ascii_digit());
        Some(Self {
            host: host.to_owned(),
            owner: owner.to_owned(),
            name: name.to_owned(),
            web: is_web.then(|| format!("{scheme}://{}", server.trim_end_matches(':'))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> Option<String> {
        let HostedRepository {
            host, owner, name, ..
        } = HostedRepository::parse(url)?;
        Some(format!("{host} {owner} {name}"))
    }

    #[test]
    fn all_forms_of_a_remote_url_are_parsed() {
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
