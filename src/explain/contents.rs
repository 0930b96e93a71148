//! Codes about what images contain: listings, hygiene, the smoke command.

use super::{Explanation, Kind};

pub(super) const ALL: &[Explanation] = &[
    Explanation {
        code: "enumeration_failed",
        kind: Kind::Check,
        exits: &[1],
        summary: "The contents of an image cannot be listed.",
        meaning: "Without a listing, repin cannot check the image. The check also fails if \
             platforms contain different names, and warns about duplicate layer entries and names \
             that are not UTF-8.",
        causes: &[
            "`inventory.root` does not exist in the image or is not a directory.",
            "`inventory.user` is a name that is missing from the image's `/etc/passwd`.",
            "The platforms of the image contain different names.",
        ],
        remedy: "Correct `inventory.root` or `inventory.user`, or choose one platform with \
             `--platform`.",
        example: "repin inventory enumerate IMAGE --platform linux/amd64",
    },
    Explanation {
        code: "enumeration_empty",
        kind: Kind::Check,
        exits: &[1],
        summary: "`inventory.root` contains no file.",
        meaning: "An empty image would pass every other check of its contents, so it fails here.",
        causes: &[
            "The build copied nothing into the image.",
            "`inventory.root` names the wrong directory.",
        ],
        remedy: "Correct `inventory.root`, or build the image again.",
        example: "repin inventory enumerate IMAGE",
    },
    Explanation {
        code: "enumeration_no_persona",
        kind: Kind::Check,
        exits: &[1],
        summary: "No file under `inventory.root` matches a pattern of `inventory.kinds`.",
        meaning: "Every kind would be empty, which is probably a mistake.",
        causes: &[
            "The patterns were written for other paths: they match paths relative to \
             `inventory.root`.",
            "The build left out all content.",
        ],
        remedy: "Correct the patterns of `inventory.kinds`, or build the image again.",
        example: "repin inventory enumerate IMAGE",
    },
    Explanation {
        code: "kind_empty",
        kind: Kind::Check,
        exits: &[1],
        summary: "The image contains nothing of a kind with `non_empty: true`.",
        meaning: "The configuration requires at least one name of this kind.",
        causes: &[
            "The build lost everything of this kind.",
            "The patterns of the kind no longer match.",
        ],
        remedy: "Build the image again, or correct the patterns of the kind.",
        example: "repin inventory enumerate IMAGE",
    },
    Explanation {
        code: "inventory_must_contain_missing",
        kind: Kind::Check,
        exits: &[1],
        summary: "The image lacks a name that its contract lists under `must_contain`.",
        meaning: "The image must contain everything under `must_contain`.",
        causes: &[
            "The build left the name out.",
            "The content was renamed or removed on purpose, and the contract was not updated.",
        ],
        remedy: "Build the image with the name, or remove the name from the contract.",
        example: "repin inventory check --revision REV",
    },
    Explanation {
        code: "inventory_must_not_contain_present",
        kind: Kind::Check,
        exits: &[1],
        summary: "The image contains a name that its contract lists under `must_not_contain`.",
        meaning: "The contract forbids this name in the image.",
        causes: &[
            "The build copied too many files.",
            "The name now belongs in this image, and the contract was not updated.",
        ],
        remedy: "Build the image without the name, or remove the name from the contract.",
        example: "repin inventory check --revision REV",
    },
    Explanation {
        code: "required_file_missing",
        kind: Kind::Check,
        exits: &[1],
        summary: "No file matches a pattern of `inventory.required_files`.",
        meaning: "Every image of the set must contain a matching file under `inventory.root`.",
        causes: &[
            "The build left the file out.",
            "The pattern is not relative to `inventory.root`.",
        ],
        remedy: "Build the image with the file, or correct `inventory.required_files`.",
        example: "repin inventory check",
    },
    Explanation {
        code: "forbidden_file_present",
        kind: Kind::Check,
        exits: &[1],
        summary: "A layer contains a file that `inventory.forbidden_files` matches.",
        meaning: "A file that a later layer deletes still ships with the image, and anyone who can \
             pull the image can read it.",
        causes: &[
            "A secret or a cache was copied and deleted in a later build step.",
            "The pattern is too broad.",
        ],
        remedy: "Build the image without the file; if the file held a secret, replace the secret.",
        example: "repin inventory check",
    },
    Explanation {
        code: "mode_unexpected",
        kind: Kind::Check,
        exits: &[1],
        summary: "A file or directory does not have the permissions of `inventory.modes`.",
        meaning: "The modes are compared exactly. repin lists the first 20 paths with the same \
             defect and counts the rest.",
        causes: &[
            "The build ran with another umask.",
            "A copy kept the permissions of the build machine.",
        ],
        remedy: "Set the permissions in the build.",
        example: "repin inventory check",
    },
    Explanation {
        code: "unreadable",
        kind: Kind::Check,
        exits: &[1],
        summary: "The user `inventory.user` cannot read a file or directory under `inventory.root`.",
        meaning: "The program in the image runs as this user and cannot open the file.",
        causes: &[
            "The file belongs to root and is not readable by others.",
            "The user cannot enter a directory above the file.",
        ],
        remedy: "Set owner and permissions in the build.",
        example: "repin inventory check",
    },
    Explanation {
        code: "env_secret",
        kind: Kind::Check,
        exits: &[1],
        summary: "An environment variable in the image looks like a secret.",
        meaning: "Anyone who can pull the image can read its environment. repin never prints the value.",
        causes: &["The build wrote a build argument into `ENV`."],
        remedy: "Pass the secret when the container starts instead of building it in, and replace \
             the secret.",
        example: "repin inventory check",
    },
    Explanation {
        code: "expected_yaml_in_image_mismatch",
        kind: Kind::Check,
        exits: &[1],
        summary: "The copy of the contract in the image differs from the contract.",
        meaning: "The file at `inventory.embedded_contract` must equal the contract byte for byte, \
             so that the image and its contract change together.",
        causes: &[
            "The contract was changed after the image was built.",
            "The build copied a different file.",
        ],
        remedy: "Build the image with the current contract.",
        example: "repin inventory check",
    },
    Explanation {
        code: "smoke_failed",
        kind: Kind::Check,
        exits: &[1],
        summary: "The smoke command failed in an image.",
        meaning: "repin does not promote an image whose smoke command fails.",
        causes: &[
            "The program in the image is broken, or a file is missing.",
            "The command needs the network, a secret or another user: see `smoke.network`, \
             `smoke.env` and `smoke.user`.",
            "The command took longer than `smoke.timeout`.",
        ],
        remedy: "Read what the command printed, then fix the image or the `smoke` block.",
        example: "repin promote --revision REV -v",
    },
    Explanation {
        code: "smoke_unavailable",
        kind: Kind::Check,
        exits: &[1],
        summary: "No container engine can run the smoke command.",
        meaning: "A configured check that cannot run must not pass silently.",
        causes: &[
            "Neither podman nor docker is installed, or its daemon does not run.",
            "The image has no platform that this machine can run.",
            "The engine cannot load the image.",
        ],
        remedy: "Install or start an engine (`repin doctor` checks it), or set \
             `smoke.when_unavailable: skip`.",
        example: "repin doctor",
    },
];
