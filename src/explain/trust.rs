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
