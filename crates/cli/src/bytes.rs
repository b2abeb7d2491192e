//! Sizes in bytes, as people write and read them.

/// Units and their sizes: decimal as for disks and downloads, binary with an `i`.
const UNITS: [(&str, f64); 9] = [
    ("", 1.0),
    ("b", 1.0),
    ("kb", 1e3),
    ("mb", 1e6),
    ("gb", 1e9),
    ("tb", 1e12),
    ("kib", 1024.0),
    ("mib", 1_048_576.0),
    ("gib", 1_073_741_824.0),
];

/// Parses `4GB`, `1.5 GiB`, `800mb` or a plain number.
pub(crate) fn parse(text: &str) -> Result<usize, String> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = (text[..end].parse::<f64>(), text[end..].trim().to_ascii_lowercase());
    let unit = UNITS.iter().find(|(name, _)| *name == unit);
    match (number, unit) {
        // The conversion saturates: an enormous budget is the same as none.
        (Ok(number), Some((_, size))) => Ok((number * size) as usize),
        _ => Err("expected a size such as `4GB`, `800MB` or `1.5GiB`".to_owned()),
    }
}

/// Formats a size, such as `1.14 GB`.
pub(crate) fn format(bytes: u64) -> String {
    let units = ["kB", "MB", "GB", "TB"];
    let mut number = bytes as f64 / 1e3;
    let mut unit = 0;
    while number >= 999.995 && unit + 1 < units.len() {
        (number, unit) = (number / 1e3, unit + 1);
    }
    if bytes < 1000 { format!("{bytes} B") } else { format!("{number:.2} {}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_parsed_in_any_usual_spelling() {
        for (text, bytes) in [
            ("4GB", 4_000_000_000),
            ("1.5 GiB", 1_610_612_736),
            ("800mb", 800_000_000),
            ("64 KiB", 65_536),
            ("12b", 12),
            ("0", 0),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_in_decimal_units() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (999_999, "1.00 MB"),
            (1_140_000_000, "1.14 GB"),
            (5_000_000_000_000_000, "5000.00 TB"),
        ] {
            assert_eq!(format(bytes), text);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "GB", "-1GB", "4 G B", "4XB", "1.2.3GB", "１GB", "inf", "1e3"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
