//! One row of a bank's table, read by the configured columns and codes.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::civil::Date;
use schemas::wire::{AccountClass, CardKind, CardStatus};
use sqlx::any::AnyRow;
use sqlx::{Row, ValueRef};
use zeroize::Zeroizing;

use super::SourceError;
use super::sql_config::{CardColumns, CustomerColumns, Values};
use crate::domain::card::{Card, is_code};
use crate::domain::dormancy::{Feature, Rule};
use crate::domain::found::{Customer, Defect};
use crate::domain::month::{self, Month};
use crate::domain::pan::Pan;

/// A row, and what could not be read in it so far.
pub(super) struct Reader<'a> {
    pub(super) row: &'a AnyRow,
    pub(super) values: &'a Values,
    pub(super) defects: &'a mut BTreeSet<Defect>,
}

impl Reader<'_> {
    pub(super) fn customer(&mut self, columns: &CustomerColumns) -> Result<Customer, SourceError> {
        let values = self.values;
        let id_valid_until = match self.text(columns.id_valid_until.as_deref())? {
            Some(text) if !values.id_never_expires.contains(text.as_str()) => self.date(&text),
            Some(_) | None => None,
        };
        let cardless_payment = match &columns.cardless_payment {
            None => true,
            Some(column) => {
                self.text(Some(column))?.is_some_and(|code| values.cardless_enabled.contains(code.as_str()))
            }
        };
        let withheld = self
            .text(columns.withheld.as_deref())?
            .is_some_and(|code| !values.not_withheld.contains(code.as_str()));
        Ok(Customer {
            name: self.text(Some(&columns.name))?.unwrap_or_default(),
            phone: self.text(Some(&columns.phone))?,
            id_valid_until,
            cardless_payment,
            withheld,
        })
    }

    /// A card, or none when its number cannot be read.
    pub(super) fn card(
        &mut self,
        columns: &CardColumns,
        dormancy: Option<&Arc<Rule>>,
    ) -> Result<Option<Card>, SourceError> {
        let values = self.values;
        let number = self.text(Some(&columns.pan))?.unwrap_or_default();
        let kind = self.text(Some(&columns.kind))?;
        let status = self.text(Some(&columns.status))?;
        let class = self.text(columns.account_class.as_deref())?;
        let product = self.text(columns.product.as_deref())?;
        let opened = self.text(columns.opened.as_deref())?;
        let last_active = self.text(columns.last_active.as_deref())?;
        let balance = self.text(columns.balance_fen.as_deref())?;
        let features = self.text(columns.features.as_deref())?;
        let Ok(pan) = Pan::parse(number) else {
            self.defects.insert(Defect::CardNumber);
            return Ok(None);
        };
        let kind = self.known(kind.and_then(|code| values.kind.get(code.as_str()).copied()));
        let status = self.known(status.and_then(|code| values.status.get(code.as_str()).copied()));
        let account_class = match class {
            Some(code) => self.known(values.account_class.get(code.as_str()).copied()),
            None => None,
        };
        Ok(Some(Card {
            pan,
            kind: kind.unwrap_or(CardKind::Unknown),
            account_class: account_class.unwrap_or(AccountClass::None),
            product_code: self.product(product),
            status: status.unwrap_or(CardStatus::Unknown),
            opened: self.month(opened),
            last_active: self.last_active(last_active),
            balance_fen: self.balance(balance),
            features: columns.features.as_ref().map(|_| self.features(features)),
            dormancy: dormancy.cloned(),
        }))
    }

    fn known<T>(&mut self, meaning: Option<T>) -> Option<T> {
        if meaning.is_none() {
            self.defects.insert(Defect::Code);
        }
        meaning
    }

    /// A code, never free text: no free text from a bank reaches a person.
    fn product(&mut self, text: Option<Zeroizing<String>>) -> String {
        match text {
            Some(code) if is_code(&code) => code.as_str().to_owned(),
            Some(_) => {
                self.defects.insert(Defect::Code);
                String::new()
            }
            None => String::new(),
        }
    }

    fn date(&mut self, text: &str) -> Option<Date> {
        let date = month::date(text);
        if date.is_none() {
            self.defects.insert(Defect::Date);
        }
        date
    }

    fn month(&mut self, text: Option<Zeroizing<String>>) -> Option<Month> {
        let month = Month::parse(&text?);
        if month.is_none() {
            self.defects.insert(Defect::Date);
        }
        month
    }

    fn last_active(&mut self, text: Option<Zeroizing<String>>) -> Option<Date> {
        let day = month::latest_day(&text?);
        if day.is_none() {
            self.defects.insert(Defect::Date);
        }
        day
    }

    fn balance(&mut self, text: Option<Zeroizing<String>>) -> Option<i64> {
        let balance = text?.parse().ok();
        if balance.is_none() {
            self.defects.insert(Defect::Amount);
        }
        balance
    }

    fn features(&self, codes: Option<Zeroizing<String>>) -> BTreeSet<Feature> {
        let codes = codes.as_ref().map(|codes| codes.as_str()).unwrap_or_default();
        codes.split(',').filter_map(|code| self.values.features.get(code.trim()).copied()).collect()
    }

    /// A column as text without blanks around it; `None` for NULL, blanks, and a column that the bank does not have.
    fn text(&self, column: Option<&str>) -> Result<Option<Zeroizing<String>>, SourceError> {
        let Some(column) = column else { return Ok(None) };
        let misfit = |what| SourceError::Misfit(format!("column `{column}` {what}"));
        if self.row.try_get_raw(column).map_err(|_| misfit("is not in the result"))?.is_null() {
            return Ok(None);
        }
        let text = self
            .row
            .try_get::<String, _>(column)
            .or_else(|_| self.row.try_get::<i64, _>(column).map(|number| number.to_string()))
            .or_else(|_| self.row.try_get::<bool, _>(column).map(|flag| flag.to_string()))
            .map(Zeroizing::new)
            .map_err(|_| misfit("is neither text nor a whole number nor a truth value"))?;
        let trimmed = text.trim();
        Ok((!trimmed.is_empty()).then(|| Zeroizing::new(trimmed.to_owned())))
    }
}
