//! Measures how well the tests hold the guards: `scripts/mutants`.
//!
//! One build holds every mutant, each behind a switch. Each test runs once to see which mutants it
//! reaches; then each mutant is run against the tests to which it makes a difference, until one
//! fails. Builds and runs only in `target/mutants`.

mod accepted;
mod report;
mod sites;
mod suite;
mod tree;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Mutex,
    time::Duration,
};

use report::{Measured, Outcome};
use sites::Site;
use suite::{Catches, Suite, each};
use tree::Tree;

/// Whatever went wrong, for a person to read.
pub type Fail = Box<dyn std::error::Error>;

const USAGE: &str = "usage: scripts/mutants [OPTIONS] [PATH...]

Runs the tests with one change of the sources after the other, and lists the changes that no test
notices. PATH limits it to files or directories of those that are measured (default: all), in this order.

  --work DIR       where the copy is made and built (default: target/mutants)
  --list           list the mutants, and build nothing
  --jobs N         run so many tests at once (default: 2)
  --sample N       measure N of the mutants, always the same ones
  --budget SECONDS give up on a mutant after so much time in tests; it counts as undecided (default: 120)
  --again          measure only what no test caught the last time
  --tests WORD     run only tests with WORD in their names (may be repeated)
";

struct Options {
    paths: Vec<String>,
    work: PathBuf,
    list: bool,
    again: bool,
    jobs: usize,
    sample: Option<usize>,
    budget: Duration,
    tests: Vec<String>,
}

fn options() -> Result<Options, Fail> {
    let mut options = Options {
        paths: Vec::new(),
        work: repository()?.join("target/mutants"),
        list: false,
        again: false,
        jobs: 2,
        sample: None,
        budget: Duration::from_mins(2),
        tests: Vec::new(),
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || {
            args.next()
                .ok_or_else(|| format!("{arg} needs a value\n{USAGE}"))
        };
        match arg.as_str() {
            "--work" => options.work = std::path::absolute(value()?)?,
            "--list" => options.list = true,
            "--again" => options.again = true,
            "--jobs" => options.jobs = value()?.parse()?,
            "--sample" => options.sample = Some(value()?.parse()?),
            "--budget" => options.budget = Duration::from_secs(value()?.parse()?),
            "--tests" => options.tests.push(value()?),
            "--help" => return Err(USAGE.into()),
            _ if arg.starts_with('-') => {
                return Err(format!("unknown option {arg}\n{USAGE}").into());
            }
            _ => options.paths.push(arg),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    match options().and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Fail> {
    let (root, work) = (repository()?, &options.work);
    let list = root.join("scripts/mutation/equivalent.toml");
    let results = work.join("results.json");
    let mut tree = Tree {
        root,
        copy: work.join("tree"),
        skip: read_or(&work.join("uncompilable.json")),
    };
    if options.list {
        let sites = tree.write()?;
        accepted::read(&list, &sites)?;
        for site in selected(options, &sites, &BTreeMap::new(), &BTreeSet::new())
            .into_iter()
            .map(|id| &sites[id])
        {
            println!("{}", report::shown(site));
        }
        return Ok(());
    }
    let (sites, programs) = tree.build()?;
    fs::write(
        work.join("uncompilable.json"),
        serde_json::to_vec_pretty(&tree.skip)?,
    )?;
    let entries = accepted::read(&list, &sites)?;
    let mut measured: BTreeMap<String, Measured> = read_or(&results);
    let keys: HashSet<String> = sites.iter().map(Site::key).collect();
    measured.retain(|key, _| keys.contains(key));
    let accepted = accepted::accepted_keys(&entries, &measured);
    let wanted = selected(options, &sites, &measured, &accepted);
    let suite = Suite::read(&programs, &tree.copy, options.jobs, &options.tests)?;
    eprintln!("measuring {} mutants", wanted.len());
    let before = measured.clone();
    let all = Mutex::new((measured, 0_usize));
    measure(options, &suite, &sites, &wanted, &before, |one| {
        let mut all = all.lock().expect("no thread panics");
        let (measured, done) = &mut *all;
        measured.insert(one.site.key(), one);
        *done += 1;
        if done.is_multiple_of(20) {
            // A run that is cut short is not lost.
            let _ = fs::write(&results, serde_json::to_vec(measured).unwrap_or_default());
        }
    });
    let (measured, _) = all.into_inner()?;
    fs::write(&results, serde_json::to_vec_pretty(&measured)?)?;
    let accepted = accepted::accepted_keys(&entries, &measured);
    let shown: Vec<&Measured> = measured
        .values()
        .filter(|one| is_in(options, &one.site))
        .collect();
    print!("{}", report::table(&shown, &accepted));
    for entry in accepted::outdated(&entries, &sites, &measured) {
        println!("\naccepts more mutants than are missed: {entry:?}");
    }
    if !suite.failing.is_empty() {
        println!(
            "\ntests that fail without a mutant, left out: {}",
            suite.failing.join(", ")
        );
    }
    println!(
        "\n{} mutants do not compile and are left out; all results: {}",
        tree.skip.len(),
        results.display()
    );
    Ok(())
}

/// Judges each of the wanted mutants.
fn measure(
    options: &Options,
    suite: &Suite,
    sites: &[Site],
    wanted: &[usize],
    before: &BTreeMap<String, Measured>,
    done: impl Fn(Measured) + Sync,
) {
    // The tests to which a mutant makes a difference, for each that any test reaches.
    let mut reached: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (at, test) in suite.tests.iter().enumerate() {
        for (id, differs) in &test.reached {
            let tests = reached.entry(*id).or_default();
            tests.extend(differs.then_some(at));
        }
    }
    let catches = Catches::default();
    each(options.jobs, wanted.len(), |at| {
        let site = &sites[wanted[at]];
        let outcome = match reached.get(&wanted[at]) {
            Some(tests) => {
                let before = before.get(&site.key()).and_then(Measured::caught_by);
                let tests = catches.order(site, &suite.tests, tests.clone(), before);
                judge(suite, wanted[at], &tests, options.budget)
            }
            None => Outcome::NotReached,
        };
        let site = site.clone();
        let measured = Measured { site, outcome };
        if let Some(by) = measured.caught_by() {
            catches.add(&measured.site, by);
        }
        done(measured);
        if at % 50 == 49 {
            eprintln!("{} mutants", at + 1);
        }
    });
}

/// Runs the tests that may notice a mutant, until one does.
fn judge(suite: &Suite, id: usize, tests: &[usize], budget: Duration) -> Outcome {
    let (mut spent, id) = (Duration::ZERO, id.to_string());
    for test in tests.iter().map(|test| &suite.tests[*test]) {
        if spent > budget {
            return Outcome::Undecided;
        }
        spent += test.took;
        if suite.notices(test, &id) {
            let by = test.name.clone();
            return Outcome::Caught { by };
        }
    }
    Outcome::Missed
}

/// The repository that this is built in.
fn repository() -> Result<PathBuf, Fail> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(here.ancestors().nth(2).ok_or("no repository")?.to_owned())
}

fn is_in(options: &Options, site: &Site) -> bool {
    options.paths.is_empty() || path_of(options, site).is_some()
}

/// The first of the paths that contains the mutant.
fn path_of(options: &Options, site: &Site) -> Option<usize> {
    let is_in = |path: &String| site.file.starts_with(path.as_str());
    options.paths.iter().position(is_in)
}

/// The mutants to measure.
fn selected(
    options: &Options,
    sites: &[Site],
    measured: &BTreeMap<String, Measured>,
    accepted: &BTreeSet<String>,
) -> Vec<usize> {
    let wanted = |id: &usize| {
        let key = sites[*id].key();
        let known = measured.get(&key);
        let is_open = known.is_none_or(|known| known.outcome.is_open()) && !accepted.contains(&key);
        is_in(options, &sites[*id]) && (!options.again || is_open)
    };
    let mut wanted: Vec<usize> = (1..sites.len()).filter(wanted).collect();
    wanted.sort_by_key(|id| path_of(options, &sites[*id]));
    if let Some(sample) = options.sample {
        // By a hash of the key: adding a mutant moves no other in or out, but for the last.
        wanted.sort_by_key(|id| fnv(&sites[*id].key()));
        wanted.truncate(sample);
    }
    wanted
}

/// FNV-1a.
fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn read_or<T: serde::de::DeserializeOwned + Default>(path: &PathBuf) -> T {
    let text = fs::read(path).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}
