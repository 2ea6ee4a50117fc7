//! A calendar month, as precise as a card record ever is.

use jiff::civil::Date;

/// Year and month.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Month {
    year: i16,
    month: i8,
}

impl Month {
    /// Reads `2024-07`, `202407`, `2024-07-15` or `20240715`, with or without a time behind it.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(date) = date(text) {
            return Some(Self::of(date));
        }
        let digits = text.trim().replacen('-', "", 1);
        let (year, month) = digits.split_at_checked(4)?;
        let first = Date::new(number(year, 4)?, i8::try_from(number(month, 2)?).ok()?, 1).ok()?;
        Some(Self { year: first.year(), month: first.month() })
    }

    /// The month of a day.
    pub fn of(day: Date) -> Self {
        Self { year: day.year(), month: day.month() }
    }

    /// Year × 100 + month.
    pub fn number(self) -> u32 {
        u32::from(self.year.unsigned_abs()) * 100 + u32::from(self.month.unsigned_abs())
    }

    fn last_day(self) -> Option<Date> {
        Date::new(self.year, self.month, 1).ok().map(Date::last_of_month)
    }
}

/// Reads what [`Month::parse`] reads, as the latest day that it can mean.
pub fn latest_day(text: &str) -> Option<Date> {
    date(text).or_else(|| Month::parse(text)?.last_day())
}

/// Reads `2024-07-15` or `20240715`, with or without a time behind it.
pub fn date(text: &str) -> Option<Date> {
    let text = text.trim();
    let day = text.split(['T', ' ']).next().filter(|day| !day.is_empty())?;
    let year_first = |at: &[usize]| -> Option<Date> {
        let part = |from: usize, length| number(day.get(at[from]..at[from] + length)?, length);
        let (year, month, of_month) = (part(0, 4)?, part(1, 2)?, part(2, 2)?);
        Date::new(year, i8::try_from(month).ok()?, i8::try_from(of_month).ok()?).ok()
    };
    match (day.len(), day.as_bytes().get(4), day.as_bytes().get(7)) {
        (10, Some(b'-'), Some(b'-')) => year_first(&[0, 5, 8]),
        (8, ..) => year_first(&[0, 4, 6]),
        _ => None,
    }
}

/// A number of exactly `length` digits.
fn number(text: &str, length: usize) -> Option<i16> {
    let digits = text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_read_in_the_spellings_of_banks() {
        for text in ["2024-07", "202407", "2024-07-15", "20240715", "2024-07-15 08:00:00", " 20240715 "] {
            assert_eq!(Month::parse(text).map(Month::number), Some(202_407), "{text}");
        }
        for wrong in [
            "",
            "2024",
            "2024-13",
            "202400",
            "0x2407",
            "24-07-15",
            "2024/07/15",
            "2024-07-150",
            "２０２４０７",
        ] {
            assert_eq!(Month::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_month_without_a_day_may_mean_its_last_one() {
        for (text, day) in [
            ("2024-02", Some("2024-02-29")),
            ("202502", Some("2025-02-28")),
            ("2024-07-15", Some("2024-07-15")),
            ("20240715", Some("2024-07-15")),
            ("2024-13", None),
        ] {
            assert_eq!(latest_day(text), day.and_then(date), "{text}");
        }
    }
}
