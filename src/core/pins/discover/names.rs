//! Derives the names of images from their repositories.

use crate::oci::Repository;

/// Distinct names for the repositories, and their common prefix.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Names {
    /// In the order of the repositories.
    pub images: Vec<String>,
    /// The common prefix that was removed.
    pub common: Option<String>,
}

/// The last parts of the repositories without a common prefix (`runtime-review` and `runtime-fix`
/// become `review` and `fix`), or longer names if these would not differ.
pub(crate) fn names(repositories: &[&Repository]) -> Names {
    let plain: Vec<String> = repositories
        .iter()
        .map(|repository| {
            let path = repository.path();
            path.rsplit('/').next().unwrap_or(path).to_owned()
        })
        .collect();
    if !differ(&plain) {
        let joined = |text: String| text.replace(['/', ':'], "-");
        let path: Vec<_> = repositories
            .iter()
            .map(|repository| joined(repository.path().to_owned()))
            .collect();
        let whole = || {
            repositories
                .iter()
                .map(|repository| joined(repository.canonical()))
                .collect()
        };
        let images = if differ(&path) {
            path
        } else {
            numbered(whole())
        };
        return Names {
            images,
            common: None,
        };
    }
    match common_beginning(&plain) {
        0 => Names {
            images: plain,
            common: None,
        },
        end => Names {
            images: plain.iter().map(|name| name[end..].to_owned()).collect(),
            common: Some(plain[0][..end].trim_end_matches(SEPARATORS).to_owned()),
        },
    }
}

const SEPARATORS: [char; 3] = ['-', '_', '.'];

/// The length of the common beginning: up to a separator that a letter follows in each name.
fn common_beginning(names: &[String]) -> usize {
    let [first, others @ ..] = names else {
        return 0;
    };
    let ends = first
        .char_indices()
        .rev()
        .filter(|(_, c)| SEPARATORS.contains(c))
        .map(|(at, _)| at + 1);
    let letter =
        |name: &String, end: usize| name[end..].starts_with(|c: char| c.is_ascii_lowercase());
    let fits = |end: &usize| {
        letter(first, *end)
            && others
                .iter()
                .all(|name| name.starts_with(&first[..*end]) && letter(name, *end))
    };
    if others.is_empty() {
        0
    } else {
        ends.into_iter().find(fits).unwrap_or(0)
    }
}

fn differ(names: &[String]) -> bool {
    let mut sorted: Vec<_> = names.iter().collect();
    sorted.sort();
    sorted.windows(2).all(|pair| pair[0] != pair[1])
}

/// Adds a number to each repeated name.
fn numbered(names: Vec<String>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for name in names {
        let others = (2..).map(|number| format!("{name}-{number}"));
        let free = std::iter::once(name.clone())
            .chain(others)
            .find(|name| !all.contains(name));
        all.push(free.unwrap_or(name));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(texts: &[&str]) -> (Vec<String>, Option<String>) {
        let repositories: Vec<_> = texts
            .iter()
            .map(|text| Repository::parse(text).unwrap())
            .collect();
        let names = names(&repositories.iter().collect::<Vec<_>>());
        (names.images, names.common)
    }

    #[test]
    fn common_beginning_is_removed() {
        let (names, common) = named(&["ghcr.io/acme/runtime-review", "ghcr.io/acme/runtime-fix"]);
        assert_eq!(
            (names, common.as_deref()),
            (vec!["review".into(), "fix".into()], Some("runtime"))
        );
        assert_eq!(named(&["a.b/my-app-x", "a.b/my-app-y"]).0, ["x", "y"]);
        for kept in [
            &["a.b/app"][..],
            &["a.b/runtime-app"],
            &["a.b/app-1", "a.b/app-2"],
            &["a.b/app-1", "a.b/app-x"],
            &["a.b/app-x", "a.b/app-1"],
            &["a.b/runtime", "a.b/runtime-fix"],
            &["a.b/re", "a.b/restore"],
        ] {
            let last = |text: &&str| text.rsplit('/').next().unwrap().to_owned();
            assert_eq!(named(kept), (kept.iter().map(last).collect(), None));
        }
    }

    #[test]
    fn names_always_differ() {
        assert_eq!(
            named(&["a.b/one/app", "a.b/two/app"]).0,
            ["one-app", "two-app"]
        );
        assert_eq!(
            named(&["a.b/x/app", "c.d:5000/x/app"]).0,
            ["a.b-x-app", "c.d-5000-x-app"]
        );
        assert_eq!(
            named(&["a.b:1/x", "a.b-1/x/x", "a.b/x"]).0,
            ["a.b-1-x", "a.b-1-x-x", "a.b-x"]
        );
        assert_eq!(
            numbered(vec!["a".into(), "a".into(), "a-2".into(), "a".into()]),
            ["a", "a-2", "a-2-2", "a-3"]
        );
    }
}
