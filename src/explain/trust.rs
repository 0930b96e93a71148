//! Codes about signatures and attestations.

use super::{Explanation, Kind};

pub(super) const ALL: &[Explanation] = &[
    Explanation {
        code: "signature_missing",
        kind: Kind::Check,
        exits: &[1],
        summary: "Neither a signature nor an attestation of an image was found.",
        meaning: "`verify` requires one for each digest. A revision label can be written by anyone who \
             can push an image; only a signature proves who built it.",
        causes: &[
            "The build signs the image, but keeps the result where no registry client finds it: \
             GitHub's action pushes attestations only with `push-to-registry: true`.",
            "The image was copied without what is attached to it.",
            "The build does not sign its images yet.",
            "The image was pushed by someone else.",
        ],
        remedy: "Push signatures or attestations to the registry, beside the image.",
        example: "repin check --remote",
    },
    Explanation {
        code: "signature_invalid",
        kind: Kind::Check,
        exits: &[1],
        summary: "Signatures or attestations were found, but none of them verifies.",
        meaning: "A candidate counts only if its certificate or key, its log entry or timestamp, its \
             signature and the digest that it is about all hold within one trusted root.",
        causes: &[
            "It belongs to another instance of Sigstore than `trusted_roots` names, such as GitHub's \
             for private repositories.",
            "The trusted root is older than the signature.",
            "It was made by a key that `signers` does not list.",
            "It was altered, or attached to another image than it is about.",
        ],
        remedy: "Read the reason of each candidate; renew the trusted root if it is older than the \
             signature, and build the image again otherwise.",
        example: "repin check --remote --format json",
    },
    Explanation {
        code: "log_unknown",
        kind: Kind::Check,
        exits: &[1],
        summary: "A signature is recorded in a transparency log that no trusted root lists.",
        meaning: "The detail identifies the log by its name and its key. The name is the log's own claim; only a \
             trusted root shows whose log it is. Sigstore starts a new log about twice a year, so a root that is \
             older than the log does not list it.",
        causes: &[
            "The trusted root is older than the log.",
            "The signature is by another instance of Sigstore than those in `trusted_roots`.",
            "Someone attached a signature that a log of their own recorded.",
        ],
        remedy: "Show the current roots with `repin trust update`, and write them with `repin trust update --apply`; \
             if they do not list the log, do not trust the signature.",
        example: "repin trust update",
    },
    Explanation {
        code: "authority_unknown",
        kind: Kind::Check,
        exits: &[1],
        summary: "A certificate was issued by an authority that no trusted root lists.",
        meaning: "The detail identifies the authority by its name and its key. Anyone can use the name; only a \
             trusted root shows whose key it is. GitHub's instance for private repositories has new authorities about \
             twice a year, so a root that is older than the authority does not list it.",
        causes: &[
            "The signature is by another instance than those in `trusted_roots`, such as GitHub's for private \
             repositories.",
            "The trusted root is older than the authority.",
            "Someone attached a signature with a certificate of their own.",
        ],
        remedy: "Show the current roots with `repin trust update`, and write them with `repin trust update --apply`; \
             if they do not list the authority, do not trust the signature.",
        example: "repin trust update",
    },
    Explanation {
        code: "root_unverified",
        kind: Kind::Error,
        exits: &[3],
        summary: "A TUF repository sent metadata that does not verify.",
        meaning: "`repin trust update` accepts a trusted root only if the repository proves it: each root document is \
             signed by the keys of the one before, everything else by the keys in the last one, nothing is expired, and \
             versions, lengths and hashes agree. Nothing was written.",
        causes: &[
            "The clock of this machine is wrong, so that metadata seems to be expired.",
            "A mirror or a proxy is out of date or alters the files.",
            "The root document of --root belongs to another repository.",
            "The root document in this release is too old for the repository: update repin.",
        ],
        remedy: "Check the clock and the mirror, then run the command again; do not copy a trusted root by hand.",
        example: "repin trust update -vv",
    },
    Explanation {
        code: "root_rollback",
        kind: Kind::Error,
        exits: &[1],
        summary: "The fetched trusted root lacks an authority or a log that the present one has, or trusts it for longer.",
        meaning: "Trusted roots grow, and the validity of their entries only ends. A root that differs in the other \
             direction is probably an older one that a server or a mirror sent again. Nothing was written.",
        causes: &[
            "A mirror is behind the repository, or someone replays old files that have not expired.",
            "The instance removed a compromised authority or log, and announced it.",
            "The trusted root was edited by hand.",
        ],
        remedy: "Compare the listed entries with the announcements of the instance; if they are intended, run the \
             command with `--allow-removed`.",
        example: "repin trust update --mirror URL sigstore",
    },
    Explanation {
        code: "signer_untrusted",
        kind: Kind::Check,
        exits: &[1],
        summary: "A signature or attestation verifies, but no configured signer made it.",
        meaning: "Anyone can sign an image with a certificate of the same authority. Only the workflows, \
             identities and keys in `verify.signers` count, each value compared whole.",
        causes: &[
            "The workflow was renamed, or ran from another branch or tag than `ref` names.",
            "A fork or another repository built the image.",
            "The build ran on a self-hosted runner, and `runner: any` is not configured.",
            "Someone else signed the image.",
        ],
        remedy: "If the signer in the detail is the intended one, add it to `verify.signers`; the detail \
             shows it as it would be configured.",
        example: "repin check --remote --format json",
    },
    Explanation {
        code: "attestation_missing",
        kind: Kind::Check,
        exits: &[1],
        summary: "A configured signer signed the image, but a required kind is missing.",
        meaning: "`verify.require` names what must be there: an attestation with one of \
             `predicate_types`, a signature, or both. An SBOM is neither.",
        causes: &[
            "The build attests to an SBOM only.",
            "The provenance has another predicate type than `predicate_types` lists.",
            "`require` lists a kind that the build does not make.",
        ],
        remedy: "Let the build make what is missing, or correct `verify.require` or \
             `verify.predicate_types`.",
        example: "repin check --remote --format json",
    },
    Explanation {
        code: "attestation_other_image",
        kind: Kind::Check,
        exits: &[1],
        summary: "The image is signed, but for another repository.",
        meaning: "A configured signer signed this digest under the name of another image. Whoever may push \
             images can move a tag to a signed image of another repository, such as another image of \
             the set, so the signed name must equal the image's repository.",
        causes: &[
            "A tag was moved to an image of another repository, or the tags of two images were swapped.",
            "The image was copied from the repository that its build signed.",
            "The build signs another name: the `subject-name` of `actions/attest` is not the repository.",
            "`repository` is the name of a mirror, which belongs in `sources`.",
        ],
        remedy: "Find out which image was built. If the image is a copy, list the repository in the detail in \
             `signed_as` of the image; otherwise let the build sign the image's repository, or build it again.",
        example: "repin trust show ghcr.io/acme/review:TAG",
    },
    Explanation {
        code: "attestation_unbound",
        kind: Kind::Check,
        exits: &[0, 1],
        summary: "A signature refers to a digest only, and to no repository.",
        meaning: "Without a name, a signature does not show which image of the set was signed: a tag that was \
             moved to another signed image passes. The check fails; with `verify.subject_name: any`, which \
             accepts such signatures, it warns in every run.",
        causes: &[
            "`cosign sign` of version 3 made the signature: it signs a digest without a name.",
            "The first versions of cosign left the name empty.",
            "`subject-name` of the attestation is `_` or empty.",
            "`verify.subject_name: any` is configured (a warning).",
        ],
        remedy: "Require an attestation whose subject has a name: that of `actions/attest` with \
             `subject-name: REPOSITORY`, or of `cosign attest`. To accept signatures without a name, set \
             `verify.subject_name: any`.",
        example: "repin trust show review",
    },
    Explanation {
        code: "commit_unbound",
        kind: Kind::Check,
        exits: &[0],
        summary: "An image was accepted by a signature that is not compared with the revision.",
        meaning: "A signer with `commit: off` signs any revision. Only the label states which commit was built, \
             and anyone who can push an image can write it.",
        causes: &["The signer in the detail has `commit: \"off\"`."],
        remedy: "Let the build attest, and configure `commit: certificate` or `commit: predicate`; or accept \
             the warning.",
        example: "repin trust show review",
    },
    Explanation {
        code: "policy_weakened",
        kind: Kind::Check,
        exits: &[0],
        summary: "The policy is weaker than that of the base branch.",
        meaning: "Anyone who can change the configuration in a pull request can also remove the requirement that \
             its images are signed. `check --remote` compares `verify`, its keys and roots, and `signed_as` with \
             the base branch, and lists the keys that require less. It only warns: a reviewer decides.",
        causes: &[
            "A change of the configuration removes `verify`, adds a signer or a root, or omits a restriction.",
            "A key or a trusted root was replaced.",
            "The policy of the base became stricter after the branch was created (rebase the branch).",
        ],
        remedy: "Review the listed keys as you would review a new signer.",
        example: "git diff origin/main -- repin.yaml",
    },
    Explanation {
        code: "commit_mismatch",
        kind: Kind::Check,
        exits: &[1],
        summary: "The image is attested, but for another commit than the revision.",
        meaning: "The tag and the label claim one commit, the signed statement another. The signed one \
             cannot be changed by whoever pushes images, so the claim is wrong.",
        causes: &[
            "The workflow checked out a commit other than the one that it ran for.",
            "A tag or label was put on an image of another commit, possibly with bad intent.",
            "The signature names no commit: it was made by a person or a key.",
        ],
        remedy: "Build the revision itself, from a workflow that runs for that commit; where signatures \
             name no commit, configure `commit: predicate` or `commit: \"off\"`.",
        example: "repin check --remote --format json",
    },
];
