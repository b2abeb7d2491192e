//! Parses names of models.

use crate::catalog::{self, KNOWN_MODELS};
use crate::error::{Error, Result};
use crate::id::{check_repo, check_revision};
use std::fmt;
use std::path::{Path, PathBuf};

/// The revision of a repository when none is given.
const DEFAULT_REVISION: &str = "main";

/// A model as a user names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelRef {
    /// The model that is part of the program.
    Starter,
    /// A repository of the hub.
    Repo {
        /// `owner/name`.
        repo: String,
        /// A branch, a tag or a commit.
        revision: String,
    },
    /// A folder with a checkpoint. The caller expands a leading `~`.
    Folder(PathBuf),
}

impl ModelRef {
    /// Parses a known name (with or without `jinaai/`), a folder, or `owner/name[@revision]`.
    ///
    /// A known name takes precedence over a folder of the same name, and an existing folder over a
    /// repository. Text that starts with `./`, `../`, `/` or `~` is always a folder.
    ///
    /// # Errors
    /// If the text is none of these, or the hub does not allow the repository or revision.
    pub fn parse(text: &str) -> Result<Self> {
        if is_path(text) {
            return Ok(Self::Folder(text.into()));
        }
        let (name, revision) = match text.split_once('@') {
            Some((name, revision)) => (name, Some(revision)),
            None => (text, None),
        };
        if let Some(known) = catalog::known(name) {
            return match known.repo {
                Some(repo) => Self::repo(repo, revision),
                None if revision.is_some() => Err(Error::BundledRevision { name: known.name }),
                None => Ok(Self::Starter),
            };
        }
        if !text.is_empty() && Path::new(text).is_dir() {
            return Ok(Self::Folder(text.into()));
        }
        if name.contains('/') { Self::repo(name, revision) } else { Err(unknown(text)) }
    }

    fn repo(repo: &str, revision: Option<&str>) -> Result<Self> {
        let revision = revision.unwrap_or(DEFAULT_REVISION);
        check_repo(repo)?;
        check_revision(revision)?;
        Ok(Self::Repo { repo: repo.to_owned(), revision: revision.to_owned() })
    }
}

impl fmt::Display for ModelRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starter => f.write_str("starter"),
            Self::Repo { repo, revision } if revision == DEFAULT_REVISION => f.write_str(repo),
            Self::Repo { repo, revision } => write!(f, "{repo}@{revision}"),
            Self::Folder(folder) => write!(f, "{}", folder.display()),
        }
    }
}

fn is_path(text: &str) -> bool {
    matches!(text, "." | "..")
        || text.starts_with('~')
        || text.starts_with("./")
        || text.starts_with("../")
        || Path::new(text).is_absolute()
}

fn unknown(text: &str) -> Error {
    let hint = match catalog::nearest(text) {
        Some(name) => format!("did you mean `{name}`?"),
        None => {
            let names: Vec<_> =
                KNOWN_MODELS.iter().map(|known| format!("`{}`", known.name)).collect();
            format!(
                "the known models are {}; write a hub repository as `owner/name` and a folder as `./folder`",
                names.join(", ")
            )
        }
    };
    Error::UnknownModel { name: text.to_owned(), hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repo(repo: &str, revision: &str) -> ModelRef {
        ModelRef::Repo { repo: repo.into(), revision: revision.into() }
    }

    #[test]
    fn a_short_name_a_repository_and_a_folder_are_models() {
        let folder = tempfile::tempdir().unwrap();
        let absolute = folder.path().to_str().unwrap();
        for (text, expected) in [
            ("starter", ModelRef::Starter),
            ("jina-embeddings-v3", repo("jinaai/jina-embeddings-v3", "main")),
            ("jinaai/jina-embeddings-v3", repo("jinaai/jina-embeddings-v3", "main")),
            ("Jina-Embeddings-v3@refs/pr/2", repo("jinaai/jina-embeddings-v3", "refs/pr/2")),
            ("me/mine", repo("me/mine", "main")),
            ("me/mine@v1", repo("me/mine", "v1")),
            ("./mine", ModelRef::Folder("./mine".into())),
            ("../mine", ModelRef::Folder("../mine".into())),
            ("~/mine", ModelRef::Folder("~/mine".into())),
            ("src", ModelRef::Folder("src".into())),
            (absolute, ModelRef::Folder(absolute.into())),
        ] {
            assert_eq!(ModelRef::parse(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn an_unknown_name_is_refused_with_a_hint() {
        for (text, message) in [
            (
                "jina-embedings-v3",
                "unknown model `jina-embedings-v3`; did you mean `jina-embeddings-v3`?",
            ),
            ("starter@main", "`starter` is part of this program and has no revisions; omit `@`"),
            ("me/mine@", "`` is not a revision: expected a branch, a tag, a commit or `refs/pr/N`"),
            (
                "a/b/c",
                "`a/b/c` is not a hub repository: expected `owner/name` in letters, digits, `-`, `_` and `.`",
            ),
        ] {
            assert_eq!(ModelRef::parse(text).unwrap_err().to_string(), message);
        }
        for text in ["", "bert"] {
            let message = ModelRef::parse(text).unwrap_err().to_string();
            assert!(
                message.contains("the known models are `starter`, `jina-embeddings-v3`"),
                "{message}"
            );
        }
    }

    #[test]
    fn the_displayed_name_parses_to_the_same_model() {
        for text in ["starter", "me/mine", "me/mine@v1", "./mine"] {
            assert_eq!(ModelRef::parse(text).unwrap().to_string(), text);
        }
    }
}
