//! Codes about pins and the files that hold them.

use super::{Explanation, Kind};

pub(super) const ALL: &[Explanation] = &[
    Explanation {
        code: "file_unsafe",
        kind: Kind::Check,
        exits: &[1],
        summary: "A file that `files:` matches cannot be replaced safely.",
        meaning: "repin replaces whole files. A symbolic link leads to a file that may lie outside \
             the root, and a file with several hard links would be changed under its other names \
             too, so repin refuses before it writes anything.",
        causes: &[
            "`files:` matches a symbolic link.",
            "A file has a second hard link, as some deduplication tools make.",
            "The path is a device, a socket or a pipe.",
        ],
        remedy: "Replace the link with a regular file of its own, or exclude it with a `!` pattern \
             in `files:`.",
        example: "repin scan",
    },
    Explanation {
        code: "pin_count",
        kind: Kind::Check,
        exits: &[1],
        summary: "An image is not pinned exactly as often as `pins:` declares.",
        meaning: "repin moves all pins of an image or none. A count that differs means that a file \
             was missed or that a pin was added without review, so repin refuses until the \
             number and the files agree.",
        causes: &[
            "A file that pins the image was added, renamed or removed.",
            "`files:` does not match a file that pins the image, or matches one that it should \
             not.",
            "`pins:` was not updated with the last change.",
        ],
        remedy: "Compare the pins found with the ones you expect; then correct `pins:` or `files:`.",
        example: "repin scan",
    },
    Explanation {
        code: "pin_unsupported",
        kind: Kind::Check,
        exits: &[1],
        summary: "A digest of a configured image is malformed, or a reader of its entry could take it otherwise.",
        meaning: "repin counts and rewrites only `sha256:` digests with 64 lowercase hex digits. A \
             digest of another shape would stay behind when the set moves. Under `places:`, an entry \
             that another reader of the file could take otherwise is refused, too; the detail names \
             that reader.",
        causes: &[
            "The digest was cut off, or contains upper-case letters.",
            "The digest uses an algorithm other than sha256.",
            "An entry of a place has a digest twice, a duplicate key, or an alias or a merge that another image shares.",
        ],
        remedy: "Write the digest in full (`sha256:` and 64 lowercase hex digits), or use a \
             placeholder such as `<digest>`.",
        example: "repin scan",
    },
    Explanation {
        code: "managed_elsewhere",
        kind: Kind::Check,
        exits: &[0],
        summary: "A controller also writes an entry that moves.",
        meaning: "A comment such as Flux's `$imagepolicy` lets the image automation of the cluster write \
             the entry. It may overwrite what a promote or a rollback wrote.",
        causes: &["The entry of a place under `places:` has the comment `$imagepolicy`."],
        remedy: "Let one of the two write the entry: remove the comment, or exclude the file from the place.",
        example: "repin scan",
    },
    Explanation {
        code: "pin_disagree",
        kind: Kind::Check,
        exits: &[1],
        summary: "The pins of one image have different digests.",
        meaning: "The set is deployed in two versions at once. `check` and the commands that look \
             into an image refuse; `promote` and `rollback` only warn, because they give every \
             pin the same digest.",
        causes: &[
            "Someone changed one pin by hand.",
            "A merge took one side of a change in some files only.",
        ],
        remedy: "Promote a revision or roll back to one: both bring all pins of the image together.",
        example: "repin promote --revision REV",
    },
    Explanation {
        code: "pin_outside",
        kind: Kind::Check,
        exits: &[1],
        summary: "An image is pinned in a tracked file that repin neither counts nor changes.",
        meaning: "After a promote this pin would still name the old digest. It warns by default and \
             fails under `outside: refuse`. The code is also used for a tracked file that cannot \
             be read.",
        causes: &[
            "`files:` does not match the file.",
            "The pin uses a mirror's name from `sources:`, or the file is encoded as UTF-16.",
            "A sparse checkout leaves the file out.",
        ],
        remedy: "Extend `files:` to match the file and raise `pins:`, or list the file in \
             `outside_ignore:`.",
        example: "repin check",
    },
    Explanation {
        code: "digest_outside",
        kind: Kind::Check,
        exits: &[1],
        summary: "A pinned digest also occurs in a tracked file without its repository.",
        meaning: "repin finds pins by their repository, so this copy of the digest would be left \
             behind. It warns by default, fails under `outside: refuse`, and only warns in \
             `rollback`.",
        causes: &[
            "The repository and the digest are written in separate keys.",
            "A document or a lock file records the digest.",
        ],
        remedy: "Write the digest as a whole reference that `files:` matches, or list the file in \
             `outside_ignore:`.",
        example: "repin check",
    },
    Explanation {
        code: "image_unpinned",
        kind: Kind::Check,
        exits: &[1],
        summary: "A configured image is referenced by its tag alone.",
        meaning: "A tag can be moved, so this reference is neither verified nor changed. It only warns.",
        causes: &["A new reference was added without a digest."],
        remedy: "Add `@` and the digest behind the tag, and raise `pins:` for the image.",
        example: "repin scan",
    },
    Explanation {
        code: "image_undeclared",
        kind: Kind::Check,
        exits: &[1],
        summary: "A pinned repository has the owner of a configured image, but no image declares it.",
        meaning: "An image that is built with the set but not declared stays behind when the set \
             moves. It only warns.",
        causes: &[
            "A new image was added to the build and pinned by hand.",
            "The image is not part of the set and is pinned for another reason.",
        ],
        remedy: "Declare the image under `images:` with its number of pins, or remove the pin.",
        example: "repin scan",
    },
    Explanation {
        code: "plan_count",
        kind: Kind::Check,
        exits: &[1],
        summary: "The new contents do not hold the new digest exactly as often as planned.",
        meaning: "repin scans the planned contents again before it hands them on. Nothing was written.",
        causes: &[
            "A file changed while repin read it.",
            "A defect in repin, if the failure repeats on unchanged files.",
        ],
        remedy: "Run the command again; if it fails again on unchanged files, report a defect in \
             repin.",
        example: "repin check",
    },
];
