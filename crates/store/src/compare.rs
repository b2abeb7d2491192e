//! How a condition's value is compared with a stored one: the same in every store.
//!
//! A condition is text. It is *equal* to a text of the same characters, and to a number of the same
//! value if it is written as JSON writes numbers. It is *ordered* by value against a number, by
//! time if both are ISO 8601 dates, and by characters otherwise.

use serde_json::{Number, Value};
use std::cmp::Ordering;

/// Whether the stored `value`, which is not a list, equals `wanted`.
pub(crate) fn is_equal(value: &Value, wanted: &str) -> bool {
    match value {
        Value::String(text) => text == wanted,
        Value::Number(number) => {
            json_number(wanted).is_some_and(|wanted| numbers(number, &wanted).is_eq())
        }
        other => order(other, wanted).is_eq(),
    }
}

/// The order of the stored `value`, which is not a list, and `wanted`.
pub(crate) fn order(value: &Value, wanted: &str) -> Ordering {
    match value {
        Value::String(text) => match (Date::parse(text), Date::parse(wanted)) {
            (Some(date), Some(wanted)) => date.compare(&wanted),
            _ => text.as_str().cmp(wanted),
        },
        Value::Number(number) => match json_number(wanted) {
            Some(wanted) => numbers(number, &wanted),
            None => number.to_string().as_str().cmp(wanted),
        },
        other => other.to_string().as_str().cmp(wanted),
    }
}

/// The number that is written as `text` in JSON: without leading zeros and signs, and not infinite.
fn json_number(text: &str) -> Option<Number> {
    // The parser also accepts white space around a value.
    let is_bare = !text.starts_with(char::is_whitespace) && !text.ends_with(char::is_whitespace);
    serde_json::from_str(text).ok().filter(|_| is_bare)
}

/// Compares exactly: an integer is never rounded to a floating-point number.
fn numbers(a: &Number, b: &Number) -> Ordering {
    match (a.as_i128(), b.as_i128()) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(a), None) => float_and_integer(b, a).reverse(),
        (None, Some(b)) => float_and_integer(a, b),
        (None, None) => float(a).partial_cmp(&float(b)).unwrap_or(Ordering::Equal),
    }
}

/// A number that is not an integer of 128 bits; JSON has no infinite ones.
fn float(number: &Number) -> f64 {
    number.as_f64().unwrap_or_default()
}

fn float_and_integer(a: &Number, b: i128) -> Ordering {
    /// Numbers from here on have no fraction, and integers of 64 bits are smaller.
    const LIMIT: f64 = 1e30;
    let a = float(a);
    if a.abs() >= LIMIT {
        return if a > 0.0 { Ordering::Greater } else { Ordering::Less };
    }
    let whole = a.trunc();
    let fraction = a - whole;
    (whole as i128).cmp(&b).then(fraction.partial_cmp(&0.0).unwrap_or(Ordering::Equal))
}

/// An ISO 8601 date, with a time or without: `2024-03-01`, `2024-03-01T09:30:00Z`,
/// `2024-03-01 09:30+02:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Date {
    /// Year, month and day as written.
    day: (i64, i64, i64),
    /// Nanoseconds since 1970, if a time is given; in UTC if no offset is.
    time: Option<i128>,
}

impl Date {
    fn parse(text: &str) -> Option<Self> {
        let (day, rest) = text.split_at_checked("2024-03-01".len())?;
        let [year, month, day] = fields(day, '-', ["0000", "00", "00"])?;
        let day = (year, month, day);
        if !(1..=12).contains(&month) || !(1..=days_of_month(year, month)).contains(&day.2) {
            return None;
        }
        let time = match rest.strip_prefix(['T', 't', ' ']) {
            Some(time) => Some(time_of_day(time)? + i128::from(days(day)) * 24 * HOUR),
            None if rest.is_empty() => None,
            None => return None,
        };
        Some(Self { day, time })
    }

    /// By time if both have one, or else by day.
    fn compare(&self, other: &Self) -> Ordering {
        match (self.time, other.time) {
            (Some(time), Some(other)) => time.cmp(&other),
            _ => self.day.cmp(&other.day),
        }
    }
}

/// Nanoseconds of a second, a minute and an hour.
const SECOND: i128 = 1_000_000_000;
const MINUTE: i128 = 60 * SECOND;
const HOUR: i128 = 60 * MINUTE;

/// Nanoseconds since midnight in UTC, of a time with or without seconds and an offset.
fn time_of_day(text: &str) -> Option<i128> {
    let (text, offset) = match text.strip_suffix(['Z', 'z']) {
        Some(text) => (text, 0),
        None => match text.rfind(['+', '-']) {
            Some(at) => (&text[..at], offset(&text[at..])?),
            None => (text, 0),
        },
    };
    let (clock, fraction) = text.split_once(['.', ',']).unwrap_or((text, ""));
    let [hour, minute, second] = match clock.len() {
        5 if fraction.is_empty() => fields(&format!("{clock}:00"), ':', ["00"; 3])?,
        _ => fields(clock, ':', ["00"; 3])?,
    };
    if hour > 23 || minute > 59 || second > 60 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanoseconds: i128 = digits.parse().ok()?;
    let [hour, minute, second] = [hour, minute, second].map(i128::from);
    Some(hour * HOUR + minute * MINUTE + second * SECOND + nanoseconds - offset)
}

/// `+02:00`, `+0200` or `+02` in nanoseconds.
fn offset(text: &str) -> Option<i128> {
    let (sign, digits) = text.split_at_checked(1)?;
    let digits = match digits.len() {
        2 => format!("{digits}:00"),
        4 => format!("{}:{}", digits.get(..2)?, digits.get(2..)?),
        _ => digits.to_owned(),
    };
    let [hours, minutes, _] = fields(&format!("{digits}:00"), ':', ["00"; 3])?;
    let size = i128::from(hours) * HOUR + i128::from(minutes) * MINUTE;
    Some(if sign == "-" { -size } else { size })
}

/// Three numbers of as many digits as the patterns have.
fn fields(text: &str, separator: char, patterns: [&str; 3]) -> Option<[i64; 3]> {
    let mut parts = text.split(separator);
    let mut numbers = [0; 3];
    for (number, pattern) in numbers.iter_mut().zip(patterns) {
        let part = parts.next()?;
        let is_number = part.len() == pattern.len() && part.bytes().all(|b| b.is_ascii_digit());
        *number = part.parse().ok().filter(|_| is_number)?;
    }
    parts.next().is_none().then_some(numbers)
}

fn days_of_month(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the Gregorian calendar. Years begin in March, so that a leap day is
/// the last one.
fn days((year, month, day): (i64, i64, i64)) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn equality_is_exact() {
        for (value, wanted, equal) in [
            (json!("nan"), "nan", true),
            (json!("NaN"), "nan", false),
            (json!(9_007_199_254_740_993_u64), "9007199254740993", true),
            (json!(9_007_199_254_740_992_u64), "9007199254740993", false),
            (json!(9_007_199_254_740_992.0), "9007199254740993", false),
            (json!(u64::MAX), "18446744073709551615", true),
            (json!("1234"), "01234", false),
            (json!("01234"), "01234", true),
            (json!(1234), "01234", false),
            (json!(1234), "1234", true),
            (json!(1234), "+1234", false),
            (json!("1234"), "1234", true),
            (json!("1.10"), "1.1", false),
            (json!(1.1), "1.1", true),
            (json!(1.1), "1.10", true),
            (json!("12e9998"), "12e9999", false),
            (json!("12e9999"), "12e9999", true),
            (json!(f64::MAX), "12e9999", false),
            (json!(12), "1.2e1", true),
            (json!(1899.0), "1899", true),
            (json!(0), "-0", true),
            (json!(true), "true", true),
            (json!("a"), "a ", false),
        ] {
            assert_eq!(is_equal(&value, wanted), equal, "{value} {wanted}");
        }
    }

    #[test]
    fn order_is_of_numbers_dates_or_characters() {
        use Ordering::{Equal, Greater, Less};
        for (value, wanted, expected) in [
            (json!(9), "10", Less),
            (json!("9"), "10", Greater),
            (json!(9), "10x", Greater),
            (json!(9_007_199_254_740_993_u64), "9007199254740992.0", Greater),
            (json!(-1.5), "-1", Less),
            (json!(1.5), "1", Greater),
            (json!(1e300), "1", Greater),
            (json!(3), "3.0", Equal),
            (json!("2024-03-01"), "2024-03-01T10:00:00Z", Equal),
            (json!("2024-03-01T23:30:00Z"), "2024-03-02T01:00+02:00", Greater),
            (json!("2024-03-01T22:30:00Z"), "2024-03-02T01:00:00+02:00", Less),
            (json!("2024-03-01T23:00:00.0Z"), "2024-03-02 01:00:00+0200", Equal),
            (json!("2023-12-31"), "2024-01-01", Less),
            (json!("2024-02-30"), "2024-02-3", Greater),
            (json!("2023"), "2024-01-01", Less),
            (json!("b"), "a", Greater),
        ] {
            assert_eq!(order(&value, wanted), expected, "{value} {wanted}");
        }
    }

    #[test]
    fn days_follow_the_calendar() {
        for (day, wanted) in [
            ((1970, 1, 1), 0),
            ((1969, 12, 31), -1),
            ((2000, 2, 29), 11_016),
            ((2000, 3, 1), 11_017),
            ((2024, 3, 1), 19_783),
            ((1600, 1, 1), -135_140),
        ] {
            assert_eq!(days(day), wanted, "{day:?}");
        }
        for text in ["2023-02-29", "2024-13-01", "24-01-01", "2024-01-01x", "2024-01-01T25:00"] {
            assert_eq!(Date::parse(text), None, "{text}");
        }
    }
}
