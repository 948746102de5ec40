//! The contract: what lies on the bus and in the object store.
