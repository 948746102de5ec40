//! Records to columns and back, exactly.
