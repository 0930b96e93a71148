//! Values that a run needs and that nobody may see.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

use crate::{
    error::{Class, Error},
    untrusted::Forms,
};

/// Lines of a value that are shorter than this are not looked for on their own: they could be
/// anything.
const LINE_MIN: usize = 8;

/// Variables that are not set, or empty: a CI system turns a secret that it does not have into an
/// empty one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the smoke command needs {}, which {} not set", .names.join(", "), if .names.len() == 1 { "is" } else { "are" })]
pub struct MissingSecret {
    /// Their names, in the order of the configuration.
    pub names: Vec<String>,
}

/// The values of `smoke.env`, to be taken out of everything that comes back.
pub struct Secrets {
    forms: Forms,
}

impl From<MissingSecret> for Error {
    fn from(missing: MissingSecret) -> Self {
        let hint = "set it in the environment of repin, or remove it from `smoke.env`".to_owned();
        Self {
            help: Some(hint),
            ..Self::about(Class::Denied, "smoke", missing.to_string())
        }
    }
}

impl Secrets {
    /// Finds the variables called `names`; every one must be set.
    pub fn of(names: &[String], variables: &[(OsString, OsString)]) -> Result<Self, MissingSecret> {
        let value = |name: &String| {
            let found = variables
                .iter()
                .find(|(key, _)| key.as_bytes() == name.as_bytes());
            found
                .map(|(_, value)| value.as_bytes())
                .filter(|value| !value.is_empty())
        };
        let missing: Vec<_> = names
            .iter()
            .filter(|name| value(name).is_none())
            .cloned()
            .collect();
        if !missing.is_empty() {
            return Err(MissingSecret { names: missing });
        }
        let mut forms = Forms::default();
        for pattern in names.iter().filter_map(value).flat_map(patterns) {
            forms.add(&pattern);
        }
        Ok(Self { forms })
    }

    /// How many bytes the longest one may take.
    pub(super) fn longest(&self) -> usize {
        self.forms.longest()
    }

    /// For each byte whether it is part of a secret.
    pub(super) fn mask(&self, bytes: &[u8]) -> Vec<bool> {
        self.forms.mask(bytes)
    }
}

/// The value itself, without the white space around it, and each longer line of it.
fn patterns(value: &[u8]) -> Vec<Vec<u8>> {
    let mut patterns = vec![value.to_vec(), value.trim_ascii().to_vec()];
    let lines = value.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    patterns.extend(
        lines
            .filter(|line| line.len() >= LINE_MIN)
            .map(<[u8]>::to_vec),
    );
    patterns.retain(|pattern| !pattern.is_empty());
    patterns.sort_unstable();
    patterns.dedup();
    patterns
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::smoke) fn secrets(values: &[&str]) -> Secrets {
        let names: Vec<_> = (0..values.len()).map(|at| format!("S{at}")).collect();
        let variables: Vec<_> = names
            .iter()
            .zip(values)
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        Secrets::of(&names, &variables).unwrap()
    }

    fn masked(values: &[&str], text: &str) -> String {
        let mask = secrets(values).mask(text.as_bytes());
        text.bytes()
            .zip(mask)
            .map(|(byte, secret)| if secret { '#' } else { char::from(byte) })
            .collect()
    }

    #[test]
    fn every_variable_has_to_be_there_and_filled() {
        let names = ["A", "B", "C"].map(str::to_owned);
        let variables = [("A".into(), "x".into()), ("B".into(), "".into())];
        let missing = Secrets::of(&names, &variables).err().unwrap();
        assert_eq!(missing.names, ["B", "C"]);
        assert_eq!(
            missing.to_string(),
            "the smoke command needs B, C, which are not set"
        );
        let error = Error::from(missing);
        assert_eq!(error.class, Class::Denied);
    }

    #[test]
    fn all_occurrences_are_found_also_where_they_overlap() {
        assert_eq!(masked(&["tok"], "a tok, tok"), "a ###, ###");
        assert_eq!(masked(&["aba"], "xababax"), "x#####x");
        assert_eq!(masked(&["abc", "cde"], "abcde"), "#####");
        assert_eq!(masked(&[], "abc"), "abc");
    }

    #[test]
    fn encoded_forms_are_found_too() {
        // `user:s3cret!` as a header holds it, and as a form does.
        assert_eq!(
            masked(&["s3cret!"], "Basic dXNlcjpzM2NyZXQh."),
            "Basic dXNlcj##########."
        );
        assert_eq!(masked(&["s3cret!"], "<s3cret%21>"), "<#########>");
    }

    #[test]
    fn a_value_is_found_without_its_newline_and_line_by_line() {
        assert_eq!(masked(&["token\n"], "<token>"), "<#####>");
        assert_eq!(
            masked(
                &["-----BEGIN\nlong line here\nab"],
                "> long line here\n> ab"
            ),
            "> ##############\n> ab"
        );
        assert_eq!(masked(&["  "], "a  b"), "a##b");
    }
}
