//! What must never be printed, and the scrubber that takes it out of other people's texts.

use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use url::form_urlencoded;

const REDACTED: &str = "[redacted]";

/// A RAS account. `Debug` hides the password.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Sent as it stands; RAS decides whether it wants a bare name, `DOMAIN\name` or a UPN.
    pub username: String,
    /// Never printed, never compared.
    pub password: SecretString,
}

/// The Parallels My Account under which a farm's licence is registered. `Debug` hides the password.
#[derive(Clone, Debug)]
pub struct MyAccount {
    /// The account's e-mail address.
    pub email: String,
    /// Never printed, never compared.
    pub password: SecretString,
}

/// The token of an administration session. `Debug` hides it.
#[derive(Clone, Debug)]
pub struct AuthToken(SecretString);

impl AuthToken {
    /// `None` where the text cannot be a header value, or is empty: such a token could never be sent.
    pub fn new(token: String) -> Option<Self> {
        let usable = !token.is_empty() && HeaderValue::from_str(&token).is_ok();
        usable.then(|| Self(SecretString::from(token)))
    }

    /// Whether both are of one session.
    pub fn is_same(&self, other: &Self) -> bool {
        self.0.expose_secret() == other.0.expose_secret()
    }

    /// The header value, marked sensitive so that no layer below prints it.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(self.0.expose_secret()).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    pub(super) fn secret(&self) -> &SecretString {
        &self.0
    }
}

/// Takes the secrets of one call out of a text that the farm or a library wrote.
#[derive(Clone, Default)]
pub(super) struct Scrubber {
    forms: Vec<String>,
}

impl Scrubber {
    pub(super) fn add(&mut self, secret: &SecretString) {
        let plain = secret.expose_secret();
        if plain.is_empty() {
            return;
        }
        self.forms.extend(spellings(plain));
        // A spelling may be part of another one: the longest goes first, so that no rest stays behind.
        self.forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        self.forms.dedup();
    }

    pub(super) fn scrub(&self, text: &str) -> String {
        self.forms.iter().fold(text.to_owned(), |text, form| {
            if text.contains(form.as_str()) { text.replace(form.as_str(), REDACTED) } else { text }
        })
    }

    /// One printable line of at most `limit` characters: cleaned, then scrubbed, and only then cut, because a
    /// cut secret would no longer be recognised.
    pub(super) fn line(&self, text: &str, limit: usize) -> String {
        let clean: String = text.chars().filter(|c| !is_unprintable(*c)).collect();
        let scrubbed = self.scrub(clean.trim());
        match scrubbed.char_indices().nth(limit) {
            Some((end, _)) => format!("{}...", &scrubbed[..end]),
            None => scrubbed,
        }
    }
}

/// Control characters, and the invisible ones that could hide or turn around what a person reads.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// The ways in which an answer may spell a secret that was sent as a query parameter, a header or JSON.
fn spellings(plain: &str) -> Vec<String> {
    let form: String = form_urlencoded::byte_serialize(plain.as_bytes()).collect();
    let percent = form.replace('+', "%20");
    let json = serde_json::Value::from(plain).to_string();
    vec![
        lower_hex(&form),
        lower_hex(&percent),
        form,
        percent,
        json[1..json.len() - 1].to_owned(),
        plain.to_owned(),
    ]
}

/// `%2F` as `%2f`, the rest as it is.
fn lower_hex(encoded: &str) -> String {
    let mut digits = 0;
    encoded
        .chars()
        .map(|c| {
            let inside = digits > 0;
            digits = if c == '%' { 2 } else { digits - i32::from(inside) };
            if inside { c.to_ascii_lowercase() } else { c }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANARY: &str = r#"pa ss/wö"rd+\&%"#;

    fn scrubber(secret: &str) -> Scrubber {
        let mut scrubber = Scrubber::default();
        scrubber.add(&SecretString::from(secret));
        scrubber
    }

    #[test]
    fn debug_hides_password_and_token() {
        let credentials = Credentials { username: "svc".into(), password: CANARY.into() };
        assert!(!format!("{credentials:?}").contains("ss/w"));
        let token = AuthToken::new("canary-token".into()).unwrap();
        assert!(!format!("{token:?} {:?}", token.header()).contains("canary"));
    }

    #[test]
    fn a_token_that_cannot_be_a_header_is_none() {
        assert!(AuthToken::new(String::new()).is_none());
        assert!(AuthToken::new("two\nlines".into()).is_none());
    }

    #[test]
    fn every_spelling_of_a_secret_is_scrubbed() {
        for form in spellings(CANARY) {
            let text = format!("before {form} after {form}");
            assert_eq!(scrubber(CANARY).scrub(&text), "before [redacted] after [redacted]");
        }
    }

    #[test]
    fn an_empty_secret_scrubs_nothing() {
        assert_eq!(scrubber("").scrub("text"), "text");
    }

    #[test]
    fn a_secret_is_scrubbed_before_the_text_is_cut_and_after_it_is_cleaned() {
        let text = format!("{}top\u{7}se\u{202e}cret and more", "x".repeat(5));
        assert_eq!(scrubber("topsecret").line(&text, 10), "xxxxx[reda...");
    }

    #[test]
    fn hex_is_lowered_and_nothing_else() {
        assert_eq!(lower_hex("A%2FB%C3%9Ac%AB"), "A%2fB%c3%9ac%ab");
    }
}
