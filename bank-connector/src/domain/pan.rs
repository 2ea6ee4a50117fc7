//! A full card number. Never prints, is wiped when dropped, and shows eight digits at most.

use std::fmt;

use zeroize::Zeroizing;

/// A card number of 13 to 19 digits whose last digit fits (Luhn, ISO/IEC 7812-1).
pub struct Pan(Zeroizing<String>);

/// The text is no card number. Says nothing about its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a card number")]
pub struct NotAPan;

impl Pan {
    /// Checks `text`; blanks around it, as fixed-width columns have them, do not count.
    ///
    /// # Errors
    /// [`NotAPan`].
    pub fn parse(text: Zeroizing<String>) -> Result<Self, NotAPan> {
        let digits = text.trim();
        let valid = (13..=19).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && luhn_sum(digits).is_multiple_of(10);
        valid.then(|| Self(Zeroizing::new(digits.to_owned()))).ok_or(NotAPan)
    }

    /// The first four digits.
    pub fn first4(&self) -> &str {
        &self.0[..4]
    }

    /// The last four digits.
    pub fn last4(&self) -> &str {
        &self.0[self.0.len() - 4..]
    }

    /// How many digits there are.
    pub fn digits(&self) -> usize {
        self.0.len()
    }
}

/// Every second digit from the right counts twice, with its digits added up.
fn luhn_sum(digits: &str) -> u32 {
    digits
        .bytes()
        .rev()
        .map(|byte| u32::from(byte - b'0'))
        .enumerate()
        .map(|(place, digit)| match (place % 2, digit * 2) {
            (0, _) => digit,
            (_, doubled @ 10..) => doubled - 9,
            (_, doubled) => doubled,
        })
        .sum()
}

/// The digit that makes `partial` a card number: for sample data.
///
/// # Panics
/// When `partial` holds anything but ASCII digits.
pub fn check_digit(partial: &str) -> char {
    let sum = luhn_sum(&format!("{partial}0"));
    char::from_digit((10 - sum % 10) % 10, 10).expect("below ten")
}

impl fmt::Debug for Pan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pan(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Pan, NotAPan> {
        Pan::parse(Zeroizing::new(text.to_owned()))
    }

    #[test]
    fn the_check_digit_is_that_of_iso_7812() {
        assert!(parse("4539578763621486").is_ok());
        assert_eq!(parse("4539578763621485").err(), Some(NotAPan));
        assert_eq!(check_digit("7992739871"), '3');
    }

    #[test]
    fn only_thirteen_to_nineteen_digits_are_a_number() {
        for length in 1..=24 {
            let partial = "6".repeat(length - 1);
            let number = format!("{partial}{}", check_digit(&partial));
            assert_eq!(parse(&number).is_ok(), (13..=19).contains(&length), "{length}");
        }
        for wrong in ["", "6222 0212 3456 7894", "６２２２０２１２３４５６７８９４", "62220212345678x4"]
        {
            assert_eq!(parse(wrong).err(), Some(NotAPan), "{wrong}");
        }
        assert!(parse(" 4539578763621486  ").is_ok());
    }

    proptest! {
        #[test]
        fn eight_digits_are_visible_at_most(partial in "[0-9]{12,18}") {
            let number = format!("{partial}{}", check_digit(&partial));
            let pan = parse(&number).expect("a number");
            prop_assert_eq!(pan.digits(), number.len());
            prop_assert_eq!(pan.first4(), &number[..4]);
            prop_assert_eq!(pan.last4(), &number[number.len() - 4..]);
            let shown = format!("{}{}{pan:?}{pan:#?}", pan.first4(), pan.last4());
            prop_assert_eq!(shown.bytes().filter(u8::is_ascii_digit).count(), 8);
        }

        #[test]
        fn one_wrong_digit_is_always_noticed(
            partial in "[0-9]{12,18}", at in any::<prop::sample::Index>(), shift in 1u8..10
        ) {
            let mut number = format!("{partial}{}", check_digit(&partial)).into_bytes();
            let at = at.index(number.len());
            number[at] = b'0' + (number[at] - b'0' + shift) % 10;
            prop_assert!(parse(std::str::from_utf8(&number).expect("ASCII")).is_err());
        }
    }
}
