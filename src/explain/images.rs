//! Codes about tags, digests and manifests.

use super::{Explanation, Kind};

pub(super) const ALL: &[Explanation] = &[
    Explanation {
        code: "tag_missing",
        kind: Kind::Check,
        exits: &[1],
        summary: "The revision's tag does not exist in an image's repository.",
        meaning: "A set moves as a whole. An image without a build of this revision would leave the \
             set half old and half new.",
        causes: &[
            "The build of the image failed or is still running.",
            "The image was pushed under another tag than `revision.tag` makes.",
            "`prune` or a retention rule of the registry deleted the tag.",
        ],
        remedy: "Build and push every image of the set at this revision, then run the command again.",
        example: "repin resolve --revision REV",
    },
    Explanation {
        code: "digest_missing",
        kind: Kind::Check,
        exits: &[1],
        summary: "A pinned digest does not exist in its repository.",
        meaning: "The deployment names an image that nobody can pull any more.",
        causes: &[
            "The image was deleted from the registry.",
            "The pin names the digest of another repository.",
        ],
        remedy: "Promote a revision whose images exist, or roll back to one.",
        example: "repin history",
    },
    Explanation {
        code: "set_disagree",
        kind: Kind::Check,
        exits: &[1],
        summary: "The pinned images were built from different revisions.",
        meaning: "The revision labels must name one revision, because only images of one build were \
             tested together.",
        causes: &[
            "One image was moved by hand.",
            "A merge mixed the pins of two sets.",
        ],
        remedy: "Promote one revision for all images.",
        example: "repin promote --revision REV",
    },
    Explanation {
        code: "digest_mismatch",
        kind: Kind::Check,
        exits: &[1],
        summary: "The tag does not name the expected digest.",
        meaning: "A tag was moved after the build that was verified, so repin cannot know which of \
             the two images is meant. The expected digest comes from `--digest`, in a rollback \
             from the commit that promoted the set, and in `check --remote` from the pins.",
        causes: &[
            "The build ran again and pushed over the tag.",
            "Someone moved the tag, possibly with bad intent.",
            "The digest that was handed over belongs to another build.",
        ],
        remedy: "Find out who moved the tag before you go on; a new commit with a new build gets a \
             tag of its own.",
        example: "repin resolve --revision REV",
    },
    Explanation {
        code: "manifest_ambiguous",
        kind: Kind::Check,
        exits: &[1],
        summary: "A manifest or index can be read as two things, or is not what it claims to be.",
        meaning: "Two readers could run different images from the same bytes, so a digest would no \
             longer stand for one image.",
        causes: &[
            "The document is an index and a manifest at once.",
            "Its media type contradicts its `Content-Type` or its descriptor.",
            "An index contains another index, or no platform.",
        ],
        remedy: "Build and push the image again with a current build tool; do not use this one.",
        example: "repin resolve --revision REV",
    },
    Explanation {
        code: "platform_lost",
        kind: Kind::Check,
        exits: &[1],
        summary: "The new image lacks a platform that the previous digest has.",
        meaning: "Machines of that platform cannot pull the new image. It only warns, because a \
             platform may be dropped on purpose.",
        causes: &[
            "The build for one platform was switched off or failed.",
            "The new digest is a single-platform image and no index.",
        ],
        remedy: "Build the image for the platform again, or merge knowing that the platform is \
             dropped.",
        example: "repin resolve --revision REV",
    },
    Explanation {
        code: "revision_label",
        kind: Kind::Check,
        exits: &[1],
        summary: "The revision label of an image does not name the revision.",
        meaning: "The label was written by the build and cannot be moved like a tag. If the two \
             differ, the image was not built from the commit that its tag names.",
        causes: &[
            "The build does not set the label, or sets it on some platforms only.",
            "The tag was put on an image of another commit.",
            "`revision.label` names another label than the build sets.",
        ],
        remedy: "Build the image from this revision again and set the label that `revision.label` \
             names.",
        example: "repin resolve --revision REV --format json",
    },
    Explanation {
        code: "label_missing",
        kind: Kind::Check,
        exits: &[1],
        summary: "A label in `inventory.required_labels` is missing or empty.",
        meaning: "Every platform must carry the labels that the configuration requires.",
        causes: &["The build does not set the label, or sets it on some platforms only."],
        remedy: "Build the image with the label, or remove the label from `inventory.required_labels`.",
        example: "repin inventory check",
    },
];
