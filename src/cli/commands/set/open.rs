//! Carrying a plan out: in the work tree, or as a pull request.

use super::{Ending, Place, Run, Stop, place::At};
use crate::{
    apply::{self, Session},
    cli::{
        context::{Context, Intent},
        exit::{Exit, Fault},
    },
    config::Problem,
    facts::git::Git,
    forge::{
        self, Forge, Marker, Merge, State, merging,
        pull_request::{self, Outcome, Proposal},
    },
    plan::Plan,
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
pub(in super::super) fn not_scheduled(stands: &str, why: &str) -> Fault {
    let problem = Problem::new(
        "conflict",
        format!("{stands} stands, and its merge can't be scheduled: {why}"),
    );
    let hint = "merge it by hand, or correct what stands in the way and run this again";
    Fault {
        exit: Exit::Failed,
        problems: vec![problem.hint(hint)],
    }
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
    fn apply(&mut self, session: Option<&mut Session>) -> Result<(), Fault> {
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
        let older = |revision: &str| self.older_branch(revision);
        let supersede = document.kind == "promote" && self.config.promote.supersede;
        let labels = self
            .config
            .forge
            .as_ref()
            .map_or(&[][..], |forge| &forge.labels);
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
            supersede: supersede.then_some(&older),
        };
        let work = pull_request::open(&*site.forge, &site.base, &proposal);
        let outcome = super::wait(work, "opening the pull request", cx)?;
        if !matches!(
            &outcome,
            Ok(Outcome::Stands(_)) | Err(forge::Error { begun: false, .. })
        ) {
            self.ending = Ending::Begun;
        }
        let outcome = outcome.map_err(Fault::from)?;
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
        if state == State::Ready {
            self.arm(&*site.forge, (number, &url), cx)?;
        }
        Ok(())
    }

    /// Schedules the merge, if that is configured.
    fn arm(
        &self,
        forge: &dyn Forge,
        (number, url): (u64, &str),
        cx: &Context,
    ) -> Result<(), Fault> {
        let Some(configured) = self.config.forge.as_ref().filter(|forge| forge.auto_merge) else {
            return Ok(());
        };
        let stands = format!("pull request #{number} ({url})");
        let work = merging::arm_new(forge, number, &configured.gates);
        match super::wait(work, "scheduling the merge", cx)?? {
            Some(Merge::Scheduled) => cx.output.note(&format!(
                "note: {stands} will be merged once its gates pass"
            )),
            Some(Merge::Merged) => cx.output.note(&format!(
                "note: {stands} was merged: its gates passed already"
            )),
            Some(Merge::Later(why) | Merge::Clean(why)) => {
                cx.output.error_text(&not_yet(number, &why));
            }
            Some(Merge::Refused(why)) => return Err(not_scheduled(&stands, &why)),
            None => {
                return Err(not_scheduled(
                    &stands,
                    "it was closed, or its branch was changed, just now",
                ));
            }
        }
        Ok(())
    }

    /// The branch of an older revision's pull request; a revision that git knows to be newer is no
    /// older one.
    fn older_branch(&self, revision: &str) -> Option<String> {
        let theirs = self.config.revision.pattern.revision(revision).ok()?;
        if let Ok(git) = Git::open(&self.config.root) {
            let commit = |name: &str| git.commit_named(name).ok().flatten();
            if let (Some(ours), Some(theirs)) = (commit(&self.document.revision), commit(revision))
                && git.is_ancestor(&ours, &theirs).unwrap_or_default()
            {
                return None;
            }
        }
        Some(
            self.config
                .promote
                .branch
                .render(&theirs, &self.config.name),
        )
    }
}
