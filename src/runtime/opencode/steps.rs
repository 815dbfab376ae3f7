//! The guard: steps (calls of the model) of one turn, the agent's own and its subagents'.

use std::collections::BTreeSet;

use crate::event::Body;

/// Steps at which a person is warned.
const WARN_AT: [u32; 4] = [5, 10, 15, 20];

/// Steps that are told apart; beyond it a repeated one would count again.
const MAX_KNOWN: usize = 1000;

/// Counts the steps of the running turn.
#[derive(Debug, Default)]
pub(super) struct Steps {
    /// Most steps of a turn; 0 = no limit.
    limit: u32,
    n: u32,
    /// Ids of the parts that were counted: what was missed is fetched again, and comes twice then.
    seen: BTreeSet<String>,
}

impl Steps {
    pub(super) fn new(limit: u32) -> Self {
        Self { limit, ..Self::default() }
    }

    /// A turn begins.
    pub(super) fn reset(&mut self) {
        self.n = 0;
        self.seen.clear();
    }

    /// A step began. Tells it, and warns. True: this one is past the limit.
    pub(super) fn count(&mut self, part: &str, mut fact: impl FnMut(Body)) -> bool {
        if self.seen.contains(part) {
            return false;
        }
        if self.seen.len() < MAX_KNOWN {
            self.seen.insert(part.to_owned());
        }
        self.n = self.n.saturating_add(1);
        fact(Body::Step { n: self.n, limit: self.limit });
        if WARN_AT.contains(&self.n) {
            let limit = match self.limit {
                0 => "no limit".to_owned(),
                limit => format!("limit {limit}"),
            };
            fact(Body::Warning { text: format!("the turn is at step {} ({limit})", self.n) });
        }
        self.limit != 0 && self.n > self.limit
    }

    /// Why a turn past the limit is ended.
    pub(super) fn reason(&self) -> String {
        format!(
            "the turn took more than {} steps (step_limit of the runtime in fracta.yaml; 0 turns it off)",
            self.limit
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(limit: u32, parts: impl Iterator<Item = String>) -> (Vec<Body>, Vec<u32>) {
        let mut steps = Steps::new(limit);
        let (mut facts, mut over) = (Vec::new(), Vec::new());
        for part in parts {
            if steps.count(&part, |b| facts.push(b)) {
                over.push(steps.n);
            }
        }
        (facts, over)
    }

    #[test]
    fn warns_and_tells_what_is_past_the_limit() {
        let (facts, over) = run(20, (0..22).map(|i| i.to_string()));
        assert_eq!(over, [21, 22]);
        let warned = facts.iter().filter(|b| matches!(b, Body::Warning { .. })).count();
        assert_eq!(warned, 4);
        assert_eq!(facts.last(), Some(&Body::Step { n: 22, limit: 20 }));
    }

    #[test]
    fn the_same_step_counts_once_and_zero_is_no_limit() {
        assert_eq!(
            run(1, ["a", "a", "a"].map(str::to_owned).into_iter()),
            (vec![Body::Step { n: 1, limit: 1 }], vec![])
        );
        assert_eq!(run(0, (0..100).map(|i| i.to_string())).1, [] as [u32; 0]);
    }
}
