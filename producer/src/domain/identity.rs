//! Who asks, as the upstream has verified it. Never printed, wiped when dropped.

use std::fmt;

use schemas::identity;
use schemas::wire::{self, DocumentType};
use zeroize::Zeroize;

/// Longest name in bytes of UTF-8; with the other limits an identity always fits its seal.
pub const MAX_NAME: usize = 400;
/// Longest document number in bytes.
pub const MAX_DOCUMENT_NUMBER: usize = 32;

/// The identity of one person, checked for form.
pub struct Identity {
    name: String,
    document_type: DocumentType,
    document_number: String,
    phone: String,
}

/// Which part of an identity has the wrong form. Says nothing about its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The name.
    #[error("the name must have 1 to 400 bytes and no control characters")]
    Name,
    /// The document type.
    #[error("the document type is not one of the known ones")]
    DocumentType,
    /// The document number.
    #[error("the document number is not one that this kind of document can have")]
    DocumentNumber,
    /// The phone number.
    #[error("the phone number must be in E.164 form")]
    Phone,
}

impl Identity {
    /// Checks the form.
    ///
    /// # Errors
    /// The first part whose form is wrong.
    pub fn new(
        name: impl Into<String>,
        document_type: DocumentType,
        document_number: impl Into<String>,
        phone: impl Into<String>,
    ) -> Result<Self, IdentityError> {
        // Built first, so that what is refused is wiped too.
        let identity = Self {
            name: name.into(),
            document_type,
            document_number: document_number.into(),
            phone: phone.into(),
        };
        identity.check().map(|()| identity)
    }

    fn check(&self) -> Result<(), IdentityError> {
        let name = &self.name;
        if name.trim().is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
            return Err(IdentityError::Name);
        }
        if self.document_type == DocumentType::Unspecified {
            return Err(IdentityError::DocumentType);
        }
        if !identity::is_document_number(self.document_type, &self.document_number) {
            return Err(IdentityError::DocumentNumber);
        }
        identity::is_e164(&self.phone).then_some(()).ok_or(IdentityError::Phone)
    }

    /// For the banks. Whoever takes it seals it and wipes it with [`wipe`].
    pub(crate) fn to_wire(&self) -> wire::Identity {
        wire::Identity {
            name: self.name.clone(),
            document_type: self.document_type.into(),
            document_number: self.document_number.clone(),
            phone: self.phone.clone(),
        }
    }

    /// For the notifier. Whoever takes it seals it and wipes it with [`wipe`].
    pub(crate) fn contact(&self, language: wire::Language) -> wire::Contact {
        wire::Contact { phone: self.phone.clone(), language: language.into() }
    }
}

/// Overwrites what was sealed.
pub(crate) fn wipe(mut identity: wire::Identity, mut contact: wire::Contact) {
    identity.name.zeroize();
    identity.document_number.zeroize();
    identity.phone.zeroize();
    contact.phone.zeroize();
}

impl Drop for Identity {
    fn drop(&mut self) {
        self.name.zeroize();
        self.document_number.zeroize();
        self.phone.zeroize();
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;
    use schemas::ids::{QueryId, Reference};
    use schemas::keys::OpeningKey;
    use schemas::seal::{self, Binding, Kind};
    use schemas::time::UnixMillis;

    const ID: &str = "11010519491231002X";

    fn with(name: &str, number: &str, phone: &str) -> Result<Identity, IdentityError> {
        Identity::new(name, DocumentType::ResidentId, number, phone)
    }

    #[test]
    fn each_part_is_checked_for_form() {
        assert!(with("欧阳·买买提", "11010519491231002X", "+8613800000001").is_ok());
        for (name, number, phone, error) in [
            ("", ID, "+8613800000001", IdentityError::Name),
            (" ", ID, "+8613800000001", IdentityError::Name),
            ("a\nb", ID, "+8613800000001", IdentityError::Name),
            ("王", "", "+8613800000001", IdentityError::DocumentNumber),
            ("王", "110105194912310021", "+8613800000001", IdentityError::DocumentNumber),
            ("王", ID, "13800000001", IdentityError::Phone),
            ("王", ID, "+86138", IdentityError::Phone),
        ] {
            assert_eq!(with(name, number, phone).err(), Some(error), "{name} {number} {phone}");
        }
    }

    #[test]
    fn the_longest_identity_fits_its_seal() {
        let longest = Identity::new(
            "王".repeat(133),
            DocumentType::Passport,
            "9".repeat(MAX_DOCUMENT_NUMBER),
            "+861380000000011",
        )
        .expect("valid");
        let reference = Reference { upstream: "wallet".parse().expect("an id"), query: QueryId::generate() };
        let binding =
            Binding { reference: &reference, party: "alpha", expires_at: UnixMillis(0), context: &[] };
        let key = OpeningKey::generate();
        let content = longest.to_wire().encode_to_vec();
        assert!(seal::seal(Kind::Identity, key.public(), &binding, &content).is_ok());
    }

    #[test]
    fn an_identity_does_not_print() {
        let identity = with("王小明", "11010519491231002X", "+8613800000001").expect("valid");
        assert_eq!(format!("{identity:?} {identity:#?}"), "Identity(redacted) Identity(redacted)");
    }
}
