//! Looks after SMS whose time has come: sends what waited, asks the gateway about what may have been sent, ends what
//! nobody will finish, and tells the SMS topic of outcomes that it lacks.
//!
//! In: rows whose time is over. Out: the same steps that a notice leads to. What must never happen here: an SMS that may
//! have been sent goes to a gateway that is not idempotent.
//!
//! Whoever takes a row up has it for a while, so several instances share the work. One that dies leaves its rows to the
//! next, when that while is over.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt, stream};
use plumbing::kafka::{Position, RecordReader, Verdict};
use schemas::codes::Code;

use crate::dispatch::{NotNow, SmsLog};
use crate::domain::evidence::Means;
use crate::domain::ledger::code;
use crate::domain::sms::{Event, State};
use crate::handler::Notices;
use crate::store::{Due, NoticeAt, Store};

/// Rows that are taken up together.
const AT_ONCE: u32 = 64;
/// Rows that are worked on side by side.
const SIDE_BY_SIDE: usize = 16;

/// What a row needs whose time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Its notice is read again and sent.
    Send(NoticeAt),
    /// The gateway is asked what became of it.
    Inquire,
    /// Its claimant is dead.
    Lapse,
    /// What it waits for does not come.
    GiveUp,
    /// The SMS topic is told.
    Announce,
    /// Nothing.
    Leave,
}

/// The one rule of what is done.
pub(crate) fn step(due: &Due, means: Means) -> Step {
    let doubt = due.sms.evidence.is_doubt();
    match (&due.sms.state, due.notice) {
        (State::Claimed { .. }, _) => Step::Lapse,
        (State::Ended(_), _) if due.announced => Step::Leave,
        (State::Ended(_), _) => Step::Announce,
        (State::Pending | State::Waiting { .. }, Some(notice)) if !doubt || means.idempotent => {
            Step::Send(notice)
        }
        (State::Pending | State::Waiting { .. }, _) if doubt && means.inquiries => Step::Inquire,
        (State::Pending | State::Waiting { .. }, _) => Step::GiveUp,
    }
}

/// Works until `stopping`.
pub(crate) struct Sweep<S, L> {
    notices: Arc<Notices<S, L>>,
    reader: RecordReader,
    topic: Arc<str>,
}

impl<S: Store, L: SmsLog> Sweep<S, L> {
    /// `topic` is that of the notices.
    pub(crate) fn new(notices: Arc<Notices<S, L>>, reader: RecordReader, topic: Arc<str>) -> Self {
        Self { notices, reader, topic }
    }

    /// Looks for rows every so often.
    pub(crate) async fn run(self, every: Duration, stopping: impl Future<Output = ()>) {
        let mut stopping = std::pin::pin!(stopping);
        loop {
            // Not in the middle of a round: it may be at the gateway.
            tokio::select! {
                () = &mut stopping => return,
                () = tokio::time::sleep(every) => {}
            }
            // A backlog does not wait between its rounds.
            while self.round().await == AT_ONCE as usize && stopping.as_mut().now_or_never().is_none() {}
        }
    }

    /// How many rows were taken up.
    async fn round(&self) -> usize {
        let dispatch = self.notices.dispatch();
        let due = match dispatch.store().due(AT_ONCE, dispatch.limits().lease).await {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(%error, "SMS that are due are not looked after");
                return 0;
            }
        };
        let count = due.len();
        stream::iter(due)
            .for_each_concurrent(SIDE_BY_SIDE, async |due| {
                if let Err(error) = self.look_after(&due).await {
                    tracing::warn!(query = %due.reference, %error, "later");
                }
            })
            .await;
        count
    }

    async fn look_after(&self, due: &Due) -> Result<(), NotNow> {
        let dispatch = self.notices.dispatch();
        let reference = &due.reference;
        match step(due, dispatch.means()) {
            Step::Send(notice) => self.send(due, notice).await,
            Step::Inquire => dispatch.inquire(reference, due.sms.attempt).await,
            Step::Lapse => dispatch.note(reference, Event::Lapse(dispatch.means())).await,
            Step::GiveUp => self.give_up(due, Code::GATEWAY_UNAVAILABLE).await,
            // Nothing changes, and the outcome is told if it still has to be.
            Step::Announce => dispatch.note(reference, Event::Lapse(dispatch.means())).await,
            Step::Leave => Ok(()),
        }
    }

    async fn give_up(&self, due: &Due, code: Code) -> Result<(), NotNow> {
        let event = Event::GiveUp { attempt: due.sms.attempt, code };
        self.notices.dispatch().note(&due.reference, event).await
    }

    async fn send(&self, due: &Due, notice: NoticeAt) -> Result<(), NotNow> {
        let reference = &due.reference;
        let NoticeAt { partition, offset } = notice;
        let position = Position { topic: Arc::clone(&self.topic), partition, offset };
        let record = match self.reader.read(position).await {
            Ok(record) => record.filter(|record| Notices::<S, L>::is_of(record, reference)),
            Err(error) => {
                tracing::warn!(query = %reference, %error, "a notice that is due cannot be read again");
                return Ok(());
            }
        };
        let Some(record) = record else { return self.give_up(due, Code::GATEWAY_UNAVAILABLE).await };
        match self.notices.one(&record).await {
            // What must come again does so when this instance's turn with the row is over.
            Verdict::Done | Verdict::Retry { .. } => Ok(()),
            Verdict::DeadLetter { code: why, .. } => {
                self.give_up(due, code(why, Code::MESSAGE_MALFORMED)).await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use schemas::ids::{QueryId, Reference};
    use schemas::time::UnixMillis;

    use super::*;
    use crate::domain::evidence::tests::MEANS;
    use crate::domain::sms::{Claimant, Outcome, Sms, UNFINISHED, apply};

    const NOTICE: NoticeAt = NoticeAt { partition: 3, offset: 7 };

    fn due(sms: Sms, notice: Option<NoticeAt>, announced: bool) -> Due {
        let reference = Reference { upstream: "wallet".parse().expect("an id"), query: QueryId::generate() };
        Due { reference, sms, notice, announced }
    }

    fn in_state(state: State) -> Sms {
        Sms { attempt: 1, state, ..Sms::default() }
    }

    fn doubtful() -> Sms {
        let claimed = State::Claimed { claimant: Claimant::new(), until: UnixMillis(0) };
        let sms = apply(in_state(claimed), Event::Lapse(MEANS), UnixMillis(1));
        assert_eq!(sms.state, State::Waiting { due: UnixMillis(1) });
        sms
    }

    #[test]
    fn what_may_have_been_sent_goes_again_to_an_idempotent_gateway_only() {
        let idempotent = Means { idempotent: true, ..MEANS };
        let mute = Means { inquiries: false, ..MEANS };
        for (notice, means, expected) in [
            (Some(NOTICE), MEANS, Step::Inquire),
            (Some(NOTICE), idempotent, Step::Send(NOTICE)),
            (Some(NOTICE), mute, Step::GiveUp),
            (None, idempotent, Step::Inquire),
            (None, mute, Step::GiveUp),
        ] {
            assert_eq!(step(&due(doubtful(), notice, false), means), expected, "{notice:?} {means:?}");
        }
    }

    #[test]
    fn everything_else_has_one_step_whatever_the_gateway_can() {
        let claimed = State::Claimed { claimant: Claimant::new(), until: UnixMillis(0) };
        let waiting = State::Waiting { due: UnixMillis(0) };
        let sent = State::Ended(Outcome::Sent { gateway_id: "g-1".into() });
        for means in [MEANS, Means { idempotent: true, ..MEANS }, Means { inquiries: false, ..MEANS }] {
            for (state, notice, announced, expected) in [
                (State::Pending, Some(NOTICE), false, Step::Send(NOTICE)),
                (claimed.clone(), Some(NOTICE), false, Step::Lapse),
                (waiting.clone(), Some(NOTICE), false, Step::Send(NOTICE)),
                (waiting.clone(), None, false, Step::GiveUp),
                (sent.clone(), Some(NOTICE), false, Step::Announce),
                (sent.clone(), Some(NOTICE), true, Step::Leave),
                (State::Ended(UNFINISHED), None, false, Step::Announce),
            ] {
                assert_eq!(
                    step(&due(in_state(state.clone()), notice, announced), means),
                    expected,
                    "{state:?}"
                );
            }
        }
    }
}
