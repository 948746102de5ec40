//! Classes of bytes for the lexer, as one table.

/// Longest operator read as one token, bytes; the server cuts names at 63. Keeps the lexer linear, because what
/// is read of a run beyond the token is read again.
pub(crate) const OPERATOR_MAX: usize = 64;

const SPACE: u8 = 1;
const LETTER: u8 = 2;
const DIGIT: u8 = 4;
const DOLLAR: u8 = 8;
const OPERATOR: u8 = 16;

/// What each byte may be part of: one load per byte in place of a chain of comparisons.
const CLASSES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        #[allow(clippy::cast_possible_truncation, clippy::indexing_slicing)] // below 256; evaluated at compile time
        {
            table[byte] = match byte as u8 {
                b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => SPACE,
                b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80..=0xff => LETTER,
                b'0'..=b'9' => DIGIT,
                b'$' => DOLLAR,
                b'+' | b'-' | b'*' | b'/' | b'<' | b'>' | b'=' | b'~' | b'!' | b'@' | b'#' | b'%' | b'^' | b'&'
                | b'|' | b'`' | b'?' => OPERATOR,
                _ => 0,
            };
        }
        byte += 1;
    }
    table
};

fn class(byte: u8) -> u8 {
    CLASSES.get(usize::from(byte)).copied().unwrap_or(0)
}

pub(crate) fn is_space(byte: u8) -> bool {
    class(byte) == SPACE
}

pub(crate) fn starts_identifier(byte: u8) -> bool {
    class(byte) == LETTER
}

pub(crate) fn in_identifier(byte: u8) -> bool {
    class(byte) & (LETTER | DIGIT | DOLLAR) != 0
}

pub(crate) fn is_operator(byte: u8) -> bool {
    class(byte) == OPERATOR
}
