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
            return Some(Self { year: date.year(), month: date.month() });
        }
        let digits = text.trim().replacen('-', "", 1);
        let (year, month) = digits.split_at_checked(4)?;
        let first = Date::new(number(year, 4)?, i8::try_from(number(month, 2)?).ok()?, 1).ok()?;
        Some(Self { year: first.year(), month: first.month() })
    }

    /// Year × 100 + month.
    pub fn number(self) -> u32 {
        u32::from(self.year.unsigned_abs()) * 100 + u32::from(self.month.unsigned_abs())
    }

    /// Whole months that have passed since this one ended, on `day`; negative when it is still to come.
    pub fn months_before(self, day: Date) -> i32 {
        let count = |year: i16, month: i8| i32::from(year) * 12 + i32::from(month);
        count(day.year(), day.month()) - count(self.year, self.month) - 1
    }
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
    fn whole_months_are_counted_from_the_end_of_the_month() {
        let july = Month::parse("2024-07").expect("a month");
        for (day, months) in [("2024-07-31", -1), ("2024-08-01", 0), ("2024-08-31", 0), ("2026-02-01", 18)] {
            assert_eq!(july.months_before(date(day).expect("a date")), months, "{day}");
        }
    }
}
