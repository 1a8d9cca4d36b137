//! What is printed and what is not, whatever `RUST_LOG` says.

use std::io::Write;
use std::sync::{Arc, Mutex};

use tracing_subscriber::fmt::MakeWriter;

use super::*;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// What is printed under this filter by those who see secrets, and by the operator itself.
fn printed(directives: &str) -> String {
    let lines = Lines::default();
    let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(lines.clone());
    let filter = EnvFilter::new(directives).and(filter_fn(is_permitted));
    let subscriber = tracing_subscriber::registry().with(layer.with_filter(filter));
    tracing::subscriber::with_default(subscriber, || {
        let _span =
            tracing::error_span!(target: "kube_client::client", "HTTP", http.url = "secret-url").entered();
        tracing::error!(target: "kube_client::client", "secret-body");
        tracing::trace!(target: "reqwest::connect", "secret-header");
        tracing::debug!(target: "hyper_util::client::legacy", "secret-host");
        tracing::info!(target: "rustls::client", "harmless");
        tracing::trace!(target: "ras_operator::farm", "ours");
    });
    String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
}

#[test]
fn no_directive_makes_the_libraries_print_what_they_carry() {
    let loudest = "trace,kube_client::client=trace,kube_client=trace,reqwest::connect=trace,hyper_util=trace";
    let text = printed(loudest);
    assert!(!text.contains("secret"), "{text}");
    assert!(text.contains("harmless") && text.contains("ours"), "{text}");
}

#[test]
fn the_level_of_the_operator_itself_is_free() {
    assert!(!printed("info").contains("ours"));
    assert!(printed("info,ras_operator=trace").contains("ours"));
}

#[test]
fn a_cap_holds_for_a_library_and_not_for_names_that_begin_alike() {
    let table = [
        ("kube_client::client", Level::ERROR, false),
        ("kube_client::client::tls", Level::WARN, true),
        ("kube_client::client::builder", Level::ERROR, false),
        ("kube_runtime::watcher", Level::WARN, false),
        ("kube_runtime::controller", Level::DEBUG, true),
        ("reqwest", Level::INFO, true),
        ("reqwest::connect", Level::DEBUG, false),
        ("h2::frame", Level::TRACE, false),
        ("reqwest_like", Level::TRACE, true),
        ("ras_operator::ras", Level::TRACE, true),
    ];
    for (target, level, expected) in table {
        assert_eq!(permitted(target, level), expected, "{target} at {level}");
    }
}

#[test]
fn an_error_is_printed_with_all_its_causes_in_one_line() {
    #[derive(Debug, thiserror::Error)]
    #[error("failed to bake")]
    struct Outer(#[source] std::io::Error);

    assert_eq!(chain(&Outer(std::io::Error::other("no flour"))), "failed to bake: no flour");
    let told = Outer(std::io::Error::other("failed to bake"));
    assert_eq!(chain(&told), "failed to bake", "what is said already");
}

#[test]
fn trouble_is_news_once_and_again_when_it_changes_or_comes_back() {
    let mut trouble = Trouble::default();
    assert!(trouble.is_news("one"));
    assert!(!trouble.is_news("one"));
    assert!(trouble.is_news("two") && trouble.is_news("one"));
    trouble.is_over();
    assert!(trouble.is_news("one"));
}
