//! What the audit topic of a system says.

use std::time::Duration;

use cardquery::sample;
use schemas::registry::{Registry, SeenVersions};
use schemas::time::UnixMillis;

use super::System;
use crate::audit_log::AuditLog;

const WITHIN: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(100);

impl System {
    /// The registry of the sample, as its records say.
    ///
    /// # Panics
    /// Never: they are good.
    #[must_use]
    pub fn registry(&self) -> Registry {
        let mut registry = Registry::new(sample::keys::roots(), SeenVersions::default());
        for (key, value) in sample::registry::records() {
            registry.apply(key.as_bytes(), &value, UnixMillis(0)).expect("the sample's entry");
        }
        registry
    }

    /// The log, read from its topic with the sample's registry alone.
    ///
    /// # Panics
    /// When it is not one log, or cannot be read.
    pub async fn log(&self) -> AuditLog {
        let topic = self.local.topics().audit();
        let records = self.records(&topic).await;
        let registry = self.registry();
        let keys = registry.hub().expect("the sample has a hub").keys();
        AuditLog::of(&topic, records.iter().map(|record| &record.value[..]), keys)
    }

    /// The log as soon as it is whole and `enough`.
    ///
    /// # Panics
    /// When it is not in time.
    pub async fn until_logged(&self, what: &str, enough: impl Fn(&AuditLog) -> bool) -> AuditLog {
        let looking = async {
            loop {
                let log = self.log().await;
                if log.is_covered() && enough(&log) {
                    return log;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(WITHIN, looking).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
    }
}
