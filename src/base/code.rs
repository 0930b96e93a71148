//! The codes of checks, errors and lines of `repin doctor`, and their explanations.
//!
//! `src/base/codes.yaml` is the only list. The build script turns it into a constant for each code and
//! into one table, the source of `repin explain`, of `docs/reference.md` and of the `help:` line of
//! errors without specific help.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A code: a public and stable word in lower snake case, with an entry in `src/base/codes.yaml`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(u8);

/// The meaning of a code, and the action that it requires.
#[derive(Debug)]
pub struct Explanation {
    /// The word of the code.
    pub code: &'static str,
    /// The subject that the code is listed under.
    pub section: &'static str,
    /// The reporter of the code.
    pub kind: Kind,
    /// The title of a passed check; `None` for a code that no check has.
    pub passed: Option<&'static str>,
    /// The exit codes of a run with this code only; 0 if it only warns or skips.
    pub exits: &'static [u8],
    /// The problem, in one sentence.
    pub summary: &'static str,
    /// The consequence, and the reason for a refusal.
    pub meaning: &'static str,
    /// The likely causes, the likeliest first.
    pub causes: &'static [&'static str],
    /// The action, as an imperative sentence.
    pub remedy: &'static str,
    /// A command that helps to find or remove the cause.
    pub example: &'static str,
    /// The previous name of the code.
    pub formerly: Option<&'static str>,
}

/// The reporter of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A check, which may also end a run before a chain of checks began.
    Check,
    /// An error of a run.
    Error,
    /// A line of `repin doctor`.
    Doctor,
}

include!(concat!(env!("OUT_DIR"), "/codes.rs"));

impl Code {
    /// The code with this word.
    pub fn of(word: &str) -> Option<Self> {
        Self::all().find(|code| code.as_str() == word)
    }

    /// The code that had this word before it was renamed.
    pub fn renamed(word: &str) -> Option<Self> {
        Self::all().find(|code| code.explanation().formerly == Some(word))
    }

    /// Every code, by section.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..).map(Self).take(EXPLANATIONS.len())
    }

    /// The word of the code.
    pub fn as_str(self) -> &'static str {
        self.explanation().code
    }

    /// The title of a passed check.
    pub fn passed(self) -> &'static str {
        self.explanation().passed.unwrap_or(self.as_str())
    }

    /// The remedy as the text of a `help:` line: no capital, no full stop.
    pub fn help(self) -> String {
        let mut letters = self.explanation().remedy.trim_end_matches('.').chars();
        let first = letters.next().map(|letter| letter.to_ascii_lowercase());
        first.into_iter().chain(letters).collect()
    }

    /// The explanation of the code.
    pub fn explanation(self) -> &'static Explanation {
        &EXPLANATIONS[usize::from(self.0)]
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(text: D) -> Result<Self, D::Error> {
        let word = String::deserialize(text)?;
        // A set that an older build verified contains the former codes.
        let check = Self::of(&word)
            .or_else(|| Self::renamed(&word))
            .filter(|code| code.explanation().kind == Kind::Check);
        check.ok_or_else(|| de::Error::custom(format!("unknown code of a check `{word}`")))
    }
}

/// The explanations by section, in the order of `src/base/codes.yaml`.
pub(crate) fn sections() -> impl Iterator<Item = (&'static str, &'static [Explanation])> {
    EXPLANATIONS
        .chunk_by(|one, next| one.section == next.section)
        .map(|section| (section[0].section, section))
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_former_names_are_free() {
        let explanations = || Code::all().map(Code::explanation);
        let former = explanations().filter_map(|entry| entry.formerly);
        let names: Vec<_> = explanations()
            .map(|entry| entry.code)
            .chain(former)
            .collect();
        let unique: BTreeSet<_> = names.iter().collect();
        assert_eq!(unique.len(), names.len());
        assert_eq!(Code::of("pin_count"), Some(Code::PIN_COUNT));
        assert_eq!(Code::of("nothing"), None);
    }

    #[test]
    fn former_name_of_a_check_is_read() {
        let code: Code = serde_json::from_str("\"enumeration_no_persona\"").unwrap();
        assert_eq!(code, Code::KINDS_ALL_EMPTY);
    }

    #[test]
    fn explanations_are_sentences_with_a_command() {
        for code in Code::all() {
            let found = code.explanation();
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
