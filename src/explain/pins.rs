//! Codes about pins and the files that hold them.

use super::{Explanation, Kind};

pub(super) const ALL: &[Explanation] = &[
    Explanation {
        code: "file_unsafe",
        kind: Kind::Check,
        exits: &[1],
        summary: "A file that `files:` matches cannot be replaced safely.",
        meaning: "repin replaces whole files. A symbolic link may lead outside the root, and a file \
             with several hard links would change under its other names too, so repin refuses \
             before it writes anything.",
        causes: &[
            "`files:` matches a symbolic link.",
            "A file has a second hard link, such as those that deduplication tools create.",
            "The path is a device, a socket or a pipe.",
        ],
        remedy: "Replace the link with a separate regular file, or exclude it with a `!` pattern in \
             `files:`.",
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
        summary: "A digest of a configured image is malformed, or its entry is ambiguous.",
        meaning: "repin counts and rewrites only `sha256:` digests with 64 lowercase hex digits. A \
             digest in another form would stay behind when the set moves. Under `places:`, an \
             entry that another reader of the file could interpret differently is refused too; the \
             detail names that reader.",
        causes: &[
            "The digest was cut off, or contains upper-case letters.",
            "The digest uses an algorithm other than sha256.",
            "An entry of a place has two digests, a duplicate key, or an alias or a merge key that \
             another image shares.",
        ],
        remedy: "Write the digest in full (`sha256:` and 64 lowercase hex digits), use a \
             placeholder such as `<digest>`, or make the entry unambiguous.",
        example: "repin scan",
    },
    Explanation {
        code: "managed_elsewhere",
        kind: Kind::Check,
        exits: &[0],
        summary: "A controller also writes an entry that repin moves.",
        meaning: "A comment such as Flux's `$imagepolicy` lets the cluster's image automation write \
             the entry, which may overwrite a promote or a rollback. The check only warns.",
        causes: &["The entry of a place under `places:` has the comment `$imagepolicy`."],
        remedy: "Let only one of them write the entry: remove the comment, or exclude the file from \
             the place.",
        example: "repin scan",
    },
    Explanation {
        code: "version_comment",
        kind: Kind::Check,
        exits: &[0],
        summary: "A comment behind a digest names the version of another one.",
        meaning: "A comment such as `# v1.2` behind a digest is what people read instead of the digest. \
             repin compares a comment that is a single word with the shape of `revision.tag`: with the \
             tag before the digest, in `check --remote` with the image's revision label, and in \
             `promote` and `rollback` with the tag of the new set. The check only warns.",
        causes: &[
            "The digest was changed by hand or by another tool, and the comment was not.",
            "A promote moves the digest, and `comments` is `keep`, the default.",
        ],
        remedy: "Set `comments: tag`, so that promote and rollback write the new tag into such comments.",
        example: "repin check --remote",
    },
    Explanation {
        code: "pin_disagree",
        kind: Kind::Check,
        exits: &[1],
        summary: "The pins of one image have different digests.",
        meaning: "Two versions of the image are deployed at once. `check` and the commands that \
             read an image's contents refuse; `promote` and `rollback` only warn, because they \
             give every pin the same digest.",
        causes: &[
            "Someone changed one pin by hand.",
            "A merge took one side of a change in some of the files.",
        ],
        remedy: "Promote a revision or roll back to one: both give all pins of the image one \
             digest.",
        example: "repin promote --revision REV",
    },
    Explanation {
        code: "pin_outside",
        kind: Kind::Check,
        exits: &[1],
        summary: "An image is pinned in a tracked file that repin neither counts nor changes.",
        meaning: "After a promote, this pin would still name the previous digest. The check warns \
             by default and fails under `outside: refuse`. It also reports a tracked file that \
             cannot be read.",
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
        meaning: "repin finds pins by their repository, so this copy of the digest would stay \
             behind when the set moves. The check warns by default, fails under `outside: refuse`, \
             and only warns in `rollback`.",
        causes: &[
            "The repository and the digest are in separate keys: declare a place under `places:`.",
            "A document or a lock file records the digest.",
        ],
        remedy: "Write the digest as a complete reference that `files:` matches, declare a place \
             for it, or list the file in `outside_ignore:`.",
        example: "repin check",
    },
    Explanation {
        code: "image_unpinned",
        kind: Kind::Check,
        exits: &[0],
        summary: "A configured image is referenced by its tag alone.",
        meaning: "A tag can be moved, so repin neither verifies nor changes this reference. The \
             check only warns.",
        causes: &["A new reference was added without a digest."],
        remedy: "Append `@` and the digest to the tag, and raise `pins:` for the image.",
        example: "repin scan",
    },
    Explanation {
        code: "image_undeclared",
        kind: Kind::Check,
        exits: &[0],
        summary: "A pinned repository has the owner of a configured image, but no image declares it.",
        meaning: "An image that is built with the set but not declared stays behind when the set \
             moves. The check only warns.",
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
        summary: "The new contents do not contain the new digest exactly as often as planned.",
        meaning: "repin scans the planned contents again before it writes them. Nothing was \
             written.",
        causes: &[
            "A file changed while repin read it.",
            "repin has a defect, if the failure repeats on unchanged files.",
        ],
        remedy: "Run the command again; if it fails again on unchanged files, report a defect in \
             repin.",
        example: "repin check",
    },
];
