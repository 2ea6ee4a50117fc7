//! What is in force now: read by many, replaced as a whole while they read.

use std::sync::{Arc, PoisonError, RwLock};

/// A value that may be replaced. Clones share it.
#[derive(Debug)]
pub struct InForce<T>(Arc<RwLock<Arc<T>>>);

impl<T> InForce<T> {
    /// `value`, until it is replaced.
    pub fn new(value: T) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(value))))
    }

    /// The value now. Whoever decides several things together asks once.
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on `value`, for everybody.
    pub fn replace(&self, value: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
    }
}

impl<T> Clone for InForce<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asked_before_keeps_what_was_in_force_and_all_clones_get_what_is_new() {
        let (one, other) = (InForce::new(1), InForce::new(7));
        let (before, clone) = (one.get(), one.clone());
        clone.replace(2);
        assert_eq!((*before, *one.get(), *clone.get(), *other.get()), (1, 2, 2, 7));
    }
}
