//! What the sources of the ops say about them: comments, and messages of their shape rules.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The texts of `crates/graph/src/ops`.
pub(super) struct Sources(Vec<String>);

pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

impl Sources {
    pub(super) fn read() -> Result<Self> {
        let mut texts = Vec::new();
        let mut open = vec![root().join("crates/graph/src/ops")];
        while let Some(path) = open.pop() {
            if path.is_dir() {
                let entries = fs::read_dir(&path)?.map(|entry| Ok(entry?.path()));
                let mut entries = entries.collect::<Result<Vec<_>>>()?;
                entries.sort_unstable_by(|a, b| b.cmp(a));
                open.extend(entries);
            } else {
                let text = fs::read_to_string(&path);
                texts.push(text.with_context(|| path.display().to_string())?);
            }
        }
        Ok(Self(texts))
    }

    /// The comment on a struct of this name.
    pub(super) fn item(&self, name: &str) -> Option<String> {
        // Not one whose name only begins so.
        let heads = [" ", ";", "("].map(|end| format!("pub struct {name}{end}"));
        let (text, at) = heads.iter().find_map(|head| self.find(head))?;
        Some(comment(text, at))
    }

    /// Variants of an enum, each with its comment.
    pub(super) fn variants(&self, name: &str) -> Result<Vec<(String, String)>> {
        let (text, at) = self
            .find(&format!("pub enum {name} "))
            .with_context(|| format!("no enum {name}"))?;
        let body = block(text, at);
        let mut variants = Vec::new();
        let mut offset = 0;
        for line in body.lines() {
            let start = line.strip_prefix("    ");
            let word = start.and_then(|l| l.split(|c: char| !c.is_alphanumeric()).next());
            if let Some(word) = word.filter(|w| w.starts_with(char::is_uppercase)) {
                variants.push((word.to_owned(), comment(body, offset)));
            }
            offset += line.len() + 1;
        }
        Ok(variants)
    }

    /// The comment on one of them.
    pub(super) fn variant(&self, of: &str, name: &str) -> Result<String> {
        let variants = self.variants(of)?.into_iter();
        let found = variants.into_iter().find(|(variant, _)| variant == name);
        Ok(found.with_context(|| format!("no {of}::{name}"))?.1)
    }

    /// Types that a trait is implemented for.
    pub(super) fn implementations(&self, of: &str) -> Result<Vec<String>> {
        let head = format!("\nimpl {of} for ");
        let all = self.0.iter().flat_map(|text| text.split(&head).skip(1));
        let name = |rest: &str| rest.split(' ').next().map(str::to_owned);
        all.map(|rest| name(rest).context("an implementation for nothing"))
            .collect()
    }

    /// The comment on a method of a type or of its composite; `None` if there is no method.
    pub(super) fn method(&self, of: &str, name: &str) -> Option<String> {
        self.bodies(of).find_map(|body| {
            let at = body.find(&format!("fn {name}"))?;
            Some(comment(body, at))
        })
    }

    /// Messages of a shape rule, what stands in them as `…`.
    pub(super) fn refusals(&self, of: &str) -> Vec<String> {
        let mut found = Vec::new();
        for body in self.bodies(of) {
            let Some(at) = body.find("fn infer") else {
                continue;
            };
            let rule = body.get(at..).unwrap_or_default();
            let end = rule.find("\n    }\n").unwrap_or(rule.len());
            // Outside of quotes, inside, outside…
            let quoted = rule.get(..end).unwrap_or_default().split('"').skip(1);
            let messages = quoted.step_by(2).filter(|text| text.contains(' '));
            for message in messages.map(|text| format!("“{}”", filled(text))) {
                if !found.contains(&message) {
                    found.push(message);
                }
            }
        }
        found
    }

    /// Comment and gradient of a pointwise op, from its lines in the table.
    pub(super) fn pointwise(&self, name: &str) -> Result<(&str, &str)> {
        let (text, at) = self
            .find(&format!(" = \"{name}\", "))
            .with_context(|| format!("no pointwise op `{name}`"))?;
        let line = text[..at].rfind('\n').unwrap_or(0);
        let above = text[..line].rfind("    /// ").unwrap_or(line);
        let doc = text[above..line].trim().trim_start_matches("/// ");
        let rest = &text[at..];
        let rule = rest.find("vjp(|").unwrap_or(0);
        let rule = &rest[rule..];
        let rule = &rule[..rule.find(");\n").unwrap_or(rule.len())];
        let body = rule.splitn(3, '|').nth(2).unwrap_or_default();
        Ok((doc, body.trim()))
    }

    /// Where a text begins, in which file.
    fn find(&self, what: &str) -> Option<(&str, usize)> {
        self.0
            .iter()
            .find_map(|text| Some((text.as_str(), text.find(what)?)))
    }

    /// The blocks of `impl`s of a type.
    fn bodies<'a>(&'a self, of: &str) -> impl Iterator<Item = &'a str> {
        let heads = [
            format!("\nimpl {of} {{"),
            format!("\nimpl Composite for {of} {{"),
        ];
        let found = self.0.iter().flat_map(move |text| {
            let all = heads.clone().into_iter();
            all.filter_map(move |head| Some(block(text, text.find(&head)?)))
        });
        found.collect::<Vec<_>>().into_iter()
    }
}

/// From here to the brace that closes at the beginning of a line.
fn block(text: &str, at: usize) -> &str {
    let rest = &text[at..];
    let end = rest.find("\n}\n").unwrap_or(rest.len());
    &rest[..end]
}

/// The comment above, without links; attributes may stand between.
fn comment(text: &str, at: usize) -> String {
    let start = text[..at].rfind('\n').map_or(0, |i| i + 1);
    let above = text[..start].lines().rev().map(str::trim);
    let lines = above
        .skip_while(|line| line.starts_with('#'))
        .map_while(|line| line.strip_prefix("///"));
    let mut lines: Vec<&str> = lines.map(|l| l.strip_prefix(' ').unwrap_or(l)).collect();
    lines.reverse();
    lines.join("\n").replace("[`", "`").replace("`]", "`")
}

/// A message with `…` in place of values, and without the breaks of its lines.
fn filled(message: &str) -> String {
    let mut text = String::new();
    let mut rest = message;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        text.push('…');
        rest = after.split_once('}').map_or("", |(_, rest)| rest);
    }
    text.push_str(rest);
    let words: Vec<&str> = text.split_whitespace().filter(|w| *w != "\\").collect();
    words.join(" ")
}
