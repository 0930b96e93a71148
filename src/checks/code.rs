//! The codes of checks: public, stable, lower-snake-case words. A code names what may be wrong; a pass
//! has a title of its own, for people alone.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

/// The code of a check: one of the constants below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Code(&'static str);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $passed:literal;)*) => {
        impl Code {
            $($(#[$doc])* pub const $name: Self = Self($text);)*

            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// What a passed check states, for people.
            pub fn passed(self) -> &'static str {
                match self.0 {
                    $($text => $passed,)*
                    other => other,
                }
            }

            /// The code with this word.
            pub fn of(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|code| code.0 == word)
            }
        }
    };
}

codes! {
    /// A file that the globs match can be changed safely.
    FILE_UNSAFE = "file_unsafe", "files are safe to change";
    /// An image is pinned as often as the configuration declares.
    PIN_COUNT = "pin_count", "pins as declared";
    /// No digest of a configured image is malformed.
    PIN_UNSUPPORTED = "pin_unsupported", "digests well-formed";
    /// No controller writes an entry of a place, too.
    MANAGED_ELSEWHERE = "managed_elsewhere", "no other controller";
    /// No comment behind a digest names the version of another one.
    VERSION_COMMENT = "version_comment", "version comments match";
    /// All pins of an image have one digest.
    PIN_DISAGREE = "pin_disagree", "pins agree";
    /// No image is pinned outside the counted pins.
    PIN_OUTSIDE = "pin_outside", "no pin outside";
    /// No pinned digest occurs outside a counted pin.
    DIGEST_OUTSIDE = "digest_outside", "no digest outside";
    /// No image is referenced by tag alone.
    IMAGE_UNPINNED = "image_unpinned", "every image pinned";
    /// Every pinned repository of the images' owners is declared.
    IMAGE_UNDECLARED = "image_undeclared", "every image declared";
    /// The revision is not an ancestor of the currently pinned one.
    REVISION_ORDER = "revision_order", "revision is newer";
    /// No rollback undid the set.
    ROLLED_BACK = "rolled_back", "set is not held";
    /// A commit of the promoted branch says that it promoted the revision.
    PROVENANCE_TITLE = "provenance_title", "promotion is recorded";
    /// That commit pins every image of the set.
    PROVENANCE_CONTENT = "provenance_content", "promoted content matches";
    /// A pinned digest exists.
    DIGEST_MISSING = "digest_missing", "digest exists";
    /// All images of the set were built from one revision.
    SET_DISAGREE = "set_disagree", "one revision";
    /// The revision's tag exists.
    TAG_MISSING = "tag_missing", "tag exists";
    /// The tag names the digest that it must.
    DIGEST_MISMATCH = "digest_mismatch", "tag names the digest";
    /// Manifests are unambiguous and have their declared type.
    MANIFEST_AMBIGUOUS = "manifest_ambiguous", "manifest is unambiguous";
    /// The platform in an index is that of the image.
    PLATFORM_MISMATCH = "platform_mismatch", "platform matches the image";
    /// No platform occurs twice in an index.
    PLATFORM_DUPLICATE = "platform_duplicate", "every platform once";
    /// The new digest has every platform of the previous one.
    PLATFORM_LOST = "platform_lost", "every platform kept";
    /// The revision label names the revision.
    REVISION_LABEL = "revision_label", "revision label matches";
    /// A required label is present and not empty.
    LABEL_MISSING = "label_missing", "required labels present";
    /// A signature or an attestation is there.
    SIGNATURE_MISSING = "signature_missing", "signature present";
    /// What is there verifies.
    SIGNATURE_INVALID = "signature_invalid", "signature verifies";
    /// A trusted root lists the transparency log.
    LOG_UNKNOWN = "log_unknown", "transparency log is known";
    /// A trusted root lists the certificate authority.
    AUTHORITY_UNKNOWN = "authority_unknown", "certificate authority is known";
    /// A configured signer made it.
    SIGNER_UNTRUSTED = "signer_untrusted", "signer is trusted";
    /// Each required kind is there.
    ATTESTATION_MISSING = "attestation_missing", "attestations present";
    /// It refers to the image's repository.
    ATTESTATION_OTHER_IMAGE = "attestation_other_image", "signed for the image";
    /// It refers to a repository.
    ATTESTATION_UNBOUND = "attestation_unbound", "signature refers to the image";
    /// It was made for the revision.
    COMMIT_MISMATCH = "commit_mismatch", "signed for the revision";
    /// The commit is compared with the revision.
    COMMIT_UNBOUND = "commit_unbound", "commit is bound";
    /// No two images have one digest.
    DIGEST_SHARED = "digest_shared", "digests differ";
    /// The policy is no weaker than that of the base branch.
    POLICY_WEAKENED = "policy_weakened", "policy as strict as on the base branch";
    /// The image has everything that its contract wants.
    INVENTORY_MUST_CONTAIN_MISSING = "inventory_must_contain_missing",
        "has what the contract requires";
    /// The image has nothing that its contract forbids.
    INVENTORY_MUST_NOT_CONTAIN_PRESENT = "inventory_must_not_contain_present",
        "has nothing that the contract forbids";
    /// The contract holds something.
    EXPECTED_YAML_EMPTY = "expected_yaml_empty", "contract has content";
    /// The contract asserts something.
    EXPECTED_YAML_NO_ASSERTIONS = "expected_yaml_no_assertions", "contract asserts something";
    /// The contract exists.
    EXPECTED_YAML_NOT_FOUND = "expected_yaml_not_found", "contract exists";
    /// The contract is YAML that can be read in one way.
    EXPECTED_YAML_PARSE_FAILED = "expected_yaml_parse_failed", "contract is well-formed";
    /// The contract has only the sections that there are.
    EXPECTED_YAML_UNKNOWN_TOP_LEVEL_KEY = "expected_yaml_unknown_top_level_key",
        "contract sections are known";
    /// The contract names only configured kinds.
    EXPECTED_YAML_UNKNOWN_KIND = "expected_yaml_unknown_kind", "contract kinds are configured";
    /// The contract forbids names only of kinds that support it.
    EXPECTED_YAML_UNSUPPORTED_FIELD = "expected_yaml_unsupported_field",
        "contract fields are supported";
    /// The contract has lists of names where they belong.
    EXPECTED_YAML_INVALID_TYPE = "expected_yaml_invalid_type", "contract lists are well-formed";
    /// The copy of the contract in the image equals the contract.
    EXPECTED_YAML_IN_IMAGE_MISMATCH = "expected_yaml_in_image_mismatch",
        "copy of the contract matches";
    /// The listing of an image exists.
    ENUMERATION_JSON_NOT_FOUND = "enumeration_json_not_found", "listing exists";
    /// The listing of an image is JSON.
    ENUMERATION_JSON_PARSE_FAILED = "enumeration_json_parse_failed", "listing is JSON";
    /// The listing of an image has a list of names for each kind.
    ENUMERATION_JSON_INVALID_TYPE = "enumeration_json_invalid_type", "listing is well-formed";
    /// The contents of an image can be listed.
    ENUMERATION_FAILED = "enumeration_failed", "contents can be listed";
    /// There are files under the inventory's root.
    ENUMERATION_EMPTY = "enumeration_empty", "inventory root has files";
    /// At least one kind has a name.
    ENUMERATION_NO_PERSONA = "enumeration_no_persona", "a kind has names";
    /// A kind that must not be empty has a name.
    KIND_EMPTY = "kind_empty", "required kinds have names";
    /// Each required file exists.
    REQUIRED_FILE_MISSING = "required_file_missing", "required files present";
    /// No layer has a file with a forbidden name.
    FORBIDDEN_FILE_PRESENT = "forbidden_file_present", "no forbidden file";
    /// Files and directories have the permissions that they must have.
    MODE_UNEXPECTED = "mode_unexpected", "modes as required";
    /// The configured user can read everything under the inventory's root.
    UNREADABLE = "unreadable", "user can read everything";
    /// No entry of the image's environment looks like a secret.
    ENV_SECRET = "env_secret", "no secret in the environment";
    /// The smoke command ends well in the image.
    SMOKE_FAILED = "smoke_failed", "smoke command succeeds";
    /// A container engine can run the smoke command in the image.
    SMOKE_UNAVAILABLE = "smoke_unavailable", "container engine available";
    /// A repository pins images of its fleet alone.
    FOREIGN_IMAGE = "foreign_image", "image of the fleet";
    /// Everything that the run needs is configured.
    UNCONFIGURED = "unconfigured", "everything configured";
    /// The new contents hold each image's new digest exactly as often as the configuration says.
    PLAN_COUNT = "plan_count", "new pins counted";
}

impl Code {
    /// The word itself.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(text: D) -> Result<Self, D::Error> {
        let word = String::deserialize(text)?;
        let unknown = || de::Error::custom(format!("unknown code of a check `{word}`"));
        Self::of(&word).ok_or_else(unknown)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}
