//! The planner on random trees, and on files that change between the count and the plan.

use std::{collections::BTreeMap, fs, path::Path};

use proptest::prelude::*;

use crate::{
    base::{error::SourceText, files::WorkTree},
    config::{self, Config},
    core::{
        checks::{
            Approved, ApprovedImage, Counted, DigestHistory, HistoryFacts, HistoryVerdict, Images,
            Overrides, Resolution, Status, Tags, Target,
        },
        history::{Digests, Hold, Provenance},
        pins::{self, FoundPins},
        plan::{Plan, PlanError},
    },
    oci::{
        Descriptor, Digest, ImageConfig, ImageManifest, Platform, Revision, RuntimeConfig,
        registry::resolve::{ImageFacts, PlatformFacts},
    },
};

const REVISION: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const IMAGES: [&str; 3] = ["app", "app-extra", "base"];

fn configuration(root: &Path, pins: [usize; 3]) -> Config {
    let images = IMAGES.iter().zip(pins).map(|(name, pins)| {
        format!("  {name}: {{ repository: ghcr.io/acme/{name}, pins: {pins} }}\n")
    });
    let text = format!(
        "version: 1\nfiles: ['**/*.yml']\nimages:\n{}",
        images.collect::<String>()
    );
    config::parse(
        &SourceText {
            name: "repin.yaml".into(),
            text: text.into(),
        },
        root,
        &config::SetPath::top(),
    )
    .unwrap()
}

fn old(letter: char) -> String {
    format!("sha256:{}", letter.to_string().repeat(64))
}

fn new(image: &str) -> Digest {
    Digest::of(image.as_bytes())
}

fn facts(image: &str) -> ImageFacts {
    let descriptor: Descriptor = serde_json::from_str(&format!(
        r#"{{"mediaType":"x","digest":"{}","size":1}}"#,
        new("config")
    ))
    .unwrap();
    let manifest = ImageManifest {
        config: descriptor,
        layers: Vec::new(),
        subject: None,
        artifact_type: None,
        annotations: BTreeMap::new(),
    };
    let platform = Platform {
        os: "linux".into(),
        architecture: "amd64".into(),
        variant: None,
        os_version: None,
    };
    let config = ImageConfig {
        platform: platform.clone(),
        created: None,
        labels: BTreeMap::from([(
            "org.opencontainers.image.revision".to_owned(),
            REVISION.to_owned(),
        )]),
        env: Vec::new(),
        user: String::new(),
        runtime: Ok(RuntimeConfig::default()),
        diff_ids: Vec::new(),
    };
    let platforms = vec![PlatformFacts {
        annotations: BTreeMap::new(),
        platform,
        digest: new(image),
        manifest,
        config,
    }];
    ImageFacts {
        digest: new(image),
        media_type: "application/vnd.oci.image.manifest.v1+json".into(),
        platforms,
    }
}

/// Resolves a set like a promotion without git.
fn resolved<'c>(
    config: &'c Config,
    revision: &'c Revision,
    found: &FoundPins,
) -> Images<'c, HistoryVerdict, Tags> {
    let tag = config.revision.tag.tag(revision).unwrap();
    let resolution = |name: &&str| Resolution {
        target: Target::new(tag.clone()),
        found: Ok(ApprovedImage {
            tag: tag.tag().unwrap().clone(),
            facts: facts(name),
        }),
        recorded: None,
        bypassed: None,
        old_platforms: Vec::new(),
    };
    let resolutions: Vec<_> = IMAGES.iter().map(resolution).collect();
    let chain = Counted::new(config, revision, found, Vec::new())
        .unwrap_or_else(|stopped| panic!("{stopped:?}"));
    let chain = chain
        .not_older(&HistoryFacts::Absent("no git".into()), Overrides::default())
        .unwrap();
    chain
        .resolved(&resolutions, None, &NoHistory)
        .unwrap()
        .staged(&[])
        .unwrap()
}

/// A repository without git.
struct NoHistory;

impl DigestHistory for NoHistory {
    fn hold(&self, _: &Digests, _: &Digests) -> Hold {
        Hold::default()
    }

    fn provenance(&self, _: &Digests) -> Provenance {
        Provenance::Never
    }
}

/// Takes a set through the whole chain, without checks of its images.
fn approved(config: &Config, revision: &Revision, found: &FoundPins) -> Approved {
    let images = resolved(config, revision, found);
    let images = images.signatures().finish().unwrap();
    let images = images.contents(&[]).finish().unwrap();
    images.smoke().finish().unwrap().approved()
}

#[test]
fn unchecked_content_is_not_approved() {
    let root = tempfile::tempdir().unwrap();
    let mut config = configuration(root.path(), [0, 0, 1]);
    let revision = config.revision.pattern.revision(REVISION).unwrap();
    fs::write(
        root.path().join("a.yml"),
        format!("{}@{}\n", config.images[2].repository, old('a')),
    )
    .unwrap();
    let found = pins::find(&WorkTree::new(root.path()), &config).unwrap();
    config.inventory = Some(crate::contents::inventory::Inventory::default());
    let images = resolved(&config, &revision, &found);
    let mut stage = images.signatures().finish().unwrap().contents(&[]);
    let open: Vec<_> = stage.pending().collect();
    let indices: Vec<_> = open.iter().map(|at| (at.image, at.platform)).collect();
    assert_eq!(indices, [(0, 0), (1, 0), (2, 0)]);
    for place in &open[1..] {
        stage.record(*place, Ok(Vec::new()));
    }
    let stopped = stage.finish().err().unwrap();
    assert_eq!(stopped.errors.len(), 1);
    assert!(
        stopped.errors[0]
            .to_string()
            .contains("the image was not examined")
    );
}

fn plan(root: &Path, pins: [usize; 3], meanwhile: impl FnOnce()) -> Result<Plan, PlanError> {
    let config = configuration(root, pins);
    let files = WorkTree::new(root);
    let found = pins::find(&files, &config).unwrap();
    let revision = config.revision.pattern.revision(REVISION).unwrap();
    let approved = approved(&config, &revision, &found);
    meanwhile();
    Plan::new(&approved, &config, &files, &found)
}

#[test]
fn pin_count_that_changed_since_counting_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("a.yml");
    let pin = format!("ghcr.io/acme/app@{}\n", old('a'));
    // An image with `pins: 0` gains one.
    let gained = format!("{pin}ghcr.io/acme/{}@{}\n", IMAGES[1], old('a'));
    for (text, says) in [
        (pin.repeat(2), "would pin it 2 times"),
        (String::new(), "would pin it 0 times"),
        (gained, "would pin it 1 time, but `pins: 0` is declared"),
    ] {
        fs::write(&file, &pin).unwrap();
        let planned = plan(root.path(), [1, 0, 0], || fs::write(&file, text).unwrap());
        let Err(PlanError::Counts(checks)) = planned else {
            panic!("{planned:?}")
        };
        let failed: Vec<_> = checks
            .iter()
            .filter(|check| check.status == Status::Fail)
            .collect();
        assert!(
            failed.len() == 1 && failed[0].detail.contains(says),
            "{failed:?}"
        );
        assert_eq!(failed[0].code.as_str(), "plan_count");
    }
}

#[test]
fn unchanged_pin_is_not_counted() {
    let root = tempfile::tempdir().unwrap();
    let text = format!(
        "ghcr.io/acme/app@{}\nghcr.io/acme/app@{}\n",
        old('a'),
        new("app")
    );
    fs::write(root.path().join("a.yml"), text).unwrap();
    let planned = plan(root.path(), [2, 0, 0], || ()).unwrap();
    assert_eq!(planned.changes()[0].pins, 1);
}

#[test]
fn vanished_file_is_reported() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("a.yml");
    fs::write(&file, format!("ghcr.io/acme/app@{}\n", old('a'))).unwrap();
    let planned = plan(root.path(), [1, 0, 0], || fs::remove_file(&file).unwrap());
    assert!(matches!(planned, Err(PlanError::Read(_))), "{planned:?}");
}

/// A piece of a file: the text before and after the promotion, and the pinned image.
#[derive(Debug, Clone)]
struct Piece(String, String, Option<usize>);

fn piece() -> impl Strategy<Value = Piece> {
    let same = |text: String| Piece(text.clone(), text, None);
    let pin = (0..2_usize, any::<bool>(), prop_oneof![Just('a'), Just('c')]).prop_map(
        |(image, tagged, letter)| {
            let name = IMAGES[image];
            let [before, after] = if tagged {
                [":v1".to_owned(), format!(":{REVISION}")]
            } else {
                [String::new(), String::new()]
            };
            let old = format!(" ghcr.io/acme/{name}{before}@{}\n", old(letter));
            Piece(
                old,
                format!(" ghcr.io/acme/{name}{after}@{}\n", new(name)),
                Some(image),
            )
        },
    );
    prop_oneof![
        4 => pin,
        1 => Just(same(format!(" ghcr.io/acme/app-other@{}\r\n", old('d')))),
        1 => Just(same(" ghcr.io/acme/app@sha256:<digest> ${X}@sha256:${Y}\n".to_owned())),
        1 => "[ -~\n\r]{0,30}\n".prop_filter("no pin by chance", |text| !text.contains('@')).prop_map(same),
        1 => Just(same("\u{feff}\u{0}é\n".to_owned())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn only_the_bytes_of_pins_change(files in proptest::collection::vec(proptest::collection::vec(piece(), 0..8), 1..5)) {
        let root = tempfile::tempdir().unwrap();
        let mut counts = [0; 3];
        for (at, pieces) in files.iter().enumerate() {
            let directory = root.path().join(format!("d{}", at % 2));
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join(format!("{at}.yml")), pieces.iter().map(|piece| piece.0.as_str()).collect::<String>()).unwrap();
            for image in pieces.iter().filter_map(|piece| piece.2) {
                counts[image] += 1;
            }
        }
        prop_assume!(counts.iter().sum::<usize>() > 0);
        let plan = plan(root.path(), counts, || ()).unwrap();
        let mut planned: BTreeMap<_, _> = plan.changes().iter().map(|change| (change.path.to_string(), change)).collect();
        for (at, pieces) in files.iter().enumerate() {
            let expected: String = pieces.iter().map(|piece| piece.1.as_str()).collect();
            match planned.remove(&format!("d{}/{at}.yml", at % 2)) {
                Some(change) => {
                    prop_assert_eq!(String::from_utf8_lossy(&change.new), expected);
                    prop_assert_eq!(change.pins, pieces.iter().filter(|piece| piece.2.is_some()).count());
                    prop_assert_eq!(change.new_sha256, Digest::of(&change.new));
                }
                None => prop_assert!(pieces.iter().all(|piece| piece.2.is_none())),
            }
        }
        prop_assert!(planned.is_empty());
    }
}
