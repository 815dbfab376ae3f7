//! When to draw: many requests, few frames. The first after a quiet time is drawn at once, and so is
//! what a key did; data is drawn at most 30 times a second. No request, no frame.

use std::time::Duration;

use tokio::time::Instant;

/// Least time between frames that show data.
pub const APART: Duration = Duration::from_millis(33);

/// Collects requests. Knows no clock of its own.
#[derive(Debug, Default)]
pub struct Frames {
    last: Option<Instant>,
    due: Option<Instant>,
}

impl Frames {
    /// Something changed.
    pub fn request(&mut self, now: Instant) {
        let earliest = self.last.map_or(now, |l| (l + APART).max(now));
        self.due = Some(self.due.map_or(earliest, |d| d.min(earliest)));
    }

    /// A person acted: draw now.
    pub fn urgent(&mut self, now: Instant) {
        self.due = Some(now);
    }

    /// When the next frame is to be drawn; none: never, as things are.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// A frame was drawn.
    pub fn drawn(&mut self, now: Instant) {
        self.last = Some(now);
        self.due = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_one_frame_and_the_first_is_at_once() {
        let t = Instant::now();
        let mut f = Frames::default();
        assert_eq!(f.due(), None, "idle draws nothing");
        f.request(t);
        assert_eq!(f.due(), Some(t));
        f.drawn(t);
        assert_eq!(f.due(), None);
        for ms in [1, 2, 10] {
            f.request(t + Duration::from_millis(ms));
        }
        assert_eq!(f.due(), Some(t + APART));
    }

    #[test]
    fn a_key_does_not_wait() {
        let t = Instant::now();
        let mut f = Frames::default();
        f.drawn(t);
        f.request(t);
        let key = t + Duration::from_millis(3);
        f.urgent(key);
        assert_eq!(f.due(), Some(key));
        f.drawn(key);
        f.request(key);
        assert_eq!(f.due(), Some(key + APART));
    }

    #[test]
    fn after_quiet_the_next_is_at_once() {
        let t = Instant::now();
        let mut f = Frames::default();
        f.drawn(t);
        let later = t + Duration::from_secs(1);
        f.request(later);
        assert_eq!(f.due(), Some(later));
    }
}
