//! The files that give privileges to the process that executes them.

use std::collections::{BTreeMap, BTreeSet};

use super::layers::{FileType, Tree};

/// The names of capabilities by their bit (Linux, `include/uapi/linux/capability.h`).
const CAPABILITIES: [&str; 41] = [
    "cap_chown",
    "cap_dac_override",
    "cap_dac_read_search",
    "cap_fowner",
    "cap_fsetid",
    "cap_kill",
    "cap_setgid",
    "cap_setuid",
    "cap_setpcap",
    "cap_linux_immutable",
    "cap_net_bind_service",
    "cap_net_broadcast",
    "cap_net_admin",
    "cap_net_raw",
    "cap_ipc_lock",
    "cap_ipc_owner",
    "cap_sys_module",
    "cap_sys_rawio",
    "cap_sys_chroot",
    "cap_sys_ptrace",
    "cap_sys_pacct",
    "cap_sys_admin",
    "cap_sys_boot",
    "cap_sys_nice",
    "cap_sys_resource",
    "cap_sys_time",
    "cap_sys_tty_config",
    "cap_mknod",
    "cap_lease",
    "cap_audit_write",
    "cap_audit_control",
    "cap_setfcap",
    "cap_mac_override",
    "cap_mac_admin",
    "cap_syslog",
    "cap_wake_alarm",
    "cap_block_suspend",
    "cap_audit_read",
    "cap_perfmon",
    "cap_bpf",
    "cap_checkpoint_restore",
];

const SETUID: u16 = 0o4000;
const SETGID: u16 = 0o2000;

/// The properties of each privileged file: `setuid`, `setgid` and capabilities. Directories are
/// omitted, because setgid has another meaning there.
pub(super) fn privileged_files(tree: &Tree) -> BTreeMap<String, BTreeSet<String>> {
    let mut files = BTreeMap::new();
    let Some(root) = tree.find(b"") else {
        return files;
    };
    for entry in tree.list(&root, |_| true) {
        let FileType::File(_) = entry.inode.kind else {
            continue;
        };
        let mut properties = BTreeSet::new();
        for (bit, name) in [(SETUID, "setuid"), (SETGID, "setgid")] {
            if entry.inode.mode & bit != 0 {
                properties.insert(name.to_owned());
            }
        }
        match entry.inode.capability.as_deref().map(capabilities) {
            None => {}
            Some(Some(capabilities)) => properties.extend(capabilities),
            Some(None) => drop(properties.insert("malformed security.capability".to_owned())),
        }
        if !properties.is_empty() {
            let path = format!("/{}", String::from_utf8_lossy(&entry.path));
            // Paths that differ only in invalid UTF-8 share an entry.
            let known: &mut BTreeSet<String> = files.entry(path).or_default();
            known.extend(properties);
        }
    }
    files
}

/// Decodes the value of `security.capability` (`struct vfs_ns_cap_data`, little-endian) to names with
/// the sets that getcap prints: effective, inheritable, permitted.
fn capabilities(value: &[u8]) -> Option<Vec<String>> {
    let (words, []) = value.as_chunks::<4>() else {
        return None;
    };
    let words: Vec<u32> = words.iter().map(|word| u32::from_le_bytes(*word)).collect();
    let (magic, words) = words.split_first()?;
    let (permitted, inheritable, user) = match (magic >> 24, words) {
        (1, [permitted, inheritable]) => (u64::from(*permitted), u64::from(*inheritable), 0),
        (2, [p0, i0, p1, i1]) => (wide(*p0, *p1), wide(*i0, *i1), 0),
        (3, [p0, i0, p1, i1, user]) => (wide(*p0, *p1), wide(*i0, *i1), *user),
        _ => return None,
    };
    let is_effective = magic & 1 != 0;
    let mut names = Vec::new();
    for bit in 0..64 {
        let has = |set: u64| set >> bit & 1 != 0;
        let sets = match (has(permitted), has(inheritable)) {
            (false, false) => continue,
            (true, false) => "p",
            (false, true) => "i",
            (true, true) => "ip",
        };
        let name = match CAPABILITIES.get(bit) {
            Some(name) => (*name).to_owned(),
            None => format!("cap_{bit}"),
        };
        let effective = if is_effective { "e" } else { "" };
        // The user of the namespace in which the capabilities apply.
        let namespace = match user {
            0 => String::new(),
            user => format!(" rootid={user}"),
        };
        names.push(format!("{name}={effective}{sets}{namespace}"));
    }
    Some(names)
}

fn wide(low: u32, high: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn decoded(words: &[u32]) -> Option<Vec<String>> {
        capabilities(&value(words))
    }

    #[test]
    fn capabilities_have_the_names_of_getcap() {
        // The bytes that setcap cap_net_raw,cap_net_admin=ep writes.
        let setcap = hex::decode("0100000200300000000000000000000000000000").unwrap();
        assert_eq!(
            capabilities(&setcap).unwrap(),
            ["cap_net_admin=ep", "cap_net_raw=ep"]
        );
        assert_eq!(
            decoded(&[0x0200_0000, 0, 1, 0, 0]).unwrap(),
            ["cap_chown=i"]
        );
        let both = [0x0200_0001, 1, 1, 1 << 8 | 1 << 9, 0];
        assert_eq!(
            decoded(&both).unwrap(),
            ["cap_chown=eip", "cap_checkpoint_restore=ep", "cap_41=ep"]
        );
        assert_eq!(decoded(&[0x0100_0001, 32, 0]).unwrap(), ["cap_kill=ep"]);
        assert_eq!(
            decoded(&[0x0300_0000, 32, 0, 0, 0, 1000]).unwrap(),
            ["cap_kill=p rootid=1000"]
        );
    }

    #[test]
    fn malformed_capabilities_are_recognized() {
        for words in [
            &[][..],
            &[0x0200_0000, 0, 0, 0],
            &[0x0200_0000, 0, 0, 0, 0, 0],
            &[0x0400_0000, 0, 0, 0, 0],
            &[0x0300_0000, 0, 0, 0, 0],
        ] {
            assert_eq!(decoded(words), None, "{words:x?}");
        }
        assert_eq!(capabilities(&[1; 21]), None);
    }
}
