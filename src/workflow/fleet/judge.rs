//! One repository: its files, its plan in memory, its history as far as the forge shows it.

use std::{collections::BTreeMap, path::Path};

use futures_util::future::join_all;

use super::{
    FleetGoal, Walk,
    member::{Member, skipped},
    outcome::{Facts, Report},
};
use crate::{
    checks::{self, Approved, Check, Code, Counted, RecentOrder, RecentPast},
    config::{FleetHistory, RelPath},
    error::{Error, Errors},
    files::{Files, Snapshot},
    fleet::FleetOutcome,
    forge::fleet::{ContentRequest, Contents, FileListing, RecentHistory},
    git::{Branch, ObjectId},
    history::{CommitShown, History, NoOrder, Order, Provenance, RecentLine},
    outside,
    pins::{self, Found},
    plan::Plan,
    pull_request::{Base, Marker},
    report::{
        body::{self, Beside, Undone},
        json::{FileRow, PlanDocument},
    },
    untrusted::plain,
    workflow::{globs, images},
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
    pub(super) base: Base,
    pub(super) approved: Approved,
    pub(super) plan: Plan,
    pub(super) document: PlanDocument,
    pub(super) body: String,
    pub(super) facts: Facts,
}

/// A repository whose files are at hand.
struct Read<'r> {
    member: &'r Member,
    base: &'r Base,
    files: &'r Snapshot,
    found: &'r Found,
}

/// What history says about an approved set.
struct Grounds {
    approved: Approved,
    beside: Beside,
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
                Error::failed("fleet_refused", message).help(help),
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
        let files = base.snapshot("");
        let found = pins::find(&files, &member.config);
        let found = found.map_err(|error| Box::new(error.into()))?;
        let facts = self.facts(&member, &found);
        let read = Read {
            member: &member,
            base: &base,
            files: &files,
            found: &found,
        };
        let judged = self.judged(&read).await;
        let planned = match judged {
            Ok(planned) => planned,
            Err(report) => return Err(Box::new(report.about(facts))),
        };
        Ok(Prepared {
            member,
            base,
            approved: planned.approved,
            plan: planned.plan,
            document: planned.document,
            body: planned.body,
            facts,
        })
    }

    async fn judged(&self, read: &Read<'_>) -> Result<PlannedMember, Report> {
        let (config, found) = (&read.member.config, read.found);
        globs::places_differ(config, found)?;
        let mut further = checks::unmatched(config, found);
        further.extend([Code::PIN_OUTSIDE, Code::DIGEST_OUTSIDE].map(skipped));
        if let FleetGoal::Promote = self.request.goal {
            let unpinned = outside::unpinned(read.files, config)?;
            further.extend(checks::unpinned(config, &unpinned));
        }
        let chain = Counted::new(config, self.revision, found, further)?;
        // What stands already, or need not change, costs no look at history.
        let images = self.set.images_of(&read.member.images);
        let preview = Plan::preview(&images, config, read.files, found)?;
        if preview.is_empty() {
            return Err(Report::done(FleetOutcome::Current));
        }
        if let Some(report) = self.settled(read.member, read.base, &preview) {
            return Err(report);
        }
        let grounds = self.grounds(chain, read).await?;
        let plan = Plan::new(&grounds.approved, config, read.files, found)?;
        let document = self.document(read, &grounds.approved, &plan);
        let body = body::render(&document, &grounds.beside, None)
            .map_err(|error| Error::input("template", error.to_string()))?;
        let body = format!("{body}\nRepin-Set: {}\n", self.revision);
        Ok(PlannedMember {
            approved: grounds.approved,
            plan,
            document,
            body,
        })
    }

    /// The marker of the set's pull requests.
    pub(super) fn marker(&self) -> Marker {
        Marker {
            kind: self.kind().to_owned(),
            revision: self.revision.to_string(),
        }
    }

    fn kind(&self) -> &'static str {
        match self.request.goal {
            FleetGoal::Promote => "promote",
            FleetGoal::Rollback => "rollback",
        }
    }

    /// What is known of the pins.
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

    /// The stages of history and of the set.
    async fn grounds(&self, chain: Counted<'_>, read: &Read<'_>) -> Result<Grounds, Report> {
        let (member, found) = (read.member, read.found);
        let config = &member.config;
        let recent = self.recent(read).await?;
        let history = history(&recent, read)?;
        let now = checks::pinned_now(config, found);
        let pinned = history.revision_of(&now);
        let set = self.set.verified_for(&member.images, config);
        let approved = match self.request.goal {
            FleetGoal::Promote => {
                let order = match pinned {
                    Some(pinned) => {
                        let reader = &*self.reader;
                        self.orders.order(reader, self.revision, pinned).await?
                    }
                    None if history.shallow => {
                        RecentOrder::Judged(Order::Unknown(NoOrder::Shallow))
                    }
                    None => RecentOrder::Judged(Order::Unknown(NoOrder::NotInHistory)),
                };
                let past = RecentPast {
                    order,
                    hold: history.held(self.revision),
                    blind_spot: history.blind_spot_of(self.revision),
                    shows_beginning: history.shows_beginning(),
                    enough: self.rules.history == FleetHistory::Recent,
                };
                let chain = chain.ordered_recently(&past)?;
                chain.verified_once(set, |digests| history.held_set(digests))?
            }
            FleetGoal::Rollback => {
                let chain = chain.proven_recently(&history.provenance(self.revision))?;
                chain.verified_once(set, |digests| match history.provenance_of(digests) {
                    // What the recent commits do not show was not promoted here.
                    Provenance::Shallow => Provenance::Never,
                    known => known,
                })?
            }
        };
        let undone = match self.request.goal {
            FleetGoal::Promote => None,
            FleetGoal::Rollback => history.since(&approved.pinned_digests(config)),
        };
        let beside = Beside {
            revision_now: pinned.map(ToString::to_string),
            undone: undone.unwrap_or_default().iter().map(Undone::of).collect(),
            ..Beside::default()
        };
        Ok(Grounds { approved, beside })
    }

    /// The recent commits that touched the files with pins.
    async fn recent(&self, read: &Read<'_>) -> Result<RecentHistory, Error> {
        let pinned = read.found.pins().iter().map(|pin| pin.file.to_string());
        let entry = |path: String| {
            let id = read.base.tree.entries.get(&path)?.id.clone();
            Some((path, id))
        };
        let files: BTreeMap<String, String> = pinned.filter_map(entry).collect();
        let (name, head) = (&read.member.name, &read.member.state.head);
        self.reader.recent(name, head, &files).await
    }

    /// The plan's document, without its body.
    fn document(&self, read: &Read<'_>, approved: &Approved, plan: &Plan) -> PlanDocument {
        let config = &read.member.config;
        let naming = self.naming(config);
        let rows = images::counted(images::declared(config), config, read.found);
        let rows = read.member.images.iter().zip(rows);
        let checks = approved.checks().iter().chain(plan.checks());
        PlanDocument {
            schema: "repin.plan/1",
            kind: self.kind(),
            revision: self.revision.to_string(),
            approved: true,
            applied: false,
            changed: true,
            images: rows.map(|(place, row)| self.set.row(*place, row)).collect(),
            files: plan.changes().iter().map(FileRow::of).collect(),
            checks: checks.cloned().collect::<Vec<Check>>(),
            branch: read.member.branch.clone(),
            title: naming.title.render(self.revision, &config.name),
            body: None,
            diff: None,
            pull_request: None,
            error: None,
        }
    }
}

/// A plan on its way to a pull request.
struct PlannedMember {
    approved: Approved,
    plan: Plan,
    document: PlanDocument,
    body: String,
}

/// The history that recent commits show.
fn history(recent: &RecentHistory, read: &Read<'_>) -> Result<History, Errors> {
    let what = || format!("reading the recent history of {}", read.member.name);
    let id = |name: &str| {
        let malformed =
            || Error::unavailable(what(), format!("malformed commit id {}", plain(name)));
        ObjectId::parse(name.as_bytes()).ok_or_else(malformed)
    };
    let commits = recent.commits.iter().map(|commit| {
        Ok(CommitShown {
            id: id(&commit.id)?,
            date: &commit.date,
            author: &commit.author,
            message: &commit.message,
            files: &commit.files,
        })
    });
    let commits = commits.collect::<Result<_, Error>>()?;
    let contents = |id: &str| {
        let older = recent.contents.get(id).map(Vec::as_slice);
        older.or_else(|| read.base.blob(id))
    };
    let line = RecentLine {
        branch: Branch {
            name: read.member.state.base.clone(),
            tip: id(&read.member.state.head.commit)?,
        },
        commits,
        whole: recent.whole,
        contents: &contents,
        exists: &|path: &Path| read.files.has_chart(path),
        own_rollbacks: &read.member.own_rollbacks,
    };
    History::of_recent(&read.member.config, &line)
        .map_err(|missing| Error::unavailable(what(), missing.to_string()).into())
}
