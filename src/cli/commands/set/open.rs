//! Carrying a plan out: in the work tree, or as a pull request.

use super::{Ending, Place, Run, Stop, place::At};
use crate::{
    apply::{self, Session},
    cli::context::{Context, Intent},
    config::Forge as Configured,
    error::{Error, Errors},
    forge::{Ability, Forge, Merge, State},
    git::Git,
    pins::Finder,
    plan::{Plan, only_pins_differ},
    pull_request::{
        Marker, OnlyPins,
        merging::{self, Armed},
        reconcile::{self, Age, Outcome, Proposal, Rival},
    },
    report::json::PullRequest,
    untrusted::plain,
};

/// A merge that can't be scheduled yet, for people.
pub(in super::super) fn not_yet(number: u64, why: &str) -> String {
    let why = plain(why);
    format!(
        "warning: the merge of #{number} is not scheduled yet: {why}; `repin wait --pr {number}` schedules it\n"
    )
}

/// A merge that was asked for and can't be.
pub(in super::super) fn not_scheduled(stands: &str, why: &str) -> Errors {
    let problem = Error::failed(
        "conflict",
        format!("{stands} stands, and its merge can't be scheduled: {why}"),
    );
    let hint = "merge it by hand, or correct what stands in the way and run this again";
    Errors::from(problem.help(hint))
}

/// Warns where a merge waits for checks that never start with this token.
pub(in super::super) fn warn_of_silent_checks(
    forge: &dyn Forge,
    configured: &Configured,
    cx: &Context,
) -> Result<(), Errors> {
    if !configured.waits_for_checks() {
        return Ok(());
    }
    match super::wait(
        forge.starts_checks(),
        "asking whom the token belongs to",
        cx,
    )? {
        Ok(Ability::Yes) => {}
        Ok(Ability::No(why)) => cx.output.error_text(&format!(
            "warning: {why}\n  = help: {}\n",
            crate::forge::ANOTHER_TOKEN
        )),
        Err(error) => cx.output.error_text(&format!(
            "warning: cannot determine whether checks start with this token: {error}\n"
        )),
    }
    Ok(())
}

impl Run<'_> {
    /// Does with the plan what was asked for.
    pub(in super::super) fn carry_out(
        &mut self,
        place: &Place,
        session: Option<&mut Session>,
        cx: &Context,
    ) -> Result<(), Stop> {
        match place.intent {
            Intent::Open(state) => self.open(place, state, cx),
            Intent::Apply => Ok(self.apply(session)?),
            Intent::ShowOpen => {
                self.ending = Ending::Rehearsed;
                Ok(())
            }
            Intent::Show => Ok(()),
        }
    }

    /// Applies the plan to the work tree, if there is a session to do it in and anything to do.
    fn apply(&mut self, session: Option<&mut Session>) -> Result<(), Errors> {
        let changes = self.plan.as_ref().map_or(&[][..], Plan::changes);
        let Some(session) = session.filter(|_| !changes.is_empty()) else {
            return Ok(());
        };
        let applied = session.apply(changes);
        self.document.applied = matches!(applied, Ok(()) | Err(apply::Error::Uncleared { .. }));
        Ok(applied?)
    }

    fn open(&mut self, place: &Place, state: State, cx: &Context) -> Result<(), Stop> {
        let changes = self.plan.as_ref().map_or(&[][..], Plan::changes);
        let At::Forge(site) = &place.at else {
            return Ok(());
        };
        if changes.is_empty() {
            return Ok(());
        }
        let document = &self.document;
        let marker = Marker {
            kind: document.kind.to_owned(),
            revision: document.revision.clone(),
        };
        let rival = |revision: &str| self.rival(revision);
        let supersede = document.kind == "promote" && self.config.promote.supersede;
        let labels = self
            .config
            .forge
            .as_ref()
            .map_or(&[][..], |forge| &forge.labels);
        let finder = Finder::new(&self.config.images);
        let only_pins = |old: &[u8], new: &[u8]| only_pins_differ(&finder, old, new);
        let configured = self.config.forge.as_ref();
        let proposal = Proposal {
            branch: &document.branch,
            title: &document.title,
            body: document.body.as_deref().unwrap_or_default(),
            marker: &marker,
            prefix: &site.prefix,
            changes,
            labels,
            state,
            reopen: place.reopen,
            supersede: supersede.then_some(&rival),
            only_pins: &only_pins,
            auto_merge: configured.is_some_and(|forge| forge.auto_merge),
        };
        if let Some(configured) = configured {
            warn_of_silent_checks(&*site.forge, configured, cx)?;
        }
        // What came before, such as a smoke test, takes nothing of the writes' time.
        cx.forge_time.restart();
        let work = reconcile::open(&*site.forge, &site.base, &proposal);
        let outcome = super::wait(work, "opening the pull request", cx)?;
        let begun = match &outcome {
            Ok(Outcome::BaseMoved { begun }) => *begun,
            Err(error) => error.begun,
            Ok(Outcome::Stands(_)) => false,
        };
        if begun {
            self.ending = Ending::Begun;
        }
        let outcome = outcome.map_err(Errors::from)?;
        let Outcome::Stands(standing) = outcome else {
            return Err(Stop::BaseMoved);
        };
        for warning in &standing.warnings {
            cx.output.error_text(&format!("warning: {warning}\n"));
        }
        for number in &standing.superseded {
            cx.output.note(&format!(
                "note: pull request #{number} was closed: this one supersedes it"
            ));
        }
        let (number, url) = (standing.number, standing.url);
        self.document.pull_request = Some(PullRequest {
            number,
            url: url.clone(),
            state: standing.change.as_str(),
        });
        if let Some(trouble) = standing.trouble {
            return Err(Stop::Errors(trouble.into()));
        }
        if state == State::Ready {
            self.arm(&*site.forge, number, &url, &only_pins, cx)?;
        }
        Ok(())
    }

    /// Schedules the merge, if that is configured.
    fn arm(
        &self,
        forge: &dyn Forge,
        number: u64,
        url: &str,
        only_pins: OnlyPins<'_>,
        cx: &Context,
    ) -> Result<(), Errors> {
        let Some(configured) = self.config.forge.as_ref().filter(|forge| forge.auto_merge) else {
            return Ok(());
        };
        let stands = format!("pull request #{number} ({url})");
        let work = merging::arm_new(forge, number, &configured.gates, only_pins);
        let merge = match super::wait(work, "scheduling the merge", cx)?? {
            Armed::Merge(merge) => merge,
            Armed::Foreign(error) => return Err(error.into()),
            Armed::Other => {
                return Err(not_scheduled(
                    &stands,
                    "it was closed, or its branch was changed, just now",
                ));
            }
        };
        match merge {
            Merge::Scheduled => cx.output.note(&format!(
                "note: {stands} will be merged once its gates pass"
            )),
            Merge::Queued(position, _) => cx.output.note(&format!(
                "note: {stands} is in the merge queue, at position {position}"
            )),
            Merge::Merged => cx.output.note(&format!(
                "note: {stands} was merged: its gates passed already"
            )),
            Merge::Later(why) | Merge::Clean(why) | Merge::Unscheduled(why) => {
                cx.output.error_text(&not_yet(number, &why));
            }
            Merge::Refused(why) => return Err(not_scheduled(&stands, &why)),
        }
        Ok(())
    }

    /// Another revision of this configuration: the branch of its pull request, and its age as far as
    /// git knows it.
    fn rival(&self, revision: &str) -> Option<Rival> {
        let theirs = self.config.revision.pattern.revision(revision).ok()?;
        let branch = self
            .config
            .promote
            .branch
            .render(&theirs, &self.config.name);
        let age = self.age(revision).unwrap_or(Age::Unknown);
        Some(Rival { branch, age })
    }

    fn age(&self, revision: &str) -> Option<Age> {
        let git = Git::open(&self.config.root).ok()?;
        let commit = |name: &str| git.commit_named(name).ok().flatten();
        let (ours, theirs) = (commit(&self.document.revision)?, commit(revision)?);
        let is_ancestor = |old, new| git.is_ancestor(old, new).unwrap_or_default();
        Some(if is_ancestor(&ours, &theirs) {
            Age::Newer
        } else if is_ancestor(&theirs, &ours) {
            Age::Older
        } else {
            Age::Unknown
        })
    }
}
