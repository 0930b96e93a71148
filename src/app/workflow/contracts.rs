//! The standards for the images of a set: the current inventory and contracts, and in a rollback the
//! contracts that were valid when the set was promoted.

use std::{
    collections::{BTreeMap, HashSet},
    io::{self, Read},
};

use super::{
    Services, SiteHistory, Stop,
    image_contents::{self, ExaminedPlatform, PlatformSource},
    tags::ReadImage,
};
use crate::{
    base::{
        error::{Code, Error, Errors},
        files::{Files, RelPath},
    },
    config::{Config, Image},
    contents::{
        ContentsByDigest,
        inventory::{Enumeration, Inventory},
    },
    core::{
        changes::changed_platforms,
        checks::{
            self, Check, ContractFile, Enforcement, ImagePlatform, Images, Signatures, Standard,
            Strictness,
        },
        history::{CommitConfig, Promoted, promoted_config},
    },
    git::{Git, ObjectId, TreeFile},
    oci::{
        Digest,
        registry::resolve::{ImageFacts, PlatformFacts},
    },
};

/// The maximum size of a contract, in bytes; one more byte is read to detect a larger one.
const MAX_CONTRACT: u64 = 1024 * 1024 + 1;

/// The current contracts, in the order of the images.
pub(crate) struct Contracts {
    contracts: Vec<Option<ContractFile>>,
    /// The inventory of an image without a configured one.
    empty_inventory: Inventory,
}

/// The contracts of the commit that promoted a set, in the order of the configured images.
pub(super) struct PastContracts {
    contracts: Vec<Option<ContractFile>>,
    /// The configuration of that commit; `None` if it is the current one.
    config: Option<Box<Config>>,
}

impl Contracts {
    /// Loads the contracts from the files of the site. `directory`: the path to the root in
    /// messages.
    pub(crate) fn read(config: &Config, files: &dyn Files, directory: &str) -> Self {
        let mut contracts = Vec::new();
        for image in &config.images {
            contracts.push(image.contract.as_ref().map(|path| {
                let name = format!("{directory}{path}");
                match read_contract(files, path) {
                    Ok(bytes) => ContractFile::parse(&name, bytes, config.inventory_of(image)),
                    Err(error) => ContractFile::not_found(&name, &error.to_string()),
                }
            }));
        }
        Self {
            contracts,
            empty_inventory: Inventory::default(),
        }
    }

    /// Checks that each contract is well-formed, and that one exists if copies must be compared.
    /// The error lists each problem once, even if images share a contract.
    pub(crate) fn well_formed(&self, config: &Config) -> Result<(), Errors> {
        let mut known = HashSet::new();
        let malformed = self
            .contracts
            .iter()
            .flatten()
            .flat_map(ContractFile::malformed);
        let mut problems: Vec<Error> = malformed
            .filter(|problem| known.insert((problem.code, problem.to_string())))
            .cloned()
            .collect();
        let (mut expects_copy, mut has_contract) = (false, false);
        for (image, contract) in config.images.iter().zip(&self.contracts) {
            let inventory = config.inventory_of(image);
            if inventory.is_some_and(|inventory| inventory.embedded_contract.is_some()) {
                expects_copy = true;
                has_contract |= contract.is_some();
            }
        }
        if expects_copy && !has_contract {
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
    pub(crate) fn failures(&self, config: &Config) -> Vec<Check> {
        let mut failures = Vec::new();
        for (image, contract) in config.images.iter().zip(&self.contracts) {
            for check in contract.iter().flat_map(ContractFile::failures) {
                failures.push(check.image(&image.name));
            }
        }
        failures
    }

    /// The standards of a promotion for each image.
    pub(crate) fn standards<'s>(&'s self, config: &'s Config) -> Vec<Vec<Standard<'s>>> {
        let mut standards = Vec::new();
        for (image, contract) in config.images.iter().zip(&self.contracts) {
            let copy = contract.as_ref().map(|contract| contract.bytes.as_slice());
            let contract = contract
                .as_ref()
                .map(|contract| (contract, Enforcement::Fail));
            let standard = self.standard(config.inventory_of(image), contract, copy);
            standards.push(standard.into_iter().collect());
        }
        standards
    }

    /// The standards of a rollback for each image: the current inventory, and the contract of `past`.
    /// The current contract only warns.
    pub(super) fn rollback_standards<'s>(
        &'s self,
        config: &'s Config,
        past: &'s PastContracts,
    ) -> Vec<Vec<Standard<'s>>> {
        let past_config = past.config.as_deref().unwrap_or(config);
        let mut standards = Vec::new();
        let contracts = self.contracts.iter().zip(&past.contracts);
        for (image, (current, past)) in config.images.iter().zip(contracts) {
            let past_inventory = match past_image(past_config, image) {
                Some(image) => past_config.inventory_of(image),
                None => past_config.inventory.as_ref(),
            };
            let copy = past.as_ref().map(|past| past.bytes.as_slice());
            // An identical contract is not reported twice.
            let current = current
                .as_ref()
                .filter(|current| copy != Some(current.bytes.as_slice()))
                .map(|current| (current, Enforcement::Warn));
            let current = self.standard(config.inventory_of(image), current, copy);
            let past = past.as_ref().map(|past| Standard {
                inventory: past_inventory.unwrap_or(&self.empty_inventory),
                hygiene: false,
                contract: Some((past, Enforcement::Fail)),
                copy: None,
            });
            standards.push(current.into_iter().chain(past).collect());
        }
        standards
    }

    /// The current standard of an image, if any.
    fn standard<'s>(
        &'s self,
        configured: Option<&'s Inventory>,
        contract: Option<(&'s ContractFile, Enforcement)>,
        copy: Option<&'s [u8]>,
    ) -> Option<Standard<'s>> {
        let inventory = configured.unwrap_or(&self.empty_inventory);
        let standard = Standard {
            inventory,
            hygiene: configured.is_some(),
            contract,
            copy,
        };
        (standard.hygiene || standard.contract.is_some()).then_some(standard)
    }
}

impl PastContracts {
    /// Loads the contracts from the tree of the commit that first made the set current, at the
    /// paths of that commit's configuration.
    pub(super) fn read(
        history: &SiteHistory,
        config: &Config,
        promoted: Option<&Promoted>,
    ) -> Result<Self, Error> {
        let (Some(promoted), Some(git)) = (promoted, history.git()) else {
            let contracts = config.images.iter().map(|_| None).collect();
            return Ok(Self {
                contracts,
                config: None,
            });
        };
        let commit = &promoted.contracts;
        let (git, past) =
            promoted_config(git, promoted, config).map_err(|error| Error::from(&error))?;
        let past_config = match past {
            CommitConfig::Config(config) => Some(config),
            CommitConfig::Current => None,
            CommitConfig::Unreadable(reason) => {
                let name = format!("{} of commit {}", config.file_name(), commit.short());
                let unreadable = |_| Some(ContractFile::not_found(&name, &reason));
                return Ok(Self {
                    contracts: config.images.iter().map(unreadable).collect(),
                    config: None,
                });
            }
        };
        let declared = past_config.as_deref().unwrap_or(config);
        let mut contracts = Vec::new();
        for image in &config.images {
            let past = past_image(declared, image);
            let contract = past.and_then(|past| Some((past, past.contract.as_ref()?)));
            contracts.push(match contract {
                Some((past, path)) => {
                    let inventory = declared.inventory_of(past);
                    Some(contract_of(&git, commit, path, inventory)?)
                }
                None => None,
            });
        }
        Ok(Self {
            contracts,
            config: past_config,
        })
    }
}

fn read_contract(files: &dyn Files, path: &RelPath) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = files.open(path).map_err(|error| error.error)?;
    file.take(MAX_CONTRACT).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The same image in another configuration.
fn past_image<'c>(config: &'c Config, image: &Image) -> Option<&'c Image> {
    let mut images = config.images.iter();
    images.find(|other| other.repository == image.repository)
}

/// Loads a contract from a commit's tree.
fn contract_of(
    git: &Git,
    commit: &ObjectId,
    path: &RelPath,
    inventory: Option<&Inventory>,
) -> Result<ContractFile, Error> {
    let name = format!("{path} of commit {}", commit.short());
    let file = git.file(commit, path, MAX_CONTRACT);
    Ok(match file.map_err(|error| Error::from(&error))? {
        TreeFile::Content(bytes) => ContractFile::parse(&name, bytes, inventory),
        TreeFile::Absent => ContractFile::not_found(&name, "the file does not exist"),
        TreeFile::TooLarge => ContractFile::not_found(&name, "larger than 1 MiB"),
    })
}

/// The names by kind in each platform of an image.
pub(super) type KindsOfPlatforms = BTreeMap<ImagePlatform, Enumeration>;

/// What the stage of contents read in addition to its verdicts.
pub(super) struct ReadContents {
    pub(super) kinds: KindsOfPlatforms,
    /// The contents of the platforms that are compared, in the order of the images.
    pub(super) compared: Vec<ContentsByDigest>,
}

/// A platform whose contents are read.
struct ReadPlatform {
    place: ImagePlatform,
    digest: Digest,
    /// Whether the current set contains it. It is only compared.
    is_current: bool,
}

/// The stage of contents: every platform of every image, one at a time. `current`: the images of the current
/// set with which the contents are compared. Each is read after the new one, with which it may share layers.
/// For one that cannot be read, the comparison gets the reason.
pub(super) fn verify_contents<'c, H: Strictness>(
    images: Images<'c, H, Signatures>,
    config: &'c Config,
    standards: &[Vec<Standard<'_>>],
    current: &[Option<ReadImage>],
    services: &Services,
) -> Result<(Images<'c, H, checks::Contents>, ReadContents), Stop> {
    let mut read = ReadContents {
        kinds: KindsOfPlatforms::new(),
        compared: vec![ContentsByDigest::new(); config.images.len()],
    };
    let mut stage = images.contents(standards);
    let sources = services.sources_of_images(config)?;
    let no_inventory = Inventory::default();
    let (mut places, mut platforms) = (Vec::new(), Vec::new());
    for place in stage.pending() {
        let Some(image_facts) = stage.facts(place.image) else {
            continue;
        };
        let Some(new) = image_facts.platforms.get(place.platform) else {
            continue;
        };
        let current = current.get(place.image).and_then(Option::as_ref);
        let old = current.map_or(Ok(None), |current| counterpart(current, image_facts, new));
        let old = old.unwrap_or_else(|reason| {
            read.compared[place.image].insert(new.digest, Err(reason));
            None
        });
        let image = &config.images[place.image];
        let examined = |facts, standards| ExaminedPlatform {
            platform: PlatformSource {
                image: &image.name,
                source: &sources[place.image],
                facts,
            },
            standards,
            compared: old.map(|_| config.inventory_of(image).unwrap_or(&no_inventory)),
        };
        let of_place = |facts: &PlatformFacts, is_current| ReadPlatform {
            place,
            digest: facts.digest,
            is_current,
        };
        places.push(of_place(new, false));
        platforms.push(examined(new, standards[place.image].as_slice()));
        if let Some(old) = old {
            places.push(of_place(old, true));
            platforms.push(examined(old, &[]));
        }
    }
    let verdicts = image_contents::check(&platforms, services);
    for (read_platform, verdict) in places.into_iter().zip(verdicts) {
        let ReadPlatform { place, digest, .. } = read_platform;
        let compared = &mut read.compared[place.image];
        if read_platform.is_current {
            image_contents::add_compared(compared, digest, verdict).map_err(Errors::from)?;
            continue;
        }
        let verdict = match verdict {
            Ok(verdict) => {
                read.kinds.extend(verdict.kinds.map(|names| (place, names)));
                compared.extend(verdict.contents.map(|contents| (digest, Ok(contents))));
                Ok(verdict.checks)
            }
            Err(error) => Err(vec![error]),
        };
        stage.record(place, verdict);
    }
    Ok((stage.finish()?, read))
}

/// The platform of the current image with the name of a new one, if their digests differ. The error is the
/// reason that the current image was not read.
fn counterpart<'f>(
    current: &'f ReadImage,
    new: &'f ImageFacts,
    platform: &PlatformFacts,
) -> Result<Option<&'f PlatformFacts>, String> {
    let current = match current {
        Ok(Some(current)) => current,
        Ok(None) => return Err("the current image is missing in the registry".to_owned()),
        Err(error) => return Err(error.text()),
    };
    // The error is reported when the images are compared.
    let changed = changed_platforms(current, new).unwrap_or_default();
    let mut changed = changed.into_iter();
    let changed = changed.find(|changed| changed.new.digest == platform.digest);
    Ok(changed.map(|changed| changed.old))
}
