//! The two commands that move the pins of a set.

use serde::{Serialize, Serializer};

/// A way in which a set becomes current.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// The set was built and never promoted.
    Promotion,
    /// The set was current before.
    Rollback,
}

impl Operation {
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
        Self::ALL
            .into_iter()
            .find(|operation| operation.as_str() == name)
    }
}

impl Serialize for Operation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
