//! Who asks, in the one spelling in which it is compared. Never printed, wiped when dropped.

use std::fmt;

use schemas::identity::{is_document_number, is_e164};
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
        let number_fits = is_document_number(document_type, &document_number);
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
        Some(digits) => Some(Zeroizing::new(format!("+{digits}"))).filter(|phone| is_e164(phone)),
        None if mobile(digits) => Some(Zeroizing::new(format!("+86{digits}"))),
        None => digits
            .strip_prefix("86")
            .filter(|rest| mobile(rest))
            .map(|_| Zeroizing::new(format!("+{digits}"))),
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
            let _ = (e164(&text), comparable_name(&text));
        }
    }
}
