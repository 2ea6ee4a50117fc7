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

    /// Appends a number of an enum or of a partition: as 32 bits, in the eight bytes of every integer.
    pub fn number(self, field: i32) -> Self {
        self.integer(field.cast_unsigned().into())
    }

    /// The encoding.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Reads what [`Fields`] wrote. Every function takes the next field, and gives `None` when there is none of that form.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Over an encoding.
    pub fn new(encoding: &'a [u8]) -> Self {
        Self(encoding)
    }

    /// Raw bytes.
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk::<2>()?;
        let (field, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        self.0 = rest;
        Some(field)
    }

    /// Bytes of a fixed number.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes()?.try_into().ok()
    }

    /// UTF-8 text.
    pub fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// UTF-8 text, as a value of its own.
    pub fn owned(&mut self) -> Option<String> {
        self.text().map(str::to_owned)
    }

    /// Text that spells a value.
    pub fn parse<T: std::str::FromStr>(&mut self) -> Option<T> {
        self.text()?.parse().ok()
    }

    /// An integer.
    pub fn integer(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// A number of an enum or of a partition.
    pub fn number(&mut self) -> Option<i32> {
        u32::try_from(self.integer()?).ok().map(u32::cast_signed)
    }

    /// An integer that is 0 or 1.
    pub fn flag(&mut self) -> Option<bool> {
        match self.integer()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    /// An instant.
    pub fn time(&mut self) -> Option<crate::time::UnixMillis> {
        self.integer().map(|at| crate::time::UnixMillis(at.cast_signed()))
    }

    /// All that is left, one item after the other.
    pub fn rest<T, C: FromIterator<T>>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<C> {
        std::iter::from_fn(|| (!self.0.is_empty()).then(|| item(self))).collect()
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
