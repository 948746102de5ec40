//! The skeleton shared by every stage: transform, runner, bus, telemetry.
