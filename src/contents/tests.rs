//! Contents of trees, databases of real package managers, and differences.

use std::{fmt::Write as _, fs, io::Read, path::Path};

use super::{
    layers::tests::{archive::Archive, tree},
    *,
};

fn tar() -> Archive {
    Archive::new()
}

fn fixture(name: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::read(root.join("testdata/packages").join(name)).unwrap()
}

fn rpm_database() -> Vec<u8> {
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(&*fixture("rpmdb.sqlite.gz"))
        .read_to_end(&mut bytes)
        .unwrap();
    bytes
}

fn contents(archives: &[Archive]) -> ImageContents {
    ImageContents::read(&tree(archives), 0, None)
}

/// The packages as the fixtures list them.
fn lines(packages: &BTreeSet<Package>) -> String {
    let mut text = String::new();
    for package in packages {
        let Package { name, version, .. } = package;
        let architecture = package.architecture.as_deref().unwrap_or("(none)");
        writeln!(text, "{name} {version} {architecture}").unwrap();
    }
    text
}

fn listed(contents: &ImageContents, package_type: &str) -> String {
    lines(contents.databases[package_type].as_ref().unwrap())
}

#[track_caller]
fn reason(archives: &[Archive], package_type: &str) -> String {
    contents(archives).databases[package_type]
        .clone()
        .unwrap_err()
}

fn text(name: &str) -> String {
    String::from_utf8(fixture(name)).unwrap()
}

#[test]
fn lists_equal_those_of_package_managers() {
    let contents = contents(&[tar()
        .file("var/lib/dpkg/status", fixture("dpkg-status"))
        .file("lib/apk/db/installed", fixture("apk-installed"))
        .file("var/lib/rpm/rpmdb.sqlite", rpm_database())
        .file("var/lib/rpm/rpmdb.sqlite-wal", "")]);
    for (package_type, list) in [("deb", "dpkg.txt"), ("apk", "apk.txt"), ("rpm", "rpm.txt")] {
        assert_eq!(
            listed(&contents, package_type),
            text(list),
            "{package_type}"
        );
    }
    assert!(
        super::tests::contents(&[tar().file("a", "")])
            .databases
            .is_empty()
    );
}

#[test]
fn upper_layer_replaces_a_database() {
    let layers = [
        tar()
            .symlink("lib", "usr/lib")
            .file("usr/lib/apk/db/installed", "P:a\nV:1\n\n"),
        tar().file("lib/apk/db/installed", "P:a\nV:2\nA:x86_64\n\n"),
    ];
    assert_eq!(listed(&contents(&layers), "apk"), "a 2 x86_64\n");
    let removed = tar().file("usr/lib/apk/db/.wh.installed", "");
    let layers = [&layers[..], &[removed]].concat();
    assert!(contents(&layers).databases.is_empty());
}

#[test]
fn files_of_status_d_are_added_to_status() {
    let contents = contents(&[tar()
        .file(
            "var/lib/dpkg/status",
            "Package: a\nStatus: hold ok unpacked\nVersion: 1\n",
        )
        .file(
            "var/lib/dpkg/status.d/base",
            "Package: base\nVersion: 2\nArchitecture: amd64",
        )
        .file("var/lib/dpkg/status.d/base.md5sums", "not a paragraph")
        .symlink("var/lib/dpkg/status.d/link", "base")
        .directory("var/lib/dpkg/status.d/directory")]);
    assert_eq!(listed(&contents, "deb"), "a 1 (none)\nbase 2 amd64\n");
}

#[test]
fn malformed_dpkg_status_is_not_read() {
    for (status, expected) in [
        ("Package: a\n", "the version of `a` is missing"),
        ("Version: 1\n", "`Package` is missing"),
        (
            "Package: a\nVersion: 1\nversion: 2\n",
            "line 3: `Version` occurs twice",
        ),
        (
            "Package: a\nVersion:\n",
            "line 2: `Version` is an empty field",
        ),
        (
            "Package: a\nVersion: 1\nStatus: ok\n",
            "the status of `a` has no state",
        ),
        ("Package a\n", "line 1: expected `FIELD: VALUE`"),
    ] {
        let reason = reason(&[tar().file("var/lib/dpkg/status", status)], "deb");
        assert!(reason.contains(expected), "{status:?}: {reason}");
    }
    let dangling = tar().symlink("var/lib/dpkg/status.d/x", "missing");
    assert!(reason(&[dangling], "deb").contains("dangling"));
}

#[test]
fn malformed_apk_database_is_not_read() {
    for database in ["P:a\n\n", "V:1\n\n", "P:a\nP:b\nV:1\n", "Pa\n", "P:\nV:1\n"] {
        assert!(parsers::apk(database.as_bytes()).is_err(), "{database:?}");
    }
}

#[test]
fn unknown_place_of_a_database_is_reported() {
    // Stored only if the last names of its path are known.
    let linked = tar()
        .symlink("lib/apk/db/installed", "/other/packages")
        .file("other/packages", "P:a\nV:1\n");
    assert!(reason(&[linked], "apk").contains("linked to"));
    let directory = tar().directory("lib/apk/db/installed");
    assert!(reason(&[directory], "apk").contains("is not a file"));
    let two = tar()
        .file("lib/apk/db/installed", "P:a\nV:1\n")
        .file("usr/lib/apk/db/installed", "P:a\nV:2\n");
    assert!(reason(&[two], "apk").contains("the image has two"));
}

#[test]
fn only_a_complete_sqlite_database_of_rpm_is_read() {
    let database = || tar().file("usr/lib/sysimage/rpm/rpmdb.sqlite", rpm_database());
    let linked = database().symlink("var/lib/rpm", "../../usr/lib/sysimage/rpm");
    assert_eq!(listed(&contents(&[linked]), "rpm"), text("rpm.txt"));
    let log = database().file("usr/lib/sysimage/rpm/rpmdb.sqlite-wal", "changes");
    assert!(reason(&[log], "rpm").contains("`rpmdb.sqlite-wal`"));
    for other in ["var/lib/rpm/Packages", "var/lib/rpm/Packages.db"] {
        assert!(reason(&[tar().file(other, "x")], "rpm").contains("not `rpmdb.sqlite`"));
        assert!(reason(&[database().file(other, "x")], "rpm").contains("has two"));
    }
}

#[test]
fn damaged_sqlite_databases_are_refused() {
    let whole = rpm_database();
    let page = 4096;
    assert!(
        parsers::rpm(&whole[..whole.len() - page])
            .unwrap_err()
            .contains("truncated")
    );
    assert!(parsers::rpm(&whole[..whole.len() - 1]).is_err());
    assert!(parsers::rpm(b"").is_err());
    let with = |offset: usize, bytes: &[u8]| {
        let mut damaged = whole.clone();
        damaged[offset..offset + bytes.len()].copy_from_slice(bytes);
        parsers::rpm(&damaged).unwrap_err()
    };
    assert!(with(0, b"x").contains("the header is missing"));
    assert!(with(16, &[0, 3]).contains("the page size is invalid"));
    assert!(with(56, &[0, 0, 0, 2]).contains("not UTF-8"));
    // The root of the table is the second page: its last child becomes the page itself.
    assert_eq!(whole[page], 5);
    assert!(with(page + 8, &[0, 0, 0, 2]).contains("used twice"));
    assert!(with(page + 8, &[0, 1, 0, 0]).contains("page number is invalid"));
    assert!(with(page, &[13]).contains("SQLite"));
    assert!(with(page, &[2]).contains("not part of a table"));
}

#[test]
fn cells_that_overlap_are_refused() {
    // Every cell of a leaf is its first one, so the rows are longer than the file.
    let mut database = rpm_database();
    let leaf = (2..database.len() / 4096)
        .map(|number| number * 4096)
        .find(|start| database[*start] == 13 && database[start + 4] == 2)
        .unwrap();
    let cell = [database[leaf + 8], database[leaf + 9]];
    database[leaf + 3..leaf + 5].copy_from_slice(&800u16.to_be_bytes());
    for index in 0..800 {
        let pointer = leaf + 8 + 2 * index;
        database[pointer..pointer + 2].copy_from_slice(&cell);
    }
    let reason = parsers::rpm(&database).unwrap_err();
    assert!(reason.contains("longer than the file"), "{reason}");
}

#[test]
fn list_of_packages_is_bounded() {
    let mut database = String::new();
    for index in 0..=MAX_PACKAGES {
        writeln!(database, "P:a{index}\nV:1\n").unwrap();
    }
    let reason = parsers::apk(database.as_bytes()).unwrap_err();
    assert!(reason.contains("more than 100000 packages"), "{reason}");
    assert!(parsers::apk(format!("P:{}\nV:1\n", "a".repeat(1025)).as_bytes()).is_err());
}

#[test]
fn large_databases_are_not_read() {
    let tree = tree(&[tar().file("lib/apk/db/installed", "P:a\nV:1\n")]);
    let contents = ImageContents::read(&tree, IMAGE_DATABASES + 1, None);
    let reason = contents.databases["apk"].as_ref().unwrap_err();
    assert!(reason.contains("256 MiB"), "{reason}");
    assert_eq!(contents.databases.len(), 1);
}

#[test]
fn privileges_belong_to_the_file_of_the_top_layer() {
    let capability = hex::decode("0100000200200000000000000000000000000000").unwrap();
    let records: [(&str, &[u8]); 1] = [("SCHILY.xattr.security.capability", &capability)];
    let lower = tar()
        .file_of_mode("usr/bin/su", 0o4755)
        .file_of_mode("usr/bin/both", 0o6755)
        .directory_of_mode("var/mail", 0o2775)
        .pax(b'x', &records)
        .file("usr/bin/ping", "x")
        .hardlink("usr/bin/ping6", "usr/bin/ping");
    let upper = tar()
        .file_of_mode("usr/bin/su", 0o755)
        .pax(b'x', &[("SCHILY.xattr.security.capability", b"x")])
        .file("usr/bin/new", "x");
    let lines = |archives: &[Archive]| {
        let mut lines = Vec::new();
        for (path, properties) in contents(archives).privileged_files {
            let properties: Vec<_> = properties.into_iter().collect();
            lines.push(format!("{path}: {}", properties.join(", ")));
        }
        lines
    };
    assert_eq!(
        lines(std::slice::from_ref(&lower)),
        [
            "/usr/bin/both: setgid, setuid",
            "/usr/bin/ping: cap_net_raw=ep",
            "/usr/bin/ping6: cap_net_raw=ep",
            "/usr/bin/su: setuid",
        ]
    );
    let merged = lines(&[lower.clone(), upper]);
    assert!(!merged.iter().any(|line| line.starts_with("/usr/bin/su")));
    assert!(merged.contains(&"/usr/bin/new: malformed security.capability".to_owned()));
    let replaced = lines(&[lower, tar().file("usr/bin/ping", "x")]);
    assert!(
        !replaced
            .iter()
            .any(|line| line.starts_with("/usr/bin/ping:"))
    );
}

fn database(package_type: &'static str, packages: &[&str]) -> ImageContents {
    let mut list = BTreeSet::new();
    for line in packages {
        let mut words = line.split(' ').map(str::to_owned);
        list.insert(Package {
            name: words.next().unwrap(),
            version: words.next().unwrap(),
            architecture: words.next(),
        });
    }
    ImageContents {
        databases: BTreeMap::from([(package_type, Ok(list))]),
        ..contents(&[])
    }
}

fn package_lines(from: &ImageContents, to: &ImageContents) -> Vec<String> {
    let packages = difference(from, to).difference.packages;
    let mut lines = Vec::new();
    for package in packages.list {
        let [from, to] =
            [package.from, package.to].map(|version| version.unwrap_or("–".to_owned()));
        lines.push(format!("{} {} {from} → {to}", package.r#type, package.name));
    }
    lines
}

#[test]
fn packages_are_listed_changed_added_removed() {
    let from = database(
        "deb",
        &[
            "zlib 1 amd64",
            "curl 7 amd64",
            "tz 1 all",
            "same 1 amd64",
            "old 1",
        ],
    );
    let to = database(
        "deb",
        &[
            "zlib 2 amd64",
            "curl 8 amd64",
            "tz 1 all",
            "same 1 amd64",
            "b 1",
            "a 1",
        ],
    );
    assert_eq!(
        package_lines(&from, &to),
        [
            "deb curl 7 → 8",
            "deb zlib 1 → 2",
            "deb a – → 1",
            "deb b – → 1",
            "deb old 1 → –",
        ]
    );
    let packages = difference(&from, &to).difference.packages;
    assert_eq!(
        (packages.changed, packages.added, packages.removed),
        (2, 2, 1)
    );
}

#[test]
fn name_has_the_architecture_if_several_are_installed() {
    let from = database("deb", &["libc6 1 amd64", "tz 1 amd64"]);
    let to = database("deb", &["libc6 2 amd64", "libc6 2 i386", "tz 2 all"]);
    assert_eq!(
        package_lines(&from, &to),
        [
            "deb libc6:amd64 1 → 2",
            "deb tz 1 → 2",
            "deb libc6:i386 – → 2"
        ]
    );
}

#[test]
fn several_versions_of_a_package_are_compared_in_pairs() {
    let from = database("rpm", &["kernel 1", "kernel 2"]);
    let to = database("rpm", &["kernel 2", "kernel 3", "kernel 4"]);
    assert_eq!(
        package_lines(&from, &to),
        ["rpm kernel 1 → 3", "rpm kernel – → 4"]
    );
}

#[test]
fn counts_are_complete_but_lists_are_short() {
    let names: Vec<String> = (0..60).map(|index| format!("p{index:02} 1")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let packages = difference(&contents(&[]), &database("apk", &names))
        .difference
        .packages;
    assert_eq!((packages.added, packages.list.len()), (60, 50));
    let mut many = tar();
    for index in 0..60 {
        many = many.file_of_mode(&format!("f{index:02}"), 0o4755);
    }
    let compared = difference(&contents(&[]), &contents(&[many]));
    assert_eq!(compared.difference.files.len(), 50);
    let [unread] = compared.not_read.as_slice() else {
        panic!("{:?}", compared.not_read);
    };
    assert!(
        unread.reason.starts_with("10 more files"),
        "{}",
        unread.reason
    );
}

#[test]
fn unreadable_database_is_not_compared() {
    let unreadable = contents(&[tar().file("var/lib/rpm/Packages", "x")]);
    let compared = difference(&unreadable, &database("rpm", &["bash 5"]));
    assert!(compared.difference.is_empty());
    let [unread] = compared.not_read.as_slice() else {
        panic!("{:?}", compared.not_read);
    };
    assert_eq!(unread.part, UnreadPart::Packages);
    assert!(
        unread.reason.starts_with("rpm database not readable: "),
        "{}",
        unread.reason
    );
    assert_eq!(difference(&unreadable, &unreadable).not_read.len(), 1);
}

fn with_sbom(contents: ImageContents, packages: &[&str]) -> ImageContents {
    let mut sbom = PackagesByType::new();
    for url in packages {
        let url = sbom::PackageUrl::parse(url).unwrap();
        sbom.entry(url.package_type)
            .or_default()
            .insert(url.package);
    }
    ImageContents {
        sbom: Some(sbom),
        ..contents
    }
}

#[test]
fn sboms_add_the_types_without_a_database() {
    let from = with_sbom(
        database("deb", &["openssl 1 amd64"]),
        &["pkg:deb/debian/openssl@0", "pkg:npm/a@1", "pkg:rpm/x/y@1"],
    );
    let to = with_sbom(
        database("deb", &["openssl 2 amd64"]),
        &["pkg:deb/debian/openssl@9", "pkg:npm/a@2", "pkg:rpm/x/y@2"],
    );
    let expected = ["npm a 1 → 2", "deb openssl 1 → 2", "rpm y 1 → 2"];
    assert_eq!(package_lines(&from, &to), expected);
    let without = ImageContents { sbom: None, ..to };
    assert_eq!(package_lines(&from, &without), ["deb openssl 1 → 2"]);
    let unreadable = contents(&[tar().file("var/lib/rpm/Packages", "x")]);
    let [from, to] = [1, 2].map(|version| {
        with_sbom(
            unreadable.clone(),
            &[format!("pkg:rpm/x/y@{version}").as_str()],
        )
    });
    assert_eq!(package_lines(&from, &to), ["rpm y 1 → 2"]);
}

#[test]
fn difference_has_the_shape_of_the_document() {
    let kinds = |names: &[&str]| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Some(Enumeration {
            kinds: vec![("skills".to_owned(), names)],
            not_utf8: Vec::new(),
        })
    };
    let from = ImageContents {
        kinds: kinds(&["fix"]),
        ..contents(&[tar().file_of_mode("usr/bin/su", 0o4755)])
    };
    let to = ImageContents {
        kinds: kinds(&["triage-deep"]),
        ..database("deb", &["openssl 3.0.14-1 amd64"])
    };
    let compared = difference(&from, &to);
    assert_eq!(
        serde_json::to_value(&compared.difference).unwrap(),
        serde_json::json!({
            "kinds": [{"kind": "skills", "added": ["triage-deep"], "removed": ["fix"]}],
            "packages": {"added": 1, "removed": 0, "changed": 0, "list": [
                {"type": "deb", "name": "openssl", "from": null, "to": "3.0.14-1"},
            ]},
            "files": [{"path": "/usr/bin/su", "from": ["setuid"], "to": []}],
        })
    );
    assert!(difference(&to, &to).difference.is_empty());
}
