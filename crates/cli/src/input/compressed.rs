//! Decompression, in builds with the feature `compression`.

use super::Source;
use std::io::BufRead;

/// The content of a gzip file.
#[cfg(feature = "compression")]
pub(super) fn gzip(from: Box<dyn BufRead>, _: &Source) -> anyhow::Result<Box<dyn BufRead>> {
    Ok(Box::new(std::io::BufReader::new(flate2::bufread::MultiGzDecoder::new(from))))
}

/// The content of a Zstandard file.
#[cfg(feature = "compression")]
pub(super) fn zstd(from: Box<dyn BufRead>, source: &Source) -> anyhow::Result<Box<dyn BufRead>> {
    use anyhow::Context;
    let decoder = zstd::stream::read::Decoder::with_buffer(from);
    let decoder = decoder.with_context(|| format!("cannot read {source}"))?;
    Ok(Box::new(std::io::BufReader::new(decoder)))
}

#[cfg(not(feature = "compression"))]
pub(super) fn gzip(_: Box<dyn BufRead>, source: &Source) -> anyhow::Result<Box<dyn BufRead>> {
    Err(lacking(source, "gunzip"))
}

#[cfg(not(feature = "compression"))]
pub(super) fn zstd(_: Box<dyn BufRead>, source: &Source) -> anyhow::Result<Box<dyn BufRead>> {
    Err(lacking(source, "unzstd"))
}

#[cfg(not(feature = "compression"))]
fn lacking(source: &Source, program: &str) -> anyhow::Error {
    crate::failure::hinted(
        format!(
            "this build cannot read {source}, which is compressed: it lacks the feature \
             `compression`"
        ),
        format!(
            "decompress it first, for example with `{program}`, or build with \
             `--features compression` or `full`"
        ),
    )
}
