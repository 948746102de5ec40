//! SQL as text: tokens, statements, kinds, relations, parameters; pure, for observe and mask alike.
