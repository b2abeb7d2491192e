//! The figures of an evaluation for people, in the columns of a terminal.

use super::figures::{
    Evaluation, SetFigures, families, main_measure, means, method_means, plural, shown,
};
use super::search::MethodFigures;
use crate::args::EvalKind;
use crate::layout::{counted, fitted, folded};
use unicode_width::UnicodeWidthStr;

/// Columns of a name: as many as the longest, within these bounds.
const SHORTEST_NAME: usize = 8;
const LONGEST_NAME: usize = 28;

/// A table whose first column has names and whose others have numbers.
struct Table {
    headings: Vec<String>,
    rows: Vec<(String, Vec<String>)>,
}

pub(super) fn text(evaluation: &Evaluation, width: usize) -> String {
    let mut text = folded(&heading(evaluation), width);
    for (kind, sets) in evaluation.by_kind() {
        let title = format!("{}{}\n", kind.title(), tasks(&sets));
        text += &("\n".to_owned() + &folded(&title, width));
        text += &by_set(evaluation, kind, &sets).text(width);
        if evaluation.is_sweep() {
            let title = format!("{} by dimensions\n", main_measure(kind).name);
            text += &("\n".to_owned() + &title + &sweep(evaluation, &sets).text(width));
        }
    }
    if let Some(search) = &evaluation.search {
        let codes = search.shortlist.as_ref();
        let codes = codes.map_or_else(String::new, |codes| format!(", short list by {codes}"));
        let title = format!(
            "Methods of search: {} dimensions, {}{codes}; chunks: {}\n",
            search.dimensions, search.storage, search.chunking
        );
        text += &("\n".to_owned() + &folded(&title, width));
        text += &methods(&evaluation.sets).text(width);
    }
    if evaluation.is_stopped {
        text += "\nstopped: the sets above are complete\n";
    }
    text
}

/// The model, and what the figures are.
fn heading(evaluation: &Evaluation) -> String {
    let dimensions: Vec<String> = evaluation.dimensions.iter().map(ToString::to_string).collect();
    let precisions = match &evaluation.precisions[..] {
        [one] if one == "default" => String::new(),
        several => format!(", {}", several.join(", ")),
    };
    format!(
        "{}, {} dimensions{precisions}; {}. All figures are times 100\n",
        evaluation.model,
        dimensions.join(", "),
        evaluation.device
    )
}

/// `, task text-matching`; nothing if sets differ.
fn tasks(sets: &[&SetFigures]) -> String {
    let first = &sets[0].tasks;
    if sets.iter().any(|set| set.tasks != *first) {
        return String::new();
    }
    let names: Vec<&str> = first.iter().map(|task| task.as_deref().unwrap_or("none")).collect();
    let noun = if names.len() == 1 { "task" } else { "tasks" };
    format!(", {noun} {}", names.join(" and "))
}

/// All measures of each set, in the first precision and number of dimensions.
fn by_set(evaluation: &Evaluation, kind: EvalKind, sets: &[&SetFigures]) -> Table {
    let (precision, dimensions) = (&evaluation.precisions[0], evaluation.dimensions[0]);
    let nouns: Vec<&str> = sets[0].counts.iter().map(|(_, noun)| *noun).collect();
    let mut headings = vec!["set".to_owned()];
    headings.extend(nouns.iter().map(|noun| plural(noun)));
    headings.extend(kind.measures().iter().map(|measure| measure.name.to_owned()));
    let mut rows = Vec::new();
    for (family, members) in families(sets) {
        for set in &members {
            let counts = set.counts.iter().map(|(count, _)| count.to_string());
            let values = set.at(precision, dimensions).unwrap_or_default();
            rows.push((set.name.clone(), counts.chain(values.iter().map(|x| shown(*x))).collect()));
        }
        if let Some(values) = means(&members, precision, dimensions).filter(|_| members.len() > 1) {
            let blanks = nouns.iter().map(|_| String::new());
            let values = blanks.chain(values.into_iter().map(shown)).collect();
            rows.push((format!("{family}, mean of {}", members.len()), values));
        }
    }
    Table { headings, rows }
}

/// The main measure of each family in all precisions and numbers of dimensions.
fn sweep(evaluation: &Evaluation, sets: &[&SetFigures]) -> Table {
    let mut headings = vec!["sets".to_owned()];
    headings.extend(evaluation.dimensions.iter().map(ToString::to_string));
    let mut rows = Vec::new();
    for (family, members) in families(sets) {
        for precision in &evaluation.precisions {
            let value = |&dimensions: &usize| {
                let values = means(&members, precision, dimensions);
                values.and_then(|values| values.first().copied()).map_or_else(String::new, shown)
            };
            let name = match evaluation.precisions.len() {
                1 => family.to_owned(),
                _ => format!("{family}, {precision}"),
            };
            rows.push((name, evaluation.dimensions.iter().map(value).collect()));
        }
    }
    Table { headings, rows }
}

/// The methods of search on each set.
fn methods(sets: &[SetFigures]) -> Table {
    let headings = ["set, method", "chunks", "nDCG@10", "recall@10"].map(str::to_owned).to_vec();
    let mut rows = Vec::new();
    let mut add = |name: &str, methods: &[MethodFigures]| {
        if !methods.is_empty() {
            rows.push((name.to_owned(), Vec::new()));
        }
        for method in methods {
            let quality = [method.quality.ndcg, method.quality.recall].map(shown);
            let values = [method.chunks.to_string()].into_iter().chain(quality).collect();
            rows.push((format!("  {}", method.title()), values));
        }
    };
    for set in sets {
        add(&set.name, &set.methods);
    }
    let searched = sets.iter().filter(|set| !set.methods.is_empty()).count();
    add(&format!("mean of {}", counted(searched, "set")), &method_means(sets));
    Table { headings, rows }
}

impl Table {
    /// Lines of at most `width` columns: columns that do not fit continue in another table below.
    fn text(&self, width: usize) -> String {
        let widths: Vec<usize> =
            (1..self.headings.len()).map(|column| self.width(column)).collect();
        let longest = self.rows.iter().map(|(name, _)| name.width()).max().unwrap_or(0);
        let all: usize = widths.iter().sum();
        let room = width.saturating_sub(all).max(SHORTEST_NAME);
        let name =
            longest.max(self.headings[0].width()).clamp(SHORTEST_NAME, LONGEST_NAME).min(room);
        let mut text = String::new();
        let mut start = 0;
        while start < widths.len() {
            let mut used = name;
            let fits = widths[start..].iter().take_while(|column| {
                used += **column;
                used <= width
            });
            let end = start + fits.count().max(1);
            text += &self.part(name, &widths, start..end);
            start = end;
        }
        text
    }

    /// Columns of the numbers in a column, with the gap before them.
    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|(_, cells)| cells.get(column - 1));
        let longest = cells.map(|cell| cell.width()).max().unwrap_or(0);
        longest.max(self.headings[column].width()) + 2
    }

    /// The names and some of the columns.
    fn part(&self, name: usize, widths: &[usize], columns: std::ops::Range<usize>) -> String {
        let line = |first: &str, cells: &[String]| {
            let mut line = fitted(first, name);
            for column in columns.clone() {
                let cell = cells.get(column).map_or("", String::as_str);
                let gap = widths[column].saturating_sub(cell.width());
                line.extend(std::iter::repeat_n(' ', gap));
                line += cell;
            }
            line.trim_end().to_owned() + "\n"
        };
        let mut text = line(&self.headings[0], &self.headings[1..]);
        for (first, cells) in &self.rows {
            text += &line(first, cells);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_fits_any_terminal_and_loses_no_number() {
        let row = |name: &str, first: usize| {
            let cells = (first..first + 6).map(|number| format!("{number}.25")).collect();
            (name.to_owned(), cells)
        };
        let headings = ["set", "1024", "512", "256", "128", "64", "32"].map(str::to_owned).to_vec();
        let rows = vec![row("a", 10), row("a set with quite a long name", 20)];
        let table = Table { headings, rows };
        for width in 17..90 {
            let text = table.text(width);
            assert!(text.lines().all(|line| line.width() <= width), "{width}:\n{text}");
            for number in (10..16).chain(20..26) {
                assert_eq!(text.matches(&format!(" {number}.25")).count(), 1, "{width}:\n{text}");
            }
        }
        let wide = table.text(80);
        assert_eq!(wide.lines().count(), 3, "{wide}");
        assert!(wide.contains("a set with quite a long name"), "{wide}");
    }
}
