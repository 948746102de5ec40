//! Log entries: a tag byte, then an Avro body. One decoder, for whoever writes and whoever reads the log (I-08).
//!
//! What an entry means for the log (who may sign it, what it continues) is the sealer's and the verifier's to say; here is
//! only its form.

use crate::v1::{ArchiveBody, HeadsBody, IncidentBody, KeyBody, SealBody};
use crate::{DecodeError, Record};

/// A seal: [`SealBody`].
pub const TAG_SEAL: u8 = 0x01;
/// The beginning of a key epoch: [`KeyBody`].
pub const TAG_KEY: u8 = 0x02;
/// A part of the heads of all streams: [`HeadsBody`].
pub const TAG_HEADS: u8 = 0x03;
/// The receipt of an archived object: [`ArchiveBody`].
pub const TAG_ARCHIVE: u8 = 0x04;
/// What went wrong: [`IncidentBody`].
pub const TAG_INCIDENT: u8 = 0x05;

/// Longest entry in bytes, tag included (tlog-tiles writes lengths in 16 bits).
pub const ENTRY_BYTES_MAX: usize = 65_535;
/// Other entries after which the heads of all streams are written.
pub const HEADS_EVERY: u64 = 1024;
/// Action of a [`KeyBody`] signed by the key of the epoch before.
pub const KEY_ROTATE: &str = "rotate";
/// Action of a [`KeyBody`] signed by a recovery key.
pub const KEY_RECOVER: &str = "recover";

/// Why bytes are no log entry. A retry never helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// No byte at all.
    #[error("log entry is empty")]
    Empty,
    /// Above [`ENTRY_BYTES_MAX`].
    #[error("log entry has {0} bytes, at most {ENTRY_BYTES_MAX} are allowed")]
    Long(usize),
    /// A tag this version does not know.
    #[error("log entry has unknown tag {0:02x}")]
    Tag(u8),
    /// The body is not canonical.
    #[error("log entry body is not canonical")]
    Body(#[source] DecodeError),
}

/// A body that stands in the log, under its tag.
pub trait EntryBody: Record {
    /// The byte before the body.
    const TAG: u8;

    /// Tag and body. What is longer than [`ENTRY_BYTES_MAX`] is refused by whoever reads it.
    fn to_entry(&self) -> Vec<u8> {
        let mut out = vec![Self::TAG];
        self.encode(&mut out);
        out
    }
}

impl EntryBody for SealBody {
    const TAG: u8 = TAG_SEAL;
}
impl EntryBody for KeyBody {
    const TAG: u8 = TAG_KEY;
}
impl EntryBody for HeadsBody {
    const TAG: u8 = TAG_HEADS;
}
impl EntryBody for ArchiveBody {
    const TAG: u8 = TAG_ARCHIVE;
}
impl EntryBody for IncidentBody {
    const TAG: u8 = TAG_INCIDENT;
}

/// A log entry of this version.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// One batch of one stream.
    Seal(SealBody),
    /// The beginning of a key epoch.
    Key(KeyBody),
    /// Heads of all streams, or a part of them.
    Heads(HeadsBody),
    /// The receipt of one archived object.
    Archive(ArchiveBody),
    /// What went wrong.
    Incident(IncidentBody),
}

impl Entry {
    /// Decodes a log entry, strictly: encoding the result gives the same bytes.
    ///
    /// # Errors
    /// [`EntryError`].
    pub fn decode(entry: &[u8]) -> Result<Self, EntryError> {
        fn body<R: Record>(body: &[u8]) -> Result<R, EntryError> {
            R::from_body(body).map_err(EntryError::Body)
        }
        if entry.len() > ENTRY_BYTES_MAX {
            return Err(EntryError::Long(entry.len()));
        }
        let (tag, rest) = entry.split_first().ok_or(EntryError::Empty)?;
        match *tag {
            TAG_SEAL => body(rest).map(Self::Seal),
            TAG_KEY => body(rest).map(Self::Key),
            TAG_HEADS => body(rest).map(Self::Heads),
            TAG_ARCHIVE => body(rest).map(Self::Archive),
            TAG_INCIDENT => body(rest).map(Self::Incident),
            tag => Err(EntryError::Tag(tag)),
        }
    }

    /// Tag and body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Seal(body) => body.to_entry(),
            Self::Key(body) => body.to_entry(),
            Self::Heads(body) => body.to_entry(),
            Self::Archive(body) => body.to_entry(),
            Self::Incident(body) => body.to_entry(),
        }
    }

    /// The tag byte.
    #[must_use]
    pub const fn tag(&self) -> u8 {
        match self {
            Self::Seal(_) => TAG_SEAL,
            Self::Key(_) => TAG_KEY,
            Self::Heads(_) => TAG_HEADS,
            Self::Archive(_) => TAG_ARCHIVE,
            Self::Incident(_) => TAG_INCIDENT,
        }
    }
}

impl KeyBody {
    /// What the outgoing epoch key, or a recovery key, signs: `audit-key/v1`, origin, action, epoch, vkey, a line each.
    #[must_use]
    pub fn signed_bytes(&self) -> Vec<u8> {
        format!("audit-key/v1\n{}\n{}\n{}\n{}\n", self.origin, self.action, self.epoch, self.vkey).into_bytes()
    }
}

impl IncidentBody {
    /// What the root key signs: `audit-incident/v1`, origin, number, log size, stream, first and last offset, offset to go
    /// on at, text, a line each. The text has no control character, so no two incidents sign the same bytes.
    #[must_use]
    pub fn signed_bytes(&self) -> Vec<u8> {
        let Self { origin, number, log_size, stream_id, first_offset, last_offset, resume_offset, text, .. } = self;
        format!(
            "audit-incident/v1\n{origin}\n{number}\n{log_size}\n{stream_id}\n{first_offset}\n{last_offset}\n{resume_offset}\n{text}\n"
        )
        .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{Hash32, KeyId, Signature64, StreamHead, StreamId};

    fn bodies() -> [Entry; 5] {
        let stream_id = StreamId([7; 16]);
        let head = StreamHead { stream_id, seal_seq: 3, seal_hash: Hash32([1; 32]), next_seq: 9, ..Default::default() };
        [
            Entry::Seal(SealBody { version: 1, stream_id, ..Default::default() }),
            Entry::Key(KeyBody {
                version: 1,
                origin: "audit.example.com/prod".into(),
                action: KEY_ROTATE.into(),
                epoch: 1,
                vkey: "audit.example.com/prod+00000000+AQ==".into(),
                key_id: KeyId([1, 2, 3, 4]),
                signature: Signature64([5; 64]),
            }),
            Entry::Heads(HeadsBody { version: 1, parts: 1, heads: vec![head.clone(), head], ..Default::default() }),
            Entry::Archive(ArchiveBody { version: 1, ..Default::default() }),
            Entry::Incident(IncidentBody {
                version: 1,
                origin: "audit.example.com/prod".into(),
                number: 2,
                log_size: 5,
                stream_id,
                first_offset: -1,
                last_offset: -1,
                resume_offset: 17,
                text: "disk lost".into(),
                ..Default::default()
            }),
        ]
    }

    #[test]
    fn each_tag_reads_back_and_nothing_else_does() {
        for (tag, entry) in (1..).zip(bodies()) {
            let bytes = entry.encode();
            assert_eq!((bytes.first(), entry.tag()), (Some(&tag), tag));
            assert_eq!(Entry::decode(&bytes), Ok(entry));
            assert_eq!(Entry::decode(&[bytes, vec![0]].concat()), Err(EntryError::Body(DecodeError::Trailing)));
        }
        assert_eq!(Entry::decode(&[]), Err(EntryError::Empty));
        assert_eq!(Entry::decode(&[6]), Err(EntryError::Tag(6)));
        assert_eq!(Entry::decode(&vec![1; 65_536]), Err(EntryError::Long(65_536)));
    }

    #[test]
    fn signed_texts_are_these() {
        let [_, Entry::Key(key), _, _, Entry::Incident(incident)] = bodies() else { unreachable!() };
        assert_eq!(
            key.signed_bytes(),
            b"audit-key/v1\naudit.example.com/prod\nrotate\n1\naudit.example.com/prod+00000000+AQ==\n"
        );
        let stream = "07".repeat(16);
        let text = format!("audit-incident/v1\naudit.example.com/prod\n2\n5\n{stream}\n-1\n-1\n17\ndisk lost\n");
        assert_eq!(incident.signed_bytes(), text.as_bytes());
    }

    /// A two-block array decodes in lenient readers and has another hash: it is refused.
    #[test]
    fn heads_in_two_blocks_are_refused() {
        let [_, _, Entry::Heads(heads), ..] = bodies() else { unreachable!() };
        let one = heads.heads.first().map(|head| {
            let mut out = Vec::new();
            HeadsBody { heads: vec![head.clone()], ..heads.clone() }.encode(&mut out);
            out
        });
        let mut split = one.unwrap_or_default();
        // `02 head 00` becomes `02 head 02 head 00`
        let empty = HeadsBody { heads: vec![], ..heads.clone() }.to_body().len();
        let block = split.get(empty - 1..split.len() - 1).map(<[u8]>::to_vec).unwrap_or_default();
        split.truncate(split.len() - 1);
        split.extend(block);
        split.push(0);
        split.insert(0, TAG_HEADS);
        assert!(matches!(Entry::decode(&split), Err(EntryError::Body(_))));
    }
}
