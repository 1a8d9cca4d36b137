//! The rate limit: a fixed window of the farm's clock, as RAS 21 documents it.

use jiff::Timestamp;

use super::refusal::Refusal;
use super::state::Window;

impl Window {
    /// Counts one request; beyond the limit it is refused until the window is over.
    pub(super) fn count(&mut self, now: Timestamp) -> Result<(), Refusal> {
        let Some(limit) = self.limit else {
            return Ok(());
        };
        let left = |opened: Timestamp| i64::from(limit.window) - now.duration_since(opened).as_secs();
        // A clock that was set back opens a new window too.
        let open = self.opened.filter(|opened| *opened <= now && left(*opened) > 0);
        let opened = open.unwrap_or_else(|| {
            self.requests = 0;
            now
        });
        self.opened = Some(opened);
        if self.requests >= limit.requests {
            return Err(Refusal::RateLimited(left(opened)));
        }
        self.requests += 1;
        Ok(())
    }
}
