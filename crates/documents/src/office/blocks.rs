//! Collects paragraphs and tables as Markdown.

/// The text so far, and what is open: a paragraph may contain others (of a text box or a note), and
/// a cell may contain a table.
#[derive(Default)]
pub(super) struct Blocks {
    text: String,
    paragraphs: Vec<Paragraph>,
    tables: Vec<Row>,
}

#[derive(Default)]
struct Paragraph {
    prefix: String,
    text: String,
}

/// The row of a table that is being read.
#[derive(Default)]
struct Row {
    cells: Vec<String>,
    is_in_cell: bool,
}

impl Blocks {
    pub(super) fn begin_paragraph(&mut self) {
        self.paragraphs.push(Paragraph::default());
    }

    /// Makes the open paragraph a heading of this level, from 1.
    pub(super) fn heading(&mut self, level: usize) {
        self.prefix(&format!("{} ", "#".repeat(level.clamp(1, 6))));
    }

    /// Makes the open paragraph an item of a list.
    pub(super) fn item(&mut self) {
        self.prefix("- ");
    }

    fn prefix(&mut self, prefix: &str) {
        if let Some(paragraph) = self.paragraphs.last_mut().filter(|open| open.prefix.is_empty()) {
            prefix.clone_into(&mut paragraph.prefix);
        }
    }

    /// Adds to the open paragraph; text outside paragraphs is layout.
    pub(super) fn add(&mut self, text: &str) {
        if let Some(paragraph) = self.paragraphs.last_mut() {
            paragraph.text.push_str(text);
        }
    }

    pub(super) fn end_paragraph(&mut self) {
        let Some(Paragraph { prefix, text }) = self.paragraphs.pop() else { return };
        let text = text.trim();
        if text.is_empty() {
            return;
        }
        match self.tables.iter_mut().rev().find(|row| row.is_in_cell) {
            Some(row) => row.add(text),
            None => {
                self.end_line();
                let break_ = if prefix == "- " { "\n" } else { "\n\n" };
                self.text += &format!("{prefix}{text}{break_}");
            }
        }
    }

    /// A blank line before what is not an item of the same list.
    fn end_line(&mut self) {
        if self.text.ends_with("|\n") {
            self.text.push('\n');
        }
    }

    pub(super) fn begin_row(&mut self) {
        self.tables.push(Row::default());
    }

    pub(super) fn begin_cell(&mut self) {
        if let Some(row) = self.tables.last_mut() {
            row.cells.push(String::new());
            row.is_in_cell = true;
        }
    }

    pub(super) fn end_cell(&mut self) {
        if let Some(row) = self.tables.last_mut() {
            row.is_in_cell = false;
        }
    }

    /// Adds a row as a line, or to the cell that contains its table.
    pub(super) fn end_row(&mut self) {
        let Some(Row { cells, .. }) = self.tables.pop() else { return };
        if cells.iter().all(String::is_empty) {
            return;
        }
        match self.tables.iter_mut().rev().find(|row| row.is_in_cell) {
            Some(row) => row.add(&cells.join(" ")),
            None => {
                let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
                self.text += &format!("| {} |\n", cells.join(" | "));
            }
        }
    }

    pub(super) fn into_text(mut self) -> String {
        while !self.paragraphs.is_empty() {
            self.end_paragraph();
        }
        while !self.tables.is_empty() {
            self.end_row();
        }
        self.text
    }
}

impl Row {
    fn add(&mut self, text: &str) {
        if let Some(cell) = self.cells.last_mut() {
            if !cell.is_empty() {
                cell.push(' ');
            }
            cell.push_str(&text.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
}
