//! Codes of refused deletions.

use super::{Explanation, Kind};

pub(super) const ALL: &[Explanation] = &[
    Explanation {
        code: "limit",
        kind: Kind::Error,
        exits: &[1],
        summary: "More versions of an image would be deleted than `prune.limit` allows.",
        meaning: "An unusual number of candidates often means that a pattern or a clock is wrong. \
             Nothing was deleted.",
        causes: &[
            "`prune.tags` matches more than it should.",
            "`prune` has not run for a long time.",
        ],
        remedy: "Review the candidates; if all of them may be deleted, raise the limit with \
             `--limit N`.",
        example: "repin prune --limit 200",
    },
    Explanation {
        code: "protected_missing",
        kind: Kind::Error,
        exits: &[1],
        summary: "A protected version is missing after the deletions.",
        meaning: "repin reads the listing again after the last deletion. The missing version is, \
             was, or belongs to a pinned image.",
        causes: &[
            "Another process deleted the version concurrently.",
            "The registry deleted more than repin requested.",
        ],
        remedy: "Restore the version, or push it again; then find out what deleted it.",
        example: "repin prune restore --image NAME --version ID --apply",
    },
    Explanation {
        code: "text_digests",
        kind: Kind::Error,
        exits: &[3],
        summary: "Tracked files name more digests than repin requests from a registry.",
        meaning: "On a registry that lists only tags, repin requests each digest that a tracked \
             file names, to protect its version. With more than 2,000 digests it deletes nothing.",
        causes: &["A lock file or a generated file contains many digests."],
        remedy: "Remove the generated file from the repository, or delete versions with the \
             registry's own tool.",
        example: "repin prune",
    },
    Explanation {
        code: "base_behind",
        kind: Kind::Error,
        exits: &[3],
        summary: "The base branch in this clone differs from the remote's.",
        meaning: "A digest that was pinned in the meantime would not be protected.",
        causes: &["The clone has not been fetched recently."],
        remedy: "Fetch the base branch, then run the command again.",
        example: "git fetch",
    },
    Explanation {
        code: "base_moved",
        kind: Kind::Error,
        exits: &[3],
        summary: "A branch that protects digests moved during the run.",
        meaning: "A promote that was merged during the run may pin a version that was about to be \
             deleted.",
        causes: &["A promote or rollback was pushed or merged during the run."],
        remedy: "Run the command again when no promote or rollback is in progress.",
        example: "repin prune",
    },
    Explanation {
        code: "pinned_missing",
        kind: Kind::Error,
        exits: &[3],
        summary: "The listing of the registry lacks a pinned digest.",
        meaning: "A listing that lacks an existing version is incomplete and cannot be trusted.",
        causes: &[
            "The registry's index lags behind.",
            "The pinned image was deleted.",
        ],
        remedy: "Check whether the pinned images exist: run `repin check --remote`.",
        example: "repin check --remote",
    },
    Explanation {
        code: "listing",
        kind: Kind::Error,
        exits: &[1, 3],
        summary: "The listing of an image is incomplete, changed while it was read, or contradicts \
             itself.",
        meaning: "A version that is missing from the listing could be one that another version \
             needs.",
        causes: &[
            "Images were pushed while the listing was read.",
            "The registry returned inconsistent pages.",
            "Exit 1: versions refer to one another in a circle.",
        ],
        remedy: "Run the command again when no build is pushing.",
        example: "repin prune",
    },
    Explanation {
        code: "clock",
        kind: Kind::Error,
        exits: &[3],
        summary: "The clocks of this machine and the server differ by more than five minutes.",
        meaning: "The age of a version determines whether it may be deleted, so a wrong clock could \
             delete a version that is too young. The line `clock` of `repin doctor` performs the \
             same check.",
        causes: &["This machine's clock is wrong, often in a virtual machine that was suspended."],
        remedy: "Set the clock of this machine.",
        example: "repin doctor",
    },
    Explanation {
        code: "timestamps",
        kind: Kind::Error,
        exits: &[3],
        summary: "The dates of the versions are unreliable.",
        meaning: "Some dates are in the future, or all versions have the same date, so ages cannot \
             be determined.",
        causes: &[
            "The build sets a fixed date in every image.",
            "A clock was wrong when the images were built.",
        ],
        remedy: "Build images with their real date, or delete the versions with the registry's \
             tools.",
        example: "repin prune",
    },
    Explanation {
        code: "changed",
        kind: Kind::Error,
        exits: &[3],
        summary: "A version changed between the listing and its deletion.",
        meaning: "repin reads each version again right before its deletion, and stops if it differs \
             from the listing.",
        causes: &[
            "A tag was moved or added by a build.",
            "Another process deletes versions concurrently.",
        ],
        remedy: "Run the command again when no build is pushing.",
        example: "repin prune",
    },
    Explanation {
        code: "tag_dangling",
        kind: Kind::Error,
        exits: &[3],
        summary: "A tag is listed, but its manifest does not exist.",
        meaning: "repin cannot determine what the tag protected. A dangling tag of a pending build \
             only causes a warning.",
        causes: &[
            "The manifest was deleted, but its tag was not.",
            "The registry lost data.",
        ],
        remedy: "Push the image again, or delete the tag with the registry's tools.",
        example: "repin prune",
    },
    Explanation {
        code: "deletion_disabled",
        kind: Kind::Error,
        exits: &[4],
        summary: "Deletion is disabled in the registry.",
        meaning: "The registry refused a test deletion of a digest that does not exist. Nothing was \
             deleted.",
        causes: &[
            "The registry runs without the setting that enables deletion.",
            "ghcr.io deletes only through the packages API: `prune.backend: ghcr`.",
        ],
        remedy: "Enable deletion in the registry's settings, or choose another `prune.backend`.",
        example: "repin doctor",
    },
    Explanation {
        code: "deletion_refused",
        kind: Kind::Error,
        exits: &[4],
        summary: "The registry refused to delete a version.",
        meaning: "repin stopped after this version.",
        causes: &[
            "The token lacks the permission to delete, such as `delete:packages`.",
            "The registry protects the version.",
        ],
        remedy: "Give the token the permission to delete packages; the error names the role or \
             scope.",
        example: "repin doctor",
    },
    Explanation {
        code: "deletion_unverified",
        kind: Kind::Error,
        exits: &[3],
        summary: "A deletion was accepted, but the version still exists.",
        meaning: "A deletion counts only when a read proves that the version is gone. repin stopped \
             after this version.",
        causes: &["The registry deletes with a delay, or serves cached responses."],
        remedy: "Run the command again later.",
        example: "repin prune",
    },
    Explanation {
        code: "skip",
        kind: Kind::Error,
        exits: &[0],
        summary: "A token is missing, and `--if-unconfigured skip` is given.",
        meaning: "The image was skipped and nothing was deleted.",
        causes: &["The secret is not available to this job."],
        remedy: "To prune the image, set one of the variables that the message names.",
        example: "repin doctor",
    },
];
