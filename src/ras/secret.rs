//! What must never be printed, and the scrubber that takes it out of other people's texts.

use std::collections::HashSet;
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use url::form_urlencoded;

const REDACTED: &str = "[redacted]";
/// The shortest part of a secret that is taken out by itself: less may be a word of any text.
const WINDOW: usize = 12;
/// The longest token that is taken: servers refuse longer headers.
const MAX_TOKEN: usize = 8 << 10;

/// The longest user name or password that is taken, in bytes. No account has one, and each error's text is searched for
/// every part of it.
pub const MAX_CREDENTIAL: usize = 1 << 10;

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

/// The token of an administration session, with the password that opened it, which a farm may quote in any answer.
/// `Debug` hides both.
#[derive(Clone, Debug)]
pub struct AuthToken {
    token: SecretString,
    password: SecretString,
}

impl AuthToken {
    /// `None` where the text cannot be a header value, is empty or too long: such a token could never be sent.
    pub fn new(token: String) -> Option<Self> {
        let usable = (1..=MAX_TOKEN).contains(&token.len()) && HeaderValue::from_str(&token).is_ok();
        usable.then(|| Self { token: SecretString::from(token), password: SecretString::default() })
    }

    /// The same token, as what this account was given.
    pub(super) fn given_to(self, credentials: &Credentials) -> Self {
        Self { password: credentials.password.clone(), ..self }
    }

    /// Whether both are of one session.
    pub fn is_same(&self, other: &Self) -> bool {
        self.token.expose_secret() == other.token.expose_secret()
    }

    /// The header value, marked sensitive so that no layer below prints it.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(self.token.expose_secret()).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    pub(super) fn secrets(&self) -> [&SecretString; 2] {
        [&self.token, &self.password]
    }
}

/// Takes the secrets of one call, and parts of them, out of a text that the farm or a library wrote.
#[derive(Clone, Default)]
pub(super) struct Scrubber {
    secrets: Vec<SecretString>,
}

impl Scrubber {
    pub(super) fn add(&mut self, secret: &SecretString) {
        if !secret.expose_secret().is_empty() {
            self.secrets.push(secret.clone());
        }
    }

    pub(super) fn scrub(&self, text: &str) -> String {
        let mut scrubbed = String::with_capacity(text.len());
        let mut kept = 0;
        for hidden in self.hidden(text) {
            let (start, end) = (text.floor_char_boundary(hidden.start), text.ceil_char_boundary(hidden.end));
            scrubbed.push_str(&text[kept..start.max(kept)]);
            scrubbed.push_str(REDACTED);
            kept = end;
        }
        scrubbed + &text[kept..]
    }

    /// The parts of a text that are secret, in order; those that touch are one.
    fn hidden(&self, text: &str) -> Vec<Range<usize>> {
        let forms: Vec<String> =
            self.secrets.iter().flat_map(|secret| spellings(secret.expose_secret())).collect();
        let (short, long): (Vec<_>, Vec<_>) = forms.iter().partition(|form| form.len() < WINDOW);
        let windows: HashSet<&[u8]> = long.iter().flat_map(|form| form.as_bytes().windows(WINDOW)).collect();
        let whole = short.iter().flat_map(|form| text.match_indices(form.as_str()));
        let whole = whole.map(|(at, form)| at..at + form.len());
        let parts = text.as_bytes().windows(WINDOW).enumerate();
        let parts = parts.filter(|(_, part)| windows.contains(part)).map(|(at, _)| at..at + WINDOW);
        let mut found: Vec<Range<usize>> = whole.chain(parts).collect();
        found.sort_by_key(|range| range.start);
        let mut merged: Vec<Range<usize>> = Vec::new();
        for range in found {
            match merged.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                Some(_) | None => merged.push(range),
            }
        }
        merged
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
    let mut all = vec![
        lower_hex(&form),
        lower_hex(&percent),
        form,
        percent,
        json[1..json.len() - 1].to_owned(),
        plain.to_owned(),
    ];
    all.extend((0..3).map(|offset| packed(plain, offset)).filter(|form| !form.is_empty()));
    all
}

/// Base64 of a secret that stands at this offset, modulo three, of what was encoded: what depends on it alone.
fn packed(plain: &str, offset: usize) -> String {
    let bytes = [&vec![0; offset][..], plain.as_bytes()].concat();
    let (first, last) = ((offset * 8).div_ceil(6), bytes.len() * 8 / 6);
    STANDARD_NO_PAD.encode(&bytes).get(first..last).unwrap_or_default().to_owned()
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
        assert!(AuthToken::new("x".repeat(MAX_TOKEN)).is_some());
        assert!(AuthToken::new("x".repeat(MAX_TOKEN + 1)).is_none());
    }

    #[test]
    fn every_spelling_of_a_secret_is_scrubbed() {
        for form in spellings(CANARY) {
            let text = format!("before {form} after {form}");
            assert_eq!(scrubber(CANARY).scrub(&text), "before [redacted] after [redacted]");
        }
    }

    #[test]
    fn a_part_of_a_secret_is_scrubbed_and_what_is_too_short_to_tell_is_not() {
        let secret = "0123456789abcdefghij";
        for (text, scrubbed) in [
            ("it says 23456789abcdef, cut", "it says [redacted], cut"),
            ("it says 23456789abc", "it says 23456789abc"),
            ("\u{e4}0123456789abcdefghij\u{e4}", "\u{e4}[redacted]\u{e4}"),
            ("0123456789abcdefghij0123456789abcdefghij", "[redacted]"),
            ("0123456789abcdefghij 0123456789abcdefghij", "[redacted] [redacted]"),
        ] {
            assert_eq!(scrubber(secret).scrub(text), scrubbed);
        }
    }

    #[test]
    fn a_secret_in_a_packed_pair_of_name_and_password_is_scrubbed_wherever_it_stands() {
        for name in ["a", "ab", "abc"] {
            let packed = STANDARD_NO_PAD.encode(format!("{name}:a-long-and-secret-password."));
            let scrubbed = scrubber("a-long-and-secret-password").scrub(&packed);
            assert!(scrubbed.len() <= "abc:".len() * 2 + REDACTED.len(), "{scrubbed}");
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
