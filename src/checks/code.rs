//! The codes of checks: public, stable, lower-snake-case words.

use std::fmt;

use serde::Serialize;

/// The code of a check: one of the constants below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Code(&'static str);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        impl Code {
            $($(#[$doc])* pub const $name: Self = Self($text);)*

            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The code with this word.
            pub fn of(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|code| code.0 == word)
            }
        }
    };
}

codes! {
    /// A file that the globs match can be changed safely.
    FILE_UNSAFE = "file_unsafe";
    /// An image is pinned as often as the configuration declares.
    PIN_COUNT = "pin_count";
    /// No digest of a configured image is malformed.
    PIN_UNSUPPORTED = "pin_unsupported";
    /// No controller writes an entry of a place, too.
    MANAGED_ELSEWHERE = "managed_elsewhere";
    /// All pins of an image have one digest.
    PIN_DISAGREE = "pin_disagree";
    /// No image is pinned outside the counted pins.
    PIN_OUTSIDE = "pin_outside";
    /// No pinned digest occurs outside a counted pin.
    DIGEST_OUTSIDE = "digest_outside";
    /// No image is referenced by tag alone.
    IMAGE_UNPINNED = "image_unpinned";
    /// Every pinned repository of the images' owners is declared.
    IMAGE_UNDECLARED = "image_undeclared";
    /// The revision is not an ancestor of the currently pinned one.
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
    /// The revision's tag exists.
    TAG_MISSING = "tag_missing";
    /// The tag names the digest that it must.
    DIGEST_MISMATCH = "digest_mismatch";
    /// Manifests are unambiguous and have their declared type.
    MANIFEST_AMBIGUOUS = "manifest_ambiguous";
    /// The new digest has every platform of the previous one.
    PLATFORM_LOST = "platform_lost";
    /// The revision label names the revision.
    REVISION_LABEL = "revision_label";
    /// A required label is present and not empty.
    LABEL_MISSING = "label_missing";
    /// A signature or an attestation is there.
    SIGNATURE_MISSING = "signature_missing";
    /// What is there verifies.
    SIGNATURE_INVALID = "signature_invalid";
    /// A configured signer made it.
    SIGNER_UNTRUSTED = "signer_untrusted";
    /// Each required kind is there.
    ATTESTATION_MISSING = "attestation_missing";
    /// It was made for the revision.
    COMMIT_MISMATCH = "commit_mismatch";
    /// The image has everything that its contract wants.
    INVENTORY_MUST_CONTAIN_MISSING = "inventory_must_contain_missing";
    /// The image has nothing that its contract forbids.
    INVENTORY_MUST_NOT_CONTAIN_PRESENT = "inventory_must_not_contain_present";
    /// The contract holds something.
    EXPECTED_YAML_EMPTY = "expected_yaml_empty";
    /// The contract asserts something.
    EXPECTED_YAML_NO_ASSERTIONS = "expected_yaml_no_assertions";
    /// The contract exists.
    EXPECTED_YAML_NOT_FOUND = "expected_yaml_not_found";
    /// The contract is YAML that can be read in one way.
    EXPECTED_YAML_PARSE_FAILED = "expected_yaml_parse_failed";
    /// The contract has only the sections that there are.
    EXPECTED_YAML_UNKNOWN_TOP_LEVEL_KEY = "expected_yaml_unknown_top_level_key";
    /// The contract names only configured kinds.
    EXPECTED_YAML_UNKNOWN_KIND = "expected_yaml_unknown_kind";
    /// The contract forbids names only of kinds that support it.
    EXPECTED_YAML_UNSUPPORTED_FIELD = "expected_yaml_unsupported_field";
    /// The contract has lists of names where they belong.
    EXPECTED_YAML_INVALID_TYPE = "expected_yaml_invalid_type";
    /// The copy of the contract in the image equals the contract.
    EXPECTED_YAML_IN_IMAGE_MISMATCH = "expected_yaml_in_image_mismatch";
    /// The listing of an image exists.
    ENUMERATION_JSON_NOT_FOUND = "enumeration_json_not_found";
    /// The listing of an image is JSON.
    ENUMERATION_JSON_PARSE_FAILED = "enumeration_json_parse_failed";
    /// The listing of an image has a list of names for each kind.
    ENUMERATION_JSON_INVALID_TYPE = "enumeration_json_invalid_type";
    /// The contents of an image can be listed.
    ENUMERATION_FAILED = "enumeration_failed";
    /// There are files under the inventory's root.
    ENUMERATION_EMPTY = "enumeration_empty";
    /// At least one kind has a name.
    ENUMERATION_NO_PERSONA = "enumeration_no_persona";
    /// A kind that must not be empty has a name.
    KIND_EMPTY = "kind_empty";
    /// Each required file exists.
    REQUIRED_FILE_MISSING = "required_file_missing";
    /// No layer has a file with a forbidden name.
    FORBIDDEN_FILE_PRESENT = "forbidden_file_present";
    /// Files and directories have the permissions that they must have.
    MODE_UNEXPECTED = "mode_unexpected";
    /// The configured user can read everything under the inventory's root.
    UNREADABLE = "unreadable";
    /// No entry of the image's environment looks like a secret.
    ENV_SECRET = "env_secret";
    /// The smoke command ends well in the image.
    SMOKE_FAILED = "smoke_failed";
    /// A container engine can run the smoke command in the image.
    SMOKE_UNAVAILABLE = "smoke_unavailable";
    /// Everything that the run needs is configured.
    UNCONFIGURED = "unconfigured";
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
