//! Jupyter notebooks: their cells, with the outputs that are text.

use crate::blobs::without_blobs;
use crate::error::{Error, Result};
use crate::markdown;
use crate::text::DocumentText;
use serde_json::{Map, Value};

/// Reads a notebook as Markdown, whose sections are its cells and their headings.
pub(crate) fn read(content: &str) -> Result<DocumentText> {
    let invalid = |reason: String| Error::NoText(format!("it is not a notebook: {reason}"));
    let notebook: Value = serde_json::from_str(content).map_err(|e| invalid(e.to_string()))?;
    let cells = cells(&notebook).ok_or_else(|| invalid("it has no cells".to_owned()))?;
    let language = notebook["metadata"]["kernelspec"]["language"].as_str();
    let language = language.or_else(|| notebook["metadata"]["language_info"]["name"].as_str());
    let (mut text, mut starts) = (String::new(), Vec::new());
    for cell in cells {
        starts.push(text.len());
        push_cell(&mut text, cell, language.unwrap_or_default());
    }
    let mut sections = markdown::headings(&text);
    sections.extend(starts.into_iter().filter(|&at| at < text.len()));
    sections.sort_unstable();
    sections.dedup();
    let fields = language.map(|language| ("language".to_owned(), Value::from(language)));
    let metadata: Map<String, Value> = fields.into_iter().collect();
    Ok(DocumentText { converted: true, ..DocumentText::whole(text, sections, metadata) })
}

/// The cells; those of the third format are in worksheets.
fn cells(notebook: &Value) -> Option<Vec<&Value>> {
    if let Some(cells) = notebook["cells"].as_array() {
        return Some(cells.iter().collect());
    }
    let sheets = notebook["worksheets"].as_array()?;
    Some(sheets.iter().filter_map(|sheet| sheet["cells"].as_array()).flatten().collect())
}

fn push_cell(text: &mut String, cell: &Value, language: &str) {
    let source = lines(&cell["source"]).or_else(|| lines(&cell["input"])).unwrap_or_default();
    match cell["cell_type"].as_str() {
        Some("code") => {
            push_fenced(text, language, &source);
            let outputs = cell["outputs"].as_array().into_iter().flatten();
            outputs.filter_map(output).for_each(|output| push_fenced(text, "", &output));
        }
        Some("heading") => push_block(text, &format!("# {}", source.trim())),
        _ => push_block(text, &source),
    }
}

/// The text of an output: of a stream, a result or an error. Plots have none.
fn output(output: &Value) -> Option<String> {
    if let Some(error) = output["ename"].as_str() {
        return Some(format!("{error}: {}", output["evalue"].as_str().unwrap_or_default()));
    }
    let data = &output["data"];
    let texts = [&output["text"], &data["text/markdown"], &data["text/plain"]];
    texts.into_iter().find_map(lines)
}

/// A string, or a list of lines.
fn lines(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(lines) => Some(lines.iter().filter_map(Value::as_str).collect()),
        _ => None,
    }
}

fn push_fenced(text: &mut String, language: &str, block: &str) {
    if !block.trim().is_empty() {
        push_block(text, &format!("```{language}\n{}\n```", block.trim_end()));
    }
}

fn push_block(text: &mut String, block: &str) {
    if !block.trim().is_empty() {
        text.push_str(&without_blobs(block.trim_end()));
        text.push_str("\n\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_notebook_is_its_cells_and_their_text_outputs() {
        let plot = "iVBORw0KGgo".repeat(3000);
        let notebook = json!({
            "metadata": {"kernelspec": {"language": "python"}},
            "cells": [
                {"cell_type": "markdown", "source": ["# Tides\n", "How they rise."]},
                {"cell_type": "code", "source": "plot(tide)", "outputs": [
                    {"output_type": "stream", "text": ["3.2 m\n"]},
                    {"output_type": "display_data",
                     "data": {"image/png": plot, "text/plain": ["<Figure size 640x480>"]}},
                    {"output_type": "error", "ename": "ValueError", "evalue": "no tide"},
                    {"output_type": "display_data", "data": {"image/png": plot}}
                ]},
                {"cell_type": "markdown", "attachments": {"a.png": {"image/png": plot}},
                 "source": "## Ebb\n"},
            ]
        });
        let text = read(&notebook.to_string()).expect("a notebook");
        let wanted = "# Tides\nHow they rise.\n\n```python\nplot(tide)\n```\n\n```\n3.2 m\n```\n\n\
                      ```\n<Figure size 640x480>\n```\n\n```\nValueError: no tide\n```\n\n## Ebb\n\n";
        assert_eq!(text.text, wanted);
        let at = |part: &str| wanted.find(part).expect("a part");
        assert_eq!(text.parts[0].sections, [0, at("```python"), at("## Ebb")]);
        assert_eq!(text.metadata["language"], "python");
        assert!(text.converted);
    }

    #[test]
    fn other_json_is_refused() {
        for text in ["{", "[]", "{\"a\": 1}"] {
            let error = read(text).expect_err("refused").to_string();
            assert!(error.starts_with("it is not a notebook"), "{error}");
        }
    }
}
