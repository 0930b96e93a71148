//! The speed of the search in one file, without the start of a process: `cargo bench --bench scan
//! [-- FILE]`.
//!
//! Prints the median of several rounds in GB/s (1 GB: 10⁹ bytes) and the most memory the process
//! held. Without FILE a file of 15 MB is made, with a pin in every two kilobytes of text that
//! looks like workflows do.
#![allow(clippy::print_stdout, clippy::cast_precision_loss)]

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Instant,
};

use repin::{
    config,
    error::SourceText,
    pins::{Finder, read_whole},
};

const CONFIG: &str = "version: 1
files: ['*.yml']
images:
  review: { repository: ghcr.io/acme/runtime-review, pins: 1 }
  fix: { repository: ghcr.io/acme/runtime-fix, pins: 1 }
";
const SIZE: usize = 15_000_000;
const ROUNDS: usize = 15;

fn main() -> io::Result<()> {
    // Cargo adds `--bench`.
    let named = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'))
        .map(PathBuf::from);
    let directory = tempfile::tempdir()?;
    let file = match named {
        Some(file) => file,
        None => generated(&directory.path().join("large.yml"))?,
    };
    let source = SourceText {
        name: "repin.yaml".to_owned(),
        text: CONFIG.into(),
    };
    let config = config::parse(&source, Path::new("/"), &repin::config::SetPath::top())
        .expect("the configuration above is right");
    let finder = Finder::new(&config.images);

    let mut buffer = Vec::new();
    let mut seconds = Vec::new();
    let mut pins = 0;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        read_whole(File::open(&file)?, &mut buffer)?;
        pins = finder.scan(&buffer).pins.len();
        seconds.push(begun.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    let size = fs::metadata(&file)?.len() as f64;
    let rate = |seconds: f64| size / seconds / 1e9;
    let (best, median, worst) = (
        rate(seconds[0]),
        rate(seconds[ROUNDS / 2]),
        rate(seconds[ROUNDS - 1]),
    );
    println!(
        "{:.0} MB, {pins} pins: median {median:.2} GB/s (best {best:.2}, worst {worst:.2})",
        size / 1e6
    );
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(peak) = status.lines().find_map(|line| line.strip_prefix("VmHWM:")) {
        println!("most memory: {}", peak.trim());
    }
    Ok(())
}

/// Writes the large file.
fn generated(path: &Path) -> io::Result<PathBuf> {
    let uses = "      - uses: actions/checkout@v4\n";
    let run = "      - run: echo \"a step of the job\" && make test # and why, in a few words\n";
    let filler = format!(
        "  job:\n    steps:\n{}",
        format!("{uses}{}", run.repeat(4)).repeat(6)
    );
    let pin = format!(
        "    container: ghcr.io/acme/runtime-review@sha256:{}\n",
        "0123456789abcdef".repeat(4)
    );
    let part = filler + &pin;
    let mut file = io::BufWriter::new(File::create(path)?);
    for _ in 0..SIZE.div_ceil(part.len()) {
        file.write_all(part.as_bytes())?;
    }
    file.into_inner()?.sync_all()?;
    Ok(path.to_owned())
}
