//! Codes of refused deletions.

use super::{Explanation, Kind};

pub(super) const ALL: &[Explanation] = &[
    Explanation {
        code: "limit",
        kind: Kind::Error,
        exits: &[1],
        summary: "More versions of an image would be deleted than `prune.limit` allows.",
        meaning: "A sudden crowd of candidates often means that a pattern or a clock is wrong. \
             Nothing was deleted.",
        causes: &[
            "`prune.tags` matches more than it should.",
            "`prune` did not run for a long time.",
        ],
        remedy: "Check the candidates listed; if all of them may go, raise the limit with `--limit N`.",
        example: "repin prune --limit 200",
    },
    Explanation {
        code: "protected_missing",
        kind: Kind::Error,
        exits: &[1],
        summary: "A protected version is missing after the deletions.",
        meaning: "repin lists everything once more after it deleted something. The version that is \
             missing is needed by what is or was pinned.",
        causes: &[
            "Another process deleted the version at the same time.",
            "The registry deletes more than it was asked to.",
        ],
        remedy: "Restore the version, then find out what deleted it.",
        example: "repin prune restore --image NAME --version ID --apply",
    },
    Explanation {
        code: "text_digests",
        kind: Kind::Error,
        exits: &[3],
        summary: "Tracked files name more digests than repin is willing to ask for.",
        meaning: "On a registry that lists only tags, each digest in the files is asked for, to \
             protect it. Beyond 2,000 digests repin deletes nothing.",
        causes: &["A generated file or a lock file records many digests."],
        remedy: "Remove the generated file from the repository, or delete versions with the \
             registry's own tool.",
        example: "repin prune",
    },
    Explanation {
        code: "base_behind",
        kind: Kind::Error,
        exits: &[3],
        summary: "The base branch in this clone is not what the remote has.",
        meaning: "A digest that was pinned since would not be protected.",
        causes: &["The clone was not fetched for a while."],
        remedy: "Fetch the base branch, then run the command again.",
        example: "git fetch",
    },
    Explanation {
        code: "base_moved",
        kind: Kind::Error,
        exits: &[3],
        summary: "A branch that protects digests moved during the run.",
        meaning: "A promote that was merged meanwhile may pin what was about to be deleted.",
        causes: &["A promote or rollback was pushed or merged at the same time."],
        remedy: "Run the command again when no promote or rollback is in progress.",
        example: "repin prune",
    },
    Explanation {
        code: "pinned_missing",
        kind: Kind::Error,
        exits: &[3],
        summary: "The listing of the registry lacks a pinned digest.",
        meaning: "A listing without something that certainly exists is incomplete, and what it shows \
             cannot be trusted either.",
        causes: &[
            "The registry's index lags behind.",
            "The pinned image was deleted.",
        ],
        remedy: "Run `repin check --remote` to learn whether the pinned images exist.",
        example: "repin check --remote",
    },
    Explanation {
        code: "listing",
        kind: Kind::Error,
        exits: &[1, 3],
        summary: "The listing of an image is incomplete, changed while it was read, or contradicts \
             itself.",
        meaning: "A version that the listing hides could be one that another version needs.",
        causes: &[
            "Images were pushed while the listing was read.",
            "The registry answers pages that do not fit together.",
            "Exit 1: tags refer to one another in a circle.",
        ],
        remedy: "Run the command again when no build is pushing.",
        example: "repin prune",
    },
    Explanation {
        code: "clock",
        kind: Kind::Error,
        exits: &[3],
        summary: "The clocks of this machine and the server differ by more than five minutes.",
        meaning: "The age of a version decides whether it may go, so a wrong clock could delete a \
             version that is too young.",
        causes: &["This machine's clock is wrong, often in a virtual machine that was suspended."],
        remedy: "Set the clock of this machine.",
        example: "repin doctor",
    },
    Explanation {
        code: "timestamps",
        kind: Kind::Error,
        exits: &[3],
        summary: "The dates of the versions cannot be right.",
        meaning: "Dates in the future, or one date for all versions, say nothing about age.",
        causes: &[
            "The build sets a fixed date in every image.",
            "A clock was wrong when the images were built.",
        ],
        remedy: "Build images with their real date, or delete the versions with the registry's own \
             tool.",
        example: "repin prune",
    },
    Explanation {
        code: "changed",
        kind: Kind::Error,
        exits: &[3],
        summary: "A version changed between the listing and its deletion.",
        meaning: "repin reads each version once more right before its deletion, and stops when it is \
             no longer what was judged.",
        causes: &[
            "A tag was moved or added by a build.",
            "Another process deletes at the same time.",
        ],
        remedy: "Run the command again when no build is pushing.",
        example: "repin prune",
    },
    Explanation {
        code: "tag_dangling",
        kind: Kind::Error,
        exits: &[3],
        summary: "A tag is listed, but its manifest does not exist.",
        meaning: "repin cannot know what the tag protected. The tag of a pending build only warns.",
        causes: &[
            "The manifest was deleted and its tag was left behind.",
            "The registry lost data.",
        ],
        remedy: "Push the image again or delete the tag with the registry's own tool.",
        example: "repin prune",
    },
    Explanation {
        code: "deletion_disabled",
        kind: Kind::Error,
        exits: &[4],
        summary: "The registry does not delete anything.",
        meaning: "The registry answered that deletion is switched off. Nothing was deleted.",
        causes: &[
            "The registry runs without its deletion setting.",
            "ghcr.io deletes through the packages API only: `prune.backend: ghcr`.",
        ],
        remedy: "Enable deletion in the registry's settings, or choose another `prune.backend`.",
        example: "repin doctor",
    },
    Explanation {
        code: "deletion_refused",
        kind: Kind::Error,
        exits: &[4],
        summary: "The registry refused to delete one version.",
        meaning: "No other version was tried after it.",
        causes: &[
            "The token lacks the permission to delete, such as `delete:packages`.",
            "The registry protects the version.",
        ],
        remedy: "Give the token the permission to delete packages.",
        example: "repin doctor",
    },
    Explanation {
        code: "deletion_unverified",
        kind: Kind::Error,
        exits: &[3],
        summary: "A deletion was accepted, but the version still exists.",
        meaning: "repin counts a deletion only once it has read that the version is gone. No other \
             version was tried after it.",
        causes: &["The registry deletes later, or serves old answers from a cache."],
        remedy: "Run the command again later.",
        example: "repin prune",
    },
    Explanation {
        code: "skip",
        kind: Kind::Error,
        exits: &[0],
        summary: "A token is missing, and `--if-unconfigured skip` accepts that.",
        meaning: "The image was skipped and nothing was deleted.",
        causes: &["The secret is not available to this job."],
        remedy: "Set one of the variables that the message names, if the image is to be pruned.",
        example: "repin doctor",
    },
];
