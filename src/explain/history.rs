//! Codes about sets in git history.

use super::{Explanation, Kind};

pub(super) const ALL: &[Explanation] = &[
    Explanation {
        code: "revision_shape",
        kind: Kind::Error,
        exits: &[2],
        summary: "The revision does not match `revision.pattern`, or makes no valid tag.",
        meaning: "A typing mistake is refused before the first request. The pattern must match the \
             whole revision.",
        causes: &[
            "No commit of the clone begins with the abbreviation, or several do.",
            "The text is neither a commit, `HEAD` nor a tag, or contains upper-case letters.",
            "`revision.pattern` describes other revisions than the build uses.",
        ],
        remedy: "Write the revision out in full, as the build tagged it, or name a commit of the \
             clone: at least 4 digits, `HEAD`, or a tag.",
        example: "git rev-parse HEAD",
    },
    Explanation {
        code: "revision_order",
        kind: Kind::Check,
        exits: &[1],
        summary: "The revision is an ancestor of the one that is pinned now.",
        meaning: "A slow or repeated build of an older commit would undo newer work without anyone \
             deciding to. repin also refuses when a commit since the last newer set cannot be \
             read, because that commit may have promoted a newer build.",
        causes: &[
            "A build of an older commit finished late, or was started again.",
            "A commit of the promoted branch has a `repin.yaml` that cannot be read.",
        ],
        remedy: "Promote the newest build; to promote an older build anyway, add `--allow-older`.",
        example: "repin promote --revision REV --allow-older",
    },
    Explanation {
        code: "rolled_back",
        kind: Kind::Check,
        exits: &[1],
        summary: "A rollback undid this set, and no newer set has been promoted since.",
        meaning: "Someone took the set out for a reason. repin holds it until a newer set ends the \
             hold, so that an automatic promote does not bring the fault back. repin also \
             refuses when a commit since the last newer set cannot be read, because it may be a \
             rollback.",
        causes: &[
            "An automatic promote offers the set again that was just rolled back.",
            "A `git revert` restored an earlier set.",
            "A commit of the promoted branch has a `repin.yaml` that cannot be read.",
        ],
        remedy: "Promote a newer build; to promote this set anyway, add `--force-after-rollback`.",
        example: "repin history",
    },
    Explanation {
        code: "provenance_title",
        kind: Kind::Check,
        exits: &[1],
        summary: "No commit of the promoted branch records a promotion of this revision.",
        meaning: "`rollback` returns only to sets that were in use. repin looks for a commit whose \
             title is the promote title or that has the trailer `Repin-Set`. `check --remote` \
             only warns, because the commit of an open promote is not on the branch yet.",
        causes: &[
            "The set was never promoted, or its pull request was not merged.",
            "The set was pinned by hand, without the title and the trailer.",
            "`promote.title` was changed since then.",
        ],
        remedy: "Choose a set that `repin history` lists; for sets that were pinned by hand, set \
             `provenance.require: [content]`.",
        example: "repin history",
    },
    Explanation {
        code: "provenance_content",
        kind: Kind::Check,
        exits: &[1],
        summary: "The commit that promoted the set does not pin every image of today's set.",
        meaning: "A rollback moves all images of the configuration or none, so the commit must pin \
             each of them, and all pins of an image alike.",
        causes: &[
            "An image was added to the set after that commit.",
            "The pins of an image differed in that commit.",
            "With `provenance.require: [content]`: no commit pinned these digests together.",
        ],
        remedy: "Roll back to a set that pins every image of today.",
        example: "repin history",
    },
    Explanation {
        code: "shallow",
        kind: Kind::Error,
        exits: &[3],
        summary: "The clone lacks a part of history that the answer depends on.",
        meaning: "Order, holds, provenance and the protection of old sets are read from history. A \
             missing part could hide exactly the commit that decides.",
        causes: &[
            "CI cloned the repository with a limited depth.",
            "A repository of `also_pinned_in` is a shallow one.",
        ],
        remedy: "Fetch the whole history: git fetch --unshallow",
        example: "git fetch --unshallow",
    },
    Explanation {
        code: "partial",
        kind: Kind::Error,
        exits: &[3],
        summary: "The clone is a partial one and lacks files of old commits.",
        meaning: "`prune` reads the digests of every promoted set. A file that is missing could name \
             the digest that would be deleted.",
        causes: &["The repository was cloned with `--filter`."],
        remedy: "Fetch the missing files: git fetch --refetch --no-filter",
        example: "git fetch --refetch --no-filter",
    },
];
