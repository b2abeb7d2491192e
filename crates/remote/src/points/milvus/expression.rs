//! Conditions in Milvus's expression language.

use crate::points::PointFilter;

/// A text as a literal.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// The condition that the field is one of these texts.
pub(super) fn one_of<'a>(field: &str, texts: impl IntoIterator<Item = &'a String>) -> String {
    let texts: Vec<String> = texts.into_iter().map(|text| quoted(text)).collect();
    format!("{field} in [{}]", texts.join(", "))
}

/// The condition that a point's id comes after `id`.
pub(super) fn after(id: &str) -> String {
    format!("id > {}", quoted(id))
}

/// The conditions of a filter, which must all hold.
pub(super) fn conditions(filter: &PointFilter) -> Vec<String> {
    let paths = filter.paths.iter().map(|paths| one_of("path", paths));
    let terms = filter.terms.iter().map(|term| format!("array_contains(terms, {})", quoted(term)));
    paths.chain(terms).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_in_a_path_are_escaped() {
        let filter =
            PointFilter { paths: Some(vec!["a\"b\\".to_owned()]), terms: vec!["x\n\t".to_owned()] };
        let wanted = [r#"path in ["a\"b\\"]"#, r#"array_contains(terms, "x\n\t")"#];
        assert_eq!(conditions(&filter), wanted);
    }
}
