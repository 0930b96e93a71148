//! The list of a fleet's repositories: one `owner/name[ base]` per line.

use std::collections::{HashMap, HashSet};

use sha2::{Digest as _, Sha256};

use crate::{
    base::error::{Code, Error, Location, SourceText, Span},
    config::is_owner_name,
    forge::fleet::RepositoryName,
    git::check_branch,
    oci::Digest,
};

/// The maximum number of repositories in a list.
const MAX: usize = 100_000;

#[derive(Debug)]
pub(crate) struct FleetList {
    /// The repositories, in the order of the list.
    pub entries: Vec<ListEntry>,
    keys: HashSet<String>,
    /// The hash of the file.
    pub sha256: Digest,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListEntry {
    /// `owner/name`, as written.
    pub repository: String,
    /// The base branch, if the list contains one.
    pub base: Option<String>,
}

impl ListEntry {
    /// The name for comparisons: forges ignore its case.
    pub(crate) fn key(&self) -> String {
        key(&self.repository)
    }

    pub(crate) fn name(&self) -> RepositoryName {
        RepositoryName::parse(&self.repository).expect("`parse` accepts only OWNER/NAME")
    }

    pub(crate) fn line(&self) -> String {
        match &self.base {
            Some(base) => format!("{} {base}", self.repository),
            None => self.repository.clone(),
        }
    }
}

/// A repository's name for comparisons: forges ignore its case.
pub(super) fn key(repository: &str) -> String {
    repository.to_ascii_lowercase()
}

/// The shard that a repository belongs to, counted from 0.
pub(crate) fn shard_of(repository: &str, shards: u64) -> u64 {
    let hash: [u8; 32] = Sha256::digest(key(repository)).into();
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    u64::from_be_bytes(first) % shards.max(1)
}

impl FleetList {
    /// Parses the list in the file `name`, and reports every problem. Empty lines and lines that start
    /// with `#` are ignored.
    pub(crate) fn parse(name: &str, bytes: &[u8]) -> Result<Self, Vec<Error>> {
        let problem = |message: String| vec![Error::input(Code::FLEET_LIST, message)];
        let text =
            std::str::from_utf8(bytes).map_err(|_| problem(format!("{name} is not UTF-8")))?;
        let source = SourceText {
            name: name.to_owned(),
            text: text.into(),
        };
        let (mut entries, mut problems) = (Vec::new(), Vec::new());
        let mut seen = HashMap::new();
        let mut start = 0;
        for (index, line) in text.split_inclusive('\n').enumerate() {
            let content = line.trim_end_matches(['\n', '\r']);
            let span = Span {
                start,
                end: start + content.len(),
            };
            start += line.len();
            if content.trim().is_empty() || content.starts_with('#') {
                continue;
            }
            let message = match parse_line(content) {
                Ok(entry) => {
                    if let Some(first) = seen.insert(entry.key(), index + 1) {
                        format!(
                            "duplicate repository {} (first listed on line {first})",
                            entry.repository
                        )
                    } else {
                        entries.push(entry);
                        continue;
                    }
                }
                Err(message) => message,
            };
            problems.push(Error::input(Code::FLEET_LIST, message).at(Location {
                source: source.clone(),
                span,
                label: String::new(),
                quoted: true,
            }));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        if entries.is_empty() {
            return Err(problem(format!("{name} lists no repository")));
        }
        if entries.len() > MAX {
            let message = format!("{name} lists more than {MAX} repositories");
            return Err(problem(message));
        }
        Ok(Self {
            keys: seen.into_keys().collect(),
            entries,
            sha256: Digest::of(bytes),
        })
    }

    pub(crate) fn contains(&self, key: &str) -> bool {
        self.keys.contains(key)
    }
}

fn parse_line(line: &str) -> Result<ListEntry, String> {
    let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
    let repository = words.next().unwrap_or_default().to_owned();
    if !is_owner_name(&repository) {
        return Err(format!("`{repository}` is not OWNER/NAME"));
    }
    let base = words.next().map(str::to_owned);
    if let Some(base) = &base {
        check_branch(base).map_err(|error| error.to_string())?;
    }
    if words.next().is_some() {
        return Err("expected `OWNER/NAME` or `OWNER/NAME BASE`".to_owned());
    }
    Ok(ListEntry { repository, base })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> String {
        let errors = FleetList::parse("list.txt", text.as_bytes()).unwrap_err();
        errors
            .iter()
            .map(|error| {
                let location = error
                    .location
                    .as_ref()
                    .map(|location| location.line_column());
                format!("{location:?} {}", error.message)
            })
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn list_preserves_order_and_base_branches() {
        let text = "# canaries\r\nacme/Web\r\n\nacme/api  release/2\nother/.github";
        let list = FleetList::parse("list.txt", text.as_bytes()).unwrap();
        let lines: Vec<_> = list.entries.iter().map(ListEntry::line).collect();
        assert_eq!(lines, ["acme/Web", "acme/api release/2", "other/.github"]);
        assert_eq!(list.sha256, Digest::of(text.as_bytes()));
    }

    #[test]
    fn every_malformed_line_is_reported_with_its_place() {
        let text = "acme/web\nacme\nacme/api main more\n../x\nACME/Web main\nacme/x a..b\nacme/é\n";
        assert_eq!(
            problems(text),
            "Some((2, 1)) `acme` is not OWNER/NAME\n\
             Some((3, 1)) expected `OWNER/NAME` or `OWNER/NAME BASE`\n\
             Some((4, 1)) `../x` is not OWNER/NAME\n\
             Some((5, 1)) duplicate repository ACME/Web (first listed on line 1)\n\
             Some((6, 1)) `a..b` is not a valid branch name: `@{`, `..` and a lone `@` have a special \
             meaning in git\n\
             Some((7, 1)) `acme/é` is not OWNER/NAME"
        );
        assert_eq!(problems("\n# none\n"), "None list.txt lists no repository");
        let bytes = FleetList::parse("list.txt", b"\xff").unwrap_err();
        assert!(bytes[0].message.contains("not UTF-8"));
    }

    #[test]
    fn list_length_is_limited() {
        let lines = |count: usize| {
            let lines: Vec<_> = (0..count).map(|n| format!("a/{n}\n")).collect();
            lines.concat()
        };
        assert!(FleetList::parse("l", lines(MAX).as_bytes()).is_ok());
        assert!(problems(&lines(MAX + 1)).contains("more than 100000"));
    }

    #[test]
    fn shard_is_a_hash_of_the_lowercase_name() {
        // The first sixteen digits of `printf acme/web | sha256sum`.
        let first = u64::from_str_radix("86f279ce9c29f106", 16).unwrap();
        assert_eq!(shard_of("acme/web", u64::MAX), first % u64::MAX);
        assert_eq!(shard_of("Acme/WEB", 7), first % 7);
        assert_eq!(shard_of("acme/web", 1), 0);
        let mut sizes = [0_usize; 4];
        for n in 0..4000 {
            let shard = shard_of(&format!("acme/r{n}"), 4);
            sizes[usize::try_from(shard).unwrap()] += 1;
        }
        assert!(
            sizes.iter().all(|size| (850..1150).contains(size)),
            "{sizes:?}"
        );
    }
}
