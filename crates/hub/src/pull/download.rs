//! Downloads one file from the hub into a blob of the cache.

use super::listing::{CachedState, RemoteFile};
use super::lock::Lock;
use super::remote::Remote;
use super::retry::{Failure, with_retries};
use super::{Events, PullEvent};
use crate::cache::{RepoCache, create_folder};
use crate::check;
use crate::error::{Error, Result};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use ureq::http::header::CONTENT_RANGE;
use ureq::http::{Response, StatusCode};
use ureq::{Body, BodyReader};

/// Number of bytes that are received, written and reported at a time.
const BLOCK: usize = 128 << 10;

/// The download of one file.
pub(crate) struct Download<'a> {
    pub(crate) remote: &'a Remote<'a>,
    pub(crate) cache: &'a RepoCache,
    pub(crate) commit: &'a str,
    pub(crate) file: &'a RemoteFile,
}

impl Download<'_> {
    /// Downloads the file unless the cache has it, which is `state`, or another process has
    /// downloaded it meanwhile.
    pub(crate) fn run(&self, state: CachedState, events: &mut Events<'_>) -> Result<()> {
        let file = self.file.path.as_str();
        let mut cached = state == CachedState::Whole;
        if state == CachedState::Damaged {
            events(PullEvent::Damaged { file });
        }
        if !cached {
            let lock = self.cache.lock(self.file.digest.hex());
            let _lock = Lock::acquire(&lock, || events(PullEvent::Waiting { file }))?;
            cached = self.file.state(self.cache, self.commit)? == CachedState::Whole;
            if !cached {
                with_retries(self.remote.limits, file, events, |events| self.attempt(events))?;
            }
        }
        check::note(self.cache, &self.file.digest);
        events(PullEvent::Done { file, cached });
        Ok(())
    }

    fn attempt(&self, events: &mut Events<'_>) -> Result<(), Failure> {
        let blob = self.cache.blob(self.file.digest.hex());
        let partial = incomplete(&blob);
        create_folder(partial.parent().unwrap_or(Path::new(".")))?;
        let kept = self.kept(&partial)?;
        if kept == self.file.bytes && kept > 0 {
            events(self.start(kept));
        } else {
            self.receive(&partial, kept, events)?;
        }
        self.verify(&partial)?;
        fs::rename(&partial, &blob).map_err(Error::io("write", &blob))?;
        Ok(())
    }

    fn start(&self, resumed: u64) -> PullEvent<'_> {
        PullEvent::Start { file: &self.file.path, bytes: self.file.bytes, resumed }
    }

    /// Number of bytes that an earlier attempt left. A file that is larger than expected is
    /// removed.
    fn kept(&self, partial: &Path) -> Result<u64> {
        match fs::metadata(partial).map(|metadata| metadata.len()) {
            Ok(kept) if kept > self.file.bytes => remove(partial).map(|()| 0),
            Ok(kept) => Ok(kept),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(0),
            Err(e) => Err(Error::io("read", partial)(e)),
        }
    }

    /// Downloads the bytes after the `kept` ones, or all bytes if the server ignores ranges.
    fn receive(&self, partial: &Path, kept: u64, events: &mut Events<'_>) -> Result<(), Failure> {
        let url = self.remote.file_url(self.commit, &self.file.path);
        let response = self.remote.get(&url, kept)?;
        let Some(resumed) = first_byte(&response, kept) else {
            remove(partial)?;
            return Err(Failure::transient("the server cannot resume; starting over"));
        };
        let mut target = open(partial, resumed > 0)?;
        events(self.start(resumed));
        let bytes = self.file.bytes;
        // One byte over the announced size reveals a wrong size without filling the disk.
        let body = response.into_body().into_reader().take(bytes - resumed + 1);
        let arrived = resumed + self.store(body, &mut target, partial, events)?;
        target.sync_all().map_err(|e| self.write_error(partial, e))?;
        if arrived < bytes {
            let reason = format!("the connection ended after {arrived} of {bytes} bytes");
            return Err(Failure::transient(reason));
        }
        Ok(())
    }

    /// Appends the body to `target` and returns its length. Bytes before a failure are kept.
    fn store(
        &self,
        mut body: io::Take<BodyReader<'_>>,
        target: &mut File,
        partial: &Path,
        events: &mut Events<'_>,
    ) -> Result<u64, Failure> {
        let mut block = vec![0; BLOCK];
        let mut stored = 0;
        loop {
            let read = match body.read(&mut block) {
                Ok(0) => return Ok(stored),
                Ok(read) => read,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(Failure::transient(e)),
            };
            let written = target.write_all(&block[..read]);
            written.map_err(|e| self.write_error(partial, e))?;
            stored += read as u64;
            events(PullEvent::Advance { bytes: read as u64 });
        }
    }

    fn write_error(&self, partial: &Path, error: io::Error) -> Error {
        let kept = fs::metadata(partial).map_or(0, |metadata| metadata.len());
        let needed = self.file.bytes.saturating_sub(kept);
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                Error::DiskFull { path: partial.to_owned(), needed }
            }
            _ => Error::io("write", partial)(error),
        }
    }

    /// Reads the file back, so that bytes from an earlier process are verified as well. A damaged
    /// file is removed.
    fn verify(&self, partial: &Path) -> Result<(), Failure> {
        let failed = Error::io("read", partial);
        let content = File::open(partial).map_err(&failed)?;
        let bytes = content.metadata().map_err(&failed)?.len();
        let expected = &self.file.digest;
        let found = expected.of(content, bytes).map_err(&failed)?;
        if found == expected.hex() {
            return Ok(());
        }
        remove(partial)?;
        Err(Failure::Damaged(Error::Checksum {
            file: self.file.path.clone(),
            kind: expected.kind(),
            found,
            expected: expected.hex().to_owned(),
        }))
    }
}

fn incomplete(blob: &Path) -> PathBuf {
    blob.with_added_extension("incomplete")
}

fn open(partial: &Path, append: bool) -> Result<File> {
    let mut options = File::options();
    options.create(true).append(append).write(true).truncate(!append);
    options.open(partial).map_err(Error::io("write", partial))
}

fn remove(partial: &Path) -> Result<()> {
    match fs::remove_file(partial) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io("remove", partial)(e)),
        _ => Ok(()),
    }
}

/// Position of the body's first byte in the file: `kept` or 0; `None` for any other position.
fn first_byte(response: &Response<Body>, kept: u64) -> Option<u64> {
    if response.status() != StatusCode::PARTIAL_CONTENT {
        return (response.status() == StatusCode::OK).then_some(0);
    }
    let range = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    let first: u64 = range.strip_prefix("bytes ")?.split('-').next()?.parse().ok()?;
    (first == kept).then_some(kept)
}
