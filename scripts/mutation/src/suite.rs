//! The tests: what each reaches, and running them with a mutant.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs, io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use serde::{Deserialize, Serialize};

use crate::{Fail, sites::Site, tree::Programs};

/// The most memory that a test may take, in KiB: some mutants never stop collecting.
const MEMORY: usize = 6 << 20;

/// A test.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Test {
    pub binary: PathBuf,
    pub name: String,
    pub took: Duration,
    /// The mutants that it reaches, and whether they make a difference to it.
    pub reached: BTreeMap<usize, bool>,
}

/// What the tests reached, for as long as the programs stay.
#[derive(Serialize, Deserialize)]
struct Known {
    programs: Vec<(PathBuf, SystemTime)>,
    tests: Vec<Test>,
    failing: Vec<Test>,
}

/// All tests that pass without a mutant.
pub struct Suite {
    pub tests: Vec<Test>,
    /// Those that fail without one, which prove nothing.
    pub failing: Vec<String>,
    scratch: PathBuf,
    root: PathBuf,
}

/// What became of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    Passed,
    Failed,
    TimedOut,
}

impl Suite {
    /// Runs each test with a word of `filter` in its name by itself, and takes down what it reaches.
    pub fn read(
        programs: &Programs,
        root: &Path,
        jobs: usize,
        filter: &[String],
    ) -> Result<Self, Fail> {
        // Not below the repository: some tests need a place outside git.
        let scratch = std::env::temp_dir().join(format!("mutants-{}", std::process::id()));
        fs::create_dir_all(&scratch)?;
        let mut suite = Self {
            tests: Vec::new(),
            failing: Vec::new(),
            scratch,
            root: root.to_owned(),
        };
        let file = root.with_file_name("reached.json");
        let modified = |path: &PathBuf| Ok((path.clone(), fs::metadata(path)?.modified()?));
        let programs = programs
            .binaries
            .iter()
            .map(modified)
            .collect::<io::Result<Vec<_>>>()?;
        let mut known = fs::read(&file)
            .ok()
            .and_then(|known| serde_json::from_slice::<Known>(&known).ok())
            .filter(|known| known.programs == programs)
            .unwrap_or_else(|| Known {
                programs: programs.clone(),
                tests: Vec::new(),
                failing: Vec::new(),
            });
        let names = names(&programs, root, filter)?;
        let is_known = |name: &(PathBuf, String)| {
            let mut tests = known.tests.iter().chain(&known.failing);
            tests.any(|test| test.binary == name.0 && test.name == name.1)
        };
        let unknown: Vec<_> = names.iter().filter(|name| !is_known(name)).collect();
        eprintln!("running {} tests to see what they reach", unknown.len());
        let done = Mutex::new(Vec::new());
        each(jobs, unknown.len(), |at| {
            let (binary, name) = unknown[at];
            let log = suite.scratch.join(format!("reached-{at}"));
            let test = Test {
                binary: binary.clone(),
                name: name.clone(),
                took: Duration::from_mins(1),
                reached: BTreeMap::new(),
            };
            let start = Instant::now();
            let run = suite.run(&test, &[("MUTANT_LOG", &log.to_string_lossy())]);
            let took = start.elapsed();
            let mut reached = BTreeMap::new();
            for line in fs::read_to_string(&log).unwrap_or_default().lines() {
                if let Ok(id) = line.trim_end_matches('!').parse::<usize>() {
                    *reached.entry(id).or_default() |= line.ends_with('!');
                }
            }
            let mut done = done.lock().expect("no thread panics");
            done.push((
                Test {
                    took,
                    reached,
                    ..test
                },
                run,
            ));
            if done.len() % 100 == 0 {
                eprintln!("{} tests", done.len());
            }
        });
        for (test, run) in done.into_inner()? {
            if run == Run::Passed {
                known.tests.push(test);
            } else {
                known.failing.push(test);
            }
        }
        fs::write(file, serde_json::to_vec(&known)?)?;
        let names: HashSet<_> = names.into_iter().collect();
        let is_selected = |test: &Test| names.contains(&(test.binary.clone(), test.name.clone()));
        suite.tests = known.tests.into_iter().filter(is_selected).collect();
        let failing = known.failing.into_iter().filter(is_selected);
        suite.failing = failing.map(|test| test.name).collect();
        Ok(suite)
    }

    /// Whether a test fails with a mutant, or never ends with it, and not because the machine is
    /// busy: a test that took longer than usual must pass without the mutant, and fail again.
    pub fn notices(&self, test: &Test, mutant: &str) -> bool {
        let with = || self.run(test, &[("MUTANT", mutant)]) != Run::Passed;
        let start = Instant::now();
        let noticed = with();
        let usual = start.elapsed() < test.took * 2 + Duration::from_secs(1);
        noticed && (usual || (self.run(test, &[]) == Run::Passed && with()))
    }

    /// Runs one test; it may take ten times as long as it did, and ten seconds.
    pub fn run(&self, test: &Test, environment: &[(&str, &str)]) -> Run {
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("ulimit -v {MEMORY}; exec \"$0\" \"$@\"")])
            .arg(&test.binary)
            .args(["--exact", &test.name])
            .current_dir(&self.root)
            .env("TMPDIR", &self.scratch)
            .env("INSTA_WORKSPACE_ROOT", &self.root)
            .env("INSTA_UPDATE", "no")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        let Ok(mut child) = command.spawn() else {
            return Run::Failed;
        };
        let end = Instant::now() + test.took * 10 + Duration::from_secs(10);
        loop {
            match child.try_wait() {
                Ok(Some(status)) if status.success() => return Run::Passed,
                Ok(Some(_)) | Err(_) => return Run::Failed,
                Ok(None) if Instant::now() > end => {
                    let group = format!("-{}", child.id());
                    let _ = Command::new("kill").args(["-9", "--", &group]).status();
                    let _ = child.wait();
                    return Run::TimedOut;
                }
                Ok(None) => thread::sleep(Duration::from_millis(3)),
            }
        }
    }
}

/// The tests of the programs that are not ignored, with a word of `filter` in their names.
fn names(
    programs: &[(PathBuf, SystemTime)],
    root: &Path,
    filter: &[String],
) -> Result<Vec<(PathBuf, String)>, Fail> {
    let mut names = Vec::new();
    for (binary, _) in programs {
        let output = Command::new(binary)
            .args(["--list", "--format", "terse"])
            .current_dir(root)
            .output()?;
        let ignored = Command::new(binary)
            .args(["--list", "--format", "terse", "--ignored"])
            .current_dir(root)
            .output()?;
        let ignored = String::from_utf8(ignored.stdout)?;
        let ignored: Vec<&str> = ignored.lines().collect();
        for line in String::from_utf8(output.stdout)?
            .lines()
            .filter(|line| !ignored.contains(line))
        {
            let Some(name) = line.strip_suffix(": test") else {
                continue;
            };
            if filter.is_empty() || filter.iter().any(|word| name.contains(word.as_str())) {
                names.push((binary.clone(), name.to_owned()));
            }
        }
    }
    Ok(names)
}

impl Drop for Suite {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.scratch);
    }
}

/// Does something for each number, some at once.
pub fn each(jobs: usize, count: usize, work: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Relaxed);
                    if at >= count {
                        return;
                    }
                    work(at);
                }
            });
        }
    });
}

/// How many mutants of a file, or of a function of it, each test caught.
#[derive(Default)]
pub struct Catches(Mutex<HashMap<(String, String), u32>>);

impl Catches {
    pub fn add(&self, site: &Site, test: &str) {
        let mut catches = self.0.lock().expect("no thread panics");
        for place in [site.file.clone(), function(site)] {
            *catches.entry((place, test.to_owned())).or_default() += 1;
        }
    }

    /// Tests in the order in which they are tried: the one that caught the mutant `before`, then
    /// the quick ones, those that caught much in the same file or function, and those with words of
    /// the mutant in their names.
    pub fn order(
        &self,
        site: &Site,
        tests: &[Test],
        mut which: Vec<usize>,
        before: Option<&str>,
    ) -> Vec<usize> {
        let catches = self.0.lock().expect("no thread panics");
        let caught = |place: &str, test: &Test| {
            let caught = catches.get(&(place.to_owned(), test.name.clone()));
            caught.copied().unwrap_or(0)
        };
        let function = function(site);
        let words: HashSet<String> = stems(&format!("{function} {}", site.text)).collect();
        which.sort_by_cached_key(|test| {
            let test = &tests[*test];
            let common = stems(&test.name).map(|stem| u32::from(words.contains(&stem)));
            let closest = caught(&function, test) + common.sum::<u32>();
            let weight = 1 + caught(&site.file, test) + 8 * closest;
            (before != Some(&test.name), test.took / weight)
        });
        which
    }
}

/// The first letters of each long word, so that its inflections are equal.
fn stems(text: &str) -> impl Iterator<Item = String> {
    let words = text.split(|character: char| !character.is_ascii_alphanumeric());
    words
        .filter(|word| word.len() >= 4)
        .map(|word| word[..word.len().min(5)].to_lowercase())
}

/// The function of a mutant, with its file.
fn function(site: &Site) -> String {
    format!("{} {}", site.file, site.function)
}
