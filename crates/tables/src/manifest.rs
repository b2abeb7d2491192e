//! What the output folder says about the shards that are finished.

use crate::error::{Error, Result};
use crate::shard::Shard;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// The folder of manifests, and of rows that could not be embedded, in the output folder. Readers of
/// folders of Parquet pass over names that begin with `_`.
pub const FOLDER: &str = "_kokeshi";

/// A finished shard: what was read, how it was embedded, and what was written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The shard.
    pub shard: Shard,
    /// What its file was like.
    pub input: InputState,
    /// Everything that determines what is written.
    pub settings: Map<String, Value>,
    /// The processor or card, and the precision.
    pub device: String,
    /// Rows that were read.
    pub rows: u64,
    /// Vectors that were written.
    pub vectors: u64,
    /// Rows that could not be embedded, listed with the reason in `NAME.failed.jsonl`.
    pub failed: u64,
    /// Tokens that the model processed.
    pub tokens: u64,
    /// Seconds that it took.
    pub seconds: f64,
    /// Size of the file that was written.
    pub output_bytes: u64,
}

/// By what a change of a file is noticed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputState {
    /// Its size.
    pub bytes: u64,
    /// Nanoseconds since 1970 at its last change.
    pub modified: u64,
    /// The SHA-256 of all of it.
    pub sha256: String,
}

impl InputState {
    /// That of the file at `path` now.
    pub(crate) fn of(path: &Path) -> Result<Self> {
        let (bytes, modified) = stamp(path)?;
        let sha256 = sha256(path).map_err(Error::io("read", path))?;
        Ok(Self { bytes, modified, sha256 })
    }

    /// Whether the file at `path` is still the same: by size and time, or else by its content.
    pub(crate) fn is_of(&self, path: &Path) -> Result<bool> {
        let (bytes, modified) = stamp(path)?;
        if (bytes, modified) == (self.bytes, self.modified) {
            return Ok(true);
        }
        Ok(bytes == self.bytes && sha256(path).map_err(Error::io("read", path))? == self.sha256)
    }
}

/// Size and time of the last change of a file.
fn stamp(path: &Path) -> Result<(u64, u64)> {
    let metadata = fs::metadata(path).map_err(Error::io("read", path))?;
    let modified = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let modified = modified.map_or(0, |age| u64::try_from(age.as_nanos()).unwrap_or(u64::MAX));
    Ok((metadata.len(), modified))
}

fn sha256(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(format!("{:x}", hash.finalize())),
            read => hash.update(&buffer[..read]),
        }
    }
}

/// The files of a shard.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    /// The vectors.
    pub(crate) output: PathBuf,
    /// The vectors until they are complete.
    pub(crate) partial: PathBuf,
    /// Rows that could not be embedded.
    pub(crate) failed: PathBuf,
    pub(crate) manifest: PathBuf,
    /// Locked by the process that works on the shard.
    pub(crate) lock: PathBuf,
}

impl Paths {
    pub(crate) fn new(folder: &Path, output: &str) -> Self {
        let notes = |ending: &str| {
            let stem = output.strip_suffix(".parquet").unwrap_or(output);
            folder.join(FOLDER).join(format!("{stem}{ending}"))
        };
        Self {
            output: folder.join(output),
            partial: notes(".partial"),
            failed: notes(".failed.jsonl"),
            manifest: notes(".json"),
            lock: notes(".lock"),
        }
    }

    /// The manifest, if the shard is finished: `None` if there is none, or the file of vectors is
    /// not the one that it is about.
    pub(crate) fn finished(&self) -> Result<Option<Manifest>> {
        let content = match fs::read(&self.manifest) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("read", &self.manifest)(error)),
        };
        let Ok(manifest) = serde_json::from_slice::<Manifest>(&content) else { return Ok(None) };
        let size = fs::metadata(&self.output).map(|metadata| metadata.len()).ok();
        Ok((size == Some(manifest.output_bytes)).then_some(manifest))
    }
}

/// All manifests below `folder`; files that are none are passed over.
pub(crate) fn all(folder: &Path) -> Result<Vec<Manifest>> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.join(FOLDER)]);
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::io("read", &folder)(error)),
        };
        for entry in entries {
            let path = entry.map_err(Error::io("read", &folder))?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "json") {
                let content = fs::read(&path).map_err(Error::io("read", &path))?;
                found.extend(serde_json::from_slice::<Manifest>(&content).ok());
            }
        }
    }
    Ok(found)
}

/// Writes `content` to `path` by way of a temporary name.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".partial");
    let temporary = PathBuf::from(temporary);
    fs::write(&temporary, content).map_err(Error::io("write", &temporary))?;
    sync(&temporary)?;
    fs::rename(&temporary, path).map_err(Error::io("write", path))
}

/// Waits until a file is on disk.
pub(crate) fn sync(path: &Path) -> Result<()> {
    let file = File::options().write(true).open(path).map_err(Error::io("write", path))?;
    file.sync_all().map_err(Error::io("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_the_same_by_its_content_whatever_its_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        fs::write(&path, "one").expect("a file");
        let state = InputState::of(&path).expect("a state");
        assert!(state.is_of(&path).expect("a comparison"));
        let touch = |seconds| {
            let time = UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            File::options().write(true).open(&path).expect("a file").set_modified(time)
        };
        touch(7).expect("a time");
        assert!(state.is_of(&path).expect("a comparison"));
        fs::write(&path, "two").expect("a file");
        touch(8).expect("a time");
        assert!(!state.is_of(&path).expect("a comparison"));
    }
}
