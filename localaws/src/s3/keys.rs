//! The place of an object's bytes: below its bucket's folder under its own name, or aside under a digest of the name.
//!
//! An ordinary key is its own path, so that a user finds the object where the key says. A key that is not a path (`..`,
//! empty segments, control characters, overlong segments) never reaches the file system. Its file is named by the
//! SHA-256 of the key. This file does *not* touch any file.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::error::S3Error;
use crate::hex::hex;

/// The longest key, in bytes of UTF-8.
const KEY_BYTES_MAX: usize = 1024;

/// The longest name that every usual file system takes.
const SEGMENT_BYTES_MAX: usize = 255;

/// Checks the rules that S3 itself has for keys.
pub(crate) fn check(key: &str) -> Result<(), S3Error> {
    if key.is_empty() {
        return Err(S3Error::invalid_uri());
    }
    if key.len() > KEY_BYTES_MAX { Err(S3Error::key_too_long()) } else { Ok(()) }
}

/// The key as a relative path, if it is one.
pub(crate) fn plain(key: &str) -> Option<&Path> {
    let ordinary = |segment: &str| {
        !matches!(segment, "" | "." | "..")
            && segment.len() <= SEGMENT_BYTES_MAX
            && !segment.contains(|c: char| c.is_control() || c == '\\' || c == ':')
    };
    key.split('/').all(ordinary).then(|| Path::new(key))
}

/// The name of the file of an object that lies aside.
pub(crate) fn aside(key: &str) -> PathBuf {
    hex(&Sha256::digest(key.as_bytes())).into()
}

/// S3's rules for names of buckets. They also make each name that of a plain folder that is not hidden.
pub(crate) fn check_bucket(name: &str) -> Result<(), S3Error> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let good = (3..=63).contains(&name.len())
        && name.chars().all(inner)
        && name.starts_with(edge)
        && name.ends_with(edge)
        && !name.contains("..");
    if good { Ok(()) } else { Err(S3Error::invalid_bucket_name()) }
}

#[cfg(test)]
mod tests {
    use std::path::Component;

    use super::*;

    #[test]
    fn plain_keys_stay_below_their_bucket() {
        let segments = ["a", "..", ".", "", "\0", "dt=2026-11-23", "ünï", "x y", "\\", "C:", "...", "\n"];
        for a in segments {
            for b in segments {
                for c in segments {
                    let key = format!("{a}/{b}/{c}");
                    let Some(path) = plain(&key) else { continue };
                    assert!(path.components().all(|part| matches!(part, Component::Normal(_))), "{key:?}");
                    assert_eq!(path.components().count(), 3, "{key:?} is its own path");
                }
            }
        }
    }

    #[test]
    fn odd_keys_lie_aside_under_a_name_of_their_own() {
        let long = "x".repeat(256);
        let odd = ["..", "../x", "/etc/passwd", "a//b", "a/", "trail/./dot", "nul\0", long.as_str()];
        let names: std::collections::HashSet<_> = odd.iter().map(|key| aside(key)).collect();
        assert_eq!(names.len(), odd.len());
        for key in odd {
            assert_eq!(plain(key), None, "{key:?}");
        }
    }

    #[test]
    fn bucket_names_follow_the_rules() {
        for good in ["abc", "my-bucket.1"] {
            assert_eq!(check_bucket(good), Ok(()));
        }
        for bad in ["", "ab", ".localaws", "-abc", "abc-", "a..b", "Abc", "a_b", "a/b", &"a".repeat(64)] {
            assert!(check_bucket(bad).is_err(), "{bad}");
        }
    }
}
