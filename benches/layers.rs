//! Reads layer files as `repin inventory` does: `cargo bench --bench layers -- THREADS FILE...`,
//! files named `*.gz`, `*.zst` or anything else (plain). Prints the wall time, and how many entries
//! the merged image has.
//!
//! The files' digests are computed before the clock starts, since a run knows them from the
//! manifest and the config.

use std::{
    fs::File,
    io::{Read, Write},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use repin::{
    layers::{Budget, ContentFilter, Encoding, LayerDescriptor, LayerTree, merge, read_layer},
    oci::{Digest, Hasher},
};

fn digest(mut reader: impl Read) -> std::io::Result<Digest> {
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(&buffer[..read]),
        }
    }
}

fn describe(path: &str) -> std::io::Result<LayerDescriptor> {
    let open = || File::open(path);
    let (encoding, diff_id) = match path.rsplit('.').next() {
        Some("gz") => (
            Encoding::Gzip,
            digest(flate2::read::MultiGzDecoder::new(open()?))?,
        ),
        Some("zst") => (
            Encoding::Zstd,
            digest(zstd::stream::read::Decoder::new(open()?)?)?,
        ),
        _ => (Encoding::Plain, digest(open()?)?),
    };
    Ok(LayerDescriptor {
        digest: digest(open()?)?,
        size: open()?.metadata()?.len(),
        encoding,
        diff_id,
    })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench");
    let threads: usize = arguments.next().unwrap_or_default().parse().unwrap_or(1);
    let files: Vec<String> = arguments.collect();
    let layers: Vec<_> = files
        .iter()
        .map(|file| describe(file))
        .collect::<Result<_, _>>()?;
    let (budget, next) = (Budget::new(Budget::IMAGE), AtomicUsize::new(0));
    let trees: Vec<Mutex<Option<LayerTree>>> = files.iter().map(|_| Mutex::new(None)).collect();
    let start = Instant::now();
    std::thread::scope(|scope| {
        let work = || -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
            while let Some(at) =
                Some(next.fetch_add(1, Ordering::Relaxed)).filter(|at| *at < files.len())
            {
                let tree = read_layer(
                    File::open(&files[at])?,
                    &layers[at],
                    &ContentFilter::default(),
                    &budget,
                )?;
                *trees[at].lock().map_err(|error| error.to_string())? = Some(tree);
            }
            Ok(())
        };
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        running
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| "a thread broke off")?)
    })
    .map_err(|error| error.to_string())?;
    let read = start.elapsed();
    let trees: Vec<_> = trees
        .into_iter()
        .filter_map(|tree| tree.into_inner().ok().flatten())
        .collect();
    let start = Instant::now();
    let tree = merge(&trees, |_| {})?;
    let root = tree.find(b"").ok_or("no root")?;
    let paths = tree.list(&root, |_| true).len();
    let entries: usize = trees.iter().map(LayerTree::len).sum();
    let merged = start.elapsed();
    writeln!(
        std::io::stdout(),
        "{threads} threads: read {read:.3?}, merged {merged:.3?}, {entries} entries, {paths} paths"
    )?;
    Ok(())
}
