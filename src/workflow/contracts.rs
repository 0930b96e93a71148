//! The standards for the images of a set: the current inventory and contracts; in a rollback also
//! the contracts that the set was promoted under.

use std::{
    collections::{BTreeMap, HashSet},
    io::Read,
};

use super::{
    Services, SiteHistory, Stop,
    contents::{self, Subject},
};
use crate::{
    checks::{
        self, Check, ContractFile, Enforcement, ImagePlatform, Images, Scope, Signatures, Standard,
    },
    code::Code,
    config::{Config, Image, Inventory, RelPath},
    error::{Error, Errors},
    files::Files,
    git::{Git, ObjectId, TreeFile},
    history::{CommitConfig, Promoted, commit_config},
    inventory::{Enumeration, ReadingProgress},
};

/// The maximum size of a contract, in bytes; one more byte is read to detect a larger one.
const CONTRACT_MAX: u64 = 1024 * 1024 + 1;

/// The current contracts, in the order of the images.
pub struct Contracts {
    held: Vec<Option<ContractFile>>,
    /// The inventory if none is configured.
    nothing: Inventory,
}

/// The contracts of the commit that promoted a set, in the order of the configured images.
pub(super) struct ContractsThen {
    held: Vec<Option<ContractFile>>,
    own: Option<Box<Config>>,
}

impl Contracts {
    /// Reads them from the files that the run works on; `directory` leads to the root, in messages.
    pub fn read(config: &Config, files: &dyn Files, directory: &str) -> Self {
        let read = |path: &RelPath| {
            let mut bytes = Vec::new();
            let file = files.open(path).map_err(|error| error.error)?;
            file.take(CONTRACT_MAX).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let held = |image: &Image, path: &RelPath| {
            let name = format!("{directory}{path}");
            match read(path) {
                Ok(bytes) => ContractFile::parse(&name, bytes, config.inventory_of(image)),
                Err(error) => {
                    let error: std::io::Error = error;
                    ContractFile::not_found(&name, &error.to_string())
                }
            }
        };
        let held = config
            .images
            .iter()
            .map(|image| image.contract.as_ref().map(|path| held(image, path)))
            .collect();
        Self {
            held,
            nothing: Inventory::default(),
        }
    }

    /// Checks that each is well-formed, and that one exists if copies must be compared. Otherwise
    /// returns all problems of all contracts, each once even if several images share a contract.
    pub fn well_formed(&self, config: &Config) -> Result<(), Errors> {
        let mut told = HashSet::new();
        let malformed = self.held.iter().flatten().flat_map(ContractFile::malformed);
        let mut problems: Vec<Error> = malformed
            .filter(|problem| told.insert((problem.code, problem.to_string())))
            .cloned()
            .collect();
        let with_copy = config.images.iter().zip(&self.held).filter(|(image, _)| {
            let inventory = config.inventory_of(image);
            inventory.is_some_and(|inventory| inventory.embedded_contract.is_some())
        });
        let contracts: Vec<_> = with_copy.map(|(_, held)| held.is_some()).collect();
        if !contracts.is_empty() && !contracts.contains(&true) {
            let message = "`inventory.embedded_contract` is compared with an image's `contract`, but no image has one";
            problems.push(
                Error::input(Code::CONFIG, message)
                    .help("add `contract: FILE` to the images that have a copy"),
            );
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems.into())
        }
    }

    /// The failed checks of contracts that assert nothing.
    pub fn failures(&self, config: &Config) -> Vec<Check> {
        let images = config.images.iter().zip(&self.held);
        let of_image = |(image, held): (&Image, &Option<ContractFile>)| {
            let failures = held.iter().flat_map(ContractFile::failures);
            failures
                .map(|check| check.image(&image.name))
                .collect::<Vec<_>>()
        };
        images.flat_map(of_image).collect()
    }

    /// The standards of a promote for each image.
    pub fn standards<'s>(&'s self, config: &'s Config) -> Vec<Vec<Standard<'s>>> {
        let standard = |image: &'s Image, held: &'s Option<ContractFile>| {
            let contract = held.as_ref();
            let copy = contract.map(|held| held.bytes.as_slice());
            let contract = contract.map(|held| (held, Enforcement::Fail));
            self.standard(config.inventory_of(image), contract, copy)
        };
        let images = config.images.iter().zip(&self.held);
        images
            .map(|(image, held)| standard(image, held).into_iter().collect())
            .collect()
    }

    /// The standards of a rollback for each image: the current inventory, and the contract of
    /// `then`; the current contract only warns.
    pub(super) fn standards_then<'s>(
        &'s self,
        config: &'s Config,
        then: &'s ContractsThen,
    ) -> Vec<Vec<Standard<'s>>> {
        let theirs = then.own.as_deref().unwrap_or(config);
        let of_image = |image: &'s Image,
                        current: &'s Option<ContractFile>,
                        then: &'s Option<ContractFile>| {
            let kinds_then = image_then(theirs, image)
                .map_or(theirs.inventory.as_ref(), |then| theirs.inventory_of(then));
            let copy = then.as_ref().map(|then| then.bytes.as_slice());
            let deciding = then.as_ref().map(|then| Standard {
                inventory: kinds_then.unwrap_or(&self.nothing),
                hygiene: false,
                contract: Some((then, Enforcement::Fail)),
                copy: None,
            });
            // An identical contract is not reported twice.
            let current = current
                .as_ref()
                .filter(|current| copy != Some(current.bytes.as_slice()));
            let current = current.map(|current| (current, Enforcement::Warn));
            let current = self.standard(config.inventory_of(image), current, copy);
            current.into_iter().chain(deciding).collect()
        };
        let held = self.held.iter().zip(&then.held);
        let images = config.images.iter().zip(held);
        images
            .map(|(image, (current, then))| of_image(image, current, then))
            .collect()
    }

    /// The current standard of an image, if any.
    fn standard<'s>(
        &'s self,
        configured: Option<&'s Inventory>,
        contract: Option<(&'s ContractFile, Enforcement)>,
        copy: Option<&'s [u8]>,
    ) -> Option<Standard<'s>> {
        let inventory = configured.unwrap_or(&self.nothing);
        let standard = Standard {
            inventory,
            hygiene: configured.is_some(),
            contract,
            copy,
        };
        (standard.hygiene || standard.contract.is_some()).then_some(standard)
    }
}

impl ContractsThen {
    /// Reads them from the tree of the commit that first made the set current, at the paths of that
    /// commit's configuration.
    pub(super) fn read(
        history: &SiteHistory,
        config: &Config,
        promoted: Option<&Promoted>,
    ) -> Result<Self, Error> {
        let none = || Self {
            held: config.images.iter().map(|_| None).collect(),
            own: None,
        };
        let (Some(promoted), Some(git)) = (promoted, history.git()) else {
            return Ok(none());
        };
        let commit = &promoted.contracts;
        let own = match commit_config(git, commit, config).map_err(|error| Error::from(&error))? {
            CommitConfig::Config(own) => Some(own),
            CommitConfig::Current => None,
            CommitConfig::Unreadable(reason) => {
                let name = format!("{} of commit {}", config.file_name(), commit.short());
                let held = config
                    .images
                    .iter()
                    .map(|_| Some(ContractFile::not_found(&name, &reason)))
                    .collect();
                return Ok(Self { held, own: None });
            }
        };
        let theirs = own.as_deref().unwrap_or(config);
        let held = config.images.iter().map(|current| {
            let then = image_then(theirs, current);
            let contract = then.and_then(|then| Some((then, then.contract.as_ref()?)));
            contract
                .map(|(then, path)| contract_of(git, commit, path, theirs.inventory_of(then)))
                .transpose()
        });
        Ok(Self {
            held: held.collect::<Result<_, _>>()?,
            own,
        })
    }
}

/// An image as another configuration declares it.
fn image_then<'c>(theirs: &'c Config, image: &Image) -> Option<&'c Image> {
    let mut images = theirs.images.iter();
    images.find(|then| then.repository == image.repository)
}

/// A contract in a commit's tree.
fn contract_of(
    git: &Git,
    commit: &ObjectId,
    path: &RelPath,
    inventory: Option<&Inventory>,
) -> Result<ContractFile, Error> {
    let name = format!("{path} of commit {}", commit.short());
    Ok(
        match git
            .file(commit, path, CONTRACT_MAX)
            .map_err(|error| Error::from(&error))?
        {
            TreeFile::Content(bytes) => ContractFile::parse(&name, bytes, inventory),
            TreeFile::Absent => ContractFile::not_found(&name, "the file does not exist"),
            TreeFile::TooLarge => ContractFile::not_found(&name, "larger than 1 MiB"),
        },
    )
}

/// The names of the kinds that platforms of images contain.
pub(super) type KindsOfPlatforms = BTreeMap<ImagePlatform, Enumeration>;

/// The stage of contents: every platform of every image, one at a time.
pub(super) fn verify_contents<'c, G: Scope>(
    images: Images<'c, G, Signatures>,
    config: &'c Config,
    standards: &[Vec<Standard<'_>>],
    services: &Services,
) -> Result<(Images<'c, G, checks::Contents>, KindsOfPlatforms), Stop> {
    let mut kinds = KindsOfPlatforms::new();
    let mut stage = images.contents(standards);
    let places: Vec<_> = stage.pending().collect();
    if !places.is_empty() {
        let sources = services.sources_of_images(config)?;
        let mut subjects = Vec::new();
        for place in &places {
            let facts = stage.facts(place.image);
            if let Some(facts) = facts.and_then(|facts| facts.platforms.get(place.platform)) {
                let subject = Subject {
                    name: &config.images[place.image].name,
                    source: &sources[place.image],
                    facts,
                };
                subjects.push((subject, standards[place.image].as_slice()));
            }
        }
        let reading = ReadingProgress::default();
        let work = contents::verdicts(&subjects, &reading);
        let verdicts = services.wait_with(work, || reading.describe())?;
        for (place, verdict) in places.into_iter().zip(verdicts) {
            let verdict = match verdict {
                Ok(verdict) => {
                    kinds.extend(verdict.kinds.map(|names| (place, names)));
                    Ok(verdict.checks)
                }
                Err(outage) => Err(vec![outage]),
            };
            stage.record(place, verdict);
        }
    }
    Ok((stage.finish()?, kinds))
}
