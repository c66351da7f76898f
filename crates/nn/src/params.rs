//! Selections of parameters: which of them a step trains, or an optimizer treats differently.

use std::fmt;
use std::sync::Arc;

use gradus_graph::Shape;

type Selects = dyn Fn(&str, &Shape) -> bool + Send + Sync;

/// Parameters of a model, selected by their paths or shapes.
#[derive(Clone)]
pub struct Params {
    selects: Arc<Selects>,
    description: String,
}

/// The parameters whose paths begin with `prefix`: `params("disc.")`.
pub fn params(prefix: &str) -> Params {
    let start = prefix.to_owned();
    Params {
        selects: Arc::new(move |path, _| path.starts_with(&start)),
        description: format!("`{prefix}…`"),
    }
}

impl Params {
    /// All parameters.
    pub fn all() -> Self {
        Self {
            selects: Arc::new(|_, _| true),
            description: "all parameters".to_owned(),
        }
    }

    /// The parameters whose paths satisfy `selects`.
    pub fn matching(selects: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self {
            selects: Arc::new(move |path, _| selects(path)),
            description: "a predicate".to_owned(),
        }
    }

    /// Those of two axes: weights of dense layers and embeddings.
    pub fn matrices() -> Self {
        Self {
            selects: Arc::new(|_, shape| shape.rank() == 2),
            description: "matrices".to_owned(),
        }
    }

    /// Those of at most one axis: biases, and scales of normalizations.
    pub fn vectors() -> Self {
        Self {
            selects: Arc::new(|_, shape| shape.rank() <= 1),
            description: "vectors".to_owned(),
        }
    }

    /// These and the `others`.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        let (a, b) = (self.selects, others.selects);
        Self {
            selects: Arc::new(move |path, shape| a(path, shape) || b(path, shape)),
            description: format!("{} or {}", self.description, others.description),
        }
    }

    /// These without the `others`.
    #[must_use]
    pub fn except(self, others: Self) -> Self {
        let (a, b) = (self.selects, others.selects);
        Self {
            selects: Arc::new(move |path, shape| a(path, shape) && !b(path, shape)),
            description: format!("{} except {}", self.description, others.description),
        }
    }

    /// True for a parameter of this path and shape that is one of these.
    pub fn select(&self, path: &str, shape: &Shape) -> bool {
        (self.selects)(path, shape)
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
