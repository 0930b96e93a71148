//! An image in a layout, and runs of a smoke command in it, in an environment that the test
//! defines.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use crate::{
    config::{Engine, Smoke, WhenUnavailable},
    core::{
        checks::{self, Check},
        smoke::{
            self, EngineContext, ImageLocation, Request, Secrets, SmokeReport,
            process::MissingSecret,
        },
    },
    oci::{
        Repository, Tag, TagOrDigest,
        registry::{
            Layout as LayoutSource, LayoutDirectory, Source,
            resolve::{self, ImageFacts},
        },
    },
    support::layout::{Layout, Platform},
};

/// The machine and the image of a test. The engine is tested without a repository, so it is no `World`.
pub(crate) struct Bench {
    dir: tempfile::TempDir,
    pub(crate) image: ImageFacts,
    pub(crate) place: ImageLocation,
    pub(crate) variables: Vec<(OsString, OsString)>,
    pub(crate) interrupted: Arc<AtomicBool>,
}

/// A smoke block with defaults, and with this command.
pub(crate) fn command(words: &[&str]) -> Smoke {
    Smoke {
        command: words.iter().map(|word| (*word).to_owned()).collect(),
        user: None,
        env: Vec::new(),
        network: false,
        timeout: Duration::from_secs(60),
        engine: Engine::Auto,
        engine_args: Vec::new(),
        when_unavailable: WhenUnavailable::Refuse,
    }
}

impl Bench {
    /// An image of these platforms, in a layout. `PATH` is the test's own.
    pub(crate) fn new(platforms: &[Platform]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let layout = dir.path().join("layout");
        let digest = Layout::at(&layout).image("v1", platforms);
        let image = facts(&layout);
        assert_eq!(image.digest.to_string(), digest);
        let place = ImageLocation::Layout(layout);
        let variables = vec![
            ("PATH".into(), std::env::var_os("PATH").unwrap()),
            ("HOME".into(), dir.path().into()),
        ];
        Self {
            dir,
            image,
            place,
            variables,
            interrupted: Arc::default(),
        }
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// Installs a script in place of an engine; without one, no engine is found. The scripts use
    /// only programs in `/bin`.
    pub(crate) fn engine(&mut self, name: &str, script: &str) -> &mut Self {
        let bin = self.path("bin");
        fs::create_dir_all(&bin).unwrap();
        fs::write(
            bin.join(name),
            format!("#!/bin/sh\nPATH=/usr/bin:/bin\necho {name} >>$HOME/engines\n{script}\n"),
        )
        .unwrap();
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        self.set("PATH", bin.to_str().unwrap())
    }

    /// The name of the engine that was called last.
    pub(crate) fn last_engine(&self) -> String {
        let calls = fs::read_to_string(self.path("engines")).unwrap();
        calls.lines().last().unwrap().to_owned()
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) -> &mut Self {
        self.variables.retain(|(other, _)| other != name);
        self.variables.push((name.into(), value.into()));
        self
    }

    pub(crate) fn secrets(&self, smoke: &Smoke) -> Result<Secrets, MissingSecret> {
        Secrets::from_variables(&smoke.env, &self.variables)
    }

    pub(crate) fn run(&self, smoke: &Smoke) -> SmokeReport {
        static RUNS: AtomicU32 = AtomicU32::new(0);
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        let repository = Repository::parse("ghcr.io/acme/app").unwrap();
        let container = format!("repin-smoke-test-{}-{run}", std::process::id());
        let request = Request {
            smoke,
            repository: &repository,
            image: &self.image,
            location: &self.place,
            container,
        };
        let context = EngineContext {
            variables: self.variables.clone(),
            machine: std::env::consts::ARCH.to_owned(),
            interrupted: Arc::clone(&self.interrupted),
        };
        smoke::run(
            &request,
            &self
                .secrets(smoke)
                .unwrap_or_else(|missing| panic!("{missing}")),
            &context,
        )
    }

    /// Runs the stage; returns code, status and detail of its most severe check.
    pub(crate) fn verdict(&self, smoke: &Smoke) -> (&'static str, &'static str, String) {
        let smoked = self.run(smoke);
        let checks = checks::check_smoke(smoke, "app", &smoked).unwrap();
        let check: Check = checks.last().unwrap().clone();
        (check.code.as_str(), check.status.as_str(), check.detail)
    }
}

/// The facts about the image with the tag `v1`.
pub(crate) fn facts(layout: &Path) -> ImageFacts {
    let source = Source::Layout(LayoutSource::new(LayoutDirectory::new("", layout)));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let found = runtime.block_on(resolve::resolve(
        &source,
        &TagOrDigest::Tag(Tag::parse("v1").unwrap()),
        &[],
    ));
    found.unwrap().unwrap()
}
