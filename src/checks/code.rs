//! The codes of checks: public, stable, lower-snake-case words.

use std::fmt;

use serde::Serialize;

/// What a check verified. One of the constants below; nobody else makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Code(&'static str);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        impl Code {
            $($(#[$doc])* pub const $name: Self = Self($text);)*
        }
    };
}

codes! {
    /// A file that the globs match can be changed safely.
    FILE_UNSAFE = "file_unsafe";
    /// An image is pinned as often as the configuration says.
    PIN_COUNT = "pin_count";
    /// No digest of a configured image is malformed.
    PIN_UNSUPPORTED = "pin_unsupported";
    /// All pins of an image have one digest.
    PIN_DISAGREE = "pin_disagree";
    /// The revision is no ancestor of the one that is pinned now.
    REVISION_ORDER = "revision_order";
    /// No rollback undid the set.
    ROLLED_BACK = "rolled_back";
    /// A commit of the promoted branch says that it promoted the revision.
    PROVENANCE_TITLE = "provenance_title";
    /// That commit pins every image of the set.
    PROVENANCE_CONTENT = "provenance_content";
    /// A pinned digest exists.
    DIGEST_MISSING = "digest_missing";
    /// All images of the set were built from one revision.
    SET_DISAGREE = "set_disagree";
    /// The revision's tag is there.
    TAG_MISSING = "tag_missing";
    /// The tag names the digest that it has to.
    DIGEST_MISMATCH = "digest_mismatch";
    /// Manifests are one thing, and what they say they are.
    MANIFEST_AMBIGUOUS = "manifest_ambiguous";
    /// Every platform of the old digest is there in the new one.
    PLATFORM_LOST = "platform_lost";
    /// The revision label names the revision.
    REVISION_LABEL = "revision_label";
    /// A required label is there and not empty.
    LABEL_MISSING = "label_missing";
    /// The new contents hold each image's new digest exactly as often as the configuration says.
    PLAN_COUNT = "plan_count";
}

impl Code {
    /// The word itself.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}
