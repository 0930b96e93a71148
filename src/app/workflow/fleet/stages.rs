//! The stages of a repository of a fleet.
//!
//! A commit counts from the time at which its pull request was merged; without a pull request, the stage is unknown.

use std::collections::{BTreeMap, HashMap};

use super::{
    Walk,
    member::{Absent, FleetMember, state_of},
    plan::fetch_history,
};
use crate::{
    app::{
        fleet::{FleetOutcome, ListEntry, Report},
        pull_request::Base,
        workflow::{
            history_branch::configured_branch,
            site::BranchSite,
            stage_sources::{common_images, missing_images, restricted},
            stages::{JudgedSet, MergeSource, StageVerdicts, digests_there},
        },
    },
    base::error::{Code, Error},
    config::{self, Config, Operation, SetPath, SourceRepository, Stage, StageSet},
    forge::fleet::{ConfigFile, ContentRequest, RepositoryName, RepositoryState, SurveyRequest},
};

/// The configuration of a stage, with the state of its repository.
struct StageConfig {
    name: RepositoryName,
    state: RepositoryState,
    config: Config,
}

impl Walk<'_> {
    /// Judges the set in each stage of a repository.
    pub(super) async fn judge_stages(
        &self,
        member: &FleetMember,
        site: &BranchSite,
    ) -> Result<StageVerdicts, Report> {
        let mut verdicts = StageVerdicts::default();
        if self.request.operation == Operation::Rollback {
            return Ok(verdicts);
        }
        for rule in &member.config.promote.after {
            let stage = match self.stage_config(member, site, rule).await {
                Ok(stage) => stage,
                Err(reason) => {
                    verdicts.add_unknown(rule, reason);
                    continue;
                }
            };
            let common = common_images(&member.config, &stage.config);
            check_rule(member, rule, &stage, &common).map_err(|report| *report)?;
            match Box::pin(self.judge_stage(member, site, rule, stage)).await {
                Ok(judged) => {
                    let missing = missing_images(&member.config, &common);
                    verdicts.add(rule, judged, missing);
                }
                Err(report) => match report.reason() {
                    Some(reason) if report.outcome == FleetOutcome::Refused => {
                        verdicts.add_unknown(rule, reason);
                    }
                    _ => return Err(report),
                },
            }
        }
        Ok(verdicts)
    }

    /// The configuration of a stage at the head of its base branch, or the reason why it is unknown.
    async fn stage_config(
        &self,
        member: &FleetMember,
        site: &BranchSite,
        rule: &Stage,
    ) -> Result<StageConfig, String> {
        let set = match &rule.set {
            StageSet::OtherRepository(set) => {
                let name = self.name_on_forge(&set.repository, &member.name)?;
                return self
                    .survey_stage(name, set.branch.clone(), &set.set_path)
                    .await;
            }
            StageSet::SameRepository(set) => set,
        };
        let base = &site.head.base;
        let entry = base.tree.entries.get(&set.to_string());
        let entry = entry.ok_or_else(|| format!("{} has no {set}", base.branch))?;
        let request = ContentRequest {
            repository: member.name.clone(),
            commit: base.head.clone(),
            files: BTreeMap::from([(set.to_string(), entry.id.clone())]),
        };
        let read = self.reader.contents(&[request]).await.into_iter().next();
        let mut contents = match read {
            Some(contents) => contents.map_err(|error| error.to_string())?,
            None => return Err(format!("the forge did not return {set}")),
        };
        let bytes = contents.remove(&entry.id);
        let bytes = bytes.ok_or_else(|| format!("the forge did not return {set}"))?;
        let config = self.parse_stage(bytes, set)?;
        let expected = configured_branch(&config).unwrap_or(&base.repo.default_branch);
        if expected != base.branch {
            let branch = Some(expected.to_owned());
            return self.survey_stage(member.name.clone(), branch, set).await;
        }
        Ok(StageConfig {
            name: member.name.clone(),
            state: member.state.clone(),
            config,
        })
    }

    /// A repository of the same owner on the forge of the fleet. A user who may change one repository must not learn
    /// about others that only the token of the fleet may read.
    fn name_on_forge(
        &self,
        repository: &SourceRepository,
        member: &RepositoryName,
    ) -> Result<RepositoryName, String> {
        let name = match repository {
            SourceRepository::OnForge(name) => RepositoryName::parse(name),
            SourceRepository::Location(url) => self.forge.name_of(url),
        };
        let owner = &member.owner;
        name.filter(|name| name.owner.eq_ignore_ascii_case(owner))
            .ok_or_else(|| {
                let name = repository.as_str();
                format!("a fleet reads only repositories of {owner} on its own forge, and {name} is another one")
            })
    }

    /// Reads the configuration of a stage at the head of another branch or repository.
    async fn survey_stage(
        &self,
        name: RepositoryName,
        base: Option<String>,
        set: &SetPath,
    ) -> Result<StageConfig, String> {
        let entry = ListEntry {
            repository: name.to_string(),
            base: base.clone(),
        };
        let request = SurveyRequest {
            repository: name.clone(),
            base,
            branch: self.branch(self.fleet),
            config: set.to_string(),
        };
        let survey = self.reader.survey(&[request]).await.into_iter().next();
        let survey = survey.ok_or_else(|| format!("the forge did not return {name}"))?;
        let state = state_of(&entry, set, survey).map_err(|absent| match absent {
            Absent::Unconfigured(error)
            | Absent::Archived(error)
            | Absent::Moved(error)
            | Absent::Failed(error) => error.to_string(),
        })?;
        let text = match &state.config {
            ConfigFile::Text(text) => text.clone(),
            ConfigFile::Missing => return Err(format!("{} has no {set}", state.base)),
            ConfigFile::Unusable(reason) => return Err(format!("cannot read {set}: {reason}")),
        };
        let config = self.parse_stage(text.into_bytes(), set)?;
        Ok(StageConfig {
            name,
            state,
            config,
        })
    }

    fn parse_stage(&self, bytes: Vec<u8>, set: &SetPath) -> Result<Config, String> {
        let root = &self.fleet.root;
        config::parse_bytes(bytes, &set.to_string(), root, set, config::parse_past)
            .map_err(|reason| format!("{set} is invalid: {reason}"))
    }

    /// Reads the history of a stage, for the verdict on the set.
    async fn judge_stage(
        &self,
        member: &FleetMember,
        member_site: &BranchSite,
        rule: &Stage,
        stage: StageConfig,
    ) -> Result<JudgedSet, Report> {
        let StageConfig {
            name,
            state,
            config,
        } = stage;
        let common = common_images(&member.config, &config);
        let config = restricted(config, &common);
        let stage = FleetMember {
            name,
            state,
            config,
            images: Vec::new(),
            branch: String::new(),
        };
        let listed = self.list(stage).await.map_err(|report| *report)?;
        let contents = self.read(&[&listed]).await.into_iter().next();
        let contents = contents.unwrap_or_else(|| Ok(HashMap::new()))?;
        let stage = listed.member;
        let base = Base::surveyed(&stage.state, &stage.branch, listed.listing.tree, contents);
        let site = self.site(&stage, base)?;
        // The commits of the same branch were fetched for the history of the repository.
        let is_fetched = stage.name == member.name && stage.state.base == member.state.base;
        let fetched = if is_fetched { member_site } else { &site };
        let history = fetch_history(&stage, &fetched.head.repository.content).await?;
        let digests = self.set.pinned_digests(&member.images, &member.config);
        let merges = MergeSource {
            forge: &site.head.repository.forge,
            branch: &stage.state.base,
            is_first_parent: false,
        };
        let now = self.services.authoritative_time();
        let digests = digests_there(&common, &digests);
        Ok(JudgedSet::judge(&history, &digests, rule, now, Some(merges)).await)
    }
}

/// Refuses a stage without a common image, and one that waits for this set. Cycles of more sets are found by a
/// promotion in a clone.
fn check_rule(
    member: &FleetMember,
    rule: &Stage,
    stage: &StageConfig,
    common: &[[String; 2]],
) -> Result<(), Box<Report>> {
    let item = rule.item();
    let error = |message: String, help: &str| {
        let message = format!("{}: {message}", member.name);
        Box::new(Report::from(Error::input(Code::CONFIG, message).help(help)))
    };
    if common.is_empty() {
        let message = format!("the stage {item} pins none of the images of this set");
        return Err(error(
            message,
            "list a set that pins an image of the same repository",
        ));
    }
    let is_own = |next: &Stage| match &next.set {
        StageSet::SameRepository(set) => {
            stage.name == member.name && *set == member.config.set_path
        }
        StageSet::OtherRepository(set) => {
            set.set_path == member.config.set_path && member.name.is(set.repository.as_str())
        }
    };
    if stage.config.promote.after.iter().any(is_own) {
        let message = format!("`promote.after` is a cycle: {item} waits for this set");
        return Err(error(
            message,
            "remove one of the two sets from the `promote.after` of the other",
        ));
    }
    Ok(())
}
