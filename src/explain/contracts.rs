//! Codes about contracts and listings as files.

use super::{Explanation, Kind};

pub(super) const ALL: &[Explanation] = &[
    Explanation {
        code: "expected_yaml_not_found",
        kind: Kind::Check,
        exits: &[2],
        summary: "The contract cannot be read.",
        meaning: "A configured contract that is missing is an error; it is never treated as empty.",
        causes: &[
            "`contract:` names another path, or the file was moved.",
            "In a rollback: the commit that promoted the set does not contain the file.",
        ],
        remedy: "Correct `contract:` in the configuration, or write a contract with `repin inventory \
             init`.",
        example: "repin inventory init IMAGE > expected.yaml",
    },
    Explanation {
        code: "expected_yaml_parse_failed",
        kind: Kind::Check,
        exits: &[2],
        summary: "The contract is malformed YAML, or has a duplicate key.",
        meaning: "An ambiguous contract could assert two different things.",
        causes: &[
            "The file has a syntax error or a duplicate key.",
            "The file is larger than 1 MiB or is not UTF-8.",
        ],
        remedy: "Correct the contract at the reported location.",
        example: "repin inventory check",
    },
    Explanation {
        code: "expected_yaml_empty",
        kind: Kind::Check,
        exits: &[1],
        summary: "The contract is empty.",
        meaning: "An empty contract would accept every image.",
        causes: &["The file was created but never filled in."],
        remedy: "List what the image must contain; `repin inventory init` writes a contract to start \
             from.",
        example: "repin inventory init IMAGE > expected.yaml",
    },
    Explanation {
        code: "expected_yaml_no_assertions",
        kind: Kind::Check,
        exits: &[1],
        summary: "The contract asserts nothing.",
        meaning: "A contract without a name would accept every image.",
        causes: &["All its lists are empty."],
        remedy: "List what the image must contain; `repin inventory init` writes a contract to start \
             from.",
        example: "repin inventory init IMAGE > expected.yaml",
    },
    Explanation {
        code: "expected_yaml_unknown_top_level_key",
        kind: Kind::Check,
        exits: &[2],
        summary: "The contract has a key other than `must_contain` and `must_not_contain`.",
        meaning: "A misspelled key would assert nothing, so repin does not ignore unknown keys.",
        causes: &["A kind or key is misspelled."],
        remedy: "Correct or remove the key.",
        example: "repin inventory check",
    },
    Explanation {
        code: "expected_yaml_unknown_kind",
        kind: Kind::Check,
        exits: &[2],
        summary: "The contract names a kind that `inventory.kinds` does not declare.",
        meaning: "repin cannot find names of an unknown kind.",
        causes: &[
            "A kind or key is misspelled.",
            "The kind was renamed or removed in the configuration.",
        ],
        remedy: "Correct the kind, or declare it under `inventory.kinds`.",
        example: "repin inventory check",
    },
    Explanation {
        code: "expected_yaml_unsupported_field",
        kind: Kind::Check,
        exits: &[2],
        summary: "`must_not_contain` names a kind that does not support it.",
        meaning: "The configuration declares `must_not_contain: unsupported` for this kind.",
        causes: &["The contract was written before the configuration was changed."],
        remedy: "Remove the key from the contract, or change the kind in the configuration.",
        example: "repin inventory check",
    },
    Explanation {
        code: "expected_yaml_invalid_type",
        kind: Kind::Check,
        exits: &[2],
        summary: "A part of the contract has the wrong type.",
        meaning: "A contract lists the names of each kind as strings. Empty and duplicate names \
             only warn.",
        causes: &[
            "A single name was written without a list.",
            "A list contains a mapping or an empty item.",
        ],
        remedy: "Write the names as a list: `KIND: [NAME, NAME]`.",
        example: "repin inventory init IMAGE",
    },
    Explanation {
        code: "enumeration_json_not_found",
        kind: Kind::Check,
        exits: &[2],
        summary: "The listing of an image cannot be read.",
        meaning: "`inventory match` compares an existing listing with a contract.",
        causes: &["`--enumeration` names the wrong path."],
        remedy: "Write the listing first, then pass its file.",
        example: "repin inventory enumerate IMAGE > enumeration.json",
    },
    Explanation {
        code: "enumeration_json_parse_failed",
        kind: Kind::Check,
        exits: &[2],
        summary: "The listing of an image is malformed JSON.",
        meaning: "repin reads only the output of `repin inventory enumerate`.",
        causes: &["The file was truncated, or is a different file."],
        remedy: "Write the listing again.",
        example: "repin inventory enumerate IMAGE > enumeration.json",
    },
    Explanation {
        code: "enumeration_json_invalid_type",
        kind: Kind::Check,
        exits: &[2],
        summary: "The listing of an image has an unexpected shape.",
        meaning: "A listing contains a list of names for each kind of the configuration, and \
             nothing else.",
        causes: &[
            "The listing was written with another configuration.",
            "The file was edited.",
        ],
        remedy: "Write the listing again with the current configuration.",
        example: "repin inventory enumerate IMAGE > enumeration.json",
    },
];
