//! Queries whose requests are void. Bounded: the oldest is forgotten first.

use std::collections::{BTreeSet, VecDeque};

use schemas::ids::Reference;

/// The references that were cancelled last.
#[derive(Debug)]
pub struct Cancelled {
    known: BTreeSet<Reference>,
    order: VecDeque<Reference>,
    capacity: usize,
}

impl Cancelled {
    /// Remembers at most `capacity` references.
    pub fn new(capacity: usize) -> Self {
        Self { known: BTreeSet::new(), order: VecDeque::new(), capacity }
    }

    /// Remembers `reference`.
    pub fn insert(&mut self, reference: Reference) {
        if self.capacity == 0 || !self.known.insert(reference.clone()) {
            return;
        }
        if self.order.len() == self.capacity
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.order.push_back(reference);
    }

    /// Whether its requests are void.
    pub fn contains(&self, reference: &Reference) -> bool {
        self.known.contains(reference)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::ids::QueryId;

    #[test]
    fn the_oldest_is_forgotten_first_and_the_memory_stays_bounded() {
        let reference =
            || Reference { upstream: "wallet".parse().expect("an id"), query: QueryId::generate() };
        let all: Vec<_> = std::iter::repeat_with(reference).take(5).collect();
        let mut cancelled = Cancelled::new(3);
        for reference in &all {
            cancelled.insert(reference.clone());
            cancelled.insert(reference.clone());
        }
        let known: Vec<_> = all.iter().map(|reference| cancelled.contains(reference)).collect();
        assert_eq!(known, [false, false, true, true, true]);
        assert_eq!((cancelled.known.len(), cancelled.order.len()), (3, 3));
    }
}
