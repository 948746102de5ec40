//! Sealed records to Parquet in the object store.
