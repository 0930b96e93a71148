//! Codes about tags, digests and manifests.

use super::{Explanation, Kind};

pub(super) const ALL: &[Explanation] = &[
    Explanation {
        code: "tag_missing",
        kind: Kind::Check,
        exits: &[1],
        summary: "The revision's tag does not exist in an image's repository.",
        meaning: "A set moves as a whole. Without a build of this revision for every image, the set \
             would be half old and half new.",
        causes: &[
            "The build of the image failed or is still running.",
            "The image was pushed under a tag that differs from `revision.tag`.",
            "`prune` or a retention rule of the registry deleted the tag.",
            "The image is archived in Amazon ECR, which then reports it as missing.",
        ],
        remedy: "Build and push every image of the set at this revision, then run the command again.",
        example: "repin resolve --revision REV",
    },
    Explanation {
        code: "digest_missing",
        kind: Kind::Check,
        exits: &[1],
        summary: "A pinned digest does not exist in its repository.",
        meaning: "The deployment names an image that can no longer be pulled.",
        causes: &[
            "The image was deleted from the registry.",
            "The pin names the digest of another repository.",
            "The image is archived in Amazon ECR, which then reports it as missing.",
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
        summary: "The tag does not resolve to the expected digest.",
        meaning: "The tag may have been moved after the build, so repin cannot determine which of \
             the two images is intended. The expected digest comes from `--digest`, in a rollback \
             from the commit that promoted the set, and in `check --remote` from the pins.",
        causes: &[
            "The build ran again and pushed over the tag.",
            "Someone moved the tag, possibly maliciously.",
            "The digest given with `--digest` belongs to another build.",
        ],
        remedy: "Find out who moved the tag before you continue; a new commit with a new build gets \
             a new tag.",
        example: "repin resolve --revision REV",
    },
    Explanation {
        code: "manifest_ambiguous",
        kind: Kind::Check,
        exits: &[1],
        summary: "A manifest or index is ambiguous, or contradicts its declared type.",
        meaning: "Two clients could run different images from the same bytes, so a digest would no \
             longer identify one image.",
        causes: &[
            "The document is an index and a manifest at once.",
            "Its media type contradicts its `Content-Type` or its descriptor.",
            "An index contains another index, or no platform.",
        ],
        remedy: "Build and push the image again with a current build tool; do not use this image.",
        example: "repin resolve --revision REV",
    },
    Explanation {
        code: "platform_mismatch",
        kind: Kind::Check,
        exits: &[1],
        summary: "The platform in the index is not that of the image.",
        meaning: "Engines choose an image by the platform in the index, without reading the image's \
             configuration. If the two differ, a machine runs an image that was built for another one. The \
             operating system and the architecture must be equal, and the variant if both state one.",
        causes: &[
            "The index was assembled by hand, with the platforms of two images exchanged.",
            "The build sets the platform of the index from an argument, and builds for the machine that it \
             runs on.",
        ],
        remedy: "Build the image again for each platform, for example with `docker buildx build --platform`.",
        example: "repin resolve --revision REV",
    },
    Explanation {
        code: "platform_duplicate",
        kind: Kind::Check,
        exits: &[1],
        summary: "The index lists two images for one platform.",
        meaning: "Engines differ in which one they run, so that the digest does not identify one image. \
             `arm64` and `arm64/v8`, `arm` and `arm/v7`, `amd64` and `amd64/v1` are one platform each; \
             `os.version` distinguishes images for Windows only.",
        causes: &[
            "The index was assembled from two builds, or appended to instead of replaced.",
            "An image was added to the index to be run by some machines only.",
        ],
        remedy: "Build the index again with one image for each platform.",
        example: "repin resolve --revision REV",
    },
    Explanation {
        code: "digest_shared",
        kind: Kind::Check,
        exits: &[0, 1],
        summary: "Two images of the set have the same digest.",
        meaning: "Images of different repositories are built separately, so their digests differ. Without \
             `verify`, the check warns. With `verify`, it fails, unless `signed_as` of one image lists the \
             repository of the other: a copy.",
        causes: &[
            "The tag of one image was moved to the other image.",
            "The build pushed one image to both repositories.",
            "A pin was edited by hand.",
        ],
        remedy: "Find out which image the tag belongs to and build the other one again. If one is a copy of \
             the other on purpose, add the repository to `signed_as`.",
        example: "repin resolve --revision REV",
    },
    Explanation {
        code: "platform_lost",
        kind: Kind::Check,
        exits: &[0],
        summary: "The new image lacks a platform that the previous digest has.",
        meaning: "Machines of that platform cannot pull the new image. The check only warns, \
             because a platform may be dropped on purpose.",
        causes: &[
            "The build for one platform was switched off or failed.",
            "The new digest is a single-platform image instead of an index.",
        ],
        remedy: "Build the image for the platform again, or accept that the platform is dropped.",
        example: "repin resolve --revision REV",
    },
    Explanation {
        code: "revision_label",
        kind: Kind::Check,
        exits: &[1],
        summary: "The revision label of an image does not name the revision.",
        meaning: "The build wrote the label, which cannot be moved like a tag. If the two differ, \
             the image was not built from the commit that its tag names.",
        causes: &[
            "The build does not set the label, or sets it on some platforms only.",
            "The tag was added to an image of another commit.",
            "`revision.label` names a label that the build does not set.",
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
        meaning: "Every platform must have the labels that the configuration requires.",
        causes: &["The build does not set the label, or sets it on some platforms only."],
        remedy: "Build the image with the label, or remove the label from `inventory.required_labels`.",
        example: "repin inventory check",
    },
];
