//! Codes about sets in git history.

use super::{Explanation, Kind};

pub(super) const ALL: &[Explanation] = &[
    Explanation {
        code: "revision_shape",
        kind: Kind::Error,
        exits: &[2],
        summary: "The revision does not match `revision.pattern`, or does not form a valid tag.",
        meaning: "repin refuses a mistyped revision before the first request. The pattern must \
             match the whole revision.",
        causes: &[
            "No commit of the clone begins with the abbreviation, or several do.",
            "`rollback --to`: the revisions of several sets begin with the abbreviation.",
            "The text is neither a commit, `HEAD` nor a tag, or contains uppercase letters.",
            "`revision.pattern` describes other revisions than the build uses.",
        ],
        remedy: "Write the revision in full, as the build tagged it, or name a commit of the \
             clone: at least 4 digits, `HEAD`, or a tag. `rollback --to` also takes the beginning \
             of a set's revision, at least 4 characters, as `repin history` shows it.",
        example: "git rev-parse HEAD",
    },
    Explanation {
        code: "revision_order",
        kind: Kind::Check,
        exits: &[1],
        summary: "The revision is an ancestor of the currently pinned revision.",
        meaning: "A slow or repeated build of an older commit would silently undo newer work.",
        causes: &["A build of an older commit finished late, or was started again."],
        remedy: "Promote the newest build; to promote an older build anyway, add `--allow-older`.",
        example: "repin history",
    },
    Explanation {
        code: "rolled_back",
        kind: Kind::Check,
        exits: &[1],
        summary: "A rollback undid this set, and no newer set has been promoted since.",
        meaning: "Someone rolled the set back for a reason. repin holds the set until a newer one \
             is promoted, so that an automatic promote does not bring the fault back. repin also \
             refuses when a commit of the promoted branch cannot be read and no later set is \
             current, because the commit may be a rollback.",
        causes: &[
            "An automatic promote tried to return to the set that was just rolled back.",
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
        meaning: "`rollback` returns only to sets that were promoted. repin looks for a commit \
             whose title is the promote title or that has the trailer `Repin-Set`. `check \
             --remote` only warns, because the commit of an open promote is not on the branch yet.",
        causes: &[
            "The set was never promoted, or its pull request was not merged.",
            "The set was pinned by hand, without the title and the trailer.",
            "`promote.title` was changed since then.",
        ],
        remedy: "Choose a set that `repin history` lists. A set that is still pinned is recorded by a \
             commit with its trailer `Repin-Set: REVISION`, such as the one that adopts repin; for \
             earlier sets that were pinned by hand, set `provenance.require: [content]`.",
        example: "repin history",
    },
    Explanation {
        code: "provenance_content",
        kind: Kind::Check,
        exits: &[1],
        summary: "The commit that promoted the set does not pin every image of the current set.",
        meaning: "A rollback moves all images of the configuration or none, so the commit must pin \
             each of them, and all pins of an image must agree.",
        causes: &[
            "An image was added to the set after that commit.",
            "The pins of an image differed in that commit.",
            "With `provenance.require: [content]`: no commit pinned these digests together.",
        ],
        remedy: "Roll back to a set that pins every image of the current configuration.",
        example: "repin history",
    },
    Explanation {
        code: "shallow",
        kind: Kind::Error,
        exits: &[3],
        summary: "The clone is shallow: it lacks a part of the history.",
        meaning: "Order, holds, provenance and the protection of old sets are read from history. \
             The missing part could contain exactly the commit that matters. The line `shallow` of \
             `repin doctor` performs the same check.",
        causes: &[
            "CI cloned the repository with a limited depth.",
            "A repository of `also_pinned_in` is itself a shallow clone.",
        ],
        remedy: "Fetch the whole history; in CI, check out with full history (`fetch-depth: 0` for \
             actions/checkout).",
        example: "git fetch --unshallow",
    },
    Explanation {
        code: "partial",
        kind: Kind::Error,
        exits: &[3],
        summary: "The clone is partial: it lacks files of old commits.",
        meaning: "`prune` reads the digests of every promoted set. A missing file could name the \
             digest that would be deleted.",
        causes: &["The repository was cloned with `--filter`."],
        remedy: "Fetch the missing files, or clone the repository without `--filter`.",
        example: "git fetch --refetch --no-filter",
    },
];
