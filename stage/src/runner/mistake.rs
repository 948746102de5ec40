//! Mistakes that the runner makes on purpose in tests, so that the simulation can show that it would find them.

use crate::clock::Clock;

/// A mistake of the kind that loses or repeats records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// Input positions are committed before the outputs.
    PositionsFirst,
    /// Outputs are committed before the input positions.
    OutputsFirst,
    /// After an abort the reader goes on where it was.
    NoRewind,
    /// Positions pass what the transform still holds.
    PastHeld,
    /// The state of a lost partition is kept until it comes back.
    KeepLane,
    /// The transform's state is not read back.
    NoRestore,
    /// A transaction that moves no position carries none, so that a lost partition is not noticed.
    NoFence,
    /// A refused record is passed without a dead letter.
    LetterLost,
    /// A refused record's dead letter does not wait for what is held before it.
    LetterEarly,
}

/// What surrounds a runner.
pub(crate) struct Host<'a> {
    pub(crate) clock: &'a dyn Clock,
    /// The mistake to make; nothing outside tests can set one.
    pub(crate) mistake: Option<Mistake>,
}

impl Host<'_> {
    /// True when this mistake is to be made; never in a program, where the compiler takes the mistakes out.
    pub(crate) fn makes(&self, mistake: Mistake) -> bool {
        cfg!(test) && self.mistake == Some(mistake)
    }
}
