//! Power cuts on real file systems: a loop device with ext4 or XFS is shut down without writing its
//! journal, mounted again, and recovered. Needs root.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{Figures, is_known, kill, points, recovers, sample, shown};
use crate::support::{
    strace,
    tree::{Holds, Tree, Way},
};

/// A file system over the directory of a tree, with the same files.
struct Disk {
    mount_point: PathBuf,
    directory: tempfile::TempDir,
}

fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {args:?}: {}",
        shown(&output)
    );
}

impl Disk {
    fn new(kind: &str, tree: &Tree) -> Self {
        let disk = Self {
            mount_point: tree.root(),
            directory: tempfile::tempdir().unwrap(),
        };
        let (original, source) = (disk.path("original"), disk.path("source"));
        run("truncate", &["-s", "512M", &original]);
        run(&format!("mkfs.{kind}"), &["-q", &original]);
        run("cp", &["-a", disk.mount_point.to_str().unwrap(), &source]);
        disk.attach();
        run(
            "find",
            &[&disk.mount_point(), "-name", "lost+found", "-delete"],
        );
        run("cp", &["-a", &format!("{source}/."), &disk.mount_point()]);
        disk.detach();
        run("cp", &["--sparse=always", &disk.path("device"), &original]);
        disk
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    fn mount_point(&self) -> String {
        self.mount_point.display().to_string()
    }

    /// Mounts the disk with the original files.
    fn attach(&self) {
        run(
            "cp",
            &[
                "--sparse=always",
                &self.path("original"),
                &self.path("device"),
            ],
        );
        self.mount();
    }

    fn mount(&self) {
        run(
            "mount",
            &["-o", "loop", &self.path("device"), &self.mount_point()],
        );
    }

    fn detach(&self) {
        run("umount", &[&self.mount_point()]);
    }

    /// All that was not synced is lost.
    fn cut_power(&self) {
        run("xfs_io", &["-x", "-c", "shutdown", &self.mount_point()]);
        self.detach();
        self.mount();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let is_mounted = |path: &Path| {
            let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
            mounts.contains(&format!(" {} ", path.display()))
        };
        if is_mounted(&self.mount_point) {
            let _ = Command::new("umount").arg(&self.mount_point).status();
        }
    }
}

#[expect(clippy::print_stdout, reason = "the figures of a sweep")]
fn cut_power_at_each_call(kind: &str, way: Way) {
    let tree = Tree::new(5, way);
    let calls = points(&tree, &tree.command());
    tree.reset();
    let disk = Disk::new(kind, &tree);
    let mut figures = Figures::default();
    for point in sample(calls, 12) {
        disk.attach();
        kill(&tree.command(), &point);
        disk.cut_power();
        let after = format!("{way:?} on {kind}, power cut at {point:?}");
        figures.count(is_known(&tree, &after));
        recovers(&tree, &after);
        disk.detach();
    }
    println!("figures: {way:?} on {kind}: {figures:?}");
    disk.attach();
    let done = tree.command().output().unwrap();
    assert!(done.status.success(), "{}", shown(&done));
    disk.cut_power();
    assert_eq!(tree.holds(&tree.set(), "a finished run"), Holds::New);
    disk.detach();
    // Control: without its syncs, the change is lost.
    disk.attach();
    let without_syncs = ["fsync", "fdatasync"].map(|call| format!("{call}:retval=0"));
    let done = strace::inject(&tree.command(), &without_syncs);
    assert!(done.status.success(), "{}", shown(&done));
    disk.cut_power();
    assert!(tree.set() != tree.new);
    disk.detach();
}

#[test]
#[ignore = "scripts/crash-sweep runs it as root"]
fn promotion_on_ext4_survives_power_cuts() {
    cut_power_at_each_call("ext4", Way::Promote);
}

#[test]
#[ignore = "scripts/crash-sweep runs it as root"]
fn promotion_on_xfs_survives_power_cuts() {
    cut_power_at_each_call("xfs", Way::Promote);
}

#[test]
#[ignore = "scripts/crash-sweep runs it as root"]
fn rollback_on_ext4_survives_power_cuts() {
    cut_power_at_each_call("ext4", Way::Rollback);
}
