//! One repository of a fleet as a site: its files, its history, and its plan.

use std::collections::BTreeMap;

use super::{Walk, member::FleetMember};
use crate::{
    app::{
        fleet::{FleetOutcome, PinFacts, Report},
        pull_request::{Base, Content, Marker, MarkerKind},
        report::json::PlanDocument,
        workflow::{
            OpenRequest, SiteHistory,
            build_order::ResolvedSet,
            changes::{self, ComparedSet},
            engine::{self, Planned, SetFacts, Verification, VerifiedBefore},
            run::{planned_document, render_body, unplanned_document},
            site::{BranchHead, BranchSite, Site},
        },
    },
    base::{
        error::{Code, Error, Errors},
        files::{RelPath, Snapshot},
    },
    config::{ChangeParts, Config, FleetHistory, Operation},
    core::{
        checks::SetImage,
        history::{History, HoldScope, Order, OtherSets, fetch_contents},
        pins::FoundPins,
        plan::Plan,
    },
    forge::fleet::{ContentRequest, Contents, FileListing},
    git::{Branch, ObjectId},
};

/// The maximum number of files that a repository's configuration may match.
const MAX_FILES: usize = 200;
/// The maximum size of these files, in bytes.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// A repository with listed files.
#[derive(Debug)]
pub(super) struct RepositoryFiles {
    pub(super) member: FleetMember,
    pub(super) listing: FileListing,
    /// The matched files, and the ids of their contents.
    files: BTreeMap<String, String>,
    /// The sum of the sizes that the forge reports.
    pub(super) bytes: u64,
}

/// A repository with an approved plan.
pub(super) struct ApprovedRepository {
    pub(super) member: FleetMember,
    pub(super) site: BranchSite,
    pub(super) planned: Planned,
    /// The plan's document, with the body of the pull request.
    pub(super) document: PlanDocument,
    pub(super) pins: PinFacts,
}

impl Walk<'_> {
    /// Lists the files of a repository. A repository with too many files is refused.
    pub(super) async fn list(&self, member: FleetMember) -> Result<RepositoryFiles, Box<Report>> {
        let (name, head) = (&member.name, &member.state.head);
        let listing = self
            .reader
            .files(name, head)
            .await
            .map_err(|error| Box::new(Report::from(error)))?;
        let refused = |reason: String| {
            let message = format!("{name}: {reason}");
            let help = "promote this repository in a clone, or match fewer files";
            Box::new(Report::from(
                Error::failed(Code::FLEET_REFUSED, message).help(help),
            ))
        };
        if listing.truncated {
            return Err(refused(
                "the forge's list of its files is incomplete".to_owned(),
            ));
        }
        let prefix = member.config.set_path.prefix();
        let (mut files, mut bytes) = (BTreeMap::new(), 0);
        for (path, entry) in &listing.tree.entries {
            if entry.is_file()
                && let Some(path_in_root) = path.strip_prefix(&prefix)
                && let Ok(parsed) = RelPath::parse(path_in_root)
                && Snapshot::lists(&member.config.scanned, &parsed)
            {
                bytes += listing.sizes.get(&entry.id).unwrap_or(&0);
                files.insert(path.clone(), entry.id.clone());
            }
        }
        if files.len() > MAX_FILES {
            let count = files.len();
            return Err(refused(format!(
                "its `files` match {count} files, more than {MAX_FILES}"
            )));
        }
        if bytes > MAX_BYTES {
            return Err(refused(format!(
                "its `files` have {bytes} bytes, more than {MAX_BYTES}"
            )));
        }
        Ok(RepositoryFiles {
            member,
            listing,
            files,
            bytes,
        })
    }

    /// Fetches the contents of the matched files, with one request for all repositories if the
    /// forge supports that.
    pub(super) async fn read(&self, listed: &[&RepositoryFiles]) -> Vec<Result<Contents, Error>> {
        let requests: Vec<_> = listed
            .iter()
            .map(|listed| ContentRequest {
                repository: listed.member.name.clone(),
                commit: listed.member.state.head.commit.clone(),
                files: listed.files.clone(),
            })
            .collect();
        self.shared(self.reader.contents(&requests)).await
    }

    /// Opens the site of a repository and plans its change.
    pub(super) async fn prepare(
        &self,
        listed: RepositoryFiles,
        contents: Result<Contents, Error>,
    ) -> Result<ApprovedRepository, Box<Report>> {
        let contents = contents.map_err(|error| Box::new(error.into()))?;
        let RepositoryFiles {
            member, listing, ..
        } = listed;
        let base = Base::surveyed(&member.state, &member.branch, listing.tree, contents);
        let site = self
            .site(&member, base)
            .map_err(|error| Box::new(error.into()))?;
        let mut pins = PinFacts::default();
        match Box::pin(self.plan(&member, &site, &mut pins)).await {
            Ok((planned, document)) => Ok(ApprovedRepository {
                member,
                site,
                planned,
                document,
                pins,
            }),
            Err(report) => Err(Box::new(report.with_pins(pins))),
        }
    }

    /// The site of a repository: its base branch on the forge, without a clone.
    pub(super) fn site(&self, member: &FleetMember, base: Base) -> Result<BranchSite, Errors> {
        let config = member.config.clone();
        let prefix = config.set_path.prefix();
        let head = BranchHead {
            repository: self.forge.repository(
                &member.name,
                &config.forge_or_default(),
                self.services,
            )?,
            files: base.snapshot(&prefix),
            base,
            prefix,
            history: None,
        };
        let open = self.request.open.map(|state| OpenRequest {
            state,
            reopen: false,
            wait: None,
        });
        Ok(BranchSite { config, head, open })
    }

    async fn plan(
        &self,
        member: &FleetMember,
        site: &BranchSite,
        pins: &mut PinFacts,
    ) -> Result<(Planned, PlanDocument), Report> {
        let (request, config) = (&self.set_request, &site.config);
        let mut facts = SetFacts::default();
        let (found, checks) = site.pins(request.operation)?;
        *pins = self.pin_facts(member, &found);
        let counted = engine::count(request, None, config, found, checks, &mut facts)?;

        // A change that is not needed or already proposed costs no request for history.
        let images = self.set.images_of(&member.images);
        let contents = Plan::preview(&images, config, site.files(), &counted.found)?;
        if contents.is_empty() {
            return Err(Report::done(FleetOutcome::Current));
        }
        let report = self.existing_pull_report(member, &site.head, &contents);
        if let Some(report) = report.await? {
            return Err(report);
        }
        let mut history = self.history(member, site).await?;
        let mut order = None;
        if request.operation == Operation::Promotion {
            let builds = &self.builds;
            let of_set = history.determine_order(builds, config, self.revision, &counted.found);
            of_set.await;
            order =
                Box::pin(self.order_by_images(member, config, &counted.found, &history)).await?;
        }
        let verification = Verification::Before(VerifiedBefore {
            images: self.set.trusted_images(&member.images, config),
            stages: Box::pin(self.judge_stages(member, site)).await?,
            order,
        });
        let known = history.promoted_or_local().ok();
        let current = ComparedSet::current(config, &counted.found, known).state;
        let mut planned =
            engine::judge(request, counted, &history, verification, site, &mut facts)?;
        // They are a part of the body, which a dry run does not show.
        let has_body = self.request.open.is_some();
        if has_body && config.report.changes != Some(ChangeParts::None) {
            planned.changes = Box::pin(changes::of_member(current, request, &self.builds)).await;
        }
        let unplanned = unplanned_document(
            request.operation,
            Some(self.revision.as_str()),
            config,
            &facts,
        );
        let mut document = planned_document(unplanned, &planned);
        for (row, index) in document.images.iter_mut().zip(&member.images) {
            let SetImage { image, verified } = &self.set.document().images[*index];
            row.to = Some(self.set.images()[*index].digest);
            let platforms = image.platforms.iter();
            row.platforms = platforms
                .map(|platform| platform.platform.clone())
                .collect();
            row.labels.clone_from(&image.labels);
            row.verified.clone_from(verified);
        }
        let body = render_body(&document, &planned.body_context, None)?;
        let trailers = document.trailers.join("\n");
        document.body = Some(format!("{body}\n{trailers}\n"));
        Ok((planned, document))
    }

    /// The order by the pinned images and those of the set; `None` if it was known before. An image is requested
    /// once for all repositories.
    async fn order_by_images(
        &self,
        member: &FleetMember,
        config: &Config,
        found: &FoundPins,
        history: &SiteHistory,
    ) -> Result<Option<Order>, Errors> {
        // A job that has a verified set may have no access to the registry, so a known order is not compared with labels.
        let open = match history.open_order() {
            None | Some(Order::Known(_)) => return Ok(None),
            Some(open) => open,
        };
        let set = ResolvedSet {
            config,
            revision: self.revision,
            digests: self.set.pinned_digests(&member.images, config),
            found,
        };
        let known = history.promoted_or_local().ok();
        let order = self.builds.of_images(open, known, &set, self.services);
        order.await.map(Some)
    }

    /// The marker of the set's pull requests.
    pub(super) fn marker(&self) -> Marker {
        Marker {
            kind: MarkerKind::Set(self.request.operation),
            set: self.fleet.set_path.clone(),
            revision: self.revision.to_string(),
        }
    }

    /// The pinned digests and those of the set.
    fn pin_facts(&self, member: &FleetMember, found: &FoundPins) -> PinFacts {
        let (mut from, mut to) = (BTreeMap::new(), BTreeMap::new());
        let set = self.set.images();
        let images = member.config.images.iter().zip(&member.images);
        for (index, (image, index_in_set)) in images.enumerate() {
            let repository = image.repository.to_string();
            if let [digest] = found.digests_of(index).as_slice() {
                from.insert(repository.clone(), digest.to_string());
            }
            to.insert(repository, set[*index_in_set].digest.to_string());
        }
        PinFacts {
            count: Some(found.pins().len() as u64),
            from: Some(from),
            to: Some(to),
        }
    }

    /// The history of a repository, with the holds of all of its sets.
    async fn history(&self, member: &FleetMember, site: &BranchSite) -> Result<SiteHistory, Error> {
        let content = &site.head.repository.content;
        let history = fetch_history(member, content).await?;
        let (branch, config) = (history.branch.clone(), member.config.clone());
        let reach = history.reach();
        let others = content.read_history(&member.state.base, move |git| {
            OtherSets::read(git, &branch, &config.set_path, reach)
        });
        let others = others.await?;
        let history = history.with_other_sets(&others, HoldScope::All)?;
        for unknown in others.unknown_holds() {
            let name = &member.name;
            self.services.console.warn(&format!("{name}: {unknown}"));
        }
        let accept_unknown = self.rules.history == FleetHistory::Recent;
        Ok(SiteHistory::for_member(history, accept_unknown))
    }
}

/// Fetches the commits of the base branch up to the surveyed head, unless `content` has them, and the versions of the
/// files with pins.
pub(super) async fn fetch_history(
    member: &FleetMember,
    content: &Content,
) -> Result<History, Error> {
    let (base, head) = (&member.state.base, &member.state.head.commit);
    if !content.has_fetched(base)? || content.head(base).await?.as_ref() != Some(head) {
        content.fetch_commit(base, head).await?;
    }
    let branch = Branch {
        name: base.clone(),
        tip: ObjectId::parse(head.as_bytes()).ok_or_else(Error::internal)?,
    };
    let config = member.config.clone();
    let history = content.read_history(base, move |git| {
        fetch_contents(git, &config, &branch.tip)?;
        History::for_branch(git, &config, branch.clone())
    });
    history.await
}
