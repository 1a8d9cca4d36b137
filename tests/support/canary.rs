//! Looks for secrets in what a process puts out, in every usual encoding and in part.

use std::collections::HashMap;

/// What is found of a secret counts from this length on; a shorter one is looked for whole.
const WINDOW: usize = 12;
/// Fewer letters than these turn up by chance.
const LEAST: usize = 5;

/// Secrets to look for.
#[derive(Debug, Default)]
pub(crate) struct Canaries {
    /// The parts of long secrets, each with the secret's name.
    windows: HashMap<[u8; WINDOW], &'static str>,
    /// The beginnings of those parts, as a filter: nearly everything that is searched stops here.
    beginnings: Beginnings,
    /// Short ones.
    whole: Vec<(Vec<u8>, &'static str)>,
}

impl Canaries {
    /// Also looks for this one; `name` is what is shown where it is found.
    pub(crate) fn add(&mut self, name: &'static str, secret: &str) {
        for encoded in encodings(secret) {
            if encoded.len() >= WINDOW {
                for window in encoded.as_bytes().windows(WINDOW) {
                    self.beginnings.add(window);
                    self.windows.insert(window.try_into().expect("of this length"), name);
                }
            } else if encoded.len() >= LEAST {
                self.whole.push((encoded.into_bytes(), name));
            }
        }
    }

    /// The secret of which a part is in the text, with what stands around it.
    pub(crate) fn find(&self, text: &str) -> Option<String> {
        let part = text.as_bytes().windows(WINDOW).enumerate().find_map(|(place, window)| {
            let name = self.beginnings.has(window).then(|| self.windows.get(window)).flatten()?;
            Some((place, *name))
        });
        let whole = || {
            self.whole.iter().find_map(|(secret, name)| {
                let secret = str::from_utf8(secret).expect("text");
                text.find(secret).map(|place| (place, *name))
            })
        };
        let (place, name) = part.or_else(whole)?;
        let line = text.as_bytes().get(place.saturating_sub(200)..(place + 100).min(text.len()));
        Some(format!("{name}, in: {}", String::from_utf8_lossy(line.unwrap_or_default())))
    }
}

/// A set of numbers made of the first four bytes of a window.
#[derive(Debug)]
struct Beginnings(Vec<bool>);

impl Default for Beginnings {
    fn default() -> Self {
        Self(vec![false; 1 << 20])
    }
}

impl Beginnings {
    fn place(window: &[u8]) -> usize {
        let first = u32::from_le_bytes([window[0], window[1], window[2], window[3]]);
        (first.wrapping_mul(0x9E37_79B1) >> 12) as usize
    }

    fn add(&mut self, window: &[u8]) {
        self.0[Self::place(window)] = true;
    }

    fn has(&self, window: &[u8]) -> bool {
        self.0[Self::place(window)]
    }
}

fn encodings(secret: &str) -> Vec<String> {
    let form: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let percent = form.replace('+', "%20");
    let json = serde_json::to_string(secret).expect("text");
    let debug = format!("{secret:?}");
    let mut all = vec![secret.to_owned(), percent.to_lowercase(), form, percent, base64(secret.as_bytes())];
    all.extend([json, debug].map(|quoted| quoted[1..quoted.len() - 1].to_owned()));
    // Where the secret stands within what was encoded decides how it looks.
    for before in 0..3 {
        let bytes: Vec<u8> = std::iter::repeat_n(b' ', before).chain(secret.bytes()).collect();
        let encoded = base64(&bytes);
        let inside = encoded.get(4..encoded.len().saturating_sub(4)).unwrap_or_default().to_owned();
        all.push(inside.replace('+', "-").replace('/', "_"));
        all.push(inside);
    }
    all
}

/// base64 without padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let groups = bytes.chunks(3).flat_map(|group| {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - group.len()));
        (0..=group.len()).map(move |place| LETTERS[(bits >> (18 - 6 * place) & 63) as usize])
    });
    groups.map(char::from).collect()
}

/// What is secret in a P-256 key in PEM: the scalar. The rest is its public key, which certificates show, and the same in
/// every key.
pub(crate) fn secret_part(pem: &str) -> &str {
    let body = pem.find('\n').expect("a first line") + 1;
    &pem[body + 48..body + 88]
}
