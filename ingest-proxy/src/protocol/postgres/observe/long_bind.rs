//! Result formats of a Bind too long to be kept: they lie behind its values, so those are walked as they pass.

use super::super::message::parse::{Bind, Fields, Int16s};

/// Most bytes of the result formats: a count and 65 535 entries.
const TAIL_BYTES_MAX: usize = 2 + 2 * 65_535;

/// Walks the chunks of one Bind. Memory: the formats, at most [`TAIL_BYTES_MAX`]; time: linear.
#[derive(Default)]
pub(super) struct LongBind {
    state: State,
    /// Value bytes to pass by.
    skip: usize,
    /// Values whose length is still to be read.
    left: usize,
    /// Bytes of a length that a chunk cut.
    length: Vec<u8>,
    tail: Vec<u8>,
}

#[derive(Default, PartialEq)]
enum State {
    /// The names, formats and count are not all there.
    #[default]
    Head,
    /// At the values or behind them.
    Values,
    /// It is no Bind.
    Broken,
}

impl LongBind {
    /// Takes the next chunk; `kept` is the body so far, this chunk included.
    pub(super) fn take(&mut self, kept: &[u8], chunk: &[u8]) {
        match self.state {
            State::Head => {
                if let Ok(bind) = Bind::read(kept) {
                    (self.state, self.left) = (State::Values, bind.count);
                    self.walk(bind.tail());
                }
            }
            State::Values => self.walk(chunk),
            State::Broken => {}
        }
    }

    fn walk(&mut self, mut rest: &[u8]) {
        while !rest.is_empty() {
            if self.skip > 0 {
                let passed = self.skip.min(rest.len());
                self.skip -= passed;
                rest = rest.get(passed..).unwrap_or_default();
            } else if self.left > 0 {
                let (taken, after) = rest.split_at(rest.len().min(4 - self.length.len().min(4)));
                self.length.extend_from_slice(taken);
                rest = after;
                if let Some(length) = self.length.first_chunk::<4>() {
                    match i32::from_be_bytes(*length) {
                        -1 => {}
                        length => match usize::try_from(length) {
                            Ok(length) => self.skip = length,
                            Err(_) => return self.state = State::Broken,
                        },
                    }
                    self.length.clear();
                    self.left -= 1;
                }
            } else {
                if self.tail.len() + rest.len() > TAIL_BYTES_MAX {
                    return self.state = State::Broken;
                }
                self.tail.extend_from_slice(rest);
                return;
            }
        }
    }

    /// Wire bytes of the result formats, without their count; none when the body is no Bind.
    pub(super) fn finish(&self) -> Option<Vec<u8>> {
        if self.state != State::Values || self.skip > 0 || self.left > 0 {
            return None;
        }
        let mut fields = Fields::new(&self.tail);
        let formats = Int16s::take(&mut fields).ok()?;
        fields.finish().ok()?;
        Some(formats.bytes().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn walk(body: &[u8], step: usize) -> Option<Vec<u8>> {
        let mut bind = LongBind::default();
        let mut at = 0;
        for chunk in body.chunks(step) {
            at += chunk.len();
            bind.take(&body[..at], chunk);
        }
        bind.finish()
    }

    #[test]
    fn formats_behind_the_values_are_found_and_a_broken_bind_has_none() {
        let body = b"p\0s\0\0\0\0\x02\0\0\0\x03abc\xff\xff\xff\xff\0\x01\0\x01";
        for step in 1..=body.len() {
            assert_eq!(walk(body, step).unwrap(), b"\0\x01");
            assert!(walk(&body[..body.len() - 1], step).is_none());
            assert!(walk(&[&body[..], b"!"].concat(), step).is_none());
        }
        assert!(walk(b"p\0s\0\0\0\0\x01\xff\xff\xff\xfe\0\0", 2).is_none());
    }

    proptest! {
        #[test]
        fn it_says_what_the_whole_body_says(
            body in prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255), any::<u8>()], 0..80),
            step in 1usize..30,
        ) {
            let whole = Bind::read(&body).and_then(|bind| bind.result_formats()).map(|formats| formats.bytes().to_vec());
            prop_assert_eq!(walk(&body, step), whole.ok());
        }
    }
}
