//! Instants and days as PostgreSQL keeps them, exactly: both go over the wire in binary.

use jiff::civil::{Date, date};
use jiff::{Span, Unit};
use schemas::time::UnixMillis;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueFormat, PgValueRef};
use sqlx::{Decode, Encode, Postgres, Type};

/// A `TIMESTAMPTZ`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp(pub(super) UnixMillis);

/// A `DATE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Day(pub(super) Date);

// Fixed numbers of the server's own types, the same in every database.
const DATE: Oid = Oid(1082);
const DATE_ARRAY: Oid = Oid(1182);
const TIMESTAMPTZ: Oid = Oid(1184);
const TIMESTAMPTZ_ARRAY: Oid = Oid(1185);

/// The server counts from 2000-01-01.
const EPOCH_MS: i64 = 946_684_800_000;
const EPOCH: Date = date(2000, 1, 1);

impl Type<Postgres> for Stamp {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(TIMESTAMPTZ)
    }
}

impl PgHasArrayType for Stamp {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(TIMESTAMPTZ_ARRAY)
    }
}

impl Encode<'_, Postgres> for Stamp {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let micros = self.0.0.checked_sub(EPOCH_MS).and_then(|since| since.checked_mul(1_000));
        let micros = micros.ok_or("an instant that PostgreSQL cannot keep")?;
        Encode::<Postgres>::encode(micros, buffer)
    }
}

impl<'r> Decode<'r, Postgres> for Stamp {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        binary(&value)?;
        let micros: i64 = Decode::<Postgres>::decode(value)?;
        Ok(Self(UnixMillis(micros.div_euclid(1_000) + EPOCH_MS)))
    }
}

impl Type<Postgres> for Day {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(DATE)
    }
}

impl PgHasArrayType for Day {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(DATE_ARRAY)
    }
}

impl Encode<'_, Postgres> for Day {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<Postgres>::encode(EPOCH.until((Unit::Day, self.0))?.get_days(), buffer)
    }
}

impl<'r> Decode<'r, Postgres> for Day {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        binary(&value)?;
        let days: i32 = Decode::<Postgres>::decode(value)?;
        let span = Span::new().try_days(days)?;
        Ok(Self(EPOCH.checked_add(span)?))
    }
}

/// Prepared statements, the only ones that return these types, answer in binary.
fn binary(value: &PgValueRef<'_>) -> Result<(), BoxDynError> {
    match value.format() {
        PgValueFormat::Binary => Ok(()),
        PgValueFormat::Text => Err("a time in text".into()),
    }
}
