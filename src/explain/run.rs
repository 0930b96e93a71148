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
        meaning: "repin does not guess: unknown keys, duplicate keys and values of the wrong type \
             are errors.",
        causes: &[
            "A key is misspelled.",
            "`repin.yaml` is missing in the current directory and in every directory above it.",
            "A command needs a block that the configuration lacks.",
        ],
        remedy: "Correct `repin.yaml`; `repin schema` describes every key, and `repin init` writes \
             a first version.",
        example: "repin schema",
    },
    Explanation {
        code: "git",
        kind: Kind::Error,
        exits: &[2, 3, 4],
        summary: "git or the repository cannot be used.",
        meaning: "repin finds the repository itself and passes it to every git process, so that no \
             file of a pull request can make git run a command.",
        causes: &[
            "git is older than 2.31 (exit 2).",
            "A commit added HEAD, objects and refs to the directory of `repin.yaml`: git accepts such a \
             directory as a bare repository and runs the commands in its `config` (exit 2).",
            "A remote is unreachable (exit 3) or refuses access (exit 4).",
        ],
        remedy: "Install a current git; remove the files of the bare repository and find out who added \
             them.",
        example: "git log -- HEAD objects refs",
    },
    Explanation {
        code: "fleet_list",
        kind: Kind::Error,
        exits: &[2],
        summary: "The list of a fleet is malformed, or names what the forge does not have.",
        meaning: "A list has one `OWNER/NAME` or `OWNER/NAME BASE` a line, and each repository once. \
             repin begins with no repository of a list that it cannot read as a whole.",
        causes: &[
            "A line has a URL or more than two words.",
            "A repository is listed twice, perhaps in upper and lower case.",
            "A repository has another name now, or lacks the base branch that the list names.",
            "`--only` names a repository that the list does not have.",
        ],
        remedy: "Correct the lines that the message names.",
        example: "repin fleet promote --list list.txt --revision REV",
    },
    Explanation {
        code: "fleet_report",
        kind: Kind::Error,
        exits: &[2],
        summary: "The report of a shard cannot be merged.",
        meaning: "Reports are merged only if all are about one list, one set and one revision: \
             otherwise the totals would be about nothing.",
        causes: &[
            "A file is left from an earlier run.",
            "`--list` is not the list that the shards had.",
            "A file is not a report, or was changed.",
        ],
        remedy: "Merge the reports of one run alone, with the list that it had.",
        example: "repin fleet merge shard-*.jsonl --list list.txt",
    },
    Explanation {
        code: "fleet_refused",
        kind: Kind::Error,
        exits: &[1],
        summary: "The configuration of one repository of a fleet cannot be obeyed.",
        meaning: "A fleet checks images once, by its own configuration. A repository that demands more \
             of them, or a pull request for another branch, would get less than it asks for.",
        causes: &[
            "Its repin.yaml has `verify`, `inventory`, a contract, `smoke` or `outside: refuse`.",
            "Its `forge.base` is not the branch that the list or the forge names.",
            "Its `files` match more than 200 files or 16 MiB, or the forge's list of its files is incomplete.",
        ],
        remedy: "Move what the repository demands into the configuration of the fleet, or set \
             `fleet.own_policy: ignore`; put its base branch into the list; match fewer files, or \
             promote the repository in a clone.",
        example: "repin explain foreign_image",
    },
    Explanation {
        code: "fleet_set",
        kind: Kind::Error,
        exits: &[2],
        summary: "The file of a set is not the expected one.",
        meaning: "A set is believed by the hash of its file, and only for the configuration and the \
             revision that it was verified for. Nothing was requested or changed.",
        causes: &[
            "The file is from another run, or was cut off or changed on its way.",
            "The configuration of the fleet has changed since the set was verified.",
            "The release of repin has other built-in roots than the one that verified the set.",
        ],
        remedy: "Verify the set again with `repin set`, and pass its file and its hash together.",
        example: "repin set --revision REV --out set.json",
    },
    Explanation {
        code: "source",
        kind: Kind::Error,
        exits: &[2],
        summary: "A source of images is malformed or missing.",
        meaning: "A source determines where repin reads images from. repin refuses a malformed one \
             before the first request.",
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
        meaning: "repin overwrites an existing file only with `--force`, and does not write a \
             configuration without pins.",
        causes: &[
            "A `repin.yaml` already exists.",
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
        meaning: "repin renders the pull request body before it changes anything, so that a broken \
             template stops the run in time.",
        causes: &[
            "The path is wrong.",
            "The template uses an unknown variable; its variables are the fields of `repin.plan/1`.",
        ],
        remedy: "Correct the template at the reported line.",
        example: "repin promote --revision REV --body-file -",
    },
    Explanation {
        code: "unavailable",
        kind: Kind::Error,
        exits: &[3],
        summary: "A registry, a forge or git is unavailable, or returned bytes that do not verify.",
        meaning: "repin retries requests that may succeed later and gives up after a bounded time. \
             A missing response never counts as a success.",
        causes: &[
            "The server is down, overloaded or unreachable from this machine.",
            "A proxy or a TLS certificate is wrong; `REPIN_CA_FILE` adds a root certificate.",
            "A mirror returns damaged or incomplete content.",
        ],
        remedy: "Run the command again later; `repin doctor` reports what is unavailable.",
        example: "repin doctor",
    },
    Explanation {
        code: "pull_limit",
        kind: Kind::Error,
        exits: &[3],
        summary: "Docker Hub allows fewer pulls than this run needs.",
        meaning: "Docker Hub counts each request for a manifest: 100 in 6 hours for an anonymous \
             address, 200 for a personal account. repin reads the rest of the limit with requests \
             that are not counted, and stops before the first one that is.",
        causes: &[
            "Other jobs on the same address or account used the limit up.",
            "The run is anonymous, or uses an account with a low limit.",
        ],
        remedy: "Log in to Docker Hub, wait until the limit is reset, or read the images from a \
             mirror (`sources`).",
        example: "repin doctor",
    },
    Explanation {
        code: "internal",
        kind: Kind::Error,
        exits: &[3],
        summary: "An internal error stopped the work on one repository of a fleet.",
        meaning: "repin made a mistake while it worked on this repository. The other repositories of \
             the shard are not affected.",
        causes: &[
            "The repository or its configuration contains a form that repin does not handle.",
        ],
        remedy: "Report the message on standard error, with the repository's repin.yaml.",
        example: "repin fleet promote --only failed.txt",
    },
    Explanation {
        code: "io",
        kind: Kind::Error,
        exits: &[3],
        summary: "The disk or the operating system refused an operation.",
        meaning: "If repin had already changed files, it restored them or left a journal for `repin \
             recover`.",
        causes: &[
            "The disk is full, or the file system is read-only.",
            "This user may not write to a directory.",
            "A file that `files` matches is larger than 16 MiB.",
        ],
        remedy: "Fix the cause that the message names, then run the command again.",
        example: "repin recover --dry-run true",
    },
    Explanation {
        code: "interrupted",
        kind: Kind::Error,
        exits: &[130, 143],
        summary: "A signal ended the run: Ctrl-C (exit 130) or SIGTERM (exit 143).",
        meaning: "The message states what the run had changed by then, usually nothing. A first signal \
             lets files that are being exchanged, a commit and the removal of a container end; a \
             second one does not.",
        causes: &[
            "Someone pressed Ctrl-C.",
            "A job was cancelled, or ran out of time.",
        ],
        remedy: "Run the command again; if files may have changed, run `repin recover` first.",
        example: "repin recover --dry-run true",
    },
    Explanation {
        code: "denied",
        kind: Kind::Error,
        exits: &[4],
        summary: "Credentials are missing, wrong or lack a permission.",
        meaning: "repin sends credentials only to the host that issued them, so a token for another \
             host counts as missing.",
        causes: &[
            "The login for the registry or the token for the forge is missing.",
            "The token has expired or lacks a scope.",
            "The token is for another host.",
        ],
        remedy: "Set or renew the credentials; `repin doctor` reports which ones are used.",
        example: "repin doctor",
    },
    Explanation {
        code: "locked",
        kind: Kind::Error,
        exits: &[5],
        summary: "Another repin process holds the lock of this work tree.",
        meaning: "Two runs that write the same files could mix two sets. The message names the \
             process.",
        causes: &["Another `repin promote --apply`, `rollback --apply` or `recover` is running."],
        remedy: "Wait for the other run to end, then run the command again.",
        example: "repin recover --dry-run true",
    },
    Explanation {
        code: "conflict",
        kind: Kind::Error,
        exits: &[1, 5],
        summary: "A foreign change or a refusal by the forge prevents the run.",
        meaning: "Exit 5: repin found a foreign commit on its branch, a pull request whose head is \
             not the approved set, or foreign content in the files of an interrupted run, and \
             changes none of them. Exit 1: someone closed the pull \
             request, a merge conflicts, or a rule of the forge refused the change.",
        causes: &[
            "Someone pushed to the branch of the pull request.",
            "The text of another pull request contains a copied marker.",
            "Someone closed the pull request; `--reopen` reopens it.",
            "Files of an interrupted `--apply` were changed afterwards.",
        ],
        remedy: "Resolve the cause that the message names, then run the command again.",
        example: "repin recover --dry-run true",
    },
    Explanation {
        code: "failed",
        kind: Kind::Error,
        exits: &[1],
        summary: "The command did not reach its goal.",
        meaning: "The message names the condition that was not met.",
        causes: &["The state of the forge or of the files does not allow the change."],
        remedy: "Resolve the cause that the message names, then run the command again.",
        example: "repin doctor",
    },
    Explanation {
        code: "foreign_image",
        kind: Kind::Check,
        exits: &[1],
        summary: "A repository of a fleet pins an image that the fleet does not have.",
        meaning: "The fleet's configuration says which images are trusted. A repository may pin fewer \
             of them, but no other: whoever may write to one repository would choose images for a \
             token that may write to all.",
        causes: &[
            "The image was added to the repository before it was added to the fleet.",
            "The repository name is misspelled, or names a mirror.",
        ],
        remedy: "Add the image to the configuration of the fleet, or move it to a configuration that \
             the fleet does not promote.",
        example: "repin scan",
    },
    Explanation {
        code: "unconfigured",
        kind: Kind::Check,
        exits: &[4],
        summary: "A token or secret that the run needs is missing.",
        meaning: "With `--if-unconfigured skip`, repin skips the run and exits with 0; without the \
             option, a missing token is an error.",
        causes: &[
            "The secret is not available to this job, for example in a pull request of a fork.",
            "The variable has a different name.",
        ],
        remedy: "Set one of the variables that the message names.",
        example: "repin doctor",
    },
];
