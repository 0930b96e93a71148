//! The values of `smoke.env`, which are masked in all output.

use std::{ffi::OsString, os::unix::ffi::OsStrExt as _};

use crate::base::{
    error::{Class, Error},
    untrusted::Forms,
};

/// Shorter lines of a value are not masked separately, because they may also occur in other text.
const MIN_LINE: usize = 8;

/// Variables that are unset or empty. A CI system sets an unavailable secret to an empty value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the smoke command needs {}, which {} not set", .names.join(", "), if .names.len() == 1 { "is" } else { "are" })]
pub struct MissingSecret {
    /// The variables, in the order of the configuration.
    pub names: Vec<String>,
}

/// The values of `smoke.env`.
pub(crate) struct Secrets {
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
    /// Looks up the variables in `names`, each of which must be set.
    pub(crate) fn from_variables(
        names: &[String],
        variables: &[(OsString, OsString)],
    ) -> Result<Self, MissingSecret> {
        let mut forms = Forms::default();
        let mut missing = Vec::new();
        for name in names {
            let variable = variables
                .iter()
                .find(|(key, _)| key.as_bytes() == name.as_bytes())
                .filter(|(_, value)| !value.is_empty());
            let Some((_, value)) = variable else {
                missing.push(name.clone());
                continue;
            };
            for pattern in patterns(value.as_bytes()) {
                forms.add(&pattern);
            }
        }
        if !missing.is_empty() {
            return Err(MissingSecret { names: missing });
        }
        Ok(Self { forms })
    }

    /// The maximum length of a secret in any of its forms, in bytes.
    pub(super) fn longest(&self) -> usize {
        self.forms.longest()
    }

    /// Marks each byte that is part of a secret.
    pub(super) fn mask(&self, bytes: &[u8]) -> Vec<bool> {
        self.forms.mask(bytes)
    }
}

/// The value, the value without surrounding white space, and each of its long lines.
fn patterns(value: &[u8]) -> Vec<Vec<u8>> {
    let mut patterns = vec![value.to_vec(), value.trim_ascii().to_vec()];
    for line in value.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii();
        if line.len() >= MIN_LINE {
            patterns.push(line.to_vec());
        }
    }
    patterns.retain(|pattern| !pattern.is_empty());
    patterns.sort_unstable();
    patterns.dedup();
    patterns
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::core::smoke) fn secrets(values: &[&str]) -> Secrets {
        let names: Vec<_> = (0..values.len()).map(|index| format!("S{index}")).collect();
        let variables: Vec<_> = names
            .iter()
            .zip(values)
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        Secrets::from_variables(&names, &variables).unwrap()
    }

    fn mask(values: &[&str], text: &str) -> String {
        let mask = secrets(values).mask(text.as_bytes());
        text.bytes()
            .zip(mask)
            .map(|(byte, secret)| if secret { '#' } else { char::from(byte) })
            .collect()
    }

    #[test]
    fn unset_and_empty_variables_are_reported() {
        let names = ["A", "B", "C"].map(str::to_owned);
        let variables = [("A".into(), "x".into()), ("B".into(), "".into())];
        let missing = Secrets::from_variables(&names, &variables).err().unwrap();
        assert_eq!(missing.names, ["B", "C"]);
        assert_eq!(
            missing.to_string(),
            "the smoke command needs B, C, which are not set"
        );
        let error = Error::from(missing);
        assert_eq!(error.class, Class::Denied);
    }

    #[test]
    fn overlapping_occurrences_are_masked() {
        assert_eq!(mask(&["toke"], "a toke, toke"), "a ####, ####");
        assert_eq!(mask(&["abba"], "xabbabbax"), "x#######x");
        assert_eq!(mask(&["abcd", "cdef"], "abcdef"), "######");
        // Too short to be a secret.
        assert_eq!(mask(&["abc"], "abcd"), "abcd");
        assert_eq!(mask(&[], "abc"), "abc");
    }

    #[test]
    fn encoded_forms_are_masked() {
        // `user:s3cret!` in an Authorization header, and `s3cret!` in a form.
        assert_eq!(
            mask(&["s3cret!"], "Basic dXNlcjpzM2NyZXQh."),
            "Basic dXNlcj##########."
        );
        assert_eq!(mask(&["s3cret!"], "<s3cret%21>"), "<#########>");
    }

    #[test]
    fn value_is_masked_without_newline_and_by_line() {
        assert_eq!(mask(&["token\n"], "<token>"), "<#####>");
        assert_eq!(
            mask(
                &["-----BEGIN\nlong line here\nab"],
                "> long line here\n> ab"
            ),
            "> ##############\n> ab"
        );
        assert_eq!(mask(&["    "], "a    b"), "a####b");
    }
}
