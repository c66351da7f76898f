//! Which parameters a step trains.

use std::fmt;
use std::sync::Arc;

/// Parameters of a model, selected by their paths.
#[derive(Clone)]
pub struct Params {
    selects: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    description: String,
}

/// The parameters whose paths begin with `prefix`: `params("disc.")`.
pub fn params(prefix: &str) -> Params {
    let start = prefix.to_owned();
    Params {
        selects: Arc::new(move |path| path.starts_with(&start)),
        description: format!("`{prefix}…`"),
    }
}

impl Params {
    /// All parameters.
    pub fn all() -> Self {
        Self {
            selects: Arc::new(|_| true),
            description: "all parameters".to_owned(),
        }
    }

    /// The parameters whose paths satisfy `selects`.
    pub fn matching(selects: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self {
            selects: Arc::new(selects),
            description: "a predicate".to_owned(),
        }
    }

    /// These and the `others`.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        let (a, b) = (self.selects, others.selects);
        Self {
            selects: Arc::new(move |path| a(path) || b(path)),
            description: format!("{} or {}", self.description, others.description),
        }
    }

    /// These without the `others`.
    #[must_use]
    pub fn except(self, others: Self) -> Self {
        let (a, b) = (self.selects, others.selects);
        Self {
            selects: Arc::new(move |path| a(path) && !b(path)),
            description: format!("{} except {}", self.description, others.description),
        }
    }

    pub(crate) fn select(&self, path: &str) -> bool {
        (self.selects)(path)
    }
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.description)
    }
}

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Params({self})")
    }
}
