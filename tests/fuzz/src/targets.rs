//! The list of targets: what each takes, and how much memory it may hold.

mod evidence;
mod journal;
mod masking;
mod object;
mod postgres;
mod records;
mod statement;

/// One decoder, or a few that take the same bytes.
pub(crate) struct Target {
    /// What `cargo xtask fuzz` calls it; also the name of its corpus.
    pub(crate) name: &'static str,
    /// Feeds one input.
    pub(crate) run: fn(&[u8]),
    /// Inputs to begin with.
    pub(crate) seeds: fn() -> Vec<Vec<u8>>,
    /// Most bytes that any input may make it hold at once, to which [`Target::held_per_byte`] adds.
    pub(crate) held_min: usize,
    /// Most bytes held per byte of input.
    pub(crate) held_per_byte: usize,
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// All targets, in pipeline order.
pub(crate) const TARGETS: [Target; 9] = [
    Target {
        name: "postgres-startup",
        run: postgres::startup,
        seeds: postgres::startup_seeds,
        held_min: 4 * KIB,
        held_per_byte: 32,
    },
    Target {
        name: "postgres-login",
        run: postgres::login,
        seeds: postgres::login_seeds,
        held_min: 256 * KIB,
        held_per_byte: 64,
    },
    Target {
        name: "postgres-session",
        run: postgres::session,
        seeds: postgres::session_seeds,
        held_min: 4 * MIB,
        held_per_byte: 256,
    },
    Target {
        name: "statement",
        run: statement::survey,
        seeds: statement::seeds,
        held_min: 64 * KIB,
        held_per_byte: 256,
    },
    Target { name: "journal", run: journal::open, seeds: journal::seeds, held_min: 16 * MIB, held_per_byte: 64 },
    Target { name: "records", run: records::decode, seeds: records::seeds, held_min: 8 * KIB, held_per_byte: 512 },
    Target { name: "masking", run: masking::apply, seeds: masking::seeds, held_min: 4 * MIB, held_per_byte: 512 },
    Target { name: "evidence", run: evidence::parse, seeds: evidence::seeds, held_min: 64 * KIB, held_per_byte: 128 },
    Target { name: "object", run: object::open, seeds: object::seeds, held_min: 64 * MIB, held_per_byte: 256 },
];
