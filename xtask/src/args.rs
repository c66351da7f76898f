//! Arguments of a task: words, and options `--name value`.

use std::collections::BTreeMap;
use std::str::FromStr;

use anyhow::{Context, Result, bail};

/// Words in order, and the last value given for each option.
#[derive(Debug, Default)]
pub(crate) struct Args {
    /// What is no option.
    pub(crate) words: Vec<String>,
    options: BTreeMap<String, String>,
}

impl Args {
    /// Splits arguments; `known` lists the options there are, without `--`.
    pub(crate) fn parse(args: &[String], known: &[&str]) -> Result<Self> {
        let mut parsed = Self::default();
        let mut rest = args.iter();
        while let Some(arg) = rest.next() {
            let Some(name) = arg.strip_prefix("--") else {
                parsed.words.push(arg.clone());
                continue;
            };
            if !known.contains(&name) {
                bail!("no option `--{name}`; there are --{}", known.join(", --"));
            }
            let value = rest
                .next()
                .with_context(|| format!("`--{name}` needs a value"))?;
            parsed.options.insert(name.into(), value.clone());
        }
        Ok(parsed)
    }

    /// The value of an option, if it was given.
    pub(crate) fn get<T>(&self, name: &str) -> Result<Option<T>>
    where
        T: FromStr,
        T::Err: std::error::Error + Send + Sync + 'static,
    {
        let Some(text) = self.options.get(name) else {
            return Ok(None);
        };
        let value = text.parse().with_context(|| format!("`--{name} {text}`"))?;
        Ok(Some(value))
    }
}
