//! The two commands that move the pins of a set.

use serde::{Serialize, Serializer};

/// How a set becomes current.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// To a set that was built and never promoted.
    Promotion,
    /// To a set that was current before.
    Rollback,
}

impl Operation {
    /// Both operations.
    pub const ALL: [Self; 2] = [Self::Promotion, Self::Rollback];

    /// The name of the command, also in documents and in the text of pull requests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Promotion => "promote",
            Self::Rollback => "rollback",
        }
    }

    /// The operation with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == name)
    }
}

impl Serialize for Operation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
