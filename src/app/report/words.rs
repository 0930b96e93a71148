//! The words of tables and messages that `repin explain` knows in addition to codes.

/// A word, as a user sees it in the output.
#[derive(Debug)]
pub(crate) struct Word {
    pub name: &'static str,
    /// The meaning, in one sentence.
    pub summary: &'static str,
    /// The consequence, and the remedy if there is one.
    pub meaning: &'static str,
    /// A command that shows it.
    pub example: &'static str,
}

pub(crate) const WORDS: &[Word] = &[
    Word {
        name: "available",
        summary: "A set that a rollback may return to; in `repin builds`, a build that may be promoted.",
        meaning: "`repin history` marks such a set with `<`: a commit on the branch records its promotion and pins all \
                  of its images. `repin rollback --to previous` selects the newest one before the current set.",
        example: "repin rollback",
    },
    Word {
        name: "current",
        summary: "The set that the branch pins now.",
        meaning: "`repin history` marks it with `*`. The branch is that of promotions, usually the default branch of the \
                  remote; a commit counts once it is pushed or merged.",
        example: "repin status",
    },
    Word {
        name: "digest",
        summary: "The SHA-256 of a manifest, which names exactly these bytes.",
        meaning: "repin pins images by digests and trusts no tag. A tag is resolved once, and its image must be the build that it \
                  claims to be.",
        example: "repin scan",
    },
    Word {
        name: "held",
        summary: "A set that a rollback undid: no promotion returns to its digests.",
        meaning: "`repin history` marks it with `!`. The hold belongs to the digests, under whatever name they are \
                  pinned. It ends with a promotion by `--force-after-rollback`, or with a rollback to the set.",
        example: "repin status",
    },
    Word {
        name: "hold",
        summary: "The state of digests that a rollback undid: the set is `held`.",
        meaning: "A hold belongs to the digests, under whatever name they are pinned. It ends with a promotion by \
                  `--force-after-rollback`, or with a rollback to the set.",
        example: "repin status",
    },
    Word {
        name: "image",
        summary: "An entry of `images` in `repin.yaml`: a name, a repository, and the number of its pins.",
        meaning: "All images together are the set.",
        example: "repin scan",
    },
    Word {
        name: "incomplete",
        summary: "In `repin builds`, a build with an image that is missing or cannot be read.",
        meaning: "It cannot be promoted. If a job still builds the images, wait for it; otherwise build the commit again.",
        example: "repin builds",
    },
    Word {
        name: "older",
        summary: "In `repin builds`, a build that is older than the current set.",
        meaning: "A promotion refuses it without `--allow-older`; a rollback returns to a set that was promoted.",
        example: "repin builds",
    },
    Word {
        name: "pin",
        summary: "A reference with a digest to a configured image, in a file that `files` matches.",
        meaning: "`repin.yaml` declares how often each image is pinned (`pins`). A pin too many or too few stops every \
                  change.",
        example: "repin scan",
    },
    Word {
        name: "place",
        summary: "The position of a pin whose repository, tag and digest are separate, such as in kustomize or Helm values.",
        meaning: "`places` in `repin.yaml` selects the places; those of kustomize and Helm are found by the names of the files.",
        example: "repin scan",
    },
    Word {
        name: "previous",
        summary: "The newest available set before the current one, for `repin rollback --to previous`.",
        meaning: "A held set is not the previous one. repin names the set before it does anything.",
        example: "repin rollback --to previous",
    },
    Word {
        name: "proposed",
        summary: "In `repin builds`, a build that an open pull request promotes.",
        meaning: "Merge or close the pull request; `repin wait` waits for its merge.",
        example: "repin builds",
    },
    Word {
        name: "revision",
        summary: "The commit or the version that the images of a set were built from.",
        meaning: "The tag of the revision locates the images, and their label proves it. `repin history -v` lists \
                  complete revisions.",
        example: "repin history -v",
    },
    Word {
        name: "set",
        summary: "All configured images at one revision.",
        meaning: "A promotion or a rollback moves every pin of the set, or none. The path of its configuration file \
                  identifies the set.",
        example: "repin status",
    },
    Word {
        name: "stage",
        summary: "An environment in which a set must be current first (`promote.after`).",
        meaning: "A promotion waits until the set was current there for long enough. `repin status` shows the sets that \
                  wait, and until when.",
        example: "repin status",
    },
    Word {
        name: "superseded",
        summary: "A set or a pull request that a newer one replaced.",
        meaning: "A run with --pr closes older pull requests of the set that have no commit of another user. In `repin \
                  history`, a superseded set has no mark: it is neither current nor available nor held, because its \
                  commit does not pin all configured images, or records no revision.",
        example: "repin history -v",
    },
    Word {
        name: "unmerged",
        summary: "In `repin builds`, a build of a commit that the branch of `source` does not contain.",
        meaning: "`newest` never selects it. Merge the commit first.",
        example: "repin builds",
    },
    Word {
        name: "waiting",
        summary: "In `repin builds`, a build that a stage of `promote.after` does not let pass yet.",
        meaning: "The last column shows the reason, and the time from which it may be promoted.",
        example: "repin builds",
    },
];

/// The word with this spelling, in any case.
pub(crate) fn word(text: &str) -> Option<&'static Word> {
    WORDS
        .iter()
        .find(|word| word.name.eq_ignore_ascii_case(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::builds::State;

    #[test]
    fn states_of_builds_are_explained() {
        for state in State::ALL {
            assert!(word(state.as_str()).is_some(), "{state:?}");
        }
        assert!(WORDS.is_sorted_by_key(|word| word.name));
    }
}
