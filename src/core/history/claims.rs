//! Claims of commits to have promoted a revision, by their title or by the trailer `Repin-Set`.
//!
//! `evidence` and `events` compare the claims with the contents.

use crate::{
    config::{Config, Override, SetPath, TagTemplate, Template, Trailer},
    git::commits::CommitInfo,
    oci::{Pattern, Revision},
};

/// The revisions that a commit's message gives to the set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Claims {
    /// The revision of the last trailer, or that of a title which no trailer contains; for a merge, also those of its
    /// merged commits.
    pub(super) revisions: Vec<Revision>,
    /// The revisions in titles.
    pub(super) by_title: Vec<Revision>,
    /// The revisions to which the title records a rollback of the set. A trailer does not state the operation.
    pub(super) rolled_back: Vec<Revision>,
    /// Whether the commit has the trailer that promotes held digests on purpose, for the set that it pins.
    pub(super) is_override: bool,
}

/// The forms of titles and tags, by the current configuration and by every configuration of the line.
#[derive(Debug)]
pub(super) struct ClaimTemplates {
    /// Each title template of promotions with the name of its configuration.
    templates: Vec<(Template, String)>,
    /// Each title template of rollbacks with the name of its configuration.
    rollbacks: Vec<(Template, String)>,
    tags: Vec<TagTemplate>,
    pattern: Pattern,
}

impl ClaimTemplates {
    pub(super) fn new(config: &Config) -> Self {
        let mut templates = Self {
            templates: Vec::new(),
            rollbacks: Vec::new(),
            tags: Vec::new(),
            pattern: config.revision.pattern.clone(),
        };
        templates.add(config);
        templates
    }

    /// Adds the templates of another configuration.
    pub(super) fn add(&mut self, config: &Config) {
        let mut names = vec![config.name.as_str()];
        // Earlier versions called every set without a name `images`.
        if config.name == config.set_path.key() {
            names.push("images");
        }
        for name in names {
            let title = (config.promote.title.clone(), name.to_owned());
            add_missing(&mut self.templates, &[title]);
            let title = (config.rollback.title.clone(), name.to_owned());
            add_missing(&mut self.rollbacks, &[title]);
        }
        add_missing(&mut self.tags, std::slice::from_ref(&config.revision.tag));
    }

    /// The tag templates of all configurations.
    pub(super) fn into_tag_templates(self) -> Vec<TagTemplate> {
        self.tags
    }

    /// The claims of a commit with this subject and these trailer lines. `paths`: the paths of the set at
    /// this commit.
    ///
    /// A title and a trailer without a path refer to every set, unless a trailer of the same commit
    /// refers to this set with its path. Of several revisions, the last one counts, or else that of a title
    /// that no trailer contains: a squash merge of several promotions lists their messages in the order of the
    /// commits (GitHub Docs, "About merge methods on GitHub"), may have the title of the first one, and pins the last
    /// set.
    pub(super) fn claims(&self, subject: &[u8], trailers: &[u8], paths: &[&SetPath]) -> Claims {
        let title = std::str::from_utf8(subject).unwrap_or_default().trim_end();
        let revisions_in = |templates: &[(Template, String)]| {
            let mut revisions = Vec::new();
            for text in title_forms(title) {
                for (template, name) in templates {
                    let revision = template.revision_in(text, name);
                    revisions.extend(revision.and_then(|text| self.pattern.revision(text).ok()));
                }
            }
            revisions
        };
        let mut promoted = revisions_in(&self.templates);
        let mut rolled_back = revisions_in(&self.rollbacks);
        let (mut with_path, mut without_path) = (Vec::new(), Vec::new());
        let mut sets = Vec::new();
        let lines = trailers.split(|byte| *byte == b'\n');
        let mut is_override = false;
        for line in lines.filter_map(|line| std::str::from_utf8(line).ok()) {
            // In a squash merge of several promotions, each override follows the trailer of its own one.
            is_override |= Override::parse(line).is_some();
            let Some(trailer) = Trailer::parse(line) else {
                continue;
            };
            // The set of another path may have revisions of another form.
            is_override = false;
            add_missing(&mut sets, std::slice::from_ref(&trailer.set));
            let Ok(revision) = self.pattern.revision(trailer.revision) else {
                continue;
            };
            match trailer.set {
                None => without_path.push(revision),
                Some(set) if paths.contains(&&set) => with_path.push(revision),
                Some(_) => {}
            }
        }
        let trailers = if with_path.is_empty() {
            without_path
        } else {
            promoted.retain(|revision| with_path.contains(revision));
            rolled_back.retain(|revision| with_path.contains(revision));
            with_path
        };
        let mut by_title = Vec::new();
        add_missing(&mut by_title, &promoted);
        let mut revisions = by_title.clone();
        // The title may be that of another set with the same name, which the trailers name.
        let is_other = |set: &Option<SetPath>| {
            let path = set.as_ref();
            path.is_some_and(|path| !paths.contains(&path))
        };
        if !sets.is_empty() && sets.iter().all(is_other) {
            rolled_back.clear();
            is_override = false;
        }
        // In a commit for several sets, the override may be that of another set. A rollback needs none, but the titles of
        // promotions and rollbacks may be equal.
        is_override &= (!revisions.is_empty() || !trailers.is_empty())
            && sets.len() <= 1
            && (rolled_back.is_empty() || !by_title.is_empty());
        if revisions.is_empty() || revisions.iter().any(|one| trailers.contains(one)) {
            revisions = trailers.into_iter().last().into_iter().collect();
            by_title.retain(|revision| revisions.contains(revision));
        }
        Claims {
            revisions,
            by_title,
            rolled_back,
            is_override,
        }
    }
}

impl Claims {
    /// Whether they record the set.
    pub(super) fn is_record(&self) -> bool {
        !self.revisions.is_empty() || !self.rolled_back.is_empty()
    }

    /// Adds the claims of another commit.
    pub(super) fn extend(&mut self, other: &Self) {
        add_missing(&mut self.revisions, &other.revisions);
        add_missing(&mut self.by_title, &other.by_title);
    }
}

/// Adds the items that are missing.
fn add_missing<T: Clone + PartialEq>(items: &mut Vec<T>, others: &[T]) {
    for item in others {
        if !items.contains(item) {
            items.push(item.clone());
        }
    }
}

/// The subject without the ` (#N)` that forges append to the title of a squash merge, if it has one, and
/// then the whole subject.
pub(super) fn title_forms(subject: &str) -> impl Iterator<Item = &str> {
    strip_number(subject).into_iter().chain([subject])
}

fn strip_number(subject: &str) -> Option<&str> {
    let (title, number) = subject.strip_suffix(')')?.rsplit_once(" (#")?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some(title)
}

/// The number of the pull request in a merge by a forge.
pub(super) fn pull_request(info: &CommitInfo) -> Option<u64> {
    number_in(info.subject()).or_else(|| info.merge_request())
}

/// The number of the pull request in the subject of a merge by a forge: `TITLE (#N)` of a squash
/// merge, `Merge pull request #N from HEAD` of GitHub's merge commits, `Merge pull request 'TITLE'
/// (#N) from HEAD into BASE` of Gitea's and Forgejo's.
fn number_in(subject: &[u8]) -> Option<u64> {
    let subject = std::str::from_utf8(subject).ok()?.trim_end();
    let number = match subject.strip_prefix("Merge pull request ") {
        Some(merge) => match merge.strip_prefix('#') {
            Some(number) => number.split_once(" from ")?.0,
            // The title may contain such a number, so the last one before a source branch counts.
            None => merge.rsplit_once(") from ")?.0.rsplit_once("' (#")?.1,
        },
        None => subject.strip_suffix(')')?.rsplit_once(" (#")?.1,
    };
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    number.parse().ok().filter(|number| *number > 0)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::base::error::SourceText;

    fn config(name: &str, pattern: &str) -> Config {
        config_at("repin.yaml", &format!("name: {name}"), pattern)
    }

    fn config_at(path: &str, name: &str, pattern: &str) -> Config {
        let text = format!(
            "version: 1\n{name}\nfiles: [a]\nrevision: {{ pattern: '{pattern}' }}\nimages:\n  a: {{ repository: x.y/a, pins: 1 }}\n"
        );
        let source = SourceText {
            name: "repin.yaml".into(),
            text: text.into(),
        };
        let set = SetPath::new(Path::new(path)).unwrap();
        crate::config::parse(&source, Path::new("/"), &set).unwrap()
    }

    fn claims(subject: &str, values: &str) -> Vec<String> {
        let titles = ClaimTemplates::new(&config("images", "[a-f]{4}"));
        claims_by(&titles, subject, values).0
    }

    /// All claimed revisions, and those of the title, of a commit with these values of trailers.
    fn claims_by(
        titles: &ClaimTemplates,
        subject: &str,
        values: &str,
    ) -> (Vec<String>, Vec<String>) {
        let lines: Vec<_> = values
            .lines()
            .map(|value| format!("Repin-Set: {value}\r"))
            .collect();
        let claims = titles.claims(
            subject.as_bytes(),
            lines.join("\n").as_bytes(),
            &[&SetPath::top()],
        );
        let texts = |revisions: &[Revision]| revisions.iter().map(ToString::to_string).collect();
        (texts(&claims.revisions), texts(&claims.by_title))
    }

    #[test]
    fn set_without_a_name_was_called_images() {
        for (name, expected) in [("", &["beef"][..]), ("name: web", &[])] {
            let titles = ClaimTemplates::new(&config_at("prod/repin.yaml", name, "[a-f]{4}"));
            assert_eq!(claims_by(&titles, "promote: images @beef", "").0, expected);
            let own = if name.is_empty() { "prod" } else { "web" };
            let subject = format!("promote: {own} @beef");
            assert_eq!(claims_by(&titles, &subject, "").0, ["beef"]);
        }
    }

    #[test]
    fn title_counts_exactly_or_followed_by_a_number() {
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
    fn pull_request_number_is_read_from_forge_titles() {
        let number = |subject: &str| number_in(subject.as_bytes());
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
        assert_eq!(number_in(b"promote \xff (#1)"), None);
    }

    #[test]
    fn title_or_last_trailer_is_the_claim() {
        assert_eq!(claims("chore", "beef"), ["beef"]);
        assert_eq!(claims("chore", "beef\ncafe"), ["cafe"]);
        assert_eq!(claims("promote: images @face", "beef\ncafe"), ["face"]);
        // A squash merge with the title of its first promotion.
        assert_eq!(claims("promote: images @beef", "beef\ncafe"), ["cafe"]);
        assert_eq!(claims("promote: images @cafe", "beef\ncafe"), ["cafe"]);
        let prod = "beef (repin.yaml)\ncafe (repin.yaml)";
        assert_eq!(claims("chore", prod), ["cafe"]);
        assert_eq!(claims("promote: images @beef", prod), ["cafe"]);
        assert_eq!(
            claims("chore", "beef cafe\nxyz\n\u{1}beef"),
            [] as [&str; 0]
        );
    }

    #[test]
    fn subject_that_is_not_utf8_claims_nothing() {
        let titles = ClaimTemplates::new(&config("images", "[a-f]{4}"));
        let claims = titles.claims(b"promote: images @beef\xff", b"Repin-Set: \xff", &[]);
        assert_eq!(claims, Claims::default());
    }

    #[test]
    fn revision_excludes_the_pull_request_number() {
        let titles = ClaimTemplates::new(&config("images", ".+"));
        let (revisions, _) = claims_by(&titles, "promote: images @beef (#1)", "");
        assert_eq!(revisions[0], "beef");
    }

    #[test]
    fn trailer_with_a_path_refers_to_that_set() {
        assert_eq!(claims("chore", "beef (repin.yaml)"), ["beef"]);
        let prod = "cafe (envs/prod/repin.yaml)";
        assert_eq!(claims("chore", prod), [] as [&str; 0]);
        let both = format!("{prod}\nbeef (repin.yaml)");
        assert_eq!(claims("promote: images @face", &both), ["beef"]);
        let other = format!("{prod}\nbeef");
        assert_eq!(claims("promote: images @face", &other), ["face"]);
    }

    #[test]
    fn promotion_title_is_for_its_set() {
        let titles = ClaimTemplates::new(&config("images", "[a-f]{4}"));
        let promoted = |values: &str| claims_by(&titles, "promote: images @face", values).1;
        assert_eq!(promoted(""), ["face"]);
        assert_eq!(promoted("beef"), ["face"]);
        assert_eq!(promoted("face (repin.yaml)"), ["face"]);
        assert_eq!(promoted("beef (repin.yaml)"), [] as [&str; 0]);
        assert_eq!(claims_by(&titles, "chore", "beef").1, [] as [&str; 0]);
    }

    #[test]
    fn override_is_that_of_one_set() {
        let of = |titles: &ClaimTemplates, subject: &str, lines: &[&str]| {
            let lines = lines.join("\n");
            let claims = titles.claims(subject.as_bytes(), lines.as_bytes(), &[&SetPath::top()]);
            claims.is_override
        };
        let forced = "Repin-Override: rolled_back";
        let titles = ClaimTemplates::new(&config("images", "[a-f]{4}"));
        assert!(of(&titles, "chore", &["Repin-Set: beef", forced]));
        assert!(!of(&titles, "chore", &[forced]));
        let earlier = ["Repin-Set: beef", forced, "Repin-Set: cafe"];
        assert!(!of(&titles, "chore", &earlier));
        // The revisions of the other set have another form.
        let other = ["Repin-Set: v1.2 (b/repin.yaml)", "Repin-Set: beef", forced];
        assert!(!of(&titles, "chore", &other));
        assert!(!of(
            &titles,
            "promote: images @beef",
            &["Repin-Set: beef (b/repin.yaml)", forced]
        ));
        let rollback = "rollback: images @beef";
        for (line, is_own) in [
            ("beef", true),
            ("beef (repin.yaml)", true),
            ("beef (b/repin.yaml)", false),
        ] {
            let line = format!("Repin-Set: {line}");
            let claims = titles.claims(rollback.as_bytes(), line.as_bytes(), &[&SetPath::top()]);
            assert_eq!(!claims.rolled_back.is_empty(), is_own, "{line}");
        }
        assert!(!of(&titles, rollback, &["Repin-Set: beef", forced]));
        // Both titles are equal.
        let title = "promote: { title: 'set {name} @{revision}' }\nrollback: { title: 'set {name} @{revision}' }";
        let titles = ClaimTemplates::new(&config_at("repin.yaml", title, "[a-f]{4}"));
        assert!(of(
            &titles,
            "set images @beef",
            &["Repin-Set: beef", forced]
        ));
    }

    #[test]
    fn titles_of_added_configurations_count() {
        let mut titles = ClaimTemplates::new(&config("images", "[a-f]{4}"));
        let claims = |titles: &ClaimTemplates, subject: &str| claims_by(titles, subject, "").0;
        assert_eq!(claims(&titles, "promote: old @beef"), [] as [&str; 0]);
        titles.add(&config("old", "[0-9]"));
        assert_eq!(claims(&titles, "promote: old @beef"), ["beef"]);
        assert_eq!(claims(&titles, "promote: old @1"), [] as [&str; 0]);
    }
}
