//! Trees of real images, made and unpacked by other tools: needs umoci, buildah and skopeo
//! (`apt-get install umoci buildah skopeo`).

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt, PermissionsExt},
    },
    path::Path,
    process::{Command, Output},
};

use proptest::prelude::*;

use super::stored;
use crate::{
    contents::layers::{
        Budget, ContentFilter, Encoding, FileType, LayerDescriptor, LayerTree, Tree, merge,
        read_layer,
    },
    support::archive::Archive,
};

/// Contents of this length are stored, so that two trees can be compared by content.
const LENGTH: usize = 12;

fn run(command: &mut Command) -> Output {
    let shown = format!("{command:?}");
    command.output().unwrap_or_else(|error| {
        panic!("{shown}: {error}\ninstall it: apt-get install umoci buildah skopeo")
    })
}

fn succeed(command: &mut Command) -> String {
    let shown = format!("{command:?}");
    let output = run(command);
    assert!(
        output.status.success(),
        "{shown}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn unpack(image: &Path, bundle: &Path) -> Output {
    run(Command::new("umoci")
        .arg("unpack")
        .arg("--image")
        .arg(format!("{}:latest", image.display()))
        .arg(bundle))
}

/// The files of a tree, one line per path: kind, permissions, owner, and the content or the target.
type Lines = BTreeMap<String, String>;

fn on_disk(root: &Path) -> Lines {
    let mut lines = Lines::new();
    let mut ahead = vec![root.to_owned()];
    while let Some(directory) = ahead.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            let kind = metadata.file_type();
            let owner = format!(
                "{:04o} {}:{}",
                metadata.mode() & 0o7777,
                metadata.uid(),
                metadata.gid()
            );
            let line = if kind.is_dir() {
                ahead.push(path.clone());
                format!("directory {owner}")
            } else if kind.is_symlink() {
                format!(
                    "symlink {}",
                    String::from_utf8_lossy(fs::read_link(&path).unwrap().as_os_str().as_bytes())
                )
            } else if kind.is_file() {
                format!("file {owner} {}", content(&fs::read(&path).unwrap()))
            } else {
                assert!(kind.is_fifo());
                "other".to_owned()
            };
            lines.insert(
                path.strip_prefix(root)
                    .unwrap()
                    .to_string_lossy()
                    .into_owned(),
                line,
            );
        }
    }
    lines
}

fn in_tree(tree: &Tree) -> Lines {
    let mut lines = Lines::new();
    for item in tree
        .list(&tree.find(b"").unwrap(), |_| true)
        .into_iter()
        .skip(1)
    {
        let inode = item.inode;
        let owner = format!("{:04o} {}:{}", inode.mode, inode.uid, inode.gid);
        let line = match &inode.kind {
            FileType::Directory => format!("directory {owner}"),
            FileType::Symlink(target) => format!("symlink {}", String::from_utf8_lossy(target)),
            FileType::File(kept) => format!(
                "file {owner} {}",
                content(kept.as_deref().unwrap_or_default())
            ),
            FileType::Other => "other".to_owned(),
        };
        lines.insert(String::from_utf8_lossy(&item.path).into_owned(), line);
    }
    lines
}

fn content(bytes: &[u8]) -> String {
    if bytes.len() == LENGTH {
        String::from_utf8_lossy(bytes).into_owned()
    } else {
        String::new()
    }
}

fn read(stored: &stored::Stored) -> LayerTree {
    let encoding = Encoding::from_media_type(&stored.media_type).unwrap();
    let layer = LayerDescriptor {
        digest: stored.digest,
        size: stored.size,
        encoding,
        diff_id: stored.diff_id,
    };
    let want = ContentFilter {
        names: Vec::new(),
        lengths: vec![LENGTH as u64],
        databases: false,
    };
    read_layer(&*stored.bytes, &layer, &want, &Budget::new(Budget::IMAGE)).unwrap()
}

fn image(directory: &Path, tag: &str) -> Tree {
    let layers: Vec<_> = stored::layers(directory, tag).iter().map(read).collect();
    merge(&layers, |_| {}).unwrap()
}

/// One entry of a generated layer. Paths consist of a few letters, so that entries collide.
#[derive(Debug, Clone)]
enum Op {
    File(String, u32),
    Directory(String, u32),
    Symlink(String, String),
    HardLink(String, String),
    Whiteout(String),
    Opaque(String),
    Pipe(String),
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec("[a-c]", 1..4).prop_map(|names| names.join("/"))
}

fn op() -> impl Strategy<Value = Op> {
    let mode = prop::sample::select(vec![0o755, 0o700, 0o644, 0o4711, 0o1777]);
    let target = prop_oneof![
        path(),
        path().prop_map(|path| format!("/{path}")),
        path().prop_map(|path| format!("../{path}"))
    ];
    prop_oneof![
        6 => (path(), mode.clone()).prop_map(|(path, mode)| Op::File(path, mode)),
        4 => (path(), mode).prop_map(|(path, mode)| Op::Directory(path, mode)),
        2 => (path(), target).prop_map(|(path, target)| Op::Symlink(path, target)),
        2 => (path(), path()).prop_map(|(path, target)| Op::HardLink(path, target)),
        3 => path().prop_map(Op::Whiteout),
        1 => path().prop_map(Op::Opaque),
        1 => path().prop_map(Op::Pipe),
    ]
}

fn whiteout(path: &str) -> String {
    match path.rsplit_once('/') {
        Some((directory, name)) => format!("{directory}/.wh.{name}"),
        None => format!(".wh.{path}"),
    }
}

fn add(archive: Archive, op: &Op, number: usize) -> Archive {
    match op {
        Op::File(path, mode) => archive.file_with(path, *mode, format!("{number:0LENGTH$}")),
        Op::Directory(path, mode) => archive.directory_of_mode(path, *mode),
        Op::Symlink(path, target) => archive.symlink(path, target),
        Op::HardLink(path, target) => archive.hardlink(path, target),
        Op::Whiteout(path) => archive.file(whiteout(path), ""),
        Op::Opaque(path) => archive.file(format!("{path}/.wh..wh..opq"), ""),
        Op::Pipe(path) => archive.pipe(path),
    }
}

/// Archives of generated layers; each file has its own content.
fn archives(layers: &[Vec<Op>]) -> Vec<Vec<u8>> {
    let mut number = 0;
    let mut layer = |ops: &Vec<Op>| {
        let archive = ops.iter().fold(Archive::new(), |archive, op| {
            number += 1;
            add(archive, op, number)
        });
        archive.end()
    };
    layers.iter().map(&mut layer).collect()
}

/// The path that a whiteout hides; with a slash at its end if only the content is hidden.
fn hidden(op: &Op) -> Option<String> {
    match op {
        Op::Whiteout(path) => Some(path.clone()),
        Op::Opaque(path) => Some(format!("{path}/")),
        _ => None,
    }
}

/// Layers that start with their whiteouts, none of them in a directory that the same layer creates
/// or replaces: with those, umoci depends on the order, and follows a symlink that is replaced. The
/// whiteout of a directory precedes those in it, for the same reason.
fn layers() -> impl Strategy<Value = Vec<Vec<Op>>> {
    let sorted = |ops: Vec<Op>| {
        let made = ops.iter().filter_map(|op| match op {
            Op::Directory(path, _) | Op::Symlink(path, _) => Some(format!("{path}/")),
            _ => None,
        });
        let made: Vec<_> = made.collect();
        let is_clear =
            |op: &Op| hidden(op).is_none_or(|path| !made.iter().any(|made| path.starts_with(made)));
        let ops = ops.into_iter().filter(is_clear);
        let (mut first, rest): (Vec<_>, Vec<_>) = ops.partition(|op| hidden(op).is_some());
        first.sort_by_key(hidden);
        [first, rest].concat()
    };
    prop::collection::vec(prop::collection::vec(op(), 1..6).prop_map(sorted), 1..4)
}

fn tree_of(archives: &[Vec<u8>]) -> Result<Tree, String> {
    let read = |bytes: &Vec<u8>| {
        let digest = crate::oci::Digest::of(bytes);
        let media_type = "application/vnd.oci.image.layer.v1.tar".to_owned();
        read(&stored::Stored {
            media_type,
            digest,
            size: bytes.len() as u64,
            diff_id: digest,
            bytes: bytes.clone(),
        })
    };
    let layers: Vec<_> = archives.iter().map(read).collect();
    merge(&layers, |_| {}).map_err(|error| error.to_string())
}

/// The number of generated layouts; `scripts/fuzz` sets a higher one.
fn layouts() -> u32 {
    let asked = std::env::var("REPIN_TEST_LAYOUTS");
    asked.map_or(64, |number| number.parse().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: layouts(), max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn generated_layers_merge_like_umoci(layers in layers()) {
        let dir = tempfile::tempdir().unwrap();
        let (image, bundle) = (dir.path().join("image"), dir.path().join("bundle"));
        let archives = archives(&layers);
        stored::write(&image, &archives);
        let unpacked = unpack(&image, &bundle);
        let stderr = String::from_utf8_lossy(&unpacked.stderr);
        match (tree_of(&archives), unpacked.status.success()) {
            (Ok(tree), true) => prop_assert_eq!(in_tree(&tree), on_disk(&bundle.join("rootfs"))),
            // A whiteout after a cycle of symlinks hides nothing; umoci fails.
            (Ok(_), false) => prop_assert!(stderr.contains(".wh."), "{}", stderr),
            (Err(error), unpacked) => prop_assert!(!unpacked, "umoci unpacks it; here: {}", error),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn order_of_whiteouts_is_irrelevant(layers in layers(), seed in any::<[u8; 6]>()) {
        // Each whiteout moves after some other entries; those stay in order, with their contents.
        let moved = |ops: &Vec<Op>| {
            let (hiding, mut others): (Vec<_>, Vec<_>) = ops.iter().cloned().partition(|op| hidden(op).is_some());
            for (op, seed) in hiding.into_iter().zip(seed) {
                let at = usize::from(seed) % (others.len() + 1);
                others.insert(at, op);
            }
            others
        };
        let plain = |layers: &[Vec<Op>]| tree_of(&archives(layers)).map(|tree| {
            let lines = in_tree(&tree).into_iter();
            lines.map(|(path, line)| (path, line.rsplit_once(' ').map_or(line.clone(), |(kind, _)| kind.to_owned()))).collect::<Lines>()
        });
        let other: Vec<_> = layers.iter().map(moved).collect();
        // A later whiteout may hide the target of a hard link, so one order may be an error and
        // another not.
        if let (Ok(first), Ok(other)) = (plain(&layers), plain(&other)) {
            prop_assert_eq!(first, other);
        }
    }
}

fn twelve(text: &str) -> String {
    format!("{text:LENGTH$}")
}

fn umoci(arguments: &[&str], image: &Path, more: &[&Path]) {
    let tagged = format!("{}:latest", image.display());
    succeed(Command::new("umoci").args(arguments).arg(tagged).args(more));
}

#[test]
fn umoci_image_contains_its_source_files() {
    let dir = tempfile::tempdir().unwrap();
    let (image, bundle) = (dir.path().join("image"), dir.path().join("bundle"));
    succeed(Command::new("umoci").args(["init", "--layout"]).arg(&image));
    umoci(&["new", "--image"], &image, &[]);
    umoci(&["unpack", "--image"], &image, &[&bundle]);
    let root = bundle.join("rootfs");
    let write = |path: &str, text: &str| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, twelve(text)).unwrap();
    };
    let long = "n".repeat(180);
    write("opt/agents/ops.md", "ops");
    write("opt/old/removed", "removed");
    write(&format!("opt/{long}/{long}"), "long");
    write("opt/secret", "secret");
    fs::write(
        root.join(Path::new(std::ffi::OsStr::from_bytes(b"opt/\xff\xfe"))),
        twelve("bytes"),
    )
    .unwrap();
    fs::hard_link(root.join("opt/agents/ops.md"), root.join("opt/hard")).unwrap();
    std::os::unix::fs::symlink("/opt/agents", root.join("link")).unwrap();
    std::os::unix::fs::symlink(&long, root.join("opt/long")).unwrap();
    fs::set_permissions(root.join("opt/secret"), fs::Permissions::from_mode(0o4600)).unwrap();
    std::os::unix::fs::chown(root.join("opt/secret"), Some(1001), Some(70_000)).unwrap();
    fs::File::create(root.join("opt/holes"))
        .unwrap()
        .set_len(3 << 20)
        .unwrap();
    umoci(&["repack", "--image"], &image, &[&bundle]);
    assert_eq!(in_tree(&self::image(&image, "latest")), on_disk(&root));

    fs::remove_dir_all(root.join("opt/old")).unwrap();
    fs::remove_file(root.join("opt/hard")).unwrap();
    fs::remove_file(root.join("link")).unwrap();
    write("link/now-a-directory", "directory");
    write("opt/agents/ops.md", "other");
    fs::remove_file(root.join("opt/secret")).unwrap();
    std::os::unix::fs::symlink("agents", root.join("opt/secret")).unwrap();
    let second = dir.path().join("second");
    umoci(
        &["repack", "--refresh-bundle", "--image"],
        &image,
        &[&bundle],
    );
    let tree = self::image(&image, "latest");
    assert_eq!(in_tree(&tree), on_disk(&root));
    umoci(&["unpack", "--image"], &image, &[&second]);
    assert_eq!(in_tree(&tree), on_disk(&second.join("rootfs")));
}

#[test]
fn buildah_image_contains_its_source_files() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let buildah = |arguments: &[&str]| {
        let mut command = Command::new("buildah");
        command
            .arg("--root")
            .arg(at("store"))
            .arg("--runroot")
            .arg(at("run"))
            .args(["--storage-driver", "vfs"]);
        succeed(command.args(arguments)).trim().to_owned()
    };
    let container = buildah(&["from", "scratch"]);
    let root = buildah(&["mount", &container]);
    let root = Path::new(&root);
    fs::create_dir_all(root.join("opt/a")).unwrap();
    fs::write(root.join("opt/a/f"), twelve("one")).unwrap();
    fs::write(root.join("opt/a/g"), twelve("two")).unwrap();
    fs::hard_link(root.join("opt/a/f"), root.join("opt/h")).unwrap();
    buildah(&["commit", "-q", &container, "first"]);
    let container = buildah(&["from", "first"]);
    let root = buildah(&["mount", &container]);
    let root = Path::new(&root);
    fs::remove_file(root.join("opt/a/f")).unwrap();
    fs::write(root.join("opt/a/new"), twelve("three")).unwrap();
    let target = |name: &str| format!("oci:{}:latest", at(name).display());
    buildah(&[
        "commit",
        "-q",
        "--disable-compression=false",
        &container,
        &target("gzip"),
    ]);
    let expected = on_disk(root);
    assert!(expected.contains_key("opt/h") && !expected.contains_key("opt/a/f"));
    let skopeo = [
        "copy",
        "-q",
        "--insecure-policy",
        "--dest-compress-format",
        "zstd",
    ];
    succeed(
        Command::new("skopeo")
            .args(skopeo)
            .args([target("gzip"), target("zstd")]),
    );
    for (name, kind) in [("gzip", "tar+gzip"), ("zstd", "tar+zstd")] {
        let layers = stored::layers(&at(name), "latest");
        assert!(layers.len() == 2 && layers.iter().all(|layer| layer.media_type.ends_with(kind)));
        assert_eq!(in_tree(&image(&at(name), "latest")), expected, "{name}");
    }
    buildah(&["umount", "--all"]);
}
