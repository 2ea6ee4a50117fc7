//! The SMS topic as a ledger: what it says about every query's SMS, and what is written into it.

use std::collections::HashMap;

use prost::Message as _;
use schemas::codes::Code;
use schemas::ids::Reference;
use schemas::time::UnixMillis;
use schemas::wire::sms_record::Message;
use schemas::wire::{self, SmsRecord};

use super::sms::{self, Event, Outcome, State};

/// One line of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The gateway is about to be called.
    Claimed,
    /// How it ended.
    Ended(Outcome),
}

impl Entry {
    /// Name of the message, for headers and ids.
    pub fn name(&self) -> &'static str {
        match self {
            Entry::Claimed => "SmsClaimed",
            Entry::Ended(Outcome::Sent { gateway_id: Some(_) }) => "SmsAccepted",
            Entry::Ended(Outcome::Sent { gateway_id: None }) => "SmsDelivered",
            Entry::Ended(Outcome::Failed { .. }) => "SmsFailed",
            Entry::Ended(Outcome::Unknown { .. }) => "SmsUnknown",
        }
    }

    /// The record.
    pub fn record(&self, reference: &Reference, at: UnixMillis) -> SmsRecord {
        let message = match self {
            Entry::Claimed => Message::Claimed(wire::SmsClaimed {}),
            Entry::Ended(Outcome::Sent { gateway_id: Some(id) }) => {
                Message::Accepted(wire::SmsAccepted { gateway_id: id.clone() })
            }
            Entry::Ended(Outcome::Sent { gateway_id: None }) => Message::Delivered(wire::SmsDelivered {}),
            Entry::Ended(Outcome::Failed { code }) => {
                Message::Failed(wire::SmsFailed { code: code.to_string() })
            }
            Entry::Ended(Outcome::Unknown { code }) => {
                Message::Unknown(wire::SmsUnknown { code: code.to_string() })
            }
        };
        SmsRecord {
            reference: Some(reference.into()),
            out_id: sms::out_id(reference).to_wire(),
            at_ms: at.0,
            message: Some(message),
        }
    }

    fn of(message: Option<Message>) -> Self {
        match message {
            Some(Message::Claimed(_)) => Entry::Claimed,
            Some(Message::Accepted(accepted)) => {
                Entry::Ended(Outcome::Sent { gateway_id: Some(accepted.gateway_id) })
            }
            Some(Message::Delivered(_)) => Entry::Ended(Outcome::Sent { gateway_id: None }),
            Some(Message::Failed(failed)) => {
                Entry::Ended(Outcome::Failed { code: code(&failed.code, Code::GATEWAY_REFUSED) })
            }
            Some(Message::Unknown(unknown)) => {
                Entry::Ended(Outcome::Unknown { code: code(&unknown.code, Code::GATEWAY_OUTCOME_UNKNOWN) })
            }
            // A newer notifier wrote something about this SMS, so it may have been sent.
            None => Entry::Ended(Outcome::Unknown { code: Code::GATEWAY_OUTCOME_UNKNOWN }),
        }
    }
}

/// A newer notifier may have written a code that this one does not know.
fn code(text: &str, otherwise: Code) -> Code {
    Code::ALL.iter().copied().find(|code| code.as_str() == text).unwrap_or(otherwise)
}

/// What the topic says so far.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    states: HashMap<Reference, State>,
}

/// What the topic says in the end about one SMS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The query.
    pub reference: Reference,
    /// How its SMS ended. A claim without an outcome is found `unknown`.
    pub outcome: Outcome,
    /// Whether the topic says so already.
    pub announced: bool,
}

impl Ledger {
    /// Takes the value of one record. Records about other messages than this one are passed over.
    ///
    /// # Errors
    /// `MESSAGE_MALFORMED` and the codes of a broken reference, when it cannot be told whose SMS it is.
    pub fn take(&mut self, value: &[u8]) -> Result<(), Code> {
        let record = SmsRecord::decode(value).map_err(|_| Code::MESSAGE_MALFORMED)?;
        let reference = Reference::try_from(record.reference.as_ref())?;
        if record.out_id != sms::out_id(&reference).0.as_slice() {
            return Ok(());
        }
        let event = match Entry::of(record.message) {
            // Whoever wrote this had the right to claim, at least with an idempotent gateway.
            Entry::Claimed => Event::Claim { idempotent: true },
            Entry::Ended(outcome) => Event::End(outcome),
        };
        let state = self.states.entry(reference).or_default();
        *state = sms::apply(std::mem::take(state), event);
        Ok(())
    }

    /// Closes the books at the end of the topic: nobody works on a claim any more.
    pub fn close(self) -> impl Iterator<Item = Finding> {
        self.states.into_iter().filter_map(|(reference, state)| match state {
            State::Pending => None,
            State::Claimed => {
                let outcome = Outcome::Unknown { code: Code::GATEWAY_OUTCOME_UNKNOWN };
                Some(Finding { reference, outcome, announced: false })
            }
            State::Ended(outcome) => Some(Finding { reference, outcome, announced: true }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: UnixMillis = UnixMillis(7);

    fn reference() -> Reference {
        Reference { upstream: "wallet".parse().expect("an id"), query: schemas::ids::QueryId::generate() }
    }

    fn entries() -> [Entry; 5] {
        [
            Entry::Claimed,
            Entry::Ended(Outcome::Sent { gateway_id: Some("g-1".into()) }),
            Entry::Ended(Outcome::Sent { gateway_id: None }),
            Entry::Ended(Outcome::Failed { code: Code::CONTACT_UNREADABLE }),
            Entry::Ended(Outcome::Unknown { code: Code::GATEWAY_OUTCOME_UNKNOWN }),
        ]
    }

    fn findings(records: &[SmsRecord]) -> Vec<Finding> {
        let mut ledger = Ledger::default();
        for record in records {
            ledger.take(&record.encode_to_vec()).expect("readable");
        }
        ledger.close().collect()
    }

    #[test]
    fn every_entry_reads_back_as_it_was_written() {
        for entry in entries() {
            let record = entry.record(&reference(), AT);
            assert_eq!(Entry::of(record.message), entry);
        }
    }

    #[test]
    fn an_outcome_is_found_as_written_and_a_claim_without_one_is_unknown() {
        let reference = reference();
        for entry in entries() {
            let expected = match entry.clone() {
                Entry::Claimed => {
                    let outcome = Outcome::Unknown { code: Code::GATEWAY_OUTCOME_UNKNOWN };
                    Finding { reference: reference.clone(), outcome, announced: false }
                }
                Entry::Ended(outcome) => Finding { reference: reference.clone(), outcome, announced: true },
            };
            let records = [Entry::Claimed.record(&reference, AT), entry.record(&reference, AT)];
            assert_eq!(findings(&records), [expected], "{entry:?}");
        }
    }

    #[test]
    fn a_second_claim_after_unknown_is_open_again() {
        let reference = reference();
        let unknown = Entry::Ended(Outcome::Unknown { code: Code::GATEWAY_OUTCOME_UNKNOWN });
        let records = [Entry::Claimed, unknown, Entry::Claimed].map(|entry| entry.record(&reference, AT));
        assert!(!findings(&records)[0].announced);
    }

    #[test]
    fn a_message_of_a_newer_notifier_stops_the_sms_and_another_out_id_does_not() {
        let mut record = Entry::Claimed.record(&reference(), AT);
        record.message = None;
        let found = findings(std::slice::from_ref(&record));
        assert_eq!(found[0].outcome, Outcome::Unknown { code: Code::GATEWAY_OUTCOME_UNKNOWN });
        record.out_id = vec![0; 16].into();
        assert_eq!(findings(&[record]), []);
    }

    #[test]
    fn a_record_of_nobody_is_an_error() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.take(b"\xff"), Err(Code::MESSAGE_MALFORMED));
        assert_eq!(ledger.take(b""), Err(Code::MESSAGE_MALFORMED));
        assert_eq!(ledger.close().count(), 0);
    }
}
