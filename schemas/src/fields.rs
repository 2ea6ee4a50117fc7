//! The one byte encoding of `info`, `aad` and derived ids.

/// Fields in fixed order, each after its u16-BE length; integers are u64-BE. No two lists of fields share bytes.
#[derive(Clone, Debug, Default)]
pub struct Fields(Vec<u8>);

impl Fields {
    /// No field yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends raw bytes.
    ///
    /// # Panics
    /// When a field is longer than 65,535 bytes, which no field of the contract is.
    pub fn bytes(mut self, field: &[u8]) -> Self {
        let length = u16::try_from(field.len()).expect("fields of the contract are short");
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(field);
        self
    }

    /// Appends UTF-8 text.
    pub fn text(self, field: &str) -> Self {
        self.bytes(field.as_bytes())
    }

    /// Appends an integer.
    pub fn integer(self, field: u64) -> Self {
        self.bytes(&field.to_be_bytes())
    }

    /// Appends an instant in Unix milliseconds.
    pub fn time(self, at: crate::time::UnixMillis) -> Self {
        // Two's complement keeps every i64 distinct; no instant of the contract is negative.
        self.integer(at.0.cast_unsigned())
    }

    /// The encoding.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_are_length_prefixed_and_integers_have_eight_bytes() {
        let bytes = Fields::new().text("ab").integer(7);
        assert_eq!(bytes.as_bytes(), [0, 2, b'a', b'b', 0, 8, 0, 0, 0, 0, 0, 0, 0, 7]);
    }

    proptest! {
        #[test]
        fn different_lists_of_fields_have_different_bytes(
            a in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..8), 0..5),
            b in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..8), 0..5),
        ) {
            let encode = |list: &[Vec<u8>]| list.iter().fold(Fields::new(), |f, field| f.bytes(field)).0;
            prop_assert_eq!(a == b, encode(&a) == encode(&b));
        }
    }
}
