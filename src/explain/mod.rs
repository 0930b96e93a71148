//! What every code of a check, an error or a line of `doctor` means, and what to do about it.
//!
//! One table is the source of `repin explain`, of `docs/errors.md` and of the `help:` line of
//! errors without specific help. Nothing is judged or printed here.

mod contents;
mod contracts;
mod doctor;
mod history;
mod images;
mod pins;
mod prune;
mod run;
mod trust;

/// What a code means, and what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explanation {
    /// A lower-snake-case word, public and stable.
    pub code: &'static str,
    /// What reports the code.
    pub kind: Kind,
    /// The exit codes of a run that ends with this code alone; 0 if it only warns or skips.
    pub exits: &'static [u8],
    /// What is wrong, in one sentence.
    pub summary: &'static str,
    /// What that means, and why repin refuses to continue.
    pub meaning: &'static str,
    /// What usually leads to it, the likeliest first.
    pub causes: &'static [&'static str],
    /// What to do, as an imperative sentence.
    pub remedy: &'static str,
    /// A command that helps to find or remove the cause.
    pub example: &'static str,
}

impl Explanation {
    /// The remedy as the text of a `help:` line: no capital, no full stop.
    pub fn help(&self) -> String {
        let mut letters = self.remedy.trim_end_matches('.').chars();
        let first = letters.next().map(|letter| letter.to_ascii_lowercase());
        first.into_iter().chain(letters).collect()
    }
}

/// What reports a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A check, which may also end a run before a chain of checks began.
    Check,
    /// An error of a run.
    Error,
    /// A line of `repin doctor`.
    Doctor,
}

impl Kind {
    /// The word of the documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Error => "error",
            Self::Doctor => "doctor",
        }
    }
}

/// The explanations by subject, in the order in which they are listed.
pub const SECTIONS: [(&str, &[Explanation]); 9] = [
    ("Pins and files", pins::ALL),
    ("History", history::ALL),
    ("Images", images::ALL),
    ("Signatures and attestations", trust::ALL),
    ("What images contain", contents::ALL),
    ("Contracts and listings", contracts::ALL),
    ("Runs", run::ALL),
    ("Deletions", prune::ALL),
    ("Lines of doctor", doctor::ALL),
];

/// Every explanation.
pub fn all() -> impl Iterator<Item = &'static Explanation> {
    SECTIONS.into_iter().flat_map(|(_, section)| section)
}

/// The explanation of a code.
pub fn of(code: &str) -> Option<&'static Explanation> {
    all().find(|explanation| explanation.code == code)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_code_is_explained_once() {
        let codes: BTreeSet<_> = all().map(|explanation| explanation.code).collect();
        assert_eq!(codes.len(), all().count());
        assert_eq!(of("pin_count").map(|found| found.code), Some("pin_count"));
        assert_eq!(of("nothing"), None);
    }

    #[test]
    fn explanations_are_sentences_with_a_command() {
        for found in all() {
            let code = found.code;
            let sentences = [found.summary, found.meaning];
            assert!(
                sentences
                    .iter()
                    .all(|text| text.ends_with('.') && text.len() > 20),
                "{code}"
            );
            assert!(!found.causes.is_empty(), "{code}");
            assert!(found.causes.iter().all(|cause| cause.len() > 15), "{code}");
            assert!(found.remedy.len() > 20, "{code}");
            assert!(
                found.example.starts_with("repin ") || found.example.starts_with("git "),
                "{code}"
            );
        }
    }
}
