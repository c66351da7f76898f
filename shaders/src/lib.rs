//! The WGSL that generated kernels import.
