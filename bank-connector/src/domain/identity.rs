//! Who asks, in the one spelling in which it is compared. Never printed, wiped when dropped.

use std::fmt;

use jiff::civil::Date;
use schemas::wire::{self, DocumentType};
use zeroize::{Zeroize, Zeroizing};

/// The identity of one person, checked for form.
pub struct Identity {
    name: Zeroizing<String>,
    document_number: Zeroizing<String>,
    phone: Zeroizing<String>,
}

/// An identity that no person can have. Says nothing about its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the identity has the wrong form")]
pub struct IdentityUnusable;

impl Identity {
    /// Checks and normalises what came out of the seal; wipes it.
    ///
    /// # Errors
    /// [`IdentityUnusable`] for an empty name, a document number that its kind of document cannot have, or a phone
    /// number that is none.
    pub fn from_wire(mut identity: wire::Identity) -> Result<Self, IdentityUnusable> {
        let document_type = identity.document_type();
        let read = Self::read(document_type, &identity);
        identity.name.zeroize();
        identity.document_number.zeroize();
        identity.phone.zeroize();
        read.ok_or(IdentityUnusable)
    }

    fn read(document_type: DocumentType, identity: &wire::Identity) -> Option<Self> {
        let name = comparable_name(&identity.name);
        let document_number = Zeroizing::new(identity.document_number.trim().to_ascii_uppercase());
        let number_fits = match document_type {
            DocumentType::Unspecified => false,
            DocumentType::ResidentId => is_resident_id(&document_number),
            DocumentType::Passport
            | DocumentType::HkMacaoPermit
            | DocumentType::TaiwanPermit
            | DocumentType::ForeignPermanentResident => {
                let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'(' | b')');
                (5..=32).contains(&document_number.len()) && document_number.bytes().all(allowed)
            }
        };
        let phone = e164(&identity.phone)?;
        (number_fits && !name.is_empty()).then_some(Self { name, document_number, phone })
    }

    /// The document number, letters in upper case: what a source looks for.
    pub fn document_number(&self) -> &str {
        &self.document_number
    }

    /// Whether this is the name on file. Blanks, the kind of dot within a name and the case of letters do not count.
    pub fn has_name(&self, on_file: &str) -> bool {
        *self.name == *comparable_name(on_file)
    }

    /// Whether this is the phone number on file, whatever its spelling. A number that cannot be read is not.
    pub fn has_phone(&self, on_file: &str) -> bool {
        e164(on_file).is_some_and(|phone| *phone == *self.phone)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(redacted)")
    }
}

/// Names of minorities are written with one of several dots (GB 18030 has them all), and fixed-width columns pad.
fn comparable_name(name: &str) -> Zeroizing<String> {
    let same_dot =
        |c| if matches!(c, '•' | '‧' | '・' | '．' | '.' | '∙' | '⋅') { '·' } else { c };
    let spelled = name.chars().filter(|c| !c.is_whitespace()).map(same_dot);
    Zeroizing::new(spelled.flat_map(char::to_uppercase).collect())
}

/// A phone number in E.164, read from the spellings of mainland China or from an international one.
pub fn e164(text: &str) -> Option<Zeroizing<String>> {
    let bare = Zeroizing::new(
        text.chars().filter(|c| !c.is_whitespace() && !matches!(c, '-' | '(' | ')')).collect::<String>(),
    );
    let international = bare.strip_prefix('+').or_else(|| bare.strip_prefix("00"));
    let digits = match international {
        Some(digits) => digits,
        None => bare.as_str(),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mobile = |digits: &str| digits.len() == 11 && digits.starts_with('1');
    match international {
        Some(digits) => ((7..=15).contains(&digits.len()) && !digits.starts_with('0'))
            .then(|| Zeroizing::new(format!("+{digits}"))),
        None if mobile(digits) => Some(Zeroizing::new(format!("+86{digits}"))),
        None => digits
            .strip_prefix("86")
            .filter(|rest| mobile(rest))
            .map(|_| Zeroizing::new(format!("+{digits}"))),
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

    fn identity(name: &str, number: &str, phone: &str) -> Result<Identity, IdentityUnusable> {
        Identity::from_wire(wire::Identity {
            name: name.into(),
            document_type: DocumentType::ResidentId.into(),
            document_number: number.into(),
            phone: phone.into(),
        })
    }

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
            "１1010519491231002X",
            "",
        ] {
            assert!(!is_resident_id(wrong), "{wrong}");
        }
    }

    #[test]
    fn phone_numbers_are_compared_in_one_spelling() {
        let expected = "+8613800000001";
        for text in [
            "13800000001",
            "+86 138 0000 0001",
            "8613800000001",
            "008613800000001",
            "138-0000-0001",
            expected,
        ] {
            assert_eq!(e164(text).as_ref().map(|phone| phone.as_str()), Some(expected), "{text}");
        }
        assert_eq!(e164("+85212345678").as_ref().map(|phone| phone.as_str()), Some("+85212345678"));
        for wrong in ["", "+", "02112345678", "2345678", "138000000011", "+0138", "1380000000x", "+86138١"] {
            assert_eq!(e164(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn names_are_compared_by_what_they_say() {
        let person = identity("买买提·Ali ", "11010519491231002x", "13800000001").expect("usable");
        for same in ["买买提•ALI", "买买提 . ali", "买买提．Ali"] {
            assert!(person.has_name(same), "{same}");
        }
        for other in ["买买提", "买买提·Alix", ""] {
            assert!(!person.has_name(other), "{other}");
        }
        assert_eq!(person.document_number(), "11010519491231002X");
    }

    #[test]
    fn an_identity_of_the_wrong_form_is_unusable_and_none_prints() {
        for (name, number, phone) in [
            ("  ", "11010519491231002X", "13800000001"),
            ("王", "110105194912310021", "13800000001"),
            ("王", "11010519491231002X", "110"),
        ] {
            assert_eq!(identity(name, number, phone).err(), Some(IdentityUnusable));
        }
        let person = identity("王", "11010519491231002X", "13800000001").expect("usable");
        assert_eq!(format!("{person:?} {person:#?}"), "Identity(redacted) Identity(redacted)");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_readers_panic(text in "\\PC{0,24}") {
            let _ = (e164(&text), is_resident_id(&text), comparable_name(&text));
        }

        #[test]
        fn exactly_one_check_character_fits(order in 0u32..1000, region in 110_000u32..660_000) {
            let body = format!("{region}19900228{order:03}");
            let fitting = "0123456789X".chars().filter(|check| is_resident_id(&format!("{body}{check}"))).count();
            prop_assert_eq!(fitting, 1);
        }
    }
}
