//! Panics of whatever runs in a run: a task that panics ends by itself, and nobody else hears of it.

use std::cell::RefCell;
use std::panic::{set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static SEEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Looks out for panics of this thread, on which all of one run happens; those of runs before it are forgotten.
pub fn watch() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            SEEN.with_borrow_mut(|seen| seen.push(panic.to_string()));
            before(panic);
        }));
    });
    SEEN.take();
}

/// Those that were seen.
pub fn seen() -> Vec<String> {
    SEEN.take()
}
