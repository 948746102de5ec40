//! Names in the object store, for writer and reader alike. No end, hash or random part: two tries collide (I-04).

/// A sealed table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// Masked messages.
    Frames,
    /// Masked activity.
    Events,
}

impl Table {
    /// Both tables.
    pub const ALL: [Self; 2] = [Self::Frames, Self::Events];

    /// Folder name, and the last word of the topic.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Frames => "frames",
            Self::Events => "events",
        }
    }
}

/// Folder of the log: checkpoint, tiles, entry bundles, `checkpoints/`.
pub const LOG_PREFIX: &str = "log";

/// `<table>/dt=YYYY-MM-DD/hour=HH/p<partition>-<first seal, 12 digits>.parquet`; `closed_at_ms` is the first seal's.
#[must_use]
pub fn object_name(table: Table, partition: i32, first_seal: i64, closed_at_ms: i64) -> String {
    let (year, month, day, hour) = civil(closed_at_ms);
    format!("{}/dt={year:04}-{month:02}-{day:02}/hour={hour:02}/p{partition}-{first_seal:012}.parquet", table.as_str())
}

/// What an object name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectName {
    /// Table.
    pub table: Table,
    /// Partition.
    pub partition: i32,
    /// `seal_seq` of the first seal inside.
    pub first_seal: i64,
}

/// Reads an object name; `None` for anything [`object_name`] cannot have made.
#[must_use]
pub fn parse_object_name(name: &str) -> Option<ObjectName> {
    let mut parts = name.split('/');
    let table = match parts.next()? {
        "frames" => Table::Frames,
        "events" => Table::Events,
        _ => return None,
    };
    let (day, hour, file) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || !is_day(day.strip_prefix("dt=")?) || !is_hour(hour.strip_prefix("hour=")?) {
        return None;
    }
    let (partition, seal) = file.strip_prefix('p')?.strip_suffix(".parquet")?.split_once('-')?;
    let canonical = digits(partition, partition.len()) && (partition == "0" || !partition.starts_with('0'));
    if !canonical || !digits(seal, 12) {
        return None;
    }
    Some(ObjectName { table, partition: partition.parse().ok()?, first_seal: seal.parse().ok()? })
}

fn digits(text: &str, len: usize) -> bool {
    text.len() == len && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_day(text: &str) -> bool {
    let mut parts = text.split('-');
    let shape = [4, 2, 2].into_iter().all(|len| parts.next().is_some_and(|part| digits(part, len)));
    shape && parts.next().is_none()
}

fn is_hour(text: &str) -> bool {
    digits(text, 2) && text < "24"
}

/// The day of milliseconds since epoch as `YYYY-MM-DD` in UTC.
#[must_use]
pub fn day_text(ms: i64) -> String {
    let (year, month, day, _) = civil(ms);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Year, month, day and hour in UTC of milliseconds since epoch (days-from-civil, proleptic Gregorian).
fn civil(ms: i64) -> (i64, i64, i64, i64) {
    let hours = ms.div_euclid(3_600_000);
    let days = hours.div_euclid(24) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day, hours.rem_euclid(24))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        let name = object_name(Table::Events, 17, 123, 1_770_000_005_000);
        assert_eq!(name, "events/dt=2026-02-02/hour=02/p17-000000000123.parquet");
        let parsed = parse_object_name(&name).unwrap();
        assert_eq!((parsed.table, parsed.partition, parsed.first_seal), (Table::Events, 17, 123));
        for other in [
            "events/dt=2026-02-02/hour=02/p17-123.parquet",
            "events/dt=2026-02-02/hour=02/p+7-000000000123.parquet",
            "events/dt=2026-02-02/hour=02/p07-000000000123.parquet",
            "events/dt=2026-02-02/hour=24/p7-000000000123.parquet",
            "events/dt=2026-2-2/hour=02/p7-000000000123.parquet",
            "events/dt=../hour=02/p7-000000000123.parquet",
        ] {
            assert!(parse_object_name(other).is_none(), "{other}");
        }
    }

    #[test]
    fn civil_knows_leap_days() {
        assert_eq!(civil(951_782_400_000), (2000, 2, 29, 0));
        assert_eq!(civil(0), (1970, 1, 1, 0));
    }
}
