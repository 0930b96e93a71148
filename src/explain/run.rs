//! Codes of runs that cannot do their work: input, services, permissions, conflicts.

use super::{Explanation, Kind};

pub(super) const ALL: &[Explanation] = &[
    Explanation {
        code: "usage",
        kind: Kind::Error,
        exits: &[2],
        summary: "The command line or an environment variable is wrong.",
        meaning: "Nothing was read or changed.",
        causes: &[
            "A flag or a value is misspelled, or two flags exclude each other.",
            "A variable such as `REPIN_DRY_RUN` or `REPIN_HTTP_TIMEOUT` has a value that repin \
             does not accept.",
        ],
        remedy: "Correct the argument or variable; `repin COMMAND --help` lists what a command takes.",
        example: "repin --help",
    },
    Explanation {
        code: "config",
        kind: Kind::Error,
        exits: &[2],
        summary: "The configuration is missing or wrong.",
        meaning: "repin guesses nothing in a configuration: unknown keys, duplicate keys and values \
             of another type are errors.",
        causes: &[
            "A spelling mistake in a key.",
            "No `repin.yaml` in the current directory or above it.",
            "A command needs a block that the configuration lacks.",
        ],
        remedy: "Correct `repin.yaml`; `repin schema` describes every key, and `repin init` writes a \
             first one.",
        example: "repin schema",
    },
    Explanation {
        code: "source",
        kind: Kind::Error,
        exits: &[2],
        summary: "No usable source is known for a repository.",
        meaning: "A source says where image bytes are read from. A wrong one is refused before the \
             first request.",
        causes: &[
            "`--source`, `REPIN_SOURCES` or `sources:` has a malformed value.",
            "The image layout that a source names does not exist.",
        ],
        remedy: "Correct the source: PREFIX=oci:DIR or PREFIX=http[s]://HOST[:PORT][/PATH].",
        example: "repin resolve --revision REV --source ghcr.io/acme=oci:images",
    },
    Explanation {
        code: "init",
        kind: Kind::Error,
        exits: &[2],
        summary: "`repin init` cannot write a configuration.",
        meaning: "An existing file is never overwritten without being asked, and a configuration \
             without pins would be of no use.",
        causes: &[
            "A `repin.yaml` exists already.",
            "No image is pinned by digest in this repository.",
            "The question at the terminal was not answered.",
        ],
        remedy: "Pin the images by digest first; to replace an existing file, add `--force`.",
        example: "repin init --dry-run true",
    },
    Explanation {
        code: "template",
        kind: Kind::Error,
        exits: &[2],
        summary: "`report.template` cannot be read or rendered.",
        meaning: "The pull request's body is made before anything changes, so that a broken template \
             stops the run in time.",
        causes: &[
            "The path is wrong.",
            "The template uses a variable that does not exist; its variables are the fields of \
             `repin.plan/1`.",
        ],
        remedy: "Correct the template at the line shown.",
        example: "repin promote --revision REV --body-file -",
    },
    Explanation {
        code: "unavailable",
        kind: Kind::Error,
        exits: &[3],
        summary: "A registry, a forge or git did not answer, or answered with bytes that do not verify.",
        meaning: "Nothing can be said about what was asked for. repin retries what may succeed later \
             and gives up after a bounded time; it never treats a missing answer as a good one.",
        causes: &[
            "The server is down, overloaded or not reachable from this machine.",
            "A proxy or a TLS certificate is wrong; `REPIN_CA_FILE` adds a root certificate.",
            "A mirror delivers damaged or incomplete content.",
        ],
        remedy: "Run the command again later; `repin doctor` shows what cannot be reached.",
        example: "repin doctor",
    },
    Explanation {
        code: "io",
        kind: Kind::Error,
        exits: &[3],
        summary: "The disk or the operating system refused an operation.",
        meaning: "If a file had been changed before, repin restored it or left a journal for `repin \
             recover`.",
        causes: &[
            "The disk is full, or the file system is read-only.",
            "A directory cannot be written by this user.",
        ],
        remedy: "Correct what the message names, then run the command again.",
        example: "repin recover --dry-run true",
    },
    Explanation {
        code: "denied",
        kind: Kind::Error,
        exits: &[4],
        summary: "Credentials are missing, wrong or lack a permission.",
        meaning: "repin sends credentials only to the host that they are for, so a token of another \
             host counts as missing.",
        causes: &[
            "No login for the registry, or no token for the forge is set.",
            "The token has expired or lacks a scope.",
            "The token is meant for another host.",
        ],
        remedy: "Set or renew the credentials; `repin doctor` shows which are used for what.",
        example: "repin doctor",
    },
    Explanation {
        code: "locked",
        kind: Kind::Error,
        exits: &[5],
        summary: "Another repin process holds the lock of this work tree.",
        meaning: "Two runs that write the same files would mix their sets. The message names the \
             process.",
        causes: &["Another `repin promote --apply`, `rollback --apply` or `recover` is running."],
        remedy: "Wait for the other run to end, then run the command again.",
        example: "repin recover --dry-run true",
    },
    Explanation {
        code: "conflict",
        kind: Kind::Error,
        exits: &[1, 5],
        summary: "A change by someone else, or a refusal by the forge, is in the way.",
        meaning: "Exit 5: repin leaves a foreign commit on its branch, and files that an interrupted \
             run cannot explain, as they are. Exit 1: a person closed the pull request, a merge \
             conflicts, or a rule of the forge refused.",
        causes: &[
            "Someone pushed to the branch of the pull request.",
            "Someone closed the pull request: `--reopen` opens it again.",
            "An interrupted `--apply` left files that were changed since.",
        ],
        remedy: "Resolve what the message names, then run the command again.",
        example: "repin recover --dry-run true",
    },
    Explanation {
        code: "failed",
        kind: Kind::Error,
        exits: &[1],
        summary: "The command did not reach its goal.",
        meaning: "The message says which condition was not met.",
        causes: &["The state of the forge or of the files does not allow it."],
        remedy: "Resolve what the message names, then run the command again.",
        example: "repin doctor",
    },
    Explanation {
        code: "unconfigured",
        kind: Kind::Check,
        exits: &[4],
        summary: "A token or a secret that the run needs is not set.",
        meaning: "With `--if-unconfigured skip` the run is skipped and exits with 0; without the flag \
             it is an error.",
        causes: &[
            "The secret is not available to this job, for example in a pull request of a fork.",
            "The variable has another name.",
        ],
        remedy: "Set one of the variables that the message names.",
        example: "repin doctor",
    },
];
