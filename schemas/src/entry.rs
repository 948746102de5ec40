//! Tags of log entries: the byte before an entry's Avro body. One list, for whoever writes and whoever reads the log.

/// A seal: [`crate::v1::SealBody`].
pub const TAG_SEAL: u8 = 0x01;
/// The receipt of an archived object: [`crate::v1::ArchiveBody`].
pub const TAG_ARCHIVE: u8 = 0x04;
