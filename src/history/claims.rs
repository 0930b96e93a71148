//! What commits say about themselves: which set they promoted, by their title or by the trailer
//! `Repin-Set`.
//!
//! Only claims: whether the content bears them out is for `line` and `provenance`.

use crate::{
    config::{Config, Template},
    oci::{Pattern, Revision},
};

/// The titles of promotes: by the current configuration, and by every configuration that was in
/// force on the line.
#[derive(Debug)]
pub(super) struct Titles {
    known: Vec<(Template, String)>,
    /// How a revision became a tag.
    tags: Vec<Template>,
    pattern: Pattern,
}

impl Titles {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            known: vec![(config.promote.title.clone(), config.name.clone())],
            tags: vec![config.revision.tag.clone()],
            pattern: config.revision.pattern.clone(),
        }
    }

    /// Recognises the titles of another configuration, too.
    pub(super) fn learn(&mut self, config: &Config) {
        let title = (config.promote.title.clone(), config.name.clone());
        if !self.known.contains(&title) {
            self.known.push(title);
        }
        if !self.tags.contains(&config.revision.tag) {
            self.tags.push(config.revision.tag.clone());
        }
    }

    /// The tag templates: of the current configuration, and of every past one that was read.
    pub(super) fn into_tags(self) -> Vec<Template> {
        self.tags
    }

    /// The revisions that a commit with this subject and these trailer values claims; the title's
    /// first.
    pub(super) fn claims(&self, subject: &[u8], trailers: &[u8]) -> Vec<Revision> {
        let mut claims = Vec::new();
        let mut claim = |text: &str| {
            if let Ok(revision) = self.pattern.revision(text)
                && !claims.contains(&revision)
            {
                claims.push(revision);
            }
        };
        if let Ok(subject) = std::str::from_utf8(subject) {
            let subject = subject.trim_end();
            let exact = without_number(subject).into_iter().chain([subject]);
            for text in exact {
                self.known
                    .iter()
                    .filter_map(|(title, name)| title.revision_in(text, name))
                    .for_each(&mut claim);
            }
        }
        for value in trailers
            .split(|b| *b == b'\n')
            .filter_map(|value| std::str::from_utf8(value).ok())
        {
            claim(value.trim());
        }
        claims
    }
}

/// The subject without the ` (#N)` that forges put behind the title of a squash merge.
pub(super) fn without_number(subject: &str) -> Option<&str> {
    let (title, number) = subject.strip_suffix(')')?.rsplit_once(" (#")?;
    (!number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())).then_some(title)
}

/// The number of the pull request in the subject of a commit that a forge made of it: `TITLE (#N)`
/// of a squash merge, `Merge pull request #N from HEAD` of GitHub's merge commits, `Merge pull
/// request 'TITLE' (#N) from HEAD into BASE` of Gitea's and Forgejo's.
pub(super) fn pull_request(subject: &[u8]) -> Option<u64> {
    let subject = std::str::from_utf8(subject).ok()?.trim_end();
    let number = match subject.strip_prefix("Merge pull request ") {
        Some(merge) => match merge.strip_prefix('#') {
            Some(rest) => rest.split_once(" from ")?.0,
            // The title may contain anything, so the last number before a source branch counts.
            None => merge.rsplit_once(") from ")?.0.rsplit_once("' (#")?.1,
        },
        None => subject.strip_suffix(')')?.rsplit_once(" (#")?.1,
    };
    let digits = number.bytes().all(|b| b.is_ascii_digit());
    number.parse().ok().filter(|number| digits && *number > 0)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::error::SourceText;

    fn config(name: &str, pattern: &str) -> Config {
        let text = format!(
            "version: 1\nname: {name}\nfiles: [a]\nrevision: {{ pattern: '{pattern}' }}\nimages:\n  a: {{ repository: x.y/a, pins: 1 }}\n"
        );
        crate::config::parse(
            &SourceText {
                name: "repin.yaml".into(),
                text: text.into(),
            },
            Path::new("/"),
        )
        .unwrap()
    }

    fn claims(subject: &str, trailers: &str) -> Vec<String> {
        let titles = Titles::new(&config("images", "[a-f]{4}"));
        titles
            .claims(subject.as_bytes(), trailers.as_bytes())
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_title_counts_exactly_or_with_a_number_behind_it() {
        assert_eq!(claims("promote: images @beef", ""), ["beef"]);
        assert_eq!(claims("promote: images @beef (#12)", ""), ["beef"]);
        for other in [
            "Revert \"promote: images @beef\"",
            "promote: images @beef and more",
            "promote: images @beef (#)",
            "promote: images @beef (#1a)",
            "promote: images @beef(#1)",
            "promote: images @beef (#1) (#2)",
            "Promote: images @beef",
            " promote: images @beef",
            "promote: images @beefbeef",
            "promote: images @\u{1b}eef",
            "rollback: images @beef",
        ] {
            assert_eq!(claims(other, ""), [] as [&str; 0], "{other}");
        }
        assert_eq!(claims("promote: images @beef\r", ""), ["beef"]);
    }

    #[test]
    fn pull_requests_are_numbered_as_forges_write_them() {
        let number = |subject: &str| pull_request(subject.as_bytes());
        assert_eq!(number("promote: images @beef (#12)"), Some(12));
        assert_eq!(number("Merge pull request #7 from acme/auto/x"), Some(7));
        assert_eq!(
            number("Merge pull request 'fix (#3) from b' (#8) from auto/x into main"),
            Some(8)
        );
        for none in [
            "promote: images @beef",
            "promote: images @beef (#12) and more",
            "promote (#0)",
            "promote (#)",
            "promote (#+1)",
            "promote (#99999999999999999999)",
            "Merge pull request #x from y",
            "Merge pull request #7",
            "Merge branch 'auto/x'",
        ] {
            assert_eq!(number(none), None, "{none}");
        }
        assert_eq!(pull_request(b"promote \xff (#1)"), None);
    }

    #[test]
    fn trailers_count_one_by_one() {
        assert_eq!(claims("chore", "beef"), ["beef"]);
        assert_eq!(
            claims("promote: images @beef", "beef\ncafe"),
            ["beef", "cafe"]
        );
        assert_eq!(
            claims("chore", "beef cafe\nxyz\n\u{1}beef"),
            [] as [&str; 0]
        );
    }

    #[test]
    fn non_text_bytes_claim_nothing() {
        let titles = Titles::new(&config("images", "[a-f]{4}"));
        assert_eq!(titles.claims(b"promote: images @beef\xff", b"\xff"), []);
    }

    #[test]
    fn a_number_is_never_part_of_a_revision() {
        let titles = Titles::new(&config("images", ".+"));
        assert_eq!(
            titles.claims(b"promote: images @beef (#1)", b"")[0].as_str(),
            "beef"
        );
    }

    #[test]
    fn titles_of_older_configurations_count_once_they_are_known() {
        let mut titles = Titles::new(&config("images", "[a-f]{4}"));
        assert_eq!(titles.claims(b"promote: old @beef", b""), []);
        titles.learn(&config("old", "[0-9]"));
        assert_eq!(titles.claims(b"promote: old @beef", b"").len(), 1);
        assert_eq!(titles.claims(b"promote: old @1", b""), []);
    }
}
