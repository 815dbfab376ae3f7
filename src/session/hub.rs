//! Who has to be told that an agent changed. Changes of one agent coalesce: a slow listener holds a
//! set of names, never a queue of changes.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Notify;

/// Listeners of the list of agents.
#[derive(Default)]
pub struct Hub {
    listeners: Mutex<Vec<Weak<Listener>>>,
}

/// One listener: the sessions that changed since it looked last.
#[derive(Default)]
pub struct Listener {
    changed: Mutex<BTreeSet<String>>,
    wake: Notify,
}

impl Hub {
    pub fn listen(&self) -> Arc<Listener> {
        let listener = Arc::new(Listener::default());
        let mut all = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|l| l.strong_count() > 0);
        all.push(Arc::downgrade(&listener));
        listener
    }

    /// Says that an agent changed, came or went.
    pub fn mark(&self, session: &str) {
        for l in self.listeners.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if let Some(l) = l.upgrade() {
                let mut set = l.changed.lock().unwrap_or_else(PoisonError::into_inner);
                if !set.contains(session) {
                    set.insert(session.to_owned());
                    l.wake.notify_one();
                }
            }
        }
    }
}

impl Listener {
    /// Takes what changed so far, which may be nothing.
    pub fn taken(&self) -> BTreeSet<String> {
        std::mem::take(&mut *self.changed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until something changed, and takes it.
    pub async fn changed(&self) -> BTreeSet<String> {
        loop {
            let set = self.taken();
            if !set.is_empty() {
                return set;
            }
            self.wake.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn changes_of_one_agent_coalesce_and_none_is_lost() {
        let hub = Hub::default();
        let l = hub.listen();
        for _ in 0..1000 {
            hub.mark("a");
            hub.mark("b");
        }
        assert_eq!(l.changed().await.into_iter().collect::<Vec<_>>(), ["a", "b"]);
        hub.mark("c");
        assert_eq!(l.changed().await.into_iter().collect::<Vec<_>>(), ["c"]);
    }

    #[test]
    fn a_listener_that_left_is_forgotten() {
        let hub = Hub::default();
        drop(hub.listen());
        hub.mark("a");
        let _l = hub.listen();
        assert_eq!(hub.listeners.lock().unwrap().len(), 1);
    }
}
