//! Model cards: the licence that one states.

use crate::text_file;
use kokeshi_collections::ModelLocation;

/// The name of the card in a model's folder.
pub(super) const NAME: &str = "README.md";
/// Maximum size of a card, in bytes.
const MAX_BYTES: u64 = 4 << 20;

/// The licence in the front matter of a model's card.
pub(super) fn licence(location: &ModelLocation) -> Option<String> {
    match location {
        ModelLocation::Bundled => None,
        ModelLocation::Folder(folder) => {
            stated(&text_file::read(&folder.join(NAME), MAX_BYTES).ok()?)
        }
    }
}

/// The value of `license` between the first two lines of three dashes.
fn stated(card: &str) -> Option<String> {
    let mut lines = card.lines().map(str::trim_end);
    lines.next().filter(|line| *line == "---")?;
    let mut front = lines.take_while(|line| *line != "---");
    let value = front.find_map(|line| line.strip_prefix("license:"))?;
    let value = value.trim().trim_matches(['"', '\'']);
    (!value.is_empty()).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_licence_is_read_from_the_front_matter_alone() {
        let card = "---\nlanguage: de\nlicense: mit\n---\nlicense: other\n";
        assert_eq!(stated(card).as_deref(), Some("mit"));
        assert_eq!(
            stated("---\r\nlicense: \"cc-by-nc-4.0\"\r\n---\r\n").as_deref(),
            Some("cc-by-nc-4.0")
        );
        for card in ["", "license: mit", "---\nlicense:\n---", "---\n---\nlicense: mit", "# a card"]
        {
            assert_eq!(stated(card), None, "{card:?}");
        }
    }
}
