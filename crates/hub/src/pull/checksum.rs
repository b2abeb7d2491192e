//! The two digests by which the hub identifies contents.

use crate::id::is_digest;
use sha1::Sha1;
use sha2::digest::Output;
use sha2::{Digest as _, Sha256};
use std::io::{self, Read};

/// Number of bytes read at a time, so that system calls cost little compared to hashing.
const BLOCK: usize = 1 << 20;

/// The digest of a file's content, in lower-case hexadecimal. It is also the name of the blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Digest {
    /// SHA-256 of the content, for large files, which git replaces by pointers.
    Sha256(String),
    /// SHA-1 of `blob <length>\0` and the content: git's name of a small file.
    Git(String),
}

impl Digest {
    /// The digest `hex`, whose length gives the kind; `None` if it is not a digest.
    pub(crate) fn from_hex(hex: &str) -> Option<Self> {
        is_digest(hex).then(|| match hex.len() {
            64 => Self::Sha256(hex.to_owned()),
            _ => Self::Git(hex.to_owned()),
        })
    }

    pub(crate) fn hex(&self) -> &str {
        match self {
            Self::Sha256(hex) | Self::Git(hex) => hex,
        }
    }

    /// The digest's name, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "SHA-256",
            Self::Git(_) => "git SHA-1",
        }
    }

    /// Computes the same kind of digest of `content`, which has `bytes` bytes, in hexadecimal.
    pub(crate) fn of(&self, content: impl Read, bytes: u64) -> io::Result<String> {
        match self {
            Self::Sha256(_) => Ok(format!("{:x}", hash(Sha256::new(), content)?)),
            Self::Git(_) => {
                let hasher = Sha1::new_with_prefix(format!("blob {bytes}\0"));
                Ok(format!("{:x}", hash(hasher, content)?))
            }
        }
    }
}

fn hash<D: sha2::Digest>(mut hasher: D, mut content: impl Read) -> io::Result<Output<D>> {
    let mut block = vec![0; BLOCK];
    loop {
        match content.read(&mut block) {
            Ok(0) => break,
            Ok(read) => hasher.update(&block[..read]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_equal_those_of_sha256sum_and_git_hash_object() {
        for (content, sha256, git) in [
            (
                "",
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
            ),
            (
                "hello\n",
                "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
                "ce013625030ba8dba906f756967f9e9ca394464a",
            ),
        ] {
            let (bytes, none) = (content.len() as u64, String::new());
            let found = Digest::Sha256(none.clone()).of(content.as_bytes(), bytes).unwrap();
            assert_eq!(found, sha256);
            assert_eq!(Digest::Git(none).of(content.as_bytes(), bytes).unwrap(), git);
        }
    }
}
