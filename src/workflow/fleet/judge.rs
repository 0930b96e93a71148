//! One repository of a fleet as a site: its files, its history as far as the forge shows it, and its
//! plan.

use std::{collections::BTreeMap, path::Path};

use futures_util::future::join_all;

use super::{
    Walk,
    member::Member,
    outcome::{Facts, Report},
};
use crate::{
    checks,
    code::Code,
    config::{Config, FleetHistory, Operation, RelPath},
    error::{Error, Errors},
    files::{Files as _, Snapshot},
    fleet::FleetOutcome,
    forge::fleet::{ContentRequest, Contents, FileListing, RecentHistory},
    git::{Branch, ObjectId},
    history::{History, Order, PathCommit, PathHistory, UnknownOrder},
    pins::Found,
    plan::Plan,
    pull_request::{Base, Marker, MarkerKind},
    report::json::PlanDocument,
    untrusted::plain,
    workflow::{
        OpenRequest, SiteHistory, document,
        engine::{self, Planned, Verification},
        images,
        site::{BranchHead, Site, Target},
    },
};

/// The most files that a repository's configuration may match.
const FILES: usize = 200;
/// The most bytes that they may have.
const BYTES: u64 = 16 * 1024 * 1024;

/// A repository whose files were listed.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) member: Member,
    pub(super) listing: FileListing,
    /// The matched files, and the names of their contents.
    files: BTreeMap<String, String>,
    /// How many bytes they have, as far as the forge reports it.
    pub(super) bytes: u64,
}

/// A repository whose plan was approved.
pub(super) struct Prepared {
    pub(super) member: Member,
    pub(super) site: Site,
    pub(super) planned: Planned,
    /// The plan's document, with the body of the pull request.
    pub(super) document: PlanDocument,
    pub(super) facts: Facts,
}

impl Walk<'_> {
    /// Lists a repository's files; more than a fleet reads refuse it.
    pub(super) async fn list(&self, member: Member) -> Result<Listed, Box<Report>> {
        let (name, head) = (&member.name, &member.state.head);
        let listing = self.reader.files(name, head).await;
        let listing = listing.map_err(|error| Box::new(Report::from(error)))?;
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
        let entries = listing.tree.entries.iter();
        let matched = entries.filter(|(path, entry)| {
            let path = RelPath::parse(path).ok();
            entry.is_file()
                && path.is_some_and(|path| Snapshot::lists(&member.config.scanned, &path))
        });
        let files: BTreeMap<String, String> = matched
            .map(|(path, entry)| (path.clone(), entry.id.clone()))
            .collect();
        if files.len() > FILES {
            let count = files.len();
            return Err(refused(format!(
                "its `files` match {count} files, more than {FILES}"
            )));
        }
        let sizes = files.values().filter_map(|id| listing.sizes.get(id));
        let bytes = sizes.sum();
        if bytes > BYTES {
            return Err(refused(format!(
                "its `files` have {bytes} bytes, more than {BYTES}"
            )));
        }
        Ok(Listed {
            member,
            listing,
            files,
            bytes,
        })
    }

    /// Reads the contents of matched files: of all repositories at once where the forge can.
    pub(super) async fn read(&self, listed: &[&Listed]) -> Vec<Result<Contents, Error>> {
        let request = |listed: &&Listed| ContentRequest {
            repository: listed.member.name.clone(),
            commit: listed.member.state.head.commit.clone(),
            files: listed.files.clone(),
        };
        let requests: Vec<_> = listed.iter().map(request).collect();
        let work = async {
            if self.reader.at_once() > 1 {
                return self.reader.contents(&requests).await;
            }
            let each = requests.iter().map(std::slice::from_ref);
            let all = join_all(each.map(|request| self.reader.contents(request)));
            all.await.into_iter().flatten().collect()
        };
        self.shared(work).await
    }

    /// Judges a repository and plans its change.
    pub(super) async fn judge(
        &self,
        listed: Listed,
        contents: Result<Contents, Error>,
    ) -> Result<Prepared, Box<Report>> {
        let contents = contents.map_err(|error| Box::new(error.into()))?;
        let Listed {
            mut member,
            listing,
            ..
        } = listed;
        // Gitea does not name the tree of a commit.
        if member.state.head.tree.is_empty() {
            member.state.head.tree.clone_from(&listing.tree.id);
        }
        let base = Base::surveyed(&member.state, &member.branch, listing.tree, contents);
        let site = self.site(&member, base);
        let site = site.map_err(|error| Box::new(error.into()))?;
        let mut facts = Facts::default();
        match self.plan(&member, &site, &mut facts).await {
            Ok((planned, document)) => Ok(Prepared {
                member,
                site,
                planned,
                document,
                facts,
            }),
            Err(report) => Err(Box::new(report.about(facts))),
        }
    }

    /// The site of a repository: its base branch on the forge, without a clone.
    fn site(&self, member: &Member, base: Base) -> Result<Site, Error> {
        let config = member.config.clone();
        let head = BranchHead {
            forge: self
                .forge
                .repository(&member.name, &config.forge_or_default())?,
            files: base.snapshot(""),
            base,
            prefix: String::new(),
            history: None,
        };
        let open = self.request.open.map(|state| OpenRequest {
            state,
            reopen: false,
        });
        let target = Target::Branch(Box::new(head), open);
        Ok(Site { config, target })
    }

    /// Takes the set through the engine.
    async fn plan(
        &self,
        member: &Member,
        site: &Site,
        facts: &mut Facts,
    ) -> Result<(Planned, PlanDocument), Report> {
        let (request, config) = (&self.set_request, &site.config);
        let mut rows = images::declared(config);
        let (found, checks) = site.pins(request.operation)?;
        *facts = self.facts(member, &found);
        let counted = engine::count(request, None, config, found, checks, &mut rows)?;
        images::trust(&mut rows, self.set, &member.images);

        // A change that is not needed, or that is proposed already, costs no request for history.
        let images = self.set.images_of(&member.images);
        let contents = Plan::preview(&images, config, site.files(), &counted.found)?;
        if contents.is_empty() {
            return Err(Report::done(FleetOutcome::Current));
        }
        let Target::Branch(head, _) = &site.target else {
            return Err(Error::internal().into());
        };
        if let Some(report) = self.settled(member, head, &contents).await? {
            return Err(report);
        }
        let history = self.history(member, head, config, &counted.found).await?;
        let verification = Verification::Before(self.set.trusted_images(&member.images, config));
        let planned = engine::judge(request, counted, &history, verification, site, &mut rows)?;
        let unplanned = document::unplanned(request, config, rows);
        let mut document = document::planned(unplanned, &planned);
        let body = document::body(&document, &planned.beside, None)?;
        document.body = Some(format!("{body}\nRepin-Set: {}\n", self.revision));
        Ok((planned, document))
    }

    /// The marker of the set's pull requests.
    pub(super) fn marker(&self) -> Marker {
        Marker {
            kind: MarkerKind::Set(self.request.operation),
            revision: self.revision.to_string(),
        }
    }

    /// The pinned digests and those of the set.
    fn facts(&self, member: &Member, found: &Found) -> Facts {
        let (mut from, mut to) = (BTreeMap::new(), BTreeMap::new());
        let set = self.set.images();
        for (at, (image, place)) in member.config.images.iter().zip(&member.images).enumerate() {
            let repository = image.repository.to_string();
            if let [digest] = found.digests_of(at).as_slice() {
                from.insert(repository.clone(), digest.to_string());
            }
            to.insert(repository, set[*place].digest.to_string());
        }
        Facts {
            pins: Some(found.pins().len() as u64),
            from: Some(from),
            to: Some(to),
        }
    }

    /// The history that the last commits show which changed the files with pins.
    async fn history(
        &self,
        member: &Member,
        head: &BranchHead,
        config: &Config,
        found: &Found,
    ) -> Result<SiteHistory, Report> {
        let mut files = BTreeMap::new();
        for pin in found.pins() {
            let path = pin.file.to_string();
            if let Some(entry) = head.base.tree.entries.get(&path) {
                files.insert(path, entry.id.clone());
            }
        }
        let recent = self.reader.recent(&member.name, &member.state.head, &files);
        let history = read_history(&recent.await?, member, head)?;
        let pinned = history.revision_of(&checks::current_digests(config, found));
        let order = match (self.request.operation, pinned) {
            (Operation::Promotion, Some(pinned)) => {
                let orders = &self.orders;
                orders.order(&*self.reader, self.revision, pinned).await?
            }
            _ if history.shallow => Order::Unknown(UnknownOrder::Shallow),
            _ => Order::Unknown(UnknownOrder::NotInHistory),
        };
        let suffice = self.rules.history == FleetHistory::Recent;
        Ok(SiteHistory::of_last_commits(history, order, suffice))
    }
}

/// The history that the last commits show.
fn read_history(
    recent: &RecentHistory,
    member: &Member,
    head: &BranchHead,
) -> Result<History, Errors> {
    let what = || format!("reading the recent history of {}", member.name);
    let id = |name: &str| {
        let malformed =
            || Error::unavailable(what(), format!("malformed commit id {}", plain(name)));
        ObjectId::parse(name.as_bytes()).ok_or_else(malformed)
    };
    let mut commits = Vec::new();
    for commit in &recent.commits {
        commits.push(PathCommit {
            id: id(&commit.id)?,
            date: &commit.date,
            author: &commit.author,
            message: &commit.message,
            files: &commit.files,
        });
    }
    let blob = |id: &str| {
        let older = recent.contents.get(id).map(Vec::as_slice);
        older.or_else(|| head.base.blob(id))
    };
    let line = PathHistory {
        branch: Branch {
            name: member.state.base.clone(),
            tip: id(&member.state.head.commit)?,
        },
        commits,
        is_complete: recent.whole,
        blob: &blob,
        exists: &|path: &Path| head.files.has_chart(path),
        own_rollbacks: &member.own_rollbacks,
    };
    History::from_path_history(&member.config, &line)
        .map_err(|missing| Error::unavailable(what(), missing.to_string()).into())
}
