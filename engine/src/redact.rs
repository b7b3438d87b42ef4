//! Keeps passwords in URLs out of everything that is printed: logs, errors, reports and the configuration.
//!
//! It does *not* own other secrets: credentials come from AWS's own chain and are never part of a text.

use std::borrow::Cow;

/// Replaces a user's name and password.
const HIDDEN: &str = "***";

/// `text` without the user names and passwords of its URLs: `https://user:secret@host/q` becomes `https://***@host/q`.
///
/// A URL ends at white space or a control character here. Everything before its last `@` is hidden, because a password
/// with a slash in it would look like a path.
#[must_use]
pub fn urls(text: &str) -> Cow<'_, str> {
    const SCHEME_END: &str = "://";
    let is_end = |c: char| c.is_whitespace() || c.is_control();
    let (mut shown, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(SCHEME_END) {
        let (before, url) = rest.split_at(at + SCHEME_END.len());
        let (url, behind) = url.split_at(url.find(is_end).unwrap_or(url.len()));
        shown.push_str(before);
        match url.rfind('@') {
            Some(at) => shown.extend([HIDDEN, &url[at..]]),
            None => shown.push_str(url),
        }
        rest = behind;
    }
    if shown.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(shown + rest) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_of_urls_are_hidden_and_all_else_is_kept() {
        for (text, expected) in [
            ("https://user:secret@host/1/q", "https://***@host/1/q"),
            ("https://user@host", "https://***@host"),
            ("https://user:se/c?r#e@t@host:80/q", "https://***@host:80/q"),
            ("is \"http://u:p@h/q\"; use s3://b/k or a@b", "is \"http://***@h/q\"; use s3://b/k or a@b"),
            ("[\"http://u:p@a/x\", \"http://u:p@b/y\"]", "[\"http://***@a/x\", \"http://***@b/y\"]"),
            ("http://u:p@a/x\nhttp://b/y", "http://***@a/x\nhttp://b/y"),
        ] {
            assert_eq!(urls(text), expected);
        }
        for text in ["", "https://host/1/q", "http://[::1]:9/q", "no URL of a@b", "https://", "://"] {
            assert_eq!(urls(text), text);
        }
    }
}
