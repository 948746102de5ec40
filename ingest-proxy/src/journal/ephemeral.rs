//! Whether a folder outlives the machine, container or pod it is on (P16): a sync on memory is no promise.

use std::path::Path;

/// Why the folder's content does not outlive a restart; none when it seems to. `mounts` is `/proc/self/mountinfo`
/// (proc(5)), `folder` an absolute path without links.
#[must_use]
pub fn ephemeral(folder: &Path, mounts: &str) -> Option<&'static str> {
    let mut best: Option<(usize, Option<&'static str>)> = None;
    for line in mounts.lines() {
        let Some((mount, source)) = line.split_once(" - ") else { continue };
        let mut fields = mount.split(' ').skip(3);
        let (Some(root), Some(point)) = (fields.next(), fields.next()) else { continue };
        let point = unescape(point);
        let deeper = best.is_none_or(|(len, _)| point.len() >= len);
        if deeper && folder.starts_with(&point) {
            best = Some((point.len(), reason(source.split(' ').next().unwrap_or_default(), root)));
        }
    }
    best.and_then(|(_, reason)| reason)
}

fn reason(kind: &str, root: &str) -> Option<&'static str> {
    match kind {
        "tmpfs" | "ramfs" => Some("it is in memory"),
        "overlay" => Some("it is in a container's own layer"),
        _ if root.contains("kubernetes.io~empty-dir") => Some("it is an emptyDir, which goes with its pod"),
        _ => None,
    }
}

/// Blanks and backslashes are octal in mountinfo.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

/// As [`ephemeral`], of this system; a system without mountinfo says nothing.
#[must_use]
pub fn ephemeral_here(folder: &Path) -> Option<&'static str> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    ephemeral(&folder.canonicalize().ok()?, &mounts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p16_memory_containers_and_empty_dirs_are_told_from_disks() {
        let mounts = "\
22 1 0:21 / / rw,relatime - overlay overlay rw,lowerdir=/a
23 22 8:1 /volumes/journal /data/journal rw - ext4 /dev/sda1 rw
24 22 0:24 / /dev/shm rw - tmpfs tmpfs rw
25 22 8:1 /pods/x/volumes/kubernetes.io~empty-dir/j /empty rw - ext4 /dev/sda1 rw
26 22 8:1 / /with\\040blank rw - xfs /dev/sda1 rw
";
        let of = |folder: &str| ephemeral(Path::new(folder), mounts);
        assert_eq!(of("/data/journal/a"), None);
        assert_eq!(of("/data/journals"), Some("it is in a container's own layer"));
        assert_eq!(of("/dev/shm/j"), Some("it is in memory"));
        assert_eq!(of("/empty"), Some("it is an emptyDir, which goes with its pod"));
        assert_eq!(of("/with blank/j"), None);
        assert_eq!(ephemeral(Path::new("/x"), "nonsense\n"), None);
    }
}
