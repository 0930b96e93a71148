//! Codes of the lines of `repin doctor` that no error has: what each line checks.

use super::{Explanation, Kind};

pub(super) const ALL: &[Explanation] = &[
    Explanation {
        code: "configuration",
        kind: Kind::Doctor,
        exits: &[2],
        summary: "`repin.yaml` is missing, malformed or wrong.",
        meaning: "Every other line needs a valid configuration. doctor prints one line for each \
             error of the file, with its location.",
        causes: &[
            "`repin.yaml` is missing in the current directory and in every directory above it.",
            "A key is misspelled, or a value has the wrong type.",
        ],
        remedy: "Correct `repin.yaml`; `repin schema` describes every key, and `repin init` writes \
             a first version.",
        example: "repin schema",
    },
    Explanation {
        code: "files",
        kind: Kind::Doctor,
        exits: &[3],
        summary: "The files that `files:` matches cannot be read.",
        meaning: "repin reads every matching file in each run. doctor counts their pins; `repin \
             check` compares the counts with the configuration.",
        causes: &[
            "This user may not read a file or a directory.",
            "A file disappeared during the run.",
        ],
        remedy: "Let this user read the files that the message names.",
        example: "repin scan",
    },
    Explanation {
        code: "repository",
        kind: Kind::Doctor,
        exits: &[2, 3],
        summary: "git cannot read the repository that contains `repin.yaml`.",
        meaning: "Order, holds and rollbacks are read from git history. Without any repository the \
             line is skipped: a promote then works without history and warns.",
        causes: &[
            "The repository belongs to another user, and git does not trust it.",
            "The repository is damaged.",
            "git is older than 2.31 (exit 2).",
            "A commit added HEAD, objects and refs to the directory of `repin.yaml`, which makes it a bare \
             repository (exit 2).",
        ],
        remedy: "Make the repository readable for git, or install a current git.",
        example: "git status",
    },
    Explanation {
        code: "remote",
        kind: Kind::Doctor,
        exits: &[3],
        summary: "The remote-tracking branch that history is read from cannot be determined.",
        meaning: "A promote and a rollback need this branch: reading another one could miss a \
             rollback. The line is skipped in a repository without a remote.",
        causes: &[
            "The checkout did not create `refs/remotes/origin/HEAD`, and the remote is \
             unreachable.",
            "`provenance.branch` or `forge.base` names a branch that this clone lacks.",
        ],
        remedy: "Fetch the branch and set the remote's head, or set `provenance.branch`.",
        example: "git remote set-head origin --auto",
    },
    Explanation {
        code: "lock",
        kind: Kind::Doctor,
        exits: &[5],
        summary: "Another repin process holds the lock of this work tree.",
        meaning: "A run with `--apply` would fail with `locked`. The detail names the process.",
        causes: &["Another `repin promote --apply`, `rollback --apply` or `recover` is running."],
        remedy: "Wait for the other run to end.",
        example: "repin doctor",
    },
    Explanation {
        code: "journal",
        kind: Kind::Doctor,
        exits: &[5],
        summary: "An interrupted `--apply` left its journal.",
        meaning: "Until the run is finished or undone, the files may belong to two sets.",
        causes: &["The machine or the process stopped while files were being exchanged."],
        remedy: "Finish or undo the interrupted run: `repin recover`.",
        example: "repin recover --dry-run true",
    },
    Explanation {
        code: "engine",
        kind: Kind::Doctor,
        exits: &[1],
        summary: "No container engine can run the smoke command.",
        meaning: "The configuration has a `smoke` block, so a promote would fail with \
             `smoke_unavailable`.",
        causes: &[
            "Neither podman nor docker is installed.",
            "The docker daemon does not run, or this user may not use it.",
        ],
        remedy: "Install or start an engine, or set `smoke.when_unavailable: skip`.",
        example: "repin doctor",
    },
    Explanation {
        code: "secret",
        kind: Kind::Doctor,
        exits: &[4],
        summary: "A variable that the configuration names is not set.",
        meaning: "`smoke.env` and `freshness[].token_env` name variables that a run needs.",
        causes: &[
            "The secret is not available to this job, for example in a pull request of a fork.",
            "The variable has a different name.",
        ],
        remedy: "Set the variable, or remove its name from the configuration.",
        example: "repin doctor --if-unconfigured skip",
    },
    Explanation {
        code: "forge",
        kind: Kind::Doctor,
        exits: &[2, 3],
        summary: "The forge or its repository is unknown, unreachable or unsupported.",
        meaning: "Pull requests, gates and merges need the forge.",
        causes: &[
            "`forge.kind`, `forge.url` or `forge.repository` is missing or wrong.",
            "The server is down, or unreachable from this machine.",
            "The server is older than the oldest supported version.",
        ],
        remedy: "Correct the `forge` block, or check that this machine can reach the server.",
        example: "repin doctor",
    },
    Explanation {
        code: "token",
        kind: Kind::Doctor,
        exits: &[2, 4],
        summary: "The token for the forge is missing or rejected, or checks would not start with \
             it.",
        meaning: "repin sends a token only to the server that issued it. If gates or `auto_merge` \
             are configured, the GITHUB_TOKEN of a workflow run fails, because GitHub starts no \
             checks for its pull requests.",
        causes: &[
            "None of the variables is set, or the set ones are for other servers.",
            "The token has expired or was revoked.",
        ],
        remedy: "Set `REPIN_FORGE_TOKEN` to a token of an app or a user.",
        example: "repin doctor",
    },
    Explanation {
        code: "base",
        kind: Kind::Doctor,
        exits: &[2],
        summary: "The base branch of pull requests is missing or lacks `repin.yaml`.",
        meaning: "Under `--pr`, repin uses the configuration and the files of the base branch.",
        causes: &[
            "`forge.base` names the wrong branch.",
            "The configuration is not merged into the base branch yet.",
        ],
        remedy: "Correct `forge.base`, or merge `repin.yaml` into the base branch.",
        example: "repin doctor",
    },
    Explanation {
        code: "signed_commits",
        kind: Kind::Doctor,
        exits: &[1],
        summary: "The base branch requires signed commits, and repin cannot make them.",
        meaning: "A pull request with an unsigned commit could not be merged.",
        causes: &[
            "`forge.sign` is `never`.",
            "A pinned file is executable, and the token belongs to a user.",
        ],
        remedy: "Set `forge.sign: auto`, or use the token of an app.",
        example: "repin doctor",
    },
    Explanation {
        code: "permission_contents",
        kind: Kind::Doctor,
        exits: &[4],
        summary: "The token may not create commits and branches.",
        meaning: "The line is skipped if the permission is not needed, or if the forge does not \
             report it before the first write.",
        causes: &[
            "The token lacks `contents: write` (classic: `repo`; Gitea: `write:repository`).",
            "The token's owner may not push, or the repository is archived.",
        ],
        remedy: "Give the token the permission, and let its owner push.",
        example: "repin doctor",
    },
    Explanation {
        code: "permission_pull_requests",
        kind: Kind::Doctor,
        exits: &[4],
        summary: "The token may not open and change pull requests.",
        meaning: "The line is skipped if the permission is not needed, or if the forge does not \
             report it before the first write.",
        causes: &[
            "The token lacks `pull-requests: write` (classic: `repo`; Gitea: `write:repository` \
             and `write:issue`).",
            "The repository does not let GitHub Actions create pull requests.",
        ],
        remedy: "Give the token the permission.",
        example: "repin doctor",
    },
    Explanation {
        code: "permission_workflows",
        kind: Kind::Doctor,
        exits: &[4],
        summary: "The token may not change files in `.github/workflows`.",
        meaning: "The line is skipped if the permission is not needed, or if the forge does not \
             report it before the first write.",
        causes: &[
            "The token lacks `workflows: write` (classic: `workflow`), which GITHUB_TOKEN cannot \
             have.",
        ],
        remedy: "Use the token of an app or a user that has the permission.",
        example: "repin doctor",
    },
    Explanation {
        code: "permission_actions",
        kind: Kind::Doctor,
        exits: &[4],
        summary: "The token may not start the workflows of `forge.dispatch`.",
        meaning: "The line is skipped if the permission is not needed, or if the forge does not \
             report it before the first write.",
        causes: &[
            "The token lacks `actions: write` (classic: `repo`).",
            "A workflow in `forge.dispatch` does not exist.",
        ],
        remedy: "Give the token the permission, and correct `forge.dispatch`.",
        example: "repin doctor",
    },
    Explanation {
        code: "permission_packages",
        kind: Kind::Doctor,
        exits: &[4],
        summary: "The token may not delete package versions.",
        meaning: "The line is skipped if the permission is not needed, or if the forge does not \
             report it before the first write.",
        causes: &[
            "The token lacks `packages: write` (classic: `delete:packages`).",
            "The package does not grant the repository the role Admin.",
        ],
        remedy: "Give the token the permission, and the repository the role Admin on the package.",
        example: "repin doctor",
    },
    Explanation {
        code: "trusted_root",
        kind: Kind::Doctor,
        exits: &[2],
        summary: "A key or a trusted root of `verify` cannot be used, or a root is about to end.",
        meaning: "Signatures count only within a trusted root. A root that is older than a signature \
             does not know the authority that made it, and every image is refused then.",
        causes: &[
            "The file is missing, or is not a trusted root.",
            "The authorities of the root end soon, or the built-in snapshot is old.",
        ],
        remedy: "Renew the file with `repin trust update --apply`, or update repin for the built-in roots.",
        example: "repin doctor",
    },
    Explanation {
        code: "registry",
        kind: Kind::Doctor,
        exits: &[1, 2, 3, 4],
        summary: "A pinned image cannot be read from its registry.",
        meaning: "doctor requests the pinned digest of each image; for an image without pins it \
             lists the tags. The detail names the image, the user and the source of the \
             credentials.",
        causes: &[
            "The registry is unreachable, or the image was deleted.",
            "The credentials are missing, or lack the permission to pull.",
        ],
        remedy: "Log in to the registry, or correct the repository or its source.",
        example: "repin resolve --revision REV",
    },
];
