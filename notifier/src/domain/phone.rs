//! A phone number: in memory while its SMS is sent, and nowhere else.

use std::fmt;

use schemas::identity::is_e164;
use zeroize::Zeroizing;

/// A plausible E.164 number. It does not print, and its memory is wiped.
pub struct Phone(Zeroizing<String>);

impl Phone {
    /// Takes `text` over; `None` when it is no E.164 number.
    pub fn parse(text: String) -> Option<Self> {
        let text = Zeroizing::new(text);
        is_e164(&text).then_some(Self(text))
    }

    /// The number, for the gateway alone.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What a person may see of it: `138****0001` for a Chinese mobile number, the last two digits of any other.
    pub fn masked(&self) -> String {
        match self.0.strip_prefix("+86") {
            Some(mobile) if mobile.len() == 11 && mobile.starts_with('1') => {
                format!("{}****{}", &mobile[..3], &mobile[7..])
            }
            Some(_) | None => format!("****{}", &self.0[self.0.len() - 2..]),
        }
    }
}

impl fmt::Debug for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Phone(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phone(text: &str) -> Phone {
        Phone::parse(text.to_owned()).expect("plausible")
    }

    #[test]
    fn a_mask_leaves_the_first_three_and_last_four_of_a_chinese_mobile_number() {
        assert_eq!(phone("+8613800000001").masked(), "138****0001");
        assert_eq!(phone("+14155550123").masked(), "****23");
        assert_eq!(phone("+861085551234").masked(), "****34");
    }

    #[test]
    fn only_plausible_numbers_are_taken() {
        for wrong in [
            "",
            "+",
            "13800000001",
            "+0138000000",
            "+861380000000a",
            "+86 13800000001",
            "+1234567",
            "+1234567890123456",
            "008613800000001",
            "+８６１３８０００００００１",
        ] {
            assert!(Phone::parse(wrong.to_owned()).is_none(), "{wrong}");
        }
        for right in ["+12345678", "+123456789012345", "+8613800000001"] {
            assert_eq!(phone(right).expose(), right);
        }
    }

    #[test]
    fn a_number_does_not_print() {
        let text = format!("{:?} {:#?}", phone("+8613800000001"), Some(phone("+8613800000001")));
        assert!(!text.contains("138") && !text.contains("0001"), "{text}");
    }
}
