//! What the operator logs, at TRACE: kept where a run asks for it, and searched for secrets when the run is over.

use std::cell::RefCell;
use std::io::{self, Write};

use tracing::Level;
use tracing::subscriber::{DefaultGuard, set_default};

thread_local! {
    static KEPT: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

struct Kept;

impl Write for Kept {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        KEPT.with_borrow_mut(|kept| kept.get_or_insert_default().extend_from_slice(part));
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Keeps what is logged on this thread, on which all of one run happens, until the guard is dropped.
pub fn keep() -> DefaultGuard {
    KEPT.take();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(Level::TRACE).with_ansi(false).with_writer(|| Kept);
    set_default(subscriber.finish())
}

/// What was kept.
pub fn kept() -> Option<String> {
    KEPT.take().map(|kept| String::from_utf8_lossy(&kept).into_owned())
}
