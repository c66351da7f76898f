//! Data sets, files, splits, batches, and the embedded data.
