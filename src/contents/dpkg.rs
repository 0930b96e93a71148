//! The packages in dpkg's database: `status`, and the files of `status.d`, which images without dpkg
//! have.

use std::collections::BTreeSet;

use super::{
    Package, PackageList, files,
    layers::{FileType, Tree},
    set_once,
};

const STATUS: &str = "var/lib/dpkg/status";
const STATUS_DIRECTORY: &str = "var/lib/dpkg/status.d";

/// The packages; `None` if the image has no database.
pub(super) fn read(tree: &Tree) -> Option<Result<BTreeSet<Package>, String>> {
    let mut paths = Vec::new();
    if tree.find(STATUS.as_bytes()).is_some() {
        paths.push(STATUS.as_bytes().to_vec());
    }
    if let Some(directory) = tree.find(STATUS_DIRECTORY.as_bytes()) {
        for entry in tree.list(&directory, |entry| entry.path.is_empty()) {
            let is_list = entry.path.ends_with(b".md5sums");
            if entry.inode.kind != FileType::Directory && !is_list {
                paths.push([STATUS_DIRECTORY.as_bytes(), b"/", &entry.path].concat());
            }
        }
    }
    if paths.is_empty() {
        return None;
    }
    Some(read_files(tree, &paths))
}

fn read_files(tree: &Tree, paths: &[Vec<u8>]) -> Result<BTreeSet<Package>, String> {
    let mut list = PackageList::default();
    for path in paths {
        let Some(found) = tree.find(path) else {
            let path = String::from_utf8_lossy(path);
            return Err(format!("`/{path}` is a dangling link"));
        };
        add(&mut list, files::content(&found)?)
            .map_err(|reason| format!("{} is malformed: {reason}", files::display(&found)))?;
    }
    Ok(list.0)
}

/// The installed packages in the content of a status file.
#[cfg(any(test, fuzzing))]
pub(crate) fn packages(content: &[u8]) -> Result<BTreeSet<Package>, String> {
    let mut list = PackageList::default();
    add(&mut list, content)?;
    Ok(list.0)
}

/// The fields of a paragraph. Other fields are not read.
#[derive(Default)]
struct Paragraph {
    name: Option<String>,
    version: Option<String>,
    architecture: Option<String>,
    status: Option<String>,
    is_empty: bool,
}

fn add(list: &mut PackageList, content: &[u8]) -> Result<(), String> {
    let new = || Paragraph {
        is_empty: true,
        ..Paragraph::default()
    };
    let mut paragraph = new();
    for (index, line) in content.split(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            add_package(list, std::mem::replace(&mut paragraph, new()))
                .map_err(|reason| format!("the paragraph before line {}: {reason}", index + 1))?;
            continue;
        }
        paragraph.is_empty = false;
        // A continuation of the value in the line before.
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            continue;
        }
        paragraph
            .set(line)
            .map_err(|reason| format!("line {}: {reason}", index + 1))?;
    }
    add_package(list, paragraph).map_err(|reason| format!("the last paragraph: {reason}"))
}

impl Paragraph {
    fn set(&mut self, line: &[u8]) -> Result<(), String> {
        let Some(colon) = memchr::memchr(b':', line) else {
            return Err("expected `FIELD: VALUE`".to_owned());
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        // The names of fields are case-insensitive (deb822).
        let slot = |name: &[u8], field: &str| name.eq_ignore_ascii_case(field.as_bytes());
        match name {
            name if slot(name, "Package") => set_once(&mut self.name, "Package", value),
            name if slot(name, "Version") => set_once(&mut self.version, "Version", value),
            name if slot(name, "Architecture") => {
                set_once(&mut self.architecture, "Architecture", value)
            }
            name if slot(name, "Status") => set_once(&mut self.status, "Status", value),
            _ => Ok(()),
        }
    }
}

fn add_package(list: &mut PackageList, paragraph: Paragraph) -> Result<(), String> {
    if paragraph.is_empty {
        return Ok(());
    }
    let name = paragraph.name.ok_or("`Package` is missing")?;
    if let Some(status) = &paragraph.status {
        // WANT FLAG STATE; only these states have no files of the package.
        let state = status.split_ascii_whitespace().nth(2);
        match state {
            None => return Err(format!("the status of `{name}` has no state")),
            Some("not-installed" | "config-files") => return Ok(()),
            Some(_) => {}
        }
    }
    let version = paragraph
        .version
        .ok_or_else(|| format!("the version of `{name}` is missing"))?;
    list.push(Package {
        name,
        version,
        architecture: paragraph.architecture,
    })
}
