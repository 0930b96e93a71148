//! The instrumented copy of the repository, and its build.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{
    Fail,
    sites::{Found, Site},
};

/// What is measured unless paths are given: all that decides what changes, and whether.
pub const MODULES: [&str; 24] = [
    "src/core/apply/",
    "src/core/checks/",
    "src/core/plan/",
    "src/core/outside/",
    "src/core/pins/",
    "src/prune/",
    "src/base/untrusted/",
    "src/core/history/",
    "src/oci/document",
    "src/oci/registry/layout.rs",
    "src/app/pull_request/",
    "src/core/builds/",
    "src/app/workflow/",
    "src/core/configurations.rs",
    "src/git/commit.rs",
    "src/git/connection.rs",
    "src/git/location.rs",
    "src/git/merge.rs",
    "src/git/mirror.rs",
    "src/git/promoted_branch.rs",
    "src/git/publish.rs",
    "src/git/push.rs",
    "src/forge/gitlab/",
    "src/forge/refused_push.rs",
];

/// The copy.
pub struct Tree {
    /// The repository.
    pub root: PathBuf,
    /// Where the copy is.
    pub copy: PathBuf,
    /// Mutants that do not compile.
    pub skip: HashSet<String>,
}

/// The programs that the copy's tests are.
pub struct Programs {
    pub binaries: Vec<PathBuf>,
}

/// The lines of the messages of the compiler, by file.
#[derive(Default)]
struct Errors {
    labeled: Vec<(String, RangeInclusive<usize>)>,
    /// From the first to the last line of each message.
    enclosed: Vec<(String, RangeInclusive<usize>)>,
}

impl Tree {
    /// Writes the copy and builds it, without the mutants that do not compile.
    pub fn build(&mut self) -> Result<(Vec<Site>, Programs), Fail> {
        loop {
            let sites = self.write()?;
            eprintln!("building a copy with {} mutants", sites.len());
            let (programs, errors) = self.compile()?;
            if let Some(programs) = programs {
                return Ok((sites, programs));
            }
            let before = self.skip.len();
            self.blame(&sites, &errors.labeled);
            if self.skip.len() == before {
                // A removed statement may be between the lines of a message.
                self.blame(&sites, &errors.enclosed);
            }
            if self.skip.len() == before {
                return Err("the copy does not compile, and no mutant is to blame".into());
            }
            eprintln!("{} mutants do not compile", self.skip.len());
        }
    }

    /// Skips the smallest mutants in these lines of each file: what surrounds a broken one may be sound.
    fn blame(&mut self, sites: &[Site], errors: &[(String, RangeInclusive<usize>)]) {
        for (file, lines) in errors {
            let broken = sites.iter().filter(|site| {
                site.file == *file && site.line <= *lines.end() && site.last_line >= *lines.start()
            });
            let smallest = broken.clone().map(|site| site.last_line - site.line).min();
            let broken = broken.filter(|site| Some(site.last_line - site.line) == smallest);
            self.skip.extend(broken.map(Site::key));
        }
    }

    fn tracked(&self) -> Result<Vec<String>, Fail> {
        let output = Command::new("git")
            .args(["ls-files", "-z"])
            .current_dir(&self.root)
            .output()?;
        let names = String::from_utf8(output.stdout)?;
        Ok(names
            .split('\0')
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect())
    }

    pub fn write(&self) -> Result<Vec<Site>, Fail> {
        let names = self.tracked()?;
        let mut sites = vec![Site::nothing()];
        for name in &names {
            let from = self.root.join(name);
            let Ok(metadata) = fs::metadata(&from) else {
                continue;
            };
            let to = self.copy.join(name);
            let parent = to.parent().ok_or("no parent")?;
            fs::create_dir_all(parent)?;
            let bytes = match self.changed(name, &from, &mut sites)? {
                Some(text) => text.into_bytes(),
                None => fs::read(&from)?,
            };
            // What is the same keeps its time: cargo builds only what differs.
            if fs::read(&to).ok().as_deref() != Some(&bytes) {
                fs::write(&to, bytes)?;
                fs::set_permissions(&to, metadata.permissions())?;
            }
        }
        for module in MODULES {
            if !sites.iter().any(|site| site.file.starts_with(module)) {
                return Err(format!("{module} has no mutant: was it moved?").into());
            }
        }
        let switch = self.copy.join("src/mutants_switch.rs");
        let text = include_str!("switch.rs.in");
        if fs::read_to_string(&switch).ok().as_deref() != Some(text) {
            fs::write(switch, text)?;
        }
        Ok(sites)
    }

    /// A file of the copy where it differs from the original.
    fn changed(
        &self,
        name: &str,
        from: &Path,
        sites: &mut Vec<Site>,
    ) -> Result<Option<String>, Fail> {
        let rust = Path::new(name)
            .extension()
            .is_some_and(|extension| extension == "rs");
        if name == "Cargo.toml" {
            // Lints have nothing to say about what is inserted.
            return Ok(Some(
                fs::read_to_string(from)?.replace("= \"deny\"", "= \"allow\""),
            ));
        }
        if !rust {
            return Ok(None);
        }
        let text = fs::read_to_string(from)?;
        if name == "src/lib.rs" {
            return Ok(Some(format!("{text}pub mod mutants_switch;\n")));
        }
        if name.starts_with("tests/it/") {
            // Programs that tests start have nothing of the environment but this.
            let passed = ".env_clear().envs(repin::mutants_switch::environment())";
            return Ok(Some(text.replace(".env_clear()", passed)));
        }
        if !MODULES.iter().any(|module| name.starts_with(module)) || is_test(name) {
            return Ok(None);
        }
        let first = u32::try_from(sites.len())?;
        let found = Found::of(name, &text, first, &self.skip)
            .map_err(|error| format!("{name}: {error}"))?;
        let rewritten = found.rewritten();
        sites.extend(found.sites.into_iter().map(|(_, site)| site));
        Ok(Some(rewritten))
    }

    /// The programs, or the lines that do not compile.
    fn compile(&self) -> Result<(Option<Programs>, Errors), Fail> {
        let output = Command::new("cargo")
            .args([
                "test",
                "--no-run",
                "--locked",
                "--lib",
                "--test",
                "it",
                "--message-format=json",
            ])
            .current_dir(&self.copy)
            .env("CARGO_TARGET_DIR", self.copy.with_file_name("build"))
            .stderr(Stdio::inherit())
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let messages: Vec<Value> = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        if output.status.success() {
            let tests = messages
                .iter()
                .filter(|message| message["profile"]["test"] == true);
            let binaries =
                tests.filter_map(|message| message["executable"].as_str().map(PathBuf::from));
            // Cargo names them in any order, and what they reach is known by them.
            let mut binaries: Vec<PathBuf> = binaries.collect();
            binaries.sort();
            return Ok((Some(Programs { binaries }), Errors::default()));
        }
        let mut errors = Errors::default();
        for message in messages
            .iter()
            .filter(|message| message["message"]["level"] == "error")
        {
            eprintln!(
                "{}",
                message["message"]["rendered"].as_str().unwrap_or_default()
            );
            let mut enclosed = BTreeMap::<String, RangeInclusive<usize>>::new();
            for span in message["message"]["spans"].as_array().into_iter().flatten() {
                let line = |name: &str| {
                    span[name]
                        .as_u64()
                        .and_then(|line| usize::try_from(line).ok())
                };
                if let (Some(file), Some(first), Some(last)) = (
                    span["file_name"].as_str(),
                    line("line_start"),
                    line("line_end"),
                ) {
                    errors.labeled.push((file.to_owned(), first..=last));
                    let lines = enclosed.entry(file.to_owned()).or_insert(first..=last);
                    *lines = first.min(*lines.start())..=last.max(*lines.end());
                }
            }
            errors.enclosed.extend(enclosed);
        }
        Ok((None, errors))
    }
}

/// Whether a file contains only tests.
fn is_test(name: &str) -> bool {
    name.ends_with("/tests.rs") || name.contains("/tests/")
}
