//! Applies and recovers plans in one process; `crashes` does so in processes that are killed or
//! disturbed.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
};

use super::*;
use crate::{
    base::files::{Hazard, RelPath},
    config::SetPath,
    oci::Digest,
};

mod crashes;

const OLD: &str = "old\n";
const NEW: &str = "new\n";

/// A root with files, and a plan for all of them. Without the program, so no `World` of the integration
/// tests.
struct World {
    root: tempfile::TempDir,
    changes: Vec<FileChange>,
}

fn world(paths: &[&[u8]]) -> World {
    let root = tempfile::tempdir().unwrap();
    let mut changes = Vec::new();
    for path in paths {
        let path = RelPath::new(Path::new(OsStr::from_bytes(path))).unwrap();
        let file = root.path().join(path.as_path());
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, OLD).unwrap();
        changes.push(FileChange {
            path,
            pins: 1,
            old: OLD.into(),
            new: NEW.into(),
            old_sha256: Digest::of(OLD.as_bytes()),
            new_sha256: Digest::of(NEW.as_bytes()),
        });
    }
    World { root, changes }
}

fn run() -> RunIdentity {
    RunIdentity {
        set_path: SetPath::new(Path::new("envs/prod/repin.yaml")).unwrap(),
        revision: Some("1".repeat(40)),
    }
}

fn world_with_three_files() -> World {
    world(&[b"a.yml", b"sub/b.yml", b"sub/c.yml"])
}

impl World {
    fn path(&self, file: usize) -> PathBuf {
        self.root.path().join(self.changes[file].path.as_path())
    }

    fn write(&self, file: usize, content: &str) {
        fs::write(self.path(file), content).unwrap();
    }

    fn contents(&self) -> Vec<String> {
        (0..self.changes.len())
            .map(|n| fs::read_to_string(self.path(n)).unwrap_or("missing".to_owned()))
            .collect()
    }

    fn session(&self) -> Session {
        Session::begin(self.root.path(), "a test").unwrap()
    }

    fn apply(&self) -> Result<(), Error> {
        self.session().apply(&self.changes, run())
    }

    /// The paths of all files below the root, except the targets and the lock.
    fn leftovers(&self) -> Vec<String> {
        let mut directories = vec![self.root.path().to_owned()];
        let mut leftovers = Vec::new();
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
                let path = entry.path();
                let is_target = (0..self.changes.len()).any(|n| self.path(n) == path);
                if entry.file_type().unwrap().is_dir() {
                    directories.push(path);
                } else if !is_target && !path.ends_with("lock") {
                    let path = path.strip_prefix(self.root.path()).unwrap();
                    leftovers.push(path.display().to_string());
                }
            }
        }
        leftovers.sort();
        leftovers
    }

    /// Creates the state of a run that was killed after it exchanged the first `exchanged` files.
    fn interrupt_after(&self, exchanged: usize) -> Vec<Item<'_>> {
        let session = self.session();
        let items = Journal::new(&self.changes, 7, run()).items;
        session
            .state
            .write(&Journal::new(&self.changes, 7, run()))
            .unwrap();
        stage::stage_all(&session.root, &items.iter().collect::<Vec<_>>()).unwrap();
        session.state.begin_exchange().unwrap();
        stage::exchange_all(
            &session.root,
            &items.iter().take(exchanged).collect::<Vec<_>>(),
        )
        .unwrap();
        items
    }

    fn copy(&self, file: usize) -> PathBuf {
        self.path(file)
            .with_file_name(format!(".repin-{:016x}-{file}", 7))
    }
}

#[test]
fn all_files_get_their_new_content_without_leftovers() {
    let world = world(&[b"a.yml", b"sub/deeper/b.yml", b"sub/\xff\n.yml"]);
    fs::set_permissions(world.path(1), fs::Permissions::from_mode(0o751)).unwrap();
    fs::set_permissions(world.path(2), fs::Permissions::from_mode(0o604)).unwrap();
    world.apply().unwrap();
    assert_eq!(world.contents(), [NEW; 3]);
    assert_eq!(world.leftovers(), [""; 0]);
    let mode = |file| fs::metadata(world.path(file)).unwrap().mode() & 0o7777;
    assert_eq!((mode(1), mode(2)), (0o751, 0o604));
    assert_eq!(
        world.session().recover().unwrap().state,
        RecoveryState::Nothing
    );
}

#[test]
fn owner_and_attributes_stay() {
    let world = world(&[b"a.yml"]);
    let file = fs::File::open(world.path(0)).unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::fchown(&file, Some(1234), Some(4321)).unwrap();
    }
    let before = file.metadata().unwrap();
    // An access list: user::rw-, user:1234:r--, group::r--, mask::r--, other::---.
    let acl_entry = |tag: u16, perm: u16, id: u32| {
        [
            &tag.to_le_bytes()[..],
            &perm.to_le_bytes(),
            &id.to_le_bytes(),
        ]
        .concat()
    };
    let no_id = u32::MAX;
    let list = [
        acl_entry(1, 6, no_id),
        acl_entry(2, 4, 1234),
        acl_entry(4, 4, no_id),
        acl_entry(16, 4, no_id),
        acl_entry(32, 0, no_id),
    ]
    .concat();
    let list = [&2u32.to_le_bytes()[..], &list].concat();
    // Some file systems support only one kind: an attribute that cannot be set must be absent
    // afterwards.
    let set = |name: &str, value: &[u8]| {
        rustix::fs::fsetxattr(&file, name, value, rustix::fs::XattrFlags::empty())
    };
    let attributes = [
        ("system.posix_acl_access", &list[..]),
        ("user.note", b"a note"),
    ]
    .map(|(name, value)| (name, set(name, value).map(|()| value.to_vec())));
    let mode = file.metadata().unwrap().mode() & 0o7777;
    world.apply().unwrap();
    let after = fs::metadata(world.path(0)).unwrap();
    assert_eq!(
        (after.uid(), after.gid(), after.mode() & 0o7777),
        (before.uid(), before.gid(), mode)
    );
    for (name, expected) in attributes {
        let mut value = [0; 100];
        let length = rustix::fs::getxattr(world.path(0), name, &mut value[..]);
        assert_eq!(
            length.map(|length| value[..length].to_vec()).ok(),
            expected.ok(),
            "{name}"
        );
    }
}

#[test]
fn default_access_list_of_directory_is_not_inherited() {
    let world = world(&[b"a.yml"]);
    // user::rw-, user:1234:rw-, group::r--, mask::rw-, other::---.
    let entries: [(u16, u16, u32); 5] = [
        (1, 6, u32::MAX),
        (2, 6, 1234),
        (4, 4, u32::MAX),
        (16, 6, u32::MAX),
        (32, 0, u32::MAX),
    ];
    let mut list = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        list.extend([tag.to_le_bytes(), permissions.to_le_bytes()].concat());
        list.extend(id.to_le_bytes());
    }
    let flags = rustix::fs::XattrFlags::empty();
    let name = "system.posix_acl_default";
    // Some file systems have no access lists; then a file inherits none.
    let set = rustix::fs::setxattr(world.root.path(), name, &list, flags);
    let has_list = |path: &Path| {
        let mut value = [0; 100];
        rustix::fs::getxattr(path, "system.posix_acl_access", &mut value[..]).is_ok()
    };
    let sibling = world.root.path().join("sibling");
    fs::write(&sibling, OLD).unwrap();
    assert_eq!(
        has_list(&sibling),
        set.is_ok(),
        "a new file inherits the list"
    );
    let mode = fs::metadata(world.path(0)).unwrap().mode();
    world.apply().unwrap();
    assert_eq!(world.contents(), [NEW]);
    assert!(!has_list(&world.path(0)));
    assert_eq!(fs::metadata(world.path(0)).unwrap().mode(), mode);
}

#[test]
fn empty_plan_changes_nothing() {
    let world = world_with_three_files();
    let mut session = world.session();
    let before = fs::metadata(world.root.path()).unwrap().mtime_nsec();
    session.apply(&[], run()).unwrap();
    assert_eq!(
        fs::metadata(world.root.path()).unwrap().mtime_nsec(),
        before
    );
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn conflict_lists_every_edited_file() {
    let world = world_with_three_files();
    world.write(0, "edited");
    fs::remove_file(world.path(2)).unwrap();
    match world.apply().unwrap_err() {
        Error::Conflict { files } => assert_eq!(
            files,
            [world.changes[0].path.clone(), world.changes[2].path.clone()]
        ),
        other => panic!("{other}"),
    }
    assert_eq!(world.contents(), ["edited", OLD, "missing"]);
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn replaced_file_is_refused_before_any_write() {
    type Attack = fn(&World);
    let cases: [(Attack, Hazard); 4] = [
        (
            |w| fs::hard_link(w.path(1), w.root.path().join("x")).unwrap(),
            Hazard::HardLink(2),
        ),
        (|w| turn_into_symlink(&w.path(1)), Hazard::Symlink),
        (
            |w| turn_into_symlink(w.path(1).parent().unwrap()),
            Hazard::Symlink,
        ),
        (
            |w| {
                fs::remove_file(w.path(2)).unwrap();
                rustix::fs::mkfifoat(rustix::fs::CWD, w.path(2), rustix::fs::Mode::RUSR).unwrap();
            },
            Hazard::Special,
        ),
    ];
    for (attack, expected) in cases {
        let world = world_with_three_files();
        attack(&world);
        match world.apply().unwrap_err() {
            Error::Unsafe { hazard, .. } => assert_eq!(hazard, expected),
            other => panic!("{other}"),
        }
        assert_eq!(fs::read_to_string(world.path(0)).unwrap(), OLD);
        let journal = Journal::new(&world.changes, 1, run());
        let root = Root::open(world.root.path()).unwrap();
        check_targets(&root, &journal.items).unwrap_err();
    }
}

#[test]
fn journal_has_no_text_between_its_files() {
    let world = world_with_three_files();
    let mut text = Vec::new();
    Journal::new(&world.changes, 1, run())
        .write(&mut text)
        .unwrap();
    Journal::parse(&text).unwrap();
    let body = text.len() - 65;
    text.truncate(body - 1);
    text.extend(b"x\n");
    let checksum = Digest::of(&text).hex();
    text.extend(format!("{checksum}\n").bytes());
    assert_eq!(Journal::parse(&text).unwrap_err(), "a line is malformed");
}

/// Moves a file or directory, and replaces it with a symlink to its new path.
fn turn_into_symlink(path: &Path) {
    let moved = path.with_extension("moved");
    fs::rename(path, &moved).unwrap();
    symlink(&moved, path).unwrap();
}

#[test]
fn missing_directory_is_an_io_error() {
    let world = world_with_three_files();
    fs::remove_dir_all(world.root.path().join("sub")).unwrap();
    assert!(matches!(world.apply(), Err(Error::Io { .. })));
    assert_eq!(world.contents(), [OLD, "missing", "missing"]);
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn second_session_is_refused() {
    let world = world_with_three_files();
    let held = world.session();
    let error = Session::begin(world.root.path(), "a test").unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    drop(held);
    world.apply().unwrap();
}

#[test]
fn apply_requires_recovery_of_interrupted_run() {
    let world = world_with_three_files();
    world.interrupt_after(1);
    assert!(matches!(world.apply(), Err(Error::Pending { .. })));
    let mut session = world.session();
    assert_eq!(session.recover().unwrap().state, RecoveryState::Forward);
    assert_eq!(world.contents(), [NEW; 3]);
}

#[test]
fn recovery_finishes_a_partly_exchanged_run() {
    for (exchanged, state, content) in [
        (0, RecoveryState::Dropped, OLD),
        (2, RecoveryState::Forward, NEW),
        (3, RecoveryState::Dropped, NEW),
    ] {
        let world = world_with_three_files();
        world.interrupt_after(exchanged);
        let preview = preview_recovery(world.root.path()).unwrap().unwrap();
        let recovery = world.session().recover().unwrap();
        assert_eq!(recovery.state, state);
        assert_eq!(preview, recovery);
        let old = recovery
            .files
            .iter()
            .filter(|file| file.content == Content::Old)
            .count();
        assert_eq!(old, 3 - exchanged);
        assert_eq!(world.contents(), [content; 3]);
        assert_eq!(world.leftovers(), [""; 0]);
        assert_eq!(preview_recovery(world.root.path()).unwrap(), None);
    }
}

#[test]
fn preview_changes_nothing() {
    let world = world_with_three_files();
    assert_eq!(preview_recovery(world.root.path()).unwrap(), None);
    assert_eq!(world.leftovers(), [""; 0]);
    assert!(!world.root.path().join(".repin").exists());
    world.interrupt_after(1);
    let before = (world.leftovers(), world.contents());
    preview_recovery(world.root.path()).unwrap();
    assert_eq!((world.leftovers(), world.contents()), before);
}

#[test]
fn recovery_recreates_missing_copies_from_the_journal() {
    let world = world_with_three_files();
    world.interrupt_after(1);
    fs::remove_file(world.copy(1)).unwrap();
    fs::write(world.copy(2), OLD).unwrap();
    assert_eq!(
        world.session().recover().unwrap().state,
        RecoveryState::Forward
    );
    assert_eq!(world.contents(), [NEW; 3]);
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn foreign_content_is_reported_until_discarded() {
    type Edit = fn(&World);
    let cases: [(Edit, &str, [&str; 3], usize); 4] = [
        (
            |w| w.write(0, "mine"),
            "a.yml has neither",
            ["mine", OLD, OLD],
            0,
        ),
        (
            |w| w.write(2, "mine"),
            "sub/c.yml has neither",
            [NEW, OLD, "mine"],
            0,
        ),
        (
            |w| fs::remove_file(w.path(1)).unwrap(),
            "sub/b.yml has neither",
            [NEW, "missing", OLD],
            0,
        ),
        (
            |w| fs::write(w.copy(0), "mine").unwrap(),
            "foreign content of a.yml",
            [NEW, OLD, OLD],
            1,
        ),
    ];
    for (edit, message, contents, foreign_copies) in cases {
        let world = world_with_three_files();
        world.interrupt_after(1);
        edit(&world);
        let before = world.leftovers();
        let error = world.session().recover().unwrap_err();
        let text = error.to_string();
        assert!(text.contains(message), "{text}");
        let reports =
            ["neither the old nor", "foreign content of"].map(|words| text.matches(words).count());
        assert_eq!(reports.iter().sum::<usize>(), 1, "{text}");
        let Error::Unresolved(recovery) = error else {
            panic!("{error}")
        };
        assert_eq!(preview_recovery(world.root.path()).unwrap(), Some(recovery));
        assert_eq!(world.leftovers(), before);
        assert_eq!(world.contents(), contents);

        let discarded = world.session().discard().unwrap();
        assert_eq!(discarded.state, RecoveryState::Discarded);
        let copies = discarded.files.iter().flat_map(|file| &file.copies);
        assert_eq!(
            copies.filter(|copy| copy.content == Content::Other).count(),
            foreign_copies
        );
        assert_eq!(world.contents(), contents);
        let leftovers = world.leftovers();
        assert_eq!(leftovers.len(), foreign_copies, "{leftovers:?}");
        assert_eq!(preview_recovery(world.root.path()).unwrap(), None);
    }
}

#[test]
fn directory_replaced_by_symlink_is_out_of_reach() {
    let world = world_with_three_files();
    world.interrupt_after(2);
    turn_into_symlink(&world.root.path().join("sub"));
    assert!(matches!(
        world.session().recover(),
        Err(Error::Unresolved(_))
    ));
    assert_eq!(
        world.session().discard().unwrap().state,
        RecoveryState::Discarded
    );
    assert_eq!(world.contents(), [NEW, NEW, OLD]);
}

#[test]
fn symlinked_directory_is_not_treated_as_missing() {
    let world = world_with_three_files();
    let items = world.interrupt_after(2);
    turn_into_symlink(&world.root.path().join("sub"));
    let session = world.session();
    let root = &session.root;
    let undone = stage::undo_all(root, &items.iter().collect::<Vec<_>>());
    assert!(matches!(undone, Err(Error::Unsafe { .. })), "{undone:?}");
    let synced = root.sync_directories(&items);
    assert!(matches!(synced, Err(Error::Unsafe { .. })), "{synced:?}");
    let removed = recover::remove_copies(root, &items[1]);
    assert!(matches!(removed, Err(Error::Unsafe { .. })), "{removed:?}");
    // A missing directory needs no undo, no sync and no removal.
    fs::remove_file(world.root.path().join("sub")).unwrap();
    stage::undo_all(root, &items.iter().collect::<Vec<_>>()).unwrap();
    root.sync_directories(&items).unwrap();
    recover::remove_copies(root, &items[1]).unwrap();
}

#[test]
fn missing_or_replaced_directory_requires_a_user() {
    for is_replaced in [false, true] {
        let world = world_with_three_files();
        let items = world.interrupt_after(2);
        let directory = world.root.path().join("sub");
        fs::rename(&directory, world.root.path().join("moved")).unwrap();
        if is_replaced {
            fs::write(&directory, "a file").unwrap();
        }
        let error = world.session().recover().unwrap_err();
        assert!(matches!(error, Error::Unresolved(_)), "{error}");
        let error = error.to_string();
        assert!(
            error.contains("sub/b.yml") && error.contains("sub/c.yml"),
            "{error}"
        );
        // A regular file must not be reported as a symlink.
        let opened = world
            .session()
            .root
            .directory_of(&items[1].path)
            .map(|_| ());
        assert!(matches!(opened, Err(Error::Io { .. })), "{opened:?}");
        assert_eq!(world.contents(), [NEW, "missing", "missing"]);
    }
}

#[test]
fn unopenable_directory_is_not_foreign_content() {
    let world = world_with_three_files();
    let session = world.session();
    // Root ignores permissions, but not the maximum length of a name.
    let change = FileChange {
        path: RelPath::parse(&format!("{}/b.yml", "x".repeat(300))).unwrap(),
        ..world.changes[0].clone()
    };
    session
        .state
        .write(&Journal::new(&[change], 7, run()))
        .unwrap();
    drop(session);
    let error = world.session().recover().unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    assert!(matches!(
        preview_recovery(world.root.path()),
        Err(Error::Io { .. })
    ));
}

#[test]
fn recovery_identifies_the_interrupted_run() {
    let files = "a.yml, sub/b.yml, sub/c.yml";
    let of = format!("of envs/prod/repin.yaml at revision {}", "1".repeat(40));
    for (exchanged, outcome) in [
        (0, "was cleaned up; its files have their old content"),
        (1, "was finished; every file has its new content"),
        (3, "was cleaned up; its files have their new content"),
    ] {
        let world = world_with_three_files();
        world.interrupt_after(exchanged);
        let preview = preview_recovery(world.root.path()).unwrap().unwrap();
        assert!(preview.notice("").contains(&of), "{}", preview.notice(""));
        let recovery = world.session().recover().unwrap();
        assert_eq!(recovery.run, Some(run()));
        let warning = recovery.warning().unwrap();
        assert_eq!(
            warning,
            format!("an interrupted run {of} {outcome}: {files}")
        );
        assert_eq!(world.session().recover().unwrap().warning(), None);
    }
    let world = world_with_three_files();
    world.interrupt_after(1);
    let discarded = world.session().discard().unwrap();
    assert_eq!(discarded.run, Some(run()));
}

#[test]
fn journal_of_an_earlier_build_is_recovered() {
    let world = world_with_three_files();
    world.interrupt_after(1);
    let path = world.root.path().join(".repin/journal");
    let text = fs::read_to_string(&path).unwrap();
    let (header, rest) = text.split_once('\n').unwrap();
    let items = rest.splitn(3, '\n').nth(2).unwrap();
    let body = header.replace("journal 2", "journal 1") + "\n" + &items[..items.len() - 65];
    let checksum = Digest::of(body.as_bytes()).hex();
    fs::write(&path, format!("{body}{checksum}\n")).unwrap();
    let recovery = world.session().recover().unwrap();
    assert_eq!(
        (recovery.state, &recovery.run),
        (RecoveryState::Forward, &None)
    );
    let warning = recovery.warning().unwrap();
    assert!(
        warning.starts_with("an interrupted run was finished"),
        "{warning}"
    );
    assert_eq!(world.contents(), [NEW; 3]);
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn warning_lists_a_limited_number_of_files() {
    let names: Vec<_> = (10..32).map(|file| format!("{file}.yml")).collect();
    let names: Vec<_> = names.iter().map(String::as_bytes).collect();
    let world = world(&names);
    world.interrupt_after(1);
    let mut recovery = world.session().recover().unwrap();
    let warning = recovery.warning().unwrap();
    assert!(
        warning.ends_with(", 28.yml, 29.yml and 2 more files"),
        "{warning}"
    );
    recovery.files.truncate(20);
    let warning = recovery.warning().unwrap();
    assert!(warning.ends_with(", 28.yml, 29.yml"), "{warning}");
}

#[test]
fn copy_is_partial_before_the_exchange() {
    let world = world_with_three_files();
    let session = world.session();
    session
        .state
        .write(&Journal::new(&world.changes, 7, run()))
        .unwrap();
    fs::write(world.copy(0), "ne").unwrap();
    drop(session);
    let recovery = world.session().recover().unwrap();
    assert_eq!(
        (recovery.state, recovery.files[0].copies[0].content),
        (RecoveryState::Dropped, Content::Partial)
    );
    assert_eq!(world.contents(), [OLD; 3]);
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn incomplete_journal_is_dropped_and_damaged_one_refused() {
    let world = world_with_three_files();
    drop(world.session());
    fs::write(world.root.path().join(".repin/journal.new"), "repin jour").unwrap();
    assert_eq!(
        preview_recovery(world.root.path()).unwrap().unwrap().state,
        RecoveryState::Dropped
    );
    assert_eq!(
        world.session().recover().unwrap().state,
        RecoveryState::Dropped
    );
    assert_eq!(world.leftovers(), [""; 0]);

    world.interrupt_after(1);
    fs::write(world.root.path().join(".repin/journal"), "repin jour").unwrap();
    assert!(matches!(
        preview_recovery(world.root.path()),
        Err(Error::Damaged { .. })
    ));
    assert!(matches!(
        world.session().recover(),
        Err(Error::Damaged { .. })
    ));
    assert!(matches!(world.apply(), Err(Error::Pending { .. })));
    assert_eq!(
        world.session().discard().unwrap().state,
        RecoveryState::Discarded
    );
    assert_eq!(world.contents(), [NEW, OLD, OLD]);
}

#[test]
fn damaged_journal_is_reported_by_its_name() {
    for name in ["journal.staging", "journal"] {
        let world = world_with_three_files();
        drop(world.session());
        let path = world.root.path().join(".repin").join(name);
        fs::write(&path, "repin jour").unwrap();
        let preview = preview_recovery(world.root.path()).unwrap_err();
        let recovery = world.session().recover().unwrap_err();
        let pending = world.apply().unwrap_err();
        for error in [preview, recovery, pending] {
            let (Error::Damaged { journal, .. } | Error::Pending { journal }) = error else {
                panic!("{error}")
            };
            assert_eq!(journal, path);
        }
    }
}

#[test]
fn interrupted_link_without_exchange_is_recovered() {
    // After the link; after the first rename; after both.
    for steps in 1..=3 {
        let world = world_with_three_files();
        let items = world.interrupt_after(1);
        let (target, copy, old_link) = (
            world.path(1),
            world.copy(1),
            world.path(1).with_file_name(&items[1].old_link),
        );
        fs::hard_link(&target, &old_link).unwrap();
        if steps > 1 {
            fs::rename(&copy, &target).unwrap();
        }
        if steps > 2 {
            fs::rename(&old_link, &copy).unwrap();
        }
        assert_eq!(
            world.session().recover().unwrap().state,
            RecoveryState::Forward,
            "{steps}"
        );
        assert_eq!(world.contents(), [NEW; 3]);
        assert_eq!(world.leftovers(), [""; 0]);
        assert_eq!(fs::metadata(&target).unwrap().nlink(), 1);
    }
}

#[test]
fn undo_preserves_an_edited_file() {
    let world = world_with_three_files();
    let items = world.interrupt_after(2);
    world.write(0, "mine");
    let session = world.session();
    let undone = stage::undo_all(&session.root, &items.iter().collect::<Vec<_>>());
    assert!(matches!(undone, Err(Error::Conflict { .. })));
    assert_eq!(
        world.contents(),
        ["mine", OLD, OLD],
        "the other files are restored"
    );
    assert_eq!(fs::read_to_string(world.copy(0)).unwrap(), OLD);
}
