//! One changed byte in a copy of the archive.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Where a byte was changed.
pub(super) struct Change {
    /// Object, relative to the archive.
    pub(super) object: String,
    /// Byte offset.
    pub(super) offset: usize,
}

/// Copies `from` to `to` and flips one bit in the middle of the first row group of an events object.
pub(super) fn tamper(from: &Path, to: &Path) -> Result<Change> {
    let mut objects = Vec::new();
    copy(from, to, &mut objects)?;
    objects.sort();
    let object = objects
        .iter()
        .filter(|path| {
            path.extension().is_some_and(|extension| extension == "parquet") && path.starts_with(to.join("events"))
        })
        .max_by_key(|path| fs::metadata(path).map(|metadata| metadata.len()).unwrap_or(0))
        .context("the archive holds no events object")?;
    let mut bytes = fs::read(object)?;
    // data pages come first in the file; a third into it is inside a page of some column
    let offset = bytes.len() / 3;
    *bytes.get_mut(offset).context("the object is empty")? ^= 0x01;
    fs::set_permissions(object, fs::Permissions::from_mode(0o600))?;
    fs::write(object, bytes).with_context(|| format!("change {}", object.display()))?;
    Ok(Change { object: object.strip_prefix(to)?.display().to_string(), offset })
}

fn copy(from: &Path, to: &Path, objects: &mut Vec<PathBuf>) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target, objects)?;
        } else {
            fs::copy(entry.path(), &target)?;
            objects.push(target);
        }
    }
    Ok(())
}
