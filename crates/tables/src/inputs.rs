//! The files that patterns name.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// A file of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its path below the part of its pattern that is not a wildcard: that of its output.
    pub name: String,
    /// How its rows are written.
    pub format: InputFormat,
    /// Its size.
    pub bytes: u64,
}

/// How the rows of a file are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InputFormat {
    /// A Parquet file.
    Parquet,
    /// One JSON object per line.
    Jsonl,
    /// A table with a header, separated by `,`, `;`, tab or `|`.
    Csv,
    /// A table with a header, separated by tabs.
    Tsv,
}

/// The files that match any of `patterns`, each a file or a glob, ordered by name. The formats
/// follow from their endings, before one of compression.
///
/// # Errors
///
/// If a pattern is not a glob or matches no file, a file is not a table, or two files have the same
/// name.
pub fn matching(patterns: &[String]) -> Result<Vec<InputFile>> {
    let mut files: Vec<InputFile> = Vec::new();
    for pattern in patterns {
        for (path, name) in paths(pattern)? {
            let format = format(&path).ok_or_else(|| Error::NotATable { path: path.clone() })?;
            let metadata = fs::metadata(&path).map_err(Error::io("read", &path))?;
            let file = InputFile { path, name, format, bytes: metadata.len() };
            match files.iter().find(|other| other.name == file.name) {
                None => files.push(file),
                Some(same) if same.path == file.path => {}
                Some(other) => {
                    let (first, second) = (other.path.clone(), file.path);
                    return Err(Error::SameOutput { first, second, output: file.name });
                }
            }
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// The paths that match `pattern`, and their names.
fn paths(pattern: &str) -> Result<Vec<(PathBuf, String)>> {
    let path = Path::new(pattern);
    if path.is_file() {
        let name = path.file_name().unwrap_or_default();
        return Ok(vec![(path.to_owned(), name_of(Path::new(name), path)?)]);
    }
    let invalid = |reason: String| Error::Glob { pattern: pattern.to_owned(), reason };
    let found = glob::glob(pattern).map_err(|error| invalid(error.to_string()))?;
    let root = fixed_part(path);
    let mut files = Vec::new();
    for path in found {
        let path = path.map_err(|error| Error::Io {
            action: "read",
            path: error.path().to_owned(),
            source: error.into(),
        })?;
        if path.is_file() {
            let name = name_of(path.strip_prefix(&root).unwrap_or(&path), &path)?;
            files.push((path, name));
        }
    }
    if files.is_empty() {
        return Err(Error::NoMatch { pattern: pattern.to_owned() });
    }
    Ok(files)
}

/// The folders of a glob before the first that has a wildcard.
fn fixed_part(pattern: &Path) -> PathBuf {
    let is_wild =
        |part: &Component<'_>| part.as_os_str().to_string_lossy().contains(['*', '?', '[']);
    pattern.components().take_while(|part| !is_wild(part)).collect()
}

/// `path` as a name with slashes.
fn name_of(path: &Path, whole: &Path) -> Result<String> {
    let parts = path.components().map(|part| part.as_os_str().to_str());
    let parts: Option<Vec<&str>> = parts.collect();
    parts
        .map(|parts| parts.join("/"))
        .ok_or_else(|| Error::unreadable(whole, "its name is not UTF-8; rename it"))
}

fn format(path: &Path) -> Option<InputFormat> {
    let ending = |path: &Path| {
        path.extension().and_then(OsStr::to_str).unwrap_or_default().to_ascii_lowercase()
    };
    let mut last = ending(path);
    if matches!(last.as_str(), "gz" | "zst") {
        last = ending(Path::new(path.file_stem()?));
        // Parquet compresses its pages; a file that is compressed as a whole has no end to begin at.
        if last == "parquet" {
            return None;
        }
    }
    match last.as_str() {
        "parquet" => Some(InputFormat::Parquet),
        "jsonl" | "ndjson" => Some(InputFormat::Jsonl),
        "csv" => Some(InputFormat::Csv),
        "tsv" => Some(InputFormat::Tsv),
        _ => None,
    }
}

/// Whether the size of a file is not that of its text.
pub(crate) fn is_packed(path: &Path) -> bool {
    let last = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    last.eq_ignore_ascii_case("gz") || last.eq_ignore_ascii_case("zst")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(patterns: &[String]) -> Vec<(String, InputFormat)> {
        let files = matching(patterns).expect("files");
        files.into_iter().map(|file| (file.name, file.format)).collect()
    }

    #[test]
    fn names_are_the_paths_below_the_fixed_part_of_a_glob() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        for sub in ["in/en", "in/de"] {
            fs::create_dir_all(path(sub)).expect("a folder");
        }
        for name in ["in/en/a.parquet", "in/de/a.JSONL.gz", "in/de/b.csv", "in/de/c.txt", "d.tsv"] {
            fs::write(path(name), "x").expect("a file");
        }
        let found = names(&[path("in/*/*.[pJ]*"), path("d.tsv")]);
        let expected = [
            ("d.tsv", InputFormat::Tsv),
            ("de/a.JSONL.gz", InputFormat::Jsonl),
            ("en/a.parquet", InputFormat::Parquet),
        ];
        assert_eq!(found, expected.map(|(name, format)| (name.to_owned(), format)));
        // The same file by two patterns is one.
        assert_eq!(names(&[path("in/de/b.csv"), path("in/de/*.csv")]).len(), 1);

        let error = |patterns: &[String]| matching(patterns).expect_err("an error").to_string();
        let same = error(&[path("in/en/*"), path("in/en/../en/a.parquet")]);
        assert!(same.contains("would both be written to a.parquet"), "{same}");
        assert!(error(&[path("in/de/c.txt")]).contains("c.txt is not a table"));
        assert!(error(&[path("none/*")]).starts_with("no file matches"));
        assert!(error(&["a[".to_owned()]).starts_with("`a[` is not a valid glob"));
    }
}
