//! Layers: plain structs of settings.

mod activation;
mod dense;
mod dropout;
mod flatten;
mod sequential;

pub use activation::{Activate, Activation};
pub use dense::Dense;
pub use dropout::Dropout;
pub use flatten::Flatten;
pub use sequential::Sequential;
