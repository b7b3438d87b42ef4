//! The checksums that S3 knows, computed while the bytes pass. This file does *not* own which of them a request needs.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use crc_fast::CrcAlgorithm;
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// A checksum algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

impl Algorithm {
    pub(crate) const ALL: [Algorithm; 5] = [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    /// The header or trailer that carries the value.
    pub(crate) fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
        }
    }

    /// The XML element that carries the value.
    pub(crate) fn element(self) -> &'static str {
        match self {
            Self::Crc32 => "ChecksumCRC32",
            Self::Crc32c => "ChecksumCRC32C",
            Self::Crc64Nvme => "ChecksumCRC64NVME",
            Self::Sha1 => "ChecksumSHA1",
            Self::Sha256 => "ChecksumSHA256",
        }
    }

    /// Reads the name that `x-amz-checksum-algorithm` has.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| {
            algorithm.element().strip_prefix("Checksum").is_some_and(|element| element.eq_ignore_ascii_case(name))
        })
    }

    pub(crate) fn from_header(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.header().eq_ignore_ascii_case(name))
    }
}

/// A checksum with its algorithm, in base64 as it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checksum {
    pub(crate) algorithm: Algorithm,
    pub(crate) value: String,
}

impl Checksum {
    /// Whether it covers the object's bytes or the checksums of its parts. The latter ends in the number of parts.
    pub(crate) fn kind(&self) -> &'static str {
        // Base64 itself has no hyphen.
        if self.value.contains('-') { "COMPOSITE" } else { "FULL_OBJECT" }
    }
}

/// A checksum that is being computed.
pub(crate) enum Hasher {
    Crc { algorithm: Algorithm, digest: crc_fast::Digest },
    Sha1(Sha1),
    Sha256(Sha256),
}

impl Hasher {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        let crc = |kind| Self::Crc { algorithm, digest: crc_fast::Digest::new(kind) };
        match algorithm {
            Algorithm::Crc32 => crc(CrcAlgorithm::Crc32IsoHdlc),
            Algorithm::Crc32c => crc(CrcAlgorithm::Crc32Iscsi),
            Algorithm::Crc64Nvme => crc(CrcAlgorithm::Crc64Nvme),
            Algorithm::Sha1 => Self::Sha1(Sha1::new()),
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc { digest, .. } => digest.update(bytes),
            Self::Sha1(digest) => digest.update(bytes),
            Self::Sha256(digest) => digest.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> Checksum {
        let (algorithm, value) = match self {
            Self::Crc { algorithm: Algorithm::Crc64Nvme, digest } => {
                (Algorithm::Crc64Nvme, BASE64.encode(digest.finalize().to_be_bytes()))
            }
            Self::Crc { algorithm, digest } => (algorithm, BASE64.encode((digest.finalize() as u32).to_be_bytes())),
            Self::Sha1(digest) => (Algorithm::Sha1, BASE64.encode(digest.finalize())),
            Self::Sha256(digest) => (Algorithm::Sha256, BASE64.encode(digest.finalize())),
        };
        Checksum { algorithm, value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published check values of the digits 1 to 9.
    #[test]
    fn checksums_match_their_published_check_values() {
        for (algorithm, expected) in [
            (Algorithm::Crc32, &0xCBF4_3926_u32.to_be_bytes()[..]),
            (Algorithm::Crc32c, &0xE306_9283_u32.to_be_bytes()),
            (Algorithm::Crc64Nvme, &0xAE8B_1486_0A79_9888_u64.to_be_bytes()),
        ] {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(b"1234");
            hasher.update(b"56789");
            assert_eq!(hasher.finish(), Checksum { algorithm, value: BASE64.encode(expected) });
        }
    }
}
