//! The testkit: real servers on free ports, and the journeys through them.
