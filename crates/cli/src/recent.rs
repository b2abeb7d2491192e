//! The indexes that were made lately, by which a search that finds none can name some.

use crate::env;
use crate::text_file;
use kokeshi_collections::StoreLocation;
use std::fs;
use std::path::PathBuf;

/// Maximum number of indexes that are remembered.
const MAX: usize = 20;

fn list() -> Option<PathBuf> {
    Some(env::state_folder()?.join("kokeshi").join("recent-indexes"))
}

/// Folders that were indexed lately and still have their indexes, the last one first.
pub(crate) fn folders() -> Vec<PathBuf> {
    let read = |list: PathBuf| text_file::read(&list, text_file::MAX_SETTINGS).ok();
    let text = list().and_then(read).unwrap_or_default();
    let has_index = |folder: &PathBuf| {
        let above = StoreLocation::all_above(folder);
        above.first().is_some_and(|index| index.root() == Some(folder))
    };
    text.lines().map(PathBuf::from).filter(has_index).collect()
}

/// Remembers an index in a folder. Nothing depends on it, so failures do not matter.
pub(crate) fn record(location: &StoreLocation) {
    let (Some(root), Some(list)) = (location.root(), list()) else { return };
    let mut folders = folders();
    folders.retain(|folder| folder != root);
    folders.insert(0, root.to_owned());
    let lines = folders.iter().take(MAX).filter_map(|folder| folder.to_str());
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    if let Some(folder) = list.parent() {
        let _ = fs::create_dir_all(folder).and_then(|()| fs::write(&list, text));
    }
}
