//! The two commands that move the pins of a set.

use crate::base::text::words;

words! {
    /// A way in which a set becomes current.
    #[derive(Hash, PartialOrd, Ord)]
    pub enum Operation {
        /// The set was built and never promoted.
        Promotion = "promote",
        /// The set was current before.
        Rollback = "rollback",
    }
}

impl Operation {
    /// The operation with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|operation| operation.as_str() == name)
    }
}
