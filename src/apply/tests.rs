//! Plans applied and recovered in one process. What a crash or a fault does to it is in
//! `tests/it/apply.rs`.

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
use crate::{config::RelPath, files::Hazard, oci::Digest};

const OLD: &str = "old\n";
const NEW: &str = "new\n";

/// A root with files, and a plan for all of them.
struct World {
    root: tempfile::TempDir,
    changes: Vec<FileChange>,
}

fn world(paths: &[&[u8]]) -> World {
    let root = tempfile::tempdir().unwrap();
    let changes = paths.iter().map(|path| {
        let path = RelPath::new(Path::new(OsStr::from_bytes(path))).unwrap();
        let file = root.path().join(path.as_path());
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, OLD).unwrap();
        let (old_sha256, new_sha256) = (Digest::of(OLD.as_bytes()), Digest::of(NEW.as_bytes()));
        FileChange {
            path,
            pins: 1,
            old: OLD.into(),
            new: NEW.into(),
            old_sha256,
            new_sha256,
        }
    });
    let changes = changes.collect();
    World { root, changes }
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
            .map(|n| fs::read_to_string(self.path(n)).unwrap_or("gone".to_owned()))
            .collect()
    }

    fn session(&self) -> Session {
        Session::begin(self.root.path(), "a test").unwrap()
    }

    fn apply(&self) -> Result<(), Error> {
        self.session().apply(&self.changes)
    }

    /// All names below the root, of what is neither a target nor a directory nor the lock.
    fn leftovers(&self) -> Vec<String> {
        let mut directories = vec![self.root.path().to_owned()];
        let mut left = Vec::new();
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
                let path = entry.path();
                let target = (0..self.changes.len()).any(|n| self.path(n) == path);
                match entry.file_type().unwrap().is_dir() {
                    true => directories.push(path),
                    false if target || path.ends_with("lock") => {}
                    false => left.push(
                        path.strip_prefix(self.root.path())
                            .unwrap()
                            .display()
                            .to_string(),
                    ),
                }
            }
        }
        left.sort();
        left
    }

    /// Leaves what a run leaves that is killed after it exchanged the first `exchanged` files.
    fn interrupted_after(&self, exchanged: usize) -> Vec<Item<'_>> {
        let session = self.session();
        let items = Journal::of(&self.changes, 7).items;
        session.state.write(&Journal::of(&self.changes, 7)).unwrap();
        stage::stage_all(&session.root, &items.iter().collect::<Vec<_>>()).unwrap();
        session.state.begin_exchange().unwrap();
        exchange::all(
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

fn three() -> World {
    world(&[b"a.yml", b"sub/b.yml", b"sub/c.yml"])
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
    assert_eq!(world.session().recover().unwrap().state, State::Nothing);
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
    let entry = |tag: u16, perm: u16, id: u32| {
        [
            &tag.to_le_bytes()[..],
            &perm.to_le_bytes(),
            &id.to_le_bytes(),
        ]
        .concat()
    };
    let none = u32::MAX;
    let list = [
        entry(1, 6, none),
        entry(2, 4, 1234),
        entry(4, 4, none),
        entry(16, 4, none),
        entry(32, 0, none),
    ]
    .concat();
    let list = [&2u32.to_le_bytes()[..], &list].concat();
    // Not every file system has both kinds: what cannot be set is absent after, too.
    let set = |name: &str, value: &[u8]| {
        rustix::fs::fsetxattr(&file, name, value, rustix::fs::XattrFlags::empty())
    };
    let had = [
        ("system.posix_acl_access", &list[..]),
        ("user.note", b"kept"),
    ];
    let had = had.map(|(name, value)| (name, set(name, value).map(|()| value.to_vec())));
    let mode = file.metadata().unwrap().mode() & 0o7777;
    world.apply().unwrap();
    let after = fs::metadata(world.path(0)).unwrap();
    assert_eq!(
        (after.uid(), after.gid(), after.mode() & 0o7777),
        (before.uid(), before.gid(), mode)
    );
    for (name, had) in had {
        let mut value = [0; 100];
        let has = rustix::fs::getxattr(world.path(0), name, &mut value[..]);
        assert_eq!(
            has.map(|length| value[..length].to_vec()).ok(),
            had.ok(),
            "{name}"
        );
    }
}

#[test]
fn a_default_access_list_of_the_directory_adds_none_to_the_file() {
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
    // Not every file system has access lists: then there is nothing that a file could inherit.
    let set = rustix::fs::setxattr(world.root.path(), name, &list, flags);
    let lists = |path: &Path| {
        let mut value = [0; 100];
        rustix::fs::getxattr(path, "system.posix_acl_access", &mut value[..]).is_ok()
    };
    let sibling = world.root.path().join("sibling");
    fs::write(&sibling, OLD).unwrap();
    assert_eq!(lists(&sibling), set.is_ok(), "a new file inherits the list");
    let mode = fs::metadata(world.path(0)).unwrap().mode();
    world.apply().unwrap();
    assert_eq!(world.contents(), [NEW]);
    assert!(!lists(&world.path(0)));
    assert_eq!(fs::metadata(world.path(0)).unwrap().mode(), mode);
}

#[test]
fn nothing_to_change_touches_nothing() {
    let world = three();
    let mut session = world.session();
    let before = fs::metadata(world.root.path()).unwrap().mtime_nsec();
    session.apply(&[]).unwrap();
    assert_eq!(
        fs::metadata(world.root.path()).unwrap().mtime_nsec(),
        before
    );
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn files_that_changed_since_the_plan_are_all_named_and_kept() {
    let world = three();
    world.write(0, "edited");
    fs::remove_file(world.path(2)).unwrap();
    match world.apply().unwrap_err() {
        Error::Conflict { files } => assert_eq!(
            files,
            [world.changes[0].path.clone(), world.changes[2].path.clone()]
        ),
        other => panic!("{other}"),
    }
    assert_eq!(world.contents(), ["edited", OLD, "gone"]);
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn replaced_file_is_refused_before_any_write() {
    let refused = |spoil: &dyn Fn(&World), wanted: Hazard| {
        let world = three();
        spoil(&world);
        match world.apply().unwrap_err() {
            Error::Unsafe { hazard, .. } => assert_eq!(hazard, wanted),
            other => panic!("{other}"),
        }
        assert_eq!(fs::read_to_string(world.path(0)).unwrap(), OLD);
    };
    refused(
        &|w| fs::hard_link(w.path(1), w.root.path().join("x")).unwrap(),
        Hazard::HardLink(2),
    );
    refused(&|w| turn_into_symlink(&w.path(1)), Hazard::Symlink);
    refused(
        &|w| turn_into_symlink(w.path(1).parent().unwrap()),
        Hazard::Symlink,
    );
    refused(
        &|w| {
            fs::remove_file(w.path(2)).unwrap();
            rustix::fs::mkfifoat(rustix::fs::CWD, w.path(2), rustix::fs::Mode::RUSR).unwrap();
        },
        Hazard::Special,
    );
}

/// Moves what is there elsewhere, where a symlink then leads.
fn turn_into_symlink(path: &Path) {
    let elsewhere = path.with_extension("elsewhere");
    fs::rename(path, &elsewhere).unwrap();
    symlink(&elsewhere, path).unwrap();
}

#[test]
fn a_directory_that_is_gone_is_the_disks_fault() {
    let world = three();
    fs::remove_dir_all(world.root.path().join("sub")).unwrap();
    assert!(matches!(world.apply(), Err(Error::Io { .. })));
    assert_eq!(world.contents(), [OLD, "gone", "gone"]);
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn one_run_at_a_time() {
    let world = three();
    let held = world.session();
    let error = Session::begin(world.root.path(), "a test").unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    drop(held);
    world.apply().unwrap();
}

#[test]
fn an_interrupted_run_must_be_recovered_first() {
    let world = three();
    world.interrupted_after(1);
    assert!(matches!(world.apply(), Err(Error::Pending { .. })));
    let mut session = world.session();
    assert_eq!(session.recover().unwrap().state, State::Forward);
    assert_eq!(world.contents(), [NEW; 3]);
}

#[test]
fn recovery_completes_mixed_files_and_drops_the_journal_otherwise() {
    for (exchanged, state, content) in [
        (0, State::Dropped, OLD),
        (2, State::Forward, NEW),
        (3, State::Dropped, NEW),
    ] {
        let world = three();
        world.interrupted_after(exchanged);
        let foreseen = pending(world.root.path()).unwrap().unwrap();
        let recovery = world.session().recover().unwrap();
        assert_eq!(recovery.state, state);
        assert_eq!(foreseen, recovery, "looking says what recovering does");
        let old = recovery
            .files
            .iter()
            .filter(|file| file.content == Content::Old)
            .count();
        assert_eq!(old, 3 - exchanged);
        assert_eq!(world.contents(), [content; 3]);
        assert_eq!(world.leftovers(), [""; 0]);
        assert_eq!(pending(world.root.path()).unwrap(), None);
    }
}

#[test]
fn looking_changes_nothing() {
    let world = three();
    assert_eq!(pending(world.root.path()).unwrap(), None);
    assert_eq!(world.leftovers(), [""; 0]);
    assert!(!world.root.path().join(".repin").exists());
    world.interrupted_after(1);
    let before = (world.leftovers(), world.contents());
    pending(world.root.path()).unwrap();
    assert_eq!((world.leftovers(), world.contents()), before);
}

#[test]
fn a_copy_that_is_gone_or_old_again_is_made_anew_from_the_journal() {
    let world = three();
    world.interrupted_after(1);
    fs::remove_file(world.copy(1)).unwrap();
    fs::write(world.copy(2), OLD).unwrap();
    assert_eq!(world.session().recover().unwrap().state, State::Forward);
    assert_eq!(world.contents(), [NEW; 3]);
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn a_third_content_is_named_and_nothing_is_touched_until_it_is_discarded() {
    type Spoil = fn(&World);
    let cases: [(Spoil, &str, [&str; 3], usize); 4] = [
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
            [NEW, "gone", OLD],
            0,
        ),
        (
            |w| fs::write(w.copy(0), "mine").unwrap(),
            "foreign content of a.yml",
            [NEW, OLD, OLD],
            1,
        ),
    ];
    for (spoil, named, contents, kept) in cases {
        let world = three();
        world.interrupted_after(1);
        spoil(&world);
        let before = world.leftovers();
        let error = world.session().recover().unwrap_err();
        let text = error.to_string();
        assert!(text.contains(named), "{text}");
        let others =
            ["neither the old nor", "foreign content of"].map(|words| text.matches(words).count());
        assert_eq!(others.iter().sum::<usize>(), 1, "nothing else is: {text}");
        let Error::Unresolved(recovery) = error else {
            panic!("{error}")
        };
        assert_eq!(pending(world.root.path()).unwrap(), Some(recovery));
        assert_eq!(world.leftovers(), before);
        assert_eq!(world.contents(), contents);

        let discarded = world.session().discard().unwrap();
        assert_eq!(discarded.state, State::Discarded);
        let foreign = |copies: &[StagedCopy]| {
            copies
                .iter()
                .filter(|copy| copy.content == Content::Other)
                .count()
        };
        assert_eq!(
            discarded
                .files
                .iter()
                .map(|file| foreign(&file.copies))
                .sum::<usize>(),
            kept
        );
        assert_eq!(world.contents(), contents);
        assert_eq!(world.leftovers().len(), kept, "{:?}", world.leftovers());
        assert_eq!(pending(world.root.path()).unwrap(), None);
    }
}

#[test]
fn a_directory_that_became_a_symlink_is_out_of_reach() {
    let world = three();
    world.interrupted_after(2);
    turn_into_symlink(&world.root.path().join("sub"));
    assert!(matches!(
        world.session().recover(),
        Err(Error::Unresolved(_))
    ));
    assert_eq!(world.session().discard().unwrap().state, State::Discarded);
    assert_eq!(world.contents(), [NEW, NEW, OLD]);
}

#[test]
fn hidden_directory_is_not_missing() {
    let world = three();
    let items = world.interrupted_after(2);
    turn_into_symlink(&world.root.path().join("sub"));
    let session = world.session();
    let root = &session.root;
    let undone = exchange::back(root, &items.iter().collect::<Vec<_>>());
    assert!(matches!(undone, Err(Error::Unsafe { .. })), "{undone:?}");
    let synced = root.sync_directories(&items);
    assert!(matches!(synced, Err(Error::Unsafe { .. })), "{synced:?}");
    let removed = recover::remove_copies(root, &items[1]);
    assert!(matches!(removed, Err(Error::Unsafe { .. })), "{removed:?}");
    // What is gone has nothing to put back, to sync or to remove.
    fs::remove_file(world.root.path().join("sub")).unwrap();
    exchange::back(root, &items.iter().collect::<Vec<_>>()).unwrap();
    root.sync_directories(&items).unwrap();
    recover::remove_copies(root, &items[1]).unwrap();
}

#[test]
fn files_of_a_directory_that_is_gone_or_replaced_are_a_persons_to_resolve() {
    let gone: fn(&Path) = |_| ();
    let replaced: fn(&Path) = |directory| fs::write(directory, "a file").unwrap();
    for replace in [gone, replaced] {
        let world = three();
        let items = world.interrupted_after(2);
        let directory = world.root.path().join("sub");
        fs::rename(&directory, world.root.path().join("elsewhere")).unwrap();
        replace(&directory);
        let error = world.session().recover().unwrap_err();
        assert!(matches!(error, Error::Unresolved(_)), "{error}");
        let error = error.to_string();
        assert!(
            error.contains("sub/b.yml") && error.contains("sub/c.yml"),
            "{error}"
        );
        // A file is not a symlink: it is not called one.
        let opened = world
            .session()
            .root
            .directory_of(&items[1].path)
            .map(|_| ());
        assert!(matches!(opened, Err(Error::Io { .. })), "{opened:?}");
        assert_eq!(world.contents(), [NEW, "gone", "gone"]);
    }
}

#[test]
fn unopenable_directory_is_not_foreign_content() {
    let world = three();
    let session = world.session();
    // Permissions don't bind root, the longest name does.
    let change = FileChange {
        path: RelPath::parse(&format!("{}/b.yml", "x".repeat(300))).unwrap(),
        ..world.changes[0].clone()
    };
    session.state.write(&Journal::of(&[change], 7)).unwrap();
    drop(session);
    let error = world.session().recover().unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    assert!(matches!(pending(world.root.path()), Err(Error::Io { .. })));
}

#[test]
fn a_copy_is_anything_before_the_exchange_begins() {
    let world = three();
    let session = world.session();
    session
        .state
        .write(&Journal::of(&world.changes, 7))
        .unwrap();
    fs::write(world.copy(0), "ne").unwrap();
    drop(session);
    let recovery = world.session().recover().unwrap();
    assert_eq!(
        (recovery.state, recovery.files[0].copies[0].content),
        (State::Dropped, Content::Partial)
    );
    assert_eq!(world.contents(), [OLD; 3]);
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn a_torn_journal_is_dropped_and_a_damaged_one_is_not_guessed_at() {
    let world = three();
    drop(world.session());
    fs::write(world.root.path().join(".repin/journal.new"), "repin jour").unwrap();
    assert_eq!(
        pending(world.root.path()).unwrap().unwrap().state,
        State::Dropped
    );
    assert_eq!(world.session().recover().unwrap().state, State::Dropped);
    assert_eq!(world.leftovers(), [""; 0]);

    world.interrupted_after(1);
    fs::write(world.root.path().join(".repin/journal"), "repin jour").unwrap();
    assert!(matches!(
        pending(world.root.path()),
        Err(Error::Damaged { .. })
    ));
    assert!(matches!(
        world.session().recover(),
        Err(Error::Damaged { .. })
    ));
    assert!(matches!(world.apply(), Err(Error::Pending { .. })));
    assert_eq!(world.session().discard().unwrap().state, State::Discarded);
    assert_eq!(world.contents(), [NEW, OLD, OLD]);
}

#[test]
fn interrupted_link_without_exchange_is_recovered() {
    // After the link; after the first rename; after both.
    for steps in 1..=3 {
        let world = three();
        let items = world.interrupted_after(1);
        let (target, copy, spare) = (
            world.path(1),
            world.copy(1),
            world.path(1).with_file_name(&items[1].spare),
        );
        fs::hard_link(&target, &spare).unwrap();
        if steps > 1 {
            fs::rename(&copy, &target).unwrap();
        }
        if steps > 2 {
            fs::rename(&spare, &copy).unwrap();
        }
        assert_eq!(
            world.session().recover().unwrap().state,
            State::Forward,
            "{steps}"
        );
        assert_eq!(world.contents(), [NEW; 3]);
        assert_eq!(world.leftovers(), [""; 0]);
        assert_eq!(fs::metadata(&target).unwrap().nlink(), 1);
    }
}

#[test]
fn an_edit_of_the_new_content_is_not_moved_out_of_the_way() {
    let world = three();
    let items = world.interrupted_after(2);
    world.write(0, "mine");
    let session = world.session();
    let undone = exchange::back(&session.root, &items.iter().collect::<Vec<_>>());
    assert!(matches!(undone, Err(Error::Conflict { .. })));
    assert_eq!(
        world.contents(),
        ["mine", OLD, OLD],
        "the others are put back all the same"
    );
    assert_eq!(fs::read_to_string(world.copy(0)).unwrap(), OLD);
}
