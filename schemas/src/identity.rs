//! The form of what stands in an [`crate::wire::Identity`] or [`crate::wire::Contact`]. Whoever seals checks it, and
//! whoever opens checks it again: an identity that no person can have would only be refused by every bank.

use jiff::civil::Date;

use crate::wire::DocumentType;

/// E.164: `+`, then 8 to 15 digits of which the first is not zero.
pub fn is_e164(phone: &str) -> bool {
    phone.strip_prefix('+').is_some_and(|digits| {
        (8..=15).contains(&digits.len())
            && !digits.starts_with('0')
            && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Whether a document of this kind can have this number. Letters are in upper case.
pub fn is_document_number(kind: DocumentType, number: &str) -> bool {
    match kind {
        DocumentType::Unspecified => false,
        DocumentType::ResidentId => is_resident_id(number),
        DocumentType::Passport
        | DocumentType::HkMacaoPermit
        | DocumentType::TaiwanPermit
        | DocumentType::ForeignPermanentResident => {
            let allowed = |byte: u8| {
                byte.is_ascii_uppercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'(' | b')')
            };
            (5..=32).contains(&number.len()) && number.bytes().all(allowed)
        }
    }
}

/// GB 11643: six digits of a region, a date of birth, three of an order, and a check character (ISO 7064, MOD 11-2).
pub fn is_resident_id(number: &str) -> bool {
    let Some((body, check)) = number.split_at_checked(17) else { return false };
    if check.len() != 1 || body.starts_with('0') || !body.bytes().all(|byte| byte.is_ascii_digit()) {
        return false;
    }
    let part = |range: std::ops::Range<usize>| body[range].parse::<i16>().ok();
    let born =
        || Date::new(part(6..10)?, part(10..12)?.try_into().ok()?, part(12..14)?.try_into().ok()?).ok();
    born().is_some_and(|born| born.year() >= 1800) && check.starts_with(resident_id_check(body))
}

/// The check character behind the first 17 digits of a resident id: weights are powers of two modulo 11.
fn resident_id_check(body: &str) -> char {
    let sum = body.bytes().fold(0, |sum, byte| (sum + u32::from(byte - b'0')) * 2 % 11);
    match (12 - sum) % 11 {
        10 => 'X',
        digit => char::from_digit(digit, 10).unwrap_or('X'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_resident_id_has_the_check_character_of_gb_11643() {
        // The two examples of the standard's annex.
        for valid in ["11010519491231002X", "440524188001010014"] {
            assert!(is_resident_id(valid), "{valid}");
        }
        for wrong in [
            "110105194912310021",
            "11010519491231002x",
            "110105194902300025",
            "01010519491231002X",
            "11010519491231002",
            "11010519491231002XX",
            "1１010519491231002X",
            "",
        ] {
            assert!(!is_resident_id(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_document_number_fits_its_kind_of_document() {
        assert!(is_document_number(DocumentType::Passport, "E12345678"));
        assert!(is_document_number(DocumentType::HkMacaoPermit, "H1234567(8)"));
        assert!(is_document_number(DocumentType::ResidentId, "11010519491231002X"));
        for (kind, wrong) in [
            (DocumentType::Unspecified, "E12345678"),
            (DocumentType::ResidentId, "E12345678"),
            (DocumentType::Passport, "E123"),
            (DocumentType::Passport, "e12345678"),
            (DocumentType::Passport, "E1234567\n"),
        ] {
            assert!(!is_document_number(kind, wrong), "{kind:?} {wrong}");
        }
    }

    #[test]
    fn a_phone_number_is_in_e_164() {
        assert!(is_e164("+8613800000001") && is_e164("+85212345678"));
        for wrong in
            ["", "+", "13800000001", "+0138000000", "+1234567", "+1234567890123456", "+8613８00000001"]
        {
            assert!(!is_e164(wrong), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_checks_panic(text in "\\PC{0,24}") {
            let _ = (is_e164(&text), is_resident_id(&text));
        }

        #[test]
        fn exactly_one_check_character_fits(order in 0u32..1000, region in 110_000u32..660_000) {
            let body = format!("{region}19900228{order:03}");
            let fitting = "0123456789X".chars().filter(|check| is_resident_id(&format!("{body}{check}"))).count();
            prop_assert_eq!(fitting, 1);
        }
    }
}
